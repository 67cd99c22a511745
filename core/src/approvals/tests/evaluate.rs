//! Whether a command may run (spec 03 §3.7).

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::approvals::evaluate::{Command, Outcome, Policy, Surroundings, Verdict};
use crate::approvals::policy::{ApprovalsFile, Ask, Security};

/// A machine whose programs stand in `/usr/bin`.
struct Machine;

impl Surroundings for Machine {
    fn resolve(&self, program: &str) -> Option<String> {
        let known = ["git", "make", "head", "grep", "sh", "skill"];
        match program.strip_prefix("/usr/bin/").unwrap_or(program) {
            name if known.contains(&name) => Some(format!("/usr/bin/{name}")),
            _ => None,
        }
    }

    fn exists(&self, name: &str) -> bool {
        name == "notes"
    }

    fn home(&self) -> Option<String> {
        Some("/home/ann".to_owned())
    }

    fn is_skill_program(&self, name: &str) -> bool {
        name == "skill"
    }
}

fn policy(file: &Value) -> Policy {
    Policy::of(&ApprovalsFile::read(file, || "id".to_owned()).unwrap(), "main")
}

fn listed(pattern: &str) -> Policy {
    policy(&json!({"version": 1, "agents": {"main": {
        "security": "allowlist", "allowlist": [{"pattern": pattern}]}}}))
}

fn judge(policy: &Policy, command: &str) -> Verdict {
    policy.judge(Command::Shell(command), &Machine)
}

fn outcome(policy: &Policy, command: &str) -> Outcome {
    judge(policy, command).outcome
}

#[test]
fn an_agents_own_word_counts_before_everyones_and_the_defaults() {
    let file = |agents: Value| {
        policy(&json!({"version": 1, "defaults": {"security": "full", "ask": "off"}, "agents": agents}))
    };
    assert_eq!(
        (Policy::of(&ApprovalsFile::default(), "main").security, Ask::default()),
        (Security::Deny, Ask::OnMiss)
    );
    assert_eq!(file(json!({})).security, Security::Full);
    assert_eq!(file(json!({"*": {"security": "allowlist"}})).security, Security::Allowlist);
    let own = file(json!({"*": {"security": "allowlist"}, "main": {"security": "deny", "ask": "always"}}));
    assert_eq!((own.security, own.ask), (Security::Deny, Ask::Always));
    let odd = file(json!({"main": {"security": "everything"}}));
    assert_eq!(odd.security, Security::Full, "an unknown word counts as none");
    let lists =
        file(json!({"main": {"allowlist": [{"pattern": "/b"}]}, "*": {"allowlist": [{"pattern": "/a"}]}}));
    let patterns: Vec<&str> = lists.allowlist.iter().map(|entry| entry.pattern.as_str()).collect();
    assert_eq!(patterns, ["/a", "/b"]);
}

#[test]
fn levels_and_coverage_decide() {
    let table = [
        (Security::Deny, Ask::Off, Outcome::Refuse, Outcome::Refuse),
        (Security::Deny, Ask::Always, Outcome::Refuse, Outcome::Refuse),
        (Security::Allowlist, Ask::Off, Outcome::Run, Outcome::Refuse),
        (Security::Allowlist, Ask::OnMiss, Outcome::Run, Outcome::Ask),
        (Security::Allowlist, Ask::Always, Outcome::Ask, Outcome::Ask),
        (Security::Full, Ask::Off, Outcome::Run, Outcome::Run),
        (Security::Full, Ask::OnMiss, Outcome::Run, Outcome::Run),
        (Security::Full, Ask::Always, Outcome::Ask, Outcome::Ask),
    ];
    for (security, ask, covered, other) in table {
        let policy = Policy { security, ask, ..listed("/usr/bin/git") };
        assert_eq!(outcome(&policy, "git push"), covered, "{security:?} {ask:?}");
        assert_eq!(outcome(&policy, "make"), other, "{security:?} {ask:?}");
    }
}

