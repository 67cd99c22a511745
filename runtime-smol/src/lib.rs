//! Telson on smol, or on any executor that runs `Send` futures: the timers, sockets, signals and processes are
//! those of async-io and its family, which need no executor of their own.

use std::fmt;
use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_io::{Async, Timer};
use async_signal::Signal as Caught;
use futures_util::FutureExt as _;
use futures_util::stream::Stream;
use smol::process::{Child as SmolProcess, Command};
use telson_host::runtime::{BoxFuture, Child, Process, Program, Runtime, Signal};

/// Something that runs tasks.
type Spawner = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

/// A way to run tasks; the rest of smol needs no handle.
#[derive(Clone)]
pub struct Smol(Arc<Spawner>);

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smol")
    }
}

impl Smol {
    /// Starts an executor on so many threads, which run as long as the process.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(threads: usize) -> io::Result<Self> {
        let executor = Arc::new(async_executor::Executor::new());
        for index in 0..threads.max(1) {
            let executor = Arc::clone(&executor);
            let name = format!("telson-io-{index}");
            let work = move || smol::block_on(executor.run(pending::<()>()));
            std::thread::Builder::new().name(name).stack_size(1024 * 1024).spawn(work)?;
        }
        Ok(Self::with_spawner(move |task| executor.spawn(task).detach()))
    }

    /// The adapter for an executor of another house, such as async-std's.
    pub fn with_spawner(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl Runtime for Smol {
    type Stream = Async<TcpStream>;
    type Listener = Async<TcpListener>;
    type Sleep = Sleep;
    type Signals = Signals;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(task));
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(Timer::at(at))
    }

    fn listener(&self, socket: TcpListener) -> io::Result<Self::Listener> {
        Async::new(socket)
    }

    async fn accept(&self, listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        // It fails for a client that is gone already, which the first read shows.
        let _ = stream.get_ref().set_nodelay(true);
        Ok((stream, peer))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        let stream = Async::<TcpStream>::connect(addr).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(stream)
    }

    async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let work = AssertUnwindSafe(blocking::unblock(work));
        work.catch_unwind().await.map_err(|_| io::Error::other("the work panicked"))
    }

    fn signals(&self) -> io::Result<Signals> {
        async_signal::Signals::new([Caught::Term, Caught::Int, Caught::Usr1, Caught::Usr2, Caught::Hup])
            .map(Signals)
    }

    fn launch(&self, program: Program) -> io::Result<Process> {
        let mut child = Command::from(program.command())
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
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            child: Box::new(SmolChild(child)),
        })
    }
}

/// A timer.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// The signals of the process.
#[derive(Debug)]
pub struct Signals(async_signal::Signals);

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some(Ok(Caught::Term)) => Some(Signal::Terminate),
                Some(Ok(Caught::Int)) => Some(Signal::Interrupt),
                Some(Ok(Caught::Usr1)) => Some(Signal::User1),
                Some(Ok(Caught::Usr2)) => Some(Signal::User2),
                Some(Ok(Caught::Hup)) => Some(Signal::Hangup),
                Some(_) => continue,
                None => None,
            });
        }
    }
}

struct SmolChild(SmolProcess);

impl Child for SmolChild {
    fn id(&self) -> Option<u32> {
        Some(self.0.id())
    }

    fn kill(&mut self) -> io::Result<()> {
        self.0.kill()
    }

    fn wait(&mut self) -> BoxFuture<'_, io::Result<ExitStatus>> {
        Box::pin(self.0.status())
    }
}
