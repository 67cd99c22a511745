//! The load generator against the server that does no work.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use telson_benches::measure;
use telson_benches::server::Canned;
use telson_benches::target::Target;

#[test]
fn every_figure_can_be_taken() {
    let canned = Canned {
        challenge: r#"{"type":"event","event":"connect.challenge","payload":{}}"#.to_owned(),
        hello: r#"{"type":"res","id":"c","ok":true,"payload":{}}"#.to_owned(),
        answer: r#"{"type":"res","id":"h","ok":true,"payload":{}}"#.to_owned(),
        event: r#"{"type":"event","event":"talk.mode","payload":{},"seq":1}"#.to_owned(),
    };
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("canned.json");
    std::fs::write(&file, serde_json::to_vec(&canned).unwrap()).unwrap();
    let program = env!("CARGO_BIN_EXE_raw-epoll").into();
    let target = Target { name: "raw-epoll".to_owned(), program, canned: Some(file) };

    let time = Duration::from_millis(50);
    let (listening, hello) = measure::start_up(&target).unwrap();
    assert!(listening > 0.0 && hello >= listening);
    let (rest, _) = measure::memory(&target, 20).unwrap();
    assert!(rest > 0.0);
    let server = measure::start(&target).unwrap();
    assert!(measure::handshakes(&server, 4, time).unwrap().value > 0.0);
    assert!(measure::requests(&server, 2, 8, time).unwrap().rate.value > 0.0);
    let delivered = measure::deliveries(&server, 20, None, time).unwrap();
    assert!(delivered.rate.value > 0.0 && delivered.p99 >= delivered.median);
    let paced = measure::deliveries(&server, 20, Some(100), time).unwrap();
    assert!(paced.rate.value > 0.0);
}
