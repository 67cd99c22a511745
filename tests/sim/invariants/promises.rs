//! *Durable before acknowledged*: what an answer or an end promises is on disk when it goes out.

use serde_json::Value;
use telson_core::{DeviceId, RunId, SessionKey};

use crate::clients::{Frame, Profile};
use crate::store::{Disk, text_of};

use super::wire::{Call, HELLO};
use super::{Checked, tables};

/// An answer goes out.
pub(super) fn kept(call: &Call, frame: &Frame, profile: &Profile, disk: &Disk) -> Checked {
    if !frame.ok() {
        return Ok(());
    }
    let payload = &frame.payload;
    let method = call.method.as_str();
    if method == HELLO {
        return hello(profile, payload, disk);
    }
    if method.is_empty() {
        return Err("a mistaken frame got a good answer".to_owned());
    }
    if !tables::may_call(profile, method) {
        return Err(format!("a good answer from {method} for somebody who may not call it"));
    }
    match method {
        "chat.send" | "agent" if payload["runId"].is_string() => words(call, disk),
        "chat.inject" => injected(call, payload, disk),
        "sessions.patch" | "sessions.reset" => row(call, payload, disk),
        "sessions.delete" if payload["deleted"] == true => {
            let key = SessionKey::new(payload["key"].as_str().unwrap_or_default());
            durable(disk.ever.removed.contains(&key), "the removal of a session")
        }
        _ => Ok(()),
    }
}

fn durable(is: bool, what: &str) -> Checked {
    if is { Ok(()) } else { Err(format!("{what} is acknowledged and not durable")) }
}

fn hello(profile: &Profile, payload: &Value, disk: &Disk) -> Checked {
    match (payload["auth"]["deviceToken"].as_str(), profile.device_id()) {
        (Some(_), Some(id)) => durable(disk.ever.devices.contains(&DeviceId::new(id)), "a device token"),
        (Some(_), None) => Err("a device token for somebody without a device".to_owned()),
        (None, _) => Ok(()),
    }
}

/// The user's words are in the transcript of the run.
fn words(call: &Call, disk: &Disk) -> Checked {
    let (words, key) =
        (call.params["message"].as_str().unwrap_or_default(), call.params["idempotencyKey"].as_str());
    let there = disk.ever.has_line("user", |line| line.text.contains(words));
    durable(there, &format!("the message of run {}", key.unwrap_or_default()))
}

fn injected(call: &Call, payload: &Value, disk: &Disk) -> Checked {
    let (words, id) = (call.params["message"].as_str().unwrap_or_default(), payload["messageId"].as_str());
    let there = disk
        .ever
        .has_line("assistant", |line| Some(line.entry.id.as_str()) == id && line.text.contains(words));
    durable(there, "an injected message")
}

/// The session's row is what the answer shows of it.
fn row(call: &Call, payload: &Value, disk: &Disk) -> Checked {
    let key = SessionKey::new(payload["key"].as_str().unwrap_or_default());
    let rows = disk.ever.rows.get(&key).map_or(&[][..], Vec::as_slice);
    let there = if call.method == "sessions.reset" {
        rows.iter().any(|row| payload["entry"]["sessionId"] == row.session.as_str())
    } else {
        let label = &call.params["label"];
        rows.iter().any(|row| label.is_null() || row.entry.to_value()["label"] == *label)
    };
    durable(there, &format!("the row of session {key} after {}", call.method))
}

/// A run's terminal event goes out: its text is in the transcript, and it is no longer noted as under way.
pub(super) fn ended(id: &str, state: &str, payload: &Value, disk: &Disk) -> Checked {
    let run = RunId::new(id);
    // A run whose end could not be written must end all the same, but not as if it had gone well.
    let hurt = disk.ever.hurt.contains(&run);
    if hurt && state != "final" {
        return Ok(());
    }
    if disk.is_open(id) {
        return Err(format!("run {id} ends as {state} and is still noted as under way"));
    }
    let said = text_of(&payload["message"]);
    let said = said.trim();
    if said.is_empty() {
        return Ok(());
    }
    let injected = id.strip_prefix("inject-");
    let there = disk.ever.has_line("assistant", |line| {
        let own = injected.map_or(line.entry.run.as_ref() == Some(&run), |message| line.entry.id == message);
        own && line.text.trim() == said
    });
    durable(there, &format!("the {state} text of run {id}"))
}
