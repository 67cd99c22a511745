//! Commands as people type them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use telson_proto::{ErrorCode, EventName, Protocol, Scope, Scopes};

use super::*;
use crate::ids::ConnId;
use crate::settings::{QueueDrop, QueueMode};
use crate::testing::World;

const MAIN: &str = "agent:main:main";

/// Types something into a session; the run's terminal event.
fn typed_in(world: &mut World, client: ConnId, key: &str, text: &str) -> Value {
    world.forget();
    let run = format!("run-{}", world.shelf.answers.len());
    let params = json!({"sessionKey": key, "message": text, "idempotencyKey": run});
    assert_eq!(world.ask(client, "chat.send", params)["status"], "started", "{text}");
    world.terminal(&run, Protocol::V3).unwrap_or_else(|| panic!("{text} has an answer"))
}

/// Types something into the main session; what the gateway answers.
fn typed(world: &mut World, client: ConnId, text: &str) -> String {
    let end = typed_in(world, client, MAIN, text);
    assert_eq!((&end["state"], &end["seq"]), (&json!("final"), &json!(1)), "{end}");
    assert_eq!(end["message"]["stopReason"], "injected", "{end}");
    assert!(world.events(EventName::Agent, Protocol::V3).is_empty(), "a command is no run of an agent");
    assert_eq!(world.shelf.messages(MAIN).pop().unwrap(), end["message"], "the transcript has the answer");
    end["message"]["content"][0]["text"].as_str().unwrap().to_owned()
}

fn entry(world: &World, member: &str) -> Value {
    world.shelf.entry(MAIN).get(member).cloned().unwrap_or_default()
}

#[test]
fn every_setting_is_shown_and_set_by_each_of_its_names() {
    let cases = [
        (&["/think", "/thinking", "/t"][..], "high", "thinkingLevel", "high"),
        (&["/verbose", "/v"][..], "everything", "verboseLevel", "full"),
        (&["/reasoning", "/reason"][..], "show", "reasoningLevel", "on"),
        (&["/elevated", "/elev"][..], "approve", "elevatedLevel", "ask"),
        (&["/usage"][..], "on", "responseUsage", "tokens"),
    ];
    for (names, word, member, stored) in cases {
        for name in names {
            let mut world = World::with_model();
            let client = world.operator(Protocol::V3);
            assert!(!typed(&mut world, client, name).contains("set to"), "{name} alone shows");
            assert_eq!(entry(&world, member), Value::Null);
            let answer = typed(&mut world, client, &format!("{name} {word}"));
            assert!(answer.ends_with(&format!("set to {stored}.")), "{answer}");
            assert_eq!(entry(&world, member), stored);
            assert!(typed(&mut world, client, &name.to_uppercase()).contains(stored));
            assert_eq!(entry(&world, "lastChannel"), "webchat");
        }
    }
}

#[test]
fn a_word_that_is_no_level_is_named_and_changes_nothing() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let answer = typed(&mut world, client, "/think lots");
    assert_eq!(answer, "invalid thinkingLevel (use off|minimal|low|medium|high)");
    assert_eq!(
        typed(&mut world, client, "/elevated very"),
        "invalid elevatedLevel (use \"on\"|\"off\"|\"ask\"|\"full\")"
    );
    assert!(typed(&mut world, client, "/send maybe").contains("on|off|inherit"));
    assert!(typed(&mut world, client, "/queue slow").contains("invalid queue mode"));
    assert_eq!(entry(&world, "elevatedLevel"), Value::Null);
}

