//! A client of each dialect that speaks plainly, waits patiently and checks every frame it sees.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use super::PATIENCE;
use super::device::{Claim, Device};
use super::frames::Checker;

/// How a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The wire protocol 3.
    V3,
    /// The wire protocol 4.
    V4,
    /// `connect`, `request`, `response`, `event`.
    Plain,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V3, Self::V4, Self::Plain];
}

/// Everything that an operator may be granted.
pub const ALL_SCOPES: &[&str] =
    &["operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing"];

/// How a connection presents itself.
pub struct Greeting<'a> {
    /// How it speaks.
    pub dialect: Dialect,
    /// The secret it shows.
    pub token: Option<&'a str>,
    /// The password it shows.
    pub password: Option<&'a str>,
    /// What it asks for.
    pub scopes: &'a [&'a str],
    /// The device it proves to be.
    pub device: Option<&'a Device>,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// `operator` or `node`.
    pub role: &'a str,
    /// The commands that a node offers.
    pub commands: &'a [&'a str],
}

impl<'a> Greeting<'a> {
    /// An operator with every scope.
    pub fn operator(dialect: Dialect, token: &'a str) -> Self {
        Self {
            dialect,
            token: Some(token),
            password: None,
            scopes: ALL_SCOPES,
            device: None,
            // Protocol 4 lets a local command line keep its scopes without a device (spec 01 §3.6).
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            commands: &[],
        }
    }

    /// A node that offers these commands.
    pub fn node(dialect: Dialect, token: &'a str, device: &'a Device, commands: &'a [&'a str]) -> Self {
        Self {
            scopes: &[],
            device: Some(device),
            client_id: "node-host",
            client_mode: "node",
            role: "node",
            commands,
            ..Self::operator(dialect, token)
        }
    }

    fn params(&self, challenge: &Value) -> Value {
        let mut params = json!({
            "client": {
                "id": self.client_id, "version": "1.0.0", "platform": "linux", "mode": self.client_mode,
                "displayName": "the end-to-end tests",
            },
            "role": self.role,
            "scopes": self.scopes,
        });
        if !self.commands.is_empty() {
            params["commands"] = json!(self.commands);
            params["caps"] = json!(["system"]);
        }
        let mut auth = json!({});
        for (name, secret) in [("token", self.token), ("password", self.password)] {
            if let Some(secret) = secret {
                auth[name] = json!(secret);
            }
        }
        if self.dialect == Dialect::Plain {
            for (name, secret) in auth.as_object().expect("an object") {
                params[name] = secret.clone();
            }
        } else {
            params["auth"] = auth;
            if self.commands.is_empty() {
                params["caps"] = json!([]);
            }
            let protocol = if self.dialect == Dialect::V3 { 3 } else { 4 };
            params["minProtocol"] = json!(protocol);
            params["maxProtocol"] = json!(protocol);
        }
        if let Some(device) = self.device {
            let claim = Claim {
                client_id: self.client_id,
                client_mode: self.client_mode,
                role: self.role,
                scopes: self.scopes,
                token: self.token.unwrap_or_default(),
                platform: "linux",
            };
            params["device"] = device.proof(&claim, challenge);
        }
        params
    }
}

/// How a connection ended: the close frame's code and reason, or `None` without one.
pub type Closed = Option<(u16, String)>;

/// A refused greeting.
#[derive(Debug)]
pub struct Refusal {
    /// The error of the answer.
    pub error: Value,
    /// The close frame that followed.
    pub closed: Closed,
}

/// A connection to a gateway.
pub struct Client {
    socket: WebSocket<TcpStream>,
    dialect: Dialect,
    checker: Checker,
    /// Frames that came while another was waited for.
    unread: VecDeque<Value>,
    /// The methods of the requests that were sent, by id.
    methods: BTreeMap<String, String>,
    /// The challenge.
    pub challenge: Value,
    /// The answer to the greeting.
    pub hello: Value,
}

impl Client {
    /// Opens a connection and reads the challenge; says nothing yet.
    pub fn open(address: SocketAddr, dialect: Dialect) -> Self {
        Self::open_with(address, dialect, &[])
    }

