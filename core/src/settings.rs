//! What the machines are told once, at their start: the outcome of reading configuration and environment.
//!
//! [`crate::config`] makes it from the operator's file; the simulator makes it by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use telson_proto::{Json, Scopes};

use crate::api::ApiSettings;
use crate::auth::{Secret, TrustedProxySettings};
use crate::ids::AgentId;
use crate::ingress::IngressSettings;
use crate::limits;
use crate::mcp::settings::McpServerSettings;
use crate::messages::ConnLimits;
use crate::nodes::NodeSettings;
use crate::policy::Policies;
use crate::tailscale::TailscaleSettings;
use crate::tools::settings::ToolSettings;

mod models;

pub use models::{
    Api, AuthProfile, CooldownSettings, KeyMode, ModelRef, ModelSettings, Prices, ProviderSettings,
};

/// Everything the machines need to know about their surroundings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host and the process.
    pub facts: Facts,
    /// The fingerprint of the certificate, when the port speaks TLS and its URLs are `wss://`.
    pub tls: Option<String>,
    /// Who may connect.
    pub auth: AuthSettings,
    /// How Tailscale stands in front of the gateway.
    pub tailscale: TailscaleSettings,
    /// What nodes may do.
    pub nodes: NodeSettings,
    /// The limits that configuration can change.
    pub limits: LimitSettings,
    /// How long runs may go on when the gateway is to stop.
    pub drain: Duration,
    /// Whether the plain dialect is spoken.
    pub simple_dialect: bool,
    /// The most that a plain connection without a device may be granted.
    pub simple_max_scopes: Scopes,
    /// The agents.
    pub agents: AgentSettings,
    /// What is decided about a message before its run.
    pub policies: Policies,
    /// The model providers, `echo` not among them: it is always there.
    pub providers: Vec<ProviderSettings>,
    /// How long keys rest after a failure.
    pub cooldowns: CooldownSettings,
    /// Tools and who may use them.
    pub tools: ToolSettings,
    /// The servers that bring tools, by name.
    pub mcp: Vec<McpServerSettings>,
    /// The HTTP endpoints for programs.
    pub api: ApiSettings,
    /// The configuration as `config.get` shows it, secrets redacted.
    pub config: ConfigView,
}

/// The host and the process.
#[derive(Clone, Debug)]
pub struct Facts {
    /// This program's version.
    pub version: String,
    /// The host's name.
    pub host: String,
    /// The first LAN address.
    pub ip: Option<String>,
    /// The operating system, such as `linux 6.8`.
    pub platform: String,
    /// `Linux`, `Mac` or `Windows`.
    pub device_family: String,
    /// The path of the configuration file, whether or not it exists.
    pub config_path: String,
    /// The state directory.
    pub state_dir: String,
    /// What local time is ahead of UTC, in seconds; negative west of it.
    pub utc_offset_secs: i32,
}

/// Who may connect.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// What the gateway asks for.
    pub mode: AuthMode,
    /// Whether the tailnet may vouch for its users, where it stands in front of the gateway.
    pub allow_tailscale: bool,
    /// Wrong attempts before a lock-out, per address and class.
    pub max_attempts: u32,
    /// The window in which they are counted.
    pub window: Duration,
    /// How long a lock-out lasts.
    pub lockout: Duration,
    /// Whether loopback addresses are slowed down instead of locked out.
    pub exempt_loopback: bool,
    /// Whose word about clients counts, and by which names the gateway is known.
    pub ingress: IngressSettings,
    /// Users for whom a proxy vouches; counts in [`AuthMode::TrustedProxy`].
    pub trusted_proxy: TrustedProxySettings,
    /// `gateway.controlUi.allowedOrigins`, lower case.
    pub allowed_origins: Vec<String>,
    /// `gateway.controlUi.allowInsecureAuth`, for v3 connections only.
    pub allow_insecure_auth: bool,
    /// `gateway.controlUi.dangerouslyDisableDeviceAuth`, for v3 connections only.
    pub disable_device_auth: bool,
    /// `gateway.nodes.pairing.autoApproveLocal`.
    pub auto_approve_local: bool,
    /// `gateway.nodes.pairing.autoApproveCidrs`: networks whose new nodes are approved at once.
    pub auto_approve_networks: Vec<IpNet>,
}

/// What the gateway asks for.
#[derive(Clone, Debug)]
pub enum AuthMode {
    /// Nothing; permitted on a loopback bind only.
    None,
    /// The shared token.
    Token(Secret),
    /// The shared password.
    Password(Secret),
    /// A trusted proxy's word.
    TrustedProxy {
        /// What clients on this host may show instead.
        password: Option<Secret>,
    },
}

