#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::mpsc::channel;
use std::time::Duration;

use telson_core::config::Mdns;

use super::announce::supervise;
use super::*;

fn facts() -> AdvertFacts {
    AdvertFacts {
        display_name: "Living Room".to_owned(),
        host: None,
        port: 18_789,
        addresses: Vec::new(),
        direct: true,
        tls: Some("0f".repeat(32)),
        tailnet_dns: Some("box.tail1234.ts.net".to_owned()),
        ssh_port: 2_222,
        cli_path: Some("/usr/bin/telson".to_owned()),
    }
}

fn golden(mode: Mdns) -> String {
    let advert = Advert::of(&facts(), mode).unwrap();
    let texts = advert.txt.iter().map(|(key, value)| format!("{key}={value}"));
    let head = format!("{} {}:{}", advert.instance, advert.host, advert.port);
    std::iter::once(head).chain(texts).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_minimal_announcement_tells_what_a_client_needs_and_nothing_of_the_host() {
    assert_eq!(
        golden(Mdns::Minimal),
        "Living Room (OpenClaw) openclaw.local.:18789\n\
         role=gateway\n\
         gatewayPort=18789\n\
         lanHost=openclaw.local\n\
         displayName=Living Room\n\
         transport=gateway\n\
         gatewayTls=1\n\
         gatewayTlsSha256=0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\n\
         gatewayDirectReachable=1"
    );
}

#[test]
fn the_full_announcement_tells_the_rest() {
    let minimal = golden(Mdns::Minimal);
    let more = "\ntailnetDns=box.tail1234.ts.net\nsshPort=2222\ncliPath=/usr/bin/telson";
    assert_eq!(golden(Mdns::Full), format!("{minimal}{more}"));
    assert_eq!(Advert::of(&facts(), Mdns::Off), None);
}

#[test]
fn names_fit_into_a_packet() {
    let advert = |name: &str, host: &str| {
        let facts = AdvertFacts { display_name: name.to_owned(), host: Some(host.to_owned()), ..facts() };
        Advert::of(&facts, Mdns::Full).unwrap()
    };
    assert_eq!(advert("My OpenClaw box", "pi.lan").instance, "My OpenClaw box");
    assert_eq!(advert("x", "pi.lan").host, "pi.local.");
    assert_eq!(advert("x", "--{}..").host, "--.local.");
    let long = advert(&"é".repeat(200), &"h".repeat(200));
    assert!(long.instance.len() <= 63 && long.host.len() <= 63 + ".local.".len());
    assert!(long.txt.iter().all(|(key, value)| key.len() + value.len() < 255));
}

fn beacon(addresses: &[&str], texts: &[(&str, &str)]) -> Option<Beacon> {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap());
    let texts: BTreeMap<String, String> =
        texts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Beacon::of(&format!("Box.{SERVICE}"), SERVICE, addresses, 18_789, &texts)
}

#[test]
fn only_the_resolved_endpoint_says_where_to_connect() {
    let lies = [
        ("gatewayPort", "1"),
        ("lanHost", "evil.local"),
        ("tailnetDns", "evil.ts.net"),
        ("gatewayTls", "1"),
        ("gatewayTlsSha256", "00"),
    ];
    let found = beacon(&["fe80::1", "192.168.1.4", "127.0.0.1"], &lies).unwrap();
    assert_eq!((found.host.as_str(), found.port), ("192.168.1.4", 18_789));
    assert_eq!(found.ws_url, "wss://192.168.1.4:18789");
    assert_eq!(found.instance_name, "Box");
    assert_eq!(beacon(&["fd00::7"], &[]).unwrap().ws_url, "ws://[fd00::7]:18789");
    assert_eq!(beacon(&[], &lies), None);
    assert_eq!(beacon(&["0.0.0.0", "224.0.0.251"], &lies), None);
}

#[test]
fn hostile_names_are_inert() {
    let nasty = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\r\n";
    let found =
        beacon(&["10.0.0.1"], &[("displayName", nasty), ("cliPath", nasty), ("sshPort", nasty)]).unwrap();
    for text in [&found.display_name, found.cli_path.as_ref().unwrap()] {
        assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
    assert_eq!(found.ssh_port, None);
    let long = beacon(&["10.0.0.1"], &[("displayName", &"x".repeat(100_000))]).unwrap();
    assert_eq!(long.display_name.len(), 200);
}

#[test]
fn a_responder_that_panics_or_fails_is_started_again_and_harms_nobody() {
    let (stop, stopped) = channel::<()>();
    let mut turns = 0;
    supervise(&stopped, (Duration::ZERO, Duration::ZERO), || {
        turns += 1;
        match turns {
            1 => panic!("a packet from next door"),
            2 => Err("no network".to_owned()),
            _ => Ok(()),
        }
    });
    assert_eq!(turns, 3);
    drop(stop);
    let mut turns = 0;
    supervise(&stopped, (Duration::from_secs(3_600), Duration::from_secs(3_600)), || {
        turns += 1;
        Err("no network".to_owned())
    });
    assert_eq!(turns, 1, "who is stopped does not try again");
}

/// A port of multicast DNS that nobody else uses.
fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// Packets that are none: noise, heads with counts that nothing follows, names that point at themselves.
fn garbage() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_u32;
    let mut noise = |length: usize| -> Vec<u8> {
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            u8::try_from(state >> 24).unwrap()
        };
        (0..length).map(step).collect()
    };
    let mut packets: Vec<Vec<u8>> = (0..200).map(|n| noise(n * 5)).collect();
    for flags in [[0, 0], [0x84, 0]] {
        let head = [[0, 0], flags, [0xff, 0xff], [0xff, 0xff], [0xff, 0xff], [0xff, 0xff]].concat();
        let loop_name = [head.as_slice(), &[0xc0, 12, 0, 12, 0, 1]].concat();
        let long_label = [head.as_slice(), &[63, b'a']].concat();
        packets.extend([head.clone(), loop_name, long_label]);
        packets.extend((0..100).map(|n| [head.as_slice(), &noise(n * 3)].concat()));
    }
    packets
}

#[test]
fn what_is_announced_is_found_also_amid_garbage() {
    let port = free_port();
    let Some(address) = multicast() else {
        eprintln!("this machine has no interface for multicast; the packets cannot be tried here");
        return;
    };
    let announced = Announcement::start(port, || Advert::of(&facts(), Mdns::Minimal)).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    for packet in garbage() {
        // A full buffer or a packet that the system refuses is no failure of the responder.
        let _ = socket.send_to(&packet, (address, port));
        let _ = socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port));
    }
    let found = (0..5).map(|_| browse(port, Duration::from_secs(3)).unwrap()).find(|found| !found.is_empty());
    let found = found.expect("the announcement is found");
    assert_eq!(found[0].instance_name, "Living Room (OpenClaw)");
    assert_eq!((found[0].port, found[0].gateway_tls), (18_789, true));
    assert!(found[0].ws_url.starts_with("wss://"), "{}", found[0].ws_url);
    announced.stop();
}

/// An own address by which multicast packets come back, if the machine has one.
fn multicast() -> Option<IpAddr> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED).ok()?;
    socket.set_multicast_loop_v4(true).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let port = socket.local_addr().ok()?.port();
    socket.send_to(b"hello", (GROUP, port)).ok()?;
    let (_, from) = socket.recv_from(&mut [0; 16]).ok()?;
    Some(from.ip())
}
