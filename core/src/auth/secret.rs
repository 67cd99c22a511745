//! Secrets: never shown, never compared with `==`, wiped when dropped (spec 08 S-35).

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A shared token, a password or an API key.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Whether `guess` is the secret. Both are hashed first, so neither content nor length shows in the time
    /// it takes.
    pub fn matches(&self, guess: &str) -> bool {
        let own = Sha256::digest(self.0.as_bytes());
        let other = Sha256::digest(guess.as_bytes());
        own.as_slice().ct_eq(other.as_slice()).into()
    }

    /// The secret itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_matches_itself_only_and_is_never_shown() {
        let secret = Secret::new("correct horse");
        assert!(secret.matches("correct horse"));
        assert!(!secret.matches("correct horse "));
        assert!(!secret.matches(""));
        assert!(!format!("{secret:?}").contains("horse"));
    }
}
