//! `chat.send` (spec 02 §7.1).

use std::time::Duration;

use telson_proto::ErrorShape;
use telson_proto::chat::ChatSendParams;
use telson_proto::params::Count;

use crate::auth::{Effect, authorize};
use crate::gateway::answers;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, Ticket};
use crate::messages::Outcome;
use crate::runs::{Admission, Ask, Asker, Family};
use crate::sessions::{closed, levels};

use super::commands::{self, Command};
use super::{abort, attachments, blocked, is_blocked, owner, session_named, timeout};

/// Messages that stop what is going on instead of being sent (spec 02 §11.2).
const STOP_WORDS: [&str; 7] = ["/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"];

/// `chat.send`: stores the user's words, then acknowledges; the answer streams as events.
pub(crate) fn send(gateway: &mut Gateway, call: Call<ChatSendParams>) -> Answer<()> {
    let params = &call.params;
    closed("chat.send", call.protocol(), &[("agentId", params.agent_id.is_some())])?;
    let images = attachments::images(params.attachments.as_deref())?;
    if params.message.trim().is_empty() && images.is_empty() {
        return Err(ErrorShape::invalid("message or attachment required"));
    }
    let (principal, ticket) = (&call.principal, &call.ticket);
    let key =
        session_named(gateway, principal, ticket, params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(principal, &Effect::RunAgent { session: key.clone() })?;
    if images.is_empty() && is_stop(&params.message) {
        abort::stop(gateway, principal, call.ticket.clone(), &key)?;
        return Ok(Reply::Later);
    }
    if is_blocked(gateway, &key) {
        return Err(blocked());
    }
    let command = commands::parse(&params.message).filter(|_| images.is_empty());
    let thinking = params.thinking.as_deref().filter(|_| !params.message.trim_start().starts_with('/'));
    let default = gateway.settings.agents.timeout;
    let ask = Ask {
        images,
        thinking: thinking.and_then(levels::thinking).map(str::to_owned),
        reply: command.as_ref().map(|command| gateway.command_reply(command, &key)),
        ..Ask::words(
            params.message.clone(),
            timeout(params.timeout_ms.map(Count::get), Duration::from_millis(1), default),
        )
    };
    let admission = Admission {
        run: RunId::new(params.idempotency_key.as_str()),
        agent: gateway.sessions.rules().agent_of(&key),
        family: Family::Chat,
        owner: owner(principal, ticket),
        asker: Asker::Call(ticket.clone()),
        digest: call.digest,
        ask,
        edit: Box::new(|entry| entry.last_channel = Some("webchat".to_owned())),
        key,
    };
    match command {
        Some(Command::Anew { rest }) => {
            authorize(principal, &Effect::EndSession { session: admission.key.clone() })?;
            begin_anew(gateway, admission, ticket.clone(), rest)?;
        }
        Some(_) | None => gateway.admit_run(admission)?,
    }
    Ok(Reply::Later)
}

fn is_stop(message: &str) -> bool {
    let word = message.trim();
    STOP_WORDS.iter().any(|stop| stop.eq_ignore_ascii_case(word))
}

/// `/new` and `/reset`: running work ends, the session begins anew, then the run is admitted in it. A repeat
/// of the key must not empty the session again.
fn begin_anew(
    gateway: &mut Gateway,
    mut admission: Admission,
    ticket: Ticket,
    rest: String,
) -> Result<(), ErrorShape> {
    let answer_key = admission.family.answer_key(&admission.run);
    match gateway.answers.admit(&answer_key, &admission.digest, &ticket, false)? {
        answers::Admission::Joined(None) => return Ok(()),
        answers::Admission::Joined(Some(outcome)) | answers::Admission::Finished(outcome) => {
            gateway.reply(ticket, outcome);
            return Ok(());
        }
        answers::Admission::New => {}
    }
    if !rest.is_empty() {
        admission.ask.text = rest;
        admission.ask.reply = None;
    }
    let key = admission.key.clone();
    gateway.interrupt_session(&key.clone(), "reset", move |gateway| {
        gateway.begin_anew(&key, move |gateway, result| {
            // From here on the admission holds the key itself; who waited meanwhile waits for it.
            let waiting = gateway.answers.release(&answer_key);
            let digest = admission.digest.clone();
            let refused = match result.error {
                Some(error) => Err(error),
                None => gateway.admit_run(admission),
            };
            if let Err(error) = refused {
                for ticket in waiting.into_iter().chain([ticket]) {
                    gateway.reply(ticket, Outcome::error(error.clone()));
                }
                return;
            }
            for ticket in waiting {
                // The parameters are the same, so it joins.
                let _ = gateway.answers.admit(&answer_key, &digest, &ticket, false);
            }
        });
    });
    Ok(())
}
