use std::net::IpAddr;
use std::time::Duration;

use telson_proto::Scopes;

use super::*;
use crate::auth::{AuthMethod, Credential, Declared};
use crate::ids::DeviceId;
use crate::settings::{AuthMode, Settings};

fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: seconds * 1_000 }
}

fn presence() -> Presence {
    Presence::new(&Settings::plain(AuthMode::None).facts, at(0))
}

fn client(protocol: Protocol, mode: &str, device: Option<&str>) -> Principal {
    Principal {
        role: Role::Operator,
        scopes: Scopes::none(),
        method: AuthMethod::Token,
        credential: Credential::Shared { epoch: 0 },
        user: None,
        device: device.map(DeviceId::new),
        protocol,
        addr: IpAddr::from([127, 0, 0, 1]),
        local: true,
        declared: Declared::new(Client { id: "desk".into(), mode: mode.into(), ..Client::default() }),
    }
}

#[test]
fn an_entry_comes_with_the_connection_and_says_when_it_is_gone() {
    let mut presence = presence();
    presence.connected(at(1), ConnId(1), &client(Protocol::V3, "ui", None));
    assert_eq!(presence.version(), 2);
    assert!(presence.announcement(at(1)).is_some_and(|json| json.as_str().contains("\"desk\"")));
    assert!(presence.announcement(at(1)).is_none(), "nothing changed since");
    presence.gone(at(2), ConnId(1));
    let list = presence.list(at(2));
    let desk = list.iter().find(|entry| entry.host.as_deref() == Some("desk"));
    assert_eq!(desk.and_then(|entry| entry.reason.as_deref()), Some("disconnect"));
}

#[test]
fn fleeting_clients_leave_no_trace() {
    let mut presence = presence();
    presence.connected(at(1), ConnId(1), &client(Protocol::V3, "cli", None));
    presence.connected(at(1), ConnId(2), &client(Protocol::V4, "probe", None));
    presence.connected(at(1), ConnId(3), &client(Protocol::V4, "backend", None));
    assert_eq!((presence.list(at(1)).len(), presence.version()), (1, 1));
}

#[test]
fn a_live_connection_never_ages_and_a_dead_entry_is_forgotten() {
    let mut presence = presence();
    presence.connected(at(1), ConnId(1), &client(Protocol::V3, "ui", Some("a")));
    presence.connected(at(1), ConnId(2), &client(Protocol::V3, "ui", Some("b")));
    presence.gone(at(2), ConnId(2));
    assert_eq!(presence.list(at(302)).len(), 3);
    assert_eq!(presence.list(at(303)).len(), 2, "only the dead one is forgotten");
}

#[test]
fn the_old_connection_of_a_device_does_not_end_the_new_ones_entry() {
    let mut presence = presence();
    presence.connected(at(1), ConnId(1), &client(Protocol::V3, "ui", Some("a")));
    presence.connected(at(2), ConnId(2), &client(Protocol::V3, "ui", Some("a")));
    presence.gone(at(3), ConnId(1));
    assert!(presence.list(at(3)).iter().any(|entry| entry.reason.as_deref() == Some("connect")));
}

#[test]
fn beacons_merge_and_the_list_is_bounded() {
    let mut presence = presence();
    for n in 0..250_u64 {
        let entry = PresenceEntry { text: format!("Node: n{n}"), ts: n, ..PresenceEntry::default() };
        presence.beacon(&format!("N{n}"), entry);
    }
    assert_eq!(presence.list(at(0)).len(), 201);
    let again = PresenceEntry { roles: Some(vec!["node".into()]), ..PresenceEntry::default() };
    let before = presence.beacon("n249", again);
    assert_eq!(before.map(|entry| entry.ts), Some(249));
}
