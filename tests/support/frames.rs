//! What a frame may look like. Every frame that a test's client receives passes here.
//!
//! Protocol 4 frames are held against the schema that the reference publishes; protocol 3 frames against the
//! closed shapes that its clients enforce (spec 01 §1.2); plain frames against spec 01 §9.2.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::client::Dialect;
use super::packages;

/// Members that newer releases of the reference send although the published schema (2026.9.1) lacks them:
/// the definition and the path to the object that carries the member.
const NEWER_MEMBERS: &[(&str, &[&str], &str)] = &[
    ("AgentEvent", &[], "sessionKey"),
    ("AgentEvent", &[], "agentId"),
    ("HelloOk", &["auth"], "method"),
    // Ours: what was asked for and not granted, and why (07 P-23).
    ("HelloOk", &["auth"], "withheldScopes"),
    ("HelloOk", &["auth"], "withheldReason"),
];

/// Checks every frame of one connection.
pub struct Checker {
    dialect: Dialect,
    /// The number of the last event that carried one.
    seq: u64,
}

impl Checker {
    /// A checker for a connection that has just been opened.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, seq: 0 }
    }

    /// Checks a frame; `method` is what a response answers, where that is known.
    #[track_caller]
    pub fn check(&mut self, frame: &Value, method: Option<&str>) {
        match (self.dialect, frame["event"].as_str()) {
            // The challenge is sent before a dialect is chosen: native for everyone.
            (_, Some("connect.challenge")) => closed("challenge", frame, &["type", "event", "payload"]),
            (Dialect::V4, _) => check_v4(frame, method),
            (Dialect::V3, _) => check_v3(frame),
            (Dialect::Plain, _) => check_plain(frame),
        }
        if let Some(seq) = frame.get("seq") {
            assert_eq!(seq.as_u64(), Some(self.seq + 1), "events are numbered without a gap: {frame}");
            self.seq += 1;
        }
    }
}

fn check_v4(frame: &Value, method: Option<&str>) {
    conforms("GatewayFrame", frame);
    let payload = &frame["payload"];
    if let Some(event) = frame["event"].as_str() {
        match event {
            "agent" => conforms("AgentEvent", payload),
            "chat" => conforms("ChatEvent", payload),
            "tick" => conforms("TickEvent", payload),
            "shutdown" => conforms("ShutdownEvent", payload),
            "presence" => check_presence(&payload["presence"]),
            "session.operation" => conforms("SessionOperationEvent", payload),
            "session.typing" => conforms("SessionTypingEvent", payload),
            "session.message" | "sessions.changed" => check_row(&payload["session"]),
            _ => {}
        }
    }
    if frame["ok"] == json!(true) {
        match method {
            Some("connect") => conforms("HelloOk", payload),
            Some("agents.list") => conforms("AgentsListResult", payload),
            Some("agent.identity.get") => conforms("AgentIdentityResult", payload),
            Some("commands.list") => conforms("CommandsListResult", payload),
            Some("models.list") => conforms("ModelsListResult", payload),
            Some("sessions.resolve") => conforms("SessionsResolveResult", payload),
            Some("sessions.delete") => conforms("SessionsDeleteResult", payload),
            Some("sessions.create") => conforms("SessionsCreateResult", payload),
            Some("sessions.patchMany") => conforms("SessionsPatchManyResult", payload),
            Some("sessions.fork") => conforms("SessionsForkResult", payload),
            Some("sessions.rewind") => conforms("SessionsRewindResult", payload),
            Some("sessions.branches.list") => conforms("SessionsBranchesListResult", payload),
            Some("sessions.branches.switch") => conforms("SessionsBranchesSwitchResult", payload),
            Some("sessions.describe") => check_row(&payload["session"]),
            Some("sessions.list") => {
                payload["sessions"].as_array().into_iter().flatten().for_each(check_row);
            }
            Some("sessions.groups.list") => conforms("SessionsGroupsListResult", payload),
            Some("sessions.groups.put" | "sessions.groups.rename" | "sessions.groups.delete") => {
                conforms("SessionsGroupsMutationResult", payload);
            }
            Some("sessions.recover") => conforms("SessionsRecoverResult", payload),
            Some("session.typing") => conforms("SessionTypingResult", payload),
            Some("chat.message.get") => conforms("ChatMessageGetResult", payload),
            Some("approval.get") => conforms("ApprovalGetResult", payload),
            Some("approval.resolve") => conforms("ApprovalResolveResult", payload),
            Some("approval.history") => conforms("ApprovalHistoryResult", payload),
            Some("exec.approval.grants.list") => conforms("ExecApprovalGrantsListResult", payload),
            Some("exec.approval.grants.revoke") => conforms("ExecApprovalGrantsRevokeResult", payload),
            Some("exec.approvals.get" | "exec.approvals.set") => conforms("ExecApprovalsSnapshot", payload),
            Some("system-presence") => check_presence(payload),
            _ => {}
        }
    }
}

