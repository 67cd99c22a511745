//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use telson_core::auth::Secret;
use telson_core::config::Flags;

/// The gateway of a personal AI assistant.
#[derive(Debug, Parser)]
#[command(name = "telson", version = super::VERSION, disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the gateway keeps its state (default: TELSON_STATE_DIR, else ~/.telson)
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// The configuration file (default: TELSON_CONFIG_PATH, else telson.json in the state directory)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Answer with JSON on standard output; everything else goes to standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway, or ask it something
    Gateway(Gateway),
    /// Is the gateway up, and what is it doing?
    Status(Client),
    /// The gateway's health
    Health(Client),
    /// Call a method of the gateway
    Call(Call),
    /// Talk with the agent
    Chat(Chat),
    /// The conversations
    Sessions(Sessions),
    /// The token that clients present
    Token {
        #[command(subcommand)]
        command: Token,
    },
    /// The devices that may connect
    Devices {
        #[command(subcommand)]
        command: Devices,
    },
    /// The configuration
    Config {
        #[command(subcommand)]
        command: Config,
    },
}

/// `gateway` alone is `gateway run`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Gateway {
    #[command(subcommand)]
    pub(crate) command: Option<GatewayCommand>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Run the gateway in the foreground
    Run(Run),
    /// The same as `status`
    Status(Client),
    /// The same as `health`
    Health(Client),
    /// The same as `call`
    Call(Call),
}

/// How to run the gateway.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The port (default: OPENCLAW_GATEWAY_PORT, else gateway.port, else 18789); 0 takes any free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Who can reach it: loopback, lan, tailnet, auto or custom (default: gateway.bind, else loopback)
    #[arg(long, value_name = "MODE")]
    bind: Option<String>,
    /// What clients must present: token, password or none
    #[arg(long, value_name = "MODE")]
    auth: Option<String>,
    /// The shared token
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    token: Option<Secret>,
    /// The shared password
    #[arg(long, value_name = "PASSWORD", value_parser = secret)]
    password: Option<Secret>,
    /// Say more on the terminal
    #[arg(long, short)]
    verbose: bool,
    /// Start although gateway.mode says that the gateway runs elsewhere
    #[arg(long)]
    pub(crate) allow_unconfigured: bool,
}

impl Run {
    /// What goes before file and environment.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            port: self.port,
            bind: self.bind.clone(),
            auth: self.auth.clone(),
            token: self.token.clone(),
            password: self.password.clone(),
            verbose: self.verbose,
        }
    }
}

/// Which gateway to ask, and with what.
#[derive(Clone, Debug, Args)]
pub(crate) struct Client {
    /// The gateway (default: the one of the state directory); needs --token or --password
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token to present
    #[arg(long, value_name = "TOKEN", value_parser = secret, conflicts_with = "password")]
    pub(crate) token: Option<Secret>,
    /// The password to present
    #[arg(long, value_name = "PASSWORD", value_parser = secret)]
    pub(crate) password: Option<Secret>,
    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The method, such as health or sessions.list
    pub(crate) method: String,
    /// Its parameters as a JSON object
    #[arg(value_name = "JSON", conflicts_with = "params_flag")]
    pub(crate) params: Option<String>,
    /// The same
    #[arg(long = "params", value_name = "JSON")]
    pub(crate) params_flag: Option<String>,
    /// Wait for the second answer of methods that answer twice, such as agent
    #[arg(long)]
    pub(crate) expect_final: bool,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// What to say; without it the conversation is interactive, or read from standard input
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// The conversation (default: the main one)
    #[arg(long, short, value_name = "KEY")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Show the token of this machine's gateway
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Devices {
    /// List paired devices and those that wait
    List(Client),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the configuration file
    Validate,
}

/// Takes a secret so that nothing prints it.
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
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
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn no_secret_shows_in_the_debug_form() {
        let cli = parse("telson gateway run --token hunter2hunter2 --password hunter3hunter3").unwrap();
        assert!(!format!("{cli:?}").contains("hunter"));
    }
}
