//! Names of things, one type each, so that none can stand in for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! numbers {
    ($( $(#[$doc:meta])* $name:ident; )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

macro_rules! strings {
    ($( $(#[$doc:meta])* $name:ident; )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

numbers! {
    /// A WebSocket connection; never used twice in a process. Chosen by the adapter.
    ConnId;
    /// An HTTP request that waits for its answer. Chosen by the adapter.
    HttpId;
    /// A transaction on its way to the store.
    TxId;
    /// A question to the store.
    QueryId;
    /// An outbound HTTP request.
    FetchId;
    /// A process that was started.
    ProcessId;
    /// A call of a tool that is under way.
    CallId;
}

strings! {
    /// A run of an agent; for runs that a client started, its idempotency key.
    RunId;
    /// A session's canonical key (spec 02 §3).
    SessionKey;
    /// The id of one incarnation of a session; a reset makes a new one.
    SessionId;
    /// A device's id: the SHA-256 of its public key in lower-case hex (spec 01 §4.1).
    DeviceId;
    /// An agent's id.
    AgentId;
}

/// A request that waits for its answer: the connection it came on and the id it carried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The connection that asked.
    pub conn: ConnId,
    /// The frame's id, echoed verbatim.
    pub id: String,
    /// Distinguishes requests of one connection that carry the same id.
    pub serial: u64,
}
