//! The connection of a node to its gateway, in a task of its own.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use telson_core::nodehost::{Barrier, Input, LinkId};

use crate::net::ws::{self, Received, WsClient, WsError};
use crate::runtime::Runtime;

use super::Context;

/// How long a goodbye may take.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// As many messages may wait for a gateway that does not read.
const UNREAD: usize = 4_096;

/// A connection, or an attempt to make one. Dropping it ends it without a word.
pub(super) struct Line(Sender<Order>);

enum Order {
    Send(String),
    Close(u16, &'static str),
}

impl Line {
    /// Begins to connect.
    pub(super) fn start<R: Runtime>(runtime: &R, context: &Arc<Context>, link: LinkId, url: String) -> Self {
        let (orders, inbox) = async_channel::bounded(UNREAD);
        let (context, own) = (Arc::clone(context), runtime.clone());
        runtime.spawn(async move {
            if let Some(end) = run(&own, &context, link, &url, &inbox).await {
                let _ = context.events.send(end).await;
            }
        });
        Self(orders)
    }

    /// Sends a message. A gateway that leaves too many unread is given up.
    pub(super) fn send(&self, text: String) {
        if self.0.try_send(Order::Send(text)).is_err() {
            self.0.close();
        }
    }

    /// Says goodbye.
    pub(super) fn close(self, code: u16, reason: &'static str) {
        let _ = self.0.try_send(Order::Close(code, reason));
    }
}

enum Step {
    Heard(Result<Received, WsError>),
    Told(Option<Order>),
}

/// Runs a connection; how it ended, unless it was told to end.
async fn run<R: Runtime>(
    runtime: &R,
    context: &Context,
    link: LinkId,
    url: &str,
    orders: &Receiver<Order>,
) -> Option<Input> {
    let opening = pin!(ws::connect(runtime, url, &context.trust));
    let mut socket = match select(opening, pin!(orders.recv())).await {
        Either::Left((Ok(socket), _)) => socket,
        Either::Left((Err(error), _)) => return Some(unreachable(link, &error)),
        Either::Right(_) => return None,
    };
    context.events.send(Input::Opened(link)).await.ok()?;
    loop {
        let step = match select(pin!(socket.recv()), pin!(orders.recv())).await {
            Either::Left((heard, _)) => Step::Heard(heard),
            Either::Right((order, _)) => Step::Told(order.ok()),
        };
        let broken = match step {
            Step::Heard(Ok(Received::Text(text))) => {
                context.events.send(Input::Message(link, text)).await.ok()?;
                continue;
            }
            Step::Heard(Ok(Received::Close { code, reason })) => {
                return Some(Input::Closed { link, code, reason });
            }
            Step::Heard(Err(error)) => error.to_string(),
            Step::Told(Some(Order::Send(text))) => match socket.send(text).await {
                Ok(()) => continue,
                Err(error) => error.to_string(),
            },
            Step::Told(Some(Order::Close(code, reason))) => {
                goodbye(runtime, socket, code, reason).await;
                return None;
            }
            Step::Told(None) => "the gateway does not read what it is sent".to_owned(),
        };
        return Some(Input::Closed { link, code: 1006, reason: broken });
    }
}

async fn goodbye<R: Runtime>(runtime: &R, socket: WsClient<R>, code: u16, reason: &'static str) {
    let late = runtime.sleep_until(Instant::now() + GOODBYE);
    select(pin!(socket.close_with(code, reason)), pin!(late)).await;
}

fn unreachable(link: LinkId, error: &WsError) -> Input {
    let barrier = match error {
        WsError::Url(_) => Barrier::Url,
        WsError::Refused { status, .. } => Barrier::Http(*status),
        WsError::Pin { .. } => Barrier::Certificate,
        WsError::Connect { .. } | WsError::Broken(_) => Barrier::Network,
    };
    Input::Unreachable { link, reason: error.to_string(), barrier }
}
