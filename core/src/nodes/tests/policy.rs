//! [S-61] and the tables of spec 03 §2.2, §2.10.

use proptest::prelude::*;
use telson_proto::Protocol;

use super::super::NodeSettings;
use super::super::offer::Offer;
use super::super::platform::Platform;
use super::super::policy::{Objection, Standing, acts_on_host, is_allowed};
use super::super::record::{About, Arrival, NodeRecord};

const EVERY: &[&str] = &[
    "canvas.eval",
    "camera.list",
    "camera.snap",
    "screen.record",
    "location.get",
    "sms.send",
    "system.run",
    "system.which",
    "system.notify",
    "system.execApprovals.get",
    "browser.proxy",
    "fs.listDir",
    "talk.ptt.start",
    "contacts.add",
    "device.info",
    "computer.act",
    "no.such.command",
];

fn plain(protocol: Protocol, platform: Platform, command: &str) -> bool {
    is_allowed(&NodeSettings::default(), protocol, platform, false, command)
}

#[test]
fn a_machine_is_known_by_its_platform_or_else_by_its_family() {
    for (platform, family, kind) in [
        ("iOS 18.2", "iPhone", Platform::Ios),
        ("iPadOS 18", "iPad", Platform::Ios),
        ("ipados 18", "", Platform::Unknown),
        ("android 15", "", Platform::Android),
        ("darwin", "Mac", Platform::Macos),
        ("macOS 15", "", Platform::Macos),
        ("win32", "", Platform::Windows),
        ("linux", "Linux", Platform::Linux),
        ("watchOS 11", "Apple Watch", Platform::Watchos),
        ("", "windows pc", Platform::Windows),
        ("linux", "iPhone", Platform::Unknown),
        ("l\u{456}nux", "", Platform::Unknown),
        ("linux", "M\u{430}c", Platform::Unknown),
        ("windows\0", "", Platform::Unknown),
        ("linux", "Linux\u{7f}", Platform::Unknown),
        ("", "", Platform::Unknown),
    ] {
        assert_eq!(Platform::of(Some(platform), Some(family)), kind, "{platform} {family}");
    }
}

#[test]
fn each_platform_allows_its_own_commands() {
    for (platform, command, v3, v4) in [
        (Platform::Ios, "camera.snap", true, false),
        (Platform::Ios, "system.run", false, false),
        (Platform::Android, "sms.send", true, false),
        (Platform::Android, "notifications.list", false, true),
        (Platform::Macos, "canvas.eval", true, false),
        (Platform::Macos, "system.run", true, true),
        (Platform::Linux, "system.run", true, true),
        (Platform::Linux, "camera.snap", false, false),
        (Platform::Windows, "location.get", false, true),
        (Platform::Watchos, "device.info", false, true),
        (Platform::Unknown, "canvas.eval", true, false),
        (Platform::Unknown, "location.get", true, true),
    ] {
        assert_eq!(plain(Protocol::V3, platform, command), v3, "{platform:?} {command} v3");
        assert_eq!(plain(Protocol::V4, platform, command), v4, "{platform:?} {command} v4");
    }
}

#[test]
fn a_machine_that_nobody_knows_acts_on_no_host() {
    for protocol in Protocol::ALL {
        for command in EVERY.iter().filter(|command| acts_on_host(command)) {
            assert!(!plain(protocol, Platform::Unknown, command), "{command}");
        }
    }
}

#[test]
fn push_to_talk_is_for_nodes_that_talk() {
    let settings = NodeSettings::default();
    let may = |talks| is_allowed(&settings, Protocol::V4, Platform::Linux, talks, "talk.ptt.start");
    assert!(may(true));
    assert!(!may(false));
}

