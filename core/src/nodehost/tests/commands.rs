//! The commands beside `system.run`.

use std::time::Duration;

use serde_json::json;

use crate::approvals::policy::ApprovalsFile;
use crate::limits;
use crate::nodehost::ProcessEvent;
use crate::nodehost::settings::{Camera, CameraTool};
use crate::nodehost::testing::{Bench, settings};

#[test]
fn programs_are_found_by_name_only() {
    let mut bench = Bench::ready(3);
    bench.invoke("1", "system.which", &json!({"bins": ["uname", "nosuchbin", "/usr/bin/uname", ""]}));
    assert_eq!(bench.payload("1"), json!({"bins": {"uname": "/usr/bin/uname"}}));
    for (id, params) in
        [("2", json!({})), ("3", json!({"bins": [7]})), ("4", json!({"bins": vec!["a"; 300]}))]
    {
        bench.invoke(id, "system.which", &params);
        assert!(bench.fault(id).starts_with("INVALID_REQUEST: bins"));
    }
}

#[test]
fn a_command_that_this_machine_does_not_have_is_refused_by_name() {
    let mut bench = Bench::ready(4);
    for (id, command) in
        [("1", "browser.proxy"), ("2", "system.notify"), ("3", "camera.snap"), ("4", "SYSTEM.RUN")]
    {
        bench.invoke(id, command, &json!({}));
        let message = bench.fault(id);
        assert!(message.starts_with("command not supported: this node has system.run"), "{message}");
    }
}

#[test]
fn a_request_is_carried_out_once() {
    let mut bench = Bench::ready(4);
    bench.invoke("1", "system.which", &json!({"bins": []}));
    bench.payload("1");
    bench.invoke("1", "system.which", &json!({"bins": []}));
    assert!(bench.sent.is_empty());
}

#[test]
fn the_policy_is_shown_without_its_secret_and_replaced_by_who_has_seen_it() {
    let mut bench = Bench::ready(3);
    bench.invoke("1", "system.execApprovals.get", &json!({}));
    let first = bench.payload("1");
    assert_eq!((&first["exists"], &first["path"]), (&json!(true), &json!("/state/exec-approvals.json")));
    assert_eq!(first["file"]["socket"], json!({"path": "/state/exec-approvals.sock"}));
    let kept = bench.policy.clone().unwrap();
    assert!(kept.contains("\"token\""), "{kept}");
    assert_eq!(first["hash"], ApprovalsFile::hash(Some(&kept)));

    let file = json!({"version": 1, "agents": {"main": {"security": "full", "ask": "off"}}});
    bench.invoke("2", "system.execApprovals.set", &json!({"file": file}));
    assert_eq!(bench.fault("2"), "INVALID_REQUEST: exec approvals base hash required; reload and retry");
    bench.invoke("3", "system.execApprovals.set", &json!({"file": file, "baseHash": "0".repeat(64)}));
    assert_eq!(bench.fault("3"), "INVALID_REQUEST: exec approvals changed since last load; reload and retry");
    bench.invoke(
        "4",
        "system.execApprovals.set",
        &json!({"file": {"version": 1, "x": 1}, "baseHash": first["hash"]}),
    );
    assert!(bench.fault("4").contains("unexpected property 'x'"));
    bench.invoke("5", "system.execApprovals.set", &json!({"baseHash": first["hash"]}));
    assert_eq!(bench.fault("5"), "INVALID_REQUEST: exec approvals file required");
    assert_eq!(bench.policy.as_deref(), Some(kept.as_str()), "nothing was written");

    bench.invoke("6", "system.execApprovals.set", &json!({"file": file, "baseHash": first["hash"]}));
    let second = bench.payload("6");
    assert_eq!(second["file"]["agents"]["main"]["security"], "full");
    assert_ne!(second["hash"], first["hash"]);
    let token =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["socket"]["token"].clone();
    assert_eq!(token(bench.policy.as_deref().unwrap()), token(&kept), "the secret stays");
}

#[test]
fn a_policy_that_cannot_be_read_is_left_as_it_is() {
    let mut bench = Bench::ready(3);
    bench.policy = Some("{ broken".to_owned());
    bench.invoke("1", "system.execApprovals.get", &json!({}));
    assert_eq!(bench.payload("1")["file"], json!({"version": 1, "agents": {}}));
    bench.invoke("2", "system.run", &json!({"command": ["uname"]}));
    assert_eq!(bench.fault("2"), "SYSTEM_RUN_DISABLED: security=deny");
    assert_eq!(bench.policy.as_deref(), Some("{ broken"));
}

