//! Every limit in one place: its name, default, configuration key, metric and what happens at it (spec 01
//! §1.3, 07 P-34). Hello's policy, the checks and the documentation are made from this table.

use std::time::Duration;

/// A limit as the reference shows it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The name by which errors and the documentation call it.
    pub name: &'static str,
    /// The default.
    pub default: u64,
    /// What is counted.
    pub unit: &'static str,
    /// The configuration key that changes it, if any.
    pub key: Option<&'static str>,
    /// What happens at the limit.
    pub policy: &'static str,
}

macro_rules! limits {
    ($( $const:ident: $name:literal = $default:expr, $unit:literal, $key:expr, $policy:literal; )*) => {
        $( #[doc = concat!("`", $name, "` in ", $unit, ". ", $policy)] pub const $const: u64 = $default; )*

        /// Every limit.
        pub const LIMITS: &[Limit] = &[ $( Limit {
            name: $name, default: $default, unit: $unit, key: $key, policy: $policy,
        }, )* ];
    };
}

limits! {
    PREAUTH_PAYLOAD: "preauth-payload" = 65_536, "bytes", None,
        "A larger message before hello closes the connection with 1009.";
    PREAUTH_FRAMES: "preauth-frames" = 15, "frames", None,
        "One more frame while the handshake runs closes the connection with 1008.";
    PREAUTH_PER_IP: "preauth-connections-per-ip" = 32, "connections", Some("gateway.limits.preauthConnectionsPerIp"),
        "One more unauthenticated connection of one address gets HTTP 503; the slot is free again at hello or close.";
    PREAUTH_TOTAL: "preauth-connections" = 1_024, "connections", None,
        "One more unauthenticated connection of any address gets HTTP 503.";
    HANDSHAKE_MS: "handshake" = 15_000, "ms", Some("gateway.limits.handshakeTimeoutMs"),
        "A connection without hello this long after its challenge was sent closes with 1000.";
    V3_MAX_PAYLOAD: "payload-v3" = 524_288, "bytes", Some("gateway.limits.maxPayloadBytes"),
        "A larger message on a protocol 3 or plain connection closes it with 1009.";
    V3_MAX_BUFFERED: "buffered-v3" = 1_572_864, "bytes", Some("gateway.limits.maxBufferedBytes"),
        "Above it droppable events are left out; any other event closes the connection with 1008 `slow consumer`.";
    V4_MAX_PAYLOAD: "payload-v4" = 26_214_400, "bytes", Some("gateway.limits.v4.maxPayloadBytes"),
        "A larger message on a protocol 4 connection closes it with 1009.";
    V4_MAX_BUFFERED: "buffered-v4" = 52_428_800, "bytes", Some("gateway.limits.v4.maxBufferedBytes"),
        "As `buffered-v3`, for protocol 4 connections.";
    REQUESTS_IN_FLIGHT: "requests-in-flight" = 256, "requests", None,
        "One more unanswered request of a connection is refused with `UNAVAILABLE`, retryable.";
    REQUEST_BYTES_IN_FLIGHT: "request-bytes-in-flight" = 52_428_800, "bytes", None,
        "A request beyond it is refused with `UNAVAILABLE`, retryable.";
    REQUEST_MS: "request" = 30_000, "ms", None,
        "A request whose answer waits longer for the store is refused with `UNAVAILABLE`, retryable; `agent` and `agent.wait` have their own.";
    UNAUTHORIZED_ROLE_RUN: "wrong-role-run" = 10, "answers", None,
        "One more consecutive `unauthorized role` answer closes the connection with 1008.";
    DENIED_REQUESTS: "denied-requests" = 300, "answers", None,
        "One more request or frame that is refused as invalid or not permitted within `denied-window` closes the connection with 1008.";
    DENIED_WINDOW_MS: "denied-window" = 10_000, "ms", None,
        "The window in which refused requests of a connection are counted.";
    PROXY_HOPS: "proxy-hops" = 64, "addresses", None,
        "A longer X-Forwarded-For of which all addresses so far are proxies names nobody: HTTP 403.";
    HINTS: "hints" = 64, "lines", None,
        "Beyond it no line names the setting that would let a refused client in.";
    HINT_MS: "hint-rest" = 600_000, "ms", None,
        "How long such a line is not repeated.";
    APPROVALS_PENDING: "approvals-pending" = 256, "approvals", None,
        "One more approval that waits for an answer is refused with `UNAVAILABLE`, retryable.";
    APPROVALS_KEPT: "approvals-kept" = 1_000, "approvals", None,
        "Beyond it the oldest approval that was decided is forgotten.";
    APPROVALS_KEPT_BYTES: "approvals-kept-bytes" = 16_777_216, "bytes", None,
        "The same for how large they are together.";
    APPROVALS_KEPT_MS: "approvals-kept-time" = 2_592_000_000, "ms", None,
        "How long an approval that was decided can be read: 30 days.";
    APPROVAL_BYTES: "approval" = 65_536, "bytes", None,
        "A larger request for an approval is refused with `INVALID_REQUEST`.";
    APPROVAL_V3_MS: "approval-time-v3" = 120_000, "ms", None,
        "Protocol 3: how long an approval waits when its request names no `timeoutMs`; then it is refused.";
    APPROVAL_V4_MS: "approval-time-v4" = 1_800_000, "ms", None,
        "Protocol 4: the same.";
    APPROVAL_LONGEST_MS: "approval-time" = 86_400_000, "ms", None,
        "The longest `timeoutMs` of an approval; a longer one is cut.";
    APPROVAL_USE_MS: "approval-use" = 120_000, "ms", None,
        "How long the command of an approval may be run after the answer, once.";
    STANDING_GRANTS: "standing-grants" = 500, "grants", None,
        "One more answer `allow-always` with `grantExpiresInDays` is refused with `INVALID_REQUEST`.";
    APPROVALS_FILE_BYTES: "approvals-file" = 262_144, "bytes", None,
        "A larger approvals file is refused with `INVALID_REQUEST`.";
    AUDIT_FOLD_MS: "audit-fold" = 60_000, "ms", None,
        "Denials of one caller and method within it become two lines of the book: the first, and their number.";
    AUDIT_FOLDED: "audit-folded" = 256, "denials", None,
        "Beyond it denials of further callers and methods are counted together.";
    AUDIT_ROWS: "audit" = 100_000, "lines", None,
        "The oldest lines of the book of deeds beyond it are removed.";
    TICK_MS: "tick" = 30_000, "ms", None,
        "The interval of the `tick` event.";
    PING_MS: "ping" = 25_000, "ms", None,
        "The interval of WebSocket pings; a connection that misses two is closed.";
    HEALTH_MS: "health-refresh" = 60_000, "ms", None,
        "The interval of the `health` event.";
    TAILSCALE_STATUS_MS: "tailscale-status" = 5_000, "ms", None,
        "How long the tailnet's program may take to tell how things stand.";
    TAILSCALE_DAEMON_MS: "tailscale-daemon" = 90_000, "ms", None,
        "How long the tailnet's service may take to come up before the claim on its name has failed.";
    TAILSCALE_CLAIM_MS: "tailscale-claim" = 15_000, "ms", None,
        "How long it may take until the claim is seen to be active.";
    TAILSCALE_OUTPUT_BYTES: "tailscale-output" = 1_048_576, "bytes", None,
        "A program of the tailnet that writes more in one answer is ended, and its answer counts as none.";
    WHOIS_MS: "whois" = 5_000, "ms", None,
        "How long the tailnet may take to tell whose an address is; then the identity is refused.";
    WHOIS_TTL_MS: "whois-ttl" = 60_000, "ms", None,
        "How long it is remembered whose an address is.";
    WHOIS_FAILED_TTL_MS: "whois-failed-ttl" = 5_000, "ms", None,
        "How long it is remembered that the tailnet could not tell.";
    WHOIS_ENTRIES: "whois-entries" = 256, "addresses", None,
        "Beyond it the answer that ends first is forgotten.";
    WHOIS_AT_ONCE: "whois-at-once" = 8, "questions", None,
        "The identity of one more address is refused until one of them is answered.";
    WHOIS_WAITING: "whois-waiting" = 64, "connections", None,
        "The identity of one more connection that would have to wait is refused.";
    PRESENCE_ENTRIES: "presence-entries" = 200, "entries", None,
        "Beyond it the oldest entry without a connection is forgotten.";
    PRESENCE_TTL_MS: "presence-ttl" = 300_000, "ms", None,
        "An entry without a connection is forgotten after it.";
    ANSWERS: "answers" = 1_000, "answers", None,
        "Beyond it the oldest recorded answer is forgotten.";
    ANSWER_TTL_MS: "answer-ttl" = 300_000, "ms", None,
        "How long an idempotency key is remembered after its outcome.";
    ANSWER_SWEEP_MS: "answer-sweep" = 60_000, "ms", None,
        "How often recorded answers are swept.";
    AUTH_ATTEMPTS: "auth-attempts" = 10, "failures", Some("gateway.auth.rateLimit.maxAttempts"),
        "As many wrong credentials of one address within the window lock it out for that class.";
    AUTH_WINDOW_MS: "auth-window" = 60_000, "ms", Some("gateway.auth.rateLimit.windowMs"),
        "The window in which failures are counted.";
    AUTH_LOCKOUT_MS: "auth-lockout" = 300_000, "ms", Some("gateway.auth.rateLimit.lockoutMs"),
        "How long a lock-out lasts.";
    AUTH_KEYS: "auth-keys" = 10_000, "addresses", None,
        "When full of locked addresses, unknown ones are refused.";
    AUTH_DELAY_MS: "auth-delay" = 5_000, "ms", None,
        "The longest that the answer to a wrong credential from this host is held back; it starts at 250 ms and doubles.";
    DEVICE_TOKENS: "device-tokens" = 3, "tokens", None,
        "Of more tokens of a device and role the one that was not used for longest ends.";
    DEVICE_USED_STEP_MS: "device-used-step" = 60_000, "ms", None,
        "How exactly the last use of a device token is kept.";
    PAIR_REQUESTS: "pair-requests" = 64, "requests", None,
        "Beyond it the oldest pairing request is dropped.";
    PAIR_REQUESTS_PER_IP: "pair-requests-per-ip" = 8, "requests", None,
        "Beyond it the oldest pairing request of the address is dropped.";
    PAIR_REQUEST_TTL_MS: "pair-request-ttl" = 300_000, "ms", None,
        "How long a pairing request waits for a decision.";
    SETUP_CODES: "setup-codes" = 32, "codes", None,
        "One more setup code is refused until some are forgotten.";
    SETUP_CODE_TTL_MS: "setup-code-ttl" = 600_000, "ms", None,
        "How long a setup code is good at most; whether it was redeemed can be asked for as long again.";
    SERVICE_TOKENS: "service-tokens" = 100, "tokens", None,
        "One more service token is refused until one is revoked or has ended.";
    NODE_RECORDS: "nodes" = 1_024, "nodes", None,
        "Nothing is kept of a further node, and it can be asked for nothing.";
    NODE_INVOKES: "node-invokes-total" = 1_024, "invocations", None,
        "A further `node.invoke` is refused with `UNAVAILABLE`, retryable.";
    NODE_INVOKES_EACH: "node-invokes" = 64, "invocations", None,
        "A further `node.invoke` of the same node is refused with `UNAVAILABLE`, retryable.";
    NODE_INVOKE_MS: "node-invoke" = 30_000, "ms", None,
        "How long `node.invoke` waits when it is not told.";
    NODE_PARAMS_BYTES: "node-params" = 1_048_576, "bytes", None,
        "Larger parameters of `node.invoke` are refused with `INVALID_REQUEST`.";
    NODE_EXECS: "node-execs" = 1_024, "programs", None,
        "Beyond it nothing more is heard of the program on a node that was begun first.";
    NODE_RUNS: "node-runs" = 4, "runs", None,
        "What a node says while so many of its runs are open is not answered.";
    NODE_ACTIONS: "node-actions" = 64, "commands", None,
        "A further command does not wait for the node; its caller is refused.";
    HISTORY_MESSAGES: "history-messages" = 1_000, "messages", None,
        "The most that `chat.history` returns; 200 when not asked for a number.";
    HISTORY_BYTES: "history-bytes" = 6_291_456, "bytes", None,
        "Beyond it `chat.history` leaves the oldest messages out, but keeps at least one.";
    ATTACHMENT_BYTES: "attachment" = 5_000_000, "bytes", None,
        "A larger decoded attachment is refused with `INVALID_REQUEST`.";
    RUNS_ACTIVE: "runs" = 4, "runs", Some("agents.defaults.maxConcurrent"),
        "Further runs wait for a place in the main lane.";
    WATCHED_SESSIONS: "watched-sessions" = 256, "sessions", None,
        "A further `sessions.messages.subscribe` of the connection is refused with `INVALID_REQUEST`.";
    FORK_BYTES: "fork" = 33_554_432, "bytes", None,
        "A conversation with more bytes of messages is not forked, rewound or switched; compact it first.";
    SESSION_GROUPS: "session-groups" = 200, "groups", None,
        "A longer list of groups is refused with `INVALID_REQUEST`.";
    RUNS_WAITING: "runs-waiting" = 1_024, "runs", None,
        "A further run is refused with `UNAVAILABLE`, retryable.";
    RUN_MS: "run" = 600_000, "ms", Some("agents.defaults.timeoutSeconds"),
        "A run that takes longer is aborted with `stopReason` `timeout`.";
    QUEUE_DEBOUNCE_MS: "queue-debounce" = 1_000, "ms", Some("messages.queue.debounceMs"),
        "Messages that wait for a busy session are answered once it is idle and they have been quiet this long.";
    QUEUE_CAP: "queue" = 20, "messages", Some("messages.queue.cap"),
        "One more message for a busy session: `messages.queue.drop` says which one has no turn of its own.";
    SUBAGENTS_ACTIVE: "subagent-runs" = 8, "runs", Some("agents.defaults.subagents.maxConcurrent"),
        "Another run that a tool has started waits for its turn.";
    SHUTDOWN_DRAIN_MS: "shutdown-drain" = 30_000, "ms", Some("gateway.shutdown.drainMs"),
        "A run that is still under way this long after the gateway was asked to stop is aborted with `restart`.";
    RUN_ROUNDS: "run-rounds" = 100, "calls of a model", None,
        "The last call of a run: it is offered no tools, so that the model must answer.";
    RUN_MEMORY_MS: "run-memory" = 600_000, "ms", None,
        "How long `agent.wait` remembers the outcome of a run.";
    SYSTEM_EVENTS: "system-events" = 20, "texts", None,
        "Beyond it the oldest waiting system event of a session is dropped.";
    SYSTEM_EVENT_BYTES: "system-event" = 4_096, "bytes", None,
        "A larger `system-event`, members and text together, is refused with `INVALID_REQUEST`.";
    MODEL_COOLDOWNS: "model-cooldowns" = 1_000, "models", None,
        "Beyond it the model or key that may be asked again soonest is asked at once.";
    TOOL_CALLS: "tool-calls" = 128, "calls", None,
        "A further tool call ends at once with an error.";
    TOOL_MS: "tool" = 60_000, "ms", None,
        "A tool call that takes longer ends with an error; tools that wait for something have limits of their own.";
    TOOL_ARGUMENT_BYTES: "tool-arguments" = 1_048_576, "bytes", None,
        "A tool call with larger arguments ends at once with an error.";
    TOOL_RESULT_BYTES: "tool-result" = 131_072, "bytes", None,
        "The text of a larger result is cut, and says so.";
    MCP_START_MS: "mcp-start" = 30_000, "ms", None,
        "A tool server that has not answered the handshake or listed its tools by then is started again.";
    MCP_CALLS: "mcp-calls" = 64, "requests", None,
        "A further call of the same tool server ends at once with an error.";
    MCP_TOOLS: "mcp-tools" = 512, "tools", None,
        "Further tools of the same server are left out.";
    MCP_MESSAGE_BYTES: "mcp-message" = 4_194_304, "bytes", None,
        "A tool server that sends a larger message is started again.";
    API_REQUESTS: "api-requests" = 256, "requests", None,
        "One more HTTP request for an endpoint of programs is answered with 503, to be sent again.";
    API_KEEP_ALIVE_MS: "api-keep-alive" = 15_000, "ms", None,
        "A stream of server-sent events that is silent for so long gets a comment.";
    CHAT_BODY_BYTES: "chat-completions-body" = 20_971_520, "bytes", None,
        "A larger body of `/v1/chat/completions` is answered with 413.";
    RESPONSES_BODY_BYTES: "responses-body" = 20_971_520, "bytes",
        Some("gateway.http.endpoints.responses.maxBodyBytes"),
        "A larger body of `/v1/responses` is answered with 413.";
    EMBEDDINGS_BODY_BYTES: "embeddings-body" = 5_242_880, "bytes", None,
        "A larger body of `/v1/embeddings` is answered with 413.";
    INVOKE_BODY_BYTES: "tools-invoke-body" = 2_097_152, "bytes", None,
        "A larger body of `/tools/invoke` is answered with 413.";
    API_MESSAGES: "api-messages" = 2_048, "messages", None,
        "A request with more messages or input items is answered with 400.";
    API_TOOLS: "api-tools" = 128, "tools", None,
        "A request with more tools of the client is answered with 400.";
    CHAT_IMAGES: "chat-completions-images" = 8, "images", None,
        "A message of `/v1/chat/completions` with more images is answered with 400.";
    RESPONSES_PARTS: "responses-parts" = 8, "parts", Some("gateway.http.endpoints.responses.maxUrlParts"),
        "A request of `/v1/responses` with more images and files is answered with 400.";
    API_IMAGE_BYTES: "api-image" = 10_485_760, "bytes", Some("gateway.http.endpoints.responses.images.maxBytes"),
        "A larger image is answered with 400.";
    API_IMAGES_BYTES: "api-images" = 20_971_520, "bytes", None,
        "A request whose images are larger together is answered with 400.";
    API_FILE_BYTES: "api-file" = 5_242_880, "bytes", Some("gateway.http.endpoints.responses.files.maxBytes"),
        "A larger file is answered with 400.";
    API_FILE_CHARS: "api-file-text" = 60_000, "characters", Some("gateway.http.endpoints.responses.files.maxChars"),
        "The text of a file is cut there.";
    RESPONSES_KEPT: "responses-kept" = 1_000, "responses", None,
        "Beyond it the oldest response can no longer be named by `previous_response_id`.";
    RESPONSES_KEPT_MS: "responses-kept-time" = 86_400_000, "ms", None,
        "How long a response can be named by `previous_response_id`.";
    EMBEDDING_INPUTS: "embedding-inputs" = 128, "texts", None,
        "More texts in one request of `/v1/embeddings` are answered with 400.";
    EMBEDDING_CHARS: "embedding-text" = 8_192, "characters", None,
        "A longer text is answered with 400.";
    EMBEDDING_TOTAL_CHARS: "embedding-texts" = 65_536, "characters", None,
        "Texts that are longer together are answered with 400.";
    EMBEDDING_BYTES: "embedding-answer" = 33_554_432, "bytes", None,
        "A larger answer of the embedding server is given up.";
    HTTP_HEADER_BYTES: "http-headers" = 16_384, "bytes", None,
        "A larger request head is answered with 431 and closed.";
    HTTP_HEADER_MS: "http-header-time" = 60_000, "ms", None,
        "A request head that takes longer closes the connection.";
    TLS_HANDSHAKE_MS: "tls-handshake" = 10_000, "ms", None,
        "A TLS handshake that takes longer closes the connection.";
    TLS_HANDSHAKES_PER_IP: "tls-handshakes-per-ip" = 256, "connections", None,
        "One more unfinished TLS handshake of one address is dropped.";
    HTTP_BODY_MS: "http-body-time" = 30_000, "ms", None,
        "A request body of which nothing comes for so long is answered with 408 and closed.";
    HTTP_BODIES_BYTES: "http-bodies" = 134_217_728, "bytes", None,
        "All request bodies that are being read, together. A further one is answered with 503 and `Retry-After`.";
    HTTP_UNREAD_BYTES: "http-unread" = 4_194_304, "bytes", None,
        "A client that leaves more of a streamed answer unread is given up: its connection ends.";
    PROCESS_INPUT_BYTES: "process-input" = 8_388_608, "bytes", None,
        "A process that leaves more of its input unread is killed.";
    NODE_CONNECT_MS: "node-connect" = 15_000, "ms", None,
        "A node host gives an attempt up whose hello has not come by then.";
    NODE_APPROVAL_MS: "node-approval-poll" = 15_000, "ms", None,
        "How often a node host that waits for its approval tries again.";
    NODE_PAUSE_MS: "node-pause" = 600_000, "ms", None,
        "How often a node host tries again after a refusal that a person has to lift.";
    NODE_JOBS: "node-jobs" = 16, "commands", None,
        "One more command at once is refused by a node host with `UNAVAILABLE`.";
    NODE_RUN_MS: "node-run" = 1_800_000, "ms", None,
        "How long a command of `system.run` may take that names no time of its own; then its process group is killed.";
    NODE_RUN_LONGEST_MS: "node-run-longest" = 86_400_000, "ms", None,
        "The longest time that a command of `system.run` may name.";
    NODE_OUTPUT_BYTES: "node-output" = 200_000, "bytes", None,
        "What a command of `system.run` writes beyond it, to both streams together, is dropped and marked.";
    NODE_PICTURE_BYTES: "node-picture" = 5_000_000, "bytes", None,
        "A larger picture of `camera.snap` is an error.";
    NODE_LISTING: "node-listing" = 1_000, "entries", None,
        "What a directory holds beyond it is left out of `fs.listDir` and marked.";
}

/// A limit in milliseconds as a duration.
pub(crate) const fn millis(limit: u64) -> Duration {
    Duration::from_millis(limit)
}

/// A limit in bytes or items as a length.
pub(crate) fn length(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