impl AuthMode {
    /// The secret that it asks for.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::None => None,
            Self::Token(secret) | Self::Password(secret) => Some(secret),
            Self::TrustedProxy { password } => password.as_ref(),
        }
    }

    /// The configured word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token(_) => "token",
            Self::Password(_) => "password",
            Self::TrustedProxy { .. } => "trusted-proxy",
        }
    }
}

/// The limits that configuration can change; the others stand in [`crate::limits`].
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Unauthenticated connections of one address.
    pub preauth_per_ip: usize,
    /// From challenge to hello.
    pub handshake: Duration,
    /// Protocol 3 and plain connections.
    pub v3: ConnLimits,
    /// Protocol 4 connections.
    pub v4: ConnLimits,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            preauth_per_ip: limits::length(limits::PREAUTH_PER_IP),
            handshake: limits::millis(limits::HANDSHAKE_MS),
            v3: ConnLimits {
                max_payload: limits::length(limits::V3_MAX_PAYLOAD),
                max_buffered: limits::length(limits::V3_MAX_BUFFERED),
            },
            v4: ConnLimits {
                max_payload: limits::length(limits::V4_MAX_PAYLOAD),
                max_buffered: limits::length(limits::V4_MAX_BUFFERED),
            },
        }
    }
}

/// The agents.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// The agent of keys that name none.
    pub default: AgentId,
    /// Every agent, the default first, the rest by id.
    pub list: Vec<AgentProfile>,
    /// The word for the main session.
    pub main_key: String,
    /// `session.scope` is `global`.
    pub global_scope: bool,
    /// `agents.defaults.model.primary`; `echo/echo` when nothing is configured.
    pub model: ModelRef,
    /// `agents.defaults.model.fallbacks`: what is asked when the model cannot answer.
    pub fallbacks: Vec<ModelRef>,
    /// `agents.defaults.thinkingDefault`.
    pub thinking_default: Option<String>,
    /// `agents.defaults.verboseDefault`.
    pub verbose_default: Option<String>,
    /// How long a run may take.
    pub timeout: Duration,
    /// How many runs go at once.
    pub max_concurrent: usize,
    /// How many runs that tools have started go at once.
    pub max_subagents: usize,
    /// `agents.defaults.models`: the references that are allowed, with their aliases; empty allows all.
    pub allowed_models: Vec<(ModelRef, Option<String>)>,
    /// `agents.defaults.models.<ref>.thinkingDefault`.
    pub model_thinking: Vec<(ModelRef, String)>,
    /// `agents.defaults.contextTokens`.
    pub context_tokens: Option<u64>,
    /// `messages.queue`.
    pub queue: QueueSettings,
}

/// What becomes of messages for a busy session (spec 02 §10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// What an inbound message does.
    pub mode: QueueMode,
    /// How long messages that wait must have been quiet before they are answered together.
    pub debounce: Duration,
    /// At most so many wait in one session.
    pub cap: usize,
    /// Which one goes when there are more.
    pub drop: QueueDrop,
    /// The mode by channel, whose names are lower case.
    pub mode_by_channel: BTreeMap<String, QueueMode>,
    /// The wait by channel.
    pub debounce_by_channel: BTreeMap<String, Duration>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mode: QueueMode::Collect,
            debounce: limits::millis(limits::QUEUE_DEBOUNCE_MS),
            cap: limits::length(limits::QUEUE_CAP),
            drop: QueueDrop::Summarize,
            mode_by_channel: BTreeMap::new(),
            debounce_by_channel: BTreeMap::new(),
        }
    }
}

/// What a message does while its session is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueMode {
    /// Waits; messages that wait together are answered together.
    #[default]
    Collect,
    /// Waits for a turn of its own.
    Followup,
    /// Goes into the running turn when its tools have answered; otherwise as `Collect`.
    Steer,
    /// The same, and has a turn afterwards as well.
    SteerBacklog,
    /// Ends the running turn and everything that waits.
    Interrupt,
}

impl QueueMode {
    /// Every word that names a mode.
    pub const WORDS: [&'static str; 7] =
        ["collect", "followup", "steer", "steer-backlog", "steer+backlog", "queue", "interrupt"];

    /// Reads the word of a configuration, a session or a client; `queue` is the old name of `steer`.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "collect" => Self::Collect,
            "followup" | "follow-up" => Self::Followup,
            "steer" | "queue" => Self::Steer,
            "steer-backlog" | "steer+backlog" | "steer_backlog" => Self::SteerBacklog,
            "interrupt" => Self::Interrupt,
            _ => return None,
        })
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Followup => "followup",
            Self::Steer => "steer",
            Self::SteerBacklog => "steer-backlog",
            Self::Interrupt => "interrupt",
        }
    }
}

