//! Tools by HTTP, the history of a session, and its end (spec 04 §12, §13).

use super::*;
use crate::http::HttpRequest;
use crate::ids::CallId;
use crate::providers::request::Image;
use crate::tools::ToolOutcome;

#[test]
fn a_tool_that_does_not_exist_is_not_available() {
    let mut world = World::new();
    for (body, status, word) in [
        (json!({}), 400, "`tool`"),
        (json!({"tool": "  "}), 400, "`tool`"),
        (json!([]), 400, "`tool`"),
        (json!({"tool": "nothing"}), 404, "Tool not available: nothing"),
        (json!({"tool": "exec", "name": "cron"}), 404, "Tool not available: cron"),
        (json!({"tool": "x", "agentId": "nobody"}), 400, "Unknown agent"),
        (json!({"tool": "x", "agentId": "main", "sessionKey": "agent:ops:x"}), 400, "belongs to"),
    ] {
        let id = post(&mut world, "/tools/invoke", body);
        let (found, body) = answer(&world, id);
        assert_eq!((found, &body["ok"]), (status, &json!(false)));
        assert!(body["error"]["message"].as_str().unwrap().contains(word), "{body}");
    }
}

/// A request whose tool is under way.
fn invoking(world: &mut World) -> HttpId {
    let id = HttpId(77);
    let stage = crate::api::Stage::Tool(CallId(1));
    world
        .gateway
        .api
        .pending
        .insert(id, crate::api::Pending { spelling: crate::api::errors::Spelling::Ok, stage });
    id
}

#[test]
fn the_outcome_of_a_tool_is_the_answer() {
    let mut world = World::new();
    let id = invoking(&mut world);
    let picture = Image { mime: "image/png".to_owned(), base64: "AA==".into() };
    let outcome = ToolOutcome { images: vec![picture], ..ToolOutcome::json(json!({"a": 1})) };
    world.gateway.api_tool_finished(id, outcome);
    world.gateway.api_tool_finished(id, ToolOutcome::text("late"));
    drain(&mut world);
    assert_eq!(
        answer(&world, id),
        (
            200,
            json!({"ok": true, "result": {
                "content": [{"type": "text", "text": "{\n  \"a\": 1\n}"}, {"type": "image", "data": "AA==", "mimeType": "image/png"}],
                "details": {"a": 1},
            }})
        )
    );
    let id = invoking(&mut world);
    world.answers.clear();
    world.gateway.api_tool_finished(id, ToolOutcome::error("path is required"));
    drain(&mut world);
    assert_eq!(
        answer(&world, id),
        (400, json!({"ok": false, "error": {"type": "tool_error", "message": "path is required"}}))
    );
    assert_eq!(header(&response(&world, id), "x-should-retry"), Some("false"));
}

#[test]
fn the_deny_list_can_be_changed_by_the_operator_but_not_for_others() {
    let world = World::with(|settings| {
        settings.api.tools_allow = vec!["exec".to_owned(), "cron".to_owned()];
        settings.api.tools_deny = vec!["web_fetch".to_owned(), "shell".to_owned()];
    });
    let may = |name: &str, owner: bool| world.gateway.may_invoke(name, owner);
    assert!(may("read", true) && may("read", false));
    assert!(!may("web_fetch", true) && !may("shell", true) && !may("apply_patch", true));
    assert!(may("exec", true) && !may("exec", false));
    assert!(may("cron", true) && !may("cron", false) && !may("nodes", true));
}

fn talk(world: &mut World, turns: usize) {
    let desk = world.operator(telson_proto::Protocol::V4);
    for turn in 0..turns {
        let key = format!("k{turn}-{}", world.answers.len());
        world.ask(
            desk,
            "chat.send",
            json!({"sessionKey": "main", "message": format!("m{turn}"), "idempotencyKey": key}),
        );
        world.answer(&format!("a{turn}"));
    }
}

fn history(world: &mut World, query: &str) -> (u16, Value) {
    let request = HttpRequest {
        query: Some(query.to_owned()),
        ..request("GET", "/sessions/agent%3Amain%3Amain/history")
    };
    let id = world.http(request, "");
    answer(world, id)
}

#[test]
fn a_history_is_read_page_by_page() {
    let mut world = world();
    talk(&mut world, 3);
    let (status, body) = history(&mut world, "");
    assert_eq!(
        (status, &body["sessionKey"], &body["hasMore"]),
        (200, &json!("agent:main:main"), &json!(false))
    );
    let messages = body["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &body["items"], body.get("nextCursor")), (6, &body["messages"], None));
    assert_eq!(messages[0]["__openclaw"]["seq"], 1);
    let mut seqs = Vec::new();
    let mut query = "limit=4".to_owned();
    loop {
        let (_, body) = history(&mut world, &query);
        seqs.extend(
            body["messages"]
                .as_array()
                .unwrap()
                .iter()
                .rev()
                .map(|m| m["__openclaw"]["seq"].as_u64().unwrap()),
        );
        let Some(cursor) = body.get("nextCursor") else { break };
        query = format!("limit=4&cursor={}", cursor.as_str().unwrap());
    }
    assert_eq!(seqs, [6, 5, 4, 3, 2, 1]);
}

#[test]
fn a_history_that_cannot_be_shown_is_told() {
    let mut world = world();
    talk(&mut world, 1);
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=0"] {
        assert_eq!(history(&mut world, query).0, 400, "{query}");
    }
    let (status, body) = get(&mut world, "/sessions/nothing/history");
    assert_eq!(
        (status, body),
        (404, json!({"ok": false, "error": {"type": "not_found", "message": "Session not found"}}))
    );
    assert_eq!(get(&mut world, "/sessions/main%0/history").0, 400);
}

