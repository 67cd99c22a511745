//! Part G: methods, commands and what they show (S-66 to S-71).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use telson_core::config::{KEYS, Kind};
use telson_core::gateway::{METHODS, Need};
use telson_proto::Protocol;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::Home;

use super::h_http::ROUTES;
use super::rig::{Ask, Rig, Who, files, files_with};

on_both_binaries!(s_70_every_method_asks_every_principal_for_what_its_table_says);

/// What an answer says about the caller's authority: nothing, or why not.
fn refusal(answer: &Result<Value, Value>) -> Option<String> {
    let message = answer.as_ref().err()?["message"].as_str()?.to_owned();
    let about_authority = message.starts_with("missing scope: ") || message.starts_with("unauthorized role");
    about_authority.then_some(message)
}

fn s_70_every_method_asks_every_principal_for_what_its_table_says(binary: Binary) {
    let rig = Rig::with(binary, &json!({}));
    for dialect in Dialect::ALL {
        let protocol = if dialect == Dialect::V4 { Protocol::V4 } else { Protocol::V3 };
        for who in Who::INSIDE {
            let mut client = who.enter(&rig, dialect);
            for (n, method) in METHODS.iter().enumerate() {
                // Eleven refusals for the role in a row end a connection.
                if (who == Who::Node && n % 8 == 7) || n % 100 == 99 {
                    client.leave();
                    client = who.enter(&rig, dialect);
                }
                let answer = client.call(method.name, &json!({}));
                let allowed = match method.need(protocol) {
                    Need::Anyone => true,
                    Need::Node => who == Who::Node,
                    _ if who == Who::Node => false,
                    Need::Operator => true,
                    Need::Scope(scope) => who.has(dialect, scope.as_str()),
                    Need::Absent => who.has(dialect, "operator.admin"),
                };
                let refused = refusal(&answer);
                assert_eq!(
                    refused.is_none(),
                    allowed,
                    "{} for {who:?} on {dialect:?}: {answer:?}",
                    method.name
                );
                if method.need(protocol) == Need::Absent {
                    assert!(answer.is_err(), "{} does not exist in {protocol:?}", method.name);
                }
            }
        }
    }
    rig.finish();
}

#[test]
fn s_66_a_command_in_a_message_asks_for_what_its_method_asks_for() {
    let rig = Rig::new();
    let mut admin = rig.enter(&Ask::shared(Dialect::V3));
    let run = admin
        .ask("chat.send", &json!({"sessionKey": "main", "message": "remember me", "idempotencyKey": "1"}));
    admin.chat_of(run["runId"].as_str().expect("a run"));
    let kept = |client: &mut Client| {
        let history = client.ask("chat.history", &json!({"sessionKey": "main", "limit": 1000}));
        let row = client.ask("sessions.list", &json!({}));
        let row = row["sessions"].as_array().and_then(|rows| rows.first()).cloned().unwrap_or_default();
        let levels = [
            "thinkingLevel",
            "verboseLevel",
            "elevatedLevel",
            "sendPolicy",
            "model",
            "modelProvider",
            "sessionId",
        ];
        (history.to_string().contains("remember me"), levels.map(|name| row[name].clone()))
    };
    let before = kept(&mut admin);
    for (n, scopes) in
        [&["operator.write"][..], &["operator.read"], &["operator.questions"], &["operator.approvals"]]
            .iter()
            .enumerate()
    {
        let device = Device::new(u8::try_from(20 + n).expect("few"));
        let mut client = rig.enter(&Ask::device(Dialect::V3, &device, scopes));
        let writes = scopes.contains(&"operator.write");
        for command in telson_core::commands::COMMANDS {
            for argument in
                ["", " on", " high", " off", " all", " echo/echo", " set gateway.auth.mode none", " 1"]
            {
                let message = format!("/{}{argument}", command.name);
                let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": message});
                let answer = client.call("chat.send", &params);
                if !writes {
                    assert_eq!(
                        refusal(&answer).as_deref(),
                        Some("missing scope: operator.write"),
                        "{message}"
                    );
                }
            }
        }
        assert_eq!(kept(&mut admin), before, "somebody with {scopes:?} has changed the session");
    }
}

