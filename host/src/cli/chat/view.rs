//! Where an answer is shown: as event lines, as it is, or drawn on the terminal.

use std::io;

use serde_json::{Value, json};

use crate::cli::term::Output;

use super::blocks::clean;
use super::screen::{Screen, Size};
use super::turn::Step;

/// An answer's place.
pub(super) struct View {
    output: Output,
    /// On a terminal that may be drawn on.
    screen: Option<Screen>,
    /// Whether the line that is being written is a thought.
    thinking: bool,
    /// Whether the last line has not ended.
    open: bool,
}

impl View {
    pub(super) fn new(output: Output) -> Self {
        let drawn = output.terminal.interactive && output.terminal.colour_out && !output.json;
        Self { output, screen: drawn.then(|| Screen::new(size())), thinking: false, open: false }
    }

    /// Shows a step of a run.
    pub(super) fn show(&mut self, step: &Step) {
        if self.output.json {
            if let Some(line) = line(step) {
                self.output.value(&line);
            }
            return;
        }
        match step {
            Step::Say(words) => self.say(words),
            Step::Anew => self.end_part(),
            Step::Think(words) => self.think(words),
            Step::Tool { name, args, .. } => self.work(&format!("· {name} {args}")),
            Step::ToolDone { name, failure: Some(failure), .. } => {
                self.work(&format!("! {name}: {failure}"));
            }
            Step::Compacting => self.work("· summing up what was said before"),
            Step::Over(_) => self.end_part(),
            Step::Begun | Step::ToolDone { failure: None, .. } => {}
        }
    }

    fn say(&mut self, words: &str) {
        self.end_thought();
        match &mut self.screen {
            Some(screen) => {
                screen.resize(size());
                self.output.piece(&screen.say(words));
            }
            None if self.output.terminal.interactive => {
                let safe: Vec<String> = words.split('\n').map(clean).collect();
                self.output.piece(&safe.join("\n"));
            }
            None => self.output.piece(words),
        }
        self.open = !words.ends_with('\n');
    }

    fn think(&mut self, words: &str) {
        if !self.output.terminal.interactive {
            return;
        }
        if !self.thinking {
            self.end_part();
        }
        self.thinking = true;
        let dim = self.output.paint(anstyle::Style::new().dimmed());
        let lines: Vec<String> =
            words.split('\n').map(|line| format!("{dim}{}{dim:#}", clean(line))).collect();
        self.output.piece(&lines.join("\n"));
    }

    /// A line about a tool, for people only.
    fn work(&mut self, text: &str) {
        if !self.output.terminal.interactive {
            return;
        }
        self.end_part();
        let dim = self.output.paint(anstyle::Style::new().dimmed());
        self.output.line(&format!("{dim}{}{dim:#}", clean(text.trim_end())));
    }

    fn end_thought(&mut self) {
        if std::mem::take(&mut self.thinking) {
            self.output.line("");
        }
    }

    /// Ends what is being written, so that something else can begin on a line of its own.
    pub(super) fn end_part(&mut self) {
        self.end_thought();
        if let Some(screen) = &mut self.screen {
            self.output.piece(&screen.finish());
        } else if self.open && !self.output.json {
            self.output.line("");
        }
        self.open = false;
    }
}

/// A step as an event line.
fn line(step: &Step) -> Option<Value> {
    Some(match step {
        Step::Begun => json!({"type": "started"}),
        Step::Say(text) => json!({"type": "delta", "text": text}),
        Step::Anew => json!({"type": "message"}),
        Step::Think(text) => json!({"type": "thinking", "text": text}),
        Step::Tool { name, id, args } => {
            json!({"type": "tool", "phase": "start", "name": name, "id": id, "args": args})
        }
        Step::ToolDone { name, id, failure } => {
            json!({"type": "tool", "phase": "result", "name": name, "id": id, "error": failure})
        }
        Step::Compacting => json!({"type": "compaction"}),
        Step::Over(_) => return None,
    })
}

/// The terminal's size; a common one when it does not tell.
pub(super) fn size() -> Size {
    let asked = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let cells = |count: u16, common: usize| if count == 0 { common } else { usize::from(count) };
    asked.map_or(Size { width: 80, height: 24 }, |size| Size {
        width: cells(size.ws_col, 80),
        height: cells(size.ws_row, 24),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_lines_name_what_happened() {
        assert_eq!(line(&Step::Say("a".to_owned())), Some(json!({"type": "delta", "text": "a"})));
        let done = Step::ToolDone { name: "exec".to_owned(), id: "c".to_owned(), failure: None };
        let shown = json!({"type": "tool", "phase": "result", "name": "exec", "id": "c", "error": null});
        assert_eq!(line(&done), Some(shown));
        assert_eq!(line(&Step::Over(super::super::turn::Ending::default())), None, "the result is the end");
    }
}
