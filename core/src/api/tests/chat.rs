//! Chat completions, whole (spec 04 §7.1, §7.2, §7.5, §7.6).

use super::*;
use crate::store::StoreError;

const PATH: &str = "/v1/chat/completions";

#[test]
fn an_answer_has_the_shape_that_programs_expect_byte_for_byte() {
    let mut world = world();
    let id = post(&mut world, PATH, say("what moves the sea?"));
    assert_eq!(asked(&world).0, "what moves the sea?");
    world.answer("tide and moon");
    let (status, body) = world.answered(id).unwrap();
    let name = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
    assert!(name.starts_with("chatcmpl_") && name.len() == 9 + 36);
    assert_eq!(status, 200);
    assert_eq!(
        body,
        format!(
            r#"{{"id":"{name}","object":"chat.completion","created":1769767200,"model":"openclaw","choices":[{{"index":0,"message":{{"role":"assistant","content":"tide and moon","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{{"cached_tokens":0}}}}}}"#
        )
    );
}

#[test]
fn the_call_is_an_ordinary_session() {
    let mut world = world();
    let mut body = say("hi");
    body["user"] = "Conv 7".into();
    post(&mut world, PATH, body);
    world.answer("hello");
    let key = "agent:main:openai-user:conv 7";
    assert_eq!(world.shelf.entry(key)["lastChannel"], "webchat");
    let roles: Vec<Value> = world.shelf.messages(key).iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant"]);
}

#[test]
fn a_run_that_says_nothing_still_has_an_answer() {
    let mut world = world();
    let id = post(&mut world, PATH, say("hi"));
    world.answer("");
    let (status, body) = answer(&world, id);
    assert_eq!(
        (status, &body["choices"][0]["message"]["content"]),
        (200, &json!("No response from OpenClaw."))
    );
    let id = post(&mut world, PATH, say("hi"));
    world.answer("NO_REPLY");
    assert_eq!(answer(&world, id).1["choices"][0]["message"]["content"], "No response from OpenClaw.");
}

#[test]
fn a_failure_says_no_more_than_it_must_and_is_not_to_be_repeated() {
    let mut world = world();
    let id = post(&mut world, PATH, say("hi"));
    let (fetch, _) = world.fetch();
    world.refuse(fetch, 400, "the key sk-123 is wrong");
    let response = response(&world, id);
    assert_eq!((response.status, header(&response, "x-should-retry")), (500, Some("false")));
    assert_eq!(
        response.body,
        r#"{"error":{"code":null,"message":"internal error","param":null,"type":"api_error"}}"#
    );
}

#[test]
fn an_abort_and_a_store_that_fails_are_failures() {
    let mut world = world();
    let id = post(&mut world, PATH, say("hi"));
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide");
    let run = world.shelf.open_runs.keys().next().unwrap().clone();
    world.gateway.abort_run(&run, "rpc");
    drain(&mut world);
    assert_eq!(answer(&world, id).0, 500);
    world.broken = Some(StoreError::Full);
    let id = post(&mut world, PATH, say("hi"));
    assert_eq!(answer(&world, id).0, 500);
}

#[test]
fn a_client_that_goes_away_aborts_its_run() {
    let mut world = world();
    let id = post(&mut world, PATH, say("hi"));
    assert_eq!((world.fetches.len(), world.gateway.runs.open()), (1, 1));
    world.input(Input::HttpGone { id });
    assert_eq!((world.fetches.len(), world.gateway.runs.open()), (0, 0));
    assert_eq!(world.answered(id), None);
    assert_eq!(world.gateway.api.pending.len(), 0);
}

#[test]
fn a_token_budget_that_is_spent_is_told() {
    let mut world = world();
    let mut body = say("hi");
    body["max_tokens"] = 9.into();
    body["max_completion_tokens"] = 5.into();
    let id = post(&mut world, PATH, body);
    let (fetch, _) = world.fetch();
    world.head(fetch);
    world.words(fetch, "tide and");
    let finish = json!({"choices": [{"delta": {}, "finish_reason": "length"}]});
    world.chunk(fetch, &format!("data: {finish}\n\ndata: [DONE]\n\n"));
    world.input(Input::Fetch { id: fetch, event: crate::fetch::FetchEvent::End });
    assert_eq!(answer(&world, id).1["choices"][0]["finish_reason"], "length");
}

