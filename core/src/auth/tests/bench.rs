//! Both machines, driven as clients drive them, with a store that answers at once unless told otherwise.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::entropy::hex;
use crate::gateway;
use crate::http::HttpRequest;
use crate::ids::{ConnId, DeviceId, HttpId, ProcessId, TxId};
use crate::joined::{Input, Joined, Output};
use crate::peer::Peer;
use crate::process::ProcessSpec;
use crate::settings::{AuthSettings, Settings};
use crate::store::{
    AuditRecord, DeviceRecord, Everything, Loaded, Op, Query, Record, Shelf, StoreError, Transaction,
};
use crate::switchboard;
use crate::{Now, Seed};

pub(super) const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
pub(super) const REMOTE: [u8; 4] = [10, 0, 0, 9];
pub(super) const START_MS: u64 = 1_769_700_000_000;

/// A peer at an address, without headers.
pub(super) fn peer(addr: [u8; 4]) -> Peer {
    Peer::at(IpAddr::from(addr))
}

/// A browser's connection.
pub(super) fn page(addr: [u8; 4], host: &str, origin: &str) -> Peer {
    Peer { host: Some(host.to_owned()), origin: Some(origin.to_owned()), ..peer(addr) }
}

/// How the store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Prompt,
    Silent,
    Faulty,
}

/// A refused connect.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) error: Value,
    pub(super) close: u16,
    pub(super) reason: String,
}

impl Refused {
    pub(super) fn message(&self) -> &str {
        self.error["message"].as_str().unwrap_or_default()
    }

    pub(super) fn detail(&self, name: &str) -> &Value {
        &self.error["details"][name]
    }
}

pub(super) struct Bench {
    machines: Joined,
    settings: Settings,
    pub(super) now: Now,
    pub(super) disk: Disk,
    rows: BTreeMap<DeviceId, DeviceRecord>,
    pub(super) records: BTreeMap<(Shelf, String), Record>,
    pub(super) book: Vec<AuditRecord>,
    waiting: Vec<Transaction>,
    pub(super) frames: Vec<(ConnId, Value)>,
    closes: BTreeMap<ConnId, (u16, String)>,
    rejected: BTreeMap<ConnId, u16>,
    answered: BTreeMap<HttpId, u16>,
    /// Processes that run.
    pub(super) processes: Vec<(ProcessId, ProcessSpec)>,
    serial: u64,
    /// How many processes there were before this one; each has its own seed.
    lives: u8,
}

impl Bench {
    pub(super) fn new(settings: Settings) -> Self {
        let mut bench = Self::asleep(settings);
        bench.start();
        bench
    }

    /// Before the process is told that it has started.
    pub(super) fn asleep(settings: Settings) -> Self {
        let now = Now { mono: Duration::ZERO, wall: START_MS };
        Self {
            machines: Joined::new(settings.clone(), Seed::from([5; 32]), now),
            settings,
            now,
            disk: Disk::Prompt,
            rows: BTreeMap::new(),
            records: BTreeMap::new(),
            book: Vec::new(),
            waiting: Vec::new(),
            frames: Vec::new(),
            closes: BTreeMap::new(),
            rejected: BTreeMap::new(),
            answered: BTreeMap::new(),
            processes: Vec::new(),
            serial: 0,
            lives: 0,
        }
    }

    pub(super) fn start(&mut self) {
        self.handle(Input::Gateway(gateway::Input::Started));
    }

    /// A new process on the same disk.
    pub(super) fn restart(&mut self) {
        self.lives += 1;
        self.machines = Joined::new(self.settings.clone(), Seed::from([5 + self.lives; 32]), self.now);
        self.closes.clear();
        self.frames.clear();
        self.start();
    }

    /// The same with other rules.
    pub(super) fn restart_with(&mut self, auth: AuthSettings) {
        self.settings.auth = auth;
        self.restart();
    }

