//! Tailscale in front of the gateway, its program played by a script (spec 05 §8, 08 S-28, S-29).

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting, Refusal};
use telson_tests::support::command::Outcome;
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::http::{raw, request};

on_both_binaries!(
    the_tailnet_brings_its_users_to_a_listener_of_their_own,
    its_headers_help_nobody_on_the_gateways_own_port,
    plain_http_asks_for_the_secret_also_behind_it,
    a_gateway_that_stops_lets_go_of_the_route,
    what_it_must_not_stand_in_front_of_is_refused_at_the_start,
    a_gateway_that_must_have_it_does_not_serve_without_it,
    a_gateway_that_may_have_it_serves_without_it,
    only_a_program_of_the_system_is_run,
);

const TOKEN: &str = "token-of-the-tailnet-0123456789";
const ADA: &str = "ada@example.com";
const NAME: &str = "box.tail1.ts.net";

/// What the real program answers, as far as the gateway asks it. `serve` and `funnel` hold their route until they
/// are ended, as the real ones do in the foreground.
const PROGRAM: &str = r#"#!/bin/sh
here="${0%/*}"
echo "$*" >> "$here/calls"
case "$1 $2" in
"status --json") cat "$here/status.json" ;;
"serve status") cat "$here/route.json" || echo '{}' ;;
"serve --yes")
  echo $$ > "$here/holder"
  printf '{"Foreground":{"1":{"TCP":{"443":{"HTTPS":true}},"Web":{"box.tail1.ts.net:443":{"Handlers":{"/":{"Proxy":"%s"}}}}}}}' "$3" > "$here/route.new"
  mv "$here/route.new" "$here/route.json"
  echo "Available within your tailnet:"
  exec sleep 100000 ;;
"whois --json") cat "$here/whois-$3.json" ;;
*) echo "unknown command" >&2; exit 1 ;;
esac
"#;

/// A home with a program that plays Tailscale.
struct Tailnet {
    home: Arc<Home>,
}

impl Tailnet {
    fn new(binary: Binary, config: &Value) -> Self {
        let home = Home::new(binary);
        home.configure(&config.to_string());
        let tailnet = Self { home: Arc::new(home) };
        fs::create_dir(tailnet.path("")).expect("a folder can be made");
        fs::set_permissions(tailnet.path(""), Permissions::from_mode(0o755)).expect("it is ours");
        tailnet.write("tailscale", PROGRAM);
        fs::set_permissions(tailnet.path("tailscale"), Permissions::from_mode(0o755)).expect("it is ours");
        let own = json!({"DNSName": format!("{NAME}."), "TailscaleIPs": ["100.64.0.1"]});
        tailnet.write("status.json", &json!({"BackendState": "Running", "Self": own}).to_string());
        tailnet.owns("100.64.0.7", ADA);
        tailnet
    }

    fn serving(binary: Binary) -> Self {
        Self::new(binary, &json!({"gateway": {"auth": {"token": TOKEN}, "tailscale": {"mode": "serve"}}}))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path("tailnet").join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).expect("a file can be written");
    }

    /// An address belongs to a user.
    fn owns(&self, address: &str, login: &str) {
        let whois = json!({
            "Node": {"Name": "phone.tail1.ts.net.", "Addresses": [format!("{address}/32")]},
            "UserProfile": {"ID": 1, "LoginName": login, "DisplayName": "Ada"},
        });
        self.write(&format!("whois-{address}.json"), &whois.to_string());
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.command(&["gateway", "run", "--port", "0"]);
        command.args(arguments).env("TELSON_TAILSCALE_BIN", self.path("tailscale"));
        command
    }

    /// Starts the gateway and waits until the route is there; where it leads.
    fn start(&self) -> (Gateway, SocketAddr) {
        let gateway = Gateway::spawn(&self.home, self.command(&[]));
        let line = gateway.logged("serve enabled");
        assert!(line.contains(&format!("https://{NAME}/")), "{line}");
        let route = fs::read_to_string(self.path("route.json")).expect("a route");
        let target = route.split("http://").nth(1).and_then(|rest| rest.split('"').next());
        let target = target.and_then(|target| target.parse().ok()).expect("an address");
        (gateway, target)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }
}

