//! Who may hear and call what, and what frames look like (spec 01 §1.2, §6, §9.2): written anew, from the
//! specification alone.

use serde_json::Value;

use crate::clients::{Frame, Profile, Tongue};

use super::Checked;

/// Whether a client may hear an event.
pub(super) fn may_hear(profile: &Profile, event: &str, subscribed: bool) -> bool {
    let reads = profile.holds("operator.read");
    match event {
        "tick" | "health" | "shutdown" => true,
        "agent" | "chat" | "presence" => reads,
        "talk.mode" if profile.tongue == Tongue::V4 => profile.holds("operator.talk"),
        "talk.mode" => reads,
        "device.pair.requested"
        | "device.pair.resolved"
        | "device.pair.changed"
        | "node.pair.requested"
        | "node.pair.resolved" => profile.holds("operator.pairing"),
        "node.presence" | "node.hostStats" => reads && profile.tongue == Tongue::V4,
        "sessions.changed" => reads && subscribed && profile.tongue == Tongue::V4,
        _ => false,
    }
}

/// Whether a client may get a good answer from a method.
pub(super) fn may_call(profile: &Profile, method: &str) -> bool {
    if method == "health" && profile.tongue == Tongue::V4 {
        return true;
    }
    let of_nodes =
        ["node.invoke.result", "node.event", "skills.bins", "node.pending.drain", "node.pending.pull"];
    if of_nodes.contains(&method) {
        return profile.role == "node";
    }
    if profile.role != "operator" {
        return false;
    }
    let v4 = profile.tongue == Tongue::V4;
    let scope = match method {
        "health" | "status" | "system-presence" | "last-heartbeat" | "chat.history"
        | "agent.identity.get" | "agents.list" | "models.list" | "sessions.list" | "sessions.preview"
        | "node.list" | "node.describe" => "operator.read",
        "sessions.delete" if v4 => "operator.write",
        "chat.startup" | "sessions.subscribe" | "sessions.resolve" | "config.get" if v4 => "operator.read",
        "chat.send" | "chat.abort" | "agent" | "agent.wait" | "node.invoke" => "operator.write",
        "node.pair.list" | "node.pair.approve" => "operator.pairing",
        "talk.mode" if v4 => "operator.talk",
        "talk.mode" => "operator.write",
        // On protocol 4 some fields need no more than `write`; which, is the core's own test.
        "sessions.patch" if v4 => "operator.write",
        "device.pair.list" | "device.pair.approve" | "device.token.revoke" => "operator.pairing",
        _ => "operator.admin",
    };
    profile.holds(scope)
}

/// Frames are closed: what is not in the specification is not in them, and absent members are left out.
pub(super) fn shape(tongue: Tongue, greeted: bool, frame: &Frame) -> Checked {
    // Before its first frame nobody is known to be plain.
    let plain = tongue == Tongue::Plain && greeted;
    let (response, members): (&str, &[&str]) = match frame.kind() {
        "event" => ("", &["type", "event", "payload", "seq", "stateVersion"]),
        kind => (kind, &["type", "id", "ok", "payload", "error"]),
    };
    if !response.is_empty() && response != if plain { "response" } else { "res" } {
        return Err(format!("a frame of type {response:?} on this connection"));
    }
    if let Some(strange) = frame.members().into_iter().find(|member| !members.contains(member)) {
        return Err(format!("a frame with a member {strange:?}"));
    }
    let null = |name: &str| frame.value.get(name) == Some(&Value::Null) && name != "payload";
    if members.iter().any(|name| null(name)) {
        return Err("a frame with a member that is null".to_owned());
    }
    if response.is_empty() {
        let versioned = matches!(frame.event(), "presence" | "health");
        return match frame.value.get("stateVersion").is_some() == versioned {
            true => Ok(()),
            false => Err("stateVersion belongs to presence and health, and only to them".to_owned()),
        };
    }
    let error = frame.value.get("error");
    if frame.ok() == error.is_some() {
        return Err("an answer is either ok or an error".to_owned());
    }
    match error {
        Some(error) => error_shape(error),
        None => Ok(()),
    }
}

fn error_shape(error: &Value) -> Checked {
    let known = ["code", "message", "details", "retryable", "retryAfterMs"];
    let members = error.as_object().ok_or("an error that is no object")?;
    if let Some(strange) = members.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("an error with a member {strange:?}"));
    }
    let filled = |name: &str| error[name].as_str().is_some_and(|text| !text.is_empty());
    if filled("code") && filled("message") {
        Ok(())
    } else {
        Err("an error without code or message".to_owned())
    }
}

/// The hello says what is granted and enforced.
pub(super) fn hello(profile: &Profile, limit: usize, hello: &Value) -> Checked {
    if hello["type"] != "hello-ok" {
        return Err("a hello of another type".to_owned());
    }
    let protocol = if profile.tongue == Tongue::V4 { 4 } else { 3 };
    if hello["protocol"] != protocol {
        return Err(format!("protocol {} instead of {protocol}", hello["protocol"]));
    }
    if hello["policy"]["maxBufferedBytes"] != limit {
        return Err(format!("the hello says maxBufferedBytes {}", hello["policy"]["maxBufferedBytes"]));
    }
    if let Some(scopes) = hello["auth"]["scopes"].as_array() {
        let granted: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
        if let Some(extra) = granted.iter().find(|scope| !profile.holds(scope)) {
            return Err(format!("the hello grants {extra}, which is not due"));
        }
        if let Some(lost) = profile.granted().into_iter().find(|scope| !granted.contains(scope)) {
            return Err(format!("the hello withholds {lost}, which is due"));
        }
    }
    Ok(())
}
