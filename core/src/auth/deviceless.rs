//! What a connection without a device may be (spec 01 §3.6, §9.5).
//!
//! Two rules stand above the tables. In mode `none` credentials are not looked at, so showing some must not
//! help [S-02]. And a node must have a device, whatever secret it shows and in whatever
//! dialect [S-08]: there 01 §9.5 gives way.

use telson_proto::{Dialect, Protocol, Role};

use super::failure::{AuthFailure, Refusal};
use super::principal::AuthMethod;
use super::request::ConnectRequest;
use crate::ingress::Kind;
use crate::peer::Peer;
use crate::settings::{AuthMode, AuthSettings};

/// How much of what it asks for a connection without a device gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// All of it.
    Scopes,
    /// It is in, but may do nothing that asks for a scope.
    NoScopes,
}

/// Why a connection without a device is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It needs a device.
    Device,
    /// Its page needs a device.
    ControlUiDevice,
    /// What it showed is wrong.
    Credential(AuthFailure),
}

impl Lack {
    /// The refusal of this request.
    pub(super) fn refusal(self, request: &ConnectRequest, local: bool) -> Refusal {
        match self {
            Self::Device => Refusal::device_required(),
            Self::ControlUiDevice => Refusal::control_ui_device_required(request.protocol),
            Self::Credential(failure) => failure.refusal(request, local),
        }
    }
}

/// Whether a protocol 3 page has been excused from having a device, and its device is to be ignored.
pub(super) fn ignores_device(settings: &AuthSettings, request: &ConnectRequest) -> bool {
    request.is_native_v3() && settings.disable_device_auth && request.kind.must_have_device(Protocol::V3)
}

/// Protocol 3, before the secret is looked at: whether there is anything to look at.
///
/// # Errors
///
/// What the connection lacks.
pub(super) fn v3(settings: &AuthSettings, peer: &Peer, request: &ConnectRequest) -> Result<(), Lack> {
    if request.role == Role::Node {
        return Err(Lack::Device);
    }
    let page = request.kind.must_have_device(Protocol::V3);
    let vouched = matches!(settings.mode, AuthMode::TrustedProxy { .. }) && peer.kind == Kind::TrustedProxy;
    let excused = settings.allow_insecure_auth || settings.disable_device_auth || vouched;
    if page && !excused {
        return Err(Lack::ControlUiDevice);
    }
    let credentials = &request.credentials;
    let shown = match &settings.mode {
        AuthMode::None => peer.is_direct_local(),
        AuthMode::TrustedProxy { .. } => vouched || credentials.password().is_some(),
        _ if page => credentials.token().is_some() || credentials.password().is_some(),
        AuthMode::Token(_) => credentials.token().is_some(),
        // The old gateway let a password pass if some token stood beside it; a token that is never looked at
        // must not help.
        AuthMode::Password(_) => false,
    };
    if shown { Ok(()) } else { Err(Lack::Device) }
}

/// Protocol 4, after the secret was looked at.
///
/// # Errors
///
/// What the connection lacks.
pub(super) fn v4(
    peer: &Peer,
    request: &ConnectRequest,
    shared: Result<AuthMethod, AuthFailure>,
) -> Result<Allowance, Lack> {
    let operator = request.role == Role::Operator;
    if operator && shared == Ok(AuthMethod::TrustedProxy) {
        return Ok(Allowance::Scopes); // no more than the user's own
    }
    let beside = peer.is_direct_local() && !has_origin(peer);
    if operator && shared.is_ok() && beside && request.kind.is_backend() {
        return Ok(Allowance::Scopes);
    }
    if request.kind.must_have_device(Protocol::V4) {
        return Err(Lack::ControlUiDevice);
    }
    match shared {
        Ok(AuthMethod::Token | AuthMethod::Password) if operator => {
            let own_cli = beside && request.kind.is_cli_proper();
            Ok(if own_cli { Allowance::Scopes } else { Allowance::NoScopes })
        }
        Err(failure) if is_attempt(failure) => Err(Lack::Credential(failure)),
        _ => Err(Lack::Device),
    }
}

/// The plain dialect, after the secret was looked at. Who holds the secret is trusted with what it asks for.
///
/// # Errors
///
/// What the connection lacks.
pub(super) fn plain(
    peer: &Peer,
    request: &ConnectRequest,
    shared: Result<AuthMethod, AuthFailure>,
) -> Result<Allowance, Lack> {
    match (shared, request.role) {
        (Ok(AuthMethod::Token | AuthMethod::Password | AuthMethod::TrustedProxy), Role::Operator) => {
            Ok(Allowance::Scopes)
        }
        (Ok(AuthMethod::None), Role::Operator) if peer.is_direct_local() => Ok(Allowance::Scopes),
        (Err(failure), _) if is_attempt(failure) => Err(Lack::Credential(failure)),
        _ => Err(Lack::Device),
    }
}

/// The allowance by the dialect and protocol of the request, after the secret was looked at.
///
/// # Errors
///
/// What the connection lacks.
pub(super) fn after_secret(
    peer: &Peer,
    request: &ConnectRequest,
    shared: Result<AuthMethod, AuthFailure>,
) -> Result<Allowance, Lack> {
    match (request.dialect, request.protocol) {
        (Dialect::Plain, _) => plain(peer, request, shared),
        (Dialect::Native, Protocol::V4) => v4(peer, request, shared),
        (Dialect::Native, Protocol::V3) => shared.map(|_| Allowance::Scopes).map_err(Lack::Credential),
    }
}

fn has_origin(peer: &Peer) -> bool {
    peer.origin.as_deref().is_some_and(|origin| !origin.trim().is_empty())
}

/// Whether something was shown, right or wrong.
fn is_attempt(failure: AuthFailure) -> bool {
    failure.is_wrong()
        || matches!(
            failure,
            AuthFailure::RateLimited(_) | AuthFailure::NotVouched(_) | AuthFailure::Tailnet(_)
        )
}
