//! What one message says of its usage (spec 02 §6.3), in any provider's spelling.

use std::ops::AddAssign;

use serde_json::Value;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The user.
    User,
    /// The model, or the gateway in its name.
    Assistant,
    /// A tool.
    Tool,
}

/// Tokens of one or of many calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub total: u64,
}

/// Cost in the currency of the prices, US dollars as a rule; in all and by kind of token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct Cost {
    pub total: f64,
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write: f64,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Who wrote it.
    pub speaker: Speaker,
    /// The provider, when the message names it.
    pub provider: Option<String>,
    /// The model, when the message names it.
    pub model: Option<String>,
    /// The tokens of the call; `None` when the message states none.
    pub tokens: Option<Tokens>,
    /// The cost, when the message states it.
    pub cost: Option<Cost>,
    /// The tools that the message calls.
    pub tools: Vec<String>,
    /// An answer that failed, or a tool's error.
    pub failed: bool,
}

impl Record {
    /// Reads a message; `None` when nobody whose messages are counted wrote it.
    pub fn of(message: &Value) -> Option<Self> {
        let speaker = match message.get("role")?.as_str()? {
            "user" => Speaker::User,
            "assistant" => Speaker::Assistant,
            "toolResult" | "tool" | "tool_result" => Speaker::Tool,
            _ => return None,
        };
        let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        let usage = message.get("usage").filter(|_| speaker == Speaker::Assistant);
        Some(Self {
            speaker,
            provider: text("provider"),
            model: text("model"),
            tokens: usage.and_then(tokens),
            cost: usage.and_then(cost),
            tools: tools(message),
            failed: message.get("isError") == Some(&Value::Bool(true))
                || message.get("stopReason").is_some_and(|reason| reason == "error"),
        })
    }
}

/// No message counts for more tokens, so that sums never overflow.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// The first of the members that is a number; negative and broken numbers count as 0.
fn count(usage: &Value, names: &[&str]) -> Option<u64> {
    let number = names.iter().find_map(|name| usage.get(*name))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is not negative"
    )]
    let count = number.as_u64().or_else(|| number.as_f64().map(|float| float.max(0.0) as u64));
    count.map(|count| count.min(MAX_COUNT))
}

fn tokens(usage: &Value) -> Option<Tokens> {
    const INPUT: &[&str] = &["input", "inputTokens", "input_tokens", "promptTokens", "prompt_tokens"];
    const OUTPUT: &[&str] =
        &["output", "outputTokens", "output_tokens", "completionTokens", "completion_tokens"];
    const CACHE_READ: &[&str] = &["cacheRead", "cache_read", "cache_read_input_tokens"];
    const CACHE_WRITE: &[&str] = &["cacheWrite", "cache_write", "cache_creation_input_tokens"];
    const TOTAL: &[&str] = &["total", "totalTokens", "total_tokens"];
    let parts = [INPUT, OUTPUT, CACHE_READ, CACHE_WRITE].map(|names| count(usage, names));
    let total = count(usage, TOTAL);
    if parts.iter().all(Option::is_none) && total.is_none() {
        return None;
    }
    let [input, output, cache_read, cache_write] = parts.map(Option::unwrap_or_default);
    let sum = [output, cache_read, cache_write].iter().fold(input, |sum, part| sum.saturating_add(*part));
    Some(Tokens { input, output, cache_read, cache_write, total: total.unwrap_or(sum) })
}

/// A stated cost counts when its total is a number that is not negative.
fn cost(usage: &Value) -> Option<Cost> {
    let cost = usage.get("cost")?;
    let total = cost.get("total")?.as_f64().filter(|total| *total >= 0.0)?;
    let part = |name: &str| cost.get(name).and_then(Value::as_f64).unwrap_or(0.0).max(0.0);
    Some(Cost {
        total,
        input: part("input"),
        output: part("output"),
        cache_read: part("cacheRead"),
        cache_write: part("cacheWrite"),
    })
}

fn tools(message: &Value) -> Vec<String> {
    let blocks = message.get("content").and_then(Value::as_array).into_iter().flatten();
    let calls = blocks.filter(|block| {
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
        matches!(kind.to_ascii_lowercase().replace('_', "").as_str(), "toolcall" | "tooluse")
    });
    calls
        .map(|block| block.get("name").and_then(Value::as_str).unwrap_or("tool").replace('\n', " "))
        .collect()
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.total = self.total.saturating_add(other.total);
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(usage: &Value) -> Option<Tokens> {
        Record::of(&json!({"role": "assistant", "usage": usage})).unwrap().tokens
    }

    #[test]
    fn every_spelling_is_read() {
        let wanted = Tokens { input: 7, output: 3, cache_read: 2, cache_write: 1, total: 13 };
        for usage in [
            json!({"input": 7, "output": 3, "cacheRead": 2, "cacheWrite": 1, "totalTokens": 13}),
            json!({"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1}),
            json!({"promptTokens": 7, "completionTokens": 3, "cache_read": 2, "cache_write": 1, "total_tokens": 13.0}),
        ] {
            assert_eq!(of(&usage), Some(wanted), "{usage}");
        }
        assert_eq!(of(&json!({})), None);
        assert_eq!(of(&json!("many")), None);
        assert_eq!(of(&json!({"input": -4})), Some(Tokens::default()));
    }

    #[test]
    fn only_a_sensible_cost_counts() {
        let cost = |cost: Value| {
            let message = json!({"role": "assistant", "usage": {"input": 1, "cost": cost}});
            Record::of(&message).unwrap().cost.map(|cost| cost.total)
        };
        assert_eq!(cost(json!({"total": 0.25, "input": 0.25})), Some(0.25));
        assert_eq!(cost(json!({"total": 0})), Some(0.0));
        assert_eq!(cost(json!({"total": -1})), None);
        assert_eq!(cost(json!({"input": 1})), None);
    }

    #[test]
    fn tools_and_failures_are_counted() {
        let message = json!({"role": "assistant", "stopReason": "error", "content": [
            {"type": "toolCall", "name": "exec"}, {"type": "tool_use", "name": "read"}, {"type": "text", "text": "x"},
        ]});
        let record = Record::of(&message).unwrap();
        assert_eq!((record.tools, record.failed), (vec!["exec".to_owned(), "read".to_owned()], true));
        let result = Record::of(&json!({"role": "toolResult", "isError": true})).unwrap();
        assert_eq!((result.speaker, result.failed), (Speaker::Tool, true));
        assert_eq!(Record::of(&json!({"role": "system"})), None);
    }
}
