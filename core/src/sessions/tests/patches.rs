use serde_json::{Value, json};
use telson_proto::{Protocol, Scope};

use super::world::World;
use crate::settings::{AuthMode, ModelRef, ModelSettings, ProviderSettings, Settings};

fn model(id: &str) -> ModelSettings {
    ModelSettings {
        id: id.to_owned(),
        name: String::new(),
        reasoning: true,
        images: false,
        context_window: 1_000,
        max_tokens: 100,
        ..ModelSettings::new(id)
    }
}

fn provider(id: &str, models: &[&str]) -> ProviderSettings {
    ProviderSettings {
        models: models.iter().map(|id| model(id)).collect(),
        ..ProviderSettings::new(id, "http://localhost/v1")
    }
}

fn world() -> World {
    let mut settings = Settings::plain(AuthMode::None);
    settings.providers = vec![provider("openai", &["gpt-5.2", "small"]), provider("zai", &["glm"])];
    World::with(settings)
}

fn entry(world: &mut World, patch: Value) -> Value {
    let client = world.admin(Protocol::V3);
    let mut params = json!({"key": "side"});
    params.as_object_mut().unwrap().append(&mut patch.as_object().unwrap().clone());
    world.call(client, "sessions.patch", params)["entry"].clone()
}

#[test]
fn a_patch_makes_the_session_and_shows_the_whole_entry() {
    let mut world = world();
    let client = world.admin(Protocol::V3);
    let result = world.call(client, "sessions.patch", json!({"key": "side", "label": " Tide "}));
    assert_eq!((&result["ok"], &result["key"]), (&json!(true), &json!("agent:main:side")));
    assert_eq!(result["path"], "telson.db");
    assert_eq!(result["entry"]["label"], "Tide");
    assert!(result["entry"]["sessionId"].is_string() && result["entry"]["updatedAt"].is_u64());
    assert_eq!(result["resolved"], json!(null));
    let (reason, payload) = world.changes("agent:main:side").pop().unwrap();
    assert_eq!((reason.as_str(), &payload["session"]["label"]), ("patch", &json!("Tide")));
}

#[test]
fn words_are_normalised_and_null_clears() {
    let mut world = world();
    let set = entry(
        &mut world,
        json!({
            "verboseLevel": "everything", "reasoningLevel": "draft", "responseUsage": "on", "elevatedLevel": "approve",
            "execHost": "Node", "execSecurity": "allowlist", "execAsk": "on-miss", "execNode": " pi ",
            "sendPolicy": "deny", "groupActivation": "always",
        }),
    );
    for (name, word) in [
        ("verboseLevel", "full"),
        ("reasoningLevel", "stream"),
        ("responseUsage", "tokens"),
        ("elevatedLevel", "ask"),
        ("execHost", "node"),
        ("execNode", "pi"),
        ("sendPolicy", "deny"),
        ("groupActivation", "always"),
    ] {
        assert_eq!(set[name], word, "{name}");
    }
    let off = json!({"verboseLevel": "off", "reasoningLevel": "off", "responseUsage": "off", "elevatedLevel": "no"});
    let off = entry(&mut world, off);
    assert_eq!((&off["verboseLevel"], &off["elevatedLevel"]), (&json!("off"), &json!("off")));
    assert_eq!((&off["reasoningLevel"], &off["responseUsage"]), (&json!(null), &json!(null)));
    let cleared = json!({
        "verboseLevel": null, "elevatedLevel": null, "execHost": null, "execNode": null, "sendPolicy": null,
    });
    let cleared = entry(&mut world, cleared);
    for name in ["verboseLevel", "elevatedLevel", "execHost", "execNode", "sendPolicy"] {
        assert_eq!(cleared[name], json!(null), "{name}");
    }
    assert_eq!(cleared["execAsk"], "on-miss", "what is not named stays");
}

