//! Runs: one question to an agent and its answer, from admission to the one terminal event (spec 02 §9–§11).
//!
//! A run is admitted by a transaction that holds the user's words, and acknowledged when that is stored. It
//! waits in its session's lane and then for a place in the main lane, loads what was said before, and streams.
//! However it ends, a second transaction holds the answer; only when that is stored do clients hear the
//! terminal event. If it cannot be stored the run ends in an error all the same: nothing hangs.
//!
//! ```text
//! Admitting → Waiting → Loading → Streaming ⇄ Calling → Settling → gone
//! ```
//!
//! A model that asks for tools is called again with their results, until it answers (`Streaming → Calling →
//! Streaming`). A run is tied to no connection. An abort reaches it in every stage but the last.

mod abort;
mod activity;
mod admit;
mod choice;
mod compact;
mod context;
mod events;
mod lanes;
mod memory;
mod queue;
mod record;
mod result;
mod rounds;
mod saying;
mod settle;
mod stream;
mod talk;
mod turn;
mod waiting;

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telson_proto::Protocol;

use crate::gateway::Gateway;
use crate::ids::{AgentId, CallId, ConnId, DeviceId, FetchId, HttpId, RunId, SessionId, SessionKey, Ticket};
use crate::limits;
use crate::providers::ModelStream;
use crate::providers::request::{Image, Sampling, ToolChoice};
use crate::settings::{AgentSettings, ModelRef, QueueMode};
use crate::time::{Now, earliest};
use crate::tools::ToolSpec;

pub(crate) use admit::Admission;
pub(crate) use compact::ROLE as COMPACTION;
pub(crate) use context::stamp;
pub(crate) use memory::{Ended, Wait, timed_out};
pub(crate) use record::{BARE, STEERED};
pub(crate) use result::{RunFailure, RunResult};

use compact::Compacting;
use events::Voice;
use lanes::{Lanes, Widths};
use memory::{Memory, Waits};
use saying::Saying;
use talk::{Round, Talk};

/// The runs. See the [module documentation](self).
pub struct Runs {
    open: BTreeMap<RunId, Run>,
    lanes: Lanes,
    /// Those that load, stream or wait for tools.
    active: BTreeSet<RunId>,
    memory: Memory,
    waits: Waits,
    watchers: Vec<Watcher>,
    most: usize,
}

/// What is to be done when runs are gone.
struct Watcher {
    left: BTreeSet<RunId>,
    then: Box<dyn FnOnce(&mut Gateway) + Send>,
}

/// The method that started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `chat.send`.
    Chat,
    /// `agent`.
    Agent,
    /// Everything that no idempotency key names: the HTTP endpoints, sub-runs of tools, cron.
    Inner,
}

/// Who is told of a run beside those who hear its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A request, which is answered when the run is admitted and, by `agent`, when it has ended.
    Call(Ticket),
    /// An HTTP request, which hears every word and the end (`api_run_said`, `api_run_ended`).
    Http(HttpId),
    /// A tool call, which hears the end (`tool_run_ended`).
    Tool(CallId),
    /// Nobody.
    Nobody,
}

impl Family {
    /// The family of an answer's key.
    fn of(answer_key: &str) -> Self {
        match answer_key.split_once(':') {
            Some(("agent", _)) => Self::Agent,
            Some(("run", _)) => Self::Inner,
            _ => Self::Chat,
        }
    }

    /// The key under which the answers to an idempotency key are kept (spec 02 §2.3).
    pub(crate) fn answer_key(self, run: &RunId) -> String {
        match self {
            Self::Chat => format!("chat:{run}"),
            Self::Agent => format!("agent:{run}"),
            Self::Inner => format!("run:{run}"),
        }
    }
}

/// Who started a run.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) conn: ConnId,
    pub(crate) device: Option<DeviceId>,
    pub(crate) protocol: Protocol,
    /// Whether the tools that change the gateway itself may be used.
    pub(crate) admin: bool,
    /// The words are a machine's: the run may use few tools [S-62].
    pub(crate) untrusted: bool,
}

impl Owner {
    /// The gateway itself: no connection may abort the run as its own.
    pub(crate) fn inner() -> Self {
        Self { conn: ConnId(0), device: None, protocol: Protocol::V4, admin: false, untrusted: false }
    }

    /// Whether it is the gateway itself.
    pub(crate) fn is_inner(&self) -> bool {
        self.conn == ConnId(0)
    }

    /// Whether the two are the same connection or the same device.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.conn == other.conn || (self.device.is_some() && self.device == other.device)
    }
}

/// Levels that hold for one turn (spec 02 §19.3); the session's own where they are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnLevels {
    /// How much of the work is shown: `off`, `on` or `full`.
    pub(crate) verbose: Option<&'static str>,
    /// Whether thoughts are shown: `off`, `on` or `stream`.
    pub(crate) reasoning: Option<&'static str>,
    /// Whether tools act with the host's rights: `off`, `on`, `ask` or `full`.
    pub(crate) elevated: Option<&'static str>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To answer the user.
    #[default]
    Answer,
    /// To sum up the conversation. `system` says what matters in particular; words, if there are any, are the
    /// command by which somebody asked for it.
    Compact,
}

