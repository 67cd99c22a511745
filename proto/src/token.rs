//! Service tokens: bearers for programs that have no device key (07 P-23). The value of one is among the words
//! only where it is made.

use serde::{Deserialize, Serialize};

use crate::Scopes;
use crate::params::{Count, Text};

/// The parameters of `tokens.create`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreate {
    /// What the token is for.
    pub name: Text<1, 64>,
    /// What it allows.
    pub scopes: Vec<Text<1, 64>>,
    /// How long it is good; without an end when left out. Ten years at most.
    #[serde(default)]
    pub expires_in_ms: Option<Count<1_000, 315_360_000_000>>,
}

/// The parameters of `tokens.revoke`.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenRevoke {
    /// The token's id.
    pub id: Text<1, 64>,
}

/// A service token as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceToken {
    /// Its id, which is no secret.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Epoch milliseconds.
    pub created_at_ms: u64,
    /// Epoch milliseconds; absent when it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Epoch milliseconds, to a minute; absent when it was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
}

/// The result of `tokens.create`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    /// The token itself. It is told this once and cannot be told again.
    pub value: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub token: ServiceToken,
}

/// The result of `tokens.list`.
#[derive(Clone, Debug, Serialize)]
pub struct TokenList {
    /// The tokens, the newest first.
    pub tokens: Vec<ServiceToken>,
}

/// The result of `tokens.revoke`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTokenRevoked {
    /// The token's id.
    pub id: String,
    /// Epoch milliseconds.
    pub revoked_at_ms: u64,
}
