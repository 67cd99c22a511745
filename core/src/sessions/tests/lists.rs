use serde_json::{Value, json};
use telson_proto::{Protocol, Scope};

use super::world::World;
use crate::ids::RunId;
use crate::messages::Down;
use crate::sessions::RunStatus;

fn keys(result: &Value) -> Vec<String> {
    let rows = result["sessions"].as_array().unwrap();
    rows.iter().map(|row| row["key"].as_str().unwrap().trim_start_matches("agent:main:").to_owned()).collect()
}

/// Three sessions a minute apart; `c` is the newest.
fn three() -> World {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.say(name, "user", &format!("hello from {name}"));
        world.tick(60_000);
    }
    world
}

#[test]
fn the_newest_session_comes_first() {
    let mut world = three();
    let client = world.client(Protocol::V3, &[Scope::Read]);
    let result = world.call(client, "sessions.list", json!({}));
    assert_eq!(keys(&result), ["c", "b", "a"]);
    assert_eq!(result["count"], 3);
    assert_eq!(result["path"], "telson.db");
    assert_eq!(
        result["defaults"],
        json!({"modelProvider": "echo", "model": "echo", "contextTokens": 200_000})
    );
    assert_eq!(result["totalCount"], json!(null), "protocol 3 pages have no totals");
    let row = &result["sessions"][0];
    assert_eq!(row["kind"], "direct");
    assert_eq!((&row["model"], &row["totalTokens"]), (&json!("echo"), &json!(0)));
    assert_eq!((&row["derivedTitle"], &row["archived"]), (&json!(null), &json!(null)));
    world.say("a", "assistant", "again");
    assert_eq!(keys(&world.call(client, "sessions.list", json!({"limit": 2}))), ["a", "c"]);
}

#[test]
fn filters_narrow_and_the_limit_comes_last() {
    let mut world = three();
    let client = world.admin(Protocol::V3);
    world.say("agent:ops:x", "user", "hi");
    world.say("global", "user", "hi");
    world.tick(1);
    world.call(client, "sessions.patch", json!({"key": "b", "label": "Tide Tables"}));
    let mut list = |params: Value| keys(&world.call(client, "sessions.list", params));
    assert_eq!(list(json!({"includeGlobal": true, "limit": 1, "search": "GLOB"})), ["global"]);
    assert_eq!(list(json!({"search": "tide"})), ["b"]);
    assert_eq!(list(json!({"label": "Tide Tables"})), ["b"]);
    assert_eq!(list(json!({"label": "tide tables"})), [""; 0]);
    assert_eq!(list(json!({"agentId": "ops", "includeGlobal": true})), ["agent:ops:x"]);
    assert_eq!(list(json!({"activeMinutes": 1})), ["b", "agent:ops:x"], "c is a minute and a little old");
    assert_eq!(list(json!({"spawnedBy": "main"})), [""; 0]);
    for child in ["subagent:1", "subagent:2"] {
        world.tick(1);
        world.call(client, "sessions.patch", json!({"key": child, "spawnedBy": "agent:main:b"}));
    }
    let children = world.call(client, "sessions.list", json!({"spawnedBy": "b"}));
    assert_eq!(keys(&children), ["subagent:2", "subagent:1"]);
}

#[test]
fn titles_and_previews_are_given_when_asked_for() {
    let mut world = three();
    let client = world.client(Protocol::V3, &[Scope::Read]);
    world.say("c", "assistant", "ahoy\nthere");
    let params = json!({"includeDerivedTitles": true, "includeLastMessage": true, "limit": 1});
    let row = world.call(client, "sessions.list", params)["sessions"][0].clone();
    assert_eq!(
        (&row["derivedTitle"], &row["lastMessagePreview"]),
        (&json!("hello from c"), &json!("ahoy there"))
    );
}

#[test]
fn protocol_4_pages_pins_and_archives() {
    let mut world = three();
    let client = world.client(Protocol::V4, &[Scope::Write]);
    let page =
        world.call(client, "sessions.list", json!({"limit": 2, "ownerFirst": true, "hasBoard": false}));
    let totals = |page: &Value| {
        (
            page["totalCount"].clone(),
            page["limitApplied"].clone(),
            page["nextOffset"].clone(),
            page["hasMore"].clone(),
        )
    };
    assert_eq!(totals(&page), (json!(3), json!(2), json!(2), json!(true)));
    let page = world.call(client, "sessions.list", json!({"limit": 2, "offset": 2}));
    assert_eq!(
        (keys(&page), totals(&page)),
        (vec!["a".to_owned()], (json!(3), json!(2), json!(null), json!(false)))
    );

    world.call(client, "sessions.patch", json!({"key": "a", "pinned": true, "unread": false}));
    archive(&mut world, client, "c");
    let mut list = |params: Value| keys(&world.call(client, "sessions.list", params));
    assert_eq!(list(json!({})), ["a", "b"]);
    assert_eq!(list(json!({"label": "none"})), [""; 0]);
    assert_eq!(list(json!({"archived": true})), ["c"]);
    assert_eq!(list(json!({"archived": "all"})), ["a", "c", "b"]);
    assert_eq!(list(json!({"archived": "all", "sortBy": "lastInteractionAt"})), ["c", "b", "a"]);
}

