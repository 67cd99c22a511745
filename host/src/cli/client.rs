//! The command line as a client of the gateway: protocol 4, one request after the other (spec 01 §2).

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::net::ws::{self, Received, WsClient, WsError};
use crate::runtime::Runtime;
use crate::tls::Leaf;

use super::cells::list;
use super::error::CliError;
use super::target::{Credential, Target};

/// What the command line asks for.
const SCOPES: [&str; 5] =
    ["operator.admin", "operator.approvals", "operator.pairing", "operator.read", "operator.write"];

/// A connection that has said hello.
pub(crate) struct Client<R: Runtime> {
    runtime: R,
    socket: WsClient<R>,
    timeout: Duration,
    sent: u64,
    /// The hello.
    pub(crate) hello: Value,
}

/// What the gateway sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The answer to a request.
    Answer { id: String, outcome: Result<Value, Box<CliError>> },
    /// An event.
    Event { name: String, payload: Value },
}

impl<R: Runtime> Client<R> {
    /// Connects and introduces itself with these capabilities, all within the timeout.
    pub(crate) async fn connect(
        runtime: &R,
        target: &Target,
        timeout: Duration,
        capabilities: &[&str],
    ) -> Result<Self, CliError> {
        let until = Instant::now() + timeout;
        let opened = within(runtime, until, ws::connect(runtime, &target.url, &target.trust)).await;
        let socket = opened.ok_or_else(|| silent(timeout))??;
        target.agree(socket.leaf())?;
        let mut client = Self { runtime: runtime.clone(), socket, timeout, sent: 0, hello: Value::Null };
        let greeted = within(runtime, until, client.greet(&target.credential, capabilities)).await;
        client.hello = greeted.ok_or_else(|| silent(timeout))??;
        Ok(client)
    }

    async fn greet(&mut self, credential: &Credential, capabilities: &[&str]) -> Result<Value, CliError> {
        while !matches!(self.next().await?, Frame::Event { name, .. } if name == "connect.challenge") {}
        let auth = match credential {
            Credential::Nothing => json!({}),
            Credential::Token(token) => json!({"token": token.expose()}),
            Credential::Password(password) => json!({"password": password.expose()}),
        };
        let params = json!({
            "minProtocol": 4,
            "maxProtocol": 4,
            "client": {"id": "cli", "mode": "cli", "version": super::VERSION, "platform": std::env::consts::OS},
            "role": "operator",
            "scopes": SCOPES,
            "caps": capabilities,
            "auth": auth,
        });
        let id = self.send("connect", params).await?;
        self.answer(&id).await.map_err(|error| match error.failure {
            // Before hello an error without a better name is about who is knocking.
            Failure::GatewayClosed => error.hint("the gateway closed the connection before it said hello"),
            _ => error,
        })
    }

    /// The certificate that the gateway showed; `None` without TLS.
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        self.socket.leaf()
    }

    /// Whether the gateway has a method.
    pub(crate) fn offers(&self, method: &str) -> bool {
        list(self.hello.get("features").unwrap_or(&Value::Null), "methods").iter().any(|name| name == method)
    }

    /// A refusal that tells what to do when the gateway does not have a method.
    pub(crate) fn require(&self, method: &str) -> Result<(), CliError> {
        if self.offers(method) {
            return Ok(());
        }
        let version = self.hello.pointer("/server/version").and_then(Value::as_str).unwrap_or("unknown");
        let error = CliError::new(
            Failure::RpcError,
            format!("this gateway (version {version}) has no method {method}"),
        );
        Err(error.hint("update the gateway, or ask another one with --url"))
    }

    /// From now on calls may take this long.
    pub(crate) fn wait_for(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends a request and returns its id.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> Result<String, CliError> {
        self.sent += 1;
        let id = self.sent.to_string();
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.socket.send(frame.to_string()).await?;
        Ok(id)
    }

    /// Calls a method and waits for its answer; events that come meanwhile are let go.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, CliError> {
        let (runtime, timeout) = (self.runtime.clone(), self.timeout);
        let exchange = async {
            let id = self.send(method, params).await?;
            self.answer(&id).await
        };
        within(&runtime, Instant::now() + timeout, exchange).await.ok_or_else(|| silent(timeout))?
    }

    /// The same for methods that answer twice: the second answer.
    pub(crate) async fn call_twice(&mut self, method: &str, params: Value) -> Result<Value, CliError> {
        let (runtime, timeout) = (self.runtime.clone(), self.timeout);
        let exchange = async {
            let id = self.send(method, params).await?;
            let first = self.answer(&id).await?;
            if first.get("status").and_then(Value::as_str) == Some("accepted") {
                self.answer(&id).await
            } else {
                Ok(first)
            }
        };
        within(&runtime, Instant::now() + timeout, exchange).await.ok_or_else(|| silent(timeout))?
    }

    async fn answer(&mut self, wanted: &str) -> Result<Value, CliError> {
        loop {
            if let Frame::Answer { id, outcome } = self.next().await?
                && id == wanted
            {
                return outcome.map_err(|error| *error);
            }
        }
    }

    /// The next frame. May be given up and called again.
    pub(crate) async fn next(&mut self) -> Result<Frame, CliError> {
        loop {
            match self.socket.recv().await? {
                Received::Text(text) => {
                    if let Some(frame) = frame(&text) {
                        return Ok(frame);
                    }
                }
                Received::Close { code, reason } => return Err(closed(code, &reason)),
            }
        }
    }

    /// Says goodbye, without waiting long for an answer.
    pub(crate) async fn close(self) {
        let Self { runtime, socket, .. } = self;
        within(&runtime, Instant::now() + Duration::from_millis(200), socket.close()).await;
    }
}

