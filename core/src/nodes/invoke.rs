//! `node.invoke`: a node is asked to do something (spec 03 §2.7).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use telson_proto::node::{InvokeParams, Invoked};
use telson_proto::params::Count;
use telson_proto::{ErrorShape, Json, Protocol};

use super::exec::Prepared;
use super::invocations::{Pending, Then};
use super::policy::{acts_on_host, is_for_admins, is_reserved};
use super::{Answered, Asker, Fault};
use crate::audit::Verdict;
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{DeviceId, SessionKey};
use crate::limits;
use crate::messages::Outcome;
use crate::sessions::closed;

/// What is asked of a node, by whomever.
pub(crate) struct Ask {
    pub(crate) node: DeviceId,
    pub(crate) command: String,
    pub(crate) params: Option<Value>,
    /// The time that the caller gives, in milliseconds.
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) key: String,
    pub(crate) asker: Asker,
    /// Who asks, when it is a connection.
    pub(crate) principal: Option<Arc<Principal>>,
    /// The session on whose behalf.
    pub(crate) session: Option<SessionKey>,
}

impl Ask {
    fn protocol(&self) -> Protocol {
        self.principal.as_ref().map_or(Protocol::V4, |principal| principal.protocol)
    }
}

/// `node.invoke`: answered by the node's result.
pub(crate) fn invoke(gateway: &mut Gateway, call: Call<InvokeParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    let protocol = principal.protocol;
    closed(
        "node.invoke",
        protocol,
        &[
            ("sessionKey", params.session_key.is_some()),
            ("turnSourceChannel", params.turn_source_channel.is_some()),
            ("turnSourceTo", params.turn_source_to.is_some()),
            ("turnSourceAccountId", params.turn_source_account_id.is_some()),
            ("turnSourceThreadId", params.turn_source_thread_id.is_some()),
        ],
    )?;
    let (node, command) = (params.node_id.as_str().trim(), params.command.as_str().trim().to_owned());
    if node.is_empty() || command.is_empty() {
        return Err(ErrorShape::invalid("nodeId and command required"));
    }
    let node = DeviceId::new(node);
    let effect = Effect::InvokeNode { admin: is_for_admins(&command) };
    let permitted = authorize(&principal, &effect).and_then(|()| match is_reserved(&command) {
        true => Err(ErrorShape::invalid(format!(
            "node command not allowed: use exec.approvals.node.get and .set instead of {command}"
        ))
        .with_details(&serde_json::json!({"reason": "command not allowlisted", "command": command}))),
        false => Ok(()),
    });
    if let Err(error) = permitted {
        gateway.audit(&principal, "node.invoke", &subject(&node, &command), &Verdict::from(&error));
        return Err(error);
    }
    let session = match &params.session_key {
        Some(key) => Some(gateway.sessions.resolve(key.as_str())?),
        None => None,
    };
    let ask = Ask {
        node: node.clone(),
        command: command.clone(),
        params: params.params,
        timeout_ms: params.timeout_ms.map(Count::get),
        key: params.idempotency_key.into_string(),
        asker: Asker::Conn(ticket.conn),
        principal: Some(Arc::clone(&principal)),
        session,
    };
    let told = (node.clone(), command.clone());
    let asked = gateway.invoke_node(
        ask,
        Box::new(move |gateway, outcome| {
            let (node, command) = told;
            let outcome = match outcome {
                Ok(Answered { payload, payload_json }) => Outcome::ok(Json::of(&Invoked {
                    ok: true,
                    node_id: node.to_string(),
                    command,
                    payload,
                    payload_json,
                })),
                Err(fault) => Outcome::error(fault.shape(&command, protocol)),
            };
            gateway.reply(ticket, outcome);
        }),
    );
    let fault = asked.err();
    gateway.note_invocation(&principal, &node, &command, fault.as_ref());
    match fault {
        None => Ok(Reply::Later),
        Some(fault) => Err(fault.shape(&command, protocol)),
    }
}

/// What the book of deeds calls an invocation.
pub(super) fn subject(node: &DeviceId, command: &str) -> String {
    let command: String = command.chars().take(128).collect();
    format!("{node} {command}")
}

impl Gateway {
    /// Asks a node. `then` runs once, with the result or with what came in between; not at all when whoever asked
    /// has given it up. Who asks has been authorized.
    ///
    /// # Errors
    ///
    /// Why the node is not asked; `then` does not run.
    pub(crate) fn invoke_node(&mut self, ask: Ask, then: Then) -> Result<(), Fault> {
        self.may_invoke_now(&ask.node, &ask.command)?;
        let Some(conn) = self.nodes.registry.current(&ask.node).map(|session| session.conn) else {
            return Err(Fault::NotConnected);
        };
        if self.nodes.invocations.is_full(&ask.node) {
            return Err(Fault::Full);
        }
        let protocol = ask.protocol();
        let Prepared { params, run } =
            self.prepare_params(&ask.node, ask.principal.as_deref(), &ask.command, ask.params)?;
        let params = params.map(|params| params.to_string());
        if params.as_ref().is_some_and(|text| text.len() as u64 > limits::NODE_PARAMS_BYTES) {
            return Err(Fault::TooLarge);
        }
        if let Some(run) = run {
            let session =
                ask.session.or_else(|| run.session.as_deref().and_then(|k| self.sessions.resolve(k).ok()));
            self.expect_exec(&ask.node, conn, run, session);
        }
        let wait = match (ask.timeout_ms, protocol) {
            (Some(0), Protocol::V4) => None,
            (Some(millis), _) => Some(Duration::from_millis(millis)),
            (None, _) => Some(limits::millis(limits::NODE_INVOKE_MS)),
        };
        let pending = Pending {
            node: ask.node,
            conn,
            command: ask.command,
            params,
            key: ask.key,
            timeout_ms: ask.timeout_ms,
            deadline: wait.map(|wait| self.now.mono.saturating_add(wait)),
            asker: ask.asker,
            then,
            retries: 0,
            resend_at: None,
            heard: None,
        };
        self.send_invocation(pending);
        Ok(())
    }

    /// Whether a node can be asked for a command now.
    ///
    /// # Errors
    ///
    /// That it is not connected, or why it may not be asked.
    pub(super) fn may_invoke_now(&self, node: &DeviceId, command: &str) -> Result<(), Fault> {
        let standing = self.standing(node).ok_or(Fault::NotConnected)?;
        let checked = standing.check(&self.settings.nodes, command);
        checked.map_err(|objection| Fault::NotAllowed(objection, standing.platform))
    }

    /// The book of deeds: what acts with the rights of a node's host, and what was refused.
    fn note_invocation(&mut self, who: &Principal, node: &DeviceId, command: &str, fault: Option<&Fault>) {
        let verdict = match fault {
            None if acts_on_host(command) || is_for_admins(command) => Verdict::Done,
            Some(fault @ (Fault::NotAllowed(..) | Fault::NotGranted(..))) => {
                Verdict::Denied(fault.message(command))
            }
            _ => return,
        };
        self.audit(who, "node.invoke", &subject(node, command), &verdict);
    }
}
