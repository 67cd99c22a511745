//! Every configuration key in one place: its kind, its default and what it means (spec 05 §3). Validation, the
//! defaults that `config.get` shows and the configuration page of the documentation are made from this table.

pub use super::kind::Kind;
use super::reach::Mdns;
use crate::settings::{QueueDrop, QueueMode};

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
pub(super) const AUTH_MODES: &[&str] = &["none", "token", "password", "trusted-proxy"];
/// How Tailscale stands in front of the gateway.
pub(super) const EXPOSURES: &[&str] = &["off", "serve", "funnel"];
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
/// When a session begins anew by itself.
const RESETS: &[&str] = &["daily", "idle", "none"];
/// What a rule about messages says.
const VERDICTS: &[&str] = &["allow", "deny"];
const PROFILES: &[&str] = &["minimal", "coding", "messaging", "full"];
const THINKING: &[&str] = &["off", "minimal", "low", "medium", "high", "xhigh"];
const APIS: &[&str] = &[
    "openai-completions",
    "openai-responses",
    "anthropic-messages",
    "ollama",
    "openai",
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
        "`remote` says that the gateway runs on another machine: commands speak to `gateway.remote.url`, and `gateway run` refuses to start here.";
    "gateway.port" Kind::Count(1, 65_535), Some("18789"),
        "The port for WebSocket and HTTP. `OPENCLAW_GATEWAY_PORT` beats it, `--port` beats both.";
    "gateway.bind" Kind::Choice(BINDS), Some("\"loopback\""),
        "Who can reach the port: `loopback` this machine; `lan` everyone (0.0.0.0); `tailnet` this machine and the tailnet address; `custom` this machine and `gateway.customBindHost`; `auto` this machine, or everyone inside a container.";
    "gateway.customBindHost" Kind::Ipv4, None,
        "The address of bind mode `custom`.";
    "gateway.bindIpv6" Kind::Flag, Some("false"),
        "Listen on every IPv6 address too where the gateway listens on every IPv4 address.";
    "gateway.tls.enabled" Kind::Flag, Some("false"),
        "Speak TLS on the port: `wss://` and `https://` only.";
    "gateway.tls.autoGenerate" Kind::Flag, Some("true"),
        "Make certificate and key when both files are missing, and renew a certificate that was made here before it ends, with the same key.";
    "gateway.tls.certPath" Kind::Path, None,
        "The certificate and its chain in PEM form; `gateway/tls/gateway-cert.pem` in the state directory when unset.";
    "gateway.tls.keyPath" Kind::Path, None,
        "Its private key; `gateway/tls/gateway-key.pem` in the state directory when unset.";
    "gateway.tls.caPath" Kind::Path, None,
        "Further certificates that are sent behind the gateway's own. Clients are never asked for certificates.";
    "gateway.remote.url" Kind::Socket, None,
        "The gateway that commands speak to when `gateway.mode` is `remote`: `wss://host:port`.";
    "gateway.remote.token" Kind::Secret, None,
        "The token to present there. It is sent nowhere else.";
    "gateway.remote.password" Kind::Secret, None,
        "The password to present there. It is sent nowhere else.";
    "gateway.remote.tlsFingerprint" Kind::Fingerprint, None,
        "The SHA-256 fingerprint of its certificate, or of the certificate's public key. Unset: the certificate must be publicly trusted, or pinned by `tls pin`.";
    "discovery.mdns.mode" Kind::Choice(Mdns::WORDS), None,
        "What the gateway announces in the local network when others can reach it: `minimal` what a client needs, `full` the SSH port and the program's path too, `off` nothing. Unset: `off` on Linux and in containers, else `minimal`.";
    "gateway.auth.mode" Kind::Choice(AUTH_MODES), None,
        "What clients must present. Unset: the mode of the one secret that is configured, else `token` with a token made at the first start. `none` is permitted on a loopback bind only; `trusted-proxy` takes the users that a proxy of `gateway.trustedProxies` names.";
    "gateway.auth.token" Kind::Secret, None,
        "The shared token. Beats `OPENCLAW_GATEWAY_TOKEN`; `--token` beats both.";
    "gateway.auth.password" Kind::Secret, None,
        "The shared password. Beats `OPENCLAW_GATEWAY_PASSWORD`; `--password` beats both.";
    "gateway.auth.allowTailscale" Kind::Flag, None,
        "Let the tailnet vouch for its users, on connections that come through `tailscale serve`. Unset: yes when `gateway.tailscale.mode` is `serve` and the gateway asks for a token.";
    "gateway.auth.rateLimit.maxAttempts" Kind::Count(1, 1_000), Some("10"),
        "Wrong credentials of one address within the window before it is locked out.";
    "gateway.auth.rateLimit.windowMs" Kind::Count(1_000, DAY_MS), Some("60000"),
        "The window in which wrong credentials are counted.";
    "gateway.auth.rateLimit.lockoutMs" Kind::Count(1_000, DAY_MS), Some("300000"),
        "How long a lock-out lasts.";
    "gateway.auth.rateLimit.exemptLoopback" Kind::Flag, Some("true"),
        "Slow loopback addresses down instead of locking them out.";
    "gateway.tailscale.mode" Kind::Choice(EXPOSURES), Some("\"off\""),
        "`serve` makes the gateway reachable under this machine's name in the tailnet, `funnel` from the internet; both need a loopback bind, `funnel` a password. `--tailscale` beats it.";
    "gateway.tailscale.resetOnExit" Kind::Flag, None,
        "Accepted and without effect: the tailnet's route always ends with the gateway, and other routes of the machine are never touched.";
    "gateway.auth.trustedProxy.userHeader" Kind::Header, None,
        "Mode `trusted-proxy`: the header in which the proxy names the user.";
    "gateway.auth.trustedProxy.requiredHeaders" Kind::Headers, Some("[]"),
        "Mode `trusted-proxy`: headers that must be there too.";
    "gateway.auth.trustedProxy.allowUsers" Kind::Texts, Some("[]"),
        "Mode `trusted-proxy`: the users that are let in. Empty lets in all that the proxy names.";
    "gateway.auth.trustedProxy.allowLoopback" Kind::Flag, Some("false"),
        "Mode `trusted-proxy`: take the word of a proxy on this host. Any process here could speak like it, so it must prove itself with `secretHeader`.";
    "gateway.auth.trustedProxy.secretHeader.name" Kind::Header, None,
        "Mode `trusted-proxy`: the header by which the proxy proves itself.";
    "gateway.auth.trustedProxy.secretHeader.value" Kind::Secret, None,
        "Mode `trusted-proxy`: what stands in it, 16 characters at least. The proxy must overwrite what clients send.";
    "gateway.auth.identityScopes.*" Kind::Choices(SCOPES), None,
        "What the user of this name may do, for whom a proxy or the tailnet vouches. Without an entry a proxy's user may read, and the tailnet's is limited by what the device is approved for.";
    "gateway.trustedProxies" Kind::Networks, Some("[]"),
        "Addresses and networks of reverse proxies whose `X-Forwarded-For` counts. Requests through any other proxy are refused.";
    "gateway.allowRealIpFallback" Kind::Flag, Some("false"),
        "Take the client's address from `X-Real-IP` when a trusted proxy sends no `X-Forwarded-For`. Only for proxies that overwrite it.";
    "gateway.allowedHosts" Kind::Hosts, Some("[]"),
        "Further host names by which clients may ask for this gateway: a name, `*.` and a suffix, or `*`. Addresses, `localhost`, this host's name, `*.local`, `*.ts.net` and the hosts of `gateway.controlUi.allowedOrigins` are known anyway.";
    "gateway.http.securityHeaders.strictTransportSecurity" Kind::TextOrOff, None,
        "The `Strict-Transport-Security` header of answers to clients that came by TLS, such as `max-age=31536000`.";
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
    "gateway.nodes.allowCommands" Kind::Texts, Some("[]"),
        "Commands that nodes may be asked for beyond those of their platform; exact names.";
    "gateway.nodes.denyCommands" Kind::Texts, Some("[]"),
        "Commands that no node may be asked for; goes before everything that allows.";
    "gateway.nodes.commands.allow" Kind::Texts, Some("[]"),
        "The same as `gateway.nodes.allowCommands`, under its newer name.";
    "gateway.nodes.commands.deny" Kind::Texts, Some("[]"),
        "The same as `gateway.nodes.denyCommands`, under its newer name.";
    "gateway.nodes.pairing.autoApproveLocal" Kind::Flag, Some("true"),
        "Pair devices of direct loopback connections at once; what a paired device asks for beyond that waits.";
    "gateway.nodes.pairing.autoApproveCidrs" Kind::Networks, Some("[]"),
        "Networks such as `192.168.1.0/24` whose new nodes are paired at once, when they know the secret and ask for no scopes.";
    "gateway.http.legacyNames" Kind::Flag, Some("true"),
        "Over HTTP, know headers `x-clawdbot-…` and `x-moltbot-…` and models `clawdbot/<agent>` and `moltbot/<agent>` too.";
    "gateway.http.endpoints.chatCompletions.enabled" Kind::Flag, Some("false"),
        "Serve `POST /v1/chat/completions`.";
    "gateway.http.endpoints.chatCompletions.acceptAnyModel" Kind::Flag, Some("false"),
        "Let every model name that is no agent mean the default agent, for programs that insist on one such as `gpt-4o`.";
    "gateway.http.endpoints.chatCompletions.images.allowUrl" Kind::Flag, Some("false"),
        "Whether an image of a chat completion may be named by URL. The gateway fetches it from public addresses only.";
    "gateway.http.endpoints.chatCompletions.images.urlAllowlist" Kind::Texts, Some("[]"),
        "The hosts from which an image of a chat completion may be fetched: a name, or `*.` and a suffix. Empty allows every public host.";
    "gateway.http.endpoints.chatCompletions.images.allowedMimes" Kind::Texts,
        Some("[\"image/jpeg\",\"image/png\",\"image/gif\",\"image/webp\"]"),
        "The MIME types of an image of a chat completion.";
    "gateway.http.endpoints.chatCompletions.images.maxBytes" Kind::Count(1, 64 * MIB), Some("10485760"),
        "The most bytes of an image of a chat completion.";
    "gateway.http.endpoints.chatCompletions.images.maxRedirects" Kind::Count(0, 20), Some("3"),
        "The most redirects when fetching an image of a chat completion.";
    "gateway.http.endpoints.chatCompletions.images.timeoutMs" Kind::Count(100, 600_000), Some("10000"),
        "How long fetching an image of a chat completion may take.";
    "gateway.http.endpoints.responses.enabled" Kind::Flag, Some("false"),
        "Serve `POST /v1/responses`.";
    "gateway.http.endpoints.responses.acceptAnyModel" Kind::Flag, Some("false"),
        "As for chat completions.";
    "gateway.http.endpoints.responses.maxBodyBytes" Kind::Count(1_024, 256 * MIB), Some("20971520"),
        "The largest body of a request for a response.";
    "gateway.http.endpoints.responses.maxUrlParts" Kind::Count(0, 64), Some("8"),
        "The most images and files of one request for a response.";
    "gateway.http.endpoints.responses.images.allowUrl" Kind::Flag, Some("true"),
        "Whether an image of a response may be named by URL. The gateway fetches it from public addresses only.";
    "gateway.http.endpoints.responses.images.urlAllowlist" Kind::Texts, Some("[]"),
        "The hosts from which an image of a response may be fetched: a name, or `*.` and a suffix. Empty allows every public host.";
    "gateway.http.endpoints.responses.images.allowedMimes" Kind::Texts,
        Some("[\"image/jpeg\",\"image/png\",\"image/gif\",\"image/webp\"]"),
        "The MIME types of an image of a response.";
    "gateway.http.endpoints.responses.images.maxBytes" Kind::Count(1, 64 * MIB), Some("10485760"),
        "The most bytes of an image of a response.";
    "gateway.http.endpoints.responses.images.maxRedirects" Kind::Count(0, 20), Some("3"),
        "The most redirects when fetching an image of a response.";
    "gateway.http.endpoints.responses.images.timeoutMs" Kind::Count(100, 600_000), Some("10000"),
        "How long fetching an image of a response may take.";
    "gateway.http.endpoints.responses.files.allowUrl" Kind::Flag, Some("true"),
        "Whether a file of a response may be named by URL. The gateway fetches it from public addresses only.";
    "gateway.http.endpoints.responses.files.urlAllowlist" Kind::Texts, Some("[]"),
        "The hosts from which a file of a response may be fetched: a name, or `*.` and a suffix. Empty allows every public host.";
    "gateway.http.endpoints.responses.files.allowedMimes" Kind::Texts,
        Some("[\"text/plain\",\"text/markdown\",\"text/html\",\"text/csv\",\"application/json\"]"),
        "The MIME types of a file of a response.";
    "gateway.http.endpoints.responses.files.maxBytes" Kind::Count(1, 64 * MIB), Some("5242880"),
        "The most bytes of a file of a response.";
    "gateway.http.endpoints.responses.files.maxRedirects" Kind::Count(0, 20), Some("3"),
        "The most redirects when fetching a file of a response.";
    "gateway.http.endpoints.responses.files.timeoutMs" Kind::Count(100, 600_000), Some("10000"),
        "How long fetching a file of a response may take.";
    "gateway.http.endpoints.responses.files.maxChars" Kind::Count(1, 10_000_000), Some("60000"),
        "The text of a file is cut after so many characters.";
    "gateway.tools.allow" Kind::Texts, Some("[]"),
        "Tools that `/tools/invoke` may call although they are on its deny-list. The agent's own policy still holds.";
    "gateway.tools.deny" Kind::Texts, Some("[]"),
        "Further tools that `/tools/invoke` must not call.";

    "session.scope" Kind::Choice(&["per-sender", "global"]), Some("\"per-sender\""),
        "`global` makes one conversation of all.";
    "session.mainKey" Kind::Text, Some("\"main\""),
        "The word for an agent's main session.";
    "session.resetTriggers" Kind::Texts, Some("[\"/new\", \"/reset\"]"),
        "The words that begin a session anew when a message begins with them.";
    "session.reset.mode" Kind::Choice(RESETS), Some("\"daily\""),
        "When a session begins anew by itself, as the next message arrives: `daily` at an hour, `idle` after a while without messages, `none` never.";
    "session.reset.atHour" Kind::Count(0, 23), Some("4"),
        "The hour of mode `daily`, in the gateway's local time.";
    "session.reset.idleMinutes" Kind::Count(1, 5_256_000), None,
        "After so many idle minutes a session begins anew, in mode `daily` too; 60 in mode `idle` when unset.";
    "session.idleMinutes" Kind::Count(1, 5_256_000), None,
        "The old way to write mode `idle`; counts when `session.reset` is absent.";
    "session.resetByType.dm.mode" Kind::Choice(RESETS), None,
        "As `session.reset.mode`, for direct conversations.";
    "session.resetByType.dm.atHour" Kind::Count(0, 23), None,
        "As `session.reset.atHour`, for direct conversations.";
    "session.resetByType.dm.idleMinutes" Kind::Count(1, 5_256_000), None,
        "As `session.reset.idleMinutes`, for direct conversations.";
    "session.resetByType.direct.mode" Kind::Choice(RESETS), None,
        "As `session.reset.mode`, for direct conversations.";
    "session.resetByType.direct.atHour" Kind::Count(0, 23), None,
        "As `session.reset.atHour`, for direct conversations.";
    "session.resetByType.direct.idleMinutes" Kind::Count(1, 5_256_000), None,
        "As `session.reset.idleMinutes`, for direct conversations.";
    "session.resetByType.group.mode" Kind::Choice(RESETS), None,
        "As `session.reset.mode`, for groups and channels.";
    "session.resetByType.group.atHour" Kind::Count(0, 23), None,
        "As `session.reset.atHour`, for groups and channels.";
    "session.resetByType.group.idleMinutes" Kind::Count(1, 5_256_000), None,
        "As `session.reset.idleMinutes`, for groups and channels.";
    "session.resetByType.thread.mode" Kind::Choice(RESETS), None,
        "As `session.reset.mode`, for threads and topics.";
    "session.resetByType.thread.atHour" Kind::Count(0, 23), None,
        "As `session.reset.atHour`, for threads and topics.";
    "session.resetByType.thread.idleMinutes" Kind::Count(1, 5_256_000), None,
        "As `session.reset.idleMinutes`, for threads and topics.";
    "session.resetByChannel.*.mode" Kind::Choice(RESETS), None,
        "As `session.reset.mode`, for one channel such as `webchat`; beats the type.";
    "session.resetByChannel.*.atHour" Kind::Count(0, 23), None,
        "As `session.reset.atHour`, for one channel.";
    "session.resetByChannel.*.idleMinutes" Kind::Count(1, 5_256_000), None,
        "As `session.reset.idleMinutes`, for one channel.";
    "session.sendPolicy.default" Kind::Choice(VERDICTS), Some("\"allow\""),
        "Whether sessions that no rule fits take messages.";
    "session.sendPolicy.rules[].action" Kind::Choice(VERDICTS), None,
        "What the rule says. Required. A rule that denies beats one that allows.";
    "session.sendPolicy.rules[].match.channel" Kind::Text, None,
        "The rule fits sessions of this channel.";
    "session.sendPolicy.rules[].match.chatType" Kind::Choice(&["direct", "dm", "group", "channel"]), None,
        "The rule fits conversations of this kind.";
    "session.sendPolicy.rules[].match.keyPrefix" Kind::Text, None,
        "The rule fits sessions whose key begins so, with or without `agent:<id>:`.";

    "messages.queue.mode" Kind::Choice(&QueueMode::WORDS), Some("\"collect\""),
        "What a message does while its session is busy. `queue` is an old name of `steer`.";
    "messages.queue.debounceMs" Kind::Count(0, DAY_MS), Some("1000"),
        "How long waiting messages wait for more.";
    "messages.queue.cap" Kind::Count(1, 1_000), Some("20"),
        "How many messages may wait.";
    "messages.queue.drop" Kind::Choice(&QueueDrop::WORDS), Some("\"summarize\""),
        "What becomes of messages beyond the cap.";
    "messages.queue.byChannel.*" Kind::Choice(&QueueMode::WORDS), None,
        "The mode of one channel.";
    "messages.queue.debounceMsByChannel.*" Kind::Count(0, DAY_MS), None,
        "The wait of one channel.";

    "agents.defaults.model" Kind::Model, Some("\"echo/echo\""),
        "The model of agents that name none. Written as a text, or as `{primary: …}`. `echo/echo` repeats the user's words.";
    "agents.defaults.model.primary" Kind::Model, None,
        "The same.";
    "agents.defaults.model.fallbacks" Kind::Models, None,
        "The models that are asked, in this order, when the first cannot answer: it is down, asked too often, or its key is refused.";
    "agents.defaults.models.*.alias" Kind::Text, None,
        "A short name for a model. When any model is listed here, only the listed ones may be chosen.";
    "agents.defaults.models.*.thinkingDefault" Kind::Choice(THINKING), None,
        "How much this model thinks, unless a session says otherwise.";
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
    "agents.defaults.memorySearch.provider" Kind::Text, None,
        "The model provider (`models.providers.<id>`) that makes embeddings for `/v1/embeddings`.";
    "agents.defaults.memorySearch.model" Kind::Text, None,
        "Its embedding model.";
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
    "agents.list[].model.fallbacks" Kind::Models, None,
        "What it asks when its model cannot answer; the default's fallbacks when unset, nobody when empty.";
    "agents.list[].identity.name" Kind::Text, None,
        "How it calls itself.";
    "agents.list[].identity.theme" Kind::Text, None,
        "What it is like, in a few words.";
    "agents.list[].identity.emoji" Kind::Text, None,
        "The emoji that stands for it.";
    "agents.list[].identity.avatar" Kind::Text, None,
        "A URL, a data URI or a short text.";

    "auth.profiles.*.provider" Kind::Text, None,
        "The provider that the key is for; what stands before the colon of the profile's name when unset.";
    "auth.profiles.*.mode" Kind::Choice(&["api_key", "token", "oauth"]), Some("\"api_key\""),
        "How the key is presented: as the API presents keys, or as a bearer `token`. `oauth` is not supported; such a profile is left out with a warning.";
    "auth.profiles.*.key" Kind::Secret, None,
        "The key. Write `${NAME}` to take it from the environment. Unset: the provider's own variable.";
    "auth.profiles.*.email" Kind::Text, None,
        "Whose key it is, for people.";
    "auth.order.*" Kind::Texts, None,
        "The profiles of a provider in the order in which they are tried; others are not. `<provider>:config` is the provider's `apiKey`, `<provider>:env` the key of the environment.";
    "auth.cooldowns.billingBackoffHours" Kind::Count(1, 8_760), Some("5"),
        "How long a key rests when its bill is not paid or its quota is used up; twice as long each time.";
    "auth.cooldowns.billingBackoffHoursByProvider.*" Kind::Count(1, 8_760), None,
        "The same for one provider.";
    "auth.cooldowns.billingMaxHours" Kind::Count(1, 8_760), Some("24"),
        "The longest such rest.";
    "auth.cooldowns.failureWindowHours" Kind::Count(1, 8_760), Some("24"),
        "Failures that are older do not count any more.";

    "models.mode" Kind::Choice(&["merge", "replace"]), Some("\"merge\""),
        "`replace` leaves out the providers and models that are known without being configured.";
    "models.providers.*.baseUrl" Kind::Url, None,
        "Where the model server is, such as `http://127.0.0.1:8080/v1`. Required unless the provider is a known one.";
    "models.providers.*.apiKey" Kind::Secret, None,
        "Its key. Write `${NAME}` to take it from the environment.";
    "models.providers.*.auth" Kind::Choice(&["api-key", "token", "oauth", "aws-sdk"]), Some("\"api-key\""),
        "How `apiKey` is presented: as the API presents keys, or as a bearer `token`. Providers with `oauth` or `aws-sdk` are left out with a warning.";
    "models.providers.*.api" Kind::Choice(APIS), None,
        "What it speaks; `openai-completions` when unset and the provider is not a known one. This gateway speaks `openai-completions`, `openai-responses`, `anthropic-messages` and `ollama`; providers with another word are left out with a warning.";
    "models.providers.*.authHeader" Kind::Flag, None,
        "Send the key as `Authorization: Bearer …`. Unset: yes, except with `anthropic-messages`, which gets it as `x-api-key`.";
    "models.providers.*.headers.*" Kind::Secret, None,
        "A further request header.";
    "models.providers.*.models[].id" Kind::Text, None,
        "The model's id at the provider. Required.";
    "models.providers.*.models[].name" Kind::Text, None,
        "The name to show; the id when unset.";
    "models.providers.*.models[].api" Kind::Choice(APIS), None,
        "What it speaks, when that is not what its provider speaks.";
    "models.providers.*.models[].reasoning" Kind::Flag, None,
        "Whether it thinks before it answers; no when nothing is known of it.";
    "models.providers.*.models[].xhigh" Kind::Flag, None,
        "Whether it knows the thinking level `xhigh`; no when nothing is known of it.";
    "models.providers.*.models[].tools" Kind::Flag, Some("true"),
        "Whether it calls tools.";
    "models.providers.*.models[].input" Kind::Choices(&["text", "image"]), None,
        "What it takes; text when nothing is known of it.";
    "models.providers.*.models[].contextWindow" Kind::Count(1, 100_000_000), None,
        "Its context window in tokens; 200000 when nothing is known of it, 32768 on Ollama, where it is the memory that is used.";
    "models.providers.*.models[].maxTokens" Kind::Count(1, 100_000_000), None,
        "The most tokens of an answer; 8192 when nothing is known of it, and never more than the context window.";
    "models.providers.*.models[].cost.input" Kind::Amount, None,
        "What a million tokens of the prompt cost in US dollars.";
    "models.providers.*.models[].cost.output" Kind::Amount, None,
        "What a million tokens of the answer cost.";
    "models.providers.*.models[].cost.cacheRead" Kind::Amount, None,
        "What a million tokens cost that the prompt takes from the provider's cache.";
    "models.providers.*.models[].cost.cacheWrite" Kind::Amount, None,
        "What a million tokens cost that the prompt puts there.";
    "models.providers.*.models[].compat.maxTokensField" Kind::Choice(&["max_tokens", "max_completion_tokens"]),
        Some("\"max_tokens\""),
        "How the server spells the limit of an answer.";

    "tools.profile" Kind::Choice(PROFILES), None,
        "The set of tools every agent begins with; everything when unset.";
    "tools.allow" Kind::Texts, Some("[]"),
        "Only these tools: names, names with `*`, or groups such as `group:web`. Not together with `alsoAllow`.";
    "tools.alsoAllow" Kind::Texts, Some("[]"),
        "These tools beyond the profile.";
    "tools.deny" Kind::Texts, Some("[]"),
        "Not these tools, whatever else is said.";
    "tools.byProvider.*.profile" Kind::Choice(PROFILES), None,
        "The set of tools an agent on this provider, or `provider/model`, begins with; everything when unset.";
    "tools.byProvider.*.allow" Kind::Texts, Some("[]"),
        "Only these tools: names, names with `*`, or groups such as `group:web`. Not together with `alsoAllow`.";
    "tools.byProvider.*.alsoAllow" Kind::Texts, Some("[]"),
        "These tools beyond the profile.";
    "tools.byProvider.*.deny" Kind::Texts, Some("[]"),
        "Not these tools, whatever else is said.";
    "agents.list[].tools.profile" Kind::Choice(PROFILES), None,
        "The set of tools the agent begins with; everything when unset.";
    "agents.list[].tools.allow" Kind::Texts, Some("[]"),
        "Only these tools: names, names with `*`, or groups such as `group:web`. Not together with `alsoAllow`.";
    "agents.list[].tools.alsoAllow" Kind::Texts, Some("[]"),
        "These tools beyond the profile.";
    "agents.list[].tools.deny" Kind::Texts, Some("[]"),
        "Not these tools, whatever else is said.";
    "agents.list[].tools.byProvider.*.profile" Kind::Choice(PROFILES), None,
        "The set of tools the agent on this provider, or `provider/model`, begins with; everything when unset.";
    "agents.list[].tools.byProvider.*.allow" Kind::Texts, Some("[]"),
        "Only these tools: names, names with `*`, or groups such as `group:web`. Not together with `alsoAllow`.";
    "agents.list[].tools.byProvider.*.alsoAllow" Kind::Texts, Some("[]"),
        "These tools beyond the profile.";
    "agents.list[].tools.byProvider.*.deny" Kind::Texts, Some("[]"),
        "Not these tools, whatever else is said.";
    "tools.subagents.tools.allow" Kind::Texts, Some("[]"),
        "Only these tools: names, names with `*`, or groups such as `group:web`. Not together with `alsoAllow`.";
    "tools.subagents.tools.alsoAllow" Kind::Texts, Some("[]"),
        "These tools beyond the profile.";
    "tools.subagents.tools.deny" Kind::Texts, Some("[]"),
        "Not these tools, whatever else is said.";
    "tools.sessions.visibility" Kind::Choice(&["self", "tree", "agent", "all"]), Some("\"tree\""),
        "Which sessions the tools of a session reach: itself, those it has started too, every one of its agent, or all.";
    "tools.agentToAgent.enabled" Kind::Flag, Some("false"),
        "Let the tools of one agent reach sessions of another, when `tools.sessions.visibility` is `all`.";
    "tools.agentToAgent.allow" Kind::Texts, Some("[]"),
        "The agents that may reach each other, with `*` as wildcard; all when empty.";
    "tools.web.fetch.enabled" Kind::Flag, Some("true"),
        "Whether agents may fetch pages of the public web.";
    "tools.web.fetch.maxChars" Kind::Count(100, 1_000_000), Some("50000"),
        "The most characters of a page.";
    "tools.web.fetch.maxBytes" Kind::Count(1_024, 64 * MIB), Some("2000000"),
        "The largest page in bytes.";
    "tools.web.fetch.timeoutSeconds" Kind::Count(1, 600), Some("30"),
        "How long a page may take, redirects included.";
    "tools.web.fetch.maxRedirects" Kind::Count(0, 5), Some("3"),
        "How many redirects are followed.";
    "tools.web.fetch.userAgent" Kind::Text, None,
        "The user agent that pages see.";
    "agents.defaults.subagents.maxConcurrent" Kind::Count(1, 100), Some("8"),
        "How many runs that tools have started go at once.";
    "agents.defaults.subagents.maxSpawnDepth" Kind::Count(1, 5), Some("1"),
        "How deep sub-agents nest: with 1 a sub-agent starts none.";
    "agents.defaults.subagents.maxChildrenPerAgent" Kind::Count(1, 20), Some("5"),
        "How many sub-agents of one session run at once.";
    "agents.defaults.subagents.runTimeoutSeconds" Kind::Count(1, 7 * 24 * 3_600), None,
        "How long a sub-agent may run; as any run when unset.";
    "agents.defaults.subagents.model" Kind::Model, None,
        "The model of sub-agents that are given none.";
    "agents.list[].subagents.allowAgents" Kind::Texts, Some("[]"),
        "The agents that it may start beside itself; `*` for any.";
    "mcp.servers.*.command" Kind::Text, None,
        "The program of a tool server that speaks by lines. Either this or `url` is required.";
    "mcp.servers.*.args" Kind::Texts, Some("[]"),
        "Its arguments.";
    "mcp.servers.*.env.*" Kind::Secret, None,
        "A variable of its environment, which else holds `PATH`, `HOME`, `LANG` and `TMPDIR` only.";
    "mcp.servers.*.cwd" Kind::Text, None,
        "Its working directory, as an absolute path; that of the gateway when unset.";
    "mcp.servers.*.url" Kind::Url, None,
        "Where a tool server that speaks streamable HTTP is.";
    "mcp.servers.*.headers.*" Kind::Secret, None,
        "A further header of each request to it.";
    "mcp.servers.*.transport" Kind::Choice(&["stdio", "streamable-http"]), None,
        "How it is reached; known by `command` or `url`, so it need not be said.";
    "mcp.servers.*.enabled" Kind::Flag, Some("true"),
        "Whether it is started.";
    "mcp.servers.*.timeoutMs" Kind::Count(1_000, 3_600_000), Some("60000"),
        "How long a call may take.";
    "mcp.servers.*.tools.allow" Kind::Texts, Some("[]"),
        "Only these of its tools, by the server's own names with `*` as wildcard; all when empty.";
    "mcp.servers.*.tools.deny" Kind::Texts, Some("[]"),
        "Not these of its tools.";
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
