//! What `system.run` is asked for, read strictly: what a person has approved is what runs (spec 08 S-53, S-55, S-56).

use std::time::Duration;

use serde_json::Value;

use crate::approvals::policy::shell;
use crate::limits::{self, millis};
use crate::nodehost::desk::Fault;
use crate::nodehost::env::Overrides;
use crate::nodehost::settings::Machine;

/// At most so many arguments, and so many bytes of them.
const MOST: (usize, usize) = (1_024, 128 * 1_024);

/// The longest id or key, in bytes.
const MOST_ID: usize = 512;

/// Shells whose `-c` takes a command line that is judged in their place.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];

/// Where those shells stand.
const SHELL_DIRS: [&str; 2] = ["/bin/", "/usr/bin/"];

/// What is to be run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RunRequest {
    pub(super) argv: Vec<String>,
    /// What of it is judged.
    pub(super) judged: Judged,
    /// The command as people read it.
    pub(super) text: String,
    pub(super) cwd: Option<String>,
    pub(super) env: Overrides,
    pub(super) timeout: Duration,
    pub(super) agent: String,
    pub(super) session: String,
    pub(super) run_id: Option<String>,
    pub(super) needs_screen: bool,
    pub(super) approval: Approval,
}

/// What of a command is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// A program with its arguments.
    Argv,
    /// The command line that a shell is given.
    Script(String),
    /// A shell that is called in a way that hides what runs.
    Opaque,
}

/// What the gateway says of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    /// Nothing.
    None,
    /// Somebody has allowed it once.
    Once,
    /// Somebody has allowed it from now on.
    Always,
}

impl RunRequest {
    /// Reads the parameters. Members that are not known are left alone.
    pub(super) fn read(params: &Value, machine: &Machine) -> Result<Self, Fault> {
        let argv = argv(params)?;
        let raw = text(params, "rawCommand", shell::LONGEST)?;
        let judged = judged(&argv);
        if let Some(raw) = &raw
            && !says(raw, &argv, &judged)
        {
            return Err(Fault::invalid("rawCommand does not say what command runs"));
        }
        let timeout = match params.get("timeoutMs") {
            None | Some(Value::Null) => limits::NODE_RUN_MS,
            Some(timeout) => match timeout.as_f64() {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a cast to an integer saturates"
                )]
                Some(ms) if ms >= 1.0 => (ms as u64).min(limits::NODE_RUN_LONGEST_MS),
                Some(0.0) => limits::NODE_RUN_MS,
                _ => return Err(Fault::invalid("timeoutMs is no positive number")),
            },
        };
        let decision = text(params, "approvalDecision", MOST_ID)?;
        let approval = match (decision.as_deref(), params.get("approved")) {
            (Some("allow-always"), _) => Approval::Always,
            (Some("allow-once"), _) | (None, Some(Value::Bool(true))) => Approval::Once,
            _ => Approval::None,
        };
        Ok(Self {
            text: raw.unwrap_or_else(|| line(&argv)),
            judged,
            argv,
            cwd: cwd(params, machine)?,
            env: Overrides::read(params.get("env"))?,
            timeout: millis(timeout),
            agent: text(params, "agentId", MOST_ID)?.unwrap_or_else(|| "main".to_owned()),
            session: text(params, "sessionKey", MOST_ID)?.unwrap_or_else(|| "node".to_owned()),
            run_id: text(params, "runId", MOST_ID)?,
            needs_screen: params.get("needsScreenRecording") == Some(&Value::Bool(true)),
            approval,
        })
    }
}

fn argv(params: &Value) -> Result<Vec<String>, Fault> {
    let words = params.get("command").and_then(Value::as_array).filter(|words| !words.is_empty());
    let words =
        words.ok_or_else(|| Fault::invalid("command required: the program and its arguments as a list"))?;
    if words.len() > MOST.0 {
        return Err(Fault::invalid(format!("command has {} words; at most {}", words.len(), MOST.0)));
    }
    let mut argv = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let word = word.as_str().ok_or_else(|| Fault::invalid(format!("command/{index} is no string")))?;
        if word.contains('\0') {
            return Err(Fault::invalid(format!("command/{index} contains a NUL byte")));
        }
        argv.push(word.to_owned());
    }
    if argv.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(Fault::invalid("command/0 names no program"));
    }
    let bytes: usize = argv.iter().map(String::len).sum();
    if bytes > MOST.1 {
        return Err(Fault::invalid(format!("command has {bytes} bytes; at most {}", MOST.1)));
    }
    Ok(argv)
}