/// A session's row, where there is one.
fn check_row(row: &Value) {
    if !row.is_null() {
        conforms("SessionRow", row);
    }
}

fn check_presence(entries: &Value) {
    for entry in entries.as_array().unwrap_or_else(|| panic!("presence is a list: {entries}")) {
        conforms("PresenceEntry", entry);
    }
}

/// Fails unless the value conforms to a definition of the published schema.
#[track_caller]
pub fn conforms(definition: &'static str, value: &Value) {
    let mut value = value.clone();
    for (_, path, member) in NEWER_MEMBERS.iter().filter(|(of, ..)| *of == definition) {
        let holder = path.iter().try_fold(&mut value, |holder, step| holder.get_mut(step));
        if let Some(holder) = holder.and_then(Value::as_object_mut) {
            holder.remove(*member);
        }
    }
    let errors: Vec<String> = validator(definition)
        .iter_errors(&value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "not a {definition}: {errors:#?}\n{value:#}");
}

fn validator(definition: &'static str) -> &'static Validator {
    static VALIDATORS: OnceLock<BTreeMap<&str, Validator>> = OnceLock::new();
    VALIDATORS.get_or_init(compile).get(definition).unwrap_or_else(|| panic!("{definition} is not compiled"))
}

fn compile() -> BTreeMap<&'static str, Validator> {
    const USED: [&str; 33] = [
        "GatewayFrame",
        "HelloOk",
        "AgentEvent",
        "ChatEvent",
        "TickEvent",
        "ShutdownEvent",
        "PresenceEntry",
        "AgentsListResult",
        "AgentIdentityResult",
        "ModelsListResult",
        "SessionsResolveResult",
        "SessionsDeleteResult",
        "SessionsCreateResult",
        "SessionsPatchManyResult",
        "SessionsForkResult",
        "SessionsRewindResult",
        "SessionsBranchesListResult",
        "SessionsBranchesSwitchResult",
        "SessionsGroupsListResult",
        "SessionsGroupsMutationResult",
        "SessionsRecoverResult",
        "SessionOperationEvent",
        "SessionTypingEvent",
        "SessionTypingResult",
        "SessionRow",
        "ChatMessageGetResult",
        "CommandsListResult",
        "ApprovalGetResult",
        "ApprovalResolveResult",
        "ApprovalHistoryResult",
        "ExecApprovalGrantsListResult",
        "ExecApprovalGrantsRevokeResult",
        "ExecApprovalsSnapshot",
    ];
    let file = packages::module("@openclaw/gateway-protocol/protocol.schema.json");
    let text = std::fs::read_to_string(file).expect("the published schema is there");
    let schema: Value = serde_json::from_str(&text).expect("the published schema is JSON");
    let definitions = &schema["definitions"];
    USED.iter()
        .map(|name| {
            let mut root = definitions[*name].clone();
            assert!(root.is_object(), "the published schema defines {name}");
            let shared = ["AgentKind"].map(|used| (used.to_owned(), definitions[used].clone()));
            root["definitions"] = Value::Object(Map::from_iter(shared));
            drop_surrogates(&mut root);
            (*name, jsonschema::draft7::new(&root).expect("the published schema compiles"))
        })
        .collect()
}

/// Takes the patterns away that speak of halves of UTF-16 characters: no text here has such halves, and the patterns
/// cannot be read.
fn drop_surrogates(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, value| {
                name != "pattern" || !value.as_str().is_some_and(|pattern| pattern.contains("\\uD800"))
            });
            members.values_mut().for_each(drop_surrogates);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_surrogates),
        _ => {}
    }
}

