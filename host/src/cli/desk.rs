//! Where decisions about devices and tokens are made: at the gateway that runs on the state directory, or at the
//! [owner's desk](telson_core::desk) on its database while none runs (07 P-22).
//!
//! A database that cannot be read or written is left as it is, and nothing is decided (spec 08 S-50).

use std::time::{SystemTime, UNIX_EPOCH};

use async_channel::Receiver;
use serde_json::Value;
use telson_core::config::{Access, Failure, Flags, Loaded};
use telson_core::desk::{Desk as Owner, Step};
use telson_core::messages::Outcome;
use telson_core::settings::{AuthMode, Settings};
use telson_core::store::{Everything, Loaded as Found, Query};
use telson_core::{Now, QueryId, Seed};

use crate::config::Places;
use crate::runtime::Runtime;
use crate::state::{Holder, Lock, facts};
use crate::store::{self, Report, StoreHandle};

use super::args::Client as ClientArgs;
use super::client::{Client, refused};
use super::error::CliError;
use super::show::connect;

/// Where decisions are made.
pub(crate) enum Desk<R: Runtime> {
    /// A gateway.
    Online(Box<Client<R>>),
    /// The database.
    Offline(Box<Offline>),
}

/// A database that nobody else has open.
pub(crate) struct Offline {
    owner: Owner,
    store: StoreHandle,
    reports: Receiver<Report>,
    sender: async_channel::Sender<Report>,
    /// Held until the decision is on disk.
    _lock: Lock,
}

impl<R: Runtime> Desk<R> {
    /// The gateway that the options name or that runs here; failing both, the database.
    pub(crate) async fn open(runtime: &R, places: &Places, args: &ClientArgs) -> Result<Self, CliError> {
        if args.url.is_some() || Lock::holder(&places.state).is_some() {
            let (client, _) = connect(runtime, places, args).await?;
            return Ok(Self::Online(Box::new(client)));
        }
        Offline::open(runtime, places).await.map(|offline| Self::Offline(Box::new(offline)))
    }

    /// Calls a method.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, CliError> {
        match self {
            Self::Online(client) => client.call(method, params).await,
            Self::Offline(offline) => offline.call(method, &params).await,
        }
    }

    /// Whether a gateway answers.
    pub(crate) const fn is_online(&self) -> bool {
        matches!(self, Self::Online(_))
    }

    /// Ends.
    pub(crate) async fn close(self) {
        match self {
            Self::Online(client) => client.close().await,
            Self::Offline(offline) => offline.store.close().await,
        }
    }
}

impl Offline {
    async fn open<R: Runtime>(runtime: &R, places: &Places) -> Result<Self, CliError> {
        let loaded = places.load(&Flags::default())?;
        if loaded.remote {
            let error =
                CliError::new(Failure::ModeRemote, "gateway.mode is remote: the devices are kept elsewhere");
            return Err(error.hint("pass --url with --token or --password, or set gateway.mode to local"));
        }
        places.state.prepare()?;
        let holder = Holder::this(&places.state, 0, &places.config);
        let state = places.state.clone();
        let work = move || -> Result<(Lock, StoreHandle), CliError> {
            let lock = Lock::take(&state, &holder, std::time::Duration::ZERO)?;
            Ok((lock, store::open(&state.database())?))
        };
        let opened = runtime.unblock(work).await;
        let (lock, store) = opened.map_err(|error| internal(&error))??;
        let (sender, reports) = async_channel::unbounded();
        store.load(QueryId(1), Query::Everything, &sender);
        let everything = match reports.recv().await {
            Ok(Report::Loaded { result: Ok(Found::Everything(everything)), .. }) => *everything,
            Ok(Report::Loaded { result: Err(error), .. }) => {
                return Err(CliError::new(Failure::Internal, error.to_string())
                    .hint("nothing was changed; put a backup of telson.db in its place, or move it aside"));
            }
            Ok(_) => return Err(internal(&"the store answered another question")),
            Err(error) => return Err(internal(&error)),
        };
        let owner = owner(places, &loaded, everything)?;
        Ok(Self { owner, store, reports, sender, _lock: lock })
    }

    async fn call(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        let mut step = self.owner.ask(now(), method, &params.to_string());
        loop {
            match step {
                Step::Store(transaction) => {
                    self.store.write(transaction, &self.sender);
                    step = match self.reports.recv().await {
                        Ok(Report::Stored { id, result }) => self.owner.stored(now(), id, result),
                        Ok(Report::Loaded { .. }) => {
                            return Err(internal(&"the store answered another question"));
                        }
                        Err(error) => return Err(internal(&error)),
                    };
                }
                Step::Done(Outcome { payload: Some(payload), error: None }) => return Ok(payload.to_value()),
                Step::Done(Outcome { error, .. }) => {
                    return Err(refused(&serde_json::to_value(error).unwrap_or_default()));
                }
            }
        }
    }
}

fn owner(places: &Places, loaded: &Loaded, everything: Everything) -> Result<Owner, CliError> {
    let mode = match &loaded.access {
        Access::Password(secret) => AuthMode::Password(secret.clone()),
        _ => AuthMode::None,
    };
    let mut settings = Settings::plain(mode);
    settings.facts = facts(&places.state, &places.config);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| internal(&error))?;
    Ok(Owner::new(settings, Seed::from(seed), now(), everything, loaded.listen.clone()))
}

/// Requests and codes end by the wall clock; nothing here lives long enough for the other.
fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: std::time::Duration::ZERO, wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

fn internal(error: &impl std::fmt::Display) -> CliError {
    CliError::new(Failure::Internal, error.to_string())
}
