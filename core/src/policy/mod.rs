//! What is decided about a message before its run: whether it may be sent, whether its session begins anew
//! first, and how it waits behind others (spec 02 §10.2, §19.1, §19.2).
//!
//! The rules are pure: facts of a session go in, a decision comes out. Nothing happens by timer; a session
//! that has grown old begins anew when the next message arrives.

mod queue;
pub mod reset;
pub mod send;

#[cfg(test)]
mod tests;

use crate::gateway::Gateway;
use crate::ids::{RunId, SessionKey};
use crate::runs::Family;
use crate::sessions::{Reason, keys};

pub use reset::{Mode, ResetRule, ResetRules, Type};
pub use send::{Match, SendRule, SendRules, Verdict};

/// The words that begin a session anew unless `session.resetTriggers` says otherwise.
pub const TRIGGERS: [&str; 2] = ["/new", "/reset"];

/// The configured policies.
#[derive(Clone, Debug)]
pub struct Policies {
    /// When sessions begin anew by themselves.
    pub reset: ResetRules,
    /// The words that begin a session anew, lower case.
    pub triggers: Vec<String>,
    /// Who may be sent messages.
    pub send: SendRules,
}

impl Default for Policies {
    /// Sessions live until somebody ends them, and everything may be sent.
    fn default() -> Self {
        Self {
            reset: ResetRules::default(),
            triggers: TRIGGERS.map(str::to_owned).into(),
            send: SendRules::default(),
        }
    }
}

impl Gateway {
    /// Whether the session's policy forbids messages (spec 02 §19.2).
    pub(crate) fn is_blocked(&self, key: &SessionKey) -> bool {
        let entry = self.sessions.entry(key);
        match entry.and_then(|entry| entry.send_policy.as_deref()) {
            Some("deny") => return true,
            Some("allow") => return false,
            _ => {}
        }
        let channel = entry.and_then(|entry| entry.text("channel").or(entry.last_channel.as_deref()));
        let chat_type = entry.and_then(|entry| entry.chat_type.as_deref());
        self.settings.policies.send.verdict(key, channel, chat_type) == Verdict::Deny
    }

    /// Begins the session anew if it has grown old (spec 02 §19.1), before a new message of `channel` is
    /// admitted. A repeat of a message that is known already changes nothing, and running work is not cut off.
    ///
    /// The new incarnation is written in a transaction of its own. The admission that follows writes the row
    /// again, so the message cannot be acknowledged in a session that does not exist.
    pub(crate) fn renew_if_stale(&mut self, key: &SessionKey, channel: &str, family: Family, run: &RunId) {
        let Some(session) = self.sessions.get(key) else { return };
        if self.answers.knows(&family.answer_key(run)) || self.sessions.active_runs(key).next().is_some() {
            return;
        }
        let kind = type_of(key, session.entry.chat_type.as_deref());
        let rule = self.settings.policies.reset.rule(kind, channel);
        if !rule.is_stale(session.updated_at, self.now.wall, self.settings.facts.utc_offset_secs) {
            return;
        }
        tracing::info!(target: "gateway", session = %key, "the session is old and begins anew");
        self.begin_anew(key, Reason::Reset, |_, _| {});
    }
}

/// The kind of conversation that reset rules speak of.
fn type_of(key: &SessionKey, chat_type: Option<&str>) -> Type {
    if keys::thread_parent(key).is_some() {
        Type::Thread
    } else if keys::kind(key, chat_type) == keys::Kind::Group {
        Type::Group
    } else {
        Type::Direct
    }
}
