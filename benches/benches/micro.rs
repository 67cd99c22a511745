//! What the machines cost without any socket: run with `cargo bench -p telson-benches`.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use telson_core::auth::Secret;
use telson_core::fetch::FetchEvent;
use telson_core::peer::Peer;
use telson_core::settings::{AuthMode, Settings};
use telson_core::store::{Everything, Loaded, Query};
use telson_core::{ConnId, Input, Joined, Now, Output, Seed, gateway, switchboard};
use telson_proto::dialect::{decode, response};
use telson_proto::{Dialect, Json};

const SECRET: &str = "a-token-for-the-benches";

/// Both machines with a store that answers at once and keeps nothing.
struct Bench {
    machines: Joined,
    now: Now,
    inputs: VecDeque<Input>,
    sent: usize,
    finals: usize,
}

impl Bench {
    /// A gateway with this many clients that hear every event.
    fn with_clients(clients: u64) -> Self {
        let now = Now { mono: Duration::ZERO, wall: 1_769_700_000_000 };
        let settings = Settings::plain(AuthMode::Token(Secret::new(SECRET)));
        let machines = Joined::new(settings, Seed::from([5; 32]), now);
        let mut bench = Self { machines, now, inputs: VecDeque::new(), sent: 0, finals: 0 };
        bench.tell(Input::Gateway(gateway::Input::Started));
        for conn in (1..=clients).map(ConnId) {
            let peer = Peer::at(IpAddr::from([127, 0, 0, 1]));
            bench.tell(Input::Switchboard(switchboard::Input::Upgrade { conn, peer }));
            bench.say(
                conn,
                &format!(
                    r#"{{"type":"connect","params":{{"token":"{SECRET}","client":{{"id":"bench"}},"scopes":["operator.admin"]}}}}"#
                ),
            );
        }
        assert_eq!(bench.machines.switchboard().connections() as u64, clients);
        bench
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        self.tell(Input::Switchboard(switchboard::Input::Message { conn, text: text.to_owned() }));
    }

    fn tell(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            self.machines.handle(self.now, input);
            self.drain();
        }
    }

    /// Lets time pass until nothing is under way.
    fn rest(&mut self) {
        while self.machines.gateway().open_runs() > 0 {
            let Some(next) = self.machines.poll_timeout() else { return };
            self.now.mono = self.now.mono.max(next);
            self.machines.handle_timeout(self.now);
            self.drain();
            while let Some(input) = self.inputs.pop_front() {
                self.machines.handle(self.now, input);
                self.drain();
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.machines.poll_output() {
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
            Out::Send { conn, text } => {
                self.sent += 1;
                self.finals += usize::from(text.contains(r#""state":"final""#));
                In::Flushed { conn, bytes: text.len() }
            }
            Out::Ping { conn } => In::Pong { conn },
            Out::Close { reason, .. } => panic!("closed: {reason}"),
            Out::Reject { response, .. } => panic!("rejected: {}", response.body),
            Out::Authenticated { .. } | Out::Up(_) => return,
        };
        self.inputs.push_back(Input::Switchboard(answer));
    }

    fn effect(&mut self, output: gateway::Output) {
        use gateway::{Input as In, Output as Out};
        let answer = match output {
            Out::Store(transaction) => In::Stored { id: transaction.id, result: Ok(()) },
            Out::Load { id, query } => In::Loaded {
                id,
                result: Ok(match query {
                    Query::Everything => Loaded::Everything(Box::<Everything>::default()),
                    Query::Tail { .. } => Loaded::Entries(Vec::new()),
                    Query::Page(page) => Loaded::Page(page.of(&[])),
                    Query::Search(search) => Loaded::Hits(search.rank(std::iter::empty())),
                    Query::Usage(usage) => Loaded::Usage(usage.of(std::iter::empty())),
                    Query::Audit(query) => Loaded::Audit(query.of(&[])),
                }),
            },
            Out::Fetch { id, .. } => In::Fetch { id, event: FetchEvent::End },
            _ => return,
        };
        self.inputs.push_back(Input::Gateway(answer));
    }
}

fn words(c: &mut Criterion) {
    let frame = r#"{"type":"req","id":"b1946ac9-2b7e-4f3d-8a51-0c3f0a4f1b77","method":"chat.send","params":{"sessionKey":"agent:main:main","message":"what moves the sea?","idempotencyKey":"5d41402a"}}"#;
    let mut group = c.benchmark_group("words");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("decode a request", |b| b.iter(|| black_box(decode(black_box(frame)))));
    let payload = Json::of(
        &serde_json::json!({"runId": "5d41402a", "status": "started", "acceptedAt": 1_769_700_000_000_u64}),
    );
    group.bench_function("encode a response", |b| {
        b.iter(|| black_box(response(Dialect::Native, "b1946ac9", Some(black_box(&payload)), None)));
    });
    group.finish();
}

fn requests(c: &mut Criterion) {
    let mut bench = Bench::with_clients(1);
    let mut group = c.benchmark_group("requests");
    group.throughput(Throughput::Elements(1));
    group.bench_function("health", |b| {
        b.iter(|| bench.say(ConnId(1), r#"{"type":"request","id":"1","method":"health"}"#));
    });
    group.bench_function("system-presence", |b| {
        b.iter(|| {
            bench.say(ConnId(1), r#"{"type":"request","id":"1","method":"system-presence","params":{}}"#);
        });
    });
    group.bench_function("params that are refused", |b| {
        b.iter(|| {
            bench.say(ConnId(1), r#"{"type":"request","id":"1","method":"sessions.list","params":{"x":1}}"#);
        });
    });
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    let mut bench = Bench::with_clients(200);
    let mut group = c.benchmark_group("fan-out");
    group.throughput(Throughput::Elements(200));
    group.bench_function("one event to 200 clients", |b| {
        b.iter(|| {
            let before = bench.sent;
            bench.say(
                ConnId(1),
                r#"{"type":"request","id":"1","method":"talk.mode","params":{"enabled":true}}"#,
            );
            assert_eq!(bench.sent - before, 201);
        });
    });
    group.finish();
}

fn chat(c: &mut Criterion) {
    let mut group = c.benchmark_group("chat");
    group.throughput(Throughput::Elements(1));
    let mut turn = 0_u64;
    group.bench_function("chat.send to final, echo of five words", |b| {
        b.iter_batched_ref(
            || Bench::with_clients(1),
            |bench| {
                turn += 1;
                bench.say(
                    ConnId(1),
                    &format!(
                        r#"{{"type":"request","id":"1","method":"chat.send","params":{{"sessionKey":"main","message":"the tide and the moon","idempotencyKey":"{turn}"}}}}"#
                    ),
                );
                bench.rest();
                assert_eq!(bench.finals, 1);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = words, requests, fan_out, chat
}
criterion_main!(benches);
