//! How a gateway ends, and why it may refuse to begin.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::json;
use telson_tests::on_every_runtime;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::model::{Answer, ModelServer, Step};

use super::talk::{history, line, send};

on_every_runtime!(
    on_a_signal_it_says_goodbye_and_ends_well,
    a_run_under_way_is_ended_before_the_goodbye,
    a_run_under_way_may_come_to_its_end,
    a_second_instance_on_the_same_state_is_refused,
    a_taken_port_is_refused,
    a_state_directory_that_cannot_be_made_is_refused,
    a_damaged_database_is_refused_and_left_alone,
    a_mistake_in_the_configuration_is_shown_with_its_place,
    an_unknown_key_is_answered_with_the_nearest_valid_one,
    a_bind_that_others_can_reach_needs_a_secret_of_the_operator,
    an_unknown_flag_is_a_usage_error,
);

fn on_a_signal_it_says_goodbye_and_ends_well(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut clients = Dialect::ALL.map(|dialect| gateway.operator(dialect));
    gateway.terminate();
    for client in &mut clients {
        assert_eq!(client.event("shutdown", |_| true)["reason"], json!("gateway stopping"));
        assert_eq!(client.closed(), Some((1012, "service restart".to_owned())));
    }
    let (code, log) = gateway.wait();
    assert_eq!(code, Some(0), "{log}");
}

fn a_run_under_way_is_ended_before_the_goodbye(binary: Binary) {
    let server = ModelServer::start(vec![Answer::Stream(vec![Step::Say("the moon"), Step::Hold])]);
    let home = Home::new(binary);
    home.configure(&server.config_with("key", &json!({"gateway": {"shutdown": {"drainMs": 0}}})));
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "what moves the sea?", "endless");
    client.event("chat", |payload| payload["state"] == json!("delta"));
    gateway.terminate();
    let end = client.chat_of(&run).pop().expect("a run has an end");
    assert_eq!((&end["state"], &end["stopReason"]), (&json!("aborted"), &json!("restart")), "{end}");
    client.event("shutdown", |_| true);
    assert_eq!(client.closed(), Some((1012, "service restart".to_owned())));
    let home = Arc::clone(&gateway.home);
    let (code, log) = gateway.wait();
    assert_eq!(code, Some(0), "{log}");

    let gateway = Gateway::start(&home, &[]);
    let mut client = gateway.operator(Dialect::V4);
    assert_eq!(history(&mut client), [line("user", "what moves the sea?"), line("assistant", "the moon")]);
}

fn a_run_under_way_may_come_to_its_end(binary: Binary) {
    let answer = Answer::Stream(vec![Step::Say("the moon"), Step::Hold, Step::Done]);
    let server = ModelServer::start(vec![answer]);
    let home = Home::new(binary);
    home.configure(&server.config("key"));
    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V4);
    let run = send(&mut client, "what moves the sea?", "patient");
    client.event("chat", |payload| payload["state"] == json!("delta"));
    gateway.terminate();
    // New work is refused meanwhile; the signal has arrived when it is.
    let params = json!({"sessionKey": "main", "message": "more", "idempotencyKey": "late"});
    while client.call("chat.send", &params).is_ok() {}
    server.go_on();
    let end = client.chat_of(&run).pop().expect("a run has an end");
    assert_eq!(end["state"], json!("final"), "{end}");
    client.event("shutdown", |_| true);
    let (code, log) = gateway.wait();
    assert_eq!(code, Some(0), "{log}");
}

fn a_second_instance_on_the_same_state_is_refused(binary: Binary) {
    let gateway = Home::new(binary).start();
    let second = gateway.home.run(&["gateway", "run", "--port", "0"]).failure(78);
    assert!(second.stderr.contains("already running"), "{second:#?}");
    assert!(second.stderr.contains("LOCK_HELD"), "{second:#?}");
    gateway.operator(Dialect::V4).ask("health", &json!({}));
}

fn a_taken_port_is_refused(binary: Binary) {
    let gateway = Home::new(binary).start();
    let other = Home::new(binary);
    let port = gateway.address.port().to_string();
    let refused = other.run(&["gateway", "run", "--port", &port]).failure(1);
    assert!(refused.stderr.contains("already listening"), "{refused:#?}");
    assert!(refused.stderr.contains(&port), "{refused:#?}");
}

