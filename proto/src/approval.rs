//! Approvals of commands: questions, answers and the standing policy (spec 03 §3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::params::{Count, Text};

/// An answer to the question whether a command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// This once.
    AllowOnce,
    /// From now on without asking.
    AllowAlways,
    /// No.
    Deny,
}

impl Decision {
    /// Every answer.
    pub const ALL: [Self; 3] = [Self::AllowOnce, Self::AllowAlways, Self::Deny];

    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow-once",
            Self::AllowAlways => "allow-always",
            Self::Deny => "deny",
        }
    }

    /// Reads the spelling.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.as_str() == word)
    }
}

/// The parameters of `exec.approval.request`. Members from `command_argv` on are those of protocol 4.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecRequest {
    /// A name of the caller's choice.
    pub id: Option<Text>,
    /// The command as a line; required on protocol 3.
    pub command: Option<Text>,
    /// Where it would run.
    pub cwd: Option<String>,
    /// On which kind of machine: `gateway`, `node`, `sandbox`.
    pub host: Option<String>,
    /// The level of the machine that asks.
    pub security: Option<String>,
    /// When that machine asks.
    pub ask: Option<String>,
    /// For which agent.
    pub agent_id: Option<String>,
    /// The executable.
    pub resolved_path: Option<String>,
    /// In which session.
    pub session_key: Option<String>,
    /// How long it waits for an answer.
    pub timeout_ms: Option<Count<1>>,
    /// The command as a program with its arguments.
    pub command_argv: Option<Vec<String>>,
    /// What exactly a node would be told to run.
    pub system_run_plan: Option<SystemRunPlan>,
    /// The variables that would be set.
    pub env: Option<BTreeMap<String, String>>,
    /// On which node.
    pub node_id: Option<String>,
    /// What the asker warns of.
    pub warning_text: Option<String>,
    /// Whose question it is, in the asker's words; shown only.
    pub scope: Option<Value>,
    /// Answers that make no sense here.
    pub unavailable_decisions: Option<Vec<Decision>>,
    /// Which parts of the command are what; shown only.
    pub command_spans: Option<Value>,
    /// The incarnation of the session.
    pub session_id: Option<String>,
    /// The run that asks.
    pub run_id: Option<String>,
    /// The tool call that asks.
    pub tool_call_id: Option<String>,
    /// Where the turn came from.
    pub turn_source_channel: Option<String>,
    /// The same.
    pub turn_source_to: Option<String>,
    /// The same.
    pub turn_source_account_id: Option<String>,
    /// The same.
    pub turn_source_thread_id: Option<Value>,
    /// The devices that alone may answer; an empty list means no device.
    pub approval_reviewer_device_ids: Option<Vec<String>>,
    /// Accepted without effect: a question that nobody can hear ends at once in any case.
    pub require_delivery_route: Option<bool>,
    /// Accepted without effect: a question is never kept from those who may answer.
    pub suppress_delivery: Option<bool>,
    /// Accepted without effect: there are no other ways of delivery.
    pub deliver_to_approval_clients_only: Option<bool>,
    /// Whether the request is answered when it is accepted, and again when it is decided.
    pub two_phase: Option<bool>,
}

/// What exactly a node would be told to run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemRunPlan {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where.
    pub cwd: Option<String>,
    /// The same as a line, in the asker's spelling.
    pub command_text: Text,
    /// A shorter form, in the asker's words; never shown in place of the command.
    #[serde(default)]
    pub command_preview: Option<String>,
    /// For which agent.
    pub agent_id: Option<String>,
    /// In which session.
    pub session_key: Option<String>,
    /// The policy that the asker saw; shown only.
    #[serde(default)]
    pub policy_snapshot: Option<Value>,
    /// A file among the arguments whose content was seen.
    #[serde(default)]
    pub mutable_file_operand: Option<FileOperand>,
}

/// A file among the arguments whose content was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileOperand {
    /// Which argument.
    pub argv_index: u64,
    /// Its path.
    pub path: String,
    /// Hex SHA-256 of its content.
    pub sha256: String,
}

