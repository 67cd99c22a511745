//! The policies about messages and sessions (`session.*`, `messages.queue.*`).
//!
//! A `telson.json` is read in the dialect of protocol 3's configuration: what says nothing about resets resets
//! daily at four, as it always has [C-39]. The word `none` and the type `direct` of the later dialect are known.

use std::collections::BTreeMap;
use std::time::Duration;

use super::build::{count, missing, text, texts};
use super::check::Check;
use super::tree::Node;
use crate::limits::length;
use crate::policy::{
    Match, Mode, Overflow, Policies, QueueMode, QueueRules, ResetRule, ResetRules, SendRule, SendRules, Type,
    Verdict,
};

/// Every policy.
pub(super) fn policies(root: &Node, check: &mut Check<'_>) -> Policies {
    let plain = Policies::default();
    let triggers = root.at("session.resetTriggers").map(|_| {
        texts(root, "session.resetTriggers").map(|word| word.trim().to_lowercase()).collect::<Vec<_>>()
    });
    Policies {
        reset: resets(root),
        triggers: triggers.unwrap_or(plain.triggers),
        send: sends(root, check),
        queue: queues(root, plain.queue),
    }
}

fn resets(root: &Node) -> ResetRules {
    let old = count(root, "session.idleMinutes");
    let base = match (root.at("session.reset"), old) {
        (Some(node), _) => rule(node, ResetRule::daily()),
        (None, Some(minutes)) => {
            ResetRule { mode: Mode::Idle, idle_minutes: Some(minutes), ..ResetRule::daily() }
        }
        (None, None) => ResetRule::daily(),
    };
    // The later word for the same type counts where both stand.
    let types =
        [("dm", Type::Direct), ("direct", Type::Direct), ("group", Type::Group), ("thread", Type::Thread)];
    let by_type = types.into_iter().filter_map(|(name, kind)| {
        Some((kind, rule(root.at(&format!("session.resetByType.{name}"))?, base)))
    });
    ResetRules {
        by_type: by_type.collect(),
        by_channel: by_name(root, "session.resetByChannel", |node| Some(rule(node, base))),
        base,
    }
}

/// A rule; what it does not say is as in `base`, but for the idle minutes of another mode.
fn rule(node: &Node, base: ResetRule) -> ResetRule {
    let mode = match text(node, "mode").as_deref() {
        Some("idle") => Mode::Idle,
        Some("none") => Mode::None,
        Some(_) => Mode::Daily,
        None => base.mode,
    };
    let idle = count(node, "idleMinutes");
    ResetRule {
        mode,
        at_hour: count(node, "atHour").and_then(|hour| u8::try_from(hour).ok()).unwrap_or(base.at_hour),
        idle_minutes: if mode == base.mode { idle.or(base.idle_minutes) } else { idle },
    }
}

fn sends(root: &Node, check: &mut Check<'_>) -> SendRules {
    let verdict = |text: &str| if text == "deny" { Verdict::Deny } else { Verdict::Allow };
    let mut rules = Vec::new();
    let items = root.at("session.sendPolicy.rules").map(Node::items).unwrap_or_default();
    for (index, node) in items.iter().enumerate() {
        let Some(action) = text(node, "action") else {
            let path = format!("session.sendPolicy.rules.{index}.action");
            check.refuse(node.range.start, missing(path).expecting("allow or deny"));
            continue;
        };
        let lower = |name: &str| text(node, &format!("match.{name}")).map(|text| text.to_lowercase());
        let chat_type = lower("chatType").map(|word| if word == "dm" { "direct".to_owned() } else { word });
        rules.push(SendRule {
            action: verdict(&action),
            of: Match { channel: lower("channel"), chat_type, key_prefix: lower("keyPrefix") },
        });
    }
    let default = text(root, "session.sendPolicy.default");
    SendRules { default: default.as_deref().map(verdict).unwrap_or_default(), rules }
}

fn queues(root: &Node, plain: QueueRules) -> QueueRules {
    let of = |name: &str| format!("messages.queue.{name}");
    let mode = text(root, &of("mode")).and_then(|word| QueueMode::parse(&word));
    let overflow = text(root, &of("drop")).and_then(|word| Overflow::parse(&word));
    QueueRules {
        mode: mode.unwrap_or(plain.mode),
        debounce: count(root, &of("debounceMs")).map_or(plain.debounce, Duration::from_millis),
        cap: count(root, &of("cap")).map_or(plain.cap, length),
        drop: overflow.unwrap_or(plain.drop),
        by_channel: by_name(root, &of("byChannel"), |node| QueueMode::parse(node.text()?)),
        debounce_by_channel: by_name(root, &of("debounceMsByChannel"), |node| {
            node.count().map(Duration::from_millis)
        }),
    }
}

/// The members of an object by their names in lower case.
fn by_name<T>(root: &Node, path: &str, read: impl Fn(&Node) -> Option<T>) -> BTreeMap<String, T> {
    let members = root.at(path).map(Node::members).unwrap_or_default();
    members
        .iter()
        .filter_map(|member| Some((member.name.trim().to_lowercase(), read(&member.node)?)))
        .collect()
}
