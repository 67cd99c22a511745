//! Every configuration key in one place: its kind, its default and what it means (spec 05 §3). Validation, the
//! defaults that `config.get` shows and the configuration page of the documentation are made from this table.

/// A configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path: names with dots between them, `*` for a name of the operator's choice, `[]` for the items of a
    /// list.
    pub path: &'static str,
    /// What the value must be.
    pub kind: Kind,
    /// The default as JSON; `None` when the key is unset by default.
    pub default: Option<&'static str>,
    /// What it does.
    pub meaning: &'static str,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Count(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that is not blank.
    Text,
    /// A text that must not be shown.
    Secret,
    /// An `http://` or `https://` URL without user name, password, query and fragment.
    Url,
    /// An IPv4 address in dotted form.
    Ipv4,
    /// An absolute path, or one that begins with `~/`.
    Path,
    /// A model as `provider/model`.
    Model,
    /// A web origin such as `https://host:port`.
    Origin,
    /// A list of one of these words.
    Choices(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of web origins.
    Origins,
}

impl Kind {
    /// What the value must be, in words.
    pub fn describe(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Count(low, u64::MAX) => format!("a whole number of at least {low}"),
            Self::Count(low, high) => format!("a whole number from {low} to {high}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text => "a text".to_owned(),
            Self::Secret => "a secret text".to_owned(),
            Self::Url => "an http:// or https:// URL without user name, query or fragment".to_owned(),
            Self::Ipv4 => "an IPv4 address".to_owned(),
            Self::Path => "an absolute path, or one that begins with ~/".to_owned(),
            Self::Model => "a model as provider/model".to_owned(),
            Self::Origin => "an origin such as https://host:port".to_owned(),
            Self::Choices(words) => format!("a list of words out of {}", words.join(", ")),
            Self::Texts => "a list of texts".to_owned(),
            Self::Origins => "a list of origins such as https://host:port".to_owned(),
        }
    }
}

/// One step of a key's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A member of this name.
    Name(&'static str),
    /// A member of any name.
    Any,
    /// Each item of a list.
    Each,
}

impl Key {
    /// The steps of the path.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> + use<> {
        steps(self.path)
    }
}

/// The steps of a path as the table writes it.
pub(super) fn steps(path: &'static str) -> impl Iterator<Item = Step> {
    path.split('.').flat_map(|part| {
        let (name, each) = part.strip_suffix("[]").map_or((part, None), |name| (name, Some(Step::Each)));
        let name = if name == "*" { Step::Any } else { Step::Name(name) };
        std::iter::once(name).chain(each)
    })
}

/// Log levels, the quietest first.
pub(super) const LEVELS: &[&str] = &["silent", "fatal", "error", "warn", "info", "debug", "trace"];
/// Console styles.
pub(super) const STYLES: &[&str] = &["pretty", "compact", "json"];
/// How the gateway may be bound.
pub(super) const BINDS: &[&str] = &["auto", "lan", "loopback", "custom", "tailnet"];
/// What the gateway may ask for.
pub(super) const AUTH_MODES: &[&str] = &["none", "token", "password"];
const SCOPES: &[&str] = &[
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
    "operator.talk",
    "operator.talk.secrets",
];
const THINKING: &[&str] = &["off", "minimal", "low", "medium", "high", "xhigh"];
const APIS: &[&str] = &[
    "openai-completions",
    "openai-responses",
    "anthropic-messages",
    "google-generative-ai",
    "github-copilot",
    "bedrock-converse-stream",
];

const MIB: u64 = 1024 * 1024;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

macro_rules! keys {
    ($( $path:literal $kind:expr, $default:expr, $meaning:literal; )*) => {
        /// Every key, in the order of the documentation.
        pub const KEYS: &[Key] = &[ $( Key { path: $path, kind: $kind, default: $default, meaning: $meaning }, )* ];
    };
}