impl ExecRequest {
    /// The members that only protocol 4 knows, and whether each is there.
    pub fn later_members(&self) -> [(&'static str, bool); 20] {
        [
            ("commandArgv", self.command_argv.is_some()),
            ("systemRunPlan", self.system_run_plan.is_some()),
            ("env", self.env.is_some()),
            ("nodeId", self.node_id.is_some()),
            ("warningText", self.warning_text.is_some()),
            ("scope", self.scope.is_some()),
            ("unavailableDecisions", self.unavailable_decisions.is_some()),
            ("commandSpans", self.command_spans.is_some()),
            ("sessionId", self.session_id.is_some()),
            ("runId", self.run_id.is_some()),
            ("toolCallId", self.tool_call_id.is_some()),
            ("turnSourceChannel", self.turn_source_channel.is_some()),
            ("turnSourceTo", self.turn_source_to.is_some()),
            ("turnSourceAccountId", self.turn_source_account_id.is_some()),
            ("turnSourceThreadId", self.turn_source_thread_id.is_some()),
            ("approvalReviewerDeviceIds", self.approval_reviewer_device_ids.is_some()),
            ("requireDeliveryRoute", self.require_delivery_route.is_some()),
            ("suppressDelivery", self.suppress_delivery.is_some()),
            ("deliverToApprovalClientsOnly", self.deliver_to_approval_clients_only.is_some()),
            ("twoPhase", self.two_phase.is_some()),
        ]
    }
}

/// The parameters of methods about one approval.
#[derive(Clone, Debug, Deserialize)]
pub struct ById {
    /// Its name.
    pub id: Text,
}

/// The parameters of `exec.approval.resolve`, `plugin.approval.resolve` and `approval.resolve`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolve {
    /// Which approval.
    pub id: Text,
    /// The answer; a word that is none is refused by the method.
    pub decision: Text,
    /// Protocol 4: the kind of approval, for `approval.resolve`.
    #[serde(default)]
    pub kind: Option<String>,
    /// Protocol 4: who answered in a channel; kept with the answer.
    #[serde(default)]
    pub reviewer: Option<Reviewer>,
    /// Protocol 4: for how many days `allow-always` answers the same question by itself.
    #[serde(default)]
    pub grant_expires_in_days: Option<Count<1, 3650>>,
}

/// Who answered in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reviewer {
    /// The channel.
    pub channel: Text<1, 128>,
    /// The account there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Text<1, 256>>,
    /// The person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<Text<1, 256>>,
}

/// The parameters of `approval.history`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryQuery {
    /// Where the page before ended.
    pub cursor: Option<Text<1, 256>>,
    /// At most so many.
    pub limit: Option<Count<1, 100>>,
    /// Only this kind.
    pub kind: Option<String>,
}

/// The parameters of `exec.approval.grants.list`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GrantsQuery {
    /// At most so many.
    pub limit: Option<Count<1, 500>>,
}

/// The parameters of `exec.approval.grants.revoke`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantId {
    /// Which grant.
    pub grant_id: Text<1, 128>,
}

/// The answer to a request: what was decided. `decision` is `null` when nobody answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// Which approval.
    pub id: String,
    /// The answer.
    pub decision: Option<Decision>,
    /// When it was asked.
    pub created_at_ms: u64,
    /// When it would have ended by itself.
    pub expires_at_ms: u64,
    /// Protocol 4: how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_reason: Option<&'static str>,
}

/// The first of the two answers to a request that asked for two.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Always `accepted`.
    pub status: &'static str,
    /// Which approval.
    pub id: String,
    /// How it reaches somebody: `approval-client` or `none`.
    pub delivery_route: &'static str,
    /// When it was asked.
    pub created_at_ms: u64,
    /// When it ends by itself.
    pub expires_at_ms: u64,
}

/// An approval that waits: an item of the lists, and the payload of the `requested` events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Its name.
    pub id: String,
    /// What is asked, in a form that shows every character.
    pub request: Map<String, Value>,
    /// When it was asked.
    pub created_at_ms: u64,
    /// When it ends by itself.
    pub expires_at_ms: u64,
    /// Protocol 4, in lists: `exec` or `plugin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_kind: Option<&'static str>,
}

