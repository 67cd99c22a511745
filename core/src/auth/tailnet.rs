//! A user for whom the tailnet vouches (spec 01 §3.7, 05 §8.2, 08 S-28).
//!
//! The tailnet's proxy names its user in a header. That counts on the listener of the tailnet alone, for a client
//! that shows no secret, and only when the tailnet itself says the same of the address that the client comes from.
//! Plain HTTP never asks here.

use std::net::IpAddr;

use telson_proto::Scopes;

use super::failure::AuthFailure;
use super::request::ConnectRequest;
use super::vouched::Vouched;
use crate::gateway::Gateway;
use crate::ingress::Kind;
use crate::messages::Connect;
use crate::peer::Peer;
use crate::settings::AuthMode;
use crate::tailscale::Owner;

/// The header that names the user.
const LOGIN: &str = "tailscale-user-login";

/// Why the tailnet does not vouch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TailnetFault {
    /// Its proxy names nobody.
    Unnamed,
    /// It cannot tell whose the address is.
    Unknown,
    /// It says another name.
    Mismatch,
}

impl TailnetFault {
    /// The reason as the log and v4 details spell it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unnamed => "tailscale_user_missing",
            Self::Unknown => "tailscale_whois_failed",
            Self::Mismatch => "tailscale_user_mismatch",
        }
    }

    /// The code in v4 details.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Unnamed => "AUTH_TAILSCALE_IDENTITY_MISSING",
            Self::Unknown => "AUTH_TAILSCALE_WHOIS_FAILED",
            Self::Mismatch => "AUTH_TAILSCALE_IDENTITY_MISMATCH",
        }
    }

    /// What is wrong, in words.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Unnamed => "tailscale identity missing",
            Self::Unknown => "tailscale identity check failed",
            Self::Mismatch => "tailscale identity mismatch",
        }
    }
}

impl Gateway {
    /// The address whose owner must be asked for before the connect can be believed; `None` when nobody must be
    /// asked, or the answer is there.
    pub(super) fn must_ask_tailnet(&mut self, connect: &Connect, request: &ConnectRequest) -> Option<IpAddr> {
        let named = self.may_vouch(&connect.peer, request) && login(&connect.peer).is_some();
        (named && self.owner_of(connect.peer.addr) == Owner::Asked).then_some(connect.peer.addr)
    }

    /// Whether the tailnet is heard on who this is.
    fn may_vouch(&self, peer: &Peer, request: &ConnectRequest) -> bool {
        let shown = &request.credentials;
        let secret = matches!(self.settings.auth.mode, AuthMode::Token(_) | AuthMode::Password(_));
        self.settings.auth.allow_tailscale
            && secret
            && peer.kind == Kind::TailscaleServe
            && shown.token().is_none()
            && shown.password().is_none()
    }

    /// Who the tailnet says that this is; `None` when it is not heard.
    pub(super) fn tailnet_user(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
    ) -> Option<Result<Vouched, TailnetFault>> {
        let peer = &connect.peer;
        if !self.may_vouch(peer, request) {
            return None;
        }
        let Some(named) = login(peer) else { return Some(Err(TailnetFault::Unnamed)) };
        Some(match self.owner_of(peer.addr) {
            Owner::Login(owner) if owner.eq_ignore_ascii_case(named) => {
                let listed = self.settings.auth.trusted_proxy.identity_scopes.iter();
                let own = listed.into_iter().find(|(user, _)| user.eq_ignore_ascii_case(&owner));
                let ceiling = own.map_or_else(Scopes::all, |(_, scopes)| scopes.clone());
                Ok(Vouched { user: owner, ceiling })
            }
            Owner::Login(_) => Err(TailnetFault::Mismatch),
            Owner::Unknown | Owner::Asked => Err(TailnetFault::Unknown),
        })
    }
}

impl From<TailnetFault> for AuthFailure {
    fn from(fault: TailnetFault) -> Self {
        Self::Tailnet(fault)
    }
}

/// The user whom the tailnet's proxy names, once.
fn login(peer: &Peer) -> Option<&str> {
    peer.trail.single(LOGIN)
}