#[test]
fn a_model_is_chosen_by_number_name_alias_or_a_part_of_its_name() {
    for (word, model) in [
        ("2", "fake/m"),
        ("1", "echo/echo"),
        ("echo/echo", "echo/echo"),
        ("ECHO", "echo/echo"),
        ("repeats", "echo/echo"),
    ] {
        let mut world = World::with_model();
        let client = world.operator(Protocol::V4);
        let list = typed(&mut world, client, "/model");
        assert!(list.starts_with("Model: fake/m\nModels:\n1. echo/echo\n2. fake/m\n"), "{list}");
        let answer = typed(&mut world, client, &format!("/model {word}"));
        let default = if model == "fake/m" { ", the default" } else { "" };
        assert_eq!(answer, format!("Model set to {model}{default}."));
        let chosen = if model == "fake/m" { Value::Null } else { json!("echo") };
        assert_eq!(entry(&world, "modelOverride"), chosen);
        assert!(typed(&mut world, client, "/model default").contains("fake/m, the default"));
        assert_eq!(entry(&world, "modelOverride"), Value::Null);
    }
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let answer = typed(&mut world, client, "/model other/x");
    assert_eq!(answer, "model not allowed: other/x; /models lists the models");
    assert!(typed(&mut world, client, "/model e").contains("fits several models: echo/echo, fake/m"));
    assert_eq!(typed(&mut world, client, "/models fake"), "Models:\n2. fake/m");
    assert_eq!(typed(&mut world, client, "/models none"), "Models: none");
}

#[test]
fn an_alias_of_the_configuration_names_its_model() {
    let mut world = World::with(|settings| {
        settings.agents.allowed_models = vec![(ModelRef::echo(), Some("parrot".to_owned()))];
    });
    let client = world.operator(Protocol::V4);
    assert!(typed(&mut world, client, "/model Parrot").contains("echo/echo"));
}

#[test]
fn the_queue_of_a_session_is_set_and_cleared() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    assert_eq!(
        typed(&mut world, client, "/queue"),
        "Queue: collect, debounce 1000 ms, cap 20, drop summarize"
    );
    let answer = typed(&mut world, client, "/queue steer debounce:2s cap:5 drop:old");
    assert_eq!(answer, "Queue set: steer, debounce 2000 ms, cap 5, drop old");
    let members =
        ["queueMode", "queueDebounceMs", "queueCap", "queueDrop"].map(|member| entry(&world, member));
    assert_eq!(members, [json!("steer"), json!(2_000), json!(5), json!("old")]);
    let session = world.gateway.sessions.entry(&SessionKey::new(MAIN));
    let queue = world.gateway.settings.agents.queue.of(session);
    assert_eq!((queue.mode, queue.drop), (QueueMode::Steer, QueueDrop::Old));
    typed(&mut world, client, "/queue default");
    assert_eq!(entry(&world, "queueMode"), Value::Null);
    assert_eq!(entry(&world, "queueCap"), Value::Null);
}

#[test]
fn a_session_is_closed_and_opened_again_by_typing() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    assert_eq!(typed(&mut world, client, "/send"), "Sending: on (by the configured policy)");
    typed(&mut world, client, "/send off");
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "x"});
    assert_eq!(world.refusal(client, "chat.send", params).message, "send blocked by session policy");
    assert_eq!(typed(&mut world, client, "/send"), "Sending: off (set for this session)");
    assert_eq!(typed(&mut world, client, "/send inherit"), "Send policy set to inherit.");
    assert_eq!(entry(&world, "sendPolicy"), Value::Null);
}

#[test]
fn activation_is_for_groups_only() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    assert_eq!(
        typed(&mut world, client, "/activation always"),
        "group activation only applies to group chats"
    );
    let end = typed_in(&mut world, client, "agent:main:slack:group:c", "/activation always");
    assert_eq!(end["message"]["content"][0]["text"], "Group activation set to always.");
    assert_eq!(world.shelf.entry("agent:main:slack:group:c")["groupActivation"], "always");
}

