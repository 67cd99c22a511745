//! What was acknowledged and must be there after any crash: exactly once, unless its session was ended.

use std::collections::BTreeMap;

use serde_json::Value;

/// What users were told is kept.
#[derive(Default)]
pub(crate) struct Ledger {
    said: BTreeMap<String, Said>,
    /// Requests to end a session that may still take effect, by canonical key.
    ending: BTreeMap<String, u32>,
}

/// A message that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) key: String,
    pub(crate) text: String,
    /// Nothing has ended its session since: it must be there.
    pub(crate) certain: bool,
}

/// The canonical key behind a spelling that the simulator uses.
pub(crate) fn canonical(spelling: &str) -> String {
    if spelling.starts_with("agent:") { spelling.to_owned() } else { format!("agent:main:{spelling}") }
}

fn key_of(method: &str, params: &Value) -> Option<String> {
    let member = match method {
        "chat.send" | "agent" => "sessionKey",
        "sessions.reset" | "sessions.delete" => "key",
        _ => return None,
    };
    params[member].as_str().map(canonical)
}

fn ends(method: &str) -> bool {
    matches!(method, "sessions.reset" | "sessions.delete")
}

impl Ledger {
    /// A request was handed over. One that ends a session makes everything in it uncertain at once.
    pub(super) fn asked(&mut self, method: &str, params: &Value) {
        if !ends(method) {
            return;
        }
        if let Some(key) = key_of(method, params) {
            self.said.values_mut().filter(|said| said.key == key).for_each(|said| said.certain = false);
            *self.ending.entry(key).or_default() += 1;
        }
    }

    /// A good answer went out.
    pub(super) fn answered(&mut self, method: &str, params: &Value) {
        if ends(method)
            && let Some(key) = key_of(method, params)
            && let Some(count) = self.ending.get_mut(&key)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// A message was acknowledged. A session that is being ended, or whose end was asked for by somebody who
    /// never heard the answer, promises nothing.
    pub(super) fn said(&mut self, method: &str, params: &Value, run: &str) {
        let Some(key) = key_of(method, params) else { return };
        let certain = self.ending.get(&key).is_none_or(|count| *count == 0);
        let text = params["message"].as_str().unwrap_or_default().to_owned();
        self.said.entry(run.to_owned()).or_insert(Said { key, text, certain });
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Said> {
        self.said.values()
    }

    /// The sessions in which something was said.
    pub(crate) fn sessions(&self) -> std::collections::BTreeSet<&str> {
        self.said.values().map(|said| said.key.as_str()).collect()
    }
}
