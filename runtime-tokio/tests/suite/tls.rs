//! TLS on the gateway's port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use telson_host::driver::Exit;
use telson_host::net::ws::{Received, WsClient, WsError, connect};
use telson_host::runtime::{Runtime, Signal};
use telson_host::tls::{Leaf, Live, Pair, Pin, TlsFiles, Trust};

use super::calling::block;
use super::client::Client;
use super::gateway::Gateway;
use super::stage::{Hasty, Stage};

const PATIENCE: Duration = Duration::from_secs(20);

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A pair of its own, made as the gateway makes it.
struct Given {
    files: TlsFiles,
    live: Arc<Live>,
    /// Removed with it.
    _folder: tempfile::TempDir,
}

fn given() -> Given {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        cert: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
        ca: None,
        generate: true,
        host: "box".to_owned(),
        names: Vec::new(),
    };
    let live = Arc::new(Live::open(files.clone()).unwrap());
    Given { files, live, _folder: folder }
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A client that verifies chain and name as a browser would, with the gateway's certificate as its root.
fn secure(addr: SocketAddr, given: &Given, version: &'static SupportedProtocolVersion) -> Secure {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&given.files.cert).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, Client::connect(addr).0)
}

fn ask(stream: &mut Secure, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\"live\"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

fn wss<R: Runtime>(runtime: &R, addr: SocketAddr, trust: Trust) -> Result<WsClient<R>, WsError> {
    let own = runtime.clone();
    block(runtime, async move { connect(&own, &format!("wss://{addr}"), &trust).await })
}

/// Says something that the gateway answers with a close.
fn is_heard<R: Runtime>(runtime: &R, mut client: WsClient<R>) {
    block(runtime, async move {
        let challenge = client.recv().await.unwrap();
        assert!(matches!(challenge, Received::Text(text) if text.contains("connect.challenge")));
        client.send("not JSON".to_owned()).await.unwrap();
        assert!(matches!(client.recv().await.unwrap(), Received::Close { code: 1000, .. }));
    });
}

pub fn a_port_with_tls_serves_http_and_websocket<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(runtime, Arc::clone(&given.live));
    let mut stream = secure(gateway.addr, &given, &TLS13);
    for _ in 0..2 {
        assert!(ask(&mut stream, HEALTH).starts_with("HTTP/1.1 200"), "one connection for both");
    }
    let leaf = given.live.leaf();
    for pin in [leaf.certificate, leaf.key] {
        let client = wss(runtime, gateway.addr, Trust::Pinned(vec![pin])).unwrap();
        assert_eq!(client.leaf(), Some(leaf));
        is_heard(runtime, client);
    }
    is_heard(runtime, wss(runtime, gateway.addr, Trust::FirstUse).unwrap());
}

pub fn an_older_client_speaks_tls_1_2<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(runtime, Arc::clone(&given.live));
    let answer = ask(&mut secure(gateway.addr, &given, &TLS12), HEALTH);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

pub fn another_certificate_is_told_and_nothing_is_sent<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(runtime, Arc::clone(&given.live));
    let (pin, leaf) = (Pin::of(b"another"), given.live.leaf());
    let error = wss(runtime, gateway.addr, Trust::Pinned(vec![pin])).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, WsError::Pin { found, .. } if found == leaf), "{text}");
    for part in [gateway.addr.to_string(), pin.to_string(), leaf.certificate.to_string()] {
        assert!(text.contains(&part), "{text}");
    }
    let error = wss(runtime, gateway.addr, Trust::Public).err().unwrap();
    assert!(matches!(error, WsError::Connect { .. }), "nobody public vouches for it: {error}");
    let clear = Gateway::start(runtime);
    let (own, url) = (runtime.clone(), format!("ws://{}", clear.addr));
    let error =
        block(runtime, async move { connect(&own, &url, &Trust::Pinned(vec![pin])).await.err().unwrap() });
    assert!(matches!(error, WsError::Url(_)), "a pin that nothing checks: {error}");
}

