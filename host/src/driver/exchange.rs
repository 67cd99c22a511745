//! One HTTP request between the engine and the task of its connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Poller, Poll};

use async_channel::{Receiver, Sender, TrySendError};
use bytes::Bytes;
use futures_util::stream::Stream;
use telson_core::HttpId;
use telson_core::http::HttpResponse;
use telson_core::limits;

use crate::runtime::Runtime;

use super::Pinned;
use super::link::{Context, Event};

/// What even an empty piece of an answer counts for while it waits, in bytes.
const PIECE: usize = 64;

/// What a request's task is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Answer whole.
    Respond(HttpResponse),
    /// Read the body, up to so many bytes.
    ReadBody { limit: usize },
    /// Begin an answer.
    Head(HttpResponse),
    /// Go on with it.
    Chunk(Bytes),
    /// The answer is complete.
    End,
}

/// The engine's end of a request.
#[derive(Debug)]
pub(super) struct Desk {
    orders: Sender<Order>,
    /// Bytes of pieces that the task has not taken.
    unread: Arc<AtomicUsize>,
    /// Ends the connection.
    cut: Sender<()>,
}

/// The task's end of a request. Whatever happens to the task, the engine hears of it once.
pub(super) struct Asked<R: Runtime> {
    id: HttpId,
    context: Context<R>,
    orders: Pinned<Receiver<Order>>,
    unread: Arc<AtomicUsize>,
    open: bool,
}

impl<R: Runtime> Asked<R> {
    /// Both ends of a new request; `cut` ends its connection.
    pub(super) fn new(context: Context<R>, cut: Sender<()>) -> (Self, Desk) {
        let (orders, told) = async_channel::unbounded();
        let unread = Arc::<AtomicUsize>::default();
        let desk = Desk { orders, unread: Arc::clone(&unread), cut };
        (Self { id: context.name_request(), context, orders: Box::pin(told), unread, open: true }, desk)
    }

    pub(super) fn id(&self) -> HttpId {
        self.id
    }

    /// The next order; `None` when the engine is gone or has given the request up.
    pub(super) fn poll_order(&mut self, cx: &mut Poller<'_>) -> Poll<Option<Order>> {
        let order = std::task::ready!(self.orders.as_mut().poll_next(cx));
        if let Some(Order::Chunk(chunk)) = &order {
            self.unread.fetch_sub(weight(chunk), Ordering::Relaxed);
        }
        if matches!(order, Some(Order::Respond(_) | Order::End)) {
            self.open = false;
        }
        Poll::Ready(order)
    }

    /// Nobody waits for what follows: there is nothing to tell.
    pub(super) fn forget(mut self) {
        self.open = false;
    }

    /// Ends the watch over the request; the engine hears that the client is gone.
    pub(super) async fn gone(mut self) {
        self.open = false;
        let _ = self.context.events.send(Event::Gone { id: self.id }).await;
    }
}

impl<R: Runtime> Drop for Asked<R> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if let Err(TrySendError::Full(event)) = self.context.events.try_send(Event::Gone { id: self.id }) {
            let events = self.context.events.clone();
            self.context.runtime.spawn(async move {
                let _ = events.send(event).await;
            });
        }
    }
}

fn weight(chunk: &Bytes) -> usize {
    chunk.len().max(PIECE)
}

/// The requests that are not answered, as the engine knows them.
#[derive(Default)]
pub(super) struct Requests(HashMap<HttpId, Desk>);

impl Requests {
    /// A request has come.
    pub(super) fn begin(&mut self, id: HttpId, desk: Desk) {
        self.0.insert(id, desk);
    }

    /// Passes an order on. A request whose task is gone hears nothing; its guard tells of its end.
    pub(super) fn order(&mut self, id: HttpId, order: Order) {
        if let Some(desk) = self.0.get(&id) {
            let _ = desk.orders.try_send(order);
        }
    }

    /// Passes the last order on.
    pub(super) fn finish(&mut self, id: HttpId, order: Order) {
        self.order(id, order);
        self.0.remove(&id);
    }

    /// Passes a piece of an answer on. False when the client reads too little and was given up.
    pub(super) fn chunk(&mut self, id: HttpId, chunk: Bytes) -> bool {
        let Some(desk) = self.0.get(&id) else { return true };
        let size = weight(&chunk);
        let most = usize::try_from(limits::HTTP_UNREAD_BYTES).unwrap_or(usize::MAX);
        if desk.unread.fetch_add(size, Ordering::Relaxed).saturating_add(size) > most {
            tracing::warn!(target: "gateway.http", %id, "a client does not read its answer and is given up");
            let _ = desk.cut.try_send(());
            self.0.remove(&id);
            return false;
        }
        let _ = desk.orders.try_send(Order::Chunk(chunk));
        true
    }

    /// The client is gone. False when nobody waits for that news.
    pub(super) fn gone(&mut self, id: HttpId) -> bool {
        self.0.remove(&id).is_some()
    }

    /// Whether a request is not answered yet.
    pub(super) fn contains(&self, id: HttpId) -> bool {
        self.0.contains_key(&id)
    }
}

/// Waits for the next order.
pub(super) async fn next_order<R: Runtime>(asked: &mut Asked<R>) -> Option<Order> {
    std::future::poll_fn(|cx| asked.poll_order(cx)).await
}

/// So that a guard can stand in a pinned place.
impl<R: Runtime> Unpin for Asked<R> {}
