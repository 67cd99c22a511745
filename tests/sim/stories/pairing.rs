//! Devices that wait, and decisions about them, when the process dies at the worst moment.

use serde_json::{Value, json};

use crate::clients::{Credential, Profile, Tongue, Who};
use crate::world::{TOKEN, World};

/// The owner at the desk, and a phone elsewhere that must be approved.
fn two(seed: u64) -> (World, Who, Who) {
    let mut world = World::seeded(seed);
    let desk = world.operator("desk");
    let mut phone = Profile::operator("phone", Tongue::V4, TOKEN)
        .with_scopes(&["operator.read"])
        .with_device([3; 32])
        .at([203, 0, 113, 7]);
    phone.credential = Credential::DeviceToken(TOKEN.to_owned());
    let phone = world.join(phone);
    (world, desk, phone)
}

/// The phone knocks. Whether it was let in.
fn knocks(world: &mut World, phone: Who) -> bool {
    world.run_until("the process serves", World::is_serving);
    let before = world.client(phone).ends.len();
    world.open(phone);
    world.run_until("the phone hears", |world| {
        world.client(phone).is_live() || world.client(phone).ends.len() > before
    });
    world.client(phone).is_live()
}

fn pending(world: &mut World, desk: Who) -> Vec<Value> {
    let list = world.call(desk, "device.pair.list", json!({})).payload;
    list["pending"].as_array().expect("a list").clone()
}

fn approve(world: &mut World, desk: Who) {
    let waiting = pending(world, desk);
    let answer = world.call(desk, "device.pair.approve", json!({"requestId": waiting[0]["requestId"]}));
    assert!(answer.ok, "{}", answer.error);
}

/// Asks, and lets the process die after so many operations. Whether the answer had come.
fn dies_while(world: &mut World, desk: Who, operations: u64, method: &str, params: Value) -> bool {
    world.dies_at = Some(world.operations + operations);
    let id = world.ask(desk, method, params);
    world.run_until("the process dies", |world| !world.is_up());
    let promised = world.client(desk).asked[&id].answers.first().is_some_and(|answer| answer.ok);
    world.start();
    world.reconnect(desk);
    promised
}

/// How many operations a decision takes.
fn operations(world: &mut World, desk: Who, method: &str, params: Value) -> u64 {
    let before = world.operations;
    assert!(world.call(desk, method, params).ok);
    world.settle();
    world.operations - before
}

#[test]
fn a_request_that_a_device_was_told_of_is_there_after_a_crash() {
    for operation in 1..40 {
        let (mut world, desk, phone) = two(71);
        world.dies_at = Some(world.operations + operation);
        world.open(phone);
        world.run_until("the process dies, or all is done", |world| {
            !world.is_up()
                || world.client(phone).ends.iter().any(|end| end.reason.contains("pairing required"))
        });
        let told = world.client(phone).ends.iter().any(|end| end.reason.contains("requestId"));
        if world.is_up() {
            world.dies_at = None;
            world.crash();
        }
        world.start();
        world.reconnect(desk);
        assert!(!pending(&mut world, desk).is_empty() || !told, "operation {operation}");
        world.finish();
    }
}

#[test]
fn an_approval_that_was_acknowledged_survives_a_crash_at_any_operation() {
    let (mut world, desk, phone) = two(72);
    assert!(!knocks(&mut world, phone));
    let id = pending(&mut world, desk)[0]["requestId"].clone();
    let all = operations(&mut world, desk, "device.pair.approve", json!({"requestId": id}));
    assert!(knocks(&mut world, phone));
    for operation in 1..=all {
        let (mut world, desk, phone) = two(72);
        knocks(&mut world, phone);
        let id = pending(&mut world, desk)[0]["requestId"].clone();
        let promised =
            dies_while(&mut world, desk, operation, "device.pair.approve", json!({"requestId": id}));
        let waits = pending(&mut world, desk).iter().any(|request| request["requestId"] == id);
        let is_in = knocks(&mut world, phone);
        assert!(is_in || !promised, "operation {operation}: acknowledged and forgotten");
        assert_ne!(is_in, waits, "operation {operation}: it is decided or it waits, whole");
        world.finish();
    }
}

#[test]
fn a_revocation_that_was_acknowledged_holds_after_a_crash_at_any_operation() {
    let revoke = |world: &World, phone: Who| {
        let device = world.client(phone).profile.device_id().expect("a device");
        json!({"deviceId": device, "role": "operator"})
    };
    let paired = || {
        let (mut world, desk, phone) = two(73);
        knocks(&mut world, phone);
        approve(&mut world, desk);
        assert!(knocks(&mut world, phone));
        (world, desk, phone)
    };
    let (mut world, desk, phone) = paired();
    let params = revoke(&world, phone);
    let all = operations(&mut world, desk, "device.token.revoke", params);
    world.run_until("the phone is closed", |world| !world.client(phone).is_live());
    let end = world.client(phone).ends.last().expect("it was closed").clone();
    assert_eq!((end.code, end.reason.as_str()), (4001, "client invalidated: device-token-revoked"));
    assert!(!knocks(&mut world, phone));
    for operation in 1..=all {
        let (mut world, desk, phone) = paired();
        let params = revoke(&world, phone);
        let promised = dies_while(&mut world, desk, operation, "device.token.revoke", params.clone());
        let is_in = knocks(&mut world, phone);
        assert!(!(promised && is_in), "operation {operation}: a revoked token let in");
        if !promised {
            // Asked again, it is done.
            assert!(world.call(desk, "device.token.revoke", params).ok);
            world.settle();
            assert!(!knocks(&mut world, phone), "operation {operation}");
        }
        world.finish();
    }
}