/// Connects as the tailnet's proxy does for a user at an address.
fn through(
    target: SocketAddr,
    address: &str,
    login: &str,
    greeting: &Greeting<'_>,
) -> Result<Client, Refusal> {
    let headers = [
        ("host", NAME),
        ("x-forwarded-for", address),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", NAME),
        ("tailscale-user-login", login),
        ("tailscale-user-name", "Ada"),
    ];
    Client::open_with(target, greeting.dialect, &headers).greet(greeting)
}

fn reason(refused: &Result<Client, Refusal>) -> String {
    let refused = refused.as_ref().err().expect("a refusal");
    let details = &refused.error["details"];
    details["authReason"].as_str().or(details["code"].as_str()).unwrap_or_default().to_owned()
}

fn the_tailnet_brings_its_users_to_a_listener_of_their_own(binary: Binary) {
    let tailnet = Tailnet::serving(binary);
    let (gateway, target) = tailnet.start();
    assert!(target.ip().is_loopback());
    assert_ne!(target.port(), gateway.address.port());

    let device = Device::new(3);
    let by_name = Greeting { token: None, device: Some(&device), ..Greeting::operator(Dialect::V4, "") };
    let stranger = through(target, "100.64.0.7", ADA, &by_name);
    assert_eq!(reason(&stranger), "PAIRING_REQUIRED", "who it is, is known; the device is not");

    let here = Greeting { device: Some(&device), ..Greeting::operator(Dialect::V4, TOKEN) };
    Client::connect(gateway.address, &here).expect("a device of this machine is paired at once");
    let mut client = through(target, "100.64.0.7", "Ada@Example.com", &by_name).expect("let in");
    assert_eq!(client.hello["auth"]["method"], "tailscale");
    client.ask("health", &json!({}));

    assert_eq!(
        reason(&through(target, "100.64.0.7", "eve@example.com", &by_name)),
        "tailscale_user_mismatch"
    );
    assert_eq!(reason(&through(target, "100.64.0.9", ADA, &by_name)), "tailscale_whois_failed");
    let guess = Greeting { token: Some("a guess"), ..by_name };
    assert_eq!(reason(&through(target, "100.64.0.7", ADA, &guess)), "token_mismatch");

    let config = json!({"gateway": {
        "auth": {"token": TOKEN, "allowTailscale": false}, "tailscale": {"mode": "serve"},
    }});
    tailnet.home.configure(&config.to_string());
    assert_eq!(client.closed(), Some((4001, "gateway policy changed".to_owned())));
    let calls = tailnet.calls();
    assert!(!calls.contains("reset") && !calls.contains("--bg"), "{calls}");
}

fn its_headers_help_nobody_on_the_gateways_own_port(binary: Binary) {
    let tailnet = Tailnet::serving(binary);
    let (gateway, _) = tailnet.start();
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Tailscale-User-Login: {ADA}\r\n"
    );
    let all = "X-Forwarded-For: 100.64.0.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: box\r\n";
    for further in ["", all] {
        let reply = raw(gateway.address, format!("{upgrade}{further}\r\n").as_bytes());
        assert_eq!(reply.status, 403, "{reply:?}");
    }
    assert!(!tailnet.calls().contains("whois"));
}

fn plain_http_asks_for_the_secret_also_behind_it(binary: Binary) {
    let config = json!({"gateway": {
        "auth": {"token": TOKEN}, "tailscale": {"mode": "serve"},
        "http": {"endpoints": {"chatCompletions": {"enabled": true}}},
    }});
    let tailnet = Tailnet::new(binary, &config);
    let (_gateway, target) = tailnet.start();
    let ask = |further: &str| {
        let text = format!(
            "GET /v1/models HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\nX-Forwarded-For: 100.64.0.7\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Host: {NAME}\r\nTailscale-User-Login: {ADA}\r\n{further}\r\n"
        );
        raw(target, text.as_bytes()).status
    };
    assert_eq!(ask(""), 401);
    assert_eq!(ask(&format!("Authorization: Bearer {TOKEN}\r\n")), 200);
    assert!(!tailnet.calls().contains("whois"));
}

