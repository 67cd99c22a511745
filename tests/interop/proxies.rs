//! nginx, HAProxy and Caddy in front of the gateway (07 P-24; 08 S-25, S-26).
//!
//! The proxy listens on every address and the client comes to one that is not loopback, as from another machine;
//! between proxy and gateway is loopback, as on most servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::PATIENCE;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::{Gateway, Home};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

on_both_binaries!(
    nginx_in_front_works_when_it_is_trusted_and_is_told_of_when_not,
    haproxy_in_front_works_when_it_is_trusted_and_is_told_of_when_not,
    caddy_in_front_works_when_it_is_trusted_and_is_told_of_when_not,
    a_user_whom_nginx_has_signed_in_is_let_in_by_its_name,
);

/// A client's lie about where it is.
const FORGED: &str = "6.6.6.6, 127.0.0.1";

/// What is configured in front.
#[derive(Clone, Copy)]
enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

/// Where a proxy listens.
#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
}

/// A proxy that is ended with the test.
struct Proxy {
    folder: PathBuf,
    ports: Ports,
}

impl Proxy {
    /// Starts a proxy before a gateway. Each of the three puts itself into the background once it listens.
    fn start(kind: Kind, home: &Home, upstream: SocketAddr, further: &str) -> Self {
        let folder = home.path("proxy");
        std::fs::create_dir_all(&folder).unwrap();
        certify(&folder);
        let ports = Ports { plain: free_port(), tls: free_port() };
        let (text, mut command) = match kind {
            Kind::Nginx => (nginx(&folder, ports, upstream, further), program("nginx")),
            Kind::HaProxy => (haproxy(&folder, ports, upstream), program("haproxy")),
            Kind::Caddy => (caddy(&folder, ports, upstream), program("caddy")),
        };
        let file = folder.join("Caddyfile");
        std::fs::write(&file, text).unwrap();
        let (file, pid) = (file.display().to_string(), folder.join("pid").display().to_string());
        let errors = folder.join("error.log").display().to_string();
        match kind {
            Kind::Nginx => command.args(["-c", &file, "-e", &errors]),
            Kind::HaProxy => command.args(["-D", "-f", &file, "-p", &pid]),
            Kind::Caddy => command.args(["start", "--config", &file, "--pidfile", &pid]),
        };
        let log = std::fs::File::create(folder.join("out.log")).unwrap();
        command.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let status = command.status().expect("the proxy is installed; scripts/interop-setup installs it");
        assert!(status.success(), "{}", std::fs::read_to_string(folder.join("out.log")).unwrap());
        Self { folder, ports }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(self.folder.join("pid")).unwrap_or_default();
        for pid in text.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// A program of Debian, whose folder need not be on a user's path.
fn program(name: &str) -> Command {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name));
    let found = places.into_iter().find(|place| place.exists());
    Command::new(found.unwrap_or_else(|| panic!("{name} is missing; scripts/interop-setup installs it")))
}

fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// The address of this machine that others see.
fn own_address() -> std::net::IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the system only chooses the address from which it would.
    socket.connect("198.51.100.1:9").expect("this machine has a route to others");
    socket.local_addr().unwrap().ip()
}

/// Makes a certificate for the proxy.
fn certify(folder: &Path) {
    let of = |name: &str| folder.join(name).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=proxy.test", "-addext", "subjectAltName=DNS:proxy.test"]);
    openssl.args(["-keyout", &of("key.pem"), "-out", &of("cert.pem")]);
    let made = openssl.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("openssl is installed");
    assert!(made.success());
    let both = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
    std::fs::write(folder.join("both.pem"), both.concat()).unwrap();
}

fn nginx(folder: &Path, Ports { plain, tls }: Ports, upstream: SocketAddr, further: &str) -> String {
    let folder = folder.display();
    format!(
        "worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 0.0.0.0:{plain};
    listen 0.0.0.0:{tls} ssl;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    location / {{
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      {further}
    }}
  }}
}}
"
    )
}

fn haproxy(folder: &Path, Ports { plain, tls }: Ports, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 0.0.0.0:{plain}
  bind 0.0.0.0:{tls} ssl crt {folder}/both.pem
  option forwardfor
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  default_backend telson
backend telson
  server gateway {upstream}
"
    )
}

fn caddy(folder: &Path, Ports { plain, tls }: Ports, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "{{
  admin off
  auto_https off
}}
http://:{plain} {{
  reverse_proxy {upstream}
}}
https://:{tls} {{
  tls {folder}/cert.pem {folder}/key.pem
  reverse_proxy {upstream}
}}
"
    )
}

/// A connection to a proxy, with or without TLS.
enum Line {
    Plain(TcpStream),
    /// `openssl s_client`, whose pipes are the inside of the tunnel.
    Tls(Child, ChildStdin, ChildStdout),
}