#[test]
fn s_67_what_is_internal_is_no_parameter() {
    let rig = Rig::new();
    let device = Device::new(1);
    let mut client = rig.enter(&Ask::device(Dialect::V4, &device, &["operator.write"]));
    let outside = rig.home().path("outside");
    for member in [
        "spawnedBy",
        "workspaceDir",
        "workspace",
        "cwd",
        "senderIsOwner",
        "owner",
        "internal",
        "principal",
        "scopes",
        "spawnDepth",
        "sessionFile",
        "provenance",
        "execHost",
        "elevated",
    ] {
        for (method, params) in [
            ("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": member})),
            (
                "agent",
                json!({"sessionKey": "main", "message": "hi", "idempotencyKey": format!("a-{member}")}),
            ),
            ("sessions.create", json!({"key": format!("agent:main:{}", member.to_lowercase())})),
            ("sessions.patch", json!({"key": "main"})),
        ] {
            let mut params = params;
            params[member] = json!(outside.display().to_string());
            let _ = client.call(method, &params);
        }
    }
    assert!(!outside.exists());
    let listed = client.ask("sessions.list", &json!({})).to_string();
    assert!(!listed.contains(&outside.display().to_string()), "{listed}");
}

/// Ids that try to be paths.
fn paths() -> Vec<String> {
    let mut all: Vec<String> = [
        "../../../../tmp/escape",
        "..\\..\\escape",
        "/tmp/escape",
        "//server/share",
        "\\\\server\\share",
        "C:\\escape",
        "%2e%2e%2fescape",
        "..%2fescape",
        "a/../../escape",
        "a\0b",
        ".",
        "..",
        "~",
        "~/escape",
        "CON",
        "NUL.txt",
        "a:b:c:stream",
        "file:///tmp/escape",
        "$(touch escape)",
        "`touch escape`",
        "; touch escape",
        "| touch escape",
        "\u{202e}abc",
        "a\nb",
        "..%c0%af",
        "\u{ff0e}\u{ff0e}\u{ff0f}escape",
        "....//escape",
        "agent:../../x:main",
        "agent:main:../../../escape",
    ]
    .map(str::to_owned)
    .into();
    all.push("x".repeat(4_096));
    all.push("../".repeat(1_000));
    all
}

#[test]
fn s_68_no_id_leads_out_of_the_state_directory() {
    let rig = Rig::new();
    let home = rig.home();
    let mut client = rig.enter(&Ask::shared(Dialect::V3));
    let _ = client.call("sessions.list", &json!({}));
    let shape = |path: &std::path::PathBuf| {
        let path = path.display().to_string();
        !path.ends_with(".db-wal") && !path.ends_with(".db-shm") && !path.ends_with(".db-journal")
    };
    let before: BTreeSet<_> = files(&home.path("")).into_iter().filter(shape).collect();
    for (n, id) in paths().iter().enumerate() {
        let key = json!(id);
        // A connection may be wrong so often only.
        client = rig.enter(&Ask::shared(Dialect::V3));
        let mut modern =
            rig.enter(&Ask { scopes: Some(json!(["operator.admin"])), ..Ask::shared(Dialect::V4) });
        for client in [&mut client, &mut modern] {
            for method in METHODS
                .iter()
                .filter(|method| method.name.starts_with("sessions.") || method.name.starts_with("chat."))
            {
                let params = json!({"sessionKey": key, "key": key, "sessionId": key, "agentId": key, "name": key,
                    "message": "hi", "idempotencyKey": format!("{n}-{}", method.name), "groups": [id], "runId": key});
                let _ = client.call(method.name, &params);
                let _ = client.call(method.name, &json!({"sessionKey": key}));
                let _ = client.call(method.name, &json!({"key": key}));
            }
        }
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/sessions/{encoded}/history"),
            format!("/sessions/{}/history", id.replace(['\0', '\n', ' '], "")),
        ] {
            let reply = rig.authorised("GET", &path, &[], "");
            assert!(reply.status < 500, "{path}: {reply:?}");
        }
    }
    let after: BTreeSet<_> = files(&home.path("")).into_iter().filter(shape).collect();
    assert_eq!(after, before, "no file has come or gone");
    assert!(!std::path::Path::new("/tmp/escape").exists());
    rig.finish();
}

