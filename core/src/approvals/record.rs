//! An approval as it is kept: the question, and what became of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use telson_proto::approval::{ApprovalView, Decided, Decision, ExecView, Resolver, Reviewer, Waiting};
use telson_proto::{Json, Protocol};

use crate::auth::Principal;
use crate::store::{Op, Record, Shelf};

/// The members of a request that protocol 3 knows. They are always there, `null` when nobody gave them.
pub(super) const V3_MEMBERS: [&str; 8] =
    ["command", "cwd", "host", "security", "ask", "agentId", "resolvedPath", "sessionKey"];

/// Whose question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A command is to run.
    Exec,
    /// A plugin asks.
    Plugin,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Plugin => "plugin",
        }
    }
}

/// How far a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Pending,
    Allowed,
    Denied,
    Expired,
    Cancelled,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why it ended (spec 03 §3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// Somebody answered.
    User,
    /// Nobody answered in time.
    Timeout,
    /// Nobody was there who could have answered.
    NoRoute,
    /// The gateway went down before anybody answered.
    GatewayRestart,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Timeout => "timeout",
            Self::NoRoute => "no-route",
            Self::GatewayRestart => "gateway-restart",
        }
    }
}

/// One approval. See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Approval {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// What is asked, in a form that shows every character.
    pub(super) request: Map<String, Value>,
    /// The command whole, or a plugin's question, in the same form.
    pub(super) text: String,
    /// Hex SHA-256 over all that an answer is bound to.
    pub(super) digest: String,
    /// Who asked.
    pub(super) asked_by: String,
    /// The devices that alone may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reviewers: Option<Vec<String>>,
    /// The answers that are possible.
    pub(super) allowed: Vec<Decision>,
    pub(super) created_at_ms: u64,
    pub(super) expires_at_ms: u64,
    pub(super) state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resolved_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resolved_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reviewer: Option<Reviewer>,
}

/// How an approval ends.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) state: State,
    pub(super) decision: Option<Decision>,
    pub(super) reason: Reason,
    pub(super) by: Option<String>,
    pub(super) reviewer: Option<Reviewer>,
    /// For how many days the same question is answered by itself.
    pub(super) days: Option<u64>,
}

impl Ending {
    /// Somebody answered.
    pub(super) fn answer(decision: Decision, by: Option<String>) -> Self {
        let state = if decision == Decision::Deny { State::Denied } else { State::Allowed };
        Self { state, decision: Some(decision), reason: Reason::User, by, reviewer: None, days: None }
    }

    /// It ends without an answer, which allows nothing (08 S-57).
    pub(super) fn unanswered(reason: Reason) -> Self {
        let state = match reason {
            Reason::GatewayRestart => State::Cancelled,
            Reason::NoRoute => State::Denied,
            Reason::User | Reason::Timeout => State::Expired,
        };
        Self { state, decision: None, reason, by: None, reviewer: None, days: None }
    }
}

impl Approval {
    /// The row's key on [`Shelf::Approvals`]; callers choose ids, so they have a corner of their own there.
    pub(super) fn key(id: &str) -> String {
        format!("approval:{id}")
    }

    pub(super) fn put(&self) -> Op {
        Op::PutRecord(Record { shelf: Shelf::Approvals, key: Self::key(&self.id), record: Json::of(self) })
    }

    /// How large it is when it is written.
    pub(super) fn bytes(&self) -> usize {
        Json::of(self).as_str().len()
    }

    /// The same, ended.
    pub(super) fn ended(&self, ending: &Ending, now_ms: u64) -> Self {
        Self {
            state: ending.state,
            decision: ending.decision,
            reason: Some(ending.reason),
            resolved_at_ms: Some(now_ms),
            resolved_by: ending.by.clone(),
            reviewer: ending.reviewer.clone(),
            ..self.clone()
        }
    }

    /// Whether this caller, who holds the scope, may answer this very question.
    pub(super) fn may_answer(&self, principal: &Principal) -> bool {
        let named = |list: &Vec<String>| {
            principal.device.as_ref().is_some_and(|device| list.iter().any(|id| id == device.as_str()))
        };
        self.reviewers.as_ref().is_none_or(|list| named(list) || principal.holds(telson_proto::Scope::Admin))
    }

