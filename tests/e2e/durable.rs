//! What was acknowledged is there after a power failure.

use std::sync::Arc;

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home};

use super::talk::{history, line, message, send};

on_every_runtime!(
    an_acknowledged_message_survives_a_power_failure,
    a_finished_run_is_not_repeated_after_a_power_failure,
    a_paired_device_stays_paired,
    the_token_stays_the_same,
);

fn restarted(gateway: Gateway) -> Gateway {
    let home = gateway.kill();
    Gateway::start(&home, &[])
}

fn an_acknowledged_message_survives_a_power_failure(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V4);
    send(&mut client, "remember the tide", "durable");
    let gateway = restarted(gateway);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(history(&mut client).first(), Some(&line("user", "remember the tide")));
    let repeat = client.call("chat.send", &message("other words", "durable"));
    assert!(repeat.is_err(), "the key is still taken by the first words: {repeat:?}");
}

fn a_finished_run_is_not_repeated_after_a_power_failure(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut client = gateway.operator(Dialect::V3);
    let run = send(&mut client, "only once", "once");
    client.chat_of(&run);
    let before = client.ask("chat.send", &message("only once", "once"));
    let gateway = restarted(gateway);
    let mut client = gateway.operator(Dialect::V3);
    let after = client.ask("chat.send", &message("only once", "once"));
    assert_eq!(before, after, "a repeat gets the first answer");
    assert_eq!(history(&mut client), [line("user", "only once"), line("assistant", "only once")]);
}

fn a_paired_device_stays_paired(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    let device = Device::new(3);
    let greeting = Greeting { device: Some(&device), ..Greeting::operator(Dialect::V4, &token) };
    let client = Client::connect(gateway.address, &greeting).expect("the device is let in");
    let device_token = client.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();
    let gateway = restarted(gateway);
    let greeting = Greeting { device: Some(&device), ..Greeting::operator(Dialect::V4, &device_token) };
    let mut client = Client::connect(gateway.address, &greeting).expect("its token still works");
    client.ask("status", &json!({}));
}

fn the_token_stays_the_same(binary: Binary) {
    let gateway = Home::new(binary).start();
    let token = gateway.token();
    let home = Arc::clone(&gateway.home);
    let gateway = restarted(gateway);
    assert_eq!(gateway.token(), token);
    drop(gateway);
    let gateway = Gateway::start(&home, &[]);
    assert_eq!(gateway.token(), token);
}
