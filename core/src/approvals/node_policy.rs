//! The approvals file of a node, asked of the node itself (spec 03 §3.6).
//!
//! The node keeps it, checks the base hash and answers as it does anybody. It is asked by the same way as for any
//! command, so it must have declared the command and somebody must have approved that; `node.invoke` refuses
//! these commands to everyone.

use std::sync::Arc;

use serde_json::{Value, json};
use telson_proto::approval::{NodePolicyGet, NodePolicySet};
use telson_proto::{ErrorShape, Json};

use super::policy::{ApprovalsFile, FileFault};
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{DeviceId, Ticket};
use crate::messages::Outcome;
use crate::nodes::{Ask, Asker, Fault};
use crate::sessions::closed;

const GET: &str = "system.execApprovals.get";
const SET: &str = "system.execApprovals.set";

/// `exec.approvals.node.get`: a node's file, as the node tells it.
pub(crate) fn node_policy_get(gateway: &mut Gateway, call: Call<NodePolicyGet>) -> Answer<Json> {
    authorize(&call.principal, &Effect::SeeApprovalPolicy)?;
    let node = node_of(call.params.node_id.as_str())?;
    gateway.ask_node_policy(call.ticket, call.principal, node, GET, json!({}))
}

/// `exec.approvals.node.set`: another file in its place, made from the one that the caller knows.
pub(crate) fn node_policy_set(gateway: &mut Gateway, call: Call<NodePolicySet>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ChangeApprovalPolicy)?;
    let params = call.params;
    closed("exec.approvals.node.set", call.principal.protocol, &[("native", params.native.is_some())])?;
    let node = node_of(params.node_id.as_str())?;
    let mut sent = match (params.file, params.native) {
        (Some(file), None) => {
            // Only read: the node gives ids and keeps its socket.
            ApprovalsFile::read(&file, String::new).map_err(|fault| match fault {
                FileFault::Missing => ErrorShape::invalid(fault.to_string()),
                fault => ErrorShape::invalid(format!("invalid exec.approvals.node.set params: {fault}")),
            })?;
            json!({"file": file})
        }
        (None, Some(native)) if native.is_object() => json!({"native": native}),
        (None, _) => return Err(ErrorShape::invalid("exec approvals file is required")),
        (Some(_), Some(_)) => {
            return Err(ErrorShape::invalid("exec.approvals.node.set takes either file or native, not both"));
        }
    };
    if let Some(base) = params.base_hash {
        sent["baseHash"] = base.into_string().into();
    }
    gateway.ask_node_policy(call.ticket, call.principal, node, SET, sent)
}

fn node_of(id: &str) -> Result<DeviceId, ErrorShape> {
    let id = id.trim();
    if id.is_empty() { Err(ErrorShape::invalid("nodeId required")) } else { Ok(DeviceId::new(id)) }
}

impl Gateway {
    fn ask_node_policy(
        &mut self,
        ticket: Ticket,
        principal: Arc<Principal>,
        node: DeviceId,
        command: &'static str,
        params: Value,
    ) -> Answer<Json> {
        let ask = Ask {
            node,
            command: command.to_owned(),
            params: Some(params),
            timeout_ms: None,
            key: self.entropy.uuid(),
            asker: Asker::Conn(ticket.conn),
            principal: Some(principal),
            session: None,
        };
        let then = move |gateway: &mut Self, outcome: Result<crate::nodes::Answered, Fault>| {
            let outcome = match outcome {
                Ok(answered) => Outcome::ok(answered.payload.unwrap_or_else(Json::null)),
                Err(fault) => Outcome::error(failure(&fault, command)),
            };
            gateway.reply(ticket, outcome);
        };
        self.invoke_node(ask, Box::new(then)).map_err(|fault| failure(&fault, command))?;
        Ok(Reply::Later)
    }
}

/// Why there is no answer of the node, in its own words where it has any.
fn failure(fault: &Fault, command: &str) -> ErrorShape {
    let message = fault.message(command);
    let node_error = match fault {
        Fault::Node(error) => json!(error),
        Fault::NotConnected => json!({"code": "NOT_CONNECTED", "message": message}),
        Fault::TimedOut => json!({"code": "TIMEOUT", "message": message}),
        _ => json!({"code": "UNAVAILABLE", "message": message}),
    };
    ErrorShape::unavailable(message).with_details(&json!({"nodeError": node_error}))
}
