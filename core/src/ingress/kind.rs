//! How a request came (spec 01 §3.2).

use std::net::IpAddr;

use super::trail::is_of_a_proxy;
use crate::peer::Listener;

/// How a request came. Decided once, by `super::Walls::attribute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From this host, and nobody stands between.
    DirectLocal,
    /// From another host, and nobody stands between.
    DirectRemote,
    /// Through a proxy that the operator trusts, which names the client's address.
    TrustedProxy,
    /// Through the tailnet's proxy, from a member of the tailnet.
    TailscaleServe,
    /// Through the tailnet's proxy, from the internet.
    TailscaleFunnel,
    /// Through somebody who is not trusted, or who does not say for whom.
    Unattributable(Fault),
}

/// Why nobody can say where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The proxy is not one of `gateway.trustedProxies`.
    Untrusted,
    /// The trusted proxy names no client.
    Unnamed,
    /// The trusted proxy names something that is no address.
    Unreadable,
    /// The trusted proxy names only itself and this host.
    OnlyProxies,
    /// Not what the tailnet's proxy sends.
    NotTailnet,
}

impl Kind {
    /// What can be said without trusting anybody: the verdict before the rules are known.
    pub(crate) fn untrusting(socket: IpAddr, listener: Listener, head: &[(String, String)]) -> Self {
        match listener {
            Listener::Tailnet => Self::Unattributable(Fault::NotTailnet),
            Listener::Main if head.iter().any(|(name, _)| is_of_a_proxy(name)) => {
                Self::Unattributable(Fault::Untrusted)
            }
            Listener::Main => Self::direct(socket),
        }
    }

    /// Nobody stands between.
    pub(super) fn direct(socket: IpAddr) -> Self {
        if socket.to_canonical().is_loopback() { Self::DirectLocal } else { Self::DirectRemote }
    }

    /// The word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DirectLocal => "direct-local",
            Self::DirectRemote => "direct-remote",
            Self::TrustedProxy => "trusted-proxy",
            Self::TailscaleServe => "tailscale-serve",
            Self::TailscaleFunnel => "tailscale-funnel",
            Self::Unattributable(_) => "unattributable-proxy",
        }
    }
}