#[test]
fn every_part_of_a_command_must_be_covered() {
    let git = listed("/usr/bin/git");
    assert_eq!(outcome(&git, "git a && git b; git c || git d | head -n 1"), Outcome::Run);
    for command in [
        "git a && make",
        "git a; make",
        "git a | sh",
        "git \"$(make)\"",
        "git \"`make`\"",
        "git > x",
        "unknown",
        "FOO=1 git",
        "./git",
        "git a\nmake",
        "head notes",
        "/usr/bin/gi?",
        "git # '\nmake\n'",
    ] {
        assert_eq!(outcome(&git, command), Outcome::Ask, "{command}");
    }
    let argv = ["git".to_owned(), "$(make)".to_owned()];
    assert_eq!(git.judge(Command::Argv(&argv), &Machine).outcome, Outcome::Run, "no shell, no substitution");
}

#[test]
fn bare_names_and_skills_cover_only_what_they_should() {
    assert_eq!(outcome(&listed("git"), "git a"), Outcome::Ask);
    let skills = Policy { auto_allow_skills: true, ..listed("/x") };
    assert_eq!(outcome(&skills, "skill a"), Outcome::Run);
    assert_eq!(outcome(&skills, "/usr/bin/skill a"), Outcome::Ask);
    assert_eq!(outcome(&listed("/x"), "skill a"), Outcome::Ask);
}

#[test]
fn a_line_for_certain_arguments_covers_no_others() {
    let with = |arg_pattern: &str| {
        policy(&json!({"version": 1, "agents": {"main": {"security": "allowlist", "allowlist": [
            {"pattern": "/usr/bin/git", "argPattern": arg_pattern}]}}}))
    };
    assert_eq!(outcome(&with("^status \\-s$"), "git status -s"), Outcome::Run);
    assert_eq!(outcome(&with("^status\\x00\\-s\\x00$"), "git status -s"), Outcome::Run);
    for pattern in ["^status$", "^.*$", "status -s", "^status -s"] {
        assert_eq!(outcome(&with(pattern), "git status -s"), Outcome::Ask, "{pattern}");
    }
    assert_eq!(outcome(&with("^status \\-s$"), "git 'status -s'"), Outcome::Ask);
}

#[test]
fn the_judgement_names_what_it_saw() {
    let verdict = judge(&listed("/usr/bin/*"), "git a | head");
    assert_eq!(verdict.executables, ["/usr/bin/git", "/usr/bin/head"]);
    assert_eq!(verdict.used.len(), 2);
    assert!(judge(&listed("/usr/bin/*"), "git >x").fault.is_some());
}

fn any_security() -> impl Strategy<Value = Security> {
    prop_oneof![Just(Security::Deny), Just(Security::Allowlist), Just(Security::Full)]
}

fn any_ask() -> impl Strategy<Value = Ask> {
    prop_oneof![Just(Ask::Off), Just(Ask::OnMiss), Just(Ask::Always)]
}

proptest! {
    #[test]
    fn tightening_never_allows_more(
        security in any_security(), ask in any_ask(),
        other_security in proptest::option::of(any_security()), other_ask in proptest::option::of(any_ask()),
        command in prop_oneof![Just("git a"), Just("make"), Just("git \"$(x)\"")],
    ) {
        let policy = Policy { security, ask, ..listed("/usr/bin/git") };
        let before = outcome(&policy, command);
        let after = outcome(&policy.tightened(other_security, other_ask), command);
        if before != Outcome::Run {
            prop_assert_ne!(after, Outcome::Run);
        }
        if before == Outcome::Refuse && security == Security::Deny {
            prop_assert_eq!(after, Outcome::Refuse);
        }
    }

    #[test]
    fn a_second_program_behind_any_operator_is_not_covered_by_the_first(
        operator in prop_oneof![Just(";"), Just("&&"), Just("||"), Just("|"), Just("&"), Just("\n"), Just("|&")],
        pad in "[ \t]{0,2}", args in "[a-z -]{0,6}",
    ) {
        let command = format!("git {args}{pad}{operator}{pad}make");
        prop_assert_ne!(outcome(&listed("/usr/bin/git"), &command), Outcome::Run);
    }
}