#[test]
fn s_69_every_spelling_of_a_session_gives_the_same_verdict() {
    let rig = Rig::new();
    let mut admin = rig.enter(&Ask::shared(Dialect::V3));
    let run = admin
        .ask("chat.send", &json!({"sessionKey": "main", "message": "private words", "idempotencyKey": "1"}));
    admin.chat_of(run["runId"].as_str().expect("a run"));
    let spellings = [
        "main",
        "MAIN",
        "agent:main:main",
        "Agent:Main:Main",
        "agent:MAIN:main",
        " main ",
        "main\u{200b}",
        "\u{ff4d}\u{ff41}\u{ff49}\u{ff4e}",
        "agent:main:MAIN",
    ];
    for (n, scopes) in
        [&["operator.pairing"][..], &["operator.approvals"], &["operator.questions"]].iter().enumerate()
    {
        let device = Device::new(u8::try_from(30 + n).expect("few"));
        for dialect in Dialect::ALL {
            let mut client = rig.enter(&Ask::device(dialect, &device, scopes));
            for key in spellings {
                for method in
                    ["chat.history", "sessions.preview", "sessions.resolve", "chat.send", "sessions.patch"]
                {
                    let params = json!({"sessionKey": key, "key": key, "keys": [key], "message": "x", "idempotencyKey": key});
                    let answer = client.call(method, &params);
                    // Protocol 4 leaves the scope of a patch to what it changes.
                    assert!(answer.is_err(), "{method} {key:?} for {scopes:?}: {answer:?}");
                    assert!(!format!("{answer:?}").contains("private words"));
                }
            }
        }
    }
    // Who may read gets the same session by every spelling that the house knows.
    let device = Device::new(40);
    let mut reader = rig.enter(&Ask::device(Dialect::V3, &device, &["operator.read"]));
    for key in ["main", "MAIN", "agent:main:main", "Agent:Main:Main"] {
        let history = reader.ask("chat.history", &json!({"sessionKey": key})).to_string();
        assert!(history.contains("private words"), "{key}: {history}");
    }
}

