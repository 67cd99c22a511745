//! The walls: who a request comes from, and whether it may come at all (spec 01 §3.2, §3.11, 08 B, C, H).
//!
//! An adapter says what it saw. Here it is decided, once for each upgrade and each HTTP request, whose address it
//! is from ([`Kind`], `walk`), whether the name that it asks for is this gateway's (`host`), whether the page
//! that sends it belongs here (`page`) and whether its target is plainly written (`path`). Everything that
//! counts, shows or logs addresses afterwards takes the one in the [`Peer`].
//!
//! The rules are the same for both machines. The gateway owns them and tells the switchboards when they change; it
//! alone writes the lines that help an operator to the right setting (`hints`).

pub(crate) mod answer;
mod hints;
mod host;
mod kind;
mod page;
pub(crate) mod path;
mod rules;
mod stop;
#[cfg(test)]
mod tests;
mod trail;
mod walk;

use std::net::IpAddr;
use std::sync::Arc;

pub use hints::Hint;
pub(crate) use hints::Hints;
pub use kind::{Fault, Kind};
pub use rules::{IngressSettings, Rules, network};
pub(crate) use stop::Stop;
pub use trail::Trail;

use crate::http::HttpRequest;
use crate::peer::{Listener, Peer};

/// The rules at work. See the [module documentation](self).
#[derive(Clone, Debug)]
pub(crate) struct Walls {
    rules: Arc<Rules>,
}

impl Walls {
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        Self { rules }
    }

    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Decides how a peer came and what its address is. The trail that it carries is spent: what remains of it is
    /// what a connect asks for.
    pub(crate) fn attribute(&self, peer: &mut Peer) {
        let (kind, addr) = match peer.listener {
            Listener::Tailnet => tailnet(peer),
            Listener::Main => self.main(peer),
        };
        (peer.kind, peer.addr) = (kind, addr);
        if kind == Kind::TrustedProxy {
            let host = peer.trail.nearest("x-forwarded-host").map(str::to_owned);
            peer.host = host.or_else(|| peer.host.take());
            peer.secure = peer.trail.nearest("x-forwarded-proto").map_or(peer.secure, |scheme| {
                scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
            });
        }
        let keep = |name: &str| match kind {
            Kind::TrustedProxy => self.rules.kept.iter().any(|kept| kept == name),
            Kind::TailscaleServe => name.starts_with("tailscale-"),
            _ => false,
        };
        peer.trail.keep(|name| keep(name) || name == "sec-fetch-site");
    }

    fn main(&self, peer: &Peer) -> (Kind, IpAddr) {
        let socket = peer.socket;
        if !peer.trail.is_marked() {
            return (Kind::direct(socket), socket);
        }
        if !self.rules.trusts(socket) {
            return (Kind::Unattributable(Fault::Untrusted), socket);
        }
        match self.client(peer) {
            Ok(addr) => (Kind::TrustedProxy, addr),
            Err(fault) => (Kind::Unattributable(fault), socket),
        }
    }

    /// The client for whom a trusted proxy speaks. `X-Real-IP` is one address that somebody wrote, so it counts only
    /// where the operator says that the proxy writes it, and only beside no list.
    fn client(&self, peer: &Peer) -> Result<IpAddr, Fault> {
        let trusts = |addr| self.rules.trusts(addr);
        if self.rules.allow_real_ip && !peer.trail.has("x-forwarded-for") {
            return walk::client(peer.trail.single("x-real-ip").into_iter(), trusts);
        }
        walk::client(peer.trail.lines("x-forwarded-for"), trusts)
    }

    /// Whether an upgrade may go on (spec 04 §1.3, 08 S-18, S-19, S-23).
    ///
    /// # Errors
    ///
    /// [`Stop`] says what is wrong with it.
    pub(crate) fn admit_upgrade(&self, peer: &mut Peer) -> Result<(), Stop> {
        self.attribute(peer);
        if let Some(query) = peer.query.take() {
            path::check_query(&query)?;
        }
        if let Kind::Unattributable(fault) = peer.kind {
            return Err(Stop::Unattributable(fault));
        }
        self.check_host(peer)?;
        page::check(&self.rules, peer)
    }

    /// Whether an HTTP request may go on to its endpoint. Whether it is attributable is asked where that matters.
    ///
    /// # Errors
    ///
    /// [`Stop`] says what is wrong with it.
    pub(crate) fn admit_request(&self, request: &mut HttpRequest) -> Result<(), Stop> {
        request.peer.trail = Trail::new(request.headers.iter().cloned());
        self.attribute(&mut request.peer);
        if !path::is_plain(&request.path) {
            return Err(Stop::Target);
        }
        if let Some(query) = &request.query {
            path::check_query(query)?;
        }
        self.check_host(&request.peer)?;
        page::check(&self.rules, &request.peer)?;
        page::check_sender(&self.rules, request)
    }

    /// A trusted proxy and the tailnet's answer for the names under which they are reached. What a stranger's proxy
    /// passes on is not let in anyway, and the name is not what its operator should hear of first.
    fn check_host(&self, peer: &Peer) -> Result<(), Stop> {
        match (&peer.host, peer.kind) {
            (None, _) => Ok(()),
            (Some(host), Kind::DirectLocal | Kind::DirectRemote) => host::check(&self.rules, host),
            (Some(host), _) => host::name(host).map(|_| ()).ok_or(Stop::BadHost),
        }
    }
}

/// What came on the tailnet's own listener. Its proxy overwrites these headers, so each stands once.
fn tailnet(peer: &Peer) -> (Kind, IpAddr) {
    let trail = &peer.trail;
    let whole =
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].iter().all(|name| trail.has(name));
    let addr = walk::client(trail.lines("x-forwarded-for"), |_| false);
    match addr {
        Ok(addr) if whole && peer.socket.is_loopback() => {
            let funnel = trail.has("tailscale-funnel-request");
            (if funnel { Kind::TailscaleFunnel } else { Kind::TailscaleServe }, addr)
        }
        _ => (Kind::Unattributable(Fault::NotTailnet), peer.socket),
    }
}