/// The payload of the `resolved` events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// Which approval.
    pub id: String,
    /// The answer.
    pub decision: Decision,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
    /// When.
    pub ts: u64,
    /// Protocol 4: what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Map<String, Value>>,
}

/// The result of `exec.approval.get`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecView {
    /// Its name.
    pub id: String,
    /// The command, whole, with every character shown.
    pub command_text: String,
    /// A shorter form; there is none: what runs is what is shown.
    pub command_preview: Option<String>,
    /// The answers that are possible.
    pub allowed_decisions: Vec<Decision>,
    /// On which kind of machine.
    pub host: Option<String>,
    /// On which node.
    pub node_id: Option<String>,
    /// For which agent.
    pub agent_id: Option<String>,
    /// When it ends by itself.
    pub expires_at_ms: u64,
}

/// An approval with what became of it. Members that do not belong to its status are absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// Its name.
    pub id: String,
    /// Where a web UI shows it.
    pub url_path: String,
    /// When it was asked.
    pub created_at_ms: u64,
    /// When it ends, or would have ended, by itself.
    pub expires_at_ms: u64,
    /// What is asked, by its kind.
    pub presentation: Map<String, Value>,
    /// `pending`, `allowed`, `denied`, `expired` or `cancelled`.
    pub status: &'static str,
    /// The answer; `deny` also where nobody could answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at_ms: Option<u64>,
    /// For whom it was asked, when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Map<String, Value>>,
    /// In which session it was asked, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_session_key: Option<String>,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolver {
    /// `device`, `channel` or `system`.
    pub kind: &'static str,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The parameters of `plugin.approval.request`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginRequest {
    /// Which plugin asks.
    #[serde(default)]
    pub plugin_id: Option<Text<1, 256>>,
    /// The question in a few words.
    pub title: Text<1, 80>,
    /// The question.
    pub description: Text<1, 512>,
    /// All there is to it.
    #[serde(default)]
    pub detail: Option<Text<0, 16_384>>,
    /// `info`, `warning` or `critical`.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// The tool that would be called.
    #[serde(default)]
    pub tool_name: Option<Text<1, 256>>,
    /// The call.
    #[serde(default)]
    pub tool_call_id: Option<Text<1, 256>>,
    /// The answers that are possible; all when there is none.
    #[serde(default)]
    pub allowed_decisions: Option<Vec<Decision>>,
    /// For which agent.
    #[serde(default)]
    pub agent_id: Option<Text<1, 256>>,
    /// In which session.
    #[serde(default)]
    pub session_key: Option<Text<1, 512>>,
    /// The devices that alone may answer; an empty list means no device.
    #[serde(default)]
    pub approval_reviewer_device_ids: Option<Vec<String>>,
    /// How long it waits for an answer.
    #[serde(default)]
    pub timeout_ms: Option<Count<1>>,
    /// Whether the request is answered when it is accepted, and again when it is decided.
    #[serde(default)]
    pub two_phase: Option<bool>,
}

/// How much hangs on a plugin's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Little.
    Info,
    /// Something.
    Warning,
    /// Much.
    Critical,
}

/// The parameters of `exec.approvals.set`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySet {
    /// The new file.
    #[serde(default)]
    pub file: Value,
    /// The hash of the file that it was made from.
    #[serde(default)]
    pub base_hash: Option<Text>,
}

/// The parameters of `exec.approvals.node.get`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePolicyGet {
    /// Which node.
    pub node_id: Text,
}

/// The parameters of `exec.approvals.node.set`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePolicySet {
    /// Which node.
    pub node_id: Text,
    /// The new file.
    #[serde(default)]
    pub file: Option<Value>,
    /// Protocol 4: the node's own form of it.
    #[serde(default)]
    pub native: Option<Value>,
    /// The hash of the file that it was made from.
    #[serde(default)]
    pub base_hash: Option<Text>,
}

/// The result of `exec.approvals.get` and `.set`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySnapshot {
    /// Where the older systems keep it.
    pub path: String,
    /// Whether there is one.
    pub exists: bool,
    /// Hex SHA-256 of its text.
    pub hash: String,
    /// The file without the socket's secret.
    pub file: Value,
    /// Protocol 4: what holds where the file says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_defaults: Option<Value>,
}
