//! The world around the machines: it does what they ask at once and never fails.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use telson_core::auth::Secret;
use telson_core::fetch::{FetchError, FetchEvent};
use telson_core::http::{BodyError, HttpRequest, HttpResponse};
use telson_core::peer::Peer;
use telson_core::settings::{AuthMode, ModelRef, ModelSettings, ProviderSettings, Settings};
use telson_core::{ConnId, HttpId, Input, Joined, Now, Output, Seed, gateway, switchboard};

use crate::SECRET;
use crate::ledger::Ledger;
use crate::shelf::Shelf;

/// So many deadlines may pass before a client goes away.
const PATIENCE: usize = 60;

/// A gateway with its clients.
pub struct World {
    machines: Joined,
    now: Now,
    shelf: Shelf,
    inputs: VecDeque<Input>,
    clients: BTreeMap<ConnId, Ledger>,
    responses: BTreeMap<u64, Answered>,
    bodies: BTreeMap<u64, Vec<u8>>,
    /// What the model server answers: status and body, in pieces.
    model: Option<(u16, Vec<Vec<u8>>)>,
    stopped: bool,
    serial: u64,
}

impl World {
    /// A gateway in service.
    pub fn serving(mode: AuthMode) -> Self {
        let mut world = Self::starting(mode);
        world.tell(Input::Gateway(gateway::Input::Started));
        world
    }

    /// A gateway that was not told yet that it is up.
    pub fn starting(mode: AuthMode) -> Self {
        let mut settings = Settings::plain(mode);
        (settings.api.chat.enabled, settings.api.responses.enabled) = (true, true);
        Self::with_settings(settings)
    }

    /// A gateway in service whose model server answers with this status and body.
    pub fn with_model(status: u16, pieces: Vec<Vec<u8>>) -> Self {
        let mut settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
        settings.agents.model = ModelRef { provider: "lab".to_owned(), model: "m".to_owned() };
        settings.providers.push(provider());
        let mut world = Self::with_settings(settings);
        world.model = Some((status, pieces));
        world.tell(Input::Gateway(gateway::Input::Started));
        world
    }

    fn with_settings(settings: Settings) -> Self {
        let now = Now { mono: Duration::ZERO, wall: 1_769_700_000_000 };
        Self {
            machines: Joined::new(settings, Seed::from([9; 32]), now),
            now,
            shelf: Shelf::default(),
            inputs: VecDeque::new(),
            clients: BTreeMap::new(),
            responses: BTreeMap::new(),
            bodies: BTreeMap::new(),
            model: None,
            stopped: false,
            serial: 0,
        }
    }

    /// Opens a connection; `None` when the upgrade was refused.
    pub fn open(&mut self, peer: Peer) -> Option<ConnId> {
        self.serial += 1;
        let conn = ConnId(self.serial);
        self.clients.insert(conn, Ledger::default());
        self.tell(Input::Switchboard(switchboard::Input::Upgrade { conn, peer }));
        (!self.clients[&conn].closed).then_some(conn)
    }

    /// A message of a client.
    pub fn say(&mut self, conn: ConnId, text: impl Into<String>) {
        let text = text.into();
        if let Some(ledger) = self.clients.get_mut(&conn) {
            ledger.say(&text);
        }
        self.tell(Input::Switchboard(switchboard::Input::Message { conn, text }));
    }

    /// A plain HTTP request with this body, and its answer. `None` when there was none in a while: its client
    /// went away then.
    pub fn ask(&mut self, request: HttpRequest, body: Vec<u8>) -> Option<HttpResponse> {
        self.serial += 1;
        let id = HttpId(self.serial);
        self.bodies.insert(id.0, body);
        self.tell(Input::Gateway(gateway::Input::Http { id, request: Box::new(request) }));
        for _ in 0..PATIENCE {
            if let Some(Answered::Whole(response)) = self.responses.get(&id.0) {
                let response = response.clone();
                self.responses.remove(&id.0);
                return Some(response);
            }
            self.pass();
        }
        self.responses.remove(&id.0);
        self.tell(Input::Gateway(gateway::Input::HttpGone { id }));
        assert!(!self.responses.contains_key(&id.0), "nothing is said to a client that is gone");
        None
    }

