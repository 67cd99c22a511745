//! What the tables share: a gateway with its secret, principals, and a client that can be as wrong as a test wants.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Closed, Dialect};
use telson_tests::support::device::{Claim, Device};
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::http::{Reply, raw};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError};

/// The shared secret of the gateways here.
pub(crate) const TOKEN: &str = "gate-suite-token-0123456789abcdef";

/// A gateway with every HTTP endpoint on.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
}

impl Rig {
    /// One on tokio with the usual settings.
    pub(crate) fn new() -> Self {
        Self::with(Binary::Telson, &json!({}))
    }

    /// One with further settings.
    pub(crate) fn with(binary: Binary, more: &Value) -> Self {
        let home = Home::new(binary);
        home.configure(&config(more).to_string());
        Self { gateway: home.start() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// Its home, which outlives it.
    pub(crate) fn home(&self) -> Arc<Home> {
        Arc::clone(&self.gateway.home)
    }

    /// A client that is let in.
    #[track_caller]
    pub(crate) fn enter(&self, ask: &Ask<'_>) -> Client {
        self.try_enter(ask).unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    /// A client that may be refused.
    pub(crate) fn try_enter(&self, ask: &Ask<'_>) -> Result<Client, Refused> {
        ask.enter(self.address())
    }

    /// An HTTP request with these header lines and this body.
    pub(crate) fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        http(self.address(), method, path, headers, body)
    }

    /// The status of a request with the right secret.
    pub(crate) fn authorised(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        self.http(method, path, &headers, body)
    }

    /// Fails unless the gateway lives and lets the operator in.
    #[track_caller]
    pub(crate) fn lives(&self) {
        let mut client = self.enter(&Ask::shared(Dialect::V3));
        assert_eq!(client.ask("health", &json!({}))["ok"], json!(true));
    }

    /// Ends it and hands out everything that it has printed.
    pub(crate) fn finish(self) -> String {
        self.gateway.terminate();
        let (code, log) = self.gateway.wait();
        assert_eq!(code, Some(0), "it stops as it should:\n{log}");
        assert!(!log.contains("panicked"), "nothing has panicked:\n{log}");
        log
    }
}

/// The settings of a rig.
pub(crate) fn config(more: &Value) -> Value {
    let mut config = json!({
        "gateway": {
            "auth": {"mode": "token", "token": TOKEN},
            "http": {"endpoints": {
                "chatCompletions": {"enabled": true}, "responses": {"enabled": true},
            }},
        },
    });
    merge(&mut config, more);
    drop_null(&mut config);
    config
}

/// A setting that is `null` here is left out.
fn drop_null(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(drop_null);
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// How a client presents itself. Unlike the greeting of the end-to-end tests it may be wrong in every member.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) token: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) device_token: Option<&'a str>,
    pub(crate) role: &'a str,
    /// What is asked for; `None` leaves the member out.
    pub(crate) scopes: Option<Value>,
    pub(crate) device: Option<&'a Device>,
    pub(crate) id: &'a str,
    pub(crate) mode: &'a str,
    pub(crate) platform: &'a str,
    /// Further members of the parameters.
    pub(crate) more: Value,
    /// Header lines of the upgrade; they replace those of the same name.
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    /// The path and query of the upgrade.
    pub(crate) path: &'a str,
    /// The local address to come from.
    pub(crate) from: Option<Ipv4Addr>,
}

/// Every scope that there is to ask for.
pub(crate) const SCOPES: [&str; 8] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
    "operator.talk",
    "operator.talk.secrets",
];

impl<'a> Ask<'a> {
    /// Somebody who shows nothing and asks for everything.
    pub(crate) fn nobody(dialect: Dialect) -> Self {
        Self {
            dialect,
            token: None,
            password: None,
            device_token: None,
            role: "operator",
            scopes: Some(json!(SCOPES)),
            device: None,
            id: "cli",
            mode: "cli",
            platform: "linux",
            more: json!({}),
            headers: Vec::new(),
            path: "/",
            from: None,
        }
    }

    /// The holder of the gateway's secret, without a device.
    pub(crate) fn shared(dialect: Dialect) -> Self {
        Self { token: Some(TOKEN), ..Self::nobody(dialect) }
    }

