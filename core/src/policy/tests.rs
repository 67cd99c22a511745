//! Policies as tables, and as clients meet them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use telson_proto::Protocol;

use super::*;
use crate::sessions::SessionEntry;
use crate::settings::{QueueDrop, QueueMode, QueueSettings};
use crate::testing::{DAWN, World};

const MIN: u64 = 60_000;
const HOUR: u64 = 60 * MIN;
const DAY: u64 = 24 * HOUR;
/// 2026-01-30 00:00 UTC.
const MIDNIGHT: u64 = 1_769_731_200_000;
const MAIN: &str = "agent:main:main";

#[test]
fn a_daily_session_is_old_once_the_hour_has_come() {
    let rule = ResetRule::daily();
    let four = MIDNIGHT + 4 * HOUR;
    assert!(rule.is_stale(four - 1, four, 0));
    assert!(!rule.is_stale(four, four + DAY - 1, 0));
    assert!(!rule.is_stale(four - 2, four - 1, 0), "the hour has not come");
    // In Berlin the hour comes an hour earlier, in New York five hours later.
    assert!(rule.is_stale(four - HOUR - 1, four - HOUR, 3_600));
    assert!(!rule.is_stale(four - 1, four, -5 * 3_600));
    assert!(rule.is_stale(four + 5 * HOUR - 1, four + 5 * HOUR, -5 * 3_600));
}

#[test]
fn an_idle_session_is_old_after_its_minutes_and_in_daily_mode_too() {
    let idle = ResetRule { mode: Mode::Idle, idle_minutes: None, ..ResetRule::daily() };
    assert!(!idle.is_stale(MIDNIGHT, MIDNIGHT + HOUR, 0));
    assert!(idle.is_stale(MIDNIGHT, MIDNIGHT + HOUR + 1, 0));
    let both = ResetRule { idle_minutes: Some(10), ..ResetRule::daily() };
    let noon = MIDNIGHT + 12 * HOUR;
    assert!(both.is_stale(noon, noon + 10 * MIN + 1, 0));
    assert!(!both.is_stale(noon, noon + 10 * MIN, 0));
    assert!(!ResetRule::default().is_stale(0, u64::MAX, 0), "without a mode nothing grows old");
}

proptest! {
    #[test]
    fn a_session_never_becomes_young_again_by_waiting(
        updated in 0..4 * DAY, wait in 0..4 * DAY, more in 0..4 * DAY, hour in 0_u8..24, offset in -50_000..50_000_i32,
    ) {
        let rule = ResetRule { at_hour: hour, ..ResetRule::daily() };
        let (updated, now) = (MIDNIGHT + updated, MIDNIGHT + updated + wait);
        prop_assert!(!rule.is_stale(updated, now, offset) || rule.is_stale(updated, now + more, offset));
        prop_assert!(rule.is_stale(updated, updated + DAY, offset), "a day holds each hour once");
        prop_assert!(!rule.is_stale(updated, updated, offset));
    }
}

#[test]
fn a_channels_rule_beats_the_types_which_beats_the_base() {
    let idle = |minutes| ResetRule { mode: Mode::Idle, idle_minutes: Some(minutes), ..ResetRule::daily() };
    let rules = ResetRules {
        base: idle(1),
        by_type: [(Type::Group, idle(2))].into(),
        by_channel: [("webchat".to_owned(), idle(3))].into(),
    };
    assert_eq!(rules.rule(Type::Direct, "slack"), &idle(1));
    assert_eq!(rules.rule(Type::Group, "slack"), &idle(2));
    assert_eq!(rules.rule(Type::Group, "WebChat"), &idle(3));
    let kinds = [
        ("agent:main:main", Type::Direct),
        ("agent:main:slack:group:c1", Type::Group),
        ("agent:main:slack:channel:c1:thread:7", Type::Thread),
    ];
    for (key, kind) in kinds {
        assert_eq!(type_of(&SessionKey::new(key), None), kind, "{key}");
    }
}

