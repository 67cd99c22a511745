#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use telson_proto::Protocol;

use super::catalogue::View;
use crate::gateway::Gateway;
use crate::ids::AgentId;
use crate::providers::{Candidate, ErrorKind, ModelError};
use crate::sessions::SessionEntry;
use crate::settings::{
    AgentProfile, AuthMode, Identity, ModelRef, ModelSettings, ProviderSettings, Settings,
};
use crate::{Now, Seed};

fn gateway(change: impl FnOnce(&mut Settings)) -> Gateway {
    let mut settings = Settings::plain(AuthMode::None);
    change(&mut settings);
    Gateway::new(settings, Seed::from([1; 32]), Now::epoch())
}

fn local(models: &[&str]) -> ProviderSettings {
    let model = |id: &&str| ModelSettings {
        name: format!("Model {id}"),
        reasoning: true,
        images: true,
        context_window: 8_192,
        max_tokens: 100,
        ..ModelSettings::new(*id)
    };
    ProviderSettings {
        models: models.iter().map(model).collect(),
        ..ProviderSettings::new("local", "http://localhost/v1")
    }
}

#[test]
fn without_configuration_there_is_one_agent_that_echoes() {
    let gateway = gateway(|_| {});
    let json = |protocol| telson_proto::Json::of(&gateway.agents_list(protocol)).to_value();
    let v3 = serde_json::json!({"defaultId": "main", "mainKey": "main", "scope": "per-sender", "agents": [{"id": "main"}]});
    assert_eq!(json(Protocol::V3), v3);
    let v4 = json(Protocol::V4);
    assert_eq!(v4["agents"][0]["model"]["primary"], "echo/echo");
    assert_eq!((&v4["agents"][0]["kind"], &v4["ownership"]), (&"agent".into(), &"sole".into()));
    let models = gateway.agents.choices();
    assert_eq!((models.len(), models[0].name.as_str()), (1, "Echo (repeats your words; no model behind it)"));
    assert_eq!(gateway.agents.thinking_default(&ModelRef::echo()), "off");
}

#[test]
fn an_agent_without_a_face_is_called_assistant() {
    let plain = gateway(|_| {}).identity_of(&AgentId::new("main"), Protocol::V3);
    assert_eq!((plain.name.as_str(), plain.avatar.as_str(), plain.name_source), ("Assistant", "A", None));
    let gateway = gateway(|settings| {
        settings.agents.list[0].identity = Identity {
            name: Some("x".repeat(60)),
            theme: None,
            emoji: Some("🦀".to_owned()),
            avatar: Some(format!("https://example.org/{}", "a".repeat(200))),
        };
    });
    let long = gateway.identity_of(&AgentId::new("main"), Protocol::V4);
    assert_eq!((long.name.len(), long.avatar.as_str()), (50, "🦀"));
    assert_eq!((long.name_source, long.emoji.as_deref()), (Some("agent"), Some("🦀")));
}

#[test]
fn the_session_chooses_before_the_agent_and_the_agent_before_the_default() {
    let small = ModelRef::parse("local/small").unwrap();
    let large = ModelRef::parse("local/large").unwrap();
    let gateway = gateway(|settings| {
        settings.providers = vec![local(&["small", "large"])];
        settings.agents.list.push(AgentProfile {
            id: AgentId::new("ops"),
            name: None,
            model: Some(small.clone()),
            fallbacks: None,
            identity: Identity::default(),
        });
    });
    let (main, ops) = (AgentId::new("main"), AgentId::new("ops"));
    assert_eq!(gateway.agents.model_of(&main, None), ModelRef::echo());
    assert_eq!(gateway.agents.model_of(&ops, None), small);
    let chosen = |model: &str| SessionEntry {
        provider_override: Some("local".to_owned()),
        model_override: Some(model.to_owned()),
        ..SessionEntry::default()
    };
    assert_eq!(gateway.agents.model_of(&ops, Some(&chosen("large"))), large);
    assert_eq!(
        gateway.agents.model_of(&ops, Some(&chosen("gone"))),
        small,
        "a model that is no longer offered"
    );
    assert_eq!(gateway.agents.context_tokens(&large), Some(8_192));
}

