//! What protocol 4 keeps of a session for people, and the preconditions of a change.

use serde_json::{Value, json};
use telson_proto::{EventName, Protocol};

use crate::ids::ConnId;
use crate::testing::World;

fn row(world: &mut World, client: ConnId, key: &str) -> Value {
    world.ask(client, "sessions.describe", json!({"key": key}))["session"].clone()
}

fn reason(error: &telson_proto::ErrorShape) -> Value {
    error.details.as_ref().map(|details| details.to_value()["reason"].clone()).unwrap_or_default()
}

/// Check 18, for the fields of protocol 4.
#[test]
fn plain_choices_are_kept_shown_and_cleared() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let overrides = json!({"mcpServers": {"a": false}, "mcpToolsDeny": {"b": ["x"]}, "webSearch": false});
    let chosen = [
        ("icon", json!("🌊")),
        ("color", json!("blue")),
        ("category", json!("sea")),
        ("boardFace", json!("dashboard")),
        ("contextWindow", json!("1m")),
        ("fastMode", json!("auto")),
        ("permissionMode", json!("read-only")),
        ("toolOverrides", overrides),
        ("traceLevel", json!("on")),
        ("pinned", json!(true)),
        ("unread", json!(true)),
    ];
    let mut patch = json!({"key": "sea"});
    for (name, value) in &chosen {
        patch[*name] = value.clone();
    }
    world.ask(client, "sessions.patch", patch);
    let shown = row(&mut world, client, "sea");
    for (name, value) in &chosen {
        assert_eq!(shown[*name], *value, "{name}");
    }
    let nothing: Vec<&str> =
        chosen.iter().map(|(name, _)| *name).filter(|name| !matches!(*name, "pinned" | "unread")).collect();
    let mut clear = json!({"key": "sea"});
    for name in &nothing {
        clear[*name] = json!(null);
    }
    world.ask(client, "sessions.patch", clear);
    let shown = row(&mut world, client, "sea");
    for name in nothing {
        assert_eq!(shown.get(name), None, "{name}");
    }
}

#[test]
fn choices_that_make_no_sense_are_refused() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for (patch, text) in [
        (json!({"traceLevel": "loud"}), "invalid traceLevel (use \"off\"|\"on\"|\"raw\")"),
        (json!({"ttlMinutes": 5}), "ttlMinutes belongs to statusNote or attention; give one of them"),
        (json!({"ttlMinutes": 121}), "invalid sessions.patch params: at /ttlMinutes: must be <= 120"),
        (
            json!({"archived": true}),
            "archived requires expectedSessionId: the sessionId of the session as you see it",
        ),
    ] {
        let mut params = patch;
        params["key"] = json!("sea");
        assert_eq!(world.refusal(client, "sessions.patch", params).message, text);
    }
    let old = world.operator(Protocol::V3);
    let refused = world.refusal(old, "sessions.patch", json!({"key": "sea", "fastMode": true}));
    assert_eq!(refused.message, "invalid sessions.patch params: at root: unexpected property 'fastMode'");
}

#[test]
fn a_note_is_in_force_for_a_while() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let patch = json!({"key": "sea", "statusNote": "waiting", "attention": "hand", "ttlMinutes": 2});
    world.ask(client, "sessions.patch", patch);
    let shown = row(&mut world, client, "sea");
    assert_eq!((&shown["statusNote"], &shown["attention"]), (&json!("waiting"), &json!("hand")));
    world.advance(119_000);
    assert_eq!(row(&mut world, client, "sea")["statusNote"], "waiting");
    world.advance(1_000);
    let shown = row(&mut world, client, "sea");
    assert_eq!((shown.get("statusNote"), shown.get("attention")), (None, None));
    world.ask(client, "sessions.patch", json!({"key": "sea", "statusNote": "again", "attention": "flag"}));
    world.ask(client, "sessions.patch", json!({"key": "sea", "statusNote": null}));
    assert_eq!(
        row(&mut world, client, "sea").get("attention"),
        None,
        "a sign does not stay without its note"
    );
}

#[test]
fn a_change_can_ask_for_the_session_to_be_as_it_was() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let entry =
        world.ask(client, "sessions.patch", json!({"key": "sea", "permissionMode": "guarded"}))["entry"]
            .clone();
    let id = entry["sessionId"].clone();
    let revision = row(&mut world, client, "sea")["lifecycleRevision"].clone();
    let mut refused = |expected: Value, why: &str| {
        let mut params = expected;
        params["key"] = json!("sea");
        params["label"] = json!("never");
        let error = world.refusal(client, "sessions.patch", params);
        assert_eq!(reason(&error), why, "{error:?}");
    };
    refused(json!({"expectedSessionId": "other"}), "session-changed");
    refused(json!({"expectedLifecycleRevision": "other"}), "session-changed");
    refused(json!({"expectedMarkedUnreadAt": 5}), "session-changed");
    refused(json!({"expectedPermissionMode": null}), "session-settings-changed");
    refused(json!({"expectedPermissionMode": "full"}), "session-settings-changed");
    refused(json!({"expectedToolOverrides": {"webSearch": true}}), "session-settings-changed");
    let params = json!({
        "key": "sea", "archived": true, "expectedSessionId": id, "expectedLifecycleRevision": revision,
        "expectedPermissionMode": "guarded", "expectedToolOverrides": null, "expectedMarkedUnreadAt": null,
    });
    world.ask(client, "sessions.patch", params);
    let archived = row(&mut world, client, "sea");
    assert_ne!(archived["lifecycleRevision"], revision, "the archive is another part of its life");
    for method in ["sessions.delete", "sessions.reset"] {
        let error = world.refusal(client, method, json!({"key": "sea", "expectedSessionId": "other"}));
        assert_eq!(reason(&error), "session-changed", "{method}");
    }
    let error = world.refusal(
        client,
        "sessions.delete",
        json!({"key": "sea", "expectedLifecycleRevision": revision}),
    );
    assert_eq!(reason(&error), "session-changed");
    let error =
        world.refusal(client, "sessions.delete", json!({"key": "sea", "expectedSessionUpdatedAt": 1}));
    assert_eq!(reason(&error), "session-changed");
}