keys! {
    "gateway.mode" Kind::Choice(&["local", "remote"]), None,
        "`remote` says that the gateway runs on another machine: `gateway run` then refuses to start here.";
    "gateway.port" Kind::Count(1, 65_535), Some("18789"),
        "The port for WebSocket and HTTP. `OPENCLAW_GATEWAY_PORT` beats it, `--port` beats both.";
    "gateway.bind" Kind::Choice(BINDS), Some("\"loopback\""),
        "Who can reach the port: `loopback` this machine; `lan` everyone (0.0.0.0); `tailnet` this machine and the tailnet address; `custom` this machine and `gateway.customBindHost`; `auto` this machine, or everyone inside a container.";
    "gateway.customBindHost" Kind::Ipv4, None,
        "The address of bind mode `custom`.";
    "gateway.auth.mode" Kind::Choice(AUTH_MODES), None,
        "What clients must present. Unset: the mode of the one secret that is configured, else `token` with a token made at the first start. `none` is permitted on a loopback bind only.";
    "gateway.auth.token" Kind::Secret, None,
        "The shared token. Beats `OPENCLAW_GATEWAY_TOKEN`; `--token` beats both.";
    "gateway.auth.password" Kind::Secret, None,
        "The shared password. Beats `OPENCLAW_GATEWAY_PASSWORD`; `--password` beats both.";
    "gateway.auth.rateLimit.maxAttempts" Kind::Count(1, 1_000), Some("10"),
        "Wrong credentials of one address within the window before it is locked out.";
    "gateway.auth.rateLimit.windowMs" Kind::Count(1_000, DAY_MS), Some("60000"),
        "The window in which wrong credentials are counted.";
    "gateway.auth.rateLimit.lockoutMs" Kind::Count(1_000, DAY_MS), Some("300000"),
        "How long a lock-out lasts.";
    "gateway.auth.rateLimit.exemptLoopback" Kind::Flag, Some("true"),
        "Slow loopback addresses down instead of locking them out.";
    "gateway.limits.maxPayloadBytes" Kind::Count(16_384, 64 * MIB), Some("524288"),
        "The largest message that a protocol 3 or plain client may send.";
    "gateway.limits.maxBufferedBytes" Kind::Count(65_536, 512 * MIB), Some("1572864"),
        "How many bytes of events may wait for a protocol 3 or plain client.";
    "gateway.limits.v4.maxPayloadBytes" Kind::Count(16_384, 64 * MIB), Some("26214400"),
        "The largest message that a protocol 4 client may send.";
    "gateway.limits.v4.maxBufferedBytes" Kind::Count(65_536, 512 * MIB), Some("52428800"),
        "How many bytes of events may wait for a protocol 4 client.";
    "gateway.limits.preauthConnectionsPerIp" Kind::Count(1, 1_024), Some("32"),
        "Connections of one address that have not yet authenticated.";
    "gateway.limits.handshakeTimeoutMs" Kind::Count(100, 600_000), Some("15000"),
        "How long a client may take from the challenge to its connect request.";
    "gateway.shutdown.drainMs" Kind::Count(0, 600_000), Some("30000"),
        "How long runs may go on when the gateway is to stop; 0 ends them at once.";
    "gateway.simpleDialect.enabled" Kind::Flag, Some("true"),
        "Speak the plain dialect (`connect`, `request`, `response`, `event`).";
    "gateway.simpleDialect.maxScopes" Kind::Choices(SCOPES), None,
        "The most that a plain client without a device may be granted; everything when unset.";
    "gateway.controlUi.allowedOrigins" Kind::Origins, Some("[]"),
        "Web origins, beyond the gateway's own, from which browsers may connect.";
    "gateway.controlUi.allowInsecureAuth" Kind::Flag, Some("false"),
        "Let protocol 3 web clients connect with token or password alone, without a device.";
    "gateway.controlUi.dangerouslyDisableDeviceAuth" Kind::Flag, Some("false"),
        "Do not ask protocol 3 web clients for a device at all.";
    "gateway.nodes.pairing.autoApproveLocal" Kind::Flag, Some("true"),
        "Pair devices of direct loopback connections at once.";

    "session.scope" Kind::Choice(&["per-sender", "global"]), Some("\"per-sender\""),
        "`global` makes one conversation of all.";
    "session.mainKey" Kind::Text, Some("\"main\""),
        "The word for an agent's main session.";

    "agents.defaults.model" Kind::Model, Some("\"echo/echo\""),
        "The model of agents that name none. Written as a text, or as `{primary: …}`. `echo/echo` repeats the user's words.";
    "agents.defaults.model.primary" Kind::Model, None,
        "The same.";
    "agents.defaults.models.*.alias" Kind::Text, None,
        "A short name for a model. When any model is listed here, only the listed ones may be chosen.";
    "agents.defaults.thinkingDefault" Kind::Choice(THINKING), None,
        "How much models think, unless a session says otherwise.";
    "agents.defaults.verboseDefault" Kind::Choice(&["off", "on", "full"]), None,
        "How much of the agent's work is shown, unless a session says otherwise.";
    "agents.defaults.timeoutSeconds" Kind::Count(1, 7 * 24 * 3_600), Some("600"),
        "How long a run may take.";
    "agents.defaults.maxConcurrent" Kind::Count(1, 256), Some("4"),
        "How many runs go at once; further ones wait.";
    "agents.defaults.contextTokens" Kind::Count(1, 100_000_000), None,
        "The context window to reckon with; the model's own when unset.";
    "agents.list[].id" Kind::Text, None,
        "The agent's id: letters, digits, `_` and `-`. Required.";
    "agents.list[].default" Kind::Flag, Some("false"),
        "Whether this is the default agent; else the first in the list is.";
    "agents.list[].name" Kind::Text, None,
        "The name to show.";
    "agents.list[].model" Kind::Model, None,
        "Its model, when it is not the default. Written as a text, or as `{primary: …}`.";
    "agents.list[].model.primary" Kind::Model, None,
        "The same.";
    "agents.list[].identity.name" Kind::Text, None,
        "How it calls itself.";
    "agents.list[].identity.theme" Kind::Text, None,
        "What it is like, in a few words.";
    "agents.list[].identity.emoji" Kind::Text, None,
        "The emoji that stands for it.";
    "agents.list[].identity.avatar" Kind::Text, None,
        "A URL, a data URI or a short text.";

    "models.providers.*.baseUrl" Kind::Url, None,
        "Where the model server is, such as `http://127.0.0.1:11434/v1`. Required.";
    "models.providers.*.apiKey" Kind::Secret, None,
        "Its key. Write `${NAME}` to take it from the environment.";
    "models.providers.*.api" Kind::Choice(APIS), Some("\"openai-completions\""),
        "What it speaks. This gateway speaks `openai-completions`; providers with another word are left out with a warning.";
    "models.providers.*.authHeader" Kind::Flag, Some("true"),
        "Send the key as `Authorization: Bearer …`; turn off when `headers` carries it.";
    "models.providers.*.headers.*" Kind::Secret, None,
        "A further request header.";
    "models.providers.*.models[].id" Kind::Text, None,
        "The model's id at the provider. Required.";
    "models.providers.*.models[].name" Kind::Text, None,
        "The name to show; the id when unset.";
    "models.providers.*.models[].reasoning" Kind::Flag, Some("false"),
        "Whether it thinks before it answers.";
    "models.providers.*.models[].input" Kind::Choices(&["text", "image"]), Some("[\"text\"]"),
        "What it takes.";
    "models.providers.*.models[].contextWindow" Kind::Count(1, 100_000_000), Some("200000"),
        "Its context window in tokens.";
    "models.providers.*.models[].maxTokens" Kind::Count(1, 100_000_000), Some("8192"),
        "The most tokens of an answer; never more than the context window.";
    "models.providers.*.models[].compat.maxTokensField" Kind::Choice(&["max_tokens", "max_completion_tokens"]),
        Some("\"max_tokens\""),
        "How the server spells the limit of an answer.";

    "logging.level" Kind::Choice(LEVELS), Some("\"info\""),
        "What goes into the log file.";
    "logging.file" Kind::Path, None,
        "The log file; `logs/telson-YYYY-MM-DD.log` in the state directory when unset. A file named here is not rolled.";
    "logging.consoleLevel" Kind::Choice(LEVELS), Some("\"info\""),
        "What goes to the terminal; `debug` with `--verbose`.";
    "logging.consoleStyle" Kind::Choice(STYLES), None,
        "How it looks there; `pretty` on a terminal, else `compact`.";
    "logging.levels.*" Kind::Choice(LEVELS), None,
        "The level of one subsystem and what is below it, such as `\"gateway.ws\": \"debug\"`; or an object with the three keys that follow.";
    "logging.levels.*.file" Kind::Choice(LEVELS), None,
        "The subsystem's level in the file.";
    "logging.levels.*.console" Kind::Choice(LEVELS), None,
        "The subsystem's level on the terminal.";
    "logging.levels.*.style" Kind::Choice(STYLES), None,
        "How the subsystem looks on the terminal.";
    "logging.redactSensitive" Kind::Choice(&["off", "tools"]), Some("\"tools\""),
        "Accepted for compatibility; secrets never appear in logs, whatever stands here.";
    "logging.redactPatterns" Kind::Texts, Some("[]"),
        "Regular expressions whose matches are masked in logs, beyond the built-in ones.";
    "logging.keepDays" Kind::Count(1, 3_650), Some("7"),
        "Log files older than this many days are deleted.";
    "logging.keepFiles" Kind::Count(1, 1_000), Some("10"),
        "At most this many log files are kept.";
}

