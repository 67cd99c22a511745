//! The hello: what a connection that has come in is told (spec 01 §2.7, §9.3).
//!
//! It says no more than the connection may see otherwise: presence is for those who may read, paths and the
//! auth mode are for admins [S-17].

use telson_proto::connect::{
    AttachmentPolicy, Features, HelloAuth, HelloOk, Policy, RoleToken, ServerInfo, SessionDefaults, Snapshot,
    Suspension,
};
use telson_proto::{Dialect, EventName, Json, Protocol, Role, Scope, Scopes};

use super::principal::Principal;
use crate::gateway::{Gateway, METHODS};
use crate::limits;
use crate::messages::ConnLimits;

/// A device token on its way to its client.
pub(super) struct IssuedToken {
    pub(super) value: String,
    pub(super) issued_at_ms: u64,
}

/// Scopes that were asked for and not given.
pub(super) struct Withheld {
    pub(super) scopes: Scopes,
    /// What a person can do about it.
    pub(super) reason: &'static str,
}

impl Gateway {
    /// The hello of a connection.
    pub(super) fn hello(
        &mut self,
        principal: &Principal,
        auth: Option<HelloAuth>,
        limits: ConnLimits,
    ) -> Json {
        let protocol = principal.protocol;
        let v4 = protocol == Protocol::V4;
        Json::of(&HelloOk {
            kind: "hello-ok",
            protocol,
            server: ServerInfo {
                version: self.settings.facts.version.clone(),
                host: (!v4).then(|| self.settings.facts.host.clone()),
                conn_id: self.entropy.uuid(),
                boot_id: v4.then(|| self.boot_id.clone()),
                control_ui_build_source: v4.then_some("configured"),
            },
            features: Features {
                methods: METHODS.iter().filter(|m| m.is_listed(protocol)).map(|m| m.name).collect(),
                events: EventName::advertised(protocol).collect(),
                capabilities: v4.then(Vec::new),
            },
            snapshot: self.snapshot(principal),
            auth,
            policy: policy(protocol, limits),
        })
    }

    fn snapshot(&mut self, principal: &Principal) -> Snapshot {
        let v4 = principal.protocol == Protocol::V4;
        let (reads, admin) = (principal.holds(Scope::Read), principal.holds(Scope::Admin));
        let facts = &self.settings.facts;
        Snapshot {
            config_path: admin.then(|| facts.config_path.clone()),
            state_dir: admin.then(|| facts.state_dir.clone()),
            presence: if reads { Json::of(&self.presence.list(self.now)) } else { Json::of(&[(); 0]) },
            health: match principal.role {
                Role::Operator if reads => self.system.health(),
                // Old clients look for something.
                Role::Operator if !v4 => self.health_in_brief(),
                _ => Json::empty(),
            },
            state_version: self.state_version(),
            uptime_ms: self.uptime_ms(),
            session_defaults: self.main_session(v4),
            auth_mode: (v4 && admin).then(|| self.settings.auth.mode.as_str()),
            suspension: v4.then_some(Suspension { phase: "accepting" }),
        }
    }

    fn main_session(&self, v4: bool) -> SessionDefaults {
        let agents = &self.settings.agents;
        SessionDefaults {
            default_agent_id: agents.default.to_string(),
            main_key: agents.main_key.clone(),
            main_session_key: self.sessions.main_key().to_string(),
            scope: if agents.global_scope { "global" } else { "per-sender" },
            // Some model is always there: `echo` when nothing else is configured.
            model_configured: v4.then_some(true),
        }
    }
}

/// What was granted. Protocol 3 says it only to a device, which takes its token from it; its closed schema
/// has no method there.
pub(super) fn granted(
    dialect: Dialect,
    principal: &Principal,
    token: Option<&IssuedToken>,
    others: Vec<RoleToken>,
    withheld: Option<Withheld>,
) -> Option<HelloAuth> {
    let (withheld_scopes, withheld_reason) =
        withheld.map_or((None, None), |withheld| (Some(withheld.scopes), Some(withheld.reason)));
    let old = dialect == Dialect::Native && principal.protocol == Protocol::V3;
    if old && token.is_none() {
        return None;
    }
    Some(HelloAuth {
        method: (!old).then(|| principal.method.as_str()),
        role: principal.role,
        scopes: principal.scopes.clone(),
        device_token: token.map(|token| token.value.clone()),
        issued_at_ms: token.map(|token| token.issued_at_ms),
        device_tokens: others,
        withheld_scopes,
        withheld_reason,
    })
}

fn policy(protocol: Protocol, limits: ConnLimits) -> Policy {
    let bytes = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let attachments =
        AttachmentPolicy { max_bytes: limits::ATTACHMENT_BYTES, max_image_bytes: limits::ATTACHMENT_BYTES };
    Policy {
        max_payload: bytes(limits.max_payload),
        max_buffered_bytes: bytes(limits.max_buffered),
        tick_interval_ms: limits::TICK_MS,
        attachments: (protocol == Protocol::V4).then_some(attachments),
    }
}
