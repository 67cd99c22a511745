//! The members of a request's body, read one by one so that a refusal can name the one that is wrong.

use serde_json::{Map, Value};

use super::errors::Refusal;
use crate::providers::request::Sampling;

/// An object; any other value counts as an empty one (spec 04 §1.5).
pub(super) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value.as_object())
    }

    /// A member that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    /// A member that is a text, without the space around it; other values and blank texts do not count.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Whether a member is there and is neither false, 0 nor empty.
    pub(super) fn truthy(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
            None => false,
        }
    }

    fn number(&self, name: &str, low: f64, high: f64) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_f64().filter(|number| (low..=high).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::invalid(format!("`{name}` must be a number from {low} to {high}."))),
        }
    }

    /// A positive whole number that every JSON reader keeps exactly.
    pub(super) fn positive(&self, name: &str) -> Result<Option<u64>, Refusal> {
        const SAFE: u64 = (1 << 53) - 1;
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64().filter(|number| (1..=SAFE).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::invalid(format!("`{name}` must be a positive integer."))),
        }
    }

    /// How the next word is chosen (spec 04 §7.1).
    pub(super) fn sampling(&self) -> Result<Sampling, Refusal> {
        Ok(Sampling {
            temperature: self.number("temperature", 0.0, 2.0)?,
            top_p: self.number("top_p", 0.0, 1.0)?,
            frequency_penalty: self.number("frequency_penalty", -2.0, 2.0)?,
            presence_penalty: self.number("presence_penalty", -2.0, 2.0)?,
            seed: match self.get("seed") {
                None => None,
                Some(seed) => {
                    Some(seed.as_i64().ok_or_else(|| Refusal::invalid("`seed` must be an integer."))?)
                }
            },
            stop: self.stop()?,
        })
    }

    fn stop(&self) -> Result<Vec<String>, Refusal> {
        const MOST: usize = 4;
        let wrong = || Refusal::invalid("`stop` must be a string or an array of at most 4 strings.");
        match self.get("stop") {
            None => Ok(Vec::new()),
            Some(Value::String(stop)) => Ok(vec![stop.clone()]),
            Some(Value::Array(list)) if list.len() <= MOST => {
                list.iter().map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }
}
