//! `gateway run`: from flags and files to a gateway at work (spec 05 §5).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use telson_core::Seed;
use telson_core::config::{Access, Failure, Loaded};
use telson_core::tailscale::Exposure;

use crate::config::Places;
use crate::driver::{self, ServeOptions, Signals};
use crate::helpers;
use crate::logging::{self, Guard, Secrets};
use crate::reload::{Marks, Watcher};
use crate::runtime::Runtime;
use crate::state::{Holder, LOCK_PATIENCE, Lock, facts, made_token, stored_token};
use crate::store;
use crate::tls::Live;

use super::announcer::Announcer;
use super::args::Run;
use super::error::CliError;
use super::term::Output;
use super::tls;

/// Runs the gateway until it is told to stop.
pub(crate) async fn run<R: Runtime>(
    runtime: R,
    places: Places,
    args: &Run,
    output: Output,
) -> Result<(), CliError> {
    let marks = Marks::of(&places);
    let loaded = places.load(&args.flags())?;
    if loaded.remote && !args.allow_unconfigured {
        let message = "Gateway start blocked: set gateway.mode=local (current: remote)";
        let error = CliError::new(Failure::ModeRemote, message);
        return Err(error.hint("or start here all the same with --allow-unconfigured"));
    }
    places.state.prepare()?;
    let lock = Arc::new(take_lock(&runtime, &places, loaded.port).await?);
    let secrets = Secrets::default();
    let guard = start_logs(&places, &loaded, &secrets, output)?;
    let watcher = Watcher::new(places.clone(), args.flags(), secrets, marks, loaded.clone());
    let outcome = serve(runtime, &places, &loaded, args.advertise, watcher, &lock, &guard).await;
    outcome.map_err(|mut error| {
        let told: Vec<&str> =
            std::iter::once(&error.message).chain(&error.hints).map(String::as_str).collect();
        tracing::error!(target: "gateway", code = error.failure.code(), "{}", told.join("; "));
        error.told = !output.json && guard.shows_errors();
        error
    })
}

/// Waits for the lock off the I/O threads: another gateway may be just ending.
async fn take_lock<R: Runtime>(runtime: &R, places: &Places, port: u16) -> Result<Lock, CliError> {
    let holder = Holder::this(&places.state, port, &places.config);
    let state = places.state.clone();
    let taken = runtime.unblock(move || Lock::take(&state, &holder, LOCK_PATIENCE)).await;
    Ok(taken.map_err(|error| CliError::new(Failure::Internal, error.to_string()))??)
}

fn start_logs(
    places: &Places,
    loaded: &Loaded,
    secrets: &Secrets,
    output: Output,
) -> Result<Guard, CliError> {
    loaded.secrets().for_each(|secret| secrets.add(secret));
    if matches!(loaded.access, Access::MadeToken) {
        let fresh = stored_token(&places.state)?.is_none();
        secrets.add(made_token(&places.state)?.expose());
        if fresh && !output.json {
            output.note("A token was made for this gateway; clients on this machine find it. The command `token show` shows it.");
        }
    }
    let mut logging = loaded.logging.clone();
    if let Some(file) = logging.file.take() {
        let expanded = crate::state::expand(file.as_ref(), &places.env);
        logging.file = expanded.map(|path| path.display().to_string());
    }
    logging::start(&logging, &places.state.logs(), output.terminal, secrets)
        .map_err(|error| CliError::new(Failure::Internal, format!("logging cannot be started: {error}")))
}

async fn serve<R: Runtime>(
    runtime: R,
    places: &Places,
    loaded: &Loaded,
    advertise: bool,
    watcher: Watcher,
    lock: &Arc<Lock>,
    guard: &Guard,
) -> Result<(), CliError> {
    for warning in &loaded.warnings {
        tracing::warn!(target: "gateway", key = %warning.path, "{warning}");
    }
    let token = match loaded.access {
        Access::MadeToken => Some(made_token(&places.state)?),
        Access::Open | Access::Token(_) | Access::Password(_) | Access::TrustedProxy(_) => None,
    };
    let mut settings = loaded.settings(facts(&places.state, &places.config), token).ok_or_else(|| {
        CliError::new(Failure::AuthMissing, "gateway auth mode is token, but no token is set")
    })?;
    let tailnet = settings.tailscale.exposure != Exposure::Off;
    if tailnet {
        settings.tailscale.program = tailscale(places);
    }
    tracing::info!(target: "gateway", "agent model: {}", settings.agents.model);
    if let Some(path) = guard.path() {
        tracing::info!(target: "gateway", "log file: {}", path.display());
    }
    let store = store::open(&places.state.database())?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
    let tls = match &loaded.tls {
        Some(plan) => Some(Arc::new(Live::open(tls::files(places, plan))?)),
        None => None,
    };
    if let Some(live) = &tls {
        let leaf = live.leaf();
        tracing::info!(target: "gateway.tls", "certificate {}, key {}", leaf.certificate, leaf.key);
    }
    settings.tls = tls.as_ref().map(|live| live.leaf().certificate.to_string());
    let announcer = Announcer::new(places, loaded, advertise, tls.clone());
    let (changed, changes) = async_channel::unbounded();
    watcher.watch(changed).map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
    let options = ServeOptions {
        settings,
        listeners: loaded.listen.clone(),
        tls: tls.clone(),
        store,
        seed: Seed::from(seed),
        signals: Signals::Process,
        changes: Some(changes),
        tailnet,
        on_ready: Some(Box::new(say_port(places, lock, tls.is_some(), announcer.clone()))),
        on_hangup: Some(Box::new(guard.reopener())),
    };
    let served = driver::serve(runtime, options).await;
    announcer.stop();
    served?;
    Ok(())
}

/// The program of the tailnet. That there is none is said by the machines, who know what it means.
fn tailscale(places: &Places) -> Option<String> {
    const APP: &str = "/Applications/Tailscale.app/Contents/MacOS/Tailscale";
    let found = match places.env.get("TELSON_TAILSCALE_BIN") {
        Some(named) => helpers::check(Path::new(named)),
        None => helpers::find("tailscale", &[APP]),
    };
    match found {
        Ok(path) => Some(path.display().to_string()),
        Err(error) => {
            tracing::error!(target: "gateway.tailscale", "{error}");
            None
        }
    }
}

/// Writes into the lock file on which port the gateway really listens, so that the command line finds it.
fn say_port(
    places: &Places,
    lock: &Arc<Lock>,
    secure: bool,
    announcer: Announcer,
) -> impl FnOnce(&[SocketAddr]) + Send + 'static {
    let (state, config, lock) = (places.state.clone(), places.config.clone(), Arc::clone(lock));
    move |bound: &[SocketAddr]| {
        let Some(address) = bound.first() else { return };
        if let Err(error) = lock.say(&Holder::this(&state, address.port(), &config).listening(bound, secure))
        {
            tracing::warn!(target: "gateway", "the port cannot be noted for the command line: {error}");
        }
        announcer.start(bound);
    }
}
