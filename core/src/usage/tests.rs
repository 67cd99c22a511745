//! What clients are told of use and cost.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use serde_json::{Value, json};
use telson_proto::{Json, Protocol};

use crate::ids::{ConnId, SessionId};
use crate::store::TranscriptEntry;
use crate::testing::{DAWN, World};

const DAY: u64 = 86_400_000;

/// Transcripts written before the gateway began, with and without cost.
fn prepared() -> (World, ConnId, ConnId) {
    let mut world = World::with(|settings| {
        settings.config.config = Json::of(&json!({"models": {"providers": {"acme": {"models": [
            {"id": "priced", "cost": {"input": 2, "output": 10, "cacheRead": 0, "cacheWrite": 0}},
        ]}}}}));
    });
    let (new, old) = (world.operator(Protocol::V4), world.operator(Protocol::V3));
    for key in ["main", "agent:ops:x"] {
        world.ask(new, "sessions.patch", json!({"key": key, "thinkingLevel": "off"}));
        world.ask(new, "chat.inject", json!({"sessionKey": key, "message": "hello"}));
    }
    let stated = json!({"input": 10, "output": 5, "totalTokens": 15, "cost": {"total": 0.5, "input": 0.5}});
    let silent = json!({"input": 1_000, "output": 100, "cacheRead": 50});
    say(&mut world, "agent:main:main", DAWN, "dear", &stated);
    say(&mut world, "agent:main:main", DAWN, "priced", &silent);
    say(&mut world, "agent:main:main", DAWN - DAY, "unknown", &silent);
    say(&mut world, "agent:main:main", DAWN - 40 * DAY, "dear", &stated);
    say(&mut world, "agent:ops:x", DAWN, "dear", &stated);
    (world, new, old)
}

fn say(world: &mut World, key: &str, at: u64, model: &str, usage: &Value) {
    let row = world.shelf.sessions.values().find(|row| row.key.as_str() == key).unwrap();
    let session: SessionId = row.session.clone();
    let entries = world.shelf.entries.get_mut(&session).unwrap();
    let seq = entries.last().unwrap().seq + 1;
    let message = json!({
        "role": "assistant", "provider": "acme", "model": model, "usage": usage,
        "content": [{"type": "text", "text": "aye"}, {"type": "toolCall", "name": "exec"}],
    });
    let id = format!("{seq:08x}");
    entries.push(TranscriptEntry {
        session,
        seq,
        id,
        parent: None,
        at,
        run: None,
        message: Json::of(&message),
    });
}

#[test]
fn cost_is_stated_or_priced_or_missing() {
    let (mut world, _, old) = prepared();
    let result = world.ask(old, "usage.cost", json!({"days": "30", "anything": true}));
    assert_eq!((&result["days"], &result["updatedAt"]), (&json!(30), &json!(world.now.wall)));
    assert_eq!(
        result["daily"],
        json!([
            {"date": "2026-01-29", "input": 1_000, "output": 100, "cacheRead": 50, "cacheWrite": 0,
             "totalTokens": 1_150, "totalCost": 0.0, "missingCostEntries": 1},
            {"date": "2026-01-30", "input": 1_010, "output": 105, "cacheRead": 50, "cacheWrite": 0,
             "totalTokens": 1_165, "totalCost": 0.503, "missingCostEntries": 0},
        ])
    );
    assert_eq!(
        result["totals"],
        json!({"input": 2_010, "output": 205, "cacheRead": 100, "cacheWrite": 0,
               "totalTokens": 2_315, "totalCost": 0.503, "missingCostEntries": 1})
    );
}

#[test]
fn days_have_their_bounds() {
    let (mut world, new, old) = prepared();
    let dates = |result: &Value| -> Vec<String> {
        let days = result["daily"].as_array().unwrap();
        days.iter().map(|day| day["date"].as_str().unwrap().to_owned()).collect()
    };
    for days in [json!(0), json!(-3), json!(1.9)] {
        let result = world.ask(old, "usage.cost", json!({"days": days}));
        assert_eq!((dates(&result), &result["days"]), (vec!["2026-01-30".to_owned()], &json!(1)));
    }
    assert_eq!(world.ask(old, "usage.cost", json!({}))["days"], 30);
    let all = world.ask(new, "usage.cost", json!({"range": "all"}));
    assert_eq!(dates(&all), ["2025-12-21", "2026-01-29", "2026-01-30"]);
    let params = json!({"startDate": "2026-01-29", "endDate": "2026-01-29"});
    let one = world.ask(new, "usage.cost", params);
    assert_eq!((dates(&one), &one["days"]), (vec!["2026-01-29".to_owned()], &json!(1)));
    assert_eq!(one["totals"]["inputCost"], 0.0, "protocol 4 tells the cost by kind");
    // Ten in the morning in London is still yesterday far enough to the west.
    let west = json!({"days": 1, "mode": "specific", "utcOffset": "UTC-11"});
    assert_eq!(dates(&world.ask(new, "usage.cost", west)), ["2026-01-29"]);
}

#[test]
fn an_agent_is_the_default_one_unless_named() {
    let (mut world, new, _) = prepared();
    let mut cost =
        |params: Value| world.ask(new, "usage.cost", params)["totals"]["totalCost"].as_f64().unwrap();
    assert_eq!(cost(json!({"days": 2})), 0.503);
    assert_eq!(cost(json!({"days": 2, "agentId": "ops"})), 0.5);
    assert_eq!(cost(json!({"days": 2, "agentScope": "all"})), 1.003);
    assert_eq!(cost(json!({"days": 2, "agentId": "nobody"})), 0.0);
}

