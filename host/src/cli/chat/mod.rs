//! `chat`: talking with the agent in the terminal (spec 02 §9.2, §20).
//!
//! With a message, or words from a pipe, it is one question and its answer. Without, on a terminal, it is a
//! conversation: [`converse`]. The answer is shown as it comes. Ctrl-C aborts the run, not the gateway; a second
//! one leaves at once. When the gateway restarts, the connection comes back and the words are sent again under
//! the same key, so that nothing is asked twice.

mod blocks;
mod converse;
mod link;
mod orders;
mod past;
mod prompt;
mod screen;
mod turn;
mod view;

use std::io::{self, IsTerminal as _, Read as _};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use telson_core::config::Failure;
use telson_core::hex;

use crate::config::Places;
use crate::runtime::{Runtime, Signal};

use super::args::Chat;
use super::cells::{list, message_text, text};
use super::client::within;
use super::error::CliError;
use super::term::Output;

use link::{Link, News};
use turn::{Ending, Step, Turn};
use view::View;

pub(crate) use past::show as show_messages;

/// How long an aborted run may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a single question waits for a gateway that is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// `chat`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Chat,
    output: Output,
) -> Result<(), CliError> {
    let asks_once = args.message.is_some() || !io::stdin().is_terminal() || output.json;
    let link = Link::open(runtime, places, &args.client, asks_once.then_some(PATIENCE)).await?;
    let signals = runtime.signals().map_err(|error| internal(&error))?;
    let mut talk = Talk {
        runtime: runtime.clone(),
        link,
        signals,
        session: String::new(),
        thinking: args.thinking.clone(),
        output,
        leaving: false,
    };
    let outcome = talk.begin(args, places, asks_once).await;
    talk.link.close().await;
    outcome
}

fn internal(error: &io::Error) -> CliError {
    CliError::new(Failure::Internal, error.to_string())
}

fn interrupted() -> CliError {
    CliError::new(Failure::Interrupted, "interrupted")
}

/// A key that no other words have.
pub(crate) fn fresh_key() -> Result<String, CliError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| CliError::new(Failure::Internal, error.to_string()))?;
    Ok(hex(&key))
}

/// A conversation under way.
struct Talk<'a, R: Runtime> {
    runtime: R,
    link: Link<'a, R>,
    signals: R::Signals,
    session: String,
    thinking: Option<String>,
    output: Output,
    /// Whether the user wants to leave at once.
    leaving: bool,
}

/// What came first while something was awaited.
enum Happening {
    News(News),
    Interrupt,
    /// Time is up.
    Late,
}

