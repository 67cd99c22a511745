//! A paired device as it is kept: what it is approved for, and the hashes of its tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use telson_proto::device::{ApprovedVia, TokenSummary};
use telson_proto::{Protocol, Role, Scopes};

use super::issuer::Issuer;
use crate::auth::Secret;
use crate::entropy::hex;
use crate::limits;

/// A device's row. Token values are not kept: who reads the database cannot connect with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Paired {
    pub(crate) public_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// What an operator calls it; goes before the name that it gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operator_label: Option<String>,
    /// Pinned at approval, normalised as in the signature payload (spec 01 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_mode: Option<String>,
    /// The role it connected in last.
    pub(crate) role: Role,
    pub(crate) roles: BTreeSet<Role>,
    /// The baseline: no token may exceed it.
    pub(crate) scopes: Scopes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote_ip: Option<String>,
    pub(crate) approved_via: ApprovedVia,
    pub(crate) created_at_ms: u64,
    pub(crate) approved_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_seen_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tokens: BTreeMap<Role, RoleTokens>,
}

/// The tokens of one role.
///
/// A token is shown once, when it is made, so a client that comes without it gets a new one. The ones before
/// stay good: several processes may share an identity, and none must lock the others out. Of more than
/// [`limits::DEVICE_TOKENS`] the one that was not used for longest ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleTokens {
    created_at_ms: u64,
    tokens: Vec<Token>,
    /// When the last ones were revoked; nothing while there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    /// Lower-case hex SHA-256 of the value.
    hash: String,
    scopes: Scopes,
    issued_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at_ms: Option<u64>,
    /// The secret with which it ends, if a page got it for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<Issuer>,
}

/// A token that was presented and is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// What it allows.
    pub(crate) scopes: Scopes,
    /// When it was made, in epoch milliseconds.
    pub(crate) issued_at_ms: u64,
    /// Lower-case hex SHA-256 of its value.
    pub(crate) hash: String,
}

/// Why a presented token is not good. Never told to the client, who hears one sentence for all of them
/// (spec 08 S-51).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFault {
    /// No such device.
    #[error("device-not-paired")]
    NotPaired,
    /// The device is not approved for the role.
    #[error("role-missing")]
    RoleMissing,
    /// The role has no token.
    #[error("token-missing")]
    Missing,
    /// The tokens of the role were revoked.
    #[error("token-revoked")]
    Revoked,
    /// It is another token.
    #[error("token-mismatch")]
    Mismatch,
}

impl Paired {
    /// Checks a token for a role (spec 01 §5.4). What it allows never exceeds what the device is approved for
    /// now. Every token of the role is compared, in constant time each, so that the time tells nothing.
    pub(crate) fn check(&self, role: Role, value: &str, protocol: Protocol) -> Result<Held, TokenFault> {
        if !self.roles.contains(&role) {
            return Err(TokenFault::RoleMissing);
        }
        let tokens = self.tokens.get(&role).ok_or(TokenFault::Missing)?;
        if tokens.revoked_at_ms.is_some() {
            return Err(TokenFault::Revoked);
        }
        let hash = hash(value);
        let mut found = None;
        for token in &tokens.tokens {
            if token.has(&hash) {
                found = Some(token);
            }
        }
        let token = found.ok_or(TokenFault::Mismatch)?;
        Ok(Held {
            scopes: token.scopes.within(&self.scopes, protocol),
            issued_at_ms: token.issued_at_ms,
            hash,
        })
    }

    /// Whether a token of this hash is good for the role.
    pub(crate) fn has_token(&self, role: Role, hash: &str) -> bool {
        let tokens = self.tokens.get(&role).filter(|_| self.roles.contains(&role));
        tokens.is_some_and(|tokens| tokens.tokens.iter().any(|token| token.has(hash)))
    }

    /// Notes that a token was used. Returns whether that is news enough to be written.
    pub(crate) fn used(&mut self, role: Role, value: &str, now_ms: u64) -> bool {
        let hash = hash(value);
        let tokens = self.tokens.get_mut(&role).into_iter().flat_map(|tokens| &mut tokens.tokens);
        for token in tokens.filter(|token| token.has(&hash)) {
            let stale =
                token.last_used_at_ms.is_none_or(|last| last.abs_diff(now_ms) >= limits::DEVICE_USED_STEP_MS);
            if stale {
                token.last_used_at_ms = Some(now_ms);
                return true;
            }
        }
        false
    }

