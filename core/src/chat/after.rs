//! Runs that are admitted once their session is ready for them: emptied, or cleared of whatever is under way.

use telson_proto::ErrorShape;

use crate::gateway::{Gateway, answers};
use crate::ids::{SessionKey, Ticket};
use crate::messages::Outcome;
use crate::runs::{Admission, Family};
use crate::sessions::Reason;

/// What goes on when a session is ready for the run, or why it is not.
type Ready = Box<dyn FnOnce(&mut Gateway, Result<(), ErrorShape>) + Send>;

/// Running work ends, the session begins anew, then the run is admitted in it.
///
/// # Errors
///
/// The key was used for something else.
pub(super) fn begin_anew(
    gateway: &mut Gateway,
    admission: Admission,
    ticket: Ticket,
) -> Result<(), ErrorShape> {
    admit_after(gateway, admission, ticket, "reset", |gateway, key, then| {
        gateway.begin_anew(key, Reason::Reset, move |gateway, result| {
            then(gateway, result.error.map_or(Ok(()), Err));
        });
    })
}

/// Running work ends, then the run is admitted in its place.
///
/// # Errors
///
/// The key was used for something else.
pub(super) fn steer(gateway: &mut Gateway, admission: Admission, ticket: Ticket) -> Result<(), ErrorShape> {
    let run = admission.run.clone();
    admit_after(gateway, admission, ticket, "steer", move |gateway, key, then| {
        if gateway.sessions.get(key).is_some() {
            gateway.announce_session(key, Reason::Steer, Some(&run));
        }
        then(gateway, Ok(()));
    })
}

/// Ends running work, lets `prepare` happen, and admits the run. A repeat of the key must not do it again.
fn admit_after(
    gateway: &mut Gateway,
    admission: Admission,
    ticket: Ticket,
    reason: &'static str,
    prepare: impl FnOnce(&mut Gateway, &SessionKey, Ready) + Send + 'static,
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
            let _ = gateway.answers.admit(&answer_key, &digest, &ticket, joins);
        }
    });
    gateway.interrupt_session(&key.clone(), reason, move |gateway| prepare(gateway, &key, ready));
    Ok(())
}
