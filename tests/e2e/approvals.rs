//! Approvals and the audit book over real sockets, across a power failure, and on the command line.

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect, Greeting};
use telson_tests::support::gateway::{Gateway, Home};

on_both_binaries!(
    one_asks_another_decides_and_a_third_hears_nothing,
    the_answer_is_the_same_in_every_dialect,
    a_power_failure_ends_what_waited_and_keeps_what_was_decided,
    the_command_line_decides,
    the_policy_is_replaced_by_who_knows_it,
    what_was_done_and_refused_stands_in_the_book,
);

/// A client with these scopes.
fn with(gateway: &Gateway, scopes: &[&str]) -> Client {
    let token = gateway.token();
    let greeting = Greeting { scopes, ..Greeting::operator(Dialect::V4, &token) };
    Client::connect(gateway.address, &greeting).expect("it is let in")
}

fn approver(gateway: &Gateway) -> Client {
    with(gateway, &["operator.approvals"])
}

fn question(id: &str) -> Value {
    json!({"id": id, "command": "git push \u{202e}x", "agentId": "main"})
}

fn one_asks_another_decides_and_a_third_hears_nothing(binary: Binary) {
    let gateway = Home::new(binary).start();
    let (mut asker, mut desk) = (approver(&gateway), approver(&gateway));
    let mut reader = with(&gateway, &["operator.read", "operator.write"]);
    let id = asker.request("exec.approval.request", &question("q"));
    let asked = desk.event("exec.approval.requested", |_| true);
    assert_eq!((&asked["id"], &asked["request"]["command"]), (&json!("q"), &json!("git push \\u{202e}x")));
    let list = desk.ask("exec.approval.list", &json!({}));
    assert_eq!(list[0]["request"], asked["request"], "a page that comes back sees the same");
    let view = desk.ask("approval.get", &json!({"id": "q"}));
    assert_eq!(view["approval"]["status"], "pending");
    let refused = reader.call("exec.approval.resolve", &json!({"id": "q", "decision": "allow-once"}));
    assert_eq!(refused.unwrap_err()["code"], "FORBIDDEN");

    desk.ask("exec.approval.resolve", &json!({"id": "q", "decision": "allow-once"}));
    assert_eq!(asker.response(&id).expect("an answer")["decision"], "allow-once");
    assert_eq!(asker.event("exec.approval.resolved", |_| true)["decision"], "allow-once");
    let other = desk.call("exec.approval.resolve", &json!({"id": "q", "decision": "deny"})).unwrap_err();
    assert_eq!(other["details"]["reason"], "APPROVAL_ALREADY_RESOLVED");
    reader.ask("health", &json!({}));
    let heard: Vec<&Value> = reader.unread().filter(|frame| frame.to_string().contains("approval")).collect();
    assert!(heard.is_empty(), "{heard:#?}");
}

fn the_answer_is_the_same_in_every_dialect(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut desk = approver(&gateway);
    for dialect in Dialect::ALL {
        let mut asker = gateway.operator(dialect);
        let name = format!("{dialect:?}");
        let id = asker.request("exec.approval.request", &question(&name));
        desk.event("exec.approval.requested", |payload| payload["id"] == *name);
        desk.ask("approval.resolve", &json!({"id": name, "kind": "exec", "decision": "deny"}));
        assert_eq!(asker.response(&id).expect("an answer")["decision"], "deny");
    }
    let history = desk.ask("approval.history", &json!({}));
    assert_eq!(history["items"].as_array().map(Vec::len), Some(3));
}

fn a_power_failure_ends_what_waited_and_keeps_what_was_decided(binary: Binary) {
    let gateway = Home::new(binary).start();
    let (mut asker, mut desk) = (approver(&gateway), approver(&gateway));
    for name in ["open", "done"] {
        asker.request("exec.approval.request", &question(name));
        desk.event("exec.approval.requested", |payload| payload["id"] == *name);
    }
    desk.ask("exec.approval.resolve", &json!({"id": "done", "decision": "allow-once"}));
    let home = gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    let mut desk = approver(&gateway);
    assert_eq!(desk.ask("exec.approval.list", &json!({})), json!([]));
    let status = |desk: &mut Client, id: &str| {
        let approval = desk.ask("approval.get", &json!({"id": id}))["approval"].clone();
        (approval["status"].clone(), approval["reason"].clone())
    };
    assert_eq!(status(&mut desk, "open"), (json!("cancelled"), json!("gateway-restart")));
    assert_eq!(status(&mut desk, "done"), (json!("allowed"), json!("user")));
    let wait = desk.ask("exec.approval.waitDecision", &json!({"id": "open"}));
    assert_eq!((&wait["decision"], &wait["terminalReason"]), (&Value::Null, &json!("gateway-restart")));
    let late = desk.call("exec.approval.resolve", &json!({"id": "open", "decision": "allow-once"}));
    assert_eq!(late.unwrap_err()["details"]["reason"], "APPROVAL_CANCELLED");
}

