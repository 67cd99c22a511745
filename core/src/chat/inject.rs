//! `chat.inject` (spec 02 §7.4): a message in the assistant's name, without a run.

use telson_proto::chat::{ChatEvent, ChatInjectParams, ChatInjected, ChatMessage};
use telson_proto::{ErrorShape, EventName, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::SessionKey;
use crate::messages::{Audience, Outcome, Publish};
use crate::sessions::{Reason, closed};
use crate::store::Op;

use super::session_named;

/// `chat.inject`: stores the message, then everyone hears it as a final of its own.
pub(crate) fn inject(gateway: &mut Gateway, call: Call<ChatInjectParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    closed("chat.inject", principal.protocol, &[("agentId", params.agent_id.is_some())])?;
    let principal = &*principal;
    let key =
        session_named(gateway, principal, &ticket, params.session_key.as_str(), params.agent_id.as_ref())?;
    authorize(principal, &Effect::InjectMessage { session: key.clone() })?;
    let label = params.label.as_ref().map(|label| label.as_str().trim()).filter(|label| !label.is_empty());
    let text = match label {
        Some(label) => format!("[{label}]\n\n{}", params.message),
        None => params.message.as_str().to_owned(),
    };
    let now = gateway.now;
    let message = Json::of(&ChatMessage::injected(&text, now.wall));
    let line = gateway.sessions.append(now, &mut gateway.entropy, &key, message, None);
    let line = line.ok_or_else(|| ErrorShape::invalid("session not found"))?;
    gateway.sessions.edit(now, &key, |entry| entry.note_message(now.wall, "assistant", &text));
    let message_id = line.id.clone();
    let session = key.clone();
    gateway.store_session(&key, vec![Op::AppendEntry(line.clone())], move |gateway, stored| {
        let outcome = match stored {
            Ok(()) => {
                publish(gateway, &session, &message_id, &text);
                gateway.announce_message(&session, &line);
                Outcome::ok(Json::of(&ChatInjected { ok: true, message_id }))
            }
            Err(error) => Outcome::error(
                ErrorShape::unavailable(format!("failed to write transcript: {error}")).retry_after(1_000),
            ),
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

fn publish(gateway: &mut Gateway, key: &SessionKey, id: &str, text: &str) {
    let run = format!("inject-{id}");
    let agent = gateway.sessions.rules().agent_of(key);
    let message = Some(ChatMessage::injected(text, gateway.now.wall));
    let v3 = ChatEvent { message, ..ChatEvent::new(key.as_str(), &run, 0, "final") };
    let v4 = ChatEvent { agent_id: Some(agent.as_str()), stop_reason: Some("injected"), ..v3.clone() };
    let (v3, v4) = (Some(Json::of(&v3)), Some(Json::of(&v4)));
    let to = Audience::Session(key.clone());
    gateway.publish(Publish { event: EventName::Chat, v3, v4, droppable: false, to, state: None });
    gateway.announce_session(key, Reason::Send, None);
}