    /// The hello of a connection that is in.
    pub fn hello(&self, conn: ConnId) -> Option<&Value> {
        self.clients.get(&conn).and_then(|ledger| ledger.hello.as_ref())
    }

    /// Whether a connection was closed or refused.
    pub fn is_closed(&self, conn: ConnId) -> bool {
        self.clients.get(&conn).is_none_or(|ledger| ledger.closed)
    }

    /// Lets a client say something to the model; the state and the message of the run's end.
    pub fn chat(mut self) -> (String, Value) {
        let peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
        let conn = self.open(peer).expect("the first connection is admitted");
        let connect = format!(
            r#"{{"type":"connect","params":{{"token":"{SECRET}","client":{{"id":"desk"}},"scopes":["operator.admin"]}}}}"#
        );
        self.say(conn, connect);
        let send = r#"{"sessionKey":"main","message":"tide","idempotencyKey":"k"}"#;
        self.say(conn, format!(r#"{{"type":"request","id":"1","method":"chat.send","params":{send}}}"#));
        for _ in 0..200 {
            if !self.clients[&conn].ends.is_empty() {
                break;
            }
            self.pass();
        }
        let ends = self.clients[&conn].ends.clone();
        assert_eq!(ends.len(), 1, "a run ends once: {ends:?}");
        self.finish();
        ends.into_iter().next().expect("there is one")
    }

    /// Lets time pass until every request is answered, then stops the gateway.
    pub fn finish(mut self) {
        let owed = |world: &Self| world.clients.values().map(Ledger::owed).sum::<usize>();
        // Ticks, pings and health refreshes of a run's whole time are fewer than this.
        for _ in 0..200 {
            if owed(&self) == 0 {
                break;
            }
            self.pass();
        }
        assert_eq!(owed(&self), 0, "every request is answered");
        self.stop("the fuzzer has seen enough");
        for _ in 0..200 {
            if self.stopped {
                break;
            }
            self.pass();
        }
        assert!(self.stopped, "a stop comes to its end");
        assert_eq!(self.machines.switchboard().connections(), 0, "every socket is closed");
        assert_eq!(self.machines.switchboard().buffered(), 0, "nothing is left in an outbox");
        assert_eq!(self.machines.gateway().effects_under_way(), 0, "no effect is left open");
        assert_eq!(self.machines.gateway().open_runs(), 0, "no run is left open");
    }

    /// Asks the gateway to stop.
    pub fn stop(&mut self, reason: &str) {
        let reason = reason.to_owned();
        self.tell(Input::Gateway(gateway::Input::Stop { reason, restart_expected: None }));
    }

    /// Lets time pass until the machines want to do something.
    fn pass(&mut self) {
        let next = self.machines.poll_timeout().unwrap_or(self.now.mono + Duration::from_secs(1));
        let step = next.saturating_sub(self.now.mono);
        self.now.mono += step;
        self.now.wall += u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        self.machines.handle_timeout(self.now);
        self.drain();
        self.settle();
    }

    fn tell(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.settle();
    }

    /// Handles inputs until the world is quiet; each is followed by a complete drain.
    fn settle(&mut self) {
        let mut handled = 0;
        while let Some(input) = self.inputs.pop_front() {
            handled += 1;
            assert!(handled < 100_000, "the machines keep each other busy");
            self.machines.handle(self.now, input);
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.machines.poll_output() {
            outputs += 1;
            assert!(outputs < Ledger::MOST_OUTPUTS, "one input causes more than {outputs} outputs");
            match output {
                Output::Switchboard(output) => self.socket(output),
                Output::Gateway(output) => self.effect(output),
            }
        }
    }

    fn socket(&mut self, output: switchboard::Output) {
        use switchboard::{Input as In, Output as Out};
        let answer = match output {
            Out::Admit { conn } => In::Opened { conn },
            Out::Reject { conn, response } => {
                check(&response);
                self.client(conn).closed = true;
                return;
            }
            Out::Send { conn, text } => {
                self.client(conn).hear(&text);
                In::Flushed { conn, bytes: text.len() }
            }
            Out::Ping { conn } => In::Pong { conn },
            Out::Authenticated { conn } => {
                self.client(conn).authenticated = true;
                return;
            }
            Out::Close { conn, code, reason } => {
                self.client(conn).close(code.number(), &reason);
                In::Closed { conn }
            }
            Out::Up(_) => panic!("messages between the machines stay between them"),
        };
        self.inputs.push_back(Input::Switchboard(answer));
    }

    fn effect(&mut self, output: gateway::Output) {
        use gateway::{Input as In, Output as Out};
        let answer = match output {
            Out::Down(_) => panic!("messages between the machines stay between them"),
            Out::Respond { id, response } => {
                check(&response);
                let before = self.responses.insert(id.0, Answered::Whole(response));
                assert!(before.is_none(), "one answer to one request");
                return;
            }
            Out::ReadBody { id, limit } => {
                let body = self.bodies.remove(&id.0).expect("a body is asked for once");
                let body = if body.len() > limit { Err(BodyError::TooLarge) } else { Ok(body.into()) };
                In::HttpBody { id, body }
            }
            Out::RespondHead { id, head } => {
                check(&head);
                assert!(head.body.is_empty(), "the head of a stream has no body");
                let before = self.responses.insert(id.0, Answered::Stream(head));
                assert!(before.is_none(), "one answer to one request");
                return;
            }
            Out::RespondChunk { id, chunk } => {
                let Some(Answered::Stream(head)) = self.responses.get_mut(&id.0) else {
                    panic!("a piece without a head")
                };
                head.body.push_str(std::str::from_utf8(&chunk).expect("events are text"));
                return;
            }
            Out::RespondEnd { id } => {
                let Some(Answered::Stream(response)) = self.responses.remove(&id.0) else {
                    panic!("an end without a head")
                };
                self.responses.insert(id.0, Answered::Whole(response));
                return;
            }
            Out::Spawn { .. } | Out::WriteLine { .. } | Out::Kill { .. } => {
                panic!("no program is configured")
            }
            Out::Fetch { id, .. } => {
                let events = self.fetched();
                let inputs = events.into_iter().map(|event| Input::Gateway(In::Fetch { id, event }));
                self.inputs.extend(inputs);
                return;
            }
            Out::AbortFetch { .. } => return,
            Out::Store(transaction) => {
                let id = transaction.id;
                self.shelf.write(transaction);
                In::Stored { id, result: Ok(()) }
            }
            Out::Load { id, query } => In::Loaded { id, result: Ok(self.shelf.read(&query)) },
            Out::Stopped => {
                self.stopped = true;
                return;
            }
        };
        self.inputs.push_back(Input::Gateway(answer));
    }

    /// What becomes of an outbound request.
    fn fetched(&self) -> Vec<FetchEvent> {
        let Some((status, pieces)) = &self.model else {
            return vec![FetchEvent::Failed(FetchError::Broken("the fuzzer has no network".to_owned()))];
        };
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        let chunks = pieces.iter().map(|piece| FetchEvent::Chunk(piece.clone().into()));
        [FetchEvent::Head { status: *status, headers }]
            .into_iter()
            .chain(chunks)
            .chain([FetchEvent::End])
            .collect()
    }

    fn client(&mut self, conn: ConnId) -> &mut Ledger {
        self.clients.get_mut(&conn).expect("the machine names connections that exist")
    }
}

/// How an HTTP request is answered so far.
enum Answered {
    Whole(HttpResponse),
    Stream(HttpResponse),
}

/// The model server of [`World::with_model`].
fn provider() -> ProviderSettings {
    let model = ModelSettings { context_window: 8_192, max_tokens: 1_024, ..ModelSettings::new("m") };
    ProviderSettings { models: vec![model], ..ProviderSettings::new("lab", "http://192.0.2.1/v1") }
}

/// Checks a whole HTTP response.
fn check(response: &HttpResponse) {
    assert!((200..600).contains(&response.status), "{}", response.status);
    for (name, value) in &response.headers {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
        assert!(!value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
        if *name == "content-type" && value.starts_with("application/json") {
            serde_json::from_str::<Value>(&response.body).expect("a JSON body is JSON");
        }
    }
}