#[test]
fn what_is_shown_is_true() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V3);
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "r"}));
    world.answer("hello");
    world.advance(61_000);
    let status = typed(&mut world, client, "/status");
    for part in [
        "Telson 0.0.0, up 1 min 1 s",
        "Model: fake/m (no key configured)",
        "Session: agent:main:main, changed 1 min 1 s ago",
        "Context: 10 of 8192 tokens (0%)",
        "Levels: thinking off, verbose off, reasoning off, elevated default",
        "Queue: collect, 0 open in this session, 0 in all",
    ] {
        assert!(status.contains(part), "{part} in {status}");
    }
    let context = typed(&mut world, client, "/context");
    assert!(
        context.contains("Last run: 10 tokens in, 5 out\nTranscript: 4 entries, compacted 0 times"),
        "{context}"
    );
    let who = typed(&mut world, client, "/id");
    assert!(
        who.contains("Device: none\nProof: token\nRole: operator\n") && who.contains("Protocol: 3"),
        "{who}"
    );
    assert_eq!(typed(&mut world, client, "/whoami"), who);
    for command in COMMANDS {
        assert!(typed(&mut world, client, "/help").contains(&format!("\n/{}: ", command.name)));
        let all = typed(&mut world, client, "/commands");
        assert!(command.aliases.iter().all(|alias| all.contains(&format!("/{alias}"))), "{all}");
    }
}

