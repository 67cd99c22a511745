//! A node host in a test: its clock, its machine and what it said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::Secret;
use crate::entropy::Seed;
use crate::time::Now;

use super::settings::{Address, Credential, Machine, NodeSettings};
use super::{Errand, Identity, Input, JobId, LinkId, News, NodeHost, Outcome, Output, ProcessEvent, Program};

/// The origin of the gateway.
pub(super) const ORIGIN: &str = "wss://gateway.example:443";

/// A node of the published key that knows the shared token.
pub(super) fn settings() -> NodeSettings {
    let seed: [u8; 32] = std::array::from_fn(|byte| u8::try_from(byte).unwrap());
    NodeSettings {
        gateways: vec![Address {
            url: "wss://gateway.example/".to_owned(),
            origin: ORIGIN.to_owned(),
            token: None,
        }],
        credential: Credential::Token(Secret::new("shared")),
        setup: None,
        identity: Identity::from_seed(&seed),
        name: "a node".to_owned(),
        version: "1.0.0".to_owned(),
        platform: "linux".to_owned(),
        family: "Linux".to_owned(),
        machine: Machine {
            home: Some("/home/ann".to_owned()),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]),
            policy: "/state/exec-approvals.json".to_owned(),
            policy_socket: "/state/exec-approvals.sock".to_owned(),
            ..Machine::default()
        },
    }
}

/// A node host and what stands around it.
pub(super) struct Bench {
    pub(super) host: NodeHost,
    now: Duration,
    /// The connection that is asked for or open.
    pub(super) link: Option<LinkId>,
    /// URLs that were connected to.
    pub(super) dialled: Vec<String>,
    /// Frames that were sent and not looked at.
    pub(super) sent: VecDeque<Value>,
    pub(super) closed: Vec<(u16, &'static str)>,
    /// Tokens that were kept or forgotten.
    pub(super) kept: Vec<Option<String>>,
    pub(super) news: Vec<News>,
    pub(super) spawned: Vec<(JobId, Program)>,
    pub(super) killed: Vec<JobId>,
    /// The policy of the machine.
    pub(super) policy: Option<String>,
    /// Programs of the machine.
    pub(super) programs: Vec<&'static str>,
    /// Whether somebody changes the policy between reading and writing it.
    pub(super) racing: u32,
    pub(super) ended: bool,
}

impl Bench {
    pub(super) fn new(settings: NodeSettings) -> Self {
        let host =
            NodeHost::new(settings, Seed::from([9; 32]), Now { mono: Duration::ZERO, wall: 1_000_000 });
        let mut bench = Self {
            host,
            now: Duration::ZERO,
            link: None,
            dialled: Vec::new(),
            sent: VecDeque::new(),
            closed: Vec::new(),
            kept: Vec::new(),
            news: Vec::new(),
            spawned: Vec::new(),
            killed: Vec::new(),
            policy: None,
            programs: vec!["git", "uname", "sh", "sleep"],
            racing: 0,
            ended: false,
        };
        bench.tell(Input::Started);
        bench
    }

    /// A node that is connected to a gateway of a protocol.
    pub(super) fn ready(protocol: u64) -> Self {
        let mut bench = Self::new(settings());
        bench.open();
        bench.welcome(protocol, None);
        bench.sent.clear();
        bench
    }

    pub(super) fn tell(&mut self, input: Input) {
        let now = Now { mono: self.now, wall: 1_000_000 + u64::try_from(self.now.as_millis()).unwrap() };
        self.host.handle(now, input);
        while let Some(output) = self.host.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { link, url } => {
                self.link = Some(link);
                self.dialled.push(url);
            }
            Output::Send(link, text) => {
                assert_eq!(Some(link), self.link, "only an open connection is written to");
                self.sent.push_back(serde_json::from_str(&text).unwrap());
            }
            Output::Close { link, code, reason } => {
                assert_eq!(Some(link), self.link.take());
                self.closed.push((code, reason));
            }
            Output::Keep { origin, token } => {
                assert_eq!(origin, ORIGIN, "a token belongs to the gateway that gave it");
                self.kept.push(token.map(|token| token.token.expose().to_owned()));
            }
            Output::Do(job, errand) => {
                let outcome = self.errand(errand);
                self.tell(Input::Done(job, outcome));
            }
            Output::Spawn(job, program) => self.spawned.push((job, program)),
            Output::Kill(job) => self.killed.push(job),
            Output::Say(news) => self.news.push(news),
            Output::Ended => self.ended = true,
        }
    }

