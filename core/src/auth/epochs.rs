//! Credentials end what they admitted (spec 01 §3.12, 08 S-11, S-12).
//!
//! A connection, a stream or a request carries the [`Credential`] that let it in. Whoever rotates, revokes or
//! removes one says so here, after the answer has been given, and everything that it let in closes at once:
//! sockets with 4001, HTTP requests by their end. The gateway's own secret is counted in epochs.

use std::sync::Arc;

use telson_proto::CloseCode;

use super::failure::Refusal;
use super::origin;
use super::principal::{Credential, Principal};
use crate::gateway::Gateway;
use crate::ids::ConnId;
use crate::ingress::{Rules, Walls};
use crate::messages::{Connect, Down};
use crate::settings::{AuthMode, AuthSettings};
use crate::store::{AuditRecord, Op};

/// How often what admits has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epochs {
    /// Changes of the gateway's own secret.
    pub(crate) secret: u64,
    /// Changes of the rules for those whom a proxy or the tailnet vouches for.
    pub(crate) vouching: u64,
}

impl Gateway {
    /// Closes every connection and ends every HTTP request whose principal `ends`. The reason goes into the
    /// close frame.
    pub(crate) fn end_where(&mut self, reason: &str, ends: impl Fn(&Principal) -> bool) {
        let conns: Vec<ConnId> =
            self.conns.iter().filter(|(_, principal)| ends(principal)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            tracing::info!(target: "gateway.ws", %conn, reason, "its credential has ended");
            self.tell(Down::Close { conn, code: CloseCode::Revoked, reason: reason.to_owned() });
            self.gone(conn);
        }
        self.api_end_where(ends);
    }

    /// The operator has changed what the gateway asks for, or whom it trusts: from here on only the new counts,
    /// also for those who are connected and those who are about to be.
    pub(crate) fn access_changed(&mut self, auth: AuthSettings) {
        let old = std::mem::replace(&mut self.settings.auth, auth);
        let auth = &self.settings.auth;
        self.handshake.limiter.configure(auth);
        let secret = !same(&old.mode, &auth.mode);
        let vouching = !same_trust(&old, auth);
        let rules = Arc::new(Rules::of(&self.settings));
        if **self.walls.rules() != *rules {
            self.walls = Walls::new(Arc::clone(&rules));
            self.tell(Down::Rules(rules));
        }
        if secret {
            self.epochs.secret += 1;
            self.note_change("auth.rotate", self.settings.auth.mode.as_str());
            self.end_lapsed(AUTH_CHANGED);
            let ended = self.end_page_tokens();
            self.end_where(AUTH_CHANGED, |principal| match &principal.credential {
                Credential::DeviceToken { hash } => ended.contains(hash),
                _ => false,
            });
        }
        if vouching {
            self.epochs.vouching += 1;
            self.tailscale.forget_owners();
            self.note_change("auth.policy", "vouching");
            self.end_lapsed(POLICY_CHANGED);
        }
        self.close_foreign_pages();
    }

    /// Writes into the book that the operator has changed a file or a variable; nobody is connected who did it.
    fn note_change(&mut self, action: &str, subject: &str) {
        let record = AuditRecord {
            at: self.now.wall,
            actor: "configuration".to_owned(),
            address: "local".to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: "ok".to_owned(),
            reason: None,
        };
        self.store(vec![Op::AppendAudit(record)], |_, _| {});
    }

    fn end_lapsed(&mut self, reason: &'static str) {
        let (epochs, open) = (self.epochs, self.is_open());
        self.end_where(reason, |principal| lapsed(&principal.credential, epochs, open) == Some(reason));
    }

    /// Whether the gateway asks for nothing.
    fn is_open(&self) -> bool {
        matches!(self.settings.auth.mode, AuthMode::None)
    }

    /// Whether the operator's rules still let a connect in, now that it has waited for the store.
    ///
    /// # Errors
    ///
    /// The refusal when it does not.
    pub(super) fn rules_still_admit(&self, connect: &Connect, principal: &Principal) -> Result<(), Refusal> {
        if let Some(reason) = lapsed(&principal.credential, self.epochs, self.is_open()) {
            return Err(Refusal::lapsed(reason));
        }
        if connect.peer.is_page() {
            origin::check(&connect.peer, &self.settings.auth.allowed_origins, false)
                .map_err(|fault| Refusal::origin(fault.as_str()))?;
        }
        Ok(())
    }

    /// Closes the pages that may not be here any more (spec 01 §3.11).
    fn close_foreign_pages(&mut self) {
        let allowed = &self.settings.auth.allowed_origins;
        let foreign =
            self.handshake.pages.iter().filter(|(_, peer)| origin::check(peer, allowed, false).is_err());
        let foreign: Vec<ConnId> = foreign.map(|(conn, _)| *conn).collect();
        for conn in foreign {
            let reason = origin::OriginFault::Elsewhere.as_str();
            tracing::info!(target: "gateway.ws", %conn, reason, "its page may not be here any more");
            self.tell(Down::Close { conn, code: CloseCode::Policy, reason: reason.to_owned() });
            self.gone(conn);
        }
    }
}

/// The secret is another one.
const AUTH_CHANGED: &str = "gateway auth changed";
/// Who may vouch for whom is another matter.
const POLICY_CHANGED: &str = "gateway policy changed";

/// Why a credential of the gateway's own admits nobody any more; `open` says that the gateway asks for nothing.
fn lapsed(credential: &Credential, epochs: Epochs, open: bool) -> Option<&'static str> {
    match credential {
        Credential::Shared { epoch } => (*epoch != epochs.secret).then_some(AUTH_CHANGED),
        Credential::Nothing => (!open).then_some(AUTH_CHANGED),
        Credential::Vouched { epoch } => (*epoch != epochs.vouching).then_some(POLICY_CHANGED),
        Credential::DeviceToken { .. } | Credential::Service { .. } => None,
    }
}

/// Whether the same are trusted to vouch for the same.
fn same_trust(old: &AuthSettings, new: &AuthSettings) -> bool {
    old.mode.as_str() == new.mode.as_str()
        && old.allow_tailscale == new.allow_tailscale
        && old.trusted_proxy.is(&new.trusted_proxy)
        && old.ingress.trusted_proxies == new.ingress.trusted_proxies
}

/// Whether two modes ask for the same.
fn same(old: &AuthMode, new: &AuthMode) -> bool {
    match (old, new) {
        (AuthMode::None, AuthMode::None) => true,
        (AuthMode::Token(old), AuthMode::Token(new)) | (AuthMode::Password(old), AuthMode::Password(new)) => {
            old.matches(new.expose())
        }
        (AuthMode::TrustedProxy { password: old }, AuthMode::TrustedProxy { password: new }) => {
            match (old, new) {
                (None, None) => true,
                (Some(old), Some(new)) => old.matches(new.expose()),
                _ => false,
            }
        }
        _ => false,
    }
}
