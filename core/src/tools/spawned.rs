//! Runs that tools have started in other sessions: how a call hears of their end, and what is told when nobody
//! waits any more.

use serde_json::json;

use crate::auth::{Effect, permits_tool};
use crate::gateway::Gateway;
use crate::ids::{CallId, RunId, SessionKey};
use crate::runs::{Admission, Ask, Asker, Family, Owner, RunFailure, RunResult};

use super::calls::Work;
use super::{ToolContext, ToolOutcome, untrusted};

/// A run that a call has started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) run: RunId,
    /// The session that asked.
    pub(super) from: SessionKey,
    /// The session that it runs in.
    pub(super) session: SessionKey,
    /// Whether it is a sub-agent's.
    pub(super) child: bool,
}

impl Gateway {
    /// Starts a run in another session on behalf of a call, with the caller's authority and no more. `child` is
    /// the name of a sub-agent, or blank; `None` for a session that is there already.
    pub(super) fn start_inner_run(
        &mut self,
        call: CallId,
        context: &ToolContext,
        session: &SessionKey,
        ask: Ask,
        child: Option<String>,
    ) -> Result<RunId, ToolOutcome> {
        let effect = Effect::RunAgent { session: session.clone() };
        if !permits_tool(context.owner, &effect) {
            return Err(ToolOutcome::error(format!("session {session} may not be used")));
        }
        let run = RunId::new(self.entropy.uuid());
        let from = context.session.clone();
        let spawned = Spawned {
            run: run.clone(),
            from: from.clone(),
            session: session.clone(),
            child: child.is_some(),
        };
        self.tools.spawned.insert(call, spawned);
        let ask = Ask { lane: Some(if child.is_some() { "subagent" } else { "nested" }.to_owned()), ..ask };
        let admitted = self.admit_run(Admission {
            run: run.clone(),
            key: session.clone(),
            agent: self.sessions.rules().agent_of(session),
            family: Family::Inner,
            owner: Owner { admin: context.owner, untrusted: context.untrusted, ..Owner::inner() },
            asker: Asker::Tool(call),
            digest: String::new(),
            ask,
            edit: Box::new(move |entry| {
                if let Some(name) = child {
                    entry.spawned_by = Some(from.as_str().to_owned());
                    entry.display_name = Some(name).filter(|name| !name.is_empty());
                }
            }),
        });
        match admitted {
            Ok(()) => Ok(run),
            Err(error) => {
                self.tools.spawned.remove(&call);
                Err(ToolOutcome::error(error.message))
            }
        }
    }

    /// The run that a tool has started has ended, and its end is stored.
    pub(crate) fn tool_run_ended(&mut self, call: CallId, run: &RunId, result: RunResult) {
        let Some(spawned) = self.tools.spawned.remove(&call) else { return };
        let RunResult { failure, texts, .. } = result;
        if self.tools.calls.contains_key(&call) {
            let outcome = self.run_outcome(&spawned, run, failure, &texts);
            self.finish_call(call, outcome);
        } else if spawned.child && self.sessions.get(&spawned.from).is_some() {
            let how = if failure.is_some() { "with an error" } else { "with an answer" };
            let session = &spawned.session;
            let text = format!("Sub-agent session {session} has ended {how}; sessions_history shows it.");
            self.system.enqueue(spawned.from, &text);
        }
    }

    fn run_outcome(
        &mut self,
        spawned: &Spawned,
        run: &RunId,
        failure: Option<RunFailure>,
        texts: &[String],
    ) -> ToolOutcome {
        let key = if spawned.child { "childSessionKey" } else { "sessionKey" };
        let session = spawned.session.as_str();
        if let Some(failure) = failure {
            let mut outcome = ToolOutcome::json(
                json!({"status": "error", "runId": run, key: session, "error": failure.message}),
            );
            outcome.is_error = true;
            return outcome;
        }
        let reply = texts.last().map(String::as_str).unwrap_or_default().trim();
        if reply.is_empty() {
            return ToolOutcome::json(json!({"status": "ok", "runId": run, key: session, "reply": null}));
        }
        let id = self.entropy.entry_id();
        let shown = untrusted::wrap(&id, &format!("session {session}"), reply);
        let mut outcome =
            ToolOutcome::json(json!({"status": "ok", "runId": run, key: session, "reply": reply}));
        outcome.text = format!("status: ok\n{key}: {session}\n{shown}");
        outcome
    }

    /// Whether a session waits, directly or by others, for an answer of `key`.
    pub(super) fn waits_for(&self, waiting: &SessionKey, key: &SessionKey) -> bool {
        let calls = || {
            self.tools.calls.values().filter_map(|under| match &under.work {
                Work::Run { session, .. } => Some((&under.context.session, session)),
                _ => None,
            })
        };
        let mut seen = vec![waiting];
        let mut next = 0;
        while let Some(from) = seen.get(next).copied() {
            next += 1;
            for (_, target) in calls().filter(|(asker, _)| *asker == from) {
                if target == key {
                    return true;
                }
                if !seen.contains(&target) {
                    seen.push(target);
                }
            }
        }
        false
    }

    /// Whether the caller's run answers another session's message.
    pub(super) fn answers_another(&self, context: &ToolContext) -> bool {
        let super::Caller::Run { run, .. } = &context.caller else { return false };
        self.tools.spawned.values().any(|spawned| !spawned.child && spawned.run == *run)
    }

    /// How many sub-agents of a session run.
    pub(super) fn running_children(&self, parent: &SessionKey) -> usize {
        self.tools.spawned.values().filter(|spawned| spawned.child && spawned.from == *parent).count()
    }
}
