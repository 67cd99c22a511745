//! `node`: this machine as a node of a gateway (spec 01 §4, 03 §2).

mod setup;
mod target;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use telson_core::Seed;
use telson_core::auth::Secret;
use telson_core::config::Failure;
use telson_core::nodehost::{Identity, News, NodeSettings};

use crate::config::Places;
use crate::logging::escape;
use crate::node::{self, Keep, KeepError, NodeOptions, machine};
use crate::runtime::Runtime;

use super::error::CliError;
use super::term::Output;

use target::NodeTarget;

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Connect this machine to a gateway and carry out what it asks for
    Run(NodeRun),
    /// Show the id and the public key of this machine as a node
    Identity,
}

/// Which gateway, and what to show there the first time.
#[derive(Debug, Args)]
pub(crate) struct NodeRun {
    /// The gateway (default: the one of the state directory)
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The gateway's token
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, value_parser = super::args::secret, conflicts_with = "password")]
    pub(super) token: Option<Secret>,
    /// The gateway's password
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true, value_parser = super::args::secret)]
    pub(super) password: Option<Secret>,
    /// A setup code that the gateway gave for this node; it names the gateway too
    #[arg(long, value_name = "CODE", allow_hyphen_values = true, value_parser = super::args::secret, conflicts_with_all = ["url", "token", "password"])]
    pub(super) setup_code: Option<Secret>,
    /// The name that people see (default: this machine's)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The SHA-256 fingerprint of the gateway's certificate or key; names and chains then mean nothing
    #[arg(long, value_name = "FINGERPRINT")]
    pub(super) tls_fingerprint: Option<String>,
}

/// `node …`
pub(crate) async fn execute<R: Runtime>(
    runtime: R,
    places: &Places,
    command: &Node,
    output: Output,
) -> Result<(), CliError> {
    match command {
        Node::Run(args) => run(runtime, places, args, output).await,
        Node::Identity => identity(places, output),
    }
}

/// `node identity`
fn identity(places: &Places, output: Output) -> Result<(), CliError> {
    let (_, identity) = Keep::open(&places.state)?;
    if output.json {
        output.value(&json!({"deviceId": identity.id(), "publicKey": identity.public_key()}));
    } else {
        output.pairs(&[("Device", identity.id().to_owned()), ("Public key", identity.public_key())]);
    }
    Ok(())
}

/// `node run`
async fn run<R: Runtime>(
    runtime: R,
    places: &Places,
    args: &NodeRun,
    output: Output,
) -> Result<(), CliError> {
    let (keep, identity) = Keep::open(&places.state)?;
    let _lock = keep.lock()?;
    let target = NodeTarget::resolve(places, args)?;
    for warning in &target.warnings {
        output.note(&escape(warning));
    }
    let settings = settings(places, args, &keep, identity, &target)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
    let show = Box::new(move |news: &News| tell(output, news));
    let options = NodeOptions { settings, trust: target.trust, keep, seed: Seed::from(seed), show };
    node::run(runtime, options)
        .await
        .map_err(|error| CliError::new(Failure::Internal, format!("signals cannot be caught: {error}")))
}

fn settings(
    places: &Places,
    args: &NodeRun,
    keep: &Keep,
    identity: Identity,
    target: &NodeTarget,
) -> Result<NodeSettings, CliError> {
    let tokens = keep.tokens()?;
    let mut gateways = target.gateways.clone();
    for gateway in &mut gateways {
        gateway.token = tokens.of(&gateway.origin).cloned();
    }
    let (platform, family) = match std::env::consts::OS {
        "macos" => ("darwin", "Mac"),
        "linux" => ("linux", "Linux"),
        other => (other, "Unix"),
    };
    let named = args.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let name = named
        .map_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned(), str::to_owned);
    Ok(NodeSettings {
        gateways,
        credential: target.credential.clone(),
        setup: target.setup.clone(),
        identity,
        name: name.chars().take(64).collect(),
        version: super::VERSION.to_owned(),
        platform: platform.to_owned(),
        family: family.to_owned(),
        machine: machine(&places.env, &places.state),
    })
}

/// One line for people, or one object for programs.
fn tell(output: Output, news: &News) {
    if output.json {
        let mut object = Map::new();
        object.insert("event".to_owned(), news.event.into());
        object.insert("text".to_owned(), news.text.clone().into());
        object.extend(news.more.clone());
        output.value(&Value::Object(object));
        return;
    }
    let style = if news.urgent { anstyle::AnsiColor::Yellow.on_default() } else { anstyle::Style::new() };
    let style = output.paint(style);
    output.line(&format!("{style}node: {}{style:#}", escape(&news.text)));
}

impl From<KeepError> for CliError {
    fn from(error: KeepError) -> Self {
        let failure = match &error {
            KeepError::State(error) => error.failure(),
            KeepError::Identity { .. } => Failure::StateBroken,
            KeepError::Held(_) => Failure::LockHeld,
        };
        Self::new(failure, error.to_string())
    }
}
