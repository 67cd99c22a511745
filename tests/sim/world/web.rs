//! HTTP clients: they ask, send bodies in their own time, read answers, and go away when they like.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use telson_core::http::{BodyError, HttpRequest, HttpResponse};
use telson_core::peer::Peer;
use telson_core::{HttpId, Input, gateway, limits};

use super::{Event, World};

/// One request of a client, and how the client behaves.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) sends: Sends,
    /// How long the body takes at least and at most, in milliseconds.
    pub(crate) pace: (u64, u64),
    /// The client leaves after so many things were done with its request.
    pub(crate) leaves: Option<u32>,
}

/// How a client sends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// All of it.
    Whole,
    /// Never its end.
    Stalls,
    /// A part of it; then the client is gone.
    BreaksOff,
    /// What is no body.
    Nonsense,
}

impl Visit {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            query: None,
            token: None,
            headers: Vec::new(),
            body: Vec::new(),
            sends: Sends::Whole,
            pace: (0, 50),
            leaves: None,
        }
    }

    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", body: body.into(), ..Self::get(path) }
    }

    pub(crate) fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    pub(crate) fn that(self, sends: Sends) -> Self {
        Self { sends, ..self }
    }

    /// The client leaves after so many steps of the gateway.
    pub(crate) fn leaving_after(self, steps: u32) -> Self {
        Self { leaves: Some(steps), ..self }
    }

    fn head(&self) -> HttpRequest {
        HttpRequest {
            peer: Peer::at([127, 0, 0, 1].into()),
            method: self.method.to_owned(),
            path: self.path.clone(),
            query: self.query.clone(),
            authorization: self.token.as_ref().map(|token| format!("Bearer {token}")),
            headers: self.headers.clone(),
            content_length: (self.method == "POST").then_some(self.body.len() as u64),
            wants_websocket: false,
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No answer has begun.
    Waiting,
    /// An answer has begun.
    Streaming,
    /// The answer is complete.
    Complete,
    /// The client has left, and the gateway does not know it yet.
    Leaving,
    /// The client has left, or the process has died.
    Lost,
}

/// A request and what has come of it.
pub(crate) struct Exchange {
    visit: Visit,
    pub(crate) stage: Stage,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What the client has read of the answer's body.
    pub(crate) read: Vec<u8>,
    /// The body was asked for.
    asked: bool,
    /// How many things were done with it.
    steps: u32,
}

impl Exchange {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Streaming)
    }

    /// What of the answer is not as it must be is said.
    fn take(&mut self, step: Step) -> Result<(), &'static str> {
        match (step, self.stage) {
            // What was on its way when the client left.
            (_, Stage::Leaving | Stage::Lost) => {}
            (Step::Whole(response), Stage::Waiting) => {
                self.begin(response);
                self.stage = Stage::Complete;
            }
            (Step::ReadBody, Stage::Waiting) if !self.asked => self.asked = true,
            (Step::ReadBody, _) => return Err("is asked for its body twice or too late"),
            (Step::Head(head), Stage::Waiting) if head.body.is_empty() => {
                self.begin(head);
                self.stage = Stage::Streaming;
            }
            (Step::Chunk(chunk), Stage::Streaming) => self.read.extend_from_slice(&chunk),
            (Step::End, Stage::Streaming) => self.stage = Stage::Complete,
            (Step::Whole(_) | Step::Head(_), _) => return Err("is answered twice"),
            (Step::Chunk(_) | Step::End, _) => {
                return Err("hears a piece of an answer that is not under way");
            }
        }
        self.steps += 1;
        Ok(())
    }

    fn begin(&mut self, response: HttpResponse) {
        self.status = response.status;
        self.headers = response.headers;
        self.read = response.body.into_bytes();
    }
}

/// What the gateway does with a request.
#[derive(Debug)]
pub(crate) enum Step {
    Whole(HttpResponse),
    ReadBody,
    Head(HttpResponse),
    Chunk(Bytes),
    End,
}

/// All requests of this world.
#[derive(Default)]
pub(crate) struct Web(BTreeMap<HttpId, Exchange>);

impl Web {
    /// The process died, and every connection with it.
    pub(super) fn crash(&mut self) {
        for exchange in self.0.values_mut().filter(|exchange| exchange.stage != Stage::Complete) {
            exchange.stage = Stage::Lost;
        }
    }
}

impl World {
    /// A client asks.
    pub(crate) fn visit(&mut self, visit: Visit) -> HttpId {
        let request = visit.head();
        let id = self.await_answer(visit);
        self.tell(Input::Gateway(gateway::Input::Http { id, request: Box::new(request) }));
        self.leave_when_due(id);
        id
    }

