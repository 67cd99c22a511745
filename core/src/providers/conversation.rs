//! The conversation as every API insists on it: roles alternate, the user begins, and each call of a tool has
//! exactly one result, right after it. What was cut off a long transcript must not make a provider refuse the rest.

use std::collections::BTreeSet;

use super::request::{Block, Image, Message, ModelRequest, Role, ToolCall, ToolResult};

/// Stands where earlier messages were left out, so that the user begins.
const EARLIER: &str = "(earlier messages are left out)";
/// Stands in place of a result that never came.
const NO_RESULT: &str = "no result: the call was cut short";

/// The messages to send. None is empty.
pub(super) fn of(request: &ModelRequest) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut open: Vec<ToolCall> = Vec::new();
    for mut message in request.merged() {
        message.blocks.retain(|block| !matches!(block, Block::Text(text) if text.trim().is_empty()));
        let calls = std::mem::take(&mut open);
        match message.role {
            Role::User => answer(&calls, &mut message),
            Role::Assistant => open = calls_of(&message),
        }
        let silent = message.blocks.iter().all(|block| matches!(block, Block::Thinking(_)));
        if !silent {
            messages.push(message);
        }
    }
    if !open.is_empty() {
        let mut message = Message { role: Role::User, blocks: Vec::new() };
        answer(&open, &mut message);
        messages.push(message);
    }
    if messages.first().is_some_and(|first| first.role == Role::Assistant) {
        messages.insert(0, Message::user(EARLIER));
    }
    rejoin(messages)
}

/// What was left out may have stood between two messages of one role.
fn rejoin(messages: Vec<Message>) -> Vec<Message> {
    ModelRequest { messages, ..ModelRequest::default() }.merged()
}

