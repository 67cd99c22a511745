//! An answer on a terminal, as it comes.
//!
//! The running block stands as the model writes it. When it is finished, it is wiped away and drawn as it is
//! meant. A block that has grown taller than the terminal cannot be wiped any more, and stays as it is.

use unicode_width::UnicodeWidthChar as _;

use super::blocks;

/// How large the terminal is, in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The part of the screen where the answer stands. Its methods return what is to be written.
#[derive(Debug)]
pub(super) struct Screen {
    size: Size,
    /// The words of the block that is not finished, and on the screen as they are.
    running: String,
    /// Whether the running block is out of reach.
    tall: bool,
    /// Whether a block stands above the running one.
    below: bool,
}

impl Screen {
    pub(super) const fn new(size: Size) -> Self {
        Self { size, running: String::new(), tall: false, below: false }
    }

    /// The terminal may have another size now.
    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// Further words.
    pub(super) fn say(&mut self, words: &str) -> String {
        let mut fresh = clean(words);
        if self.running.is_empty() {
            fresh = fresh.trim_start_matches('\n').to_owned();
        }
        if fresh.is_empty() {
            return String::new();
        }
        let shown_rows = self.rows();
        self.running.push_str(&fresh);
        let end = blocks::last_block(&self.running);
        let mut out = String::new();
        if end == 0 {
            out.push_str(&fresh);
        } else {
            let rest = self.running.split_off(end);
            let finished = std::mem::replace(&mut self.running, rest);
            if std::mem::take(&mut self.tall) {
                out.push_str(&fresh);
            } else {
                out.push_str(&wipe(shown_rows));
                out.push_str(&blocks::render(&finished, self.size.width));
                out.push('\n');
                out.push_str(&self.running);
            }
            self.below = true;
        }
        self.tall = self.tall || self.rows() + 1 >= self.size.height;
        out
    }

    /// The answer, or a part of it, is over: the last block is drawn too, and the line ends.
    pub(super) fn finish(&mut self) -> String {
        let running = std::mem::take(&mut self.running);
        let rows = rows(&running, self.size.width);
        self.below = false;
        if running.trim().is_empty() {
            self.tall = false;
            return if running.is_empty() { String::new() } else { wipe(rows) };
        }
        if std::mem::take(&mut self.tall) {
            return if running.ends_with('\n') { String::new() } else { "\n".to_owned() };
        }
        format!("{}{}", wipe(rows), blocks::render(&running, self.size.width))
    }

    /// How many rows the cursor stands below the first row of the running block.
    fn rows(&self) -> usize {
        rows(&self.running, self.size.width)
    }
}

/// Words that cannot draw on the terminal, with their line ends.
fn clean(words: &str) -> String {
    words.split('\n').map(blocks::clean).collect::<Vec<_>>().join("\n")
}

/// How many rows a text goes down on a terminal of this width.
fn rows(text: &str, width: usize) -> usize {
    let width = width.max(1);
    let (mut row, mut column) = (0, 0);
    for c in text.chars() {
        if c == '\n' {
            row += 1;
            column = 0;
            continue;
        }
        let cells = c.width().unwrap_or(0);
        if column + cells > width {
            row += 1;
            column = 0;
        }
        column += cells;
    }
    row
}

