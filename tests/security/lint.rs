//! Rules about the sources themselves (S-01, S-13, S-29, S-35, S-89 to S-92, S-100, S-105).

use std::path::{Path, PathBuf};
use std::process::Command;

use telson_tests::support::binary::workspace;

/// The sources of the product, tests left out, as path and text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for package in ["proto", "core", "host", "runtime-tokio", "runtime-smol"] {
        for path in super::rig::files(&workspace().join(package).join("src")) {
            let name = path.strip_prefix(workspace()).expect("below").to_owned();
            let is_test = name.components().any(|part| part.as_os_str().to_string_lossy().contains("test"));
            if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = std::fs::read_to_string(&path).expect("a source can be read");
                all.push((name, product(&text)));
            }
        }
    }
    assert!(all.len() > 100, "the sources are there");
    all
}

/// A source without its tests and comments.
fn product(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    })
}

/// The lines of files for which `wanted` holds that contain a text.
fn lines(wanted: impl Fn(&Path) -> bool, found: impl Fn(&str) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| wanted(path)) {
        all.extend(
            text.lines()
                .filter(|line| found(line))
                .map(|line| format!("{}: {}", path.display(), line.trim())),
        );
    }
    all
}

#[test]
fn s_01_no_shell_is_ever_started() {
    let shells = lines(
        |_| true,
        |line| {
            ["\"sh\"", "\"/bin/sh\"", "\"bash\"", "\"/bin/bash\"", "\"cmd\"", "\"cmd.exe\"", "\"powershell\""]
                .iter()
                .any(|shell| line.contains(shell))
        },
    );
    // The name of a tool in files of the reference system; and how a shell that a node is asked for is read.
    let shells: Vec<_> = shells
        .iter()
        .filter(|line| {
            !line.contains("\"bash\" => \"exec\"")
                && !line.contains("core/src/approvals/question.rs")
                && !line.contains("core/src/nodehost/run/")
        })
        .collect();
    assert!(shells.is_empty(), "{shells:#?}");
}

#[test]
fn s_29_programs_are_started_in_one_place_with_an_environment_of_their_own() {
    let starts = lines(|_| true, |line| line.contains("Command::new(") && !line.contains("clap"));
    assert_eq!(starts.len(), 1, "one place starts programs: {starts:#?}");
    assert!(starts[0].starts_with("host/src/runtime.rs"), "{starts:#?}");
    let clears = lines(|path| path.ends_with("host/src/runtime.rs"), |line| line.contains(".env_clear()"));
    assert_eq!(clears.len(), 1, "{clears:?}");
}

/// Where a default could open a door.
fn guards(path: &Path) -> bool {
    ["core/src/auth", "core/src/devices", "core/src/tokens", "core/src/nodes", "core/src/approvals"]
        .iter()
        .any(|room| path.starts_with(room))
}

#[test]
fn s_13_no_failure_of_a_check_counts_as_a_yes() {
    let opening = lines(guards, |line| {
        [
            "unwrap_or(true)",
            "is_none_or(",
            "map_or(true",
            "unwrap_or(Scopes::all",
            "Err(_) => true",
            "Err(_) => Ok(",
            "Scopes::all()",
        ]
        .iter()
        .any(|pattern| line.contains(pattern))
    });
    // Each of these has been looked at: it opens nothing.
    let known = [
        "core/src/auth/bearer.rs: (AuthMethod::None, Scopes::all())",
        "core/src/auth/bearer.rs: AuthMode::Token(_) | AuthMode::Password(_) => (self.check_bearer(request)?, Scopes::all()),",
        "core/src/auth/bearer.rs: Err(_) if request.peer.is_direct_local() => (self.check_bearer(request)?, Scopes::all()),",
        "core/src/auth/bearer.rs: if peer.is_direct_local() && peer.host_name().is_none_or(is_loopback_name) {",
        "core/src/auth/enter.rs: let paired = device.as_ref().is_none_or(|d| self.devices.allows(d, *role, scopes, *protocol));",
        "core/src/auth/handshake.rs: let due = self.refreshed_at.is_none_or(|at| now.mono.saturating_sub(at) >= REFRESH_EVERY);",
    ];
    // Elsewhere than in the handshake it is said of times, pages and filters.
    let counts = |line: &&String| line.starts_with("core/src/auth/") || !line.contains("is_none_or(");
    let new: Vec<_> = opening.iter().filter(counts).filter(|line| !known.contains(&line.as_str())).collect();
    assert_eq!(new, [""; 0].iter().collect::<Vec<_>>());
}