#[test]
fn killing_ends_the_runs_of_a_session() {
    let mut world = world();
    let kill = |world: &mut World, key: &str| {
        let id = world.http(request("POST", &format!("/sessions/{key}/kill")), "");
        answer(world, id)
    };
    assert_eq!(kill(&mut world, "main").0, 404);
    talk(&mut world, 1);
    assert_eq!(kill(&mut world, "main"), (200, json!({"ok": true, "killed": false})));
    let desk = world.operator(telson_proto::Protocol::V4);
    world.ask(desk, "chat.send", json!({"sessionKey": "main", "message": "m", "idempotencyKey": "k"}));
    assert_eq!(kill(&mut world, "agent%3Amain%3Amain"), (200, json!({"ok": true, "killed": true})));
    assert_eq!(world.gateway.runs.open(), 0);
}

#[test]
fn who_is_no_administrator_ends_only_what_their_session_has_started() {
    let mut world = vouching_world();
    talk(&mut world, 1);
    let desk = world.operator(telson_proto::Protocol::V4);
    world.ask(desk, "agent", json!({
        "sessionKey": "agent:main:subagent:1", "message": "m", "idempotencyKey": "k", "spawnedBy": "agent:main:main",
    }));
    let kill = |world: &mut World, requester: Option<&str>| {
        let mut request = with_header(
            vouched("ada", "POST", "/sessions/agent:main:subagent:1/kill"),
            "x-openclaw-scopes",
            "operator.write",
        );
        if let Some(requester) = requester {
            request = with_header(request, "x-openclaw-requester-session-key", requester);
        }
        let id = world.http(request, "");
        answer(world, id)
    };
    assert_eq!(kill(&mut world, None).0, 403);
    assert_eq!(kill(&mut world, Some("agent:main:other")).0, 403);
    assert_eq!(kill(&mut world, Some("main")), (200, json!({"ok": true, "killed": true})));
}

fn follow(world: &mut World, query: &str) -> HttpId {
    let path = request("GET", "/sessions/main/history");
    let request =
        HttpRequest { query: Some(query.to_owned()), ..with_header(path, "accept", "text/event-stream") };
    world.http(request, "")
}

/// Names and data of the events of a stream that has not ended.
fn heard(world: &World, id: HttpId) -> Vec<(String, Value)> {
    let text = so_far(world, id);
    let events = text.split("\n\n").filter_map(|event| {
        let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
        Some((name.to_owned(), serde_json::from_str(data).unwrap()))
    });
    events.collect()
}

#[test]
fn a_history_that_is_followed_says_what_is_added_when_it_is_kept() {
    let mut world = world();
    talk(&mut world, 1);
    let id = follow(&mut world, "");
    assert!(so_far(&world, id).starts_with("retry: 1000\n\nevent: history\n"));
    assert_eq!(header(&response(&world, id), "content-type"), Some("text/event-stream; charset=utf-8"));
    talk(&mut world, 1);
    let heard = heard(&world, id);
    let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["history", "message", "message"]);
    assert_eq!(heard[0].1["messages"].as_array().unwrap().len(), 2);
    let message = &heard[2].1;
    assert_eq!((&message["sessionKey"], &message["messageSeq"]), (&json!("agent:main:main"), &json!(4)));
    assert_eq!((&message["message"]["role"], message["messageId"].is_string()), (&json!("assistant"), true));
    world.advance(15_000);
    assert!(so_far(&world, id).ends_with(": keepalive\n\n"));
    world.input(Input::HttpGone { id });
    assert_eq!(world.gateway.api.pending.len(), 0);
}

#[test]
fn a_window_is_sent_anew_and_so_is_a_session_that_began_anew() {
    let mut world = world();
    talk(&mut world, 1);
    let (window, all) = (follow(&mut world, "limit=1"), follow(&mut world, ""));
    talk(&mut world, 1);
    let pages = heard(&world, window);
    assert!(pages.len() > 1 && pages.iter().all(|(name, _)| name == "history"));
    assert_eq!(pages.last().unwrap().1["messages"].as_array().unwrap().len(), 1);
    let desk = world.operator(telson_proto::Protocol::V4);
    world.ask(desk, "sessions.reset", json!({"key": "main"}));
    talk(&mut world, 1);
    let names: Vec<String> = heard(&world, all).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().filter(|name| *name == "history").count(), 2, "{names:?}");
}

#[test]
fn a_gateway_that_goes_down_answers_everybody() {
    let mut world = world();
    talk(&mut world, 1);
    let following = follow(&mut world, "");
    let stream = json!({"stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let running = post(&mut world, "/v1/chat/completions", stream);
    let picture = json!({"model": "openclaw", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example/"}]}]});
    let fetching = post(&mut world, "/v1/responses", picture);
    world.input(Input::Stop { reason: "restart".to_owned(), restart_expected: None });
    assert_eq!(world.answered(following).map(|(status, _)| status), Some(200));
    assert!(world.answered(running).unwrap().1.ends_with("data: [DONE]\n\n"));
    assert_eq!(answer(&world, fetching).0, 503);
    assert_eq!((world.fetches.len(), world.gateway.api.pending.len()), (0, 0));
    assert!(world.stopped);
}
