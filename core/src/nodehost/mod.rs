//! The node host: a headless client in the role `node` that lends this machine to a gateway (spec 01 §2, 03 §2, 06 §6).
//!
//! It is a state machine beside the gateway's two, driven in the same way, and it runs on another machine than the
//! gateway as a rule. It knows a gateway of protocol 3 or 4, pairs with it, comes back when the connection breaks,
//! and carries out what it is asked for as far as this machine's own policy allows (`run`): the gateway is a
//! client of this machine, not its owner.
//!
//! ```text
//! resting ─→ opening ─→ greeting ─→ ready ─→ resting (1 s, 2 s, … 30 s, with jitter)
//!    ↑____________ refused: at once, later, or when a person has done something
//! ```

mod camera;
mod desk;
mod env;
mod greeting;
mod identity;
mod invoke;
mod jobs;
mod link;
mod listing;
mod news;
mod notify;
mod output;
mod policy;
mod refusal;
mod run;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod which;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::entropy::{Entropy, Seed};
use crate::time::{Now, earliest};

pub use desk::{Errand, Outcome};
pub use identity::{Identity, IdentityFault};
pub use listing::{Entry, EntryKind, MOST_ENTRIES};
pub use news::News;
pub use settings::{Address, Camera, CameraTool, Credential, DEFAULT_PATH, INHERITED, Machine, NodeSettings};
pub use tokens::{DeviceToken, Tokens};

use jobs::Jobs;
use link::Link;

/// Something that this node does for its gateway. Names the process or the errand that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// An attempt to reach the gateway; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The host begins.
    Started,
    /// The connection is open.
    Opened(LinkId),
    /// A text message came.
    Message(LinkId, String),
    /// The gateway closed the connection, or it broke.
    Closed {
        /// The connection.
        link: LinkId,
        /// The close code; 1006 when it broke off.
        code: u16,
        /// The reason; may be empty.
        reason: String,
    },
    /// No connection was made.
    Unreachable {
        /// The attempt.
        link: LinkId,
        /// Why, in words.
        reason: String,
        /// What stood in the way.
        barrier: Barrier,
    },
    /// A process has moved.
    Process(JobId, ProcessEvent),
    /// An errand is done.
    Done(JobId, Outcome),
    /// The time of [`NodeHost::poll_timeout`] has come.
    Woken,
    /// A person wants it tried again now.
    Retry,
    /// The host is to end.
    Stop,
}

/// What stood between this node and the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The network, or nobody listens.
    Network,
    /// A server answered with this HTTP status and did not want to talk.
    Http(u16),
    /// The certificate is not the pinned one.
    Certificate,
    /// The URL cannot be used.
    Url,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Connect to this URL.
    Connect {
        /// The attempt.
        link: LinkId,
        /// Where.
        url: String,
    },
    /// Send a text message.
    Send(LinkId, String),
    /// Close the connection, or give the attempt up. Nothing more is to be told of it.
    Close {
        /// The connection.
        link: LinkId,
        /// The close code.
        code: u16,
        /// The reason.
        reason: &'static str,
    },
    /// Keep the token of an origin, or forget it.
    Keep {
        /// The origin.
        origin: String,
        /// The token.
        token: Option<DeviceToken>,
    },
    /// Do something with files and tell the outcome.
    Do(JobId, Errand),
    /// Start a process with nothing to read.
    Spawn(JobId, Program),
    /// Kill a process with its whole group. Its end is still to be told.
    Kill(JobId),
    /// Tell whoever watches.
    Say(News),
    /// Everything has ended.
    Ended,
}

/// A program that is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The program: an absolute path, or a name that is looked for on the `PATH` of `env`.
    pub program: String,
    /// Its arguments, its name not among them.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory; the home directory when `None`.
    pub cwd: Option<String>,
}

/// What becomes of a process. After `Exited` or `Failed` nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It wrote something to its standard output.
    Stdout(Vec<u8>),
    /// It wrote something to its standard error.
    Stderr(Vec<u8>),
    /// It has ended: its exit code, or none when a signal ended it.
    Exited(Option<i32>),
    /// It could not be started.
    Failed(String),
}

/// A node host. See the [module documentation](self).
pub struct NodeHost {
    now: Now,
    settings: NodeSettings,
    entropy: Entropy,
    link: Link,
    jobs: Jobs,
    outputs: VecDeque<Output>,
    ended: bool,
}

impl NodeHost {
    /// A host that has not begun. `settings` names at least one gateway.
    pub fn new(settings: NodeSettings, seed: Seed, now: Now) -> Self {
        let entropy = Entropy::new(seed, 3);
        let link = Link::new(&settings);
        Self { now, settings, entropy, link, jobs: Jobs::default(), outputs: VecDeque::new(), ended: false }
    }

    /// Something happened. Drain [`Self::poll_output`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        if self.ended {
            return;
        }
        match input {
            Input::Started => self.connect(),
            Input::Opened(link) => self.opened(link),
            Input::Message(link, text) => self.message(link, &text),
            Input::Closed { link, code, reason } => self.closed(link, code, &reason),
            Input::Unreachable { link, reason, barrier } => self.unreachable(link, &reason, barrier),
            Input::Process(job, event) => self.job_moved(job, event),
            Input::Done(job, outcome) => self.job_told(job, outcome),
            Input::Woken => {}
            Input::Retry => self.retry(),
            Input::Stop => return self.stop(),
        }
        self.link_due();
        self.jobs_due();
    }

    /// What is to be done next; `None` when there is nothing more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Woken`] is wanted, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.ended { None } else { earliest(self.link.deadline(), self.jobs.deadline()) }
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn say(&mut self, news: News) {
        self.output(Output::Say(news));
    }

    fn stop(&mut self) {
        self.give_up_jobs();
        self.leave();
        self.ended = true;
        self.output(Output::Ended);
    }
}
