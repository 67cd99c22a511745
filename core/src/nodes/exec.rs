//! What reaches a node of the parameters that a caller wrote (08 S-53).
//!
//! A node believes the gateway when it says that somebody has approved a command. So nothing that sounds like an
//! approval is passed on from a caller: the fields are taken out, and put in only for a decision that the gateway
//! itself keeps.

use serde_json::{Map, Value, json};

use super::Fault;
use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::DeviceId;
use telson_proto::Protocol;

/// The command that runs programs.
pub(super) const RUN: &str = "system.run";

/// The fields of `system.run` that a caller may write.
const RUN_FIELDS: [&str; 9] = [
    "command",
    "rawCommand",
    "cwd",
    "env",
    "timeoutMs",
    "needsScreenRecording",
    "agentId",
    "sessionKey",
    "suppressNotifyOnExit",
];

/// Fields by which an approval is told, of any command.
const APPROVAL_FIELDS: [&str; 5] =
    ["approved", "approvalDecision", "approvalId", "approvalGrant", "systemRunPlan"];

/// Parameters as the node gets them.
pub(super) struct Prepared {
    pub(super) params: Option<Value>,
    /// The run of a program that begins with it.
    pub(super) run: Option<Run>,
}

/// The run of a program, by which the node's events about it are known.
pub(super) struct Run {
    pub(super) id: String,
    /// The session that the caller named.
    pub(super) session: Option<String>,
    /// Nobody wants to be told of its end.
    pub(super) is_quiet: bool,
}

/// What the caller may let through.
struct Grant {
    /// The decision that was found, as the node reads it.
    decision: Option<Value>,
}

impl Gateway {
    /// Makes a caller's parameters ready for the node.
    ///
    /// # Errors
    ///
    /// That the caller speaks of an approval that does not let this through.
    pub(super) fn prepare_params(
        &mut self,
        node: &DeviceId,
        asker: Option<&Principal>,
        command: &str,
        params: Option<Value>,
    ) -> Result<Prepared, Fault> {
        let Some(Value::Object(mut fields)) = params else { return Ok(Prepared { params, run: None }) };
        if command != RUN {
            fields.retain(|name, _| !APPROVAL_FIELDS.contains(&name.as_str()));
            return Ok(Prepared { params: Some(Value::Object(fields)), run: None });
        }
        let claim = Claim::take(&mut fields);
        let mut params = Value::Object(fields);
        let Grant { decision } = self.exec_grant(node, asker, &claim, &params)?;
        if let Some(decision) = decision {
            params["approved"] = json!(true);
            params["approvalDecision"] = decision;
        }
        // The run's name is the gateway's own: by it the node's events are told from invented ones [S-62].
        let id = self.entropy.uuid();
        params["runId"] = json!(id);
        let session = params["sessionKey"].as_str().map(str::to_owned);
        let is_quiet = params["suppressNotifyOnExit"] == json!(true);
        Ok(Prepared { params: Some(params), run: Some(Run { id, session, is_quiet }) })
    }

    /// The decision that the gateway keeps for what is to run, if the caller speaks of one. On protocol 3 an
    /// approval that there is not is passed over, and the node decides by its own rules; on protocol 4 it is
    /// refused by name.
    fn exec_grant(
        &mut self,
        node: &DeviceId,
        asker: Option<&Principal>,
        claim: &Claim,
        params: &Value,
    ) -> Result<Grant, Fault> {
        if !claim.approved {
            return Ok(Grant { decision: None });
        }
        let old = asker.is_some_and(|asker| asker.protocol == Protocol::V3);
        let found = match (&claim.run_id, asker) {
            (Some(run_id), _) => self.take_grant(run_id, node, params).map_err(Fault::from),
            (None, Some(asker)) if old => self.take_matching_grant(asker, node, params).map_err(Fault::from),
            (None, _) => Err(Fault::NotGranted(
                "MISSING_RUN_ID",
                "an approval is named by params.runId; ask for one with exec.approval.request".to_owned(),
            )),
        };
        match found {
            Ok(decision) => Ok(Grant { decision: serde_json::to_value(decision).ok() }),
            Err(_) if old => Ok(Grant { decision: None }),
            Err(fault) => Err(fault),
        }
    }
}

/// What a caller says about an approval.
struct Claim {
    approved: bool,
    run_id: Option<String>,
}

impl Claim {
    /// Takes everything out of the parameters that a caller may not write.
    fn take(fields: &mut Map<String, Value>) -> Self {
        let approved = fields.get("approved") == Some(&Value::Bool(true))
            || fields.get("approvalDecision").is_some_and(|decision| !decision.is_null());
        let run_id = fields.get("runId").and_then(Value::as_str).map(|id| id.trim().to_owned());
        fields.retain(|name, _| RUN_FIELDS.contains(&name.as_str()));
        Self { approved, run_id: run_id.filter(|id| !id.is_empty()) }
    }
}
