//! `chat.send` (spec 02 §7.1), and everything else by which words are sent into a session.

use std::time::Duration;

use telson_proto::ErrorShape;
use telson_proto::chat::{Attachment, ChatSendParams};
use telson_proto::params::Count;

use crate::auth::{Effect, Principal, authorize};
use crate::commands::{Caller, Done, Meaning, Reading, Turn};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, SessionKey, Ticket};
use crate::messages::Down;
use crate::runs::{Admission, Ask, Asker, Family, Purpose};
use crate::sessions::{closed, levels};
use crate::settings::QueueMode;

use super::{abort, after, anew, attachments, blocked, owner, session_named, timeout};

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
    /// The words are words, even if they look like a command.
    pub(crate) is_plain: bool,
    /// What they do while the session is busy; the session's rule when `None`.
    pub(crate) queue: Option<QueueMode>,
}

/// `chat.send`: stores the user's words, then acknowledges; the answer streams as events.
pub(crate) fn send(gateway: &mut Gateway, call: Call<ChatSendParams>) -> Answer<()> {
    let Call { principal, ticket, params, digest } = call;
    let later = [
        ("agentId", params.agent_id.is_some()),
        ("suppressCommandInterpretation", params.suppress_command_interpretation.is_some()),
    ];
    closed("chat.send", principal.protocol, &later)?;
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
        is_plain: params.suppress_command_interpretation == Some(true),
        queue: params.queue_mode.as_deref().map(queue_mode).transpose()?,
    };
    start(gateway, &principal, &ticket, Asker::Call(ticket.clone()), digest, words)?;
    Ok(Reply::Later)
}

fn queue_mode(word: &str) -> Result<QueueMode, ErrorShape> {
    QueueMode::parse(word).ok_or_else(|| {
        ErrorShape::invalid(
            "invalid chat.send params: at /queueMode: must be steer, followup, collect or interrupt",
        )
    })
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
    let (key, called) = (words.key.clone(), asker != Asker::Nobody);
    authorize_words(principal, &key)?;
    if called && !words.is_plain && images.is_empty() && is_stop(&words.message) {
        return abort::stop(gateway, principal, ticket.clone(), &key);
    }
    let reading = read(gateway, &words, called, images.is_empty());
    if gateway.is_blocked(&key) && !reading.passes_policy() {
        return Err(blocked());
    }
    gateway.tell(Down::TakePart { conn: ticket.conn, key: key.clone() });
    let is_repeat = gateway.answers.knows(&Family::Chat.answer_key(&words.run));
    if reading.begins_anew().is_none() {
        gateway.renew_if_stale(&key, "webchat", Family::Chat, &words.run);
    }
    let meaning = gateway.interpret(&Caller { principal, ticket, key: &key }, reading);
    let thinking = words.thinking.as_deref().filter(|_| !words.message.trim_start().starts_with('/'));
    let default = gateway.settings.agents.timeout;
    let ask = Ask {
        images,
        thinking: thinking.and_then(levels::thinking).map(str::to_owned),
        queue: words.queue,
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
    let steered_by = (words.interrupts && called).then(|| ticket.clone());
    match meaning {
        Meaning::Anew { rest } => anew::begin_anew(gateway, admission, ticket.clone(), &rest),
        Meaning::Compact { instructions } => compact(gateway, admission, instructions),
        Meaning::Answer(done) => answer(gateway, admission, done, is_repeat),
        Meaning::Words(turn) => say(gateway, admission, turn, steered_by),
    }
}

/// Reads the words. A picture makes a message of what would be a command, and so does an asker who could not be
/// answered when the session begins anew.
fn read(gateway: &Gateway, words: &SendWords, called: bool, is_bare: bool) -> Reading {
    if words.is_plain {
        return Reading::plain(&words.message);
    }
    match gateway.read_message(&words.message) {
        Reading::Command(..) if !is_bare => Reading::plain(&words.message),
        reading if !called && reading.begins_anew().is_some() => Reading::plain(&words.message),
        reading => reading,
    }
}

/// Words for the model. `steered_by` says that they go in place of what is under way.
fn say(
    gateway: &mut Gateway,
    mut admission: Admission,
    turn: Turn,
    steered_by: Option<Ticket>,
) -> Result<(), ErrorShape> {
    let Turn { text, thinking, model, levels, queue } = turn;
    let ask = &mut admission.ask;
    (ask.text, ask.model, ask.levels, ask.queue) = (text, model, levels, queue.or(ask.queue));
    ask.thinking = thinking.or(ask.thinking.take());
    match steered_by {
        Some(ticket) => after::steer(gateway, admission, ticket),
        None => gateway.admit_run(admission),
    }
}

/// The model sums up the conversation. It is not collected with words that wait.
fn compact(gateway: &mut Gateway, mut admission: Admission, instructions: String) -> Result<(), ErrorShape> {
    let ask = &mut admission.ask;
    (ask.system, ask.purpose, ask.thinking) = (Some(instructions), Purpose::Compact, None);
    ask.queue = Some(QueueMode::Followup);
    gateway.admit_run(admission)
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
