//! TLS between the binaries, and who may reach them.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::{Gateway, Home, is_private};

on_every_runtime!(
    a_gateway_with_tls_is_found_by_its_own_command_line,
    a_pin_lets_in_and_another_does_not,
    a_first_use_is_remembered_and_only_an_explicit_command_changes_it,
    another_gateway_is_known_by_the_configuration,
    half_a_pair_starts_nothing,
    an_alias_that_is_taken_starts_nothing,
    who_can_reach_it_is_told,
    whatever_the_umask_everything_is_private,
    nobody_around_is_no_failure,
);

const TLS: &str = "{gateway: {tls: {enabled: true}}}";

fn secure(binary: Binary) -> Gateway {
    let home = Home::new(binary);
    home.configure(TLS);
    home.start()
}

fn print_of(gateway: &Gateway, member: &str) -> String {
    let shown = gateway.run(&["tls", "fingerprint", "--json"]).success().json();
    shown[member].as_str().expect("a fingerprint").to_owned()
}

/// Another machine's command line.
fn stranger(home: &Home, gateway: &Gateway, more: &[&str]) -> Outcome {
    let (url, token) = (gateway.url(), gateway.token());
    let named = ["status", "--json", "--url", &url, "--token", &token];
    home.run(&[named.as_slice(), more].concat())
}

fn a_gateway_with_tls_is_found_by_its_own_command_line(binary: Binary) {
    let gateway = secure(binary);
    assert!(gateway.url().starts_with("wss://"), "{}", gateway.log());
    let status = gateway.run(&["status", "--json"]).success().json();
    let (found, url) = (&status["gateway"], gateway.url());
    assert_eq!((found["url"].as_str(), &found["tls"]["enabled"]), (Some(url.as_str()), &true.into()));
    assert_eq!(found["tls"]["fingerprint"], print_of(&gateway, "fingerprint"));
    assert_eq!(found["tls"]["keyFingerprint"], print_of(&gateway, "keyFingerprint"));
    assert_eq!(found["reach"], "this machine only");
    let said = gateway.run(&["chat", "--message", "tide and moon"]).success();
    assert!(said.stdout.contains("tide and moon"), "{said:?}");
    for file in ["gateway-cert.pem", "gateway-key.pem"] {
        assert!(is_private(&gateway.home.state().join("gateway/tls").join(file)), "{file}");
    }
    let clear = gateway.url().replace("wss://", "ws://");
    gateway.run(&["status", "--url", &clear, "--token", &gateway.token()]).failure(1);
}

fn a_pin_lets_in_and_another_does_not(binary: Binary) {
    let (gateway, away) = (secure(binary), Home::new(binary));
    for member in ["fingerprint", "keyFingerprint"] {
        let pin = print_of(&gateway, member);
        stranger(&away, &gateway, &["--tls-fingerprint", &pin]).success();
    }
    let wrong = "0f".repeat(32);
    let refused = stranger(&away, &gateway, &["--tls-fingerprint", &wrong]).failure(4);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "TLS_PIN_MISMATCH");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(&wrong) && message.contains(&print_of(&gateway, "fingerprint")), "{message}");
    assert!(error["hints"].to_string().contains("--tls-fingerprint"), "{error}");
    let unknown = stranger(&away, &gateway, &[]).failure(3);
    assert!(unknown.stdout.contains("tls fingerprint"), "{unknown:?}");
    assert!(!away.state().join("run/pins.json").exists(), "nobody is trusted without a word");
    assert!(!gateway.log().contains("unauthorized"), "no secret went to anybody");
}

fn a_first_use_is_remembered_and_only_an_explicit_command_changes_it(binary: Binary) {
    let (gateway, away) = (secure(binary), Home::new(binary));
    stranger(&away, &gateway, &["--trust-on-first-use"]).success();
    assert!(is_private(&away.state().join("run/pins.json")));
    stranger(&away, &gateway, &[]).success();

    let other = "1e".repeat(32);
    away.run(&["tls", "pin", &gateway.url(), &other]).success();
    for more in [&["--trust-on-first-use"][..], &[]] {
        let refused = stranger(&away, &gateway, more).failure(4);
        let hints = refused.json()["error"]["hints"].to_string();
        assert!(hints.contains(&format!("tls pin {} FINGERPRINT", gateway.url())), "{hints}");
    }
    away.run(&["tls", "pin", &gateway.url(), &print_of(&gateway, "keyFingerprint")]).success();
    stranger(&away, &gateway, &[]).success();
    let pins = away.run(&["tls", "pins", "--json"]).success().json();
    assert_eq!(pins["pins"].as_array().map(Vec::len), Some(1), "{pins}");
    away.run(&["tls", "forget", &gateway.url()]).success();
    stranger(&away, &gateway, &[]).failure(3);
}

