//! Building blocks of request parameters: values that check themselves while they are read, so that a
//! refusal can name the field and what would be right (spec 02 §2.1).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// The parameters of a method that takes none.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NoParams {}

/// A string with between `MIN` and `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MIN: usize = 1, const MAX: usize = { usize::MAX }>(String);

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The string, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            _ => return Err(de::Error::custom("must be string")),
        };
        let length = text.chars().count();
        if length < MIN {
            return Err(de::Error::custom(format_args!("must NOT have fewer than {MIN} characters")));
        }
        if length > MAX {
            return Err(de::Error::custom(format_args!("must NOT have more than {MAX} characters")));
        }
        Ok(Self(text))
    }
}

impl<const MIN: usize, const MAX: usize> fmt::Display for Text<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An integer between `MIN` and `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Count<const MIN: u64 = 0, const MAX: u64 = { u64::MAX }>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as a length; saturates on machines whose lengths are shorter.
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let number = match &value {
            serde_json::Value::Number(number) => number,
            _ => return Err(de::Error::custom("must be integer")),
        };
        let whole = number.as_f64().is_some_and(|float| float.fract() == 0.0);
        if !whole {
            return Err(de::Error::custom("must be integer"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and checked below"
        )]
        let unsigned = number
            .as_u64()
            .or_else(|| number.as_f64().filter(|float| *float >= 0.0).map(|float| float as u64));
        match unsigned {
            Some(count) if count > MAX => Err(de::Error::custom(format_args!("must be <= {MAX}"))),
            Some(count) if count >= MIN => Ok(Self(count)),
            _ => Err(de::Error::custom(format_args!("must be >= {MIN}"))),
        }
    }
}

/// A member of a patch: absent keeps the value, `null` clears it, anything else sets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The member was absent.
    #[default]
    Keep,
    /// The member was `null`.
    Clear,
    /// The member carries a new value.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether the member was absent.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| value.map_or(Self::Clear, Self::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: for<'a> Deserialize<'a> + fmt::Debug>(json: &str) -> String {
        let error = serde_json::from_str::<T>(json).unwrap_err();
        error.to_string().split(" at line").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn bounds_are_named() {
        assert_eq!(refusal::<Count<1, 1000>>("1001"), "must be <= 1000");
        assert_eq!(refusal::<Count<1, 1000>>("0"), "must be >= 1");
        assert_eq!(refusal::<Count<1, 1000>>("-4"), "must be >= 1");
        assert_eq!(refusal::<Count<1, 1000>>("1.5"), "must be integer");
        assert_eq!(refusal::<Count<1, 1000>>("\"5\""), "must be integer");
        assert_eq!(refusal::<Text<1, 4>>("\"\""), "must NOT have fewer than 1 characters");
        assert_eq!(refusal::<Text<1, 4>>("\"abcde\""), "must NOT have more than 4 characters");
        assert_eq!(refusal::<Text<1, 4>>("7"), "must be string");
    }

    #[test]
    fn whole_floats_are_integers_as_in_javascript() {
        assert_eq!(serde_json::from_str::<Count<1, 9>>("5.0").map(Count::get).ok(), Some(5));
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        #[derive(Deserialize)]
        struct Row {
            #[serde(default)]
            label: Patch<String>,
        }
        let read = |json| serde_json::from_str::<Row>(json).map(|row| row.label).ok();
        assert_eq!(read("{}"), Some(Patch::Keep));
        assert_eq!(read(r#"{"label":null}"#), Some(Patch::Clear));
        assert_eq!(read(r#"{"label":"x"}"#), Some(Patch::Set("x".to_owned())));
    }
}