fn the_command_line_decides(binary: Binary) {
    let gateway = Home::new(binary).start();
    assert_eq!(gateway.run(&["approvals", "list"]).success().stdout, "Nothing waits for a decision.\n");
    let (mut asker, mut desk) = (approver(&gateway), approver(&gateway));
    let params = json!({"id": "first-one", "command": "git push", "cwd": "/srv/app"});
    let id = asker.request("exec.approval.request", &params);
    desk.event("exec.approval.requested", |_| true);
    let list = gateway.run(&["approvals", "list"]).success();
    assert!(list.stdout.contains("first-one") && list.stdout.contains("git push"), "{list:#?}");
    let shown = gateway.run(&["approvals", "get", "first"]).success();
    assert!(shown.stdout.contains("/srv/app") && shown.stdout.ends_with("git push\n"), "{shown:#?}");
    gateway.run(&["approvals", "allow", "first", "--always", "--days", "3"]).success();
    assert_eq!(asker.response(&id).expect("an answer")["decision"], "allow-always");
    let grants = desk.ask("exec.approval.grants.list", &json!({}));
    let grant = grants["grants"][0]["grantId"].clone();
    desk.ask("exec.approval.grants.revoke", &json!({"grantId": grant}));
    let late = gateway.run(&["approvals", "deny", "first"]).failure(1);
    assert!(late.stderr.contains("ended already: allowed, user"), "{late:#?}");
    let all = gateway.run(&["approvals", "list", "--all", "--json"]).success().json();
    assert_eq!(all["items"][0]["status"], "allowed");
    gateway.run(&["approvals", "allow", "nothing"]).failure(1);
}

fn the_policy_is_replaced_by_who_knows_it(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut desk = gateway.operator(Dialect::V4);
    let first = desk.ask("exec.approvals.get", &json!({}));
    assert_eq!(first["resolvedDefaults"]["security"], "deny");
    let file = json!({"version": 1, "agents": {"main": {"security": "allowlist", "allowlist": [{"pattern": "/usr/bin/git"}]}}});
    let path = gateway.home.path("policy.json");
    std::fs::write(&path, file.to_string()).expect("a file can be written");
    gateway.run(&["approvals", "policy", "--set", path.to_str().expect("text")]).success();
    let stale = json!({"file": file, "baseHash": first["hash"]});
    let refused = desk.call("exec.approvals.set", &stale).unwrap_err();
    assert!(refused["message"].as_str().expect("words").starts_with("exec approvals changed"), "{refused}");
    let home = gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    let shown = gateway.run(&["approvals", "policy"]).success();
    assert!(shown.stdout.contains("/usr/bin/git"), "{shown:#?}");
}

fn what_was_done_and_refused_stands_in_the_book(binary: Binary) {
    let gateway = Home::new(binary).start();
    let mut reader = with(&gateway, &["operator.read"]);
    for _ in 0..20 {
        let params = json!({"sessionKey": "main", "message": "my secret words", "idempotencyKey": "k"});
        reader.call("chat.send", &params).unwrap_err();
    }
    let mut desk = gateway.operator(Dialect::V3);
    desk.ask("sessions.reset", &json!({"key": "main"}));
    let wrong = Greeting { token: Some("wrong"), ..Greeting::operator(Dialect::V3, "") };
    Client::connect(gateway.address, &wrong).err().expect("a wrong token is refused");
    let home = gateway.kill();
    let gateway = Gateway::start(&home, &[]);
    let page = gateway.run(&["audit", "list", "--json"]).success().json();
    let lines = page["entries"].as_array().expect("a list").clone();
    let of = |action: &str| lines.iter().filter(|line| line["action"] == *action).collect::<Vec<_>>();
    assert_eq!(of("chat.send").len(), 1, "repeats are counted: {page:#}");
    assert_eq!(of("chat.send")[0]["outcome"], "denied");
    assert_eq!(of("sessions.reset")[0]["outcome"], "ok");
    assert_eq!(
        (&of("connect")[0]["actor"], &of("connect")[0]["outcome"]),
        (&json!("stranger"), &json!("denied"))
    );
    assert!(!page.to_string().contains("secret words"), "{page:#}");
    let denied = gateway.run(&["audit", "list", "--outcome", "denied"]).success();
    assert!(denied.stdout.contains("missing scope: operator.write"), "{denied:#?}");
}
