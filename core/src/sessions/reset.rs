//! A session begins anew: `sessions.reset`, `/new`, `/reset`, and old age (spec 02 §14.5, §19.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::params::Text;

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionId, SessionKey};
use crate::messages::Outcome;
use crate::store::Op;

use super::announce::Reason;
use super::methods::{INTERRUPTIONS, check_incarnation, closed, named};
use super::{Session, SessionEntry};

/// The parameters of `sessions.reset`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResetParams {
    key: Text,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    reason: Option<ResetReason>,
    #[serde(default)]
    expected_session_id: Option<Text>,
}

/// Why a session begins anew, as `sessions.changed` says it again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResetReason {
    New,
    Reset,
}

#[derive(Debug, Serialize)]
struct ResetResult {
    ok: bool,
    key: SessionKey,
    entry: Value,
}

/// `sessions.reset`: a new incarnation with an empty transcript. Running work is interrupted first [C-36].
pub(crate) fn reset(gateway: &mut Gateway, call: Call<ResetParams>) -> Answer<()> {
    let params = call.params;
    closed(
        "sessions.reset",
        call.principal.protocol,
        &[
            ("agentId", params.agent_id.is_some()),
            ("expectedSessionId", params.expected_session_id.is_some()),
            ("reason", params.reason.is_some()),
        ],
    )?;
    let key = named(gateway, &call.principal, &call.ticket, params.key.as_str(), params.agent_id.as_ref())?;
    authorize(&call.principal, &Effect::EndSession { session: key.clone() })?;
    let expected = params.expected_session_id.map(|id| SessionId::new(id.as_str()));
    check_incarnation(gateway, &key, expected.as_ref())?;
    let reason = match params.reason {
        Some(ResetReason::New) => Reason::New,
        Some(ResetReason::Reset) | None => Reason::Reset,
    };
    gateway.when_idle(call.ticket, key, "reset", INTERRUPTIONS, move |gateway, ticket, session| {
        if let Err(error) = check_incarnation(gateway, &session, expected.as_ref()) {
            gateway.reply(ticket, Outcome::error(error));
            return;
        }
        gateway.begin_anew(&session, reason, move |gateway, result| gateway.reply(ticket, result));
    });
    Ok(Reply::Later)
}

impl Gateway {
    /// Gives a session a new incarnation and answers when it is stored (`sessions.reset`, `/new`, `/reset`).
    /// Running work must have been interrupted.
    pub(crate) fn begin_anew(
        &mut self,
        key: &SessionKey,
        reason: Reason,
        then: impl FnOnce(&mut Self, Outcome) + Send + 'static,
    ) {
        let old = self.sessions.get(key).cloned();
        let entry = carried_over(old.as_ref().map(|session| &session.entry), self.now.wall);
        self.sessions.put(self.now, &mut self.entropy, key, entry);
        let ops = old.map(|session| Op::ArchiveTranscript { session: session.id, at: self.now.wall });
        let wire = self.sessions.get(key).map(Session::on_the_wire).unwrap_or_default();
        let session = key.clone();
        self.store_session(key, ops.into_iter().collect(), move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_session(&session, reason, None);
                    let result = ResetResult { ok: true, key: session, entry: wire };
                    Outcome::ok(telson_proto::Json::of(&result))
                }
                Err(error) => Outcome::error(error.into()),
            };
            then(gateway, outcome);
        });
    }
}

/// What a session keeps when it begins anew, whoever asked for it [C-41]: its names, levels and policies, whose
/// child it is, where it was last heard of, and how people have arranged it in their lists. Overrides of the
/// model, counters, caches and the state of runs do not stay.
fn carried_over(old: Option<&SessionEntry>, now: u64) -> SessionEntry {
    const KEPT: [&str; 30] = [
        // routing
        "origin",
        "deliveryContext",
        "lastTo",
        "lastAccountId",
        "lastThreadId",
        "channel",
        "groupId",
        "subject",
        "groupChannel",
        "space",
        // policies
        "contextWindow",
        "fastMode",
        "parentSessionKey",
        "permissionMode",
        "toolOverrides",
        "traceLevel",
        "execHost",
        "execSecurity",
        "execAsk",
        "execNode",
        "groupActivation",
        "groupActivationNeedsSystemIntro",
        "ttsAuto",
        // arrangement
        super::groups::GROUPS,
        "icon",
        "color",
        "category",
        "boardFace",
        "pinnedAt",
        "lastReadAt",
    ];
    let Some(old) = old.cloned() else {
        return SessionEntry {
            created_at: Some(now),
            system_sent: Some(false),
            aborted_last_run: Some(false),
            ..SessionEntry::default()
        };
    };
    SessionEntry {
        label: old.label,
        display_name: old.display_name,
        spawned_by: old.spawned_by,
        thinking_level: old.thinking_level,
        verbose_level: old.verbose_level,
        reasoning_level: old.reasoning_level,
        elevated_level: old.elevated_level,
        response_usage: old.response_usage,
        send_policy: old.send_policy,
        queue_mode: old.queue_mode,
        queue_debounce_ms: old.queue_debounce_ms,
        queue_cap: old.queue_cap,
        queue_drop: old.queue_drop,
        model_provider: old.model_provider,
        model: old.model,
        context_tokens: old.context_tokens,
        chat_type: old.chat_type,
        last_channel: old.last_channel,
        pinned: old.pinned,
        created_at: old.created_at,
        system_sent: Some(false),
        aborted_last_run: Some(false),
        input_tokens: Some(0),
        output_tokens: Some(0),
        total_tokens: Some(0),
        extra: old.extra.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).collect(),
        ..SessionEntry::default()
    }
}
