//! What the log says about refusals, and what it never says.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::bench::{Bench, Client, Device, LOOPBACK, REMOTE, peer};
use crate::auth::Secret;
use crate::ingress::Trail;
use crate::peer::Peer;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the-gateways-own-secret";
const GUESS: &str = "a-guess-at-the-secret";

/// Collects `target field=value …` lines of every level.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn each_refusal_is_logged_once_with_its_reason_and_no_secret_at_any_level() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let mut bench = Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))));
        let device = Device::new(1);
        let paired = Client::v4().token(SECRET).device(&device).scopes(&["read"]);
        let hello = bench.connect(&peer(LOOPBACK), &paired).unwrap();
        let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
        let refusals = [
            (Client::v4().token(GUESS), "token_mismatch"),
            (Client::v4().password(GUESS).device(&device), "token_mismatch"),
            (Client::v4().device_token(GUESS).device(&device), "device_token_mismatch"),
            (Client::v4().device_token(&token).device(&device).scopes(&["admin"]), "scope_mismatch"),
            (Client::plain().token(GUESS), "token_mismatch"),
            (Client::v3(), "device-required"),
            (Client::v4().token(SECRET).device(&Device::new(2)), "not-paired"),
            (Client::v4().token(SECRET).with("role", "admin"), "invalid-role"),
            (Client::v4().token(SECRET).with("minProtocol", 9).with("maxProtocol", 9), "protocol-mismatch"),
        ];
        for (client, reason) in refusals {
            lines.0.lock().unwrap().clear();
            bench.connect(&peer(REMOTE), &client).unwrap_err();
            let lines = lines.0.lock().unwrap();
            let refused: Vec<&String> = lines.iter().filter(|l| l.contains("connect refused")).collect();
            assert_eq!(refused.len(), 1, "{lines:?}");
            assert!(refused[0].starts_with("gateway.ws "), "{}", refused[0]);
            assert!(refused[0].contains(&format!("reason=\"{reason}\"")), "{} is not {reason}", refused[0]);
            for secret in [SECRET, GUESS, &token] {
                assert!(!lines.iter().any(|line| line.contains(secret)), "{lines:?}");
            }
        }
    });
}

#[test]
fn a_wrong_set_up_gives_one_line_and_what_strangers_write_is_inert_in_it() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let mut bench = Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))));
        let proxy = |name: &str| {
            let trail = Trail::new([(name.to_owned(), "203.0.113.9".to_owned())]);
            Peer { trail, ..peer(REMOTE) }
        };
        for name in ["x-forwarded-for", "via", "forwarded"] {
            assert_eq!(bench.try_open(&proxy(name)), Err(403));
        }
        let hostile = "https://evil.example/\u{1b}[31m\r\nforged line\u{202e}";
        for _ in 0..3 {
            let page = Peer { origin: Some(hostile.to_owned()), ..peer(LOOPBACK) };
            assert_eq!(bench.try_open(&page), Err(403));
            let url = Peer { query: Some(format!("token={SECRET}")), ..peer(LOOPBACK) };
            assert_eq!(bench.try_open(&url), Err(400));
        }
    });
    let lines = lines.0.lock().unwrap();
    let helpful: Vec<&String> = lines.iter().filter(|line| line.contains("gateway.trustedProxies")).collect();
    assert_eq!(helpful.len(), 1, "{lines:?}");
    assert!(helpful[0].contains(r#"gateway.trustedProxies: ["10.0.0.9"]"#), "{}", helpful[0]);
    assert_eq!(lines.iter().filter(|line| line.contains("gateway.controlUi.allowedOrigins")).count(), 1);
    assert!(
        lines.iter().all(|line| !line.contains(SECRET) && !line.contains(['\u{1b}', '\r', '\n', '\u{202e}']))
    );
}
