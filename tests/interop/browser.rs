//! Chromium, whose pages come from here and elsewhere (08 S-18, S-19).
//!
//! Every name leads to this host, as after a DNS rebinding: what a browser says in `Origin` and `Host` is all that
//! tells a page that belongs here from one that does not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::PATIENCE;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::Home;

on_both_binaries!(pages_from_elsewhere_get_no_socket_and_those_that_belong_here_do);

/// Opens sockets to the addresses in `TARGETS` and reports what became of each.
const PAGE: &str = r"<!doctype html><title>page</title><script>
const targets = TARGETS;
const tried = targets.map((target) => new Promise((resolve) => {
  const socket = new WebSocket(target);
  socket.onmessage = (message) => { resolve(JSON.parse(message.data).event); socket.close(); };
  socket.onerror = () => resolve('refused');
  socket.onclose = () => resolve('closed');
}));
Promise.all(tried).then((said) => fetch('/report', { method: 'POST', body: JSON.stringify(said) }));
</script>";

/// Serves the page and hands on what it reports.
fn serve(listener: &TcpListener, page: &str, reports: &Sender<Value>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        if let Some(report) = answer(stream, page)
            && reports.send(report).is_err()
        {
            return;
        }
    }
}

fn answer(stream: TcpStream, page: &str) -> Option<Value> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body).ok()?;
    let mut stream = stream;
    let (kind, text) = if first.starts_with("GET / ") { ("text/html", page) } else { ("text/plain", "") };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}", text.len());
    write!(stream, "{head}\r\nConnection: close\r\n\r\n{text}").ok()?;
    serde_json::from_slice(&body).ok()
}

/// A browser that is closed with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    fn open(home: &Home, url: &str) -> Self {
        let profile = format!("--user-data-dir={}", home.path("browser").display());
        let mut command = Command::new("/usr/bin/chromium");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]);
        command.args([
            "--disable-background-networking",
            "--host-resolver-rules=MAP * 127.0.0.1",
            &profile,
            url,
        ]);
        command.env("HOME", home.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("chromium is there; scripts/interop-setup installs it"))
    }
}

/// What a page of `host` sees of each target.
fn seen(home: &Home, host: &str, targets: &[String]) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    seen_at(home, listener, &format!("http://{host}:{port}/"), targets)
}

fn seen_at(home: &Home, listener: TcpListener, url: &str, targets: &[String]) -> Value {
    let page = PAGE.replace("TARGETS", &json!(targets).to_string());
    let (reports, heard): (Sender<Value>, Receiver<Value>) = channel();
    std::thread::spawn(move || serve(&listener, &page, &reports));
    let _browser = Browser::open(home, url);
    heard.recv_timeout(PATIENCE).expect("the page reports")
}

fn pages_from_elsewhere_get_no_socket_and_those_that_belong_here_do(binary: Binary) {
    let panel = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://panel.example:{}", panel.local_addr().unwrap().port());
    let home = Home::new(binary);
    home.configure(&json!({"gateway": {"controlUi": {"allowedOrigins": [origin]}}}).to_string());
    let gateway = home.start();
    let port = gateway.address.port();
    let at = |host: &str| format!("ws://{host}:{port}/");
    let (loopback, localhost, rebound) = (at("127.0.0.1"), at("localhost"), at("rebound.example"));
    let home = &gateway.home;

    let everywhere = [loopback.clone(), localhost.clone(), rebound];
    assert_eq!(seen(home, "evil.example", &everywhere), json!(["refused", "refused", "refused"]));
    let open = json!(["connect.challenge", "connect.challenge"]);
    let here = [loopback, localhost];
    assert_eq!(seen(home, "localhost", &here), open, "a development server of this host");
    assert_eq!(seen_at(home, panel, &format!("{origin}/"), &here), open, "a page that is allowed");
}
