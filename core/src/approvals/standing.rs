//! Questions that are answered by themselves, because somebody said so for a while (spec 03 §3.8, `grants`).
//!
//! One is made by the answer `allow-always` with a number of days. It answers the very same question only: same
//! words, directory, variables, node, session and agent. Those that were revoked stay listed until their end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telson_proto::Json;

use super::record::Approval;
use crate::limits;
use crate::store::{Op, Record, Shelf};

/// Where these records begin on [`Shelf::Approvals`].
pub(super) const KEY: &str = "grant:";

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StandingGrant {
    pub(super) grant_id: String,
    /// The approval whose answer made it.
    pub(super) approval_id: String,
    /// The digest of the question.
    pub(super) digest: String,
    /// The command as it was shown.
    pub(super) command_text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) agent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<String>,
    pub(super) created_at_ms: u64,
    pub(super) expires_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at_ms: Option<u64>,
    #[serde(default)]
    pub(super) use_count: u64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Standing {
    grants: BTreeMap<String, StandingGrant>,
}

impl StandingGrant {
    /// What the answer to this approval makes.
    pub(super) fn of(approval: &Approval, id: String, now_ms: u64, days: u64, by: Option<String>) -> Self {
        let text = |name: &str| approval.request.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            grant_id: id,
            approval_id: approval.id.clone(),
            digest: approval.digest.clone(),
            command_text: approval.text.clone(),
            agent_id: text("agentId"),
            node_id: text("nodeId"),
            cwd: text("cwd"),
            created_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add(days.saturating_mul(86_400_000)),
            created_by: by,
            revoked_at_ms: None,
            revoked_by: None,
            last_used_at_ms: None,
            use_count: 0,
        }
    }

    /// In the form of the published schema, which knows grants of cron jobs only.
    pub(super) fn shown(&self) -> Value {
        json!({
            "grantId": self.grant_id,
            "mintedByApprovalId": self.approval_id,
            "agentId": self.agent_id.as_deref().unwrap_or("main"),
            "cronJobId": "none",
            "cronJobName": null,
            "command": self.command_text,
            "cwd": self.cwd,
            "createdAtMs": self.created_at_ms,
            "expiresAtMs": self.expires_at_ms,
            "revokedAtMs": self.revoked_at_ms,
            "revokedBy": self.revoked_by,
            "lastUsedAtMs": self.last_used_at_ms,
            "useCount": self.use_count,
        })
    }

    pub(super) fn put(&self) -> Op {
        let key = format!("{KEY}{}", self.grant_id);
        Op::PutRecord(Record { shelf: Shelf::Approvals, key, record: Json::of(self) })
    }

    fn delete(&self) -> Op {
        Op::DeleteRecord { shelf: Shelf::Approvals, key: format!("{KEY}{}", self.grant_id) }
    }
}

impl Standing {
    /// Takes over one that was kept.
    pub(super) fn restore(&mut self, grant: StandingGrant) {
        self.grants.insert(grant.grant_id.clone(), grant);
    }

    /// Adds one; those whose time is over go.
    pub(super) fn add(&mut self, grant: StandingGrant) {
        self.grants.insert(grant.grant_id.clone(), grant);
    }

    /// Whether there is room for one more, after those whose time is over have gone; their removal.
    pub(super) fn make_room(&mut self, now_ms: u64) -> (bool, Vec<Op>) {
        let over: Vec<String> = self
            .grants
            .values()
            .filter(|grant| grant.expires_at_ms <= now_ms)
            .map(|grant| grant.grant_id.clone())
            .collect();
        let ops = over.iter().filter_map(|id| self.grants.remove(id)).map(|grant| grant.delete()).collect();
        (self.grants.len() < limits::length(limits::STANDING_GRANTS), ops)
    }

    /// The one that answers this question, which it is used for.
    pub(super) fn use_for(&mut self, digest: &str, now_ms: u64) -> Option<&StandingGrant> {
        let holds = |grant: &&mut StandingGrant| {
            !digest.is_empty()
                && grant.digest == digest
                && grant.revoked_at_ms.is_none()
                && grant.expires_at_ms > now_ms
        };
        let grant = self.grants.values_mut().find(holds)?;
        grant.last_used_at_ms = Some(now_ms);
        grant.use_count += 1;
        Some(grant)
    }

    pub(super) fn get(&self, id: &str) -> Option<&StandingGrant> {
        self.grants.get(id)
    }

    /// Those that have not ended by themselves, newest first.
    pub(super) fn list(&self, now_ms: u64) -> Vec<StandingGrant> {
        let mut list: Vec<StandingGrant> =
            self.grants.values().filter(|grant| grant.expires_at_ms > now_ms).cloned().collect();
        list.sort_by_key(|grant| std::cmp::Reverse(grant.created_at_ms));
        list
    }
}