    /// Adds a token for a role.
    pub(crate) fn add_token(&mut self, role: Role, value: &str, scopes: Scopes, now_ms: u64) {
        let tokens = self.tokens.entry(role).or_insert_with(|| RoleTokens::new(now_ms));
        tokens.revoked_at_ms = None;
        while tokens.tokens.len() >= limits::length(limits::DEVICE_TOKENS) {
            let oldest = tokens.tokens.iter().enumerate().min_by_key(|(_, token)| token.last_sign());
            let Some((index, _)) = oldest else { break };
            tokens.tokens.remove(index);
        }
        let (hash, last_used_at_ms, issuer) = (hash(value), None, None);
        tokens.tokens.push(Token { hash, scopes, issued_at_ms: now_ms, last_used_at_ms, issuer });
    }

    /// Lets a token end with a secret.
    pub(super) fn bind(&mut self, role: Role, value: &str, secret: &Secret) {
        let hash = hash(value);
        let tokens = self.tokens.get_mut(&role).into_iter().flat_map(|tokens| &mut tokens.tokens);
        for token in tokens.filter(|token| token.has(&hash)) {
            token.issuer = Some(Issuer::of(secret, &hash));
        }
    }

    /// Ends the tokens that are bound to another secret than this. Their hashes.
    pub(super) fn end_of_other_secrets(&mut self, secret: Option<&Secret>) -> Vec<String> {
        let mut ended = Vec::new();
        for tokens in self.tokens.values_mut() {
            tokens.tokens.retain(|token| {
                let is = |issuer: &Issuer| secret.is_some_and(|secret| issuer.is(secret, &token.hash));
                let stays = token.issuer.as_ref().is_none_or(is);
                if !stays {
                    ended.push(token.hash.clone());
                }
                stays
            });
        }
        ended
    }

    /// What the good tokens of a role allow together; `None` when there is none.
    pub(crate) fn token_scopes(&self, role: Role) -> Option<Scopes> {
        let tokens = self.tokens.get(&role).filter(|tokens| !tokens.tokens.is_empty())?;
        self.roles.contains(&role).then(|| tokens.scopes())
    }

    /// Replaces every token of a role by one.
    pub(crate) fn rotate(&mut self, role: Role, value: &str, scopes: Scopes, now_ms: u64) {
        if let Some(tokens) = self.tokens.get_mut(&role) {
            tokens.tokens.clear();
        }
        self.add_token(role, value, scopes, now_ms);
    }

    /// Ends every token of a role. Returns since when there is none; `None` when there never was one.
    pub(crate) fn revoke(&mut self, role: Role, now_ms: u64) -> Option<u64> {
        let tokens = self.tokens.get_mut(&role)?;
        tokens.tokens.clear();
        Some(*tokens.revoked_at_ms.get_or_insert(now_ms))
    }

    /// What may be told about the tokens, one row for each role.
    pub(crate) fn token_summaries(&self) -> Vec<TokenSummary> {
        self.tokens.iter().map(|(role, tokens)| tokens.summary(*role)).collect()
    }
}

impl RoleTokens {
    fn new(now_ms: u64) -> Self {
        Self { created_at_ms: now_ms, tokens: Vec::new(), revoked_at_ms: None }
    }

    fn scopes(&self) -> Scopes {
        self.tokens.iter().fold(Scopes::none(), |all, token| all.union(&token.scopes))
    }

    fn summary(&self, role: Role) -> TokenSummary {
        let newest = self.tokens.iter().map(|token| token.issued_at_ms).max();
        TokenSummary {
            role,
            scopes: self.scopes(),
            created_at_ms: self.created_at_ms,
            rotated_at_ms: newest.filter(|newest| *newest > self.created_at_ms),
            revoked_at_ms: self.revoked_at_ms,
            last_used_at_ms: self.tokens.iter().filter_map(|token| token.last_used_at_ms).max(),
        }
    }
}

impl Token {
    fn has(&self, hash: &str) -> bool {
        self.hash.as_bytes().ct_eq(hash.as_bytes()).into()
    }

    fn last_sign(&self) -> u64 {
        self.last_used_at_ms.unwrap_or(self.issued_at_ms)
    }
}

/// What is kept of a token: lower-case hex SHA-256 of its value.
pub(crate) fn hash(value: &str) -> String {
    hex(Sha256::digest(value.as_bytes()).as_slice())
}
