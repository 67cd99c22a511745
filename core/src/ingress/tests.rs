#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::http::HttpResponse;
use crate::settings::{AuthMode, Settings};

const HERE: [u8; 4] = [127, 0, 0, 1];
const AWAY: [u8; 4] = [192, 168, 1, 9];
const PROXY: [u8; 4] = [10, 0, 0, 2];

fn walls(trusted: &[&str], change: impl FnOnce(&mut Settings)) -> Walls {
    let mut settings = Settings::plain(AuthMode::None);
    settings.auth.ingress.trusted_proxies = trusted.iter().filter_map(|text| network(text)).collect();
    change(&mut settings);
    Walls::new(Arc::new(Rules::of(&settings)))
}

fn head(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// An upgrade as an adapter sees it.
fn peer(addr: [u8; 4], lines: &[(&str, &str)]) -> Peer {
    let head = head(lines);
    let peer = Peer::seen(IpAddr::from(addr), Listener::Main, &head);
    Peer { trail: Trail::new(head), ..peer }
}

fn attributed(walls: &Walls, mut peer: Peer) -> Peer {
    walls.attribute(&mut peer);
    peer
}

/// Headers that only proxies add, one at a time.
const MARKS: [(&str, &str); 12] = [
    ("forwarded", "for=203.0.113.9"),
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-host", "localhost"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-real-ip", "203.0.113.9"),
    ("via", "1.1 proxy"),
    ("cf-connecting-ip", "203.0.113.9"),
    ("cf-ray", "1"),
    ("true-client-ip", "203.0.113.9"),
    ("tailscale-user-login", "a@example"),
    ("tailscale-funnel-request", "?1"),
];

#[test]
fn whoever_leaves_a_proxys_mark_is_never_local_and_untrusted_ones_are_attributed_to_nobody() {
    let strict = walls(&[], |_| {});
    for addr in [HERE, AWAY] {
        assert!(!matches!(attributed(&strict, peer(addr, &[])).kind, Kind::Unattributable(_)));
        for mark in MARKS {
            let peer = attributed(&strict, peer(addr, &[mark]));
            assert_eq!(peer.kind, Kind::Unattributable(Fault::Untrusted), "{mark:?}");
            assert!(!peer.is_direct_local(), "{mark:?}");
            assert_eq!(peer.addr, IpAddr::from(addr), "{mark:?}");
        }
    }
    let trusting = walls(&["127.0.0.1"], |_| {});
    for mark in MARKS {
        let peer = attributed(&trusting, peer(HERE, &[mark]));
        assert!(!peer.is_direct_local(), "{mark:?}");
        let named = mark.0 == "x-forwarded-for";
        assert_eq!(peer.kind == Kind::TrustedProxy, named, "{mark:?}: {:?}", peer.kind);
    }
}

#[test]
fn trust_in_a_proxy_does_not_make_its_host_remote() {
    let walls = walls(&["127.0.0.1", "::1", "10.0.0.0/8"], |_| {});
    assert_eq!(attributed(&walls, peer(HERE, &[])).kind, Kind::DirectLocal);
    assert_eq!(attributed(&walls, peer(PROXY, &[])).kind, Kind::DirectRemote);
}

#[test]
fn a_trusted_proxy_names_the_client_its_host_and_its_scheme() {
    let walls = walls(&["10.0.0.2"], |_| {});
    let peer = attributed(
        &walls,
        peer(
            PROXY,
            &[
                ("host", "upstream:18789"),
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-for", "203.0.113.9:4711"),
                ("x-forwarded-host", "evil.example, chat.example"),
                ("x-forwarded-proto", "http, https"),
            ],
        ),
    );
    assert_eq!((peer.kind, peer.addr), (Kind::TrustedProxy, IpAddr::from([203, 0, 113, 9])));
    assert_eq!(peer.host.as_deref(), Some("chat.example"));
    assert!(peer.secure);
    assert_eq!(peer.socket, IpAddr::from(PROXY));
}

