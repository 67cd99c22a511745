//! The built-in model that repeats the user's words: it needs no key, no network and no configuration, and it
//! says of itself what it is.

use std::collections::VecDeque;
use std::time::Duration;

use super::request::{Block, ModelRequest};
use super::{ModelEvent, StopReason, Usage};
use crate::sessions::sanitise;

/// The pace: one word at a time.
const PACE: Duration = Duration::from_millis(40);
/// A long text is spoken several words at a time, so that it takes at most as many steps: 20 seconds.
const MAX_STEPS: usize = 500;

/// The words on their way back.
#[derive(Debug)]
pub(crate) struct Echo {
    steps: VecDeque<String>,
    /// When the next step is due; `None` when everything was said.
    next: Option<Duration>,
}

impl Echo {
    /// Begins to answer.
    pub(crate) fn new(now: Duration, request: &ModelRequest) -> Self {
        let last = request.messages.last();
        // The gateway's own notes stand in a text before the words.
        let said =
            last.into_iter().flat_map(|message| message.blocks.iter().rev()).find_map(|block| match block {
                Block::Text(text) => Some(text.as_str()),
                _ => None,
            });
        let text = said.unwrap_or_default();
        // What the gateway has put around the words is not the user's.
        let words: Vec<_> = text.split("\n\n").map(sanitise::user_text).collect();
        let text = words.join("\n\n").trim_end_matches('\n').to_owned();
        let images = last.map_or(0, |message| message.images().count());
        let text = match (text.is_empty(), images) {
            (false, _) | (true, 0) => text,
            (true, 1) => "(one image)".to_owned(),
            (true, count) => format!("({count} images)"),
        };
        Self { steps: steps(&text), next: Some(now + PACE) }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.next
    }

    /// Says what is due. After a long sleep the missed steps come together.
    pub(crate) fn timeout(&mut self, now: Duration) -> Vec<ModelEvent> {
        let mut said = String::new();
        while let Some(due) = self.next.filter(|due| *due <= now) {
            if let Some(step) = self.steps.pop_front() {
                said.push_str(&step);
            }
            self.next = (!self.steps.is_empty()).then(|| due + PACE);
            if self.next.is_none() {
                // It costs no tokens.
                let done = ModelEvent::Done { stop_reason: StopReason::Stop, usage: Some(Usage::default()) };
                let text = (!said.is_empty()).then_some(ModelEvent::Text(said));
                return text.into_iter().chain([done]).collect();
            }
        }
        if said.is_empty() { Vec::new() } else { vec![ModelEvent::Text(said)] }
    }
}

/// Cuts a text before each word. Nothing is lost: the steps joined are the text.
fn steps(text: &str) -> VecDeque<String> {
    let mut words: Vec<&str> = Vec::new();
    let (mut start, mut in_word, mut seen_word) = (0, false, false);
    for (at, c) in text.char_indices() {
        let begins = !c.is_whitespace() && !in_word;
        if begins && seen_word {
            words.push(&text[start..at]);
            start = at;
        }
        seen_word |= begins;
        in_word = !c.is_whitespace();
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    let together = words.len().div_ceil(MAX_STEPS).max(1);
    words.chunks(together).map(<[&str]>::concat).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> ModelRequest {
        ModelRequest { messages: vec![super::super::request::Message::user(text)], ..ModelRequest::default() }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn one_word_every_forty_milliseconds() {
        let mut echo = Echo::new(ms(1_000), &request(" tide  and\nmoon "));
        assert_eq!(echo.next_deadline(), Some(ms(1_040)));
        assert_eq!(echo.timeout(ms(1_039)), []);
        assert_eq!(echo.timeout(ms(1_040)), [ModelEvent::Text(" tide  ".to_owned())]);
        assert_eq!(echo.timeout(ms(1_080)), [ModelEvent::Text("and\n".to_owned())]);
        let events = echo.timeout(ms(1_120));
        assert_eq!(events[0], ModelEvent::Text("moon ".to_owned()));
        assert!(matches!(events[1], ModelEvent::Done { stop_reason: StopReason::Stop, .. }));
        assert_eq!(echo.next_deadline(), None);
    }

    #[test]
    fn missed_steps_come_together() {
        let mut echo = Echo::new(ms(0), &request("a b c d"));
        assert_eq!(echo.timeout(ms(90)), [ModelEvent::Text("a b ".to_owned())]);
        assert_eq!(echo.timeout(ms(9_000)).len(), 2);
    }

    #[test]
    fn no_words_end_without_a_word() {
        let mut echo = Echo::new(ms(0), &request(""));
        assert!(matches!(echo.timeout(ms(40)).as_slice(), [ModelEvent::Done { .. }]));
    }

    proptest! {
        #[test]
        fn the_words_come_back_exactly(text in "[a-c \n\t\u{fc}\u{2003}]{0,80}") {
            prop_assert_eq!(steps(&text).into_iter().collect::<String>(), text);
        }

        #[test]
        fn a_long_text_takes_a_bounded_number_of_steps(words in 0_usize..5_000) {
            prop_assert!(steps(&"w ".repeat(words)).len() <= MAX_STEPS);
        }
    }
}
