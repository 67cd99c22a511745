//! One log record and its forms (spec 05 §11.2 [D-43], §11.4).

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style as Paint};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};
use telson_core::config::Style;
use tracing::Level;

use super::levels::segments;

/// One log record, free of secrets.
pub(super) struct Record<'a> {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) message: String,
    pub(super) fields: Map<String, Value>,
}

/// The envelope of the log file, which readers of either generation understand.
#[derive(Serialize)]
struct Envelope<'a> {
    time: &'a str,
    level: &'a str,
    subsystem: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: &'a Map<String, Value>,
    #[serde(rename = "0")]
    first: &'a str,
    #[serde(rename = "_meta")]
    meta: Meta<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    log_level_name: &'a str,
    name: String,
    date: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'a str,
    subsystem: &'a str,
    message: &'a str,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

impl Record<'_> {
    fn subsystem(&self) -> String {
        segments(self.target).collect::<Vec<_>>().join("/")
    }

    fn time(&self) -> String {
        self.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// The line of the log file.
    pub(super) fn envelope(&self) -> Vec<u8> {
        let (time, subsystem) = (self.time(), self.subsystem());
        line(&Envelope {
            time: &time,
            level: level_name(self.level),
            subsystem: &subsystem,
            message: &self.message,
            code: self.fields.get("code"),
            fields: &self.fields,
            first: &self.message,
            meta: Meta {
                log_level_name: self.level.as_str(),
                name: serde_json::json!({ "subsystem": subsystem }).to_string(),
                date: &time,
            },
        })
    }

    /// The line of the console.
    pub(super) fn console(&self, style: Style, colour: bool, zone: &TimeZone) -> Vec<u8> {
        match style {
            Style::Json => line(&Line {
                time: &self.time(),
                level: level_name(self.level),
                subsystem: &self.subsystem(),
                message: &self.message,
                fields: &self.fields,
            }),
            Style::Pretty => {
                let time = self.time.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string();
                self.text(&time, colour)
            }
            Style::Compact => self.text(&self.time(), false),
        }
    }

    fn text(&self, time: &str, colour: bool) -> Vec<u8> {
        let name = display_name(self.target);
        let message = own_words(&self.message, &name);
        let paint = |paint: Paint| if colour { paint } else { Paint::new() };
        let (dim, hue) = (paint(Paint::new().dimmed()), paint(hue(&name)));
        let weight = paint(weight(self.level));
        let mut line = format!("{dim}{time}{dim:#} {hue}[{name}]{hue:#} {weight}");
        escape_into(&mut line, message);
        let _ = write!(line, "{weight:#}");
        for (key, value) in &self.fields {
            let _ = write!(line, " {dim}{key}={dim:#}");
            match value {
                Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                    let mut escaped = String::new();
                    escape_into(&mut escaped, text);
                    let _ = write!(line, "\"{}\"", escaped.replace('"', "\\\""));
                }
                Value::String(text) => escape_into(&mut line, text),
                other => {
                    let _ = write!(line, "{other}");
                }
            }
        }
        line.push('\n');
        line.into_bytes()
    }
}

/// One line of JSON, with nothing in it that a terminal would obey.
fn line(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_unruly(c) {
            let _ = write!(line, "\\u{:04x}", c as u32);
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// Whether a terminal would obey a character instead of showing it, or a reader would overlook it.
fn is_unruly(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || OVERLOOKED.contains(&c)
}

/// Characters that are shown as nothing. The joiner of emoji is not among them: people's names have it.
const OVERLOOKED: [char; 14] = [
    '\u{ad}', '\u{61c}', '\u{115f}', '\u{1160}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{2060}', '\u{2062}',
    '\u{2063}', '\u{2064}', '\u{3164}', '\u{feff}', '\u{ffa0}',
];

/// The name as the console shows it: without a leading `gateway`, `channels` or `providers`, and at most the
/// last two segments.
fn display_name(target: &str) -> String {
    let all: Vec<&str> = segments(target).collect();
    let first = all.iter().position(|segment| !matches!(*segment, "gateway" | "channels" | "providers"));
    let shown = first.and_then(|first| all.get(first..)).unwrap_or(&all);
    shown.get(shown.len().saturating_sub(2)..).unwrap_or(shown).join("/")
}

/// The message without its subsystem's name at the beginning.
fn own_words<'a>(message: &'a str, name: &str) -> &'a str {
    match message.strip_prefix(name) {
        Some(rest) if rest.starts_with(':') => rest.trim_start_matches(':').trim_start(),
        _ => message,
    }
}

/// A text that can neither draw on the terminal nor begin a line of its own.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

/// Appends a text whose control characters, and those that turn the writing direction, show as escapes, so that
/// nothing a client sends can draw on the terminal or begin a line of its own (spec 08 S-101).
fn escape_into(line: &mut String, text: &str) {
    for c in text.chars() {
        if !is_unruly(c) {
            line.push(c);
        } else if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.extend(c.escape_unicode());
        }
    }
}

/// A colour that stays the same for a name.
fn hue(name: &str) -> Paint {
    const HUES: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Blue,
        AnsiColor::Magenta,
        AnsiColor::Red,
    ];
    let hash = name.chars().fold(0_usize, |hash, c| hash.wrapping_mul(31).wrapping_add(c as usize));
    Paint::new().fg_color(HUES.get(hash % HUES.len()).map(|hue| (*hue).into()))
}

fn weight(level: Level) -> Paint {
    let colour = match level {
        Level::ERROR => Some(AnsiColor::Red),
        Level::WARN => Some(AnsiColor::Yellow),
        Level::INFO => None,
        Level::DEBUG | Level::TRACE => Some(AnsiColor::BrightBlack),
    };
    Paint::new().fg_color(colour.map(Into::into))
}
