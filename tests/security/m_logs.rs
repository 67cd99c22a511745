//! Part M: logs, and what the command line prints (S-101 to S-103).

use serde_json::json;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::device::Device;

use super::rig::{Ask, Rig, TOKEN, files};

/// Names that would draw on a terminal, break a line or look like another.
const HOSTILE: [&str; 8] = [
    "\u{1b}[2J\u{1b}[1;1Hpwned",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31mred",
    "line\r\n2026-01-01T00:00:00Z [gateway] forged",
    "a\u{202e}txt.exe",
    "\u{200b}\u{2066}\u{3164}",
    "nul\u{0}byte\u{8}\u{8}",
    "tab\tand\u{85}next\u{2028}line",
];

fn drawing(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    })
}

#[test]
fn s_101_nothing_that_a_client_says_draws_in_the_log() {
    let trace = json!({"logging": {"level": "trace", "consoleLevel": "trace", "consoleStyle": "compact"}});
    let rig = Rig::with(Binary::Telson, &trace);
    let home = rig.home();
    for name in HOSTILE {
        let safe: String = name.chars().filter(|c| !c.is_control() && c.is_ascii()).collect();
        for header in ["User-Agent", "Origin", "Referer", "X-Request-Id", "Authorization"] {
            // A header cannot hold a line's end; everything else goes as it is.
            let value: String = name.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect();
            let _ = rig.http("GET", "/v1/models", &[(header, &value)], "");
        }
        let _ = rig.http("GET", &format!("/{safe}%1b%5b2J%0d%0aforged"), &[], "");
        for dialect in Dialect::ALL {
            let more = json!({"client": {"id": name, "displayName": name, "platform": name, "instanceId": name,
                "version": name, "deviceFamily": name, "modelIdentifier": name}, "userAgent": name, "locale": name,
                "role": name, "caps": [name]});
            let _ = rig.try_enter(&Ask { more: more.clone(), ..Ask::nobody(dialect) });
            let named = json!({"client": {"displayName": name, "instanceId": name, "modelIdentifier": name, "version": name}});
            if let Ok(mut client) = rig.try_enter(&Ask { more: named, ..Ask::shared(dialect) }) {
                let _ = client.call(name, &json!({"sessionKey": name, "message": name}));
                let _ = client.call("chat.history", &json!({"sessionKey": name}));
                let _ = client.call("system-event", &json!({"text": name}));
            }
        }
    }
    let console = rig.finish();
    assert_eq!(drawing(&console), None, "the console draws");
    for path in files(&home.state().join("logs")) {
        let text = std::fs::read_to_string(&path).expect("a log is text");
        assert_eq!(drawing(&text), None, "{}", path.display());
        for line in text.lines() {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
            assert!(parsed.is_ok(), "one document a line: {line}");
        }
        assert!(!text.contains("\n2026-01-01T00:00:00Z"), "a line is forged");
    }
}

#[test]
fn s_102_no_secret_that_a_client_shows_is_in_a_log() {
    let trace = json!({"logging": {"level": "trace", "consoleLevel": "trace"}});
    let rig = Rig::with(Binary::Telson, &trace);
    let home = rig.home();
    let device = Device::new(1);
    let mut secrets = vec![TOKEN.to_owned()];
    let wrong = "wrong-canary-0123456789abcdef";
    secrets.push(wrong.to_owned());
    for dialect in Dialect::ALL {
        let client = rig.enter(&Ask::device(dialect, &device, &["operator.read"]));
        secrets.push(client.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned());
        for ask in [
            Ask { token: Some(wrong), ..Ask::nobody(dialect) },
            Ask { password: Some(wrong), ..Ask::nobody(dialect) },
            Ask { device_token: Some(wrong), device: Some(&device), ..Ask::nobody(dialect) },
            Ask {
                more: json!({"auth": {"bootstrapToken": wrong}, "bootstrapToken": wrong}),
                ..Ask::nobody(dialect)
            },
            Ask { id: wrong, ..Ask::nobody(dialect) },
            Ask { headers: vec![("authorization", wrong), ("cookie", wrong)], ..Ask::nobody(dialect) },
        ] {
            // The id is shown; it is no secret, and nobody but the client has called it one.
            if ask.id != wrong {
                assert!(rig.try_enter(&ask).is_err());
                rig.lives();
            }
        }
    }
    for value in [format!("Bearer {wrong}"), format!("Basic {wrong}"), wrong.to_owned()] {
        let _ = rig.http(
            "GET",
            "/v1/models",
            &[("Authorization", &value), ("X-Api-Key", wrong), ("Cookie", wrong)],
            "",
        );
        rig.lives();
    }
    let console = rig.finish();
    assert!(console.contains("connected"), "the finest level is on");
    for secret in secrets {
        assert!(!console.contains(&secret), "{secret} stands on the console");
        let found = super::rig::files_with(&home.state().join("logs"), &secret);
        assert!(found.is_empty(), "{secret} stands in {found:?}");
    }
}

#[test]
fn s_103_hostile_names_are_inert_in_what_the_command_line_prints() {
    let rig = Rig::new();
    let mut admin = rig.enter(&Ask::shared(Dialect::V3));
    for (n, name) in HOSTILE.into_iter().enumerate() {
        let device = Device::new(u8::try_from(60 + n).expect("few"));
        let more = json!({"client": {"displayName": name, "modelIdentifier": name, "deviceFamily": "Linux"}});
        let ask = Ask { more, ..Ask::device(Dialect::V4, &device, &["operator.read"]) };
        let _ = rig.try_enter(&ask);
        let key = format!("agent:main:hostile-{n}");
        let send = json!({"sessionKey": key, "message": name, "idempotencyKey": format!("h{n}")});
        if let Ok(run) = admin.call("chat.send", &send) {
            admin.chat_of(run["runId"].as_str().expect("a run"));
        }
        let _ = admin.call("sessions.patch", &json!({"key": key, "label": name}));
        let _ = admin.call("system-event", &json!({"text": name}));
    }
    for arguments in [
        &["status"][..],
        &["sessions", "list"],
        &["devices", "list"],
        &["health"],
        &["usage"],
        &["sessions", "show", "agent:main:hostile-0"],
        &["sessions", "show", "agent:main:hostile-1"],
        &["sessions", "show", "agent:main:hostile-2"],
        &["sessions", "show", "agent:main:hostile-4"],
        &["models", "list"],
    ] {
        let outcome = rig.gateway.run(arguments);
        for text in [&outcome.stdout, &outcome.stderr] {
            assert_eq!(drawing(text), None, "{arguments:?} draws: {text:?}");
        }
    }
}
