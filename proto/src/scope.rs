//! Roles and scopes (spec 01 §6.1, §6.2).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Protocol;

/// What a connection is: somebody who operates the gateway, or a machine that lends it abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Calls methods and hears events.
    Operator,
    /// Lends commands; may call the node methods only.
    Node,
}

impl Role {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A right that an operator may hold. The set is closed: a string that is none of these grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    #[serde(rename = "operator.admin")]
    Admin,
    /// See state, history and events.
    #[serde(rename = "operator.read")]
    Read,
    /// Act: chat, send, wake, invoke.
    #[serde(rename = "operator.write")]
    Write,
    /// Decide on approvals.
    #[serde(rename = "operator.approvals")]
    Approvals,
    /// Manage devices and nodes.
    #[serde(rename = "operator.pairing")]
    Pairing,
    /// Answer questions (protocol 4).
    #[serde(rename = "operator.questions")]
    Questions,
    /// Use talk mode (protocol 4).
    #[serde(rename = "operator.talk")]
    Talk,
    /// Read talk credentials (protocol 4).
    #[serde(rename = "operator.talk.secrets")]
    TalkSecrets,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 8] = [
        Self::Admin,
        Self::Read,
        Self::Write,
        Self::Approvals,
        Self::Pairing,
        Self::Questions,
        Self::Talk,
        Self::TalkSecrets,
    ];

    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "operator.admin",
            Self::Read => "operator.read",
            Self::Write => "operator.write",
            Self::Approvals => "operator.approvals",
            Self::Pairing => "operator.pairing",
            Self::Questions => "operator.questions",
            Self::Talk => "operator.talk",
            Self::TalkSecrets => "operator.talk.secrets",
        }
    }

    /// Reads a scope's spelling; `None` for a string that is no scope.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether holding `self` is enough where `needed` is asked for. `admin` covers everything, `write`
    /// covers `read`, and in protocol 4 also `talk`.
    pub fn covers(self, needed: Self, protocol: Protocol) -> bool {
        self == needed
            || self == Self::Admin
            || (self == Self::Write && needed == Self::Read)
            || (self == Self::Write && needed == Self::Talk && protocol == Protocol::V4)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes; on the wire a sorted list of their spellings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// The empty set: an authenticated connection that may do nothing scoped.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every scope: what the holder of the gateway's own secret may ask for.
    pub fn all() -> Self {
        Self(Scope::ALL.into())
    }

    /// The scopes among these spellings; unknown ones grant nothing.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Self {
        Self(list.iter().filter_map(|text| Scope::parse(text.as_ref())).collect())
    }

    /// Whether the set grants `needed`, by itself or by implication.
    pub fn grants(&self, needed: Scope, protocol: Protocol) -> bool {
        self.0.iter().any(|held| held.covers(needed, protocol))
    }

    /// Whether the set grants every scope of `wanted`.
    pub fn covers(&self, wanted: &Self, protocol: Protocol) -> bool {
        wanted.0.iter().all(|scope| self.grants(*scope, protocol))
    }

    /// Both sets together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// The scopes of `self` that `ceiling` grants.
    #[must_use]
    pub fn within(&self, ceiling: &Self, protocol: Protocol) -> Self {
        Self(self.0.iter().copied().filter(|s| ceiling.grants(*s, protocol)).collect())
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implications_follow_the_protocol() {
        let write = Scopes::from_iter([Scope::Write]);
        assert!(write.grants(Scope::Read, Protocol::V3));
        assert!(!write.grants(Scope::Talk, Protocol::V3));
        assert!(write.grants(Scope::Talk, Protocol::V4));
        assert!(!write.grants(Scope::Pairing, Protocol::V4));
        assert!(Scopes::from_iter([Scope::Admin]).covers(&Scopes::all(), Protocol::V4));
    }

    #[test]
    fn unknown_spellings_grant_nothing() {
        assert!(Scopes::parse(&["operator.everything", "admin", ""]).is_empty());
    }
}
