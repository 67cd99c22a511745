//! `/subagents`: the sessions that this one has started for other agents.

use std::fmt::Write as _;

use telson_proto::ErrorShape;

use crate::auth::{Effect, authorize};
use crate::chat::may_abort_child;
use crate::gateway::Gateway;
use crate::ids::{RunId, SessionKey};

use super::{Caller, Done};

/// At most so many are shown.
const MOST_SHOWN: usize = 20;

/// `/subagents [list]`, `/subagents stop <number>|all`.
pub(super) fn subagents(gateway: &Gateway, caller: &Caller<'_>, words: &str) -> Result<Done, ErrorShape> {
    let mut words = words.split_whitespace();
    let action = words.next().unwrap_or("list").to_ascii_lowercase();
    let children = gateway.sessions.descendants(caller.key);
    match (action.as_str(), words.next()) {
        ("list", None) => Ok(Done::says(listed(gateway, &children))),
        ("stop", Some(target)) => stop(gateway, caller, &children, target),
        _ => Err(ErrorShape::invalid("use /subagents, /subagents stop <number> or /subagents stop all")),
    }
}

fn listed(gateway: &Gateway, children: &[SessionKey]) -> String {
    if children.is_empty() {
        return "This session has started no other agents.".to_owned();
    }
    let mut text = "Agents that this session has started:".to_owned();
    for (place, key) in children.iter().enumerate().take(MOST_SHOWN) {
        let entry = gateway.sessions.entry(key);
        let label = entry.and_then(|entry| entry.label.as_deref()).unwrap_or(key.as_str());
        let state = match gateway.sessions.active_runs(key).next() {
            Some(_) => "running",
            None => entry.and_then(|entry| entry.status.as_deref()).unwrap_or("idle"),
        };
        let _ = write!(text, "\n{}. {label}: {state}", place + 1);
    }
    if children.len() > MOST_SHOWN {
        let _ = write!(text, "\nand {} more", children.len() - MOST_SHOWN);
    }
    text
}

fn stop(
    gateway: &Gateway,
    caller: &Caller<'_>,
    children: &[SessionKey],
    target: &str,
) -> Result<Done, ErrorShape> {
    authorize(caller.principal, &Effect::AbortRun { session: caller.key.clone() })?;
    let chosen: &[SessionKey] = if target.eq_ignore_ascii_case("all") {
        children
    } else {
        let place = target.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let key = place.and_then(|place| children.get(place));
        let Some(key) = key else {
            return Err(ErrorShape::invalid(format!(
                "no such agent: {target}; use all, or a number from the list of /subagents"
            )));
        };
        std::slice::from_ref(key)
    };
    let may = |run: &RunId| may_abort_child(gateway, caller.principal, caller.ticket, run);
    let running: Vec<RunId> = chosen.iter().flat_map(|key| gateway.runs_of(key)).collect();
    let abort: Vec<RunId> = running.iter().filter(|run| may(run)).cloned().collect();
    let reply = match (abort.len(), running.len()) {
        (_, 0) => "Nothing runs there.".to_owned(),
        (0, _) => return Err(ErrorShape::invalid("unauthorized")),
        (count, _) => format!("Stopped {count} {}.", if count == 1 { "run" } else { "runs" }),
    };
    Ok(Done { abort, ..Done::says(reply) })
}
