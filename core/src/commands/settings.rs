//! The commands that show or change one setting of the session.

use serde_json::{Value, json};
use telson_proto::ErrorShape;

use crate::auth::{Effect, authorize};
use crate::gateway::Gateway;
use crate::sessions::keys;
use crate::settings::{QueueDrop, QueueMode, QueueSettings};

use super::{Caller, Done};

/// Up to a day a queue may wait for more.
const MOST_DEBOUNCE_MS: u64 = 24 * 3_600_000;
/// As many messages a queue may hold at most.
const MOST_CAP: u64 = 1_000;

/// Shows a setting, or sets it through `sessions.patch`, which knows the words and who may.
fn setting(
    gateway: &Gateway,
    caller: &Caller<'_>,
    word: &str,
    (title, member): (&str, &str),
    current: &str,
) -> Result<Done, ErrorShape> {
    if word.is_empty() {
        return Ok(Done::says(format!("{title}: {current}")));
    }
    let entry = gateway.patched_for(caller.principal, caller.key, json!({member: word}))?;
    let now = serde_json::to_value(&entry).unwrap_or_default();
    let level = now.get(member).and_then(Value::as_str).unwrap_or("off").to_owned();
    Ok(Done::leaves(entry, format!("{title} set to {level}.")))
}

/// `/think`.
pub(super) fn think(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let entry = gateway.sessions.entry(caller.key);
    let own = entry.and_then(|entry| entry.thinking_level.clone());
    let current = own.unwrap_or_else(|| gateway.agents.thinking_default(&gateway.model_of(caller.key)));
    setting(gateway, caller, word, ("Thinking level", "thinkingLevel"), &current)
}

/// `/verbose`.
pub(super) fn verbose(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let own = gateway.sessions.entry(caller.key).and_then(|entry| entry.verbose_level.clone());
    let current = own.or_else(|| gateway.settings.agents.verbose_default.clone());
    let current = current.as_deref().unwrap_or("off");
    setting(gateway, caller, word, ("Verbose level", "verboseLevel"), current)
}

/// `/reasoning`.
pub(super) fn reasoning(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let own = gateway.sessions.entry(caller.key).and_then(|entry| entry.reasoning_level.as_deref());
    setting(gateway, caller, word, ("Reasoning visibility", "reasoningLevel"), own.unwrap_or("off"))
}

/// `/elevated`.
pub(super) fn elevated(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let own = gateway.sessions.entry(caller.key).and_then(|entry| entry.elevated_level.as_deref());
    setting(gateway, caller, word, ("Elevated level", "elevatedLevel"), own.unwrap_or("default"))
}

/// `/usage`.
pub(super) fn usage(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let own = gateway.sessions.entry(caller.key).and_then(|entry| entry.response_usage.as_deref());
    setting(gateway, caller, word, ("Usage line", "responseUsage"), own.unwrap_or("off"))
}

/// `/send on|off|inherit`.
pub(super) fn send(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let value = match word.to_ascii_lowercase().as_str() {
        "" => {
            let own = gateway.sessions.entry(caller.key).and_then(|entry| entry.send_policy.as_deref());
            let now = if gateway.is_blocked(caller.key) { "off" } else { "on" };
            let from = if own.is_some() { "set for this session" } else { "by the configured policy" };
            return Ok(Done::says(format!("Sending: {now} ({from})")));
        }
        "on" | "allow" => json!("allow"),
        "off" | "deny" => json!("deny"),
        "inherit" | "default" | "reset" => Value::Null,
        _ => return Err(ErrorShape::invalid(format!("invalid send policy {word:?} (use on|off|inherit)"))),
    };
    let entry = gateway.patched_for(caller.principal, caller.key, json!({"sendPolicy": value}))?;
    let now = match entry.send_policy.as_deref() {
        Some("allow") => "on",
        Some(_) => "off",
        None => "inherit",
    };
    Ok(Done::leaves(entry, format!("Send policy set to {now}.")))
}

/// `/activation mention|always`.
pub(super) fn activation(gateway: &Gateway, caller: &Caller<'_>, word: &str) -> Result<Done, ErrorShape> {
    let entry = gateway.sessions.entry(caller.key);
    if keys::kind(caller.key, entry.and_then(|entry| entry.chat_type.as_deref())) != keys::Kind::Group {
        return Err(ErrorShape::invalid("group activation only applies to group chats"));
    }
    let own = entry.and_then(|entry| entry.text("groupActivation")).unwrap_or("mention").to_owned();
    setting(gateway, caller, word, ("Group activation", "groupActivation"), &own)
}

