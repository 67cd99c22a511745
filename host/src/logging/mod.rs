//! Logs: what happened, by subsystem, to the console and to a file, without secrets (spec 05 §11).
//!
//! Code logs with `tracing` and a target that names its subsystem, such as `gateway.ws`. Level and console style
//! are set per subsystem, the longest matching name wins. A record is made, freed of secrets and formatted
//! where it is logged; a thread per sink writes it, so that neither a slow disk nor a paused terminal holds the
//! gateway up. The queues are bounded: when one is full, records are left out and their number is logged.

mod file;
mod layer;
mod levels;
mod patterns;
mod record;
mod redact;
mod sink;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use telson_core::config::{Logging, Style};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) use record::escape;
pub use redact::Secrets;

use crate::cli::term::Terminal;
use file::LogFile;
use layer::Logs;
use levels::Levels;
use redact::Redactor;
use sink::Sink;

/// Keeps the writers of the logs alive. Dropping it writes what is queued.
pub struct Guard {
    sinks: Vec<Arc<Sink>>,
    path: Option<std::path::PathBuf>,
    shows_errors: bool,
}

impl Guard {
    /// Opens the log file anew, after it was moved away.
    pub fn reopen(&self) {
        self.sinks.iter().for_each(|sink| sink.reopen());
    }

    /// The same, as something to keep.
    pub fn reopener(&self) -> impl FnMut() + Send + 'static {
        let sinks = self.sinks.clone();
        move || sinks.iter().for_each(|sink| sink.reopen())
    }

    /// Whether errors of the gateway itself are seen on the console.
    pub fn shows_errors(&self) -> bool {
        self.shows_errors
    }

    /// The log file at the start, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.sinks.iter().for_each(|sink| sink.close());
    }
}

/// Starts to log for the whole process. `secrets` may grow later; what is in it is masked from then on.
///
/// A log file that cannot be opened is no reason not to start: the console says so.
///
/// # Errors
///
/// A writer's thread cannot be started, or something logs for this process already.
pub fn start(logging: &Logging, dir: &Path, terminal: Terminal, secrets: &Secrets) -> io::Result<Guard> {
    let mut problems = Vec::new();
    let file = match LogFile::open(logging, dir, &mut problems) {
        Ok(file) => Some(file),
        Err(error) => {
            problems.push(format!("the log file cannot be opened, logging to the console only: {error}"));
            None
        }
    };
    let path = file.as_ref().map(|file| file.path().to_owned());
    let style =
        logging.console_style.unwrap_or(if terminal.interactive { Style::Pretty } else { Style::Compact });
    let file = file.map(|file| Sink::start("telson-log-file", file)).transpose()?;
    let err = Sink::start("telson-log-err", Console(io::stderr()))?;
    let out =
        if terminal.quiet_out { err.clone() } else { Sink::start("telson-log-out", Console(io::stdout()))? };
    let sinks = file.iter().chain([&out, &err]).cloned().collect();
    let levels = Levels::new(logging, style);
    let shows_errors = levels.of("gateway").console >= LevelFilter::ERROR;
    let logs = Logs {
        levels,
        redactor: Redactor::new(secrets.clone(), &logging.redact_patterns, &mut problems),
        file,
        out,
        err,
        colour_out: if terminal.quiet_out { terminal.colour_err } else { terminal.colour_out },
        colour_err: terminal.colour_err,
        zone: jiff::tz::TimeZone::system(),
    };
    tracing_subscriber::registry().with(logs).try_init().map_err(io::Error::other)?;
    for problem in problems {
        tracing::warn!(target: "gateway", "{problem}");
    }
    Ok(Guard { sinks, path, shows_errors })
}

/// A stream of the terminal as a sink.
struct Console<W>(W);

impl<W: Write + Send + 'static> sink::Writer for Console<W> {
    fn write(&mut self, line: &[u8]) {
        // A console that is gone is no reason to stop.
        let _ = self.0.write_all(line).and_then(|()| self.0.flush());
    }
}
