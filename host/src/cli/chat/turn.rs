//! What the gateway says about one run, read into what is to be shown (spec 02 §9, §20.6).

use serde_json::Value;

use crate::cli::cells::{cut, list, message_text};
use crate::cli::client::Frame;
use crate::cli::error::CliError;

/// The longest description of a tool's arguments or failure, in characters.
const NOTE_CHARS: usize = 100;

/// A run that is being followed.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The idempotency key of the user's words, and the id of the run that they start.
    pub(super) key: String,
    /// The request that carried the words on this connection.
    pub(super) request: Option<String>,
    /// The run, when the gateway has taken the words.
    pub(super) run: Option<String>,
    /// The text of the message that is being written.
    pub(super) text: String,
}

/// Something to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The words are taken.
    Begun,
    /// Further words.
    Say(String),
    /// A new message begins; what was said stays.
    Anew,
    /// A piece of what the model thinks.
    Think(String),
    /// A tool is called; `args` is a short form of what it is called with.
    Tool { name: String, id: String, args: String },
    /// A tool has answered; `failure` is what went wrong.
    ToolDone { name: String, id: String, failure: Option<String> },
    /// The beginning of a long conversation is being summed up.
    Compacting,
    /// The run is over.
    Over(Ending),
}

/// How a run ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    /// `final`, `aborted` or `error`; `done` when it was over before anybody listened; `stopped` when the words
    /// stopped other runs.
    pub(super) state: String,
    pub(super) error: Option<String>,
    pub(super) stop: Option<String>,
}

impl Turn {
    /// A turn of these words, sent as this request.
    pub(super) fn asked(key: String) -> Self {
        Self { key, ..Self::default() }
    }

    /// A run that somebody else has started.
    pub(super) fn joined(run: &str) -> Self {
        Self { key: run.to_owned(), run: Some(run.to_owned()), ..Self::default() }
    }

    /// Takes a frame in. An error is the gateway's refusal of the words.
    pub(super) fn take(&mut self, frame: Frame) -> Result<Vec<Step>, CliError> {
        match frame {
            Frame::Answer { id, outcome } if self.request.as_deref() == Some(&*id) => {
                outcome.map(|payload| self.acknowledged(&payload)).map_err(|error| *error)
            }
            Frame::Event { name, payload } if self.is_ours(&payload) => Ok(match name.as_str() {
                "chat" => self.chat(&payload),
                "agent" => activity(&payload).into_iter().collect(),
                _ => Vec::new(),
            }),
            Frame::Answer { .. } | Frame::Event { .. } => Ok(Vec::new()),
        }
    }

    fn is_ours(&self, payload: &Value) -> bool {
        self.run.is_some() && payload.get("runId").and_then(Value::as_str) == self.run.as_deref()
    }

    fn acknowledged(&mut self, payload: &Value) -> Vec<Step> {
        let word = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(run) = word("runId") else {
            return vec![Step::Over(Ending { state: "stopped".to_owned(), ..Ending::default() })];
        };
        self.run = Some(run);
        let over = |state: &str| {
            let (error, stop) = (word("summary"), word("stopReason"));
            Step::Over(Ending { state: state.to_owned(), error, stop })
        };
        match word("status").as_deref() {
            Some("ok") => vec![Step::Over(Ending { state: "done".to_owned(), ..Ending::default() })],
            Some("error") => vec![over("error")],
            Some("timeout") => vec![over("aborted")],
            _ => vec![Step::Begun],
        }
    }

    fn chat(&mut self, payload: &Value) -> Vec<Step> {
        let word = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(state) = word("state") else { return Vec::new() };
        let whole = payload.get("message").and_then(message_text);
        match state.as_str() {
            "status" => Vec::new(),
            "delta" => {
                let anew = payload.get("replace") == Some(&Value::Bool(true));
                let delta = word("deltaText").unwrap_or_default();
                let before = if anew { "" } else { self.text.as_str() };
                let whole = whole.unwrap_or_else(|| format!("{before}{delta}"));
                self.grown(whole, anew)
            }
            _ => {
                // The whole text of the end is trimmed.
                let known = whole.as_deref().is_none_or(|whole| self.text.trim() == whole);
                let mut steps = if known { Vec::new() } else { self.grown(whole.unwrap_or_default(), false) };
                let error = (state == "error")
                    .then(|| word("errorMessage").unwrap_or_else(|| "the run failed".to_owned()));
                steps.push(Step::Over(Ending { state, error, stop: word("stopReason") }));
                steps
            }
        }
    }

