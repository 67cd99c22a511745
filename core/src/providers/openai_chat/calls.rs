//! Calls of tools, put together from the pieces in which they come.

use serde::Deserialize;
use serde_json::Value;

use super::super::answer::{Answer, MAX_ANSWER_BYTES, MAX_CALLS};
use super::super::conversation::CallIds;
use super::super::request::ToolCall;
use super::super::{ErrorKind, ModelError};

/// Where Google puts its proof.
const PROOF: &str = "/google/thought_signature";

/// A piece of a call, or all of it.
#[derive(Deserialize)]
pub(super) struct CallDelta {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
    /// Google's proof of the thoughts that led to the call, which it wants back: `google.thought_signature`.
    #[serde(default)]
    extra_content: Option<Value>,
}

#[derive(Default, Deserialize)]
pub(super) struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    /// Text; some servers send the object itself.
    #[serde(default)]
    arguments: Option<Value>,
}

impl CallDelta {
    /// The one call that the old form knows.
    pub(super) fn legacy(function: FunctionDelta) -> Self {
        Self { index: Some(0), id: None, function: Some(function), extra_content: None }
    }
}

/// The calls of one answer.
#[derive(Debug)]
pub(super) struct Calls {
    ids: CallIds,
    open: Vec<Open>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    index: Option<u64>,
    call: ToolCall,
    proof: String,
}

impl Calls {
    pub(super) fn new(ids: CallIds) -> Self {
        Self { ids, open: Vec::new(), bytes: 0 }
    }

    /// Takes a piece.
    pub(super) fn heard(&mut self, delta: CallDelta, answer: &mut Answer) {
        let function = delta.function.unwrap_or_default();
        let name = function.name.filter(|name| !name.is_empty());
        let id = delta.id.filter(|id| !id.is_empty());
        let arguments = match function.arguments {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        self.bytes += arguments.len() + name.as_ref().map_or(0, String::len);
        if self.bytes > MAX_ANSWER_BYTES || self.open.len() > MAX_CALLS {
            let message = format!(
                "{} calls more than {MAX_CALLS} tools at once, or with more than {MAX_ANSWER_BYTES} bytes",
                answer.provider()
            );
            return answer.fail(ModelError::new(ErrorKind::Unknown, message));
        }
        let at = self.place(delta.index, id.as_deref(), name.is_some());
        let Some(open) = self.open.get_mut(at) else { return };
        if let Some(id) = id.filter(|_| open.call.id.is_empty()) {
            open.call.id = id;
        }
        if let Some(name) = name.filter(|_| open.call.name.is_empty()) {
            open.call.name = name;
        }
        open.call.arguments.push_str(&arguments);
        let proof = delta.extra_content.as_ref().and_then(|extra| extra.pointer(PROOF)?.as_str());
        if let Some(proof) = proof {
            open.proof = proof.to_owned();
        }
    }

    /// The call to which a piece belongs: by its index, else by its id, else the newest. Some servers send whole
    /// calls that all have the same index.
    fn place(&mut self, index: Option<u64>, id: Option<&str>, named: bool) -> usize {
        let newest = match (index, id) {
            (Some(_), _) => self.open.iter().rposition(|open| open.index == index),
            (None, Some(id)) => self.open.iter().rposition(|open| open.call.id == id),
            (None, None) if named => None,
            (None, None) => self.open.len().checked_sub(1),
        };
        let another = |at: usize| {
            let call = &self.open[at].call;
            id.is_some_and(|id| !call.id.is_empty() && call.id != id) && named
        };
        match newest.filter(|at| !another(*at)) {
            Some(at) => at,
            None => {
                let call = ToolCall { id: String::new(), name: String::new(), arguments: String::new() };
                self.open.push(Open { index, call, proof: String::new() });
                self.open.len() - 1
            }
        }
    }

    /// Gives the calls to the answer, in the order in which they began. With `cut`, only those that are whole.
    pub(super) fn give_out(&mut self, cut: bool, answer: &mut Answer) {
        for Open { mut call, proof, .. } in std::mem::take(&mut self.open) {
            let whole = serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_ok();
            if call.name.is_empty() || (cut && !whole) {
                continue;
            }
            if call.arguments.trim().is_empty() {
                call.arguments = "{}".to_owned();
            }
            call.id = self.ids.settle(&call.id);
            answer.signature(proof);
            answer.call(call);
        }
    }
}
