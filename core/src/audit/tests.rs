//! What stands in the book, and what does not (08, *Test conventions*).
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;

use serde_json::{Value, json};
use telson_proto::{Protocol, Scope, Scopes};

use super::{Audited, Verdict};
use crate::gateway::{Input, METHODS, Need};
use crate::messages::Up;
use crate::testing::World;

/// The lines of the book: actor, action, subject, outcome.
fn book(world: &World) -> Vec<(String, String, String, String)> {
    let line = |line: &crate::store::AuditRecord| {
        (line.actor.clone(), line.action.clone(), line.subject.clone(), line.outcome.clone())
    };
    world.shelf.audit.iter().map(line).collect()
}

fn line(actor: &str, action: &str, subject: &str, outcome: &str) -> (String, String, String, String) {
    (actor.to_owned(), action.to_owned(), subject.to_owned(), outcome.to_owned())
}

#[test]
fn every_call_that_asks_for_more_than_reading_and_writing_is_noted() {
    let mut world = World::new();
    let desk = world.client(Protocol::V4, Scopes::all(), Some("laptop"));
    world.ask(desk, "sessions.list", json!({}));
    world.ask(desk, "sessions.reset", json!({"key": "main"}));
    world.ask(desk, "device.pair.list", json!({}));
    world.refusal(desk, "exec.approval.resolve", json!({"id": "x", "decision": "deny"}));
    assert_eq!(
        book(&world),
        [
            line("device:laptop", "sessions.reset", "main", "ok"),
            line("device:laptop", "device.pair.list", "", "ok"),
            line("device:laptop", "exec.approval.resolve", "x", "failed"),
        ]
    );
    assert_eq!(world.shelf.audit[0].address, "127.0.0.1");
}

#[test]
fn every_denial_is_noted_and_repeats_are_counted() {
    let mut world = World::new();
    let reader = world.client(Protocol::V3, Scopes::from_iter([Scope::Read]), Some("phone"));
    for _ in 0..1_000 {
        world.refusal(
            reader,
            "chat.send",
            json!({"sessionKey": "main", "message": "secret words", "idempotencyKey": "k"}),
        );
        world.refusal(reader, "my secret words", json!({}));
    }
    assert_eq!(
        book(&world),
        [
            line("device:phone", "chat.send", "", "denied"),
            line("device:phone", "unknown method", "", "denied"),
        ]
    );
    world.advance(60_000);
    let reasons: Vec<_> = world.shelf.audit[2..].iter().map(|line| line.reason.clone().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "missing scope: operator.write; 999 more within 60 s",
            "missing scope: operator.admin; 999 more within 60 s",
        ]
    );
    assert!(!format!("{:?}", world.shelf.audit).contains("secret"));
    world.refusal(reader, "chat.send", json!({}));
    assert_eq!(world.shelf.audit.len(), 5, "a new minute begins");
}

#[test]
fn a_denial_at_the_effect_is_noted_as_one_at_the_door() {
    let mut world = World::new();
    let writer = world.client(Protocol::V4, World::read_write(), None);
    world.refusal(writer, "sessions.patch", json!({"key": "main", "sendPolicy": "deny"}));
    assert_eq!(book(&world), [line("token", "sessions.patch", "", "denied")]);
}

#[test]
fn strangers_cannot_fill_the_book() {
    let mut world = World::new();
    for n in 0..10_000_u32 {
        world.gateway.audit_stranger(
            IpAddr::from([10, 0, (n >> 8) as u8, n as u8]),
            "connect",
            "token-mismatch",
        );
    }
    world.input(Input::Timeout);
    world.advance(60_000);
    let lines = world.shelf.audit.len();
    assert!(lines < 70, "{lines}");
    let many = world
        .shelf
        .audit
        .iter()
        .find(|line| line.reason.as_deref().is_some_and(|why| why.contains("more within")));
    assert_eq!(many.unwrap().actor, "others");
}

#[test]
fn a_subject_is_a_name_and_never_more() {
    for (params, subject) in [
        (json!({"id": "a-1", "message": "words"}), "a-1"),
        (json!({"requestId": "r", "id": "x"}), "r"),
        (json!({"id": "two words\n\u{1b}[31m"}), "two_words___31m"),
        (json!({"token": "secret", "password": "secret"}), ""),
        (json!({"id": {"deep": 1}}), ""),
        (json!(["id"]), ""),
    ] {
        assert_eq!(super::calls::subject(&params.to_string()), subject);
    }
    assert_eq!(super::calls::subject(&json!({"id": "x".repeat(9_000)}).to_string()).len(), 128);
}

#[test]
fn a_line_that_a_domain_writes_itself_is_not_written_twice() {
    let mut world = World::new();
    let desk = world.operator(Protocol::V4);
    let principal = world.gateway.conns[&desk].clone();
    world.gateway.audit(&principal, "sessions.reset", "told", &Verdict::Done);
    world.ask(desk, "sessions.reset", json!({"key": "main"}));
    world.ask(desk, "sessions.reset", json!({"key": "main"}));
    let subjects: Vec<String> = book(&world).into_iter().map(|line| line.2).collect();
    assert_eq!(subjects, ["told", "main"]);
}

#[test]
fn who_leaves_before_the_answer_is_noted_too() {
    let mut world = World::new();
    let old = world.client(Protocol::V3, Scopes::from_iter([Scope::Approvals]), None);
    world.call(old, "exec.approval.request", json!({"id": "a", "command": "x"}));
    assert!(book(&world).is_empty());
    world.input(Input::Up(Up::Gone { conn: old }));
    assert_eq!(book(&world), [line("token", "exec.approval.request", "a", "failed")]);
}

#[test]
fn the_book_is_read_page_by_page_by_admins_only() {
    let mut world = World::new();
    let desk = world.client(Protocol::V3, Scopes::all(), Some("laptop"));
    for key in ["a", "b", "c"] {
        world.ask(desk, "sessions.reset", json!({"key": key}));
    }
    let page = world.ask(desk, "audit.list", json!({"limit": 2}));
    let subjects = |page: &Value| -> Vec<String> {
        page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(subjects(&page), ["c", "b"]);
    let rest = world.ask(desk, "audit.list", json!({"limit": 2, "before": page["nextBefore"]}));
    assert_eq!((subjects(&rest), rest.get("nextBefore")), (vec!["a".to_owned()], None));
    let none = world.ask(
        desk,
        "audit.list",
        json!({"outcome": "denied", "actor": "device:laptop", "action": "sessions."}),
    );
    assert_eq!(none["entries"], json!([]));
    let writer = world.client(Protocol::V3, World::read_write(), None);
    assert_eq!(world.refusal(writer, "audit.list", json!({})).message, "missing scope: operator.admin");
}

#[test]
fn every_method_has_a_class() {
    for method in METHODS {
        for protocol in Protocol::ALL {
            let powerful = matches!(
                method.need(protocol),
                Need::Scope(Scope::Admin | Scope::Pairing | Scope::Approvals)
            );
            assert_eq!(method.audited(protocol) == Audited::Calls, powerful, "{}", method.name);
        }
    }
}
