//! What was said before, as a conversation shows it when it begins.

use serde_json::Value;

use crate::cli::cells::{message_text, text};
use crate::cli::term::Output;

use super::blocks::{clean, render};
use super::turn::arguments;
use super::view::size;

/// Shows messages, the oldest first.
pub(crate) fn show(messages: &[Value], output: Output) {
    for message in messages {
        let shown = message_lines(message, output);
        if !shown.is_empty() {
            output.piece(&shown);
            output.line("");
        }
    }
}

/// A message with its line ends; empty when there is nothing to show.
pub(super) fn message_lines(message: &Value, output: Output) -> String {
    let words = message_text(message).unwrap_or_default();
    let words = words.trim();
    let dim = output.paint(anstyle::Style::new().dimmed());
    match text(message, "role").as_str() {
        "user" if !words.is_empty() => {
            let quote = |line: &str| format!("{dim}>{dim:#} {}", clean(line)).trim_end().to_owned() + "\n";
            words.lines().map(quote).collect()
        }
        "assistant" => {
            let mut shown = calls(message).map(|call| format!("{dim}{call}{dim:#}\n")).collect::<String>();
            if output.terminal.colour_out {
                shown.push_str(&render(words, size().width));
            } else {
                shown.extend(words.lines().map(|line| format!("{}\n", clean(line))));
            }
            shown
        }
        _ => String::new(),
    }
}

/// The tools that a message calls, a line each.
fn calls(message: &Value) -> impl Iterator<Item = String> + '_ {
    let blocks = message.get("content").and_then(Value::as_array).into_iter().flatten();
    blocks.filter(|block| text(block, "type") == "toolCall").map(|block| {
        let args = arguments(block.get("arguments"));
        clean(format!("· {} {args}", text(block, "name")).trim_end())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::term::Terminal;

    use super::*;

    #[test]
    fn words_and_tools_are_shown_and_results_are_not() {
        let output = Output { json: false, lines: false, terminal: Terminal::default() };
        let shown = |message: Value| message_lines(&message, output);
        assert_eq!(shown(json!({"role": "user", "content": "a\nb"})), "> a\n> b\n");
        let call = json!({"role": "assistant", "content": [
            {"type": "text", "text": "**look**"},
            {"type": "toolCall", "id": "1", "name": "read", "arguments": {"path": "x"}},
        ]});
        assert_eq!(shown(call), "· read x\n**look**\n", "without colours the words stay as they are");
        assert_eq!(shown(json!({"role": "toolResult", "content": [{"type": "text", "text": "long"}]})), "");
        assert_eq!(shown(json!({"role": "user", "content": "a\u{1b}[2J"})), "> a\\u{1b}[2J\n");
    }
}
