//! `sessions.cleanup`: what the store of sessions holds, and what of it is of no use (spec 02 §20.7).

use serde::{Deserialize, Serialize};
use telson_proto::Json;
use telson_proto::params::Text;

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{AgentId, SessionKey, Ticket};
use crate::messages::Outcome;

use super::{Session, keys};

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CleanupParams {
    #[serde(default)]
    agent: Option<Text>,
    #[serde(default)]
    all_agents: Option<bool>,
    /// Removes what the report finds; without it nothing changes.
    #[serde(default)]
    enforce: Option<bool>,
    /// A session that stays whatever happens.
    #[serde(default)]
    active_key: Option<Text>,
    /// Sessions without a transcript are of no use.
    #[serde(default)]
    fix_missing: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    agent_id: AgentId,
    store_path: String,
    mode: &'static str,
    dry_run: bool,
    before_count: usize,
    after_count: usize,
    /// Sessions without a transcript.
    missing: usize,
    would_mutate: bool,
    applied: bool,
}

/// What is left to do, and the answer.
struct Sweep {
    ticket: Ticket,
    left: Vec<SessionKey>,
    removed: usize,
    answer: Json,
}

/// `sessions.cleanup`: a report for one agent or for all; with `enforce` and `fixMissing` sessions in which
/// nothing was ever said are removed. Main sessions, pinned ones and those with work in them stay.
pub(crate) fn cleanup(gateway: &mut Gateway, call: Call<CleanupParams>) -> Answer<()> {
    let params = &call.params;
    let main = gateway.sessions.main_key();
    authorize(&call.principal, &Effect::EndSession { session: main })?;
    let enforce = params.enforce == Some(true) && params.fix_missing == Some(true);
    let kept = params.active_key.as_ref().map(|key| gateway.sessions.resolve(key.as_str())).transpose()?;
    let agents = gateway.agents_to_clean(params);
    let mut reports = Vec::new();
    let mut left = Vec::new();
    for agent in agents {
        let empty = gateway.empty_sessions(&agent, kept.as_ref());
        let before = gateway.sessions.count(Some(&agent));
        let removable = if params.fix_missing == Some(true) { empty.len() } else { 0 };
        reports.push(Report {
            store_path: Gateway::store_path(),
            mode: if enforce { "enforce" } else { "warn" },
            dry_run: !enforce,
            before_count: before,
            after_count: before - removable,
            missing: empty.len(),
            would_mutate: removable > 0,
            applied: enforce && removable > 0,
            agent_id: agent,
        });
        if enforce {
            left.extend(empty);
        }
    }
    let mut answer = match <[Report; 1]>::try_from(reports) {
        Ok([one]) => serde_json::to_value(one).unwrap_or_default(),
        Err(many) => serde_json::json!({"allAgents": true, "stores": many}),
    };
    answer["ok"] = true.into();
    gateway.sweep_sessions(Sweep { ticket: call.ticket, left, removed: 0, answer: Json::of(&answer) });
    Ok(Reply::Later)
}

impl Gateway {
    fn agents_to_clean(&self, params: &CleanupParams) -> Vec<AgentId> {
        let settings = &self.settings.agents;
        match &params.agent {
            Some(agent) => vec![keys::normalise_agent(agent.as_str())],
            None if params.all_agents == Some(true) => {
                settings.list.iter().map(|profile| profile.id.clone()).collect()
            }
            None => vec![settings.default.clone()],
        }
    }

    /// The sessions of an agent in which nothing was ever said and which nobody has kept on purpose.
    fn empty_sessions(&self, agent: &AgentId, kept: Option<&SessionKey>) -> Vec<SessionKey> {
        let idle = |key: &SessionKey| self.sessions.active_runs(key).next().is_none();
        let useless = |key: &SessionKey, session: &Session| {
            session.last_seq == 0
                && session.entry.pinned != Some(true)
                && !self.sessions.rules().is_main(key)
                && Some(key) != kept
                && idle(key)
        };
        let all = self.sessions.in_order(Some(agent), false);
        all.filter(|(key, session)| useless(key, session)).map(|(key, _)| key.clone()).collect()
    }

    /// Removes the next session, or answers.
    fn sweep_sessions(&mut self, mut sweep: Sweep) {
        let Some(key) = sweep.left.pop() else {
            if sweep.removed > 0 {
                self.announce_list("cleanup");
            }
            return self.reply(sweep.ticket, Outcome::ok(sweep.answer));
        };
        // Something may have been said meanwhile.
        if self.sessions.get(&key).is_none_or(|session| session.last_seq > 0) {
            return self.sweep_sessions(sweep);
        }
        self.sessions.remove(&key);
        self.store_session(&key, Vec::new(), move |gateway, stored| match stored {
            Ok(()) => {
                sweep.removed += 1;
                gateway.sweep_sessions(sweep);
            }
            Err(error) => gateway.reply(sweep.ticket, Outcome::error(error.into())),
        });
    }
}
