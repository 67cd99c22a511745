//! `chat.send` (spec 02 §7.1).

use std::time::Duration;

use telson_proto::ErrorShape;
use telson_proto::chat::ChatSendParams;
use telson_proto::params::Count;

use crate::auth::{Effect, authorize};
use crate::commands::{Caller, Done, Meaning, Reading, Turn};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::RunId;
use crate::runs::{Admission, Ask, Asker, Family, Purpose};
use crate::sessions::{closed, levels};
use crate::settings::QueueMode;

use super::{abort, anew, attachments, blocked, owner, session_named, timeout};

/// Messages that stop what is going on instead of being sent (spec 02 §11.2).
const STOP_WORDS: [&str; 7] = ["/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"];

/// `chat.send`: stores the user's words, then acknowledges; the answer streams as events.
pub(crate) fn send(gateway: &mut Gateway, call: Call<ChatSendParams>) -> Answer<()> {
    let params = &call.params;
    closed(
        "chat.send",
        call.protocol(),
        &[
            ("agentId", params.agent_id.is_some()),
            ("suppressCommandInterpretation", params.suppress_command_interpretation.is_some()),
        ],
    )?;
    let images = attachments::images(params.attachments.as_deref())?;
    if params.message.trim().is_empty() && images.is_empty() {
        return Err(ErrorShape::invalid("message or attachment required"));
    }
    let (principal, ticket) = (&call.principal, &call.ticket);
    let key =
        session_named(gateway, principal, ticket, params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(principal, &Effect::RunAgent { session: key.clone() })?;
    let is_plain = params.suppress_command_interpretation == Some(true);
    if !is_plain && images.is_empty() && is_stop(&params.message) {
        abort::stop(gateway, principal, call.ticket.clone(), &key)?;
        return Ok(Reply::Later);
    }
    let reading =
        if is_plain { Reading::plain(&params.message) } else { gateway.read_message(&params.message) };
    // A picture makes a message of what would be a command.
    let reading = match reading {
        Reading::Command(..) if !images.is_empty() => Reading::plain(&params.message),
        other => other,
    };
    if gateway.is_blocked(&key) && !reading.passes_policy() {
        return Err(blocked());
    }
    let run = RunId::new(params.idempotency_key.as_str());
    let is_repeat = gateway.answers.knows(&Family::Chat.answer_key(&run));
    if reading.begins_anew().is_none() {
        gateway.renew_if_stale(&key, "webchat", Family::Chat, &run);
    }
    let meaning = gateway.interpret(&Caller { principal, ticket, key: &key }, reading);
    let thinking = params.thinking.as_deref().filter(|_| !params.message.trim_start().starts_with('/'));
    let default = gateway.settings.agents.timeout;
    let mut admission = Admission {
        run,
        agent: gateway.sessions.rules().agent_of(&key),
        family: Family::Chat,
        owner: owner(principal, ticket),
        asker: Asker::Call(ticket.clone()),
        digest: call.digest,
        ask: Ask {
            images,
            thinking: thinking.and_then(levels::thinking).map(str::to_owned),
            ..Ask::words(
                params.message.clone(),
                timeout(params.timeout_ms.map(Count::get), Duration::from_millis(1), default),
            )
        },
        edit: Box::new(|entry| entry.last_channel = Some("webchat".to_owned())),
        key,
    };
    match meaning {
        Meaning::Anew { rest } => {
            let ticket = ticket.clone();
            anew::begin_anew(gateway, admission, ticket, &rest)?;
        }
        Meaning::Compact { instructions } => {
            let ask = &mut admission.ask;
            (ask.system, ask.purpose, ask.thinking) = (Some(instructions), Purpose::Compact, None);
            // It is not collected with words that wait.
            ask.queue = Some(QueueMode::Followup);
            gateway.admit_run(admission)?;
        }
        Meaning::Answer(done) => answer(gateway, admission, done, is_repeat)?,
        Meaning::Words(Turn { text, thinking, model, levels, queue }) => {
            let ask = &mut admission.ask;
            (ask.text, ask.model, ask.levels, ask.queue) = (text, model, levels, queue);
            ask.thinking = thinking.or(ask.thinking.take());
            gateway.admit_run(admission)?;
        }
    }
    Ok(Reply::Later)
}

/// The gateway answers a command, and does what it has come to; a repeat does nothing again.
fn answer(
    gateway: &mut Gateway,
    mut admission: Admission,
    done: Done,
    is_repeat: bool,
) -> Result<(), ErrorShape> {
    admission.ask.reply = Some(done.reply);
    if let Some(edit) = done.edit {
        admission.edit = Box::new(move |entry| {
            edit(entry);
            entry.last_channel = Some("webchat".to_owned());
        });
    }
    gateway.admit_run(admission)?;
    if !is_repeat {
        for run in done.abort {
            gateway.abort_run(&run, "stop");
        }
    }
    Ok(())
}

/// Whether a message stops what is going on (spec 02 §11.2).
pub(super) fn is_stop(message: &str) -> bool {
    let word = message.trim();
    STOP_WORDS.iter().any(|stop| stop.eq_ignore_ascii_case(word))
}
