//! The operator gives the gateway another token, at whatever moment.

use std::collections::BTreeSet;

use telson_core::auth::Secret;
use telson_core::settings::{AuthMode, AuthSettings};
use telson_core::{ConnId, HttpId, Input, gateway};

use crate::clients::Credential;

use super::web::Stage;
use super::{TOKEN, World};

/// What the token of the world admitted, or might still have.
#[derive(Debug, Default)]
pub(crate) struct Retired(BTreeSet<ConnId>);

impl Retired {
    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.0.contains(&conn)
    }
}

impl World {
    /// The gateway asks for another token from now on. Whatever the token of this world admitted is over at once:
    /// its sockets are being closed, its HTTP requests are answered, and nobody who is on the way in with it arrives.
    pub(crate) fn rotate(&mut self, token: &str) {
        let auth = AuthSettings::new(AuthMode::Token(Secret::new(token)));
        self.settings.auth = auth.clone();
        let by_token = |conn: &&ConnId| {
            let who = self.links[*conn].who;
            self.clients[who.0].profile.credential == Credential::Token(TOKEN.to_owned())
        };
        self.retired = Retired(self.links.keys().filter(by_token).copied().collect());
        let open: Vec<HttpId> = self.open_exchanges();
        self.tell(Input::Gateway(gateway::Input::Access(Box::new(auth))));
        if !self.is_up() {
            return;
        }
        for (conn, link) in &self.links {
            if self.retired.contains(*conn) && link.authenticated && !link.closing {
                self.violated(&format!("connection {conn} outlives the token that admitted it"));
            }
        }
        for id in open {
            if matches!(self.exchange(id).stage, Stage::Waiting | Stage::Streaming) {
                self.violated(&format!("HTTP request {id} outlives the token that admitted it"));
            }
        }
    }

    /// A connection is let in.
    pub(super) fn let_in(&mut self, conn: ConnId) {
        if self.retired.contains(conn) {
            self.violated(&format!("connection {conn} is let in by a token that is gone"));
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.authenticated = true;
        }
    }
}
