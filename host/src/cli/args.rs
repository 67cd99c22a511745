//! The command line as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use telson_core::auth::Secret;
use telson_core::config::Flags;

use super::approvals::Approvals;
use super::audit::Audit;
use super::devices::Devices;
use super::discover::Discover;
use super::node::Node;
use super::pair::Pair;
use super::tls::Tls;
use super::tokens::Tokens;

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
    /// The models
    Models {
        #[command(subcommand)]
        command: Models,
    },
    /// What the models used and cost, by day
    Usage(Usage),
    /// Take over the conversations of an older gateway, while none runs on this state directory
    Import(Import),
    /// The token that clients present
    Token {
        #[command(subcommand)]
        command: Token,
    },
    /// Certificates: this machine's, and those of other gateways that are pinned
    Tls {
        #[command(subcommand)]
        command: Tls,
    },
    /// Look for gateways in the local network
    Discover(Discover),
    /// The devices that may connect
    Devices {
        #[command(subcommand)]
        command: Devices,
    },
    /// This machine as a node, which does what its gateway asks for
    Node {
        #[command(subcommand)]
        command: Node,
    },
    /// Bring a new device in: a setup code as text and as a picture
    Pair(Pair),
    /// Tokens for programs
    Tokens {
        #[command(subcommand)]
        command: Tokens,
    },
    /// The machines that lend their abilities
    Nodes(super::nodes::Nodes),
    /// Commands that wait for a decision, and what may run without one
    Approvals {
        #[command(subcommand)]
        command: Approvals,
    },
    /// Who did what, from where, with which outcome
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// The configuration
    Config {
        #[command(subcommand)]
        command: Config,
    },
    /// A script that completes commands in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
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
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, value_parser = secret)]
    token: Option<Secret>,
    /// The shared password
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true, value_parser = secret)]
    password: Option<Secret>,
    /// Put Tailscale in front of it: off, serve or funnel (default: gateway.tailscale.mode, else off); the
    /// gateway does not serve when that fails
    #[arg(long, value_name = "MODE")]
    tailscale: Option<String>,
    /// Say more on the terminal
    #[arg(long, short)]
    verbose: bool,
    /// Announce the gateway in the local network, also when only this machine can reach it
    #[arg(long)]
    pub(crate) advertise: bool,
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
            tailscale: self.tailscale.clone(),
            verbose: self.verbose,
        }
    }
}

/// Which gateway to ask, and with what.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Client {
    /// The gateway (default: the one of the state directory); needs --token or --password
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token to present
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, value_parser = secret, conflicts_with = "password")]
    pub(crate) token: Option<Secret>,
    /// The password to present
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true, value_parser = secret)]
    pub(crate) password: Option<Secret>,
    /// The SHA-256 fingerprint of the gateway's certificate or key; names and chains then mean nothing
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) tls_fingerprint: Option<String>,
    /// Believe whatever certificate the gateway shows this first time, and only that one from then on
    #[arg(long, conflicts_with = "tls_fingerprint")]
    pub(crate) trust_on_first_use: bool,
    /// How long to wait for an answer, in milliseconds (default: 10000; more where a model has to answer)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
}

impl Client {
    /// How long to wait for an answer.
    pub(crate) fn patience(&self) -> Duration {
        self.patience_or(Duration::from_secs(10))
    }

    /// The same where something else than ten seconds is fair.
    pub(crate) fn patience_or(&self, fair: Duration) -> Duration {
        self.timeout.map_or(fair, Duration::from_millis)
    }
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
    /// The conversation, by key or by label (default: the main one)
    #[arg(long, short, value_name = "KEY")]
    pub(crate) session: Option<String>,
    /// The agent (default: the one of the conversation)
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,
    /// How much the model thinks
    #[arg(long, value_name = "LEVEL", value_parser = ["off", "minimal", "low", "medium", "high", "xhigh"])]
    pub(crate) thinking: Option<String>,
    /// How many messages to show when a conversation begins
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=1_000))]
    pub(crate) history: u64,
    #[command(flatten)]
    pub(crate) client: Client,
}

/// `sessions` alone is `sessions list`.
/// Where an older gateway has its conversations.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Its state directory, such as ~/.openclaw
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Sessions {
    #[command(subcommand)]
    pub(crate) command: Option<SessionsCommand>,
    #[command(flatten)]
    pub(crate) list: SessionsList,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List the conversations, the newest first
    List(SessionsList),
    /// Show a conversation and the end of what was said
    Show(SessionsShow),
    /// Begin a conversation anew; its settings stay
    Reset(SessionsReset),
    /// Remove a conversation
    Delete(SessionsDelete),
    /// Write down everything that was said
    Export(SessionsExport),
    /// Make a conversation shorter: by a summary of its beginning, or by cutting it off
    Compact(SessionsCompact),
}

/// Which conversations to list.
#[derive(Debug, Args)]
pub(crate) struct SessionsList {
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Only those in whose names this stands
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only those of this agent
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,
    /// Only those that changed within so many minutes
    #[arg(long, value_name = "MIN", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) active: Option<u64>,
    /// The archived ones instead
    #[arg(long)]
    pub(crate) archived: bool,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsNamed {
    /// The conversation, by key or by label
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsShow {
    /// How many messages to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) limit: u64,
    #[command(flatten)]
    pub(crate) named: SessionsNamed,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsReset {
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) named: SessionsNamed,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsDelete {
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Leave what was said in the store
    #[arg(long)]
    pub(crate) keep_transcript: bool,
    #[command(flatten)]
    pub(crate) named: SessionsNamed,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsCompact {
    /// Make no summary; keep the last N lines of the transcript and archive the others
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep: Option<u64>,
    #[command(flatten)]
    pub(crate) named: SessionsNamed,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsExport {
    /// The form
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// Where to write it (default: standard output)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) named: SessionsNamed,
}

/// The form of an exported conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A transcript: one JSON value on each line
    Jsonl,
    /// For reading
    Markdown,
    /// One JSON value
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// List the models that can be used
    List(ModelsList),
    /// Ask a model something small, to see that it answers
    Test(ModelsTest),
}

#[derive(Debug, Args)]
pub(crate) struct ModelsList {
    /// Also those that cannot be used now
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsTest {
    /// The model, such as anthropic/claude-opus-4-5 (default: the agent's)
    pub(crate) model: Option<String>,
    /// The agent (default: the gateway's)
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// How many days back
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    pub(crate) days: u64,
    /// Only what this agent used (default: the gateway's main agent)
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,
    #[command(flatten)]
    pub(crate) client: Client,
}

/// A shell that completes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Show the token of this machine's gateway
    Show,
    /// Make a new one; whoever has the old one is disconnected
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the configuration file
    Validate,
}

/// Takes a secret so that nothing prints it.
pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests;
