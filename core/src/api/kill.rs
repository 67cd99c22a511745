//! `POST /sessions/{key}/kill`: ends what a session is doing (spec 04 §13.2).

use serde_json::json;
use telson_proto::Scope;

use super::errors::{Refusal, Spelling};
use super::route::{Head, percent_decoded};
use super::{Pending, Stage};
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::Gateway;
use crate::http::HttpResponse;
use crate::ids::{HttpId, SessionKey};
use crate::sessions::Reason;

impl Gateway {
    /// Ends the runs of a session and answers when they have ended.
    pub(super) fn kill_session(&mut self, id: HttpId, head: &Head, principal: &Principal, raw: &str) {
        if let Err(refusal) = self.begin_kill(id, head, principal, raw) {
            self.refuse_http(id, Spelling::Ok, &refusal);
        }
    }

    fn begin_kill(
        &mut self,
        id: HttpId,
        head: &Head,
        principal: &Principal,
        raw: &str,
    ) -> Result<(), Refusal> {
        let key = self.session_in_path(raw)?;
        authorize(principal, &Effect::AbortRun { session: key.clone() })
            .map_err(|error| Refusal::of(&error))?;
        self.check_requester(head, principal, &key)?;
        let runs: Vec<_> = self.runs_of(&key);
        for run in &runs {
            self.abort_run(run, "kill");
        }
        self.api.pending.insert(id, Pending { spelling: Spelling::Ok, stage: Stage::Waiting });
        let killed = !runs.is_empty();
        self.when_gone(runs, move |gateway| {
            if killed {
                gateway.announce_session(&key, Reason::Abort, None);
            }
            if gateway.api.take(id).is_some() {
                let body = json!({"ok": true, "killed": killed});
                gateway.respond(id, HttpResponse::json(200, body.to_string()));
            }
        });
        Ok(())
    }

    /// Who is no administrator ends only what a session of theirs has started. Where a request comes from grants
    /// nothing here.
    fn check_requester(&self, head: &Head, principal: &Principal, key: &SessionKey) -> Result<(), Refusal> {
        if principal.holds(Scope::Admin) {
            return Ok(());
        }
        let requester = head.openclaw("requester-session-key");
        let requester = requester.and_then(|spelling| self.sessions.resolve(spelling).ok());
        let parent = self.sessions.entry(key).and_then(|entry| entry.spawned_by.as_deref());
        match (requester, parent) {
            (Some(requester), Some(parent)) if requester.as_str() == parent => Ok(()),
            _ => Err(Refusal::forbidden(
                "ending a session needs operator.admin, or x-openclaw-requester-session-key of the session that started it",
            )),
        }
    }

    /// The session that a path names.
    pub(super) fn session_in_path(&self, raw: &str) -> Result<SessionKey, Refusal> {
        let missing = || Refusal::not_found("Session not found");
        let spelling =
            percent_decoded(raw).ok_or_else(|| Refusal::invalid("Invalid session key encoding"))?;
        let key = self.sessions.resolve(&spelling).map_err(|error| Refusal::of(&error))?;
        self.sessions.get(&key).map(|_| key).ok_or_else(missing)
    }
}
