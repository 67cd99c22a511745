//! Outbound HTTP/1.1, as the machines ask for it.
//!
//! A request is one future: dropping it gives the request up. What becomes of it is told in the order in which
//! it happens; after the end or a failure nothing more is told. Redirects are not followed, proxies not used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use smol_hyper::rt::FuturesIo;
use telson_core::fetch::{FetchError, FetchEvent, FetchRequest, Reach};
use telson_core::guard::{Forbidden, judge_url};
use url::{Host, Url};

use crate::runtime::Runtime;
use crate::tls::Trust;

use super::dial::{dial, dial_public};
use super::tls::{self, Stream};

/// Sends a request and tells what becomes of it. `tell` returns false when nobody listens any more.
pub async fn fetch<R, F>(runtime: R, request: FetchRequest, mut tell: impl FnMut(FetchEvent) -> F)
where
    R: Runtime,
    F: Future<Output = bool>,
{
    let last = match run(&runtime, request, &mut tell).await {
        Ok(true) => FetchEvent::End,
        Ok(false) => return,
        Err(error) => FetchEvent::Failed(error),
    };
    tell(last).await;
}

/// Ok(false) when nobody listens any more.
async fn run<R, F>(
    runtime: &R,
    request: FetchRequest,
    tell: &mut impl FnMut(FetchEvent) -> F,
) -> Result<bool, FetchError>
where
    R: Runtime,
    F: Future<Output = bool>,
{
    let (head_timeout, idle_timeout, reach) = (request.head_timeout, request.idle_timeout, request.reach);
    let target = Target::of(&request.url, reach)?;
    let request = build(request, &target)?;
    let began = Instant::now();
    let stream = within(runtime, began, head_timeout, connect(runtime, &target, reach)).await?;
    let (mut sender, connection) = http1::handshake(FuturesIo::new(stream)).await.map_err(broken)?;
    let mut connection = std::pin::pin!(connection);
    let answer = beside(connection.as_mut(), sender.send_request(request));
    let answer = async { answer.await.map_err(broken) };
    let (head, mut body) = within(runtime, began, head_timeout, answer).await?.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let event = FetchEvent::Head { status: head.status.as_u16(), headers: headers.collect() };
    if !tell(event).await {
        return Ok(false);
    }
    loop {
        let chunk = async { next_chunk(&mut body).await.transpose().map_err(broken) };
        let chunk = beside(connection.as_mut(), chunk);
        match within(runtime, Instant::now(), idle_timeout, chunk).await? {
            Some(bytes) => {
                if !tell(FetchEvent::Chunk(bytes)).await {
                    return Ok(false);
                }
            }
            None => return Ok(true),
        }
    }
}

