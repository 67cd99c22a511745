//! Answers on their way to an HTTP client: whole ones, and streams that are fed as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use telson_core::http::HttpResponse;

use crate::runtime::Runtime;

use super::exchange::{Asked, Order};
use super::line::Watch;

/// What hyper writes.
pub(super) type Answer<R> = Response<Content<R>>;

/// The body of an answer.
pub(super) enum Content<R: Runtime> {
    /// All of it.
    Whole(Full<Bytes>),
    /// What comes, as it comes.
    Stream(Box<Pieces<R>>),
}

/// An answer whose pieces come from the engine.
pub(super) struct Pieces<R: Runtime> {
    asked: Asked<R>,
    watch: Watch<R>,
    over: bool,
}

impl<R: Runtime> Pieces<R> {
    /// The next piece; `None` at the end. An error ends the connection.
    fn poll_piece(&mut self, cx: &mut Poller<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            return match self.asked.poll_order(cx) {
                Poll::Ready(Some(Order::Chunk(chunk))) if !chunk.is_empty() => Poll::Ready(Some(Ok(chunk))),
                Poll::Ready(Some(Order::End)) => {
                    self.over = true;
                    Poll::Ready(None)
                }
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
                Poll::Pending => {
                    ready!(Pin::new(&mut self.watch).poll(cx));
                    Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())))
                }
            };
        }
    }
}

impl<R: Runtime> Body for Content<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Stream(pieces) if pieces.over => Poll::Ready(None),
            Self::Stream(pieces) => {
                pieces.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(pieces) => pieces.over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer that is here whole.
pub(super) fn whole<R: Runtime>(response: HttpResponse, head_only: bool) -> Answer<R> {
    let HttpResponse { status, headers, body } = response;
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    if head_only {
        builder = builder.header(CONTENT_LENGTH, body.len());
    }
    let body = if head_only { Bytes::new() } else { Bytes::from(body) };
    builder.body(Content::Whole(Full::new(body))).unwrap_or_else(|error| {
        tracing::error!(target: "gateway.http", %error, status, "an answer could not be written");
        let mut response = Response::new(Content::Whole(Full::default()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// The head of an answer whose pieces follow. `is_old` is a client of HTTP/1.0: for it the end of the connection is
/// the end of the answer.
pub(super) fn stream<R: Runtime>(
    head: HttpResponse,
    head_only: bool,
    is_old: bool,
    asked: Asked<R>,
    mut watch: Watch<R>,
) -> Answer<R> {
    watch.answering();
    let mut answer = whole(HttpResponse { body: String::new(), ..head }, false);
    if is_old {
        close(&mut answer);
    }
    if head_only {
        // The pieces have nowhere to go, which is no reason to call the client gone.
        asked.forget();
    } else {
        *answer.body_mut() = Content::Stream(Box::new(Pieces { asked, watch, over: false }));
    }
    answer
}

/// The connection ends with this answer.
pub(super) fn close<R: Runtime>(answer: &mut Answer<R>) {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// What is answered when the engine is gone.
pub(super) fn going_down() -> HttpResponse {
    HttpResponse::text(503, "The gateway is shutting down")
        .header("retry-after", "1")
        .header("connection", "close")
}

/// What is answered when too many bodies are being read at once.
pub(super) fn busy() -> HttpResponse {
    let body = r#"{"error":{"message":"The gateway is reading too many request bodies; try again","type":"api_error","code":"gateway_unavailable","param":null}}"#;
    HttpResponse::json(503, body).header("retry-after", "1").header("x-should-retry", "true")
}

#[cfg(test)]
mod tests {
    use super::super::tests::Nowhere;
    use super::*;

    #[test]
    fn an_answer_to_head_tells_the_length_and_has_no_body() {
        let answer: Answer<Nowhere> = whole(HttpResponse::text(200, "tide"), true);
        assert_eq!(answer.headers().get(CONTENT_LENGTH), Some(&HeaderValue::from_static("4")));
        assert_eq!(answer.body().size_hint().exact(), Some(0));
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_a_500() {
        let answer: Answer<Nowhere> =
            whole(HttpResponse::text(200, "").header("x-bad", "line\nbreak"), false);
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
