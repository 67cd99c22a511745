//! Part L and the listeners: what is on disk, what is read, what listens (S-95 to S-99, S-113).

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use serde_json::json;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::Dialect;
use telson_tests::support::device::Device;
use telson_tests::support::gateway::{Gateway, Home};

use super::rig::{Ask, Rig, TOKEN, config, files};

on_both_binaries!(s_113_only_declared_addresses_listen);

#[test]
fn s_95_an_include_reads_no_file() {
    let home = Home::new(Binary::Telson);
    let secret = home.path("secret.json");
    std::fs::write(&secret, "{canary: 'the-content-of-another-file'}").expect("a file");
    std::fs::create_dir_all(home.state()).expect("a folder");
    symlink(&secret, home.state().join("link.json")).expect("a link");
    std::fs::hard_link(&secret, home.state().join("hard.json")).expect("a link");
    for target in [
        "../secret.json",
        "/etc/passwd",
        "link.json",
        "hard.json",
        "/proc/self/environ",
        "telson.json",
        "./telson.json",
        "/dev/stdin",
        "~/secret.json",
        "file:///etc/passwd",
        "http://127.0.0.1:9/x",
    ] {
        for text in [
            json!({"$include": target}),
            json!({"gateway": {"$include": target}}),
            json!({"agents": {"list": [{"id": "main", "$include": [target]}]}}),
        ] {
            home.configure(&text.to_string());
            let outcome = home.run(&["gateway", "run", "--port", "0"]);
            assert_eq!(outcome.code, Some(5), "{text}: {outcome:?}");
            assert!(!format!("{outcome:?}").contains("the-content-of"), "{outcome:?}");
            assert!(!format!("{outcome:?}").contains("root:"), "{outcome:?}");
        }
    }
}

#[test]
fn s_96_everything_on_disk_is_for_its_owner_only_whatever_the_umask() {
    let home = Arc::new(Home::new(Binary::Telson));
    let mut command = std::process::Command::new("/bin/sh");
    let program = Binary::Telson.path();
    command
        .args(["-c", "umask 000; exec \"$0\" gateway run --port 0", &program.display().to_string()])
        .env_clear()
        .env("HOME", home.path(""))
        .current_dir(home.path(""));
    let gateway = Gateway::spawn(&home, command);
    let token = gateway.token();
    let mut client =
        Ask { token: Some(&token), ..Ask::nobody(Dialect::V3) }.enter(gateway.address).expect("in");
    let device = Device::new(1);
    let ask = Ask { token: Some(&token), ..Ask::device(Dialect::V4, &device, &["operator.read"]) };
    drop(ask.enter(gateway.address).expect("a device is let in"));
    let run = client.ask("chat.send", &json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "1"}));
    client.chat_of(run["runId"].as_str().expect("a run"));
    home.run(&["sessions", "export", "main"]);
    let check = |when: &str| {
        let state = home.state();
        for path in std::iter::once(state.clone()).chain(files(&state)) {
            let kind = std::fs::symlink_metadata(&path).expect("it is there");
            let mode = kind.permissions().mode() & 0o777;
            let wanted = if kind.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, wanted, "{when}: {} has mode {mode:o}", path.display());
        }
    };
    check("while it runs");
    gateway.terminate();
    assert_eq!(gateway.wait().0, Some(0));
    check("when it has stopped");
    assert_eq!(files(&home.path("")).iter().filter(|path| !path.starts_with(home.state())).count(), 0);
}

