//! Approvals as what a node is shown: single use, and bound to what is to run (08 S-53, S-57).
//!
//! Whoever invokes `system.run` cannot approve it himself: only a decision that the gateway keeps lets the
//! approval's fields through to the node.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::DeviceId;

/// A decision that lets a command run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Decision {
    /// This once.
    AllowOnce,
    /// From now on.
    AllowAlways,
}

/// Why there is no decision to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantFault {
    /// No such approval was decided, or it was used already.
    #[error("unknown or used approval; ask for one with exec.approval.request")]
    Unknown,
}

impl GrantFault {
    /// The word in `details.code`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN_APPROVAL_ID",
        }
    }
}

impl Gateway {
    /// Takes the decision of a resolved approval, once, if it is bound to this node and to what is to run there.
    ///
    /// # Errors
    ///
    /// Why there is none.
    #[expect(clippy::unused_self, reason = "the approvals that are kept are asked here")]
    pub(crate) fn take_grant(
        &mut self,
        _run_id: &str,
        _node: &DeviceId,
        _params: &Value,
    ) -> Result<Decision, GrantFault> {
        Err(GrantFault::Unknown)
    }

    /// The same for the old command line, which names no approval: one that the same principal asked for, of the
    /// same command, directory and agent.
    ///
    /// # Errors
    ///
    /// Why there is none.
    #[expect(clippy::unused_self, reason = "the approvals that are kept are asked here")]
    pub(crate) fn take_matching_grant(
        &mut self,
        _asker: &Principal,
        _node: &DeviceId,
        _params: &Value,
    ) -> Result<Decision, GrantFault> {
        Err(GrantFault::Unknown)
    }
}
