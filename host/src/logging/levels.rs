//! Which subsystem logs how much, and how it looks.

use telson_core::config::{Level, Logging, Style};
use tracing::level_filters::LevelFilter;

/// The thresholds of every subsystem.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    root: Threshold,
    /// The longest names first.
    named: Vec<(String, Threshold)>,
}

/// What one subsystem logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold {
    pub(super) file: LevelFilter,
    pub(super) console: LevelFilter,
    pub(super) style: Style,
}

impl Threshold {
    /// The more talkative of the two sinks.
    pub(super) fn most(&self) -> LevelFilter {
        self.file.max(self.console)
    }
}

impl Levels {
    /// The thresholds of a configuration. What a subsystem does not set it takes from the next shorter name.
    pub(super) fn new(logging: &Logging, style: Style) -> Self {
        let mut levels = Self {
            root: Threshold { file: filter(logging.level), console: filter(logging.console_level), style },
            named: Vec::new(),
        };
        let mut entries: Vec<_> = logging.levels.iter().collect();
        entries.sort_by_key(|entry| entry.name.len());
        for entry in entries {
            let outer = levels.of(&entry.name);
            let threshold = Threshold {
                file: entry.file.map_or(outer.file, filter),
                console: entry.console.map_or(outer.console, filter),
                style: entry.style.unwrap_or(outer.style),
            };
            if entry.name.is_empty() {
                levels.root = threshold;
            } else {
                levels.named.insert(0, (entry.name.clone(), threshold));
            }
        }
        levels
    }

    /// The threshold of a target: that of the longest name that is a prefix of it, segment by segment.
    pub(super) fn of(&self, target: &str) -> Threshold {
        let found = self.named.iter().find(|(name, _)| covers(name, target));
        found.map_or(self.root, |(_, threshold)| *threshold)
    }

    /// The most talkative of all.
    pub(super) fn most(&self) -> LevelFilter {
        self.named.iter().map(|(_, threshold)| threshold.most()).fold(self.root.most(), LevelFilter::max)
    }
}

/// Whether a name is a prefix of a target. Segments end at `.`, `/` or `::`.
fn covers(name: &str, target: &str) -> bool {
    let mut target = segments(target);
    segments(name).all(|segment| target.next() == Some(segment))
}

/// The segments of a target.
pub(super) fn segments(target: &str) -> impl Iterator<Item = &str> {
    target.split(['.', '/', ':']).filter(|segment| !segment.is_empty())
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Silent | Level::Fatal => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