#[test]
fn wrong_fields_are_named() {
    let mut world = world();
    for (field, value, word) in [
        ("model", json!(7), "`model`"),
        ("messages", json!("hi"), "`messages` must be an array"),
        ("n", json!(2), "`n`"),
        ("temperature", json!(2.1), "`temperature` must be a number from 0 to 2"),
        ("temperature", json!("hot"), "`temperature`"),
        ("top_p", json!(-0.1), "`top_p`"),
        ("frequency_penalty", json!(3), "`frequency_penalty`"),
        ("presence_penalty", json!(-2.5), "`presence_penalty`"),
        ("seed", json!(1.5), "`seed`"),
        ("stop", json!(["a", "b", "c", "d", "e"]), "`stop`"),
        ("stop", json!([1]), "`stop`"),
        ("max_tokens", json!(0), "`max_tokens`"),
        ("max_completion_tokens", json!(9_007_199_254_740_992_u64), "`max_completion_tokens`"),
        ("tools", json!({}), "`tools` must be an array"),
        ("tools", json!([{"type": "custom"}]), "`tools[0]`"),
        ("tools", json!([{"type": "function", "function": {}}]), "`tools[0]` must have a name"),
        ("tools", json!([{"type": "function", "function": {"name": "a b"}}]), "letters"),
        ("tool_choice", json!("required"), "`tools` is empty"),
        ("tool_choice", json!("any"), "`tool_choice`"),
        ("tool_choice", json!({"type": "function", "function": {"name": "f"}}), "not in `tools`"),
        ("tool_choice", json!({"type": "allowed_tools"}), "`tool_choice`"),
    ] {
        let mut body = say("hi");
        body[field] = value.clone();
        let (status, message) = refused(&mut world, PATH, body);
        assert_eq!(status, 400, "{field}: {value}");
        assert!(message.contains(word), "{message}");
    }
    let mut many = say("hi");
    many["messages"] = vec![json!({"role": "user", "content": "x"}); 2_049].into();
    assert_eq!(refused(&mut world, PATH, many).1, "`messages` has 2049 items; use at most 2048.");
    assert_eq!(world.gateway.runs.open(), 0, "nothing was begun");
}

#[test]
fn what_chooses_the_words_is_passed_on_and_null_is_unset() {
    let mut world = world();
    let mut body = say("hi");
    for (field, value) in [
        ("temperature", json!(0.5)),
        ("top_p", json!(0.25)),
        ("frequency_penalty", json!(1)),
        ("presence_penalty", json!(-1)),
        ("seed", json!(7)),
        ("stop", json!("END")),
        ("n", json!(1)),
        ("max_tokens", Value::Null),
        ("tools", Value::Null),
        ("response_format", json!({"type": "text"})),
    ] {
        body[field] = value;
    }
    post(&mut world, PATH, body);
    let run = world.shelf.open_runs.keys().next().unwrap().clone();
    assert!(world.gateway.runs.get(&run).is_some());
    assert_eq!(world.fetches.len(), 1);
}

#[test]
fn messages_become_one_prompt() {
    let mut world = world();
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "input_text", "text": "two"}, {"type": "x"}]},
        {"role": "assistant", "content": "three"},
        {"role": "developer", "content": "Be kind."},
        {"role": "critic", "content": "dropped"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "four"},
        {"role": "assistant", "content": "after"},
    ]);
    post(&mut world, PATH, json!({"messages": messages}));
    let (words, system) = asked(&world);
    assert_eq!(
        words,
        "[Chat messages since your last reply - for context]\nUser: one\ntwo\nAssistant: three\n\n[Current message - respond to this]\nUser: four"
    );
    assert!(system.ends_with("Be brief.\n\nBe kind."), "{system}");
}

#[test]
fn a_client_that_repeats_the_conversation_does_not_double_it() {
    let mut world = world();
    let talk = |messages: Value| json!({"user": "u", "messages": messages});
    post(&mut world, PATH, talk(json!([{"role": "user", "content": "one"}])));
    world.answer("two");
    post(
        &mut world,
        PATH,
        talk(json!([
            {"role": "user", "content": "one"}, {"role": "assistant", "content": " two"}, {"role": "user", "content": "three"},
        ])),
    );
    assert_eq!(asked(&world).0, "three");
    world.answer("four");
    post(
        &mut world,
        PATH,
        talk(json!([
            {"role": "assistant", "content": "something else"}, {"role": "user", "content": "five"},
        ])),
    );
    assert!(asked(&world).0.contains("Assistant: something else"));
}
