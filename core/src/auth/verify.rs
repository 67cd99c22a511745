//! From a connect to who it is: secret, device, device token (spec 01 §2.1 steps 7–10).
//!
//! Protocol 3 asks for the device first and looks at the secret afterwards, the others the other way round;
//! that shows only in which of several errors is told.

use std::time::Duration;

use telson_proto::connect::DeviceProof;
use telson_proto::{Role, Scopes};

use super::deviceless::{self, Allowance};
use super::epochs::Epochs;
use super::failure::{AuthFailure, Refusal};
use super::limiter::{Class, Source};
use super::principal::{AuthMethod, Credential};
use super::proof::{self, Challenge, ProvenDevice};
use super::request::ConnectRequest;
use super::shared::{self, Reading};
use super::vouched::Vouched;
use crate::devices::{Held, Shown};
use crate::gateway::Gateway;
use crate::messages::Connect;
use crate::settings::AuthMode;
use crate::tokens;

/// A connection that has proved itself.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) method: AuthMethod,
    /// The device whose key signed the challenge; not necessarily paired.
    pub(super) device: Option<ProvenDevice>,
    /// The good device token that was shown.
    pub(super) token: Option<ShownToken>,
    /// The good setup code that was shown.
    pub(super) setup: Option<Shown>,
    /// The good service token that was shown.
    pub(super) service: Option<tokens::Held>,
    /// Without a device: what it gets of what it asks for.
    pub(super) allowance: Allowance,
    /// The user for whom somebody vouches, and what it may do at most.
    pub(super) vouched: Option<Vouched>,
}

/// A good device token and what it allows.
pub(super) struct ShownToken {
    pub(super) value: String,
    pub(super) held: Held,
}

impl std::fmt::Debug for ShownToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownToken").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Verified {
    fn new(method: AuthMethod, device: Option<ProvenDevice>, token: Option<ShownToken>) -> Self {
        Self {
            method,
            device,
            token,
            setup: None,
            service: None,
            allowance: Allowance::Scopes,
            vouched: None,
        }
    }

    /// Whether the connection showed the gateway's own secret, or the gateway asks for none.
    pub(super) fn has_secret(&self) -> bool {
        matches!(self.method, AuthMethod::None | AuthMethod::Token | AuthMethod::Password)
    }

    /// What admits the connection.
    pub(super) fn credential(&self, epochs: Epochs) -> Credential {
        if let Some(service) = &self.service {
            return Credential::Service { id: service.id.clone() };
        }
        match (self.method, &self.token) {
            (AuthMethod::None, _) => Credential::Nothing,
            (AuthMethod::TrustedProxy | AuthMethod::Tailscale, _) => {
                Credential::Vouched { epoch: epochs.vouching }
            }
            (AuthMethod::DeviceToken, Some(token)) => {
                Credential::DeviceToken { hash: token.held.hash.clone() }
            }
            _ => Credential::Shared { epoch: epochs.secret },
        }
    }

    /// The scopes that the credential gives of those asked for.
    pub(super) fn scopes(&self, request: &ConnectRequest) -> Scopes {
        if let Some(service) = &self.service {
            return request.wanted.by_service(&service.scopes, request.protocol);
        }
        if let Some(setup) = &self.setup {
            return request.wanted.by_token(&setup.profile.grant().scopes, request.protocol);
        }
        if let Some(vouched) = &self.vouched {
            return request.wanted.by_token(&vouched.ceiling, request.protocol);
        }
        match (&self.token, self.has_secret()) {
            (Some(token), false) => request.wanted.by_token(&token.held.scopes, request.protocol),
            _ => request.wanted.by_secret(),
        }
    }
}

