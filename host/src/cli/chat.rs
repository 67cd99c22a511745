//! `chat`: talking with the agent in the terminal (spec 02 §9.2, §20).
//!
//! The answer is printed as it comes. Ctrl-C aborts the run, not the gateway; a second one leaves at once.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::pin::pin;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use telson_core::config::Failure;
use telson_core::hex;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::{Runtime, Signal};

use super::args::Chat;
use super::client::{Client, Frame, within};
use super::error::CliError;
use super::show::connect;
use super::term::Output;

/// A gateway that sends nothing at all for this long is gone: it ticks every 30 seconds.
const SILENCE: Duration = Duration::from_secs(90);

/// How long an aborted run may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// `chat`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Chat,
    output: Output,
) -> Result<(), CliError> {
    let (client, _) = connect(runtime, places, &args.client).await?;
    let main = client.hello.pointer("/snapshot/sessionDefaults/mainSessionKey").and_then(Value::as_str);
    let session =
        args.session.clone().or_else(|| main.map(str::to_owned)).unwrap_or_else(|| "main".to_owned());
    let signals = runtime.signals().map_err(|error| internal(&error))?;
    let mut talk = Talk { runtime: runtime.clone(), client, signals, session, output };
    let outcome = match &args.message {
        Some(message) => talk.say(message).await,
        None if io::stdin().is_terminal() && !output.json => talk.converse().await,
        None => {
            let read = runtime.unblock(|| {
                let mut text = String::new();
                io::stdin().lock().read_to_string(&mut text).map(|_| text)
            });
            let text = read.await.and_then(|text| text).map_err(|error| internal(&error))?;
            talk.say(text.trim_end()).await
        }
    };
    talk.client.close().await;
    outcome
}

fn internal(error: &io::Error) -> CliError {
    CliError::new(Failure::Internal, error.to_string())
}

fn interrupted() -> CliError {
    CliError::new(Failure::Interrupted, "interrupted")
}

/// A conversation under way.
struct Talk<R: Runtime> {
    runtime: R,
    client: Client<R>,
    signals: R::Signals,
    session: String,
    output: Output,
}

/// What has been shown of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    run: Option<String>,
    text: String,
}

/// What came first while the answer was awaited.
enum Happening {
    Frame(Frame),
    Interrupt,
    Silence,
}

/// What to do after a frame.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Print this and go on.
    Print(String),
    /// The run is over.
    Over { state: String, error: Option<String>, stop: Option<String>, rest: String },
}

impl<R: Runtime> Talk<R> {
    /// Line by line, until the input ends.
    async fn converse(&mut self) -> Result<(), CliError> {
        let lines = self.read_lines();
        self.output.note("Type a message; Ctrl-C stops the answer, Ctrl-D ends the conversation.");
        loop {
            self.output.piece("> ");
            let Some(line) = self.next_line(&lines).await? else {
                self.output.line("");
                return Ok(());
            };
            if line.trim().is_empty() {
                continue;
            }
            match self.say(line.trim_end()).await {
                Err(error)
                    if matches!(
                        error.failure,
                        Failure::Interrupted | Failure::RunFailed | Failure::RpcError
                    ) =>
                {
                    self.output.note(&escape(&error.message));
                }
                outcome => outcome?,
            }
        }
    }

