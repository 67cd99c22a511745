//! The spelling of frames: the native dialect of protocols 3 and 4, and the plain dialect (spec 01 §1.2, §9).
//!
//! The first frame of a connection decides its dialect. Inside the gateway there is one vocabulary; this
//! module is the only place that knows how it is written.

use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{ErrorShape, EventName, Json, StateVersion};

/// How a connection spells its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `req` / `res` / `event`, connect as a request.
    Native,
    /// `connect` / `request` / `response` / `event`.
    Plain,
}

/// The id that answers a plain `connect` frame that carries none.
pub const PLAIN_CONNECT_ID: &str = "connect";

/// The id that answers a frame whose own id cannot be read.
pub const INVALID_ID: &str = "invalid";

/// What a client's message turned out to be.
#[derive(Debug)]
pub enum Inbound {
    /// A request of either dialect.
    Request {
        /// The dialect whose word was used.
        dialect: Dialect,
        /// Echoed verbatim in the answer; not necessarily unique.
        id: String,
        /// The method's name.
        method: String,
        /// The parameters as written; absent means `{}`.
        params: Option<Box<RawValue>>,
    },
    /// The plain dialect's own first frame.
    PlainConnect {
        /// The id to answer with, or [`PLAIN_CONNECT_ID`].
        id: String,
        /// The parameters as written.
        params: Option<Box<RawValue>>,
    },
    /// JSON, but no frame that a client may send.
    Invalid {
        /// The frame's own id where it has one.
        id: Option<String>,
        /// What is wrong with it.
        detail: String,
    },
    /// Not JSON at all.
    NotJson,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: Option<serde_json::Value>,
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    method: Option<serde_json::Value>,
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

/// Reads one message of a client. Unknown members are ignored (D2).
pub fn decode(text: &str) -> Inbound {
    let no_object = || {
        let detail = "at root: must be an object with a string \"type\"".to_owned();
        Inbound::Invalid { id: None, detail }
    };
    let envelope: Envelope = match serde_json::from_str(text) {
        // An array of the members in their order would be read as well.
        Ok(_) if text.trim_start().starts_with('[') => return no_object(),
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => return no_object(),
        Err(_) => return Inbound::NotJson,
    };
    let id = envelope.id.as_ref().and_then(|id| id.as_str()).map(str::to_owned);
    let params = envelope.params.filter(|params| params.get() != "null");
    let invalid = |detail: &str| Inbound::Invalid { id: id.clone(), detail: detail.to_owned() };
    let dialect = match envelope.kind.as_ref().and_then(|kind| kind.as_str()) {
        Some("req") => Dialect::Native,
        Some("request") => Dialect::Plain,
        Some("connect") => {
            let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| PLAIN_CONNECT_ID.to_owned());
            return Inbound::PlainConnect { id, params };
        }
        Some(_) => return invalid("at /type: must be \"req\""),
        None => return invalid("must have required property 'type'"),
    };
    let Some(id) = id.clone().filter(|id| !id.is_empty()) else {
        return invalid("at /id: must be a string with at least 1 character");
    };
    match envelope.method.as_ref().and_then(|method| method.as_str()) {
        Some(method) if !method.is_empty() => {
            Inbound::Request { dialect, id, method: method.to_owned(), params }
        }
        _ => invalid("at /method: must be a string with at least 1 character"),
    }
}

#[derive(Serialize)]
struct Response<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorShape>,
}

/// Writes a response frame. A failed call may carry a payload beside its error.
pub fn response(dialect: Dialect, id: &str, payload: Option<&Json>, error: Option<&ErrorShape>) -> String {
    let kind = match dialect {
        Dialect::Native => "res",
        Dialect::Plain => "response",
    };
    let payload = payload.and_then(|json| serde_json::from_str::<&RawValue>(json.as_str()).ok());
    let frame = Response { kind, id, ok: error.is_none(), payload, error };
    serde_json::to_string(&frame).unwrap_or_default()
}