    /// What is asked, as a protocol shows it.
    pub(super) fn request_for(&self, protocol: Protocol) -> Map<String, Value> {
        match protocol {
            Protocol::V4 => self.request.clone(),
            Protocol::V3 => {
                let member = |name: &str| self.request.get(name).cloned().unwrap_or(Value::Null);
                V3_MEMBERS.into_iter().map(|name| (name.to_owned(), member(name))).collect()
            }
        }
    }

    pub(super) fn waiting(&self, protocol: Protocol, in_list: bool) -> Waiting {
        Waiting {
            id: self.id.clone(),
            request: self.request_for(protocol),
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            approval_kind: in_list.then_some(self.kind.as_str()),
        }
    }

    pub(super) fn decided(&self, with_reason: bool) -> Decided {
        Decided {
            id: self.id.clone(),
            decision: self.decision,
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            terminal_reason: self.reason.filter(|_| with_reason).map(Reason::as_str),
        }
    }

    /// With what became of it, in the form of the published schema.
    pub(super) fn view(&self) -> ApprovalView {
        let over = self.state != State::Pending;
        let session = self.request.get("sessionKey").and_then(Value::as_str).map(str::to_owned);
        ApprovalView {
            id: self.id.clone(),
            url_path: format!("/approvals/{}", escaped(&self.id)),
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            presentation: self.presentation(),
            status: self.state.as_str(),
            decision: if self.state == State::Denied { Some(Decision::Deny) } else { self.decision },
            reason: self.reason.map(Reason::as_str),
            resolved_at_ms: self.resolved_at_ms,
            source: over
                .then(|| self.members(&["agentId", "sessionKey"]))
                .filter(|source| !source.is_empty()),
            source_session_key: session.filter(|_| !over),
            resolver: self.resolver(),
        }
    }

    fn presentation(&self) -> Map<String, Value> {
        let mut shown = match self.kind {
            Kind::Exec => self.members(&["warningText", "host", "nodeId", "agentId"]),
            Kind::Plugin => self.members(&[
                "title",
                "description",
                "detail",
                "severity",
                "pluginId",
                "toolName",
                "agentId",
            ]),
        };
        if self.kind == Kind::Exec {
            shown.insert("commandText".to_owned(), self.text.clone().into());
        }
        shown.insert("kind".to_owned(), self.kind.as_str().into());
        shown.insert("allowedDecisions".to_owned(), serde_json::json!(self.allowed));
        shown
    }

    /// Some members of the request, as far as they say something.
    fn members(&self, names: &[&str]) -> Map<String, Value> {
        let said =
            |name: &&&str| self.request.get(**name).is_some_and(|value| *value != "" && !value.is_null());
        let member = |name: &&str| ((*name).to_owned(), self.request[*name].clone());
        names.iter().filter(said).map(member).collect()
    }

    fn resolver(&self) -> Option<Resolver> {
        let id = self.resolved_by.clone();
        match (self.reason?, &self.reviewer) {
            (Reason::User, Some(reviewer)) => {
                Some(Resolver { kind: "channel", id: Some(reviewer.channel.to_string()) })
            }
            (Reason::User, None) => Some(Resolver { kind: "device", id }),
            _ => Some(Resolver { kind: "system", id: None }),
        }
    }

    pub(super) fn exec_view(&self) -> ExecView {
        let text = |name: &str| self.request.get(name).and_then(Value::as_str).map(str::to_owned);
        let open = self.state == State::Pending;
        ExecView {
            id: self.id.clone(),
            command_text: self.text.clone(),
            command_preview: None,
            allowed_decisions: if open { self.allowed.clone() } else { Vec::new() },
            host: text("host"),
            node_id: text("nodeId"),
            agent_id: text("agentId"),
            expires_at_ms: self.expires_at_ms,
        }
    }
}

/// An id as a part of a path.
fn escaped(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    id.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