impl Gateway {
    /// Who a connect is from.
    ///
    /// # Errors
    ///
    /// The refusal to answer with; wrong credentials have been counted.
    pub(super) fn verify(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
    ) -> Result<Verified, Refusal> {
        if let Some(verified) = self.look_at_service_token(connect, request)? {
            return Ok(verified);
        }
        let settings = &self.settings.auth;
        let proof = request.device.as_ref().filter(|_| !deviceless::ignores_device(settings, request));
        let local = connect.peer.is_direct_local();
        if request.is_native_v3() {
            let Some(proof) = proof else {
                deviceless::v3(settings, &connect.peer, request)
                    .map_err(|lack| lack.refusal(request, local))?;
                let shared = self.look_at_secret(connect, request);
                return self.without_device(connect, request, shared);
            };
            let device = self.prove(connect, request, proof)?;
            let shared = self.look_at_secret(connect, request);
            return self.with_device(connect, request, device, shared);
        }
        let shared = self.look_at_secret(connect, request);
        match proof {
            None => self.without_device(connect, request, shared),
            Some(proof) => {
                let device = self.prove(connect, request, proof)?;
                self.with_device(connect, request, device, shared)
            }
        }
    }

    fn prove(
        &self,
        connect: &Connect,
        request: &ConnectRequest,
        proof: &DeviceProof,
    ) -> Result<ProvenDevice, Refusal> {
        let challenge = Challenge {
            nonce: &connect.nonce,
            now_ms: self.now.wall,
            protocol: request.protocol,
            local: connect.peer.is_direct_local(),
            role: request.role,
            token: request.credentials.signed_token(),
            fields: &request.signed,
        };
        proof::verify(proof, &challenge).map_err(proof::ProofFault::refusal)
    }

    /// Compares the secret, unless this source was wrong too often. Counts nothing yet.
    fn look_at_secret(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
    ) -> Result<AuthMethod, AuthFailure> {
        let reading = reading(request);
        let mode = &self.settings.auth.mode;
        let shown = shared::shown(mode, &request.credentials, reading);
        if self.vouches() {
            match self.vouch(&connect.peer) {
                Ok(_) => return Ok(AuthMethod::TrustedProxy),
                // The password is for clients on this host.
                Err(fault) if shown.is_none() || !connect.peer.is_direct_local() => {
                    return Err(AuthFailure::NotVouched(fault));
                }
                Err(_) => {}
            }
        }
        if let Some(word) = self.tailnet_user(connect, request) {
            return word.map(|_| AuthMethod::Tailscale).map_err(AuthFailure::from);
        }
        let mode = &self.settings.auth.mode;
        if shown.is_some() {
            let source = Source::of(&connect.peer);
            self.handshake
                .limiter
                .check(self.now.mono, Class::SharedSecret, &source)
                .map_err(AuthFailure::RateLimited)?;
        }
        shared::evaluate(mode, shown, reading)
    }

    fn without_device(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        shared: Result<AuthMethod, AuthFailure>,
    ) -> Result<Verified, Refusal> {
        let delay = self.count_secret(connect, shared);
        let allowance = deviceless::after_secret(&connect.peer, request, shared);
        let refused = |lack: deviceless::Lack| Refusal {
            delay,
            ..lack.refusal(request, connect.peer.is_direct_local())
        };
        let allowance = allowance.map_err(refused)?;
        let method = shared.map_err(|failure| refused(deviceless::Lack::Credential(failure)))?;
        let vouched = self.vouched_for(connect, request, method);
        Ok(Verified { allowance, vouched, ..Verified::new(method, None, None) })
    }

    fn with_device(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        device: ProvenDevice,
        shared: Result<AuthMethod, AuthFailure>,
    ) -> Result<Verified, Refusal> {
        if let Some(setup) = self.look_at_setup_code(connect, request, &device)? {
            let verified = Verified::new(AuthMethod::BootstrapToken, Some(device), None);
            return Ok(Verified { setup: Some(setup), ..verified });
        }
        let failure = match shared {
            Ok(method) => {
                self.count_secret(connect, shared);
                let token = self.token_beside_secret(request, &device);
                let vouched = self.vouched_for(connect, request, method);
                return Ok(Verified { vouched, ..Verified::new(method, Some(device), token) });
            }
            Err(failure) => failure,
        };
        match self.look_at_device_token(connect, request, &device) {
            Ok(token) => {
                if self.is_guess(request, &token.value) {
                    self.count_secret(connect, shared);
                }
                Ok(Verified::new(AuthMethod::DeviceToken, Some(device), Some(token)))
            }
            Err(fallback) => {
                let delay = match fallback.is_own_token {
                    true => Duration::ZERO,
                    false => self.count_secret(connect, shared).max(fallback.delay),
                };
                let told = if request.is_native_v3() { failure } else { fallback.told.unwrap_or(failure) };
                Err(Refusal { delay, ..told.refusal(request, connect.peer.is_direct_local()) })
            }
        }
    }