#[test]
fn models_are_listed_by_provider_and_protocol_4_hides_what_is_not_allowed() {
    let gateway = gateway(|settings| {
        settings.providers = vec![local(&["b", "a"])];
        let allowed = ModelRef::parse("local/a").unwrap();
        settings.agents.allowed_models = vec![(allowed, Some("mini".to_owned()))];
    });
    let ids = |models: Vec<telson_proto::session::ModelChoice>| {
        models.into_iter().map(|m| m.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(gateway.agents.choices()), ["echo", "a", "b"]);
    let detailed = |view| gateway.agents.detailed_choices(view, &gateway.providers, gateway.now);
    assert_eq!(ids(detailed(View::Default)), ["echo", "a"]);
    assert_eq!(ids(detailed(View::Configured)), ["echo", "a"]);
    assert_eq!(ids(detailed(View::ProviderConfig)), ["a", "b"]);
    let all = detailed(View::All);
    assert_eq!((all[1].alias.as_deref(), all[2].available), (Some("mini"), Some(false)));
    assert_eq!((all[1].available, all[1].unavailable_reason), (Some(true), None));
    assert_eq!(all[1].thinking_levels.as_ref().map(Vec::len), Some(5));
    assert_eq!((all[1].thinking_default.as_deref(), all[0].thinking_default.as_deref()), (Some("low"), None));
    assert_eq!((all[0].thinking_levels.as_ref(), all[1].input.len()), (None, 2));
    assert_eq!((all[0].supports_tools, all[1].supports_tools), (Some(false), Some(true)));
}

#[test]
fn a_model_that_cannot_be_asked_says_why_and_until_when() {
    let mut gateway = gateway(|settings| {
        let lacking = ProviderSettings {
            id: "keyless".to_owned(),
            key_variables: &["KEYLESS_API_KEY"],
            ..local(&["a"])
        };
        settings.providers = vec![lacking, local(&["b"])];
    });
    let candidate = Candidate::from(&ModelRef::parse("local/b").unwrap());
    let limited = ModelError { retry_after_ms: Some(9_000), ..ModelError::new(ErrorKind::RateLimit, "x") };
    gateway.providers.failed(gateway.now.mono, &candidate, &limited);
    let rows = gateway.agents.detailed_choices(View::All, &gateway.providers, gateway.now);
    let why = |row: usize| (rows[row].available, rows[row].unavailable_reason, rows[row].unavailable_until);
    assert_eq!(why(0), (Some(true), None, None));
    assert_eq!(why(1), (Some(false), Some("missing-auth"), None));
    assert_eq!(why(2), (Some(false), Some("cooldown"), Some(gateway.now.wall + 9_000)));
}

#[test]
fn a_level_may_be_chosen_for_one_model_and_fallbacks_for_one_agent() {
    let (large, small) = (ModelRef::parse("local/large").unwrap(), ModelRef::parse("local/small").unwrap());
    let gateway = gateway(|settings| {
        settings.providers = vec![local(&["small", "large"])];
        settings.agents.thinking_default = Some("xhigh".to_owned());
        settings.agents.model_thinking = vec![(small.clone(), "minimal".to_owned())];
        settings.agents.fallbacks = vec![small.clone()];
        let quiet = AgentProfile {
            id: AgentId::new("quiet"),
            fallbacks: Some(Vec::new()),
            ..settings.agents.list[0].clone()
        };
        settings.agents.list.push(quiet);
    });
    assert_eq!(gateway.agents.thinking_default(&small), "minimal");
    assert_eq!(gateway.agents.thinking_default(&large), "high", "it does not know xhigh");
    assert_eq!(gateway.agents.thinking_default(&ModelRef::parse("openai/gpt-5.2").unwrap()), "xhigh");
    assert_eq!(gateway.agents.fallbacks_of(&AgentId::new("main")), [small]);
    assert_eq!(gateway.agents.fallbacks_of(&AgentId::new("quiet")), []);
    let rows = telson_proto::Json::of(&gateway.agents_list(Protocol::V4)).to_value()["agents"].clone();
    assert_eq!(rows[0]["model"], serde_json::json!({"primary": "echo/echo", "fallbacks": ["local/small"]}));
    assert_eq!(rows[1]["model"], serde_json::json!({"primary": "echo/echo"}));
}