#[test]
fn denial_beats_permission_and_a_prefix_fits_either_form_of_the_key() {
    let rule = |action, key_prefix: Option<&str>, channel: Option<&str>, chat_type: Option<&str>| SendRule {
        action,
        of: Match {
            channel: channel.map(str::to_owned),
            chat_type: chat_type.map(str::to_owned),
            key_prefix: key_prefix.map(str::to_owned),
        },
    };
    let rules = SendRules {
        default: Verdict::Deny,
        rules: vec![
            rule(Verdict::Allow, None, Some("webchat"), None),
            rule(Verdict::Deny, Some("cron:"), None, None),
            rule(Verdict::Allow, Some("agent:main:side"), None, None),
            rule(Verdict::Deny, None, None, Some("channel")),
            rule(Verdict::Allow, None, Some("slack"), Some("group")),
        ],
    };
    let says = |key: &str, channel, kind| rules.verdict(&SessionKey::new(key), channel, kind);
    assert_eq!(says("agent:main:main", Some("webchat"), None), Verdict::Allow);
    assert_eq!(says("agent:main:cron:job", Some("webchat"), None), Verdict::Deny);
    assert_eq!(says("agent:main:SideShow", None, None), Verdict::Allow);
    assert_eq!(says("agent:main:other", None, None), Verdict::Deny);
    assert_eq!(says("agent:main:slack:channel:c", Some("webchat"), None), Verdict::Deny);
    assert_eq!(says("agent:main:slack:group:g", None, None), Verdict::Allow);
    assert_eq!(SendRules::default().verdict(&SessionKey::new(MAIN), None, None), Verdict::Allow);
}

#[test]
fn a_sessions_own_queue_settings_beat_the_channels_which_beat_the_base() {
    let rules = QueueSettings {
        mode_by_channel: [("slack".to_owned(), QueueMode::Steer)].into(),
        debounce_by_channel: [("slack".to_owned(), Duration::from_millis(7))].into(),
        ..QueueSettings::default()
    };
    assert_eq!(rules.of(None).mode, QueueMode::Collect);
    let mut entry = SessionEntry { last_channel: Some("Slack".to_owned()), ..SessionEntry::default() };
    assert_eq!(
        (rules.of(Some(&entry)).mode, rules.of(Some(&entry)).debounce.as_millis()),
        (QueueMode::Steer, 7)
    );
    entry.queue_mode = Some("interrupt".to_owned());
    entry.queue_debounce_ms = Some(9);
    entry.queue_cap = Some(2);
    entry.queue_drop = Some("new".to_owned());
    let queue = rules.of(Some(&entry));
    assert_eq!((queue.mode, queue.debounce.as_millis()), (QueueMode::Interrupt, 9));
    assert_eq!((queue.cap, queue.drop), (2, QueueDrop::New));
    for word in QueueMode::WORDS {
        assert!(QueueMode::parse(word).is_some(), "{word}");
    }
    for word in QueueDrop::WORDS {
        assert_eq!(QueueDrop::parse(word).map(QueueDrop::as_str), Some(word));
    }
}

/// A world whose sessions are old after so many idle minutes, with one turn said.
fn idle_world(minutes: u64) -> (World, crate::ids::ConnId) {
    let mut world = World::with(|settings| {
        settings.policies.reset.base =
            ResetRule { mode: Mode::Idle, idle_minutes: Some(minutes), ..ResetRule::daily() };
    });
    let client = world.operator(Protocol::V4);
    let first = json!({"sessionKey": "main", "message": "first", "idempotencyKey": "r1"});
    world.call(client, "chat.send", first);
    world.advance(1_000);
    (world, client)
}

#[test]
fn an_old_session_begins_anew_when_the_next_message_arrives_and_keeps_its_settings() {
    let (mut world, client) = idle_world(5);
    world.ask(client, "sessions.patch", json!({"key": "main", "label": "tide", "thinkingLevel": "high"}));
    let old = world.shelf.sessions[&SessionKey::new(MAIN)].session.clone();
    world.advance(5 * MIN);
    assert_eq!(world.shelf.sessions[&SessionKey::new(MAIN)].session, old, "nothing happens by timer");
    world.advance(MIN);
    let params = json!({"sessionKey": "main", "message": "second", "idempotencyKey": "r2"});
    assert_eq!(world.ask(client, "chat.send", params)["status"], "started");
    world.advance(1_000);
    let texts: Vec<String> =
        world.shelf.messages(MAIN).iter().map(crate::sessions::sanitise::text_of).collect();
    assert_eq!(texts, ["second", "second"]);
    assert_ne!(world.shelf.sessions[&SessionKey::new(MAIN)].session, old);
    let entry = world.shelf.entry(MAIN);
    assert_eq!((&entry["label"], &entry["thinkingLevel"]), (&json!("tide"), &json!("high")));
    assert!(world.gateway.runs.is_idle());
}

