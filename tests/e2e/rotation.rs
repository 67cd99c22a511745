//! The gateway's own secret changes while it runs (spec 01 §3.12, 08 S-11, S-12, S-98).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home, is_private};
use telson_tests::support::http::{Reply, raw};
use telson_tests::support::model::{Answer, ModelServer, Step};

on_both_binaries!(
    a_new_token_file_ends_what_the_old_token_admitted,
    an_edited_configuration_ends_what_the_old_token_admitted,
    the_command_rotates_the_token_and_sees_the_old_one_end,
    a_token_that_the_operator_wrote_is_not_rotated_by_the_command,
    a_mistake_keeps_the_secret_that_was_in_force,
    a_file_that_vanishes_opens_nothing,
    other_keys_wait_for_the_next_start,
    pages_that_are_no_longer_allowed_are_closed,
);

const FIRST: &str = "first-token-0123456789abcdef";
const SECOND: &str = "second-token-0123456789abcdef";

/// A second is promised; a machine that is busy with other tests gets some more.
const SOON: Duration = Duration::from_secs(5);

/// A gateway with clients of every kind, one of which hears an answer that does not end.
struct Scene {
    gateway: Gateway,
    server: ModelServer,
    sockets: Vec<Client>,
    stream: TcpStream,
    old: String,
}

fn config(server: &ModelServer, gateway: Value) -> String {
    let mut gateway = gateway;
    gateway["http"] = json!({"endpoints": {"chatCompletions": {"enabled": true}}});
    server.config_with("sk-none", &json!({"gateway": gateway})).to_string()
}

impl Scene {
    fn set(binary: Binary, auth: &Value) -> Self {
        let server = ModelServer::start(vec![Answer::Stream(vec![Step::Say("tide"), Step::Hold])]);
        let home = Home::new(binary);
        home.configure(&config(&server, auth.clone()));
        let gateway = home.start();
        let old = gateway.token();
        let greet = |dialect| Client::connect(gateway.address, &Greeting::operator(dialect, &old));
        let sockets: Vec<Client> =
            Dialect::ALL.into_iter().map(|dialect| greet(dialect).expect("let in")).collect();
        let stream = completion(gateway.address, &old);
        Self { gateway, server, sockets, stream, old }
    }

    /// Everything that the old token admitted ends, and it opens nothing any more.
    #[track_caller]
    fn everybody_leaves(&mut self, new: &str) {
        for client in &mut self.sockets {
            let closed = client.closed_within(SOON);
            assert_eq!(closed, Some((4001, "gateway auth changed".to_owned())));
        }
        self.stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("the stream ends");
        assert!(!rest.contains("moon") && !rest.contains("[DONE]"), "{rest}");

        let address = self.gateway.address;
        assert_eq!(models(address, &self.old).status, 401);
        assert_eq!(models(address, new).status, 200);
        for dialect in Dialect::ALL {
            let old = Client::connect(address, &Greeting::operator(dialect, &self.old));
            assert!(old.is_err(), "{dialect:?}");
            let mut client = Client::connect(address, &Greeting::operator(dialect, new)).expect("let in");
            client.ask("health", &json!({}));
        }
    }
}

/// Asks for an answer and reads its beginning.
fn completion(address: SocketAddr, token: &str) -> TcpStream {
    let body =
        json!({"model": "openclaw", "stream": true, "messages": [{"role": "user", "content": "the sea?"}]});
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).expect("the gateway accepts connections");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it can be sent");
    let mut heard = String::new();
    let mut piece = [0; 1024];
    while !heard.contains("tide") {
        let size = stream.read(&mut piece).expect("the answer begins");
        assert_ne!(size, 0, "the answer ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..size]));
    }
    stream
}

