//! `sessions.recover`: a session goes on whose last answer was cut short (spec 02 §20.7).

use serde::{Deserialize, Serialize};
use telson_proto::params::Text;
use telson_proto::{ErrorShape, Json};

use crate::chat::{self, SendWords};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{RunId, SessionId, SessionKey};
use crate::messages::Outcome;
use crate::runs::Asker;

/// What the model is asked.
const GO_ON: &str = "Your last answer was cut short. Go on where it ended.";

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecoverParams {
    key: Text<1, 512>,
    #[serde(default)]
    agent_id: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recovered {
    ok: bool,
    key: SessionKey,
    session_id: SessionId,
    continuation: Continuation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "status")]
enum Continuation {
    Started { run_id: RunId },
    Rejected { error: ErrorShape },
}

/// `sessions.recover`: begins a run that goes on with the answer, and answers when it is admitted.
pub(crate) fn recover(gateway: &mut Gateway, call: Call<RecoverParams>) -> Answer<()> {
    let Call { principal, ticket, params, digest } = call;
    let key = gateway.sessions.resolve_for(params.key.as_str(), params.agent_id.as_ref())?;
    chat::authorize_words(&principal, &key)?;
    let Some(session) = gateway.sessions.get(&key) else {
        return Err(ErrorShape::invalid(format!("session not found: {}", params.key)));
    };
    let (session_id, cut_short) = (session.id.clone(), session.entry.aborted_last_run == Some(true));
    let run = RunId::new(gateway.entropy.uuid());
    let begun = if gateway.sessions.active_runs(&key).next().is_some() {
        Err(ErrorShape::invalid("the session is at work; there is nothing to recover"))
    } else if cut_short {
        let words = SendWords {
            key: key.clone(),
            message: GO_ON.to_owned(),
            attachments: None,
            thinking: None,
            timeout_ms: None,
            run: run.clone(),
            interrupts: false,
            is_plain: true,
            queue: None,
        };
        chat::start(gateway, &principal, &ticket, Asker::Nobody, digest, words)
    } else {
        Err(ErrorShape::invalid("the last answer of the session was not cut short"))
    };
    let answer = move |gateway: &mut Gateway, begun: Result<(), ErrorShape>, run_id: RunId| {
        let continuation = match begun {
            Ok(()) => Continuation::Started { run_id },
            Err(error) => Continuation::Rejected { error },
        };
        let recovered = Recovered { ok: true, key, session_id, continuation };
        gateway.reply(ticket, Outcome::ok(Json::of(&recovered)));
    };
    match begun {
        Ok(()) => gateway.when_admitted(Vec::new(), run.clone(), move |gateway, admitted| {
            answer(gateway, admitted, run);
        }),
        Err(error) => answer(gateway, Err(error), run),
    }
    Ok(Reply::Later)
}
