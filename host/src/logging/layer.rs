//! From an event of `tracing` to lines in the sinks.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::levels::Levels;
use super::record::Record;
use super::redact::Redactor;
use super::sink::Sink;

/// The layer that logs.
pub(super) struct Logs {
    pub(super) levels: Levels,
    pub(super) redactor: Redactor,
    pub(super) file: Option<Arc<Sink>>,
    pub(super) out: Arc<Sink>,
    pub(super) err: Arc<Sink>,
    pub(super) colour_out: bool,
    pub(super) colour_err: bool,
    pub(super) zone: TimeZone,
}

impl Logs {
    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.of(metadata.target()).most() >= *metadata.level()
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.admits(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.most())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = *metadata.level();
        let threshold = self.levels.of(metadata.target());
        let mut collector =
            Collector { redactor: &self.redactor, message: String::new(), fields: Map::new() };
        event.record(&mut collector);
        let Collector { message, fields, .. } = collector;
        let record = Record { time: Timestamp::now(), level, target: metadata.target(), message, fields };
        if let Some(file) = self.file.as_ref().filter(|_| threshold.file >= level) {
            file.send(level, record.envelope());
        }
        if threshold.console >= level {
            let (sink, colour) = if level <= Level::WARN {
                (&self.err, self.colour_err)
            } else {
                (&self.out, self.colour_out)
            };
            sink.send(level, record.console(threshold.style, colour, &self.zone));
        }
    }
}

/// Gathers the fields of an event, each freed of secrets as it comes.
struct Collector<'a> {
    redactor: &'a Redactor,
    message: String,
    fields: Map<String, Value>,
}

impl Collector<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message = self.redactor.message(text);
        } else {
            let value = self.redactor.field(field.name(), text);
            self.fields.insert(field.name().to_owned(), Value::String(value));
        }
    }
}

impl Visit for Collector<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.text(field, &text);
    }
}