/// The next piece of the body that has bytes.
async fn next_chunk(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match body.frame().await? {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data()
                    && !bytes.is_empty()
                {
                    return Some(Ok(bytes));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Drives the connection while waiting for something that it brings. What the connection itself has to say at
/// its end reaches the waiting side by way of hyper.
async fn beside<T>(
    mut connection: impl Future<Output = Result<(), hyper::Error>> + Unpin,
    wanted: impl Future<Output = T>,
) -> T {
    let mut wanted = std::pin::pin!(wanted);
    let mut over = false;
    std::future::poll_fn(|cx| {
        if !over {
            over = std::pin::Pin::new(&mut connection).poll(cx).is_ready();
        }
        wanted.as_mut().poll(cx)
    })
    .await
}

async fn within<R: Runtime, T>(
    runtime: &R,
    began: Instant,
    limit: Duration,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let late = runtime.sleep_until(began + limit);
    match select(std::pin::pin!(work), std::pin::pin!(late)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(FetchError::Timeout(limit)),
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    secure: bool,
    /// The `Host` header.
    authority: String,
    /// Path and query.
    path: String,
}

impl Target {
    fn of(url: &str, reach: Reach) -> Result<Self, FetchError> {
        let refuse = |reason: &str| {
            FetchError::Url(format!("the URL {reason}; expected http://host/path or https://host/path"))
        };
        let forbid = |forbidden: Forbidden| FetchError::Forbidden(forbidden.to_string());
        if reach == Reach::Public {
            judge_url(url).map_err(forbid)?;
        }
        let url = Url::parse(url).map_err(|error| refuse(&format!("is unusable ({error})")))?;
        if reach == Reach::Public {
            // What the parser makes of it counts, whatever it looked like.
            judge_url(url.as_str()).map_err(forbid)?;
        }
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(refuse(&format!("has the scheme {other}"))),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(addr)) => addr.to_string(),
            Some(Host::Ipv6(addr)) => addr.to_string(),
            None => return Err(refuse("has no host")),
        };
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let port = url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { host, port, secure, authority, path })
    }
}

fn build(request: FetchRequest, target: &Target) -> Result<http::Request<Full<Bytes>>, FetchError> {
    let mut built = http::Request::builder().method(request.method).uri(target.path.as_str());
    built = built.header(HOST, target.authority.as_str());
    if !request.headers.iter().any(|(name, _)| name == USER_AGENT.as_str()) {
        built = built.header(USER_AGENT, concat!("telson/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in request.headers {
        // The value may be a key: an error names the header only.
        let refuse = || {
            FetchError::Url(format!(
                "the request header \"{name}\" cannot be sent: a name is letters, digits and dashes, a value one line"
            ))
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse())?;
        let value = HeaderValue::from_str(&value).map_err(|_| refuse())?;
        built = built.header(key, value);
    }
    built.body(Full::new(request.body)).map_err(|error| FetchError::Url(error.to_string()))
}

async fn connect<R: Runtime>(
    runtime: &R,
    target: &Target,
    reach: Reach,
) -> Result<Stream<R::Stream>, FetchError> {
    let refuse = |error: std::io::Error| FetchError::Connect {
        host: target.authority.clone(),
        reason: error.to_string(),
    };
    let stream = match reach {
        Reach::Anywhere => dial(runtime, &target.host, target.port).await.map_err(refuse)?,
        Reach::Public => dial_public(runtime, &target.host, target.port)
            .await
            .map_err(refuse)?
            .map_err(|forbidden| FetchError::Forbidden(forbidden.to_string()))?,
    };
    if target.secure {
        tls::connect(stream, &target.host, &Trust::Public).await.map_err(refuse)
    } else {
        Ok(Stream::Plain(stream))
    }
}

/// hyper's words, with the cause that it hides.
fn broken(error: hyper::Error) -> FetchError {
    let error: Arc<dyn std::error::Error> = Arc::new(error);
    let text = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    FetchError::Broken(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_says_where_a_request_goes() {
        let target = Target::of("https://models.example/v1/chat?x=1#part", Reach::Anywhere).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.secure), ("models.example", 443, true));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("models.example", "/v1/chat?x=1"));
        let target = Target::of("http://[::1]:8080", Reach::Anywhere).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.secure), ("::1", 8080, false));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("[::1]:8080", "/"));
    }

    #[test]
    fn a_url_that_leads_nowhere_is_refused_with_the_reason() {
        for (url, word) in [("ftp://host/", "scheme ftp"), ("nonsense", "unusable"), ("http://", "unusable")]
        {
            let error = Target::of(url, Reach::Anywhere).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("expected http"), "{url}: {error}");
        }
    }

    #[test]
    fn a_guarded_request_is_judged_as_it_is_written_and_as_it_is_read() {
        let full_width = "http://\u{ff11}27.0.0.1/";
        for url in ["http://localhost/", "http://127.1/", "http://[::ffff:10.0.0.1]/", full_width] {
            assert!(matches!(Target::of(url, Reach::Public), Err(FetchError::Forbidden(_))), "{url}");
            assert!(Target::of(url, Reach::Anywhere).is_ok(), "{url}");
        }
        assert!(Target::of("https://example.org/", Reach::Public).is_ok());
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_without_its_value() {
        let request = FetchRequest {
            reach: Reach::Anywhere,
            method: "POST",
            url: "http://host/".to_owned(),
            headers: vec![("authorization".to_owned(), "Bearer tide\nmoon".to_owned())],
            body: Bytes::new(),
            head_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
        };
        let target = Target::of(&request.url, Reach::Anywhere).unwrap();
        let error = build(request, &target).unwrap_err().to_string();
        assert!(error.contains("authorization") && !error.contains("tide"), "{error}");
    }
}