    /// Reads standard input off the I/O threads, a line ahead.
    fn read_lines(&self) -> Receiver<String> {
        let (sender, lines) = async_channel::bounded(1);
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move {
            loop {
                let read = runtime.unblock(|| {
                    let mut line = String::new();
                    io::stdin().lock().read_line(&mut line).map(|count| (count > 0).then_some(line))
                });
                let Ok(Ok(Some(line))) = read.await else { return };
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        lines
    }

    /// The next line; meanwhile the connection is served, so that the gateway does not take it for dead.
    async fn next_line(&mut self, lines: &Receiver<String>) -> Result<Option<String>, CliError> {
        let mut line = pin!(lines.recv());
        loop {
            let far = Instant::now() + SILENCE;
            match select(line.as_mut(), pin!(self.happening(far))).await {
                Either::Left((line, _)) => return Ok(line.ok()),
                Either::Right((happened, _)) => match happened? {
                    Happening::Frame(_) => {}
                    Happening::Interrupt => return Err(interrupted()),
                    Happening::Silence => {
                        return Err(CliError::new(Failure::GatewayTimeout, "the gateway has fallen silent"));
                    }
                },
            }
        }
    }

    /// One message and its answer.
    async fn say(&mut self, message: &str) -> Result<(), CliError> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
        let params = json!({"sessionKey": self.session, "message": message, "idempotencyKey": hex(&key)});
        let request = self.client.send("chat.send", params).await?;
        let mut shown = Shown::default();
        let mut give_up: Option<Instant> = None;
        loop {
            let until = give_up.unwrap_or_else(|| Instant::now() + SILENCE);
            let frame = match self.happening(until).await? {
                Happening::Frame(frame) => frame,
                Happening::Interrupt => {
                    let Some(run) = shown.run.clone().filter(|_| give_up.is_none()) else {
                        return Err(interrupted());
                    };
                    self.client.send("chat.abort", json!({"sessionKey": self.session, "runId": run})).await?;
                    give_up = Some(Instant::now() + LAST_WORDS);
                    continue;
                }
                Happening::Silence if give_up.is_some() => return Err(interrupted()),
                Happening::Silence => {
                    return Err(CliError::new(Failure::GatewayTimeout, "the gateway has fallen silent"));
                }
            };
            match shown.step(&request, frame)? {
                Some(Step::Print(text)) => self.print(&text),
                Some(over @ Step::Over { .. }) => return self.end(&shown, over, give_up.is_some()),
                None => {}
            }
        }
    }

    /// The next frame, unless the user or the clock comes first.
    async fn happening(&mut self, until: Instant) -> Result<Happening, CliError> {
        let Self { runtime, client, signals, .. } = self;
        let first = async {
            let mut frame = pin!(client.next());
            loop {
                match select(frame.as_mut(), signals.next()).await {
                    Either::Left((frame, _)) => return frame.map(Happening::Frame),
                    Either::Right((Some(Signal::Interrupt | Signal::Terminate), _)) => {
                        return Ok(Happening::Interrupt);
                    }
                    Either::Right((Some(_), _)) => {}
                    Either::Right((None, _)) => return frame.await.map(Happening::Frame),
                }
            }
        };
        within(runtime, until, first).await.unwrap_or(Ok(Happening::Silence))
    }

    fn print(&self, text: &str) {
        if self.output.json {
            return;
        }
        if self.output.terminal.interactive {
            let safe: Vec<String> = text.split('\n').map(|line| escape(line).replace("\\t", "\t")).collect();
            self.output.piece(&safe.join("\n"));
        } else {
            self.output.piece(text);
        }
    }

    fn end(&self, shown: &Shown, over: Step, interrupt: bool) -> Result<(), CliError> {
        let Step::Over { state, error, stop, rest } = over else { return Ok(()) };
        self.print(&rest);
        let silent = shown.text.is_empty() && rest.is_empty();
        if !self.output.json && !silent {
            self.output.line("");
        }
        if let Some(error) = error {
            return Err(CliError::new(Failure::RunFailed, error));
        }
        if interrupt {
            return Err(interrupted());
        }
        if state == "aborted" {
            let reason = stop.unwrap_or_else(|| "no reason given".to_owned());
            return Err(CliError::new(Failure::RunFailed, format!("the run was aborted: {reason}")));
        }
        if self.output.json {
            self.output.value(&json!({
                "ok": true, "runId": shown.run, "sessionKey": self.session, "state": state, "text": shown.text,
            }));
        }
        Ok(())
    }
}

impl Shown {
    /// Takes a frame in.
    fn step(&mut self, request: &str, frame: Frame) -> Result<Option<Step>, CliError> {
        match frame {
            Frame::Answer { id, outcome } if id == request => {
                let payload = outcome.map_err(|error| *error)?;
                self.run = payload.get("runId").and_then(Value::as_str).map(str::to_owned);
                Ok(None)
            }
            Frame::Event { name, payload } if name == "chat" => {
                let ours =
                    self.run.is_some() && payload.get("runId").and_then(Value::as_str) == self.run.as_deref();
                Ok(if ours { self.chat(&payload) } else { None })
            }
            Frame::Answer { .. } | Frame::Event { .. } => Ok(None),
        }
    }

