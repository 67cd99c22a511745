//! The protocol with one server, however its messages travel: the handshake, the list of tools, calls, and what the
//! server asks in turn. Pure: messages go in, events come out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ids::CallId;
use crate::limits;

pub(super) use super::tool::ServerTool;

/// The protocol versions that are spoken, the preferred one first.
pub(super) const VERSIONS: [&str; 3] = ["2025-06-18", "2025-03-26", "2024-11-05"];

const METHOD_NOT_FOUND: i64 = -32_601;
/// At most so many pages of a list are asked for.
const MAX_PAGES: usize = 64;
/// At most so many messages of one batch are read.
const MAX_BATCH: usize = 256;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// Send a message; `request` is its number if it wants an answer.
    Send { body: String, request: Option<u64> },
    /// A call has ended with this result or error.
    Done(CallId, Answer),
    /// The tools are other ones now.
    Tools,
    /// The handshake and the first list are complete.
    Ready,
    /// The server cannot be used.
    Broken(String),
}

/// How a call has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Result(Value),
    Error(String),
}

#[derive(Debug)]
struct Pending {
    what: What,
    deadline: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Initialise,
    List { page: usize },
    Call(CallId),
}

/// The state of the protocol with one server.
#[derive(Debug, Default)]
pub(super) struct Session {
    last_id: u64,
    pending: BTreeMap<u64, Pending>,
    /// The version that was agreed on.
    version: Option<&'static str>,
    ready: bool,
    tools: Vec<ServerTool>,
    /// The tools of the list that is being read.
    listing: Vec<ServerTool>,
    /// The list has changed while it was being read.
    again: bool,
}

