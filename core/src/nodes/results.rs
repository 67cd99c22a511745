//! What a node answers to an invocation (spec 03 §2.7, §2.10).

use serde_json::Value;
use telson_proto::node::{Heard, InvokeResultParams, NodeError, ProgressParams};
use telson_proto::{ErrorShape, Json};

use super::platform::Platform;
use super::policy::acts_on_host;
use super::registry::node_id;
use super::{Answered, Fault};
use crate::auth::Principal;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{ConnId, DeviceId};

const HEARD: Heard = Heard { ok: true, ignored: None };
const IGNORED: Heard = Heard { ok: true, ignored: Some(true) };

/// `node.invoke.result`: the end of an invocation. A result that is late, or of another connection, is no fault of
/// the node and changes nothing.
pub(crate) fn result(gateway: &mut Gateway, call: Call<InvokeResultParams>) -> Answer<Heard> {
    let InvokeResultParams { id, node_id, ok, payload, payload_json, error } = call.params;
    let node = caller(&call.principal, node_id.as_str())?;
    let (id, conn) = (id.as_str(), call.ticket.conn);
    if !gateway.is_pending(id, conn) {
        tracing::debug!(target: "gateway", %node, invoke = id, "a result that nobody waits for");
        return Ok(Reply::Ready(IGNORED));
    }
    if ok {
        gateway.end_invocation(id, Ok(answered(payload, payload_json)));
    } else {
        gateway.invocation_failed(id, conn, &node, error.unwrap_or_default());
    }
    Ok(Reply::Ready(HEARD))
}

/// `node.invoke.progress`: a piece of output of an invocation under way.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn progress(gateway: &mut Gateway, call: Call<ProgressParams>) -> Answer<Heard> {
    caller(&call.principal, call.params.node_id.as_str())?;
    let seq = call.params.seq.get();
    let pending = gateway.nodes.invocations.of_conn(call.params.invoke_id.as_str(), call.ticket.conn);
    let Some(pending) = pending.filter(|pending| pending.heard.is_none_or(|last| seq > last)) else {
        return Ok(Reply::Ready(IGNORED));
    };
    pending.heard = Some(seq);
    tracing::trace!(target: "gateway", command = %pending.command, seq, "a node's command goes on");
    Ok(Reply::Ready(Heard { ok: true, ignored: Some(false) }))
}

/// The node that calls, which must be the one that it names.
fn caller(principal: &Principal, named: &str) -> Result<DeviceId, ErrorShape> {
    let node = node_id(principal);
    if node.as_str() == named { Ok(node) } else { Err(ErrorShape::invalid("nodeId mismatch")) }
}

/// The answer out of the two forms in which nodes give it.
fn answered(payload: Option<Value>, payload_json: Option<Value>) -> Answered {
    let text = match payload_json {
        Some(Value::String(text)) => Some(text),
        Some(Value::Null) | None => None,
        Some(other) => {
            let payload = payload.unwrap_or(other);
            return Answered { payload: Some(Json::of(&payload)), payload_json: None };
        }
    };
    let payload = match text.as_deref() {
        None | Some("") => payload.map(|payload| Json::of(&payload)),
        Some(text) if text.trim().is_empty() => None,
        Some(text) => Some(match serde_json::from_str::<&serde_json::value::RawValue>(text) {
            Ok(raw) => Json::from(raw),
            Err(_) => Json::of(&serde_json::json!({"payloadJSON": text})),
        }),
    };
    Answered { payload, payload_json: text }
}

impl Gateway {
    fn is_pending(&mut self, id: &str, conn: ConnId) -> bool {
        self.nodes.invocations.of_conn(id, conn).is_some_and(|pending| pending.resend_at.is_none())
    }

    /// The node has refused or failed.
    fn invocation_failed(&mut self, id: &str, conn: ConnId, node: &DeviceId, error: NodeError) {
        let bounded = |text: Option<String>| text.map(|text| text.chars().take(2_000).collect::<String>());
        let error = NodeError { code: bounded(error.code), message: bounded(error.message) };
        let word = error.code.as_deref().unwrap_or_default();
        if word == "NODE_NOT_READY" && self.retry_invocation(id) {
            return;
        }
        let told = error.message.as_deref().unwrap_or_default();
        let hidden = word == "NODE_BACKGROUND_UNAVAILABLE" || told.starts_with("NODE_BACKGROUND_UNAVAILABLE");
        if hidden && self.standing(node).is_some_and(|standing| standing.platform == Platform::Ios) {
            let pending = self.nodes.invocations.of_conn(id, conn);
            let work = pending.map(|pending| (pending.command.clone(), pending.params.clone()));
            if let Some((command, params)) = work.filter(|(command, _)| !acts_on_host(command)) {
                return self.queue_action(id, node, command, params);
            }
        }
        self.end_invocation(id, Err(Fault::Node(error)));
    }
}