fn another_gateway_is_known_by_the_configuration(binary: Binary) {
    let (gateway, away) = (secure(binary), Home::new(binary));
    let (url, token, pin) = (gateway.url(), gateway.token(), print_of(&gateway, "keyFingerprint"));
    let write = |pin: &str| {
        away.configure(&format!(
            "{{gateway: {{mode: 'remote', remote: {{url: '{url}', token: '{token}', tlsFingerprint: '{pin}'}}}}}}"
        ));
    };
    write(&pin);
    let status = away.run(&["status", "--json"]).success().json();
    assert_eq!(
        (&status["gateway"]["mode"], &status["gateway"]["urlSource"]),
        (&"remote".into(), &"config gateway.remote.url".into())
    );
    away.run(&["call", "health"]).success();
    write(&"0f".repeat(32));
    let refused = away.run(&["status", "--json"]).failure(4).json();
    assert!(refused["error"]["hints"].to_string().contains("gateway.remote.tlsFingerprint"), "{refused}");
    away.run(&["gateway", "run", "--port", "0"]).failure(5);
}

fn half_a_pair_starts_nothing(binary: Binary) {
    let gateway = secure(binary);
    let home = gateway.kill();
    std::fs::remove_file(home.state().join("gateway/tls/gateway-key.pem")).expect("it was there");
    let refused = home.run(&["gateway", "run", "--port", "0", "--json"]).failure(1);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "TLS_FAILED");
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.starts_with("gateway tls: cert/key missing") && message.contains("gateway-key.pem"),
        "{message}"
    );
}

fn an_alias_that_is_taken_starts_nothing(binary: Binary) {
    let custom = |host: &str| {
        let home = Home::new(binary);
        home.configure(&format!(
            "{{gateway: {{bind: 'custom', customBindHost: '{host}', auth: {{token: 'a-token-of-the-operator'}}}}}}"
        ));
        home
    };
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let refused = custom("127.0.0.2").run(&["gateway", "run", "--json", "--port", &port]).failure(1).json();
    assert_eq!(refused["error"]["code"], "PORT_IN_USE", "{refused}");
    let refused = custom("192.0.2.1").run(&["gateway", "run", "--json", "--port", "0"]).failure(1).json();
    assert_eq!(refused["error"]["code"], "BIND_FAILED", "never a wider bind: {refused}");
}

fn who_can_reach_it_is_told(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{gateway: {bind: 'lan', auth: {token: 'a-token-of-the-operator'}}}");
    let gateway = home.start();
    let status = gateway.run(&["status", "--json"]).success().json();
    assert_eq!(status["gateway"]["reach"], "every machine that reaches this one");
    assert_eq!(status["gateway"]["url"], format!("ws://127.0.0.1:{}", gateway.address.port()));
    assert!(gateway.log().contains("in the clear"), "{}", gateway.log());
    assert!(!gateway.log().contains("announcing"), "on Linux a gateway is quiet unless told otherwise");
}

fn whatever_the_umask_everything_is_private(binary: Binary) {
    let home = Arc::new(Home::new(binary));
    home.configure(TLS);
    let plain = home.command(&["gateway", "run", "--port", "0"]);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    command.env_clear().current_dir(home.path(""));
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let gateway = Gateway::spawn(&home, command);
    gateway.run(&["chat", "--message", "tide and moon"]).success();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid()));
    if let Ok(limits) = limits {
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        let words: Vec<&str> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{core}");
    }
    let open = modes(&home.state());
    // The operator's own file was there before, with the mode that the operator gave it.
    let open: Vec<_> = open.iter().filter(|(path, _)| !path.ends_with("telson.json")).collect();
    assert!(open.len() > 8, "{open:?}");
    assert!(open.iter().all(|(_, mode)| mode & 0o077 == 0), "{open:?}");
}

fn modes(dir: &Path) -> Vec<(String, u32)> {
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let mut found = vec![(dir.display().to_string(), mode(dir))];
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(modes(&path));
        } else {
            found.push((path.display().to_string(), mode(&path)));
        }
    }
    found
}

fn nobody_around_is_no_failure(binary: Binary) {
    let home = Home::new(binary);
    let found = home.run(&["discover", "--json", "--timeout", "100"]).success().json();
    assert_eq!((&found["timeoutMs"], &found["domains"]), (&100.into(), &serde_json::json!(["local."])));
    assert_eq!(found["count"].as_u64(), found["beacons"].as_array().map(|beacons| beacons.len() as u64));
    let gateway = home.start();
    gateway.operator(Dialect::V4).ask("health", &serde_json::json!({}));
}