impl Session {
    /// The version that was agreed on.
    pub(super) fn version(&self) -> Option<&'static str> {
        self.version
    }

    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The server's tools, as last listed.
    pub(super) fn tools(&self) -> &[ServerTool] {
        &self.tools
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.pending.values().map(|pending| pending.deadline).min()
    }

    /// Begins anew: the handshake.
    pub(super) fn open(&mut self, now: Duration, client: &str, events: &mut Vec<Event>) {
        *self = Self { last_id: self.last_id, ..Self::default() };
        let params = json!({
            "protocolVersion": VERSIONS[0],
            "capabilities": {},
            "clientInfo": {"name": "telson", "version": client},
        });
        self.request(
            now,
            What::Initialise,
            "initialize",
            &params,
            limits::millis(limits::MCP_START_MS),
            events,
        );
    }

    /// Ends everything that is under way.
    pub(super) fn close(&mut self, reason: &str, events: &mut Vec<Event>) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            if let What::Call(call) = pending.what {
                events.push(Event::Done(call, Answer::Error(reason.to_owned())));
            }
        }
        if !self.tools.is_empty() {
            events.push(Event::Tools);
        }
        *self = Self { last_id: self.last_id, ..Self::default() };
    }

    /// Calls a tool.
    pub(super) fn call(
        &mut self,
        now: Duration,
        call: CallId,
        tool: &str,
        arguments: &Value,
        timeout: Duration,
        events: &mut Vec<Event>,
    ) {
        if self.pending.len() >= limits::length(limits::MCP_CALLS) {
            let problem = format!("{} calls of this server are under way; wait", limits::MCP_CALLS);
            events.push(Event::Done(call, Answer::Error(problem)));
            return;
        }
        let params = json!({"name": tool, "arguments": arguments});
        self.request(now, What::Call(call), "tools/call", &params, timeout, events);
    }

    /// Gives a call up. The server is told; what it answers all the same is passed over.
    pub(super) fn cancel(&mut self, call: CallId, reason: &str, events: &mut Vec<Event>) -> Option<u64> {
        let (id, _) = self.pending.iter().find(|(_, pending)| pending.what == What::Call(call))?;
        let id = *id;
        self.pending.remove(&id);
        notify("notifications/cancelled", &json!({"requestId": id, "reason": reason}), events);
        Some(id)
    }

    /// A request will never be answered.
    pub(super) fn unanswered(&mut self, request: u64, reason: &str, events: &mut Vec<Event>) {
        let Some(pending) = self.pending.remove(&request) else { return };
        match pending.what {
            What::Call(call) => events.push(Event::Done(call, Answer::Error(reason.to_owned()))),
            What::List { .. } if self.ready => self.listing.clear(),
            What::Initialise | What::List { .. } => events.push(Event::Broken(reason.to_owned())),
        }
    }

    /// What has taken too long is given up.
    pub(super) fn timeout(&mut self, now: Duration, events: &mut Vec<Event>) {
        let due = self.pending.iter().filter(|(_, pending)| pending.deadline <= now).map(|(id, _)| *id);
        for id in due.collect::<Vec<_>>() {
            let is_call = self.pending.get(&id).is_some_and(|pending| matches!(pending.what, What::Call(_)));
            if is_call {
                let params = json!({"requestId": id, "reason": "it took too long"});
                notify("notifications/cancelled", &params, events);
            }
            self.unanswered(id, "the server has not answered in time", events);
        }
    }

    /// A message of the server.
    ///
    /// # Errors
    ///
    /// It is no message of the protocol.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        text: &str,
        events: &mut Vec<Event>,
    ) -> Result<(), &'static str> {
        let message: Value = serde_json::from_str(text).map_err(|_| "no JSON")?;
        match message {
            Value::Array(batch) => {
                for message in batch.into_iter().take(MAX_BATCH) {
                    self.message(now, message, events)?;
                }
                Ok(())
            }
            message => self.message(now, message, events),
        }
    }

    fn message(
        &mut self,
        now: Duration,
        mut message: Value,
        events: &mut Vec<Event>,
    ) -> Result<(), &'static str> {
        let id = message.get("id").filter(|id| !id.is_null()).cloned();
        match (message.get("method").and_then(Value::as_str), id) {
            (Some("ping"), Some(id)) => {
                reply(&json!({"jsonrpc": "2.0", "id": id, "result": {}}), events);
            }
            (Some(method), Some(id)) => {
                let shown: String = method.chars().take(80).collect();
                let error =
                    json!({"code": METHOD_NOT_FOUND, "message": format!("Method not found: {shown}")});
                reply(&json!({"jsonrpc": "2.0", "id": id, "error": error}), events);
            }
            (Some(method), None) => {
                let method = method.to_owned();
                self.notified(now, &method, &message["params"], events);
            }
            (None, Some(id)) => {
                let Some(id) = id.as_u64().filter(|id| self.pending.contains_key(id)) else {
                    tracing::debug!(target: "mcp", %id, "an answer to no request was passed over");
                    return Ok(());
                };
                let answer = match message.get_mut("result").map(Value::take) {
                    Some(result) => Ok(result),
                    None => match message.get("error") {
                        Some(error) => Err(describe(error)),
                        None => return Err("an answer with neither result nor error"),
                    },
                };
                self.answered(now, id, answer, events);
            }
            (None, None) => return Err("no message of JSON-RPC"),
        }
        Ok(())
    }

    fn notified(&mut self, now: Duration, method: &str, params: &Value, events: &mut Vec<Event>) {
        match method {
            "notifications/tools/list_changed" => {
                let reading = self.pending.values().any(|pending| matches!(pending.what, What::List { .. }));
                self.again |= reading;
                if !reading && self.ready {
                    self.list(now, None, 0, events);
                }
            }
            "notifications/message" => super::tool::log(params),
            _ => tracing::trace!(target: "mcp", method, "notification"),
        }
    }

    fn answered(&mut self, now: Duration, id: u64, answer: Result<Value, String>, events: &mut Vec<Event>) {
        let Some(Pending { what, .. }) = self.pending.remove(&id) else { return };
        match (what, answer) {
            (What::Call(call), Ok(result)) => events.push(Event::Done(call, Answer::Result(result))),
            (What::Call(call), Err(problem)) => events.push(Event::Done(call, Answer::Error(problem))),
            (What::Initialise, Ok(result)) => self.initialised(now, &result, events),
            (What::Initialise, Err(problem)) => {
                events.push(Event::Broken(format!("it refuses the handshake: {problem}")));
            }
            (What::List { page }, Ok(result)) => self.listed(now, page, &result, events),
            (What::List { .. }, Err(problem)) if self.ready => {
                tracing::warn!(target: "mcp", problem, "a server does not list its tools any more");
            }
            (What::List { .. }, Err(problem)) => {
                events.push(Event::Broken(format!("it does not list its tools: {problem}")));
            }
        }
    }

    fn initialised(&mut self, now: Duration, result: &Value, events: &mut Vec<Event>) {
        let theirs = result["protocolVersion"].as_str().unwrap_or_default();
        let Some(version) = VERSIONS.into_iter().find(|version| *version == theirs) else {
            let shown: String = theirs.chars().take(40).collect();
            let ours = VERSIONS.join(", ");
            events.push(Event::Broken(format!(
                "it speaks protocol version {shown:?}; this gateway speaks {ours}"
            )));
            return;
        };
        self.version = Some(version);
        notify("notifications/initialized", &json!({}), events);
        if result["capabilities"]["tools"].is_object() {
            self.list(now, None, 0, events);
        } else {
            self.ready = true;
            events.push(Event::Ready);
        }
    }

    fn list(&mut self, now: Duration, cursor: Option<&str>, page: usize, events: &mut Vec<Event>) {
        if page == 0 {
            self.listing.clear();
        }
        let params = cursor.map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let timeout = limits::millis(limits::MCP_START_MS);
        self.request(now, What::List { page }, "tools/list", &params, timeout, events);
    }

    fn listed(&mut self, now: Duration, page: usize, result: &Value, events: &mut Vec<Event>) {
        let most = limits::length(limits::MCP_TOOLS);
        for tool in result["tools"].as_array().map(Vec::as_slice).unwrap_or_default() {
            if self.listing.len() >= most {
                tracing::warn!(target: "mcp", most, "a server has more tools than are taken");
                break;
            }
            match ServerTool::read(tool) {
                Ok(tool) if self.listing.iter().any(|known| known.name == tool.name) => {}
                Ok(tool) => self.listing.push(tool),
                Err(problem) => tracing::warn!(target: "mcp", problem, "a server's tool is left out"),
            }
        }
        let cursor = result["nextCursor"].as_str().filter(|cursor| !cursor.is_empty());
        if let Some(cursor) = cursor.filter(|_| page + 1 < MAX_PAGES && self.listing.len() < most) {
            return self.list(now, Some(cursor), page + 1, events);
        }
        self.tools = std::mem::take(&mut self.listing);
        events.push(Event::Tools);
        if !std::mem::replace(&mut self.ready, true) {
            events.push(Event::Ready);
        }
        if std::mem::take(&mut self.again) {
            self.list(now, None, 0, events);
        }
    }

    fn request(
        &mut self,
        now: Duration,
        what: What,
        method: &str,
        params: &Value,
        timeout: Duration,
        events: &mut Vec<Event>,
    ) {
        self.last_id += 1;
        let id = self.last_id;
        self.pending.insert(id, Pending { what, deadline: now.saturating_add(timeout) });
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        events.push(Event::Send { body, request: Some(id) });
    }
}

fn notify(method: &str, params: &Value, events: &mut Vec<Event>) {
    reply(&json!({"jsonrpc": "2.0", "method": method, "params": params}), events);
}

fn reply(message: &Value, events: &mut Vec<Event>) {
    events.push(Event::Send { body: message.to_string(), request: None });
}

/// An error of the server in words.
fn describe(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("no reason given");
    let message: String = message.chars().take(4_000).collect();
    match error["code"].as_i64() {
        Some(code) => format!("{message} (code {code})"),
        None => message,
    }
}
