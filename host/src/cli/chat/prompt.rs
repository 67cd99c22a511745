//! The line that the user writes: editing and history, on a thread of its own.
//!
//! While a line is being written the terminal is in raw mode. What else has something to say meanwhile goes
//! through [`Prompt::say`], which puts it above the line.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use async_channel::{Receiver, Sender, bounded};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, ExternalPrinter};

use crate::cli::term::Output;

/// How many lines are remembered.
const REMEMBERED: usize = 1_000;

/// What came of asking for a line.
#[derive(Debug)]
pub(super) enum Line {
    /// A line.
    Words(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the end of the input.
    End,
    /// The terminal cannot be read.
    Broken(String),
}

/// A question for a line.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// What stands before the line.
    pub(super) prompt: String,
    /// What stands in it already.
    pub(super) words: String,
    /// Whether the line is worth remembering.
    pub(super) remember: bool,
}

/// The line editor.
pub(super) struct Prompt {
    questions: Sender<Question>,
    lines: Receiver<Line>,
    printer: Arc<Mutex<Option<Box<dyn ExternalPrinter + Send>>>>,
    /// The terminal as it was before anybody wrote a line.
    before: Option<Termios>,
    /// Whether a line is being written.
    writing: AtomicBool,
    output: Output,
}

impl Prompt {
    /// Starts the editor; `history` is where lines are remembered.
    pub(super) fn start(history: Option<PathBuf>, output: Output) -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        let (questions, asked) = bounded(1);
        let (answers, lines) = bounded(1);
        let printer: Arc<Mutex<Option<Box<dyn ExternalPrinter + Send>>>> = Arc::default();
        let slot = Arc::clone(&printer);
        thread::Builder::new().name("telson-prompt".to_owned()).spawn(move || {
            let mut editor = match editor(history.as_ref()) {
                Ok(editor) => editor,
                Err(error) => {
                    let _ = answers.send_blocking(Line::Broken(error.to_string()));
                    return;
                }
            };
            if let Ok(printer) = editor.create_external_printer() {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(printer));
            }
            while let Ok(question) = asked.recv_blocking() {
                let line = ask(&mut editor, &question, history.as_ref());
                if answers.send_blocking(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, lines, printer, before, writing: AtomicBool::new(false), output })
    }

    /// Asks for a line. The answer comes from [`Prompt::line`].
    pub(super) async fn ask(&self, question: Question) {
        self.writing.store(true, Ordering::Relaxed);
        // A thread that is gone has left its reason in the other channel.
        let _ = self.questions.send(question).await;
    }

    /// The line that was asked for. May be given up and called again.
    pub(super) async fn line(&self) -> Line {
        let line = self.lines.recv().await.unwrap_or(Line::End);
        self.writing.store(false, Ordering::Relaxed);
        line
    }

    /// Says something above the line that is being written.
    pub(super) fn say(&self, text: &str) {
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        match printer.as_mut() {
            Some(printer) => drop(printer.print(format!("{text}\n"))),
            None => self.output.note(text),
        }
    }
}

impl Drop for Prompt {
    /// A line that is still being written must not leave the shell in raw mode, or with bracketed pastes.
    fn drop(&mut self) {
        if !self.writing.load(Ordering::Relaxed) {
            return;
        }
        self.output.line("\u{1b}[?2004l");
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn editor(history: Option<&PathBuf>) -> rustyline::Result<Editor<(), FileHistory>> {
    let config = Config::builder()
        .max_history_size(REMEMBERED)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .auto_add_history(false)
        .build();
    let mut editor = Editor::with_history(config.clone(), FileHistory::with_config(&config))?;
    if let Some(path) = history {
        // There is none at the first time, and a damaged one is no reason not to talk.
        let _ = editor.load_history(path);
    }
    Ok(editor)
}

fn ask(editor: &mut Editor<(), FileHistory>, question: &Question, history: Option<&PathBuf>) -> Line {
    match editor.readline_with_initial(&*question.prompt, (&question.words, "")) {
        Ok(line) => {
            let kept = question.remember && editor.add_history_entry(line.as_str()).unwrap_or(false);
            if let Some(path) = history.filter(|_| kept) {
                // A state directory that cannot be written has been complained about by others.
                let _ = editor.append_history(path);
            }
            Line::Words(line)
        }
        Err(ReadlineError::Interrupted) => Line::Interrupt,
        Err(ReadlineError::Eof) => Line::End,
        Err(error) => Line::Broken(error.to_string()),
    }
}
