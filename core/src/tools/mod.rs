//! Tools: what a model may call, who may call it, and the calls that are under way (spec 02 §9.1, 04 §12).
//!
//! A tool is a name, a schema and something that is done. Built-in tools are functions of the gateway, in one
//! table ([`BUILT_IN`]); servers of the Model Context Protocol ([`crate::mcp`]) bring more. The policy decides what
//! a caller sees; what it does not see does not exist for it.
//!
//! A call ends with exactly one outcome, which goes to the run or to the HTTP request that made it, or it is
//! given up by its caller and ends with none. Outcomes are delivered at the end of the input that made them, so
//! never before `Gateway::call_tool` has returned.

mod access;
mod arguments;
mod builtin;
mod calls;
mod catalogue;
mod methods;
mod policy;
pub mod settings;
mod spawned;
mod untrusted;
mod visibility;
mod web_fetch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;
use telson_proto::Json;

use crate::fetch::FetchEvent;
use crate::gateway::Gateway;
use crate::ids::{AgentId, CallId, FetchId, HttpId, ProcessId, RunId, SessionKey};
use crate::mcp::Mcp;
use crate::process::ProcessEvent;
use crate::providers::request::Image;
use crate::settings::Settings;
use crate::time::earliest;

pub use catalogue::{BUILT_IN, BuiltIn};
pub(crate) use methods::{catalog, effective};
pub use policy::GROUPS;
pub(crate) use policy::wildcard;
pub(crate) use untrusted::{cut, wrap as wrap_untrusted};

use calls::Under;
use spawned::Spawned;

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
    /// Whether the words that it works on are a machine's, which may use few tools.
    pub(crate) untrusted: bool,
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
pub struct Tools {
    /// The servers that bring tools.
    pub(crate) mcp: Mcp,
    /// The calls that have no outcome yet.
    calls: BTreeMap<CallId, Under>,
    /// Outcomes that are delivered at the end of this input.
    done: VecDeque<(CallId, Caller, ToolOutcome)>,
    /// The runs that calls have started and that have not ended.
    spawned: BTreeMap<CallId, Spawned>,
    /// The outbound requests of calls.
    fetches: BTreeMap<FetchId, CallId>,
    last_call: u64,
    /// Every outcome that was delivered.
    #[cfg(test)]
    pub(crate) told: Vec<(CallId, ToolOutcome)>,
}

impl Tools {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            mcp: Mcp::new(&settings.mcp),
            calls: BTreeMap::new(),
            done: VecDeque::new(),
            spawned: BTreeMap::new(),
            fetches: BTreeMap::new(),
            last_call: 0,
            #[cfg(test)]
            told: Vec::new(),
        }
    }

    /// When [`Gateway::tool_timeouts`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let calls = self.calls.values().map(|call| call.deadline).min();
        earliest(calls, self.mcp.next_deadline())
    }

    /// Whether no call is under way and nothing is kept of one.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.done.is_empty() && self.spawned.is_empty() && self.fetches.is_empty()
    }
}

impl Gateway {
    /// The tools begin to work: servers are started, so that their tools are known when a run asks for them.
    pub(crate) fn start_tools(&mut self) {
        self.start_servers();
    }

    /// The gateway stops: calls of HTTP clients are ended, servers are closed.
    pub(crate) fn stop_tools(&mut self) {
        let open: Vec<CallId> = self.tools.calls.keys().copied().collect();
        for call in open {
            self.finish_call(call, ToolOutcome::error("the gateway is stopping"));
        }
        self.stop_servers();
    }

    /// An outbound request of the tools has moved.
    pub(crate) fn tool_fetched(&mut self, id: FetchId, event: FetchEvent) {
        match self.tools.fetches.get(&id).copied() {
            Some(call) => self.web_fetched(call, id, event),
            None => self.server_fetched(id, event),
        }
    }

    /// A process of the tools has moved.
    pub(crate) fn tool_process_moved(&mut self, id: ProcessId, event: ProcessEvent) {
        self.server_process_moved(id, event);
    }

    /// What is due.
    pub(crate) fn tool_timeouts(&mut self) {
        self.call_timeouts();
        self.server_timeouts();
    }
}
