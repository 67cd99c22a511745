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
use crate::policy::{Match, Mode, Policies, ResetRule, ResetRules, SendRule, SendRules, Type, Verdict};
use crate::settings::{QueueDrop, QueueMode, QueueSettings};

/// Every policy.
pub(super) fn policies(root: &Node, check: &mut Check<'_>) -> Policies {
    let plain = Policies::default();
    let triggers = root.at("session.resetTriggers").map(|_| {
        texts(root, "session.resetTriggers").map(|word| word.trim().to_lowercase()).collect::<Vec<_>>()
    });
    Policies { reset: resets(root), triggers: triggers.unwrap_or(plain.triggers), send: sends(root, check) }
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

/// What messages do while their session is busy.
pub(super) fn queues(root: &Node) -> QueueSettings {
    let plain = QueueSettings::default();
    let of = |name: &str| format!("messages.queue.{name}");
    let mode = text(root, &of("mode")).and_then(|word| QueueMode::parse(&word));
    let overflow = text(root, &of("drop")).and_then(|word| QueueDrop::parse(&word));
    QueueSettings {
        mode: mode.unwrap_or(plain.mode),
        debounce: count(root, &of("debounceMs")).map_or(plain.debounce, Duration::from_millis),
        cap: count(root, &of("cap")).map_or(plain.cap, length),
        drop: overflow.unwrap_or(plain.drop),
        mode_by_channel: by_name(root, &of("byChannel"), |node| QueueMode::parse(node.text()?)),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::config::{Environment, Flags, Issue, Surroundings, load};
    use crate::settings::Settings;

    fn read(text: &str) -> Result<Settings, Vec<Issue>> {
        let facts = Settings::plain(crate::settings::AuthMode::None).facts;
        let loaded = load(Some(text), &Environment::default(), &Flags::default(), &Surroundings::default())?;
        Ok(loaded.settings(facts, Some(crate::auth::Secret::new("t"))).unwrap())
    }

    #[test]
    fn a_file_that_says_nothing_resets_daily_at_four() {
        let policies = read("{}").unwrap().policies;
        assert_eq!(policies.reset.base, ResetRule { mode: Mode::Daily, at_hour: 4, idle_minutes: None });
        assert_eq!(policies.triggers, ["/new", "/reset"]);
    }

    #[test]
    fn resets_are_read_by_type_and_channel() {
        let rules = read(
            "{session: {reset: {mode: 'daily', atHour: 6}, resetByType: {dm: {mode: 'idle', idleMinutes: 9}, \
             direct: {mode: 'none'}, group: {idleMinutes: 30}}, resetByChannel: {WebChat: {mode: 'idle'}}, \
             resetTriggers: ['/Fresh']}}",
        );
        let policies = rules.unwrap().policies;
        let rule = |mode, at_hour, idle_minutes| ResetRule { mode, at_hour, idle_minutes };
        let reset = &policies.reset;
        assert_eq!(*reset.rule(Type::Direct, "x"), rule(Mode::None, 6, None));
        assert_eq!(*reset.rule(Type::Group, "x"), rule(Mode::Daily, 6, Some(30)));
        assert_eq!(*reset.rule(Type::Thread, "x"), rule(Mode::Daily, 6, None));
        assert_eq!(*reset.rule(Type::Thread, "webchat"), rule(Mode::Idle, 6, None));
        assert_eq!(policies.triggers, ["/fresh"]);
        let old = read("{session: {idleMinutes: 5}}").unwrap().policies.reset.base;
        assert_eq!(old, rule(Mode::Idle, 4, Some(5)));
    }

    #[test]
    fn rules_about_messages_are_read_and_need_an_action() {
        let text = "{session: {sendPolicy: {default: 'deny', rules: [{action: 'allow', match: {channel: 'WebChat', \
                    chatType: 'dm', keyPrefix: 'Agent:Main'}}]}}}";
        let send = read(text).unwrap().policies.send;
        assert_eq!((send.default, send.rules[0].action), (Verdict::Deny, Verdict::Allow));
        let of = &send.rules[0].of;
        assert_eq!(of.channel.as_deref(), Some("webchat"));
        assert_eq!(of.chat_type.as_deref(), Some("direct"));
        assert_eq!(of.key_prefix.as_deref(), Some("agent:main"));
        let issues = read("{session: {sendPolicy: {rules: [{match: {channel: 'x'}}]}}}").unwrap_err();
        assert!(issues[0].line("f").contains("session.sendPolicy.rules.0.action: is missing"), "{issues:?}");
    }

    #[test]
    fn the_queue_is_read() {
        let text = "{messages: {queue: {mode: 'queue', debounceMs: 7, cap: 3, drop: 'new', \
                    byChannel: {Slack: 'steer+backlog'}, debounceMsByChannel: {slack: 9}}}}";
        let queue = read(text).unwrap().agents.queue;
        assert_eq!((queue.mode, queue.debounce.as_millis()), (QueueMode::Steer, 7));
        assert_eq!((queue.cap, queue.drop), (3, QueueDrop::New));
        assert_eq!(queue.mode_by_channel["slack"], QueueMode::SteerBacklog);
        assert_eq!(queue.debounce_by_channel["slack"].as_millis(), 9);
    }
}
