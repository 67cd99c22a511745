//! The behaviour depends on nothing that could wait, look at a clock or draw randomness. That no code of it calls
//! the standard library for such a thing is checked by clippy (`core/clippy.toml`, `proto/clippy.toml`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use telson_tests::support::binary::workspace;

/// Crates that wait, or that know a clock, a socket, a file or the system's randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio-util",
    "smol",
    "mio",
    "polling",
    "blocking",
    "futures",
    "futures-executor",
    "futures-lite",
    "hyper",
    "reqwest",
    "tungstenite",
    "rusqlite",
    "rustls",
    "rustix",
    "libc",
    "socket2",
    "signal-hook-registry",
    "getrandom",
    "rand",
    "jiff",
    "chrono",
    "time",
    "notify",
    "tempfile",
    "telson-host",
    "telson-tokio",
    "telson-smol",
];

#[test]
fn the_behaviour_depends_on_no_runtime() {
    assert_eq!(impure_dependencies_of("telson-core"), [""; 0]);
}

#[test]
fn the_words_depend_on_no_runtime() {
    assert_eq!(impure_dependencies_of("telson-proto"), [""; 0]);
}

#[test]
fn the_words_do_not_depend_on_the_behaviour() {
    assert!(!dependencies_of("telson-proto").iter().any(|name| name == "telson-core"));
}

#[test]
fn an_impure_dependency_would_be_found() {
    assert!(impure_dependencies_of("telson-host").iter().any(|name| name == "rusqlite"));
}

fn impure_dependencies_of(package: &str) -> Vec<String> {
    let mut found = dependencies_of(package);
    found.retain(|name| name != package);
    found.retain(|name| IMPURE.contains(&name.as_str()) || name.starts_with("async-"));
    found
}

/// Every crate that ends up in this one on Linux, with its default features.
fn dependencies_of(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--locked", "--target", "x86_64-unknown-linux-gnu"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.iter().any(|name| name == package), "cargo tree was not understood:\n{text}");
    names
}
