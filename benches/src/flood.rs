//! How a client fares while others flood the gateway (spec 08 S-36 to S-39).
//!
//! The crowd comes from eight addresses of this machine, the client from a ninth. It connects, says hello, calls
//! `health`, leaves, and begins again; what it waits for is compared with the same in a quiet moment of the same run.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::measure::{HEALTH, enter, expect};
use crate::mux::Mux;
use crate::target::{Running, TOKEN};
use crate::wire;

/// A kind of flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections that never speak.
    Silent,
    /// Request heads of a byte at a time.
    SlowHeads,
    /// Request bodies of a byte at a time, with the right secret.
    SlowBodies,
    /// WebSockets that never say hello.
    Mute,
    /// A message in fragments without end.
    Fragments,
    /// A first message that is too large.
    Large,
    /// Pings without end.
    Pings,
    /// Bytes that are no request.
    Garbage,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Silent,
        Self::SlowHeads,
        Self::SlowBodies,
        Self::Mute,
        Self::Fragments,
        Self::Large,
        Self::Pings,
        Self::Garbage,
    ];

    /// As the table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent connections",
            Self::SlowHeads => "slow heads",
            Self::SlowBodies => "slow bodies",
            Self::Mute => "silent WebSockets",
            Self::Fragments => "endless fragments",
            Self::Large => "large first messages",
            Self::Pings => "pings",
            Self::Garbage => "garbage",
        }
    }

    /// What each connection begins with.
    fn opening(self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Silent => Vec::new(),
            Self::SlowHeads => b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_vec(),
            Self::SlowBodies => format!(
                "POST /tools/invoke HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\
                 Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{"
            )
            .into_bytes(),
            Self::Garbage => b"\x16\x03\x01\x02\x00garbage\r\n\r\n".to_vec(),
            Self::Mute | Self::Fragments | Self::Large | Self::Pings => wire::UPGRADE.as_bytes().to_vec(),
        };
        match self {
            // A text that is not over, and the head of one of 1 MiB.
            Self::Fragments => bytes.extend([0x01, 0x81, 0, 0, 0, 0, b'{']),
            Self::Large => bytes.extend([0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]),
            _ => {}
        }
        bytes
    }

    /// What it says each time when it is its turn.
    fn drip(self) -> Vec<u8> {
        match self {
            Self::Silent | Self::Mute | Self::Garbage => Vec::new(),
            Self::SlowHeads | Self::SlowBodies => b" ".to_vec(),
            Self::Fragments => [0x00, 0x80, 0, 0, 0, 0].repeat(1_000),
            Self::Large => vec![b'x'; 16_384],
            Self::Pings => [0x89, 0x80, 0, 0, 0, 0].repeat(100),
        }
    }
}

/// A flood under way.
pub struct Flood {
    over: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    crowd: Option<JoinHandle<()>>,
}

impl Flood {
    /// Lets so many connections loose; one that the gateway ends is opened anew.
    pub fn start(addr: SocketAddr, kind: Kind, connections: usize) -> Self {
        let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let crowd = thread::spawn({
            let (over, opened) = (Arc::clone(&over), Arc::clone(&opened));
            move || {
                let mut crowd = Crowd { addr, kind, members: Vec::new(), opened: 0 };
                while !over.load(Ordering::Relaxed) {
                    crowd.turn(connections);
                    opened.store(crowd.opened, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { over, opened, crowd: Some(crowd) }
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(crowd) = self.crowd.take() {
            // A crowd that has panicked has ended, too.
            let _ = crowd.join();
        }
    }
}

struct Crowd {
    addr: SocketAddr,
    kind: Kind,
    members: Vec<(TcpStream, bool)>,
    opened: usize,
}

impl Crowd {
    /// Opens some connections that are missing, and lets each say something.
    fn turn(&mut self, connections: usize) {
        /// So many at once, which makes 10,000 a second at most.
        const AT_ONCE: usize = 200;
        for _ in 0..AT_ONCE.min(connections.saturating_sub(self.members.len())) {
            let from = Ipv4Addr::new(127, 0, 1, u8::try_from(self.opened % 8).unwrap_or(0) + 1);
            match dial(from, self.addr) {
                Ok(stream) => self.members.push((stream, false)),
                Err(_) => break,
            }
            self.opened += 1;
        }
        let (opening, drip) = (self.kind.opening(), self.kind.drip());
        self.members.retain_mut(|(stream, begun)| {
            let words = if *begun { &drip } else { &opening };
            let said = if words.is_empty() { Ok(0) } else { stream.write(words) };
            match said {
                Ok(_) => *begun = true,
                Err(error) if waits(&error) => {}
                Err(_) => return false,
            }
            match stream.read(&mut [0; 4_096]) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => waits(&error),
            }
        });
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

/// A connection on its way; it never makes the crowd wait.
fn dial(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// What a client waited for, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the connect to the hello.
    pub connects: Vec<f64>,
    /// From a call to its answer.
    pub calls: Vec<f64>,
    /// How often it did not get through.
    pub failed: usize,
    /// The most memory that the gateway held, in KiB.
    pub peak_kib: u64,
}

/// A client that comes, calls and leaves for some time.
///
/// # Errors
///
/// When the gateway is gone.
pub fn watch(server: &Running, time: Duration) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let start = Instant::now();
    while start.elapsed() < time {
        let mut mux = Mux::new()?;
        let begun = Instant::now();
        match enter(&mut mux, server) {
            Ok(slot) => {
                seen.connects.push(begun.elapsed().as_secs_f64() * 1e6);
                let asked = Instant::now();
                mux.send(slot, HEALTH)?;
                match expect(&mut mux, slot, br#"{"type":"res""#) {
                    Ok(_) => seen.calls.push(asked.elapsed().as_secs_f64() * 1e6),
                    Err(_) => seen.failed += 1,
                }
                mux.close(slot);
            }
            Err(_) => seen.failed += 1,
        }
        seen.peak_kib = seen.peak_kib.max(server.resident_kib()?);
        thread::sleep(Duration::from_millis(1));
    }
    Ok(seen)
}

/// The value below which so many of a hundred lie; 0 of none.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((values.len() * percent / 100).min(last)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((percentile(&mut values, 50) - 51.0).abs() < f64::EPSILON);
        assert!((percentile(&mut values, 99) - 100.0).abs() < f64::EPSILON);
        assert!(percentile(&mut [], 99).abs() < f64::EPSILON);
    }
}