    fn chat(&mut self, payload: &Value) -> Option<Step> {
        let text = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
        let state = text("state")?;
        if state == "delta" {
            let delta = text("deltaText").unwrap_or_default();
            if payload.get("replace") == Some(&Value::Bool(true)) {
                let gap = if self.text.is_empty() { "" } else { "\n" };
                self.text.clone_from(&delta);
                return Some(Step::Print(format!("{gap}{delta}")));
            }
            self.text.push_str(&delta);
            return Some(Step::Print(delta));
        }
        let rest = message_text(payload.get("message")).map_or_else(String::new, |whole| self.rest_of(whole));
        let error =
            (state == "error").then(|| text("errorMessage").unwrap_or_else(|| "the run failed".to_owned()));
        Some(Step::Over { state, error, stop: text("stopReason"), rest })
    }

    /// What is still to be shown of the whole text, which is trimmed.
    fn rest_of(&mut self, whole: String) -> String {
        let rest = match whole.strip_prefix(&self.text) {
            Some(rest) => rest.to_owned(),
            None if self.text.trim_end() == whole => String::new(),
            None => format!("\n{whole}"),
        };
        self.text = whole;
        rest
    }
}

/// The text of a message: all its text blocks.
fn message_text(message: Option<&Value>) -> Option<String> {
    let content = message?.get("content")?;
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(blocks) => {
            Some(blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str)).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn event(payload: Value) -> Frame {
        Frame::Event { name: "chat".to_owned(), payload }
    }

    fn started() -> Shown {
        let mut shown = Shown::default();
        let answer =
            Frame::Answer { id: "1".to_owned(), outcome: Ok(json!({"runId": "r", "status": "started"})) };
        assert_eq!(shown.step("1", answer).unwrap(), None);
        shown
    }

    fn delta(shown: &mut Shown, text: &str) -> String {
        match shown.step("1", event(json!({"runId": "r", "state": "delta", "deltaText": text}))).unwrap() {
            Some(Step::Print(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn end(shown: &mut Shown, whole: &str) -> String {
        let message = json!({"role": "assistant", "content": [{"type": "text", "text": whole}]});
        match shown.step("1", event(json!({"runId": "r", "state": "final", "message": message}))).unwrap() {
            Some(Step::Over { rest, error: None, .. }) => rest,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_not_streamed_is_shown_at_the_end() {
        let mut shown = started();
        assert_eq!(delta(&mut shown, "tide "), "tide ");
        assert_eq!(end(&mut shown, "tide and moon"), "and moon");
        assert_eq!(shown.text, "tide and moon");
    }

    #[test]
    fn nothing_is_shown_twice() {
        let mut shown = started();
        delta(&mut shown, "tide and moon\n");
        assert_eq!(end(&mut shown, "tide and moon"), "");
    }

    #[test]
    fn a_new_text_begins_on_a_new_line() {
        let mut shown = started();
        delta(&mut shown, "let me look");
        let replaced = event(json!({"runId": "r", "state": "delta", "deltaText": "found", "replace": true}));
        assert_eq!(shown.step("1", replaced).unwrap(), Some(Step::Print("\nfound".to_owned())));
        assert_eq!(end(&mut shown, "found it"), " it");
    }

    #[test]
    fn other_runs_are_not_ours() {
        let mut shown = started();
        let other = event(json!({"runId": "x", "state": "final"}));
        assert_eq!(shown.step("1", other).unwrap(), None);
    }

    #[test]
    fn a_failed_run_is_an_error() {
        let mut shown = started();
        let failed = event(json!({"runId": "r", "state": "error", "errorMessage": "no credit"}));
        let step = shown.step("1", failed).unwrap();
        assert!(matches!(step, Some(Step::Over { error: Some(error), .. }) if error == "no credit"));
    }
}
