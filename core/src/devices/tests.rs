#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use telson_proto::{Protocol, Role, Scope, Scopes};

use super::pairing::{Claim, approved, decide};
use super::*;

fn claim(role: Role, scopes: Scopes, protocol: Protocol) -> Claim {
    Claim {
        device: DeviceId::new("d"),
        public_key: "k".to_owned(),
        role,
        scopes,
        protocol,
        display_name: None,
        platform: Some("linux".to_owned()),
        device_family: None,
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        remote_ip: None,
        origin: None,
        native_app: false,
    }
}

fn any_scopes() -> impl Strategy<Value = Scopes> {
    proptest::collection::vec(0_usize..Scope::ALL.len(), 0..4)
        .prop_map(|list| list.into_iter().map(|at| Scope::ALL[at]).collect())
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::V3), Just(Protocol::V4)]
}

#[test]
fn a_record_of_another_key_is_no_approval_and_its_tokens_end() {
    let first = claim(Role::Operator, Scopes::all(), Protocol::V4);
    let mut record = approved(None, &first, &first.grant(), ApprovedVia::Silent, 1);
    record.add_token(Role::Operator, "old", Scopes::all(), 1);
    let other = Claim { public_key: "other".to_owned(), ..first };
    assert_eq!(decide(Some(&record), &other), Some(PairingReason::NotPaired));
    let record = approved(Some(&record), &other, &other.grant(), ApprovedVia::Silent, 2);
    assert_eq!(record.check(Role::Operator, "old", Protocol::V4), Err(TokenFault::Missing));
}

#[test]
fn tokens_are_good_for_their_role_only() {
    let first = claim(Role::Operator, Scopes::all(), Protocol::V4);
    let mut record = approved(None, &first, &first.grant(), ApprovedVia::Silent, 1);
    record.add_token(Role::Operator, "value", Scopes::all(), 1);
    assert_eq!(record.check(Role::Node, "value", Protocol::V4), Err(TokenFault::RoleMissing));
    assert_eq!(record.check(Role::Operator, "", Protocol::V4), Err(TokenFault::Mismatch));
    assert!(record.check(Role::Operator, "value", Protocol::V4).is_ok());
}

#[test]
fn the_use_of_a_token_is_written_down_once_a_minute() {
    let first = claim(Role::Operator, Scopes::none(), Protocol::V4);
    let mut record = approved(None, &first, &first.grant(), ApprovedVia::Silent, 1);
    record.add_token(Role::Operator, "value", Scopes::none(), 1);
    assert!(record.used(Role::Operator, "value", 1_000));
    assert!(!record.used(Role::Operator, "value", 60_999));
    assert!(record.used(Role::Operator, "value", 61_000));
    assert!(!record.used(Role::Operator, "another", 900_000));
    assert_eq!(record.token_summaries()[0].last_used_at_ms, Some(61_000));
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let mut devices = Devices::default();
    let claim = claim(Role::Operator, Scopes::all(), Protocol::V4);
    let now = Now { mono: std::time::Duration::ZERO, wall: 7 };
    devices.approve(now, &claim, &claim.grant(), ApprovedVia::Silent);
    devices.add_token(now, &claim.device, Role::Operator, "value", Scopes::all());
    let Some(Op::PutDevice(row)) = devices.save(&claim.device) else { panic!("nothing to write") };
    assert!(devices.save(&claim.device).is_some(), "nobody knows yet whether it is written");
    devices.saved(&claim.device, true);
    devices.saved(&claim.device, true);
    assert_eq!(devices.save(&claim.device), None, "once is enough");
    let mut restored = Devices::default();
    restored.restore(vec![row]);
    assert_eq!(restored.paired, devices.paired);
}

proptest! {
    /// What a token allows never exceeds what its device is approved for, however the two came about.
    #[test]
    fn a_token_never_exceeds_its_device(
        baseline in any_scopes(),
        minted in any_scopes(),
        protocol in any_protocol(),
    ) {
        let first = claim(Role::Operator, baseline.clone(), protocol);
        let mut record = approved(None, &first, &first.grant(), ApprovedVia::Silent, 1);
        record.add_token(Role::Operator, "value", minted.clone(), 1);
        let held = record.check(Role::Operator, "value", protocol).unwrap();
        prop_assert!(baseline.covers(&held.scopes, protocol));
        prop_assert!(minted.covers(&held.scopes, protocol));
    }

    /// An approval is enough for what was approved, adds to what was there, and gives nothing else.
    #[test]
    fn an_approval_gives_what_was_asked_for_and_no_more(
        before in any_scopes(),
        wanted in any_scopes(),
        other in any_scopes(),
        protocol in any_protocol(),
    ) {
        let first = {
            let begin = claim(Role::Operator, before.clone(), protocol);
            approved(None, &begin, &begin.grant(), ApprovedVia::Silent, 1)
        };
        let asked = claim(Role::Operator, wanted.clone(), protocol);
        let record = approved(Some(&first), &asked, &asked.grant(), ApprovedVia::Silent, 2);
        prop_assert_eq!(decide(Some(&record), &asked), None);
        let more = claim(Role::Operator, other.clone(), protocol);
        let fits = before.union(&wanted).covers(&other, protocol);
        prop_assert_eq!(decide(Some(&record), &more).is_none(), fits);
        let node = claim(Role::Node, Scopes::none(), protocol);
        prop_assert_eq!(decide(Some(&record), &node), Some(PairingReason::RoleUpgrade));
    }
}
