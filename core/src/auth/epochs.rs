//! Credentials end what they admitted (spec 01 §3.12, 08 S-11, S-12).
//!
//! A connection, a stream or a request carries the [`Credential`] that let it in. Whoever rotates, revokes or
//! removes one says so here, after the answer has been given, and everything that it let in closes at once:
//! sockets with 4001, HTTP requests by their end. The gateway's own secret is counted in epochs.

use std::sync::Arc;

use telson_proto::CloseCode;

use super::principal::{Credential, Principal};
use crate::gateway::Gateway;
use crate::ids::ConnId;
use crate::ingress::{Rules, Walls};
use crate::messages::Down;
use crate::settings::{AuthMode, AuthSettings};

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

    /// The operator has changed what the gateway asks for: from here on only the new counts, also for those
    /// who are connected.
    pub(crate) fn access_changed(&mut self, auth: AuthSettings) {
        let same_secret = same(&self.settings.auth.mode, &auth.mode);
        let same_word = self.settings.auth.trusted_proxy.is(&auth.trusted_proxy)
            && self.settings.auth.ingress.trusted_proxies == auth.ingress.trusted_proxies;
        self.settings.auth = auth;
        let rules = Arc::new(Rules::of(&self.settings));
        if **self.walls.rules() != *rules {
            self.walls = Walls::new(Arc::clone(&rules));
            self.tell(Down::Rules(rules));
        }
        if !(same_word && same_secret) {
            self.epochs.vouching += 1;
            let epoch = self.epochs.vouching;
            self.end_where("gateway policy changed", |principal| {
                matches!(principal.credential, Credential::Vouched { epoch: admitted } if admitted != epoch)
            });
        }
        if same_secret {
            return;
        }
        self.epochs.secret += 1;
        let epoch = self.epochs.secret;
        self.end_where("gateway auth changed", |principal| match principal.credential {
            Credential::Shared { epoch: admitted } => admitted != epoch,
            Credential::Nothing => true,
            _ => false,
        });
    }
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
