//! What a message does while its session is busy (spec 02 §10.2).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sessions::SessionEntry;

/// What a message does while its session is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueMode {
    /// All that wait become one turn.
    #[default]
    Collect,
    /// Each becomes a turn.
    Followup,
    /// It joins the running turn at the next tool boundary.
    Steer,
    /// It joins the running turn and is a turn of its own afterwards.
    SteerBacklog,
    /// It ends the running turn.
    Interrupt,
}

/// What becomes of messages beyond the cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// They become a list in the next prompt.
    #[default]
    Summarize,
    /// The oldest goes.
    Old,
    /// The newest is refused.
    New,
}

/// `messages.queue`.
#[derive(Clone, Debug)]
pub struct QueueRules {
    /// The mode.
    pub mode: QueueMode,
    /// How long the queue waits for more before it becomes a turn.
    pub debounce: Duration,
    /// How many messages may wait.
    pub cap: usize,
    /// What becomes of those beyond.
    pub drop: Overflow,
    /// The mode by channel, whose names are lower case.
    pub by_channel: BTreeMap<String, QueueMode>,
    /// The wait by channel.
    pub debounce_by_channel: BTreeMap<String, Duration>,
}

/// The rules as they hold for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The mode.
    pub mode: QueueMode,
    /// How long the queue waits for more before it becomes a turn.
    pub debounce: Duration,
    /// How many messages may wait.
    pub cap: usize,
    /// What becomes of those beyond.
    pub drop: Overflow,
}

impl Default for QueueRules {
    fn default() -> Self {
        Self {
            mode: QueueMode::Collect,
            debounce: Duration::from_secs(1),
            cap: 20,
            drop: Overflow::Summarize,
            by_channel: BTreeMap::new(),
            debounce_by_channel: BTreeMap::new(),
        }
    }
}

impl QueueMode {
    /// The modes and the other words that name them.
    pub const WORDS: [&'static str; 7] =
        ["collect", "followup", "steer", "steer-backlog", "steer+backlog", "queue", "interrupt"];

    /// Reads a mode, whatever its case. `queue` is the old name of `steer`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "collect" => Self::Collect,
            "followup" | "follow-up" => Self::Followup,
            "steer" | "queue" => Self::Steer,
            "steer-backlog" | "steer+backlog" => Self::SteerBacklog,
            "interrupt" => Self::Interrupt,
            _ => return None,
        })
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Followup => "followup",
            Self::Steer => "steer",
            Self::SteerBacklog => "steer-backlog",
            Self::Interrupt => "interrupt",
        }
    }
}

impl Overflow {
    /// The words.
    pub const WORDS: [&'static str; 3] = ["summarize", "old", "new"];

    /// Reads a word, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "summarize" | "summarise" => Self::Summarize,
            "old" => Self::Old,
            "new" => Self::New,
            _ => return None,
        })
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Summarize => "summarize",
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl QueueRules {
    /// The rules for a session: its own settings, else those of its channel, else the base.
    pub fn of(&self, entry: Option<&SessionEntry>) -> Queue {
        let channel =
            entry.and_then(|entry| entry.last_channel.as_deref()).unwrap_or("webchat").to_lowercase();
        let mode = entry.and_then(|entry| entry.queue_mode.as_deref()).and_then(QueueMode::parse);
        let mode = mode.or_else(|| self.by_channel.get(&channel).copied()).unwrap_or(self.mode);
        let own = entry.and_then(|entry| entry.queue_debounce_ms).map(Duration::from_millis);
        let debounce = own.or_else(|| self.debounce_by_channel.get(&channel).copied());
        let cap = entry.and_then(|entry| entry.queue_cap).and_then(|cap| usize::try_from(cap).ok());
        let drop = entry.and_then(|entry| entry.queue_drop.as_deref()).and_then(Overflow::parse);
        Queue {
            mode,
            debounce: debounce.unwrap_or(self.debounce),
            cap: cap.unwrap_or(self.cap),
            drop: drop.unwrap_or(self.drop),
        }
    }
}
