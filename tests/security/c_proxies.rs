//! Part C: proxies, locality and helpers (S-25, S-29 to S-31).

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use telson_core::peer::is_loopback_name;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home};

use super::h_http::ROUTES;
use super::rig::{Ask, Refused, Rig, TOKEN, powers};

/// Headers that a proxy adds, in some of their spellings.
const PROXIES: [(&str, &str); 14] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("X-FORWARDED-FOR", "8.8.8.8"),
    ("x-forwarded-for", ""),
    ("x-forwarded-host", "localhost"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-real-ip", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1"),
    ("Forwarded", "for=\"[::1]\""),
    ("via", "1.1 proxy"),
    ("cf-connecting-ip", "127.0.0.1"),
    ("tailscale-user-login", "owner@example.com"),
    ("tailscale-user-name", "Owner"),
    ("tailscale-headers-info", "x"),
];

#[test]
fn s_25_this_host_without_a_secret_gets_nothing_and_a_proxy_is_not_this_host() {
    let rig = Rig::new();
    for dialect in Dialect::ALL {
        assert!(rig.try_enter(&Ask::nobody(dialect)).is_err(), "{dialect:?}: no headers, no secret");
        for (name, value) in PROXIES {
            let headers = vec![(name, value)];
            for token in [None, Some(TOKEN)] {
                let ask = Ask { headers: headers.clone(), token, ..Ask::nobody(dialect) };
                let refused = rig.try_enter(&ask).err();
                assert!(matches!(refused, Some(Refused::Upgrade(403))), "{name}: {value}: {refused:?}");
            }
        }
    }
    for (name, value) in PROXIES {
        for (method, path) in ROUTES {
            let reply = rig.authorised(method, path, &[(name, value)], "{}");
            assert_eq!(reply.status, 403, "{name}: {value}: {method} {path}: {reply:?}");
        }
    }
    // Mode `none` is for this host alone.
    let open = Rig::with(Binary::Telson, &json!({"gateway": {"auth": {"mode": "none"}}}));
    for (name, value) in PROXIES {
        let ask = Ask { headers: vec![(name, value)], ..Ask::nobody(Dialect::V3) };
        assert!(open.try_enter(&ask).is_err(), "{name}");
        for (method, path) in ROUTES {
            assert_eq!(
                open.http(method, path, &[(name, value)], "{}").status,
                403,
                "{name}: {method} {path}"
            );
        }
    }
}

