//! Who gets in, in which order things are told, and with which words (spec 04 §1, §2).

use super::*;
use crate::auth::Secret;
use crate::http::BodyError;
use crate::limits;
use crate::settings::AuthMode;

const CHAT: &str = "/v1/chat/completions";

fn status(world: &mut World, request: HttpRequest) -> (u16, HttpResponse) {
    let id = world.http(request, "{}");
    let response = response(world, id);
    (response.status, response)
}

#[test]
fn what_is_off_or_unknown_is_not_found_in_json() {
    let mut world = World::new();
    for path in [
        CHAT,
        "/v1/responses",
        "/v1/models",
        "/v1/models/openclaw",
        "/v1/embeddings",
        "/v1/x",
        "/api/x",
        "/tools/x",
        "/sessions/x",
        "/v1/chat/completions/",
    ] {
        for method in ["GET", "POST"] {
            let (status, response) = status(&mut world, request(method, path));
            assert_eq!(status, 404, "{method} {path}");
            assert_eq!(response.body, r#"{"error":{"message":"Not Found","type":"not_found"}}"#);
        }
    }
}

#[test]
fn a_wrong_method_is_told_before_a_missing_secret() {
    let mut world = world();
    for (path, allow) in [
        (CHAT, "POST"),
        ("/v1/responses", "POST"),
        ("/v1/embeddings", "POST"),
        ("/tools/invoke", "POST"),
        ("/sessions/main/kill", "POST"),
        ("/v1/models", "GET"),
        ("/v1/models/openclaw", "GET"),
        ("/sessions/main/history", "GET"),
    ] {
        let mut wrong = request(if allow == "GET" { "POST" } else { "HEAD" }, path);
        wrong.authorization = None;
        let (code, response) = status(&mut world, wrong);
        assert_eq!(
            (code, header(&response, "allow"), response.body.as_str()),
            (405, Some(allow), "Method Not Allowed")
        );
        let mut bare = request(allow, path);
        bare.authorization = None;
        let (code, response) = status(&mut world, bare);
        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(
            (code, &body["error"]["message"], &body["error"]["type"]),
            (401, &json!("Unauthorized"), &json!("unauthorized"))
        );
        assert_eq!(header(&response, "www-authenticate"), None);
    }
}

#[test]
fn the_secret_is_a_bearer_in_either_mode_and_nothing_else() {
    let mut world = world_with(|settings| settings.auth.mode = AuthMode::Password(Secret::new("p w")));
    let mut with = |authorization: &str| {
        let request =
            HttpRequest { authorization: Some(authorization.to_owned()), ..request("GET", "/v1/models") };
        status(&mut world, request).0
    };
    assert_eq!(with("Bearer p w"), 200);
    assert_eq!(with("bearer  p w "), 200);
    assert_eq!(with("Basic p w"), 401);
    assert_eq!(with("p w"), 401);
    assert_eq!(with("Bearer  "), 401);
    let mut request = request("GET", "/v1/models");
    request.authorization = None;
    request.query = Some("token=p%20w".to_owned());
    assert_eq!(status(&mut world, request).0, 400, "no secrets in a query");
}

#[test]
fn too_many_wrong_secrets_lock_their_address_out_and_no_other() {
    let mut world = world();
    let wrong = || HttpRequest { authorization: Some("Bearer x".to_owned()), ..request("GET", "/v1/models") };
    for _ in 0..10 {
        assert_eq!(status(&mut world, wrong()).0, 401);
    }
    let (code, response) = status(&mut world, wrong());
    assert_eq!((code, header(&response, "retry-after")), (429, Some("300")));
    assert_eq!(
        response.body,
        r#"{"error":{"code":null,"message":"Too many failed authentication attempts. Please try again later.","param":null,"type":"rate_limited"}}"#
    );
    assert_eq!(status(&mut world, request("GET", "/v1/models")).0, 429, "also with the right one");
    let mut other = request("GET", "/v1/models");
    other.peer = Peer::at(IpAddr::from([203, 0, 113, 10]));
    assert_eq!(status(&mut world, other).0, 200);
}

#[test]
fn missing_secrets_are_not_counted() {
    let mut world = world();
    for _ in 0..20 {
        let mut bare = request("GET", "/v1/models");
        bare.authorization = None;
        assert_eq!(status(&mut world, bare).0, 401);
    }
    assert_eq!(status(&mut world, request("GET", "/v1/models")).0, 200);
}

#[test]
fn wrong_secrets_from_this_host_are_answered_later_each_time() {
    let mut world = world();
    let local = || HttpRequest {
        peer: Peer::at(IpAddr::from([127, 0, 0, 1])),
        authorization: Some("Bearer x".to_owned()),
        ..request("GET", "/v1/models")
    };
    let first = world.http(local(), "");
    assert_eq!(world.answered(first), None);
    world.advance(250);
    assert_eq!(answer(&world, first).0, 401);
    let second = world.http(local(), "");
    let gone = world.http(local(), "");
    world.input(Input::HttpGone { id: gone });
    world.advance(400);
    assert_eq!(world.answered(second), None);
    world.advance(100);
    assert_eq!(answer(&world, second).0, 401);
    world.advance(60_000);
    assert_eq!(world.answered(gone), None, "nobody waits for it");
}

#[test]
fn a_proxy_that_nobody_trusts_is_refused_before_secrets_are_looked_at() {
    let mut world = world();
    let mut proxied = request("GET", "/v1/models");
    proxied.peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
    let mut proxied = with_header(proxied, "x-forwarded-for", "203.0.113.9");
    proxied.authorization = Some("Bearer wrong".to_owned());
    let (code, response) = status(&mut world, proxied);
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((code, &body["error"]["type"]), (403, &json!("proxy_attribution_required")));
    let stranger = with_header(request("GET", "/v1/models"), "x-real-ip", "203.0.113.10");
    assert_eq!(status(&mut world, stranger).0, 403, "a stranger's proxy");
}

fn open_world() -> World {
    world_with(|settings| settings.auth.mode = AuthMode::None)
}

fn neighbour() -> HttpRequest {
    let mut request = request("GET", "/v1/models");
    request.authorization = None;
    request.peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
    request.peer.host = Some("localhost:18789".to_owned());
    request
}

#[test]
fn without_a_secret_only_this_host_gets_in_and_no_page_from_elsewhere() {
    let mut world = open_world();
    assert_eq!(status(&mut world, neighbour()).0, 200);
    assert_eq!(status(&mut world, request("GET", "/v1/models")).0, 403, "another host");
    let mut rebound = neighbour();
    rebound.peer.host = Some("evil.example:18789".to_owned());
    assert_eq!(status(&mut world, rebound).0, 421, "another name");
    let mut page = neighbour();
    page.peer.origin = Some("https://evil.example".to_owned());
    assert_eq!(status(&mut world, page).0, 403, "another page");
    assert_eq!(status(&mut world, with_header(neighbour(), "sec-fetch-site", "cross-site")).0, 403);
    let mut own = neighbour();
    own.peer.origin = Some("http://localhost:18789".to_owned());
    assert_eq!(status(&mut world, own).0, 200);
}

#[test]
fn a_users_scopes_are_those_of_the_name_and_its_proxy_may_narrow_them() {
    let mut world = vouching_world();
    let scoped = |user: &str, scopes: &str| {
        with_header(vouched(user, "GET", "/v1/models"), "x-openclaw-scopes", scopes)
    };
    assert_eq!(status(&mut world, vouched("ada", "GET", "/v1/models")).0, 200);
    assert_eq!(status(&mut world, vouched("eve", "GET", "/v1/models")).0, 200, "whoever is named may read");
    assert_eq!(status(&mut world, scoped("ada", "operator.read")).0, 200);
    let (code, response) = status(&mut world, scoped("ada", ""));
    assert_eq!(code, 403);
    assert_eq!(
        response.body,
        r#"{"error":{"details":{"code":"MISSING_SCOPE","heldScopes":[],"missingScope":"operator.read","requiredScopes":["operator.read"]},"message":"missing scope: operator.read","type":"forbidden"},"ok":false}"#
    );
    let write = |user: &str, scopes: &str, path: &str| HttpRequest {
        method: "POST".into(),
        path: path.into(),
        ..scoped(user, scopes)
    };
    for path in [CHAT, "/v1/responses", "/v1/embeddings", "/tools/invoke", "/sessions/main/kill"] {
        assert_eq!(status(&mut world, write("ada", "operator.read", path)).0, 403, "{path}");
        assert_eq!(
            status(&mut world, write("eve", "operator.admin", path)).0,
            403,
            "nobody asks for more: {path}"
        );
    }
    let mut model = with_header(write("ada", "operator.write", CHAT), "x-openclaw-model", "fake/m");
    let id = world.http(model.clone(), say("hi").to_string());
    assert_eq!(answer(&world, id).0, 403, "another model is the owner's choice");
    model = with_header(write("ada", "operator.admin", CHAT), "x-openclaw-model", "fake/m");
    let id = world.http(model, say("hi").to_string());
    assert_eq!(world.answered(id), None);
    assert_eq!(world.fetches.len(), 1);
}

#[test]
fn declared_scopes_count_from_a_trusted_proxy_only() {
    let scoped = |request| with_header(request, "x-openclaw-scopes", "");
    assert_eq!(status(&mut open_world(), scoped(neighbour())).0, 200);
    assert_eq!(status(&mut world(), scoped(request("GET", "/v1/models"))).0, 200);
}

#[test]
fn without_its_proxy_nobody_is_a_user() {
    let mut world = vouching_world();
    let mut direct = vouched("ada", "GET", "/v1/models");
    direct.headers.retain(|(name, _)| name == "x-user");
    assert_eq!(status(&mut world, direct.clone()).0, 401, "the proxy's host itself");
    direct.peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
    assert_eq!(status(&mut world, direct.clone()).0, 401, "this host");
    direct.authorization = Some("Bearer a local password".to_owned());
    assert_eq!(status(&mut world, direct.clone()).0, 200, "the password is for this host");
    direct.peer = Peer::at(IpAddr::from([192, 168, 1, 9]));
    assert_eq!(status(&mut world, direct).0, 401, "and for no other");
    let mut forged = vouched("ada", "GET", "/v1/models");
    forged.peer = Peer::at(IpAddr::from([192, 168, 1, 9]));
    assert_eq!(status(&mut world, forged).0, 403);
}

#[test]
fn probes_say_no_more_to_strangers_than_how_it_is() {
    let mut world = world();
    for (path, expected) in [
        ("/healthz", r#"{"ok":true,"status":"live"}"#),
        ("/startupz", r#"{"ok":true,"status":"started"}"#),
        ("/readyz", r#"{"ready":true}"#),
    ] {
        let mut away = request("GET", path);
        away.authorization = None;
        assert_eq!(status(&mut world, away.clone()).1.body, expected, "{path}");
        away.peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
        let through = with_header(away.clone(), "x-forwarded-for", "203.0.113.9");
        assert_eq!(status(&mut world, through).1.body, expected, "{path} through a proxy");
        if path != "/healthz" {
            assert!(status(&mut world, away).1.body.contains("uptimeMs"), "{path}");
        }
    }
}

#[test]
fn every_answer_carries_the_safe_headers() {
    let mut world = world();
    let mut away = request("GET", "/v1/models");
    away.authorization = None;
    let evil = with_header(request("POST", CHAT), "content-type", "text/plain");
    for request in [
        request("GET", "/v1/models"),
        request("GET", "/nowhere"),
        request("GET", "/healthz"),
        request("PUT", CHAT),
        request("GET", "/a//b"),
        away,
        evil,
    ] {
        let (code, response) = status(&mut world, request);
        for (name, value) in crate::ingress::answer::SAFE {
            assert_eq!(header(&response, name), Some(value), "{code}");
        }
    }
}

#[test]
fn a_body_that_does_not_come_as_it_must_is_told_in_the_same_shape() {
    let mut world = world();
    let mut large = request("POST", CHAT);
    large.content_length = Some(limits::CHAT_BODY_BYTES + 1);
    let (code, response) = status(&mut world, large);
    assert_eq!((code, header(&response, "connection")), (413, Some("close")));
    assert!(
        response.body.contains(r#""message":"Payload too large""#)
            && response.body.contains("invalid_request_error")
    );
    for (error, code) in [(BodyError::TooLarge, 413), (BodyError::Timeout, 408)] {
        let id = HttpId(9_000 + u64::from(code));
        world.gateway.handle(world.now, Input::Http { id, request: Box::new(request("POST", CHAT)) });
        while world.gateway.poll_output().is_some() {}
        world.input(Input::HttpBody { id, body: Err(error) });
        assert_eq!(answer(&world, id).0, code);
    }
    let id = world.http(request("POST", CHAT), "{\"messages\":");
    let (code, body) = answer(&world, id);
    assert_eq!(code, 400);
    assert!(body["error"]["message"].as_str().unwrap().starts_with("Invalid JSON: "), "{body}");
    for empty in ["", "  \n", "[]", "7"] {
        let id = world.http(request("POST", CHAT), empty);
        assert_eq!(
            answer(&world, id).1["error"]["message"],
            "Missing user message in `messages`.",
            "{empty:?}"
        );
    }
    let deep = "[".repeat(200);
    let id = world.http(request("POST", CHAT), deep);
    assert_eq!(answer(&world, id).0, 400);
}

#[test]
fn a_gateway_that_goes_down_or_is_full_asks_for_another_try() {
    let mut world = world();
    let pending: Vec<HttpId> = (0..limits::API_REQUESTS).map(|_| post(&mut world, CHAT, say("hi"))).collect();
    let (code, response) = status(&mut world, request("GET", "/v1/models"));
    assert_eq!(
        (code, header(&response, "x-should-retry"), header(&response, "retry-after")),
        (503, Some("true"), Some("1"))
    );
    world.input(Input::HttpGone { id: pending[0] });
    assert_eq!(status(&mut world, request("GET", "/v1/models")).0, 200);

    let mut world = world_with(|_| {});
    world.hold = true;
    post(&mut world, CHAT, say("hi"));
    world.input(Input::Stop { reason: "restart".to_owned(), restart_expected: None });
    let (code, response) = status(&mut world, request("POST", CHAT));
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((code, &body["error"]["code"]), (503, &json!("gateway_unavailable")));
    assert_eq!(header(&response, "x-should-retry"), Some("true"));
}