/// The outcome of a future, unless time is up first.
pub(crate) async fn within<R: Runtime, T>(
    runtime: &R,
    until: Instant,
    future: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(future), pin!(runtime.sleep_until(until))).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

/// Reads a frame; `None` for one that a client of this age does not know.
fn frame(text: &str) -> Option<Frame> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    let mut take = |name: &str| value.get_mut(name).map(Value::take).unwrap_or_default();
    match take("type").as_str()? {
        "event" => Some(Frame::Event { name: take("event").as_str()?.to_owned(), payload: take("payload") }),
        "res" => {
            let id = take("id").as_str()?.to_owned();
            let payload = take("payload");
            let outcome = if take("ok") == Value::Bool(true) {
                Ok(payload)
            } else {
                Err(Box::new(refused(&take("error"))))
            };
            Some(Frame::Answer { id, outcome })
        }
        _ => None,
    }
}

/// An error answer in the words of the command line.
pub(super) fn refused(error: &Value) -> CliError {
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (code, message) = (text("code"), text("message"));
    let detail = error.pointer("/details/code").and_then(Value::as_str).unwrap_or_default();
    let about_auth = matches!(code, "NOT_PAIRED" | "FORBIDDEN")
        || message.starts_with("unauthorized")
        || ["AUTH_", "DEVICE_", "PAIRING_"].iter().any(|beginning| detail.starts_with(beginning));
    let retryable = error.get("retryable") == Some(&Value::Bool(true));
    let failure = match code {
        _ if about_auth => Failure::AuthRefused,
        "UNAVAILABLE" if retryable => Failure::Unavailable,
        _ => Failure::RpcError,
    };
    let shown = CliError::new(
        failure,
        if message.is_empty() { "the gateway answered with an error" } else { message },
    );
    if code.is_empty() { shown } else { shown.hint(format!("gateway error code: {code}")) }
}

fn closed(code: u16, reason: &str) -> CliError {
    let failure = match code {
        1008 if reason.starts_with("unauthorized") || reason.contains("pairing") => Failure::AuthRefused,
        1012 | 1013 => Failure::Unavailable,
        _ => Failure::GatewayClosed,
    };
    let reason = if reason.is_empty() { "no reason given" } else { reason };
    CliError::new(failure, format!("gateway closed ({code}): {reason}"))
}

fn silent(timeout: Duration) -> CliError {
    CliError::new(Failure::GatewayTimeout, format!("gateway timeout after {}ms", timeout.as_millis()))
}

impl From<WsError> for CliError {
    fn from(error: WsError) -> Self {
        let failure = match &error {
            WsError::Url(_) => Failure::ArgInvalid,
            WsError::Connect { .. } | WsError::Refused { .. } => Failure::GatewayUnreachable,
            WsError::Pin { .. } => Failure::TlsPin,
            WsError::Broken(_) => Failure::GatewayClosed,
        };
        let shown = Self::new(failure, error.to_string());
        match error {
            WsError::Pin { found, .. } => shown.hint(format!("fingerprint of the key in it: {}", found.key)),
            WsError::Connect { .. } if shown.message.contains("certificate") => shown.hint(
                "for a gateway with a certificate of its own, pass --tls-fingerprint (its owner sees it with: \
                 {program} tls fingerprint), or --trust-on-first-use",
            ),
            _ => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn failure(text: &str) -> Failure {
        match frame(text).unwrap() {
            Frame::Answer { outcome: Err(error), .. } => error.failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_are_read_as_the_gateway_writes_them() {
        let ok = frame(r#"{"type":"res","id":"7","ok":true,"payload":{"a":1}}"#).unwrap();
        assert!(matches!(ok, Frame::Answer { id, outcome: Ok(payload) } if id == "7" && payload["a"] == 1));
        let event = frame(r#"{"type":"event","event":"tick","payload":{},"seq":1}"#).unwrap();
        assert!(matches!(event, Frame::Event { name, .. } if name == "tick"));
        assert!(frame("nonsense").is_none() && frame(r#"{"type":"later"}"#).is_none());
    }

    #[test]
    fn an_error_answer_becomes_the_failure_that_scripts_test_for() {
        let error =
            |error: &str| failure(&format!(r#"{{"type":"res","id":"1","ok":false,"error":{error}}}"#));
        assert_eq!(error(r#"{"code":"NOT_PAIRED","message":"pairing required"}"#), Failure::AuthRefused);
        assert_eq!(
            error(r#"{"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch"}"#),
            Failure::AuthRefused
        );
        assert_eq!(
            error(r#"{"code":"UNAVAILABLE","message":"starting","retryable":true}"#),
            Failure::Unavailable
        );
        assert_eq!(error(r#"{"code":"INVALID_REQUEST","message":"unknown method: x"}"#), Failure::RpcError);
        assert_eq!(closed(1008, "unauthorized: gateway token missing").failure, Failure::AuthRefused);
        assert_eq!(closed(1012, "service restart").failure, Failure::Unavailable);
        assert_eq!(closed(1006, "").failure, Failure::GatewayClosed);
    }
}
