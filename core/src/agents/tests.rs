#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use telson_proto::Protocol;

use crate::gateway::Gateway;
use crate::ids::AgentId;
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
        id: (*id).to_owned(),
        name: format!("Model {id}"),
        reasoning: true,
        images: true,
        context_window: 8_192,
        max_tokens: 100,
        max_completion_tokens: false,
    };
    ProviderSettings {
        id: "local".to_owned(),
        base_url: "http://localhost/v1".to_owned(),
        api_key: None,
        auth_header: true,
        headers: Vec::new(),
        models: models.iter().map(model).collect(),
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
    assert_eq!(ids(gateway.agents.detailed_choices(false)), ["echo", "a"]);
    let all = gateway.agents.detailed_choices(true);
    assert_eq!((all[1].alias.as_deref(), all[2].available), (Some("mini"), Some(false)));
    assert_eq!(all[1].thinking_levels.as_ref().map(Vec::len), Some(5));
    assert_eq!((all[0].thinking_levels.as_ref(), all[1].input.len()), (None, 2));
}
