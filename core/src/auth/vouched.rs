//! A user for whom a trusted proxy vouches (spec 01 §3.8, §6.6, 08 S-05, S-27).
//!
//! The proxy signs people in and names them in a header. Its word counts when it comes from a trusted proxy; from
//! one on this host, where any process can speak, only together with the secret that the operator gave it. A user
//! gets the scopes that the operator lists for the name, and may ask for fewer.

use std::collections::BTreeMap;

use telson_proto::{Scope, Scopes};

use super::secret::Secret;
use crate::gateway::Gateway;
use crate::ingress::{Kind, Trail};
use crate::peer::Peer;
use crate::settings::AuthMode;

/// The header in which a proxy narrows what its user's connection may do.
pub(super) const SCOPES_HEADER: &str = "x-openclaw-scopes";

/// `gateway.auth.trustedProxy` and `gateway.auth.identityScopes`.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxySettings {
    /// The header that names the user, lower case.
    pub user_header: String,
    /// Headers that must be there too, lower case.
    pub required_headers: Vec<String>,
    /// The users that are let in; empty lets in all that the proxy names.
    pub allow_users: Vec<String>,
    /// Whether a proxy on this host counts.
    pub allow_loopback: bool,
    /// The header by which the proxy proves itself, lower case, and its value.
    pub secret_header: Option<(String, Secret)>,
    /// What users may do; others may read.
    pub identity_scopes: BTreeMap<String, Scopes>,
}

impl TrustedProxySettings {
    /// The headers that are looked at.
    pub(crate) fn headers(&self) -> Vec<String> {
        let secret = self.secret_header.iter().map(|(name, _)| name.clone());
        let all = self.required_headers.iter().cloned().chain(secret);
        all.chain([self.user_header.clone(), SCOPES_HEADER.to_owned()]).collect()
    }

    /// Whether both say the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let secret = match (&self.secret_header, &other.secret_header) {
            (None, None) => true,
            (Some((name, own)), Some((other, theirs))) => name == other && own.matches(theirs.expose()),
            _ => false,
        };
        secret
            && self.user_header == other.user_header
            && self.required_headers == other.required_headers
            && self.allow_users == other.allow_users
            && self.allow_loopback == other.allow_loopback
            && self.identity_scopes == other.identity_scopes
    }

    /// The user of a request and what it may do at most.
    fn user(&self, peer: &Peer) -> Result<Vouched, VoucherFault> {
        let loopback = peer.socket.is_loopback();
        if loopback && !(self.allow_loopback && self.secret_header.is_some()) {
            return Err(VoucherFault::Loopback);
        }
        if let Some((name, secret)) = &self.secret_header
            && !peer.trail.single(name).is_some_and(|shown| secret.matches(shown))
        {
            return Err(VoucherFault::Credential);
        }
        for name in &self.required_headers {
            if !peer.trail.lines(name).any(|value| !value.trim().is_empty()) {
                return Err(VoucherFault::Header);
            }
        }
        let user = peer.trail.single(&self.user_header).ok_or(VoucherFault::User)?;
        if user.len() > LONGEST_NAME || user.chars().any(char::is_control) {
            return Err(VoucherFault::User);
        }
        if !self.allow_users.is_empty() && !self.allow_users.iter().any(|allowed| allowed == user) {
            return Err(VoucherFault::NotAllowed);
        }
        let baseline = self.identity_scopes.get(user).cloned();
        let baseline = baseline.unwrap_or_else(|| Scopes::from_iter([Scope::Read]));
        Ok(Vouched { user: user.to_owned(), ceiling: capped(&baseline, &peer.trail) })
    }
}

/// The longest name of a user in bytes.
const LONGEST_NAME: usize = 256;

/// A user for whom somebody vouches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    /// The name.
    pub(crate) user: String,
    /// The most that the user may do.
    pub(crate) ceiling: Scopes,
}

/// Why nobody vouches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoucherFault {
    /// The request did not come through a trusted proxy.
    Source,
    /// The proxy is on this host, where its word alone does not count.
    Loopback,
    /// The proxy's address is one of this host's own.
    Interface,
    /// The proxy did not prove itself.
    Credential,
    /// A header is missing that must be there.
    Header,
    /// No user is named, or several.
    User,
    /// The user is not one of those who are let in.
    NotAllowed,
}

impl VoucherFault {
    /// The reason as the log and v4 details spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "trusted_proxy_untrusted_source",
            Self::Loopback => "trusted_proxy_loopback_source",
            Self::Interface => "trusted_proxy_local_interface_source",
            Self::Credential => "trusted_proxy_credential_mismatch",
            Self::Header => "trusted_proxy_missing_header",
            Self::User => "trusted_proxy_user_missing",
            Self::NotAllowed => "trusted_proxy_user_not_allowed",
        }
    }

    /// The code in v4 details.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Header => "AUTH_IDENTITY_HEADER_REQUIRED",
            _ => "AUTH_UNAUTHORIZED",
        }
    }
}

/// What the proxy's header leaves of the scopes: it can only narrow, and an empty one leaves none.
fn capped(baseline: &Scopes, trail: &Trail) -> Scopes {
    if !trail.has(SCOPES_HEADER) {
        return baseline.clone();
    }
    let named: Vec<&str> =
        trail.lines(SCOPES_HEADER).flat_map(|line| line.split(',')).map(str::trim).collect();
    Scopes::parse(&named).within(baseline, telson_proto::Protocol::V4)
}

impl Gateway {
    /// Whether users come through a trusted proxy.
    pub(crate) fn vouches(&self) -> bool {
        matches!(self.settings.auth.mode, AuthMode::TrustedProxy { .. })
    }

    /// Who a trusted proxy says that a request is from.
    ///
    /// # Errors
    ///
    /// Why its word does not count.
    pub(crate) fn vouch(&self, peer: &Peer) -> Result<Vouched, VoucherFault> {
        if peer.kind != Kind::TrustedProxy {
            return Err(VoucherFault::Source);
        }
        let own = self.settings.facts.ip.as_deref().and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
        if own == Some(peer.socket) || self.own_addrs.contains(&peer.socket) {
            return Err(VoucherFault::Interface);
        }
        self.settings.auth.trusted_proxy.user(peer)
    }
}
