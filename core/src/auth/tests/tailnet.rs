//! Users for whom the tailnet vouches (spec 01 §3.7, 05 §8.2, 08 S-02, S-28).

use std::time::Duration;

use serde_json::{Value, json};
use telson_proto::{Scope, Scopes};

use super::bench::{Bench, Client, Device, LOOPBACK, peer};
use crate::auth::Secret;
use crate::gateway;
use crate::http::HttpRequest;
use crate::ids::{ConnId, HttpId};
use crate::ingress::Trail;
use crate::joined::Input;
use crate::limits;
use crate::peer::{Listener, Peer};
use crate::process::ProcessEvent;
use crate::settings::{AuthMode, AuthSettings, Settings};
use crate::tailscale::{Exposure, TailscaleSettings};

const SECRET: &str = "the gateway's own secret";
const ADA: &str = "ada@example.com";

fn settings() -> Settings {
    let mut settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
    let program = Some("/usr/bin/tailscale".to_owned());
    settings.tailscale = TailscaleSettings { exposure: Exposure::Serve, program, required: false };
    settings.auth.allow_tailscale = true;
    settings
}

/// What the tailnet's proxy passes on from an address.
fn through(listener: Listener, address: &str, further: &[(&str, &str)]) -> Peer {
    let own = [
        ("host", "box.tail1.ts.net"),
        ("x-forwarded-for", address),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "box.tail1.ts.net"),
        ("origin", "https://box.tail1.ts.net"),
    ];
    let head = own.iter().chain(further).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let head: Vec<(String, String)> = head.collect();
    let peer = Peer::seen(LOOPBACK.into(), listener, &head);
    Peer { trail: Trail::new(head), ..peer }
}

fn user(login: &str) -> Peer {
    through(Listener::Tailnet, "100.64.0.7", &[("tailscale-user-login", login)])
}

fn client(device: &Device) -> Client {
    Client::v4().named("openclaw-control-ui", "ui").device(device).scopes(&["read", "write"])
}

/// Pairs a device on the gateway's host.
fn paired(bench: &mut Bench, device: &Device) {
    let here = client(device).named("cli", "cli").token(SECRET);
    bench.connect(&peer(LOOPBACK), &here).unwrap();
}

/// The tailnet answers the question about an address.
fn tells(bench: &mut Bench, address: &str, login: Option<&str>) {
    let args = ["whois", "--json", address];
    let place = bench.processes.iter().position(|(_, spec)| spec.args == args).expect("it is asked");
    let (id, _) = bench.processes.remove(place);
    let mut tell = |event| bench.handle(Input::Gateway(gateway::Input::Process { id, event }));
    if let Some(login) = login {
        tell(ProcessEvent::Stdout(json!({"UserProfile": {"LoginName": login}}).to_string()));
    }
    tell(ProcessEvent::Exited(format!("exit status: {}", i32::from(login.is_none()))));
}

fn whois(bench: &Bench) -> usize {
    bench.processes.iter().filter(|(_, spec)| spec.args[0] == "whois").count()
}

/// Connects and lets the tailnet answer.
fn comes(bench: &mut Bench, from: &Peer, client: &Client, owner: Option<&str>) -> (ConnId, Value) {
    let conn = bench.send_connect(from, client);
    assert_eq!(bench.answer(conn, "c"), None, "nobody is let in before the answer");
    tells(bench, "100.64.0.7", owner);
    (conn, bench.answer(conn, "c").expect("an answer"))
}

fn reason(answer: &Value) -> &Value {
    &answer["error"]["details"]["authReason"]
}

#[test]
fn the_tailnets_user_comes_in_with_a_device_that_was_approved() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    let (_, answer) = comes(&mut bench, &user(ADA), &client(&device), Some("Ada@Example.com"));
    assert_eq!(answer["error"]["details"]["code"], "PAIRING_REQUIRED", "{answer}");

    paired(&mut bench, &device);
    let hello = bench.connect(&user(ADA), &client(&device)).expect("the answer is still known");
    assert_eq!(hello["auth"]["method"], "tailscale");
    assert_eq!(hello["auth"]["scopes"], json!(["operator.read", "operator.write"]));
    let conns = &bench.machines().gateway().conns;
    let principal = conns.values().find(|principal| principal.user.is_some()).expect("a user");
    assert_eq!(principal.user.as_deref(), Some("Ada@Example.com"), "as the tailnet spells it");
    assert!(!principal.local);
    assert_eq!(principal.addr.to_string(), "100.64.0.7");
}

