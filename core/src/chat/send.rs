//! `chat.send` (spec 02 §7.1).

use std::time::Duration;

use telson_proto::ErrorShape;
use telson_proto::chat::{Attachment, ChatSendParams};
use telson_proto::params::Count;

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::answers;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, SessionKey, Ticket};
use crate::messages::{Down, Outcome};
use crate::runs::{Admission, Ask, Asker, Family};
use crate::sessions::{Reason, closed, levels};

use super::commands::{self, Command};
use super::{abort, attachments, blocked, is_blocked, owner, session_named, timeout};

/// Messages that stop what is going on instead of being sent (spec 02 §11.2).
const STOP_WORDS: [&str; 7] = ["/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"];

/// What is sent into a session, whichever method carries it.
pub(crate) struct SendWords {
    pub(crate) key: SessionKey,
    pub(crate) message: String,
    pub(crate) attachments: Option<Vec<Attachment>>,
    /// The thinking level of this turn.
    pub(crate) thinking: Option<String>,
    /// How long the run may take, in milliseconds; 0 is the default.
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) run: RunId,
    /// Whatever is under way in the session ends first.
    pub(crate) interrupts: bool,
}

/// `chat.send`: stores the user's words, then acknowledges; the answer streams as events.
pub(crate) fn send(gateway: &mut Gateway, call: Call<ChatSendParams>) -> Answer<()> {
    let Call { principal, ticket, params, digest } = call;
    closed("chat.send", principal.protocol, &[("agentId", params.agent_id.is_some())])?;
    let (spelling, agent) = (params.session_key.as_str(), params.agent_id.as_ref());
    let key = session_named(gateway, &principal, &ticket, spelling, agent)?;
    let words = SendWords {
        key,
        message: params.message,
        attachments: params.attachments,
        thinking: params.thinking,
        timeout_ms: params.timeout_ms.map(Count::get),
        run: RunId::new(params.idempotency_key.as_str()),
        interrupts: false,
    };
    start(gateway, &principal, &ticket, Asker::Call(ticket.clone()), digest, words)?;
    Ok(Reply::Later)
}

/// Whether the caller may send words into a session.
pub(crate) fn authorize_words(principal: &Principal, key: &SessionKey) -> Result<(), ErrorShape> {
    authorize(principal, &Effect::RunAgent { session: key.clone() })
}

/// Checks words and admits the run that answers them. An asker that is a call is answered now or later in any
/// case but an error; for nobody, words that stop or reset a session are words.
///
/// # Errors
///
/// What is wrong with the words or the session; or as [`Gateway::admit_run`].
pub(crate) fn start(
    gateway: &mut Gateway,
    principal: &Principal,
    ticket: &Ticket,
    asker: Asker,
    digest: String,
    words: SendWords,
) -> Result<(), ErrorShape> {
    let images = attachments::images(words.attachments.as_deref())?;
    if words.message.trim().is_empty() && images.is_empty() {
        return Err(ErrorShape::invalid("message or attachment required"));
    }
    let (key, called) = (words.key, asker != Asker::Nobody);
    authorize_words(principal, &key)?;
    if called && images.is_empty() && is_stop(&words.message) {
        return abort::stop(gateway, principal, ticket.clone(), &key);
    }
    if is_blocked(gateway, &key) {
        return Err(blocked());
    }
    gateway.tell(Down::TakePart { conn: ticket.conn, key: key.clone() });
    let command = commands::parse(&words.message).filter(|_| images.is_empty());
    let thinking = words.thinking.as_deref().filter(|_| !words.message.trim_start().starts_with('/'));
    let default = gateway.settings.agents.timeout;
    let ask = Ask {
        images,
        thinking: thinking.and_then(levels::thinking).map(str::to_owned),
        reply: command.as_ref().map(|command| gateway.command_reply(command, &key)),
        ..Ask::words(words.message, timeout(words.timeout_ms, Duration::from_millis(1), default))
    };
    let admission = Admission {
        run: words.run,
        agent: gateway.sessions.rules().agent_of(&key),
        family: Family::Chat,
        owner: owner(principal, ticket),
        asker,
        digest,
        ask,
        edit: Box::new(|entry| entry.last_channel = Some("webchat".to_owned())),
        key,
    };
    match command {
        Some(Command::Anew { rest }) if called => {
            authorize(principal, &Effect::EndSession { session: admission.key.clone() })?;
            begin_anew(gateway, admission, ticket.clone(), rest)
        }
        _ if words.interrupts && called => steer(gateway, admission, ticket.clone()),
        _ => gateway.admit_run(admission),
    }
}

fn is_stop(message: &str) -> bool {
    let word = message.trim();
    STOP_WORDS.iter().any(|stop| stop.eq_ignore_ascii_case(word))
}

/// `/new` and `/reset`: running work ends, the session begins anew, then the run is admitted in it.
fn begin_anew(
    gateway: &mut Gateway,
    mut admission: Admission,
    ticket: Ticket,
    rest: String,
) -> Result<(), ErrorShape> {
    if !rest.is_empty() {
        admission.ask.text = rest;
        admission.ask.reply = None;
    }
    admit_after(gateway, admission, ticket, "reset", |gateway, key, then| {
        gateway.begin_anew(key, Reason::Reset, move |gateway, result| {
            then(gateway, result.error.map_or(Ok(()), Err));
        });
    })
}

/// Running work ends, then the run is admitted in its place.
fn steer(gateway: &mut Gateway, admission: Admission, ticket: Ticket) -> Result<(), ErrorShape> {
    let run = admission.run.clone();
    admit_after(gateway, admission, ticket, "steer", move |gateway, key, then| {
        if gateway.sessions.get(key).is_some() {
            gateway.announce_session(key, Reason::Steer, Some(&run));
        }
        then(gateway, Ok(()));
    })
}

/// What goes on when a session is ready for the run, or why it is not.
type Ready = Box<dyn FnOnce(&mut Gateway, Result<(), ErrorShape>) + Send>;

/// Ends running work, lets `prepare` happen, and admits the run. A repeat of the key must not do it again.
fn admit_after(
    gateway: &mut Gateway,
    admission: Admission,
    ticket: Ticket,
    reason: &'static str,
    prepare: impl FnOnce(&mut Gateway, &SessionKey, Ready) + Send + 'static,
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
    let key = admission.key.clone();
    let ready: Ready = Box::new(move |gateway, ready| {
        // From here on the admission holds the key itself; who waited meanwhile waits for it.
        let waiting = gateway.answers.release(&answer_key);
        let digest = admission.digest.clone();
        if let Err(error) = ready.and_then(|()| gateway.admit_run(admission)) {
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
    gateway.interrupt_session(&key.clone(), reason, move |gateway| prepare(gateway, &key, ready));
    Ok(())
}
