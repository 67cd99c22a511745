//! Who may use what.

use serde_json::{Value, json};
use telson_proto::Protocol;

use super::super::BUILT_IN;
use super::super::policy::{GROUPS, Rule, Subject, wildcard};
use super::super::settings::{AgentToolSettings, PolicySettings, Profile};
use super::{call, ended, names, owner, result, within};
use crate::ids::AgentId;
use crate::testing::World;

/// `allow`, `deny`, a tool, whether another program brings it, and whether it is permitted.
type Row = (&'static [&'static str], &'static [&'static str], &'static str, bool, bool);

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn permits(allow: &[&str], deny: &[&str], name: &str, foreign: bool) -> bool {
    Rule::lists(&list(allow), &list(deny)).permits(Subject { name, foreign })
}

#[test]
fn names_wildcards_and_groups_are_understood() {
    let table: &[Row] = &[
        (&[], &[], "web_fetch", false, true),
        (&["web_fetch"], &[], "web_fetch", false, true),
        (&["WEB_Fetch "], &[], "web_fetch", false, true),
        (&["web_search"], &[], "web_fetch", false, false),
        (&["group:web"], &[], "web_fetch", false, true),
        (&["group:web"], &["web_fetch"], "web_fetch", false, false),
        (&["web_*"], &[], "web_fetch", false, true),
        (&["*"], &["group:web"], "web_fetch", false, false),
        (&["bash"], &[], "exec", false, true),
        (&["group:telson"], &[], "web_fetch", false, true),
        (&["group:openclaw"], &[], "files__read", true, false),
        (&["group:mcp"], &[], "files__read", true, true),
        (&["bundle-mcp"], &[], "web_fetch", false, false),
        (&["files__*"], &[], "files__read", true, true),
        (&[], &["files__*"], "files__read", true, false),
        // A server cannot slip into a group of the gateway's own tools by a name.
        (&["group:web"], &[], "web_fetch", true, false),
        (&["group:nothing"], &[], "web_fetch", false, false),
    ];
    for (allow, deny, name, foreign, expected) in table {
        assert_eq!(permits(allow, deny, name, *foreign), *expected, "{allow:?} {deny:?} {name}");
    }
}

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "a", false),
        ("ab*ba", "aba", false),
        ("a*b*c", "a-b-b-c", true),
        ("abc", "abcd", false),
        ("", "a", false),
    ] {
        assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn every_tool_has_a_group_a_usable_name_and_a_schema_of_an_object() {
    for tool in BUILT_IN {
        let group = GROUPS.iter().find(|(group, _)| *group == tool.group);
        assert!(group.is_some_and(|(_, members)| members.contains(&tool.name)), "{}", tool.name);
        assert!(tool.name.len() <= 64 && tool.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let schema = (tool.parameters)();
        assert_eq!(schema["type"], "object", "{}", tool.name);
        for required in schema["required"].as_array().unwrap() {
            assert!(schema["properties"][required.as_str().unwrap()].is_object(), "{}", tool.name);
        }
        assert!(!tool.description.contains("  "), "{}", tool.description);
    }
}

#[test]
fn each_scope_of_the_policy_only_narrows() {
    let mut world = World::with(|settings| {
        settings.tools.policy.profile = Some(Profile::Coding);
        settings.tools.policy.also_allow = list(&["agents_list"]);
        settings.tools.policy.deny = list(&["sessions_send"]);
        let own =
            PolicySettings { allow: list(&["group:sessions", "agents_list"]), ..PolicySettings::default() };
        let by_provider = PolicySettings { deny: list(&["session_status"]), ..PolicySettings::default() };
        settings.tools.policy.by_provider.insert("echo".to_owned(), by_provider);
        settings
            .tools
            .agents
            .insert(AgentId::new("main"), AgentToolSettings { policy: own, ..AgentToolSettings::default() });
    });
    assert_eq!(
        names(&world, &owner()),
        ["sessions_list", "sessions_history", "sessions_spawn", "agents_list"],
        "no web: not in the agent's list; no gateway: not in the profile"
    );
    let refused = result(&mut world, &owner(), "sessions_send", json!({}));
    let unknown = result(&mut world, &owner(), "no_such_tool", json!({}));
    assert_eq!(refused.text, "Tool not available: sessions_send");
    assert_eq!(unknown.text, "Tool not available: no_such_tool", "unknown and denied look the same");
}

#[test]
fn the_owners_tools_are_for_nobody_else() {
    let mut world = World::new();
    assert!(names(&world, &owner()).contains(&"gateway".to_owned()));
    let guest = within("agent:main:main", false);
    assert!(!names(&world, &guest).contains(&"gateway".to_owned()));
    assert!(result(&mut world, &guest, "gateway", json!({"action": "status"})).is_error);
    let status = result(&mut world, &owner(), "gateway", json!({"action": "status"}));
    assert_eq!(status.details.unwrap()["toolServers"], json!([]));
    let wrong = result(&mut world, &owner(), "gateway", json!({"action": "restart"}));
    assert!(wrong.text.starts_with("invalid arguments: action: "), "{}", wrong.text);
}

#[test]
fn a_sub_agent_has_no_sessions_to_care_for() {
    let world = World::new();
    assert_eq!(names(&world, &within("agent:main:subagent:x", true)), ["web_fetch", "nodes"]);
    let world = World::with(|settings| settings.tools.subagents.max_depth = 2);
    let mine = names(&world, &within("agent:main:subagent:x", true));
    let usual =
        ["sessions_list", "sessions_history", "sessions_spawn", "session_status", "web_fetch", "nodes"];
    assert_eq!(mine, usual);
}

#[test]
fn bad_arguments_name_the_field_and_what_would_be_right() {
    let mut world = World::new();
    for (tool, arguments, problem) in [
        ("sessions_list", json!({"limit": 1_000}), "invalid arguments: limit: must be <= 200"),
        ("sessions_list", json!({"kinds": ["x"]}), "invalid arguments: kinds[0]: unknown variant `x`"),
        ("sessions_history", json!({}), "invalid arguments: missing field `sessionKey`"),
        ("sessions_spawn", json!({"task": ""}), "invalid arguments: task: must NOT have fewer than 1"),
        ("web_fetch", json!("x"), "the arguments must be a JSON object"),
        ("web_fetch", json!({"url": "x".repeat(2_000_000)}), "the arguments are larger than 1048576 bytes"),
    ] {
        let outcome = result(&mut world, &owner(), tool, arguments);
        assert!(outcome.is_error && outcome.text.starts_with(problem), "{}", outcome.text);
    }
    let absent = result(&mut world, &owner(), "sessions_list", json!({"limit": null}));
    assert!(!absent.is_error, "null is as good as absent");
}

#[test]
fn calls_are_bounded_and_a_call_that_is_given_up_has_no_outcome() {
    let mut world = World::new();
    let page = json!({"url": "https://example.org/"});
    let open: Vec<_> = (0..128).map(|_| call(&mut world, &owner(), "web_fetch", page.clone())).collect();
    let refused = result(&mut world, &owner(), "web_fetch", page);
    assert!(refused.text.starts_with("128 tool calls are under way"), "{}", refused.text);
    for call in &open {
        world.gateway.abort_tool(*call);
    }
    world.input(crate::gateway::Input::Timeout);
    assert!(open.iter().all(|call| ended(&world, *call).is_none()));
    assert!(world.fetches.is_empty() && world.gateway.tools.is_idle());
}

#[test]
fn the_catalogue_and_the_effective_list_are_told_to_protocol_4() {
    let mut world = World::with(|settings| settings.tools.policy.profile = Some(Profile::Minimal));
    let client = world.operator(Protocol::V4);
    let catalog = world.ask(client, "tools.catalog", json!({}));
    assert_eq!(catalog["profiles"].as_array().unwrap().len(), 4);
    let tools = |groups: &Value| -> Vec<String> {
        let groups =
            groups.as_array().unwrap().iter().flat_map(|group| group["tools"].as_array().unwrap().clone());
        groups.map(|tool| tool["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tools(&catalog["groups"]).len(), BUILT_IN.len());
    let effective = world.ask(client, "tools.effective", json!({"sessionKey": "main"}));
    assert_eq!(effective["profile"], "minimal");
    assert_eq!(tools(&effective["groups"]), ["session_status"]);
    let refused = world.refusal(client, "tools.catalog", json!({"agentId": "ghost"}));
    assert_eq!(refused.message, "unknown agent id \"ghost\"");
}
