#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use telson_core::config::{Level, Logging, Style, Subsystem};

use super::file::LogFile;
use super::layer::Logs;
use super::levels::Levels;
use super::patterns::families_compile;
use super::redact::{Redactor, Secrets};
use super::sink::{Sink, Writer};
use super::*;

const TOKEN: &str = "c3VubnkgZGF5IG9uIHRoZSBzZWE\"\\x";

/// A sink that keeps what it is given.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Writer for Kept {
    fn write(&mut self, line: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(line);
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What came out of the three sinks.
struct Written {
    file: String,
    out: String,
    err: String,
}

impl Written {
    fn all(&self) -> String {
        format!("{}{}{}", self.file, self.out, self.err)
    }
}

/// Runs something with the logs of a configuration.
fn logged(logging: &Logging, secrets: &Secrets, work: impl FnOnce()) -> Written {
    let (file, out, err) = (Kept::default(), Kept::default(), Kept::default());
    let sinks = [&file, &out, &err].map(|kept| Sink::start("test-log", kept.clone()).unwrap());
    let [to_file, to_out, to_err] = sinks.clone();
    let logs = Logs {
        levels: Levels::new(logging, logging.console_style.unwrap_or(Style::Compact)),
        redactor: Redactor::new(secrets.clone(), &logging.redact_patterns, &mut Vec::new()),
        file: Some(to_file),
        out: to_out,
        err: to_err,
        colour_out: false,
        colour_err: false,
        zone: jiff::tz::TimeZone::UTC,
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), work);
    sinks.iter().for_each(|sink| sink.close());
    Written { file: file.text(), out: out.text(), err: err.text() }
}

fn talkative() -> Logging {
    Logging { level: Level::Trace, console_level: Level::Trace, ..Logging::default() }
}

fn level(name: &str, level: Level) -> Subsystem {
    Subsystem { name: name.to_owned(), file: Some(level), console: Some(level), style: None }
}

#[test]
fn no_secret_reaches_any_sink_whatever_way_it_takes() {
    let secrets = Secrets::default();
    secrets.add(TOKEN);
    secrets.add("pass word with spaces");
    for style in [Style::Pretty, Style::Compact, Style::Json] {
        let logging = Logging { console_style: Some(style), ..talkative() };
        let written = logged(&logging, &secrets, || {
            let frame = serde_json::json!({"type": "req", "params": {"auth": {"token": TOKEN}}}).to_string();
            tracing::trace!(target: "gateway.ws", frame, "in");
            tracing::trace!(target: "gateway.ws", ?frame, "in");
            tracing::debug!(target: "gateway.ws", "frame {frame}");
            tracing::debug!(target: "gateway.ws", "frame {frame:?}");
            tracing::info!(target: "gateway", token = TOKEN, password = "pass word with spaces", "connected");
            tracing::warn!(target: "gateway", error = %format!("bad password: pass word with spaces!"), "refused");
            let words = vec![TOKEN, "pass word with spaces"];
            tracing::error!(target: "gateway.secret", ?words, "x {}", "y".repeat(4_090) + TOKEN);
            tracing::error!(target: "gateway", long = %("y".repeat(250) + TOKEN), "cut");
        });
        let all = written.all();
        assert_eq!(written.file.lines().count(), 8, "{}", written.file);
        for canary in [TOKEN, "c3VubnkgZG", "pass word", "IG9uIHRoZSBzZWE"] {
            assert!(!all.contains(canary), "{canary} stands in {all}");
        }
    }
}

#[test]
fn a_secret_that_is_learnt_later_is_masked_from_then_on() {
    let secrets = Secrets::default();
    let written = logged(&talkative(), &secrets, || {
        secrets.add("made-after-the-start");
        tracing::info!(target: "gateway", "it is made-after-the-start");
    });
    assert!(written.out.contains("it is ***"), "{}", written.out);
}