/// `/queue <mode> [debounce:2s] [cap:20] [drop:old]`, `/queue default`.
pub(super) fn queue(gateway: &Gateway, caller: &Caller<'_>, words: &str) -> Result<Done, ErrorShape> {
    let rules = &gateway.settings.agents.queue;
    let entry = gateway.sessions.entry(caller.key);
    if words.is_empty() {
        return Ok(Done::says(described("Queue", &rules.of(entry))));
    }
    let change = QueueChange::parse(words)?;
    let effect = Effect::PatchSession { session: caller.key.clone(), light: false };
    authorize(caller.principal, &effect)?;
    // Nothing else is patched, but a session that does not exist yet is made as a patch makes it.
    let mut entry = gateway.patched_for(caller.principal, caller.key, json!({}))?;
    if change.clear {
        (entry.queue_mode, entry.queue_drop) = (None, None);
        (entry.queue_debounce_ms, entry.queue_cap) = (None, None);
    }
    entry.queue_mode = change.mode.map(|mode| mode.as_str().to_owned()).or(entry.queue_mode);
    entry.queue_debounce_ms = change.debounce_ms.or(entry.queue_debounce_ms);
    entry.queue_cap = change.cap.or(entry.queue_cap);
    entry.queue_drop = change.drop.map(|drop| drop.as_str().to_owned()).or(entry.queue_drop);
    let reply = described("Queue set", &rules.of(Some(&entry)));
    Ok(Done::leaves(entry, reply))
}

fn described(title: &str, queue: &QueueSettings) -> String {
    format!(
        "{title}: {}, debounce {} ms, cap {}, drop {}",
        queue.mode.as_str(),
        queue.debounce.as_millis(),
        queue.cap,
        queue.drop.as_str()
    )
}

/// What `/queue` is to change.
#[derive(Debug, Default, PartialEq, Eq)]
struct QueueChange {
    clear: bool,
    mode: Option<QueueMode>,
    debounce_ms: Option<u64>,
    cap: Option<u64>,
    drop: Option<QueueDrop>,
}

impl QueueChange {
    fn parse(words: &str) -> Result<Self, ErrorShape> {
        let mut change = Self::default();
        for word in words.split_whitespace() {
            let (name, value) = word.split_once([':', '=']).unwrap_or((word, ""));
            let invalid =
                |problem: &str| Err(ErrorShape::invalid(format!("invalid queue {name}: {problem}")));
            match name.to_ascii_lowercase().as_str() {
                "debounce" => match millis(value).filter(|ms| *ms <= MOST_DEBOUNCE_MS) {
                    Some(ms) => change.debounce_ms = Some(ms),
                    None => return invalid("use a time up to a day, such as 500ms, 2s or 1m"),
                },
                "cap" => match value.parse().ok().filter(|cap| (1..=MOST_CAP).contains(cap)) {
                    Some(cap) => change.cap = Some(cap),
                    None => return invalid("use a whole number from 1 to 1000"),
                },
                "drop" => match QueueDrop::parse(value) {
                    Some(drop) => change.drop = Some(drop),
                    None => return invalid("use old|new|summarize"),
                },
                "default" | "reset" if value.is_empty() => change.clear = true,
                _ => match QueueMode::parse(word) {
                    Some(mode) => change.mode = Some(mode),
                    None => {
                        return Err(ErrorShape::invalid(format!(
                            "invalid queue mode {word:?} (use collect|followup|steer|steer-backlog|interrupt|default)"
                        )));
                    }
                },
            }
        }
        Ok(change)
    }
}

/// `500ms`, `2s`, `1m`, or a number of milliseconds.
fn millis(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn queue_options_are_read_and_refused_by_name() {
        let change = QueueChange::parse("steer+backlog debounce:2s cap:5 drop:old").unwrap();
        let expected = QueueChange {
            clear: false,
            mode: Some(QueueMode::SteerBacklog),
            debounce_ms: Some(2_000),
            cap: Some(5),
            drop: Some(QueueDrop::Old),
        };
        assert_eq!(change, expected);
        assert_eq!(
            QueueChange::parse("default").unwrap(),
            QueueChange { clear: true, ..QueueChange::default() }
        );
        for bad in ["slow", "cap:0", "cap:1001", "debounce:25h", "debounce:x", "drop:all", "default:1"] {
            assert!(QueueChange::parse(bad).unwrap_err().message.starts_with("invalid queue"), "{bad}");
        }
    }
}
