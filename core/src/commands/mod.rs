//! What people type that is not for the model (spec 02 §7.1, §19.3).
//!
//! A message that is one of the [`COMMANDS`] is answered by the gateway itself. A directive such as
//! `/think high` inside other words is taken out of them and holds for that turn. Everything else goes to the
//! model as it was written.
//!
//! A command is a side door to an effect, so it asks the same question there as the method does: levels and
//! model change through the code of `sessions.patch`, and whoever may not call that may not type it either
//! (spec 08 S-66). The refusal is the command's answer.

mod directives;
mod info;
mod methods;
mod model;
mod settings;
mod status;
mod subagents;
mod table;

#[cfg(test)]
mod tests;

use telson_proto::ErrorShape;

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::Gateway;
use crate::ids::{RunId, SessionKey, Ticket};
use crate::runs::TurnLevels;
use crate::sessions::SessionEntry;
use crate::settings::{ModelRef, QueueMode};

pub(crate) use methods::list;
pub use table::{Arg, COMMANDS, Category, Command, Needs, Takes};

use directives::Directive;
use table::Run;

/// A change of a session's entry.
pub(crate) type Edit = Box<dyn FnOnce(&mut SessionEntry) + Send>;

/// Who types, and in which session.
pub(crate) struct Caller<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) ticket: &'a Ticket,
    pub(crate) key: &'a SessionKey,
}

/// What a command has come to.
pub(crate) struct Done {
    /// What the gateway answers.
    pub(crate) reply: String,
    /// What changes of the session.
    pub(crate) edit: Option<Edit>,
    /// The runs that are to end.
    pub(crate) abort: Vec<RunId>,
}

impl Done {
    /// An answer that changes nothing.
    fn says(reply: impl Into<String>) -> Self {
        Self { reply: reply.into(), edit: None, abort: Vec::new() }
    }

    /// An answer after which the session's entry is this one.
    fn leaves(entry: SessionEntry, reply: impl Into<String>) -> Self {
        Self { edit: Some(Box::new(move |old| *old = entry)), ..Self::says(reply) }
    }
}

/// Words for the model, with what was said about this turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) text: String,
    pub(crate) thinking: Option<String>,
    pub(crate) model: Option<ModelRef>,
    pub(crate) levels: TurnLevels,
    pub(crate) queue: Option<QueueMode>,
}

/// What a message means.
pub(crate) enum Meaning {
    /// The model answers.
    Words(Turn),
    /// The gateway answers.
    Answer(Done),
    /// The model sums up the conversation.
    Compact {
        /// What matters in particular; may be empty.
        instructions: String,
    },
    /// The session begins anew; `rest` is what is said in it first.
    Anew { rest: String },
}

/// A message as it was read, before anything is looked up or changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A command with its arguments.
    Command(&'static Command, String),
    /// Words, and the directives that stood among them.
    Words(String, Vec<Directive>),
}

impl Reading {
    /// Words to which no meaning is given.
    pub(crate) fn plain(text: &str) -> Self {
        Self::Words(text.to_owned(), Vec::new())
    }

    /// What follows, when the message begins the session anew.
    pub(crate) fn begins_anew(&self) -> Option<&str> {
        match self {
            Self::Command(command, rest) if matches!(command.run, Run::Anew) => Some(rest),
            _ => None,
        }
    }

    /// Whether the message passes a policy that forbids messages: it is the command that changes the policy.
    /// Whoever may not change it hears so.
    pub(crate) fn passes_policy(&self) -> bool {
        matches!(self, Self::Command(command, _) if command.name == "send")
    }
}

impl Gateway {
    /// Reads a message.
    pub(crate) fn read_message(&self, text: &str) -> Reading {
        if let Some((command, rest)) = table::parse(text, &self.settings.policies.triggers) {
            return Reading::Command(command, rest.to_owned());
        }
        let (text, directives) = directives::extract(text, &|word| self.agents.named(word));
        Reading::Words(text, directives)
    }

    /// Finds out what a message means and what it would do. Nothing is changed yet. A refusal is an answer.
    pub(crate) fn interpret(&self, caller: &Caller<'_>, reading: Reading) -> Meaning {
        let refused = |error: ErrorShape| Meaning::Answer(Done::says(error.message));
        match reading {
            Reading::Command(command, rest) => match &command.run {
                Run::Anew => {
                    let effect = Effect::EndSession { session: caller.key.clone() };
                    authorize(caller.principal, &effect).map_or_else(refused, |()| Meaning::Anew { rest })
                }
                Run::Compact => {
                    let effect = Effect::EndSession { session: caller.key.clone() };
                    let compact = |()| Meaning::Compact { instructions: rest.trim().to_owned() };
                    authorize(caller.principal, &effect).map_or_else(refused, compact)
                }
                Run::Answer(run) => run(self, caller, rest.trim()).map_or_else(refused, Meaning::Answer),
            },
            Reading::Words(text, directives) if text.trim().is_empty() && !directives.is_empty() => {
                self.store_directives(caller, &directives).map_or_else(refused, Meaning::Answer)
            }
            Reading::Words(text, directives) => {
                Self::turn(caller, text, directives).map_or_else(refused, Meaning::Words)
            }
        }
    }

    /// Directives and nothing else: they hold for the session from now on.
    fn store_directives(&self, caller: &Caller<'_>, directives: &[Directive]) -> Result<Done, ErrorShape> {
        let mut members = serde_json::Map::new();
        let mut queue = None;
        for directive in directives {
            if let Directive::Queue(mode) = directive {
                queue = Some(*mode);
            } else {
                members.insert(directive.member().to_owned(), directive.value().into());
            }
        }
        let mut entry = self.patched_for(caller.principal, caller.key, members.into())?;
        if let Some(mode) = queue {
            authorize(caller.principal, &Effect::PatchSession { session: caller.key.clone(), light: false })?;
            entry.queue_mode = Some(mode.as_str().to_owned());
        }
        let lines: Vec<String> = directives.iter().map(Directive::confirmation).collect();
        Ok(Done::leaves(entry, lines.join("\n")))
    }

    /// Words with directives: they hold for this turn. Model, thinking and queue may be chosen by whoever may
    /// send words, as the parameters of `agent` and `chat.send` may; the others are asked for as settings are.
    fn turn(caller: &Caller<'_>, text: String, directives: Vec<Directive>) -> Result<Turn, ErrorShape> {
        let mut turn = Turn { text, ..Turn::default() };
        for directive in directives {
            if !directive.is_open() {
                let effect = Effect::PatchSession { session: caller.key.clone(), light: false };
                authorize(caller.principal, &effect)?;
            }
            match directive {
                Directive::Think(level) => turn.thinking = Some(level.to_owned()),
                Directive::Model(model) => turn.model = Some(model),
                Directive::Queue(mode) => turn.queue = Some(mode),
                Directive::Verbose(level) => turn.levels.verbose = Some(level),
                Directive::Reasoning(level) => turn.levels.reasoning = Some(level),
                Directive::Elevated(level) => turn.levels.elevated = Some(level),
            }
        }
        Ok(turn)
    }
}
