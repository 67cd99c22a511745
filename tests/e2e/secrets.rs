//! Secrets appear nowhere, however much is logged.

use std::fs;
use std::path::Path;

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::Home;
use telson_tests::support::model::{Answer, ModelServer, Step};

use super::talk::send;

on_every_runtime!(
    at_trace_level_no_secret_is_written_anywhere,
    the_configuration_is_shown_without_its_secrets
);

const API_KEY: &str = "sk-canary-0123456789abcdef";
const HEADER: &str = "header-canary-0123456789abcdef";
const TOKEN: &str = "token-canary-0123456789abcdef";

fn config(server: &ModelServer) -> String {
    let mut config: serde_json::Value = serde_json::from_str(&server.config(API_KEY)).expect("JSON");
    config["models"]["providers"]["local"]["headers"] = json!({"x-key": HEADER});
    config["gateway"] = json!({"auth": {"mode": "token", "token": TOKEN}});
    config["logging"] = json!({"level": "trace", "consoleLevel": "trace"});
    config.to_string()
}

fn at_trace_level_no_secret_is_written_anywhere(binary: Binary) {
    let server = ModelServer::start(vec![
        Answer::Stream(vec![Step::Say("the moon"), Step::Done]),
        Answer::Refusal(401, vec![], json!({"error": {"message": format!("bad key {API_KEY}")}})),
    ]);
    let home = Home::new(binary);
    home.configure(&config(&server));
    let gateway = home.start();

    let device = Device::new(5);
    let mut secrets = vec![API_KEY.to_owned(), HEADER.to_owned(), TOKEN.to_owned()];
    for dialect in Dialect::ALL {
        let greeting = Greeting { device: Some(&device), ..Greeting::operator(dialect, TOKEN) };
        let mut client = Client::connect(gateway.address, &greeting).expect("the device is let in");
        secrets.push(client.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned());
        client.ask("config.get", &json!({}));
    }
    let wrong = "wrong-canary-0123456789abcdef";
    secrets.push(wrong.to_owned());
    assert!(Client::connect(gateway.address, &Greeting::operator(Dialect::V4, wrong)).is_err());
    let mut client =
        Client::connect(gateway.address, &Greeting::operator(Dialect::V4, TOKEN)).expect("let in");
    for key in ["good", "bad"] {
        let run = send(&mut client, "what moves the sea?", key);
        client.chat_of(&run);
    }
    let home = std::sync::Arc::clone(&gateway.home);
    gateway.terminate();
    let (code, console) = gateway.wait();
    assert_eq!(code, Some(0), "{console}");

    assert!(console.contains("method=chat.send"), "the console shows the finest level:\n{console}");
    let logs = all_text_below(&home.state().join("logs"));
    assert!(logs.contains("chat.send"), "the log file shows the finest level:\n{logs}");
    for secret in secrets {
        assert!(!console.contains(&secret), "{secret} stands on the console");
        assert!(!logs.contains(&secret), "{secret} stands in the log file");
    }
}

fn the_configuration_is_shown_without_its_secrets(binary: Binary) {
    let server = ModelServer::start(vec![]);
    let home = Home::new(binary);
    home.configure(&config(&server));
    let gateway = home.start();
    let mut client =
        Client::connect(gateway.address, &Greeting::operator(Dialect::V4, TOKEN)).expect("let in");
    let shown = client.ask("config.get", &json!({})).to_string();
    assert!(shown.contains("tide-1"), "it shows the configuration: {shown}");
    for secret in [API_KEY, HEADER, TOKEN] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

fn all_text_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text.push_str(&all_text_below(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).expect("a file can be read")));
        }
    }
    text
}