#[test]
fn a_name_that_the_tailnet_does_not_confirm_is_refused() {
    for (owner, expected) in [
        (Some("eve@example.com"), "tailscale_user_mismatch"),
        (Some("ada@example.com.evil"), "tailscale_user_mismatch"),
        (Some("tagged-devices"), "tailscale_whois_failed"),
        (None, "tailscale_whois_failed"),
    ] {
        let mut bench = Bench::new(settings());
        let device = Device::new(1);
        paired(&mut bench, &device);
        let (conn, answer) = comes(&mut bench, &user(ADA), &client(&device), owner);
        assert_eq!(reason(&answer), expected);
        assert_eq!(bench.close_of(conn).map(|(code, _)| code), Some(1008));
    }
}

#[test]
fn without_a_name_or_with_two_nobody_is_asked() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    paired(&mut bench, &device);
    let twice = [("tailscale-user-login", ADA), ("tailscale-user-login", "eve@example.com")];
    for lines in [&[][..], &[("tailscale-user-login", "  ")], &twice] {
        let refused = bench.connect(&through(Listener::Tailnet, "100.64.0.7", lines), &client(&device));
        assert_eq!(refused.unwrap_err().detail("authReason"), "tailscale_user_missing");
    }
    assert_eq!(whois(&bench), 0);
}

#[test]
fn without_a_device_a_name_lets_nobody_in() {
    for client in [
        Client::v3().scopes(&["read"]),
        Client::v4().scopes(&["read"]),
        Client::v4().named("openclaw-control-ui", "ui").scopes(&["read"]),
        Client::v4().named("gateway-client", "backend").scopes(&["read"]),
        Client::plain().scopes(&["read"]),
        Client::plain().with("role", "node"),
    ] {
        let mut bench = Bench::new(settings());
        let (_, answer) = comes(&mut bench, &user(ADA), &client, Some(ADA));
        assert_eq!(answer["ok"], false, "{client:?}");
        assert!(bench.machines().gateway().conns.is_empty());
    }
}

#[test]
fn a_secret_that_is_shown_is_judged_and_no_name_helps_it() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    paired(&mut bench, &device);
    for wrong in [client(&device).token("a guess"), client(&device).password("a guess")] {
        let refused = bench.connect(&user(ADA), &wrong).unwrap_err();
        assert_eq!(refused.detail("authReason"), "token_mismatch");
    }
    assert_eq!(bench.connect(&user(ADA), &client(&device).token(SECRET)).unwrap()["auth"]["method"], "token");
    assert_eq!(whois(&bench), 0);
}

#[test]
fn the_same_headers_elsewhere_help_nobody() {
    let funnel = [("tailscale-user-login", ADA), ("tailscale-funnel-request", "?1")];
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    paired(&mut bench, &device);
    let refused = bench.connect(&through(Listener::Tailnet, "100.64.0.7", &funnel), &client(&device));
    assert_eq!(refused.unwrap_err().detail("authReason"), "token_missing", "the internet has no names");

    let main = through(Listener::Main, "100.64.0.7", &[("tailscale-user-login", ADA)]);
    let conn = ConnId(9_000);
    bench.handle(Input::Switchboard(crate::switchboard::Input::Upgrade { conn, peer: main }));
    assert_eq!(bench.machines().switchboard().connections(), 1, "only the one that paired");
    let mut off = settings();
    off.auth.allow_tailscale = false;
    let mut bench = Bench::new(off);
    paired(&mut bench, &device);
    let refused = bench.connect(&user(ADA), &client(&device)).unwrap_err();
    assert_eq!(refused.detail("authReason"), "token_missing");
    assert_eq!(whois(&bench), 0);
}

#[test]
fn plain_http_never_takes_a_name() {
    let mut bench = Bench::new(settings());
    let peer = user(ADA);
    let headers = [("tailscale-user-login", ADA), ("x-forwarded-for", "100.64.0.7")];
    let request = HttpRequest {
        peer,
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        query: None,
        authorization: None,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        content_length: None,
        wants_websocket: false,
    };
    bench.handle(Input::Gateway(gateway::Input::Http { id: HttpId(1), request: Box::new(request) }));
    assert_eq!(whois(&bench), 0);
    assert_eq!(bench.machines().gateway().effects_under_way(), 0);
}

