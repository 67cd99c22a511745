//! How often one may be wrong (spec 01 §3.10, 08 S-32, S-33).
//!
//! Wrong credentials are counted in a sliding window for each class and source; too many lock the source out of
//! that class. Clients on this host are not locked out, since anybody on it could then lock out everybody on
//! it; they wait for their answers instead, longer each time. A page in a browser on this host is not its user
//! and is locked out like a stranger.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::DeviceId;
use crate::limits;
use crate::peer::Peer;
use crate::settings::AuthSettings;

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The gateway's token or password.
    SharedSecret,
    /// A paired device's token.
    DeviceToken,
    /// A setup code's token.
    BootstrapToken,
    /// A token that an operator made for a program.
    ServiceToken,
}

impl Class {
    /// Every class.
    pub(crate) const ALL: [Self; 4] =
        [Self::SharedSecret, Self::DeviceToken, Self::BootstrapToken, Self::ServiceToken];

    /// The name in logs and in `status`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SharedSecret => "shared-secret",
            Self::DeviceToken => "device-token",
            Self::BootstrapToken => "bootstrap-token",
            Self::ServiceToken => "service-token",
        }
    }
}

/// Who is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// This host.
    Loopback,
    /// An IPv4 address, also when it came in IPv6 clothes.
    V4([u8; 4]),
    /// An IPv6 network of 64 bits: its holder can change the rest at will.
    V6([u8; 8]),
    /// Pages of one origin, in a browser on this host.
    Origin(String),
    /// A paired device that has proved itself: nobody else can use its attempts up.
    Device(DeviceId),
}

impl Source {
    /// The source of a connection.
    pub(crate) fn of(peer: &Peer) -> Self {
        const MOST: usize = 255;
        let addr = peer.addr.to_canonical();
        let origin = peer.origin.as_deref().map(str::trim).filter(|origin| !origin.is_empty());
        match (addr, origin) {
            (addr, Some(origin)) if addr.is_loopback() => {
                Self::Origin(origin.chars().take(MOST).collect::<String>().to_ascii_lowercase())
            }
            (addr, None) if addr.is_loopback() => Self::Loopback,
            (IpAddr::V4(v4), _) => Self::V4(v4.octets()),
            (IpAddr::V6(v6), _) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl std::fmt::Display for Source {
    /// Fit for a log, whatever a client wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loopback => f.write_str("this host"),
            Self::V4(octets) => IpAddr::from(*octets).fmt(f),
            Self::V6(network) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(network);
                write!(f, "{}/64", IpAddr::from(octets))
            }
            Self::Origin(origin) => write!(f, "page {}", origin.escape_default()),
            Self::Device(device) => write!(f, "device {device}"),
        }
    }
}

/// How much of the limiter's memory a class takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Sources that were wrong lately.
    pub(crate) sources: usize,
    /// Those of them that are locked out.
    pub(crate) locked: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// When the last failures happened, oldest first; never more than lock out.
    failures: VecDeque<Duration>,
    locked_until: Option<Duration>,
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Limiter {
    most: usize,
    window: Duration,
    lockout: Duration,
    exempt_loopback: bool,
    entries: BTreeMap<(Class, Source), Entry>,
    /// Until then the table is full of sources that are locked out, and a search for room is vain.
    all_locked_until: Duration,
}

impl Limiter {
    pub(super) fn new(settings: &AuthSettings) -> Self {
        Self {
            most: usize::try_from(settings.max_attempts).unwrap_or(usize::MAX).max(1),
            window: settings.window,
            lockout: settings.lockout,
            exempt_loopback: settings.exempt_loopback,
            entries: BTreeMap::new(),
            all_locked_until: Duration::ZERO,
        }
    }

    /// Takes over changed settings. What was counted stays counted.
    pub(super) fn configure(&mut self, settings: &AuthSettings) {
        let entries = std::mem::take(&mut self.entries);
        *self = Self { entries, ..Self::new(settings) };
    }

    /// Whether a credential of this class may be looked at. Comes before every comparison.
    ///
    /// # Errors
    ///
    /// How long the source must wait.
    pub(crate) fn check(&mut self, now: Duration, class: Class, source: &Source) -> Result<(), Duration> {
        if self.exempts(source) {
            return Ok(());
        }
        let key = (class, source.clone());
        if !self.entries.contains_key(&key) && self.is_full() && !self.make_room(now) {
            return Err(self.lockout);
        }
        let locked = self.entries.get(&key).and_then(|entry| entry.locked_until);
        match locked.and_then(|until| until.checked_sub(now)) {
            Some(left) if !left.is_zero() => Err(left),
            _ => Ok(()),
        }
    }