#[test]
fn what_is_no_date_or_zone_is_refused_by_name() {
    let (mut world, new, _) = prepared();
    for (params, part) in [
        (json!({"startDate": "2026-02-30", "endDate": "2026-03-01"}), "/startDate"),
        (json!({"startDate": "2026-03-02", "endDate": "2026-03-01"}), "must not be after endDate"),
        (json!({"mode": "specific"}), "requires timeZone"),
        (json!({"mode": "specific", "utcOffset": "CET"}), "/utcOffset"),
        (json!({"mode": "specific", "timeZone": "Middle-earth/Shire"}), "/timeZone"),
    ] {
        for method in ["usage.cost", "sessions.usage"] {
            let refused = world.refusal(new, method, params.clone());
            assert!(refused.message.contains(part), "{method}: {}", refused.message);
        }
    }
}

#[test]
fn every_session_tells_what_it_used() {
    let (mut world, new, _) = prepared();
    let params = json!({
        "startDate": "2026-01-01", "endDate": "2026-01-30", "mode": "specific", "timeZone": "UTC",
        "utcOffset": "UTC+0", "groupBy": "family", "limit": 1_000, "includeContextWeight": false,
    });
    let result = world.ask(new, "sessions.usage", params);
    assert_eq!((&result["startDate"], &result["endDate"]), (&json!("2026-01-01"), &json!("2026-01-30")));
    assert_eq!(result["overview"]["matchedSessions"], 2);
    let sessions = result["sessions"].as_array().unwrap();
    let main = sessions.iter().find(|row| row["key"] == "agent:main:main").unwrap();
    assert_eq!((&main["agentId"], &main["scope"]), (&json!("main"), &json!("family")));
    let usage = &main["usage"];
    assert_eq!((&usage["totalTokens"], &usage["missingCostEntries"]), (&json!(2_315), &json!(1)));
    assert_eq!(usage["activityDates"], json!(["2026-01-29", "2026-01-30"]));
    assert_eq!(usage["messageCounts"]["assistant"], 4, "the injected one too");
    assert_eq!(usage["toolUsage"]["tools"], json!([{"name": "exec", "count": 3}]));
    let cost = result["totals"]["totalCost"].as_f64().unwrap();
    assert!((cost - 1.003).abs() < 1e-9, "{cost}");
    assert_eq!(result["aggregates"]["byAgent"][0]["agentId"], "main");
    assert_eq!(result["aggregates"]["byModel"][0]["model"], "dear");
    let one = world.ask(new, "sessions.usage", json!({"key": "agent:ops:x"}));
    assert_eq!(one["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["totals"]["totalCost"], 0.5);
    let none = world.ask(new, "sessions.usage", json!({"key": "agent:ops:none"}));
    assert_eq!(none["sessions"], json!([]));
}

#[test]
fn a_session_tells_how_its_use_has_grown_and_why() {
    let (mut world, new, _) = prepared();
    let series = world.ask(new, "sessions.usage.timeseries", json!({"key": "main"}));
    let points = series["points"].as_array().unwrap();
    assert_eq!(points.len(), 5, "the injected one costs nothing but is there");
    assert_eq!(points[4]["cumulativeTokens"], 2_330);
    let logs = world.ask(new, "sessions.usage.logs", json!({"key": "main", "limit": 2}));
    assert_eq!(
        logs["logs"][1],
        json!({"timestamp": DAWN - 40 * DAY, "role": "assistant", "content": "aye", "tokens": 15, "cost": 0.5})
    );
    assert_eq!(logs["logs"][0]["cost"], json!(null), "nobody knows what it cost");
    for method in ["sessions.usage.timeseries", "sessions.usage.logs"] {
        let refused = world.refusal(new, method, json!({"key": "nowhere"}));
        assert_eq!(refused.message, "No transcript found for session: nowhere");
    }
}

#[test]
fn a_provider_without_a_credential_has_no_status() {
    let (mut world, new, _) = prepared();
    let status = world.ask(new, "usage.status", json!({"whatever": 1}));
    assert_eq!(status, json!({"updatedAt": world.now.wall, "providers": []}));
}

#[test]
fn what_was_said_is_found() {
    let (mut world, new, _) = prepared();
    let found = world.ask(new, "sessions.search", json!({"query": "HELLO", "agentId": "ops"}));
    let hits = found["results"].as_array().unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!((&hits[0]["sessionKey"], &hits[0]["role"]), (&json!("agent:ops:x"), &json!("assistant")));
    assert_eq!((&hits[0]["snippet"], &found["truncated"]), (&json!("hello"), &json!(null)));
    let both = world.ask(new, "sessions.search", json!({"query": "hello", "limit": 1}));
    assert_eq!(both["truncated"], true);
    let named =
        world.ask(new, "sessions.search", json!({"query": "hello", "sessionKeys": ["main", "nowhere"]}));
    assert_eq!(named["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.ask(new, "sessions.search", json!({"query": "?!"})), json!({"results": []}));
    let refused = world.refusal(new, "sessions.search", json!({"query": "x", "sessionKeys": []}));
    assert!(refused.message.contains("/sessionKeys"), "{}", refused.message);
}
