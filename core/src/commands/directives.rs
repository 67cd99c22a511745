//! Directives inside other words: `/think high write a poem` (spec 02 §19.3).

use crate::sessions::levels;
use crate::settings::{ModelRef, QueueMode};

/// At most so many directives are read in one message; further ones are words.
const MOST: usize = 16;

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    Think(&'static str),
    Verbose(&'static str),
    Reasoning(&'static str),
    Elevated(&'static str),
    Model(ModelRef),
    /// What the message does while its session is busy.
    Queue(QueueMode),
}

impl Directive {
    /// The member of the session's entry that says the same.
    pub(super) const fn member(&self) -> &'static str {
        match self {
            Self::Think(_) => "thinkingLevel",
            Self::Verbose(_) => "verboseLevel",
            Self::Reasoning(_) => "reasoningLevel",
            Self::Elevated(_) => "elevatedLevel",
            Self::Model(_) => "model",
            Self::Queue(_) => "queueMode",
        }
    }

    /// The value of that member.
    pub(super) fn value(&self) -> String {
        match self {
            Self::Think(level) | Self::Verbose(level) | Self::Reasoning(level) | Self::Elevated(level) => {
                (*level).to_owned()
            }
            Self::Model(model) => model.to_string(),
            Self::Queue(mode) => mode.as_str().to_owned(),
        }
    }

    /// What the gateway answers when it has been stored.
    pub(super) fn confirmation(&self) -> String {
        let title = match self {
            Self::Think(_) => "Thinking level",
            Self::Verbose(_) => "Verbose level",
            Self::Reasoning(_) => "Reasoning visibility",
            Self::Elevated(_) => "Elevated level",
            Self::Model(_) => "Model",
            Self::Queue(_) => "Queue",
        };
        format!("{title} set to {}.", self.value())
    }

    /// Whether everyone who may send words may say so for one turn.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Think(_) | Self::Model(_) | Self::Queue(_))
    }

    /// The directive of a name and its argument, if they make one.
    fn read(name: &str, argument: &str, model: &dyn Fn(&str) -> Option<ModelRef>) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "/think" | "/thinking" | "/t" => levels::thinking(argument).map(Self::Think),
            "/verbose" | "/v" => levels::verbose(argument).map(Self::Verbose),
            "/reasoning" | "/reason" => levels::reasoning(argument).map(Self::Reasoning),
            "/elevated" | "/elev" => levels::elevated(argument).map(Self::Elevated),
            "/model" => model(argument).map(Self::Model),
            "/queue" => QueueMode::parse(argument).map(Self::Queue),
            _ => None,
        }
    }
}

/// A word and where it stands.
struct Word<'a> {
    start: usize,
    end: usize,
    text: &'a str,
}

/// Takes the directives out of a text. A directive begins a word and is followed by a space or a colon and by
/// a value that it knows; anything else is the user's own words and stays, as does every space between them.
/// `model` says which model a word names.
pub(super) fn extract(text: &str, model: &dyn Fn(&str) -> Option<ModelRef>) -> (String, Vec<Directive>) {
    if !text.contains('/') {
        return (text.to_owned(), Vec::new());
    }
    let words = words(text);
    let mut directives = Vec::new();
    let mut kept = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let found = if directives.len() < MOST { one(&words[at..], model) } else { None };
        let Some((directive, length)) = found else {
            at += 1;
            continue;
        };
        let end = words.get(at + length - 1).map_or(word.end, |last| last.end);
        // The space before a directive goes with it; at the beginning, the space after it.
        kept.push_str(text[copied..word.start].trim_end());
        copied = end;
        if kept.is_empty() {
            copied = words.get(at + length).map_or(text.len(), |next| next.start);
        }
        directives.push(directive);
        at += length;
    }
    if directives.is_empty() {
        return (text.to_owned(), directives);
    }
    kept.push_str(&text[copied..]);
    (kept, directives)
}

