//! Part H: HTTP (S-74 to S-81).

use serde_json::json;
use telson_tests::support::binary::Binary;
use telson_tests::support::http::raw;

use super::rig::{Rig, TOKEN, UPGRADE};

/// Every endpoint that asks for a secret.
pub(crate) const ROUTES: [(&str, &str); 8] = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/openclaw"),
    ("POST", "/tools/invoke"),
    ("GET", "/sessions/main/history"),
    ("POST", "/sessions/main/kill"),
];

/// What is served without one.
const OPEN: [&str; 6] = ["/health", "/healthz", "/startup", "/startupz", "/ready", "/readyz"];

#[test]
fn s_74_the_powerful_tools_are_not_for_http() {
    let rig = Rig::new();
    for tool in [
        "gateway",
        "cron",
        "nodes",
        "sessions_spawn",
        "sessions_send",
        "exec",
        "process",
        "write",
        "edit",
        "apply_patch",
        "whatsapp_login",
        "telegram_login",
    ] {
        for name in [tool.to_owned(), tool.to_uppercase(), format!(" {tool} "), format!("{tool}\u{200b}")] {
            let body =
                json!({"tool": name, "action": "config.get", "args": {"action": "config.get", "task": "x"}});
            let reply = rig.authorised("POST", "/tools/invoke", &[], &body.to_string());
            assert!(matches!(reply.status, 400 | 403 | 404), "{name}: {reply:?}");
        }
    }
}

#[test]
fn s_75_every_route_asks_for_the_secret_and_scopes_are_not_declared() {
    let rig = Rig::new();
    let odd = [
        "Bearer",
        "Bearer ",
        "Bearer wrong-wrong-wrong",
        "Basic dDp0",
        "Token x",
        "Bearer null",
        "Bearer undefined",
    ];
    for (method, path) in ROUTES {
        for authorization in odd {
            for scopes in ["", "operator.admin", "operator.read,operator.write", "*"] {
                let headers = [
                    ("Authorization", authorization),
                    ("x-openclaw-scopes", scopes),
                    ("x-openclaw-agent-id", "main"),
                    ("x-openclaw-session-key", "main"),
                    ("x-openclaw-requester-session-key", "main"),
                ];
                let reply = rig.http(method, path, &headers, "{}");
                assert_eq!(reply.status, 401, "{authorization:?} {scopes:?}: {method} {path}: {reply:?}");
                // The right one, so that the wrong ones are not answered later and later.
                if authorization.contains("wrong") || authorization.contains("u") {
                    assert_eq!(rig.authorised("GET", "/v1/models", &[], "").status, 200);
                }
            }
        }
        // The secret twice, or in another header, is not the secret.
        let two = [
            ("Authorization", "Bearer wrong-wrong-wrong"),
            ("X-Api-Key", TOKEN),
            ("Proxy-Authorization", TOKEN),
        ];
        assert_eq!(rig.http(method, path, &two, "{}").status, 401, "{method} {path}");
        assert_eq!(rig.authorised("GET", "/v1/models", &[], "").status, 200);
    }
    // Nor does it count where no secret is asked for: only a trusted proxy narrows.
    let open = Rig::with(Binary::Telson, &json!({"gateway": {"auth": {"mode": "none", "token": null}}}));
    for scopes in ["operator.admin", "operator.pairing", "operator.everything"] {
        assert_eq!(
            open.http("GET", "/v1/models", &[("x-openclaw-scopes", scopes)], "").status,
            200,
            "{scopes}"
        );
    }
}

/// Every way to write a path that is not the path itself.
fn misspelt(path: &str) -> Vec<String> {
    let mut all = vec![
        format!("/{path}"),
        format!("{path}/"),
        format!("{path}//"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("/.{path}"),
        format!("/..{path}"),
        format!("/x/..{path}"),
        format!("/x/%2e%2e{path}"),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path}%2f"),
        format!("{path};x=1"),
        format!("{path}..;/"),
        format!("{path}.json"),
        format!("{path}~"),
        format!("\\{}", &path[1..]),
        path.replace('/', "\\"),
        path.replace('/', "%2f"),
        path.replace('/', "%2F"),
        path.replace('/', "%5c"),
        path.replace('/', "%252f"),
        path.replace('/', "//"),
        path.replace('/', "/./"),
        path.replace('/', "/%2e/"),
        path.replace('/', "%c0%af"),
        path.to_uppercase(),
        format!("{}{}", &path[..2].to_uppercase(), &path[2..]),
        format!("/healthz/..{path}"),
        format!("/healthz%2f..{path}"),
        format!("{path}%ff%fe"),
        format!("{path}\u{e9}"),
        format!("{path}%0d%0aX: y"),
    ];
    for (at, byte) in path.bytes().enumerate().skip(1) {
        // One letter in its escape: the guard and the handler must see the same.
        all.push(format!("{}%{byte:02x}{}", &path[..at], &path[at + 1..]));
        all.push(format!("{}%25{byte:02x}{}", &path[..at], &path[at + 1..]));
    }
    all
}