#[test]
fn the_first_objection_is_the_one_that_is_told() {
    let settings = NodeSettings::default();
    let offer = |commands: &[&str]| Offer {
        commands: commands.iter().map(|command| (*command).to_owned()).collect(),
        ..Offer::default()
    };
    let (nothing, run) = (offer(&[]), offer(&["system.run"]));
    let standing = |declared, approved| Standing {
        protocol: Protocol::V3,
        platform: Platform::Linux,
        declared,
        approved,
    };
    let check = |declared, approved, command| standing(declared, approved).check(&settings, command).err();
    assert_eq!(check(&run, Some(&run), ""), Some(Objection::Empty));
    assert_eq!(check(&run, Some(&run), "camera.snap"), Some(Objection::NotAllowed));
    assert_eq!(check(&nothing, None, "system.run"), Some(Objection::NoCommands));
    assert_eq!(check(&run, Some(&run), "system.which"), Some(Objection::NotDeclared));
    assert_eq!(check(&run, None, "system.run"), Some(Objection::NotApproved));
    assert_eq!(check(&run, Some(&run), "system.run"), None);
}

fn any_platform() -> impl Strategy<Value = Platform> {
    (0..Platform::ALL.len()).prop_map(|at| Platform::ALL[at])
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::V3), Just(Protocol::V4)]
}

fn any_commands() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec((0..EVERY.len()).prop_map(|at| EVERY[at].to_owned()), 0..6)
}

fn offer(commands: Vec<String>) -> Offer {
    Offer { commands: commands.into_iter().collect(), ..Offer::default() }
}

proptest! {
    /// What can be used is offered, approved, allowed and not denied, whatever the lists say.
    #[test]
    fn what_can_be_used_has_passed_every_gate(
        protocol in any_protocol(),
        platform in any_platform(),
        declared in any_commands(),
        approved in any_commands(),
        allow in any_commands(),
        deny in any_commands(),
    ) {
        let settings = NodeSettings { allow: allow.clone(), deny: deny.clone() };
        let (declared, approved) = (offer(declared), offer(approved));
        let standing = Standing { protocol, platform, declared: &declared, approved: Some(&approved) };
        let usable = standing.usable(&settings);
        for command in EVERY {
            let ours = usable.commands.contains(*command);
            prop_assert_eq!(ours, standing.check(&settings, command).is_ok(), "{}", command);
            if ours {
                prop_assert!(declared.commands.contains(*command) && approved.commands.contains(*command));
                prop_assert!(!deny.iter().any(|denied| denied == command));
            }
        }
        let unapproved = Standing { protocol, platform, declared: &declared, approved: None };
        prop_assert!(unapproved.usable(&settings).commands.is_empty());
    }

    /// Words of a node about itself with anything beyond ASCII in them never make it a known machine.
    #[test]
    fn confusable_words_make_no_known_machine(word in "[a-z]{0,6}[^\\x00-\\x7f][a-z]{0,6}", other in "linux|mac|") {
        prop_assert_eq!(Platform::of(Some(&word), Some(&other)), Platform::Unknown);
        prop_assert_eq!(Platform::of(Some(&other), Some(&word)), Platform::Unknown);
    }

    /// [S-60] However connects and approvals interleave, nothing is granted that nobody has approved.
    #[test]
    fn only_what_was_shown_is_granted(
        steps in proptest::collection::vec((any::<bool>(), any_commands(), 0_usize..4), 1..12),
    ) {
        let mut record = NodeRecord::default();
        let (mut shown, mut granted): (Vec<(String, Offer)>, Vec<Offer>) = (Vec::new(), Vec::new());
        for (number, (connects, commands, which)) in steps.into_iter().enumerate() {
            if connects {
                let arrival = Arrival {
                    offer: offer(commands),
                    platform: Platform::Linux,
                    pairing: Some(1),
                    about: About::default(),
                    silent: false,
                    at_once: false,
                    now_ms: 1,
                };
                record.arrive(arrival, || number.to_string());
                shown.extend(record.request.as_ref().map(|request| (request.id.clone(), request.offer.clone())));
            } else if let Some((id, offer)) = shown.get(which.min(shown.len().saturating_sub(1))).cloned()
                && record.grant(&id, Some(1), 2)
            {
                granted.push(offer);
            }
            if let Some(approved) = record.approved_on(Platform::Linux, Some(1)) {
                prop_assert!(granted.contains(approved), "granted without a word");
            }
            prop_assert_eq!(record.approved_on(Platform::Macos, Some(1)), None, "another machine");
            prop_assert_eq!(record.approved_on(Platform::Linux, Some(2)), None, "another pairing");
        }
    }
}
