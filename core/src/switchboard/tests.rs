#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use telson_proto::{ErrorCode, ErrorShape, EventName, Json, Protocol, Role, Scope, Scopes};

use super::*;
use crate::auth::{AuthMethod, Client, Credential, Declared, Principal};
use crate::ids::{SessionKey, Ticket};
use crate::ingress::Trail;
use crate::messages::{Accept, Audience, ConnLimits, Outcome, Publish};
use crate::settings::AuthMode;

const ID: ConnId = ConnId(1);

fn at(millis: u64) -> Now {
    Now { mono: Duration::from_millis(millis), wall: millis }
}

/// A switchboard, its clock and what it has said.
struct Bench {
    board: Switchboard,
    now: Now,
    ups: Vec<Up>,
    frames: Vec<(ConnId, Value)>,
    closes: Vec<(ConnId, u16, String)>,
    pings: usize,
    rejected: Vec<u16>,
}

impl Bench {
    fn new() -> Self {
        let board = Switchboard::new(&Settings::plain(AuthMode::None), Seed::from([3; 32]));
        let (ups, frames, closes, rejected) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { board, now: at(0), ups, frames, closes, pings: 0, rejected }
    }

    fn handle(&mut self, input: Input) {
        self.board.handle(self.now, input);
        while let Some(output) = self.board.poll_output() {
            match output {
                Output::Up(up) => self.ups.push(up),
                Output::Send { conn, text } => self.frames.push((conn, serde_json::from_str(&text).unwrap())),
                Output::Close { conn, code, reason } => self.closes.push((conn, code.number(), reason)),
                Output::Ping { .. } => self.pings += 1,
                Output::Reject { response, .. } => self.rejected.push(response.status),
                Output::Admit { .. } | Output::Authenticated { .. } => {}
            }
        }
    }

    fn open(&mut self, id: ConnId) {
        self.handle(Input::Upgrade { conn: id, peer: Peer::at(IpAddr::from([127, 0, 0, 1])) });
        self.handle(Input::Opened { conn: id });
    }

    fn say(&mut self, id: ConnId, frame: &Value) {
        self.handle(Input::Message { conn: id, text: frame.to_string() });
    }

    fn raw(&mut self, text: &str) {
        self.handle(Input::Message { conn: ID, text: text.to_owned() });
    }

    /// Opens a connection and lets it in.
    fn live(&mut self, id: ConnId, protocol: Protocol, plain: bool, scopes: Scopes, limits: ConnLimits) {
        self.able(id, protocol, plain, scopes, limits, &[]);
    }

    /// The same for a client with capabilities.
    fn able(
        &mut self,
        id: ConnId,
        protocol: Protocol,
        plain: bool,
        scopes: Scopes,
        limits: ConnLimits,
        caps: &[&str],
    ) {
        let client = Client { caps: caps.iter().map(|cap| (*cap).to_owned()).collect(), ..Client::default() };
        self.enter(id, plain, Role::Operator, protocol, scopes, limits, client);
    }

    #[expect(clippy::too_many_arguments, reason = "what a connection is")]
    fn enter(
        &mut self,
        id: ConnId,
        plain: bool,
        role: Role,
        protocol: Protocol,
        scopes: Scopes,
        limits: ConnLimits,
        client: Client,
    ) {
        self.open(id);
        match plain {
            true => self.say(id, &json!({"type": "connect", "id": "c"})),
            false => self.say(id, &json!({"type": "req", "id": "c", "method": "connect"})),
        }
        let Some(Up::Connect(connect)) = self.ups.pop() else { panic!("no connect") };
        let principal = Principal {
            role,
            scopes,
            method: AuthMethod::Token,
            credential: Credential::Shared { epoch: 0 },
            user: None,
            device: None,
            protocol,
            addr: IpAddr::from([127, 0, 0, 1]),
            local: true,
            declared: Declared::new(client),
        };
        let accept =
            Accept { ticket: connect.ticket, hello: Json::empty(), principal: Arc::new(principal), limits };
        self.handle(Input::Down(Down::Accept(Box::new(accept))));
        let waiting = self.board.buffered();
        self.handle(Input::Flushed { conn: id, bytes: waiting });
        self.frames.clear();
    }