fn calls_of(message: &Message) -> Vec<ToolCall> {
    let calls = message.blocks.iter().filter_map(|block| match block {
        Block::ToolCall(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

/// Puts the results of these calls first, in the order of the calls, and takes out results of no call.
fn answer(calls: &[ToolCall], message: &mut Message) {
    let mut results = Vec::new();
    for call in calls {
        let found = message.blocks.iter().find_map(|block| match block {
            Block::ToolResult(result) if result.id == call.id => Some(result.clone()),
            _ => None,
        });
        results.push(Block::ToolResult(found.unwrap_or_else(|| ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            text: NO_RESULT.to_owned(),
            images: Vec::new(),
            is_error: true,
        })));
    }
    message.blocks.retain(|block| !matches!(block, Block::ToolResult(_)));
    message.blocks.splice(0..0, results);
}

/// The arguments of a call as an object. What the model wrote and no parser accepts is shown to it as it was.
pub(super) fn arguments(call: &ToolCall) -> serde_json::Value {
    if call.arguments.trim().is_empty() {
        return serde_json::json!({});
    }
    match serde_json::from_str(&call.arguments) {
        Ok(serde_json::Value::Object(object)) => serde_json::Value::Object(object),
        _ => serde_json::json!({ "invalid_arguments": call.arguments }),
    }
}

/// What a result says, when it must be some text.
pub(super) fn result_text(result: &ToolResult) -> &str {
    match (result.text.trim().is_empty(), result.images.is_empty()) {
        (false, _) => &result.text,
        (true, true) => "(no output)",
        (true, false) => "(see the image)",
    }
}

/// The note in place of images for a model that sees none: the turn goes on without them, and the model can say
/// so.
pub(super) fn unseen(images: usize) -> String {
    let counted = if images == 1 { "one image".to_owned() } else { format!("{images} images") };
    format!("[{counted} attached; this model cannot see images]")
}

/// What a user says beside results: words and images, with the images of the results, for APIs whose results are
/// text only.
pub(super) fn user_parts(message: &Message, sees_images: bool) -> (Vec<String>, Vec<&Image>) {
    let of_results = message.blocks.iter().filter_map(|block| match block {
        Block::ToolResult(result) => Some(result.images.iter()),
        _ => None,
    });
    let images: Vec<&Image> = of_results.flatten().chain(message.images()).collect();
    let mut texts = Vec::new();
    let text = message.text();
    if !text.is_empty() {
        texts.push(text);
    }
    if sees_images || images.is_empty() {
        return (texts, images);
    }
    texts.push(unseen(images.len()));
    (texts, Vec::new())
}

/// Ids for calls that come without one: unique within the conversation, and the same for the same conversation.
#[derive(Debug)]
pub(super) struct CallIds {
    taken: BTreeSet<String>,
    next: usize,
}

impl CallIds {
    pub(super) fn after(request: &ModelRequest) -> Self {
        let calls = request.messages.iter().flat_map(calls_of);
        let taken: BTreeSet<String> = calls.map(|call| call.id).collect();
        Self { next: taken.len(), taken }
    }

    /// The server's id, or a new one where it gives none or gives one twice.
    pub(super) fn settle(&mut self, given: &str) -> String {
        let mut id = given.to_owned();
        while id.is_empty() || !self.taken.insert(id.clone()) {
            self.next += 1;
            id = format!("call_{}", self.next);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> Block {
        Block::ToolCall(ToolCall { id: id.to_owned(), name: "t".to_owned(), arguments: String::new() })
    }

    fn result(id: &str, text: &str) -> Block {
        let (id, name, text) = (id.to_owned(), "t".to_owned(), text.to_owned());
        Block::ToolResult(ToolResult { id, name, text, images: Vec::new(), is_error: false })
    }

    fn conversation(messages: Vec<(Role, Vec<Block>)>) -> Vec<Message> {
        let messages = messages.into_iter().map(|(role, blocks)| Message { role, blocks }).collect();
        of(&ModelRequest { messages, ..ModelRequest::default() })
    }

    #[test]
    fn each_call_has_one_result_right_after_it() {
        let told = conversation(vec![
            (Role::User, vec![Block::Text("go".to_owned())]),
            (Role::Assistant, vec![call("a"), call("b")]),
            (Role::User, vec![result("b", "two"), result("gone", "x"), Block::Text("and?".to_owned())]),
        ]);
        let Some(Block::ToolResult(first)) = told[2].blocks.first() else { unreachable!("{told:?}") };
        assert_eq!((first.id.as_str(), first.is_error), ("a", true));
        assert_eq!(told[2].blocks[1..], [result("b", "two"), Block::Text("and?".to_owned())]);
    }

    #[test]
    fn a_conversation_that_was_cut_begins_with_the_user_and_without_stray_results() {
        let told = conversation(vec![
            (Role::User, vec![result("gone", "x")]),
            (Role::Assistant, vec![Block::Text("hm".to_owned()), call("a")]),
        ]);
        let roles: Vec<Role> = told.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
        assert_eq!(told[0], Message::user(EARLIER));
    }

    #[test]
    fn ids_are_made_up_where_they_are_missing_or_stand_twice() {
        let request = ModelRequest {
            messages: vec![Message { role: Role::Assistant, blocks: vec![call("call_2"), call("x")] }],
            ..ModelRequest::default()
        };
        let mut ids = CallIds::after(&request);
        assert_eq!([ids.settle(""), ids.settle("y"), ids.settle("y")], ["call_3", "y", "call_4"]);
    }

    #[test]
    fn arguments_that_are_no_object_are_shown_as_they_were() {
        let of = |text: &str| {
            let call = ToolCall { id: String::new(), name: String::new(), arguments: text.to_owned() };
            arguments(&call).to_string()
        };
        assert_eq!([of(""), of("{\"a\":1}")], ["{}", "{\"a\":1}"]);
        assert_eq!(of("{\"a\""), "{\"invalid_arguments\":\"{\\\"a\\\"\"}");
    }
}