    pub(super) fn machines(&self) -> &Joined {
        &self.machines
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.machines.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machines.poll_output() {
            match output {
                Output::Switchboard(switchboard::Output::Send { conn, text }) => {
                    self.frames.push((conn, serde_json::from_str(&text).unwrap()));
                }
                Output::Switchboard(switchboard::Output::Close { conn, code, reason }) => {
                    self.closes.insert(conn, (code.number(), reason));
                }
                Output::Switchboard(switchboard::Output::Reject { conn, response }) => {
                    self.rejected.insert(conn, response.status);
                }
                Output::Gateway(gateway::Output::Respond { id, response }) => {
                    self.answered.insert(id, response.status);
                }
                Output::Gateway(gateway::Output::Spawn { id, spec }) => self.processes.push((id, spec)),
                Output::Gateway(gateway::Output::Kill { id }) => {
                    self.processes.retain(|(other, _)| *other != id);
                }
                Output::Gateway(gateway::Output::Store(transaction)) => self.write(transaction),
                Output::Gateway(gateway::Output::Load { id, query: Query::Everything }) => {
                    let devices = self.rows.values().cloned().collect();
                    let records = self.records.values().cloned().collect();
                    let everything = Everything { devices, records, ..Everything::default() };
                    let result = Ok(Loaded::Everything(Box::new(everything)));
                    self.machines.handle(self.now, Input::Gateway(gateway::Input::Loaded { id, result }));
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, transaction: Transaction) {
        match self.disk {
            Disk::Prompt => {
                let id = self.commit(transaction);
                self.report(id, Ok(()));
            }
            Disk::Silent => self.waiting.push(transaction),
            Disk::Faulty => self.report(transaction.id, Err(StoreError::Full)),
        }
    }

    fn commit(&mut self, transaction: Transaction) -> TxId {
        for op in transaction.ops {
            match op {
                Op::PutDevice(record) => drop(self.rows.insert(record.id.clone(), record)),
                Op::DeleteDevice(id) => drop(self.rows.remove(&id)),
                Op::PutRecord(record) => {
                    self.records.insert((record.shelf, record.key.clone()), record);
                }
                Op::DeleteRecord { shelf, key } => drop(self.records.remove(&(shelf, key))),
                Op::AppendAudit(line) => self.book.push(line),
                _ => {}
            }
        }
        transaction.id
    }

    fn report(&mut self, id: TxId, result: Result<(), StoreError>) {
        self.machines.handle(self.now, Input::Gateway(gateway::Input::Stored { id, result }));
    }

    /// Writes what a silent disk has been given.
    pub(super) fn write_waiting(&mut self) {
        for transaction in std::mem::take(&mut self.waiting) {
            let id = self.commit(transaction);
            self.report(id, Ok(()));
            self.drain();
        }
    }

    /// Writes the first of what a silent disk has been given.
    pub(super) fn write_one(&mut self) {
        if !self.waiting.is_empty() {
            let transaction = self.waiting.remove(0);
            let id = self.commit(transaction);
            self.report(id, Ok(()));
            self.drain();
        }
    }

    /// What a silent disk has been given.
    pub(super) fn waiting(&self) -> &[Transaction] {
        &self.waiting
    }

    /// The process dies, and with it what was not written; another one begins.
    pub(super) fn crash(&mut self) {
        self.waiting.clear();
        self.restart();
    }

    /// What the gateway has in mind of its devices.
    pub(super) fn memory(&self) -> String {
        self.machines.gateway().devices.in_mind()
    }

    /// Whether a connection is open.
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        !self.closes.contains_key(&conn)
    }

    /// The device's row as it is on disk.
    pub(super) fn row(&self, device: &Device) -> Option<Value> {
        self.rows.get(&DeviceId::new(device.id())).map(|row| row.record.to_value())
    }

    /// Every byte of the rows.
    pub(super) fn rows_text(&self) -> String {
        let records = self.records.values().map(|row| row.record.as_str());
        self.rows.values().map(|row| row.record.as_str()).chain(records).collect()
    }

    /// Lets time pass, waking the machines whenever they ask for it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.machines.poll_timeout().filter(|at| *at <= end) {
            self.step_to(at.max(self.now.mono));
            self.machines.handle_timeout(self.now);
            self.drain();
        }
        self.step_to(end);
    }

    fn step_to(&mut self, mono: Duration) {
        let passed = mono - self.now.mono;
        let passed_ms = u64::try_from(passed.as_millis()).unwrap();
        self.now = Now { mono, wall: self.now.wall + passed_ms };
    }

    /// The same while a client goes on answering pings.
    pub(super) fn pass_alive(&mut self, conn: ConnId, time: Duration) {
        let end = self.now.mono + time;
        while self.now.mono < end {
            self.pass((end - self.now.mono).min(Duration::from_secs(20)));
            self.handle(Input::Switchboard(switchboard::Input::Pong { conn }));
        }
    }

