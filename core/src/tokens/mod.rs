//! Service tokens: bearers with scopes and an end, for programs that have no device key (07 P-23).
//!
//! An operator makes one by name; its value is shown once and kept as a hash. Who shows it is an operator with the
//! token's scopes, over WebSocket and HTTP, and never a device. When a token is revoked or ends, so does whatever
//! it let in.

mod methods;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use telson_proto::token::ServiceToken;
use telson_proto::{Json, Scopes};

use crate::auth::Credential;
use crate::devices::hash;
use crate::gateway::Gateway;
use crate::limits;
use crate::store::{AuditRecord, Op, Record, Shelf};
use crate::time::Now;

pub(crate) use methods::{create, list, revoke};

/// How the value of a service token begins, so that people and scanners of secrets know one when they see it.
pub const PREFIX: &str = "telson_svc_";

/// The service tokens. See the [module documentation](self).
#[derive(Default)]
pub struct Tokens {
    tokens: BTreeMap<String, Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kept: Kept,
    /// Until when it is good, on the monotonic clock.
    until: Option<Duration>,
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    name: String,
    /// Lower-case hex SHA-256 of its value.
    hash: String,
    scopes: Scopes,
    created_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at_ms: Option<u64>,
}

/// A token that was shown and is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its id.
    pub(crate) id: String,
    /// What it allows.
    pub(crate) scopes: Scopes,
}

/// Why a token that was shown is not looked at, or is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its source was wrong too often and must wait so long.
    Locked(Duration),
    /// It is not good; the answer is to be held back for so long.
    Wrong(Duration),
}

impl Tokens {
    /// Takes over what was kept. A row that cannot be read gives nobody rights; it stays as it is.
    pub(crate) fn restore(&mut self, now: Now, records: Vec<Record>) {
        for record in records {
            match serde_json::from_str::<Kept>(record.record.as_str()) {
                Ok(kept) => {
                    let left = kept.expires_at_ms.map(|at| at.saturating_sub(now.wall));
                    let until = left.map(|left| now.mono + Duration::from_millis(left));
                    self.tokens.insert(record.key, Token { kept, until });
                }
                Err(error) => {
                    tracing::error!(
                        target: "gateway", token = %record.key, %error,
                        "a service token's row cannot be read; the token is not good"
                    );
                }
            }
        }
    }

    /// When the next token ends.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.tokens.values().filter_map(|token| token.until).min()
    }

    /// Checks a value. Every token is compared, in constant time each, so that the time tells nothing.
    pub(crate) fn check(&self, now: Now, value: &str) -> Option<Held> {
        let hash = hash(value);
        let mut found = None;
        for (id, token) in &self.tokens {
            if bool::from(token.kept.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some((id, token));
            }
        }
        let (id, token) = found.filter(|(_, token)| !token.is_over(now))?;
        Some(Held { id: id.clone(), scopes: token.kept.scopes.clone() })
    }

    /// Whether the token of this id is good.
    pub(crate) fn is_good(&self, now: Now, id: &str) -> bool {
        self.tokens.get(id).is_some_and(|token| !token.is_over(now))
    }

    /// Adds a token.
    fn add(&mut self, now: Now, id: &str, kept: Kept) {
        let left = kept.expires_at_ms.map(|at| at.saturating_sub(now.wall));
        let until = left.map(|left| now.mono + Duration::from_millis(left));
        self.tokens.insert(id.to_owned(), Token { kept, until });
    }

    /// Whether no further token may be made.
    fn is_full(&self) -> bool {
        self.tokens.len() as u64 >= limits::SERVICE_TOKENS
    }

    /// Notes that a token was used. Returns whether that is news enough to be written.
    fn used(&mut self, now: Now, id: &str) -> bool {
        let Some(token) = self.tokens.get_mut(id) else { return false };
        let last = &mut token.kept.last_used_at_ms;
        let stale = last.is_none_or(|last| last.abs_diff(now.wall) >= limits::DEVICE_USED_STEP_MS);
        if stale {
            *last = Some(now.wall);
        }
        stale
    }

    /// Takes a token out.
    fn remove(&mut self, id: &str) -> Option<Token> {
        self.tokens.remove(id)
    }

    /// Takes the tokens out whose time is over.
    fn expire(&mut self, now: Now) -> Vec<String> {
        let over = self.tokens.iter().filter(|(_, token)| token.is_over(now));
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        for id in &over {
            self.tokens.remove(id);
        }
        over
    }

    /// The tokens as they may be shown, the newest first.
    fn list(&self) -> Vec<ServiceToken> {
        let mut list: Vec<_> = self.tokens.iter().map(|(id, token)| token.shown(id)).collect();
        list.sort_by(|a, b| (b.created_at_ms, &a.id).cmp(&(a.created_at_ms, &b.id)));
        list
    }

    /// The row of a token.
    fn row(&self, id: &str) -> Option<Op> {
        let record = Json::of(&self.tokens.get(id)?.kept);
        Some(Op::PutRecord(Record { shelf: Shelf::ServiceTokens, key: id.to_owned(), record }))
    }
}

impl Token {
    /// By both clocks: a wall clock that was set forward ends it, one that was set back does not keep it alive.
    fn is_over(&self, now: Now) -> bool {
        self.until.is_some_and(|until| until <= now.mono)
            || self.kept.expires_at_ms.is_some_and(|at| at <= now.wall)
    }

    fn shown(&self, id: &str) -> ServiceToken {
        let Kept { name, scopes, created_at_ms, expires_at_ms, last_used_at_ms, .. } = &self.kept;
        ServiceToken {
            id: id.to_owned(),
            name: name.clone(),
            scopes: scopes.clone(),
            created_at_ms: *created_at_ms,
            expires_at_ms: *expires_at_ms,
            last_used_at_ms: *last_used_at_ms,
        }
    }
}

/// The change that removes a token's row.
fn delete(id: &str) -> Op {
    Op::DeleteRecord { shelf: Shelf::ServiceTokens, key: id.to_owned() }
}

impl Gateway {
    /// Ends the tokens whose time has come, and what they let in.
    pub(crate) fn token_timeouts(&mut self) {
        for id in self.tokens.expire(self.now) {
            tracing::info!(target: "gateway", token = %id, "service token ended");
            let line = AuditRecord {
                at: self.now.wall,
                actor: "gateway".to_owned(),
                address: String::new(),
                action: "tokens.expire".to_owned(),
                subject: id.clone(),
                outcome: "ok".to_owned(),
                reason: None,
            };
            self.store(vec![delete(&id), Op::AppendAudit(line)], |_, _| {});
            self.end_service("client invalidated: service-token-expired", &id);
        }
    }

    /// A service token let something in.
    pub(crate) fn service_token_used(&mut self, id: &str) {
        if self.tokens.used(self.now, id) {
            let ops: Vec<Op> = self.tokens.row(id).into_iter().collect();
            self.store(ops, |_, _| {});
        }
    }

    /// Closes what a service token let in.
    fn end_service(&mut self, reason: &str, id: &str) {
        self.end_where(
            reason,
            |principal| matches!(&principal.credential, Credential::Service { id: by } if by == id),
        );
    }
}