    /// Counts a wrong credential. Returns how long the answer is to be held back.
    pub(crate) fn fail(&mut self, now: Duration, class: Class, source: &Source) -> Duration {
        let key = (class, source.clone());
        if !self.entries.contains_key(&key) && self.is_full() && !self.make_room(now) {
            return Duration::ZERO;
        }
        let exempt = self.exempts(source);
        let (most, window, lockout) = (self.most, self.window, self.lockout);
        let entry = self.entries.entry(key).or_default();
        entry.forget(now, window);
        entry.failures.push_back(now);
        let locks = !exempt && entry.failures.len() >= most;
        tracing::info!(
            target: "gateway.auth",
            class = class.as_str(), %source, failures = entry.failures.len(), locks, "a wrong credential was counted"
        );
        if exempt {
            while entry.failures.len() > LOOPBACK_MEMORY {
                entry.failures.pop_front();
            }
            return delay(entry.failures.len());
        }
        if locks {
            entry.failures.clear();
            entry.locked_until = Some(now + lockout);
        }
        Duration::ZERO
    }

    /// A right credential: the source starts anew in this class.
    pub(crate) fn succeed(&mut self, class: Class, source: &Source) {
        self.entries.remove(&(class, source.clone()));
    }

    /// What is remembered of a class.
    pub(crate) fn bucket(&self, now: Duration, class: Class) -> Bucket {
        let mut bucket = Bucket::default();
        for ((found, _), entry) in &self.entries {
            let locked = entry.locked_until.is_some_and(|until| until > now);
            let recent = entry.failures.back().is_some_and(|at| now.saturating_sub(*at) < self.window);
            if *found == class && (locked || recent) {
                bucket.sources += 1;
                bucket.locked += usize::from(locked);
            }
        }
        bucket
    }

    fn exempts(&self, source: &Source) -> bool {
        self.exempt_loopback && *source == Source::Loopback
    }

    fn is_full(&self) -> bool {
        self.entries.len() as u64 >= limits::AUTH_KEYS
    }

    /// Forgets what no longer counts; failing that, some of the sources that are not locked out and whose last
    /// failures are the longest ago. Returns whether there is room now.
    fn make_room(&mut self, now: Duration) -> bool {
        if now < self.all_locked_until {
            return false;
        }
        let window = self.window;
        self.entries.retain(|_, entry| {
            entry.forget(now, window);
            !entry.failures.is_empty() || entry.locked_until.is_some()
        });
        if self.is_full() {
            self.drop_oldest();
        }
        if self.is_full() {
            let first = self.entries.values().filter_map(|entry| entry.locked_until).min();
            self.all_locked_until = first.unwrap_or_default();
        }
        !self.is_full()
    }

    /// Drops several at once, so that a flood of sources does not search the table each time.
    fn drop_oldest(&mut self) {
        let open = self.entries.iter().filter(|(_, entry)| entry.locked_until.is_none());
        let mut keys: Vec<_> =
            open.map(|(key, entry)| (entry.failures.back().copied(), key.clone())).collect();
        keys.sort();
        for (_, key) in keys.into_iter().take(DROPPED_AT_ONCE) {
            self.entries.remove(&key);
        }
    }
}

/// How many sources leave a full table together.
const DROPPED_AT_ONCE: usize = 512;

/// As many failures of this host are remembered as make the delay grow.
const LOOPBACK_MEMORY: usize = 8;

impl Entry {
    fn forget(&mut self, now: Duration, window: Duration) {
        if self.locked_until.is_some_and(|until| until <= now) {
            self.locked_until = None;
        }
        while self.failures.front().is_some_and(|at| now.saturating_sub(*at) >= window) {
            self.failures.pop_front();
        }
    }
}

/// 250 ms for the first failure, twice as long for each further one, five seconds at most.
fn delay(failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    (Duration::from_millis(250) * 2_u32.pow(doublings)).min(limits::millis(limits::AUTH_DELAY_MS))
}

#[cfg(test)]
#[path = "tests/limiter.rs"]
mod tests;
