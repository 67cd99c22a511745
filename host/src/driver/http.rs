//! HTTP/1.1 on an accepted connection: plain requests go to the gateway, upgrades to the switchboard.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use smol_hyper::rt::FuturesIo;
use telson_core::http::{HttpRequest, HttpResponse};
use telson_core::limits;
use telson_core::peer::Peer;

use crate::net::patience::Patient;
use crate::net::timer::HyperTimer;
use crate::runtime::Runtime;

use super::frames::Frames;
use super::link::{Admitted, Command, Context, Event, Place, Verdict};
use super::socket;
use super::upgrade::{Wish, wish};

/// How long a client may leave an answer unread.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// How much of a body that nobody wants is read before the answer, and for how long.
const DRAIN_BYTES: usize = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// hyper's read buffer: room for the largest head and some of what follows it.
const BUFFER: usize = 32 * 1024;

type Answer = Response<Full<Bytes>>;
type Io<R> = FuturesIo<Patient<R, <R as Runtime>::Stream>>;

/// Serves one connection until it ends, is upgraded, or the gateway goes down.
pub(super) async fn serve<R: Runtime>(context: Context<R>, place: Place, stream: R::Stream, addr: IpAddr) {
    let io = FuturesIo::new(Patient::new(context.runtime.clone(), stream, WRITE_PATIENCE));
    let closing = context.closing.clone();
    let timer = HyperTimer::new(context.runtime.clone());
    let shared = Arc::new(Client { context, addr: addr.to_canonical() });
    let service = service_fn(move |request| {
        let client = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(timer)
        .header_read_timeout(Duration::from_millis(limits::HTTP_HEADER_MS))
        .max_header_size(usize::try_from(limits::HTTP_HEADER_BYTES).unwrap_or(usize::MAX))
        .max_buf_size(BUFFER)
        .half_close(true)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = match select(connection.as_mut(), std::pin::pin!(closing.recv())).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(target: "gateway.http", peer = %addr, %error, "a connection ended badly");
    }
    drop(place);
}

/// One accepted connection and its client's address.
struct Client<R> {
    context: Context<R>,
    addr: IpAddr,
}

impl<R: Runtime> Client<R> {
    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            return write(
                HttpResponse::text(400, "more than one Host header").header("connection", "close"),
                false,
            );
        }
        let has_body = !request.body().is_end_stream();
        match wish(&request, has_body) {
            Wish::Socket { accept } => {
                let upgrade = hyper::upgrade::on(&mut request);
                self.upgrade(&request, upgrade, &accept).await
            }
            Wish::Wrong(reason) => {
                write(HttpResponse::text(400, reason).header("connection", "close"), false)
            }
            wish @ (Wish::Plain | Wish::Unconnected) => self.plain(request, wish == Wish::Unconnected).await,
        }
    }

    /// A request that the gateway answers.
    async fn plain(&self, request: Request<Incoming>, wants_websocket: bool) -> Answer {
        let (head, body) = request.into_parts();
        let asked = HttpRequest {
            peer: self.peer(&head.headers, head.uri.authority().map(http::uri::Authority::as_str)),
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(ToOwned::to_owned),
            authorization: text(&head.headers, &AUTHORIZATION),
            headers: Vec::new(),
            content_length: None,
            wants_websocket,
        };
        let (answer, answered) = async_channel::bounded(1);
        let told = self.context.events.send(Event::Http { request: asked, answer }).await;
        let response = match told {
            Ok(()) => answered.recv().await.ok(),
            Err(_) => None,
        };
        let mut response = write(response.unwrap_or_else(going_down), head.method == Method::HEAD);
        let unwanted = head.headers.contains_key(EXPECT) || !self.drain(body).await;
        if unwanted {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Reads a body that nobody wants, so that its sender sees the answer. False when there is more of it.
    async fn drain(&self, mut body: Incoming) -> bool {
        let read = async {
            let mut left = DRAIN_BYTES;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let size = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(size) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        let late = self.context.runtime.sleep_until(Instant::now() + DRAIN_TIME);
        match select(std::pin::pin!(read), std::pin::pin!(late)).await {
            Either::Left((all, _)) => all,
            Either::Right(_) => false,
        }
    }

    /// A valid upgrade request: the switchboard decides.
    async fn upgrade(&self, request: &Request<Incoming>, upgrade: OnUpgrade, accept: &str) -> Answer {
        let conn = self.context.name();
        let admitted = Admitted::new(conn, self.context.clone());
        let peer = self.peer(request.headers(), None);
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
                return write(response, false);
            }
            None => {
                admitted.forget();
                return write(going_down(), false);
            }
        }
        self.context.spawn(open::<R>(admitted, upgrade, orders));
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", accept)
            .body(Full::default())
            .unwrap_or_default()
    }

    fn peer(&self, headers: &HeaderMap, authority: Option<&str>) -> Peer {
        Peer {
            addr: self.addr,
            host: text(headers, &HOST).or_else(|| authority.map(ToOwned::to_owned)),
            origin: text(headers, &ORIGIN),
            forwarded: headers.keys().any(|name| is_of_a_proxy(name.as_str())),
        }
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
    let frames = Frames::new(parts.io.into_inner().into_inner(), &parts.read_buf);
    drop(parts.read_buf);
    socket::run(admitted, frames, orders).await;
}

/// Whether a header is one that proxies add (spec 01 §3.2).
fn is_of_a_proxy(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip" | "via" | "cf-connecting-ip")
        || name.starts_with("x-forwarded-")
        || name.starts_with("tailscale-")
}

/// A header as text. What is no text is kept as far as it is, so that a header that is there is not missing.
fn text(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// What is answered when the engine is gone.
fn going_down() -> HttpResponse {
    HttpResponse::text(503, "The gateway is shutting down")
        .header("retry-after", "1")
        .header("connection", "close")
}

fn write(response: HttpResponse, head_only: bool) -> Answer {
    let HttpResponse { status, headers, body } = response;
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    if head_only {
        builder = builder.header(CONTENT_LENGTH, body.len());
    }
    let body = if head_only { Bytes::new() } else { Bytes::from(body) };
    builder.body(Full::new(body)).unwrap_or_else(|error| {
        tracing::error!(target: "gateway.http", %error, status, "an answer could not be written");
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_proxies_are_recognised() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-real-ip",
            "via",
            "cf-connecting-ip",
            "tailscale-user-login",
        ] {
            assert!(is_of_a_proxy(name), "{name}");
        }
        for name in ["host", "origin", "x-request-id", "user-agent", "x-forwarded"] {
            assert!(!is_of_a_proxy(name), "{name}");
        }
    }

    #[test]
    fn an_answer_to_head_tells_the_length_and_has_no_body() {
        let answer = write(HttpResponse::text(200, "tide"), true);
        assert_eq!(answer.headers().get(CONTENT_LENGTH), Some(&HeaderValue::from_static("4")));
        assert_eq!(answer.body().size_hint().exact(), Some(0));
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_a_500() {
        let answer = write(HttpResponse::text(200, "").header("x-bad", "line\nbreak"), false);
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
