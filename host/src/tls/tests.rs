#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn files(dir: &Path) -> TlsFiles {
    TlsFiles {
        cert: dir.join("tls/gateway-cert.pem"),
        key: dir.join("tls/gateway-key.pem"),
        ca: None,
        generate: true,
        host: "box".to_owned(),
        names: Vec::new(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn text(error: &TlsError) -> String {
    error.to_string()
}

#[test]
fn a_missing_pair_is_made_for_this_user_only_and_stays() {
    let temp = tempfile::tempdir().unwrap();
    let files = files(temp.path());
    let live = Live::open(files.clone()).unwrap();
    assert_eq!((mode(&files.cert), mode(&files.key)), (0o600, 0o600));
    assert_eq!(mode(files.cert.parent().unwrap()), 0o700);
    assert_eq!(Live::open(files.clone()).unwrap().leaf(), live.leaf(), "a restart keeps it");
    assert_eq!(read_leaf(&files.cert).unwrap(), Some(live.leaf()));
    let pair = Pair::read(&files.cert, &files.key, None).unwrap();
    assert!(pair.own);
    let left = pair.ends.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > DAY * 823 && left < DAY * 826, "{left:?}");
    let key = fs::read_to_string(&files.key).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8, which every tool reads");
}

#[test]
fn a_renewal_keeps_the_key_and_with_it_the_pin() {
    let temp = tempfile::tempdir().unwrap();
    let files = files(temp.path());
    let live = Live::open(files.clone()).unwrap();
    let (before, key) = (live.leaf(), fs::read(&files.key).unwrap());
    let pair = Pair::read(&files.cert, &files.key, None).unwrap();
    assert!(!pair.is_due(SystemTime::now()));
    assert!(pair.is_due(SystemTime::now() + DAY * 800), "a month before its end");
    Pair::renew(&files.cert, &files.key, &names("box", &[])).unwrap();
    let after = live.look().unwrap().unwrap();
    assert_ne!(after.certificate, before.certificate);
    assert_eq!((after.key, fs::read(&files.key).unwrap()), (before.key, key));
    assert!(after.is(before.key) && !after.is(before.certificate));
    assert_eq!((mode(&files.cert), mode(&files.key)), (0o600, 0o600));
}

#[test]
fn what_the_operator_put_there_is_never_renewed() {
    let temp = tempfile::tempdir().unwrap();
    let files = files(temp.path());
    drop(Live::open(files.clone()).unwrap());
    let made = fs::read_to_string(&files.cert).unwrap();
    fs::write(&files.cert, made.split_once('\n').unwrap().1).unwrap();
    let pair = Pair::read(&files.cert, &files.key, None).unwrap();
    assert!(!pair.own && !pair.is_due(SystemTime::now() + DAY * 10_000));
}

#[test]
fn half_a_pair_is_fatal_and_names_the_other_half() {
    for (gone, what) in [
        ("tls/gateway-key.pem", "gateway-key.pem is not"),
        ("tls/gateway-cert.pem", "gateway-cert.pem is not"),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        drop(Live::open(files.clone()).unwrap());
        fs::remove_file(temp.path().join(gone)).unwrap();
        let error = text(&Live::open(files.clone()).unwrap_err());
        assert!(error.starts_with("gateway tls: cert/key missing") && error.contains(what), "{error}");
        assert!(!temp.path().join(gone).exists(), "nothing is made beside the other half");
    }
}

#[test]
fn without_leave_nothing_is_made() {
    let temp = tempfile::tempdir().unwrap();
    let files = TlsFiles { generate: false, ..files(temp.path()) };
    let error = text(&Live::open(files.clone()).unwrap_err());
    assert!(error.starts_with("gateway tls: cert/key missing") && error.contains("autoGenerate"), "{error}");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    assert_eq!(read_leaf(&files.cert).unwrap(), None);
}

#[test]
fn a_pair_that_cannot_be_used_says_why_without_its_content() {
    let temp = tempfile::tempdir().unwrap();
    let good = files(temp.path());
    drop(Live::open(good.clone()).unwrap());
    let other = files(&temp.path().join("other"));
    drop(Live::open(other.clone()).unwrap());
    let open = |cert: &Path, key: &Path| {
        let files = TlsFiles { cert: cert.to_owned(), key: key.to_owned(), ..good.clone() };
        text(&Live::open(files).unwrap_err())
    };
    let mixed = open(&good.cert, &other.key);
    assert!(mixed.starts_with("gateway tls: failed to enable"), "{mixed}");
    let junk = temp.path().join("junk.pem");
    for content in ["", "canary", "-----BEGIN CERTIFICATE-----\n!canary!\n-----END CERTIFICATE-----\n"] {
        fs::write(&junk, content).unwrap();
        for error in [open(&junk, &good.key), open(&good.cert, &junk)] {
            assert!(error.starts_with("gateway tls: failed to load cert"), "{error}");
            assert!(error.contains("junk.pem") && !error.contains("canary"), "{error}");
        }
    }
    let nothing = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    fs::write(&junk, nothing).unwrap();
    assert!(open(&junk, &good.key).starts_with("gateway tls: unable to compute certificate fingerprint"));
    let swapped = open(&good.key, &good.cert);
    assert!(swapped.starts_with("gateway tls: failed to load cert"), "{swapped}");
}

#[test]
fn a_broken_exchange_is_told_once_and_the_old_pair_stays() {
    let temp = tempfile::tempdir().unwrap();
    let files = files(temp.path());
    let live = Live::open(files.clone()).unwrap();
    let (before, good) = (live.leaf(), fs::read(&files.cert).unwrap());
    assert!(live.look().is_none(), "nothing is new");
    fs::write(&files.cert, "half of a certif").unwrap();
    assert!(live.look().unwrap().is_err());
    assert!(live.look().is_none(), "told once");
    assert_eq!(live.leaf(), before);
    fs::remove_file(&files.cert).unwrap();
    assert!(live.look().unwrap().is_err());
    assert!(!files.cert.exists(), "a running gateway makes no new pair");
    fs::write(&files.cert, good).unwrap();
    assert_eq!(live.look().unwrap().unwrap(), before);
    assert!(live.look().is_none());
}

#[test]
fn another_certificate_of_the_chain_is_sent_behind_the_own() {
    let temp = tempfile::tempdir().unwrap();
    let (own, ca) = (files(temp.path()), files(&temp.path().join("ca")));
    drop((Live::open(own.clone()).unwrap(), Live::open(ca.clone()).unwrap()));
    let pair = Pair::read(&own.cert, &own.key, Some(&ca.cert)).unwrap();
    assert_eq!(pair.chain.len(), 2);
    assert_eq!(Pair::read(&own.cert, &own.key, Some(&own.cert)).unwrap().chain.len(), 1, "not twice");
    assert_eq!(Some(pair.leaf), read_leaf(&own.cert).unwrap());
}

#[test]
fn the_book_of_pins_is_private_and_knows_origins() {
    let temp = tempfile::tempdir().unwrap();
    let state =
        crate::state::StateDir::resolve(Some(temp.path()), &telson_core::config::Environment::default())
            .unwrap();
    let mut book = PinBook::open(&state).unwrap();
    let pin = Pin::of(b"a key");
    let origin = PinBook::origin("wss://BOX:18789/some/path?x=1").unwrap();
    assert_eq!(origin, "wss://box:18789");
    assert_eq!(PinBook::origin("wss://box").unwrap(), "wss://box:443");
    book.put(&state, &origin, pin).unwrap();
    assert_eq!(mode(&state.run().join("pins.json")), 0o600);
    let mut again = PinBook::open(&state).unwrap();
    assert_eq!(again.get(&origin).unwrap(), Some(pin));
    assert_eq!(again.get("wss://box:443").unwrap(), None);
    assert!(again.forget(&state, &origin).unwrap() && !again.forget(&state, &origin).unwrap());
    assert_eq!(PinBook::open(&state).unwrap().iter().count(), 0);
}
