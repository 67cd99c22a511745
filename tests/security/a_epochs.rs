//! Part A: secrets that change while the gateway runs (S-12).

use serde_json::json;
use telson_tests::support::client::Dialect;
use telson_tests::support::device::Device;

use super::h_http::ROUTES;
use super::rig::{Ask, Rig, TOKEN, config};

#[test]
fn s_12_after_a_rotation_the_old_secret_opens_nothing_on_any_surface() {
    const NEXT: &str = "the-next-token-of-the-suite-0123456789";
    let rig = Rig::new();
    let device = Device::new(1);
    let mut inside = Vec::new();
    for dialect in Dialect::ALL {
        inside.push(rig.enter(&Ask::shared(dialect)));
        inside.push(rig.enter(&Ask::device(dialect, &device, &["operator.read"])));
    }
    rig.home().configure(&config(&json!({"gateway": {"auth": {"token": NEXT}}})).to_string());
    for client in &mut inside {
        assert_eq!(client.closed().map(|(code, _)| code), Some(4001), "whoever came with it is out");
    }
    let next = format!("Bearer {NEXT}");
    for (method, path) in ROUTES {
        let old = rig.authorised(method, path, &[], "{}");
        assert_eq!(old.status, 401, "{method} {path}: {old:?}");
        let new = rig.http(method, path, &[("Authorization", &next)], "{}");
        assert_ne!(new.status, 401, "{method} {path}: {new:?}");
    }
    for dialect in Dialect::ALL {
        assert!(rig.try_enter(&Ask::shared(dialect)).is_err(), "{dialect:?}");
        rig.enter(&Ask { token: Some(NEXT), ..Ask::nobody(dialect) });
        // A mistake in the file opens nothing and brings nothing back.
    }
    rig.home().configure("{gateway: {auth: {mode: 'none', ");
    assert!(rig.try_enter(&Ask::nobody(Dialect::V3)).is_err());
    assert!(rig.try_enter(&Ask { token: Some(TOKEN), ..Ask::nobody(Dialect::V3) }).is_err());
    rig.enter(&Ask { token: Some(NEXT), ..Ask::nobody(Dialect::V3) });
}