#[test]
fn one_wrong_field_refuses_all() {
    let mut world = world();
    let client = world.admin(Protocol::V3);
    let patch = json!({"key": "side", "label": "tide", "sendPolicy": "maybe"});
    assert_eq!(world.refusal(client, "sessions.patch", patch), "invalid sendPolicy (use \"allow\"|\"deny\")");
    assert_eq!(world.gateway.sessions.get(&world.key("side")), None);
}

#[test]
fn refusals_name_the_field_and_the_remedy() {
    let mut world = world();
    let client = world.admin(Protocol::V3);
    world.call(client, "sessions.patch", json!({"key": "other", "label": "taken"}));
    world.call(client, "sessions.patch", json!({"key": "subagent:1", "spawnedBy": "agent:main:main"}));
    let long = "x".repeat(65);
    for (key, patch, text) in [
        ("side", json!({"label": " "}), "invalid label: empty"),
        ("side", json!({"label": long}), "invalid label: too long (max 64)"),
        ("side", json!({"label": "taken"}), "label already in use: taken"),
        ("side", json!({"thinkingLevel": "lots"}), "invalid thinkingLevel (use off|minimal|low|medium|high)"),
        ("side", json!({"verboseLevel": "lots"}), "invalid verboseLevel (use \"on\"|\"off\")"),
        ("side", json!({"execHost": "moon"}), "invalid execHost (use \"sandbox\"|\"gateway\"|\"node\")"),
        ("side", json!({"execNode": " "}), "invalid execNode: empty"),
        ("side", json!({"model": " "}), "invalid model: empty"),
        ("side", json!({"model": "/"}), "invalid model: /"),
        ("side", json!({"model": "nobody/x"}), "model not allowed: nobody/x"),
        ("side", json!({"spawnedBy": "main"}), "spawnedBy is only supported for subagent:* sessions"),
        ("subagent:2", json!({"spawnedBy": " "}), "invalid spawnedBy: empty"),
        ("subagent:1", json!({"spawnedBy": "agent:main:x"}), "spawnedBy cannot be changed once set"),
        ("subagent:1", json!({"spawnedBy": null}), "spawnedBy cannot be cleared once set"),
        (
            "side",
            json!({"pinned": true}),
            "invalid sessions.patch params: at root: unexpected property 'pinned'",
        ),
        (
            "side",
            json!({"label": ""}),
            "invalid sessions.patch params: at /label: must NOT have fewer than 1 characters",
        ),
        (" ", json!({}), "key required"),
    ] {
        let mut params = json!({"key": key});
        params.as_object_mut().unwrap().append(&mut patch.as_object().unwrap().clone());
        assert_eq!(world.refusal(client, "sessions.patch", params), text);
    }
}

#[test]
fn a_model_is_chosen_by_any_of_its_names() {
    let mut settings = Settings::plain(AuthMode::None);
    settings.providers = vec![provider("openai", &["gpt-5.2", "small"]), provider("zai", &["glm"])];
    let reference = |text: &str| ModelRef::parse(text).unwrap();
    settings.agents.allowed_models =
        vec![(reference("openai/small"), Some("Mini".to_owned())), (reference("zai/glm"), None)];
    let mut world = World::with(settings);
    for (text, provider, name) in [
        ("mini", "openai", "small"),
        ("openai/small", "openai", "small"),
        ("Z.ai/glm", "zai", "glm"),
        ("glm", "zai", "glm"),
    ] {
        let entry = entry(&mut world, json!({"model": text}));
        assert_eq!(
            (&entry["providerOverride"], &entry["modelOverride"]),
            (&json!(provider), &json!(name)),
            "{text}"
        );
    }
    assert_eq!(world.gateway.model_of(&world.key("side")), reference("zai/glm"));
    let entry = entry(&mut world, json!({"model": "echo/echo"}));
    assert_eq!(entry["modelOverride"], json!(null), "the default needs no override");
    let client = world.admin(Protocol::V3);
    let text = world.refusal(client, "sessions.patch", json!({"key": "side", "model": "openai/gpt-5.2"}));
    assert_eq!(text, "model not allowed: openai/gpt-5.2");
}

