//! `POST /tools/invoke`: one tool, without a model (spec 04 §12).

use serde_json::{Map, Value, json};

use super::errors::{Refusal, Spelling};
use super::fields::Fields;
use super::route::Head;
use super::{Pending, Stage};
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::Gateway;
use crate::http::HttpResponse;
use crate::ids::{AgentId, HttpId, SessionKey};
use crate::sessions::keys;
use crate::tools::{Caller, ToolContext, ToolOutcome, ToolSpec};
use telson_proto::Scope;

/// Tools that are too much for one request without anybody who watches.
const DENIED: [&str; 12] = [
    "exec",
    "spawn",
    "shell",
    "fs_write",
    "fs_delete",
    "fs_move",
    "apply_patch",
    "sessions_spawn",
    "sessions_send",
    "cron",
    "gateway",
    "nodes",
];
/// Those that only the owner may have back.
const OWNERS: [&str; 3] = ["cron", "gateway", "nodes"];

impl Gateway {
    /// A tool is to be called.
    pub(super) fn begin_invoke(
        &mut self,
        id: HttpId,
        head: &Head,
        principal: &Principal,
        body: &Value,
    ) -> Result<(), Refusal> {
        let fields = Fields::of(body);
        let name = fields.text("name").or_else(|| fields.text("tool"));
        let name = name.ok_or_else(|| Refusal::invalid("`tool` must name the tool to call."))?;
        let (agent, session) = self.invoke_session(head, &fields)?;
        authorize(principal, &Effect::RunAgent { session: session.clone() })
            .map_err(|error| Refusal::of(&error))?;
        let owner = principal.holds(Scope::Admin);
        let context = ToolContext { caller: Caller::Http(id), agent, session, owner, untrusted: false };
        // Whether it is unknown or denied is not told.
        let missing = || Refusal::not_found(format!("Tool not available: {}", shown(name)));
        let spec = self.tools_for(&context).into_iter().find(|tool| tool.name == name);
        let spec = spec.filter(|_| self.may_invoke(name, owner)).ok_or_else(missing)?;
        let arguments = arguments(&fields, &spec);
        let call = self.call_tool(context, name, &arguments);
        self.api.pending.insert(id, Pending { spelling: Spelling::Ok, stage: Stage::Tool(call) });
        Ok(())
    }

    /// The agent and the session in whose name the tool works.
    fn invoke_session(&mut self, head: &Head, fields: &Fields<'_>) -> Result<(AgentId, SessionKey), Refusal> {
        let asked = fields.text("agentId").or_else(|| head.openclaw("agent-id")).map(keys::normalise_agent);
        if let Some(agent) = asked.as_ref().filter(|agent| !self.knows_agent(agent)) {
            return Err(Refusal::invalid(format!("Unknown agent \"{agent}\".")));
        }
        let rules = self.sessions.rules();
        let main = rules.main(asked.as_ref().unwrap_or_else(|| rules.default_agent()));
        let key = match fields.text("sessionKey") {
            None => main,
            Some(word) if word.eq_ignore_ascii_case("main") => main,
            Some(spelling) => self.sessions.resolve(spelling).map_err(|error| Refusal::of(&error))?,
        };
        let owner = self.sessions.rules().agent_of(&key);
        let agent = asked.unwrap_or_else(|| owner.clone());
        if agent != owner && !keys::is_reserved(&key) {
            let message = format!("`agentId` is \"{agent}\", but the session {key} belongs to \"{owner}\".");
            return Err(Refusal::invalid(message));
        }
        if !self.knows_agent(&agent) {
            return Err(Refusal::invalid(format!("Unknown agent \"{agent}\".")));
        }
        Ok((agent, key))
    }

    /// The deny-list of this endpoint, beside the agent's own policy.
    pub(super) fn may_invoke(&self, name: &str, owner: bool) -> bool {
        let has = |list: &[String]| list.iter().any(|entry| entry.eq_ignore_ascii_case(name));
        let settings = &self.settings.api;
        let own = OWNERS.contains(&name);
        let given_back = owner && has(&settings.tools_allow);
        !has(&settings.tools_deny) && (owner || !own) && (given_back || !DENIED.contains(&name))
    }

    /// The tool of a request has finished.
    pub(crate) fn api_tool_finished(&mut self, id: HttpId, outcome: ToolOutcome) {
        if !matches!(self.api.pending.get(&id), Some(Pending { stage: Stage::Tool(_), .. })) {
            return;
        }
        self.api.take(id);
        if outcome.is_error {
            let refusal = Refusal::new(400, "tool_error", outcome.text).begun();
            return self.refuse_http(id, Spelling::Ok, &refusal);
        }
        let mut content = vec![json!({"type": "text", "text": outcome.text})];
        content.extend(
            outcome
                .images
                .iter()
                .map(|image| json!({"type": "image", "data": &*image.base64, "mimeType": image.mime})),
        );
        let mut result = json!({"content": content});
        if let Some(details) = outcome.details {
            result["details"] = details;
        }
        self.respond(id, HttpResponse::json(200, json!({"ok": true, "result": result}).to_string()));
    }
}

/// The arguments: an object, with the `action` of the request where the tool knows one and they name none.
fn arguments(fields: &Fields<'_>, spec: &ToolSpec) -> Value {
    let mut arguments = fields.get("args").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    let knows = spec.parameters.to_value()["properties"].get("action").is_some();
    if let Some(action) = fields.get("action").filter(|_| knows && !arguments.contains_key("action")) {
        arguments.insert("action".to_owned(), action.clone());
    }
    Value::Object(arguments)
}

/// A name as it may stand in an error.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(100).collect()
}