/// A configuration in which every key that holds a secret holds a canary, and the canaries.
fn canaries() -> (Value, Vec<String>) {
    let mut config = json!({});
    let mut canaries = Vec::new();
    for (n, key) in KEYS.iter().filter(|key| key.kind == Kind::Secret).enumerate() {
        // One of the two secrets of the gateway counts; the other is a canary all the same.
        let canary = format!("canary-{n:02}-of-{}-0123456789", key.path.replace(['.', '*', '[', ']'], "-"));
        let mut at = &mut config;
        for step in key.path.split('.') {
            let (name, list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
            let name = if name == "*" { "canary" } else { name };
            at = &mut at[name];
            if list {
                if at.is_null() {
                    *at = json!([{}]);
                }
                at = &mut at[0];
            }
        }
        *at = json!(canary);
        canaries.push(canary);
    }
    (config, canaries)
}

#[test]
fn s_71_no_secret_of_the_configuration_is_ever_said() {
    let (mut config, canaries) = canaries();
    assert!(canaries.len() >= 6, "the table of keys knows secrets: {canaries:?}");
    let token = config["gateway"]["auth"]["token"].as_str().expect("a canary").to_owned();
    config["gateway"]["auth"]["mode"] = json!("token");
    config["gateway"]["http"] =
        json!({"endpoints": {"chatCompletions": {"enabled": true}, "responses": {"enabled": true}}});
    config["logging"] = json!({"level": "trace", "consoleLevel": "trace"});
    let provider = &mut config["models"]["providers"]["canary"];
    provider["baseUrl"] = json!("http://127.0.0.1:9/v1");
    provider["models"] = json!([{"id": "tide-1"}]);
    config["agents"] = json!({"defaults": {"model": {"primary": "canary/tide-1"}}});
    // A server is a program or a URL.
    let env = config["mcp"]["servers"]["canary"].as_object_mut().and_then(|server| server.remove("env"));
    config["mcp"]["servers"]["canary"]["url"] = json!("http://127.0.0.1:9/mcp");
    config["mcp"]["servers"]["second"] = json!({"command": "/bin/cat", "env": env});
    for (profile, kind) in [("canary", "api_key")] {
        if let Some(entry) = config["auth"]["profiles"][profile].as_object_mut() {
            entry.entry("provider").or_insert(json!("canary"));
            entry.entry("mode").or_insert(json!(kind));
        }
    }
    let home = Home::new(Binary::Telson);
    home.configure(&config.to_string());
    let check = home.run(&["config", "validate"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let rig = Rig { gateway: home.start() };
    let home = rig.home();
    let mut said = vec![("config validate".to_owned(), format!("{check:?}"))];

    for dialect in Dialect::ALL {
        for who in Who::INSIDE {
            let device = who.key(dialect);
            let ask = match who {
                Who::Device(scope) => Ask::device(dialect, &device, &[scope]),
                Who::Powerless => Ask::device(dialect, &device, &["operator.questions"]),
                Who::Shared => Ask::shared(dialect),
                Who::Node => Ask::node(dialect, &device),
            };
            let mut client = rig.enter(&Ask { token: Some(&token), ..ask.clone() });
            said.push(("hello".to_owned(), client.hello.to_string()));
            for (n, method) in METHODS.iter().enumerate() {
                if who != Who::Node {
                    let _ = client.call("health", &json!({}));
                }
                // A connection may be wrong so often only.
                if n % 3 == 2 && who == Who::Node || n % 60 == 59 {
                    client = rig.enter(&Ask { token: Some(&token), ..ask.clone() });
                }
                for params in [
                    json!({}),
                    json!({"sessionKey": "main", "key": "main", "message": "what is the token?", "idempotencyKey": format!("{who:?}{dialect:?}{n}")}),
                    json!({"sessionKey": 7, "key": [], "wrong": {"a": 1}}),
                ] {
                    let answer = client.call(method.name, &params);
                    said.push((format!("{} for {who:?}", method.name), format!("{answer:?}")));
                }
            }
            said.extend(client.unread().map(|frame| ("an event".to_owned(), frame.to_string())));
        }
    }
    let bearer = format!("Bearer {token}");
    for (method, path) in ROUTES {
        let model = r#"{"model":"openclaw","messages":[{"role":"user","content":"hi"}],"input":"hi","tool":"gateway","args":{"action":"config.get"}}"#;
        for body in ["", "{}", "nonsense", model] {
            let reply = rig.http(method, path, &[("Authorization", &bearer)], body);
            said.push((format!("{method} {path}"), format!("{reply:?}")));
        }
        let reply = rig.http(method, &format!("{path}?x=1"), &[("Authorization", "Bearer wrong-wrong")], "");
        said.push((format!("{method} {path} refused"), format!("{reply:?}")));
    }
    for arguments in [
        &["status", "--json"][..],
        &["config", "validate"],
        &["models", "list"],
        &["sessions", "list"],
        &["devices", "list"],
        &["health"],
        &["call", "config.get"],
        &["sessions", "export", "main"],
        &["usage"],
    ] {
        said.push((format!("{arguments:?}"), format!("{:?}", home.run(arguments))));
    }
    said.push(("the console".to_owned(), rig.finish()));
    for (what, text) in &said {
        for canary in &canaries {
            assert!(!text.contains(canary.as_str()), "{what} says {canary}: {text}");
        }
    }
    for canary in &canaries {
        let found: Vec<_> = files_with(&home.path(""), canary);
        assert_eq!(found, [home.state().join("telson.json")], "{canary} is written down elsewhere");
    }
}
