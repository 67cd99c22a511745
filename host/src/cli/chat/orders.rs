//! What a line of the conversation asks for. The rest is the gateway's.

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing.
    Nothing,
    /// Leave.
    Quit,
    /// Choose one of the conversations.
    Pick,
    /// Which conversation is this?
    Which,
    /// Go to another conversation.
    Switch(String),
    /// Words for the agent, or a slash command of the gateway.
    Say(String),
}

impl Order {
    /// Reads a line.
    pub(super) fn read(line: &str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word, rest.trim()) {
            ("", _) => Self::Nothing,
            ("/quit" | "/exit", "") => Self::Quit,
            ("/sessions", "") => Self::Pick,
            ("/session", "") => Self::Which,
            ("/session", name) => Self::Switch(name.to_owned()),
            _ => Self::Say(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_words_are_for_the_terminal_and_the_rest_for_the_gateway() {
        assert_eq!(Order::read("  "), Order::Nothing);
        assert_eq!(Order::read("/quit "), Order::Quit);
        assert_eq!(Order::read("/sessions"), Order::Pick);
        assert_eq!(Order::read("/session"), Order::Which);
        assert_eq!(Order::read("/session  my  work "), Order::Switch("my  work".to_owned()));
        for words in ["/new", "/status", "/sessionsx", "/quit now", "exit", "what moves the sea?"] {
            assert_eq!(Order::read(words), Order::Say(words.to_owned()));
        }
    }
}
