//! What an answer costs (spec 02 §16.1).

use super::Usage;
use crate::settings::Prices;

/// What an answer costs, in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) input: f64,
    pub(crate) output: f64,
    pub(crate) cache_read: f64,
    pub(crate) cache_write: f64,
    pub(crate) total: f64,
}

impl Cost {
    /// These tokens at these prices.
    #[expect(clippy::cast_precision_loss, reason = "nobody is billed for 2^53 tokens")]
    pub(super) fn of(prices: &Prices, usage: &Usage) -> Self {
        let cost = |tokens: u64, price: f64| tokens as f64 * price / 1_000_000.0;
        let input = cost(usage.input, prices.input);
        let output = cost(usage.output, prices.output);
        let cache_read = cost(usage.cache_read, prices.cache_read);
        let cache_write = cost(usage.cache_write, prices.cache_write);
        Self { input, output, cache_read, cache_write, total: input + output + cache_read + cache_write }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_for_a_million_tokens() {
        let prices = Prices { input: 3.0, output: 15.0, cache_read: 0.5, cache_write: 4.0 };
        let usage =
            Usage { input: 500_000, output: 100_000, cache_read: 1_000_000, cache_write: 250_000, total: 0 };
        let expected = Cost { input: 1.5, output: 1.5, cache_read: 0.5, cache_write: 1.0, total: 4.5 };
        assert_eq!(Cost::of(&prices, &usage), expected);
    }
}
