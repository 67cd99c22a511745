//! Part B: pages of other sites (S-18 to S-23).

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use telson_core::gateway::METHODS;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::device::Device;

use super::h_http::ROUTES;
use super::rig::{Ask, Refused, Rig, TOKEN, UPGRADE};

/// Origins of pages that do not belong to a gateway on `127.0.0.1`.
const FOREIGN: [&str; 16] = [
    "https://evil.example",
    "http://evil.example:18789",
    "null",
    "file://",
    "http://127.0.0.1.evil.example",
    "http://127.evil.example",
    "http://localhost.evil.example",
    "http://localhost.",
    "http://xn--localhst-9za",
    "http://user@localhost",
    "http://localhost@evil.example",
    "http://localhost#.evil.example",
    "https://evil.example, http://localhost",
    "chrome-extension://abcdefgh",
    "http://[::ffff:8.8.8.8]",
    "http://2130706433.evil.example",
];

#[test]
fn s_18_a_page_of_another_site_never_gets_in() {
    let rig = Rig::new();
    for origin in FOREIGN {
        for dialect in Dialect::ALL {
            for (id, mode) in [
                ("cli", "cli"),
                ("gateway-client", "backend"),
                ("openclaw-control-ui", "ui"),
                ("webchat-ui", "webchat"),
                ("test", "test"),
            ] {
                let device = Device::new(1);
                for device in [None, Some(&device)] {
                    let ask =
                        Ask { id, mode, device, headers: vec![("origin", origin)], ..Ask::shared(dialect) };
                    assert!(rig.try_enter(&ask).is_err(), "{origin} as {id}/{mode} on {dialect:?}");
                }
            }
        }
    }
    // Headers of a proxy do not excuse a page.
    for header in ["x-forwarded-for", "forwarded", "x-forwarded-host"] {
        let headers = vec![("origin", "https://evil.example"), (header, "127.0.0.1")];
        assert!(rig.try_enter(&Ask { headers, ..Ask::shared(Dialect::V4) }).is_err(), "{header}");
    }
    // The gateway's own page is let in, and a client that is no page.
    let own = format!("http://{}", rig.address());
    let device = Device::new(2);
    let page = Ask {
        id: "openclaw-control-ui",
        mode: "ui",
        headers: vec![("origin", &own)],
        ..Ask::device(Dialect::V4, &device, &["operator.read"])
    };
    rig.enter(&page);
    rig.lives();
}

#[test]
fn s_18_a_foreign_page_is_refused_before_the_upgrade() {
    let rig = Rig::new();
    for origin in FOREIGN {
        let headers = [&UPGRADE[..], &[("Origin", origin)]].concat();
        assert_eq!(rig.http("GET", "/", &headers, "").status, 403, "{origin}");
    }
    let headers = [&UPGRADE[..], &[("Sec-Fetch-Site", "cross-site")]].concat();
    assert_eq!(rig.http("GET", "/", &headers, "").status, 403);
}

#[test]
fn s_19_a_name_that_is_not_the_gateways_leads_nowhere() {
    let rig = Rig::new();
    for host in ["evil.example", "evil.example:18789", "127.0.0.1.evil.example", "localhost.evil.example:1"] {
        for (method, path) in ROUTES {
            let reply = rig.authorised(method, path, &[("Host", host)], "{}");
            assert!(matches!(reply.status, 403 | 421), "{host}: {method} {path}: {reply:?}");
        }
        let headers = [&UPGRADE[..], &[("Host", host)]].concat();
        let reply = rig.http("GET", "/", &headers, "");
        assert!(matches!(reply.status, 403 | 421), "{host}: {reply:?}");
    }
    rig.lives();
}

