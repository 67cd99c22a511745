//! Why a request goes no further, what its client is told, and what its operator can do.

use serde_json::json;

use super::hints::Hint;
use super::kind::Fault;
use crate::http::HttpResponse;
use crate::peer::Peer;

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its path could mean several things.
    Target,
    /// It carries a secret in its URL.
    SecretInUrl,
    /// Its `Host` header is no host.
    BadHost,
    /// It asks for a host that is not this one.
    ForeignHost(String),
    /// It came through a proxy, and nobody says for whom.
    Unattributable(Fault),
    /// The page that sends it is not allowed here.
    ForeignPage(String),
    /// Its browser says that a page of another site sends it.
    CrossSite,
    /// It is what a form of any page can send.
    Form,
}

impl Stop {
    /// The word for logs and for the error's type.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Target | Self::BadHost | Self::SecretInUrl => "invalid_request_error",
            Self::ForeignHost(_) => "host_not_allowed",
            Self::Unattributable(_) => "proxy_attribution_required",
            Self::ForeignPage(_) => "origin_not_allowed",
            Self::CrossSite | Self::Form => "cross_site_request",
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Target | Self::BadHost | Self::SecretInUrl => 400,
            Self::ForeignHost(_) => 421,
            Self::Unattributable(_) | Self::ForeignPage(_) | Self::CrossSite | Self::Form => 403,
        }
    }

    const fn message(&self) -> &'static str {
        match self {
            Self::Target => {
                "the path must be plain: no dot segments, double slashes, backslashes or nested escapes"
            }
            Self::SecretInUrl => {
                "secrets do not belong in a URL; send Authorization: Bearer, or the token in connect"
            }
            Self::BadHost => "the Host header is not a host name or address",
            Self::ForeignHost(_) => {
                "this gateway does not answer to that host name; list it in gateway.allowedHosts"
            }
            Self::Unattributable(_) => {
                "proxy headers from an address that is not a trusted proxy; connect directly, or list the proxy in gateway.trustedProxies"
            }
            Self::ForeignPage(_) => {
                "origin not allowed; open the page from the gateway host or list its origin in gateway.controlUi.allowedOrigins"
            }
            Self::CrossSite => "pages of other sites may not send requests here",
            Self::Form => "send JSON with Content-Type: application/json",
        }
    }

    /// The answer.
    pub(crate) fn response(&self) -> HttpResponse {
        let body = json!({"error": {"message": self.message(), "type": self.word()}});
        HttpResponse::json(self.status(), body.to_string())
    }

    /// The setting that would let such requests in, if it is for the operator to decide.
    pub(crate) fn hint(&self, peer: &Peer) -> Option<Hint> {
        let socket = peer.socket;
        match self {
            Self::Unattributable(fault) => Some(Hint::proxy(*fault, socket)),
            Self::ForeignHost(name) => Some(Hint::host(name)),
            Self::ForeignPage(origin) => Some(Hint::origin(origin)),
            Self::Target | Self::SecretInUrl | Self::BadHost | Self::CrossSite | Self::Form => None,
        }
    }
}
