//! Telson on tokio.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::stream::Stream;
use telson_host::runtime::{BoxFuture, Child, Process, Program, Runtime, Signal};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::signal::unix::{self, SignalKind};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

/// A handle to a tokio runtime with I/O and time enabled.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// The adapter of a runtime.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }
}

impl Runtime for Tokio {
    type Stream = Compat<TcpStream>;
    type Listener = TcpListener;
    type Sleep = tokio::time::Sleep;
    type Signals = Signals;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let _here = self.0.enter();
        tokio::time::sleep_until(at.into())
    }

    fn listener(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener> {
        let _here = self.0.enter();
        TcpListener::from_std(socket)
    }

    async fn accept(&self, listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        // It fails for a client that is gone already, which the first read shows.
        let _ = stream.set_nodelay(true);
        Ok((stream.compat(), peer))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }

    async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.0.spawn_blocking(work).await.map_err(io::Error::other)
    }

    fn signals(&self) -> io::Result<Self::Signals> {
        let _here = self.0.enter();
        Ok(Signals([
            (Signal::Terminate, unix::signal(SignalKind::terminate())?),
            (Signal::Interrupt, unix::signal(SignalKind::interrupt())?),
            (Signal::User1, unix::signal(SignalKind::user_defined1())?),
            (Signal::User2, unix::signal(SignalKind::user_defined2())?),
            (Signal::Hangup, unix::signal(SignalKind::hangup())?),
        ]))
    }

    fn launch(&self, program: Program) -> io::Result<Process> {
        let _here = self.0.enter();
        let mut child = tokio::process::Command::from(program.command())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the process has no pipes"));
        };
        Ok(Process {
            stdin: Box::pin(stdin.compat_write()),
            stdout: Box::pin(stdout.compat()),
            stderr: Box::pin(stderr.compat()),
            child: Box::new(TokioChild(child)),
        })
    }
}

/// The signals of the process.
#[derive(Debug)]
pub struct Signals([(Signal, unix::Signal); 5]);

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        for (signal, source) in &mut self.0 {
            if source.poll_recv(cx).is_ready() {
                return Poll::Ready(Some(*signal));
            }
        }
        Poll::Pending
    }
}

struct TokioChild(tokio::process::Child);

impl Child for TokioChild {
    fn id(&self) -> Option<u32> {
        self.0.id()
    }

    fn kill(&mut self) -> io::Result<()> {
        self.0.start_kill()
    }

    fn wait(&mut self) -> BoxFuture<'_, io::Result<ExitStatus>> {
        Box::pin(self.0.wait())
    }
}