#[test]
fn what_looks_like_a_secret_is_masked() {
    assert!(families_compile());
    let redactor = Redactor::new(Secrets::default(), &[], &mut Vec::new());
    for (text, canary) in [
        ("OPENAI_API_KEY=abcdef123456", "abcdef123456"),
        ("export DB_PASSWORD: 'hunter2hunter2'", "hunter2"),
        (r#"{"apiKey":"abcdef","x":1}"#, "abcdef"),
        (r#""{\"token\":\"abcdef-ghijkl\"}""#, "abcdef"),
        (r#"{"deviceToken": "abcdef-ghijkl"}"#, "abcdef"),
        ("run --token abcdefgh --port 1", "abcdefgh"),
        ("Authorization: Bearer abc.def.ghi", "abc.def"),
        ("authorization: basic YWJjZGVm", "YWJjZGVm"),
        ("sent Bearer abcdefghijklmnopqrstuvwxyz", "ghijklmnopqrstuv"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----", "MIIEvQIBADANBg"),
        ("sk-abcdefghijkl", "abcdefghijkl"),
        ("ghp_abcdefghijklmnopqrstuvwxyz", "ghijklmnopqrstuv"),
        ("github_pat_abcdefghijklmnopqrstuvwxyz", "ghijklmnopqrstuv"),
        ("xoxb-1234567890-abcdef", "567890"),
        ("xapp-1234567890-abcdef", "567890"),
        ("gsk_abcdefghijklmnop", "ghijkl"),
        ("AIzaSyA1234567890abcdefghijk", "1234567890abcdef"),
        ("pplx-abcdefghijklmnop", "ghijkl"),
        ("npm_abcdefghijklmnopqrst", "ghijklmn"),
        ("bot 123456789:AAEabcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopq"),
    ] {
        let masked = redactor.message(text);
        assert!(!masked.contains(canary), "{text} became {masked}");
    }
    for harmless in ["listening on ws://127.0.0.1:18789 (PID 7)", "12:30:00 tokens: 12", "tokens=12 keys"] {
        assert_eq!(redactor.message(harmless), harmless);
    }
}

#[test]
fn the_operators_patterns_are_added_and_broken_ones_reported() {
    let mut problems = Vec::new();
    let patterns = ["ticket-(\\d+)".to_owned(), "/secret word/".to_owned(), "([".to_owned()];
    let redactor = Redactor::new(Secrets::default(), &patterns, &mut problems);
    assert_eq!(redactor.message("TICKET-4711 and secret word"), "TICKET-*** and ***");
    assert_eq!(problems.len(), 1);
    assert!(!redactor.message("sk-abcdefghijkl").contains("abcdefghijkl"), "the built-in ones stay");
}

#[test]
fn the_file_holds_one_envelope_per_line_for_readers_of_either_generation() {
    let written = logged(&talkative(), &Secrets::default(), || {
        tracing::warn!(target: "gateway.ws", code = "LOCK_HELD", conn = 7_u64, ok = true, "two\nlines");
    });
    let line: Value = serde_json::from_str(written.file.trim_end()).expect("one JSON object on one line");
    assert_eq!((&line["level"], &line["subsystem"]), (&"warn".into(), &"gateway/ws".into()));
    assert_eq!((&line["message"], &line["0"]), (&"two\nlines".into(), &"two\nlines".into()));
    assert_eq!((&line["code"], &line["fields"]["conn"]), (&"LOCK_HELD".into(), &7.into()));
    assert_eq!(line["_meta"]["logLevelName"], "WARN");
    assert_eq!(line["_meta"]["name"], r#"{"subsystem":"gateway/ws"}"#);
    assert_eq!(line["time"], line["_meta"]["date"]);
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn nothing_a_client_sends_draws_on_the_terminal() {
    for style in [Style::Pretty, Style::Compact, Style::Json] {
        let logging = Logging { console_style: Some(style), ..talkative() };
        let written = logged(&logging, &Secrets::default(), || {
            let origin = "\u{1b}[2Jhttp://x\r\n[gateway] fake \u{202e}line \u{9b}2J \u{200b}\u{3164}\u{feff}";
            tracing::info!(target: "gateway.ws", origin, "refused {origin}");
        });
        assert_eq!(written.out.lines().count(), 1, "{}", written.out);
        for unruly in ['\u{1b}', '\u{9b}', '\u{202e}', '\u{200b}', '\u{3164}', '\u{feff}'] {
            assert!(!written.all().contains(unruly), "{}", written.all());
        }
    }
}

#[test]
fn warnings_go_to_standard_error_the_rest_to_standard_output() {
    let written = logged(&talkative(), &Secrets::default(), || {
        tracing::trace!(target: "gateway", "one");
        tracing::info!(target: "gateway", "two");
        tracing::warn!(target: "gateway", "three");
        tracing::error!(target: "gateway", "four");
    });
    assert_eq!((written.out.lines().count(), written.err.lines().count()), (2, 2));
    assert_eq!(written.file.lines().count(), 4);
}

#[test]
fn each_subsystem_has_its_own_level_and_the_longest_name_wins() {
    let logging = Logging {
        level: Level::Info,
        console_level: Level::Error,
        levels: vec![
            level("gateway.channels", Level::Warn),
            level("gateway", Level::Info),
            level("gateway.channels.telegram", Level::Trace),
            level("gateway.health", Level::Silent),
        ],
        ..Logging::default()
    };
    let written = logged(&logging, &Secrets::default(), || {
        tracing::info!(target: "gateway.channels", "no-1");
        tracing::trace!(target: "gateway.channels.telegram", "yes-1");
        tracing::trace!(target: "gateway.channels.telegramx", "no-2");
        tracing::warn!(target: "gateway.channels.telegramx", "yes-2");
        tracing::error!(target: "gateway.health", "no-3");
        tracing::info!(target: "gateway.ws", "yes-3");
        tracing::debug!(target: "gateway.ws", "no-4");
        tracing::warn!(target: "hyper::proto", "file-only");
    });
    for sink in [&written.file, &(written.out.clone() + &written.err)] {
        assert!(["yes-1", "yes-2", "yes-3"].iter().all(|word| sink.contains(word)), "{sink}");
        assert!(!sink.contains("no-"), "{sink}");
    }
    assert!(written.file.contains("file-only") && !written.err.contains("file-only"));
}

#[test]
fn each_subsystem_has_its_own_style() {
    let logging = Logging {
        console_style: Some(Style::Compact),
        levels: vec![
            Subsystem { style: Some(Style::Json), file: None, console: None, name: "gateway.ws".to_owned() },
            Subsystem {
                style: Some(Style::Pretty),
                file: None,
                console: None,
                name: "gateway.health".to_owned(),
            },
        ],
        ..Logging::default()
    };
    let written = logged(&logging, &Secrets::default(), || {
        tracing::info!(target: "gateway.ws", conn = 1, "a");
        tracing::info!(target: "gateway.health", conn = 2, "b");
        tracing::info!(target: "gateway", conn = 3, note = "two words", "gateway: c");
    });
    let lines: Vec<&str> = written.out.lines().collect();
    let json: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&json["subsystem"], &json["conn"]), (&"gateway/ws".into(), &1.into()));
    let (time, rest) = lines[1].split_once(' ').unwrap();
    assert_eq!((time.len(), rest), (8, "[health] b conn=2"));
    let (time, rest) = lines[2].split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert_eq!(rest, "[gateway] c conn=3 note=\"two words\"");
}

#[test]
fn a_full_queue_leaves_records_out_and_says_how_many() {
    struct Stuck(Arc<Mutex<()>>, Kept);
    impl Writer for Stuck {
        fn write(&mut self, line: &[u8]) {
            let _held = self.0.lock().unwrap();
            self.1.write(line);
        }
    }
    let (gate, kept) = (Arc::new(Mutex::new(())), Kept::default());
    let sink = Sink::start("test-log", Stuck(gate.clone(), kept.clone())).unwrap();
    let held = gate.lock().unwrap();
    for _ in 0..10_000 {
        sink.send(tracing::Level::DEBUG, b"debug\n".to_vec());
    }
    for _ in 0..10_000 {
        sink.send(tracing::Level::ERROR, b"error\n".to_vec());
    }
    drop(held);
    sink.close();
    let text = kept.text();
    let count = |word: &str| text.lines().filter(|line| *line == word).count();
    assert_eq!(count("debug") + count("error"), 8_192);
    assert_eq!(count("debug"), 6_144, "errors find a place where debug no longer does");
    assert!(text.contains("dropped: 11808"), "{}", &text[..200]);
}

#[test]
fn the_log_file_is_private_and_only_a_few_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("logs");
    fs::create_dir(&dir).unwrap();
    for day in 1..=9 {
        fs::write(dir.join(format!("telson-2020-01-0{day}.log")), "old").unwrap();
    }
    fs::write(dir.join("other.log"), "not ours").unwrap();
    let logging = Logging { keep_files: 3, ..Logging::default() };
    let mut file = LogFile::open(&logging, &dir, &mut Vec::new()).unwrap();
    file.write(b"line\n");
    let mode = fs::metadata(file.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "line\n");
    let mut left: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(
        left.contains(&"other.log".to_owned()) && left.contains(&"telson-2020-01-09.log".to_owned()),
        "{left:?}"
    );
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let temp = tempfile::tempdir().unwrap();
    let mut file = LogFile::open(&Logging::default(), temp.path(), &mut Vec::new()).unwrap();
    file.write(b"before\n");
    let path = file.path().to_owned();
    fs::rename(&path, temp.path().join("moved")).unwrap();
    file.reopen();
    file.write(b"after\n");
    assert_eq!(fs::read_to_string(path).unwrap(), "after\n");
}

#[test]
fn a_named_file_is_used_unless_others_could_replace_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("logs");
    let named = temp.path().join("private/telson.log");
    let logging = Logging { file: Some(named.display().to_string()), ..Logging::default() };
    let mut problems = Vec::new();
    assert_eq!(LogFile::open(&logging, &dir, &mut problems).unwrap().path(), named);
    assert!(problems.is_empty(), "{problems:?}");
    fs::set_permissions(named.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(LogFile::open(&logging, &dir, &mut problems).unwrap().path().starts_with(&dir));
    assert_eq!(problems.len(), 1);
}
