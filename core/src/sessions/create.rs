//! `sessions.create`: a new session, or an existing one under its key, and maybe its first run (spec 02 §20.7).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telson_proto::chat::Attachment;
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::auth::{Effect, Principal, authorize};
use crate::chat::{self, SendWords};
use crate::gateway::answers::Admission;
use crate::gateway::{Answer, Call, Gateway, Reply, read_params};
use crate::ids::{AgentId, RunId, SessionKey, Ticket};
use crate::messages::Outcome;
use crate::runs::Asker;
use crate::store::{Op, TranscriptEntry};

use super::announce::Reason;
use super::fork::Origin;
use super::patch::PatchParams;
use super::{Session, keys, methods};

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateParams {
    #[serde(default)]
    key: Option<Text<1, 512>>,
    #[serde(default)]
    idempotency_key: Option<Text<1, 512>>,
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    label: Option<Text<1, 512>>,
    #[serde(default)]
    display_name: Option<Text<1, 500>>,
    #[serde(default)]
    category: Option<Text<1, 512>>,
    #[serde(default)]
    model: Option<Text>,
    #[serde(default)]
    context_window: Option<Text>,
    #[serde(default)]
    thinking_level: Option<Text>,
    #[serde(default)]
    fast_mode: Option<Value>,
    #[serde(default)]
    permission_mode: Option<Value>,
    #[serde(default)]
    tool_overrides: Option<Value>,
    #[serde(default)]
    visibility: Option<Text>,
    #[serde(default)]
    parent_session_key: Option<Text<1, 512>>,
    #[serde(default)]
    spawn_depth: Option<Count<1>>,
    #[serde(default)]
    fork: Option<bool>,
    #[serde(default)]
    fork_from: Option<ForkFrom>,
    /// With the key of a main session: that session begins anew.
    #[serde(default)]
    emit_command_hooks: Option<bool>,
    #[serde(default)]
    task: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    attachments: Option<Vec<Attachment>>,
    // What this gateway does not have.
    #[serde(default)]
    incognito: Option<bool>,
    #[serde(default)]
    exec_node: Option<Text>,
    #[serde(default)]
    worktree: Option<bool>,
    #[serde(default)]
    worktree_base_ref: Option<Text>,
    #[serde(default)]
    worktree_name: Option<Text>,
    #[serde(default)]
    project_id: Option<Text>,
    #[serde(default)]
    project_git_url: Option<Text>,
    #[serde(default)]
    catalog_id: Option<Text>,
    #[serde(default)]
    cwd: Option<Text>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ForkFrom {
    LastCompleted,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    ok: bool,
    key: SessionKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_started: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_error: Option<ErrorShape>,
}

/// A session that is being made.
struct Making {
    principal: Arc<Principal>,
    ticket: Ticket,
    digest: String,
    key: SessionKey,
    /// The key of the answer, when the request may be repeated.
    answer: Option<String>,
    params: CreateParams,
    settings: PatchParams,
}

/// `sessions.create`: makes or adopts a session, and answers when it is stored and its first run, if one is
/// asked for, is admitted or refused.
pub(crate) fn create(gateway: &mut Gateway, call: Call<CreateParams>) -> Answer<()> {
    let Call { principal, ticket, params, digest } = call;
    let key = params.session(gateway)?;
    let heavy = params.tool_overrides.is_some()
        || params.permission_mode.as_ref().is_some_and(|mode| *mode == "full")
        || params.incognito == Some(true)
        || params.exec_node.is_some();
    authorize(&principal, &Effect::CreateSession { session: key.clone(), heavy })?;
    params.check()?;
    let settings = params.settings(&key)?;
    settings.check(Protocol::V4)?;
    let answer = params.idempotency_key.as_ref().map(|own| format!("create:{own}"));
    if let Some(answer) = &answer {
        match gateway.answers.admit(answer, &digest, &ticket, false)? {
            Admission::New => {}
            Admission::Joined(None) => return Ok(Reply::Later),
            Admission::Joined(Some(outcome)) | Admission::Finished(outcome) => {
                gateway.reply(ticket, outcome);
                return Ok(Reply::Later);
            }
        }
    }
    let making = Making { principal, ticket, digest, key, answer, params, settings };
    if let Err(error) = gateway.patched(&making.key, &making.settings, Protocol::V4) {
        gateway.not_made(making, error);
    } else if making.resets(gateway) {
        gateway.reset_in_place(making);
    } else if making.params.fork == Some(true) {
        gateway.fork_parent(making);
    } else {
        gateway.make(making, None);
    }
    Ok(Reply::Later)
}

impl CreateParams {
    /// The session that is meant, or the key of a new one.
    fn session(&self, gateway: &mut Gateway) -> Result<SessionKey, ErrorShape> {
        let agent = self.agent_id.as_ref().map(|agent| keys::normalise_agent(agent.as_str()));
        if let Some(agent) = &agent {
            check_agent(gateway, agent)?;
        }
        if let Some(key) = &self.key {
            return gateway.sessions.resolve_for(key.as_str(), self.agent_id.as_ref());
        }
        let parent = self.parent_session_key.as_ref();
        let parent = parent.map(|key| gateway.sessions.resolve(key.as_str())).transpose()?;
        let agent = agent
            .or_else(|| parent.map(|parent| gateway.sessions.rules().agent_of(&parent)))
            .unwrap_or_else(|| gateway.settings.agents.default.clone());
        Ok(gateway.new_key(&agent))
    }

    /// Refuses what this gateway does not have, and what does not go together.
    fn check(&self) -> Result<(), ErrorShape> {
        let foreign = [
            ("catalogId", self.catalog_id.is_some()),
            ("cwd", self.cwd.is_some()),
            ("execNode", self.exec_node.is_some()),
            ("incognito", self.incognito == Some(true)),
            ("projectGitUrl", self.project_git_url.is_some()),
            ("projectId", self.project_id.is_some()),
            ("visibility", self.visibility.as_ref().is_some_and(|word| word.as_str() != "shared")),
            ("worktree", self.worktree == Some(true)),
            ("worktreeBaseRef", self.worktree_base_ref.is_some()),
            ("worktreeName", self.worktree_name.is_some()),
        ];
        if let Some((name, _)) = foreign.iter().find(|(_, present)| *present) {
            return Err(ErrorShape::invalid(format!(
                "{name} is not supported by this gateway; leave it out"
            )));
        }
        let needs = |name: &str, other: &str| Err(ErrorShape::invalid(format!("{name} requires {other}")));
        if self.fork == Some(true) && self.parent_session_key.is_none() {
            return needs("fork", "parentSessionKey");
        }
        if self.fork_from.is_some() && self.fork != Some(true) {
            return needs("forkFrom", "fork");
        }
        if self.spawn_depth.is_some() && self.parent_session_key.is_none() {
            return needs("spawnDepth", "parentSessionKey");
        }
        Ok(())
    }

    /// What is chosen for the session, as `sessions.patch` takes it.
    fn settings(&self, key: &SessionKey) -> Result<PatchParams, ErrorShape> {
        let text = |text: Option<&str>| text.map(Value::from);
        let members = [
            ("label", text(self.label.as_ref().map(Text::as_str))),
            ("category", text(self.category.as_ref().map(Text::as_str))),
            ("model", text(self.model.as_ref().map(Text::as_str))),
            ("contextWindow", text(self.context_window.as_ref().map(Text::as_str))),
            ("thinkingLevel", text(self.thinking_level.as_ref().map(Text::as_str))),
            ("fastMode", self.fast_mode.clone()),
            ("permissionMode", self.permission_mode.clone()),
            ("toolOverrides", self.tool_overrides.clone()),
        ];
        let mut patch = json!({"key": key});
        for (name, value) in members {
            if let Some(value) = value {
                patch[name] = value;
            }
        }
        read_params("sessions.create", &patch.to_string(), Protocol::V4)
    }

    /// What the first run is asked.
    fn words(&self) -> Option<String> {
        let filled = |text: &&String| !text.trim().is_empty();
        let words = self.message.as_ref().filter(filled).or(self.task.as_ref().filter(filled)).cloned();
        words.or_else(|| self.attachments.as_ref().filter(|files| !files.is_empty()).map(|_| String::new()))
    }
}

impl Making {
    /// Whether the session is a main one that is to begin anew.
    fn resets(&self, gateway: &Gateway) -> bool {
        self.params.emit_command_hooks == Some(true)
            && gateway.sessions.rules().is_main(&self.key)
            && gateway.sessions.get(&self.key).is_some()
    }
}

fn check_agent(gateway: &Gateway, agent: &AgentId) -> Result<(), ErrorShape> {
    let known = gateway.settings.agents.list.iter().any(|profile| profile.id == *agent);
    if known {
        return Ok(());
    }
    Err(ErrorShape::invalid(format!("unknown agent id \"{agent}\"; agents.list names them")))
}

impl Gateway {
    /// The key of a session that a client begins.
    pub(super) fn new_key(&mut self, agent: &AgentId) -> SessionKey {
        SessionKey::new(format!("agent:{agent}:dashboard:{}", self.entropy.uuid()))
    }

    /// The main session begins anew, under its own key.
    fn reset_in_place(&mut self, making: Making) {
        if let Err(error) = authorize(&making.principal, &Effect::EndSession { session: making.key.clone() })
        {
            return self.not_made(making, error);
        }
        self.once_idle(
            making.key.clone(),
            "reset",
            methods::INTERRUPTIONS,
            move |gateway, idle| match idle {
                Ok(key) => {
                    gateway.begin_anew(&key, Reason::New, move |gateway, outcome| match outcome.error {
                        Some(error) => gateway.not_made(making, error),
                        None => gateway.make(making, None),
                    });
                }
                Err(error) => gateway.not_made(making, error),
            },
        );
    }

    /// The session begins with what was said in its parent.
    fn fork_parent(&mut self, making: Making) {
        let spelling = making.params.parent_session_key.as_ref().map(Text::as_str).unwrap_or_default();
        let parent = match self.sessions.resolve(spelling) {
            Ok(parent) if self.sessions.get(&making.key).is_some() => {
                let text =
                    format!("session {} is there already; fork {parent} under another key", making.key);
                return self.not_made(making, ErrorShape::invalid(text));
            }
            Ok(parent) => parent,
            Err(error) => return self.not_made(making, error),
        };
        self.load_transcript(&parent.clone(), move |gateway, lines| {
            let lines = lines.map(|lines| gateway.sessions.on_branch(&parent, lines));
            let lines = match (lines, making.params.fork_from) {
                (Ok(lines), None) => lines,
                (Ok(mut lines), Some(ForkFrom::LastCompleted)) => {
                    let last = lines.iter().rposition(is_completed);
                    lines.truncate(last.map_or(0, |last| last + 1));
                    lines
                }
                (Err(error), _) => return gateway.not_made(making, error),
            };
            let origin = gateway.origin(&parent, lines.last().map(|line| line.id.clone()));
            gateway.make(making, origin.map(|origin| (origin, lines)));
        });
    }

    /// Stores the session, then begins its first run.
    fn make(&mut self, making: Making, fork: Option<(Origin, Vec<TranscriptEntry>)>) {
        let now = self.now;
        let key = making.key.clone();
        let entry = match self.patched(&key, &making.settings, Protocol::V4) {
            Ok(entry) => entry,
            Err(error) => return self.not_made(making, error),
        };
        let mut ops = Vec::new();
        let made = self.sessions.ensure(now, &mut self.entropy, &key);
        if made {
            let parent = making.params.parent_session_key.as_ref();
            let parent = parent.and_then(|parent| self.sessions.resolve(parent.as_str()).ok());
            self.sessions.edit(now, &key, |new| {
                *new = entry;
                new.display_name = making.params.display_name.as_ref().map(Text::to_string);
                new.set("parentSessionKey", parent.map(|parent| parent.as_str().into()));
                new.set("spawnDepth", making.params.spawn_depth.map(|depth| depth.get().into()));
            });
            if let Some((origin, lines)) = fork {
                ops = self.begin_with(&key, &origin, &lines);
            }
        } else {
            self.sessions.edit(now, &key, |old| *old = entry);
        }
        let result = Created {
            ok: true,
            session_id: self.sessions.get(&key).map(|session| session.id.as_str().to_owned()),
            entry: self.sessions.get(&key).map(Session::on_the_wire),
            key: key.clone(),
            run_started: None,
            run_id: None,
            message_seq: None,
            run_error: None,
        };
        if let Some(answer) = &making.answer {
            ops.extend(self.answers.record(answer, &Outcome::ok(Json::of(&result)), now));
        }
        self.store_session(&key, ops, move |gateway, stored| match stored {
            Ok(()) => {
                let reason = if made { Reason::Create } else { Reason::Patch };
                gateway.announce_session(&making.key, reason, None);
                gateway.first_run(making, result);
            }
            Err(error) => gateway.not_made(making, error.into()),
        });
    }

    /// Begins the first run, if one is asked for, and answers when it is admitted.
    fn first_run(&mut self, making: Making, mut result: Created) {
        let Some(message) = making.params.words() else { return self.made(making, &result) };
        let run = RunId::new(self.entropy.uuid());
        let words = SendWords {
            key: making.key.clone(),
            message,
            attachments: making.params.attachments.clone(),
            thinking: None,
            timeout_ms: None,
            run: run.clone(),
            interrupts: false,
            is_plain: false,
            queue: None,
        };
        let digest = making.digest.clone();
        let begun = chat::start(self, &making.principal, &making.ticket, Asker::Nobody, digest, words);
        if let Err(error) = begun {
            result.run_started = Some(false);
            result.run_error = Some(error);
            return self.made(making, &result);
        }
        result.message_seq = self.sessions.get(&making.key).map(|session| session.last_seq);
        result.run_id = Some(run.clone());
        result.run_started = Some(true);
        let outcome = Outcome::ok(Json::of(&result));
        let record = making.answer.as_ref().and_then(|key| self.answers.record(key, &outcome, self.now));
        self.when_admitted(record.into_iter().collect(), run, move |gateway, admitted| {
            if let Err(error) = admitted {
                result.run_started = Some(false);
                result.run_id = None;
                result.message_seq = None;
                result.run_error = Some(error);
            }
            gateway.made(making, &result);
        });
    }

    /// Calls `then` when a run that was begun for nobody is admitted, or will not be; stores `ops` beside it.
    /// Transactions are written in order: when this one is reported, the admission is settled.
    pub(super) fn when_admitted(
        &mut self,
        ops: Vec<Op>,
        run: RunId,
        then: impl FnOnce(&mut Self, Result<(), ErrorShape>) + Send + 'static,
    ) {
        self.store(ops, move |gateway, _| {
            let there = gateway.runs.get(&run).is_some();
            let admitted = there || gateway.runs.ended(gateway.now.mono, &run).is_some();
            let refusal = || ErrorShape::unavailable("the message could not be stored; send it again");
            then(gateway, if admitted { Ok(()) } else { Err(refusal().retry_after(1_000)) });
        });
    }

    fn made(&mut self, making: Making, result: &Created) {
        let outcome = Outcome::ok(Json::of(result));
        let key = making.answer.as_ref();
        let waiting = key.map(|key| self.answers.finish(key, outcome.clone(), self.now)).unwrap_or_default();
        for ticket in waiting.into_iter().chain([making.ticket]) {
            self.reply(ticket, outcome.clone());
        }
    }

    /// There is no new session; whoever repeats the request tries again.
    fn not_made(&mut self, making: Making, error: ErrorShape) {
        let waiting = making.answer.as_ref().map(|key| self.answers.release(key)).unwrap_or_default();
        let outcome = Outcome::error(error);
        for ticket in waiting.into_iter().chain([making.ticket]) {
            self.reply(ticket, outcome.clone());
        }
    }
}

/// Whether the line is an answer that came to its end.
fn is_completed(line: &TranscriptEntry) -> bool {
    let message = line.message.to_value();
    message["role"] == "assistant"
        && !message["stopReason"]
            .as_str()
            .is_some_and(|reason| matches!(reason, "aborted" | "error" | "toolUse"))
}
