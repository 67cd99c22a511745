//! What of a run's words has gone out to a client that hears them as they come.

use crate::sessions::sanitise::SILENT;

/// The words so far. See the [module documentation](self).
#[derive(Debug, Default)]
pub(super) struct Words {
    said: String,
    /// How many bytes of them have gone out.
    sent: usize,
    /// Nothing may go out before the end: whether this is an answer at all is not known yet.
    held: bool,
}

impl Words {
    pub(super) fn new(held: bool) -> Self {
        Self { held, ..Self::default() }
    }

    /// More words; `anew` says that they begin another message. Returns what may go out now.
    pub(super) fn say(&mut self, more: &str, anew: bool) -> Option<String> {
        if anew && !self.said.is_empty() {
            self.said.push_str("\n\n");
        }
        self.said.push_str(more);
        // An answer that means "say nothing" must not be heard in part.
        if self.held || (self.sent == 0 && SILENT.starts_with(self.said.trim())) {
            return None;
        }
        let news = self.said.get(self.sent..).unwrap_or_default().to_owned();
        self.sent = self.said.len();
        (!news.is_empty()).then_some(news)
    }

    /// What is missing of the `whole` when the run has ended; `None` when what went out contradicts it. The space
    /// between words may differ.
    pub(super) fn rest<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let mut sent = self.said.get(..self.sent)?.chars().filter(|c| !c.is_whitespace()).peekable();
        if sent.peek().is_none() {
            return Some(whole);
        }
        let mut ends = whole.char_indices().filter(|(_, c)| !c.is_whitespace());
        let mut after = 0;
        for c in sent {
            let (at, found) = ends.next()?;
            if found != c {
                return None;
            }
            after = at + c.len_utf8();
        }
        let rest = whole.get(after..)?;
        Some(if rest.trim().is_empty() { "" } else { rest })
    }

    /// Everything that went out.
    pub(super) fn sent(&self) -> &str {
        self.said.get(..self.sent).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_out_as_they_come_and_the_rest_at_the_end() {
        let mut words = Words::new(false);
        assert_eq!(words.say("Let me look.", false).as_deref(), Some("Let me look."));
        assert_eq!(words.say("Tide", true).as_deref(), Some("\n\nTide"));
        assert_eq!(words.rest("Let me look.\n\nTide and moon"), Some(" and moon"));
        assert_eq!(words.rest("Let me look. Tide"), Some(""));
        assert_eq!(words.rest("Something else"), None);
        assert_eq!(words.rest("Let me"), None, "what went out cannot be taken back");
    }

    #[test]
    fn an_answer_that_means_nothing_is_not_heard_in_part() {
        let mut words = Words::new(false);
        assert_eq!(words.say("NO_", false), None);
        assert_eq!(words.say("REPLY", false), None);
        assert_eq!(words.rest(""), Some(""));
        let mut words = Words::new(false);
        assert_eq!(words.say("N", false), None);
        assert_eq!(words.say("othing", false).as_deref(), Some("Nothing"));
    }

    #[test]
    fn what_is_held_comes_at_the_end() {
        let mut words = Words::new(true);
        assert_eq!(words.say("prose", false), None);
        assert_eq!((words.rest("prose"), words.sent()), (Some("prose"), ""));
    }
}
