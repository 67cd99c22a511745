//! Whatever a gateway sends, a node stands.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::nodehost::testing::{Bench, settings};
use crate::nodehost::{Input, Outcome, ProcessEvent};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[ -~é\u{0}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,10}", inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![4 => proptest::sample::select(words).prop_map(Value::from), 1 => value()]
}

fn params() -> impl Strategy<Value = Value> {
    let names = &[
        "command",
        "rawCommand",
        "env",
        "cwd",
        "timeoutMs",
        "approved",
        "approvalDecision",
        "runId",
        "bins",
        "file",
        "baseHash",
        "path",
        "title",
        "agentId",
        "sessionKey",
    ];
    proptest::collection::btree_map(proptest::sample::select(&names[..]), value(), 0..8)
        .prop_map(|map| json!(map))
}

fn frame() -> impl Strategy<Value = String> {
    let commands = &[
        "system.run",
        "system.which",
        "system.execApprovals.get",
        "system.execApprovals.set",
        "fs.listDir",
        "x",
    ];
    let invoke = (word(commands), word(&["1", "2", "3"]), params(), any::<bool>()).prop_map(
        |(command, id, params, text)| {
            let mut payload = json!({"id": id, "nodeId": "n", "command": command});
            if text {
                payload["paramsJSON"] = json!(params.to_string());
            } else {
                payload["params"] = params;
            }
            json!({"type": "event", "event": "node.invoke.request", "payload": payload}).to_string()
        },
    );
    let events = &[
        "connect.challenge",
        "node.invoke.request",
        "node.invoke.cancel",
        "node.pair.resolved",
        "shutdown",
        "tick",
    ];
    let event = (word(events), value()).prop_map(|(event, payload)| {
        json!({"type": "event", "event": event, "payload": payload}).to_string()
    });
    let response =
        (word(&["hello", "n1"]), any::<bool>(), value(), value()).prop_map(|(id, ok, payload, error)| {
            json!({"type": "res", "id": id, "ok": ok, "payload": payload, "error": error}).to_string()
        });
    prop_oneof![4 => invoke, 2 => event, 2 => response, 1 => value().prop_map(|value| value.to_string()), 1 => "[ -~]{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_node_outlives_whatever_it_is_sent(
        frames in proptest::collection::vec((frame(), 0_u64..40_000), 0..40), welcome in any::<bool>(), full in any::<bool>(),
    ) {
        let mut bench = Bench::new(settings());
        if full {
            bench.allow(&json!({"main": {"security": "full", "ask": "off"}}));
        }
        if welcome {
            bench.open();
            bench.welcome(4, None);
        }
        let mut answered = std::collections::BTreeMap::<String, u32>::new();
        for (frame, pause) in frames {
            if let Some(link) = bench.link {
                bench.tell(Input::Message(link, frame));
            }
            if let Some((job, _)) = bench.spawned.pop() {
                bench.tell(Input::Process(job, ProcessEvent::Stdout(vec![0xff; 9])));
                bench.tell(Input::Process(job, ProcessEvent::Exited(Some(1))));
                // What comes too late changes nothing.
                bench.tell(Input::Process(job, ProcessEvent::Exited(Some(1))));
                bench.tell(Input::Done(job, Outcome::Written));
            }
            bench.pass(Duration::from_millis(pause));
            for sent in bench.sent.drain(..) {
                if sent["method"] == "node.invoke.result" {
                    *answered.entry(sent["params"]["id"].to_string()).or_default() += 1;
                }
            }
        }
        prop_assert!(answered.values().all(|count| *count == 1), "{answered:?}");
        prop_assert!(bench.link.is_some() || bench.host.poll_timeout().is_some(), "it always goes on");
    }
}
