//! `sessions export`: everything that was said, in three forms (spec 02 §5, §20.5).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::cli::args::{ExportFormat, SessionsExport};
use crate::cli::cells::{iso, list, message_text, text};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::term::Output;
use crate::config::Places;
use crate::runtime::Runtime;

use super::open;

/// How many messages a page holds.
const PAGE: u64 = 500;

/// A whole conversation.
struct Conversation {
    key: String,
    session: String,
    /// The messages by their number in the transcript.
    messages: BTreeMap<u64, Value>,
    /// How many the gateway has that are older than all of them, as far as it says.
    missing: bool,
}

/// `sessions export`
pub(super) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &SessionsExport,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, key) = open(runtime, places, &args.named).await?;
    let loaded = load(&mut client, &key).await;
    client.close().await;
    let conversation = loaded?;
    let written = match args.format {
        ExportFormat::Jsonl => conversation.transcript(),
        ExportFormat::Markdown => conversation.markdown(),
        ExportFormat::Json => conversation.json(),
    };
    let count = conversation.messages.len();
    match &args.out {
        Some(path) => {
            write(path, &written)?;
            let about = json!({"ok": true, "key": key, "messages": count, "file": path});
            if output.json {
                output.value(&about);
            } else {
                output.note(&format!("{count} messages written to {}", path.display()));
            }
        }
        None => output.piece(&written),
    }
    if conversation.missing {
        let error = CliError::new(
            Failure::RpcError,
            format!(
                "the gateway does not reach back to the beginning; the last {count} messages are written"
            ),
        );
        return Err(error);
    }
    Ok(())
}

/// Writes a file that is new and private, or replaces the words of one that is there.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error: io::Error| {
        CliError::new(Failure::ArgInvalid, format!("--out: cannot write {}: {error}", path.display()))
    })
}

/// Reads page after page, back to the beginning.
async fn load<R: Runtime>(client: &mut Client<R>, key: &str) -> Result<Conversation, CliError> {
    let mut conversation = Conversation {
        key: key.to_owned(),
        session: String::new(),
        messages: BTreeMap::new(),
        missing: false,
    };
    let mut offset = 0;
    loop {
        let mut params = json!({"sessionKey": key, "limit": PAGE});
        if offset > 0 {
            params["offset"] = offset.into();
        }
        let page = client.call("chat.history", params).await?;
        let fresh = conversation.take(&page)?;
        if page.get("hasMore") != Some(&Value::Bool(true)) {
            return Ok(conversation);
        }
        // What comes in meanwhile moves the pages; the numbers of the messages tell what is known already.
        let next = page.get("nextOffset").and_then(Value::as_u64).unwrap_or(0);
        if fresh == 0 && next <= offset {
            conversation.missing = true;
            return Ok(conversation);
        }
        offset = next.max(offset + 1);
    }
}

impl Conversation {
    /// Takes a page in; how many of its messages are new.
    fn take(&mut self, page: &Value) -> Result<usize, CliError> {
        let session = text(page, "sessionId");
        if !self.session.is_empty() && self.session != session {
            return Err(CliError::new(
                Failure::RpcError,
                "the conversation began anew while it was exported; export it again",
            ));
        }
        self.session = session;
        let before = self.messages.len();
        for message in list(page, "messages") {
            let number = message.pointer("/__openclaw/seq").and_then(Value::as_u64);
            self.messages.insert(number.unwrap_or(self.messages.len() as u64 + 1), message.clone());
        }
        Ok(self.messages.len() - before)
    }

    /// The transcript as the older systems keep it: a header, then a line for each message.
    fn transcript(&self) -> String {
        let first = self.messages.values().next().and_then(at).unwrap_or_default();
        let header = json!({
            "type": "session", "version": 3, "id": self.session, "timestamp": iso(first), "cwd": "",
        });
        let mut out = format!("{header}\n");
        let mut parent = Value::Null;
        for (number, message) in &self.messages {
            let id = entry_id(*number, message);
            let line = json!({
                "type": "message", "id": id, "parentId": parent,
                "timestamp": iso(at(message).unwrap_or(first)), "message": bare(message),
            });
            out.push_str(&format!("{line}\n"));
            parent = id.into();
        }
        out
    }

    fn json(&self) -> String {
        let messages: Vec<Value> = self.messages.values().map(bare).collect();
        let whole = json!({"key": self.key, "sessionId": self.session, "messages": messages});
        format!("{whole:#}\n")
    }