    /// Opens a connection; returns it and the nonce of its challenge.
    pub(super) fn open(&mut self, peer: &Peer) -> (ConnId, String) {
        let conn = self.try_open(peer).expect("an upgrade");
        self.handle(Input::Switchboard(switchboard::Input::Opened { conn }));
        let challenge = self.last(conn).expect("a challenge");
        (conn, challenge["payload"]["nonce"].as_str().unwrap().to_owned())
    }

    /// Asks for an upgrade.
    ///
    /// # Errors
    ///
    /// The status of the answer that refuses it.
    pub(super) fn try_open(&mut self, peer: &Peer) -> Result<ConnId, u16> {
        self.serial += 1;
        let conn = ConnId(self.serial);
        self.handle(Input::Switchboard(switchboard::Input::Upgrade { conn, peer: peer.clone() }));
        self.rejected.remove(&conn).map_or(Ok(conn), Err)
    }

    /// The status of an HTTP request that is answered at once.
    pub(super) fn http(&mut self, id: HttpId, request: HttpRequest) -> u16 {
        self.handle(Input::Gateway(gateway::Input::Http { id, request: Box::new(request) }));
        self.answered.remove(&id).expect("an answer")
    }

    pub(super) fn say(&mut self, conn: ConnId, frame: &Value) {
        let text = frame.to_string();
        self.handle(Input::Switchboard(switchboard::Input::Message { conn, text }));
    }

    pub(super) fn hang_up(&mut self, conn: ConnId) {
        self.handle(Input::Switchboard(switchboard::Input::Closed { conn }));
    }

    /// The last frame that a connection got.
    pub(super) fn last(&self, conn: ConnId) -> Option<Value> {
        self.frames.iter().rev().find(|(to, _)| *to == conn).map(|(_, frame)| frame.clone())
    }

    /// The answer to the request of this id, if it has come.
    pub(super) fn answer(&self, conn: ConnId, id: &str) -> Option<Value> {
        let is_answer = |frame: &Value| frame["type"] != "event" && frame["id"] == id;
        self.frames.iter().find(|(to, frame)| *to == conn && is_answer(frame)).map(|(_, frame)| frame.clone())
    }

    pub(super) fn close_of(&self, conn: ConnId) -> Option<(u16, String)> {
        self.closes.get(&conn).cloned()
    }

    /// Sends a client's connect on a fresh connection.
    pub(super) fn send_connect(&mut self, peer: &Peer, client: &Client) -> ConnId {
        let (conn, nonce) = self.open(peer);
        let frame = client.frame(&nonce, self.now.wall);
        self.say(conn, &frame);
        conn
    }

    /// Connects; the hello or the refusal.
    pub(super) fn connect(&mut self, peer: &Peer, client: &Client) -> Result<Value, Refused> {
        self.connect_as(peer, client).1
    }

    /// The same, and the connection. An answer that is held back is waited for.
    pub(super) fn connect_as(&mut self, peer: &Peer, client: &Client) -> (ConnId, Result<Value, Refused>) {
        let conn = self.send_connect(peer, client);
        if self.answer(conn, "c").is_none() {
            self.pass(Duration::from_secs(5));
        }
        let answer = self.answer(conn, "c").expect("the connect is answered");
        let outcome = self.outcome(conn, &answer);
        if outcome.is_err() {
            self.hang_up(conn);
        }
        (conn, outcome)
    }

    pub(super) fn outcome(&self, conn: ConnId, answer: &Value) -> Result<Value, Refused> {
        if answer["ok"] == true {
            return Ok(answer["payload"].clone());
        }
        let (close, reason) = self.close_of(conn).expect("a refusal is followed by a close");
        Err(Refused { error: answer["error"].clone(), close, reason })
    }

    /// Calls a method and returns the whole answer.
    pub(super) fn call(&mut self, conn: ConnId, method: &str, params: &Value) -> Value {
        self.serial += 1;
        let id = format!("r{}", self.serial);
        self.say(conn, &json!({"type": "req", "id": id, "method": method, "params": params}));
        self.answer(conn, &id).expect("an answer")
    }
}

/// A device with a key made from a number.
#[derive(Clone, Debug)]
pub(super) struct Device(SigningKey);

