//! Pictures and files of a request (spec 04 §7.1, §8.2, §9, §17 check 20).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::*;
use crate::fetch::{FetchError, FetchEvent, Reach};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const PNG: &str = "iVBORw0KGgo=";

fn picture(url: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": url, "detail": "auto"}},
    ]}]})
}

fn parts(parts: Value) -> Value {
    json!({"model": "openclaw", "input": [{"role": "user", "content": parts}]})
}

fn image_of(world: &World) -> String {
    let (_, body) = world.fetch();
    body["messages"].to_string()
}

#[test]
fn a_picture_comes_as_a_data_uri_on_both_endpoints() {
    let mut world = world();
    let uri = format!("data:image/png;base64,{PNG}");
    for (path, body) in [
        (CHAT, picture(&uri)),
        (CHAT, json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": uri}]}]})),
        (RESPONSES, parts(json!([{"type": "input_image", "image_url": uri, "detail": "auto"}]))),
        (
            RESPONSES,
            parts(
                json!([{"type": "input_image", "source": {"type": "base64", "media_type": "image/PNG", "data": PNG}}]),
            ),
        ),
        (RESPONSES, parts(json!([{"type": "input_image", "source": {"type": "base64", "data": PNG}}]))),
    ] {
        post(&mut world, path, body.clone());
        assert!(image_of(&world).contains(PNG), "{body}");
        let (fetch, _) = world.fetch();
        world.refuse(fetch, 400, "over");
    }
    assert!(!world.shelf.messages(world.shelf.sessions.keys().next().unwrap().as_str()).is_empty());
}

#[test]
fn a_turn_of_pictures_alone_has_words_that_say_so() {
    let mut world = world();
    let uri = format!("data:image/png;base64,{PNG}");
    let earlier =
        json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:bad"}}]});
    let last = json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}]});
    post(&mut world, CHAT, json!({"messages": [earlier, last]}));
    let (words, _) = asked(&world);
    assert_eq!(words, "User sent image(s) with no text.", "pictures of earlier messages are passed over");
}

#[test]
fn a_picture_that_cannot_be_used_is_refused() {
    let mut world = world_with(|settings| settings.api.chat.images.max_bytes = 10);
    let large = STANDARD.encode([0; 11]);
    for (uri, word) in [
        ("data:image/png,plain".to_owned(), "not base64"),
        ("data:image/png;base64".to_owned(), "comma"),
        ("data:image/png;base64,a!b".to_owned(), "not base64"),
        ("data:image/png;base64,".to_owned(), "empty"),
        (format!("data:image/png;base64,{large}"), "larger than 10 bytes"),
        (format!("data:image/svg+xml;base64,{PNG}"), "image/svg+xml"),
        ("https://a.example/x.png".to_owned(), "URLs are not allowed"),
    ] {
        let (status, message) = refused(&mut world, CHAT, picture(&uri));
        assert_eq!(status, 400);
        assert!(
            message.starts_with("Invalid image_url content in messages") && message.contains(word),
            "{message}"
        );
    }
    let many = vec![json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}); 9];
    let (_, message) = refused(&mut world, CHAT, json!({"messages": [{"role": "user", "content": many}]}));
    assert!(message.contains("use at most 8"), "{message}");
    let file = json!({"type": "input_file", "file_data": "data:text/plain;base64,YQ=="});
    let (_, message) = refused(&mut world, RESPONSES, parts(vec![file; 9].into()));
    assert!(message.contains("at most 8"), "{message}");
}

#[test]
fn all_pictures_together_are_bounded() {
    let mut world = world();
    let most = crate::limits::length(crate::limits::API_IMAGE_BYTES);
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(vec![0; most]));
    let image = json!({"type": "image_url", "image_url": {"url": uri}});
    let (status, message) =
        refused(&mut world, CHAT, json!({"messages": [{"role": "user", "content": [image, image, image]}]}));
    assert!(status == 400 && message.contains("together"), "{message}");
}

fn file(part: Value) -> Value {
    parts(json!([{"type": "input_text", "text": "sum up"}, part]))
}

