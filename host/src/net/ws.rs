//! The WebSocket client of the command line.

use std::io;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{self, Message};
use futures_util::StreamExt;
use url::{Host, Url};

use crate::runtime::Runtime;

use crate::tls::{Leaf, Pin, Trust, mismatch};

use super::dial::dial;
use super::tls::{self, Stream};

/// The largest message that a gateway may send.
const MAX_MESSAGE: usize = 128 * 1024 * 1024;

/// A connection to a gateway.
pub struct WsClient<R: Runtime> {
    socket: WebSocketStream<Stream<R::Stream>>,
    leaf: Option<Leaf>,
}

/// What the gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Text(String),
    /// It has closed the connection; nothing follows.
    Close {
        /// The close code; 1005 when none was sent, 1006 when the connection broke off.
        code: u16,
        /// The reason; may be empty.
        reason: String,
    },
}

/// Why a gateway cannot be reached or spoken to.
#[derive(Debug, thiserror::Error)]
pub enum WsError {
    /// The URL is unusable.
    #[error("the gateway URL is unusable: {0}; expected ws://host:port or wss://host:port")]
    Url(String),
    /// No connection: name resolution, refusal, TLS.
    #[error("cannot connect to {authority}: {cause}")]
    Connect {
        /// The host and port that were asked.
        authority: String,
        /// The operating system's or the TLS library's reason.
        cause: io::Error,
    },
    /// The server's certificate is not the pinned one. Nothing was sent to it.
    #[error("{authority} shows the certificate {}, not the pinned {}", found.certificate, list(pinned))]
    Pin {
        /// The host and port that were asked.
        authority: String,
        /// The fingerprints that would have been right.
        pinned: Vec<Pin>,
        /// What the server showed.
        found: Leaf,
    },
    /// Something answers there, but it is no gateway or does not want to talk.
    #[error("the server answered the upgrade with HTTP {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// The connection broke, or what came is no WebSocket.
    #[error("the connection failed: {0}")]
    Broken(String),
}

fn list(pins: &[Pin]) -> String {
    pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// Connects to a gateway at `ws://` or `wss://`.
///
/// # Errors
/// See [`WsError`]. There is no time limit: the caller sets one.
pub async fn connect<R: Runtime>(runtime: &R, url: &str, trust: &Trust) -> Result<WsClient<R>, WsError> {
    let parsed = Url::parse(url).map_err(|error| WsError::Url(error.to_string()))?;
    let secure = match parsed.scheme() {
        "ws" => false,
        "wss" => true,
        other => return Err(WsError::Url(format!("the scheme is {other}"))),
    };
    if !secure && *trust != Trust::Public {
        return Err(WsError::Url("a certificate is pinned, and ws:// shows none".to_owned()));
    }
    let host = match parsed.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(addr)) => addr.to_string(),
        Some(Host::Ipv6(addr)) => addr.to_string(),
        None => return Err(WsError::Url("there is no host in it".to_owned())),
    };
    let port = parsed.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
    let authority = format!("{}:{port}", parsed.host_str().unwrap_or_default());
    let refuse = |cause| WsError::Connect { authority: authority.clone(), cause };
    let stream = dial(runtime, &host, port).await.map_err(refuse)?;
    let stream = if secure {
        tls::connect(stream, &host, trust).await.map_err(|error| refused(error, &authority))?
    } else {
        Stream::Plain(stream)
    };
    let leaf = stream.leaf();
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let upgraded = async_tungstenite::client_async_with_config(parsed.as_str(), stream, Some(config)).await;
    let (socket, _) = upgraded.map_err(failure)?;
    Ok(WsClient { socket, leaf })
}

/// Why there is no TLS connection.
fn refused(cause: io::Error, authority: &str) -> WsError {
    let authority = authority.to_owned();
    match mismatch(&cause) {
        Some(mismatch) => WsError::Pin { authority, pinned: mismatch.pinned.clone(), found: mismatch.found },
        None => WsError::Connect { authority, cause },
    }
}

fn failure(error: tungstenite::Error) -> WsError {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            WsError::Refused { status: response.status().as_u16(), body: body.chars().take(200).collect() }
        }
        other => WsError::Broken(other.to_string()),
    }
}

impl<R: Runtime> WsClient<R> {
    /// The certificate that the gateway showed; `None` without TLS.
    pub fn leaf(&self) -> Option<Leaf> {
        self.leaf
    }

    /// Sends a text message; returns when it has left.
    ///
    /// # Errors
    /// [`WsError::Broken`].
    pub async fn send(&mut self, text: String) -> Result<(), WsError> {
        self.socket.send(Message::text(text)).await.map_err(failure)
    }

    /// The next message, or the close. Pings are answered on the way. May be given up and called again.
    ///
    /// # Errors
    /// [`WsError::Broken`] when what came is no WebSocket message.
    pub async fn recv(&mut self) -> Result<Received, WsError> {
        loop {
            return match self.socket.next().await {
                Some(Ok(Message::Text(text))) => Ok(Received::Text(text.as_str().to_owned())),
                Some(Ok(Message::Close(frame))) => Ok(closed(frame)),
                Some(Ok(Message::Binary(_))) => Err(WsError::Broken("a binary message came".to_owned())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                None => Ok(broke_off()),
                Some(Err(tungstenite::Error::Io(_) | tungstenite::Error::ConnectionClosed)) => {
                    Ok(broke_off())
                }
                Some(Err(tungstenite::Error::Protocol(
                    tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                ))) => Ok(broke_off()),
                Some(Err(error)) => Err(failure(error)),
            };
        }
    }

    /// Says that this was all, and lets go.
    pub async fn close(self) {
        self.close_with(CloseCode::Normal.into(), "done").await;
    }

    /// The same for a reason.
    pub async fn close_with(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = self.socket.close(Some(frame)).await;
    }
}

fn closed(frame: Option<CloseFrame>) -> Received {
    match frame {
        Some(frame) => Received::Close { code: frame.code.into(), reason: frame.reason.as_str().to_owned() },
        None => Received::Close { code: 1005, reason: String::new() },
    }
}

fn broke_off() -> Received {
    Received::Close { code: 1006, reason: String::new() }
}