/// A text that may be left out; blank is left out.
fn text(params: &Value, name: &str, most: usize) -> Result<Option<String>, Fault> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > most => {
            Err(Fault::invalid(format!("{name} has {} bytes; at most {most}", text.len())))
        }
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(_) => Err(Fault::invalid(format!("{name} is no string"))),
    }
}

/// The working directory; a relative one begins at the home directory.
fn cwd(params: &Value, machine: &Machine) -> Result<Option<String>, Fault> {
    let Some(cwd) = text(params, "cwd", 4_096)? else { return Ok(machine.home.clone()) };
    if cwd.contains('\0') {
        return Err(Fault::invalid("cwd contains a NUL byte"));
    }
    if cwd.starts_with('/') {
        return Ok(Some(cwd));
    }
    let home = machine.home.as_deref().ok_or_else(|| Fault::invalid("cwd is no absolute path"))?;
    let below = cwd.strip_prefix("~/").unwrap_or(if cwd == "~" { "" } else { &cwd });
    Ok(Some(format!("{}/{below}", home.trim_end_matches('/'))))
}

/// What of a command is judged: where a shell is given a command line, the line.
fn judged(argv: &[String]) -> Judged {
    let [program, rest @ ..] = argv else { return Judged::Opaque };
    let name = SHELL_DIRS.iter().find_map(|dir| program.strip_prefix(dir)).unwrap_or(program);
    let base = program.rsplit('/').next().unwrap_or(program);
    if !SHELLS.contains(&base) {
        return Judged::Argv;
    }
    match rest {
        [flags, script] if matches!(flags.as_str(), "-c" | "-lc" | "-cl") && SHELLS.contains(&name) => {
            Judged::Script(script.clone())
        }
        // A shell elsewhere, or with a script file, options or a terminal: nobody can say what it runs.
        _ => Judged::Opaque,
    }
}

/// Whether the words that people were shown are those of the command.
fn says(raw: &str, argv: &[String], judged: &Judged) -> bool {
    if let Judged::Script(script) = judged
        && script.trim() == raw
    {
        return true;
    }
    let plain = shell::analyse(raw).ok().filter(|segments| segments.len() == 1);
    let same = plain.and_then(|segments| segments.into_iter().next()).is_some_and(|segment| {
        let words = segment.argv.iter().map(|word| (!word.expands).then_some(word.text.as_str()));
        words.eq(argv.iter().map(|word| Some(word.as_str())))
    });
    same || line(argv) == raw
}

