#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::*;
use crate::gateway::{Input, Phase};
use crate::http::HttpRequest;
use crate::peer::Peer;
use crate::testing::World;

const TARGET: &str = "http://127.0.0.1:7";

/// A gateway that listens for the tailnet.
fn world(exposure: Exposure, required: bool) -> World {
    let mut world = World::with(|settings| {
        let program = Some("/usr/bin/tailscale".to_owned());
        settings.tailscale = TailscaleSettings { exposure, program, required };
        settings.auth.allow_tailscale = exposure == Exposure::Serve;
    });
    let tailnet = Some(SocketAddr::from(([127, 0, 0, 1], 7)));
    world.input(Input::Listening(Listening { addrs: Vec::new(), tailnet }));
    world
}

/// The process that runs with these arguments.
#[track_caller]
fn process(world: &World, args: &[&str]) -> ProcessId {
    let found = world.processes.iter().rev().find(|(_, spec)| spec.args == args);
    found.map(|(id, _)| *id).unwrap_or_else(|| panic!("no {args:?} in {:?}", running(world)))
}

fn running(world: &World) -> Vec<String> {
    world.processes.iter().map(|(_, spec)| spec.args.join(" ")).collect()
}

fn moves(world: &mut World, id: ProcessId, event: ProcessEvent) {
    if matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Failed(_)) {
        world.processes.retain(|(other, _)| *other != id);
    }
    world.input(Input::Process { id, event });
}

/// A question is answered with this text.
fn answers(world: &mut World, args: &[&str], text: &str) {
    let id = process(world, args);
    for line in text.lines() {
        moves(world, id, ProcessEvent::Stdout(line.to_owned()));
    }
    moves(world, id, ProcessEvent::Exited("exit status: 0".to_owned()));
}

fn fails(world: &mut World, args: &[&str]) {
    let id = process(world, args);
    moves(world, id, ProcessEvent::Exited("exit status: 1".to_owned()));
}

const STATUS: [&str; 3] = ["status", "--json", "--peers=false"];
const ROUTES: [&str; 3] = ["serve", "status", "--json"];

fn up() -> String {
    let own = json!({"DNSName": "box.tail1.ts.net.", "TailscaleIPs": ["100.64.0.1"]});
    serde_json::to_string_pretty(&json!({"BackendState": "Running", "Self": own})).unwrap()
}

fn route(target: &str, funnel: bool) -> String {
    let name = "box.tail1.ts.net:443";
    let session = json!({
        "TCP": {"443": {"HTTPS": true}},
        "Web": {name: {"Handlers": {"/": {"Proxy": target}}}},
        "AllowFunnel": if funnel { json!({name: true}) } else { Value::Null },
    });
    json!({"Foreground": {"session-1": session}}).to_string()
}

/// Brings the claim to its goal.
fn claimed(world: &mut World, verb: &str) -> ProcessId {
    answers(world, &STATUS, &up());
    let holder = process(world, &[verb, "--yes", TARGET]);
    world.advance(250);
    answers(world, &ROUTES, &route(TARGET, verb == "funnel"));
    holder
}

/// What a client on this host learns of the gateway's readiness.
fn readiness(world: &mut World) -> Value {
    let request = HttpRequest {
        peer: Peer::at([127, 0, 0, 1].into()),
        method: "GET".to_owned(),
        path: "/readyz".to_owned(),
        query: None,
        authorization: None,
        headers: Vec::new(),
        content_length: None,
        wants_websocket: false,
    };
    let id = world.http(request, "");
    serde_json::from_str(&world.answered(id).unwrap().1).unwrap()
}