/// The directive with which these words begin, and how many words it takes.
fn one(words: &[Word<'_>], model: &dyn Fn(&str) -> Option<ModelRef>) -> Option<(Directive, usize)> {
    let first = words.first()?.text;
    if !first.starts_with('/') {
        return None;
    }
    match first.split_once(':') {
        Some((name, "")) => Some((Directive::read(name, words.get(1)?.text, model)?, 2)),
        Some((name, argument)) => Some((Directive::read(name, argument, model)?, 1)),
        None => Some((Directive::read(first, words.get(1)?.text, model)?, 2)),
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, c.is_whitespace()) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                words.push(Word { start: from, end: at, text: &text[from..at] });
                start = None;
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn model(word: &str) -> Option<ModelRef> {
        ModelRef::parse(word).filter(|model| model.provider == "fake")
    }

    fn read(text: &str) -> (String, Vec<Directive>) {
        extract(text, &model)
    }

    #[test]
    fn directives_are_taken_out_wherever_a_word_may_begin() {
        let cases = [
            ("/think high write a poem", "write a poem", vec![Directive::Think("high")]),
            ("write /t:low a poem", "write a poem", vec![Directive::Think("low")]),
            ("a\n/verbose on\nb", "a\nb", vec![Directive::Verbose("on")]),
            (
                "/think: high /v full  /model fake/m go",
                "go",
                vec![
                    Directive::Think("high"),
                    Directive::Verbose("full"),
                    Directive::Model(ModelRef::parse("fake/m").unwrap()),
                ],
            ),
            ("/queue steer go", "go", vec![Directive::Queue(QueueMode::Steer)]),
            ("go /elev ask", "go", vec![Directive::Elevated("ask")]),
            ("/Reason STREAM", "", vec![Directive::Reasoning("stream")]),
        ];
        for (text, words, directives) in cases {
            assert_eq!(read(text), (words.to_owned(), directives), "{text}");
        }
    }

    #[test]
    fn what_is_no_directive_stays_as_it_was() {
        for text in [
            "/think of a poem",
            "see src/think high",
            "`/think high`",
            "/model other/m go",
            "/thinks high",
            "say /think",
            "/t",
            "  spaces  /  stay ",
            "a/b /usr/bin",
        ] {
            assert_eq!(read(text), (text.to_owned(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn the_number_of_directives_is_bounded() {
        let text = "/t low ".repeat(20);
        let (rest, directives) = read(&text);
        assert_eq!((directives.len(), rest.split_whitespace().count()), (MOST, 8));
    }

    proptest! {
        #[test]
        fn no_word_of_the_user_is_lost_or_moved(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z/:ü]{1,6}".prop_map(|word| (word, false)),
                    Just(("/think".to_owned(), false)),
                    Just(("/think high".to_owned(), true)),
                    Just(("/v:on".to_owned(), true)),
                ],
                0..12,
            ),
            gap in "[ \n]{1,3}",
        ) {
            let text = parts.iter().map(|(part, _)| part.as_str()).collect::<Vec<_>>().join(&gap);
            let (rest, directives) = read(&text);
            // What was kept and what was taken make the text again, in order.
            let all: Vec<&str> = text.split_whitespace().collect();
            let kept: Vec<&str> = rest.split_whitespace().collect();
            let mut left = kept.iter().peekable();
            let mut taken = 0;
            for word in &all {
                if left.peek() == Some(&word) {
                    left.next();
                } else {
                    taken += 1;
                }
            }
            prop_assert!(left.next().is_none(), "{text:?} became {rest:?}");
            prop_assert!(taken <= directives.len() * 2);
            prop_assert_eq!(read(&rest).1.len(), 0, "what is left says nothing more: {:?}", rest);
        }

        #[test]
        fn any_text_can_be_read(text in "\\PC*") {
            let (rest, directives) = read(&text);
            prop_assert!(rest.len() <= text.len());
            prop_assert!(!directives.is_empty() || rest == text);
        }
    }
}
