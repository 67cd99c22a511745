//! A command line taken apart, or the reason why it cannot be (spec 03 §3.7).
//!
//! What is not understood for certain is not understood: the caller then asks somebody. Substitutions count
//! wherever a shell performs them, also inside double quotes, where the reference does not look [03 §19.1].

/// One program of a command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The program and its arguments, without quotes.
    pub argv: Vec<Word>,
}

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What the program gets.
    pub text: String,
    /// Whether a shell would make other words of it: it has a `*`, `?`, `[` or `{` outside quotes.
    pub expands: bool,
}

/// Why a command is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShellFault {
    /// There is nothing.
    #[error("the command is empty")]
    Empty,
    /// It is longer than the limit.
    #[error("the command is too long to be analysed")]
    TooLong,
    /// A quote is not closed.
    #[error("a quote is not closed")]
    OpenQuote,
    /// It ends with a backslash.
    #[error("the command ends with a backslash")]
    OpenEscape,
    /// There is nothing between two operators, or before or after one.
    #[error("a part between operators is empty")]
    EmptyPart,
    /// It uses something that does more than to name a program and its arguments.
    #[error("the command contains {0:?}, which is more than a program with arguments")]
    Operator(char),
}

/// The longest command that is analysed, in bytes.
pub const LONGEST: usize = 65_536;

/// Takes a command line for a POSIX shell apart: parts between `&&`, `||` and `;`, and their pipelines.
///
/// # Errors
///
/// [`ShellFault`]: the command is to be shown to somebody.
pub fn analyse(command: &str) -> Result<Vec<Segment>, ShellFault> {
    if command.trim().is_empty() {
        return Err(ShellFault::Empty);
    }
    if command.len() > LONGEST {
        return Err(ShellFault::TooLong);
    }
    let mut reader =
        Reader { rest: command.chars().peekable(), word: None, argv: Vec::new(), done: Vec::new() };
    while let Some(c) = reader.rest.next() {
        reader.plain(c)?;
    }
    reader.end_segment()?;
    Ok(reader.done)
}

/// A command that no shell sees: its words as they are.
///
/// # Errors
///
/// [`ShellFault::Empty`] and [`ShellFault::TooLong`].
pub fn of_argv(argv: &[String]) -> Result<Vec<Segment>, ShellFault> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(ShellFault::Empty);
    }
    if argv.iter().map(String::len).sum::<usize>() > LONGEST {
        return Err(ShellFault::TooLong);
    }
    let words = argv.iter().map(|text| Word { text: text.clone(), expands: false });
    Ok(vec![Segment { argv: words.collect() }])
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    /// The word that has begun.
    word: Option<Word>,
    argv: Vec<Word>,
    done: Vec<Segment>,
}