impl Device {
    pub(super) fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    pub(super) fn id(&self) -> String {
        hex(Sha256::digest(self.0.verifying_key().as_bytes()).as_slice())
    }

    pub(super) fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    pub(super) fn sign(&self, payload: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(payload.as_bytes()).to_bytes())
    }
}

/// A client: its dialect and the connect parameters it sends.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) plain: bool,
    pub(super) params: Value,
    device: Option<Device>,
    /// The payload version that it signs.
    signs: &'static str,
}

impl Client {
    /// The command line of protocol 3.
    pub(super) fn v3() -> Self {
        Self::native(3, "v2")
    }

    /// The command line of protocol 4.
    pub(super) fn v4() -> Self {
        Self::native(4, "v3")
    }

    fn native(protocol: u32, signs: &'static str) -> Self {
        let params = json!({
            "minProtocol": protocol, "maxProtocol": protocol, "role": "operator",
            "client": {"id": "cli", "version": "dev", "platform": "linux", "mode": "cli"},
            "auth": {},
        });
        Self { plain: false, params, device: None, signs }
    }

    /// A plain client.
    pub(super) fn plain() -> Self {
        let params = json!({"client": {"id": "dashboard"}});
        Self { plain: true, params, device: None, signs: "v2" }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params[name] = value.into();
        self
    }

    /// Another product.
    pub(super) fn named(mut self, id: &str, mode: &str) -> Self {
        self.params["client"]["id"] = id.into();
        self.params["client"]["mode"] = mode.into();
        self
    }

    pub(super) fn on(mut self, platform: &str) -> Self {
        self.params["client"]["platform"] = platform.into();
        self
    }

    pub(super) fn scopes(self, scopes: &[&str]) -> Self {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("operator.{scope}")).collect();
        self.with("scopes", scopes)
    }

    fn credential(mut self, name: &str, value: &str) -> Self {
        match self.plain {
            true => self.params[name] = value.into(),
            false => self.params["auth"][name] = value.into(),
        }
        self
    }

    pub(super) fn token(self, value: &str) -> Self {
        self.credential("token", value)
    }

    pub(super) fn password(self, value: &str) -> Self {
        self.credential("password", value)
    }

    pub(super) fn device_token(self, value: &str) -> Self {
        self.credential("deviceToken", value)
    }

    pub(super) fn bootstrap_token(self, value: &str) -> Self {
        self.credential("bootstrapToken", value)
    }

    pub(super) fn device(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }

    pub(super) fn signs(mut self, version: &'static str) -> Self {
        self.signs = version;
        self
    }

    /// The connect parameters, signed for this challenge.
    pub(super) fn signed(&self, nonce: &str, signed_at: u64) -> Value {
        let mut params = self.params.clone();
        if let Some(device) = &self.device {
            let payload = self.payload(device, nonce, signed_at);
            params["device"] = json!({
                "id": device.id(), "publicKey": device.public_key(), "signature": device.sign(&payload),
                "signedAt": signed_at,
            });
            if self.signs != "v1" {
                params["device"]["nonce"] = nonce.into();
            }
        }
        params
    }

    fn payload(&self, device: &Device, nonce: &str, signed_at: u64) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let params = &self.params;
        let auth = if self.plain { params } else { &params["auth"] };
        let tokens = ["token", "deviceToken", "bootstrapToken"];
        let token = tokens.iter().find_map(|name| auth[*name].as_str()).unwrap_or_default();
        let scopes: Vec<String> = params["scopes"].as_array().into_iter().flatten().map(text).collect();
        let mut fields = vec![
            self.signs.to_owned(),
            device.id(),
            text(&params["client"]["id"]),
            text(&params["client"]["mode"]),
            params["role"].as_str().unwrap_or("operator").to_owned(),
            scopes.join(","),
            signed_at.to_string(),
            token.to_owned(),
        ];
        if self.signs != "v1" {
            fields.push(nonce.to_owned());
        }
        if self.signs == "v3" {
            fields.push(text(&params["client"]["platform"]));
            fields.push(text(&params["client"]["deviceFamily"]));
        }
        fields.join("|")
    }

    pub(super) fn frame(&self, nonce: &str, signed_at: u64) -> Value {
        let params = self.signed(nonce, signed_at);
        match self.plain {
            true => json!({"type": "connect", "id": "c", "params": params}),
            false => json!({"type": "req", "id": "c", "method": "connect", "params": params}),
        }
    }
}
