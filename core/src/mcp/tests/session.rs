//! The protocol by itself.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::session::{Answer, Event, Session};
use super::{answer, hello, tools};
use crate::ids::CallId;

const NOW: Duration = Duration::ZERO;

struct Bench {
    session: Session,
    events: Vec<Event>,
}

impl Bench {
    fn opened() -> Self {
        let mut bench = Self { session: Session::default(), events: Vec::new() };
        bench.session.open(NOW, "0", &mut bench.events);
        bench
    }

    fn ready() -> Self {
        let mut bench = Self::opened();
        bench.answer(hello());
        bench.answer(tools(&["echo"]));
        bench.events.clear();
        bench
    }

    /// The last message that was sent.
    fn sent(&self) -> Value {
        let all = self.events.iter().rev();
        let mut bodies = all.filter_map(|event| match event {
            Event::Send { body, .. } => Some(serde_json::from_str(body).unwrap()),
            _ => None,
        });
        bodies.next().expect("something was sent")
    }

    /// Answers the last request.
    fn answer(&mut self, result: Value) {
        let request = self.sent();
        self.say(&answer(&request["id"], result));
    }

    fn say(&mut self, text: &str) {
        self.session.receive(NOW, text, &mut self.events).unwrap();
    }

    fn broken(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            Event::Broken(problem) => Some(problem.as_str()),
            _ => None,
        })
    }
}

#[test]
fn the_handshake_agrees_on_a_version_and_lists_the_tools_page_by_page() {
    let mut bench = Bench::opened();
    let first = bench.sent();
    assert_eq!(
        (&first["method"], &first["params"]["protocolVersion"]),
        (&json!("initialize"), &json!("2025-06-18"))
    );
    bench.answer(json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}));
    assert_eq!(bench.session.version(), Some("2024-11-05"));
    let mut page = tools(&["one"]);
    page["nextCursor"] = json!("2");
    bench.answer(page);
    assert_eq!(bench.sent()["params"], json!({"cursor": "2"}));
    assert!(!bench.session.is_ready());
    bench.answer(tools(&["two", "one"]));
    let names: Vec<&str> = bench.session.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["one", "two"], "a tool that is listed twice is one");
    assert!(bench.session.is_ready() && bench.events.contains(&Event::Ready));
    let notified = bench.events.iter().filter(
        |event| matches!(event, Event::Send { body, request: None } if body.contains("notifications/initialized")),
    );
    assert_eq!(notified.count(), 1);
}

#[test]
fn a_server_of_another_time_or_one_that_refuses_is_broken() {
    let mut bench = Bench::opened();
    bench.answer(json!({"protocolVersion": "1999-01-01", "capabilities": {}}));
    assert!(bench.broken().unwrap().contains("speaks protocol version \"1999-01-01\""));
    let mut bench = Bench::opened();
    let id = bench.sent()["id"].clone();
    bench.say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -1, "message": "no"}}).to_string());
    assert_eq!(bench.broken(), Some("it refuses the handshake: no (code -1)"));
    let mut bench = Bench::opened();
    bench.session.timeout(Duration::from_secs(31), &mut bench.events);
    assert!(bench.broken().is_some());
}

#[test]
fn a_server_without_tools_is_ready_at_once() {
    let mut bench = Bench::opened();
    bench.answer(json!({"protocolVersion": "2025-03-26", "capabilities": {"resources": {}}}));
    assert!(bench.session.is_ready() && bench.session.tools().is_empty());
}

