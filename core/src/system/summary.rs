//! The health and status summaries (spec 03 §9.1, §9.3).

use serde::Serialize;
use telson_proto::Json;

use crate::auth::limiter::Class;
use crate::gateway::Gateway;
use crate::ids::AgentId;

const RECENT_IN_HEALTH: usize = 5;
const RECENT_IN_STATUS: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    ok: bool,
    ts: u64,
    duration_ms: u64,
    channels: Empty,
    channel_order: [(); 0],
    channel_labels: Empty,
    heartbeat_seconds: u64,
    default_agent_id: AgentId,
    agents: Vec<AgentHealth>,
    sessions: Sessions,
}

/// An empty object.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentHealth {
    agent_id: AgentId,
    is_default: bool,
    heartbeat: Heartbeat,
    sessions: Sessions,
}

/// Heartbeats are not run by this gateway yet, and it says so.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Heartbeat {
    enabled: bool,
    every: &'static str,
    every_ms: Option<u64>,
    prompt: &'static str,
    target: &'static str,
    ack_max_chars: u64,
}

const NO_HEARTBEAT: Heartbeat = Heartbeat {
    enabled: false,
    every: "disabled",
    every_ms: None,
    prompt: "",
    target: "none",
    ack_max_chars: 0,
};

#[derive(Serialize)]
struct Sessions {
    path: String,
    count: usize,
    recent: Vec<Recent>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recent {
    key: String,
    updated_at: u64,
    age: u64,
}

impl Gateway {
    /// The health summary as of now.
    pub(crate) fn health_summary(&self) -> Json {
        let settings = &self.settings.agents;
        let agents = settings.list.iter().map(|agent| AgentHealth {
            agent_id: agent.id.clone(),
            is_default: agent.id == settings.default,
            heartbeat: NO_HEARTBEAT,
            sessions: self.sessions_of(Some(&agent.id), RECENT_IN_HEALTH),
        });
        Json::of(&Health {
            ok: true,
            ts: self.now.wall,
            duration_ms: 0,
            channels: Empty {},
            channel_order: [],
            channel_labels: Empty {},
            heartbeat_seconds: 0,
            default_agent_id: settings.default.clone(),
            agents: agents.collect(),
            sessions: self.sessions_of(Some(&settings.default), RECENT_IN_HEALTH),
        })
    }

    fn sessions_of(&self, agent: Option<&AgentId>, most: usize) -> Sessions {
        let now = self.now.wall;
        let recent = self.sessions.recent(agent, most).into_iter().map(|(key, updated_at)| Recent {
            key: key.to_string(),
            updated_at,
            age: now.saturating_sub(updated_at),
        });
        Sessions { path: Self::store_path(), count: self.sessions.count(agent), recent: recent.collect() }
    }

    /// Where sessions are kept, as answers name it: the file without its folder, which is for admins (spec 08 S-17).
    pub(crate) fn store_path() -> String {
        "telson.db".to_owned()
    }

    /// How many sources were wrong lately and are locked out, by class of credential (07 P-10).
    fn limiter_summary(&self) -> serde_json::Value {
        let classes = Class::ALL.into_iter().map(|class| {
            let bucket = self.handshake.limiter.bucket(self.now.mono, class);
            let counts = serde_json::json!({"sources": bucket.sources, "locked": bucket.locked});
            (class.as_str().to_owned(), counts)
        });
        serde_json::Value::Object(classes.collect())
    }

    /// The answer to `status`.
    pub(crate) fn status_summary(&self) -> Json {
        let settings = &self.settings.agents;
        let rows = |agent: Option<&AgentId>| -> Vec<serde_json::Value> {
            let recent = self.sessions.recent(agent, RECENT_IN_STATUS);
            recent.iter().map(|(key, _)| self.status_row(key)).collect()
        };
        let beats = settings.list.iter().map(|agent| {
            serde_json::json!({"agentId": agent.id, "enabled": false, "every": "disabled", "everyMs": null})
        });
        let by_agent = settings.list.iter().map(|agent| {
            serde_json::json!({
                "agentId": agent.id, "path": Self::store_path(),
                "count": self.sessions.count(Some(&agent.id)), "recent": rows(Some(&agent.id)),
            })
        });
        Json::of(&serde_json::json!({
            "heartbeat": {"defaultAgentId": settings.default, "agents": beats.collect::<Vec<_>>()},
            "channelSummary": [],
            "authLimiter": self.limiter_summary(),
            "queuedSystemEvents": self.system.events(&self.sessions.main_key()),
            "sessions": {
                "paths": [Self::store_path()],
                "count": self.sessions.count(None),
                "defaults": {
                    "model": settings.model.to_string(),
                    "contextTokens": self.agents.context_tokens(&settings.model),
                },
                "recent": rows(None),
                "byAgent": by_agent.collect::<Vec<_>>(),
            },
        }))
    }
}
