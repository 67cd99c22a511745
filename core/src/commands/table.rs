//! The table of commands. What is not in it goes to the model.
//!
//! The table alone gives `/help`, `commands.list` and the page of the reference.

use telson_proto::ErrorShape;

use crate::gateway::Gateway;

use super::{Caller, Done, info, model, settings, status, subagents};

/// One command.
pub struct Command {
    /// The name, without the slash.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What may follow the name.
    pub takes: Takes,
    /// The arguments, for those who show them.
    pub args: &'static [Arg],
    /// Where lists put it.
    pub category: Category,
    /// What the sender needs beyond the right to send.
    pub needs: Needs,
    /// What it does.
    pub about: &'static str,
    pub(super) run: Run,
}

/// An argument.
#[derive(Debug)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// The values that can be chosen; empty when any word will do.
    pub choices: &'static [&'static str],
}

/// How many words may follow a command's name. A message with more is no command: it goes to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// At most so many.
    Words(usize),
    /// Any text.
    Text,
}

/// Where lists put a command; the words are those of protocol 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// About the gateway and the session.
    Status,
    /// What happens to the session.
    Session,
    /// Settings of the session.
    Options,
    /// Other agents and policies.
    Management,
}

/// What the sender needs beyond the right to send. To show a setting needs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// What `sessions.patch` needs for the model and the thinking level.
    Light,
    /// What `sessions.patch` needs for any other setting.
    Setting,
    /// What `sessions.reset` and `sessions.compact` need.
    Reset,
    /// What `chat.abort` needs.
    Abort,
}

impl Category {
    /// The word of protocol 4.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Session => "session",
            Self::Options => "options",
            Self::Management => "management",
        }
    }
}

/// What a command does.
pub(super) enum Run {
    /// Answers, and maybe changes the session.
    Answer(fn(&Gateway, &Caller<'_>, &str) -> Result<Done, ErrorShape>),
    /// Begins the session anew.
    Anew,
    /// Has the model sum up the conversation.
    Compact,
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Command {}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.name)
    }
}

macro_rules! commands {
    ($( $name:literal [$($alias:literal)*] $takes:expr, $category:ident, $needs:ident, $run:expr,
        [$( $arg:literal $arg_about:literal $choices:expr ),*], $about:literal; )*) => {
        &[ $( Command {
            name: $name, aliases: &[$($alias),*], takes: $takes,
            args: &[$( Arg { name: $arg, about: $arg_about, choices: $choices } ),*],
            category: Category::$category, needs: Needs::$needs, about: $about, run: $run,
        }, )* ]
    };
}

const NONE: Takes = Takes::Words(0);
const ONE: Takes = Takes::Words(1);
const ANY: &[&str] = &[];

use Run::{Anew, Answer, Compact};

/// Every command.
pub const COMMANDS: &[Command] = commands! {
    // name, aliases, words that may follow, category, needs, function, arguments, what it does
    "help" [] NONE, Status, Nothing, Answer(info::help), [],
        "Shows the commands.";
    "commands" [] NONE, Status, Nothing, Answer(info::commands), [],
        "Shows the commands with their arguments and other names.";
    "status" [] NONE, Status, Nothing, Answer(status::status), [],
        "Shows the model, the session and what runs.";
    "whoami" ["id"] NONE, Status, Nothing, Answer(info::whoami), [],
        "Shows who the gateway takes you for.";
    "context" [] NONE, Status, Nothing, Answer(status::context), [],
        "Shows how much of the model's context the session uses.";
    "new" [] Takes::Text, Session, Reset, Anew,
        ["text" "A model, and the first words of the new conversation." ANY],
        "Begins the session anew.";
    "reset" [] Takes::Text, Session, Reset, Anew,
        ["text" "A model, and the first words of the new conversation." ANY],
        "Begins the session anew.";
    "stop" [] NONE, Session, Abort, Answer(info::stop), [],
        "Ends what runs and waits in the session, and the work it has handed to others.";
    "compact" [] Takes::Text, Session, Reset, Compact,
        ["instructions" "What matters in particular." ANY],
        "Sums up the conversation so far, to make room in the model's context.";
    "model" [] ONE, Options, Light, Answer(model::model),
        ["model" "A number of the list, an alias, provider/model, a part of a name, or `default`." ANY],
        "Shows or sets the session's model.";
    "models" [] ONE, Status, Nothing, Answer(model::models), ["provider" "Only this provider's." ANY],
        "Lists the models.";
    "think" ["thinking" "t"] ONE, Options, Light, Answer(settings::think),
        ["level" "How much." &["off", "minimal", "low", "medium", "high", "xhigh"]],
        "Shows or sets how much the model thinks.";
    "verbose" ["v"] ONE, Options, Setting, Answer(settings::verbose),
        ["level" "How much." &["off", "on", "full"]],
        "Shows or sets how much of the agent's work is shown.";
    "reasoning" ["reason"] ONE, Options, Setting, Answer(settings::reasoning),
        ["level" "Whether." &["off", "on", "stream"]],
        "Shows or sets whether the model's thoughts are shown.";
    "elevated" ["elev"] ONE, Options, Setting, Answer(settings::elevated),
        ["level" "Whether." &["off", "on", "ask", "full"]],
        "Shows or sets whether tools act with the host's rights.";
    "usage" [] ONE, Options, Setting, Answer(settings::usage),
        ["mode" "What the line says." &["off", "tokens", "full"]],
        "Shows or sets whether answers end with a line about usage.";
    "queue" [] Takes::Words(4), Options, Setting, Answer(settings::queue),
        ["mode" "What a message does while the session is busy."
            &["collect", "followup", "steer", "steer-backlog", "interrupt", "default"],
         "options" "`debounce:2s`, `cap:20`, `drop:old`." ANY],
        "Shows or sets what a message does while the session is busy.";
    "send" [] ONE, Management, Setting, Answer(settings::send),
        ["policy" "Whether messages are taken." &["on", "off", "inherit"]],
        "Shows or sets whether the session takes messages.";
    "activation" [] ONE, Management, Setting, Answer(settings::activation),
        ["mode" "When." &["mention", "always"]],
        "Shows or sets when the agent answers in a group.";
    "subagents" [] Takes::Words(2), Management, Abort, Answer(subagents::subagents),
        ["action" "What to do." &["list", "stop"],
         "target" "A number of the list, or `all`." ANY],
        "Lists or stops the agents that this session has started.";
};