fn models(address: SocketAddr, token: &str) -> Reply {
    let request = format!(
        "GET /v1/models HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    raw(address, request.as_bytes())
}

/// Puts a file into its place as careful programs do.
fn replace(home: &Home, below: &str, text: &str) {
    let draft = home.state().join("draft");
    fs::write(&draft, text).expect("a file can be written");
    fs::rename(&draft, home.state().join(below)).expect("a file can be moved");
}

fn a_new_token_file_ends_what_the_old_token_admitted(binary: Binary) {
    let mut scene = Scene::set(binary, &json!({}));
    replace(&scene.gateway.home, "run/gateway.token", &format!("{SECOND}\n"));
    scene.everybody_leaves(SECOND);
    assert!(!scene.gateway.log().contains(SECOND), "the new token is masked like the old one");
}

fn an_edited_configuration_ends_what_the_old_token_admitted(binary: Binary) {
    let mut scene = Scene::set(binary, &json!({"auth": {"token": FIRST}}));
    let device = Device::new(7);
    let greeting = Greeting { device: Some(&device), ..Greeting::operator(Dialect::V4, FIRST) };
    let own = Client::connect(scene.gateway.address, &greeting).expect("let in");
    let own = own.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned();

    let edited = config(&scene.server, json!({"auth": {"token": SECOND}}));
    fs::write(scene.gateway.home.state().join("telson.json"), edited).expect("the file can be written");
    scene.everybody_leaves(SECOND);

    let greeting = Greeting { device: Some(&device), ..Greeting::operator(Dialect::V4, &own) };
    Client::connect(scene.gateway.address, &greeting).expect("the device's own token is another credential");
}

fn the_command_rotates_the_token_and_sees_the_old_one_end(binary: Binary) {
    let mut scene = Scene::set(binary, &json!({}));
    let outcome = scene.gateway.run(&["token", "rotate", "--json"]).success().json();
    assert_eq!((&outcome["running"], &outcome["inForce"]), (&json!(true), &json!(true)), "{outcome}");
    let new = scene.gateway.token();
    assert_ne!(new, scene.old);
    assert!(new.len() >= 43, "256 bits");
    assert!(is_private(&scene.gateway.home.state().join("run/gateway.token")));
    assert!(!outcome.to_string().contains(&new), "it is not shown unasked");
    scene.everybody_leaves(&new);

    let home = scene.gateway.kill();
    let outcome = home.run(&["token", "rotate"]).success();
    assert!(outcome.stderr.contains("no gateway runs here"), "{outcome:?}");
    let gateway = Gateway::start(&home, &[]);
    assert_ne!(gateway.token(), new);
    gateway.operator(Dialect::V4).ask("health", &json!({}));
}

fn a_token_that_the_operator_wrote_is_not_rotated_by_the_command(binary: Binary) {
    let home = Home::new(binary);
    home.configure(&format!("{{gateway: {{auth: {{token: '{FIRST}'}}}}}}"));
    let outcome = home.run(&["token", "rotate"]).failure(5);
    assert!(outcome.stderr.contains("gateway.auth.token"), "{outcome:?}");
    assert!(!home.state().join("run/gateway.token").exists());
}

fn a_mistake_keeps_the_secret_that_was_in_force(binary: Binary) {
    let home = Home::new(binary);
    home.configure(&format!("{{gateway: {{auth: {{token: '{FIRST}'}}}}}}"));
    let gateway = home.start();
    let mut client =
        Client::connect(gateway.address, &Greeting::operator(Dialect::V4, FIRST)).expect("let in");
    for mistake in [
        "{gateway: {auth: {mode: 'noone'}}}",
        "{gateway: {bind: 'lan', auth: {mode: 'none'}}}",
        "{gateway: {auth: {token: 'changeme'}}}",
        "{gateway: {auth: {token: '${UNSET_TOKEN}'}}}",
        "{gateway: {auth:",
    ] {
        let before = gateway.log().matches("config reload skipped").count();
        gateway.home.configure(mistake);
        gateway.logged_again("config reload skipped", before);
        client.ask("health", &json!({}));
        let again = Client::connect(gateway.address, &Greeting::operator(Dialect::Plain, FIRST));
        assert!(again.is_ok(), "{mistake}");
        let open = Greeting { token: None, ..Greeting::operator(Dialect::Plain, "") };
        assert!(Client::connect(gateway.address, &open).is_err(), "{mistake}");
    }
    gateway.home.configure(&format!("{{gateway: {{auth: {{token: '{SECOND}'}}}}}}"));
    assert!(client.closed_within(SOON).is_some());
}

fn a_file_that_vanishes_opens_nothing(binary: Binary) {
    let home = Home::new(binary);
    home.configure(&format!("{{gateway: {{auth: {{token: '{FIRST}'}}}}}}"));
    let gateway = home.start();
    fs::remove_file(gateway.home.state().join("telson.json")).expect("a file can be removed");
    gateway.logged("the file is gone");
    Client::connect(gateway.address, &Greeting::operator(Dialect::V4, FIRST)).expect("let in");
}

fn other_keys_wait_for_the_next_start(binary: Binary) {
    let home = Home::new(binary);
    home.configure(&format!("{{gateway: {{auth: {{token: '{FIRST}'}}}}}}"));
    let gateway = home.start();
    let mut client =
        Client::connect(gateway.address, &Greeting::operator(Dialect::V4, FIRST)).expect("let in");
    gateway.home.configure(&format!("{{gateway: {{port: 4711, auth: {{token: '{FIRST}'}}}}}}"));
    let line = gateway.logged("config change requires gateway restart");
    assert!(line.contains("gateway.port"), "{line}");
    client.ask("health", &json!({}));
}

fn pages_that_are_no_longer_allowed_are_closed(binary: Binary) {
    let auth = |origin: &str| {
        format!("{{gateway: {{auth: {{token: '{FIRST}'}}, controlUi: {{allowedOrigins: ['{origin}']}}}}}}")
    };
    let home = Home::new(binary);
    home.configure(&auth("https://chat.example"));
    let gateway = home.start();
    let greeting = Greeting::operator(Dialect::Plain, FIRST);
    let mut page =
        Client::connect_from(gateway.address, &greeting, "https://chat.example").expect("the page is let in");
    let mut program = Client::connect(gateway.address, &greeting).expect("let in");
    gateway.home.configure(&auth("https://other.example"));
    assert_eq!(page.closed_within(SOON), Some((1008, "origin not allowed".to_owned())));
    program.ask("health", &json!({}));
}
