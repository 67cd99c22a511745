//! The configured prices: dollars for a million tokens (`models.providers.*.models[].cost`, spec 02 §16.1).

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::{Cost, Tokens};

/// The price of a million tokens of each kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Price {
    input: f64,
    output: f64,
    cache_read: f64,
    cache_write: f64,
}

impl Price {
    /// What these tokens cost.
    pub(super) fn of(&self, tokens: &Tokens) -> Cost {
        const MILLION: f64 = 1_000_000.0;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
        let part = |count: u64, price: f64| count as f64 * price / MILLION;
        let input = part(tokens.input, self.input);
        let output = part(tokens.output, self.output);
        let cache_read = part(tokens.cache_read, self.cache_read);
        let cache_write = part(tokens.cache_write, self.cache_write);
        Cost { total: input + output + cache_read + cache_write, input, output, cache_read, cache_write }
    }
}

/// The prices in a configuration. A price that is left out is 0, as long as one of the four is given.
pub(super) fn configured(config: &Value) -> BTreeMap<(String, String), Price> {
    let providers = config.pointer("/models/providers").and_then(Value::as_object);
    let mut prices = BTreeMap::new();
    for (provider, settings) in providers.into_iter().flatten() {
        for model in settings.get("models").and_then(Value::as_array).into_iter().flatten() {
            let id = model.get("id").and_then(Value::as_str);
            if let (Some(id), Some(price)) = (id, model.get("cost").and_then(price)) {
                prices.insert((provider.to_lowercase(), id.to_owned()), price);
            }
        }
    }
    prices
}

fn price(cost: &Value) -> Option<Price> {
    let part = |name: &str| cost.get(name).and_then(Value::as_f64).filter(|price| *price >= 0.0);
    let parts = ["input", "output", "cacheRead", "cacheWrite"].map(part);
    if parts.iter().all(Option::is_none) {
        return None;
    }
    let [input, output, cache_read, cache_write] = parts.map(Option::unwrap_or_default);
    Some(Price { input, output, cache_read, cache_write })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prices_are_for_a_million_tokens() {
        let config = json!({"models": {"providers": {"Acme": {"models": [
            {"id": "m", "cost": {"input": 3, "output": 15, "cacheRead": 0.3}}, {"id": "free"}, {"id": "odd", "cost": {"input": -1}},
        ]}}}});
        let prices = configured(&config);
        assert_eq!(prices.len(), 1);
        let tokens =
            Tokens { input: 1_000_000, output: 100_000, cache_read: 1_000_000, cache_write: 9, total: 0 };
        let cost = prices[&("acme".to_owned(), "m".to_owned())].of(&tokens);
        assert!((cost.total - 4.8).abs() < 1e-9, "{cost:?}");
        assert!((cost.output - 1.5).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn a_configuration_without_prices_has_none() {
        assert!(configured(&json!({})).is_empty());
        assert!(configured(&json!({"models": {"providers": 7}})).is_empty());
    }
}
