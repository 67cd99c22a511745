//! The lists that indexes make are those that looking at every session would make.

use proptest::prelude::*;
use serde_json::{Value, json};
use telson_proto::{Protocol, Scope};

use super::world::World;
use crate::ids::{RunId, SessionKey};
use crate::sessions::Session;
use crate::sessions::keys::is_reserved;

/// What is done to one of a few sessions.
#[derive(Clone, Debug)]
struct Step {
    key: usize,
    later: u64,
    change: u8,
}

const KEYS: [&str; 10] = [
    "agent:main:main",
    "agent:main:Tide",
    "agent:main:slack:channel:Harbour",
    "agent:ops:x",
    "agent:ops:y",
    "agent:gone:z",
    "agent:main:ebb",
    "agent:main:flow",
    "global",
    "unknown",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..KEYS.len(), 0..3_u64, 0..9_u8).prop_map(|(key, later, change)| Step {
        key,
        later: later * 40_000,
        change,
    });
    proptest::collection::vec(step, 0..60)
}

fn params() -> impl Strategy<Value = Value> {
    let flag = || proptest::option::of(any::<bool>());
    let one = |of: &'static [&'static str]| proptest::option::of(proptest::sample::select(of));
    let first = (
        proptest::option::of(1..8_u64),
        proptest::option::of(0..6_u64),
        proptest::option::of(1..4_u64),
        flag(),
        flag(),
        flag(),
        flag(),
        flag(),
    );
    let second = (
        one(&["tide", "TIDE t", "main", "a", "zz", "slack:#", "global", " "]),
        one(&["main", "ops", "nobody"]),
        one(&["Tide Tables", "none"]),
        one(&["agent:main:main"]),
        one(&["updatedAt", "lastInteractionAt", "activity"]),
        one(&["true", "false", "all"]),
    );
    (first, second).prop_map(|(first, second)| {
        let (limit, offset, minutes, global, unknown, configured, active, interacted) = first;
        let (search, agent, label, parent, sort, archived) = second;
        let archived = archived.map(|word| match word {
            "true" => json!(true),
            "false" => json!(false),
            word => json!(word),
        });
        let mut params = json!({
            "limit": limit, "offset": offset, "activeMinutes": minutes, "includeGlobal": global,
            "includeUnknown": unknown, "configuredAgentsOnly": configured, "activeOnly": active,
            "requireLastInteraction": interacted, "search": search, "agentId": agent, "label": label,
            "spawnedBy": parent, "sortBy": sort, "archived": archived,
        });
        params.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        params
    })
}

fn take(world: &mut World, step: &Step) {
    world.tick(step.later);
    let (now, key) = (world.now, SessionKey::new(KEYS[step.key]));
    let gateway = &mut world.gateway;
    gateway.sessions.ensure(now, &mut gateway.entropy, &key);
    match step.change {
        0 => gateway.sessions.edit(now, &key, |entry| entry.label = Some("Tide Tables".to_owned())),
        1 => gateway.sessions.edit(now, &key, |entry| entry.archived = Some(entry.archived != Some(true))),
        2 => gateway.sessions.edit(now, &key, |entry| entry.pinned = Some(entry.pinned != Some(true))),
        3 => gateway.sessions.edit(now, &key, |entry| entry.note_message(now.wall, "user", "ahoy")),
        4 => gateway.sessions.edit(now, &key, |entry| entry.note_message(now.wall, "assistant", "ahoy")),
        5 => gateway.sessions.edit(now, &key, |entry| entry.spawned_by = Some("agent:main:main".to_owned())),
        6 => {
            gateway.sessions.edit_quietly(&key, |entry| entry.set("subject", Some("Sea\nand tide t".into())))
        }
        7 => gateway.sessions.run_opened(&key, RunId::new("run")),
        _ => gateway.sessions.remove(&key),
    }
}

