//! What a model says in one call, block by block in the order in which it came.

use serde_json::{Value, json};

use crate::providers::ModelEvent;
use crate::providers::request::{Block, Message, Role, Thinking, ToolCall};

/// The longest thoughts that are kept of one call, in bytes.
const MAX_THOUGHT_BYTES: usize = 64 * 1024;
/// The most calls of tools in one answer; more are not heard.
pub(super) const MAX_CALLS: usize = 32;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Saying {
    blocks: Vec<Block>,
    thought_bytes: usize,
}

impl Saying {
    /// Takes in what adds to the answer. The ends of an answer are not for here.
    pub(super) fn hear(&mut self, event: &ModelEvent, api: &str) {
        match event {
            ModelEvent::Text(text) => match self.blocks.last_mut() {
                Some(Block::Text(said)) => said.push_str(text),
                _ => self.blocks.push(Block::Text(text.clone())),
            },
            ModelEvent::Thinking(text) => self.think(text, api),
            ModelEvent::Signature(proof) => self.sign(proof, api),
            ModelEvent::ToolCall(call) => {
                if self.calls().count() < MAX_CALLS {
                    self.blocks.push(Block::ToolCall(self.named_apart(call)));
                }
            }
            ModelEvent::Done { .. } | ModelEvent::Failed(_) => {}
        }
    }

    fn think(&mut self, text: &str, api: &str) {
        if self.thought_bytes + text.len() > MAX_THOUGHT_BYTES {
            return;
        }
        self.thought_bytes += text.len();
        match self.blocks.last_mut() {
            Some(Block::Thinking(thinking)) if thinking.signature.is_none() => thinking.text.push_str(text),
            _ => self.blocks.push(Block::Thinking(Thinking {
                text: text.to_owned(),
                signature: None,
                api: Some(api.to_owned()),
            })),
        }
    }

    fn sign(&mut self, proof: &str, api: &str) {
        match self.blocks.last_mut() {
            Some(Block::Thinking(thinking)) if thinking.signature.is_none() => {
                thinking.signature = Some(proof.to_owned());
            }
            // Thoughts that the provider keeps to itself have a proof and no text.
            _ => self.blocks.push(Block::Thinking(Thinking {
                text: String::new(),
                signature: Some(proof.to_owned()),
                api: Some(api.to_owned()),
            })),
        }
    }

    /// A call whose id no other call of the answer has.
    fn named_apart(&self, call: &ToolCall) -> ToolCall {
        let mut call = call.clone();
        if call.id.is_empty() || self.calls().any(|other| other.id == call.id) {
            call.id = format!("{}call_{}", call.id, self.calls().count());
        }
        call
    }

    /// The tools that are to be called.
    pub(super) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.blocks.iter().filter_map(|block| match block {
            Block::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.iter().all(|block| matches!(block, Block::Text(text) if text.trim().is_empty()))
    }

    /// Whether nothing of it is for the user or for tools: thoughts at most.
    pub(super) fn is_unheard(&self) -> bool {
        self.blocks.iter().all(|block| match block {
            Block::Text(text) => text.trim().is_empty(),
            block => matches!(block, Block::Thinking(_)),
        })
    }

    /// What was said, as the transcript keeps it (spec 02 §6.2).
    pub(super) fn content(&self) -> Vec<Value> {
        self.blocks.iter().filter_map(written).collect()
    }

    /// What was said, as the model gets it back.
    pub(super) fn into_message(self) -> Message {
        Message { role: Role::Assistant, blocks: self.blocks }
    }
}

fn written(block: &Block) -> Option<Value> {
    match block {
        Block::Text(text) if text.is_empty() => None,
        Block::Text(text) => Some(json!({"type": "text", "text": text})),
        Block::Thinking(thinking) => {
            let mut block = json!({"type": "thinking", "thinking": thinking.text});
            if let Some(proof) = &thinking.signature {
                block["thinkingSignature"] = proof.as_str().into();
            }
            Some(block)
        }
        Block::ToolCall(call) => {
            let arguments = serde_json::from_str::<Value>(&call.arguments).ok().filter(Value::is_object);
            let arguments = arguments.unwrap_or_else(|| unread(&call.arguments));
            Some(json!({"type": "toolCall", "id": call.id, "name": call.name, "arguments": arguments}))
        }
        Block::Image(_) | Block::ToolResult(_) => None,
    }
}

/// Arguments that are no JSON object: kept so that the model sees what it wrote.
fn unread(text: &str) -> Value {
    if text.trim().is_empty() { json!({}) } else { json!({"__unreadable": text}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(events: &[ModelEvent]) -> Saying {
        let mut saying = Saying::default();
        for event in events {
            saying.hear(event, "test");
        }
        saying
    }

    fn call(id: &str) -> ModelEvent {
        let (id, name, arguments) = (id.to_owned(), "look".to_owned(), r#"{"at":"sea"}"#.to_owned());
        ModelEvent::ToolCall(ToolCall { id, name, arguments })
    }

    #[test]
    fn blocks_keep_the_order_in_which_they_came() {
        let text = |text: &str| ModelEvent::Text(text.to_owned());
        let saying = heard(&[
            ModelEvent::Thinking("hm".to_owned()),
            ModelEvent::Thinking("m".to_owned()),
            ModelEvent::Signature("proof".to_owned()),
            text("I "),
            text("look."),
            call("c1"),
        ]);
        let expected = [
            json!({"type": "thinking", "thinking": "hmm", "thinkingSignature": "proof"}),
            json!({"type": "text", "text": "I look."}),
            json!({"type": "toolCall", "id": "c1", "name": "look", "arguments": {"at": "sea"}}),
        ];
        assert_eq!(saying.content(), expected);
    }

    #[test]
    fn calls_of_one_answer_have_ids_of_their_own() {
        let saying = heard(&[call("c"), call("c"), call("")]);
        let ids: Vec<&str> = saying.calls().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["c", "ccall_1", "call_2"]);
    }

    #[test]
    fn only_so_many_calls_are_heard() {
        let calls: Vec<ModelEvent> = (0..MAX_CALLS + 3).map(|n| call(&n.to_string())).collect();
        assert_eq!(heard(&calls).calls().count(), MAX_CALLS);
    }

    #[test]
    fn arguments_that_are_no_object_are_kept_as_the_model_wrote_them() {
        let odd = ToolCall { id: "c".to_owned(), name: "look".to_owned(), arguments: "{at".to_owned() };
        let saying = heard(&[ModelEvent::ToolCall(odd)]);
        assert_eq!(saying.content()[0]["arguments"], json!({"__unreadable": "{at"}));
    }
}