#[test]
fn the_route_is_held_by_a_process_and_seen_before_it_counts() {
    let mut world = world(Exposure::Serve, false);
    assert_eq!(running(&world), ["status --json --peers=false"]);
    answers(&mut world, &STATUS, &up());
    world.advance(250);
    answers(&mut world, &ROUTES, &route("http://127.0.0.1:8", false));
    assert!(!world.gateway.tailscale.claim.is_active(), "that is somebody else's route");
    world.advance(1_000);
    answers(&mut world, &ROUTES, &route(TARGET, false));
    assert!(world.gateway.tailscale.claim.is_active());
    assert_eq!(running(&world), [format!("serve --yes {TARGET}")]);
    let (_, spec) = &world.processes[0];
    assert_eq!(spec.program, "/usr/bin/tailscale");
    assert!(!spec.args.iter().any(|arg| arg == "reset" || arg == "--bg"));
    assert_eq!(spec.env["PATH"], "/usr/bin:/bin:/usr/sbin:/sbin", "nothing of the gateway's own");
}

#[test]
fn nothing_is_asked_of_a_tailnet_that_nobody_wants() {
    let mut world = world(Exposure::Off, false);
    world.advance(120_000);
    assert!(world.processes.is_empty());
}

#[test]
fn a_funnel_counts_when_the_internet_may_use_it() {
    let mut world = world(Exposure::Funnel, false);
    answers(&mut world, &STATUS, &up());
    world.advance(250);
    answers(&mut world, &ROUTES, &route(TARGET, false));
    assert!(!world.gateway.tailscale.claim.is_active());
    world.advance(1_000);
    answers(&mut world, &ROUTES, &route(TARGET, true));
    assert!(world.gateway.tailscale.claim.is_active());
}