#[test]
fn directives_hold_for_one_turn_and_the_model_does_not_see_them() {
    let mut world = World::with_model();
    let client = world.client(Protocol::V4, World::read_write(), None);
    let text = "/think high /model fake/m write a poem";
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": text, "idempotencyKey": "r"}));
    let (_, body) = world.fetch();
    let said = body["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    assert!(said.contains("write a poem") && !said.contains("/think"), "{said}");
    world.answer("roses");
    assert_eq!(entry(&world, "thinkingLevel"), Value::Null, "nothing is stored");
    let history = world.ask(client, "chat.history", json!({"sessionKey": "main"}));
    assert_eq!(history["messages"][0]["content"][0]["text"], "write a poem");
}

#[test]
fn directives_alone_are_stored_together_or_not_at_all() {
    let mut world = World::with_model();
    let admin = world.operator(Protocol::V4);
    let answer = typed(&mut world, admin, "/think high /verbose full");
    assert_eq!(answer, "Thinking level set to high.\nVerbose level set to full.");
    assert_eq!(
        (entry(&world, "thinkingLevel"), entry(&world, "verboseLevel")),
        (json!("high"), json!("full"))
    );
    let writer = world.client(Protocol::V4, World::read_write(), None);
    assert_eq!(typed(&mut world, writer, "/think low /verbose off"), "missing scope: operator.admin");
    assert_eq!(entry(&world, "thinkingLevel"), "high");
    // In a turn, what needs more than the right to send is refused too.
    assert_eq!(
        typed(&mut world, writer, "/elevated full remove everything"),
        "missing scope: operator.admin"
    );
    assert!(world.fetches.is_empty());
}

#[test]
fn words_that_look_like_commands_stay_words_when_the_client_says_so() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    for (run, text) in [("a", "/status"), ("b", "stop"), ("c", "/think high now")] {
        let params = json!({"sessionKey": run, "message": text, "idempotencyKey": run, "suppressCommandInterpretation": true});
        assert_eq!(world.ask(client, "chat.send", params)["status"], "started");
        let (_, body) = world.fetch();
        let said = body["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
        assert!(said.contains(text), "{said}");
        world.answer("yes");
    }
    let v3 = world.operator(Protocol::V3);
    let params = json!({"sessionKey": "a", "message": "x", "idempotencyKey": "d", "suppressCommandInterpretation": true});
    assert!(world.refusal(v3, "chat.send", params).message.contains("unexpected property"));
}

/// What each kind of need asks for, said again from spec 02 §14.4, §20.3 and 01 §6.3.
fn needed(needs: Needs, protocol: Protocol) -> Option<Scope> {
    match (needs, protocol) {
        (Needs::Nothing | Needs::Abort, _) | (Needs::Light, Protocol::V4) => None,
        (Needs::Light | Needs::Setting | Needs::Reset, _) => Some(Scope::Admin),
    }
}

/// A spelling of each command that has its effect. A command without one breaks the test.
fn effective(command: &Command) -> String {
    let argument = match command.name {
        "help" | "commands" | "status" | "whoami" | "context" | "new" | "reset" | "models" | "compact" => "",
        "stop" => ":",
        "model" => " echo/echo",
        "think" | "verbose" | "reasoning" | "elevated" => " on",
        "usage" => " full",
        "queue" => " steer",
        "send" => " on",
        "activation" => " always",
        "subagents" => " stop all",
        other => panic!("say how /{other} has its effect"),
    };
    format!("/{}{argument}", command.name)
}

#[test]
fn no_command_does_what_its_sender_may_not_do() {
    const GROUP: &str = "agent:main:slack:group:c";
    let write = World::read_write();
    let grants = [Scopes::from_iter([Scope::Write]), write, Scopes::all()];
    for protocol in Protocol::ALL {
        for scopes in &grants {
            for command in COMMANDS {
                let mut world = World::with_model();
                let client = world.client(protocol, scopes.clone(), None);
                let text = effective(command);
                let params = json!({"sessionKey": GROUP, "message": text, "idempotencyKey": "r"});
                assert_eq!(world.ask(client, "chat.send", params)["status"], "started");
                let said =
                    world.terminal("r", Protocol::V3).map(|end| end["message"]["content"][0]["text"].clone());
                let refused = said.as_ref().is_some_and(|said| said == "missing scope: operator.admin");
                let may = needed(command.needs, protocol)
                    .is_none_or(|scope| scopes.iter().any(|held| held == scope));
                assert_eq!(refused, !may, "{text} by {scopes:?} on {protocol:?}: {said:?}");
            }
        }
        // Whoever may only read cannot send at all.
        let mut world = World::with_model();
        let reader = world.client(protocol, [Scope::Read].into_iter().collect(), None);
        for command in COMMANDS {
            let params = json!({"sessionKey": GROUP, "message": effective(command), "idempotencyKey": "r"});
            let error = world.refusal(reader, "chat.send", params);
            assert_eq!(error.message, "missing scope: operator.write");
        }
        assert!(world.shelf.sessions.is_empty());
    }
}

#[test]
fn the_agent_method_knows_the_words_that_begin_anew_and_asks_for_admin() {
    let mut world = World::with_model();
    let writer = world.client(Protocol::V4, World::read_write(), None);
    let run = |text: &str, key: &str| json!({"sessionKey": "main", "message": text, "idempotencyKey": key});
    world.call(writer, "agent", run("first", "a"));
    world.answer("hello");
    assert_eq!(world.refusal(writer, "agent", run("/new again", "b")).code, ErrorCode::Forbidden);
    let admin = world.operator(Protocol::V4);
    world.call(admin, "agent", run("/new again", "c"));
    let (_, body) = world.fetch();
    assert_eq!(body["messages"].as_array().unwrap().len(), 1, "{body}");
    world.answer("fresh");
    assert_eq!(world.shelf.messages(MAIN).len(), 2);
    // Other commands are words to it.
    world.call(writer, "agent", run("/status", "d"));
    assert_eq!(world.fetches.len(), 1);
    let stopped = world.ask(writer, "agent", run("stop", "e"));
    assert_eq!(stopped, json!({"ok": true, "aborted": true, "runIds": ["d"]}));
}

#[test]
fn a_new_session_greets_and_nobody_sees_how_it_was_asked() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": "old", "idempotencyKey": "r1"}));
    world.answer("yes");
    world.call(client, "chat.send", json!({"sessionKey": "main", "message": "/new", "idempotencyKey": "r2"}));
    let (_, body) = world.fetch();
    assert!(body["messages"][0]["content"].to_string().contains("Greet the user"), "{body}");
    world.answer("Good morning.");
    for protocol in Protocol::ALL {
        let reader = world.operator(protocol);
        let history = world.ask(reader, "chat.history", json!({"sessionKey": "main"}));
        let messages = history["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 1, "{history}");
        assert_eq!(messages[0]["content"][0]["text"], "Good morning.");
        let preview = world.ask(reader, "sessions.preview", json!({"keys": ["main"]}));
        assert!(!preview.to_string().contains("Greet"), "{preview}");
        let params = json!({"includeDerivedTitles": true, "includeLastMessage": true});
        let list = world.ask(reader, "sessions.list", params);
        assert!(!list.to_string().contains("Greet"), "{list}");
    }
}

#[test]
fn a_new_session_may_begin_with_a_model() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let send = |text: &str, key: &str| json!({"sessionKey": "main", "message": text, "idempotencyKey": key});
    world.call(client, "chat.send", send("/new echo/echo hello there", "r1"));
    world.advance(1_000);
    assert_eq!(entry(&world, "modelOverride"), "echo");
    let texts: Vec<String> =
        world.shelf.messages(MAIN).iter().map(crate::sessions::sanitise::text_of).collect();
    assert_eq!(texts, ["hello there", "hello there"]);
    // The choice does not outlive the next one, and echo has no greeting of its own.
    world.call(client, "chat.send", send("/reset echo", "r2"));
    world.advance(1_000);
    let texts: Vec<String> =
        world.shelf.messages(MAIN).iter().map(crate::sessions::sanitise::text_of).collect();
    assert_eq!(texts, ["/reset echo", "A new session has begun."]);
    world.call(client, "chat.send", send("/new hello", "r3"));
    assert_eq!(entry(&world, "modelOverride"), Value::Null);
    assert!(world.fetch().1["messages"].to_string().contains("hello"));
}

