//! `agent` and `agent.wait` (spec 02 §8.1, §8.2).

use std::time::Duration;

use telson_proto::chat::{AgentParams, AgentWaitParams};
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{AgentId, RunId, SessionId, SessionKey};
use crate::messages::Down;
use crate::runs::{Admission, Ask, Asker, Family, Wait, timed_out};
use crate::sessions::{SessionEntry, closed, keys, levels};
use crate::settings::ModelRef;

use super::send::is_stop;
use super::{abort, anew, attachments, blocked, owner, timeout};

/// The longest label of protocol 3, in characters.
const V3_LABEL_CHARS: usize = 64;
/// How long `agent.wait` waits when it is not told.
const DEFAULT_WAIT_MS: u64 = 30_000;

/// `agent`: answers when the run is admitted, and again when it has ended.
pub(crate) fn agent(gateway: &mut Gateway, call: Call<AgentParams>) -> Answer<()> {
    let params = &call.params;
    closed(
        "agent",
        call.protocol(),
        &[
            ("bestEffortDeliver", params.best_effort_deliver.is_some()),
            ("expectedExistingSessionId", params.expected_existing_session_id.is_some()),
            ("model", params.model.is_some()),
            ("provider", params.provider.is_some()),
        ],
    )?;
    check_label(params, call.protocol())?;
    let images = attachments::images(params.attachments.as_deref())?;
    check_delivery(params)?;
    let key = session(gateway, &call)?;
    let agent = gateway.sessions.rules().agent_of(&key);
    check_agent(gateway, &agent)?;
    authorize(&call.principal, &Effect::RunAgent { session: key.clone() })?;
    // Whose child a session is decides what it may see: nobody else says so (spec 08 S-67).
    if filled(params.spawned_by.as_ref()).is_some() {
        authorize(&call.principal, &Effect::CreateSession { session: key.clone(), heavy: true })?;
    }
    check_incarnation(gateway, params, &key)?;
    if is_stop(params.message.as_str()) && images.is_empty() {
        abort::stop(gateway, &call.principal, call.ticket.clone(), &key)?;
        return Ok(Reply::Later);
    }
    if gateway.is_blocked(&key) {
        return Err(blocked());
    }
    let ask = Ask {
        images,
        thinking: thinking(params)?,
        system: filled(params.extra_system_prompt.as_ref()).map(str::to_owned),
        model: model(gateway, params)?,
        lane: filled(params.lane.as_ref()).map(str::to_owned),
        ..Ask::words(
            params.message.as_str(),
            timeout(params.timeout.map(Count::get), Duration::from_secs(1), gateway.settings.agents.timeout),
        )
    };
    gateway.tell(Down::TakePart { conn: call.ticket.conn, key: key.clone() });
    let run = RunId::new(params.idempotency_key.as_str());
    let reading = gateway.read_message(params.message.as_str());
    let anew = reading.begins_anew();
    if anew.is_some() {
        authorize(&call.principal, &Effect::EndSession { session: key.clone() })?;
    } else {
        let channel = gateway.sessions.entry(&key).and_then(|entry| entry.last_channel.clone());
        gateway.renew_if_stale(&key, channel.as_deref().unwrap_or("webchat"), Family::Agent, &run);
    }
    let admission = Admission {
        run,
        key,
        agent,
        family: Family::Agent,
        owner: owner(&call.principal, &call.ticket),
        asker: Asker::Call(call.ticket.clone()),
        edit: Box::new(entry_edit(params)),
        digest: call.digest,
        ask,
    };
    match anew {
        Some(rest) => anew::begin_anew(gateway, admission, call.ticket, rest)?,
        None => gateway.admit_run(admission)?,
    }
    Ok(Reply::Later)
}

fn invalid(detail: impl std::fmt::Display) -> ErrorShape {
    ErrorShape::invalid(format!("invalid agent params: {detail}"))
}