#[test]
fn the_service_is_waited_for() {
    let mut world = world(Exposure::Serve, true);
    for _ in 0..20 {
        answers(&mut world, &STATUS, r#"{"BackendState": "Starting"}"#);
        world.advance(2_000);
    }
    claimed(&mut world, "serve");
    assert!(world.gateway.tailscale.claim.is_active());
}

#[test]
fn a_service_that_does_not_come_up_degrades_the_gateway_and_is_asked_again() {
    let mut world = world(Exposure::Serve, false);
    while world.gateway.tailscale.degraded().is_none() {
        fails(&mut world, &STATUS);
        world.advance(2_000);
        assert!(world.now.mono < Duration::from_secs(100));
    }
    assert!(world.now.mono >= Duration::from_secs(90));
    let body = readiness(&mut world);
    assert_eq!(body["ready"], true, "it serves all the same");
    assert_eq!(body["degraded"][0]["part"], "tailscale");
    claimed(&mut world, "serve");
    assert_eq!(readiness(&mut world).get("degraded"), None);
}

#[test]
fn a_gateway_that_must_have_it_stops_without_it() {
    let mut world = world(Exposure::Serve, true);
    answers(&mut world, &STATUS, &up());
    let holder = process(&world, &["serve", "--yes", TARGET]);
    moves(&mut world, holder, ProcessEvent::Stderr("error: Serve is not enabled\u{1b}[2J".to_owned()));
    moves(&mut world, holder, ProcessEvent::Exited("exit status: 1".to_owned()));
    assert!(world.stopped);
    let fault = world.gateway.tailnet_fault().unwrap();
    assert!(fault.contains("Serve is not enabled") && !fault.contains('\u{1b}'), "{fault}");
}

#[test]
fn a_claim_that_was_there_and_is_lost_is_taken_again_each_time_later() {
    let mut world = world(Exposure::Serve, true);
    for pause in [1_000, 2_000, 4_000] {
        let holder = claimed(&mut world, "serve");
        moves(&mut world, holder, ProcessEvent::Exited("signal: 9".to_owned()));
        assert!(world.gateway.tailscale.degraded().is_some());
        assert_eq!(world.gateway.phase(), Phase::Serving, "once it had it");
        world.advance(pause - 1);
        assert!(world.processes.is_empty());
        world.advance(1);
    }
    claimed(&mut world, "serve");
    world.advance(60_000);
    let holder = process(&world, &["serve", "--yes", TARGET]);
    moves(&mut world, holder, ProcessEvent::Exited("signal: 9".to_owned()));
    world.advance(1_000);
    assert_eq!(
        running(&world),
        ["status --json --peers=false"],
        "it was there for a while: the count begins anew"
    );
}

#[test]
fn a_claim_that_never_becomes_active_is_ended() {
    let mut world = world(Exposure::Serve, false);
    answers(&mut world, &STATUS, &up());
    let holder = process(&world, &["serve", "--yes", TARGET]);
    moves(&mut world, holder, ProcessEvent::Stdout("To enable, visit https://login.example".to_owned()));
    for _ in 0..20 {
        world.advance(1_000);
        if running(&world).iter().any(|args| args == "serve status --json") {
            answers(&mut world, &ROUTES, "{}");
        }
    }
    let fault = world.gateway.tailscale.degraded().unwrap().to_owned();
    assert!(fault.contains("https://login.example"), "{fault}");
    assert!(!world.processes.iter().any(|(id, _)| *id == holder), "its process is ended");
}

#[test]
fn a_program_that_is_slow_or_loud_counts_as_silent() {
    let mut world = world(Exposure::Serve, false);
    let slow = process(&world, &STATUS);
    world.advance(5_000);
    assert!(!world.processes.iter().any(|(id, _)| *id == slow));
    world.advance(2_000);
    let loud = process(&world, &STATUS);
    moves(&mut world, loud, ProcessEvent::Stdout("x".repeat(1_048_577)));
    assert!(!world.processes.iter().any(|(id, _)| *id == loud));
    world.advance(2_000);
    claimed(&mut world, "serve");
}

#[test]
fn without_the_program_the_gateway_serves_and_says_so() {
    let mut world = World::with(|settings| {
        settings.tailscale = TailscaleSettings { exposure: Exposure::Serve, program: None, required: false };
    });
    let tailnet = Some(SocketAddr::from(([127, 0, 0, 1], 7)));
    world.input(Input::Listening(Listening { addrs: Vec::new(), tailnet }));
    assert!(world.gateway.tailscale.degraded().unwrap().contains("not found"));
    assert!(world.processes.is_empty());
}

#[test]
fn a_stop_lets_go_of_the_route() {
    let mut world = world(Exposure::Serve, false);
    claimed(&mut world, "serve");
    world.input(Input::Stop { reason: "test".to_owned(), restart_expected: None });
    assert!(world.processes.is_empty() && world.stopped);
    assert_eq!(world.gateway.tailnet_fault(), None);
}

#[test]
fn the_owner_of_an_address_is_read_from_several_spellings_and_never_from_tags() {
    use super::report::login;
    let alice = Some("alice@example.com".to_owned());
    assert_eq!(login(r#"{"UserProfile": {"LoginName": "alice@example.com", "DisplayName": "A"}}"#), alice);
    assert_eq!(login(r#"{"userProfile": {"loginName": " alice@example.com "}}"#), alice);
    for nobody in [
        "",
        "{}",
        "no json",
        r#"{"UserProfile": {"LoginName": "tagged-devices"}}"#,
        r#"{"UserProfile": {"LoginName": ""}}"#,
        r#"{"UserProfile": {"LoginName": "a\nb"}}"#,
        r#"{"UserProfile": {"LoginName": 5}}"#,
        r#"{"LoginName": "alice@example.com"}"#,
    ] {
        assert_eq!(login(nobody), None, "{nobody}");
    }
}

#[test]
fn a_route_of_others_is_not_ours() {
    use super::report::shows_route;
    assert!(shows_route(&route(TARGET, false), TARGET, false));
    assert!(shows_route(&route("http://127.0.0.1:7/", false), TARGET, false));
    assert!(!shows_route(&route("http://127.0.0.1:70", false), TARGET, false));
    let below = r#"{"Web": {"h:443": {"Handlers": {"/app": {"Proxy": "http://127.0.0.1:7"}}}}}"#;
    assert!(!shows_route(below, TARGET, false));
    assert!(
        !shows_route(&route(TARGET, true), TARGET, false),
        "open to the internet, which nobody asked for"
    );
    for odd in ["", "null", "[]", r#"{"Foreground": 1, "Web": []}"#] {
        assert!(!shows_route(odd, TARGET, false), "{odd}");
    }
}
