#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use telson_proto::{Protocol, Role, Scope, Scopes};

use super::pairing::{Claim, Grant, approved, decide};
use super::rules::{Denied, Manager};
use super::*;
use crate::auth::{AuthMethod, Client, Credential, Declared, Principal};

fn caller(scopes: Scopes, method: AuthMethod, device: &str, protocol: Protocol) -> Principal {
    Principal {
        role: Role::Operator,
        scopes,
        method,
        credential: Credential::Nothing,
        user: None,
        device: Some(DeviceId::new(device)),
        protocol,
        addr: std::net::IpAddr::from([10, 0, 0, 1]),
        local: false,
        declared: Declared::new(Client::default()),
    }
}

fn any_roles() -> impl Strategy<Value = BTreeSet<Role>> {
    proptest::collection::btree_set(prop_oneof![Just(Role::Operator), Just(Role::Node)], 0..3)
}

fn any_method() -> impl Strategy<Value = AuthMethod> {
    prop_oneof![
        Just(AuthMethod::Token),
        Just(AuthMethod::DeviceToken),
        Just(AuthMethod::BootstrapToken),
        Just(AuthMethod::ServiceToken),
    ]
}

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

    /// S-42: what a new token allows is within what the caller holds and within what its device is approved for.
    #[test]
    fn a_rotation_never_exceeds_caller_or_approval(
        held in any_scopes(),
        approved in any_scopes(),
        token in any_scopes(),
        wanted in proptest::option::of(any_scopes()),
        protocol in any_protocol(),
        method in any_method(),
    ) {
        let who = caller(held.clone(), method, "d", protocol);
        let given = Manager::of(&who).rotated(&approved, &token, wanted.as_ref());
        if let Ok(given) = &given {
            prop_assert!(held.covers(given, protocol));
            prop_assert!(approved.covers(given, protocol));
            if let Some(wanted) = &wanted {
                prop_assert_eq!(given, wanted);
            }
        }
        let fits = wanted.as_ref().is_none_or(|wanted| approved.covers(wanted, protocol));
        let asked = wanted.unwrap_or_else(|| token.within(&approved, protocol));
        prop_assert_eq!(given.is_ok(), fits && held.covers(&asked, protocol));
    }

    /// S-44, S-48: an approval gives nothing that the approver does not hold, no other role without an admin, and
    /// no other device than its own to who came with a device's token.
    #[test]
    fn nobody_approves_more_than_they_hold(
        held in any_scopes(),
        wanted in any_scopes(),
        roles in any_roles(),
        protocol in any_protocol(),
        method in any_method(),
        own in any::<bool>(),
    ) {
        let who = caller(held.clone(), method, "d", protocol);
        let admin = held.grants(Scope::Admin, protocol);
        let by_device = matches!(method, AuthMethod::DeviceToken | AuthMethod::BootstrapToken);
        let device = DeviceId::new(if own { "d" } else { "another" });
        let grant = Grant { roles: roles.clone(), scopes: wanted.clone() };
        let may = Manager::of(&who).grant(&device, &grant);
        let sees = admin || own || !by_device;
        let fits = admin || !roles.contains(&Role::Node);
        prop_assert_eq!(may.is_ok(), sees && fits && held.covers(&wanted, protocol));
        prop_assert_eq!(may == Err(Denied::NotOwn), !sees);
        prop_assert_eq!(Manager::of(&who).touch(&device).is_ok(), sees);
    }

    /// S-45: a code gives its profile and nothing else, to its first device, once.
    #[test]
    fn a_code_gives_its_profile_once(
        profile in 0_usize..setup::Profile::WORDS.len(),
        wanted in any_scopes(),
        role in prop_oneof![Just(Role::Operator), Just(Role::Node)],
        late in 0_u64..700_000,
    ) {
        let (_, profile) = setup::Profile::WORDS[profile];
        let at = |ms: u64| Now { mono: Duration::from_millis(ms), wall: 1_000 + ms };
        let mut codes = Setups::default();
        codes.issue(at(0), "id", "token", profile, Duration::from_secs(9_000));
        let (first, second) = (DeviceId::new("first"), DeviceId::new("second"));
        let shown = codes.check(at(late), "token", &first, role, &wanted);
        let grant = profile.grant();
        let within = role == Role::Node || grant.scopes.union(&wanted) == grant.scopes;
        prop_assert_eq!(shown.is_some(), late < 600_000 && grant.roles.contains(&role) && within);
        prop_assert_eq!(codes.check(at(late), "tokem", &first, role, &wanted), None);
        if shown.is_some() {
            codes.redeem(at(late), "id", &first, None);
            for device in [&first, &second] {
                prop_assert_eq!(codes.check(at(late), "token", device, role, &wanted), None);
            }
        }
    }
}