#[test]
fn s_29_no_program_is_found_by_a_search_path_that_somebody_else_has_set() {
    let home = std::sync::Arc::new(Home::new(Binary::Telson));
    let evil = home.path("evil");
    let mark = home.path("mark");
    std::fs::create_dir_all(&evil).expect("a folder");
    for name in [
        "tailscale",
        "ssh",
        "sh",
        "bash",
        "git",
        "ip",
        "hostname",
        "uname",
        "systemctl",
        "launchctl",
        "openssl",
        "avahi-browse",
        "dns-sd",
        "getent",
        "id",
        "env",
        "node",
        "python3",
        "xdg-open",
        "curl",
    ] {
        let file = evil.join(name);
        std::fs::write(&file, format!("#!/bin/sh\necho {name} >>{}\n", mark.display())).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let path = format!("{}:{}", evil.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = home.command(&["gateway", "run", "--port", "0"]);
    command.env("PATH", &path);
    let gateway = Gateway::spawn(&home, command);
    for arguments in [
        &["status"][..],
        &["token", "show"],
        &["sessions", "list"],
        &["models", "list"],
        &["devices", "list"],
        &["config", "validate"],
        &["health"],
    ] {
        telson_tests::support::command::Outcome::of(home.command(arguments).env("PATH", &path));
    }
    drop(gateway);
    let ran = std::fs::read_to_string(&mark).unwrap_or_default();
    assert_eq!(ran, "", "programs of the search path have run");
}

#[test]
fn s_30_the_command_line_sends_no_secret_in_the_clear_to_others() {
    let home = Home::new(Binary::Telson);
    for url in [
        "ws://8.8.8.8:1",
        "ws://example.org",
        "ws://127.evil.example",
        "ws://localhost.evil.example",
        "ws://127.0.0.1.evil.example:80",
        "http://127.0.0.1",
        "ws://[2001:db8::1]",
        "ws://u:p@127.0.0.1",
    ] {
        let outcome = home.run(&["status", "--url", url, "--token", TOKEN]);
        assert_eq!(outcome.code, Some(2), "{url}: {outcome:?}");
        assert!(!outcome.stderr.contains(TOKEN), "{outcome:?}");
    }
}

#[test]
fn s_31_only_whole_names_and_parsed_addresses_are_this_host() {
    let here = [
        "localhost",
        "LocalHost",
        "127.0.0.1",
        "127.1.2.3",
        "127.255.255.254",
        "::1",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "::FFFF:7f00:1",
    ];
    for name in here {
        assert!(is_loopback_name(name), "{name}");
    }
    let elsewhere = [
        "",
        " ",
        "localhost ",
        " localhost",
        "localhost.",
        "localhost\0",
        "localhost.evil.example",
        "localhost.localdomain",
        "evil.localhost",
        "localhost:80",
        "[::1]",
        "[localhost]",
        "127.",
        "127",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "127.0.0.1 ",
        "127.0.0.1:80",
        "127.0.0.1.evil.example",
        "127.evil.example",
        "127.0.0.1%00",
        "127.0.0.1/8",
        "0127.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127.0.0.01",
        "127.0.0.1\n",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "\u{ff11}27.0.0.1",
        "0",
        "0.0.0.0",
        "::",
        "::0",
        "::ffff:0:0",
        "::ffff:0.0.0.0",
        "[::ffff:0:0]",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "fe80::1",
        "fe80::1%lo",
        "::1%lo",
        "::2",
        "ip6-localhost",
        "loopback",
        "localhost6",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "128.0.0.1",
        "1.0.0.127",
        "lоcalhost",
        "localhost\u{200b}",
        "l\u{043e}calhost",
        "local host",
        "user@localhost",
        "localhost,evil",
        "*",
    ];
    for name in elsewhere {
        assert!(!is_loopback_name(name), "{name:?}");
    }
}

/// A gateway that takes the users of a proxy on this host.
fn behind_a_proxy() -> Rig {
    let gateway = json!({"gateway": {
        "trustedProxies": ["127.0.0.1"],
        "auth": {
            "mode": "trusted-proxy", "token": null,
            "identityScopes": {"reader": ["operator.read"]},
            "trustedProxy": {
                "userHeader": "x-user", "allowLoopback": true,
                "secretHeader": {"name": "x-proxy-key", "value": PROXY_KEY},
            },
        },
    }});
    Rig::with(Binary::Telson, &gateway)
}

const PROXY_KEY: &str = "what-the-proxy-proves-itself-by-0123456789";

#[test]
fn s_05_a_proxys_user_gets_what_its_name_may_and_nothing_that_it_asks_for() {
    let rig = behind_a_proxy();
    let host = format!("{}", rig.address());
    let origin = format!("http://{host}");
    let proxied = |user: &'static str, page: bool| {
        let mut headers =
            vec![("x-forwarded-for", "203.0.113.9"), ("x-user", user), ("x-proxy-key", PROXY_KEY)];
        if page {
            headers.push(("origin", origin.as_str()));
        }
        headers
    };
    let mut inside = 0;
    for dialect in Dialect::ALL {
        for (n, (id, mode)) in (0..).zip(super::a_connect::CALLED) {
            let device = Device::new(n);
            for user in ["reader", "somebody-new"] {
                for device in [None, Some(&device)] {
                    for page in [false, true] {
                        let headers = proxied(user, page);
                        let ask = Ask { id, mode, device, headers, ..Ask::nobody(dialect) };
                        let Ok(mut client) = rig.try_enter(&ask) else { continue };
                        inside += 1;
                        let powers = powers(&mut client);
                        assert!(powers.is_subset(&["read"].into()), "{dialect:?} {id}/{mode}: {powers:?}");
                        // And the second time, when it could have been remembered.
                        assert!(super::rig::powers(&mut client).is_subset(&["read"].into()));
                    }
                }
            }
        }
    }
    assert!(inside > 0, "the users of the proxy are let in");
    // A node needs its own device behind a proxy too.
    let headers = proxied("reader", false);
    for dialect in [Dialect::V3, Dialect::V4] {
        let ask = Ask {
            role: "node",
            id: "node-host",
            mode: "node",
            headers: headers.clone(),
            ..Ask::nobody(dialect)
        };
        assert!(rig.try_enter(&ask).is_err(), "{dialect:?}");
    }
    // Over HTTP a user is no more than over a socket.
    let lines = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-User", "reader"),
        ("X-Proxy-Key", PROXY_KEY),
        ("X-Openclaw-Scopes", "operator.admin"),
    ];
    for (method, path) in ROUTES.iter().filter(|(method, _)| *method == "POST") {
        let reply = rig.http(method, path, &lines, "{}");
        assert!(matches!(reply.status, 401 | 403), "{method} {path}: {reply:?}");
    }
    rig.finish();
}

