//! `GET /v1/models` and `GET /v1/models/{id}`: the agents as models (spec 04 §6).

use serde::Serialize;

use super::errors::{Refusal, Spelling};
use super::route::percent_decoded;
use super::target::{OURS, is_agent_id};
use crate::gateway::Gateway;
use crate::http::HttpResponse;
use crate::ids::{AgentId, HttpId};

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    permission: [(); 0],
}

impl Model {
    fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), object: "model", created: 0, owned_by: OURS, permission: [] }
    }
}

impl Gateway {
    /// Every agent as a model, and the default agent twice.
    pub(super) fn list_models(&mut self, id: HttpId) {
        let agents = self.settings.agents.list.iter().map(|agent| format!("{OURS}/{}", agent.id));
        let names = [OURS.to_owned(), format!("{OURS}/default")].into_iter().chain(agents);
        let list = List { object: "list", data: names.map(Model::new).collect() };
        self.respond(id, HttpResponse::json(200, serde_json::to_string(&list).unwrap_or_default()));
    }

    /// One of them.
    pub(super) fn show_model(&mut self, id: HttpId, raw: &str) {
        match self.model_named(raw) {
            Ok(model) => {
                let body = serde_json::to_string(&Model::new(model)).unwrap_or_default();
                self.respond(id, HttpResponse::json(200, body));
            }
            Err(refusal) => self.refuse_http(id, Spelling::OpenAi, &refusal),
        }
    }

    fn model_named(&self, raw: &str) -> Result<String, Refusal> {
        let invalid = || Refusal::invalid("Invalid model id. GET /v1/models lists the models.");
        let name = percent_decoded(raw).ok_or_else(invalid)?;
        let Some(agent) = name.strip_prefix("openclaw/") else {
            return if name == OURS { Ok(name) } else { Err(invalid()) };
        };
        if !is_agent_id(agent) {
            return Err(invalid());
        }
        if agent == "default" || self.knows_agent(&AgentId::new(agent)) {
            return Ok(name);
        }
        Err(Refusal::new(404, "invalid_request_error", format!("Model '{name}' not found.")))
    }
}