    /// The running message is now this text.
    pub(super) fn grown(&mut self, whole: String, anew: bool) -> Vec<Step> {
        let rest = if anew { None } else { whole.strip_prefix(self.text.as_str()) };
        let steps = match rest {
            Some("") => Vec::new(),
            Some(rest) => vec![Step::Say(rest.to_owned())],
            None if self.text.is_empty() => vec![Step::Say(whole.clone())],
            None => vec![Step::Anew, Step::Say(whole.clone())],
        };
        self.text = whole;
        steps
    }
}

/// What an `agent` event tells beside the words.
fn activity(payload: &Value) -> Option<Step> {
    let data = payload.get("data")?;
    let word = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match payload.get("stream")?.as_str()? {
        "thinking" => Some(Step::Think(word("delta"))).filter(|step| *step != Step::Think(String::new())),
        "compaction" => (word("phase") == "start").then_some(Step::Compacting),
        "tool" => {
            let (name, id) = (word("name"), word("toolCallId"));
            match word("phase").as_str() {
                "start" => Some(Step::Tool { name, id, args: arguments(data.get("args")) }),
                "result" => {
                    let failed = data.get("isError") == Some(&Value::Bool(true));
                    Some(Step::ToolDone { name, id, failure: failed.then(|| told(data.get("result"))) })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The arguments of a call on one line: the value alone when there is but one.
pub(super) fn arguments(args: Option<&Value>) -> String {
    let short = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = match args {
        Some(Value::Object(members)) if members.len() == 1 => members.values().map(short).collect::<String>(),
        Some(Value::Object(members)) => {
            let pair = |(name, value): (&String, &Value)| format!("{name}={}", short(value));
            members.iter().map(pair).collect::<Vec<_>>().join(" ")
        }
        Some(Value::Null) | None => String::new(),
        Some(other) => short(other),
    };
    cut(&text, NOTE_CHARS)
}

/// What a tool said when it failed.
fn told(result: Option<&Value>) -> String {
    let text = match result {
        Some(Value::String(text)) => text.clone(),
        Some(result) if !list(result, "content").is_empty() => message_text(result).unwrap_or_default(),
        Some(Value::Array(blocks)) => {
            let texts = blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    cut(if text.is_empty() { "failed" } else { &text }, NOTE_CHARS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    fn event(name: &str, payload: Value) -> Frame {
        Frame::Event { name: name.to_owned(), payload }
    }

    fn answer(payload: Value) -> Frame {
        Frame::Answer { id: "1".to_owned(), outcome: Ok(payload) }
    }

    fn asked() -> Turn {
        Turn { request: Some("1".to_owned()), ..Turn::asked("r".to_owned()) }
    }

    fn started() -> Turn {
        let mut turn = asked();
        let steps = turn.take(answer(json!({"runId": "r", "status": "started"}))).unwrap();
        assert_eq!(steps, [Step::Begun]);
        turn
    }

    fn chat(turn: &mut Turn, mut payload: Value) -> Vec<Step> {
        payload["runId"] = "r".into();
        turn.take(event("chat", payload)).unwrap()
    }

    fn message(text: &str) -> Value {
        json!({"role": "assistant", "content": [{"type": "text", "text": text}]})
    }

    fn say(text: &str) -> Step {
        Step::Say(text.to_owned())
    }

    fn over(state: &str) -> Step {
        Step::Over(Ending { state: state.to_owned(), ..Ending::default() })
    }

    #[test]
    fn what_was_not_streamed_is_shown_at_the_end() {
        let mut turn = started();
        assert_eq!(chat(&mut turn, json!({"state": "delta", "deltaText": "tide "})), [say("tide ")]);
        let end = chat(&mut turn, json!({"state": "final", "message": message("tide and moon")}));
        assert_eq!(end, [say("and moon"), over("final")]);
        assert_eq!(turn.text, "tide and moon");
    }

    #[test]
    fn nothing_is_shown_twice() {
        let mut turn = started();
        chat(&mut turn, json!({"state": "delta", "deltaText": "tide and moon\n"}));
        let end = chat(&mut turn, json!({"state": "final", "message": message("tide and moon")}));
        assert_eq!(end, [over("final")]);
    }

    #[test]
    fn a_lost_delta_is_made_up_for_by_the_next() {
        let mut turn = started();
        chat(&mut turn, json!({"state": "delta", "deltaText": "tide", "message": message("tide")}));
        let later = json!({"state": "delta", "deltaText": "moon", "message": message("tide and moon")});
        assert_eq!(chat(&mut turn, later), [say(" and moon")]);
    }

    #[test]
    fn a_new_message_begins_below_the_old_one() {
        let mut turn = started();
        chat(&mut turn, json!({"state": "delta", "deltaText": "let me look"}));
        let replaced = json!({"state": "delta", "deltaText": "found", "replace": true});
        assert_eq!(chat(&mut turn, replaced), [Step::Anew, say("found")]);
        let end = chat(&mut turn, json!({"state": "final", "message": message("found it")}));
        assert_eq!(end, [say(" it"), over("final")]);
    }

    #[test]
    fn other_runs_are_not_ours() {
        let mut turn = started();
        assert!(turn.take(event("chat", json!({"runId": "x", "state": "final"}))).unwrap().is_empty());
        assert!(turn.take(event("tick", json!({}))).unwrap().is_empty());
    }

    #[test]
    fn a_failed_run_tells_why() {
        let mut turn = started();
        let steps = chat(&mut turn, json!({"state": "error", "errorMessage": "no credit"}));
        let [Step::Over(ending)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(ending.error.as_deref(), Some("no credit"));
    }

    #[test]
    fn words_that_are_sent_again_find_their_run() {
        let mut turn = asked();
        let steps = turn.take(answer(json!({"runId": "r", "status": "in_flight"}))).unwrap();
        assert_eq!(steps, [Step::Begun]);
        let mut turn = asked();
        let steps = turn.take(answer(json!({"runId": "r", "status": "ok"}))).unwrap();
        assert_eq!(steps, [over("done")]);
        let mut turn = asked();
        let steps = turn.take(answer(json!({"runId": "r", "status": "error", "summary": "cut"}))).unwrap();
        assert!(matches!(&steps[..], [Step::Over(Ending { error: Some(error), .. })] if error == "cut"));
    }

    #[test]
    fn words_that_stop_others_have_no_run() {
        let mut turn = asked();
        let steps = turn.take(answer(json!({"ok": true, "aborted": true, "runIds": ["x"]}))).unwrap();
        assert_eq!(steps, [over("stopped")]);
    }

    #[test]
    fn tools_and_thoughts_are_told_of() {
        let mut turn = started();
        let mut agent = |stream: &str, data: Value| {
            turn.take(event("agent", json!({"runId": "r", "stream": stream, "data": data}))).unwrap()
        };
        let start =
            json!({"phase": "start", "name": "exec", "toolCallId": "c", "args": {"command": "ls -l"}});
        let (name, id) = ("exec".to_owned(), "c".to_owned());
        assert_eq!(agent("tool", start), [Step::Tool { name, id, args: "ls -l".to_owned() }]);
        let result = json!({"phase": "result", "name": "exec", "toolCallId": "c", "isError": true,
            "result": {"content": [{"type": "text", "text": "no such file"}]}});
        let (name, id) = ("exec".to_owned(), "c".to_owned());
        let failure = Some("no such file".to_owned());
        assert_eq!(agent("tool", result), [Step::ToolDone { name, id, failure }]);
        assert_eq!(agent("thinking", json!({"delta": "hm"})), [Step::Think("hm".to_owned())]);
        assert_eq!(agent("compaction", json!({"phase": "start"})), [Step::Compacting]);
        assert!(agent("assistant", json!({"delta": "twice"})).is_empty(), "chat events tell the words");
    }

    #[test]
    fn arguments_fit_on_a_line() {
        assert_eq!(arguments(Some(&json!({"path": "a b\nc"}))), "a b c");
        assert_eq!(arguments(Some(&json!({"a": 1, "b": "x"}))), "a=1 b=x");
        assert_eq!(arguments(None), "");
        assert_eq!(arguments(Some(&json!({"x": "y".repeat(500)}))).chars().count(), NOTE_CHARS);
    }
}
