//! Tokens and cost: what models were asked for, day by day and session by session (spec 02 §16, §20.4, §20.7).
//!
//! Every message of a transcript has a line in the store's book, written in the message's own transaction; a
//! question is answered from the book and never reads a transcript. A message that states its cost is counted
//! with it; any other is priced with the configured prices when it is asked for, so that a corrected price
//! corrects the past. A message without either is counted in `missingCostEntries`.
//!
//! Days are calendar days of a time zone. Time zones are facts of the host: the store places each line in its
//! day, and this domain adds up.

mod days;
mod methods;
mod price;
mod record;
mod report;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::settings::Settings;

pub(crate) use methods::{cost, logs, sessions, status, timeseries};
pub use record::{Cost, Record, Speaker, Tokens};
pub use table::{
    Book, Grain, Line, Span, Sums, UnknownZone, UsageQuery, UsageRow, UsageTable, Whose, Window, Zone, point,
};

use price::Price;

/// The configured prices, by provider and model.
pub(crate) struct Usage {
    prices: BTreeMap<(String, String), Price>,
}

impl Usage {
    /// With the prices of `models.providers.*.models[].cost`.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { prices: price::configured(&settings.config.config.to_value()) }
    }

    fn price(&self, provider: &str, model: &str) -> Option<&Price> {
        self.prices.get(&(provider.to_owned(), model.to_owned()))
    }
}