/// A command on one line, as the reference writes it.
fn line(argv: &[String]) -> String {
    let word = |word: &String| {
        let word = word.trim();
        if word.is_empty() {
            "\"\"".to_owned()
        } else if word.contains(|c: char| c.is_whitespace() || c == '"') {
            format!("\"{}\"", word.replace('"', "\\\""))
        } else {
            word.to_owned()
        }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn machine() -> Machine {
        Machine { home: Some("/home/ann".to_owned()), ..Machine::default() }
    }

    fn read(params: &Value) -> Result<RunRequest, Fault> {
        RunRequest::read(params, &machine())
    }

    #[test]
    fn a_shells_command_line_is_judged_in_its_place() {
        let judged = |argv: &[&str]| judged(&argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(judged(&["/bin/sh", "-lc", "git status"]), Judged::Script("git status".to_owned()));
        assert_eq!(judged(&["bash", "-c", "x"]), Judged::Script("x".to_owned()));
        assert_eq!(judged(&["git", "-c", "x"]), Judged::Argv);
        for argv in [
            &["/tmp/sh", "-c", "git status"][..],
            &["sh", "-c", "x", "arg0"],
            &["sh", "-xc", "x"],
            &["bash", "script"],
            &["sh"],
            &["/bin/../tmp/sh", "-c", "x"],
        ] {
            assert_eq!(judged(argv), Judged::Opaque, "{argv:?}");
        }
    }

    #[test]
    fn words_that_say_something_else_than_what_runs_are_refused() {
        let with = |command: Value, raw: &str| read(&json!({"command": command, "rawCommand": raw}));
        assert!(with(json!(["/bin/sh", "-lc", "git status | head"]), "git status | head").is_ok());
        assert!(with(json!(["git", "commit", "-m", "a b"]), "git commit -m 'a b'").is_ok());
        assert!(with(json!(["echo", "a b"]), "echo \"a b\"").is_ok());
        for (command, raw) in [
            (json!(["rm", "-rf", "/"]), "git status"),
            (json!(["/bin/sh", "-lc", "rm -rf /"]), "git status"),
            (json!(["git", "status ; rm"]), "git status ; rm"),
            (json!(["git", "a", "b"]), "git 'a b'"),
        ] {
            assert!(with(command, raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_sensible_value() {
        let request = read(&json!({"command": ["uname"]})).unwrap();
        assert_eq!(
            (request.agent.as_str(), request.session.as_str(), request.run_id),
            ("main", "node", None)
        );
        assert_eq!(request.cwd.as_deref(), Some("/home/ann"));
        assert_eq!(request.timeout, millis(limits::NODE_RUN_MS));
        assert_eq!(request.approval, Approval::None);
        assert_eq!(
            read(&json!({"command": ["a"], "cwd": "~/x"})).unwrap().cwd.as_deref(),
            Some("/home/ann/x")
        );
        assert_eq!(
            read(&json!({"command": ["a"], "timeoutMs": 1e300})).unwrap().timeout,
            millis(limits::NODE_RUN_LONGEST_MS)
        );
    }

    #[test]
    fn only_the_known_words_are_an_approval() {
        let approval = |extra: Value| {
            let mut params = json!({"command": ["a"]});
            params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            read(&params).map(|request| request.approval)
        };
        assert_eq!(approval(json!({"approved": true})), Ok(Approval::Once));
        assert_eq!(
            approval(json!({"approved": true, "approvalDecision": "allow-always"})),
            Ok(Approval::Always)
        );
        for none in [
            json!({"approved": "true"}),
            json!({"approved": 1}),
            json!({"approvalDecision": "deny", "approved": true}),
            json!({"approvalDecision": "ALLOW-ONCE"}),
        ] {
            assert_eq!(approval(none.clone()), Ok(Approval::None), "{none}");
        }
        assert!(approval(json!({"approvalDecision": true})).is_err());
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        for params in [
            json!({}),
            json!({"command": "ls"}),
            json!({"command": []}),
            json!({"command": [7]}),
            json!({"command": [" "]}),
            json!({"command": ["a\u{0}"]}),
            json!({"command": ["a"], "timeoutMs": -1}),
            json!({"command": ["a"], "timeoutMs": "1"}),
            json!({"command": ["a"], "cwd": 7}),
            json!({"command": ["a"], "env": {"A": 1}}),
            json!({"command": vec!["a"; 2_000]}),
            json!({"command": ["a".repeat(200_000)]}),
        ] {
            let fault = read(&params).unwrap_err();
            assert!(fault.message.starts_with("INVALID_REQUEST: "), "{}", fault.message);
        }
    }

    proptest! {
        #[test]
        fn a_command_on_one_line_never_names_another_command(
            a in proptest::collection::vec("[a-z\" ;|$-]{0,4}", 1..4),
            b in proptest::collection::vec("[a-z\" ;|$-]{0,4}", 1..4),
        ) {
            // Words that a shell would read as exactly one argument list say that list and no other.
            if let Ok(segments) = shell::analyse(&line(&a))
                && segments.len() == 1 && segments[0].argv.len() == b.len() && says(&line(&a), &b, &Judged::Argv)
            {
                let read: Vec<&str> = segments[0].argv.iter().map(|word| word.text.as_str()).collect();
                prop_assert!(read == b || line(&a) == line(&b));
            }
        }
    }
}