    /// The operator of a device that holds these scopes.
    pub(crate) fn device(dialect: Dialect, device: &'a Device, scopes: &[&str]) -> Self {
        Self { device: Some(device), scopes: Some(json!(scopes)), ..Self::shared(dialect) }
    }

    /// A node with a device.
    pub(crate) fn node(dialect: Dialect, device: &'a Device) -> Self {
        Self { role: "node", id: "node-host", mode: "node", ..Self::device(dialect, device, &[]) }
    }

    fn params(&self, challenge: &Value) -> Value {
        let mut params = json!({
            "client": {"id": self.id, "version": "1.0.0", "platform": self.platform, "mode": self.mode},
            "role": self.role,
        });
        if let Some(scopes) = &self.scopes {
            params["scopes"] = scopes.clone();
        }
        let mut auth = json!({});
        for (name, secret) in
            [("token", self.token), ("password", self.password), ("deviceToken", self.device_token)]
        {
            if let Some(secret) = secret {
                auth[name] = json!(secret);
            }
        }
        if self.dialect == Dialect::Plain {
            merge(&mut params, &auth);
        } else {
            let protocol = if self.dialect == Dialect::V3 { 3 } else { 4 };
            merge(
                &mut params,
                &json!({"auth": auth, "caps": [], "minProtocol": protocol, "maxProtocol": protocol}),
            );
        }
        if let Some(device) = self.device {
            let list = self.scopes.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
            let scopes: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            let claim = Claim {
                client_id: self.id,
                client_mode: self.mode,
                role: self.role,
                scopes: &scopes,
                token: self.token.or(self.device_token).unwrap_or_default(),
                platform: self.platform,
            };
            params["device"] = device.proof(&claim, challenge);
        }
        merge(&mut params, &self.more);
        params
    }

    /// Opens a connection; says nothing yet.
    pub(crate) fn open(&self, address: SocketAddr) -> Result<Client, Refused> {
        let stream = dial(address, self.from).expect("the gateway accepts connections");
        let mut request = format!("ws://{address}{}", self.path).into_client_request().expect("an address");
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => Ok(Client::upgraded(socket, self.dialect)),
            Err(HandshakeError::Failure(Error::Http(response))) => {
                Err(Refused::Upgrade(response.status().as_u16()))
            }
            Err(_) => Err(Refused::Upgrade(0)),
        }
    }

    /// Opens a connection and greets.
    pub(crate) fn enter(&self, address: SocketAddr) -> Result<Client, Refused> {
        let mut client = self.open(address)?;
        let params = self.params(&client.challenge);
        match self.dialect {
            Dialect::Plain => {
                client.say(&json!({"type": "connect", "id": "hello", "params": params}).to_string());
            }
            Dialect::V3 | Dialect::V4 => client.request_as("hello", "connect", &params),
        }
        match client.response("hello") {
            Ok(hello) => {
                client.hello = hello;
                Ok(client)
            }
            Err(error) => Err(Refused::Connect { error, closed: client.closed() }),
        }
    }
}

/// How a client was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The upgrade got this status; 0 when the connection was just closed.
    Upgrade(u16),
    /// The connect request got this error, and then the connection was closed.
    Connect { error: Value, closed: Closed },
}

impl Refused {
    /// The error's `details.code`.
    pub(crate) fn detail(&self) -> &str {
        match self {
            Self::Upgrade(_) => "",
            Self::Connect { error, .. } => error["details"]["code"].as_str().unwrap_or_default(),
        }
    }

    /// The error's message.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Upgrade(_) => "",
            Self::Connect { error, .. } => error["message"].as_str().unwrap_or_default(),
        }
    }
}

/// A connection from one of this machine's addresses.
pub(crate) fn dial(address: SocketAddr, from: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(address) };
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}