#[test]
fn s_76_only_the_path_itself_is_the_path() {
    let rig = Rig::new();
    let mut tried = 0;
    for (method, path) in ROUTES {
        for spelling in misspelt(path) {
            let reply = rig.http(method, &spelling, &[], "{}");
            assert!(matches!(reply.status, 400 | 401 | 404 | 405), "{method} {spelling}: {reply:?}");
            tried += 1;
        }
    }
    assert!(tried >= 500, "{tried}");
    // With the secret, no spelling of a closed endpoint reaches it by another guard's door.
    for path in OPEN {
        for spelling in misspelt(path) {
            let reply = rig.http("POST", &spelling, &[], "{}");
            assert!(matches!(reply.status, 400 | 404 | 405), "{spelling}: {reply:?}");
        }
    }
    rig.finish();
}

#[test]
fn s_77_each_path_has_one_owner_and_one_method() {
    let rig = Rig::new();
    for (method, path) in ROUTES {
        for other in
            ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "get", "BREW"]
        {
            if other == method {
                continue;
            }
            let reply = rig.http(other, path, &[("X-HTTP-Method-Override", method)], "");
            assert!(matches!(reply.status, 400 | 401 | 405 | 501), "{other} {path}: {reply:?}");
        }
    }
    // A feature that is off is not there, with or without the secret.
    let off = json!({"gateway": {"http": {"endpoints": {
        "chatCompletions": {"enabled": false}, "responses": {"enabled": false},
    }}}});
    let rig = Rig::with(Binary::Telson, &off);
    for (method, path) in ROUTES.iter().filter(|(_, path)| path.starts_with("/v1/")) {
        assert_eq!(rig.http(method, path, &[], "{}").status, 404, "{path}");
        assert_eq!(rig.authorised(method, path, &[], "{}").status, 404, "{path}");
    }
}

#[test]
fn s_79_no_file_is_served() {
    let rig = Rig::new();
    for path in [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..;/..;/etc/passwd",
        "/%c0%ae%c0%ae/etc/passwd",
        "/.telson/telson.json",
        "/telson.json",
        "/telson.db",
        "/run/gateway.token",
        "/etc/passwd",
        "//etc/passwd",
        "/C:/windows/win.ini",
        "/index.html::$DATA",
        "/\\\\server\\share\\x",
        "/avatar/main",
        "/avatar/../../etc/passwd",
        "/media/../telson.json",
        "/canvas/../telson.json",
        "/__openclaw__/canvas/",
        "/__openclaw__/a2ui/../../../etc/passwd",
        "/static/..%5c..%5cetc%5cpasswd",
        "/.env",
        "/.git/config",
        "/proc/self/environ",
    ] {
        for reply in [rig.http("GET", path, &[], ""), rig.authorised("GET", path, &[], "")] {
            assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
            assert!(!reply.body.contains("root:") && !reply.body.contains(TOKEN), "{path}: {reply:?}");
        }
    }
}

#[test]
fn s_80_every_answer_carries_the_headers_of_a_careful_server() {
    let rig = Rig::new();
    let mut answers = Vec::new();
    for (method, path) in ROUTES {
        answers.push((path, rig.authorised(method, path, &[], "{}")));
        answers.push((path, rig.http(method, path, &[], "{}")));
        answers.push((path, rig.http("PUT", path, &[], "")));
    }
    for path in OPEN.into_iter().chain(["/", "/nothing", "//double"]) {
        answers.push((path, rig.http("GET", path, &[], "")));
    }
    answers.push(("an upgrade cut short", rig.http("GET", "/", &UPGRADE[1..], "")));
    answers.push(("a bad upgrade", rig.http("GET", "/", &UPGRADE[..3], "")));
    answers.push(("a proxy", rig.http("GET", "/", &[&UPGRADE[..], &[("Via", "1.1 x")]].concat(), "")));
    for (what, reply) in answers {
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{what}: {reply:?}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{what}: {reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}: {reply:?}");
        for name in ["access-control-allow-origin", "set-cookie", "server", "x-powered-by"] {
            assert_eq!(reply.header(name), None, "{what}: {reply:?}");
        }
    }
    // What hyper refuses by itself tells nothing either.
    let reply = raw(rig.address(), b"nonsense\r\n\r\n");
    assert_eq!((reply.status, reply.header("server"), reply.body.as_str()), (400, None, ""), "{reply:?}");
}

#[test]
fn s_81_a_probe_from_elsewhere_says_no_more_than_it_must() {
    let rig = Rig::with(Binary::Telson, &json!({"gateway": {"bind": "lan"}}));
    let mut wheres = vec![vec![("X-Forwarded-For", "8.8.8.8")]];
    wheres.push(vec![("Origin", "https://evil.example"), ("Host", "evil.example")]);
    for headers in wheres {
        for path in OPEN {
            let reply = rig.http("GET", path, &headers, "");
            for word in ["uptime", "failing", "version", "telson", "pid", "agent", "model"] {
                assert!(!reply.body.contains(word), "{path} {headers:?}: {reply:?}");
            }
        }
    }
    if let Some(own) = super::rig::own_address() {
        let address = std::net::SocketAddr::from((own, rig.address().port()));
        let reply = super::rig::http(address, "GET", "/readyz", &[], "");
        assert_eq!(reply.body, r#"{"ready":true}"#, "{reply:?}");
    }
}
