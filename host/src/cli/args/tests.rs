#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn run(line: &str) -> Flags {
    match parse(line).unwrap().command {
        Command::Gateway(Gateway { command: Some(GatewayCommand::Run(run)), .. }) => run.flags(),
        Command::Gateway(Gateway { command: None, run }) => run.flags(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn gateway_alone_runs_it() {
    assert_eq!(run("telson gateway --port 7").port, Some(7));
    assert_eq!(run("telson gateway run --port 7 --bind lan").bind.as_deref(), Some("lan"));
    let flags = run("telson gateway run --auth none --verbose --state-dir /s --config /c --json");
    assert!(flags.verbose && flags.auth.as_deref() == Some("none") && flags.token.is_none());
}

#[test]
fn the_forms_of_the_reference_are_understood() {
    for line in [
        "telson gateway status --json --timeout 500",
        "telson gateway health --url ws://127.0.0.1:1 --token t",
        "telson gateway call health --params {}",
        "telson call sessions.list {\"limit\":1} --json",
        "telson status --json",
        "telson chat -m hello -s main",
        "telson devices list",
        "telson token show",
        "telson config validate --config /c",
        "telson --json --state-dir /s sessions --limit 3",
        "telson gateway run --allow-unconfigured",
        "telson chat -s work --agent main --thinking low --history 0",
        "telson sessions --archived --search tide --agent main --active 5",
        "telson sessions list --limit 3 --json",
        "telson sessions show main --limit 5",
        "telson sessions reset main --yes",
        "telson sessions delete agent:main:x -y --keep-transcript",
        "telson sessions export main --format markdown --out /tmp/x",
        "telson sessions compact main --timeout 60000",
        "telson sessions compact main --keep 40",
        "telson models list --all",
        "telson models test local/tide-1 --json",
        "telson models test --agent main",
        "telson usage --days 7 --agent main --json",
        "telson completions fish",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn nonsense_is_refused() {
    for line in [
        "telson gateway run --port 70000",
        "telson status --timeout 0",
        "telson status --token a --password b",
        "telson call health {} --params {}",
        "telson nothing",
        "telson gateway run --port",
        "telson sessions show",
        "telson sessions list --limit 0",
        "telson sessions export main --format pdf",
        "telson chat --history 1001",
        "telson chat --thinking hard",
        "telson usage --days 0",
        "telson models",
        "telson completions tcsh",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn no_secret_shows_in_the_debug_form() {
    let cli = parse("telson gateway run --token hunter2hunter2 --password hunter3hunter3").unwrap();
    assert!(!format!("{cli:?}").contains("hunter"));
}

#[test]
fn a_secret_may_begin_with_a_dash() {
    for line in [
        "telson gateway run --token -Dashing-0123456789abcdef",
        "telson gateway run --password -Dashing-0123456789abcdef",
        "telson status --url wss://box --token -Dashing-0123456789abcdef",
        "telson status --url wss://box --password --0123456789abcdef",
        "telson node run --token -Dashing-0123456789abcdef",
        "telson node run --password -D",
        "telson node run --setup-code -D",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn sessions_alone_lists_them() {
    let Command::Sessions(sessions) = parse("telson sessions --limit 3").unwrap().command else { panic!() };
    assert!(sessions.command.is_none() && sessions.list.limit == Some(3));
}

#[test]
fn an_answer_may_take_ten_seconds_unless_somebody_says_otherwise() {
    let patience = |line: &str| match parse(line).unwrap().command {
        Command::Status(client) => (client.patience(), client.patience_or(Duration::from_secs(60))),
        other => panic!("{other:?}"),
    };
    assert_eq!(patience("telson status"), (Duration::from_secs(10), Duration::from_secs(60)));
    assert_eq!(patience("telson status --timeout 5"), (Duration::from_millis(5), Duration::from_millis(5)));
}