/// An HTTP request written by hand. A header of the list replaces the usual one of its name.
pub(crate) fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut reply = raw(address, head(address, method, path, headers, body).as_bytes());
    // A client that waits for long is asked now and then whether it still does.
    while reply.status / 100 == 1 && reply.status != 101 {
        let (head, body) = reply.body.split_once("\r\n\r\n").unwrap_or((&reply.body, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        reply = Reply { status, head: head.to_owned(), body: body.to_owned() };
    }
    reply
}

/// The bytes of such a request.
pub(crate) fn head(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !has("host") {
        text.push_str(&format!("Host: {address}\r\n"));
    }
    if !has("content-length") && (!body.is_empty() || method == "POST") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    if !has("content-type") && !body.is_empty() {
        text.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

/// The lines of a WebSocket upgrade.
pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Who a cell of a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A device with this scope alone.
    Device(&'static str),
    /// A device with a scope that no method asks for: protocol 3 takes none at all for everything.
    Powerless,
    /// The gateway's secret without a device.
    Shared,
    /// A paired node.
    Node,
}

impl Who {
    /// Everybody who can be inside.
    pub(crate) const INSIDE: [Self; 8] = [
        Self::Device("operator.read"),
        Self::Device("operator.write"),
        Self::Device("operator.pairing"),
        Self::Device("operator.approvals"),
        Self::Device("operator.admin"),
        Self::Powerless,
        Self::Shared,
        Self::Node,
    ];

    /// The device of this principal and dialect; each has its own.
    pub(crate) fn key(self, dialect: Dialect) -> Device {
        let row = Self::INSIDE.iter().position(|who| *who == self).unwrap_or(Self::INSIDE.len());
        let column = Dialect::ALL.iter().position(|it| *it == dialect).expect("a dialect");
        Device::new(u8::try_from(10 + row * Dialect::ALL.len() + column).expect("few principals"))
    }

    /// A connection of this principal.
    #[track_caller]
    pub(crate) fn enter(self, rig: &Rig, dialect: Dialect) -> Client {
        let device = self.key(dialect);
        match self {
            Self::Device(scope) => rig.enter(&Ask::device(dialect, &device, &[scope])),
            Self::Powerless => rig.enter(&Ask::device(dialect, &device, &["operator.questions"])),
            // Not the command line of this machine, which protocol 4 lets keep its scopes (spec 01 §3.6).
            Self::Shared => rig.enter(&Ask { id: "openclaw-probe", mode: "probe", ..Ask::shared(dialect) }),
            Self::Node => rig.enter(&Ask::node(dialect, &device)),
        }
    }

    /// The scopes that this principal holds, by the specification.
    pub(crate) fn holds(self, dialect: Dialect) -> Vec<&'static str> {
        match self {
            Self::Device(scope) => vec![scope],
            Self::Powerless => vec!["operator.questions"],
            Self::Node => vec![],
            Self::Shared if dialect == Dialect::V4 => vec![],
            Self::Shared => SCOPES.to_vec(),
        }
    }

    /// Whether this principal has what a scope asks for (spec 01 §6.2, said once more).
    pub(crate) fn has(self, dialect: Dialect, needed: &str) -> bool {
        let held = self.holds(dialect);
        let any = |scope: &str| held.contains(&scope);
        any("operator.admin")
            || any(needed)
            || (any("operator.write") && needed == "operator.read")
            || (any("operator.write") && needed == "operator.talk" && dialect == Dialect::V4)
    }
}

/// Which of these methods, each of another scope, a client may call: what it is granted in fact.
pub(crate) fn powers(client: &mut Client) -> BTreeSet<&'static str> {
    const PROBES: [(&str, &str); 4] = [
        ("status", "read"),
        ("chat.abort", "write"),
        ("system-event", "admin"),
        ("device.pair.list", "pairing"),
    ];
    let mut powers = BTreeSet::new();
    for (method, power) in PROBES {
        let refused = client.call(method, &json!({})).err();
        let message = refused.as_ref().and_then(|error| error["message"].as_str()).unwrap_or_default();
        if !message.starts_with("missing scope") && !message.starts_with("unauthorized role") {
            powers.insert(power);
        }
    }
    powers
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            all.push(path);
        }
    }
    all
}

/// The files below a folder whose bytes contain a text.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(folder).into_iter().filter(|path| path.is_file() && holds(path)).collect()
}

/// The address of this machine that others would use, where it has one.
pub(crate) fn own_address() -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // A datagram socket that is connected sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}
