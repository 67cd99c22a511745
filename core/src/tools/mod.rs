//! Tools: what a model may call, who may call it, and the calls that are under way (spec 02 §9.1, 04 §12).
//!
//! A tool is a name, a schema and something that is done. Built-in tools are functions of the gateway; servers
//! of the Model Context Protocol bring more. A call ends with exactly one outcome, which goes to the run or to
//! the HTTP request that made it.

use std::time::Duration;

use serde_json::Value;
use telson_proto::Json;

use crate::fetch::FetchEvent;
use crate::gateway::Gateway;
use crate::ids::{AgentId, CallId, FetchId, HttpId, ProcessId, RunId, SessionKey};
use crate::process::ProcessEvent;
use crate::providers::request::Image;
use crate::runs::RunResult;
use crate::settings::Settings;

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolSpec {
    /// Its name: `^[a-zA-Z0-9_-]{1,64}$`.
    pub(crate) name: String,
    /// What it does.
    pub(crate) description: String,
    /// The JSON schema of its arguments, an object.
    pub(crate) parameters: Json,
    /// Whether a provider is asked to enforce the schema.
    pub(crate) strict: Option<bool>,
}

/// For whom and about what a tool works.
#[derive(Clone, Debug)]
pub(crate) struct ToolContext {
    pub(crate) caller: Caller,
    pub(crate) agent: AgentId,
    pub(crate) session: SessionKey,
    /// Whether the caller is the owner of the gateway: may use what changes the gateway itself.
    pub(crate) owner: bool,
}

/// Who waits for the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A run; the model's id of the call tells its calls apart.
    Run { run: RunId, id: String },
    /// `/tools/invoke`.
    Http(HttpId),
}

/// How a call has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ToolOutcome {
    pub(crate) text: String,
    pub(crate) images: Vec<Image>,
    /// For programs: never shown to the model.
    pub(crate) details: Option<Value>,
    pub(crate) is_error: bool,
}

impl ToolOutcome {
    /// A result in words.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A result as JSON, for the model as text and for programs as it is.
    pub(crate) fn json(value: Value) -> Self {
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        Self { text, details: Some(value), ..Self::default() }
    }

    /// What went wrong, told to the model so that it can do better.
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true, ..Self::default() }
    }
}

/// The tools and their calls.
pub struct Tools {}

impl Tools {
    pub(crate) fn new(_settings: &Settings) -> Self {
        Self {}
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

impl Gateway {
    /// The tools that an agent may use in a session, by the policy.
    pub(crate) fn tools_for(&self, _context: &ToolContext) -> Vec<ToolSpec> {
        Vec::new()
    }

    /// Calls a tool. The outcome comes later by [`Self::run_tool_finished`] or [`Self::api_tool_finished`], never
    /// before this returns.
    pub(crate) fn call_tool(&mut self, _context: ToolContext, _name: &str, _arguments: &Value) -> CallId {
        CallId(0)
    }

    /// Gives a call up: no outcome comes.
    pub(crate) fn abort_tool(&mut self, _call: CallId) {}

    /// The run that a tool has started has ended, and its end is stored.
    pub(crate) fn tool_run_ended(&mut self, _call: CallId, _run: &RunId, _result: RunResult) {}

    /// An outbound request of the tools has moved.
    pub(crate) fn tool_fetched(&mut self, _id: FetchId, _event: FetchEvent) {}

    /// A process of the tools has moved.
    pub(crate) fn tool_process_moved(&mut self, _id: ProcessId, _event: ProcessEvent) {}

    /// What is due.
    pub(crate) fn tool_timeouts(&mut self) {}
}
