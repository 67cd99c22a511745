//! The gateway's own tools, in one table. What is not in it does not exist; a domain that joins later adds a row
//! whose `offered` says when the tool can work.

use serde_json::Value;
use telson_proto::{Protocol, Scope};

use crate::auth::Effect;
use crate::gateway::Gateway;
use crate::ids::{CallId, SessionKey};

use super::builtin::{
    agents_list, gateway_tool, nodes, session_status, sessions_history, sessions_list, sessions_send,
    sessions_spawn,
};
use super::calls::Begun;
use super::web_fetch;
use super::{ToolContext, ToolOutcome};

/// A tool of the gateway itself.
pub struct BuiltIn {
    /// Its name, as models and policies use it.
    pub name: &'static str,
    /// The name to show.
    pub label: &'static str,
    /// Its group in policies, such as `group:web`.
    pub group: &'static str,
    /// What a model is told of it.
    pub description: &'static str,
    /// The JSON schema of its arguments.
    pub parameters: fn() -> Value,
    /// What its use comes to, for the check of authority. Tools that ask for more than `operator.write` are the
    /// owner's alone.
    pub effect: fn(&SessionKey) -> Effect,
    /// `low`, `medium` or `high`: what can go wrong when a model uses it badly.
    pub risk: &'static str,
    /// Whether it can work for this caller.
    pub(super) offered: fn(&Gateway, &ToolContext) -> bool,
    pub(super) begin: fn(&mut Gateway, CallId, &ToolContext, &Value) -> Result<Begun, ToolOutcome>,
}

impl BuiltIn {
    /// Whether only the owner of the gateway may use it.
    pub fn owner_only(&self) -> bool {
        let needed = (self.effect)(&SessionKey::new("main")).needs(Protocol::V4);
        !matches!(needed, Scope::Read | Scope::Write)
    }
}

/// The groups of the table with the name to show.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("group:sessions", "Sessions"),
    ("group:agents", "Agents"),
    ("group:web", "Web"),
    ("group:automation", "Automation"),
    ("group:nodes", "Nodes"),
];

/// Every tool of the gateway itself.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "sessions_list",
        label: "List sessions",
        group: "group:sessions",
        description: sessions_list::DESCRIPTION,
        parameters: sessions_list::parameters,
        effect: |_| Effect::ReadSessions,
        risk: "low",
        offered: |_, _| true,
        begin: sessions_list::begin,
    },
    BuiltIn {
        name: "sessions_history",
        label: "Read a session",
        group: "group:sessions",
        description: sessions_history::DESCRIPTION,
        parameters: sessions_history::parameters,
        effect: |_| Effect::ReadSessions,
        risk: "low",
        offered: |_, _| true,
        begin: sessions_history::begin,
    },
    BuiltIn {
        name: "sessions_send",
        label: "Message a session",
        group: "group:sessions",
        description: sessions_send::DESCRIPTION,
        parameters: sessions_send::parameters,
        effect: |session| Effect::RunAgent { session: session.clone() },
        risk: "medium",
        offered: |gateway, context| !gateway.answers_another(context),
        begin: sessions_send::begin,
    },
    BuiltIn {
        name: "sessions_spawn",
        label: "Start a sub-agent",
        group: "group:sessions",
        description: sessions_spawn::DESCRIPTION,
        parameters: sessions_spawn::parameters,
        effect: |session| Effect::RunAgent { session: session.clone() },
        risk: "medium",
        offered: sessions_spawn::offered,
        begin: sessions_spawn::begin,
    },
    BuiltIn {
        name: "session_status",
        label: "Session status",
        group: "group:sessions",
        description: session_status::DESCRIPTION,
        parameters: session_status::parameters,
        effect: |_| Effect::ReadSessions,
        risk: "low",
        offered: |_, _| true,
        begin: session_status::begin,
    },
    BuiltIn {
        name: "agents_list",
        label: "List agents",
        group: "group:agents",
        description: agents_list::DESCRIPTION,
        parameters: agents_list::parameters,
        effect: |_| Effect::ReadSessions,
        risk: "low",
        offered: |_, _| true,
        begin: agents_list::begin,
    },
    BuiltIn {
        name: "web_fetch",
        label: "Fetch a web page",
        group: "group:web",
        description: web_fetch::DESCRIPTION,
        parameters: web_fetch::parameters,
        effect: |_| Effect::FetchPublicUrl,
        risk: "medium",
        offered: |gateway, _| gateway.settings.tools.web_fetch.enabled,
        begin: web_fetch::begin,
    },
    BuiltIn {
        name: "gateway",
        label: "Gateway",
        group: "group:automation",
        description: gateway_tool::DESCRIPTION,
        parameters: gateway_tool::parameters,
        effect: |_| Effect::OperateGateway,
        risk: "high",
        offered: |_, _| true,
        begin: gateway_tool::begin,
    },
    BuiltIn {
        name: "nodes",
        label: "Nodes",
        group: "group:nodes",
        description: nodes::DESCRIPTION,
        parameters: nodes::parameters,
        effect: |_| Effect::OperateGateway,
        risk: "high",
        offered: |_, _| true,
        begin: nodes::begin,
    },
];
