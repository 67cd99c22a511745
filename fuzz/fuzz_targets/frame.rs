//! Whatever a client that is in says, line by line: no panic, every request answered, nothing left open.
//!
//! The first byte chooses who speaks; every further line is one message.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use telson_core::auth::Secret;
use telson_core::peer::Peer;
use telson_core::settings::AuthMode;
use telson_fuzz::{SECRET, World};
use telson_proto::dialect::{Inbound, decode};

const MOST_FRAMES: usize = 64;

fuzz_target!(|data: &[u8]| {
    let Some((&who, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    for line in text.lines() {
        if let Inbound::Request { id, method, .. } = decode(line) {
            assert!(!id.is_empty() && !method.is_empty());
        }
    }

    let mut world = World::serving(AuthMode::Token(Secret::new(SECRET)));
    let Some(conn) = world.open(Peer::at(IpAddr::from([127, 0, 0, 1]))) else { return };
    // One in eight speaks without having connected.
    if who % 8 != 7 {
        world.say(conn, hello(who));
        assert!(world.hello(conn).is_some(), "the right secret is let in");
    }
    for line in text.lines().take(MOST_FRAMES) {
        world.say(conn, line);
    }
    world.finish();
});

/// The connect frame of one of the kinds of clients.
fn hello(who: u8) -> String {
    let scopes = if who % 8 >= 4 { r#"["operator.read"]"# } else { r#"["operator.admin"]"# };
    let client = r#"{"id":"cli","version":"1","platform":"linux","mode":"cli"}"#;
    match who % 4 {
        0 | 3 => format!(
            r#"{{"type":"connect","params":{{"token":"{SECRET}","client":{{"id":"desk"}},"scopes":{scopes}}}}}"#
        ),
        n => {
            let protocol = n + 2;
            format!(
                r#"{{"type":"req","id":"c","method":"connect","params":{{"minProtocol":{protocol},"maxProtocol":{protocol},"client":{client},"role":"operator","scopes":{scopes},"auth":{{"token":"{SECRET}"}}}}}}"#
            )
        }
    }
}