/// What a run is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) purpose: Purpose,
    pub(crate) text: String,
    pub(crate) images: Vec<Image>,
    /// The thinking level of this turn.
    pub(crate) thinking: Option<String>,
    /// Appended to the system prompt.
    pub(crate) system: Option<String>,
    /// The model of this turn.
    pub(crate) model: Option<ModelRef>,
    pub(crate) timeout: Duration,
    /// The levels of this turn, where they are not the session's.
    pub(crate) levels: TurnLevels,
    /// The words are the gateway's own: people do not see them.
    pub(crate) internal: bool,
    /// The answer to a command, for which no model is asked.
    pub(crate) reply: Option<String>,
    /// Tools that the asker itself provides: a call of one of them ends the run (spec 04 §8.3).
    pub(crate) client_tools: Vec<ToolSpec>,
    pub(crate) tool_choice: ToolChoice,
    /// The most tokens of an answer.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) sampling: Sampling,
    /// What the message does while its session is busy; the session's rule when `None`.
    pub(crate) queue: Option<QueueMode>,
    /// The lane; by the session when `None`.
    pub(crate) lane: Option<String>,
}

impl Ask {
    /// Words, and everything else as usual.
    pub(crate) fn words(text: impl Into<String>, timeout: Duration) -> Self {
        Self {
            purpose: Purpose::Answer,
            text: text.into(),
            images: Vec::new(),
            thinking: None,
            system: None,
            model: None,
            timeout,
            levels: TurnLevels::default(),
            internal: false,
            reply: None,
            client_tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            max_tokens: None,
            sampling: Sampling::default(),
            queue: None,
            lane: None,
        }
    }
}

/// A run that is admitted and has not ended.
pub(crate) struct Run {
    id: RunId,
    key: SessionKey,
    session: SessionId,
    agent: AgentId,
    family: Family,
    owner: Owner,
    asker: Asker,
    ask: Ask,
    admitted: Now,
    stage: Stage,
    /// An abort that came before the admission was stored.
    cut: Option<String>,
    voice: Voice,
    talk: Talk,
    /// The answer that the model is giving.
    saying: Saying,
    /// Whether tools are heard on protocol 3.
    loud: bool,
    model: ModelRef,
    api: &'static str,
    /// The runs whose words this one answers too.
    collected: BTreeSet<RunId>,
    /// When it is cut short, once it streams.
    deadline: Option<Duration>,
}

/// Where a run is in its life.
enum Stage {
    /// The user's words are on their way to the store.
    Admitting,
    /// In a lane.
    Waiting,
    /// What was said before is being loaded.
    Loading,
    Streaming {
        stream: ModelStream,
        fetch: Option<FetchId>,
    },
    /// Tools are at work.
    Calling(Round),
    /// The older part of the conversation is being summed up.
    Compacting(Box<Compacting>),
    /// The answer is on its way to the store.
    Settling,
}

impl Run {
    /// The session.
    pub(crate) fn key(&self) -> &SessionKey {
        &self.key
    }

    /// The agent.
    pub(crate) fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Who started it.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The text so far.
    pub(crate) fn text(&self) -> &str {
        self.voice.text()
    }

    /// Whether it is past the point where it can be aborted.
    pub(crate) fn is_settling(&self) -> bool {
        matches!(self.stage, Stage::Settling)
    }

    /// Whether it is a turn of its session: it loads, streams or settles.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.stage, Stage::Admitting | Stage::Waiting)
    }

    fn next_deadline(&self) -> Option<Duration> {
        let stage = match &self.stage {
            Stage::Streaming { stream, .. } => stream.next_deadline(),
            Stage::Compacting(compacting) => compacting.stream.next_deadline(),
            Stage::Calling(_) => None,
            _ => return None,
        };
        earliest(earliest(stage, self.voice.next_deadline()), self.deadline)
    }
}

impl Runs {
    /// No runs.
    pub(crate) fn new(settings: &AgentSettings) -> Self {
        Self {
            open: BTreeMap::new(),
            lanes: Lanes::new(Widths { main: settings.max_concurrent, subagent: settings.max_subagents }),
            active: BTreeSet::new(),
            memory: Memory::default(),
            waits: Waits::default(),
            watchers: Vec::new(),
            most: limits::length(limits::RUNS_WAITING) + settings.max_concurrent,
        }
    }

    /// When [`Gateway::run_timeouts`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let runs = self.active.iter().filter_map(|run| self.open.get(run)?.next_deadline()).min();
        earliest(earliest(runs, self.waits.next_deadline()), self.lanes.next_deadline())
    }

    /// How many runs are admitted and have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many runs are turns of their sessions now.
    pub(crate) fn begun(&self) -> usize {
        self.open.values().filter(|run| run.has_begun()).count()
    }

    /// A run that has not ended.
    pub(crate) fn get(&self, run: &RunId) -> Option<&Run> {
        self.open.get(run)
    }

    /// How a run ended, if that was in the last ten minutes.
    pub(crate) fn ended(&mut self, now: Duration, run: &RunId) -> Option<&Ended> {
        self.memory.get(now, run)
    }

    /// Somebody waits for the end of a run until `until`.
    pub(crate) fn wait(&mut self, run: RunId, until: Duration, wait: Wait) {
        self.waits.add(run, until, wait);
    }

    /// How many runs a node has started that have not ended.
    pub(crate) fn of_node(&self, node: &DeviceId) -> usize {
        let own = |run: &&Run| run.owner.untrusted && run.owner.device.as_ref() == Some(node);
        self.open.values().filter(own).count()
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.most
    }

    /// Whether nothing is kept of any run but the memory of its end.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
            && self.active.is_empty()
            && self.watchers.is_empty()
            && self.lanes.is_empty()
            && self.waits.next_deadline().is_none()
    }
}
