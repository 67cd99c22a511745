//! A gateway process with a home of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;
use super::binary::Binary;
use super::client::{Client, Dialect, Greeting};
use super::command::Outcome;

/// A home directory on a machine where nothing else is configured.
pub struct Home {
    folder: TempDir,
    binary: Binary,
}

impl Home {
    /// A fresh home.
    pub fn new(binary: Binary) -> Self {
        Self { folder: TempDir::new().expect("a temporary folder"), binary }
    }

    /// The program that runs in it.
    pub const fn binary(&self) -> Binary {
        self.binary
    }

    /// A file or folder below the home.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path(".telson")
    }

    /// Writes the operator's configuration file.
    pub fn configure(&self, text: &str) -> &Self {
        std::fs::create_dir_all(self.state()).expect("the state directory can be made");
        std::fs::write(self.state().join("telson.json"), text).expect("the file can be written");
        self
    }

    /// The binary in this home, with nothing of the test's own environment but the search path.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary.path());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path());
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    /// Starts the gateway and waits until it listens.
    pub fn start(self) -> Gateway {
        self.start_with(&[])
    }

    /// The same with further arguments of `gateway run`.
    pub fn start_with(self, arguments: &[&str]) -> Gateway {
        let home = Arc::new(self);
        Gateway::start(&home, arguments)
    }
}

/// A running gateway. It is killed when dropped.
pub struct Gateway {
    /// Its home.
    pub home: Arc<Home>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether its port speaks TLS.
    secure: bool,
    child: Child,
    log: Log,
}

impl Gateway {
    /// Starts the gateway on a free port and waits until it listens.
    pub fn start(home: &Arc<Home>, arguments: &[&str]) -> Self {
        let mut command = home.command(&["gateway", "run", "--port", "0"]);
        command.args(arguments);
        Self::spawn(home, command)
    }

    /// Starts a gateway by this command and waits until it listens.
    pub fn spawn(home: &Arc<Home>, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let log = Log::default();
        log.follow(child.stdout.take().expect("a pipe"));
        log.follow(child.stderr.take().expect("a pipe"));
        let line = log.wait_for("listening", |line| listening(line).is_some());
        let address = listening(&line).expect("the line was chosen for it");
        let secure = line.contains("listening on wss://");
        Self { home: Arc::clone(home), address, secure, child, log }
    }

    /// The address as clients write it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "wss" } else { "ws" }, self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The token that was made at the first start.
    pub fn token(&self) -> String {
        let shown = self.home.run(&["token", "show"]).success();
        shown.stdout.trim().to_owned()
    }

    /// An operator with every scope.
    pub fn operator(&self, dialect: Dialect) -> Client {
        Client::connect(self.address, &Greeting::operator(dialect, &self.token()))
            .unwrap_or_else(|refusal| panic!("the operator is refused: {refusal:?}"))
    }

    /// Runs the same binary in the same home, where it finds this gateway by itself.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.home.run(arguments)
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for a line that contains this, and returns it.
    pub fn logged(&self, part: &str) -> String {
        self.log.wait_for(part, |line| line.contains(part))
    }

    /// The same for a line that it has printed so many times already.
    pub fn logged_again(&self, part: &str, before: usize) {
        self.log.wait_until(part, |lines| lines.iter().filter(|line| line.contains(part)).count() > before);
    }

    /// Asks it to stop, as a supervisor does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end: the exit code and everything it printed.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("the gateway ends");
        (status.code(), self.log.text())
    }

    /// Ends it without a word, as a power failure would, and leaves its home for another one.
    pub fn kill(mut self) -> Arc<Home> {
        self.signal(Signal::KILL);
        self.child.wait().expect("a killed process ends");
        Arc::clone(&self.home)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is ours");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- what the gateway printed\n{}----", self.log.text());
        }
    }
}

/// The address in the line by which a gateway tells that it listens.
fn listening(line: &str) -> Option<SocketAddr> {
    let (before, rest) =
        line.split_once("listening on ws://").or_else(|| line.split_once("listening on wss://"))?;
    if before.ends_with("already ") {
        return None;
    }
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:[]abcdef".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Whether this is a file that only its owner can use.
pub fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).expect("the file is there").permissions().mode();
    mode & 0o777 == 0o600
}

/// The lines that a process has printed.
#[derive(Clone, Default)]
pub(super) struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// Pipes that are still open.
    open: usize,
}

impl Log {
    pub(super) fn follow(&self, pipe: impl Read + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        shared.0.lock().expect("no reader panics").open += 1;
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                shared.0.lock().expect("no reader panics").lines.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().expect("no reader panics").open -= 1;
            shared.1.notify_all();
        });
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_within(PATIENCE, what, wanted)
    }

    pub(super) fn wait_within(
        &self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let lines = self.wait_lines(patience, what, |lines| lines.iter().any(|line| wanted(line)));
        lines.into_iter().find(|line| wanted(line)).expect("it was just there")
    }

    /// Waits until the lines are as wanted.
    fn wait_until(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.wait_lines(PATIENCE, what, wanted)
    }

    fn wait_lines(&self, patience: Duration, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + patience;
        let mut lines = self.shared.0.lock().expect("no reader panics");
        loop {
            if wanted(&lines.lines) {
                return lines.lines.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(lines.open > 0, "the process ended before {what}:\n{}", lines.lines.join("\n"));
            assert!(!left.is_zero(), "no line about {what}:\n{}", lines.lines.join("\n"));
            lines = self.shared.1.wait_timeout(lines, left).expect("no reader panics").0;
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.shared.0.lock().expect("no reader panics").lines.join("\n");
        text.push('\n');
        text
    }
}