#[test]
fn totals_are_the_same_whether_counted_or_looked_up() {
    let mut world = three();
    let client = world.admin(Protocol::V4);
    for key in ["agent:ops:x", "agent:gone:y", "global"] {
        world.say(key, "user", "hi");
    }
    archive(&mut world, client, "b");
    for filter in [
        json!({}),
        json!({"includeGlobal": true}),
        json!({"agentId": "main", "includeGlobal": true}),
        json!({"configuredAgentsOnly": true}),
        json!({"archived": "all"}),
    ] {
        let mut total = |extra: Value| {
            let mut params = filter.clone();
            params.as_object_mut().unwrap().append(&mut extra.as_object().unwrap().clone());
            world.call(client, "sessions.list", params)["totalCount"].clone()
        };
        // A window that leaves nothing out makes the gateway look at every session.
        assert_eq!(
            total(json!({"limit": 1})),
            total(json!({"limit": 1, "activeMinutes": 9_999})),
            "{filter}"
        );
    }
}

#[test]
fn protocol_3_refuses_later_parameters_and_protocol_4_ignores_unknown_ones() {
    let mut world = World::new();
    let old = world.client(Protocol::V3, &[Scope::Read]);
    let text = world.refusal(old, "sessions.list", json!({"offset": 1}));
    assert_eq!(text, "invalid sessions.list params: at root: unexpected property 'offset'");
    let text = world.refusal(old, "sessions.list", json!({"limit": 0}));
    assert_eq!(text, "invalid sessions.list params: at /limit: must be >= 1");
    let new = world.client(Protocol::V4, &[Scope::Read]);
    let text = world.refusal(new, "sessions.list", json!({"archived": "some"}));
    assert_eq!(text, "invalid sessions.list params: at /archived: must be true, false or \"all\"");
    world.call(new, "sessions.list", json!({"boardFace": "chat", "includePeople": true}));
}

#[test]
fn a_row_of_protocol_4_tells_what_runs() {
    let mut world = three();
    let client = world.client(Protocol::V4, &[Scope::Read]);
    let (key, run) = (world.key("c"), RunId::new("run-1"));
    world.gateway.sessions.run_opened(&key, run.clone());
    let row = world.call(client, "sessions.list", json!({"activeOnly": true}))["sessions"][0].clone();
    assert_eq!((&row["status"], &row["hasActiveRun"]), (&json!("running"), &json!(true)));
    assert_eq!((&row["activeRunIds"], &row["agentId"]), (&json!(["run-1"]), &json!("main")));
    let now = world.now;
    world.gateway.sessions.run_closed(&key, &run);
    world.gateway.sessions.note_run_end(now, &key, &run, RunStatus::Killed);
    let row = world.call(client, "sessions.list", json!({}))["sessions"][0].clone();
    assert_eq!((&row["status"], &row["activeRunIds"]), (&json!("killed"), &json!([])));
    assert_eq!((&row["lastRunId"], &row["abortedLastRun"]), (&json!("run-1"), &json!(true)));
}

#[test]
fn a_subscription_starts_before_its_list() {
    let mut world = three();
    let client = world.client(Protocol::V4, &[Scope::Read]);
    assert_eq!(world.call(client, "sessions.subscribe", json!({})), json!({"subscribed": true}));
    let with_list = world.call(client, "sessions.subscribe", json!({"limit": 1}));
    assert_eq!(keys(&with_list["list"]), ["c"]);
    let told =
        world.told.iter().filter(|down| matches!(down, Down::SubscribeSessions { conn } if *conn == client));
    assert_eq!(told.count(), 2);
    let text = world.refusal(client, "sessions.subscribe", json!({"limit": "many"}));
    assert_eq!(text, "invalid sessions.subscribe params: at /limit: must be integer");
}

