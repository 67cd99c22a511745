//! The programs under measurement: started afresh, watched from outside, ended at the latest with the value.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The shared secret of every gateway that is started here.
pub const TOKEN: &str = "the-load-generator-0123456789abcdef";

/// How long a program may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program to measure.
#[derive(Clone, Debug)]
pub struct Target {
    /// How the report calls it.
    pub name: String,
    /// Its file.
    pub program: PathBuf,
    /// For `raw-epoll`: the file with its canned frames. A gateway has none.
    pub canned: Option<PathBuf>,
}

/// A program that listens.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// From spawn until a connection was accepted.
    pub listening: Duration,
    /// When it was spawned.
    pub spawned: Instant,
    _home: TempDir,
}

impl Target {
    /// Starts the program with an empty home and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends at once, or does not listen within ten seconds.
    pub fn start(&self) -> io::Result<Running> {
        self.start_in(TempDir::new()?, None)
    }

    /// The same with a configuration.
    ///
    /// # Errors
    ///
    /// As [`Self::start`]; when the configuration cannot be written.
    pub fn start_with(&self, config: &str) -> io::Result<Running> {
        let home = TempDir::new()?;
        let file = home.path().join("telson.json");
        std::fs::write(&file, config)?;
        self.start_in(home, Some(&file))
    }

    fn start_in(&self, home: TempDir, config: Option<&Path>) -> io::Result<Running> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(&self.program);
        match &self.canned {
            Some(canned) => command.arg("--canned").arg(canned).arg("--port").arg(port.to_string()),
            None => command
                .args(["gateway", "run", "--auth", "token", "--token", TOKEN, "--port", &port.to_string()])
                .arg("--state-dir")
                .arg(home.path().join("state")),
        };
        command.env("HOME", home.path()).env_remove("TELSON_CONFIG").env_remove("TELSON_STATE_DIR");
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let spawned = Instant::now();
        let mut child = command.spawn().map_err(|error| self.failed(&error.to_string()))?;
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = child.try_wait()? {
                return Err(self.failed(&format!("it ended at once, {status}")));
            }
            if spawned.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(self.failed("it does not listen within 10 s"));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Running { child, addr, listening: spawned.elapsed(), spawned, _home: home })
    }

    /// The size of the program's file in bytes.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn size(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.program)?.len())
    }

    fn failed(&self, why: &str) -> io::Error {
        io::Error::other(format!("{} ({}): {why}", self.name, self.program.display()))
    }
}

impl Running {
    /// Resident memory in KiB.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn resident_kib(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(self.proc().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| io::Error::other("no VmRSS in /proc/<pid>/status"))
    }

    /// Processor time that the program has used.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu_of(&self.proc())
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that this process has used.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn own_cpu() -> io::Result<Duration> {
    cpu_of(Path::new("/proc/self"))
}

fn cpu_of(proc: &Path) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(proc.join("stat"))?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}
