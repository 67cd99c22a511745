//! Markdown on the terminal: which blocks of a stream are finished, and how a block looks.
//!
//! The words are a model's. Nothing in them may draw on the terminal by itself, also not what Markdown's own
//! character references decode to: every piece is escaped when it is written.

use anstyle::{AnsiColor, Color, Style};
use comfy_table::{ContentArrangement, Table, presets};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::logging::escape;

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

/// Where the last block of a text begins; what stands before it is finished and will not change.
pub(super) fn last_block(text: &str) -> usize {
    let (mut depth, mut last) = (0_usize, 0);
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(_) => {
                if depth == 0 {
                    last = range.start;
                }
                depth += 1;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            _ if depth == 0 => last = range.start,
            _ => {}
        }
    }
    text.get(..last).and_then(|before| before.rfind('\n')).map_or(0, |line| line + 1)
}

/// A text of whole blocks as a terminal with colours shows it, a blank line between two blocks and a line's end
/// after the last one. `width` is for tables and rules.
pub(super) fn render(text: &str, width: usize) -> String {
    let mut page = Page { width, ..Page::default() };
    for event in Parser::new_ext(text, options()) {
        page.take(event);
    }
    page.finish_line();
    page.out
}

/// What goes before the lines of a quotation or of a list's item.
#[derive(Debug)]
struct Indent {
    /// Before the next line alone: the item's bullet.
    first: Option<String>,
    rest: String,
}

/// A table whose rows are being read.
#[derive(Debug, Default)]
struct Grid {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
    cell: String,
    row: Vec<String>,
}

/// A rendering under way.
#[derive(Debug, Default)]
struct Page {
    out: String,
    width: usize,
    indents: Vec<Indent>,
    styles: Vec<Style>,
    /// The number of the next item of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// The addresses of open links.
    links: Vec<(String, usize)>,
    grid: Option<Grid>,
    /// Whether something stands in the current line.
    in_line: bool,
    depth: usize,
}

