//! The connection of a conversation, which comes back when the gateway restarts (spec 02 §11.4).

use std::time::{Duration, Instant};

use serde_json::Value;
use telson_core::config::Failure;

use crate::cli::args::Client as ClientArgs;
use crate::cli::client::{Client, Frame, within};
use crate::cli::error::CliError;
use crate::cli::show;
use crate::config::Places;
use crate::runtime::Runtime;

/// A gateway that sends nothing at all for this long is gone: it ticks every 30 seconds.
const SILENCE: Duration = Duration::from_secs(90);

/// The first pause before a new attempt, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What a conversation shows that other commands do not need.
const CAPABILITIES: &[&str] = &["tool-events"];

/// A connection that comes back.
pub(super) struct Link<'a, R: Runtime> {
    runtime: R,
    places: &'a Places,
    args: &'a ClientArgs,
    client: Option<Client<R>>,
    /// When the gateway was last heard.
    heard: Instant,
    /// Since when it is gone.
    lost: Instant,
    /// When to try again, and the pause after that.
    retry: (Instant, Duration),
    /// How long to look for a gateway that is gone; for ever when nothing is said.
    patience: Option<Duration>,
}

/// What happened to the connection.
#[derive(Debug)]
pub(super) enum News {
    /// The gateway sent something.
    Frame(Frame),
    /// The connection broke; a new one is being made.
    Lost(CliError),
    /// The gateway is there again. Requests that were not answered are lost.
    Back,
    /// It will not come back.
    Gone(CliError),
}

impl<'a, R: Runtime> Link<'a, R> {
    /// Connects.
    pub(super) async fn open(
        runtime: &R,
        places: &'a Places,
        args: &'a ClientArgs,
        patience: Option<Duration>,
    ) -> Result<Self, CliError> {
        let (client, _) = show::connect_with(runtime, places, args, CAPABILITIES).await?;
        let now = Instant::now();
        let (runtime, client) = (runtime.clone(), Some(client));
        Ok(Self { runtime, places, args, client, heard: now, lost: now, retry: (now, PAUSES.0), patience })
    }

    /// A member of the hello.
    pub(super) fn hello(&self, path: &str) -> Option<&Value> {
        self.client.as_ref()?.hello.pointer(path)
    }

    /// Sends a request; none while the gateway is gone. The id of the request.
    pub(super) async fn send(&mut self, method: &str, params: Value) -> Option<String> {
        // That it cannot be sent is told by the next `next`.
        self.client.as_mut()?.send(method, params).await.ok()
    }

    /// Asks and waits for the answer.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Result<Value, CliError> {
        match &mut self.client {
            Some(client) => client.call(method, params).await,
            None => Err(CliError::new(Failure::Unavailable, "the gateway is not there; trying again")),
        }
    }

    /// What happens next. May be given up and called again.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let Some(client) = &mut self.client else {
                match self.come_back().await {
                    Some(news) => return news,
                    None => continue,
                }
            };
            let news = within(&self.runtime, self.heard + SILENCE, client.next()).await;
            let error = match news {
                Some(Ok(frame)) => {
                    self.heard = Instant::now();
                    return News::Frame(frame);
                }
                Some(Err(error)) => error,
                None => CliError::new(Failure::GatewayTimeout, "the gateway has fallen silent"),
            };
            self.client = None;
            self.lost = Instant::now();
            self.retry = (self.lost, PAUSES.0);
            return News::Lost(error);
        }
    }

    /// One attempt. The port and the secret are looked up anew: another gateway may have taken the place.
    async fn come_back(&mut self) -> Option<News> {
        let (at, pause) = self.retry;
        self.runtime.sleep_until(at).await;
        match show::connect_with(&self.runtime, self.places, self.args, CAPABILITIES).await {
            Ok((client, _)) => {
                self.client = Some(client);
                self.heard = Instant::now();
                Some(News::Back)
            }
            Err(error) if !may_pass(error.failure) => Some(News::Gone(error)),
            Err(error) if self.patience.is_some_and(|patience| self.lost.elapsed() > patience) => {
                Some(News::Gone(error))
            }
            Err(_) => {
                self.retry = (Instant::now() + pause, (pause * 2).min(PAUSES.1));
                None
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        if let Some(client) = self.client {
            client.close().await;
        }
    }
}

/// Whether a failed attempt may go better the next time.
fn may_pass(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::GatewayUnreachable | Failure::GatewayTimeout | Failure::GatewayClosed | Failure::Unavailable
    )
}