    fn markdown(&self) -> String {
        let mut out = format!("# {}\n", self.key);
        for message in self.messages.values() {
            let role = match text(message, "role").as_str() {
                "user" => "User".to_owned(),
                "assistant" => "Assistant".to_owned(),
                "toolResult" => format!("Result of {}", text(message, "toolName")),
                other => other.to_owned(),
            };
            let when = at(message).map(iso).unwrap_or_default();
            out.push_str(&format!("\n## {role}\n\n"));
            if !when.is_empty() {
                out.push_str(&format!("*{when}*\n\n"));
            }
            let words = message_text(message).unwrap_or_default();
            if text(message, "role") == "toolResult" {
                out.push_str(&fenced("", &words));
            } else if !words.trim().is_empty() {
                out.push_str(&format!("{}\n", words.trim()));
            }
            for call in list(message, "content").iter().filter(|block| text(block, "type") == "toolCall") {
                let arguments = call.get("arguments").unwrap_or(&Value::Null);
                out.push_str(&format!("\nCalls `{}`:\n\n", text(call, "name")));
                out.push_str(&fenced("json", &format!("{arguments:#}")));
            }
        }
        out
    }
}

/// When a message was said, in epoch milliseconds.
fn at(message: &Value) -> Option<i64> {
    message.get("timestamp").and_then(Value::as_i64)
}

/// The id of an entry: eight hexadecimal digits.
fn entry_id(number: u64, message: &Value) -> String {
    let own = message.pointer("/__openclaw/id").and_then(Value::as_str);
    let fits = |id: &&str| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    own.filter(fits).map_or_else(|| format!("{number:08x}"), str::to_owned)
}

/// A message without what the protocol adds to it.
fn bare(message: &Value) -> Value {
    let mut message = message.clone();
    if let Value::Object(members) = &mut message {
        members.remove("__openclaw");
    }
    message
}

/// A block of code around any text.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn message(seq: u64, role: &str, words: &str) -> Value {
        json!({
            "role": role, "content": [{"type": "text", "text": words}],
            "timestamp": 1_769_767_200_000_u64 + seq, "__openclaw": {"id": format!("0000000{seq}"), "seq": seq},
        })
    }

    fn conversation(pages: &[Value]) -> Conversation {
        let (key, session) = ("agent:main:main".to_owned(), String::new());
        let mut all = Conversation { key, session, messages: BTreeMap::new(), missing: false };
        for page in pages {
            all.take(page).unwrap();
        }
        all
    }

    fn page(messages: &[Value]) -> Value {
        json!({"sessionId": "s", "messages": messages})
    }

    #[test]
    fn pages_that_overlap_give_each_message_once_and_in_order() {
        let (one, two, three) =
            (message(1, "user", "a"), message(2, "assistant", "b"), message(3, "user", "c"));
        let all = conversation(&[page(&[two.clone(), three]), page(&[one, two])]);
        let numbers: Vec<u64> = all.messages.keys().copied().collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn a_transcript_is_a_header_and_a_chain() {
        let all = conversation(&[page(&[message(1, "user", "a"), message(2, "assistant", "b")])]);
        let lines: Vec<Value> =
            all.transcript().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["type"], &lines[0]["version"]), (&json!("session"), &json!(3)));
        assert_eq!((&lines[1]["id"], &lines[1]["parentId"]), (&json!("00000001"), &Value::Null));
        assert_eq!(lines[2]["parentId"], lines[1]["id"]);
        assert_eq!(lines[1]["timestamp"], json!("2026-01-30T10:00:00.001Z"));
        assert!(lines[1]["message"].get("__openclaw").is_none(), "{}", lines[1]);
    }

    #[test]
    fn an_entry_without_a_fitting_id_gets_one_from_its_number() {
        assert_eq!(entry_id(255, &json!({"__openclaw": {"id": "long-identifier"}})), "000000ff");
        assert_eq!(entry_id(1, &json!({"__openclaw": {"id": "1a2b3c4d"}})), "1a2b3c4d");
    }

    #[test]
    fn a_conversation_that_began_anew_is_not_mixed_with_the_old_one() {
        let mut all = conversation(&[page(&[message(2, "user", "a")])]);
        assert!(all.take(&json!({"sessionId": "other", "messages": []})).is_err());
    }

    #[test]
    fn code_in_the_words_does_not_end_the_block_around_them() {
        assert_eq!(fenced("", "a"), "```\na\n```\n");
        assert_eq!(fenced("", "```\na\n```"), "````\n```\na\n```\n````\n");
    }

    #[test]
    fn markdown_names_who_speaks() {
        let call = json!({"role": "assistant", "content": [
            {"type": "toolCall", "id": "1", "name": "read", "arguments": {"path": "x"}}], "timestamp": 0});
        let mut two = call;
        two["__openclaw"] = json!({"seq": 2});
        let text = conversation(&[page(&[message(1, "user", "tide?"), two])]).markdown();
        assert!(
            text.starts_with("# agent:main:main\n\n## User\n\n*2026-01-30T10:00:00.001Z*\n\ntide?\n"),
            "{text}"
        );
        assert!(text.contains("Calls `read`:\n\n```json\n{\n  \"path\": \"x\"\n}\n```\n"), "{text}");
    }
}
