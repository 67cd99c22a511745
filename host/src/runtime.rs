//! What the driver needs from an async runtime, and all that an adapter gives.
//!
//! An adapter turns these calls into its runtime's own and decides nothing: what to listen on, when to close,
//! what to send is said by the machines and carried out by [`crate::driver`].

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;

/// A future whose type does not matter.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sockets, timers, tasks, signals and processes.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connected TCP socket with `TCP_NODELAY` set.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A listening TCP socket.
    type Listener: Send + Sync + 'static;
    /// A timer.
    type Sleep: Future<Output = ()> + Send + Sync + 'static;
    /// The signals of [`Signal`], as they arrive.
    type Signals: Stream<Item = Signal> + Unpin + Send + 'static;

    /// Runs a task until it ends. Nobody waits for it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// A timer that ends at an instant.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Takes over a listening, non-blocking socket.
    fn listener(&self, socket: TcpListener) -> io::Result<Self::Listener>;

    /// The next connection of a listener. May be given up at any time without losing one.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Connects to an address.
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs blocking work off the I/O threads.
    ///
    /// # Errors
    /// The work panicked.
    fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// Starts to catch signals; from then on none of them ends the process by itself.
    fn signals(&self) -> io::Result<Self::Signals>;

    /// Starts a process with its three standard streams piped, see [`Program::command`].
    fn launch(&self, program: Program) -> io::Result<Process>;
}

/// The signals that mean something to a gateway (spec 05 §10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: stop.
    Terminate,
    /// `SIGINT`: stop.
    Interrupt,
    /// `SIGUSR1`: restart.
    User1,
    /// `SIGUSR2`: restart.
    User2,
    /// `SIGHUP`: reopen the log file.
    Hangup,
}

impl Signal {
    /// The name as the log spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// A program to start.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its path or name.
    pub path: OsString,
    /// Its arguments, its name not among them.
    pub args: Vec<OsString>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory; that of the gateway when `None`.
    pub cwd: Option<PathBuf>,
}

impl Program {
    /// The command that an adapter starts: in a process group of its own, its name looked up on its own `PATH`.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.path);
        command.args(self.args).env_clear().envs(self.env).process_group(0);
        if let Some(cwd) = self.cwd {
            command.current_dir(cwd);
        }
        command
    }
}

/// A running process.
pub struct Process {
    /// What it reads.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// What it writes.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// What it complains about.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// The process itself.
    pub child: Box<dyn Child>,
}

/// The process behind its streams. Dropping it kills the process.
pub trait Child: Send {
    /// The process id, while the process has not been waited for.
    fn id(&self) -> Option<u32>;

    /// Kills it. Its exit is still to be awaited.
    fn kill(&mut self) -> io::Result<()>;

    /// Waits for its end. May be given up and called again.
    fn wait(&mut self) -> BoxFuture<'_, io::Result<ExitStatus>>;
}