#[test]
fn what_the_server_asks_is_answered() {
    let mut bench = Bench::ready();
    bench.say(r#"{"jsonrpc":"2.0","id":"p1","method":"ping"}"#);
    assert_eq!(bench.sent(), json!({"jsonrpc": "2.0", "id": "p1", "result": {}}));
    for method in ["roots/list", "sampling/createMessage", "elicitation/create"] {
        bench.say(&json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": {}}).to_string());
        assert_eq!(bench.sent()["error"]["code"], -32_601, "{method}");
    }
    bench.say(r#"[{"jsonrpc":"2.0","id":1000,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/progress"}]"#);
    assert_eq!(bench.sent()["id"], 1000, "batches are read");
}

#[test]
fn the_list_is_read_again_when_it_has_changed_also_while_it_is_being_read() {
    let mut bench = Bench::ready();
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    bench.say(changed);
    assert_eq!(bench.sent()["method"], "tools/list");
    bench.say(changed);
    bench.answer(tools(&["a"]));
    assert_eq!(bench.session.tools()[0].name, "a");
    assert_eq!(bench.sent()["method"], "tools/list");
    bench.answer(tools(&["b"]));
    assert_eq!(bench.session.tools()[0].name, "b");
    bench.events.clear();
    bench.session.timeout(Duration::from_secs(999), &mut bench.events);
    assert_eq!(bench.events, [], "nothing waits any more");
}

#[test]
fn a_list_that_changes_before_it_has_come_is_read_again() {
    // `@modelcontextprotocol/server-everything` does so at every start.
    let mut bench = Bench::opened();
    bench.answer(hello());
    let request = bench.sent()["id"].clone();
    bench.say(r#"{"method":"notifications/tools/list_changed","jsonrpc":"2.0"}"#);
    bench.say(&answer(&request, tools(&["early"])));
    assert!(bench.session.is_ready());
    assert_ne!(bench.sent()["id"], request, "it is asked again");
    bench.answer(tools(&["early", "late"]));
    assert_eq!(bench.session.tools().len(), 2);
}

#[test]
fn an_answer_to_nothing_is_passed_over_and_nonsense_is_named() {
    let mut bench = Bench::ready();
    bench.say(r#"{"jsonrpc":"2.0","id":4711,"result":{}}"#);
    bench.say(r#"{"jsonrpc":"2.0","id":"abc","result":{}}"#);
    assert_eq!(bench.events, []);
    for text in ["{\"jsonrpc\":\"2.0\",\"id\":1", "hello", "7", "{}", "[[]]"] {
        assert!(bench.session.receive(NOW, text, &mut bench.events).is_err(), "{text}");
    }
}

#[test]
fn a_call_that_takes_too_long_is_cancelled_at_the_server() {
    let mut bench = Bench::ready();
    bench.session.call(NOW, CallId(1), "echo", &json!({}), Duration::from_secs(5), &mut bench.events);
    let id = bench.sent()["id"].clone();
    bench.session.timeout(Duration::from_secs(5), &mut bench.events);
    assert_eq!(bench.sent()["params"]["requestId"], id);
    let over = Answer::Error("the server has not answered in time".to_owned());
    assert_eq!(bench.events.last(), Some(&Event::Done(CallId(1), over)));
    bench.events.clear();
    bench.say(&answer(&id, json!({"content": []})));
    assert_eq!(bench.events, [], "too late");
}

#[test]
fn tools_that_no_model_could_be_told_of_are_left_out() {
    let mut bench = Bench::opened();
    bench.answer(hello());
    let huge = "x".repeat(70_000);
    bench.answer(json!({"tools": [
        {"name": "", "inputSchema": {"type": "object"}},
        {"inputSchema": {"type": "object"}},
        {"name": "list", "inputSchema": {"type": "array"}},
        {"name": "huge", "inputSchema": {"type": "object", "description": huge}},
        {"name": "bare", "description": format!("a\u{1b}[31m{}", "d".repeat(9_000))},
    ]}));
    let tools = bench.session.tools();
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0].schema.to_value(), json!({"type": "object", "properties": {}}));
    assert!(tools[0].description.len() < 4_200 && !tools[0].description.contains('\u{1b}'));
}

/// What may happen to a session.
#[derive(Clone, Debug)]
enum Fate {
    Call(u64),
    Answer(u64),
    Refuse(u64),
    Cancel(u64),
    Wait(u64),
    Nonsense,
    Close,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let one = prop_oneof![
        4 => (0..8_u64).prop_map(Fate::Call),
        3 => (0..12_u64).prop_map(Fate::Answer),
        1 => (0..12_u64).prop_map(Fate::Refuse),
        1 => (0..8_u64).prop_map(Fate::Cancel),
        1 => (0..4_u64).prop_map(Fate::Wait),
        1 => Just(Fate::Nonsense),
        1 => Just(Fate::Close),
    ];
    prop::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn every_call_ends_once_or_is_given_up(fates in fates()) {
        let mut bench = Bench::ready();
        let (mut now, mut last) = (NOW, 0);
        let (mut begun, mut cancelled) = (Vec::new(), Vec::new());
        for fate in fates {
            match fate {
                Fate::Call(seconds) => {
                    last += 1;
                    begun.push(last);
                    let timeout = Duration::from_secs(seconds + 1);
                    bench.session.call(now, CallId(last), "echo", &json!({}), timeout, &mut bench.events);
                }
                Fate::Answer(id) => bench.say(&answer(&json!(id), json!({"content": []}))),
                Fate::Refuse(id) => bench.say(&json!({"id": id, "error": {"message": "no"}}).to_string()),
                Fate::Cancel(call) => {
                    if bench.session.cancel(CallId(call), "x", &mut bench.events).is_some() {
                        cancelled.push(call);
                    }
                }
                Fate::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    bench.session.timeout(now, &mut bench.events);
                }
                Fate::Nonsense => {
                    let read = bench.session.receive(now, "nonsense", &mut bench.events);
                    prop_assert!(read.is_err());
                }
                Fate::Close => bench.session.close("closed", &mut bench.events),
            }
        }
        bench.session.close("over", &mut bench.events);
        for call in begun {
            let outcomes = bench.events.iter().filter(|e| matches!(e, Event::Done(CallId(c), _) if *c == call)).count();
            prop_assert_eq!(outcomes + cancelled.iter().filter(|c| **c == call).count(), 1, "call {}", call);
        }
        prop_assert_eq!(bench.session.next_deadline(), None);
    }
}