#[test]
fn s_35_secrets_are_compared_in_constant_time_only() {
    let text = std::fs::read_to_string(workspace().join("core/src/auth/secret.rs")).expect("the source");
    let code = product(&text);
    assert!(code.contains("ct_eq"), "{code}");
    for word in ["PartialEq", "Eq)", "PartialOrd", "Hash)", "Serialize", "Display for Secret", "Deref"] {
        let derives = code.lines().any(|line| line.contains("derive") && line.contains(word));
        assert!(!derives && !code.contains(&format!("impl {word}")), "Secret must not be {word}");
    }
    let compared = lines(
        |_| true,
        |line| {
            (line.contains(".expose() ==")
                || line.contains("== secret.expose()")
                || line.contains(".expose() !=")
                || line.contains(".expose().eq(")
                || line.contains("token ==")
                || line.contains("password =="))
                && !line.contains("ct_eq")
        },
    );
    // What is to be masked in logs is compared with itself, not with a guess.
    let compared: Vec<_> =
        compared.iter().filter(|line| !line.starts_with("host/src/logging/redact.rs")).collect();
    assert!(compared.is_empty(), "{compared:#?}");
    // Where a guess meets a secret or the hash of one.
    let comparisons = lines(|path| path.starts_with("core/src"), |line| line.contains("ct_eq"));
    assert!(comparisons.len() >= 2, "{comparisons:?}");
}

#[test]
fn s_92_one_client_speaks_to_the_world_and_every_address_passes_the_guard() {
    let clients = lines(
        |path| !path.starts_with("host/src/cli"),
        |line| {
            line.contains("client::conn::http1")
                || line.contains("reqwest")
                || line.contains("ureq::")
                || line.contains("hyper_util::client")
        },
    );
    assert!(
        !clients.is_empty() && clients.iter().all(|line| line.starts_with("host/src/net/fetch.rs")),
        "{clients:#?}"
    );
    // Names are looked up where the address that was checked is the one that is dialled.
    let lookups = lines(
        |_| true,
        |line| {
            line.contains("to_socket_addrs")
                || line.contains("lookup_host")
                || line.contains("unblock(move || (host")
        },
    );
    let elsewhere: Vec<_> = lookups
        .iter()
        .filter(|line| {
            !["host/src/net/", "host/src/runtime.rs", "runtime-tokio/", "runtime-smol/", "host/src/cli/"]
                .iter()
                .any(|room| line.starts_with(room))
        })
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn s_100_no_pattern_can_take_forever() {
    for package in ["telson-tokio", "telson-smol"] {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--offline",
                "--package",
                package,
                "--edges",
                "normal",
                "--prefix",
                "none",
            ])
            .current_dir(workspace())
            .output()
            .expect("cargo runs");
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(tree.contains("telson-core"), "{output:?}");
        for name in ["fancy-regex", "pcre2", "onig", "regex-backtrack", "openssl ", "native-tls"] {
            assert!(!tree.lines().any(|line| line.starts_with(name)), "{package} depends on {name}");
        }
    }
}

#[test]
fn s_105_only_children_are_killed() {
    let kills = lines(
        |_| true,
        |line| {
            line.contains("kill_process(")
                || line.contains("kill_process_group(")
                || line.contains("pidfd_send_signal")
                || line.contains("test_kill")
        },
    );
    let elsewhere: Vec<_> = kills
        .iter()
        .filter(|line| {
            !line.starts_with("host/src/driver/processes.rs")
                && !line.starts_with("host/src/group.rs")
                && !line.starts_with("host/src/runtime.rs")
        })
        .filter(|line| !line.starts_with("runtime-"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn s_09_what_is_declared_cannot_reach_the_gate() {
    // `authorize` takes a principal and an effect; a declaration has no way into either.
    let signature =
        lines(|path| path.ends_with("core/src/auth/authorize.rs"), |line| line.contains("pub fn authorize("));
    assert_eq!(signature.len(), 1, "{signature:?}");
    assert!(signature[0].contains("principal: &Principal, effect: &Effect"), "{signature:?}");
    let used = lines(|path| path.ends_with("core/src/auth/authorize.rs"), |line| line.contains("declared"));
    assert_eq!(used, [""; 0], "the gate looks at what a client says about itself");
}
