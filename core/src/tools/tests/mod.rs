//! Tools in a world: a caller, a call, and the one outcome.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod policy;
mod rounds;
mod sessions;
mod web;

use serde_json::Value;

use crate::gateway::Input;
use crate::ids::{AgentId, CallId, RunId, SessionKey};
use crate::testing::World;

use super::{Caller, ToolContext, ToolOutcome};

/// A run of the main agent's main session, started by the owner.
fn owner() -> ToolContext {
    within("agent:main:main", true)
}

/// A run of a session of the main agent.
fn within(session: &str, owner: bool) -> ToolContext {
    let caller = Caller::Run { run: RunId::new("nobody"), id: "1".to_owned() };
    ToolContext {
        caller,
        agent: AgentId::new("main"),
        session: SessionKey::new(session),
        owner,
        untrusted: false,
    }
}

/// Calls a tool and lets the world do what follows.
fn call(world: &mut World, context: &ToolContext, name: &str, arguments: Value) -> CallId {
    let call = world.gateway.call_tool(context.clone(), name, &arguments);
    world.input(Input::Timeout);
    call
}

/// How a call has ended; it must not have ended twice.
fn ended(world: &World, call: CallId) -> Option<ToolOutcome> {
    let mut all = world.gateway.tools.told.iter().filter(|(told, _)| *told == call);
    let first = all.next().map(|(_, outcome)| outcome.clone());
    assert!(all.next().is_none(), "one outcome for {call}");
    first
}

/// Calls a tool that ends at once.
fn result(world: &mut World, context: &ToolContext, name: &str, arguments: Value) -> ToolOutcome {
    let call = call(world, context, name, arguments);
    ended(world, call).expect("it has ended")
}

/// The names of the tools that a caller has.
fn names(world: &World, context: &ToolContext) -> Vec<String> {
    world.gateway.tools_for(context).into_iter().map(|spec| spec.name).collect()
}
