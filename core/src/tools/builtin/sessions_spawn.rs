//! `sessions_spawn`: a sub-agent works on a task in a session of its own.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use telson_proto::params::{Count, Text};

use crate::gateway::Gateway;
use crate::ids::{AgentId, CallId, SessionKey};
use crate::runs::Ask;
use crate::sessions::{keys, levels};

use super::super::arguments::read;
use super::super::calls::{Begun, Work};
use super::super::{ToolContext, ToolOutcome};
use super::object;

const DEFAULT_WAIT_S: u64 = 300;

pub(in crate::tools) const DESCRIPTION: &str = "Give a task to a sub-agent, which works on it in a session of its own \
    and does not see this conversation: put everything that it needs into the task. Waits up to timeoutSeconds for \
    its answer (300 when left out). With 0, or when the time is over, status is `accepted` and the sub-agent goes on; \
    read its answer with sessions_history.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    task: Text<1, 100_000>,
    #[serde(default)]
    label: Option<Text<1, 64>>,
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    run_timeout_seconds: Option<Count<1, 86_400>>,
    #[serde(default)]
    timeout_seconds: Option<Count<0, 3_600>>,
}

pub(in crate::tools) fn parameters() -> Value {
    let levels = ["off", "minimal", "low", "medium", "high", "xhigh"];
    let task = "What to do, with all that is needed for it.";
    let agent = "An agent of agents_list; yourself when left out.";
    let model = "A model as provider/model; the usual one when left out.";
    let work = "How long it may work.";
    let wait = "How long to wait for its answer; 0 does not wait.";
    object(
        &json!({
            "task": {"type": "string", "minLength": 1, "maxLength": 100_000, "description": task},
            "label": {"type": "string", "minLength": 1, "maxLength": 64, "description": "A short name for lists."},
            "agentId": {"type": "string", "description": agent},
            "model": {"type": "string", "description": model},
            "thinking": {"type": "string", "enum": levels, "description": "How much it thinks."},
            "runTimeoutSeconds": {"type": "integer", "minimum": 1, "maximum": 86_400, "description": work},
            "timeoutSeconds": {"type": "integer", "minimum": 0, "maximum": 3_600, "description": wait},
        }),
        &["task"],
    )
}

/// A session that lies as deep as sub-agents may cannot start more.
pub(in crate::tools) fn offered(gateway: &Gateway, context: &ToolContext) -> bool {
    gateway.spawn_depth(&context.session) < gateway.settings.tools.subagents.max_depth
}

pub(in crate::tools) fn begin(
    gateway: &mut Gateway,
    call: CallId,
    context: &ToolContext,
    arguments: &Value,
) -> Result<Begun, ToolOutcome> {
    let arguments: Arguments = read(arguments)?;
    let most = gateway.settings.tools.subagents.max_children;
    if gateway.running_children(&context.session) >= most {
        let problem = format!("{most} sub-agents of this session run; wait until one has ended");
        return Err(ToolOutcome::error(problem));
    }
    let agent = target(gateway, context, arguments.agent_id.as_deref())?;
    let ask = ask(gateway, context, &arguments)?;
    let key = SessionKey::new(format!("agent:{agent}:subagent:{}", gateway.entropy.uuid()));
    let label = arguments.label.map(Text::into_string).unwrap_or_default();
    let run = gateway.start_inner_run(call, context, &key, ask, Some(label))?;
    match arguments.timeout_seconds.map_or(DEFAULT_WAIT_S, Count::get) {
        0 => Ok(Begun::Done(ToolOutcome::json(json!({
            "status": "accepted", "runId": run, "childSessionKey": key,
            "note": "A note in a later prompt says when it has ended; read its answer with sessions_history then.",
        })))),
        seconds => {
            let work = Work::Run { run, session: key, spawned: true };
            Ok(Begun::Waits(work, Duration::from_secs(seconds)))
        }
    }
}

fn target(gateway: &Gateway, context: &ToolContext, asked: Option<&str>) -> Result<AgentId, ToolOutcome> {
    let Some(asked) = asked.map(str::trim).filter(|asked| !asked.is_empty()) else {
        return Ok(context.agent.clone());
    };
    let agent = keys::normalise_agent(asked);
    let known = gateway.settings.agents.list.iter().any(|profile| profile.id == agent);
    if known && gateway.may_start(&context.agent, &agent) {
        return Ok(agent);
    }
    let problem =
        format!("agentId: no agent {agent} that you may start; agents_list shows those that you may");
    Err(ToolOutcome::error(problem))
}

fn ask(gateway: &Gateway, context: &ToolContext, arguments: &Arguments) -> Result<Ask, ToolOutcome> {
    let subagents = &gateway.settings.tools.subagents;
    let timeout = arguments.run_timeout_seconds.map(|seconds| Duration::from_secs(seconds.get()));
    let timeout = timeout.or(subagents.timeout).unwrap_or(gateway.settings.agents.timeout);
    let level = arguments.thinking.as_deref().map(|asked| {
        let problem = "thinking: must be off, minimal, low, medium, high or xhigh";
        levels::thinking(asked).ok_or_else(|| ToolOutcome::error(problem))
    });
    let chosen = arguments.model.as_deref().map(|asked| {
        let model = gateway.agents.choose(asked);
        model.map_err(|error| ToolOutcome::error(format!("model: {}", error.message)))
    });
    Ok(Ask {
        thinking: level.transpose()?.map(str::to_owned),
        model: chosen.transpose()?.or_else(|| subagents.model.clone()),
        system: Some(format!(
            "You are a sub-agent. The agent of session {} has given you the task in the first message; your last \
             message goes back to it as the result. Do the task and nothing else, ask no questions, and say plainly \
             what you could not do.",
            context.session
        )),
        ..Ask::words(arguments.task.as_str(), timeout)
    })
}
