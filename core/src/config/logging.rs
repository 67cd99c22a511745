//! What is logged where, and how it looks (spec 05 §11).

use super::check::Check;
use super::env::Environment;
use super::failure::Failure;
use super::issue::{Issue, Warning};
use super::keys::LEVELS;
use super::nearest;
use super::tree::Node;

/// How much is logged; each level admits those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Silent,
    /// What ends the process.
    Fatal,
    /// What failed.
    Error,
    /// What should be looked at.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Reads a level's name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "silent" => Self::Silent,
            "fatal" => Self::Fatal,
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

/// How a line looks on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `HH:MM:SS [subsystem] message`, coloured.
    Pretty,
    /// `time [subsystem] message`.
    Compact,
    /// One JSON object.
    Json,
}

impl Style {
    /// Reads a style's name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "pretty" => Some(Self::Pretty),
            "compact" => Some(Self::Compact),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What is logged where, and how it looks.
#[derive(Clone, Debug)]
pub struct Logging {
    /// The file's level.
    pub level: Level,
    /// The console's level.
    pub console_level: Level,
    /// The console's style; by the terminal when `None`.
    pub console_style: Option<Style>,
    /// A fixed file; the daily file in the state directory when `None`.
    pub file: Option<String>,
    /// Subsystems with a level or style of their own.
    pub levels: Vec<Subsystem>,
    /// Further patterns to mask.
    pub redact_patterns: Vec<String>,
    /// How many days of files are kept.
    pub keep_days: u64,
    /// How many files are kept.
    pub keep_files: usize,
}

/// A subsystem with a level or style of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsystem {
    /// Its name, with dots; empty for all.
    pub name: String,
    /// Its level in the file.
    pub file: Option<Level>,
    /// Its level on the console.
    pub console: Option<Level>,
    /// Its style on the console.
    pub style: Option<Style>,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: Level::Info,
            console_level: Level::Info,
            console_style: None,
            file: None,
            levels: Vec::new(),
            redact_patterns: Vec::new(),
            keep_days: 7,
            keep_files: 10,
        }
    }
}

impl Logging {
    /// The settings of a checked tree, of the environment and of `--verbose` [D-44].
    pub(super) fn read(root: &Node, env: &Environment, verbose: bool, check: &mut Check<'_>) -> Self {
        let plain = Self::default();
        let text = |path: &str| root.at(path).and_then(Node::text);
        let level = |path: &str| text(path).and_then(Level::parse);
        let count = |path: &str| root.at(path).and_then(Node::count);
        let patterns = root.at("logging.redactPatterns").map(Node::items).unwrap_or_default();
        let mut logging = Self {
            level: level("logging.level").unwrap_or(plain.level),
            console_level: level("logging.consoleLevel").unwrap_or(plain.console_level),
            console_style: text("logging.consoleStyle").and_then(Style::parse),
            file: text("logging.file").map(str::to_owned),
            levels: subsystems(root),
            redact_patterns: patterns.iter().filter_map(Node::text).map(str::to_owned).collect(),
            keep_days: count("logging.keepDays").unwrap_or(plain.keep_days),
            keep_files: count("logging.keepFiles").map_or(plain.keep_files, crate::limits::length),
        };
        if text("logging.redactSensitive") == Some("off") {
            let message = "secrets are masked in logs all the same";
            check.warnings.push(Warning::new("logging.redactSensitive", message));
        }
        logging.root_from(env, check);
        logging.levels_from(env, check);
        if verbose {
            logging.console_level = logging.console_level.max(Level::Debug);
        }
        logging
    }

    fn root_from(&mut self, env: &Environment, check: &mut Check<'_>) {
        let Some(found) = env.find("LOG_LEVEL") else { return };
        match Level::parse(&found.value) {
            Some(level) => (self.level, self.console_level) = (level, level),
            None => check.issues.push(not_a_level(&found.name, &found.value)),
        }
    }

    /// `gateway.ws=debug,gateway.health=warn`; what stands here goes before what stands in the file.
    fn levels_from(&mut self, env: &Environment, check: &mut Check<'_>) {
        let Some(found) = env.find("LOG_LEVELS") else { return };
        for part in found.value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(level) = Level::parse(value) else {
                check.issues.push(not_a_level(&found.name, part));
                continue;
            };
            let name = subsystem(name);
            let style = self.levels.iter().find(|known| known.name == name).and_then(|known| known.style);
            self.levels.retain(|known| known.name != name);
            self.levels.push(Subsystem { name, file: Some(level), console: Some(level), style });
        }
    }
}

fn not_a_level(variable: &str, value: &str) -> Issue {
    let mut issue = Issue::new(Failure::ArgInvalid, variable, format!("{value:?} names no level"))
        .expecting(format!("one of {}", LEVELS.join(", ")));
    issue.nearest = nearest::word(value, LEVELS);
    issue
}

fn subsystems(root: &Node) -> Vec<Subsystem> {
    let entries = root.at("logging.levels").map(Node::members).unwrap_or_default();
    let read = entries.iter().map(|member| {
        let level = |name: &str| member.node.get(name).and_then(Node::text).and_then(Level::parse);
        let both = member.node.text().and_then(Level::parse);
        Subsystem {
            name: subsystem(&member.name),
            file: both.or_else(|| level("file")),
            console: both.or_else(|| level("console")),
            style: member.node.get("style").and_then(Node::text).and_then(Style::parse),
        }
    });
    read.collect()
}

/// A subsystem's name with dots; `*` is the root.
fn subsystem(name: &str) -> String {
    let name = name.trim().replace('/', ".");
    if name == "*" { String::new() } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::keys::STYLES;
    use super::*;

    #[test]
    fn every_word_of_the_table_is_read() {
        assert!(LEVELS.iter().all(|word| Level::parse(word).is_some()));
        assert!(STYLES.iter().all(|word| Style::parse(word).is_some()));
    }
}