#[test]
fn a_real_ip_counts_only_where_the_operator_says_so_and_beside_no_list() {
    let real = [("x-real-ip", "203.0.113.9")];
    let strict = walls(&["10.0.0.2"], |_| {});
    assert_eq!(attributed(&strict, peer(PROXY, &real)).kind, Kind::Unattributable(Fault::Unnamed));
    let lenient = walls(&["10.0.0.2"], |settings| settings.auth.ingress.allow_real_ip = true);
    let addr = |lines: &[(&str, &str)]| attributed(&lenient, peer(PROXY, lines)).addr.to_string();
    assert_eq!(addr(&real), "203.0.113.9");
    assert_eq!(addr(&[real[0], ("x-forwarded-for", "203.0.113.7")]), "203.0.113.7");
    for lines in [
        &[("x-real-ip", "127.0.0.1")][..],
        &[("x-real-ip", "::")],
        &[real[0], real[0]],
        &[real[0], ("x-forwarded-for", "127.0.0.1")],
    ] {
        let kind = attributed(&lenient, peer(PROXY, lines)).kind;
        assert!(matches!(kind, Kind::Unattributable(_)), "{lines:?}: {kind:?}");
    }
}

#[test]
fn the_tailnets_port_takes_only_what_its_proxy_sends() {
    let walls = walls(&["127.0.0.1"], |_| {});
    let whole = [
        ("x-forwarded-for", "100.64.0.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "box.tail1.ts.net"),
        ("tailscale-user-login", "ada@example.com"),
    ];
    let at = |addr: [u8; 4], lines: &[(&str, &str)]| {
        attributed(&walls, Peer { listener: Listener::Tailnet, ..peer(addr, lines) })
    };
    let served = at(HERE, &whole);
    assert_eq!((served.kind, served.addr.to_string()), (Kind::TailscaleServe, "100.64.0.7".to_owned()));
    assert_eq!(served.trail.single("tailscale-user-login"), Some("ada@example.com"));
    let funnel: Vec<_> = whole.into_iter().chain([("tailscale-funnel-request", "?1")]).collect();
    assert_eq!(at(HERE, &funnel).kind, Kind::TailscaleFunnel);
    for lacking in 0..3 {
        let lines: Vec<_> = whole.into_iter().enumerate().filter(|(n, _)| *n != lacking).collect();
        let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        assert_eq!(at(HERE, &lines).kind, Kind::Unattributable(Fault::NotTailnet));
    }
    assert_eq!(at(HERE, &[]).kind, Kind::Unattributable(Fault::NotTailnet));
    assert_eq!(at(AWAY, &whole).kind, Kind::Unattributable(Fault::NotTailnet));
    let main = attributed(&walls, peer(HERE, &whole));
    assert_eq!(main.kind, Kind::TrustedProxy, "on the gateway's own port it is a proxy like any other");
    assert!(!main.trail.has("tailscale-user-login"));
}

/// Every origin of the table against every host, from here, from away and through a trusted proxy (08 S-18).
#[test]
fn an_upgrade_from_a_page_that_does_not_belong_here_is_refused_whatever_else_it_says() {
    let walls = walls(&["10.0.0.2"], |settings| {
        settings.auth.allowed_origins = vec!["https://chat.example".to_owned()];
    });
    let foreign = [
        "https://evil.example",
        "http://evil.example:18789",
        "null",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example:18789",
        "http://localhost.:18789",
        "https://chat.example.",
        "https://chat.example.evil.example",
        "https://chat.example:8443",
        "http://chat.example",
        "https://chät.example",
        "file://",
        "file:///etc/passwd",
        "data:text/html,x",
        "chrome-extension://abcdef",
        "http://user@localhost:18789",
        "http://localhost:18789/path",
        "http://localhost:18789, http://localhost:18789",
        "http://[::1",
        "http://0.0.0.0:18789",
        "http://2130706433:18789",
    ];
    let hosts = ["localhost:18789", "127.0.0.1:18789", "[::1]:18789", "192.168.1.2:18789", "chat.example"];
    for origin in foreign {
        for host in hosts {
            for (addr, mark) in [
                (HERE, None),
                (AWAY, None),
                (PROXY, Some(("x-forwarded-for", "203.0.113.9"))),
                (PROXY, Some(("x-forwarded-for", "192.168.1.9"))),
            ] {
                let lines: Vec<_> = [("host", host), ("origin", origin)].into_iter().chain(mark).collect();
                let stop = walls.admit_upgrade(&mut peer(addr, &lines)).unwrap_err();
                assert_eq!(stop.response().status, 403, "{origin} at {host} from {addr:?}: {stop:?}");
            }
        }
    }
    for (addr, host, origin) in [
        (HERE, "localhost:18789", "http://localhost:18789"),
        (HERE, "127.0.0.1:18789", "http://LOCALHOST:5173"),
        (AWAY, "192.168.1.2:18789", "http://192.168.1.2:18789"),
        (AWAY, "box.local:18789", "http://box.local:18789"),
        (HERE, "localhost:18789", "https://Chat.Example:443"),
        (AWAY, "192.168.1.2:18789", "https://chat.example"),
    ] {
        let lines = [("host", host), ("origin", origin)];
        assert_eq!(walls.admit_upgrade(&mut peer(addr, &lines)), Ok(()), "{origin} at {host}");
    }
}

#[test]
fn a_page_of_another_site_is_refused_by_what_its_browser_says() {
    let walls = walls(&[], |settings| {
        settings.auth.allowed_origins = vec!["https://chat.example".to_owned()];
    });
    let from = |lines: &[(&str, &str)]| walls.admit_upgrade(&mut peer(HERE, lines));
    let here = ("host", "localhost:18789");
    assert_eq!(from(&[here, ("sec-fetch-site", "Cross-Site")]), Err(Stop::CrossSite));
    let own = ("origin", "http://localhost:18789");
    assert_eq!(from(&[here, own, ("sec-fetch-site", "cross-site")]), Err(Stop::CrossSite));
    assert_eq!(from(&[here, own, ("sec-fetch-site", "same-origin")]), Ok(()));
    let listed = ("origin", "https://chat.example");
    assert_eq!(from(&[here, listed, ("sec-fetch-site", "cross-site")]), Ok(()), "the operator lists it");
}

#[test]
fn the_forwarded_host_counts_from_trusted_proxies_only() {
    let walls = walls(&["10.0.0.2"], |_| {});
    let lines = [
        ("host", "upstream"),
        ("x-forwarded-for", "192.168.1.9"),
        ("x-forwarded-host", "box.local"),
        ("origin", "https://box.local"),
    ];
    assert_eq!(walls.admit_upgrade(&mut peer(PROXY, &lines)), Ok(()));
    assert!(walls.admit_upgrade(&mut peer(AWAY, &lines)).is_err());
}

#[test]
fn a_secret_in_the_url_of_an_upgrade_is_refused_and_the_query_forgotten() {
    let walls = walls(&[], |_| {});
    let with = |query: &str| Peer { query: Some(query.to_owned()), ..peer(HERE, &[]) };
    assert_eq!(walls.admit_upgrade(&mut with("token=abc")), Err(Stop::SecretInUrl));
    let mut plain = with("x=1");
    assert_eq!(walls.admit_upgrade(&mut plain), Ok(()));
    assert_eq!(plain.query, None);
}

fn request(method: &str, lines: &[(&str, &str)]) -> HttpRequest {
    let head = head(lines);
    HttpRequest {
        peer: Peer::seen(IpAddr::from(HERE), Listener::Main, &head),
        method: method.to_owned(),
        path: "/tools/invoke".to_owned(),
        query: None,
        authorization: None,
        headers: head,
        content_length: None,
        wants_websocket: false,
    }
}

#[test]
fn what_a_form_or_image_of_another_page_can_send_changes_nothing() {
    let walls = walls(&[], |_| {});
    let sent = |method: &str, lines: &[(&str, &str)]| walls.admit_request(&mut request(method, lines));
    let here = ("host", "localhost:18789");
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        for (lines, why) in [
            (vec![here, ("origin", "https://evil.example")], "origin"),
            (vec![here, ("origin", "null")], "no origin to speak of"),
            (vec![here, ("referer", "https://evil.example/page?x")], "referer"),
            (vec![here, ("sec-fetch-site", "cross-site")], "fetch metadata"),
            (vec![here, ("content-type", "text/plain;charset=UTF-8")], "text"),
            (vec![here, ("content-type", "multipart/form-data; boundary=x")], "a form with files"),
            (vec![here, ("content-type", "application/x-www-form-urlencoded")], "a form"),
        ] {
            let stop = sent(method, &lines).unwrap_err();
            assert_eq!(stop.response().status, 403, "{method} {why}");
        }
        assert_eq!(sent(method, &[here]), Ok(()));
        assert_eq!(sent(method, &[here, ("content-type", "application/json")]), Ok(()));
        assert_eq!(sent(method, &[here, ("referer", "http://localhost:18789/chat")]), Ok(()));
    }
    let mut curl = request("POST", &[here, ("content-type", "application/x-www-form-urlencoded")]);
    curl.authorization = Some("Bearer t".to_owned());
    assert_eq!(walls.admit_request(&mut curl), Ok(()), "what command lines send by default");
}

