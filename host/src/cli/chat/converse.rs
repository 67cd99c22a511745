//! The conversation: a line, its answer, the next line.

use std::pin::pin;

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::cli::cells::{age, list, text, title};
use crate::cli::client::Frame;
use crate::cli::error::CliError;
use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::link::News;
use super::orders::Order;
use super::past;
use super::prompt::{Line, Prompt, Question};
use super::turn::Turn;
use super::{Happening, Talk, internal, interrupted};

/// Where the lines of conversations are remembered, in the state directory.
const HISTORY: &str = "chat-history";

/// How many conversations there are to choose from.
const CHOICES: usize = 20;

impl<R: Runtime> Talk<'_, R> {
    /// Line by line, until the user leaves.
    pub(super) async fn converse(&mut self, places: &Places, shown: u64) -> Result<(), CliError> {
        let state = places.state.path();
        let history = state.is_dir().then(|| state.join(HISTORY));
        let prompt = Prompt::start(history, self.output).map_err(|error| internal(&error))?;
        self.output.note(
            "Ctrl-C stops the answer; Ctrl-D or /quit leaves; /sessions and /session NAME go to another \
             conversation; other slash commands are the gateway's.",
        );
        self.enter(shown).await?;
        // A Ctrl-C that follows another one leaves.
        let mut warned = false;
        let mut words = String::new();
        loop {
            let question =
                Question { prompt: "> ".to_owned(), words: std::mem::take(&mut words), remember: true };
            let order = match self.line(&prompt, question).await? {
                Line::Words(line) => Order::read(&line),
                Line::Interrupt if warned => return Ok(()),
                Line::Interrupt => {
                    self.output.note("Ctrl-C again leaves");
                    warned = true;
                    continue;
                }
                Line::End => return Ok(()),
                Line::Broken(reason) => return Err(CliError::new(Failure::Internal, reason)),
            };
            warned = false;
            let outcome = match order {
                Order::Nothing => Ok(()),
                Order::Quit => return Ok(()),
                Order::Which => {
                    self.output.note(&escape(&self.session));
                    Ok(())
                }
                Order::Switch(name) => self.switch(&name, shown).await,
                Order::Pick => self.pick(&prompt, shown).await,
                Order::Say(line) => {
                    let mut turn = Turn::asked(super::fresh_key()?);
                    let outcome = self.follow(&mut turn, Some(&line)).await;
                    warned = matches!(&outcome, Err(error) if error.failure == Failure::Interrupted);
                    if outcome.is_err() && turn.run.is_none() {
                        words = line;
                    }
                    outcome
                }
            };
            self.survive(outcome)?;
        }
    }

    /// A failure that does not end the conversation is told, and is over.
    fn survive(&self, outcome: Result<(), CliError>) -> Result<(), CliError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if self.leaving => Err(error),
            Err(error) => match error.failure {
                Failure::Interrupted => {
                    self.output.note("stopped");
                    Ok(())
                }
                Failure::RunFailed | Failure::RpcError | Failure::Unavailable | Failure::GatewayTimeout => {
                    self.output.note(&escape(&error.message));
                    error.hints.iter().for_each(|hint| self.output.note(&format!("  {}", escape(hint))));
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// The user's next line; meanwhile the connection is served, so that the gateway does not take it for dead.
    async fn line(&mut self, prompt: &Prompt, question: Question) -> Result<Line, CliError> {
        prompt.ask(question).await;
        let mut line = pin!(prompt.line());
        loop {
            let happened = match select(line.as_mut(), pin!(self.happening(None))).await {
                Either::Left((line, _)) => return Ok(line),
                Either::Right((happened, _)) => happened,
            };
            match happened {
                Happening::News(News::Frame(frame)) => self.overhear(prompt, &frame),
                Happening::News(News::Lost(error)) => {
                    prompt.say(&format!("{}; trying again", escape(&error.message)));
                }
                Happening::News(News::Back) => prompt.say("connected again"),
                Happening::News(News::Gone(error)) => return Err(error),
                Happening::Interrupt | Happening::Late => {
                    self.leaving = true;
                    return Err(interrupted());
                }
            }
        }
    }

    /// What others say in this conversation is shown when it is complete.
    fn overhear(&self, prompt: &Prompt, frame: &Frame) {
        let Frame::Event { name, payload } = frame else { return };
        let here = text(payload, "sessionKey") == self.session;
        if name != "chat" || !here || text(payload, "state") != "final" {
            return;
        }
        if let Some(message) = payload.get("message") {
            prompt.say(past::message_lines(message, self.output).trim_end());
        }
    }

    /// Shows what was said in this conversation, and follows the answer that is being given.
    async fn enter(&mut self, shown: u64) -> Result<(), CliError> {
        let params = json!({"sessionKey": self.session, "limit": shown.clamp(1, 1_000)});
        let history = self.link.call("chat.history", params).await?;
        let canonical = text(&history, "sessionKey");
        if !canonical.is_empty() {
            self.session = canonical;
        }
        self.output.note(&format!("{}\n", escape(&self.session)));
        if shown > 0 {
            past::show(list(&history, "messages"), self.output);
        }
        let run = history.pointer("/inFlightRun/runId").and_then(Value::as_str);
        if let Some(run) = run {
            let mut turn = Turn::joined(run);
            let outcome = self.follow(&mut turn, None).await;
            self.survive(outcome)?;
        }
        Ok(())
    }

    /// Goes to another conversation, by key or by label.
    async fn switch(&mut self, name: &str, shown: u64) -> Result<(), CliError> {
        if let Some(key) = self.find(name).await? {
            self.session = key;
        } else {
            self.output.note("There is no such conversation yet; it begins with your first words.");
            name.clone_into(&mut self.session);
        }
        self.enter(shown).await
    }

    /// Lets the user choose among the latest conversations.
    async fn pick(&mut self, prompt: &Prompt, shown: u64) -> Result<(), CliError> {
        let params = json!({"limit": CHOICES, "includeDerivedTitles": true});
        let found = self.link.call("sessions.list", params).await?;
        let rows = list(&found, "sessions");
        if rows.is_empty() {
            self.output.note("No sessions yet.");
            return Ok(());
        }
        let cells = rows.iter().enumerate().map(|(at, row)| {
            let here = if text(row, "key") == self.session { "*" } else { "" };
            vec![format!("{}{here}", at + 1), text(row, "key"), age(row.get("updatedAt")), title(row)]
        });
        self.output.table(&["", "KEY", "UPDATED", "TITLE"], cells);
        let question = Question { prompt: "number: ".to_owned(), ..Question::default() };
        let Line::Words(line) = self.line(prompt, question).await? else { return Ok(()) };
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        let chosen = line.parse::<usize>().ok().and_then(|number| rows.get(number.checked_sub(1)?));
        match chosen {
            Some(row) => {
                self.session = text(row, "key");
                self.enter(shown).await
            }
            None => {
                self.output.note(&format!(
                    "There is no number {}; choose 1 to {}.",
                    escape(line),
                    rows.len()
                ));
                Ok(())
            }
        }
    }
}
