//! Why an invocation did not come to a result, and how that is told (spec 03 §2.7, §2.10).

use serde_json::{Value, json};
use telson_proto::node::NodeError;
use telson_proto::{ErrorShape, Protocol};

use super::platform::Platform;
use super::policy::Objection;
use crate::approvals::grants::GrantFault;
use crate::limits;

/// See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection of the node is open.
    NotConnected,
    /// It may not be asked for this.
    NotAllowed(Objection, Platform),
    /// The approval that the caller speaks of does not let it through.
    NotGranted(&'static str, String),
    /// The parameters are larger than a node takes.
    TooLarge,
    /// The node has enough to do.
    Full,
    /// The connection that it was sent on is gone.
    Disconnected,
    /// The node's pairing was changed or ended meanwhile.
    PairingChanged,
    /// It took too long.
    TimedOut,
    /// The node is in the background; the command waits for it.
    Queued,
    /// What waits for the node could not be written down.
    NotStored(String),
    /// The node has refused or failed.
    Node(NodeError),
}

impl From<GrantFault> for Fault {
    fn from(fault: GrantFault) -> Self {
        Self::NotGranted(fault.code(), fault.to_string())
    }
}

impl Fault {
    /// Whether the node has been asked.
    const fn was_dispatched(&self) -> bool {
        matches!(
            self,
            Self::Disconnected | Self::PairingChanged | Self::TimedOut | Self::Node(_) | Self::Queued
        )
    }

    /// The sentence for people and models.
    pub(crate) fn message(&self, command: &str) -> String {
        match self {
            Self::NotConnected => "node not connected".to_owned(),
            Self::NotAllowed(objection, platform) => {
                format!("node command not allowed: {}", objection.hint(command, *platform))
            }
            Self::NotGranted(_, problem) => problem.clone(),
            Self::TooLarge => {
                format!("the parameters are larger than {} bytes; send less", limits::NODE_PARAMS_BYTES)
            }
            Self::Full => "this node has too many commands under way; try again shortly".to_owned(),
            Self::Disconnected => format!("node disconnected ({command})"),
            Self::PairingChanged => "the node's pairing was changed; try again".to_owned(),
            Self::TimedOut => "node invoke timed out".to_owned(),
            Self::Queued => "node command queued until iOS returns to foreground".to_owned(),
            Self::NotStored(problem) => problem.clone(),
            Self::Node(error) => error.message.clone().unwrap_or_else(|| "node invoke failed".to_owned()),
        }
    }

    /// The answer to a caller of this protocol.
    pub(crate) fn shape(&self, command: &str, protocol: Protocol) -> ErrorShape {
        let v3 = protocol == Protocol::V3;
        let message = match self {
            Self::NotAllowed(..) if v3 => "node command not allowed".to_owned(),
            Self::Disconnected if v3 => format!("Error: {}", self.message(command)),
            _ => self.message(command),
        };
        let error = match self {
            Self::NotAllowed(..) | Self::NotGranted(..) | Self::TooLarge => ErrorShape::invalid(message),
            _ => ErrorShape::unavailable(message),
        };
        let mut details = self.details(command);
        if !v3 {
            details["nodeCommandDispatched"] = json!(self.was_dispatched());
        }
        let error = error.with_details(&details);
        match self {
            Self::NotConnected
            | Self::Full
            | Self::Disconnected
            | Self::PairingChanged
            | Self::NotStored(_) => error.retry_after(1_000),
            Self::Queued => ErrorShape { retryable: Some(true), ..error },
            _ => error,
        }
    }

    fn details(&self, command: &str) -> Value {
        match self {
            Self::NotConnected => json!({"code": "NOT_CONNECTED"}),
            Self::NotAllowed(objection, _) => json!({"reason": objection.to_string(), "command": command}),
            Self::NotGranted(code, _) => json!({"code": code, "command": command}),
            Self::TooLarge => json!({"limit": "node-params", "command": command}),
            Self::Full => json!({"limit": "node-invokes"}),
            Self::Disconnected => json!({"code": "NODE_DISCONNECTED", "command": command}),
            Self::PairingChanged => json!({"code": "PAIRING_CHANGED", "command": command}),
            Self::TimedOut => json!({"nodeError": {"code": "TIMEOUT", "message": self.message(command)}}),
            Self::Queued => json!({"code": "QUEUED_UNTIL_FOREGROUND", "command": command}),
            Self::NotStored(_) => json!({"code": "NOT_STORED", "command": command}),
            Self::Node(error) if error.code.is_none() && error.message.is_none() => {
                json!({"nodeError": null})
            }
            Self::Node(error) => json!({"nodeError": error}),
        }
    }
}
