//! How much a machine allows by itself, and when it asks (spec 03 §3.5).

/// What may run. The order is from the strictest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Security {
    /// Nothing.
    #[default]
    Deny,
    /// What the allowlist covers.
    Allowlist,
    /// Everything.
    Full,
}

impl Security {
    /// Reads the spelling of the file; `None` for an unknown word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Deny, Self::Allowlist, Self::Full].into_iter().find(|level| level.as_str() == word)
    }

    /// The spelling in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allowlist => "allowlist",
            Self::Full => "full",
        }
    }
}

/// When somebody is asked. The order is from the most lenient on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Ask {
    /// Never.
    Off,
    /// When the allowlist does not cover the command.
    #[default]
    OnMiss,
    /// Before every command.
    Always,
}

impl Ask {
    /// Reads the spelling of the file; `None` for an unknown word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Off, Self::OnMiss, Self::Always].into_iter().find(|level| level.as_str() == word)
    }

    /// The spelling in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OnMiss => "on-miss",
            Self::Always => "always",
        }
    }
}