    fn reader(&mut self, id: ConnId) {
        self.live(id, Protocol::V4, false, Scopes::from_iter([Scope::Read]), ROOMY);
    }

    fn publish(&mut self, publish: Publish) {
        self.handle(Input::Down(Down::Publish(Arc::new(publish))));
    }

    fn last_request(&mut self) -> Ticket {
        let Some(Up::Request(request)) = self.ups.pop() else { panic!("no request") };
        request.ticket
    }

    fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        self.handle(Input::Down(Down::Reply { ticket, outcome }));
    }
}

const ROOMY: ConnLimits = ConnLimits { max_payload: 10_000, max_buffered: 10_000 };

#[test]
fn the_challenge_comes_first_and_the_clients_time_runs_from_when_it_has_left() {
    let mut bench = Bench::new();
    bench.open(ID);
    assert_eq!(bench.frames[0].1["event"], "connect.challenge");
    assert!(bench.frames[0].1.get("seq").is_none());
    assert_eq!(bench.board.poll_timeout(), Some(Duration::from_secs(15)));
    bench.now = at(9_000);
    bench.handle(Input::Flushed { conn: ID, bytes: 10 });
    assert_eq!(bench.board.poll_timeout(), Some(Duration::from_secs(24)));
    bench.now = at(24_000);
    bench.handle(Input::Timeout);
    assert_eq!(bench.closes, [(ID, 1000, "handshake timeout".to_owned())]);
}

#[test]
fn a_node_hears_the_sessions_that_it_subscribed_to_without_numbers_and_no_others() {
    for protocol in Protocol::ALL {
        let mut bench = Bench::new();
        bench.enter(ID, false, Role::Node, protocol, Scopes::none(), ROOMY, Client::default());
        let of = |key: &str, event| {
            let payload = Json::of(&json!({"sessionKey": key, "state": "final"}));
            Publish { to: Audience::Session(SessionKey::new(key)), ..Publish::lossless(event, payload) }
        };
        let mine = SessionKey::new("mine");
        bench.publish(of("mine", EventName::Chat));
        assert!(bench.frames.is_empty(), "it has not subscribed");
        bench.handle(Input::Down(Down::WatchMessages { conn: ID, key: mine.clone(), on: true }));
        bench.publish(of("mine", EventName::Chat));
        bench.publish(of("mine", EventName::Agent));
        bench.publish(of("other", EventName::Chat));
        let tools = Publish { to: Audience::RunTools(mine.clone()), ..of("mine", EventName::Agent) };
        bench.publish(tools);
        let message =
            Publish { to: Audience::SessionMessages(mine.clone()), ..of("mine", EventName::SessionMessage) };
        bench.publish(message);
        let heard: Vec<&str> =
            bench.frames.iter().map(|(_, frame)| frame["event"].as_str().unwrap()).collect();
        assert_eq!(heard, ["chat", "agent", "agent"]);
        assert!(bench.frames.iter().all(|(_, frame)| frame.get("seq").is_none()));
        bench.frames.clear();
        bench.publish(Publish::lossless(EventName::Tick, Json::empty()));
        assert_eq!(bench.frames[0].1["seq"], 1, "the copies have taken no number");
        bench.frames.clear();
        bench.handle(Input::Down(Down::WatchMessages { conn: ID, key: mine, on: false }));
        bench.publish(of("mine", EventName::Chat));
        assert!(bench.frames.is_empty());
    }
}