    /// A client has asked; the gateway is not told of it.
    pub(crate) fn await_answer(&mut self, visit: Visit) -> HttpId {
        self.serial += 1;
        let id = HttpId(self.serial);
        let stage = if self.is_up() { Stage::Waiting } else { Stage::Lost };
        if self.is_up() {
            self.watch.http_asked(id);
        }
        let (headers, read) = (Vec::new(), Vec::new());
        let exchange = Exchange { visit, stage, status: 0, headers, read, asked: false, steps: 0 };
        self.web.0.insert(id, exchange);
        id
    }

    /// What has come of a request.
    pub(crate) fn exchange(&self, id: HttpId) -> &Exchange {
        &self.web.0[&id]
    }

    /// The requests whose answer is not complete.
    pub(super) fn open_exchanges(&self) -> Vec<HttpId> {
        self.web.0.iter().filter(|(_, exchange)| exchange.is_open()).map(|(id, _)| *id).collect()
    }

    /// Asks, and waits for the whole answer or for its loss.
    pub(crate) fn fetch(&mut self, visit: Visit) -> &Exchange {
        let id = self.visit(visit);
        self.run_until(&format!("HTTP request {id} is answered"), |world| {
            matches!(world.exchange(id).stage, Stage::Complete | Stage::Lost)
        });
        self.exchange(id)
    }

    /// The gateway does something with a request.
    pub(super) fn perform_http(&mut self, id: HttpId, step: Step, limit: usize) {
        self.trace.note(self.time, format!("<- http {id} {step:?}"));
        let Some(exchange) = self.web.0.get_mut(&id) else {
            self.violated(&format!("HTTP request {id} is heard of, and nobody has sent it"))
        };
        let reads = matches!(step, Step::ReadBody) && exchange.is_open();
        if let Err(broken) = exchange.take(step) {
            self.violated(&format!("HTTP request {id} {broken}"));
        }
        if exchange.stage == Stage::Complete {
            self.watch.http_over(id);
        }
        if reads {
            self.send_body(id, limit);
        }
        self.leave_when_due(id);
    }

    fn send_body(&mut self, id: HttpId, limit: usize) {
        let Some(exchange) = self.web.0.get(&id) else { return };
        let (sends, (low, high)) = (exchange.visit.sends, exchange.visit.pace);
        let wait = match sends {
            Sends::Stalls => Duration::from_millis(limits::HTTP_BODY_MS),
            Sends::Whole | Sends::BreaksOff | Sends::Nonsense => self.dice.millis(low, high),
        };
        let life = self.life;
        self.after(wait, Event::Body(life, id, limit));
    }

    /// As much of a body as will ever come is here.
    pub(super) fn body_arrives(&mut self, life: u64, id: HttpId, limit: usize) {
        let Some(exchange) = self.web.0.get(&id) else { return };
        if life != self.life || exchange.stage != Stage::Waiting {
            return;
        }
        let body = match exchange.visit.sends {
            Sends::Whole if exchange.visit.body.len() > limit => Err(BodyError::TooLarge),
            Sends::Whole => Ok(Bytes::from(exchange.visit.body.clone())),
            Sends::Stalls => Err(BodyError::Timeout),
            Sends::Nonsense => Err(BodyError::Broken),
            Sends::BreaksOff => return self.leave(id),
        };
        self.tell(Input::Gateway(gateway::Input::HttpBody { id, body }));
    }

    fn leave_when_due(&mut self, id: HttpId) {
        let Some(exchange) = self.web.0.get(&id) else { return };
        if exchange.visit.leaves.is_some_and(|steps| exchange.steps >= steps) {
            self.leave(id);
        }
    }

    /// The client goes away; the gateway hears of it soon.
    pub(crate) fn leave(&mut self, id: HttpId) {
        let Some(exchange) = self.web.0.get_mut(&id) else { return };
        if !exchange.is_open() {
            return;
        }
        exchange.stage = Stage::Leaving;
        let (life, wait) = (self.life, self.dice.millis(0, 500));
        self.after(wait, Event::Left(life, id));
    }

    pub(super) fn has_left(&mut self, life: u64, id: HttpId) {
        let Some(exchange) = self.web.0.get_mut(&id) else { return };
        if life != self.life || exchange.stage != Stage::Leaving {
            return;
        }
        exchange.stage = Stage::Lost;
        self.watch.http_over(id);
        self.tell(Input::Gateway(gateway::Input::HttpGone { id }));
    }
}
