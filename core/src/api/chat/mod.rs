//! `POST /v1/chat/completions` (spec 04 §7).

mod answer;
mod request;
mod stream;

use serde_json::Value;

use super::call::Answer as Answers;
use super::errors::Refusal;
use super::route::Head;
use super::target::{OURS, Wish};
use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{HttpId, RunId};
use telson_proto::Scope;

pub(super) use answer::Answer;

impl Gateway {
    /// A chat completion was asked for.
    pub(super) fn begin_chat(
        &mut self,
        id: HttpId,
        head: &Head,
        principal: &Principal,
        body: &Value,
    ) -> Result<(), Refusal> {
        let settings = &self.settings.api.chat;
        let request = request::read(body, settings.max_parts)?;
        let wish = Wish {
            model: request.model.as_deref(),
            user: request.user.as_deref(),
            kind: "openai",
            accept_any_model: settings.accept_any_model,
        };
        let target = self.target(head, principal, &wish)?;
        let name = format!("chatcmpl_{}", self.entropy.uuid());
        let run = RunId::new(name.as_str());
        let answer = Answer {
            id: name,
            created: self.now.wall / 1_000,
            model: request.model.unwrap_or_else(|| OURS.to_owned()),
            stream: request.stream,
            include_usage: request.include_usage,
            must: request.asked.must.clone(),
            words: answer::words(&request.asked.must),
        };
        let who = (target, principal.actor(), principal.holds(Scope::Admin));
        self.begin_call(id, who, request.asked, run, Answers::Chat(Box::new(answer)))
    }
}
