//! HTTP/1.1 on an accepted connection: plain requests go to the gateway, upgrades to the switchboard.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_channel::Sender;
use futures_util::future::{Either, select};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use smol_hyper::rt::FuturesIo;
use telson_core::http::{HttpRequest, HttpResponse};
use telson_core::ingress::Trail;
use telson_core::limits;
use telson_core::peer::{Listener, Peer};

use crate::net::patience::Patient;
use crate::net::timer::HyperTimer;
use crate::net::tls::Stream;
use crate::runtime::Runtime;

use super::answer::{self, Answer, Content};
use super::body::{self, Read};
use super::exchange::{Asked, Order, next_order};
use super::frames::Frames;
use super::line::{Line, Watch};
use super::link::{Admitted, Command, Context, Event, Verdict};
use super::seats::{Place, Seat};
use super::socket;
use super::upgrade::{Wish, wish};

/// How long a client may leave an answer unread.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// hyper's read buffer: room for the largest head and some of what follows it.
const BUFFER: usize = 32 * 1024;

type Io<R> = FuturesIo<Line<R>>;

/// Serves one connection until it ends, is upgraded, or the gateway goes down.
pub(super) async fn serve<R: Runtime>(
    context: Context<R>,
    (seat, cuts): Place,
    stream: Stream<R::Stream>,
    (addr, listener): (IpAddr, Listener),
) {
    let secure = matches!(stream, Stream::Tls(_));
    let line = Line::new(Patient::new(context.runtime.clone(), stream, WRITE_PATIENCE));
    let runtime = context.runtime.clone();
    let closing = context.closing.clone();
    let client = Client {
        context,
        addr: addr.to_canonical(),
        secure,
        listener,
        line: line.clone(),
        cut: seat.cut(),
        unread: AtomicBool::new(false),
        seat,
    };
    let client = Arc::new(client);
    let shared = Arc::clone(&client);
    let service = service_fn(move |request| {
        let client = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(HyperTimer::new(runtime.clone()))
        .header_read_timeout(Duration::from_millis(limits::HTTP_HEADER_MS))
        .max_header_size(usize::try_from(limits::HTTP_HEADER_BYTES).unwrap_or(usize::MAX))
        .max_buf_size(BUFFER)
        .half_close(true)
        .serve_connection(FuturesIo::new(line.clone()), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = async {
        match select(connection.as_mut(), std::pin::pin!(closing.recv())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match select(std::pin::pin!(served), std::pin::pin!(cuts.recv())).await {
        Either::Left((Ok(()), _)) if client.unread.load(Ordering::Relaxed) => line.linger(&runtime).await,
        Either::Left((Ok(()), _)) | Either::Right(_) => {}
        Either::Left((Err(error), _)) => {
            tracing::debug!(target: "gateway.http", peer = %addr, %error, "a connection ended badly");
        }
    }
}

/// One accepted connection and its client's address.
struct Client<R: Runtime> {
    context: Context<R>,
    addr: IpAddr,
    /// Whether it speaks TLS.
    secure: bool,
    /// On which listener it came.
    listener: Listener,
    line: Line<R>,
    /// Ends the connection at once.
    cut: Sender<()>,
    /// The client may still be sending what nobody reads.
    unread: AtomicBool,
    seat: Seat,
}

/// How a request is to be answered.
enum Reply {
    Whole(HttpResponse),
    Stream(HttpResponse),
    /// The client is gone: nobody reads what is said to it.
    Nobody,
}

impl<R: Runtime> Client<R> {
    /// Answers a request. Until the answer is there the connection keeps its seat; a stream keeps it to its end.
    async fn answer(&self, request: Request<Incoming>) -> Answer<R> {
        self.seat.keep(true);
        let answer = self.decide(request).await;
        self.seat.keep(matches!(answer.body(), Content::Stream(_)));
        answer
    }

    async fn decide(&self, mut request: Request<Incoming>) -> Answer<R> {
        let refuse =
            |reason| answer::whole(HttpResponse::text(400, reason).header("connection", "close"), false);
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            return refuse("more than one Host header");
        }
        let has_body = !request.body().is_end_stream();
        match wish(&request, has_body) {
            Wish::Socket { accept } => {
                let upgrade = hyper::upgrade::on(&mut request);
                self.upgrade(&request, upgrade, &accept).await
            }
            Wish::Wrong(reason) => refuse(reason),
            wish @ (Wish::Plain | Wish::Unconnected) => self.plain(request, wish == Wish::Unconnected).await,
        }
    }

    /// A request that the gateway answers.
    async fn plain(&self, request: Request<Incoming>, wants_websocket: bool) -> Answer<R> {
        let (head, body) = request.into_parts();
        let mut body = Some(body);
        let (mut asked, desk) = Asked::new(self.context.clone(), self.cut.clone());
        let is_old = head.version < Version::HTTP_11;
        let mut watch = Watch::new(self.line.clone(), self.context.runtime.clone(), !is_old);
        let request = Box::new(self.request(&head, wants_websocket));
        let declared = request.content_length;
        let told = self.context.events.send(Event::Http { id: asked.id(), request, desk }).await;
        let reply = match told {
            Ok(()) => self.converse(&mut asked, &mut watch, &mut body, declared).await,
            Err(_) => Reply::Whole(answer::going_down()),
        };
        let head_only = head.method == Method::HEAD;
        let (mut answer, gone) = match reply {
            Reply::Whole(response) => (answer::whole(response, head_only), false),
            Reply::Stream(start) => (answer::stream(start, head_only, is_old, asked, watch), false),
            Reply::Nobody => {
                asked.gone().await;
                (answer::whole(HttpResponse::text(400, "the request broke off"), head_only), true)
            }
        };
        let read = match body {
            None => true,
            Some(_) if gone || head.headers.contains_key(EXPECT) => false,
            Some(body) => body::drain(&self.context.runtime, body).await,
        };
        if !read || gone {
            self.unread.store(!gone, Ordering::Relaxed);
            answer::close(&mut answer);
        }
        answer
    }

    /// Does what the engine wants with a request, until it is clear how it is answered. `body` is taken when all of
    /// it was read.
    async fn converse(
        &self,
        asked: &mut Asked<R>,
        watch: &mut Watch<R>,
        body: &mut Option<Incoming>,
        declared: Option<u64>,
    ) -> Reply {
        let mut order = None;
        loop {
            let next = match order.take() {
                Some(order) => Some(order),
                None => match select(std::pin::pin!(next_order(asked)), &mut *watch).await {
                    Either::Left((order, _)) => order,
                    Either::Right(_) => return Reply::Nobody,
                },
            };
            match next {
                None => return Reply::Whole(answer::going_down()),
                Some(Order::Respond(response)) => return Reply::Whole(response),
                Some(Order::Head(head)) => return Reply::Stream(head),
                Some(Order::Chunk(_) | Order::End) => {}
                Some(Order::ReadBody { limit }) => match self.read(asked, body, declared, limit).await {
                    Ok(next) => order = next,
                    Err(reply) => return reply,
                },
            }
        }
    }

    /// Reads the body and passes it on; an order that comes meanwhile ends the reading and is returned.
    async fn read(
        &self,
        asked: &mut Asked<R>,
        body: &mut Option<Incoming>,
        declared: Option<u64>,
        limit: usize,
    ) -> Result<Option<Order>, Reply> {
        let id = asked.id();
        let mut share = self.context.bodies.share();
        let read = match body {
            None => Read::Done(Ok(bytes::Bytes::new())),
            Some(incoming) => {
                let reading = body::read(&self.context.runtime, incoming, declared, limit, &mut share);
                match select(std::pin::pin!(next_order(asked)), std::pin::pin!(reading)).await {
                    Either::Left((order, _)) => {
                        return order.map(Some).ok_or_else(|| Reply::Whole(answer::going_down()));
                    }
                    Either::Right((read, _)) => read,
                }
            }
        };
        match read {
            Read::Gone => Err(Reply::Nobody),
            Read::Busy => {
                // The gateway hears of it as of a client that is gone: it has nothing to do with this one.
                let _ = self.context.events.send(Event::Gone { id }).await;
                Err(Reply::Whole(answer::busy()))
            }
            Read::Done(result) => {
                if result.is_ok() {
                    *body = None;
                }
                let event = Event::Body { id, body: result, share };
                match self.context.events.send(event).await {
                    Ok(()) => Ok(None),
                    Err(_) => Err(Reply::Whole(answer::going_down())),
                }
            }
        }
    }

    /// The head, as the machines see it. hyper has bounded it.
    fn request(&self, head: &Parts, wants_websocket: bool) -> HttpRequest {
        let headers = lines(&head.headers);
        let mut peer = self.peer(&headers);
        if peer.host.is_none() {
            peer.host = head.uri.authority().map(|authority| authority.as_str().to_owned());
        }
        HttpRequest {
            peer,
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(ToOwned::to_owned),
            authorization: text(&head.headers, &AUTHORIZATION),
            headers,
            content_length: text(&head.headers, &CONTENT_LENGTH)
                .and_then(|length| length.trim().parse().ok()),
            wants_websocket,
        }
    }

    /// A valid upgrade request: the switchboard decides.
    async fn upgrade(&self, request: &Request<Incoming>, upgrade: OnUpgrade, accept: &str) -> Answer<R> {
        let conn = self.context.name();
        let admitted = Admitted::new(conn, self.context.clone());
        let head = lines(request.headers());
        let mut peer = self.peer(&head);
        peer.trail = Trail::new(head);
        peer.query = request.uri().query().map(ToOwned::to_owned);
        let (verdict, decided) = async_channel::bounded(1);
        let (commands, orders) = async_channel::unbounded::<Command>();
        let told = self.context.events.send(Event::Upgrade { conn, peer, verdict, commands }).await;
        let verdict = match told {
            Ok(()) => decided.recv().await.ok(),
            Err(_) => None,
        };
        match verdict {
            Some(Verdict::Admitted) => {}
            Some(Verdict::Rejected(response)) => {
                admitted.forget();
                return answer::whole(response, false);
            }
            None => {
                admitted.forget();
                return answer::whole(answer::going_down(), false);
            }
        }
        self.context.spawn(open::<R>(admitted, upgrade, orders));
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", accept)
            .body(Content::Whole(Full::default()))
            .unwrap_or_else(|_| answer::whole(HttpResponse::text(500, "Internal Server Error"), false))
    }

    fn peer(&self, head: &[(String, String)]) -> Peer {
        Peer { secure: self.secure, ..Peer::seen(self.addr, self.listener, head) }
    }
}

/// Waits for the upgrade to be answered, then runs the socket.
async fn open<R: Runtime>(
    admitted: Admitted<R>,
    upgrade: OnUpgrade,
    orders: async_channel::Receiver<Command>,
) {
    let parts = match upgrade.await.map(hyper::upgrade::Upgraded::downcast::<Io<R>>) {
        Ok(Ok(parts)) => parts,
        Ok(Err(_)) | Err(_) => return admitted.closed().await,
    };
    let Some((stream, ahead)) = parts.io.into_inner().take() else { return admitted.closed().await };
    let frames = Frames::new(stream, &[&parts.read_buf[..], &ahead[..]].concat());
    drop((parts.read_buf, ahead));
    socket::run(admitted, frames, orders).await;
}

/// The lines of a head, names in lower case.
fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), lossy(value))).collect()
}

/// A header as text. What is no text is kept as far as it is, so that a header that is there is not missing.
fn text(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    headers.get(name).map(lossy)
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
