//! What the terminal is and may be shown.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;
use telson_core::config::Environment;

use crate::logging::escape;

/// What the terminal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether people read what is written to standard output.
    pub interactive: bool,
    /// Whether standard output may be coloured.
    pub colour_out: bool,
    /// Whether standard error may be coloured.
    pub colour_err: bool,
    /// Whether standard output is for the answer alone, so that logs go to standard error.
    pub quiet_out: bool,
}

impl Terminal {
    /// Looks at the standard streams and at `NO_COLOR`, `FORCE_COLOR` and `TERM`.
    pub fn detect(env: &Environment, no_color: bool) -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self::of(env, no_color, out, err)
    }

    fn of(env: &Environment, no_color: bool, out: bool, err: bool) -> Self {
        let forced = env.get("FORCE_COLOR").is_some_and(|value| value != "0");
        let dumb = env.get("TERM") == Some("dumb");
        let refused = no_color || (env.get("NO_COLOR").is_some() && !forced);
        let colour = |terminal: bool| !refused && (forced || (terminal && !dumb));
        Self { interactive: out, colour_out: colour(out), colour_err: colour(err), quiet_out: false }
    }
}

/// Where a command's answer goes, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Each JSON value on a line of its own, because there are several.
    pub(crate) lines: bool,
    pub(crate) terminal: Terminal,
}

impl Output {
    /// A piece of text, at once. A reader that is gone is no error.
    pub(crate) fn piece(self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A line of text.
    pub(crate) fn line(self, text: &str) {
        self.piece(&format!("{text}\n"));
    }

    /// A line beside the answer.
    pub(crate) fn note(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// A JSON value.
    pub(crate) fn value(self, value: &impl Serialize) {
        let text =
            if self.lines { serde_json::to_string(value) } else { serde_json::to_string_pretty(value) };
        self.line(&text.unwrap_or_default());
    }

    /// An aligned list of names and values.
    pub(crate) fn pairs(self, pairs: &[(&str, String)]) {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in pairs {
            let dim = self.paint(anstyle::Style::new().dimmed());
            self.line(&format!("{dim}{name:width$}{dim:#}  {}", escape(value)));
        }
    }

    /// A table with a heading.
    pub(crate) fn table(self, heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(heading.iter().map(|name| (*name).to_owned()));
        for row in rows {
            table.add_row(row.iter().map(|cell| escape(cell)));
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        // In a pipe nothing is broken: a row is a line.
        if let Some(width) = self.width() {
            fit(&mut table, width);
        }
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }

    /// How many cells a line of the terminal has, if it is one.
    fn width(self) -> Option<u16> {
        let size = self.terminal.interactive.then(|| rustix::termios::tcgetwinsize(io::stdout()));
        size?.ok().map(|size| size.ws_col).filter(|width| *width > 0)
    }

    /// The style, or none where colour is not wanted.
    pub(crate) fn paint(self, style: anstyle::Style) -> anstyle::Style {
        if self.terminal.colour_out { style } else { anstyle::Style::new() }
    }
}

/// The least room in which words are broken on several lines.
const NARROW: u16 = 12;

/// Breaks the last column's words where the table is wider than the terminal. Keys and numbers are never broken:
/// people copy them.
fn fit(table: &mut Table, width: u16) {
    let widths: Vec<u16> = table.column_max_content_widths().iter().map(|width| width + 2).collect();
    let Some((last, others)) = widths.split_last() else { return };
    let taken: u16 = others.iter().fold(0, |sum, width| sum.saturating_add(*width));
    if taken.saturating_add((*last).min(NARROW)) > width {
        return;
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    for column in table.column_iter_mut().take(others.len()) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_breaks_the_words_and_not_the_keys() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_row(["agent:main:main", "one two three four five six seven eight nine"]);
        fit(&mut table, 50);
        let lines: Vec<String> = table.lines().collect();
        assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= 50), "{lines:#?}");
        assert!(lines[0].contains("agent:main:main"), "{lines:#?}");
    }

    fn colour(pairs: &[(&str, &str)], no_color: bool, terminal: bool) -> bool {
        let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Terminal::of(&env, no_color, terminal, terminal).colour_out
    }

    #[test]
    fn colour_is_for_terminals_unless_somebody_says_otherwise() {
        assert!(colour(&[], false, true));
        assert!(!colour(&[], false, false));
        assert!(!colour(&[("NO_COLOR", "1")], false, true));
        assert!(colour(&[("FORCE_COLOR", "1")], false, false));
        assert!(colour(&[("NO_COLOR", "1"), ("FORCE_COLOR", "1")], false, true));
        assert!(!colour(&[("FORCE_COLOR", "1")], true, true), "the flag goes before the environment");
        assert!(!colour(&[("TERM", "dumb")], false, true));
    }
}
