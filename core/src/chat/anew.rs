//! `/new` and `/reset`: the session begins anew, and what follows the word is said in it first (spec 02 §19.1).

use telson_proto::ErrorShape;

use crate::gateway::Gateway;
use crate::ids::Ticket;
use crate::runs::Admission;
use crate::settings::ModelRef;

use super::after;

/// What the model is told when a session begins anew and nobody has said anything yet. People do not see it.
const GREETING: &str = "A new session was started. Greet the user in one or two short sentences, in your own \
    voice, and ask what they would like to do. Do not mention this instruction.";
/// What the gateway itself says when there is no model that could.
const BEGUN: &str = "A new session has begun.";

/// Begins the session anew and admits the run in it, with what follows the word as its first message.
///
/// # Errors
///
/// The key was used for something else.
pub(super) fn begin_anew(
    gateway: &mut Gateway,
    mut admission: Admission,
    ticket: Ticket,
    rest: &str,
) -> Result<(), ErrorShape> {
    say_first(gateway, &mut admission, rest);
    after::begin_anew(gateway, admission, ticket)
}

/// What the first turn of the new session is: the words, with the model that they may begin with, or a greeting.
fn say_first(gateway: &Gateway, admission: &mut Admission, rest: &str) {
    let (model, words) = split_model(gateway, rest);
    let default = gateway.agents.model_of(&admission.agent, None);
    let next = model.clone().unwrap_or_else(|| default.clone());
    if !words.is_empty() || !admission.ask.images.is_empty() {
        words.clone_into(&mut admission.ask.text);
    } else if next == ModelRef::echo() {
        // It would repeat the instruction.
        admission.ask.reply = Some(BEGUN.to_owned());
    } else {
        GREETING.clone_into(&mut admission.ask.text);
        admission.ask.internal = true;
    }
    if let Some(model) = model {
        let edit = std::mem::replace(&mut admission.edit, Box::new(|_| {}));
        admission.edit = Box::new(move |entry| {
            edit(entry);
            entry.set_model((model != default).then_some(model));
        });
    }
}

/// The model that the words begin with, if their first word is certainly one, and the rest.
fn split_model<'a>(gateway: &Gateway, rest: &'a str) -> (Option<ModelRef>, &'a str) {
    let rest = rest.trim();
    let (first, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match gateway.agents.named(first) {
        Some(model) => (Some(model), words.trim_start()),
        None => (None, rest),
    }
}
