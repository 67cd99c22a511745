#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;

use super::tests::{STRONG, only, read};
use super::*;

#[test]
fn a_file_that_asks_for_tls_gets_it_and_nothing_else_does() {
    let plan = read("{gateway: {tls: {enabled: true, certPath: '~/c.pem'}}}").unwrap().tls.unwrap();
    assert_eq!((plan.cert.as_deref(), plan.key, plan.generate), (Some("~/c.pem"), None, true));
    for off in ["{gateway: {tls: {enabled: false, certPath: '/c.pem'}}}", "{}"] {
        assert_eq!(read(off).unwrap().tls, None);
    }
    let issue = only(read("{gateway: {tls: {enabled: 'yes'}}}").unwrap_err());
    assert_eq!(issue.path, "gateway.tls.enabled", "what is no flag is never taken for false");
}

#[test]
fn a_bind_mode_is_a_list_of_addresses_that_must_all_work() {
    let at = |text: &str, surroundings: &Surroundings| -> Vec<String> {
        let text = format!("{{gateway: {{port: 7, auth: {{token: '{STRONG}'}}, {text}}}}}");
        let loaded = load(Some(&text), &Environment::default(), &Flags::default(), surroundings).unwrap();
        loaded.listen.iter().map(ToString::to_string).collect()
    };
    let plain = Surroundings::default();
    let loopback = ["127.0.0.1:7", "[::1]:7"];
    assert_eq!(at("", &plain), loopback);
    assert_eq!(at("bind: 'auto'", &plain), loopback);
    assert_eq!(at("bind: 'lan'", &plain), ["0.0.0.0:7"]);
    assert_eq!(at("bind: 'lan', bindIpv6: true", &plain), ["0.0.0.0:7", "[::]:7"]);
    let inside = Surroundings { container: true, ..plain };
    assert_eq!(at("bind: 'auto'", &inside), ["0.0.0.0:7"]);
    assert_eq!(at("bind: 'loopback', bindIpv6: true", &inside), loopback, "never wider than asked");
    let tailnet = Surroundings { tailnet: Some(Ipv4Addr::new(100, 64, 1, 2)), ..plain };
    assert_eq!(at("bind: 'tailnet'", &tailnet), ["100.64.1.2:7", "127.0.0.1:7", "[::1]:7"]);
    assert_eq!(at("bind: 'tailnet'", &plain), loopback, "without a tailnet, this machine only");
    let custom = |host: &str| at(&format!("bind: 'custom', customBindHost: '{host}'"), &plain);
    assert_eq!(custom("10.1.2.3"), ["10.1.2.3:7", "127.0.0.1:7", "[::1]:7"]);
    assert_eq!(custom("127.0.0.1"), loopback);
    assert_eq!(custom("0.0.0.0"), ["0.0.0.0:7"]);
    for host in ["010.1.2.3", "10.1.2", "box", "::1", "10.1.2.3 "] {
        let text =
            format!("{{gateway: {{bind: 'custom', customBindHost: '{host}', auth: {{token: '{STRONG}'}}}}}}");
        assert!(read(&text).is_err(), "{host}");
    }
}

#[test]
fn secrets_in_the_clear_are_warned_of_where_others_listen() {
    let warned = |more: &str| {
        let text = format!("{{gateway: {{auth: {{token: '{STRONG}'}}, {more}}}}}");
        read(&text).unwrap().warnings.iter().any(|warning| warning.message.contains("in the clear"))
    };
    assert!(warned("bind: 'lan'"));
    assert!(!warned("bind: 'lan', tls: {enabled: true}"));
    assert!(!warned("bind: 'loopback'"));
}

#[test]
fn the_other_gateway_is_read_and_its_secrets_are_known_to_the_log() {
    let text = "{gateway: {mode: 'remote', remote: {url: 'wss://box:1', token: 'their-token-1234', tlsFingerprint: 'FP'}}}";
    let issue = only(read(text).unwrap_err());
    assert_eq!(issue.path, "gateway.remote.tlsFingerprint");
    let loaded = read(&text.replace("FP", &format!("SHA-256 {}", "0F:".repeat(32)))).unwrap();
    assert!(loaded.remote);
    assert_eq!(loaded.remote_gateway.url.as_deref(), Some("wss://box:1"));
    assert!(loaded.secrets().any(|secret| secret == "their-token-1234"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let issue = only(read("{gateway: {remote: {url: 'https://box'}}}").unwrap_err());
    assert_eq!(issue.path, "gateway.remote.url");
}
