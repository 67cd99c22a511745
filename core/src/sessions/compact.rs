//! `sessions.compact`: the older lines of a transcript are put away (spec 02 §14.7) [C-38], or, on protocol 4
//! without `maxLines`, a model sums them up.
//!
//! The cut lines are moved into an archived transcript of their own, and the first that is kept becomes the
//! root. Positions stay as they are: they never repeat.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, authorize};
use crate::chat;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionId, SessionKey, Ticket};
use crate::messages::Outcome;
use crate::runs::{Asker, Owner};
use crate::store::{Loaded, Op, Query};

use super::announce::Reason;
use super::{Session, methods, title};

/// So many lines are kept when protocol 3 does not say.
const DEFAULT_LINES: u64 = 400;
/// The member of an entry that holds the position of the transcript's first line, when that is not 1.
const FIRST: &str = "firstSeq";

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CompactParams {
    key: Text,
    #[serde(default)]
    max_lines: Option<Count<1>>,
    #[serde(default)]
    agent_id: Option<Text>,
}

#[derive(Debug, Serialize)]
struct CompactResult {
    ok: bool,
    key: SessionKey,
    compacted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
}

impl CompactResult {
    fn unchanged(key: SessionKey) -> Self {
        Self { ok: true, key, compacted: false, reason: None, archived: None, kept: None }
    }
}

/// A cut that is to be made.
struct Cut {
    key: SessionKey,
    session: SessionId,
    /// The position of the first line that is kept.
    from: u64,
    kept: u64,
}

/// `sessions.compact`: keeps the last lines of a transcript.
pub(crate) fn compact(gateway: &mut Gateway, call: Call<CompactParams>) -> Answer<Json> {
    let params = &call.params;
    methods::closed("sessions.compact", call.protocol(), &[("agentId", params.agent_id.is_some())])?;
    let key = methods::named(
        gateway,
        &call.principal,
        &call.ticket,
        params.key.as_str(),
        params.agent_id.as_ref(),
    )?;
    authorize(&call.principal, &Effect::EndSession { session: key.clone() })?;
    let ready = |result: CompactResult| Ok(Reply::Ready(Json::of(&result)));
    let Some(session) = gateway.sessions.get(&key) else {
        return ready(CompactResult { reason: Some("no sessionId"), ..CompactResult::unchanged(key) });
    };
    let count = session.lines();
    if count == 0 {
        return ready(CompactResult { reason: Some("no transcript"), ..CompactResult::unchanged(key) });
    }
    let most = match (params.max_lines, call.protocol()) {
        (Some(lines), _) => lines.get(),
        (None, Protocol::V3) => DEFAULT_LINES,
        (None, Protocol::V4) => {
            let owner = chat::owner(&call.principal, &call.ticket);
            gateway.sum_up(call.ticket, key, owner)?;
            return Ok(Reply::Later);
        }
    };
    if count <= most {
        return ready(CompactResult { kept: Some(count), ..CompactResult::unchanged(key) });
    }
    let from = session.last_seq + 1 - most;
    let cut = Cut { session: session.id.clone(), from, kept: most, key };
    if gateway.sessions.is_branched(&cut.key) {
        gateway.check_cut(call.ticket, cut);
    } else {
        gateway.cut(call.ticket, cut);
    }
    Ok(Reply::Later)
}

const LEAF_IS_CUT: &str = "the active branch lies in the part that would be cut; use a larger maxLines, or \
    switch branches first";

impl Session {
    /// How many lines the transcript has.
    fn lines(&self) -> u64 {
        let first = self.entry.extra.get(FIRST).and_then(Value::as_u64).unwrap_or(1);
        (self.last_seq + 1).saturating_sub(first)
    }
}

impl Gateway {
    /// The active branch must end in a line that is kept.
    fn check_cut(&mut self, ticket: Ticket, cut: Cut) {
        let limit = usize::try_from(cut.kept).unwrap_or(usize::MAX);
        let query = Query::Tail { session: cut.session.clone(), limit, max_bytes: usize::MAX };
        self.load(query, move |gateway, loaded| {
            let kept = match loaded {
                Ok(Loaded::Entries(lines)) => gateway.sessions.on_branch(&cut.key, lines),
                Ok(_) => Vec::new(),
                Err(error) => return gateway.reply(ticket, Outcome::error(error.into())),
            };
            if kept.is_empty() {
                return gateway.reply(ticket, Outcome::error(ErrorShape::invalid(LEAF_IS_CUT)));
            }
            gateway.cut(ticket, cut);
        });
    }

    /// The model sums up the conversation (spec 02 §19.4): a run of its own, whose end is the answer.
    fn sum_up(&mut self, ticket: Ticket, key: SessionKey, owner: Owner) -> Result<(), ErrorShape> {
        let before = self.compactions(&key);
        let run = self.compact_session(&key, None, owner, Asker::Nobody)?;
        let operation = run.as_str().to_owned();
        self.announce_compaction(&key, &operation, None, None);
        self.when_gone([run.clone()], move |gateway| {
            let compacted = gateway.compactions(&key) > before;
            let ended = gateway.runs.ended(gateway.now.mono, &run);
            let ended = ended.map(|ended| ended.answer(&run, Protocol::V4).to_value()).unwrap_or_default();
            let failure = ended["error"].as_str();
            gateway.announce_compaction(&key, &operation, Some(compacted), failure);
            let outcome = match failure.filter(|_| !compacted) {
                Some(text) => Outcome::error(ErrorShape::unavailable(text)),
                None => {
                    let reason = (!compacted).then_some("nothing to compact");
                    let result = CompactResult { compacted, reason, ..CompactResult::unchanged(key.clone()) };
                    Outcome::ok(Json::of(&result))
                }
            };
            if compacted {
                gateway.announce_session(&key, Reason::Compact, Some(&run));
            }
            gateway.reply(ticket, outcome);
        });
        Ok(())
    }

    /// How often the session was summed up.
    fn compactions(&self, key: &SessionKey) -> u64 {
        let entry = self.sessions.entry(key);
        entry.and_then(|entry| entry.extra.get("compactionCount")?.as_u64()).unwrap_or(0)
    }

    fn cut(&mut self, ticket: Ticket, cut: Cut) {
        let Cut { key, session, from, kept } = cut;
        let now = self.now;
        if self.sessions.get(&key).is_none_or(|current| current.id != session) {
            return self.reply(ticket, Outcome::error(methods::session_changed(&key)));
        }
        let operation = self.entropy.uuid();
        self.announce_compaction(&key, &operation, None, None);
        let stamp = title::iso(now.wall).replace(':', "-");
        let archive = SessionId::new(format!("{session}.bak.{stamp}"));
        let archived = format!("{}#{archive}", Self::store_path());
        self.sessions.edit(now, &key, |entry| {
            entry.input_tokens = None;
            entry.output_tokens = None;
            entry.total_tokens = None;
            entry.set(FIRST, Some(from.into()));
        });
        let op = Op::CutTranscript { session, from, archive, at: now.wall };
        let name = key.clone();
        self.store_session(&name, vec![op], move |gateway, stored| {
            let error = stored.as_ref().err().map(ToString::to_string);
            gateway.announce_compaction(&key, &operation, Some(error.is_none()), error.as_deref());
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_session(&key, Reason::Compact, None);
                    Outcome::ok(Json::of(&CompactResult {
                        ok: true,
                        key,
                        compacted: true,
                        reason: None,
                        archived: Some(archived),
                        kept: Some(kept),
                    }))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
    }
}