#[test]
fn s_19_a_broken_host_is_no_servers_error() {
    let rig = Rig::new();
    for host in [
        "",
        " ",
        "[",
        "[::1",
        "]:80",
        "a b",
        "localhost:99999999",
        "localhost:-1",
        "@",
        "\u{e9}",
        "%00",
        "localhost:80:80",
        "http://localhost",
        "x,y",
    ] {
        for path in ["/healthz", "/v1/models", "/"] {
            let reply = rig.authorised("GET", path, &[("Host", host)], "");
            assert!(reply.status < 500, "{host:?} {path}: {reply:?}");
        }
    }
    for lines in ["", "Host: a\r\nHost: b\r\n", "Host:\r\n"] {
        let text = format!("GET /healthz HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        let reply = telson_tests::support::http::raw(rig.address(), text.as_bytes());
        assert!(reply.status < 500, "{lines:?}: {reply:?}");
    }
    rig.finish();
}

#[test]
fn s_20_a_page_of_another_site_sends_no_requests_in_the_users_name() {
    let rig = Rig::new();
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1.evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        for (method, path) in ROUTES.iter().filter(|(method, _)| *method != "GET") {
            let reply = rig.authorised(method, path, &[(name, value)], "{}");
            assert_eq!(reply.status, 403, "{name}: {value}: {method} {path}: {reply:?}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
    }
    rig.lives();
}

#[test]
fn s_20_no_cookie_opens_anything_and_a_get_changes_nothing() {
    let rig = Rig::new();
    let mut client = rig.enter(&Ask::shared(Dialect::V3));
    let before = client.ask("sessions.list", &json!({}));
    for (method, path) in ROUTES {
        for cookie in ["token", "session", "auth", "openclaw", "telson"] {
            let reply = rig.http(method, path, &[("Cookie", &format!("{cookie}={TOKEN}"))], "{}");
            assert_eq!(reply.status, 401, "{cookie}: {method} {path}");
            assert_eq!(reply.header("set-cookie"), None);
        }
        let got = rig.authorised("GET", path, &[], "");
        assert!(got.status < 500, "{got:?}");
        assert_eq!(got.header("set-cookie"), None);
    }
    let after = client.ask("sessions.list", &json!({}));
    assert_eq!(before["sessions"], after["sessions"], "nothing has changed");
}

/// Everything that connections to a port on this host have said.
struct Ear {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Ear {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = listener.local_addr().expect("an address").to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut bytes = [0; 4_096];
                let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(1)));
                shared.lock().expect("nobody panics").extend_from_slice(b"(a connection)");
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    shared.lock().expect("nobody panics").extend_from_slice(&bytes[..length]);
                }
            }
        });
        Self { url, heard }
    }
}

#[test]
fn s_22_no_parameter_sends_the_gateways_secret_anywhere() {
    let rig = Rig::new();
    let ear = Ear::open();
    let http = format!("http://{}/v1", ear.url);
    let ws = format!("ws://{}", ear.url);
    let mut client = rig.enter(&Ask::shared(Dialect::V3));
    let mut modern = rig.enter(&Ask::shared(Dialect::V4));
    for method in METHODS {
        let params = json!({
            "gatewayUrl": ws, "url": http, "baseUrl": http, "endpoint": http, "target": ws, "remote": {"url": ws},
            "webhook": http, "avatar": http, "image": http, "cdpUrl": ws, "sessionKey": "main", "message": "hi",
            "idempotencyKey": method.name, "text": "x", "model": "echo/echo", "attachments": [{"url": http}],
        });
        // Ten refusals for the role in a row end a connection.
        for client in [&mut client, &mut modern] {
            let _ = client.call("health", &json!({}));
            let _: Result<Value, Value> = Client::call(client, method.name, &params);
            // Only the known members, too: a strict method refuses the rest.
            let _ = client.call(method.name, &json!({"gatewayUrl": ws, "url": http}));
        }
    }
    let picture = json!({"model": "openclaw", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": http}},
    ]}]});
    let file = json!({"model": "openclaw", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": http}, {"type": "input_file", "file_url": http},
    ]}]});
    rig.authorised("POST", "/v1/chat/completions", &[], &picture.to_string());
    rig.authorised("POST", "/v1/responses", &[], &file.to_string());
    rig.authorised(
        "POST",
        "/tools/invoke",
        &[],
        &json!({"tool": "web_fetch", "args": {"url": http}}).to_string(),
    );
    let headers = [("x-openclaw-gateway-url", ws.as_str())];
    rig.authorised("GET", "/v1/models", &headers, "");
    rig.finish();
    let heard = ear.heard.lock().expect("nobody panics");
    assert_eq!(String::from_utf8_lossy(&heard), "", "a port of this host has heard of it");
}

#[test]
fn s_23_a_secret_in_a_url_opens_nothing_and_is_not_written_down() {
    let trace = json!({"logging": {"level": "trace", "consoleLevel": "trace"}});
    let rig = Rig::with(telson_tests::support::binary::Binary::Telson, &trace);
    let home = rig.home();
    for name in ["token", "password", "auth", "access_token", "key", "gatewayToken"] {
        for (method, path) in ROUTES {
            let reply = rig.http(method, &format!("{path}?{name}={TOKEN}"), &[], "{}");
            assert!(matches!(reply.status, 400 | 401), "{name}: {method} {path}: {reply:?}");
            assert!(!reply.body.contains(TOKEN) && !reply.head.contains(TOKEN), "{reply:?}");
        }
        let path = format!("/?{name}={TOKEN}");
        for dialect in Dialect::ALL {
            let outcome = rig.try_enter(&Ask { path: &path, ..Ask::nobody(dialect) });
            assert!(matches!(outcome.err(), Some(Refused::Upgrade(_) | Refused::Connect { .. })), "{name}");
        }
    }
    let answer = rig.authorised("GET", "/v1/models", &[], "");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let log = rig.finish();
    assert!(!log.contains(TOKEN), "the console has it");
    let found = super::rig::files_with(&home.state().join("logs"), TOKEN);
    assert!(found.is_empty(), "{found:?}");
}