#[test]
fn a_file_stands_in_the_system_prompt_between_marks_and_not_in_the_transcript() {
    let mut world = world();
    let data = STANDARD.encode("the tide");
    for part in [
        json!({"type": "input_file", "filename": "sea.txt", "file_data": format!("data:text/plain;base64,{data}")}),
        json!({"type": "input_file", "source": {"type": "base64", "media_type": "text/plain", "data": data, "filename": "sea.txt"}}),
    ] {
        post(&mut world, RESPONSES, file(part));
        let (words, system) = asked(&world);
        assert_eq!(words, "sum up");
        assert!(system.contains("<file name=\"sea.txt\">\n<<<EXTERNAL_UNTRUSTED_CONTENT id=\""), "{system}");
        assert!(
            system.contains("Source: External\n---\nthe tide\n<<<END_EXTERNAL_UNTRUSTED_CONTENT id=\""),
            "{system}"
        );
        let (fetch, _) = world.fetch();
        world.refuse(fetch, 400, "over");
    }
    let all: Vec<Value> =
        world.shelf.sessions.keys().flat_map(|key| world.shelf.messages(key.as_str())).collect();
    assert!(!json!(all).to_string().contains("the tide"));
    let pdf = json!({"type": "input_file", "file_data": "data:application/pdf;base64,JVBERg=="});
    assert!(refused(&mut world, RESPONSES, file(pdf)).1.contains("PDF"));
    let bare = json!({"type": "input_file", "source": {"type": "base64", "data": data}});
    assert!(refused(&mut world, RESPONSES, file(bare)).1.contains("MIME"));
}

fn by_url(url: &str) -> Value {
    parts(json!([{"type": "input_image", "image_url": url}]))
}

fn head(world: &mut World, status: u16, headers: &[(&str, &str)]) {
    let (id, _) = world.fetches[0];
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    world.input(Input::Fetch { id, event: FetchEvent::Head { status, headers } });
}

fn body(world: &mut World, bytes: &'static [u8]) {
    let (id, _) = world.fetches[0];
    world.input(Input::Fetch { id, event: FetchEvent::Chunk(Bytes::from_static(bytes)) });
}

fn end(world: &mut World, event: FetchEvent) {
    let (id, _) = world.fetches[0];
    world.input(Input::Fetch { id, event });
}

#[test]
fn a_picture_is_fetched_from_public_addresses_hop_by_hop() {
    let mut world = world();
    let id = post(&mut world, RESPONSES, by_url("https://a.example/x"));
    let request = &world.fetches[0].1;
    assert_eq!((request.method, request.reach), ("GET", Reach::Public));
    assert!(request.headers.contains(&("user-agent".to_owned(), "OpenClaw-Gateway/1.0".to_owned())));
    assert!(!request.headers.iter().any(|(name, _)| name == "authorization" || name == "cookie"));
    head(&mut world, 302, &[("location", "/y")]);
    assert_eq!(world.fetches[0].1.url, "https://a.example/y");
    head(&mut world, 200, &[("content-type", "image/png; q=1"), ("content-length", "8")]);
    body(&mut world, b"\x89PNG");
    body(&mut world, b"\r\n\x1a\n");
    end(&mut world, FetchEvent::End);
    assert!(image_of(&world).contains(PNG), "{}", image_of(&world));
    world.answer("a picture");
    assert_eq!(answer(&world, id).0, 200);
}

#[test]
fn urls_that_lead_inside_are_refused_before_and_after_a_redirect() {
    for url in [
        "http://127.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:18789/",
        "http://metadata.google.internal/",
        "http://u:p@a.example/",
        "ftp://a.example/",
        "http://2130706433/",
        "http://printer.local/",
        "http://192.168.1.1/",
        "http://[fe80::1]/",
        "file:///etc/passwd",
    ] {
        let mut world = world();
        let (status, message) = refused(&mut world, RESPONSES, by_url(url));
        assert!(status == 400 && message.contains("may not be fetched"), "{url}: {message}");
        let id = post(&mut world, RESPONSES, by_url("https://a.example/"));
        head(&mut world, 307, &[("location", url)]);
        let (status, body) = answer(&world, id);
        assert!(
            status == 400 && body["error"]["message"].as_str().unwrap().contains("may not be fetched"),
            "{url}"
        );
        assert_eq!((world.fetches.len(), world.gateway.effects_under_way()), (0, 0), "{url}");
    }
}

