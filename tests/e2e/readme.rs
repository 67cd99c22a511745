//! The README's own commands, verbatim, in a fresh home.
//!
//! With `TELSON_E2E_RELEASE` set they run as they stand, from the root of the sources; else the built binary takes the
//! place of `cargo run --release --`. The gateway listens where the README says, so these tests run one after the other.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::{Binary, workspace};
use telson_tests::support::client::Dialect;
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::model::{Answer, ModelServer, Step};

use super::talk::{history, line};

on_every_runtime!(its_commands_start_a_gateway_and_chat_with_it, its_model_configuration_works);

const RUN: &str = "cargo run --release -- ";

fn readme() -> String {
    std::fs::read_to_string(workspace().join("README.md")).expect("the README is there")
}

/// The fenced blocks in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    text.split(&opening)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("split gives a first part").to_owned())
        .collect()
}

/// The commands that run Telson, without what stands before its own arguments.
fn commands() -> Vec<String> {
    blocks(&readme(), "sh")
        .concat()
        .lines()
        .filter_map(|line| line.trim().strip_prefix(RUN))
        .map(str::to_owned)
        .collect()
}

/// A command of the README, as a shell runs it.
fn shell(home: &Home, arguments: &str) -> Command {
    let direct = home.command(&[]);
    let mut command = Command::new("sh");
    command.env_clear();
    for (name, value) in direct.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    if home.binary() == Binary::Telson && std::env::var_os("TELSON_E2E_RELEASE").is_some() {
        command.arg("-c").arg(format!("exec {RUN}{arguments}")).current_dir(workspace()).envs(toolchain());
    } else {
        let program = direct.get_program().to_string_lossy();
        command.arg("-c").arg(format!("exec '{program}' {arguments}")).current_dir(home.path(""));
    }
    command
}

/// What cargo needs of the test's own environment to find itself in a fresh home.
fn toolchain() -> Vec<(String, OsString)> {
    let home = PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
    let mut found = vec![
        ("CARGO_HOME".to_owned(), home.join(".cargo").into_os_string()),
        ("RUSTUP_HOME".to_owned(), home.join(".rustup").into_os_string()),
    ];
    for name in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR", "RUSTFLAGS"] {
        if let Some(value) = std::env::var_os(name) {
            found.push((name.to_owned(), value));
        }
    }
    found
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("a bound address").port()
}

fn its_commands_start_a_gateway_and_chat_with_it(binary: Binary) {
    let commands = commands();
    let (run, others) = commands.split_first().expect("the README has commands");
    assert_eq!(run, "gateway run", "the first command starts the gateway");
    assert!(others.iter().any(|command| command.starts_with("chat")), "{others:?}");

    let home = Arc::new(Home::new(binary));
    let taken = TcpListener::bind("127.0.0.1:18789").is_err();
    let mut start = shell(&home, run);
    if taken {
        // Somebody's own gateway runs here. It is left alone.
        start.env("OPENCLAW_GATEWAY_PORT", free_port().to_string());
    }
    let gateway = Gateway::spawn(&home, start);
    assert!(taken || gateway.address.to_string() == "127.0.0.1:18789", "{}", gateway.address);
    for command in others {
        let outcome = Outcome::fed(&mut shell(&home, command), "good morning").success();
        if command == "chat" {
            assert!(outcome.stdout.contains("good morning"), "{command}: {outcome:#?}");
        } else {
            assert!(!outcome.stdout.trim().is_empty(), "{command}: {outcome:#?}");
        }
    }
    let mut client = gateway.operator(Dialect::V3);
    let said = history(&mut client);
    assert!(said.contains(&line("user", "good morning")), "{said:?}");
    client.ask("health", &json!({}));
}

fn its_model_configuration_works(binary: Binary) {
    let blocks = blocks(&readme(), "json5");
    let [config, endpoints] = blocks.as_slice() else { panic!("two configurations: {blocks:?}") };
    let server = ModelServer::start(vec![Answer::Stream(vec![Step::Say("the moon"), Step::Done])]);
    let theirs = serde_json::from_str::<serde_json::Value>(&server.config("")).expect("JSON");
    let base = theirs["models"]["providers"]["local"]["baseUrl"].as_str().expect("a URL");
    let url = "http://127.0.0.1:11434/v1";
    assert!(config.contains(url), "the README's model server is where Ollama listens");
    let home = Home::new(binary);
    home.configure(&config.replace(url, base));
    let gateway = home.start();
    let chat = gateway.run(&["chat", "--message", "what moves the sea?"]).success();
    assert!(chat.stdout.contains("the moon"), "{chat:#?}");
    let home = Home::new(binary);
    home.configure(endpoints);
    home.run(&["config", "validate"]).success();
}