impl Reader<'_> {
    /// A character outside quotes.
    fn plain(&mut self, c: char) -> Result<(), ShellFault> {
        match c {
            ' ' | '\t' => self.end_word(),
            '\'' => return self.single_quoted(),
            '"' => return self.double_quoted(),
            '\\' => match self.rest.next() {
                None => return Err(ShellFault::OpenEscape),
                // A shell joins the lines, or ends the command: too clever.
                Some(c @ ('\n' | '\r' | '\0')) => return Err(ShellFault::Operator(c)),
                Some(c) => self.push(c),
            },
            ';' => return self.end_segment(),
            '|' => {
                if self.rest.peek() == Some(&'&') {
                    return Err(ShellFault::Operator('&'));
                }
                self.rest.next_if_eq(&'|');
                return self.end_segment();
            }
            '&' if self.rest.next_if_eq(&'&').is_some() => return self.end_segment(),
            // The rest of the line would be passed over by the shell and not by us, or the other way round.
            '#' if self.word.is_none() => return Err(ShellFault::Operator('#')),
            '&' | '>' | '<' | '`' | '\n' | '\r' | '(' | ')' | '\0' => return Err(ShellFault::Operator(c)),
            '$' => {
                if !matches!(self.rest.peek(), None | Some(' ' | '\t' | '|' | ';')) {
                    return Err(ShellFault::Operator('$'));
                }
                self.push('$');
            }
            '*' | '?' | '[' | '{' => {
                self.push(c);
                self.begun().expands = true;
            }
            c => self.push(c),
        }
        Ok(())
    }

    fn single_quoted(&mut self) -> Result<(), ShellFault> {
        self.begun();
        loop {
            match self.rest.next() {
                None => return Err(ShellFault::OpenQuote),
                Some('\0') => return Err(ShellFault::Operator('\0')),
                Some('\'') => return Ok(()),
                Some(c) => self.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), ShellFault> {
        self.begun();
        loop {
            match self.rest.next() {
                None => return Err(ShellFault::OpenQuote),
                Some('"') => return Ok(()),
                Some('\\') => match self.rest.next() {
                    None => return Err(ShellFault::OpenQuote),
                    Some(c @ ('$' | '`' | '"' | '\\')) => self.push(c),
                    Some('\n') => {}
                    Some('\0') => return Err(ShellFault::Operator('\0')),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                // The defect of the reference: a shell substitutes here too.
                Some('`') => return Err(ShellFault::Operator('`')),
                Some('$') if !matches!(self.rest.peek(), Some('"' | ' ')) => {
                    return Err(ShellFault::Operator('$'));
                }
                Some('\0') => return Err(ShellFault::Operator('\0')),
                Some(c) => self.push(c),
            }
        }
    }

    fn begun(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word { text: String::new(), expands: false })
    }

    fn push(&mut self, c: char) {
        self.begun().text.push(c);
    }

    fn end_word(&mut self) {
        self.argv.extend(self.word.take());
    }

    fn end_segment(&mut self) -> Result<(), ShellFault> {
        self.end_word();
        if self.argv.is_empty() {
            return Err(ShellFault::EmptyPart);
        }
        self.done.push(Segment { argv: std::mem::take(&mut self.argv) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(command: &str) -> Result<Vec<Vec<String>>, ShellFault> {
        let segments = analyse(command)?;
        Ok(segments.into_iter().map(|s| s.argv.into_iter().map(|word| word.text).collect()).collect())
    }

    #[test]
    fn parts_pipelines_quotes_and_escapes_are_read_as_a_shell_reads_them() {
        assert_eq!(words("git status").unwrap(), [["git", "status"]]);
        assert_eq!(words("a b|c && d||e;f").unwrap().len(), 5);
        assert_eq!(
            words(r#"git commit -m "a \"b\" \n c" 'd $(e)'"#).unwrap(),
            [["git", "commit", "-m", r#"a "b" \n c"#, "d $(e)"]]
        );
        assert_eq!(words(r"a\ b c''d").unwrap(), [["a b", "cd"]]);
        assert_eq!(words("grep x$ ''").unwrap(), [["grep", "x$", ""]]);
        assert_eq!(words("git\u{a0}status").unwrap(), [["git\u{a0}status"]], "not a blank to a shell");
    }

    #[test]
    fn what_does_more_than_name_programs_is_not_understood() {
        for command in [
            "",
            "  ",
            "a &",
            "a > b",
            "a < b",
            "a `b`",
            "a $(b)",
            "(a)",
            "a\nb",
            "a\rb",
            "a |& b",
            "a | ",
            "| a",
            "a &&",
            "a ;; b",
            "a;",
            "'a",
            "\"a",
            "a \\",
            "a \"$(b)\"",
            "a \"`b`\"",
            "a \"${b}\"",
            "a \"$b\"",
            "$a",
            "a ${b}",
            "a $'b'",
            "a #'\nb\n'",
            "a \\\nb",
            "a\0b",
            "a $\"b\"",
        ] {
            assert!(words(command).is_err(), "{command:?}");
        }
    }

    #[test]
    fn words_that_a_shell_expands_are_marked_unless_they_are_quoted() {
        let expands = |command: &str| analyse(command).unwrap()[0].argv[1].expands;
        assert!(expands("head *"));
        assert!(expands("head {a,b}"));
        assert!(!expands("head '*'"));
        assert!(!expands(r"head \*"));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(command in "[ -~\n\t\u{0}é]{0,80}") {
            let _ = analyse(&command);
        }

        #[test]
        fn no_substitution_passes_outside_single_quotes(
            head in "[a-z ]{1,8}", tail in "[a-z ]{0,8}", quoted in any::<bool>(),
            substitution in prop_oneof![Just("$(x)"), Just("`x`"), Just("${x}"), Just("$x"), Just("$((1))")],
        ) {
            let text = format!("{head}{substitution}{tail}");
            let command = if quoted { format!("echo \"{text}\"") } else { format!("echo {text}") };
            prop_assert!(analyse(&command).is_err());
        }

        #[test]
        fn single_quoted_words_come_through_as_they_are(word in "[ -&(-~\n]{0,30}") {
            let words = words(&format!("echo '{word}'")).unwrap();
            prop_assert_eq!(&words[0][1], &word);
        }
    }
}
