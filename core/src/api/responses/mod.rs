//! `POST /v1/responses` (spec 04 §8).

mod answer;
mod items;
mod request;
mod resource;
mod stream;

use serde_json::Value;
use telson_proto::Scope;

use super::call::Answer as Answers;
use super::errors::Refusal;
use super::route::Head;
use super::target::{Target, Wish};
use super::words::Words;
use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{HttpId, RunId};

pub(super) use answer::Answer;

use super::tools::Must;
use request::Request;
use stream::Stream;

impl Gateway {
    /// A response was asked for.
    pub(super) fn begin_response(
        &mut self,
        id: HttpId,
        head: &Head,
        principal: &Principal,
        body: &Value,
    ) -> Result<(), Refusal> {
        let request = request::read(body, self.settings.api.responses.max_parts)?;
        let target = self.response_target(head, principal, &request)?;
        let name = format!("resp_{}", self.entropy.uuid());
        let run = RunId::new(name.as_str());
        let held = request.asked.must != Must::Nothing;
        let answer = Answer {
            id: name,
            created: self.now.wall / 1_000,
            stream: request.stream,
            echo: request.echo,
            must: request.asked.must.clone(),
            words: Words::new(held),
            events: Stream::new(format!("msg_{}", self.entropy.uuid())),
        };
        let who = (target, principal.actor(), principal.holds(Scope::Admin));
        self.begin_call(id, who, request.asked, run, Answers::Response(Box::new(answer)))
    }

    /// Where a request goes: where an earlier response went, if it names one.
    fn response_target(
        &mut self,
        head: &Head,
        principal: &Principal,
        request: &Request,
    ) -> Result<Target, Refusal> {
        let wish = Wish {
            model: Some(request.echo.model.as_str()),
            user: request.user.as_deref(),
            kind: "openresponses",
            accept_any_model: self.settings.api.responses.accept_any_model,
        };
        let target = self.target(head, principal, &wish)?;
        let Some(previous) = request.echo.previous_response_id.as_deref() else { return Ok(target) };
        let unknown = || {
            let shown: String = previous.chars().take(100).collect();
            Refusal::invalid(format!("Previous response with id {shown:?} not found."))
        };
        let kept = self.api.continuations.get(self.now.mono, previous).ok_or_else(unknown)?;
        let same_session = !target.named || target.key == kept.key;
        if kept.subject != principal.actor() || kept.agent != target.agent || !same_session {
            return Err(unknown());
        }
        let (key, session) = (kept.key.clone(), kept.session.clone());
        // A session that was reset meanwhile remembers nothing of it.
        if self.sessions.get(&key).is_none_or(|current| current.id != session) {
            return Err(unknown());
        }
        if self.is_blocked(&key) {
            return Err(Refusal::invalid("send blocked by session policy"));
        }
        crate::auth::authorize(principal, &crate::auth::Effect::RunAgent { session: key.clone() })
            .map_err(|error| Refusal::of(&error))?;
        Ok(Target { key, ..target })
    }
}
