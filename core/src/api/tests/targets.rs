//! Which agent, session and model a request means (spec 04 §5.1, §5.2, §16).

use super::*;
use crate::ids::AgentId;
use crate::settings::{AgentProfile, Identity};

const PATH: &str = "/v1/chat/completions";

fn two_agents() -> World {
    world_with(|settings| {
        let identity = Identity::default();
        let ops =
            AgentProfile { id: AgentId::new("ops"), name: None, model: None, fallbacks: None, identity };
        settings.agents.list.push(ops);
    })
}

/// The session in which a call runs, or the status and message with which it is refused.
fn session(headers: &[(&str, &str)], body: Value) -> Result<String, (u16, String)> {
    let mut world = two_agents();
    let request = headers.iter().fold(request("POST", PATH), |r, (name, value)| with_header(r, name, value));
    let id = world.http(request, body.to_string());
    match world.shelf.open_runs.values().next() {
        Some(run) => Ok(run.session_key.as_str().to_owned()),
        None => {
            let (status, body) = answer(&world, id);
            Err((status, body["error"]["message"].as_str().unwrap().to_owned()))
        }
    }
}

fn with_model(model: &str) -> Value {
    let mut body = say("hi");
    body["model"] = model.into();
    body["user"] = "u".into();
    body
}

#[test]
fn a_model_is_an_agent_by_any_of_its_names() {
    for (model, agent) in [
        ("openclaw", "main"),
        ("OpenClaw/default", "main"),
        ("openclaw:ops", "ops"),
        ("openclaw/ops", "ops"),
        ("agent:ops", "ops"),
        ("clawdbot", "main"),
        ("moltbot/ops", "ops"),
        ("clawdbot:ops", "ops"),
    ] {
        assert_eq!(session(&[], with_model(model)), Ok(format!("agent:{agent}:openai-user:u")), "{model}");
    }
    for model in ["gpt-4o", "openclaw/nobody", "agent", "agent/ops", "openclawx", "openclaw/..", "openclaw/"]
    {
        let (status, message) = session(&[], with_model(model)).unwrap_err();
        assert_eq!(status, 400, "{model}");
        assert!(message.contains("GET /v1/models"), "{message}");
    }
}

#[test]
fn any_model_is_accepted_when_the_operator_says_so_and_is_echoed() {
    let mut world = world_with(|settings| settings.api.chat.accept_any_model = true);
    let id = post(&mut world, PATH, with_model("gpt-4o"));
    world.answer("hello");
    assert_eq!(answer(&world, id).1["model"], "gpt-4o");
    let (status, _) = refused(&mut world, "/v1/responses", json!({"model": "gpt-4o", "input": "hi"}));
    assert_eq!(status, 400, "each endpoint has its own switch");
}

#[test]
fn older_names_can_be_switched_off() {
    let mut world = world_with(|settings| settings.api.legacy_names = false);
    assert_eq!(refused(&mut world, PATH, with_model("clawdbot")).0, 400);
    let request = with_header(request("POST", PATH), "x-clawdbot-session-key", "agent:main:old");
    world.http(request, say("hi").to_string());
    let run = world.shelf.open_runs.values().next().unwrap();
    assert!(run.session_key.as_str().starts_with("agent:main:openai:"));
}

#[test]
fn a_header_beats_the_model() {
    for name in ["x-openclaw-agent-id", "x-openclaw-agent", "x-clawdbot-agent-id", "x-moltbot-agent"] {
        let key = session(&[(name, "Ops")], with_model("openclaw/main"));
        assert_eq!(key, Ok("agent:ops:openai-user:u".to_owned()), "{name}");
    }
    assert_eq!(session(&[("x-openclaw-agent-id", "nobody")], with_model("openclaw")).unwrap_err().0, 400);
}

#[test]
fn a_key_is_taken_as_it_is_and_a_user_makes_a_stable_one() {
    let mut body = say("hi");
    body["user"] = " Alice B ".into();
    assert_eq!(session(&[], body.clone()), Ok("agent:main:openai-user:alice b".to_owned()));
    let header = |key| session(&[("x-openclaw-session-key", key)], body.clone());
    assert_eq!(header(" agent:ops:My:Key "), Ok("agent:ops:My:Key".to_owned()));
    assert_eq!(header("bare"), Ok("agent:main:bare".to_owned()));
    let both = [("x-openclaw-session-key", "bare"), ("x-openclaw-agent", "ops")];
    assert_eq!(session(&both, body.clone()), Ok("agent:ops:bare".to_owned()));
    let clash = [("x-openclaw-session-key", "agent:main:x"), ("x-openclaw-agent", "ops")];
    assert_eq!(session(&clash, body.clone()).unwrap_err().0, 400);
    for reserved in
        ["subagent:x", "cron:x", "acp:x", "agent:main:subagent:x", "Agent:main:CRON:x", ": cron :x"]
    {
        let (status, message) = header(reserved).unwrap_err();
        assert!(status == 400 && message.contains("reserved"), "{reserved}: {message}");
    }
    assert_eq!(header("agent:nobody:x").unwrap_err().0, 400, "a typo makes no agent");
    let fresh = session(&[], say("hi")).unwrap();
    assert!(fresh.starts_with("agent:main:openai:") && fresh.len() == 18 + 36, "{fresh}");
}

#[test]
fn another_model_must_be_one_that_exists_and_a_channel_a_word() {
    let mut world = two_agents();
    let id = world
        .http(with_header(request("POST", PATH), "x-openclaw-model", "nowhere/x"), say("hi").to_string());
    assert_eq!(answer(&world, id).0, 400);
    let request = with_header(request("POST", PATH), "x-openclaw-message-channel", "Telegram");
    let mut body = say("hi");
    body["user"] = "u".into();
    world.http(request, body.to_string());
    world.answer("hello");
    assert_eq!(world.shelf.entry("agent:main:openai-user:u")["lastChannel"], "telegram");
    let bad = with_header(super::request("POST", PATH), "x-openclaw-message-channel", "a b");
    let id = world.http(bad, say("hi").to_string());
    assert_eq!(answer(&world, id).0, 400);
}

#[test]
fn a_session_whose_policy_forbids_messages_runs_nothing() {
    let mut world = two_agents();
    let desk = world.operator(telson_proto::Protocol::V4);
    world.ask(desk, "sessions.patch", json!({"key": "agent:main:openai-user:u", "sendPolicy": "deny"}));
    assert_eq!(
        refused(&mut world, PATH, with_model("openclaw")),
        (400, "send blocked by session policy".to_owned())
    );
}