/// Reads a message as a command: the command, and what follows its name. A trigger begins the session anew;
/// `/new` and `/reset` do so as long as they are triggers.
pub(super) fn parse<'a>(message: &'a str, triggers: &[String]) -> Option<(&'static Command, &'a str)> {
    let text = message.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if triggers.contains(&word.to_lowercase()) {
        let anew = find(word.trim_start_matches('/')).filter(|command| matches!(command.run, Anew));
        return anew.or_else(|| find("new")).map(|command| (command, rest.trim()));
    }
    let name = word.strip_prefix('/')?;
    let (name, rest) = match name.split_once(':') {
        // `/think:high` and `/think: high`
        Some((name, "")) => (name, rest),
        Some((name, argument)) if rest.trim().is_empty() => (name, argument),
        Some(_) => return None,
        None => (name, rest),
    };
    let command = find(name).filter(|command| !matches!(command.run, Anew))?;
    let rest = rest.trim();
    match command.takes {
        Takes::Words(most) if rest.split_whitespace().nth(most).is_some() => None,
        _ => Some((command, rest)),
    }
}

fn find(name: &str) -> Option<&'static Command> {
    let is = |other: &&str| other.eq_ignore_ascii_case(name);
    COMMANDS.iter().find(|command| is(&command.name) || command.aliases.iter().any(is))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::TRIGGERS;

    fn read(text: &str) -> Option<(&'static str, &str)> {
        let triggers = TRIGGERS.map(str::to_owned);
        parse(text, &triggers).map(|(command, rest)| (command.name, rest))
    }

    #[test]
    fn commands_are_whole_words() {
        assert_eq!(read(" /Status "), Some(("status", "")));
        assert_eq!(read("/new\nhello there"), Some(("new", "hello there")));
        assert_eq!(read("/RESET"), Some(("reset", "")));
        assert_eq!(read("/think:high"), Some(("think", "high")));
        assert_eq!(read("/t: high"), Some(("think", "high")));
        for text in
            ["/statusx", "/status now", "status", "/unknown", "say /help", "/", "/think:high water", ""]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn triggers_are_the_operators_choice() {
        let triggers = ["/fresh".to_owned(), "neu".to_owned()];
        let read = |text| parse(text, &triggers).map(|(command, rest)| (command.name, rest));
        assert_eq!(read("/fresh start"), Some(("new", "start")));
        assert_eq!(read("Neu"), Some(("new", "")));
        assert_eq!(read("/new"), None);
        assert_eq!(read("/status"), Some(("status", "")));
    }

    #[test]
    fn no_name_stands_for_two_commands() {
        let mut seen = BTreeSet::new();
        for command in COMMANDS {
            for name in [command.name].iter().chain(command.aliases) {
                assert!(seen.insert(*name), "{name}");
                assert_eq!(*name, name.to_lowercase());
            }
        }
    }
}
