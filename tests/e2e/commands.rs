//! The command line as scripts and people use it.

use serde_json::{Value, json};
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::{Gateway, Home};

use super::talk::{history, line};

on_every_runtime!(
    a_chat_in_the_terminal_prints_the_answer,
    words_come_from_standard_input_too,
    any_method_can_be_called,
    every_command_speaks_json,
    human_output_has_no_colour_in_a_pipe,
    a_refused_call_tells_why_and_fails,
    without_a_gateway_the_commands_say_so,
    a_wrong_token_has_an_exit_code_of_its_own,
    the_token_is_shown_without_a_running_gateway,
    a_valid_configuration_is_called_valid,
    help_names_every_command,
    a_shell_can_complete_the_commands,
);

const WORDS: &str = "what moves the sea but tide and moon";

fn a_chat_in_the_terminal_prints_the_answer(binary: Binary) {
    let gateway = Home::new(binary).start();
    let chat = gateway.run(&["chat", "--message", WORDS]).success();
    assert!(chat.stdout.contains(WORDS), "{chat:#?}");
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(history(&mut client), [line("user", WORDS), line("assistant", WORDS)]);

    let events = gateway.run(&["chat", "--message", "hello", "--json"]).success();
    let events: Vec<Value> =
        events.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(events[0], json!({"type": "started"}));
    assert!(events.contains(&json!({"type": "delta", "text": "hello"})), "{events:?}");
    let end = events.last().expect("there is an end");
    assert_eq!((&end["type"], &end["text"]), (&json!("result"), &json!("hello")), "{end}");
}

fn words_come_from_standard_input_too(binary: Binary) {
    let gateway = Home::new(binary).start();
    let chat = Outcome::fed(&mut gateway.home.command(&["chat"]), WORDS).success();
    assert!(chat.stdout.contains(WORDS), "{chat:#?}");
}

fn any_method_can_be_called(binary: Binary) {
    let gateway = Home::new(binary).start();
    let plain = gateway.run(&["call", "health", "--json"]).success();
    assert_eq!(plain.json()["ok"], json!(true));
    let strict =
        gateway.run(&["call", "chat.history", r#"{"sessionKey": "main", "limit": 3}"#, "--json"]).success();
    assert_eq!(strict.json()["messages"], json!([]));
    let url = gateway.url();
    let named =
        gateway.run(&["call", "health", "--json", "--url", &url, "--token", &gateway.token()]).success();
    assert_eq!(named.json()["ok"], json!(true));
    let unarmed = gateway.run(&["call", "health", "--url", &url]).failure(2);
    assert!(unarmed.stderr.contains("--token"), "a local secret does not travel: {unarmed:#?}");
    let bad = gateway.run(&["call", "health", "{nonsense"]);
    assert_eq!(bad.code, Some(2), "parameters that are not JSON are a usage error: {bad:#?}");
}

fn every_command_speaks_json(binary: Binary) {
    let gateway = Home::new(binary).start();
    gateway.run(&["chat", "--message", "hello"]).success();
    for arguments in
        [&["status"][..], &["health"], &["sessions"], &["devices", "list"], &["call", "models.list"]]
    {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let outcome = gateway.run(&arguments).success();
        let value = outcome.json();
        assert!(value.is_object() || value.is_array(), "{arguments:?}: {outcome:#?}");
    }
    let sessions = gateway.run(&["sessions", "--json"]).success().json();
    assert!(sessions.to_string().contains("agent:main:main"), "{sessions}");
    let table = gateway.run(&["sessions"]).success();
    assert!(table.stdout.contains("hello"), "a session is known by its first words: {table:#?}");
}

fn human_output_has_no_colour_in_a_pipe(binary: Binary) {
    let gateway = Home::new(binary).start();
    for arguments in [&["status"][..], &["health"], &["sessions"], &["devices", "list"]] {
        let outcome = gateway.run(arguments).success();
        assert!(!outcome.stdout.contains('\u{1b}'), "{arguments:?}: {outcome:#?}");
        assert!(!outcome.stdout.trim().is_empty(), "{arguments:?} says something");
    }
    assert!(!gateway.log().contains('\u{1b}'), "the log has no colour in a pipe");
    let status = gateway.run(&["status"]).success();
    let port = gateway.address.port().to_string();
    assert!(status.stdout.contains(&port), "it says where the gateway is: {status:#?}");
}

fn a_refused_call_tells_why_and_fails(binary: Binary) {
    let gateway = Home::new(binary).start();
    let refused = gateway.run(&["call", "no.such.method"]).failure(1);
    assert!(refused.stderr.contains("unknown method: no.such.method"), "{refused:#?}");
    let json = gateway.run(&["call", "no.such.method", "--json"]).failure(1).json();
    assert_eq!(json["ok"], json!(false));
    assert_eq!(json["error"]["code"], json!("RPC_ERROR"), "{json}");
}

/// A home whose commands look for a gateway where none is.
fn lonely(binary: Binary) -> (Home, String) {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", gone.local_addr().expect("a bound address"));
    (Home::new(binary), url)
}

fn without_a_gateway_the_commands_say_so(binary: Binary) {
    let (home, url) = lonely(binary);
    for arguments in [&["health"][..], &["call", "health"], &["chat", "--message", "hello"], &["sessions"]] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--url", &url, "--token", "some-token"]);
        let outcome = home.run(&arguments).failure(3);
        assert!(outcome.stderr.contains(&url), "{outcome:#?}");
    }
    let json = home.run(&["health", "--json", "--url", &url, "--token", "some-token"]).failure(3).json();
    assert_eq!(json["error"]["code"], json!("GATEWAY_UNREACHABLE"), "{json}");
}

fn a_wrong_token_has_an_exit_code_of_its_own(binary: Binary) {
    let gateway = Home::new(binary).start();
    let url = gateway.url();
    let refused = gateway.home.run(&["health", "--url", &url, "--token", "not-the-token"]).failure(4);
    assert!(refused.stderr.contains("token mismatch"), "{refused:#?}");
}

fn the_token_is_shown_without_a_running_gateway(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    let home = Gateway::kill(gateway);
    let shown = home.run(&["token", "show", "--json"]).success();
    assert!(shown.json().to_string().contains(&token), "{shown:#?}");
}

fn a_valid_configuration_is_called_valid(binary: Binary) {
    let home = Home::new(binary);
    home.run(&["config", "validate"]).success();
    home.configure("{gateway: {port: 4444}, agents: {defaults: {model: \"echo/echo\"}}}");
    home.run(&["config", "validate"]).success();
    let json = home.run(&["config", "validate", "--json"]).success().json();
    assert_eq!(json["ok"].as_bool().or_else(|| json["valid"].as_bool()), Some(true), "{json}");
}

fn help_names_every_command(binary: Binary) {
    let help = Home::new(binary).run(&["--help"]).success();
    for command in [
        "gateway",
        "status",
        "health",
        "call",
        "chat",
        "sessions",
        "models",
        "usage",
        "token",
        "devices",
        "config",
        "completions",
    ] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
    }
    let version = Home::new(binary).run(&["--version"]).success();
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:#?}");
}

fn a_shell_can_complete_the_commands(binary: Binary) {
    let home = Home::new(binary);
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]).success();
        assert!(script.stdout.contains(binary.name()), "{shell}: the script is for this program");
        assert!(script.stdout.contains("export"), "{shell}: it knows the commands below the commands");
    }
}
