use proptest::prelude::*;

use crate::ids::{AgentId, SessionKey};
use crate::sessions::keys::{KeyRules, Kind, is_acp, is_subagent, kind, normalise_agent, thread_parent};
use crate::settings::AgentSettings;

fn rules() -> KeyRules {
    let settings = AgentSettings {
        default: AgentId::new("ops"),
        main_key: "home".to_owned(),
        ..AgentSettings::default()
    };
    KeyRules::new(&settings)
}

fn canonical(spelling: &str) -> String {
    rules().canonical(spelling).map(|key| key.to_string()).unwrap_or_default()
}

#[test]
fn every_spelling_of_the_main_session_leads_to_it() {
    for spelling in ["main", " home ", "MAIN", "agent:ops:main", "agent:OPS:home", "Agent: ops :main:"] {
        assert_eq!(canonical(spelling), "agent:ops:home", "{spelling}");
    }
    assert_eq!(canonical("agent:other:main"), "agent:other:home");
}

#[test]
fn reserved_words_stay_and_other_words_belong_to_the_default_agent() {
    assert_eq!(canonical("global"), "global");
    assert_eq!(canonical("unknown"), "unknown");
    assert_eq!(canonical("tui-xyz"), "agent:ops:tui-xyz");
    assert_eq!(canonical("agent:foo"), "agent:ops:agent:foo");
    assert_eq!(canonical(" : "), "");
}

#[test]
fn only_prefix_words_lose_their_case() {
    assert_eq!(canonical("AGENT:My Agent:Telegram:Group:AbC"), "agent:my-agent:Telegram:Group:AbC");
    assert_eq!(canonical("agent:ops:SubAgent:AbC"), "agent:ops:subagent:AbC");
}

#[test]
fn one_conversation_for_all_when_so_configured() {
    let settings = AgentSettings { global_scope: true, ..AgentSettings::default() };
    let rules = KeyRules::new(&settings);
    for spelling in ["main", "agent:x:main", "global"] {
        assert_eq!(rules.canonical(spelling), Some(SessionKey::new("global")), "{spelling}");
    }
    assert_eq!(rules.canonical("agent:x:side"), Some(SessionKey::new("agent:x:side")));
    assert!(rules.is_main(&SessionKey::new("global")));
}

#[test]
fn a_key_tells_its_agent_kind_and_parent() {
    let key = SessionKey::new("agent:a:telegram:group:1:topic:7");
    assert_eq!(rules().agent_of(&key), AgentId::new("a"));
    assert_eq!(rules().agent_of(&SessionKey::new("global")), AgentId::new("ops"));
    assert_eq!(kind(&key, None), Kind::Group);
    assert_eq!(kind(&SessionKey::new("agent:a:main"), Some("channel")), Kind::Group);
    assert_eq!(kind(&SessionKey::new("agent:a:dm:bob"), Some("direct")), Kind::Direct);
    assert_eq!(kind(&SessionKey::new("unknown"), Some("group")), Kind::Unknown);
    assert_eq!(thread_parent(&key), Some(SessionKey::new("agent:a:telegram:group:1")));
    assert_eq!(
        thread_parent(&SessionKey::new("agent:a:slack:channel:c:Thread:1")),
        Some(SessionKey::new("agent:a:slack:channel:c"))
    );
    assert_eq!(thread_parent(&SessionKey::new("agent:a:main")), None);
    assert!(is_subagent(&SessionKey::new("agent:a:subagent:1")));
    assert!(!is_subagent(&SessionKey::new("agent:a:x:subagent:1")));
    assert!(is_acp(&SessionKey::new("agent:a:acp:1")));
}

#[test]
fn agent_ids_are_cleaned_and_never_empty() {
    for (text, id) in
        [("Main", "main"), ("a-", "a-"), ("My  Agent!", "my-agent"), ("é", "main"), ("", "main")]
    {
        assert_eq!(normalise_agent(text).as_str(), id, "{text}");
    }
    assert_eq!(normalise_agent(&"x".repeat(99)).as_str().len(), 64);
}

proptest! {
    #[test]
    fn canonical_keys_are_their_own_canonical_form(spelling in "(agent|Agent|main|home|dm|ACP|[ -~é]{0,6}|:){1,9}") {
        for global in [false, true] {
            let settings = AgentSettings { global_scope: global, main_key: "home".to_owned(), ..AgentSettings::default() };
            let rules = KeyRules::new(&settings);
            if let Some(once) = rules.canonical(&spelling) {
                prop_assert_eq!(rules.canonical(once.as_str()), Some(once));
            }
        }
    }

    #[test]
    fn cleaning_an_agent_id_twice_changes_nothing_more(text in "\\PC{0,80}") {
        let once = normalise_agent(&text);
        prop_assert_eq!(normalise_agent(once.as_str()), once);
    }
}
