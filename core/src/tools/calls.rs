//! The calls under way: begun, bounded in number and time, ended once or given up.

use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::permits_tool;
use crate::gateway::Gateway;
use crate::ids::{CallId, RunId, SessionKey};
use crate::limits;

use super::access::Found;
use super::web_fetch::Fetching;
use super::{Caller, ToolContext, ToolOutcome, cut};

/// A call that has no outcome yet.
pub(super) struct Under {
    pub(super) context: ToolContext,
    /// The tool's name.
    pub(super) tool: String,
    /// When it ends without a result, on the monotonic clock.
    pub(super) deadline: Duration,
    pub(super) work: Work,
}

/// What a call waits for.
pub(super) enum Work {
    /// The store, or nothing yet.
    Store,
    /// A page of the web.
    Page(Box<Fetching>),
    /// A run of another session.
    Run { run: RunId, session: SessionKey, spawned: bool },
    /// A server's answer.
    Server(usize),
    /// A node's answer.
    Node,
}

/// How a tool begins.
pub(super) enum Begun {
    /// It is done.
    Done(ToolOutcome),
    /// It waits for something, for so long at most.
    Waits(Work, Duration),
}

impl Gateway {
    /// Calls a tool. The outcome comes later by [`Self::run_tool_finished`] or [`Self::api_tool_finished`], never
    /// before this returns.
    pub(crate) fn call_tool(&mut self, context: ToolContext, name: &str, arguments: &Value) -> CallId {
        self.tools.last_call += 1;
        let call = CallId(self.tools.last_call);
        let deadline = self.now.mono + limits::millis(limits::TOOL_MS);
        if self.tools.calls.len() >= limits::length(limits::TOOL_CALLS) {
            let most = limits::TOOL_CALLS;
            let refusal = ToolOutcome::error(format!("{most} tool calls are under way; wait and try again"));
            self.tools.done.push_back((call, context.caller, refusal));
            return call;
        }
        tracing::debug!(target: "tools", tool = name, session = %context.session, %call, "tool called");
        let kept = context.clone();
        let under = Under { context, tool: name.to_owned(), deadline, work: Work::Store };
        self.tools.calls.insert(call, under);
        match self.begin_tool(call, &kept, name, arguments) {
            Ok(Begun::Done(outcome)) | Err(outcome) => self.finish_call(call, outcome),
            Ok(Begun::Waits(work, most)) => {
                let deadline = self.now.mono.saturating_add(most);
                if let Some(under) = self.tools.calls.get_mut(&call) {
                    (under.work, under.deadline) = (work, deadline);
                }
            }
        }
        call
    }

    fn begin_tool(
        &mut self,
        call: CallId,
        context: &ToolContext,
        name: &str,
        arguments: &Value,
    ) -> Result<Begun, ToolOutcome> {
        let Some(found) = self.find_tool(context, name) else {
            return Err(ToolOutcome::error(format!("Tool not available: {name}")));
        };
        super::arguments::check_size(arguments)?;
        match found {
            Found::BuiltIn(tool) => {
                if !permits_tool(context.owner, &(tool.effect)(&context.session)) {
                    return Err(ToolOutcome::error(format!("Tool not available: {name}")));
                }
                (tool.begin)(self, call, context, arguments)
            }
            Found::Server(server, tool) => {
                // The protocol has the deadline and tells the server; this one is in case it does not.
                let most = self.tools.mcp.patience(server) + limits::millis(1_000);
                self.ask_server(server, call, &tool, arguments);
                Ok(Begun::Waits(Work::Server(server), most))
            }
        }
    }

    /// Gives a call up: no outcome comes.
    pub(crate) fn abort_tool(&mut self, call: CallId) {
        self.tools.done.retain(|(done, ..)| *done != call);
        let Some(under) = self.tools.calls.remove(&call) else { return };
        self.release_work(call, &under, "the caller has given it up");
    }

    /// Ends a call that is under way.
    pub(crate) fn finish_call(&mut self, call: CallId, outcome: ToolOutcome) {
        let Some(under) = self.tools.calls.remove(&call) else { return };
        if let Work::Page(fetching) = &under.work
            && let Some(fetch) = fetching.fetch
        {
            self.tools.fetches.remove(&fetch);
            self.abort_fetch(fetch);
        }
        let most = limits::length(limits::TOOL_RESULT_BYTES);
        let outcome = ToolOutcome { text: cut(outcome.text, most), ..outcome };
        tracing::debug!(target: "tools", tool = under.tool, %call, is_error = outcome.is_error, "tool call ended");
        self.tools.done.push_back((call, under.context.caller, outcome));
    }

    /// Lets go of what a call has set going.
    fn release_work(&mut self, call: CallId, under: &Under, reason: &'static str) {
        match &under.work {
            Work::Store => {}
            Work::Page(fetching) => {
                if let Some(fetch) = fetching.fetch {
                    self.tools.fetches.remove(&fetch);
                    self.abort_fetch(fetch);
                }
            }
            Work::Run { run, spawned: true, .. } => {
                let run = run.clone();
                self.abort_run(&run, "stop");
            }
            // The other session goes on with what it was told.
            Work::Run { spawned: false, .. } => {}
            Work::Server(server) => self.cancel_server_call(*server, call, reason),
            Work::Node => self.cancel_invocations(crate::nodes::Asker::Tool(call), reason),
        }
    }

    pub(super) fn call_timeouts(&mut self) {
        let now = self.now.mono;
        let due = self.tools.calls.iter().filter(|(_, under)| under.deadline <= now).map(|(call, _)| *call);
        for call in due.collect::<Vec<_>>() {
            let Some(under) = self.tools.calls.get(&call) else { continue };
            let outcome = match &under.work {
                Work::Run { run, session, spawned } => still_running(run, session, *spawned),
                Work::Server(server) => {
                    let server = *server;
                    self.cancel_server_call(server, call, "it took too long");
                    ToolOutcome::error("the tool's server has not answered in time; the call was cancelled")
                }
                Work::Node => {
                    self.cancel_invocations(crate::nodes::Asker::Tool(call), "it took too long");
                    ToolOutcome::error("the node has not answered in time")
                }
                Work::Store | Work::Page(_) => ToolOutcome::error(format!(
                    "{} has not come to a result in time; try again, or with a smaller task",
                    under.tool
                )),
            };
            self.finish_call(call, outcome);
        }
    }

    /// Tells the callers how their calls have ended. Hearing of it, a caller may call again.
    pub(crate) fn settle_tools(&mut self) {
        while let Some((call, caller, outcome)) = self.tools.done.pop_front() {
            #[cfg(test)]
            self.tools.told.push((call, outcome.clone()));
            match caller {
                Caller::Run { run, .. } => self.run_tool_finished(call, &run, outcome),
                Caller::Http(request) => self.api_tool_finished(request, outcome),
            }
        }
    }
}

/// The time to wait is over, the run goes on.
fn still_running(run: &RunId, session: &SessionKey, spawned: bool) -> ToolOutcome {
    if spawned {
        return ToolOutcome::json(json!({
            "status": "accepted", "runId": run, "childSessionKey": session,
            "note": "It still runs. A note in a later prompt says when it has ended; read its answer with sessions_history then.",
        }));
    }
    ToolOutcome::json(json!({
        "status": "timeout", "runId": run, "sessionKey": session,
        "note": "The session has not answered yet and goes on; read its answer with sessions_history later.",
    }))
}