#[test]
fn one_question_is_asked_for_all_who_wait_and_its_answer_is_remembered_for_a_while() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    paired(&mut bench, &device);
    let first = bench.send_connect(&user(ADA), &client(&device));
    let second = bench.send_connect(&user("eve@example.com"), &client(&device));
    let gone = bench.send_connect(&user(ADA), &client(&device));
    bench.hang_up(gone);
    assert_eq!(whois(&bench), 1);
    tells(&mut bench, "100.64.0.7", Some(ADA));
    assert_eq!(bench.answer(first, "c").unwrap()["ok"], true);
    assert_eq!(reason(&bench.answer(second, "c").unwrap()), "tailscale_user_mismatch");
    assert_eq!(bench.answer(gone, "c"), None);

    bench.pass(Duration::from_millis(limits::WHOIS_TTL_MS - 1_000));
    assert!(bench.connect(&user(ADA), &client(&device)).is_ok());
    bench.pass(Duration::from_secs(1));
    let (_, answer) = comes(&mut bench, &user(ADA), &client(&device), None);
    assert_eq!(answer["ok"], false);
    bench.pass(Duration::from_millis(limits::WHOIS_FAILED_TTL_MS));
    let (_, answer) = comes(&mut bench, &user(ADA), &client(&device), Some(ADA));
    assert_eq!(answer["ok"], true, "a failure is forgotten soon");
}

#[test]
fn a_tailnet_that_does_not_answer_in_time_vouches_for_nobody() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    paired(&mut bench, &device);
    let conn = bench.send_connect(&user(ADA), &client(&device));
    bench.pass(Duration::from_millis(limits::WHOIS_MS));
    assert_eq!(reason(&bench.answer(conn, "c").unwrap()), "tailscale_whois_failed");
    assert_eq!(whois(&bench), 0, "the question is given up");
}

#[test]
fn strangers_cannot_make_the_gateway_ask_without_end() {
    let mut bench = Bench::new(settings());
    for number in 0..50 {
        let from =
            through(Listener::Tailnet, &format!("100.64.1.{number}"), &[("tailscale-user-login", ADA)]);
        bench.send_connect(&from, &client(&Device::new(1)));
    }
    assert_eq!(whois(&bench) as u64, limits::WHOIS_AT_ONCE);
}

#[test]
fn the_operator_can_list_what_a_user_may_do() {
    let mut settings = settings();
    let reader = (ADA.to_owned(), Scopes::from_iter([Scope::Read]));
    settings.auth.trusted_proxy.identity_scopes = [reader].into();
    let mut bench = Bench::new(settings);
    let device = Device::new(1);
    paired(&mut bench, &device);
    let (_, answer) = comes(&mut bench, &user("Ada@example.com"), &client(&device), Some(ADA));
    assert_eq!(answer["payload"]["auth"]["scopes"], json!(["operator.read"]), "{answer}");
}

#[test]
fn other_rules_end_those_for_whom_the_tailnet_vouched() {
    let mut bench = Bench::new(settings());
    let device = Device::new(1);
    paired(&mut bench, &device);
    let (conn, answer) = comes(&mut bench, &user(ADA), &client(&device), Some(ADA));
    assert_eq!(answer["ok"], true);
    let changes = |bench: &mut Bench, auth: AuthSettings| {
        bench.handle(Input::Gateway(gateway::Input::Access(Box::new(auth))));
    };
    let rotated = AuthSettings { mode: AuthMode::Token(Secret::new("another secret")), ..settings().auth };
    changes(&mut bench, rotated.clone());
    assert_eq!(bench.close_of(conn), None, "it did not come by the secret");

    let waits = bench.send_connect(
        &through(Listener::Tailnet, "100.64.0.8", &[("tailscale-user-login", ADA)]),
        &client(&device),
    );
    changes(&mut bench, AuthSettings { allow_tailscale: false, ..rotated });
    assert_eq!(bench.close_of(conn), Some((4001, "gateway policy changed".to_owned())));
    tells(&mut bench, "100.64.0.8", Some(ADA));
    assert_eq!(
        reason(&bench.answer(waits, "c").unwrap()),
        "token_missing",
        "who waited is judged by the new rules"
    );
}