/// The keys of the page and the total, by looking at each session.
fn naive(world: &World, params: &Value) -> (Vec<String>, usize) {
    let sessions = &world.gateway.sessions;
    let flag = |name: &str| params[name] == json!(true);
    let text = |name: &str| params[name].as_str();
    let agent_of = |key: &SessionKey| sessions.rules().agent_of(key).to_string();
    let keeps = |key: &SessionKey, session: &Session| {
        let entry = &session.entry;
        let archived = entry.archived.unwrap_or(false);
        let since = params["activeMinutes"].as_u64().map_or(0, |minutes| world.now.wall - minutes * 60_000);
        let hidden = is_reserved(key)
            && (!flag(if key.as_str() == "global" { "includeGlobal" } else { "includeUnknown" })
                || text("agentId").is_some()
                || text("spawnedBy").is_some());
        let has = |wanted: &str| {
            let row = serde_json::to_value(sessions_row(world, key)).unwrap();
            let wanted = wanted.trim().to_lowercase();
            ["key", "sessionId", "label", "subject", "displayName"].iter().any(|name| {
                row[*name]
                    .as_str()
                    .is_some_and(|text| text.replace('\n', " ").to_lowercase().contains(&wanted))
            })
        };
        !hidden
            && match &params["archived"] {
                Value::Bool(only) => *only == archived,
                Value::String(_) => true,
                _ => !archived,
            }
            && session.updated_at >= since
            && text("label").is_none_or(|label| entry.label.as_deref() == Some(label))
            && text("spawnedBy").is_none_or(|parent| entry.spawned_by.as_deref() == Some(parent))
            && (!flag("requireLastInteraction") || entry.last_interaction_at.is_some())
            && (!flag("activeOnly") || sessions.active_runs(key).next().is_some())
            && (!flag("configuredAgentsOnly") || is_reserved(key) || agent_of(key) == "main")
            && text("agentId").is_none_or(|agent| agent_of(key) == agent)
            && text("search").is_none_or(has)
    };
    let mut all: Vec<(&SessionKey, &Session)> =
        sessions.in_order(None, false).filter(|(key, session)| keeps(key, session)).collect();
    all.sort_by_key(|(key, session)| {
        let by = match text("sortBy") {
            Some("lastInteractionAt") => session.entry.last_interaction_at,
            Some("activity") => session.entry.last_activity_at,
            _ => None,
        };
        let pinned = text("sortBy").is_none() && session.entry.pinned == Some(true);
        std::cmp::Reverse((pinned, by, session.updated_at, (*key).clone()))
    });
    let number = |name: &str| params[name].as_u64().map(|number| usize::try_from(number).unwrap());
    let page = all.iter().skip(number("offset").unwrap_or(0)).take(number("limit").unwrap_or(usize::MAX));
    (page.map(|(key, _)| key.to_string()).collect(), all.len())
}

fn sessions_row(world: &World, key: &SessionKey) -> Value {
    serde_json::to_value(world.gateway.session_row(key, Protocol::V4)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_indexed_list_is_the_naive_one(steps in steps(), params in proptest::collection::vec(params(), 1..6)) {
        let mut world = World::new();
        let client = world.client(Protocol::V4, &[Scope::Read]);
        for step in &steps {
            take(&mut world, step);
        }
        for params in params {
            let (keys, total) = naive(&world, &params);
            let list = world.call(client, "sessions.list", params.clone());
            let found: Vec<&str> =
                list["sessions"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
            prop_assert_eq!(found, keys, "{}", params);
            prop_assert_eq!(&list["totalCount"], &json!(total), "{}", params);
        }
    }
}

#[test]
fn gaps_in_the_searched_texts_are_closed_and_nothing_is_lost() {
    let mut world = World::new();
    let client = world.client(Protocol::V4, &[Scope::Read]);
    let name = |n: usize| SessionKey::new(format!("agent:main:{n}-{}", "x".repeat(300)));
    for n in 0..1_000 {
        let (now, gateway) = (world.now, &mut world.gateway);
        gateway.sessions.ensure(now, &mut gateway.entropy, &name(n));
    }
    for n in (0..1_000).filter(|n| n % 5 != 0) {
        world.gateway.sessions.remove(&name(n));
    }
    let list = world.call(client, "sessions.list", json!({"search": "XXX", "limit": 1}));
    assert_eq!(list["totalCount"], 200);
    let list = world.call(client, "sessions.list", json!({"search": "MAIN:995-", "limit": 1}));
    assert_eq!(list["sessions"][0]["key"], name(995).as_str());
}