    fn errand(&mut self, errand: Errand) -> Outcome {
        match errand {
            Errand::ReadPolicy => Outcome::Policy(self.policy.clone()),
            Errand::WritePolicy { .. } if self.racing > 0 => {
                self.racing -= 1;
                Outcome::Changed
            }
            Errand::WritePolicy { text, was } => {
                assert_eq!(was, self.policy);
                self.policy = Some(text);
                Outcome::Written
            }
            Errand::Look { programs, files, .. } => {
                let find = |name: String| {
                    let base = name.strip_prefix("/usr/bin/").or(name.strip_prefix("/bin/")).unwrap_or(&name);
                    let found = self.programs.iter().find(|program| **program == base)?;
                    Some((name.clone(), format!("/usr/bin/{found}")))
                };
                let files = files.into_iter().filter(|name| name == "notes").collect();
                Outcome::Found { programs: programs.into_iter().filter_map(find).collect(), files }
            }
            Errand::List { below } => {
                Outcome::Listed { path: format!("/home/ann/{below}"), entries: Vec::new(), truncated: false }
            }
        }
    }

    /// Time goes by, and the host is woken whenever it wants to be.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.host.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.tell(Input::Woken);
            assert!(self.host.poll_timeout().is_none_or(|next| next > at), "what was due is done");
        }
        self.now = until;
    }

    /// The connection opens and the gateway sends its challenge; the greeting.
    pub(super) fn open(&mut self) -> Value {
        let link = self.link.expect("a connection was asked for");
        self.tell(Input::Opened(link));
        self.event("connect.challenge", &json!({"nonce": "n", "ts": 7}));
        let greeting = self.sent.pop_front().expect("the greeting");
        assert_eq!(greeting["method"], "connect");
        greeting
    }

    pub(super) fn welcome(&mut self, protocol: u64, token: Option<&str>) {
        let hello = json!({
            "type": "hello-ok", "protocol": protocol, "server": {"version": "9"},
            "features": {"methods": ["node.invoke.progress"], "events": []},
            "auth": {"deviceToken": token, "role": "node"},
            "policy": {"maxPayload": 524_288, "tickIntervalMs": 30_000},
        });
        self.frame(&json!({"type": "res", "id": "hello", "ok": true, "payload": hello}));
    }

    pub(super) fn refuse(&mut self, error: &Value) {
        self.frame(&json!({"type": "res", "id": "hello", "ok": false, "error": error}));
    }

    pub(super) fn event(&mut self, name: &str, payload: &Value) {
        self.frame(&json!({"type": "event", "event": name, "payload": payload}));
    }

    pub(super) fn frame(&mut self, frame: &Value) {
        let link = self.link.expect("a connection");
        self.tell(Input::Message(link, frame.to_string()));
    }

    pub(super) fn break_off(&mut self, code: u16, reason: &str) {
        let link = self.link.take().expect("a connection");
        self.tell(Input::Closed { link, code, reason: reason.to_owned() });
    }

    pub(super) fn invoke(&mut self, id: &str, command: &str, params: &Value) {
        let payload = json!({"id": id, "nodeId": "me", "command": command, "paramsJSON": params.to_string()});
        self.event("node.invoke.request", &payload);
    }

    /// Something happens to the last process.
    pub(super) fn process(&mut self, event: ProcessEvent) {
        let job = self.spawned.last().expect("a process").0;
        self.tell(Input::Process(job, event));
    }

    /// The result that was sent for a request, and the events before it.
    pub(super) fn result(&mut self, id: &str) -> Value {
        let at = self
            .sent
            .iter()
            .position(|frame| frame["method"] == "node.invoke.result" && frame["params"]["id"] == id);
        let at = at.unwrap_or_else(|| panic!("no result of {id}: {:#?}", self.sent));
        self.sent.remove(at).unwrap()["params"].clone()
    }

    /// The payload of a result that must be a success.
    pub(super) fn payload(&mut self, id: &str) -> Value {
        let result = self.result(id);
        assert_eq!(result["ok"], true, "{result:#}");
        serde_json::from_str(result["payloadJSON"].as_str().unwrap()).unwrap()
    }

    /// The message of a result that must be an error.
    pub(super) fn fault(&mut self, id: &str) -> String {
        let result = self.result(id);
        assert_eq!(result["ok"], false, "{result:#}");
        result["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The names and payloads of the events that were sent.
    pub(super) fn events(&self) -> Vec<(String, Value)> {
        let events = self.sent.iter().filter(|frame| frame["method"] == "node.event");
        events
            .map(|frame| {
                let payload = frame["params"]["payloadJSON"].as_str().unwrap();
                (
                    frame["params"]["event"].as_str().unwrap().to_owned(),
                    serde_json::from_str(payload).unwrap(),
                )
            })
            .collect()
    }

    pub(super) fn allow(&mut self, agents: &Value) {
        self.policy = Some(json!({"version": 1, "agents": agents}).to_string());
    }
}
