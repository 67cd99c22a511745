//! Starting and stopping.

use telson_host::driver::{Exit, ServeError};
use telson_host::runtime::{Runtime, Signal};

use super::client::Client;
use super::gateway::Gateway;
use super::healthy;

pub fn a_stop_closes_sockets_with_1012_and_the_port<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let mut client = Client::upgraded(gateway.addr);
    let mut idle = Client::connect(gateway.addr);
    idle.ask("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    gateway.signal(Signal::Hangup);
    gateway.signal(Signal::Terminate);
    assert_eq!(client.close_frame().0, 1012);
    assert!(matches!(gateway.ended(), Ok(Exit::Stopped)));
    assert!(client.is_closed() && idle.is_closed());
    let again = Gateway::start_at(runtime, gateway.addr).unwrap();
    healthy(again.addr);
}

pub fn a_restart_is_told_apart<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    healthy(gateway.addr);
    gateway.signal(Signal::User2);
    assert!(matches!(gateway.ended(), Ok(Exit::Restarting)));
}

pub fn a_port_that_is_taken_is_named<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let Err(error) = Gateway::start_at(runtime, gateway.addr) else { panic!("two on one port") };
    let port = gateway.addr.port();
    let text = format!("another gateway instance is already listening on ws://127.0.0.1:{port}");
    assert_eq!(error.to_string(), text);
    let Err(error) = Gateway::start_at(runtime, "192.0.2.1:18789".parse().unwrap()) else {
        panic!("bound an address of another host")
    };
    assert!(matches!(error, ServeError::Bind { .. }));
    let text = "failed to bind gateway socket on ws://192.0.2.1:18789: ";
    assert!(error.to_string().starts_with(text), "{error}");
    healthy(gateway.addr);
}