#[test]
fn xhigh_goes_with_the_models_that_know_it() {
    let mut world = world();
    let client = world.admin(Protocol::V3);
    let text = world.refusal(client, "sessions.patch", json!({"key": "side", "thinkingLevel": "xhigh"}));
    assert!(text.starts_with("thinkingLevel \"xhigh\" is only supported for openai/gpt-5.2, "), "{text}");
    let set = entry(&mut world, json!({"model": "openai/gpt-5.2", "thinkingLevel": "x-high"}));
    assert_eq!(set["thinkingLevel"], "xhigh");
    let moved = entry(&mut world, json!({"model": "openai/small"}));
    assert_eq!(moved["thinkingLevel"], "high");
    let off = entry(&mut world, json!({"thinkingLevel": "off"}));
    assert_eq!(off["thinkingLevel"], json!(null));
}

#[test]
fn protocol_4_leaves_names_and_order_to_writers() {
    let mut world = world();
    let writer = world.client(Protocol::V4, &[Scope::Write]);
    let patch = json!({"key": "side", "label": "tide", "icon": "🌊", "category": "sea", "pinned": true});
    let result = world.call(writer, "sessions.patch", patch);
    assert_eq!((&result["entry"]["icon"], &result["entry"]["pinned"]), (&json!("🌊"), &json!(true)));
    assert_eq!(result["resolved"], json!({"modelProvider": "echo", "model": "echo"}));
    let text =
        world.refusal(writer, "sessions.patch", json!({"key": "side", "label": "x", "sendPolicy": "deny"}));
    assert_eq!(text, "missing scope: operator.admin");
    let reader = world.client(Protocol::V4, &[Scope::Read]);
    assert_eq!(
        world.refusal(reader, "sessions.patch", json!({"key": "side", "label": "x"})),
        "missing scope: operator.write"
    );
    let old = world.client(Protocol::V3, &[Scope::Write]);
    assert_eq!(
        world.refusal(old, "sessions.patch", json!({"key": "side", "label": "x"})),
        "missing scope: operator.admin"
    );
}

#[test]
fn reading_a_session_does_not_make_it_recent() {
    let mut world = world();
    world.say("side", "user", "hello");
    let before = world.gateway.sessions.get(&world.key("side")).unwrap().updated_at;
    world.tick(5_000);
    let client = world.client(Protocol::V4, &[Scope::Write]);
    world.call(client, "sessions.patch", json!({"key": "side", "agentId": "main", "unread": true}));
    let session = world.gateway.sessions.get(&world.key("side")).unwrap();
    assert_eq!(session.updated_at, before);
    let ack = json!({"key": "side", "expectedMarkedUnreadAt": null, "unread": false});
    assert!(world.refusal(client, "sessions.patch", ack).contains("changed meanwhile"));
    let ack = json!({"key": "side", "expectedMarkedUnreadAt": before + 5_000, "unread": false});
    let result = world.call(client, "sessions.patch", ack);
    assert_eq!(
        (&result["entry"]["markedUnreadAt"], &result["entry"]["lastReadAt"]),
        (&json!(null), &json!(before + 5_000))
    );
}

#[test]
fn an_agent_and_a_key_must_agree() {
    let mut world = world();
    let client = world.admin(Protocol::V4);
    let result = world.call(client, "sessions.patch", json!({"key": "main", "agentId": "ops", "label": "x"}));
    assert_eq!(result["key"], "agent:ops:main");
    let params = json!({"key": "agent:main:a", "agentId": "ops", "label": "x"});
    let text = world.refusal(client, "sessions.patch", params);
    assert_eq!(text, "session key agent:main:a belongs to agent \"main\", not to agent \"ops\"");
    let text = world.refusal(client, "sessions.patch", json!({"key": "a", "inheritedToolAllow": []}));
    assert_eq!(text, "inheritedToolAllow is not supported by this gateway; leave it out");
}