/// Which message goes when too many wait. Its words stay in the transcript; what goes is its own answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueDrop {
    /// The oldest; the next turn is told of it.
    #[default]
    Summarize,
    /// The oldest.
    Old,
    /// The newest.
    New,
}

impl QueueDrop {
    /// The words.
    pub const WORDS: [&'static str; 3] = ["summarize", "old", "new"];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Summarize => "summarize",
            Self::Old => "old",
            Self::New => "new",
        }
    }

    /// Reads the word of a configuration or a session.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "summarize" | "summary" => Self::Summarize,
            "old" | "oldest" => Self::Old,
            "new" | "newest" => Self::New,
            _ => return None,
        })
    }
}

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentProfile {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: Option<String>,
    /// Its model, when it is not the default.
    pub model: Option<ModelRef>,
    /// What it asks when its model cannot answer; `None` for the default fallbacks.
    pub fallbacks: Option<Vec<ModelRef>>,
    /// How it presents itself.
    pub identity: Identity,
}

/// How an agent presents itself.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Its name.
    pub name: Option<String>,
    /// Its theme.
    pub theme: Option<String>,
    /// Its emoji.
    pub emoji: Option<String>,
    /// A URL, a data URI or a short text.
    pub avatar: Option<String>,
}

/// The configuration as `config.get` shows it (spec 03 §6.1), secrets redacted.
#[derive(Clone, Debug)]
pub struct ConfigView {
    /// Whether the file exists.
    pub exists: bool,
    /// Its text with secrets redacted; `None` without a file.
    pub raw: Option<String>,
    /// Its content with secrets redacted, before defaults.
    pub parsed: Json,
    /// The same with defaults.
    pub config: Json,
    /// Lower-case hex SHA-256 of the text; of the empty text without a file.
    pub hash: String,
    /// Warnings as `{path, message}`.
    pub warnings: Json,
}

impl Settings {
    /// The settings of a gateway without any configuration, for tests and simulation.
    pub fn plain(mode: AuthMode) -> Self {
        Self {
            tls: None,
            facts: Facts {
                version: "0.0.0".to_owned(),
                host: "gateway".to_owned(),
                ip: None,
                platform: "linux".to_owned(),
                device_family: "Linux".to_owned(),
                config_path: "/nowhere/telson.json".to_owned(),
                state_dir: "/nowhere".to_owned(),
                utc_offset_secs: 0,
            },
            auth: AuthSettings::new(mode),
            tailscale: TailscaleSettings::default(),
            nodes: NodeSettings::default(),
            limits: LimitSettings::default(),
            drain: Duration::ZERO,
            simple_dialect: true,
            simple_max_scopes: Scopes::all(),
            agents: AgentSettings::default(),
            policies: Policies::default(),
            providers: Vec::new(),
            cooldowns: CooldownSettings::default(),
            tools: ToolSettings::default(),
            mcp: Vec::new(),
            api: ApiSettings::default(),
            config: ConfigView::absent(),
        }
    }
}

impl AuthSettings {
    /// The defaults around a mode.
    pub fn new(mode: AuthMode) -> Self {
        Self {
            mode,
            allow_tailscale: false,
            max_attempts: u32::try_from(limits::AUTH_ATTEMPTS).unwrap_or(u32::MAX),
            window: limits::millis(limits::AUTH_WINDOW_MS),
            lockout: limits::millis(limits::AUTH_LOCKOUT_MS),
            exempt_loopback: true,
            ingress: IngressSettings::default(),
            trusted_proxy: TrustedProxySettings::default(),
            allowed_origins: Vec::new(),
            allow_insecure_auth: false,
            disable_device_auth: false,
            auto_approve_local: true,
            auto_approve_networks: Vec::new(),
        }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        let main = AgentId::new("main");
        let profile = AgentProfile {
            id: main.clone(),
            name: None,
            model: None,
            fallbacks: None,
            identity: Identity::default(),
        };
        Self {
            default: main,
            list: vec![profile],
            main_key: "main".to_owned(),
            global_scope: false,
            model: ModelRef::echo(),
            fallbacks: Vec::new(),
            thinking_default: None,
            verbose_default: None,
            timeout: limits::millis(limits::RUN_MS),
            max_concurrent: limits::length(limits::RUNS_ACTIVE),
            max_subagents: limits::length(limits::SUBAGENTS_ACTIVE),
            allowed_models: Vec::new(),
            model_thinking: Vec::new(),
            context_tokens: None,
            queue: QueueSettings::default(),
        }
    }
}

impl ConfigView {
    /// No file.
    pub fn absent() -> Self {
        Self {
            exists: false,
            raw: None,
            parsed: Json::empty(),
            config: Json::empty(),
            hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            warnings: Json::of(&[(); 0]),
        }
    }
}
