//! A fresh machine, no configuration, one command.

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::gateway::{Gateway, Home, is_private};

on_every_runtime!(
    without_configuration_it_makes_a_token_that_only_the_owner_can_read,
    the_configuration_file_is_never_written,
    a_token_from_the_environment_is_used,
    a_local_gateway_may_ask_for_nothing,
);

fn without_configuration_it_makes_a_token_that_only_the_owner_can_read(binary: Binary) {
    let gateway = Home::new(binary).start();
    assert!(gateway.address.ip().is_loopback(), "nobody else can reach it");
    let token = gateway.token();
    assert!(token.len() >= 32, "a token that cannot be guessed");
    let run = gateway.home.state().join("run");
    let holder = std::fs::read_dir(&run)
        .expect("the state directory has a place for the running gateway")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&token)))
        .expect("the token is kept");
    assert!(is_private(&holder), "{}", holder.display());
    assert!(!gateway.log().contains(&token), "the token is not printed");
}

fn the_configuration_file_is_never_written(binary: Binary) {
    let gateway = Home::new(binary).start();
    gateway.operator(Dialect::V4).ask("config.get", &json!({}));
    assert!(!gateway.home.state().join("telson.json").exists());

    let text = "// mine\n{gateway: {auth: {mode: \"token\",}}}\n";
    let home = Home::new(binary);
    home.configure(text);
    let gateway = home.start();
    gateway.operator(Dialect::V4).ask("config.get", &json!({}));
    let now = std::fs::read_to_string(gateway.home.state().join("telson.json")).expect("the file is there");
    assert_eq!(now, text);
}

fn a_token_from_the_environment_is_used(binary: Binary) {
    let home = std::sync::Arc::new(Home::new(binary));
    let token = "a-token-from-the-environment";
    let mut command = home.command(&["gateway", "run", "--port", "0"]);
    command.env("OPENCLAW_GATEWAY_TOKEN", token);
    let gateway = Gateway::spawn(&home, command);
    Client::connect(gateway.address, &Greeting::operator(Dialect::V3, token))
        .expect("the token of the environment is the gateway's");
}

fn a_local_gateway_may_ask_for_nothing(binary: Binary) {
    let gateway = Home::new(binary).start_with(&["--auth", "none"]);
    let mut client =
        Client::connect(gateway.address, &Greeting { token: None, ..Greeting::operator(Dialect::Plain, "") })
            .expect("a local client needs no secret");
    client.ask("health", &json!({}));
}