#[test]
fn a_conversation_is_summed_up_by_typing() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let send = |text: &str, key: &str| json!({"sessionKey": "main", "message": text, "idempotencyKey": key});
    world.call(client, "chat.send", send("/compact", "r0"));
    let end = world.terminal("r0", Protocol::V3).unwrap();
    assert_eq!(end["message"]["content"][0]["text"], "There is nothing to sum up yet.");
    for n in 0..4 {
        world.call(client, "chat.send", send(&"words ".repeat(400), &format!("r{}", n + 1)));
        world.answer(&"answer ".repeat(300));
    }
    world.call(client, "chat.send", send("/compact keep the names", "last"));
    let (_, body) = world.fetch();
    assert!(body["messages"][0]["content"].to_string().contains("keep the names"), "{body}");
    world.answer("They spoke of tides.");
    let end = world.terminal("last", Protocol::V3).unwrap();
    assert_eq!((&end["state"], &end["message"]["stopReason"]), (&json!("final"), &json!("injected")));
    assert_eq!(end["message"]["content"][0]["text"], "The conversation so far is summed up.");
    assert_eq!(entry(&world, "compactionCount"), 1);
    let texts: Vec<String> =
        world.shelf.messages(MAIN).iter().rev().take(3).map(crate::sessions::sanitise::text_of).collect();
    assert_eq!(
        (texts[0].as_str(), texts[2].as_str()),
        ("The conversation so far is summed up.", "/compact keep the names")
    );
    assert!(world.gateway.runs.is_idle());
}

/// A world in which the main session runs, and another one that it has started runs too.
fn with_child(protocol: Protocol) -> (World, ConnId) {
    let mut world = World::with_model();
    // Only an administrator says by hand whose child a session is.
    let client = world.client(protocol, Scopes::all(), None);
    world.call(
        client,
        "chat.send",
        json!({"sessionKey": "main", "message": "go", "idempotencyKey": "parent"}),
    );
    let child = json!({"sessionKey": "subagent:1", "spawnedBy": MAIN, "label": "helper", "message": "work", "idempotencyKey": "child"});
    world.call(client, "agent", child);
    world.call(
        client,
        "chat.send",
        json!({"sessionKey": "main", "message": "more", "idempotencyKey": "queued"}),
    );
    (world, client)
}

#[test]
fn a_stop_text_ends_what_runs_what_waits_and_what_was_handed_on() {
    for protocol in Protocol::ALL {
        let (mut world, client) = with_child(protocol);
        let stop = json!({"sessionKey": "main", "message": " STOP ", "idempotencyKey": "s"});
        let answer = world.ask(client, "chat.send", stop);
        assert_eq!(answer["aborted"], true);
        let mut runs: Vec<&str> =
            answer["runIds"].as_array().unwrap().iter().map(|run| run.as_str().unwrap()).collect();
        runs.sort_unstable();
        assert_eq!(runs, ["child", "parent", "queued"]);
        for run in runs {
            let end = world.terminal(run, Protocol::V3).unwrap();
            assert_eq!((&end["state"], &end["stopReason"]), (&json!("aborted"), &json!("stop")), "{end}");
        }
        assert!(world.fetches.is_empty() && world.gateway.runs.is_idle());
    }
}

