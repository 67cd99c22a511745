//! Models and embeddings (spec 04 §6).

use super::*;
use crate::fetch::{FetchEvent, Reach};
use bytes::Bytes;

#[test]
fn agents_are_listed_as_models_byte_for_byte() {
    let mut world = world();
    let id = world.http(request("GET", "/v1/models"), "");
    let model = |id: &str| {
        format!(r#"{{"id":"{id}","object":"model","created":0,"owned_by":"openclaw","permission":[]}}"#)
    };
    let expected = format!(
        r#"{{"object":"list","data":[{},{},{}]}}"#,
        model("openclaw"),
        model("openclaw/default"),
        model("openclaw/main")
    );
    assert_eq!(world.answered(id), Some((200, expected)));
}

#[test]
fn one_model_is_found_by_its_name_encoded_or_not() {
    let mut world = world();
    for name in ["openclaw", "openclaw%2Fdefault", "openclaw/default", "openclaw/main", "openclaw%2fmain"] {
        assert_eq!(get(&mut world, &format!("/v1/models/{name}")).0, 200, "{name}");
    }
    assert_eq!(get(&mut world, "/v1/models/openclaw%2Fdefault").1["id"], "openclaw/default");
    for name in ["gpt-4o", "openclaw%2", "openclaw%zz", "openclaw%00", "openclaw/A..", "%ff"] {
        assert_eq!(get(&mut world, &format!("/v1/models/{name}")).0, 400, "{name}");
    }
    let (status, body) = get(&mut world, "/v1/models/openclaw%2Fnobody");
    assert_eq!((status, &body["error"]["message"]), (404, &json!("Model 'openclaw/nobody' not found.")));
    assert_eq!(body["error"]["type"], "invalid_request_error");
}

const PATH: &str = "/v1/embeddings";

fn embedding_world() -> World {
    world_with(|settings| {
        settings.api.embedding_provider = Some("fake".to_owned());
        settings.api.embedding_model = Some("embed".to_owned());
    })
}

fn embed(world: &mut World, body: Value, answer: Value) -> HttpId {
    let id = post(world, PATH, body);
    let (fetch, _) = world.fetch();
    world.input(Input::Fetch { id: fetch, event: FetchEvent::Head { status: 200, headers: Vec::new() } });
    world.input(Input::Fetch { id: fetch, event: FetchEvent::Chunk(Bytes::from(answer.to_string())) });
    world.input(Input::Fetch { id: fetch, event: FetchEvent::End });
    id
}

#[test]
fn texts_become_vectors_in_their_order_in_either_form() {
    let mut world = embedding_world();
    let vectors = json!({"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0, -0.5]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}});
    let body = json!({"model": "openclaw/default", "input": ["a", "b"], "dimensions": 2, "encoding_format": "float"});
    let id = post(&mut world, PATH, body.clone());
    let (_, asked) = world.fetch();
    assert_eq!(
        asked,
        json!({"model": "embed", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2})
    );
    let request = &world.fetches[0].1;
    assert_eq!((request.url.as_str(), request.reach), ("http://127.0.0.1:1/v1/embeddings", Reach::Anywhere));
    world.input(Input::HttpGone { id });
    assert!(world.fetches.is_empty(), "nobody waits for it");
    let id = embed(&mut world, body.clone(), vectors.clone());
    let expected = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,-0.5]},{"object":"embedding","index":1,"embedding":[2.0]}],"model":"openclaw/default","usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    assert_eq!(world.answered(id), Some((200, expected.to_owned())));
    let mut encoded = body;
    encoded["encoding_format"] = "base64".into();
    let id = embed(&mut world, encoded, vectors);
    assert_eq!(answer(&world, id).1["data"][0]["embedding"], "AACAPwAAAL8=");
}

#[test]
fn what_cannot_be_embedded_is_told() {
    let mut world = embedding_world();
    let long = "x".repeat(8_193);
    let nearly = vec!["x".repeat(8_192); 9];
    for (body, word) in [
        (json!({"input": "a"}), "`model`"),
        (json!({"model": "gpt-4o", "input": "a"}), "Invalid model"),
        (json!({"model": "openclaw"}), "`input`"),
        (json!({"model": "openclaw", "input": []}), "`input`"),
        (json!({"model": "openclaw", "input": [""]}), "`input`"),
        (json!({"model": "openclaw", "input": [[1, 2]]}), "`input`"),
        (json!({"model": "openclaw", "input": vec!["a"; 129]}), "at most 128"),
        (json!({"model": "openclaw", "input": long}), "longer than 8192"),
        (json!({"model": "openclaw", "input": nearly}), "65536"),
        (json!({"model": "openclaw", "input": "a", "dimensions": 0}), "`dimensions`"),
        (json!({"model": "openclaw", "input": "a", "encoding_format": "hex"}), "`encoding_format`"),
    ] {
        let (status, message) = refused(&mut world, PATH, body);
        assert!(status == 400 && message.contains(word), "{message}");
    }
    let mut bare = super::world();
    let (status, message) = refused(&mut bare, PATH, json!({"model": "openclaw", "input": "a"}));
    assert!(status == 400 && message.contains("agents.defaults.memorySearch.provider"), "{message}");
}

#[test]
fn another_embedding_model_must_be_the_providers() {
    let mut world = embedding_world();
    let ask = |world: &mut World, model: &str| {
        let request = with_header(request("POST", PATH), "x-openclaw-model", model);
        world.http(request, json!({"model": "openclaw", "input": "a"}).to_string())
    };
    let id = ask(&mut world, "other/embed");
    assert_eq!(answer(&world, id).0, 400);
    ask(&mut world, "fake/large");
    assert_eq!(world.fetch().1["model"], "large");
}

#[test]
fn a_server_that_does_not_answer_as_it_must_is_an_internal_error() {
    for answered in [json!({"data": []}), json!({"error": "no"}), json!({"data": [{"embedding": ["x"]}]})] {
        let mut world = embedding_world();
        let id = embed(&mut world, json!({"model": "openclaw", "input": "a"}), answered);
        let (status, body) = answer(&world, id);
        assert_eq!((status, &body["error"]["message"]), (500, &json!("internal error")));
    }
}