#[test]
fn a_command_does_not_keep_an_old_session_young() {
    let (mut world, client) = idle_world(5);
    world.advance(6 * MIN);
    for (key, message) in [("r2", "/status"), ("r3", "second")] {
        let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": key});
        world.call(client, "chat.send", params);
        world.advance(1_000);
    }
    let texts: Vec<String> =
        world.shelf.messages(MAIN).iter().map(crate::sessions::sanitise::text_of).collect();
    assert_eq!((texts.len(), texts[0].as_str(), texts[2].as_str()), (4, "/status", "second"));
}

#[test]
fn the_agent_method_renews_an_old_session_too() {
    let (mut world, client) = idle_world(5);
    world.advance(6 * MIN);
    world.call(client, "agent", json!({"sessionKey": "main", "message": "second", "idempotencyKey": "a"}));
    world.advance(1_000);
    assert_eq!(world.shelf.messages(MAIN).len(), 2);
}

#[test]
fn a_repeat_of_an_old_message_does_not_renew_its_session() {
    let (mut world, client) = idle_world(1);
    world.advance(2 * MIN);
    let params = json!({"sessionKey": "main", "message": "first", "idempotencyKey": "r1"});
    assert_eq!(world.ask(client, "chat.send", params)["status"], "ok");
    assert_eq!(world.shelf.messages(MAIN).len(), 2);
}

#[test]
fn a_session_that_is_busy_is_not_cut_off() {
    let mut world = World::with_model();
    let mut settings = world.gateway.settings.clone();
    settings.policies.reset.base =
        ResetRule { mode: Mode::Idle, idle_minutes: Some(1), ..ResetRule::daily() };
    world.gateway.settings = settings;
    let client = world.operator(Protocol::V4);
    let send =
        |message: &str, key: &str| json!({"sessionKey": "main", "message": message, "idempotencyKey": key});
    world.call(client, "chat.send", send("first", "r1"));
    world.advance(5 * MIN);
    world.call(client, "chat.send", send("second", "r2"));
    assert_eq!(world.shelf.messages(MAIN).len(), 2, "both wait in the same session");
}

#[test]
fn the_local_hour_decides_about_a_daily_session() {
    // DAWN is 10:00 UTC.
    for (offset, kept) in [(0, 4), (-6 * 3_600, 2)] {
        let mut world = World::with(|settings| {
            settings.facts.utc_offset_secs = offset;
            settings.policies.reset.base = ResetRule::daily();
        });
        let client = world.operator(Protocol::V3);
        let now = crate::Now { mono: Duration::ZERO, wall: DAWN - HOUR };
        world.now = now;
        for key in ["r1", "r2"] {
            let params = json!({"sessionKey": "main", "message": key, "idempotencyKey": key});
            world.call(client, "chat.send", params);
            world.advance(2 * HOUR);
        }
        assert_eq!(world.shelf.messages(MAIN).len(), kept, "offset {offset}");
    }
}

#[test]
fn a_forbidden_session_takes_no_message_but_can_be_stopped() {
    let mut world = World::with(|settings| {
        settings.policies.send.rules.push(SendRule {
            action: Verdict::Deny,
            of: Match { key_prefix: Some("quiet".to_owned()), ..Match::default() },
        });
    });
    let client = world.operator(Protocol::V4);
    let send = |message: &str, key: &str| json!({"sessionKey": "quiet-room", "message": message, "idempotencyKey": key});
    assert_eq!(
        world.refusal(client, "chat.send", send("hi", "r1")).message,
        "send blocked by session policy"
    );
    let agent = json!({"sessionKey": "quiet-room", "message": "hi", "idempotencyKey": "a"});
    assert_eq!(world.refusal(client, "agent", agent).message, "send blocked by session policy");
    assert_eq!(world.ask(client, "chat.send", send("stop", "r2"))["ok"], true);
    // The session's own policy beats the rules, and the command that sets it passes.
    assert_eq!(world.ask(client, "chat.send", send("/send on", "r3"))["status"], "started");
    assert_eq!(world.ask(client, "chat.send", send("hi", "r4"))["status"], "started");
}