fn check_v3(frame: &Value) {
    match frame["type"].as_str() {
        Some("res") => {
            closed("response", frame, &["type", "id", "ok", "payload", "error"]);
            check_answer(frame);
            if frame["payload"]["type"] == json!("hello-ok") {
                check_hello_v3(&frame["payload"]);
            }
        }
        Some("event") => {
            closed("event", frame, &["type", "event", "payload", "seq", "stateVersion"]);
            check_state_version(frame);
            match frame["event"].as_str() {
                Some("chat") => closed("chat", &frame["payload"], CHAT_V3),
                Some("agent") => closed("agent", &frame["payload"], AGENT_V3),
                Some(_) => {}
                None => panic!("an event has a name: {frame}"),
            }
        }
        _ => panic!("not a frame that a server sends: {frame}"),
    }
}

const CHAT_V3: &[&str] =
    &["runId", "sessionKey", "seq", "state", "message", "errorMessage", "usage", "stopReason"];
const AGENT_V3: &[&str] = &["runId", "seq", "stream", "ts", "data", "sessionKey"];

fn check_hello_v3(hello: &Value) {
    closed(
        "hello-ok",
        hello,
        &["type", "protocol", "server", "features", "snapshot", "canvasHostUrl", "auth", "policy"],
    );
    closed("server", &hello["server"], &["version", "commit", "host", "connId"]);
    closed("features", &hello["features"], &["methods", "events"]);
    closed(
        "snapshot",
        &hello["snapshot"],
        &["presence", "health", "stateVersion", "uptimeMs", "configPath", "stateDir", "sessionDefaults"],
    );
    closed("policy", &hello["policy"], &["maxPayload", "maxBufferedBytes", "tickIntervalMs"]);
    if let Some(auth) = hello.get("auth") {
        closed("auth", auth, &["deviceToken", "role", "scopes", "issuedAtMs"]);
    }
}

fn check_plain(frame: &Value) {
    match frame["type"].as_str() {
        Some("response") => {
            closed("response", frame, &["type", "id", "ok", "payload", "error"]);
            check_answer(frame);
        }
        Some("event") => {
            closed("event", frame, &["type", "event", "payload", "seq", "stateVersion"]);
            assert!(frame.get("payload").is_some(), "a plain event has a payload: {frame}");
            assert!(frame["seq"].is_u64(), "a plain event has a number: {frame}");
            check_state_version(frame);
        }
        _ => panic!("not a frame that a server sends: {frame}"),
    }
}

fn check_answer(frame: &Value) {
    assert!(frame["id"].as_str().is_some_and(|id| !id.is_empty()), "an answer has an id: {frame}");
    assert!(frame["ok"].is_boolean(), "an answer says whether it is ok: {frame}");
    assert_ne!(frame.get("payload"), Some(&Value::Null).filter(|_| frame["ok"] == json!(false)), "{frame}");
    if let Some(error) = frame.get("error") {
        assert_eq!(frame["ok"], json!(false), "only a failure has an error: {frame}");
        closed("error", error, &["code", "message", "details", "retryable", "retryAfterMs"]);
        for text in ["code", "message"] {
            assert!(error[text].as_str().is_some_and(|text| !text.is_empty()), "{text} is a word: {frame}");
        }
        assert!(error.get("retryable").is_none_or(Value::is_boolean), "{frame}");
        assert!(error.get("retryAfterMs").is_none_or(Value::is_u64), "{frame}");
    } else {
        assert_eq!(frame["ok"], json!(true), "a failure has an error: {frame}");
    }
}

fn check_state_version(frame: &Value) {
    if let Some(version) = frame.get("stateVersion") {
        closed("stateVersion", version, &["presence", "health"]);
        assert!(version["presence"].is_u64() && version["health"].is_u64(), "{frame}");
    }
}

#[track_caller]
fn closed(what: &str, value: &Value, allowed: &[&str]) {
    let members = value.as_object().unwrap_or_else(|| panic!("{what} is an object: {value}"));
    for member in members.keys() {
        assert!(allowed.contains(&member.as_str()), "{what} has no member {member}: {value}");
    }
}