#[test]
fn agents_that_a_session_has_started_are_listed_and_stopped() {
    let (mut world, client) = with_child(Protocol::V4);
    let other = world.client(Protocol::V4, World::read_write(), None);
    let ask = |world: &mut World, client: ConnId, text: &str, key: &str| {
        world.call(
            client,
            "chat.send",
            json!({"sessionKey": "main", "message": text, "idempotencyKey": key}),
        );
        world.terminal(key, Protocol::V3).unwrap()["message"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let list = ask(&mut world, client, "/subagents", "a");
    assert_eq!(list, "Agents that this session has started:\n1. helper: running");
    assert!(ask(&mut world, client, "/subagents stop 2", "b").starts_with("no such agent: 2"));
    assert_eq!(ask(&mut world, other, "/subagents stop 1", "c"), "unauthorized");
    assert_eq!(ask(&mut world, client, "/subagents stop 1", "d"), "Stopped 1 run.");
    assert_eq!(world.terminal("child", Protocol::V3).unwrap()["state"], "aborted");
    assert_eq!(world.terminal("parent", Protocol::V3), None, "the session itself goes on");
    assert_eq!(ask(&mut world, client, "/subagents stop all", "e"), "Nothing runs there.");
    assert_eq!(
        ask(&mut world, client, "/subagents list", "f"),
        "Agents that this session has started:\n1. helper: killed"
    );
}

#[test]
fn a_repeated_command_is_answered_once() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let params = json!({"sessionKey": "main", "message": "/think high", "idempotencyKey": "r"});
    world.ask(client, "chat.send", params.clone());
    world.ask(client, "sessions.patch", json!({"key": "main", "thinkingLevel": "low"}));
    assert_eq!(world.ask(client, "chat.send", params)["status"], "ok");
    assert_eq!(entry(&world, "thinkingLevel"), "low");
    assert_eq!(world.shelf.messages(MAIN).len(), 2);
}

#[test]
fn a_picture_with_a_commands_words_goes_to_the_model() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let params = json!({
        "sessionKey": "main", "message": "/status", "idempotencyKey": "r",
        "attachments": [{"type": "image", "mimeType": "image/gif", "content": "R0lGODdh"}],
    });
    world.ask(client, "chat.send", params);
    assert_eq!(world.fetches.len(), 1);
}

#[test]
fn clients_get_the_list_with_or_without_arguments() {
    let mut world = World::new();
    let client = world.client(Protocol::V4, [Scope::Read].into_iter().collect(), None);
    let list =
        world.ask(client, "commands.list", json!({"agentId": "main", "scope": "text", "includeArgs": false}));
    let commands = list["commands"].as_array().unwrap();
    assert_eq!(commands.len(), COMMANDS.len());
    let think = commands.iter().find(|command| command["name"] == "think").unwrap();
    assert_eq!(
        *think,
        json!({
            "name": "think", "textAliases": ["/think", "/thinking", "/t"], "category": "options",
            "description": "Shows or sets how much the model thinks.", "source": "native", "scope": "text",
            "acceptsArgs": true,
        })
    );
    let full = world.ask(client, "commands.list", json!({}));
    assert!(
        full["commands"]
            .as_array()
            .unwrap()
            .iter()
            .any(|command| command["args"][0]["choices"][0]["value"] == "off")
    );
    assert_eq!(world.ask(client, "commands.list", json!({"scope": "native"}))["commands"], json!([]));
    let error = world.refusal(client, "commands.list", json!({"agentId": "nobody"}));
    assert_eq!(error.message, "unknown agent id \"nobody\"");
}