impl Line {
    fn open(proxy: &Proxy, tls: bool) -> Self {
        let port = if tls { proxy.ports.tls } else { proxy.ports.plain };
        let address = SocketAddr::new(own_address(), port);
        if !tls {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            return Self::Plain(stream);
        }
        let mut openssl = Command::new("openssl");
        openssl.args([
            "s_client",
            "-quiet",
            "-verify_quiet",
            "-verify_return_error",
            "-servername",
            "proxy.test",
        ]);
        openssl.args(["-CAfile", &proxy.folder.join("cert.pem").display().to_string()]);
        openssl.args(["-connect", &address.to_string()]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = openssl.spawn().expect("openssl is installed");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self::Tls(child, input, output)
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(_, _, output) => output.read(into),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(_, input, _) => input.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(_, input, _) => input.flush(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Self::Tls(child, ..) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks for the models through the proxy; the answer's text, its status line first.
fn models(proxy: &Proxy, tls: bool, token: Option<&str>) -> String {
    let mut line = Line::open(proxy, tls);
    let secret = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(
        line,
        "GET /v1/models HTTP/1.1\r\nHost: proxy.test\r\nX-Forwarded-For: {FORGED}\r\n{secret}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let _ = line.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Opens a socket through the proxy and greets; the answer, or the status that refuses the upgrade.
fn greet(proxy: &Proxy, tls: bool, token: Option<&str>) -> Result<Value, u16> {
    let mut request = "ws://proxy.test/".into_client_request().unwrap();
    request.headers_mut().insert("x-forwarded-for", FORGED.parse().unwrap());
    request.headers_mut().insert("x-user", "mallory".parse().unwrap());
    let opened = tungstenite::client::client(request, Line::open(proxy, tls));
    let (mut socket, _) = match opened {
        Ok(opened) => opened,
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            return Err(answer.status().as_u16());
        }
        Err(error) => panic!("{error}"),
    };
    heard(&mut socket);
    let mut params =
        json!({"client": {"id": "through a proxy"}, "scopes": ["operator.read", "operator.admin"]});
    if let Some(token) = token {
        params["token"] = token.into();
    }
    let connect = json!({"type": "connect", "id": "c", "params": params});
    socket.send(Message::text(connect.to_string())).unwrap();
    Ok(heard(&mut socket))
}

fn heard(socket: &mut WebSocket<Line>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

fn gateway(binary: Binary, mut settings: Value) -> Gateway {
    settings["http"] = json!({
        "endpoints": {"chatCompletions": {"enabled": true}},
        "securityHeaders": {"strictTransportSecurity": "max-age=600"},
    });
    let home = Home::new(binary);
    home.configure(&json!({"gateway": settings}).to_string());
    home.start()
}

fn in_front(kind: Kind, binary: Binary) {
    let own = own_address();
    let right = gateway(binary, json!({"trustedProxies": ["127.0.0.1", "::1"]}));
    let (proxy, token) = (Proxy::start(kind, &right.home, right.address, ""), right.token());
    for tls in [false, true] {
        let answer = models(&proxy, tls, Some(&token));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let strict = answer.to_ascii_lowercase().contains("strict-transport-security: max-age=600");
        assert_eq!(strict, tls, "browsers are told over TLS only: {answer}");
        let hello = greet(&proxy, tls, Some(&token)).unwrap();
        assert_eq!(hello["ok"], true, "{hello}");
    }
    assert!(models(&proxy, false, Some("a guess")).starts_with("HTTP/1.1 401"));
    let counted = right.logged("a wrong credential was counted");
    assert!(counted.contains(&own.to_string()), "{counted}");
    let log = right.log();
    let connected: Vec<&str> = log.lines().filter(|line| line.contains("connected")).collect();
    assert_eq!(connected.len(), 2, "{log}");
    assert!(connected.iter().all(|line| line.contains(&own.to_string())), "{log}");
    assert!(!log.contains("6.6.6.6"), "{log}");
    drop((proxy, right));

    let wrong = gateway(binary, json!({}));
    let (proxy, token) = (Proxy::start(kind, &wrong.home, wrong.address, ""), wrong.token());
    for tls in [false, true] {
        assert_eq!(greet(&proxy, tls, Some(&token)), Err(403));
    }
    let answer = models(&proxy, false, Some(&token));
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("proxy_attribution_required"), "{answer}");
    let remedy = r#"gateway.trustedProxies: ["127.0.0.1", "::1"]"#;
    wrong.logged(remedy);
    wrong.terminate();
    let (_, log) = wrong.wait();
    assert_eq!(log.lines().filter(|line| line.contains(remedy)).count(), 1, "{log}");
}

fn nginx_in_front_works_when_it_is_trusted_and_is_told_of_when_not(binary: Binary) {
    in_front(Kind::Nginx, binary);
}

fn haproxy_in_front_works_when_it_is_trusted_and_is_told_of_when_not(binary: Binary) {
    in_front(Kind::HaProxy, binary);
}

fn caddy_in_front_works_when_it_is_trusted_and_is_told_of_when_not(binary: Binary) {
    in_front(Kind::Caddy, binary);
}

fn a_user_whom_nginx_has_signed_in_is_let_in_by_its_name(binary: Binary) {
    let key = "what the proxy proves itself by";
    let gateway = gateway(
        binary,
        json!({
            "trustedProxies": ["127.0.0.1"],
            "auth": {
                "mode": "trusted-proxy",
                "trustedProxy": {
                    "userHeader": "X-User", "allowUsers": ["ada"], "allowLoopback": true,
                    "secretHeader": {"name": "X-Proxy-Key", "value": key},
                },
            },
        }),
    );
    let further = format!("proxy_set_header X-User ada; proxy_set_header X-Proxy-Key \"{key}\";");
    let proxy = Proxy::start(Kind::Nginx, &gateway.home, gateway.address, &further);
    let answer = models(&proxy, true, None);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let hello = greet(&proxy, true, None).unwrap();
    assert_eq!(hello["ok"], true, "{hello}");
    let auth = &hello["payload"]["auth"];
    assert_eq!(auth["scopes"], json!(["operator.read"]), "{auth}");
    assert_eq!(auth["withheldScopes"], json!(["operator.admin"]), "{auth}");
    assert_eq!(auth["withheldReason"], "gateway.auth.identityScopes gives this user no more");
    assert!(!gateway.log().contains(key));
    drop(proxy);
    let ordinary = Proxy::start(Kind::Nginx, &gateway.home, gateway.address, "");
    assert!(models(&ordinary, false, None).starts_with("HTTP/1.1 401"), "without the proxy's key");
    assert_eq!(greet(&ordinary, false, None).unwrap()["error"]["code"], "INVALID_REQUEST");
}