fn a_state_directory_that_cannot_be_made_is_refused(binary: Binary) {
    let home = Home::new(binary);
    let refuse = |folder: &str| home.run(&["gateway", "run", "--port", "0", "--state-dir", folder]);
    let file = home.path("a-file");
    std::fs::write(&file, "").expect("a file can be written");
    let file = file.to_str().expect("a path of letters");
    let refused = refuse(file).failure(1);
    assert!(refused.stderr.contains(file), "{refused:#?}");

    // Permissions do not stop root: for root, a place where nobody can make a directory has to do.
    let locked = home.path("read-only");
    std::fs::create_dir(&locked).expect("a folder can be made");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).expect("it is ours");
    if std::fs::write(locked.join("probe"), "").is_err() {
        let locked = locked.to_str().expect("a path of letters");
        let refused = refuse(locked).failure(73);
        assert!(refused.stderr.contains(locked), "{refused:#?}");
    } else {
        let refused = refuse("/proc/nowhere/telson");
        assert!(matches!(refused.code, Some(1 | 73)), "{refused:#?}");
        assert!(refused.stderr.contains("/proc/nowhere"), "{refused:#?}");
    }
}

fn a_damaged_database_is_refused_and_left_alone(binary: Binary) {
    let home = Home::new(binary);
    std::fs::create_dir_all(home.state()).expect("a folder can be made");
    let file = home.state().join("telson.db");
    let noise = "this was never a database, and nobody should pretend it is one. ".repeat(64);
    std::fs::write(&file, &noise).expect("a file can be written");
    let refused = home.run(&["gateway", "run", "--port", "0"]).failure(1);
    assert!(refused.stderr.contains("telson.db"), "{refused:#?}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file is there"), noise);
}

fn a_mistake_in_the_configuration_is_shown_with_its_place(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{\n  gateway: {\n    port: \"many\",\n  },\n}\n");
    for arguments in [&["gateway", "run"][..], &["config", "validate"]] {
        let refused = home.run(arguments).failure(5);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("telson.json:3:11"), "the place: {said}");
        assert!(said.contains("gateway.port"), "the key: {said}");
        assert!(said.contains("65535"), "what was expected: {said}");
    }
    home.configure("{ gateway: { port: 18789 ");
    let refused = home.run(&["gateway", "run"]).failure(5);
    assert!(refused.stderr.contains("telson.json:1:"), "{refused:#?}");
}

fn an_unknown_key_is_answered_with_the_nearest_valid_one(binary: Binary) {
    let home = Home::new(binary);
    home.configure("{gateway: {prot: 18789}}");
    let refused = home.run(&["gateway", "run"]).failure(5);
    assert!(refused.stderr.contains("gateway.prot"), "{refused:#?}");
    assert!(refused.stderr.contains("gateway.port") || refused.stderr.contains("\"port\""), "{refused:#?}");
}

fn a_bind_that_others_can_reach_needs_a_secret_of_the_operator(binary: Binary) {
    let home = Home::new(binary);
    let open = home.run(&["gateway", "run", "--port", "0", "--bind", "lan", "--auth", "none"]).failure(5);
    assert!(open.stderr.contains("AUTH_REQUIRED_FOR_BIND"), "{open:#?}");
    let made = home.run(&["gateway", "run", "--port", "0", "--bind", "lan"]).failure(5);
    assert!(made.stderr.contains("AUTH_REQUIRED_FOR_BIND"), "{made:#?}");
    let short = home.run(&["gateway", "run", "--port", "0", "--bind", "lan", "--token", "short"]).failure(5);
    assert!(short.stderr.contains("16"), "it says how long a secret must be: {short:#?}");
}

fn an_unknown_flag_is_a_usage_error(binary: Binary) {
    let refused = Home::new(binary).run(&["gateway", "run", "--no-such-flag"]).failure(2);
    assert!(refused.stderr.contains("--no-such-flag"), "{refused:#?}");
}