#[test]
fn what_comes_is_measured_while_it_comes() {
    type Step = fn(&mut World);
    let steps: &[(Step, &str)] = &[
        (|w| head(w, 404, &[]), "could not be fetched"),
        (|w| head(w, 302, &[]), "redirected to nowhere"),
        (|w| head(w, 200, &[]), "application/octet-stream"),
        (|w| head(w, 200, &[("content-type", "text/html")]), "text/html"),
        (|w| head(w, 200, &[("content-type", "image/png"), ("content-encoding", "gzip")]), "compressed"),
        (
            |w| head(w, 200, &[("content-type", "image/png"), ("content-length", "99")]),
            "larger than 10 bytes",
        ),
        (
            |w| {
                head(w, 200, &[("content-type", "image/png")]);
                body(w, b"123456");
                body(w, b"123456");
            },
            "larger than 10 bytes",
        ),
        (
            |w| {
                head(w, 200, &[("content-type", "image/png")]);
                end(w, FetchEvent::End);
            },
            "empty",
        ),
        (
            |w| end(w, FetchEvent::Failed(FetchError::Forbidden("10.0.0.1 is not public".to_owned()))),
            "could not be fetched",
        ),
        (|w| w.advance(10_000), "in time"),
        (
            |w| {
                for _ in 0..4 {
                    head(w, 301, &[("location", "/again")]);
                }
            },
            "too often",
        ),
    ];
    for (step, word) in steps {
        let mut world = world_with(|settings| settings.api.responses.images.max_bytes = 10);
        let id = post(&mut world, RESPONSES, by_url("https://a.example/x"));
        step(&mut world);
        let (status, body) = answer(&world, id);
        let message = body["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(word) && !message.contains("10.0.0.1"), "{message}");
        assert_eq!((world.fetches.len(), world.gateway.effects_under_way()), (0, 0), "{word}");
        assert_eq!(world.gateway.api.pending.len(), 0);
    }
}

#[test]
fn one_time_holds_for_all_hops_and_a_client_that_leaves_ends_the_fetch() {
    let mut world = world();
    let id = post(&mut world, RESPONSES, by_url("https://a.example/x"));
    world.advance(9_000);
    head(&mut world, 302, &[("location", "/y")]);
    assert_eq!(world.fetches[0].1.head_timeout.as_millis(), 1_000);
    world.advance(1_000);
    assert_eq!(answer(&world, id).0, 400);
    let id = post(&mut world, RESPONSES, by_url("https://a.example/x"));
    world.input(Input::HttpGone { id });
    assert_eq!((world.fetches.len(), world.gateway.api.pending.len()), (0, 0));
}

#[test]
fn hosts_are_those_that_the_operator_allows() {
    let mut world = world_with(|settings| {
        settings.api.responses.images.url_allowlist =
            vec!["*.cdn.example".to_owned(), "a.example".to_owned()];
        settings.api.files.allow_url = false;
    });
    for url in ["https://cdn.example/", "https://evilcdn.example/", "https://a.example.evil/"] {
        assert!(refused(&mut world, RESPONSES, by_url(url)).1.contains("host that is not allowed"), "{url}");
    }
    let url = json!({"type": "input_file", "file_url": "https://a.example/x.txt"});
    assert!(refused(&mut world, RESPONSES, file(url)).1.contains("URLs are not allowed"));
    let id = post(&mut world, RESPONSES, by_url("https://x.cdn.example/"));
    head(&mut world, 302, &[("location", "https://b.example/")]);
    assert_eq!(answer(&world, id).0, 400, "also after a redirect");
}

#[test]
fn a_file_by_url_is_named_by_its_path() {
    let mut world = world();
    let part = json!({"type": "input_file", "file_url": "https://a.example/d/sea.md?x=1"});
    post(&mut world, RESPONSES, file(part));
    head(&mut world, 200, &[("content-type", "text/markdown; charset=utf-8")]);
    body(&mut world, b"# tide");
    end(&mut world, FetchEvent::End);
    assert!(asked(&world).1.contains("<file name=\"sea.md\">"));
}
