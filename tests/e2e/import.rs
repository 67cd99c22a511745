//! `import`: the conversations of an older gateway (check 27 of spec 02).

use serde_json::json;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::gateway::Home;

on_both_binaries!(an_older_store_is_there_afterwards, nothing_to_import_is_an_error);

fn an_older_store_is_there_afterwards(binary: Binary) {
    let home = Home::new(binary);
    let folder = home.path("old/agents/main/sessions");
    std::fs::create_dir_all(&folder).expect("a folder");
    let entry = json!({
        "sessionId": "0d0c", "updatedAt": 1_769_767_201_000_u64, "label": "Tides", "inputTokens": 12, "outputTokens": 4,
        "totalTokens": 12, "model": "claude-opus-4-5", "modelProvider": "anthropic",
    });
    let store = json!({"agent:main:main": entry});
    std::fs::write(folder.join("sessions.json"), store.to_string()).expect("a store");
    let lines = [
        json!({"type": "session", "version": 3, "id": "0d0c", "timestamp": "2026-01-30T10:00:00.000Z", "cwd": "/"}),
        json!({"type": "message", "id": "1a2b3c4d", "parentId": null, "timestamp": "2026-01-30T10:00:01.000Z",
            "message": {"role": "user", "content": [{"type": "text", "text": "hi"}], "timestamp": 1_769_767_201_000_u64}}),
        json!({"type": "message", "id": "5e6f7a8b", "parentId": "1a2b3c4d", "timestamp": "2026-01-30T10:00:03.000Z",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello."}], "stopReason": "stop",
                "timestamp": 1_769_767_203_000_u64}}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("0d0c.jsonl"), text).expect("a transcript");

    let from = home.path("old").display().to_string();
    let done = home.run(&["import", "--from", &from, "--json"]).success().json();
    assert_eq!((&done["sessions"], &done["messages"]), (&json!(1), &json!(2)), "{done:#}");
    let again = home.run(&["import", "--from", &from, "--json"]).success().json();
    assert_eq!((&again["sessions"], &again["alreadyThere"]), (&json!(0), &json!(1)), "{again:#}");

    let gateway = home.start();
    let mut client = gateway.operator(Dialect::V3);
    let list = client.ask("sessions.list", &json!({"includeDerivedTitles": true}));
    let row = &list["sessions"][0];
    assert_eq!((&row["key"], &row["label"]), (&json!("agent:main:main"), &json!("Tides")), "{list:#}");
    assert_eq!((&row["inputTokens"], &row["totalTokens"]), (&json!(12), &json!(12)), "{list:#}");
    let history = client.ask("chat.history", &json!({"sessionKey": "main"}));
    let texts: Vec<&str> = history["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|message| message["content"][0]["text"].as_str())
        .collect();
    assert_eq!(texts, ["hi", "Hello."]);
    let refused = gateway.run(&["import", "--from", &from]).failure(78);
    assert!(refused.stderr.contains("already running"), "{refused:#?}");
}

fn nothing_to_import_is_an_error(binary: Binary) {
    let home = Home::new(binary);
    std::fs::create_dir_all(home.path("empty")).expect("a folder");
    let from = home.path("empty").display().to_string();
    let refused = home.run(&["import", "--from", &from]);
    assert!(refused.stderr.contains("no sessions.json"), "{refused:#?}");
}