/// The part of an event frame that is the same for every recipient of one dialect and protocol:
/// everything up to the sequence number.
pub fn event_head(name: EventName, payload: Option<&Json>, dialect: Dialect) -> String {
    let payload = match (payload, dialect) {
        (Some(json), _) => Some(json.as_str()),
        (None, Dialect::Plain) => Some("null"),
        (None, Dialect::Native) => None,
    };
    let mut frame = String::with_capacity(payload.map_or(0, str::len) + 64);
    frame.push_str("{\"type\":\"event\",\"event\":\"");
    frame.push_str(name.as_str());
    frame.push('"');
    if let Some(payload) = payload {
        frame.push_str(",\"payload\":");
        frame.push_str(payload);
    }
    frame
}

/// Completes a head to a whole event frame.
pub fn event_frame(head: &str, seq: Option<u64>, state: Option<StateVersion>) -> String {
    let mut frame = String::with_capacity(head.len() + 80);
    frame.push_str(head);
    if let Some(seq) = seq {
        frame.push_str(",\"seq\":");
        frame.push_str(&seq.to_string());
    }
    if let Some(state) = state {
        frame.push_str(",\"stateVersion\":");
        frame.push_str(Json::of(&state).as_str());
    }
    frame.push('}');
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_both_dialects_are_read() {
        let Inbound::Request { dialect, id, method, params } =
            decode(r#"{"type":"req","id":"7","method":"health","traceparent":"x","params":null}"#)
        else {
            panic!("not a request")
        };
        assert_eq!((dialect, id.as_str(), method.as_str()), (Dialect::Native, "7", "health"));
        assert!(params.is_none());
        assert!(matches!(
            decode(r#"{"type":"request","id":"a","method":"chat.send","params":{"a":1}}"#),
            Inbound::Request { dialect: Dialect::Plain, params: Some(_), .. }
        ));
    }

    #[test]
    fn a_plain_connect_needs_no_id() {
        assert!(matches!(
            decode(r#"{"type":"connect","params":{}}"#),
            Inbound::PlainConnect { id, .. } if id == "connect"
        ));
    }

    #[test]
    fn wrong_frames_say_what_is_wrong() {
        assert!(matches!(decode("hello"), Inbound::NotJson));
        assert!(matches!(decode("[1]"), Inbound::Invalid { id: None, .. }));
        assert!(matches!(decode(r#" ["req","1","health"]"#), Inbound::Invalid { id: None, .. }));
        assert!(matches!(decode(r#"{"id":"3"}"#), Inbound::Invalid { id: Some(id), .. } if id == "3"));
        assert!(matches!(decode(r#"{"type":"req","id":"","method":"x"}"#), Inbound::Invalid { .. }));
        assert!(matches!(decode(r#"{"type":"req","id":"1"}"#), Inbound::Invalid { .. }));
    }

    #[test]
    fn frames_are_closed_and_leave_absent_members_out() {
        let ok = response(Dialect::Native, "1", Some(&Json::empty()), None);
        assert_eq!(ok, r#"{"type":"res","id":"1","ok":true,"payload":{}}"#);
        let no = response(Dialect::Plain, "x", None, Some(&ErrorShape::invalid("no")));
        assert_eq!(
            no,
            r#"{"type":"response","id":"x","ok":false,"error":{"code":"INVALID_REQUEST","message":"no"}}"#
        );
    }

    #[test]
    fn event_frames_carry_number_and_versions_at_the_end() {
        let head = event_head(EventName::Presence, Some(&Json::empty()), Dialect::Native);
        let state = StateVersion { presence: 2, health: 3 };
        assert_eq!(
            event_frame(&head, Some(9), Some(state)),
            r#"{"type":"event","event":"presence","payload":{},"seq":9,"stateVersion":{"presence":2,"health":3}}"#
        );
        let head = event_head(EventName::Tick, None, Dialect::Plain);
        assert_eq!(
            event_frame(&head, Some(1), None),
            r#"{"type":"event","event":"tick","payload":null,"seq":1}"#
        );
    }
}