fn coloured(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.write(&text),
            Event::Code(code) => self.styled(coloured(AnsiColor::Cyan), &code),
            Event::SoftBreak | Event::HardBreak if self.grid.is_some() => self.write(" "),
            Event::SoftBreak | Event::HardBreak => self.end_line(),
            Event::Rule => {
                self.part();
                let rule = "─".repeat(self.width.clamp(3, 40));
                self.styled(Style::new().dimmed(), &rule);
                self.end_line();
            }
            Event::TaskListMarker(done) => self.write(if done { "[x] " } else { "[ ] " }),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.write(&text);
            }
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        if self.depth == 0 {
            self.part();
        }
        self.depth += 1;
        match tag {
            Tag::Heading { level, .. } => {
                let bold = Style::new().bold();
                self.styles.push(if level == HeadingLevel::H1 { bold.underline() } else { bold });
            }
            Tag::Strong => self.styles.push(Style::new().bold()),
            Tag::Emphasis => self.styles.push(Style::new().italic()),
            Tag::Strikethrough => self.styles.push(Style::new().strikethrough()),
            Tag::BlockQuote(_) => {
                self.finish_line();
                self.indents.push(Indent { first: None, rest: "│ ".to_owned() });
            }
            Tag::CodeBlock(kind) => {
                self.finish_line();
                self.indents.push(Indent { first: None, rest: "    ".to_owned() });
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.is_empty()
                {
                    self.styled(Style::new().dimmed(), &language);
                    self.end_line();
                }
                self.styles.push(coloured(AnsiColor::Cyan));
            }
            Tag::List(start) => {
                self.finish_line();
                self.lists.push(start);
            }
            Tag::Item => self.open_item(),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((dest_url.to_string(), self.out.len()));
                self.styles.push(Style::new().underline());
            }
            Tag::Table(_) => self.grid = Some(Grid::default()),
            // A second paragraph of an item begins on a line of its own.
            Tag::Paragraph => self.finish_line(),
            _ => {}
        }
    }

    fn open_item(&mut self) {
        self.finish_line();
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number += 1;
                marker
            }
            _ => "• ".to_owned(),
        };
        let rest = " ".repeat(marker.chars().count());
        self.indents.push(Indent { first: Some(marker), rest });
    }

    fn close(&mut self, tag: TagEnd) {
        self.depth = self.depth.saturating_sub(1);
        match tag {
            TagEnd::Heading(_) | TagEnd::CodeBlock => {
                self.styles.pop();
                self.finish_line();
                if tag == TagEnd::CodeBlock {
                    self.indents.pop();
                }
            }
            TagEnd::Strong | TagEnd::Emphasis | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.finish_line();
                self.indents.pop();
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Link | TagEnd::Image => {
                self.styles.pop();
                if let Some((address, from)) = self.links.pop() {
                    let shown = self.out.get(from..).is_some_and(|text| text.contains(&*escape(&address)));
                    if !shown {
                        self.styled(Style::new().dimmed(), &format!(" ({address})"));
                    }
                }
            }
            TagEnd::TableCell => self.with_grid(|grid| grid.row.push(std::mem::take(&mut grid.cell))),
            TagEnd::TableHead => self.with_grid(|grid| grid.heading = std::mem::take(&mut grid.row)),
            TagEnd::TableRow => self.with_grid(|grid| grid.rows.push(std::mem::take(&mut grid.row))),
            TagEnd::Table => self.close_table(),
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.finish_line(),
            _ => {}
        }
    }

    fn with_grid(&mut self, change: impl FnOnce(&mut Grid)) {
        if let Some(grid) = &mut self.grid {
            change(grid);
        }
    }

    fn close_table(&mut self) {
        let Some(grid) = self.grid.take() else { return };
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        table.set_header(grid.heading);
        table.add_rows(grid.rows);
        for line in table.lines() {
            self.write(line.trim_end());
            self.end_line();
        }
    }

    /// A blank line before every block but the first.
    fn part(&mut self) {
        self.finish_line();
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn finish_line(&mut self) {
        if self.in_line {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        self.begin_line();
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.in_line = false;
    }

    fn begin_line(&mut self) {
        if std::mem::replace(&mut self.in_line, true) {
            return;
        }
        for indent in &mut self.indents {
            let piece = indent.first.take();
            self.out.push_str(piece.as_deref().unwrap_or(&indent.rest));
        }
    }

    fn styled(&mut self, style: Style, text: &str) {
        self.styles.push(style);
        self.write(text);
        self.styles.pop();
    }

    fn write(&mut self, text: &str) {
        if let Some(grid) = &mut self.grid {
            grid.cell.push_str(&escape(text));
            return;
        }
        let mut lines = text.split('\n');
        if let Some(line) = lines.next() {
            self.piece(line);
        }
        for line in lines {
            self.end_line();
            self.piece(line);
        }
    }

    fn piece(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.begin_line();
        let style = self.styles.iter().fold(Style::new(), |all, style| over(all, *style));
        let text = clean(text);
        self.out.push_str(&format!("{style}{text}{style:#}"));
    }
}

/// A style on top of another one.
fn over(below: Style, above: Style) -> Style {
    Style::new()
        .fg_color(above.get_fg_color().or_else(|| below.get_fg_color()))
        .effects(below.get_effects() | above.get_effects())
}

/// A piece of a line that cannot draw on the terminal.
pub(super) fn clean(text: &str) -> String {
    escape(&text.replace('\r', "").replace('\t', "    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rendering without its colours.
    fn plain(text: &str) -> String {
        let mut out = String::new();
        let rendered = render(text, 40);
        let mut chars = rendered.chars();
        while let Some(c) = chars.next() {
            if c == '\u{1b}' {
                let _ = chars.by_ref().find(char::is_ascii_alphabetic);
            } else {
                out.push(c);
            }
        }
        out
    }

    #[test]
    fn a_heading_is_bold_and_loses_its_marks() {
        assert_eq!(render("## Tide", 40), "\u{1b}[1mTide\u{1b}[0m\n");
        assert_eq!(plain("# Tide\n\nand *moon*"), "Tide\n\nand moon\n");
    }

    #[test]
    fn lists_keep_their_depth_and_their_numbers() {
        assert_eq!(plain("- a\n- b\n  1. c\n  2. d\n- e"), "• a\n• b\n  1. c\n  2. d\n• e\n");
        assert_eq!(plain("3. x\n4. y\n   z"), "3. x\n4. y\n   z\n");
        assert_eq!(plain("- [x] done\n- [ ] open"), "• [x] done\n• [ ] open\n");
    }

    #[test]
    fn code_is_set_in_and_shown_as_it_is() {
        assert_eq!(plain("```rust\nfn main() {\n\n}\n```"), "    rust\n    fn main() {\n\n    }\n");
        assert_eq!(plain("say `*not*`"), "say *not*\n");
        assert!(render("`x`", 40).contains("\u{1b}[36mx"));
    }

    #[test]
    fn quotations_have_a_bar() {
        assert_eq!(plain("> a\n> b"), "│ a\n│ b\n");
    }

    #[test]
    fn an_address_is_shown_once() {
        assert_eq!(plain("[moon](https://a.example)"), "moon (https://a.example)\n");
        assert_eq!(plain("<https://a.example>"), "https://a.example\n");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let table = plain("| a | b |\n|---|---|\n| 1 | a long cell that does not fit on one line |");
        assert!(table.contains('a') && table.contains('1'), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 40), "{table}");
    }

    #[test]
    fn nothing_in_the_words_draws_on_the_terminal() {
        for text in ["a\u{1b}[2Jb", "a&#27;[2Jb", "`\u{1b}[2J`", "| \u{1b}[2J |\n|--|\n| &#27;c |"] {
            let rendered = render(text, 40);
            assert!(!rendered.contains("\u{1b}[2J") && !rendered.contains("\u{1b}c"), "{rendered:?}");
        }
        assert_eq!(plain("a\u{7}b"), "a\\u{7}b\n");
    }

    #[test]
    fn only_the_last_block_may_still_grow() {
        let finished = |text: &str| text[..last_block(text)].to_owned();
        assert_eq!(finished("tide"), "");
        assert_eq!(finished("tide\n\n"), "", "nothing says yet that another block follows");
        assert_eq!(finished("tide\n\nmoon"), "tide\n\n");
        assert_eq!(finished("# a\nb\n\n- c\n- d"), "# a\nb\n\n");
        assert_eq!(finished("a\n\n```\nb\n\nc"), "a\n\n", "a blank line does not end code");
        assert_eq!(finished("a\n\n---\n"), "a\n\n");
    }
}