/// Keys of the reference system that this gateway knows and does not use. They give a warning, not an error
/// [D-15]; what stands below them is not looked at.
pub(super) const FOREIGN: &[&str] = &[
    // whole sections
    "$schema",
    "accessGroups",
    "acp",
    "approvals",
    "attachments",
    "audio",
    "auth",
    "bindings",
    "broadcast",
    "browser",
    "canvasHost",
    "channels",
    "cloudWorkers",
    "commands",
    "cron",
    "desktop",
    "diagnostics",
    "discovery",
    "env",
    "hooks",
    "mcp",
    "media",
    "memory",
    "messages",
    "meta",
    "nodeHost",
    "plugins",
    "secrets",
    "security",
    "skills",
    "surfaces",
    "talk",
    "telemetry",
    "tools",
    "transcripts",
    "tts",
    "ui",
    "update",
    "web",
    "wizard",
    "worktrees",
    // gateway
    "gateway.allowRealIpFallback",
    "gateway.auth.allowTailscale",
    "gateway.auth.identityScopes",
    "gateway.auth.trustedProxy",
    "gateway.bindIpv6",
    "gateway.cliAgents",
    "gateway.controlUi.allowExternalEmbedUrls",
    "gateway.controlUi.automaticallyFetchFavicons",
    "gateway.controlUi.basePath",
    "gateway.controlUi.communityInvite",
    "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
    "gateway.controlUi.embedSandbox",
    "gateway.controlUi.enabled",
    "gateway.controlUi.environment",
    "gateway.controlUi.experimental",
    "gateway.controlUi.github",
    "gateway.controlUi.root",
    "gateway.http",
    "gateway.nodes.allowCommands",
    "gateway.nodes.allowSkills",
    "gateway.nodes.browser",
    "gateway.nodes.denyCommands",
    "gateway.nodes.pairing.autoApproveCidrs",
    "gateway.nodes.pairing.sshVerify",
    "gateway.nodes.pluginTools",
    "gateway.publicOrigin",
    "gateway.push",
    "gateway.reload",
    "gateway.remote",
    "gateway.roles",
    "gateway.tailscale",
    "gateway.terminal",
    "gateway.tls",
    "gateway.tools",
    "gateway.trustedProxies",
    // session
    "session.agentToAgent",
    "session.dmScope",
    "session.identityLinks",
    "session.idleMinutes",
    "session.maintenance",
    "session.reset",
    "session.resetByChannel",
    "session.resetByType",
    "session.resetTriggers",
    "session.sendPolicy",
    "session.store",
    "session.typingIntervalSeconds",
    "session.typingMode",
    // agents
    "agents.defaults.model.fallbacks",
    "agents.defaults.models.*.params",
    "agents.defaults.blockStreamingBreak",
    "agents.defaults.blockStreamingChunk",
    "agents.defaults.blockStreamingCoalesce",
    "agents.defaults.blockStreamingDefault",
    "agents.defaults.bootstrapMaxChars",
    "agents.defaults.cliBackends",
    "agents.defaults.compaction",
    "agents.defaults.contextPruning",
    "agents.defaults.elevatedDefault",
    "agents.defaults.envelopeElapsed",
    "agents.defaults.envelopeTimestamp",
    "agents.defaults.envelopeTimezone",
    "agents.defaults.heartbeat",
    "agents.defaults.humanDelay",
    "agents.defaults.imageModel",
    "agents.defaults.mediaMaxMb",
    "agents.defaults.memorySearch",
    "agents.defaults.repoRoot",
    "agents.defaults.sandbox",
    "agents.defaults.skipBootstrap",
    "agents.defaults.subagents",
    "agents.defaults.timeFormat",
    "agents.defaults.typingIntervalSeconds",
    "agents.defaults.typingMode",
    "agents.defaults.userTimezone",
    "agents.defaults.workspace",
    "agents.list[].agentDir",
    "agents.list[].groupChat",
    "agents.list[].heartbeat",
    "agents.list[].humanDelay",
    "agents.list[].memorySearch",
    "agents.list[].model.fallbacks",
    "agents.list[].sandbox",
    "agents.list[].subagents",
    "agents.list[].tools",
    "agents.list[].workspace",
    // models
    "models.bedrockDiscovery",
    "models.mode",
    "models.providers.*.auth",
    "models.providers.*.models[].api",
    "models.providers.*.models[].compat.supportsDeveloperRole",
    "models.providers.*.models[].compat.supportsReasoningEffort",
    "models.providers.*.models[].compat.supportsStore",
    "models.providers.*.models[].cost",
    "models.providers.*.models[].headers",
    // logging
    "logging.audit",
    "logging.maxFileBytes",
];