#[test]
fn a_race_for_the_policy_is_read_again_or_refused() {
    let mut bench = Bench::ready(3);
    bench.racing = 1;
    bench.invoke("1", "system.execApprovals.get", &json!({}));
    let shown = bench.payload("1");
    bench.racing = 1;
    bench.invoke(
        "2",
        "system.execApprovals.set",
        &json!({"file": {"version": 1}, "baseHash": shown["hash"]}),
    );
    assert!(bench.fault("2").contains("changed since last load"));
}

#[test]
fn a_directory_below_the_home_directory_is_listed() {
    let mut bench = Bench::ready(4);
    bench.invoke("1", "fs.listDir", &json!({"path": "~/notes"}));
    assert_eq!(bench.payload("1"), json!({"path": "/home/ann/notes", "entries": [], "truncated": false}));
    bench.invoke("2", "fs.listDir", &json!({"path": "/etc"}));
    assert!(bench.fault("2").contains("leads out of the home directory"));
}

#[test]
fn a_notice_is_shown_and_its_words_are_never_options() {
    let mut settings = settings();
    settings.machine.notify = Some("/usr/bin/notify-send".to_owned());
    let mut bench = Bench::new(settings);
    bench.open();
    bench.welcome(4, None);
    bench.invoke(
        "1",
        "system.notify",
        &json!({"title": "--help", "body": "-x", "priority": "timeSensitive"}),
    );
    let program = &bench.spawned[0].1;
    assert_eq!(program.program, "/usr/bin/notify-send");
    assert_eq!(program.args, ["--app-name=Telson", "--urgency=critical", "--", "--help", "-x"]);
    bench.process(ProcessEvent::Exited(Some(0)));
    assert_eq!(bench.payload("1"), json!({"ok": true}));
    bench.invoke("2", "system.notify", &json!({"title": "t"}));
    bench.process(ProcessEvent::Stderr(b"no bus\n".to_vec()));
    bench.process(ProcessEvent::Exited(Some(1)));
    assert_eq!(bench.fault("2"), "the notice was not shown: no bus");
    bench.invoke("3", "system.notify", &json!({"title": "t"}));
    bench.pass(Duration::from_secs(15));
    assert_eq!(bench.result("3")["error"]["code"], "TIMEOUT");
    assert_eq!(bench.killed.len(), 1);
    bench.invoke("4", "system.notify", &json!({}));
    assert!(bench.fault("4").contains("title or body required"));
}

#[test]
fn a_camera_takes_one_picture() {
    let mut settings = settings();
    settings.machine.camera = Some(Camera {
        program: "/usr/bin/ffmpeg".to_owned(),
        tool: CameraTool::Ffmpeg,
        devices: vec![("/dev/video0".to_owned(), "Desk".to_owned())],
    });
    let mut bench = Bench::new(settings);
    assert_eq!(bench.open()["params"]["caps"], json!(["system", "camera"]));
    bench.welcome(4, None);
    bench.invoke("1", "camera.list", &json!({}));
    assert_eq!(bench.payload("1")["devices"][0]["name"], "Desk");
    bench.invoke("2", "camera.snap", &json!({"maxWidth": 640}));
    let picture = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0x01, 0xe0, 0x02, 0x80, 3, 0, 0, 0];
    bench.process(ProcessEvent::Stdout(picture[..7].to_vec()));
    bench.process(ProcessEvent::Stdout(picture[7..].to_vec()));
    bench.process(ProcessEvent::Exited(Some(0)));
    let payload = bench.payload("2");
    assert_eq!(
        (&payload["width"], &payload["height"], &payload["format"]),
        (&json!(640), &json!(480), &json!("jpg"))
    );
    bench.invoke("3", "camera.snap", &json!({}));
    bench.process(ProcessEvent::Stdout(vec![0; usize::try_from(limits::NODE_PICTURE_BYTES).unwrap() + 1]));
    assert!(bench.fault("3").contains("too large"));
    assert_eq!(bench.killed.len(), 1);
}

#[test]
fn a_node_that_is_busy_says_so() {
    let mut bench = Bench::ready(4);
    bench.allow(&json!({"main": {"security": "full", "ask": "off"}}));
    for n in 0..limits::NODE_JOBS {
        bench.invoke(&format!("run{n}"), "system.run", &json!({"command": ["sleep", "9"]}));
    }
    bench.invoke("more", "system.which", &json!({"bins": []}));
    assert!(bench.fault("more").contains("busy"));
    bench.process(ProcessEvent::Exited(Some(0)));
    bench.invoke("then", "system.which", &json!({"bins": []}));
    bench.payload("then");
}