#[test]
fn every_wrong_first_frame_is_refused_with_a_reason() {
    let cases = [
        ("hello", 1000),
        ("[]", 1008),
        (r#"{"type":"request","id":"1","method":"health"}"#, 1008),
        (r#"{"type":"req","id":"1","method":"health"}"#, 1008),
        (r#"{"type":"res","id":"1"}"#, 1008),
    ];
    for (text, code) in cases {
        let mut bench = Bench::new();
        bench.open(ID);
        bench.raw(text);
        assert_eq!(bench.closes.len(), 1, "{text}");
        assert_eq!(bench.closes[0].1, code, "{text}");
        assert!(!bench.closes[0].2.is_empty(), "{text}");
        assert!(bench.ups.is_empty(), "{text}");
    }
}

#[test]
fn a_request_before_connect_is_answered_before_the_close() {
    let mut bench = Bench::new();
    bench.open(ID);
    bench.raw(r#"{"type":"req","id":"1","method":"health"}"#);
    let answer = &bench.frames[1].1;
    assert_eq!(answer["error"]["message"], "invalid handshake: first request must be connect");
    assert_eq!(bench.closes[0].2, "invalid handshake: first request must be connect");
}

#[test]
fn messages_before_hello_are_small_and_few() {
    let mut bench = Bench::new();
    bench.open(ID);
    bench.raw(&format!("\"{}\"", "x".repeat(65_535)));
    assert_eq!(bench.closes[0], (ID, 1009, "preauth payload too large".to_owned()));

    let mut bench = Bench::new();
    bench.open(ID);
    bench.raw(r#"{"type":"req","id":"c","method":"connect"}"#);
    for n in 0..15 {
        bench.say(ID, &json!({"type": "req", "id": n.to_string(), "method": "health"}));
    }
    assert!(bench.closes.is_empty());
    bench.raw("{}");
    assert_eq!(bench.closes[0], (ID, 1008, "too many pending handshake frames".to_owned()));
}

#[test]
fn what_was_said_during_the_handshake_is_replayed_in_order() {
    let mut bench = Bench::new();
    bench.open(ID);
    bench.raw(r#"{"type":"req","id":"c","method":"connect"}"#);
    let Some(Up::Connect(connect)) = bench.ups.pop() else { panic!() };
    for id in ["1", "2"] {
        bench.say(ID, &json!({"type": "req", "id": id, "method": "health"}));
    }
    let principal = Principal {
        role: Role::Operator,
        scopes: Scopes::all(),
        method: AuthMethod::Token,
        credential: Credential::Shared { epoch: 0 },
        user: None,
        device: None,
        protocol: Protocol::V3,
        addr: IpAddr::from([127, 0, 0, 1]),
        local: true,
        declared: Declared::new(Client::default()),
    };
    let accept = Accept {
        ticket: connect.ticket,
        hello: Json::empty(),
        principal: Arc::new(principal),
        limits: ROOMY,
    };
    bench.handle(Input::Down(Down::Accept(Box::new(accept))));
    let ids = bench.ups.iter().map(|up| match up {
        Up::Request(request) => request.ticket.id.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn a_frame_of_the_other_dialect_is_answered_in_the_connections_own() {
    let mut bench = Bench::new();
    bench.live(ID, Protocol::V3, true, Scopes::all(), ROOMY);
    bench.raw(r#"{"type":"req","id":"9","method":"health"}"#);
    let answer = &bench.frames[0].1;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("response"), &json!("9")));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("frame type \"req\" belongs to the other dialect"), "{message}");
    assert!(bench.closes.is_empty());
}

#[test]
fn an_unreadable_frame_is_answered_and_the_connection_stays() {
    let mut bench = Bench::new();
    bench.reader(ID);
    bench.raw("not json");
    assert!(bench.frames.is_empty());
    bench.raw(r#"{"type":"req","id":"4"}"#);
    assert_eq!(bench.frames[0].1["id"], "4");
    bench.raw("{}");
    assert_eq!(bench.frames[1].1["id"], "invalid");
    assert!(bench.closes.is_empty());
}

#[test]
fn too_large_a_message_after_hello_closes_with_the_limit_in_the_reason() {
    let mut bench = Bench::new();
    bench.reader(ID);
    bench.raw(&"x".repeat(10_001));
    assert_eq!(bench.closes[0].1, 1009);
    assert!(bench.closes[0].2.contains("10000"), "{}", bench.closes[0].2);
}

#[test]
fn unanswered_requests_are_bounded_and_an_answer_makes_room() {
    let mut bench = Bench::new();
    bench.reader(ID);
    for n in 0..256 {
        bench.say(ID, &json!({"type": "req", "id": n.to_string(), "method": "health"}));
    }
    assert_eq!(bench.ups.len(), 256);
    bench.say(ID, &json!({"type": "req", "id": "over", "method": "health"}));
    assert_eq!(bench.frames[0].1["error"]["retryable"], true);
    let ticket = bench.last_request();
    bench.answer(ticket, Outcome::ok(Json::empty()));
    bench.say(ID, &json!({"type": "req", "id": "again", "method": "health"}));
    assert_eq!(bench.last_request().id, "again");
}

#[test]
fn the_plain_dialect_gets_the_first_of_two_answers_and_the_native_both() {
    for (plain, expected) in [(true, 1), (false, 2)] {
        let mut bench = Bench::new();
        bench.live(ID, Protocol::V3, plain, Scopes::all(), ROOMY);
        let kind = if plain { "request" } else { "req" };
        bench.say(ID, &json!({"type": kind, "id": "a", "method": "agent"}));
        let ticket = bench.last_request();
        bench.answer(ticket.clone(), Outcome::ok(Json::empty()));
        bench.answer(ticket, Outcome::ok(Json::empty()));
        assert_eq!(bench.frames.len(), expected);
    }
}

#[test]
fn the_eleventh_wrong_role_in_a_row_closes() {
    let mut bench = Bench::new();
    bench.reader(ID);
    let wrong = || Outcome::error(ErrorShape::invalid("unauthorized role: node"));
    for n in 0..12 {
        bench.say(ID, &json!({"type": "req", "id": "x", "method": "health"}));
        let ticket = bench.last_request();
        let outcome = if n == 5 { Outcome::ok(Json::empty()) } else { wrong() };
        bench.answer(ticket, outcome);
    }
    assert!(bench.closes.is_empty(), "another answer resets the count");
    for _ in 0..5 {
        bench.say(ID, &json!({"type": "req", "id": "x", "method": "health"}));
        if let Some(Up::Request(request)) = bench.ups.pop() {
            bench.answer(request.ticket, wrong());
        }
    }
    assert_eq!(bench.closes[0].2, "repeated unauthorized calls");
}

#[test]
fn an_event_reaches_those_who_may_hear_it_and_numbers_are_contiguous() {
    let mut bench = Bench::new();
    bench.reader(ID);
    bench.live(ConnId(2), Protocol::V4, false, Scopes::from_iter([Scope::Pairing]), ROOMY);
    bench.live(ConnId(3), Protocol::V3, true, Scopes::from_iter([Scope::Write]), ROOMY);
    bench.open(ConnId(4));
    bench.frames.clear();
    bench.publish(Publish::lossless(EventName::Chat, Json::empty()));
    bench.publish(Publish::lossless(EventName::Tick, Json::empty()));
    let heard = |id: u64| -> Vec<(String, u64)> {
        let own = bench.frames.iter().filter(|(conn, _)| *conn == ConnId(id));
        own.map(|(_, f)| (f["event"].as_str().unwrap().to_owned(), f["seq"].as_u64().unwrap())).collect()
    };
    assert_eq!(heard(1), [("chat".into(), 1), ("tick".into(), 2)]);
    assert_eq!(heard(2), [("tick".into(), 1)]);
    assert_eq!(heard(3), [("chat".into(), 1), ("tick".into(), 2)]);
    assert!(heard(4).is_empty(), "nobody hears anything before hello");
}

#[test]
fn a_slow_reader_misses_what_may_be_dropped_and_is_closed_for_what_may_not() {
    let mut bench = Bench::new();
    let tight = ConnLimits { max_payload: 10_000, max_buffered: 300 };
    bench.live(ID, Protocol::V4, false, Scopes::from_iter([Scope::Read]), tight);
    bench.reader(ConnId(2));
    let big = Json::of(&"x".repeat(200));
    bench.publish(Publish::lossless(EventName::Chat, big.clone()));
    bench.publish(Publish::droppable(EventName::Presence, big.clone()));
    assert!(bench.closes.is_empty());
    let sent = bench.board.conns[&ID].buffered();
    bench.handle(Input::Flushed { conn: ID, bytes: sent });
    bench.publish(Publish::lossless(EventName::Tick, Json::empty()));
    let own: Vec<_> = bench.frames.iter().filter(|(conn, _)| *conn == ID).collect();
    assert_eq!((&own[0].1["seq"], &own[1].1["seq"]), (&json!(1), &json!(3)), "the drop shows as a gap");
    bench.publish(Publish::lossless(EventName::Chat, big.clone()));
    bench.publish(Publish::lossless(EventName::Chat, big));
    assert_eq!(bench.closes, [(ID, 1008, "slow consumer".to_owned())]);
    let others = bench.frames.iter().filter(|(conn, _)| *conn == ConnId(2)).count();
    assert_eq!(others, 5, "nobody else notices");
}

#[test]
fn a_large_answer_does_not_make_a_client_slow() {
    let mut bench = Bench::new();
    let tight = ConnLimits { max_payload: 10_000, max_buffered: 300 };
    bench.live(ID, Protocol::V4, false, Scopes::from_iter([Scope::Read]), tight);
    bench.say(ID, &json!({"type": "req", "id": "h", "method": "chat.history"}));
    let ticket = bench.last_request();
    bench.answer(ticket, Outcome::ok(Json::of(&"y".repeat(9_000))));
    bench.publish(Publish::lossless(EventName::Chat, Json::empty()));
    assert!(bench.closes.is_empty());
}

#[test]
fn a_v3_client_hears_of_a_session_by_the_name_it_used() {
    let mut bench = Bench::new();
    bench.live(ID, Protocol::V3, false, Scopes::all(), ROOMY);
    bench.live(ConnId(2), Protocol::V3, false, Scopes::all(), ROOMY);
    let key = SessionKey::new("agent:main:main");
    bench.handle(Input::Down(Down::Alias { conn: ID, key: key.clone(), spelling: "main".to_owned() }));
    let payload = Json::of(&json!({"sessionKey": "agent:main:main"}));
    bench.publish(Publish { to: Audience::Session(key), ..Publish::lossless(EventName::Chat, payload) });
    assert_eq!(bench.frames[0].1["payload"]["sessionKey"], "main");
    assert_eq!(bench.frames[1].1["payload"]["sessionKey"], "agent:main:main");
}

/// A session.
fn sea() -> SessionKey {
    SessionKey::new("agent:main:sea")
}

/// Who hears an event with this audience.
fn hearers(bench: &mut Bench, to: Audience) -> Vec<u64> {
    bench.frames.clear();
    bench.publish(Publish { to, ..Publish::lossless(EventName::Agent, Json::empty()) });
    bench.frames.iter().map(|(conn, _)| conn.0).collect()
}

#[test]
fn messages_are_heard_by_those_who_watch_their_session() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.reader(ConnId(id));
    }
    for (id, key) in [(1, sea()), (2, SessionKey::new("agent:main:sky"))] {
        bench.handle(Input::Down(Down::WatchMessages { conn: ConnId(id), key, on: true }));
    }
    assert_eq!(hearers(&mut bench, Audience::SessionMessages(sea())), [1]);
    assert_eq!(hearers(&mut bench, Audience::Session(sea())), [1, 2, 3], "runs are heard by all");
    bench.handle(Input::Down(Down::WatchMessages { conn: ConnId(1), key: sea(), on: false }));
    assert_eq!(hearers(&mut bench, Audience::SessionMessages(sea())), [0; 0]);
}

#[test]
fn a_client_that_wants_events_of_its_sessions_only_gets_no_others() {
    let mut bench = Bench::new();
    let reads = || Scopes::from_iter([Scope::Read]);
    bench.able(ConnId(1), Protocol::V4, false, reads(), ROOMY, &["session-scoped-events"]);
    bench.able(ConnId(2), Protocol::V3, false, reads(), ROOMY, &["session-scoped-events"]);
    assert_eq!(hearers(&mut bench, Audience::Session(sea())), [2], "protocol 3 has no such capability");
    assert_eq!(hearers(&mut bench, Audience::All), [1, 2]);
    bench.handle(Input::Down(Down::WatchMessages { conn: ConnId(1), key: sea(), on: true }));
    assert_eq!(hearers(&mut bench, Audience::Session(sea())), [1, 2]);
    assert_eq!(hearers(&mut bench, Audience::Session(SessionKey::new("agent:main:sky"))), [2]);
}

#[test]
fn tools_at_work_are_seen_once_by_clients_that_can_show_them() {
    let mut bench = Bench::new();
    let reads = || Scopes::from_iter([Scope::Read]);
    for id in 1..=3 {
        bench.able(ConnId(id), Protocol::V4, false, reads(), ROOMY, &["tool-events"]);
    }
    bench.reader(ConnId(4));
    bench.able(ConnId(5), Protocol::V3, false, reads(), ROOMY, &[]);
    for id in [1, 4] {
        bench.handle(Input::Down(Down::TakePart { conn: ConnId(id), key: sea() }));
    }
    for id in [1, 2, 4] {
        bench.handle(Input::Down(Down::WatchMessages { conn: ConnId(id), key: sea(), on: true }));
    }
    assert_eq!(hearers(&mut bench, Audience::RunTools(sea())), [1, 5]);
    assert_eq!(hearers(&mut bench, Audience::SessionTools(sea())), [2]);
}

#[test]
fn a_client_takes_part_in_the_sessions_into_which_it_sent_last() {
    let mut bench = Bench::new();
    let reads = Scopes::from_iter([Scope::Read]);
    bench.able(ID, Protocol::V4, false, reads, ROOMY, &["tool-events"]);
    bench.handle(Input::Down(Down::TakePart { conn: ID, key: sea() }));
    for n in 0..63 {
        let key = SessionKey::new(format!("agent:main:{n}"));
        bench.handle(Input::Down(Down::TakePart { conn: ID, key }));
    }
    assert_eq!(hearers(&mut bench, Audience::RunTools(sea())), [1]);
    bench.handle(Input::Down(Down::TakePart { conn: ID, key: SessionKey::new("agent:main:last") }));
    assert_eq!(hearers(&mut bench, Audience::RunTools(sea())), [0; 0]);
}

#[test]
fn a_client_that_does_not_answer_pings_is_closed_within_a_minute() {
    let mut bench = Bench::new();
    bench.reader(ID);
    bench.now = at(25_000);
    bench.handle(Input::Timeout);
    assert_eq!(bench.pings, 1);
    bench.handle(Input::Pong { conn: ID });
    bench.now = at(50_000);
    bench.handle(Input::Timeout);
    assert_eq!((bench.pings, bench.closes.len()), (2, 0));
    bench.now = at(75_000);
    bench.handle(Input::Timeout);
    assert_eq!(bench.closes[0].1, 1008);
}

#[test]
fn unauthenticated_connections_of_one_address_are_bounded_and_slots_come_back() {
    let mut bench = Bench::new();
    for n in 0..32 {
        bench.open(ConnId(n));
    }
    bench.open(ConnId(99));
    assert_eq!(bench.rejected, [503]);
    bench.handle(Input::Closed { conn: ConnId(0) });
    bench.open(ConnId(100));
    assert_eq!(bench.rejected.len(), 1);
    let other = Peer::at(IpAddr::from([10, 0, 0, 9]));
    bench.handle(Input::Upgrade { conn: ConnId(101), peer: other });
    assert_eq!(bench.rejected.len(), 1, "another address has its own slots");
}

#[test]
fn proxies_that_nobody_vouched_for_are_refused() {
    let mut bench = Bench::new();
    let trail = Trail::new([("x-forwarded-for".to_owned(), "203.0.113.9".to_owned())]);
    let peer = Peer { trail, ..Peer::at(IpAddr::from([127, 0, 0, 1])) };
    bench.handle(Input::Upgrade { conn: ID, peer });
    assert_eq!(bench.rejected, [403]);
    assert!(matches!(bench.ups.pop(), Some(Up::Hint(_))), "the gateway writes what to set");
}

#[test]
fn a_client_that_sends_what_it_may_not_over_and_over_is_closed_and_an_honest_one_is_not() {
    for frame in ["nonsense", r#"{"type":"req","id":"1"}"#, r#"{"type":"request","id":"1","method":"x"}"#] {
        let mut bench = Bench::new();
        bench.reader(ID);
        bench.reader(ConnId(2));
        for _ in 0..300 {
            bench.raw(frame);
        }
        assert!(bench.closes.is_empty(), "{frame}");
        bench.now = at(10_000);
        bench.raw(frame);
        assert!(bench.closes.is_empty(), "the window is over: {frame}");
        for _ in 0..1_000 {
            bench.raw(frame);
        }
        assert_eq!(bench.closes, [(ID, 1008, "too many refused requests".to_owned())], "{frame}");
    }
    let mut bench = Bench::new();
    bench.reader(ID);
    for n in 0..301 {
        bench.say(ID, &json!({"type": "req", "id": n.to_string(), "method": "config.set"}));
        let ticket = bench.last_request();
        let error = ErrorShape::new(ErrorCode::Forbidden, "missing scope");
        bench.answer(ticket, Outcome::error(error));
        bench.say(ID, &json!({"type": "req", "id": format!("good {n}"), "method": "health"}));
        if let Some(Up::Request(request)) = bench.ups.pop() {
            bench.answer(request.ticket, Outcome::ok(Json::empty()));
        }
        let waiting = bench.board.buffered();
        bench.handle(Input::Flushed { conn: ID, bytes: waiting });
    }
    assert_eq!(bench.closes.len(), 1, "good requests between do not hide them");
}

#[test]
fn after_close_all_nothing_is_admitted() {
    let mut bench = Bench::new();
    bench.reader(ID);
    let reason = "service restart".to_owned();
    bench.handle(Input::Down(Down::CloseAll { code: CloseCode::Restart, reason }));
    assert_eq!(bench.closes, [(ID, 1012, "service restart".to_owned())]);
    bench.open(ConnId(2));
    assert_eq!(bench.rejected, [503]);
    bench.handle(Input::Closed { conn: ID });
    assert!(matches!(bench.ups.pop(), Some(Up::Gone { conn: ID })));
    assert_eq!(bench.board.connections(), 0);
}

proptest! {
    /// Whatever a client sends, it gets no event before hello, at most one close, and the gateway hears of it
    /// at most once.
    #[test]
    fn no_sequence_of_messages_confuses_a_connection(
        messages in proptest::collection::vec(prop_oneof![
            Just(r#"{"type":"req","id":"c","method":"connect"}"#.to_owned()),
            Just(r#"{"type":"connect"}"#.to_owned()),
            Just(r#"{"type":"request","id":"1","method":"x"}"#.to_owned()),
            Just("{".to_owned()),
            ".{0,40}",
        ], 0..30),
    ) {
        let mut bench = Bench::new();
        bench.open(ID);
        for text in messages {
            bench.raw(&text);
            bench.publish(Publish::lossless(EventName::Tick, Json::empty()));
        }
        bench.handle(Input::Closed { conn: ID });
        let events = bench.frames.iter().filter(|(_, f)| f["type"] == "event").count();
        prop_assert_eq!(events, 1, "the challenge only");
        prop_assert!(bench.closes.len() <= 1);
        prop_assert!(bench.ups.iter().filter(|up| matches!(up, Up::Connect(_))).count() <= 1);
        prop_assert_eq!(bench.board.connections(), 0);
    }
}