#[test]
fn previews_come_in_the_order_and_spelling_of_the_question() {
    let mut world = three();
    world.say("c", "assistant", &"long ".repeat(100));
    let client = world.client(Protocol::V3, &[Scope::Read]);
    let params = json!({"keys": ["C", "nowhere", "agent:main:a", " "], "limit": 1, "maxChars": 20});
    let result = world.call(client, "sessions.preview", params);
    let previews = result["previews"].as_array().unwrap();
    assert_eq!(previews[0]["key"], "C");
    assert_eq!(previews[0]["items"], json!([{"role": "assistant", "text": "long long long lo..."}]));
    assert_eq!((&previews[1]["status"], &previews[1]["items"]), (&json!("missing"), &json!([])));
    assert_eq!(previews[2]["items"], json!([{"role": "user", "text": "hello from a"}]));
    assert_eq!(previews[3]["status"], "missing");
    let text = world.refusal(client, "sessions.preview", json!({"keys": []}));
    assert_eq!(text, "invalid sessions.preview params: at /keys: must NOT have fewer than 1 items");
}

#[test]
fn sessions_are_found_by_key_id_or_label() {
    let mut world = three();
    let client = world.admin(Protocol::V3);
    world.call(client, "sessions.patch", json!({"key": "a", "label": "tide"}));
    world.call(client, "sessions.patch", json!({"key": "agent:ops:x", "label": "tide"}));
    let id = world.gateway.sessions.get(&world.key("b")).unwrap().id.to_string();
    let b = json!({"ok": true, "key": "agent:main:b"});
    assert_eq!(world.call(client, "sessions.resolve", json!({"key": "B"})), b);
    assert_eq!(world.call(client, "sessions.resolve", json!({"sessionId": id})), b);
    let found = world.call(client, "sessions.resolve", json!({"label": "tide", "agentId": "ops"}));
    assert_eq!(found["key"], "agent:ops:x");
    for (params, text) in [
        (json!({}), "Either key, sessionId, or label is required"),
        (json!({"key": "a", "label": "x"}), "Provide either key, sessionId, or label (not multiple)"),
        (json!({"key": "zz"}), "No session found: zz"),
        (json!({"label": "zz"}), "No session found with label: zz"),
        (json!({"label": "tide"}), "Multiple sessions found with label: tide (agent:main:a, agent:ops:x)"),
        (json!({"key": " "}), "key required"),
    ] {
        assert_eq!(world.refusal(client, "sessions.resolve", params), text);
    }
}

#[test]
fn protocol_4_resolves_short_ids_and_may_miss() {
    let mut world = three();
    let client = world.client(Protocol::V4, &[Scope::Read]);
    let id = world.gateway.sessions.get(&world.key("b")).unwrap().id.to_string();
    let found = world.call(client, "sessions.resolve", json!({"shortId": id[..8]}));
    assert_eq!((&found["key"], &found["agentId"]), (&json!("agent:main:b"), &json!("main")));
    let missing = world.call(client, "sessions.resolve", json!({"key": "zz", "allowMissing": true}));
    assert_eq!(missing, json!({"ok": false}));
}

#[test]
fn v3_clients_are_known_by_the_names_that_they_use() {
    let mut world = World::new();
    let old = world.admin(Protocol::V3);
    world.call(old, "sessions.patch", json!({"key": "main", "label": "tide"}));
    let alias = world.told.iter().find_map(|down| match down {
        Down::Alias { conn, key, spelling } => Some((*conn, key.to_string(), spelling.clone())),
        _ => None,
    });
    assert_eq!(alias, Some((old, "agent:main:main".to_owned(), "main".to_owned())));
    world.told.clear();
    let new = world.admin(Protocol::V4);
    world.call(new, "sessions.patch", json!({"key": "main", "label": "tide"}));
    assert!(world.told.is_empty());
}

#[test]
fn status_shows_how_full_the_context_is() {
    let mut world = three();
    let (key, now) = (world.key("c"), world.now);
    world.gateway.sessions.edit(now, &key, |entry| {
        entry.add_usage(49_000, 1_000, None);
        entry.system_sent = Some(true);
    });
    let row = world.gateway.status_row(&key);
    assert_eq!((&row["totalTokens"], &row["remainingTokens"]), (&json!(50_000), &json!(150_000)));
    assert_eq!((&row["percentUsed"], &row["flags"][0]), (&json!(25), &json!("system")));
}

fn archive(world: &mut World, client: crate::ConnId, key: &str) {
    let session = world.gateway.sessions.get(&world.key(key)).unwrap().id.clone();
    let params = json!({"key": key, "archived": true, "expectedSessionId": session});
    world.call(client, "sessions.patch", params);
}
