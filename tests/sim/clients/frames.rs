//! Frames as a client reads and writes them; written anew here, so that nothing is checked by itself.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Tongue;

/// A frame of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) text: Rc<str>,
    /// The frame without its payload.
    pub(crate) value: Rc<Value>,
    pub(crate) payload: Rc<Value>,
}

impl Frame {
    /// Reads a frame; `None` when it is no JSON object.
    fn read(text: &str) -> Option<Self> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        let payload = value.as_object_mut()?.get_mut("payload").map_or(Value::Null, Value::take);
        Some(Self { text: text.into(), value: Rc::new(value), payload: Rc::new(payload) })
    }

    pub(crate) fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_event(&self) -> bool {
        self.kind() == "event"
    }

    pub(crate) fn event(&self) -> &str {
        self.value["event"].as_str().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &str {
        self.value["id"].as_str().unwrap_or_default()
    }

    pub(crate) fn ok(&self) -> bool {
        self.value["ok"] == true
    }

    pub(crate) fn seq(&self) -> Option<u64> {
        self.value["seq"].as_u64()
    }

    /// The names of the frame's members, sorted.
    pub(crate) fn members(&self) -> Vec<&str> {
        self.value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

/// Reads frames. One event goes to many connections and differs in its end only: its payload is read once.
#[derive(Default)]
pub(crate) struct Reader {
    last: Option<(String, Frame)>,
}

impl Reader {
    /// Reads a frame; `None` when it is no JSON object.
    pub(crate) fn read(&mut self, text: &str) -> Option<Frame> {
        const NUMBER: &str = ",\"seq\":";
        let (Some(at), true) = (text.rfind(NUMBER), text.starts_with("{\"type\":\"event\"")) else {
            return Frame::read(text);
        };
        let (head, end) = text.split_at(at);
        if let Some((last, frame)) = &self.last
            && last == head
        {
            // The end alone is a frame without kind and payload.
            let mut value: Value = serde_json::from_str(&format!("{{{}", &end[1..])).ok()?;
            value["type"] = "event".into();
            value["event"] = frame.event().into();
            if frame.value.get("payload").is_some() {
                value["payload"] = Value::Null;
            }
            let payload = Rc::clone(&frame.payload);
            return Some(Frame { text: text.into(), value: Rc::new(value), payload });
        }
        let frame = Frame::read(text)?;
        self.last = Some((head.to_owned(), frame.clone()));
        Some(frame)
    }
}

/// A request as a client of this dialect writes it.
pub(crate) fn request(tongue: Tongue, id: &str, method: &str, params: &Value) -> String {
    let kind = match tongue {
        Tongue::V3 | Tongue::V4 => "req",
        Tongue::Plain => "request",
    };
    json!({"type": kind, "id": id, "method": method, "params": params}).to_string()
}
