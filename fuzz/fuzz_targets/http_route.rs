//! Whatever a plain HTTP request asks for, in every phase of the gateway: one answer, well-formed, and nothing
//! about the inside for strangers.
#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use telson_core::auth::Secret;
use telson_core::http::HttpRequest;
use telson_core::peer::Peer;
use telson_core::settings::AuthMode;
use telson_fuzz::{SECRET, World};

#[derive(Arbitrary, Debug)]
struct Case {
    phase: u8,
    requests: Vec<Asked>,
}

#[derive(Arbitrary, Debug)]
struct Asked {
    method: Word,
    path: Word,
    query: Option<String>,
    authorization: Option<String>,
    /// Whether the right token is given instead.
    known: bool,
    headers: Vec<(Header, String)>,
    body: Body,
    host: Option<String>,
    origin: Option<String>,
    wants_websocket: bool,
    forwarded: bool,
    loopback: bool,
}

#[derive(Arbitrary, Debug)]
enum Word {
    Known(u8),
    Text(String),
}

impl Word {
    fn text(self, known: &[&str]) -> String {
        match self {
            Self::Known(n) => known[usize::from(n) % known.len()].to_owned(),
            Self::Text(text) => text,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Header {
    Agent,
    Session,
    Model,
    Accept,
}

impl Header {
    fn name(&self) -> &'static str {
        match self {
            Self::Agent => "x-openclaw-agent-id",
            Self::Session => "x-openclaw-session-key",
            Self::Model => "x-openclaw-model",
            Self::Accept => "accept",
        }
    }
}

/// Nonsense, or what is almost a question.
#[derive(Arbitrary, Debug)]
enum Body {
    Bytes(Vec<u8>),
    Chat { model: String, words: String, stream: bool, role: u8 },
    Responses { input: String, stream: bool },
    Tool { name: Word, words: String },
}

impl Body {
    fn bytes(self) -> Vec<u8> {
        let value = match self {
            Self::Bytes(bytes) => return bytes,
            Self::Chat { model, words, stream, role } => {
                let role = ["user", "system", "assistant", "tool"][usize::from(role) % 4];
                let model = if model.is_empty() { "openclaw".to_owned() } else { model };
                json!({"model": model, "stream": stream, "messages": [{"role": role, "content": words}]})
            }
            Self::Responses { input, stream } => {
                json!({"model": "openclaw", "stream": stream, "input": input})
            }
            Self::Tool { name, words } => {
                json!({"tool": name.text(&TOOLS), "args": {"sessionKey": words}})
            }
        };
        value.to_string().into_bytes()
    }
}

const TOOLS: [&str; 4] = ["agents_list", "sessions_list", "session_status", "sessions_history"];
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "OPTIONS", "get"];
const PATHS: [&str; 16] = [
    "/healthz",
    "/health",
    "/readyz",
    "/ready",
    "/startupz",
    "/startup",
    "/",
    "//",
    "/healthz/",
    "/v1/models",
    "/v1/models/openclaw",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/tools/invoke",
    "/sessions/main/history",
];

fuzz_target!(|case: Case| {
    let mode = AuthMode::Token(Secret::new(SECRET));
    let (mut world, serving) = match case.phase % 3 {
        0 => (World::starting(mode), false),
        1 => (World::serving(mode), true),
        _ => {
            let mut world = World::serving(mode);
            world.stop("over");
            (world, false)
        }
    };
    for asked in case.requests.into_iter().take(16) {
        ask(&mut world, serving, asked);
    }
});

fn ask(world: &mut World, serving: bool, asked: Asked) {
    let addr = if asked.loopback { [127, 0, 0, 1] } else { [192, 0, 2, 7] };
    let mut peer = Peer::at(IpAddr::from(addr));
    (peer.host, peer.origin) = (asked.host, asked.origin);
    let mark = asked.forwarded.then(|| ("x-forwarded-for".to_owned(), "203.0.113.9".to_owned()));
    let headers = asked.headers.into_iter().map(|(name, value)| (name.name().to_owned(), value));
    let request = HttpRequest {
        peer,
        method: asked.method.text(&METHODS),
        path: asked.path.text(&PATHS),
        authorization: if asked.known { Some(format!("Bearer {SECRET}")) } else { asked.authorization },
        query: asked.query,
        headers: headers.chain(mark).collect(),
        content_length: None,
        wants_websocket: asked.wants_websocket,
    };
    let known = asked.known;
    let Some(response) = world.ask(request.clone(), asked.body.bytes()) else {
        assert!(known, "strangers are answered at once: {request:?}");
        return;
    };
    if known {
        return;
    }
    assert!(!response.body.contains(SECRET));
    let probe = PATHS[..6].contains(&request.path.as_str());
    assert!(probe || response.status >= 400, "only the probes answer strangers: {request:?}");
    if !request.peer.is_direct_local() {
        for word in ["uptimeMs", "version", "failing", "pendingReason"] {
            assert!(!response.body.contains(word), "a stranger learns `{word}`: {request:?}");
        }
    }
    let plain = probe && matches!(request.method.as_str(), "GET" | "HEAD") && !request.wants_websocket;
    // What the walls refuse does not get as far as the probe.
    if plain && matches!(response.status, 200 | 503) && request.path.starts_with("/ready") {
        assert_eq!(response.status == 200, serving, "ready means in service");
    }
}
