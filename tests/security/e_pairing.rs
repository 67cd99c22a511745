//! Part E: pairing and device tokens (S-48 to S-52).

use serde_json::{Value, json};
use telson_tests::support::client::Dialect;
use telson_tests::support::device::{Claim, Device};

use super::rig::{Ask, Rig, TOKEN, Who, files_with, powers};

#[test]
fn s_48_a_device_sees_itself_only_unless_it_is_an_admin() {
    let rig = Rig::new();
    let (mine, other) = (Device::new(1), Device::new(2));
    rig.enter(&Ask::device(Dialect::V4, &other, &["operator.read"])).leave();
    let token =
        rig.enter(&Ask::device(Dialect::V4, &mine, &["operator.pairing"])).hello["auth"]["deviceToken"]
            .as_str()
            .expect("a token")
            .to_owned();
    let ask = Ask {
        token: None,
        device_token: Some(&token),
        ..Ask::device(Dialect::V4, &mine, &["operator.pairing"])
    };
    let listed = rig.enter(&ask).ask("device.pair.list", &json!({})).to_string();
    assert!(listed.contains(&mine.id()), "{listed}");
    assert!(!listed.contains(&other.id()), "{listed}");
}

#[test]
fn s_51_tokens_are_kept_as_hashes_and_a_wrong_one_is_told_in_one_sentence() {
    let rig = Rig::new();
    let home = rig.home();
    let mut tokens = Vec::new();
    for dialect in Dialect::ALL {
        for who in Who::INSIDE {
            let client = who.enter(&rig, dialect);
            if let Some(token) = client.hello["auth"]["deviceToken"].as_str() {
                tokens.push(token.to_owned());
            }
        }
    }
    assert!(tokens.len() > 10, "devices get tokens");
    let mut admin = rig.enter(&Ask::shared(Dialect::V3));
    let listed = admin.ask("device.pair.list", &json!({})).to_string();
    for token in &tokens {
        assert!(!listed.contains(token.as_str()), "the list shows a token");
    }
    // Whatever is wrong with a device token, the answer is the same.
    let (known, stranger) = (Who::Device("operator.read").key(Dialect::V4), Device::new(200));
    let mut answers = std::collections::BTreeSet::new();
    for (device, token) in [(&known, "made-up"), (&stranger, "made-up"), (&stranger, tokens[0].as_str())] {
        let ask = Ask {
            token: None,
            device_token: Some(token),
            ..Ask::device(Dialect::V4, device, &["operator.read"])
        };
        let refused = rig.try_enter(&ask).err().expect("it is wrong");
        answers.insert((refused.message().to_owned(), refused.detail().to_owned()));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    rig.finish();
    for token in &tokens {
        let found = files_with(&home.state(), token);
        assert!(found.is_empty(), "a device's token is written down in {found:?}");
    }
}

#[test]
fn s_52_a_signature_is_good_once_on_its_connection_and_for_what_it_signed() {
    let rig = Rig::new();
    let device = Device::new(1);
    rig.enter(&Ask::device(Dialect::V4, &device, &["operator.read"])).leave();
    let claim = Claim {
        client_id: "cli",
        client_mode: "cli",
        role: "operator",
        scopes: &["operator.read"],
        token: TOKEN,
        platform: "linux",
    };
    let proof_of = |challenge: &Value| device.proof(&claim, challenge);
    let first = Ask::shared(Dialect::V4).open(rig.address()).expect("a connection");
    let proof = proof_of(&first.challenge);
    let params = |proof: &Value, changes: &Value| {
        let mut params = json!({
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
            "role": "operator", "scopes": ["operator.read"], "auth": {"token": TOKEN}, "caps": [],
            "minProtocol": 4, "maxProtocol": 4, "device": proof,
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        params
    };
    // On another connection.
    let mut second = Ask::shared(Dialect::V4).open(rig.address()).expect("a connection");
    second.request_as("hello", "connect", &params(&proof, &json!({})));
    second.response("hello").expect_err("it was signed for another connection");
    // For something else.
    for changes in [
        json!({"scopes": ["operator.admin"]}),
        json!({"scopes": ["operator.read", "operator.write"]}),
        json!({"role": "node"}),
        json!({"auth": {"token": "another-token-of-some-length"}}),
        json!({"client": {"id": "test", "version": "1", "platform": "linux", "mode": "cli"}}),
        json!({"client": {"id": "cli", "version": "1", "platform": "darwin", "mode": "cli"}}),
    ] {
        let mut client = Ask::shared(Dialect::V4).open(rig.address()).expect("a connection");
        let proof = proof_of(&client.challenge);
        client.request_as("hello", "connect", &params(&proof, &changes));
        client.response("hello").expect_err(&changes.to_string());
    }
    // With another key, id, time or nonce.
    for (name, value) in [
        ("id", json!(Device::new(2).id())),
        ("id", json!("ff")),
        ("publicKey", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("publicKey", json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("signature", json!("A".repeat(86))),
        ("signedAt", json!(1)),
        ("signedAt", json!(u64::MAX)),
        ("nonce", json!("")),
        ("nonce", json!("00000000-0000-0000-0000-000000000000")),
    ] {
        let mut client = Ask::shared(Dialect::V4).open(rig.address()).expect("a connection");
        let mut proof = proof_of(&client.challenge);
        proof[name] = value.clone();
        client.request_as("hello", "connect", &params(&proof, &json!({})));
        client.response("hello").expect_err(&format!("{name}: {value}"));
    }
    // As it is, it opens.
    let mut client = Ask::shared(Dialect::V4).open(rig.address()).expect("a connection");
    let proof = proof_of(&client.challenge);
    client.request_as("hello", "connect", &params(&proof, &json!({})));
    client.response("hello").expect("it is right");
    assert_eq!(powers(&mut client), ["read"].into());
}