#[test]
fn s_27_who_speaks_like_the_proxy_and_cannot_prove_it_is_nobody() {
    let rig = behind_a_proxy();
    let forgeries: [&[(&str, &str)]; 8] = [
        &[("x-user", "reader")],
        &[("x-forwarded-for", "203.0.113.9"), ("x-user", "reader")],
        &[("x-forwarded-for", "203.0.113.9"), ("x-user", "reader"), ("x-proxy-key", "")],
        &[("x-forwarded-for", "203.0.113.9"), ("x-user", "reader"), ("x-proxy-key", "wrong")],
        &[("x-forwarded-for", "127.0.0.1"), ("x-user", "reader"), ("x-proxy-key", PROXY_KEY)],
        &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-user", "admin"), ("x-proxy-key", PROXY_KEY)],
        &[("x-forwarded-for", "203.0.113.9"), ("x-user", " "), ("x-proxy-key", PROXY_KEY)],
        &[("x-forwarded-for", "203.0.113.9"), ("remote-user", "admin"), ("x-remote-user", "admin")],
    ];
    for headers in forgeries {
        for dialect in Dialect::ALL {
            let device = Device::new(9);
            for device in [None, Some(&device)] {
                let ask = Ask { device, headers: headers.to_vec(), ..Ask::nobody(dialect) };
                assert!(rig.try_enter(&ask).is_err(), "{headers:?} on {dialect:?}");
            }
        }
        for (method, path) in ROUTES {
            let reply = rig.http(method, path, headers, "{}");
            assert!(matches!(reply.status, 401 | 403), "{headers:?}: {method} {path}: {reply:?}");
        }
    }
    rig.finish();
}

#[test]
fn s_26_what_a_client_writes_before_its_proxy_moves_nothing() {
    let rules = json!({"gateway": {"trustedProxies": ["127.0.0.1"],
        "auth": {"rateLimit": {"exemptLoopback": false, "maxAttempts": 10}}}});
    let rig = Rig::with(Binary::Telson, &rules);
    let knock = |chain: &str, token: &str| {
        let reply = rig.http(
            "GET",
            "/v1/models",
            &[("X-Forwarded-For", chain), ("Authorization", &format!("Bearer {token}"))],
            "",
        );
        reply.status
    };
    // Ten guesses, each under another made-up beginning, are one client's.
    let spoofs = [
        "",
        "1.2.3.4, ",
        "127.0.0.1, ",
        "unknown, ",
        "::1, ",
        "_hidden, ",
        "1.2.3.4, 5.6.7.8, ",
        "[2001:db8::1]:80, ",
        "203.0.113.77, ",
        "10.0.0.1, ",
    ];
    for spoof in spoofs {
        assert_eq!(knock(&format!("{spoof}203.0.113.9"), "wrong-wrong-wrong"), 401, "{spoof}");
    }
    for chain in ["203.0.113.9", "8.8.8.8, 203.0.113.9", "203.0.113.9, 127.0.0.1", "::ffff:203.0.113.9"] {
        assert_eq!(knock(chain, TOKEN), 429, "{chain} is the same client");
    }
    assert_eq!(knock("203.0.113.10", TOKEN), 200, "its neighbour is not");
    assert_eq!(knock("203.0.113.9, 203.0.113.10", TOKEN), 200, "the right-most counts");
    for nobody in ["127.0.0.1", "::1", "0.0.0.0", "unknown", "", "127.0.0.1, ::1"] {
        assert_eq!(knock(nobody, TOKEN), 403, "{nobody:?} names nobody");
    }
    let long = format!("{}203.0.113.10", "9.9.9.9, ".repeat(1_200));
    assert!(matches!(knock(&long, TOKEN), 200 | 400 | 403 | 431));
    rig.finish();
}
