//! The command line, the same for both binaries (spec 05 §15).
//!
//! `gateway run` is the gateway itself; every other command is a client of it, or reads what a gateway left in
//! the state directory. Answers go to standard output, everything else to standard error. With `--json` the
//! answer is one JSON value, also when the command fails.

mod announcer;
mod approvals;
mod args;
mod audit;
mod cells;
mod chat;
mod client;
mod configure;
mod desk;
mod devices;
mod discover;
mod error;
mod exit;
mod import;
mod models;
mod node;
mod nodes;
mod pair;
mod serve;
mod sessions;
mod show;
mod target;
pub mod term;
mod tls;
mod token;
mod tokens;
mod trust;
mod usage;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use telson_core::config::Failure;

pub use exit::Exit;

use crate::config::{Places, environment};
use crate::runtime::Runtime;

use args::{Cli, Command, Config, Gateway, GatewayCommand, Models, Shell, Token};
use error::CliError;
use term::{Output, Terminal};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name by which output speaks of this program.
const NAME: &str = "telson";

/// The command line's definition, for the generated reference.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process. `program` is the binary's name, used when the process was not told
/// one.
pub async fn run<R: Runtime>(runtime: R, program: &str) -> ExitCode {
    keep_private();
    let args: Vec<OsString> = std::env::args_os().collect();
    let invoked = args.first().and_then(|path| Path::new(path).file_stem()?.to_str().map(str::to_owned));
    let program = invoked.unwrap_or_else(|| program.to_owned());
    execute(runtime, &program, args).await.into()
}

/// Whatever the umask was, what this process writes is for this user only, also what libraries write: the database's
/// log, drafts, log files. A crash must not leave secrets in a core file (spec 08 S-96).
fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        tracing::debug!(target: "gateway", %error, "core files stay as they are");
    }
}

async fn execute<R: Runtime>(runtime: R, program: &str, args: Vec<OsString>) -> Exit {
    let json = args.iter().any(|arg| arg == "--json");
    let matches = Cli::command().try_get_matches_from(args);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, json),
    };
    let env = environment();
    let mut terminal = Terminal::detect(&env, cli.global.no_color);
    terminal.quiet_out = cli.global.json;
    // A conversation, and the life of a node, are told as they happen, event by event.
    let lines = matches!(cli.command, Command::Chat(_) | Command::Node { command: node::Node::Run(_) });
    let output = Output { json: cli.global.json, lines, terminal };
    let places = Places::resolve(cli.global.state_dir.as_deref(), cli.global.config.as_deref(), env);
    let outcome = match places {
        Ok(places) => dispatch(runtime, places, cli.command, program, output).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => Exit::Done,
        Err(mut error) => {
            error.hints.iter_mut().for_each(|hint| *hint = hint.replace("{program}", program));
            report(&error, program, output);
            error.exit()
        }
    }
}

async fn dispatch<R: Runtime>(
    runtime: R,
    places: Places,
    command: Command,
    program: &str,
    output: Output,
) -> Result<(), CliError> {
    match command {
        Command::Gateway(Gateway { command, run }) => match command.unwrap_or(GatewayCommand::Run(run)) {
            GatewayCommand::Run(args) => serve::run(runtime, places, &args, output).await,
            GatewayCommand::Status(args) => show::status(&runtime, &places, &args, output).await,
            GatewayCommand::Health(args) => show::health(&runtime, &places, &args, output).await,
            GatewayCommand::Call(args) => show::call(&runtime, &places, &args, output).await,
        },
        Command::Status(args) => show::status(&runtime, &places, &args, output).await,
        Command::Health(args) => show::health(&runtime, &places, &args, output).await,
        Command::Call(args) => show::call(&runtime, &places, &args, output).await,
        Command::Chat(args) => chat::run(&runtime, &places, &args, output).await,
        Command::Sessions(args) => sessions::run(&runtime, &places, args, output).await,
        Command::Models { command: Models::List(args) } => {
            models::list(&runtime, &places, &args, output).await
        }
        Command::Models { command: Models::Test(args) } => {
            models::test(&runtime, &places, &args, output).await
        }
        Command::Usage(args) => usage::run(&runtime, &places, &args, output).await,
        Command::Import(args) => import::run(&runtime, &places, &args, output).await,
        Command::Token { command: Token::Show } => token::show(&places, output),
        Command::Token { command: Token::Rotate } => token::rotate(&runtime, &places, output).await,
        Command::Node { command } => node::execute(runtime, &places, &command, output).await,
        Command::Tls { command } => tls::run(&places, command, output),
        Command::Discover(args) => discover::run(&runtime, &args, output).await,
        Command::Devices { command } => devices::run(&runtime, &places, command, output).await,
        Command::Pair(args) => pair::run(&runtime, &places, &args, output).await,
        Command::Tokens { command } => tokens::run(&runtime, &places, command, output).await,
        Command::Nodes(args) => nodes::run(&runtime, &places, args, output).await,
        Command::Approvals { command } => approvals::run(&runtime, &places, command, output).await,
        Command::Audit { command } => audit::run(&runtime, &places, command, output).await,
        Command::Config { command: Config::Validate } => configure::validate(&places, output),
        Command::Completions { shell } => {
            completions(shell, program, output);
            Ok(())
        }
    }
}

/// `completions`
fn completions(shell: Shell, program: &str, output: Output) {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), program, &mut script);
    output.piece(&String::from_utf8_lossy(&script));
}

/// Prints what clap has to say: help and version are no errors.
fn usage(error: &clap::Error, json: bool) -> Exit {
    use clap::error::ErrorKind;
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done;
    }
    let incomplete = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if json && !incomplete {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output { json, lines: false, terminal: Terminal::default() }
            .value(&CliError::new(Failure::ArgInvalid, first).shape());
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// Prints why a command failed.
fn report(error: &CliError, program: &str, output: Output) {
    if error.told {
        return;
    }
    if output.json {
        output.value(&error.shape());
        return;
    }
    output.note(&format!("{program}: {} [{}]", lines(&error.message), error.failure));
    for hint in &error.hints {
        output.note(&format!("  {}", lines(hint)));
    }
}

/// A text that may have lines of its own, each of them unable to draw on the terminal.
fn lines(text: &str) -> String {
    text.lines().map(crate::logging::escape).collect::<Vec<_>>().join("\n  ")
}