#[test]
fn every_refusal_says_what_is_wrong_as_json_with_the_safe_headers() {
    for stop in [
        Stop::Target,
        Stop::SecretInUrl,
        Stop::BadHost,
        Stop::ForeignHost("x".to_owned()),
        Stop::Unattributable(Fault::Untrusted),
        Stop::ForeignPage("x".to_owned()),
        Stop::CrossSite,
        Stop::Form,
    ] {
        let response = stop.response();
        let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(body["error"]["type"], stop.word());
        for (name, value) in answer::SAFE {
            assert!(response.headers.contains(&(name, value.to_owned())), "{stop:?}: {name}");
        }
    }
}

#[test]
fn browsers_are_told_to_come_by_tls_only_over_tls() {
    let walls = walls(&[], |settings| {
        settings.auth.ingress.strict_transport = Some("max-age=600".to_owned());
    });
    let sent = |secure| {
        let response = answer::dress(walls.rules(), HttpResponse::text(200, ""), secure);
        response.headers.iter().any(|(name, _)| *name == "strict-transport-security")
    };
    assert!(sent(true) && !sent(false));
}

proptest! {
    /// Whatever a head says, loopback is local only without any mark of a proxy, and an address from a header is
    /// never loopback, unspecified or a proxy's.
    #[test]
    fn no_head_makes_a_stranger_local(
        addr in prop_oneof![Just(HERE), Just(AWAY), Just(PROXY)],
        lines in proptest::collection::vec(
            (0..MARKS.len(), prop_oneof![
                Just("127.0.0.1".to_owned()), Just("::1".to_owned()), Just("10.0.0.2".to_owned()),
                Just("203.0.113.9".to_owned()), Just("unknown".to_owned()), ".{0,30}",
            ]), 0..5),
        real in any::<bool>(),
    ) {
        let walls = walls(&["10.0.0.2", "127.0.0.1"], |settings| settings.auth.ingress.allow_real_ip = real);
        let lines: Vec<(&str, &str)> =
            lines.iter().map(|(mark, value)| (MARKS[*mark].0, value.as_str())).collect();
        let peer = attributed(&walls, peer(addr, &lines));
        prop_assert_eq!(peer.is_direct_local(), addr == HERE && lines.is_empty());
        if peer.kind == Kind::TrustedProxy {
            prop_assert!(!peer.addr.is_loopback() && !peer.addr.is_unspecified());
            prop_assert_ne!(peer.addr, IpAddr::from(PROXY));
            prop_assert_ne!(addr, AWAY);
        }
    }
}
