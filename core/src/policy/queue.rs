//! What a message does while its session is busy (spec 02 §10.2).

use std::time::Duration;

use crate::sessions::SessionEntry;
use crate::settings::{QueueDrop, QueueMode, QueueSettings};

impl QueueSettings {
    /// The rule for a session: its own settings, else those of its channel, else the configured ones.
    pub fn of(&self, entry: Option<&SessionEntry>) -> Self {
        let mut rule = self.clone();
        let Some(entry) = entry else { return rule };
        let channel = entry.last_channel.as_deref().unwrap_or("webchat").to_lowercase();
        let by_channel = (self.mode_by_channel.get(&channel), self.debounce_by_channel.get(&channel));
        let own = entry.queue_mode.as_deref().and_then(QueueMode::parse);
        rule.mode = own.or(by_channel.0.copied()).unwrap_or(rule.mode);
        let own = entry.queue_debounce_ms.map(Duration::from_millis);
        rule.debounce = own.or(by_channel.1.copied()).unwrap_or(rule.debounce);
        rule.cap = entry.queue_cap.and_then(|cap| usize::try_from(cap).ok()).unwrap_or(rule.cap);
        rule.drop = entry.queue_drop.as_deref().and_then(QueueDrop::parse).unwrap_or(rule.drop);
        rule
    }
}
