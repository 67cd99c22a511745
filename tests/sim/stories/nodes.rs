//! Nodes that come back before they are missed, vanish at work, and outlive the process (07 P-31).

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Profile, Tongue, Who};
use crate::world::{TOKEN, World};

use super::quick;

/// Both protocols; the node's commands are approved.
fn with_node(seed: u64, tongue: Tongue) -> (World, Who, Who) {
    let mut world = quick(seed);
    let desk = world.operator("desk");
    let node = world.enter(Profile::node("shed", tongue, TOKEN, [9; 32]));
    approve(&mut world, desk);
    (world, desk, node)
}

fn approve(world: &mut World, desk: Who) {
    let pending = world.call(desk, "node.pair.list", json!({})).payload["pending"].clone();
    for request in pending.as_array().unwrap() {
        let approved = world.call(desk, "node.pair.approve", json!({"requestId": request["requestId"]}));
        assert!(approved.ok, "{approved:?}");
    }
}

/// Asks for the node's only command; the request's id.
fn invoke(world: &mut World, desk: Who, timeout: u64) -> String {
    let node = node_id(world, desk);
    let params = json!({
        "nodeId": node, "command": "system.which", "params": {"bins": ["sh"]}, "timeoutMs": timeout,
        "idempotencyKey": world.new_key(),
    });
    world.ask(desk, "node.invoke", params)
}

fn rows(world: &mut World, desk: Who) -> Value {
    world.call(desk, "node.list", json!({})).payload["nodes"].clone()
}

fn node_id(world: &mut World, desk: Who) -> Value {
    rows(world, desk)[0]["nodeId"].clone()
}

/// The invocations that a node has heard of.
fn heard(world: &World, node: Who) -> Vec<Value> {
    let heard = world.client(node).heard.iter().filter(|heard| heard.event == "node.invoke.request");
    heard.map(|heard| (*heard.payload).clone()).collect()
}

/// The node answers its newest invocation.
fn answer(world: &mut World, node: Who, number: usize) {
    world.run_until("the node is asked", |world| heard(world, node).len() >= number);
    let sent = heard(world, node).pop().unwrap();
    let params =
        json!({"id": sent["id"], "nodeId": sent["nodeId"], "ok": true, "payloadJSON": "{\"bins\":{}}"});
    let told = world.call(node, "node.invoke.result", params);
    assert!(told.ok, "{told:?}");
}

#[test]
fn a_node_that_comes_back_before_its_old_socket_closes_stays() {
    for (seed, tongue) in [(61, Tongue::V3), (62, Tongue::V4)] {
        let (mut world, desk, node) = with_node(seed, tongue);
        // Its network is gone without a word: the gateway still believes in the old socket.
        world.cut(node, true);
        world.reconnect(node);
        let before = invoke(&mut world, desk, 600_000);
        world.run_until("the node is asked", |world| heard(world, node).len() == 1);
        // The old socket is given up long after; the new one and its invocation stay.
        world.run_for(Duration::from_secs(61));
        assert_eq!(rows(&mut world, desk)[0]["connected"], true);
        assert!(world.client(desk).asked[&before].answers.is_empty());
        answer(&mut world, node, 1);
        assert!(world.answer(desk, &before).ok);
        let after = invoke(&mut world, desk, 20_000);
        answer(&mut world, node, 2);
        assert!(world.answer(desk, &after).ok);
        world.finish();
    }
}

#[test]
fn a_node_that_vanishes_at_work_is_found_out_and_its_caller_is_told() {
    for (seed, tongue) in [(63, Tongue::V3), (64, Tongue::V4)] {
        let (mut world, desk, node) = with_node(seed, tongue);
        let asked = invoke(&mut world, desk, 3_600_000);
        world.run_until("the node is asked", |world| heard(world, node).len() == 1);
        world.cut(node, true);
        let start = world.time;
        let answer = world.answer(desk, &asked);
        assert_eq!(answer.error["details"]["code"], "NODE_DISCONNECTED", "{answer:?}");
        assert_eq!(answer.error["retryable"], true);
        assert!(world.time - start < Duration::from_secs(55), "two heartbeats are enough");
        assert_eq!(rows(&mut world, desk)[0]["connected"], false);
        let asked = invoke(&mut world, desk, 20_000);
        let answer = world.answer(desk, &asked);
        assert_eq!(answer.error["details"]["code"], "NOT_CONNECTED", "at once, and retryable: {answer:?}");
        world.finish();
    }
}

#[test]
fn what_was_approved_outlives_the_process() {
    let (mut world, desk, node) = with_node(65, Tongue::V4);
    invoke(&mut world, desk, 600_000);
    world.run_until("the node is asked", |world| heard(world, node).len() == 1);
    world.crash();
    world.start();
    world.reconnect(desk);
    let row = rows(&mut world, desk)[0].clone();
    assert_eq!((&row["connected"], &row["commands"]), (&json!(false), &json!(["system.which"])));
    world.reconnect(node);
    let asked = invoke(&mut world, desk, 20_000);
    answer(&mut world, node, 2);
    assert!(world.answer(desk, &asked).ok);
    world.finish();
}

#[test]
fn a_node_hears_the_session_that_it_subscribed_to_and_only_then() {
    for (seed, tongue) in [(66, Tongue::V3), (67, Tongue::V4)] {
        let (mut world, desk, node) = with_node(seed, tongue);
        let tell =
            |event: &str| json!({"event": event, "payloadJSON": "{\"sessionKey\":\"agent:main:main\"}"});
        let copies =
            |world: &World| world.client(node).heard.iter().filter(|heard| heard.event == "chat").count();
        let run = world.chat(desk, "before");
        world.run_until_ended(desk, &run);
        assert_eq!(copies(&world), 0);
        world.call(node, "node.event", tell("chat.subscribe"));
        let run = world.chat(desk, "between");
        world.run_until_ended(node, &run);
        let before = copies(&world);
        assert!(world.client(node).heard.iter().all(|h| h.event != "chat" || h.seq.is_none()));
        world.call(node, "node.event", tell("chat.unsubscribe"));
        let run = world.chat(desk, "after");
        world.run_until_ended(desk, &run);
        assert_eq!(copies(&world), before);
        world.finish();
    }
}

#[test]
fn whatever_happens_in_whatever_order_every_invocation_is_answered_once() {
    for seed in 600..616 {
        let tongue = if seed % 2 == 0 { Tongue::V3 } else { Tongue::V4 };
        let (mut world, desk, node) = with_node(seed, tongue);
        let mut asked = Vec::new();
        for _ in 0..24 {
            match world.dice.between(0, 6) {
                0 => {
                    let silently = world.dice.chance(50);
                    world.cut(node, silently);
                }
                1 => world.hang_up(node),
                2 if world.client(node).conn.is_none() => world.reconnect(node),
                3 => {
                    // Whatever is known of, in any order, late or foreign.
                    for sent in heard(&world, node).into_iter().rev() {
                        let params = json!({"id": sent["id"], "nodeId": sent["nodeId"], "ok": true});
                        world.ask(node, "node.invoke.result", params);
                    }
                }
                _ => asked.push(invoke(&mut world, desk, 5_000)),
            }
            let wait = world.dice.millis(0, 9_000);
            world.run_for(wait);
        }
        world.run_for(Duration::from_secs(60));
        for id in &asked {
            assert_eq!(world.client(desk).asked[id].answers.len(), 1, "seed {seed}: {id}");
        }
        world.finish();
    }
}
