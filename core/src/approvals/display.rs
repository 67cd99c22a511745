//! How a command is shown to who decides on it (08 S-56).
//!
//! What is shown is whole, and every character of it can be seen: controls, directions, joiners and fillers
//! become `\u{..}`. Two different commands never look the same: where an escape would be ambiguous, the
//! backslashes before it are doubled.

use std::ops::RangeInclusive;

/// Characters that a font shows as nothing, though their class says that they are letters or symbols.
const BLANK: [char; 7] =
    ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}', '\u{16fe4}', '\u{1d159}'];

/// Marks that change nothing that can be seen.
const MARKS: [RangeInclusive<char>; 5] = [
    '\u{34f}'..='\u{34f}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{e0100}'..='\u{e01ef}',
];

/// A text with every character visible.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().all(|c| c != '\\' && !is_hidden(c)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut backslashes = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\\' {
            backslashes += 1;
            out.push(c);
            continue;
        }
        let hidden = is_hidden(c);
        if hidden || (c == 'u' && rest.peek() == Some(&'{')) {
            out.extend(std::iter::repeat_n('\\', backslashes));
        }
        backslashes = 0;
        if hidden {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a reader could overlook a character, or be misled by it.
fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Controls, formats, separators and what is not assigned. Behind a letter, marks may stand.
    let behind = String::from_iter(['a', c]);
    BLANK.contains(&c) || MARKS.iter().any(|marks| marks.contains(&c)) || behind.escape_debug().count() > 2
}

/// A program and its arguments as a line that a POSIX shell would read as exactly these words.
pub(crate) fn line(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::approvals::policy::shell::analyse;

    #[test]
    fn what_could_be_overlooked_is_spelled_out() {
        for (text, seen) in [
            ("git push", "git push"),
            ("echo é 日本 e\u{301}", "echo é 日本 e\u{301}"),
            ("a\u{fe0f}\u{34f}", "a\\u{fe0f}\\u{34f}"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\nb\u{1b}[31m", "a\\u{a}b\\u{1b}[31m"),
            ("rm\u{3164}x\u{200b}\u{2066}", "rm\\u{3164}x\\u{200b}\\u{2066}"),
            ("a\u{a0}b\u{feff}\u{e0041}", "a\\u{a0}b\\u{feff}\\u{e0041}"),
            ("grep '\\d' x", "grep '\\d' x"),
            ("a\\u{202e}", "a\\\\u{202e}"),
            ("a\\\u{202e}", "a\\\\\\u{202e}"),
        ] {
            assert_eq!(shown(text), seen);
        }
    }

    #[test]
    fn a_long_command_is_shown_whole() {
        let text = format!("echo {} ; rm -rf ~", "x".repeat(60_000));
        assert_eq!(shown(&text), text);
    }

    #[test]
    fn arguments_are_quoted_where_a_shell_would_read_them_otherwise() {
        let argv = ["/bin/sh", "-lc", "it's $HOME", ""].map(str::to_owned);
        assert_eq!(line(&argv), r"/bin/sh -lc 'it'\''s $HOME' ''");
    }

    /// Texts in which backslashes, `u{` and hidden characters meet.
    fn tricky() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("\\".to_owned()),
            Just("u{202e}".to_owned()),
            Just("\u{202e}".to_owned()),
            Just("u".to_owned()),
            Just("{".to_owned()),
            Just("a".to_owned()),
            Just("\n".to_owned()),
            Just("u{a}".to_owned()),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn two_commands_never_look_the_same(one in tricky(), other in tricky()) {
            prop_assert_eq!(one == other, shown(&one) == shown(&other));
        }

        #[test]
        fn nothing_hidden_is_left(text in tricky()) {
            prop_assert!(!shown(&text).chars().any(is_hidden));
        }

        #[test]
        fn a_shell_reads_a_line_back_as_its_words(argv in proptest::collection::vec("[ -~é\n]{0,8}", 1..5)) {
            let segments = analyse(&line(&argv)).unwrap();
            prop_assert_eq!(segments.len(), 1);
            let words: Vec<String> = segments[0].argv.iter().map(|word| word.text.clone()).collect();
            prop_assert_eq!(words, argv);
        }
    }
}