impl<R: Runtime> Talk<'_, R> {
    async fn begin(&mut self, args: &Chat, places: &Places, asks_once: bool) -> Result<(), CliError> {
        self.session = self.choose(args).await?;
        if !asks_once {
            return self.converse(places, args.history).await;
        }
        let message = match &args.message {
            Some(message) => message.clone(),
            None => self.read_all().await?,
        };
        self.say(message.trim_end()).await
    }

    /// Everything that standard input has to say.
    async fn read_all(&self) -> Result<String, CliError> {
        let read = self.runtime.unblock(|| {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map(|_| text)
        });
        read.await.and_then(|text| text).map_err(|error| internal(&error))
    }

    /// The session that the options name: by key or by label, else the main one of the agent.
    async fn choose(&mut self, args: &Chat) -> Result<String, CliError> {
        if let Some(agent) = &args.agent {
            self.check_agent(agent).await?;
        }
        let default = |path: &str| self.link.hello(path).and_then(Value::as_str).map(str::to_owned);
        let main = default("/snapshot/sessionDefaults/mainSessionKey").unwrap_or_else(|| "main".to_owned());
        let word = default("/snapshot/sessionDefaults/mainKey").unwrap_or_else(|| "main".to_owned());
        let of_agent = |agent: &str, name: &str| format!("agent:{agent}:{name}");
        let named = match (&args.session, &args.agent) {
            (None, None) => return Ok(main),
            (None, Some(agent)) => return Ok(of_agent(agent, &word)),
            (Some(name), Some(agent)) if !name.starts_with("agent:") => of_agent(agent, name),
            (Some(name), _) => name.clone(),
        };
        Ok(self.find(&named).await?.unwrap_or(named))
    }

    /// A conversation with an agent that is not there would be one with nobody.
    async fn check_agent(&mut self, agent: &str) -> Result<(), CliError> {
        let found = self.link.call("agents.list", json!({})).await?;
        let ids: Vec<String> = list(&found, "agents").iter().map(|row| text(row, "id")).collect();
        if ids.iter().any(|id| id == agent) {
            return Ok(());
        }
        let error = CliError::new(Failure::ArgInvalid, format!("--agent: there is no agent {agent}"));
        Err(error.hint(format!("there is: {}", ids.join(", "))))
    }

    /// The canonical key of a session that exists, by its key or by its label.
    async fn find(&mut self, name: &str) -> Result<Option<String>, CliError> {
        for by in ["key", "label"] {
            match self.link.call("sessions.resolve", json!({by: name})).await {
                Ok(found) => return Ok(Some(text(&found, "key")).filter(|key| !key.is_empty())),
                Err(error) if error.failure == Failure::RpcError => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// One message and its answer.
    async fn say(&mut self, message: &str) -> Result<(), CliError> {
        let mut turn = Turn::asked(fresh_key()?);
        self.follow(&mut turn, Some(message)).await
    }

    async fn send(&mut self, turn: &mut Turn, message: &str) {
        let mut params = json!({"sessionKey": self.session, "message": message, "idempotencyKey": turn.key});
        if let Some(thinking) = &self.thinking {
            params["thinking"] = thinking.clone().into();
        }
        turn.request = self.link.send("chat.send", params).await;
    }

    /// Follows a run to its end; `message` is what starts it.
    async fn follow(&mut self, turn: &mut Turn, message: Option<&str>) -> Result<(), CliError> {
        if let Some(message) = message {
            self.send(turn, message).await;
        }
        let mut view = View::new(self.output);
        let mut give_up: Option<Instant> = None;
        loop {
            let frame = match self.happening(give_up).await {
                Happening::News(News::Frame(frame)) => frame,
                Happening::News(News::Lost(error)) => {
                    view.end_part();
                    self.output.note(&format!("{}; trying again, Ctrl-C gives up", error.message));
                    continue;
                }
                Happening::News(News::Back) => {
                    let Some(message) = message else {
                        return Err(CliError::new(Failure::RunFailed, "the gateway has restarted"));
                    };
                    self.output.note("connected again");
                    self.send(turn, message).await;
                    continue;
                }
                Happening::News(News::Gone(error)) => return Err(error),
                Happening::Interrupt => {
                    if give_up.is_some() || !self.abort(turn).await {
                        view.end_part();
                        self.leaving = give_up.is_some();
                        return Err(interrupted());
                    }
                    give_up = Some(Instant::now() + LAST_WORDS);
                    continue;
                }
                Happening::Late => {
                    view.end_part();
                    return Err(interrupted());
                }
            };
            let begun = turn.run.is_some();
            // The answer to words that were sent again tells what became of their run.
            let steps = turn.take(frame).map_err(|error| match error.failure {
                Failure::RpcError | Failure::Unavailable if begun => {
                    CliError { failure: Failure::RunFailed, ..error }
                }
                _ => error,
            });
            for step in steps? {
                view.show(&step);
                if let Step::Over(ending) = step {
                    return self.end(turn, ending, give_up.is_some(), &mut view).await;
                }
            }
        }
    }

    /// Asks for the end of a run; whether the question has left.
    async fn abort(&mut self, turn: &Turn) -> bool {
        let run = turn.run.as_deref().unwrap_or(&turn.key);
        let params = json!({"sessionKey": self.session, "runId": run});
        self.link.send("chat.abort", params).await.is_some()
    }

    /// What happens next, unless the user or the clock comes first.
    async fn happening(&mut self, until: Option<Instant>) -> Happening {
        let Self { runtime, link, signals, .. } = self;
        let first = async {
            let mut news = pin!(link.next());
            loop {
                match select(news.as_mut(), signals.next()).await {
                    Either::Left((news, _)) => return Happening::News(news),
                    Either::Right((Some(Signal::Interrupt | Signal::Terminate | Signal::Hangup), _)) => {
                        return Happening::Interrupt;
                    }
                    Either::Right((Some(_), _)) => {}
                    Either::Right((None, _)) => return Happening::News(news.await),
                }
            }
        };
        match until {
            Some(until) => within(runtime, until, first).await.unwrap_or(Happening::Late),
            None => first.await,
        }
    }

    async fn end(
        &mut self,
        turn: &mut Turn,
        ending: Ending,
        interrupt: bool,
        view: &mut View,
    ) -> Result<(), CliError> {
        if let Some(error) = ending.error.filter(|_| ending.state != "aborted") {
            return Err(CliError::new(Failure::RunFailed, error));
        }
        if interrupt {
            return Err(interrupted());
        }
        match ending.state.as_str() {
            "aborted" => {
                let reason = ending.stop.unwrap_or_else(|| "no reason given".to_owned());
                return Err(CliError::new(Failure::RunFailed, format!("the run was aborted: {reason}")));
            }
            "done" => self.recall(turn, view).await?,
            "stopped" => self.output.note("stopped"),
            _ => {}
        }
        if self.output.json {
            self.output.value(&json!({
                "type": "result", "ok": true, "runId": turn.run, "sessionKey": self.session,
                "state": if ending.state == "done" { "final" } else { &ending.state }, "text": turn.text,
            }));
        }
        Ok(())
    }

    /// Shows the answer of a run that ended while the connection was gone.
    async fn recall(&mut self, turn: &mut Turn, view: &mut View) -> Result<(), CliError> {
        let params = json!({"sessionKey": self.session, "limit": 20});
        let history = self.link.call("chat.history", params).await?;
        let is_ours = |message: &&Value| {
            let run = message.pointer("/__openclaw/runId").and_then(Value::as_str);
            text(message, "role") == "assistant" && run == turn.run.as_deref()
        };
        let answer = list(&history, "messages").iter().rev().find(is_ours).and_then(message_text);
        for step in answer.map(|answer| turn.grown(answer, false)).unwrap_or_default() {
            view.show(&step);
        }
        view.end_part();
        Ok(())
    }
}
