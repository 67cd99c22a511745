//! `token`: the secret that the gateway has made for itself.

use std::time::{Duration, Instant};

use serde_json::json;
use telson_core::config::{Access, Failure, Flags};

use crate::config::Places;
use crate::runtime::Runtime;
use crate::state::{Lock, new_token, stored_token, token_file};

use super::args::Client as ClientArgs;
use super::client::{Client, within};
use super::error::CliError;
use super::target::Target;
use super::term::Output;

/// How long to wait until the running gateway has taken the new token over.
const PATIENCE: Duration = Duration::from_secs(5);

fn none(message: impl Into<String>) -> CliError {
    CliError::new(Failure::AuthMissing, message)
}

/// `token show`
pub(crate) fn show(places: &Places, output: Output) -> Result<(), CliError> {
    let loaded = places.load(&Flags::default())?;
    let (token, source) = match loaded.access {
        Access::Token(token) => (token, "configuration or environment"),
        Access::MadeToken => {
            let made = stored_token(&places.state)?;
            let missing = || {
                none("there is no token yet").hint("it is made at the first start of: {program} gateway run")
            };
            (made.ok_or_else(missing)?, "made at the first start")
        }
        Access::Password(_) => return Err(none("the gateway asks for a password, not for a token")),
        Access::TrustedProxy(_) => {
            return Err(none("the gateway takes the users that its proxy names, and no token"));
        }
        Access::Open => return Err(none("the gateway asks for nothing: its auth mode is none")),
    };
    if output.json {
        output.value(&json!({"ok": true, "token": token.expose(), "source": source}));
    } else {
        output.line(token.expose());
    }
    Ok(())
}

/// How the running gateway took a new token.
enum Taken {
    /// None runs.
    NotRunning,
    /// Who had the old one was disconnected.
    InForce,
    /// It runs with another secret, or does not follow.
    NotSeen,
}

/// `token rotate`: makes a new token. A gateway that runs takes it over by itself; the old one is used once more,
/// to see it end.
pub(crate) async fn rotate<R: Runtime>(runtime: &R, places: &Places, output: Output) -> Result<(), CliError> {
    let file = places.config.display();
    match places.load(&Flags::default())?.access {
        Access::MadeToken => {}
        Access::Token(_) => {
            let error =
                none("the token is set by the configuration or the environment, not made by the gateway");
            return Err(
                error.hint(format!("change gateway.auth.token in {file}: a running gateway takes it over"))
            );
        }
        Access::Password(_) => {
            let error = none("the gateway asks for a password, not for a token");
            return Err(error
                .hint(format!("change gateway.auth.password in {file}: a running gateway takes it over")));
        }
        Access::Open => return Err(none("the gateway asks for nothing: its auth mode is none")),
        Access::TrustedProxy(_) => {
            return Err(none("the gateway takes the users that its proxy names, and no token"));
        }
    }
    places.state.prepare()?;
    let witness = witness(runtime, places).await;
    new_token(&places.state)?;
    let taken = match (Lock::holder(&places.state), witness) {
        (None, _) => Taken::NotRunning,
        (Some(_), Some(client)) => watch(runtime, client).await,
        (Some(_), None) => Taken::NotSeen,
    };
    tell(&taken, places, output);
    Ok(())
}

/// A connection with the old token.
async fn witness<R: Runtime>(runtime: &R, places: &Places) -> Option<Client<R>> {
    stored_token(&places.state).ok()??;
    let target = Target::resolve(places, &ClientArgs::default()).ok()?;
    Client::connect(runtime, &target, PATIENCE, &[]).await.ok()
}

/// Waits until the connection ends.
async fn watch<R: Runtime>(runtime: &R, mut client: Client<R>) -> Taken {
    let ends = async { while client.next().await.is_ok() {} };
    match within(runtime, Instant::now() + PATIENCE, ends).await {
        Some(()) => Taken::InForce,
        None => Taken::NotSeen,
    }
}

fn tell(taken: &Taken, places: &Places, output: Output) {
    let file = token_file(&places.state).display().to_string();
    if output.json {
        let (running, in_force) = match taken {
            Taken::NotRunning => (false, false),
            Taken::InForce => (true, true),
            Taken::NotSeen => (true, false),
        };
        output.value(&json!({"ok": true, "file": file, "running": running, "inForce": in_force}));
        return;
    }
    output.line(&format!("a new token stands in {file}; `token show` shows it"));
    match taken {
        Taken::NotRunning => output.note("no gateway runs here; the next one begins with it"),
        Taken::InForce => output.note(
            "the running gateway has taken it over: every connection, stream and request of the old token has \
             ended, and devices keep the tokens of their own",
        ),
        Taken::NotSeen => output.note(
            "the running gateway did not follow: it was started with another secret on its command line or in its \
             environment, or it does not answer; restart it",
        ),
    }
}
