//! The conversations on the command line.

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::gateway::{Gateway, Home, is_private};
use telson_tests::support::terminal::Terminal;

use super::talk::text;

on_both_binaries!(
    sessions_are_listed_and_filtered,
    a_session_is_shown_with_what_was_said,
    a_session_is_exported_in_three_forms,
    what_cannot_be_undone_is_asked_or_refused,
    a_session_begins_anew_and_goes,
    a_session_that_is_not_there_is_named,
    a_session_that_is_cut_off_goes_on_with_its_end,
);

/// A gateway whose model repeats the words, with a main conversation and another one.
fn start(binary: Binary) -> Gateway {
    let gateway = Home::new(binary).start();
    gateway.run(&["chat", "-m", "what moves the sea"]).success();
    gateway.run(&["chat", "-m", "ebb and flow", "--session", "agent:main:work"]).success();
    gateway
}

fn keys(gateway: &Gateway, arguments: &[&str]) -> Vec<String> {
    let list = gateway.run(arguments).success().json();
    let rows = list["sessions"].as_array().expect("a list has rows");
    rows.iter().map(|row| row["key"].as_str().expect("a row has a key").to_owned()).collect()
}

fn sessions_are_listed_and_filtered(binary: Binary) {
    let gateway = start(binary);
    let all = keys(&gateway, &["sessions", "list", "--json"]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all, keys(&gateway, &["sessions", "--json"]), "sessions alone lists them");
    assert_eq!(keys(&gateway, &["sessions", "list", "--limit", "1", "--json"]), all[..1]);
    assert_eq!(keys(&gateway, &["sessions", "list", "--search", "work", "--json"]), ["agent:main:work"]);
    assert_eq!(keys(&gateway, &["sessions", "list", "--active", "5", "--agent", "main", "--json"]).len(), 2);
    let table = gateway.run(&["sessions", "list"]).success();
    assert!(table.stdout.contains("agent:main:work") && table.stdout.contains("ebb and flow"), "{table:#?}");
    let none = gateway.run(&["sessions", "list", "--search", "nowhere"]).success();
    assert_eq!(none.stdout, "No such sessions.\n");
}

fn a_session_is_shown_with_what_was_said(binary: Binary) {
    let gateway = start(binary);
    let shown = gateway.run(&["sessions", "show", "main"]).success();
    assert!(shown.stdout.contains("agent:main:main") && shown.stdout.contains("2 of 2"), "{shown:#?}");
    assert!(shown.stdout.contains("> what moves the sea\n"), "{shown:#?}");
    let last = gateway.run(&["sessions", "show", "main", "--limit", "1", "--json"]).success().json();
    assert_eq!(last["messages"].as_array().map(Vec::len), Some(1), "{last}");
}

fn a_session_is_exported_in_three_forms(binary: Binary) {
    let gateway = start(binary);
    let export = |format: &str| gateway.run(&["sessions", "export", "main", "--format", format]).success();
    let lines: Vec<Value> =
        export("jsonl").stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].clone()).collect();
    assert_eq!(kinds, ["session", "message", "message"]);
    assert_eq!(lines[2]["parentId"], lines[1]["id"]);
    assert_eq!(lines[1]["message"]["role"], json!("user"));
    let markdown = export("markdown").stdout;
    assert!(markdown.contains("## User") && markdown.contains("what moves the sea"), "{markdown}");
    assert_eq!(export("json").json()["messages"].as_array().map(Vec::len), Some(2));

    let file = gateway.home.path("transcript.jsonl");
    let path = file.to_str().expect("the path is text");
    let told = gateway.run(&["sessions", "export", "main", "--out", path, "--json"]).success().json();
    assert_eq!((&told["messages"], &told["file"]), (&json!(2), &json!(path)));
    assert!(is_private(&file), "what was said is nobody else's business");
    let bad = gateway.home.path("no/such/folder");
    gateway.run(&["sessions", "export", "main", "-o", bad.to_str().expect("text")]).failure(2);
}

fn what_cannot_be_undone_is_asked_or_refused(binary: Binary) {
    let gateway = start(binary);
    for verb in ["reset", "delete"] {
        let refused = gateway.run(&["sessions", verb, "agent:main:work"]).failure(2);
        assert!(refused.stderr.contains("--yes"), "{refused:#?}");
    }
    let mut terminal = Terminal::start(&gateway.home, &["sessions", "delete", "agent:main:work"]);
    terminal.until("Delete agent:main:work? [y/N] ");
    terminal.line("n");
    terminal.until("nothing is changed");
    assert_eq!(terminal.end(), 130);
    assert_eq!(keys(&gateway, &["sessions", "--json"]).len(), 2);
    let mut terminal = Terminal::start(&gateway.home, &["sessions", "delete", "agent:main:work"]);
    terminal.until("[y/N] ");
    terminal.line("y");
    terminal.until("is deleted");
    assert_eq!(terminal.end(), 0);
    assert_eq!(keys(&gateway, &["sessions", "--json"]).len(), 1);
}

fn a_session_begins_anew_and_goes(binary: Binary) {
    let gateway = start(binary);
    let answer = gateway.run(&["sessions", "reset", "main", "--yes", "--json"]).success().json();
    assert_eq!(answer["key"], json!("agent:main:main"), "{answer}");
    let shown = gateway.run(&["sessions", "show", "main", "--json"]).success().json();
    assert_eq!(shown["messages"], json!([]), "{shown}");
    gateway.run(&["sessions", "delete", "agent:main:work", "--yes", "--keep-transcript"]).success();
    assert_eq!(keys(&gateway, &["sessions", "--json"]), ["agent:main:main"]);
}

fn a_session_that_is_not_there_is_named(binary: Binary) {
    let gateway = start(binary);
    let missing = gateway.run(&["sessions", "show", "agent:main:nowhere"]).failure(1);
    assert!(missing.stderr.contains("nowhere") && missing.stderr.contains("sessions list"), "{missing:#?}");
}

fn a_session_that_is_cut_off_goes_on_with_its_end(binary: Binary) {
    let gateway = start(binary);
    gateway.run(&["chat", "-m", "and the moon"]).success();
    let cut = gateway.run(&["sessions", "compact", "main", "--keep", "2", "--json"]).success().json();
    assert_eq!((&cut["compacted"], &cut["kept"]), (&json!(true), &json!(2)), "{cut}");
    let same = gateway.run(&["sessions", "compact", "main", "--keep", "2"]).success();
    assert!(same.stdout.contains("agent:main:main stays as it is"), "{same:#?}");
    let export = gateway.run(&["sessions", "export", "main", "--format", "json"]).success().json();
    let words: Vec<String> = export["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| text(&message["content"]))
        .collect();
    assert_eq!(words, ["and the moon", "and the moon"]);
}
