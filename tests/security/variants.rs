//! Attacks that nobody has written down: composed by chance out of the classes of the other modules, and held against
//! what must never happen, whatever the attack. `TELSON_ATTACKS` says how many are tried and `TELSON_ATTACK_SEED`
//! which; the seed is printed, so that what has failed can be done again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use telson_core::gateway::{METHODS, Need};
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::device::Device;

use super::h_http::ROUTES;
use super::rig::{Ask, Rig, SCOPES, TOKEN, UPGRADE, files, head, http};

/// How many attacks the ordinary run tries on each binary.
const ATTACKS: u64 = 1_500;

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).expect("it is below")
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most + 1)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A text in another spelling: letters in the other case, doubled, left out, escaped, or with something between.
    fn respelt(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match self.below(24) {
                0 => out.extend(c.to_uppercase()),
                1 => out.extend([c, c]),
                2 => {}
                3 => out.push_str(&format!("%{:02x}", u32::from(c) & 0xff)),
                4 => out.push_str(
                    self.pick(&["/", ".", "..", "%2f", ";", "\\", "%00", "\u{200b}", "?", "#", "@", ":"]),
                ),
                _ => out.push(c),
            }
        }
        out
    }

    /// A secret that is not the gateway's.
    fn wrong_secret(&mut self) -> String {
        let secret = match self.below(10) {
            0 => String::new(),
            1 => TOKEN[..self.below(TOKEN.len())].to_owned(),
            2 => format!("{TOKEN}{TOKEN}"),
            3 => TOKEN.to_uppercase(),
            4 => format!("{TOKEN}\u{0}"),
            5 => TOKEN.chars().rev().collect(),
            6 => self
                .pick(&[
                    "null",
                    "undefined",
                    "true",
                    "[object Object]",
                    "*",
                    "__OPENCLAW_REDACTED__",
                    "' or 1=1 --",
                ])
                .to_owned(),
            7 => TOKEN.replace('0', "\u{ff10}"),
            8 => format!("x{TOKEN}"),
            _ => self.respelt(TOKEN),
        };
        // Blanks around it are no other secret.
        if secret.trim() == TOKEN { format!("{secret}!") } else { secret }
    }

    /// A header that might turn somebody into somebody else.
    fn header(&mut self) -> (String, String) {
        let name = self.pick(&[
            "x-forwarded-for",
            "x-real-ip",
            "forwarded",
            "via",
            "cf-connecting-ip",
            "tailscale-user-login",
            "x-forwarded-user",
            "x-openclaw-scopes",
            "x-openclaw-agent-id",
            "x-openclaw-session-key",
            "origin",
            "referer",
            "sec-fetch-site",
            "cookie",
            "x-api-key",
            "proxy-authorization",
            "x-http-method-override",
            "x-original-url",
            "x-rewrite-url",
            "user-agent",
            "x-forwarded-host",
            "x-remote-user",
            "te",
            "expect",
            "x-clawdbot-scopes",
            "sec-websocket-protocol",
        ]);
        let name: String =
            name.chars().map(|c| if self.chance(20) { c.to_ascii_uppercase() } else { c }).collect();
        let value = match self.below(8) {
            0 => TOKEN.to_owned(),
            1 => format!("Bearer {TOKEN}"),
            2 => "127.0.0.1".to_owned(),
            3 => self
                .pick(&[
                    "::1",
                    "::ffff:127.0.0.1",
                    "localhost",
                    "unknown",
                    "for=127.0.0.1",
                    "127.0.0.1, 8.8.8.8",
                    "0x7f000001",
                ])
                .to_owned(),
            4 => self.pick(&["operator.admin", "*", "admin", "owner", "true", "1"]).to_owned(),
            5 => self.pick(&["https://evil.example", "null", "http://localhost", "cross-site"]).to_owned(),
            6 => "a,".repeat(self.below(2_000)),
            _ => self.respelt("http://127.0.0.1:18789"),
        };
        (name, value.replace(['\r', '\n', '\0'], ""))
    }

    /// A value that a method might not expect.
    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 8 } else { 10 }) {
            0 => Value::Null,
            1 => json!(self.below(3) == 0),
            2 => json!(self.0.next_u64()),
            3 => json!(-1),
            4 => json!(self.pick(&[
                "main",
                "agent:main:main",
                "../../etc/passwd",
                "operator.admin",
                "__proto__",
                "*",
                ""
            ])),
            5 => json!("x".repeat(self.below(5_000))),
            6 => json!(self.respelt("agent:main:main")),
            7 => json!(String::from_utf8_lossy(&self.bytes(40))),
            8 => Value::Array((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut object = json!({});
        for _ in 0..self.below(6) {
            let name = self.pick(&[
                "sessionKey",
                "key",
                "keys",
                "message",
                "text",
                "idempotencyKey",
                "agentId",
                "model",
                "scopes",
                "role",
                "limit",
                "runId",
                "patch",
                "raw",
                "baseHash",
                "deviceId",
                "requestId",
                "nodeId",
                "command",
                "params",
                "approved",
                "owner",
                "spawnedBy",
                "id",
                "name",
                "url",
                "attachments",
                "timeoutMs",
                "decision",
                "tokenId",
            ]);
            object[name] = self.value(depth);
        }
        object
    }

    /// A frame of any kind, in pieces that need not fit.
    fn frame(&mut self) -> Vec<u8> {
        let opcode = u8::try_from(self.below(16)).expect("small");
        let flags = u8::try_from(self.below(16)).expect("small") << 4;
        let payload = match self.below(3) {
            0 => self.bytes(200),
            1 => {
                json!({"type": self.pick(&["req", "connect", "event", "res"]), "id": "1", "method": "connect",
                "params": self.object(2)})
                .to_string()
                .into_bytes()
            }
            _ => vec![b'['; self.below(60_000)],
        };
        let mut bytes = vec![if self.chance(60) { 0x80 | (opcode & 9) } else { flags | opcode }];
        let masked = if self.chance(90) { 0x80 } else { 0 };
        let told = if self.chance(90) { payload.len() } else { self.below(70_000) };
        match told {
            length @ 0..126 => bytes.push(masked | u8::try_from(length).expect("small")),
            length => {
                bytes.push(masked | 126);
                bytes.extend(u16::try_from(length.min(65_535)).expect("small").to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }
}

/// A request without the right secret.
fn by_http(dice: &mut Dice, rig: &Rig) {
    let (method, path) = ROUTES[dice.below(ROUTES.len())];
    let method = if dice.chance(70) {
        method.to_owned()
    } else {
        dice.pick(&["GET", "POST", "PUT", "HEAD", "OPTIONS", "get"]).to_owned()
    };
    let mut path = if dice.chance(50) { path.to_owned() } else { dice.respelt(path) };
    if dice.chance(20) {
        path.push_str(&format!("?token={TOKEN}&x={}", dice.respelt("main")));
    }
    path.retain(|c| !c.is_whitespace() && !c.is_control());
    let mut headers: Vec<(String, String)> = (0..dice.below(4)).map(|_| dice.header()).collect();
    if dice.chance(70) {
        let scheme = dice.pick(&["Bearer", "bearer", "Basic", "Token", ""]);
        let secret = dice.wrong_secret().replace(['\r', '\n', '\0'], "?");
        headers.push(("Authorization".to_owned(), format!("{scheme} {secret}")));
    }
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = dice.object(3).to_string();
    let reply = http(rig.address(), &method, &path, &headers, &body);
    let told = format!("{method} {path} {headers:?}: {reply:?}");
    assert!(!(500..600).contains(&reply.status), "a server's error: {told}");
    assert!(!(200..300).contains(&reply.status), "let in without the secret: {told}");
    assert!(!reply.body.contains(TOKEN) && !reply.head.contains(TOKEN), "the secret is said: {told}");
}

/// A connect that must not succeed, or not with more than it may.
fn by_connect(dice: &mut Dice, rig: &Rig) {
    let dialect = Dialect::ALL[dice.below(3)];
    let device = Device::new(u8::try_from(dice.below(200)).expect("small"));
    let (wrong, id, mode) = (dice.wrong_secret(), dice.pick(&IDS), dice.pick(&MODES));
    let headers: Vec<(String, String)> = (0..dice.below(3))
        .map(|_| dice.header())
        .filter(|(_, value)| value.is_ascii() && value.len() < 500)
        .collect();
    let scopes = match dice.below(4) {
        0 => None,
        1 => Some(dice.value(2)),
        _ => Some(json!((0..dice.below(6)).map(|_| SCOPES[dice.below(SCOPES.len())]).collect::<Vec<_>>())),
    };
    let mut more = dice.object(2);
    if dice.chance(30) {
        more["auth"] =
            json!({"token": wrong, "password": dice.wrong_secret(), "bootstrapToken": dice.wrong_secret()});
    }
    if let Some(members) = more.as_object_mut() {
        members.remove("scopes");
        members.remove("role");
    }
    let ask = Ask {
        token: dice.chance(60).then_some(wrong.as_str()),
        password: dice.chance(30).then_some(wrong.as_str()),
        device_token: dice.chance(30).then_some(wrong.as_str()),
        device: dice.chance(50).then_some(&device),
        role: dice.pick(&["operator", "node", "admin", "owner", ""]),
        scopes,
        id,
        mode,
        more,
        headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        ..Ask::nobody(dialect)
    };
    let outcome = rig.try_enter(&ask);
    assert!(
        outcome.is_err(),
        "let in without the secret: {:?} {:?} {:?} {:?}",
        ask.more,
        ask.headers,
        ask.id,
        ask.role
    );
}

/// Frames that are none, before a hello.
fn by_frames(dice: &mut Dice, rig: &Rig) {
    let mut stream = TcpStream::connect(rig.address()).expect("the gateway accepts connections");
    let _ = stream.write_all(head(rig.address(), "GET", "/", &UPGRADE, "").as_bytes());
    for _ in 0..dice.below(6) {
        let frame = dice.frame();
        let cut = if dice.chance(80) { frame.len() } else { dice.below(frame.len()) };
        if stream.write_all(&frame[..cut]).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("hello-ok"), "{answer}");
}

/// Somebody inside who may read, and tries everything else.
fn from_inside(dice: &mut Dice, inside: &mut [(Dialect, Client)]) {
    let at = dice.below(inside.len());
    let (dialect, client) = &mut inside[at];
    let method = &METHODS[dice.below(METHODS.len())];
    let protocol =
        if *dialect == Dialect::V4 { telson_proto::Protocol::V4 } else { telson_proto::Protocol::V3 };
    let name = if dice.chance(80) { method.name.to_owned() } else { dice.respelt(method.name) };
    let params = dice.object(3);
    let answer = client.call(&name, &params);
    let may = match METHODS.iter().find(|known| known.name == name).map(|known| known.need(protocol)) {
        Some(Need::Anyone) => true,
        Some(Need::Scope(scope)) => scope.as_str() == "operator.read",
        // What it does asks once more; a patch needs at least to write.
        Some(Need::Operator) => name.starts_with("tools.") || !name.contains("patch"),
        Some(Need::Node | Need::Absent) | None => false,
    };
    assert!(may || answer.is_err(), "somebody who may read has called {name} with {params}: {answer:?}");
}

const IDS: [&str; 8] = [
    "cli",
    "gateway-client",
    "node-host",
    "openclaw-control-ui",
    "webchat-ui",
    "test",
    "openclaw-ios",
    "made-up",
];
const MODES: [&str; 7] = ["cli", "backend", "node", "ui", "webchat", "test", "made-up"];

fn campaign(binary: Binary) {
    let seed =
        std::env::var("TELSON_ATTACK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("cut")
        });
    let attacks = std::env::var("TELSON_ATTACKS").ok().and_then(|n| n.parse().ok()).unwrap_or(ATTACKS);
    println!("{}: TELSON_ATTACK_SEED={seed} TELSON_ATTACKS={attacks}", binary.name());
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
    // Wrong guesses are not locked out here: each must fail by itself.
    let config = json!({"gateway": {"auth": {"rateLimit": {"exemptLoopback": false, "maxAttempts": 1_000, "windowMs": 1_000}}},
        "logging": {"level": "trace", "consoleLevel": "info"}});
    let rig = Rig::with(binary, &config);
    let home = rig.home();
    let mut inside = Vec::new();
    let device = Device::new(250);
    for dialect in Dialect::ALL {
        inside.push((dialect, rig.enter(&Ask::device(dialect, &device, &["operator.read"]))));
    }
    for n in 0..attacks {
        match dice.below(4) {
            0 => by_http(&mut dice, &rig),
            1 => by_connect(&mut dice, &rig),
            2 => by_frames(&mut dice, &rig),
            _ => from_inside(&mut dice, &mut inside),
        }
        if n % 100 == 99 {
            // A connection may be wrong so often only.
            for (dialect, client) in &mut inside {
                *client = rig.enter(&Ask::device(*dialect, &device, &["operator.read"]));
            }
            rig.lives();
        }
    }
    drop(inside);
    let log = rig.finish();
    assert!(!log.contains(" ERROR ") && !log.contains(TOKEN), "{log}");
    let outside: Vec<_> =
        files(&home.path("")).into_iter().filter(|path| !path.starts_with(home.state())).collect();
    assert!(outside.is_empty(), "files outside the state directory: {outside:?}");
}

#[test]
fn composed_attacks_never_get_in_on_telson() {
    campaign(Binary::Telson);
}

#[test]
fn composed_attacks_never_get_in_on_telson_lite() {
    campaign(Binary::TelsonLite);
}