fn filled(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn check_label(params: &AgentParams, protocol: Protocol) -> Result<(), ErrorShape> {
    let length = params.label.as_ref().map_or(0, |label| label.as_str().chars().count());
    match protocol {
        Protocol::V3 if length > V3_LABEL_CHARS => {
            Err(invalid(format_args!("at /label: must NOT have more than {V3_LABEL_CHARS} characters")))
        }
        _ => Ok(()),
    }
}

/// There are no messaging channels yet, so an answer can go nowhere but to the clients.
fn check_delivery(params: &AgentParams) -> Result<(), ErrorShape> {
    let wanted = params.deliver == Some(true) && params.best_effort_deliver != Some(true);
    if !wanted {
        return Ok(());
    }
    match filled(params.reply_channel.as_ref()).or(filled(params.channel.as_ref())) {
        Some("webchat") => Ok(()),
        Some(channel) if channel != "last" => Err(invalid(format_args!("unknown channel: {channel}"))),
        _ => Err(invalid("at /deliver: no messaging channel is configured; leave deliver out")),
    }
}

/// The session to run in: by key, by agent, by the id of an incarnation, or by the peer of a direct message,
/// which shares the main session [C-18].
fn session(gateway: &mut Gateway, call: &Call<AgentParams>) -> Result<SessionKey, ErrorShape> {
    let params = &call.params;
    let agent = params.agent_id.as_ref().map(|agent| keys::normalise_agent(agent.as_str()));
    if let Some(agent) = &agent {
        check_agent(gateway, agent)?;
    }
    if let Some(spelling) = filled(params.session_key.as_ref()) {
        return keyed(gateway, call, spelling, agent.as_ref());
    }
    if let Some(agent) = agent {
        return Ok(gateway.sessions.rules().main(&agent));
    }
    if let Some(id) = filled(params.session_id.as_ref()) {
        if let Some(key) = gateway.sessions.by_id(&SessionId::new(id)) {
            return Ok(key.clone());
        }
        // An id of the caller's own making names a session of its own.
        return gateway.sessions.resolve(&format!("explicit:{id}"));
    }
    if filled(params.to.as_ref()).is_some() {
        return Ok(gateway.sessions.main_key());
    }
    Err(ErrorShape::invalid("Pass --to <E.164>, --session-id, or --agent to choose a session"))
}

fn keyed(
    gateway: &mut Gateway,
    call: &Call<AgentParams>,
    spelling: &str,
    agent: Option<&AgentId>,
) -> Result<SessionKey, ErrorShape> {
    let key = gateway.canonical_for(&call.principal, call.ticket.conn, spelling)?;
    let Some(agent) = agent.filter(|_| !keys::is_reserved(&key)) else { return Ok(key) };
    let owner = gateway.sessions.rules().agent_of(&key);
    if owner == *agent {
        return Ok(key);
    }
    let names_agent = spelling.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("agent:"));
    match names_agent {
        true => Err(invalid(format_args!("agent \"{agent}\" does not match session key agent \"{owner}\""))),
        false => gateway.sessions.resolve(&format!("agent:{agent}:{spelling}")),
    }
}

fn check_agent(gateway: &Gateway, agent: &AgentId) -> Result<(), ErrorShape> {
    let known = gateway.settings.agents.list.iter().any(|profile| profile.id == *agent);
    if known { Ok(()) } else { Err(invalid(format_args!("unknown agent id \"{agent}\""))) }
}

fn check_incarnation(gateway: &Gateway, params: &AgentParams, key: &SessionKey) -> Result<(), ErrorShape> {
    let current = gateway.sessions.get(key).map(|session| session.id.as_str());
    let expected = params.expected_existing_session_id.as_ref().map(Text::as_str);
    if expected.is_some() && expected != current {
        return Err(ErrorShape::invalid(format!("session {key} has changed meanwhile; load it again"))
            .with_details(&serde_json::json!({"reason": "session-changed"})));
    }
    Ok(())
}

fn thinking(params: &AgentParams) -> Result<Option<String>, ErrorShape> {
    let Some(asked) = filled(params.thinking.as_ref()) else { return Ok(None) };
    match levels::thinking(asked) {
        Some(level) => Ok(Some(level.to_owned())),
        None => Err(invalid("at /thinking: must be off, minimal, low, medium, high or xhigh")),
    }
}

fn model(gateway: &Gateway, params: &AgentParams) -> Result<Option<ModelRef>, ErrorShape> {
    let Some(model) = filled(params.model.as_ref()) else { return Ok(None) };
    let text = match filled(params.provider.as_ref()) {
        Some(provider) => format!("{provider}/{model}"),
        None => model.to_owned(),
    };
    gateway.agents.choose(&text).map(Some)
}

/// What the request changes of the session's entry; everything else stays [C-09].
fn entry_edit(params: &AgentParams) -> impl FnOnce(&mut SessionEntry) + Send + use<> {
    let label =
        params.label.as_ref().map(|label| label.as_str().trim().to_owned()).filter(|label| !label.is_empty());
    let spawned_by = filled(params.spawned_by.as_ref()).map(str::to_owned);
    let group = [
        ("groupId", filled(params.group_id.as_ref()).map(str::to_owned)),
        ("groupChannel", filled(params.group_channel.as_ref()).map(str::to_owned)),
        ("space", filled(params.group_space.as_ref()).map(str::to_owned)),
    ];
    move |entry| {
        entry.label = label.or(entry.label.take());
        entry.spawned_by = entry.spawned_by.take().or(spawned_by);
        for (name, value) in group.into_iter().filter(|(_, value)| value.is_some()) {
            entry.set(name, value.map(Into::into));
        }
    }
}

/// `agent.wait`: waits for the end of a run. A run that nobody knows may yet begin, so that is waited for too.
pub(crate) fn wait(gateway: &mut Gateway, call: Call<AgentWaitParams>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let run = RunId::new(call.params.run_id.as_str());
    let protocol = call.protocol();
    if gateway.runs.get(&run).is_none()
        && let Some(ended) = gateway.runs.ended(gateway.now.mono, &run)
    {
        return Ok(Reply::Ready(ended.answer(&run, protocol)));
    }
    let millis = call.params.timeout_ms.map_or(DEFAULT_WAIT_MS, Count::get);
    if millis == 0 {
        return Ok(Reply::Ready(timed_out(&run)));
    }
    let until = gateway.now.mono.saturating_add(Duration::from_millis(millis));
    gateway.runs.wait(run, until, Wait { ticket: call.ticket, protocol });
    Ok(Reply::Later)
}