/// Goes back to the beginning of a text of so many rows and removes it.
fn wipe(rows: usize) -> String {
    if rows == 0 { "\r\u{1b}[J".to_owned() } else { format!("\r\u{1b}[{rows}A\u{1b}[J") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 20, height: 8 };

    /// A terminal that knows as much as the screen uses: letters, line ends, going up, wiping.
    #[derive(Default)]
    struct Terminal {
        lines: Vec<String>,
        row: usize,
    }

    impl Terminal {
        fn write(&mut self, text: &str) {
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                self.lines.resize(self.lines.len().max(self.row + 1), String::new());
                match c {
                    '\n' => self.row += 1,
                    '\r' => self.lines[self.row].truncate(0),
                    '\u{1b}' => {
                        let order: String = chars.by_ref().skip(1).take_until_letter();
                        self.obey(&order);
                    }
                    c => {
                        if self.lines[self.row].chars().count() == SIZE.width {
                            self.row += 1;
                            self.lines.resize(self.row + 1, String::new());
                        }
                        self.lines[self.row].push(c);
                    }
                }
            }
        }

        fn obey(&mut self, order: &str) {
            if let Some(count) = order.strip_suffix('A') {
                self.row -= count.parse::<usize>().unwrap_or(1);
                self.lines[self.row].clear();
            } else if order.ends_with('J') {
                self.lines.truncate(self.row + 1);
                self.lines[self.row].clear();
            }
        }

        fn text(&self) -> String {
            self.lines.join("\n").trim_end().to_owned()
        }
    }

    trait TakeUntilLetter {
        fn take_until_letter(self) -> String;
    }

    impl<I: Iterator<Item = char>> TakeUntilLetter for I {
        fn take_until_letter(self) -> String {
            let mut order = String::new();
            for c in self {
                order.push(c);
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
            order
        }
    }

    /// What stands on the terminal after these pieces.
    fn shown(pieces: &[&str], finished: bool) -> String {
        let (mut screen, mut terminal) = (Screen::new(SIZE), Terminal::default());
        for piece in pieces {
            terminal.write(&screen.say(piece));
        }
        if finished {
            terminal.write(&screen.finish());
        }
        terminal.text()
    }

    #[test]
    fn the_running_block_stands_as_it_is_written() {
        assert_eq!(shown(&["# Ti", "de and **mo"], false), "# Tide and **mo");
    }

    #[test]
    fn a_finished_block_is_drawn_as_it_is_meant() {
        assert_eq!(shown(&["# Ti", "de\n", "\n**mo", "on**\n\n", "- sea"], false), "Tide\n\nmoon\n\n- sea");
        assert_eq!(shown(&["# Tide\n\n**moon**\n\n- sea"], true), "Tide\n\nmoon\n\n• sea");
    }

    #[test]
    fn a_block_that_wraps_is_wiped_whole() {
        let long = "**word** ".repeat(6);
        let answer = shown(&[&long, "\n\nend"], true);
        assert!(!answer.contains('*'), "{answer}");
        assert!(answer.starts_with("word word"), "{answer}");
    }

    #[test]
    fn however_the_answer_is_cut_the_end_is_the_same() {
        let answer =
            "# Tide\n\nThe **moon** pulls the sea, and so on and on.\n\n- a\n- b\n\n```\ncode\n```\n\nend";
        let whole = shown(&[answer], true);
        for size in 1..12 {
            let pieces: Vec<&str> =
                answer.as_bytes().chunks(size).filter_map(|piece| std::str::from_utf8(piece).ok()).collect();
            assert_eq!(shown(&pieces, true), whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_block_that_is_taller_than_the_terminal_stays() {
        let tall = "- **a**\n".repeat(12);
        let (mut screen, mut out) = (Screen::new(SIZE), String::new());
        for line in tall.split_inclusive('\n') {
            out.push_str(&screen.say(line));
        }
        out.push_str(&screen.say("\nend **x**"));
        out.push_str(&screen.finish());
        assert_eq!(out.matches("- **a**").count(), 12, "{out:?}");
        assert!(out.contains("\u{1b}[1mx"), "what comes after it is drawn again: {out:?}");
    }

    #[test]
    fn words_cannot_draw_on_the_terminal() {
        let mut screen = Screen::new(SIZE);
        assert_eq!(screen.say("a\u{1b}[2Jb\tc\r"), "a\\u{1b}[2Jb    c");
    }

    #[test]
    fn wide_letters_take_two_cells() {
        assert_eq!(rows("12345678901234567890", 20), 0, "a full row is not left yet");
        assert_eq!(rows("潮".repeat(11).as_str(), 20), 1);
        assert_eq!(rows("a\n\nb", 20), 2);
    }
}
