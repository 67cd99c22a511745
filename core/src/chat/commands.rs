//! Commands that the gateway answers itself: `/help`, `/status`, `/new` and `/reset` (spec 02 §7.1). Other
//! texts with a slash go to the model.

use crate::gateway::Gateway;
use crate::ids::SessionKey;

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Status,
    /// A new incarnation of the session, and what is said in it first.
    Anew {
        rest: String,
    },
}

const HELP: &str = "Commands:\n\
    /status: the model, the session and what runs\n\
    /new, /reset: begin this session anew; words that follow are its first message\n\
    /stop: end what is running in this session\n\
    /help: this list";

/// Reads a command.
pub(super) fn parse(message: &str) -> Option<Command> {
    let text = message.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word.to_ascii_lowercase().as_str() {
        "/help" if rest.is_empty() => Some(Command::Help),
        "/status" if rest.is_empty() => Some(Command::Status),
        "/new" | "/reset" => Some(Command::Anew { rest: rest.to_owned() }),
        _ => None,
    }
}

impl Gateway {
    /// What the gateway says to a command.
    pub(super) fn command_reply(&self, command: &Command, key: &SessionKey) -> String {
        match command {
            Command::Help => HELP.to_owned(),
            Command::Anew { .. } => "A new session has begun.".to_owned(),
            Command::Status => self.status_text(key),
        }
    }

    fn status_text(&self, key: &SessionKey) -> String {
        let model = self.model_of(key);
        let mut lines = vec![
            format!("Telson {}, up {} s", self.settings.facts.version, self.uptime_ms() / 1_000),
            format!("Model: {model}"),
            format!("Session: {key}"),
        ];
        let used = self.sessions.entry(key).and_then(|entry| entry.total_tokens);
        if let Some((used, all)) = used.zip(self.agents.context_tokens(&model)) {
            lines.push(format!("Context: {used} of {all} tokens"));
        }
        let runs = self.sessions.active_runs(key).count();
        lines.push(format!("Runs in this session: {runs}; in all: {}", self.runs.open()));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_whole_words() {
        assert_eq!(parse(" /Status "), Some(Command::Status));
        assert_eq!(parse("/new\nhello there"), Some(Command::Anew { rest: "hello there".to_owned() }));
        for text in ["/statusx", "/status now", "status", "/unknown", "say /help"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