#[test]
fn writers_remove_what_is_archived_and_nothing_else() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    let writer = world.client(Protocol::V4, World::read_write(), None);
    let made = world.ask(client, "sessions.create", json!({"key": "sea"}));
    let refused = world.refusal(writer, "sessions.delete", json!({"key": "sea"}));
    assert_eq!(refused.message, "missing scope: operator.admin");
    let refused = world.refusal(writer, "sessions.delete", json!({"key": "sea", "archivedOnly": true}));
    assert_eq!(refused.message, "session agent:main:sea is not archived; archive it first");
    let archive = json!({"key": "sea", "archived": true, "expectedSessionId": made["sessionId"]});
    world.ask(writer, "sessions.patch", archive);
    let gone = world.ask(writer, "sessions.delete", json!({"key": "sea", "archivedOnly": true}));
    assert_eq!(gone["deleted"], true);
    let full = world.refusal(writer, "sessions.patch", json!({"key": "sky", "permissionMode": "full"}));
    assert_eq!(full.message, "missing scope: operator.admin");
    world.ask(writer, "sessions.patch", json!({"key": "sky", "permissionMode": "guarded", "fastMode": true}));
}

/// Check 19.
#[test]
fn many_sessions_are_changed_alike_each_by_itself() {
    let mut world = World::new();
    let client = world.operator(Protocol::V4);
    for key in ["a", "b", "c"] {
        world.ask(client, "sessions.create", json!({"key": key}));
    }
    let targets =
        json!([{"key": "a"}, {"key": "b", "expectedSessionId": "other"}, {"key": "c", "agentId": "main"}]);
    let params = json!({"targets": targets, "patch": {"label": "same", "pinned": true}});
    let outcomes = world.ask(client, "sessions.patchMany", params)["outcomes"].clone();
    assert_eq!(outcomes[0], json!({"ok": true, "key": "agent:main:a", "agentId": "main"}));
    assert_eq!(outcomes[1]["error"]["details"]["reason"], "session-changed");
    assert_eq!(outcomes[2]["error"]["message"], "label already in use: same");
    assert_eq!(row(&mut world, client, "a")["pinned"], true);
    assert_eq!(row(&mut world, client, "c")["pinned"], false, "all fields or none");
    let none = world.refusal(client, "sessions.patchMany", json!({"targets": [], "patch": {}}));
    assert_eq!(
        none.message,
        "invalid sessions.patchMany params: at /targets: must NOT have fewer than 1 items"
    );
    let writer = world.client(Protocol::V4, World::read_write(), None);
    let heavy = json!({"targets": [{"key": "a"}], "patch": {"sendPolicy": "deny"}});
    assert_eq!(world.refusal(writer, "sessions.patchMany", heavy).message, "missing scope: operator.admin");
}

/// Check 21.
#[test]
fn reset_archive_and_delete_end_what_runs_first_and_the_main_session_stays() {
    let mut world = World::with_model();
    let client = world.operator(Protocol::V4);
    let id = world.ask(client, "sessions.create", json!({"key": "sea"}))["sessionId"].clone();
    let send = |run: &str| json!({"sessionKey": "sea", "message": "x", "idempotencyKey": run});
    world.ask(client, "chat.send", send("1"));
    world.ask(client, "sessions.patch", json!({"key": "sea", "archived": true, "expectedSessionId": id}));
    world.ask(client, "chat.send", send("2"));
    world.ask(client, "sessions.reset", json!({"key": "sea", "reason": "reset"}));
    world.ask(client, "chat.send", send("3"));
    world.ask(client, "sessions.delete", json!({"key": "sea"}));
    for run in ["1", "2", "3"] {
        assert_eq!(world.terminal(run, Protocol::V4).unwrap()["state"], "aborted", "{run}");
    }
    assert_eq!(world.ask(client, "sessions.describe", json!({"key": "sea"})), json!({"session": null}));
    let main = world.refusal(client, "sessions.delete", json!({"key": "main"}));
    assert_eq!(main.message, "Cannot delete the main session (agent:main:main).");
    let last = world.events(EventName::SessionsChanged, Protocol::V4).pop().unwrap();
    assert_eq!((&last["reason"], last["sessionId"].is_string()), (&json!("delete"), true));
}
