//! `sessions.patchMany`: one patch for many sessions, each by itself (spec 02 §20.7).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use telson_proto::params::Text;
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply, read_params};
use crate::ids::{SessionKey, Ticket};
use crate::messages::Outcome;

use super::methods;
use super::patch::PatchParams;

/// At most so many sessions in one call.
const MAX_TARGETS: usize = 100;

/// The parameters.
#[derive(Debug, Deserialize)]
pub(crate) struct PatchManyParams {
    targets: Vec<Target>,
    patch: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    key: Text,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    expected_session_id: Option<Text>,
    #[serde(default)]
    expected_lifecycle_revision: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatchOutcome {
    ok: bool,
    key: SessionKey,
    agent_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorShape>,
}

#[derive(Serialize)]
struct PatchManyResult {
    outcomes: Vec<PatchOutcome>,
}

/// What is done, and what is to be done.
struct Batch {
    ticket: Ticket,
    /// The last one first.
    left: Vec<(SessionKey, PatchParams)>,
    outcomes: Vec<PatchOutcome>,
}

/// `sessions.patchMany`: the outcomes come in the order of the targets.
pub(crate) fn patch_many(gateway: &mut Gateway, call: Call<PatchManyParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    let count = params.targets.len();
    if count == 0 || count > MAX_TARGETS {
        let reason = if count == 0 {
            "must NOT have fewer than 1 items".to_owned()
        } else {
            format!("must NOT have more than {MAX_TARGETS} items")
        };
        return Err(methods::invalid("sessions.patchMany", "targets", &reason));
    }
    let mut left = Vec::with_capacity(count);
    for target in &params.targets {
        let read = target.patch(&params.patch)?;
        read.check(principal.protocol)?;
        let key = gateway.sessions.resolve_for(target.key.as_str(), target.agent_id.as_ref())?;
        let light = read.is_light();
        authorize(&principal, &Effect::PatchSession { session: key.clone(), light })?;
        left.push((key, read));
    }
    left.reverse();
    gateway.patch_next(Batch { ticket, left, outcomes: Vec::with_capacity(count) });
    Ok(Reply::Later)
}

impl Target {
    /// The parameters of `sessions.patch` for this target.
    fn patch(&self, patch: &Map<String, Value>) -> Result<PatchParams, ErrorShape> {
        let mut members = patch.clone();
        let own = [
            ("key", Some(&self.key)),
            ("agentId", self.agent_id.as_ref()),
            ("expectedSessionId", self.expected_session_id.as_ref()),
            ("expectedLifecycleRevision", self.expected_lifecycle_revision.as_ref()),
        ];
        for (name, value) in own {
            match value {
                Some(text) => members.insert(name.to_owned(), text.as_str().into()),
                None => members.remove(name),
            };
        }
        let text = Value::Object(members).to_string();
        read_params("sessions.patchMany", &text, telson_proto::Protocol::V4)
    }
}

impl Gateway {
    /// Patches the next session, or answers.
    fn patch_next(&mut self, mut batch: Batch) {
        let Some((key, params)) = batch.left.pop() else {
            let result = PatchManyResult { outcomes: batch.outcomes };
            return self.reply(batch.ticket, Outcome::ok(Json::of(&result)));
        };
        let agent_id = self.sessions.rules().agent_of(&key).as_str().to_owned();
        self.patch_session(key.clone(), params, telson_proto::Protocol::V4, move |gateway, result| {
            let error = result.err();
            batch.outcomes.push(PatchOutcome { ok: error.is_none(), key, agent_id, error });
            gateway.patch_next(batch);
        });
    }
}