    /// Counts the outcome for the secret. Returns how long a refusal is to be held back.
    fn count_secret(&mut self, connect: &Connect, shared: Result<AuthMethod, AuthFailure>) -> Duration {
        let source = Source::of(&connect.peer);
        match shared {
            Ok(AuthMethod::Token | AuthMethod::Password) => {
                self.handshake.limiter.succeed(Class::SharedSecret, &source);
                Duration::ZERO
            }
            Err(failure) if failure.is_wrong() => {
                self.handshake.limiter.fail(self.now.mono, Class::SharedSecret, &source)
            }
            _ => Duration::ZERO,
        }
    }

    /// The user of a connection that somebody's word let in.
    fn vouched_for(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        method: AuthMethod,
    ) -> Option<Vouched> {
        match method {
            AuthMethod::TrustedProxy => self.vouch(&connect.peer).ok(),
            AuthMethod::Tailscale => self.tailnet_user(connect, request)?.ok(),
            _ => None,
        }
    }

    /// The device's own token, shown beside the secret. It proves nothing more, but the client has it already
    /// and needs no other.
    fn token_beside_secret(&self, request: &ConnectRequest, device: &ProvenDevice) -> Option<ShownToken> {
        let value = request.credentials.device_token()?;
        let held = self.devices.check_token(&device.id, request.role, value, request.protocol).ok()?;
        Some(ShownToken { value: value.to_owned(), held })
    }

    /// Tries what was shown as this device's token (spec 01 §3.5).
    fn look_at_device_token(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        device: &ProvenDevice,
    ) -> Result<ShownToken, Fallback> {
        let credentials = &request.credentials;
        let explicit = credentials.device_token().is_some();
        let Some(value) = credentials.device_token().or(credentials.token()) else {
            return Err(Fallback { told: None, delay: Duration::ZERO, is_own_token: false });
        };
        let source = match Source::of(&connect.peer) {
            source if source != Source::Loopback && self.devices.is_paired(&device.id) => {
                Source::Device(device.id.clone())
            }
            source => source,
        };
        let now = self.now.mono;
        if let Err(after) = self.handshake.limiter.check(now, Class::DeviceToken, &source) {
            return Err(Fallback::told(AuthFailure::RateLimited(after)));
        }
        match self.devices.check_token(&device.id, request.role, value, request.protocol) {
            Ok(held) if request.wanted.fits(&held.scopes, request.protocol) => {
                self.handshake.limiter.succeed(Class::DeviceToken, &source);
                Ok(ShownToken { value: value.to_owned(), held })
            }
            Ok(_) => {
                let is_own_token = !self.is_guess(request, value);
                Err(Fallback { is_own_token, ..Fallback::told(AuthFailure::ScopeMismatch) })
            }
            Err(fault) => {
                tracing::debug!(target: "gateway.ws", conn = %connect.ticket.conn, %fault, "device token refused");
                let delay = self.handshake.limiter.fail(now, Class::DeviceToken, &source);
                let told = explicit.then_some(AuthFailure::DeviceTokenMismatch);
                Err(Fallback { told, delay, is_own_token: false })
            }
        }
    }

    /// Whether something other than this device token was shown as the secret. Beside a good device token that
    /// is a guess, and counted like any other: otherwise a device could guess at the secret without end [S-33].
    fn is_guess(&self, request: &ConnectRequest, device_token: &str) -> bool {
        let reading = reading(request);
        let shown = shared::shown(&self.settings.auth.mode, &request.credentials, reading);
        shown.is_some_and(|shown| shown != device_token)
    }