fn a_gateway_that_stops_lets_go_of_the_route(binary: Binary) {
    let tailnet = Tailnet::serving(binary);
    let (gateway, _) = tailnet.start();
    let holder = fs::read_to_string(tailnet.path("holder")).expect("it has noted itself");
    let holder = holder.trim().parse().ok().and_then(Pid::from_raw).expect("a process");
    assert!(test_kill_process(holder).is_ok());
    gateway.terminate();
    assert_eq!(gateway.wait().0, Some(0));
    // A process that was killed is there until somebody has taken notice.
    let state = || fs::read_to_string(format!("/proc/{}/stat", holder.as_raw_nonzero())).unwrap_or_default();
    assert!(test_kill_process(holder).is_err() || state().contains(") Z "), "{}", state());
}

fn what_it_must_not_stand_in_front_of_is_refused_at_the_start(binary: Binary) {
    let password = ["--password", "a-password-0123456789"];
    for (arguments, code) in [
        (&["--tailscale", "funnel", "--token", TOKEN][..], "FUNNEL_NEEDS_PASSWORD"),
        (&["--tailscale", "funnel", "--auth", "none"], "FUNNEL_NEEDS_PASSWORD"),
        (&["--tailscale", "serve", "--auth", "none"], "AUTH_REQUIRED_FOR_BIND"),
        (&["--tailscale", "serve", "--bind", "lan", "--token", TOKEN], "TS_NEEDS_LOOPBACK"),
        (&["--tailscale", "funnel", "--bind", "lan", password[0], password[1]], "TS_NEEDS_LOOPBACK"),
    ] {
        let tailnet = Tailnet::new(binary, &json!({}));
        let outcome = Outcome::of(&mut tailnet.command(arguments)).failure(5);
        assert!(outcome.stderr.contains(code), "{arguments:?}: {outcome:?}");
        assert_eq!(tailnet.calls(), "");
    }
    let tailnet = Tailnet::new(binary, &json!({}));
    let outcome = Outcome::of(&mut tailnet.command(&["--tailscale", "sevre"])).failure(2);
    assert!(outcome.stderr.contains("serve"), "{outcome:?}");
}

fn a_gateway_that_must_have_it_does_not_serve_without_it(binary: Binary) {
    let tailnet = Tailnet::serving(binary);
    tailnet
        .write("tailscale", &PROGRAM.replace("exec sleep 100000", "echo Serve is not enabled >&2; exit 1"));
    let outcome = Outcome::of(&mut tailnet.command(&["--tailscale", "serve"])).failure(1);
    let told = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(told.contains("Serve is not enabled"), "{outcome:?}");
}

fn a_gateway_that_may_have_it_serves_without_it(binary: Binary) {
    let tailnet = Tailnet::serving(binary);
    fs::remove_file(tailnet.path("tailscale")).expect("it is there");
    let gateway = Gateway::spawn(&tailnet.home, tailnet.command(&[]));
    let line = gateway.logged("serve failed");
    assert!(line.contains("serves without it"), "{line}");
    Client::connect(gateway.address, &Greeting::operator(Dialect::V4, TOKEN)).expect("it serves");
    let ready = request(gateway.address, "GET", "/readyz");
    let body: Value = serde_json::from_str(&ready.body).expect("JSON");
    assert_eq!((ready.status, &body["degraded"][0]["part"]), (200, &json!("tailscale")), "{body}");
}

fn only_a_program_of_the_system_is_run(binary: Binary) {
    let tailnet = Tailnet::serving(binary);
    let mut command = tailnet.home.command(&["gateway", "run", "--port", "0"]);
    command.env("PATH", tailnet.path(""));
    let gateway = Gateway::spawn(&tailnet.home, command);
    gateway.logged("serve failed");
    assert_eq!(tailnet.calls(), "", "a folder of the search path is no place of the system");
    drop(gateway);

    fs::set_permissions(tailnet.path("tailscale"), Permissions::from_mode(0o775)).expect("it is ours");
    let gateway = Gateway::spawn(&tailnet.home, tailnet.command(&[]));
    let line = gateway.logged("can be changed by other users");
    assert!(line.contains("tailscale"), "{line}");
    assert_eq!(tailnet.calls(), "");
}
