//! The questions of plugins: the same ledger, other words (spec 03 §3.8).

use serde_json::{Map, Value, json};
use telson_proto::approval::{ById, Decision, PluginRequest, Resolve, Severity, Waiting};
use telson_proto::params::{Count, NoParams, Text};
use telson_proto::{ErrorShape, Json};

use super::display::shown;
use super::ledger::NewApproval;
use super::methods::{PLUGIN_PREFIX, resolve};
use super::record::{Approval, Kind, State};
use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::limits;

/// `plugin.approval.request`: asks for a plugin; answered when somebody has decided.
pub(crate) fn plugin_request(gateway: &mut Gateway, call: Call<PluginRequest>) -> Answer<Json> {
    authorize(&call.principal, &Effect::RequestApproval)?;
    let protocol = call.protocol();
    let params = call.params;
    let timeout_ms =
        params.timeout_ms.map_or(limits::APPROVAL_V4_MS, Count::get).min(limits::APPROVAL_LONGEST_MS);
    let allowed = params.allowed_decisions.clone().unwrap_or_else(|| Decision::ALL.into());
    if !allowed.contains(&Decision::Deny) {
        return Err(ErrorShape::invalid(
            "invalid plugin.approval.request params: at /allowedDecisions: must contain deny",
        ));
    }
    let request = request(&params, &allowed);
    let record = Approval {
        id: format!("{PLUGIN_PREFIX}{}", gateway.entropy.uuid()),
        kind: Kind::Plugin,
        request,
        text: shown(params.title.as_str()),
        digest: String::new(),
        asked_by: call.principal.actor(),
        reviewers: params.approval_reviewer_device_ids.clone(),
        allowed,
        created_at_ms: gateway.now.wall,
        expires_at_ms: gateway.now.wall.saturating_add(timeout_ms),
        state: State::Pending,
        reason: None,
        decision: None,
        resolved_at_ms: None,
        resolved_by: None,
        reviewer: None,
    };
    let two_phase = params.two_phase == Some(true);
    let ticket = call.ticket;
    gateway.ask_approval(NewApproval { record, question: None, timeout_ms, ticket, two_phase, protocol })?;
    Ok(Reply::Later)
}

fn request(params: &PluginRequest, allowed: &[Decision]) -> Map<String, Value> {
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| shown(text).into());
    let members = [
        ("pluginId", text(params.plugin_id.as_ref().map(Text::as_str))),
        ("title", text(Some(params.title.as_str()))),
        ("description", text(Some(params.description.as_str()))),
        ("detail", text(params.detail.as_ref().map(Text::as_str))),
        ("severity", json!(params.severity.unwrap_or(Severity::Warning))),
        ("toolName", text(params.tool_name.as_ref().map(Text::as_str))),
        ("toolCallId", text(params.tool_call_id.as_ref().map(Text::as_str))),
        ("agentId", text(params.agent_id.as_ref().map(Text::as_str))),
        ("sessionKey", text(params.session_key.as_ref().map(Text::as_str))),
        ("allowedDecisions", json!(allowed)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `plugin.approval.resolve`: the answer.
pub(crate) fn plugin_resolve(gateway: &mut Gateway, call: Call<Resolve>) -> Answer<Json> {
    resolve(gateway, call, Some(Kind::Plugin), false)
}

/// `plugin.approval.waitDecision`: answered when it is decided, or at once.
pub(crate) fn plugin_wait(gateway: &mut Gateway, call: Call<ById>) -> Answer<Json> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    let protocol = call.protocol();
    gateway.wait_for_approval(call.params.id.as_str(), Kind::Plugin, call.ticket, protocol)?;
    Ok(Reply::Later)
}

/// `plugin.approval.list`: what waits for an answer, the oldest first.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn plugin_list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<Vec<Waiting>> {
    authorize(&call.principal, &Effect::SeeApprovals)?;
    Ok(Reply::Ready(gateway.approvals.list(Kind::Plugin)))
}
