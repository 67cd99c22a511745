//! One line for a set-up that is wrong: which key to change, and to what (07 P-24).
//!
//! Clients repeat themselves, and what they send is theirs to choose, so a line is written once in a while for each
//! subject, and for few subjects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::kind::Fault;
use crate::limits;

/// What an operator should change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    problem: String,
    remedy: String,
}

impl Hint {
    /// A proxy whose word does not count, or says too little.
    pub(super) fn proxy(fault: Fault, proxy: IpAddr) -> Self {
        let own = if proxy.is_loopback() {
            r#"["127.0.0.1", "::1"]"#.to_owned()
        } else {
            format!(r#"["{proxy}"]"#)
        };
        let (problem, remedy) = match fault {
            Fault::Untrusted => (
                format!("a proxy at {proxy} passes requests on, and it is not trusted"),
                format!("if it is yours, add its address: gateway.trustedProxies: {own}"),
            ),
            Fault::Unnamed => (
                format!("the trusted proxy at {proxy} sends no X-Forwarded-For"),
                "let it add the client's address to X-Forwarded-For; if it sets X-Real-IP instead: gateway.allowRealIpFallback: true".to_owned(),
            ),
            Fault::Unreadable => (
                format!("the trusted proxy at {proxy} sends an X-Forwarded-For that ends in no address"),
                "let it append the client's address as the last entry".to_owned(),
            ),
            Fault::OnlyProxies => (
                format!("the trusted proxy at {proxy} passes on a request of its own host or of another trusted proxy"),
                "clients on the gateway's host connect to the gateway itself; if the client is no proxy, take its address out of gateway.trustedProxies".to_owned(),
            ),
            Fault::NotTailnet => (
                format!("{proxy} came to the tailnet's port without the headers of the tailnet's proxy"),
                "connect to the gateway's own port; see gateway.port".to_owned(),
            ),
        };
        Self { problem, remedy }
    }

    /// A name by which the gateway is not known.
    pub(super) fn host(name: &str) -> Self {
        let name = shown(name);
        Self {
            problem: format!("a client asked for the host \"{name}\", which is not known to be this gateway"),
            remedy: format!("if it is: gateway.allowedHosts: [\"{name}\"]"),
        }
    }

    /// A page that may not connect.
    pub(super) fn origin(origin: &str) -> Self {
        let origin = shown(origin);
        Self {
            problem: format!("a page of \"{origin}\" was refused"),
            remedy: format!("if it is yours: gateway.controlUi.allowedOrigins: [\"{origin}\"]"),
        }
    }
}

/// What a client wrote, fit for a log (spec 08 S-101).
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let inert = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') { c } else { '?' };
    text.chars().take(MOST).map(inert).collect()
}

/// The lines that were written lately.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    said: BTreeMap<Hint, Duration>,
}

impl Hints {
    /// Writes the line, unless it was written lately or too many others were.
    pub(crate) fn say(&mut self, now: Duration, hint: Hint) {
        if self.is_new(now, &hint) {
            tracing::warn!(target: "gateway", "{}; {}", hint.problem, hint.remedy);
            self.said.insert(hint, now);
        }
    }

    fn is_new(&mut self, now: Duration, hint: &Hint) -> bool {
        let rest = limits::millis(limits::HINT_MS);
        self.said.retain(|_, at| now.saturating_sub(*at) < rest);
        !self.said.contains_key(hint) && (self.said.len() as u64) < limits::HINTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_in_a_while_and_for_few_subjects() {
        let mut hints = Hints::default();
        let proxy = || Hint::proxy(Fault::Untrusted, IpAddr::from([10, 0, 0, 2]));
        assert!(proxy().remedy.ends_with(r#"gateway.trustedProxies: ["10.0.0.2"]"#));
        assert!(hints.is_new(Duration::ZERO, &proxy()));
        hints.say(Duration::ZERO, proxy());
        assert!(!hints.is_new(Duration::from_secs(599), &proxy()));
        for n in 0..1_000 {
            hints.say(Duration::from_secs(1), Hint::host(&format!("h{n}.example")));
        }
        assert_eq!(hints.said.len() as u64, limits::HINTS);
        assert!(hints.is_new(Duration::from_secs(601), &proxy()));
    }

    #[test]
    fn what_a_client_wrote_is_inert_in_a_line() {
        let hint = Hint::origin(&format!("http://x\u{1b}[31m\r\n\u{202e}\"{}", "y".repeat(1_000)));
        assert!(hint.problem.bytes().all(|b| (b' '..0x7f).contains(&b)) && hint.problem.len() < 300);
    }
}