    /// The same with further header lines.
    pub fn open_with(address: SocketAddr, dialect: Dialect, headers: &[(&'static str, &str)]) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts connections");
        stream.set_nodelay(true).expect("an option can be set");
        let mut request = format!("ws://{address}/").into_client_request().expect("an address");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tungstenite::client::client_with_config(request, stream, Some(config))
            .expect("the gateway accepts the upgrade");
        Self::upgraded(socket, dialect)
    }

    /// A connection that somebody else has opened; reads the challenge.
    pub fn upgraded(socket: WebSocket<TcpStream>, dialect: Dialect) -> Self {
        let mut client = Self {
            socket,
            dialect,
            checker: Checker::new(dialect),
            unread: VecDeque::new(),
            methods: BTreeMap::new(),
            challenge: Value::Null,
            hello: Value::Null,
        };
        client.challenge = client.event("connect.challenge", |_| true);
        client
    }

    /// Opens a connection and greets.
    ///
    /// # Errors
    ///
    /// How the gateway refused.
    pub fn connect(address: SocketAddr, greeting: &Greeting<'_>) -> Result<Self, Refusal> {
        Self::open(address, greeting.dialect).greet(greeting)
    }

    /// The same from a page of this origin.
    ///
    /// # Errors
    ///
    /// How the gateway refused.
    pub fn connect_from(address: SocketAddr, greeting: &Greeting<'_>, origin: &str) -> Result<Self, Refusal> {
        Self::open_with(address, greeting.dialect, &[("origin", origin)]).greet(greeting)
    }

    /// Greets on an open connection.
    ///
    /// # Errors
    ///
    /// How the gateway refused.
    pub fn greet(self, greeting: &Greeting<'_>) -> Result<Self, Refusal> {
        let mut client = self;
        let params = greeting.params(&client.challenge);
        let frame = match greeting.dialect {
            Dialect::Plain => json!({"type": "connect", "id": "hello", "params": params}),
            Dialect::V3 | Dialect::V4 => {
                json!({"type": "req", "id": "hello", "method": "connect", "params": params})
            }
        };
        client.methods.insert("hello".to_owned(), "connect".to_owned());
        client.say(&frame.to_string());
        match client.response("hello") {
            Ok(hello) => {
                client.hello = hello;
                Ok(client)
            }
            Err(error) => Err(Refusal { error, closed: client.closed() }),
        }
    }

    /// Sends a text message as it is.
    pub fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the connection is open");
    }

    /// Sends a text message that the gateway may refuse while it is under way.
    pub fn say_boldly(&mut self, text: &str) {
        let _ = self.socket.send(Message::text(text));
    }

    /// Sends a request that the gateway may refuse to read.
    pub fn request_boldly(&mut self, id: &str, method: &str, params: &Value) {
        let kind = if self.dialect == Dialect::Plain { "request" } else { "req" };
        self.say_boldly(&json!({"type": kind, "id": id, "method": method, "params": params}).to_string());
    }

    /// Sends a request under an id.
    pub fn request_as(&mut self, id: &str, method: &str, params: &Value) {
        self.methods.insert(id.to_owned(), method.to_owned());
        let kind = if self.dialect == Dialect::Plain { "request" } else { "req" };
        self.say(&json!({"type": kind, "id": id, "method": method, "params": params}).to_string());
    }

    /// Sends a request; the id to wait for.
    pub fn request(&mut self, method: &str, params: &Value) -> String {
        let id = format!("{method}#{}", self.methods.len());
        self.request_as(&id, method, params);
        id
    }

    /// Sends a request and waits for its first answer.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        let id = self.request(method, params);
        self.response(&id)
    }

    /// Sends a request that must succeed.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.call(method, params).unwrap_or_else(|error| panic!("{method} was refused: {error}"))
    }

    /// Waits for the next answer to a request.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    pub fn response(&mut self, id: &str) -> Result<Value, Value> {
        let frame = self.wait_for(&format!("the answer to {id}"), |frame| frame["id"] == *id);
        if frame["ok"] == json!(true) { Ok(frame["payload"].clone()) } else { Err(frame["error"].clone()) }
    }

    /// Waits for an event with this name and a payload like this.
    pub fn event(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let frame = self.wait_for(&format!("the event {name}"), |frame| {
            frame["event"] == *name && wanted(&frame["payload"])
        });
        frame["payload"].clone()
    }

    /// Waits for the terminal chat event of a run; every chat event of the run up to it.
    pub fn chat_of(&mut self, run: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let payload = self.event("chat", |payload| payload["runId"] == *run);
            let over = matches!(payload["state"].as_str(), Some("final" | "aborted" | "error"));
            events.push(payload);
            if over {
                return events;
            }
        }
    }

    /// The frames that came and were not waited for.
    pub fn unread(&self) -> impl Iterator<Item = &Value> {
        self.unread.iter()
    }

    /// Waits until the gateway closes.
    pub fn closed(&mut self) -> Closed {
        self.closed_within(PATIENCE)
    }

    /// The same, where something has to happen soon.
    pub fn closed_within(&mut self, patience: Duration) -> Closed {
        let deadline = Instant::now() + patience;
        loop {
            match self.read_until(deadline) {
                Ok(Message::Text(text)) => {
                    let frame = self.checked(&text);
                    self.unread.push_back(frame);
                }
                Ok(Message::Close(frame)) => {
                    // Answering the close lets the gateway end its side at once.
                    let _ = self.socket.flush();
                    return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_timeout(error.kind()) => {
                    panic!("the gateway did not close in time")
                }
                Err(_) => return None,
            }
        }
    }

    /// Leaves as a client does.
    pub fn leave(mut self) {
        let _ = self.socket.close(None);
        let _ = self.closed();
    }

    fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.unread.iter().position(&wanted) {
            return self.unread.remove(place).expect("it was just found");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read_until(deadline) {
                Ok(Message::Text(text)) => {
                    let frame = self.checked(&text);
                    if wanted(&frame) {
                        return frame;
                    }
                    self.unread.push_back(frame);
                }
                Ok(Message::Close(frame)) => {
                    panic!("closed with {frame:?} instead of {what}; {:#?}", self.unread)
                }
                Ok(_) => {}
                Err(error) => panic!("{error} instead of {what}; came: {:#?}", self.unread),
            }
        }
    }

    /// The next message; ticks and pings do not prolong the wait.
    fn read_until(&mut self, deadline: Instant) -> Result<Message, tungstenite::Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.socket.get_ref().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        self.socket.read()
    }

    fn checked(&mut self, text: &str) -> Value {
        let frame: Value = serde_json::from_str(text).expect("a frame is JSON");
        let method = frame["id"].as_str().and_then(|id| self.methods.get(id)).map(String::as_str);
        self.checker.check(&frame, method);
        frame
    }
}

const fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