pub fn what_is_no_tls_is_closed_without_an_answer_in_the_clear<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(runtime, Arc::clone(&given.live));
    let noise: Vec<u8> = (0_u16..4_000).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    let record = [&[22, 3, 1, 0xff, 0xff], noise.as_slice()].concat();
    for bytes in
        [HEALTH.as_bytes(), noise.as_slice(), &record, b"\0", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"]
    {
        let mut client = Client::connect(gateway.addr);
        client.send(bytes);
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = client.0.read_to_end(&mut answer);
        assert!(answer.len() < 16 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert!(ask(&mut secure(gateway.addr, &given, &TLS13), HEALTH).starts_with("HTTP/1.1 200"));
}

pub fn a_slow_handshake_is_cut_off_and_disturbs_nobody<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(&Hasty(runtime.clone(), 10), Arc::clone(&given.live));
    let mut slow: Vec<Client> = (0..20).map(|_| Client::connect(gateway.addr)).collect();
    slow.iter_mut().for_each(|client| client.send(b"\x16\x03\x01\x02\x00\x01"));
    assert!(ask(&mut secure(gateway.addr, &given, &TLS13), HEALTH).starts_with("HTTP/1.1 200"));
    assert!(slow.iter_mut().all(Client::is_closed));
}

pub fn a_new_certificate_is_taken_up_while_connections_stay<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(&Hasty(runtime.clone(), 10), Arc::clone(&given.live));
    let before = given.live.leaf();
    let stays = wss(runtime, gateway.addr, Trust::FirstUse).unwrap();
    let mut open = secure(gateway.addr, &given, &TLS13);
    ask(&mut open, HEALTH);
    Pair::renew(&given.files.cert, &given.files.key, &["localhost".to_owned()]).unwrap();
    let after = shown_until(runtime, &gateway, |leaf| leaf != before);
    assert_eq!(after.key, before.key);
    ask(&mut open, HEALTH);
    is_heard(runtime, stays);

    std::fs::write(&given.files.cert, "half of a certif").unwrap();
    std::fs::remove_file(&given.files.key).unwrap();
    let error = given.live.look().is_none_or(|look| look.is_err());
    assert!(error, "what is broken is not taken up");
    assert_eq!(shown_until(runtime, &gateway, |_| true), after);
}

/// Connects until a certificate is shown that is wanted.
fn shown_until<R: Runtime>(runtime: &R, gateway: &Gateway, wanted: impl Fn(Leaf) -> bool) -> Leaf {
    let until = Instant::now() + PATIENCE;
    loop {
        let leaf = wss(runtime, gateway.addr, Trust::FirstUse).unwrap().leaf().unwrap();
        if wanted(leaf) {
            return leaf;
        }
        assert!(Instant::now() < until, "the certificate is not taken up");
    }
}

pub fn a_client_that_leaves_in_tls_is_gone_once<R: Runtime>(runtime: &R) {
    let given = given();
    let stage = Stage::start_with(&Hasty(runtime.clone(), 10), Some(Arc::clone(&given.live)));
    for says_goodbye in [true, false] {
        let mut stream = secure(stage.addr, &given, &TLS13);
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let (id, _) = stage.request();
        if says_goodbye {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        drop(stream);
        stage.hears_gone(id);
    }
    stage.finish();
}

async fn hears<R: Runtime>(mut client: WsClient<R>) -> Received {
    client.recv().await.unwrap()
}

pub fn a_stop_ends_connections_in_tls<R: Runtime>(runtime: &R) {
    let given = given();
    let gateway = Gateway::start_secure(runtime, Arc::clone(&given.live));
    let mut client = wss(runtime, gateway.addr, Trust::FirstUse).unwrap();
    let mut idle = Client::connect(gateway.addr);
    let client = block(runtime, async move {
        client.recv().await.unwrap();
        client
    });
    gateway.signal(Signal::Terminate);
    let close = block(runtime, hears(client));
    assert!(matches!(close, Received::Close { code: 1012, .. }), "{close:?}");
    assert!(matches!(gateway.ended(), Ok(Exit::Stopped)));
    assert!(idle.is_closed());
}
