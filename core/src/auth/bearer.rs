//! Who a plain HTTP request is from (spec 04 §2).
//!
//! The gateway's own secret comes as a bearer token, in either mode. A wrong one is counted together with those
//! of WebSocket connections: one address has one allowance. In mode `none` nothing is shown, so the request must
//! come directly from this host and from no page that belongs elsewhere.

use std::time::Duration;

use telson_proto::{Protocol, Role, Scopes};

use super::limiter::{Class, Source};
use super::principal::{AuthMethod, Client, Credential, Declared, Principal};
use super::request::Credentials;
use super::shared::{self, Reading};
use super::vouched::{Vouched, VoucherFault};
use crate::gateway::Gateway;
use crate::http::HttpRequest;
use crate::peer::is_loopback_name;
use crate::settings::AuthMode;
use crate::tokens;

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BearerFault {
    /// It comes from a page, a host or an address from which nothing may come without a secret.
    Elsewhere(&'static str),
    /// It shows no secret.
    Missing,
    /// It shows a wrong one; the answer is to be held back for so long.
    Wrong(Duration),
    /// Its address was wrong too often and must wait.
    Locked(Duration),
    /// No trusted proxy says who it is.
    NotVouched(VoucherFault),
}

impl BearerFault {
    /// The word for the book of deeds.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Elsewhere(_) => "elsewhere",
            Self::Missing => "secret-missing",
            Self::Wrong(_) => "secret-mismatch",
            Self::Locked(_) => "rate-limited",
            Self::NotVouched(_) => "not-vouched",
        }
    }
}

impl Gateway {
    /// Who a request is from. Wrong secrets are counted.
    ///
    /// # Errors
    ///
    /// [`BearerFault`] when it is not let in.
    pub(crate) fn verify_bearer(&mut self, request: &HttpRequest) -> Result<Principal, BearerFault> {
        if let Some(principal) = self.verify_service_bearer(request)? {
            return Ok(principal);
        }
        let (method, scopes) = match &self.settings.auth.mode {
            AuthMode::None => {
                self.check_neighbour(request)?;
                (AuthMethod::None, Scopes::all())
            }
            AuthMode::Token(_) | AuthMode::Password(_) => (self.check_bearer(request)?, Scopes::all()),
            AuthMode::TrustedProxy { .. } => match self.vouch(&request.peer) {
                Ok(vouched) => return Ok(self.user_of_request(request, vouched)),
                // The password is for clients on this host.
                Err(_) if request.peer.is_direct_local() => (self.check_bearer(request)?, Scopes::all()),
                Err(fault) => return Err(BearerFault::NotVouched(fault)),
            },
        };
        let credential = match method {
            AuthMethod::None => Credential::Nothing,
            _ => Credential::Shared { epoch: self.epochs.secret },
        };
        Ok(principal(request, method, credential, scopes))
    }

    /// Who a request with a service token is from; `None` when it shows none.
    fn verify_service_bearer(&mut self, request: &HttpRequest) -> Result<Option<Principal>, BearerFault> {
        let token = request.authorization.as_deref().and_then(bearer).map(str::trim);
        let Some(token) = token.filter(|token| self.is_service_token(token)) else { return Ok(None) };
        let source = Source::of(&request.peer);
        let held = self.check_service_token(&source, token).map_err(|fault| match fault {
            tokens::Fault::Locked(after) => BearerFault::Locked(after),
            tokens::Fault::Wrong(delay) => BearerFault::Wrong(delay),
        })?;
        let credential = Credential::Service { id: held.id };
        Ok(Some(principal(request, AuthMethod::ServiceToken, credential, held.scopes)))
    }

    /// The user for whom a trusted proxy vouches.
    fn user_of_request(&self, request: &HttpRequest, vouched: Vouched) -> Principal {
        Principal {
            role: Role::Operator,
            scopes: vouched.ceiling,
            method: AuthMethod::TrustedProxy,
            credential: Credential::Vouched { epoch: self.epochs.vouching },
            user: Some(vouched.user),
            device: None,
            protocol: Protocol::V4,
            addr: request.peer.addr,
            local: false,
            declared: Declared::new(Client::default()),
        }
    }

    fn check_bearer(&mut self, request: &HttpRequest) -> Result<AuthMethod, BearerFault> {
        let token = request.authorization.as_deref().and_then(bearer).map(str::to_owned);
        let credentials = Credentials { token, ..Credentials::default() };
        let mode = &self.settings.auth.mode;
        let shown = shared::shown(mode, &credentials, Reading::EitherField);
        if shown.is_none() {
            return Err(BearerFault::Missing);
        }
        let source = Source::of(&request.peer);
        let limiter = &mut self.handshake.limiter;
        limiter.check(self.now.mono, Class::SharedSecret, &source).map_err(BearerFault::Locked)?;
        match shared::evaluate(mode, shown, Reading::EitherField) {
            Ok(method) => {
                limiter.succeed(Class::SharedSecret, &source);
                Ok(method)
            }
            Err(_) => Err(BearerFault::Wrong(limiter.fail(self.now.mono, Class::SharedSecret, &source))),
        }
    }

    /// Mode `none`: the request must come from this host and ask for it by a name that no other site can lead here
    /// (spec 08 S-19). That its page belongs here is known already.
    fn check_neighbour(&self, request: &HttpRequest) -> Result<(), BearerFault> {
        let peer = &request.peer;
        if peer.is_direct_local() && peer.host_name().is_none_or(is_loopback_name) {
            return Ok(());
        }
        Err(BearerFault::Elsewhere(
            "without a secret, requests are taken from this host only; ask for localhost, or set gateway.auth",
        ))
    }
}

/// An operator without a device.
fn principal(request: &HttpRequest, method: AuthMethod, credential: Credential, scopes: Scopes) -> Principal {
    Principal {
        role: Role::Operator,
        scopes,
        method,
        credential,
        user: None,
        device: None,
        protocol: Protocol::V4,
        addr: request.peer.addr,
        local: request.peer.is_direct_local(),
        declared: Declared::new(Client::default()),
    }
}

/// What follows the word `Bearer`, whose case does not matter.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim_start().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_in_any_case_and_nothing_else_counts() {
        assert_eq!(bearer("Bearer t"), Some("t"));
        assert_eq!(bearer("bEARER  t "), Some(" t "));
        for other in ["t", "Basic dDp0", "Bearer", "Bearert", ""] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }
}
