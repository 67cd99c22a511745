//! The events, who may hear them, and which may be dropped for a slow reader (spec 01 §6.7, §7.1).

use serde::{Deserialize, Serialize};

use crate::{Protocol, Scope};

/// The two counters that accompany `presence` and `health` events (spec 01 §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateVersion {
    /// Raised by each change of presence.
    pub presence: u64,
    /// Raised by each health refresh.
    pub health: u64,
}

/// Who may hear an event, before any further narrowing to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Every connection, nodes too; the content is not confidential.
    Everyone,
    /// Operators that hold this scope.
    Scope(Scope),
    /// Only the connection it is addressed to.
    Addressed,
}

/// What is fixed about an event.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// The name on the wire.
    pub name: &'static str,
    /// Who may hear it.
    pub guard: Guard,
    /// Listed in the `features.events` of a v3 hello.
    pub v3: bool,
    /// Listed in the `features.events` of a v4 hello.
    pub v4: bool,
    /// What it says, for the generated reference.
    pub about: &'static str,
}

macro_rules! events {
    ($( $variant:ident = $name:literal $guard:expr, v3 $v3:literal, v4 $v4:literal, $about:literal; )*) => {
        /// An event's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventName {
            $( #[doc = $about] $variant, )*
        }

        impl EventName {
            /// Every event that this gateway sends.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// What is fixed about the event.
            pub const fn spec(self) -> EventSpec {
                match self {
                    $( Self::$variant => EventSpec {
                        name: $name, guard: $guard, v3: $v3, v4: $v4, about: $about,
                    }, )*
                }
            }
        }
    };
}

const READ: Guard = Guard::Scope(Scope::Read);
const PAIRING: Guard = Guard::Scope(Scope::Pairing);
const APPROVALS: Guard = Guard::Scope(Scope::Approvals);

events! {
    ConnectChallenge = "connect.challenge" Guard::Addressed, v3 true, v4 true,
        "The nonce to sign, sent as soon as the socket opens; carries no `seq`.";
    Agent = "agent" READ, v3 true, v4 true,
        "One step of a run: lifecycle, assistant text.";
    Chat = "chat" READ, v3 true, v4 true,
        "A run as a conversation: delta, final, aborted or error.";
    Presence = "presence" READ, v3 true, v4 true,
        "Who is connected; droppable.";
    Tick = "tick" Guard::Everyone, v3 true, v4 true,
        "A sign of life every 30 seconds.";
    TalkMode = "talk.mode" Guard::Scope(Scope::Talk), v3 true, v4 true,
        "Talk mode was switched; droppable.";
    Shutdown = "shutdown" Guard::Everyone, v3 true, v4 true,
        "The gateway is about to close every socket.";
    Health = "health" Guard::Everyone, v3 true, v4 true,
        "The health summary after each refresh.";
    DevicePairRequested = "device.pair.requested" PAIRING, v3 true, v4 true,
        "A device asks to be paired, or for more than it has; droppable.";
    DevicePairResolved = "device.pair.resolved" PAIRING, v3 true, v4 true,
        "A device's pairing request was decided; droppable.";
    DevicePairChanged = "device.pair.changed" PAIRING, v3 false, v4 true,
        "A paired device was changed or removed: lists are to be read again; droppable.";
    DevicePairSetupCompleted = "device.pair.setup.completed" PAIRING, v3 false, v4 true,
        "A setup code was redeemed; droppable.";
    NodePairRequested = "node.pair.requested" PAIRING, v3 true, v4 true,
        "A node asks that what it can do be approved; droppable.";
    NodePairResolved = "node.pair.resolved" PAIRING, v3 true, v4 true,
        "A node's request was decided, or its pairing removed; droppable.";
    NodeInvokeRequest = "node.invoke.request" Guard::Addressed, v3 true, v4 true,
        "A node is to do something; sent to that node alone, carries no `seq`.";
    NodeInvokeCancel = "node.invoke.cancel" Guard::Addressed, v3 false, v4 true,
        "A node need not go on with it; sent to that node alone, carries no `seq`.";
    NodePresence = "node.presence" READ, v3 false, v4 true,
        "A node came, went, or told that it is in use; droppable.";
    NodeHostStats = "node.hostStats" READ, v3 false, v4 true,
        "A node's load, memory and disk; droppable.";
    ExecApprovalRequested = "exec.approval.requested" APPROVALS, v3 true, v4 true,
        "A command waits for somebody's approval.";
    ExecApprovalResolved = "exec.approval.resolved" APPROVALS, v3 true, v4 true,
        "The approval of a command was decided.";
    PluginApprovalRequested = "plugin.approval.requested" APPROVALS, v3 false, v4 true,
        "A plugin waits for somebody's approval.";
    PluginApprovalResolved = "plugin.approval.resolved" APPROVALS, v3 false, v4 true,
        "The approval of a plugin was decided.";
    SessionsChanged = "sessions.changed" READ, v3 false, v4 true,
        "A session row changed; sent to connections that called `sessions.subscribe`.";
    SessionMessage = "session.message" READ, v3 false, v4 true,
        "A message was stored; sent to connections that called `sessions.messages.subscribe` for its session.";
    SessionTool = "session.tool" READ, v3 false, v4 true,
        "A tool at work in a run; sent to those of them with the capability `tool-events` that do not get it as `agent`.";
    SessionOperation = "session.operation" READ, v3 false, v4 true,
        "A session is being compacted; sent to the same as `session.message`.";
    SessionTyping = "session.typing" READ, v3 false, v4 true,
        "Somebody types in a session; droppable, sent to the same as `session.message`.";
}

impl EventName {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// The names that a hello of this protocol lists.
    pub fn advertised(protocol: Protocol) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|event| event.spec()).filter_map(move |spec| match protocol {
            Protocol::V3 => spec.v3.then_some(spec.name),
            Protocol::V4 => spec.v4.then_some(spec.name),
        })
    }
}
