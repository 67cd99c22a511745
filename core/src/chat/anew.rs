//! `/new` and `/reset`: the session begins anew, and what follows the word is said in it first (spec 02 §19.1).

use crate::gateway::{Gateway, answers};
use crate::ids::Ticket;
use crate::messages::Outcome;
use crate::runs::{Admission, Family};
use crate::settings::ModelRef;
use telson_proto::ErrorShape;

/// What the model is told when a session begins anew and nobody has said anything yet. People do not see it.
const GREETING: &str = "A new session was started. Greet the user in one or two short sentences, in your own \
    voice, and ask what they would like to do. Do not mention this instruction.";
/// What the gateway itself says when there is no model that could.
const BEGUN: &str = "A new session has begun.";

/// Ends running work, begins the session anew and admits the run in it. A repeat of the key must not empty the
/// session again.
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
    let answer_key = admission.family.answer_key(&admission.run);
    let joins = admission.family == Family::Agent;
    match gateway.answers.admit(&answer_key, &admission.digest, &ticket, joins)? {
        answers::Admission::Joined(None) => return Ok(()),
        answers::Admission::Joined(Some(outcome)) | answers::Admission::Finished(outcome) => {
            gateway.reply(ticket, outcome);
            return Ok(());
        }
        answers::Admission::New => {}
    }
    say_first(gateway, &mut admission, rest);
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
                let _ = gateway.answers.admit(&answer_key, &digest, &ticket, joins);
            }
        });
    });
    Ok(())
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