    /// Looks at the setup code that a device shows, if it shows one. It is tried first: it decides what becomes of
    /// the device, also beside the gateway's own secret (spec 01 §3.5).
    ///
    /// # Errors
    ///
    /// The refusal when the code is not good for what is asked; it has been counted, and nothing else happens
    /// (spec 08 S-45).
    fn look_at_setup_code(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        device: &ProvenDevice,
    ) -> Result<Option<Shown>, Refusal> {
        let Some(value) = request.credentials.bootstrap_token() else { return Ok(None) };
        let local = connect.peer.is_direct_local();
        let source = Source::of(&connect.peer);
        let now = self.now.mono;
        if let Err(after) = self.handshake.limiter.check(now, Class::BootstrapToken, &source) {
            return Err(AuthFailure::RateLimited(after).refusal(request, local));
        }
        let wanted = request.wanted.named();
        let setup = self.devices.setups.check(self.now, value, &device.id, request.role, &wanted);
        if let Some(setup) = setup {
            self.handshake.limiter.succeed(Class::BootstrapToken, &source);
            return Ok(Some(setup));
        }
        let delay = self.handshake.limiter.fail(now, Class::BootstrapToken, &source);
        Err(Refusal { delay, ..AuthFailure::BootstrapTokenInvalid.refusal(request, local) })
    }

    /// Looks at the service token that was shown, if one was. Such a connection is no device, whatever it
    /// proves, and has the scopes of its token (07 P-23).
    ///
    /// # Errors
    ///
    /// The refusal when it is not good, or when it is shown by a node.
    fn look_at_service_token(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
    ) -> Result<Option<Verified>, Refusal> {
        let Some(value) = request.credentials.token().map(str::trim).filter(|v| self.is_service_token(v))
        else {
            return Ok(None);
        };
        let local = connect.peer.is_direct_local();
        let source = Source::of(&connect.peer);
        let held = self.check_service_token(&source, value).map_err(|fault| match fault {
            tokens::Fault::Locked(after) => AuthFailure::RateLimited(after).refusal(request, local),
            tokens::Fault::Wrong(delay) => {
                Refusal { delay, ..AuthFailure::ServiceTokenInvalid.refusal(request, local) }
            }
        })?;
        if request.role != Role::Operator {
            return Err(Refusal::device_required());
        }
        if let Some(proof) = &request.device {
            self.prove(connect, request, proof)?;
        }
        let verified = Verified::new(AuthMethod::ServiceToken, None, None);
        Ok(Some(Verified { service: Some(held), ..verified }))
    }

    /// Whether a text means to be a service token, and not the gateway's own secret.
    pub(super) fn is_service_token(&self, value: &str) -> bool {
        let own = match &self.settings.auth.mode {
            AuthMode::None => false,
            AuthMode::Token(secret) | AuthMode::Password(secret) => secret.matches(value),
            AuthMode::TrustedProxy { password } => {
                password.as_ref().is_some_and(|password| password.matches(value))
            }
        };
        value.starts_with(tokens::PREFIX) && !own
    }

    /// Checks a service token; a wrong one is counted.
    ///
    /// # Errors
    ///
    /// [`tokens::Fault`].
    pub(super) fn check_service_token(
        &mut self,
        source: &Source,
        value: &str,
    ) -> Result<tokens::Held, tokens::Fault> {
        let now = self.now.mono;
        let limiter = &mut self.handshake.limiter;
        limiter.check(now, Class::ServiceToken, source).map_err(tokens::Fault::Locked)?;
        let Some(held) = self.tokens.check(self.now, value) else {
            return Err(tokens::Fault::Wrong(limiter.fail(now, Class::ServiceToken, source)));
        };
        limiter.succeed(Class::ServiceToken, source);
        self.service_token_used(&held.id);
        Ok(held)
    }
}

/// Why a device token did not help.
struct Fallback {
    /// What to tell instead of the secret's own failure.
    told: Option<AuthFailure>,
    delay: Duration,
    /// What was shown as the secret is this device's own good token, so nobody guessed.
    is_own_token: bool,
}

impl Fallback {
    fn told(failure: AuthFailure) -> Self {
        Self { told: Some(failure), delay: Duration::ZERO, is_own_token: false }
    }
}

/// How the request's secret is read.
fn reading(request: &ConnectRequest) -> Reading {
    if request.is_native_v3() { Reading::OwnField } else { Reading::EitherField }
}