#[test]
fn s_98_a_configuration_that_cannot_be_read_opens_nothing() {
    for text in [
        "{",
        "not json",
        "[]",
        "7",
        "\"x\"",
        "{gateway: {auth: {mode: 'none'}}, gateway: {}}",
        "{gateway: []}",
        "{gatway: {}}",
        "{gateway: {bind: 'everywhere'}}",
        "{gateway: {port: 'x'}}",
        "\u{0}",
    ] {
        let home = Home::new(Binary::Telson);
        home.configure(text);
        let outcome = home.run(&["gateway", "run", "--port", "0"]);
        assert_eq!(outcome.code, Some(5), "{text:?}: {outcome:?}");
        assert!(!outcome.stdout.contains("listening on"), "{outcome:?}");
        let kept = std::fs::read_to_string(home.state().join("telson.json")).expect("the file is there");
        assert_eq!(kept, text, "the file is left as it is");
    }
    let home = Home::new(Binary::Telson);
    std::fs::create_dir_all(home.state().join("telson.json")).expect("a folder where the file was");
    let outcome = home.run(&["gateway", "run", "--port", "0"]);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    assert!(!outcome.stdout.contains("listening on"), "{outcome:?}");
    // A file that was asked for and is not there is no empty file.
    let outcome = home.run(&["gateway", "run", "--port", "0", "--config", "no-such-file.json"]);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn s_99_the_folder_one_starts_in_says_nothing() {
    let home = Arc::new(Home::new(Binary::Telson));
    home.configure(&config(&json!({})).to_string());
    let folder = home.path("somewhere");
    std::fs::create_dir_all(&folder).expect("a folder");
    let lines = "OPENCLAW_GATEWAY_PORT=1\nTELSON_STATE_DIR=/tmp/never\nOPENCLAW_GATEWAY_TOKEN=from-the-folder-0123456789\n\
                 NODE_OPTIONS=--require ./evil.js\nLD_PRELOAD=/tmp/evil.so\n";
    for name in [".env", ".env.local", ".telsonrc", "telson.json", "openclaw.json", ".npmrc"] {
        std::fs::write(folder.join(name), lines).expect("a file");
    }
    let mut command = home.command(&["gateway", "run", "--port", "0"]);
    command.current_dir(&folder);
    let gateway = Gateway::spawn(&home, command);
    assert!(Ask::shared(Dialect::V3).enter(gateway.address).is_ok());
    let theirs = Ask { token: Some("from-the-folder-0123456789"), ..Ask::nobody(Dialect::V3) };
    assert!(theirs.enter(gateway.address).is_err());
    assert!(!std::path::Path::new("/tmp/never").exists());
}

#[test]
fn s_99_a_program_that_the_gateway_starts_hears_nothing_of_its_environment() {
    let home = Arc::new(Home::new(Binary::Telson));
    let told = home.path("told");
    let script = home.path("server.sh");
    std::fs::write(&script, format!("#!/bin/sh\nenv >{}\ncat >/dev/null\n", told.display())).expect("a file");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let servers = json!({"mcp": {"servers": {"own": {"command": script.display().to_string(), "env": {"OWN": "yes"}}}}});
    home.configure(&config(&servers).to_string());
    let mut command = home.command(&["gateway", "run", "--port", "0"]);
    for name in [
        "OPENCLAW_GATEWAY_TOKEN",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "NODE_OPTIONS",
        "LD_PRELOAD_X",
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
        "TELSON_SECRET",
    ] {
        command.env(name, "canary-of-the-environment");
    }
    let gateway = Gateway::spawn(&home, command);
    let deadline = std::time::Instant::now() + telson_tests::support::PATIENCE;
    let mut text = String::new();
    while !text.contains("OWN=yes") {
        assert!(std::time::Instant::now() < deadline, "the server has started: {}", gateway.log());
        std::thread::yield_now();
        text = std::fs::read_to_string(&told).unwrap_or_default();
    }
    drop(gateway);
    let text = std::fs::read_to_string(&told).expect("it was told");
    assert!(!text.contains("canary-of-the-environment"), "{text}");
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // The last three are the shell's own.
    let allowed = ["PATH", "HOME", "LANG", "TMPDIR", "OWN", "PWD", "OLDPWD", "SHLVL", "_"];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
}

/// Inodes of the sockets of a process.
fn sockets_of(pid: u32) -> BTreeSet<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
    let inode = |link: std::path::PathBuf| {
        let target = std::fs::read_link(link).ok()?.display().to_string();
        Some(target.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
    };
    links.map_while(Result::ok).filter_map(|entry| inode(entry.path())).collect()
}

/// What a process listens on: the kernel's own spelling of address and port.
fn listening(pid: u32) -> BTreeSet<String> {
    let own = sockets_of(pid);
    let mut all = BTreeSet::new();
    for (table, listens) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..]
                && state == listens
                && own.contains(inode)
            {
                all.insert(format!("{table} {local}"));
            }
        }
    }
    all
}

fn pid_of(log: &str) -> u32 {
    let at = log.find("(PID ").expect("it tells its process");
    log[at + 5..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

fn s_113_only_declared_addresses_listen(binary: Binary) {
    let rig = Rig::with(binary, &json!({}));
    rig.lives();
    let port = format!("{:04X}", rig.address().port());
    let declared = BTreeSet::from([
        format!("tcp 0100007F:{port}"),
        format!("tcp6 00000000000000000000000001000000:{port}"),
    ]);
    let found = listening(pid_of(&rig.gateway.log()));
    assert!(found.contains(&format!("tcp 0100007F:{port}")), "{found:?}");
    assert!(found.is_subset(&declared), "{found:?}");
    drop(rig);
    // An address that is everybody's is never this host's alone.
    for host in ["0.0.0.0", "::", "localhost.", "[::ffff:0:0]", "0", "::ffff:0.0.0.0"] {
        let home = Home::new(binary);
        let bind = json!({"gateway": {"bind": "custom", "customBindHost": host, "auth": {"mode": "none", "token": null}}});
        let config = config(&bind);
        home.configure(&config.to_string());
        let outcome = home.run(&["gateway", "run", "--port", "0"]);
        assert_eq!(outcome.code, Some(5), "{host}: {outcome:?}");
    }
    assert!(TOKEN.len() >= 16);
}
