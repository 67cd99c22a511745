//! Whose an address of the tailnet is (spec 01 §3.7).
//!
//! A header says who somebody is; only the tailnet knows. Its answer is remembered for a while, a failure for a
//! short one, so that a client that comes again and again asks once. A connect waits for the answer here and then
//! begins anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::ask::About;
use super::report::login;
use crate::gateway::Gateway;
use crate::ids::ConnId;
use crate::limits;
use crate::messages::Connect;
use crate::time::Now;

/// What is known, and who waits to know.
#[derive(Default)]
pub(super) struct Whois {
    known: BTreeMap<IpAddr, Known>,
    asking: usize,
    /// Connects that wait, by their connection.
    waiting: BTreeMap<ConnId, (IpAddr, Connect)>,
}

struct Known {
    /// Whose it is; `None` when the tailnet could not tell.
    login: Option<String>,
    until: Duration,
}

/// What the tailnet says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This login.
    Login(String),
    /// It cannot tell, or cannot be asked.
    Unknown,
    /// It has been asked.
    Asked,
}

impl Whois {
    fn get(&self, now: Now, address: IpAddr) -> Option<Owner> {
        let known = self.known.get(&address).filter(|known| known.until > now.mono)?;
        Some(known.login.clone().map_or(Owner::Unknown, Owner::Login))
    }

    fn put(&mut self, now: Now, address: IpAddr, login: Option<String>) {
        self.known.retain(|_, known| known.until > now.mono);
        while self.known.len() as u64 >= limits::WHOIS_ENTRIES {
            let first = self.known.iter().min_by_key(|(_, known)| known.until).map(|(address, _)| *address);
            let Some(first) = first else { break };
            self.known.remove(&first);
        }
        let life = if login.is_some() { limits::WHOIS_TTL_MS } else { limits::WHOIS_FAILED_TTL_MS };
        self.known.insert(address, Known { login, until: now.mono + limits::millis(life) });
    }

    /// A connection is gone: nobody waits for its answer any more.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    /// Forgets everything: the rules have changed.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl Gateway {
    /// Whose an address is. After [`Owner::Asked`], hand the connect to [`Self::wait_for_owner`].
    pub(crate) fn owner_of(&mut self, address: IpAddr) -> Owner {
        let address = address.to_canonical();
        if let Some(owner) = self.tailscale.whois.get(self.now, address) {
            return owner;
        }
        let whois = &self.tailscale.whois;
        if whois.waiting.len() as u64 >= limits::WHOIS_WAITING {
            return Owner::Unknown;
        }
        let mut questions = self.tailscale.questions.values();
        if questions.any(|question| question.about == About::Address(address)) {
            return Owner::Asked;
        }
        if whois.asking as u64 >= limits::WHOIS_AT_ONCE {
            return Owner::Unknown;
        }
        let text = address.to_string();
        if !self.ask_tailscale(About::Address(address), &["whois", "--json", &text], limits::WHOIS_MS) {
            return Owner::Unknown;
        }
        self.tailscale.whois.asking += 1;
        Owner::Asked
    }

    /// Lets a connect begin anew when the owner of the address is known.
    pub(crate) fn wait_for_owner(&mut self, address: IpAddr, connect: Connect) {
        let conn = connect.ticket.conn;
        self.tailscale.whois.waiting.insert(conn, (address.to_canonical(), connect));
    }

    /// Lets everybody who waits go on: there will be no answers any more.
    pub(super) fn owners_never_known(&mut self) {
        self.tailscale.whois.asking = 0;
        for (_, (_, connect)) in std::mem::take(&mut self.tailscale.whois.waiting) {
            self.connect(connect);
        }
    }

    pub(super) fn whois_answered(&mut self, address: IpAddr, answer: Option<&str>) {
        let login = answer.and_then(login);
        tracing::debug!(target: "gateway.tailscale", %address, known = login.is_some(), "asked whose an address is");
        let now = self.now;
        let whois = &mut self.tailscale.whois;
        whois.asking = whois.asking.saturating_sub(1);
        whois.put(now, address, login);
        let waiting = std::mem::take(&mut whois.waiting);
        let (ready, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            waiting.into_iter().partition(|(_, (of, _))| *of == address);
        whois.waiting = waiting;
        for (_, (_, connect)) in ready {
            self.connect(connect);
        }
    }
}
