//! The two generations of the native protocol (spec 01 §2.4, §8).

use serde::{Deserialize, Serialize};

/// The protocol version a connection speaks; it fixes payload shapes, tables and error style.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum Protocol {
    /// Protocol 3: clawdbot, moltbot and openclaw up to 2026.1.
    V3,
    /// Protocol 4: openclaw from mid 2026.
    V4,
}

impl Protocol {
    /// Every supported version, oldest first.
    pub const ALL: [Self; 2] = [Self::V3, Self::V4];

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// The highest supported version inside `[min, max]` (D1).
    pub fn negotiate(min: u32, max: u32) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|p| (min..=max).contains(&p.number()))
    }
}

impl From<Protocol> for u32 {
    fn from(protocol: Protocol) -> Self {
        protocol.number()
    }
}

impl TryFrom<u32> for Protocol {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        Self::negotiate(number, number).ok_or_else(|| format!("unsupported protocol {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn the_highest_version_in_range_wins() {
        assert_eq!(Protocol::negotiate(3, 3), Some(Protocol::V3));
        assert_eq!(Protocol::negotiate(3, 4), Some(Protocol::V4));
        assert_eq!(Protocol::negotiate(1, 99), Some(Protocol::V4));
        assert_eq!(Protocol::negotiate(5, 9), None);
        assert_eq!(Protocol::negotiate(4, 3), None);
    }
}
