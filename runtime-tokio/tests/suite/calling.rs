//! The WebSocket client of the command line against a gateway.

use std::sync::mpsc;
use std::time::Duration;

use telson_host::net::ws::{Received, WsError, connect};
use telson_host::runtime::Runtime;
use telson_host::tls::Trust;

use super::gateway::Gateway;

/// Runs async work on a runtime and waits for its outcome.
pub fn block<R: Runtime, T: Send + 'static>(
    runtime: &R,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let (done, outcome) = mpsc::channel();
    runtime.spawn(async move {
        let _ = done.send(work.await);
    });
    outcome.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn url<R: Runtime>(runtime: &R, url: String) -> Result<(), WsError> {
    let own = runtime.clone();
    block(runtime, async move { connect(&own, &url, &Trust::Public).await.map(|_| ()) })
}

pub fn the_client_hears_the_challenge_and_the_close<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let (addr, own) = (gateway.addr, runtime.clone());
    let (challenge, close) = block(runtime, async move {
        let url = format!("ws://localhost:{}/any/path", addr.port());
        let mut client = connect(&own, &url, &Trust::Public).await.unwrap();
        let challenge = client.recv().await.unwrap();
        client.send("not JSON".to_owned()).await.unwrap();
        (challenge, client.recv().await.unwrap())
    });
    assert!(matches!(challenge, Received::Text(text) if text.contains("connect.challenge")));
    let Received::Close { code: 1000, reason } = close else { panic!("{close:?}") };
    assert_eq!(reason, "invalid handshake: first frame is not JSON");
}

pub fn the_client_says_what_is_wrong<R: Runtime>(runtime: &R) {
    let gateway = Gateway::start(runtime);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = url(runtime, format!("ws://{free}")).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot connect to {free}: ")), "{error}");
    let error = url(runtime, format!("http://{}", gateway.addr)).unwrap_err();
    assert!(error.to_string().contains("the scheme is http; expected ws://"), "{error}");
    let error = url(runtime, format!("wss://{}", gateway.addr)).unwrap_err();
    assert!(matches!(error, WsError::Connect { .. }), "{error}");
}
