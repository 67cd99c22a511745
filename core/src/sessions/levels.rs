//! The words for levels and policies, and the other words that people use for them (spec 02 §14.4, §19.3).

/// A canonical word with its synonyms.
type Words = [(&'static str, &'static [&'static str])];

const THINKING: &Words = &[
    ("off", &[]),
    ("minimal", &["min", "think"]),
    ("low", &["on", "enable", "enabled", "thinkhard", "think-hard", "think_hard"]),
    ("medium", &["mid", "med", "thinkharder", "think-harder", "harder"]),
    ("high", &["ultra", "ultrathink", "thinkhardest", "highest", "max"]),
    ("xhigh", &["x-high", "x_high"]),
];

const VERBOSE: &Words = &[
    ("off", &["false", "no", "0"]),
    ("on", &["minimal", "true", "yes", "1"]),
    ("full", &["all", "everything"]),
];

const REASONING: &Words = &[
    ("off", &["false", "no", "0", "hide", "hidden", "disable", "disabled"]),
    ("on", &["true", "yes", "1", "show", "visible", "enable", "enabled"]),
    ("stream", &["streaming", "draft", "live"]),
];

const ELEVATED: &Words = &[
    ("off", &["false", "no", "0"]),
    ("on", &["true", "yes", "1"]),
    ("ask", &["prompt", "approval", "approve"]),
    ("full", &["auto", "auto-approve", "autoapprove"]),
];

const USAGE: &Words = &[("off", &[]), ("tokens", &["on"]), ("full", &[])];

fn word(words: &Words, text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    words
        .iter()
        .find(|(word, others)| *word == text || others.contains(&text.as_str()))
        .map(|(word, _)| *word)
}

/// How long the model thinks: `off`, `minimal`, `low`, `medium`, `high` or `xhigh`.
pub(crate) fn thinking(text: &str) -> Option<&'static str> {
    word(THINKING, text)
}

/// How much of the work is shown: `off`, `on` or `full`.
pub(crate) fn verbose(text: &str) -> Option<&'static str> {
    word(VERBOSE, text)
}

/// Whether thinking is shown: `off`, `on` or `stream`.
pub(crate) fn reasoning(text: &str) -> Option<&'static str> {
    word(REASONING, text)
}

/// Whether tools may act with the host's rights: `off`, `on`, `ask` or `full`.
pub(crate) fn elevated(text: &str) -> Option<&'static str> {
    word(ELEVATED, text)
}

/// Whether answers end with a line about usage: `off`, `tokens` or `full`.
pub(crate) fn usage(text: &str) -> Option<&'static str> {
    word(USAGE, text)
}

/// One of a closed set of words, whatever its case.
pub(crate) fn one_of(words: &[&'static str], text: &str) -> Option<&'static str> {
    let text = text.trim();
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_may_use_other_words() {
        assert_eq!(thinking(" UltraThink "), Some("high"));
        assert_eq!(thinking("think"), Some("minimal"));
        assert_eq!(thinking("enabled"), Some("low"));
        assert_eq!(thinking("x-high"), Some("xhigh"));
        assert_eq!(thinking("lots"), None);
        assert_eq!(verbose("everything"), Some("full"));
        assert_eq!(reasoning("draft"), Some("stream"));
        assert_eq!(elevated("auto-approve"), Some("full"));
        assert_eq!(usage("on"), Some("tokens"));
        assert_eq!(one_of(&["allow", "deny"], "Deny"), Some("deny"));
    }
}
