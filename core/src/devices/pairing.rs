//! Whether a proven device may connect as it asks, and what an approval changes (spec 01 §5.2, §5.3).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use telson_proto::device::ApprovedVia;
use telson_proto::{Protocol, Role, Scopes};

use super::record::Paired;
use crate::ids::DeviceId;

/// What a connection with a proven device asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claim {
    /// The device whose key signed the challenge.
    pub(crate) device: DeviceId,
    /// Its key in unpadded base64url.
    pub(crate) public_key: String,
    pub(crate) role: Role,
    pub(crate) scopes: Scopes,
    pub(crate) protocol: Protocol,
    pub(crate) display_name: Option<String>,
    /// As declared, trimmed and in ASCII lower case.
    pub(crate) platform: Option<String>,
    pub(crate) device_family: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_mode: String,
    /// The address; `None` for local clients.
    pub(crate) remote_ip: Option<String>,
    pub(crate) origin: Option<String>,
    /// An application whose platform names an operating system version, which changes by itself.
    pub(crate) native_app: bool,
}

/// What an approval gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The roles in which the device may connect.
    pub(crate) roles: BTreeSet<Role>,
    /// The most that it may be granted as an operator.
    pub(crate) scopes: Scopes,
}

impl Claim {
    /// What must be approved for the claim, and nothing more.
    pub(crate) fn grant(&self) -> Grant {
        Grant { roles: BTreeSet::from([self.role]), scopes: self.scopes.clone() }
    }
}

/// Why a device needs an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairingReason {
    /// It is not paired.
    NotPaired,
    /// It asks for a role that it is not approved for.
    RoleUpgrade,
    /// It asks for scopes that it is not approved for.
    ScopeUpgrade,
    /// It says that it is another kind of machine than the one that was approved.
    MetadataUpgrade,
}

impl PairingReason {
    /// The spelling in error details.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotPaired => "not-paired",
            Self::RoleUpgrade => "role-upgrade",
            Self::ScopeUpgrade => "scope-upgrade",
            Self::MetadataUpgrade => "metadata-upgrade",
        }
    }
}

/// What a connection with this claim must be approved for, if anything.
pub(crate) fn decide(record: Option<&Paired>, claim: &Claim) -> Option<PairingReason> {
    let Some(record) = record.filter(|record| record.public_key == claim.public_key) else {
        return Some(PairingReason::NotPaired);
    };
    if !record.roles.contains(&claim.role) {
        return Some(PairingReason::RoleUpgrade);
    }
    if !record.scopes.covers(&claim.scopes, claim.protocol) {
        return Some(PairingReason::ScopeUpgrade);
    }
    let pinned = claim.protocol == Protocol::V4
        && (differs(record.platform.as_deref(), claim.platform.as_deref(), claim.native_app)
            || differs(record.device_family.as_deref(), claim.device_family.as_deref(), false));
    pinned.then_some(PairingReason::MetadataUpgrade)
}

/// The record after an approval: roles and scopes are added to those it had, the rest is taken from the claim.
/// A record of another key is replaced and its tokens end.
pub(crate) fn approved(
    record: Option<&Paired>,
    claim: &Claim,
    grant: &Grant,
    via: ApprovedVia,
    now_ms: u64,
) -> Paired {
    let old = record.filter(|record| record.public_key == claim.public_key);
    Paired {
        public_key: claim.public_key.clone(),
        display_name: claim.display_name.clone(),
        operator_label: old.and_then(|old| old.operator_label.clone()),
        platform: claim.platform.clone(),
        device_family: claim.device_family.clone(),
        client_id: Some(claim.client_id.clone()),
        client_mode: Some(claim.client_mode.clone()).filter(|mode| !mode.is_empty()),
        role: claim.role,
        roles: old.map(|old| old.roles.clone()).unwrap_or_default().union(&grant.roles).copied().collect(),
        scopes: old.map_or_else(|| grant.scopes.clone(), |old| old.scopes.union(&grant.scopes)),
        remote_ip: claim.remote_ip.clone(),
        approved_via: via,
        created_at_ms: old.map_or(now_ms, |old| old.created_at_ms),
        approved_at_ms: now_ms,
        last_seen_at_ms: old.and_then(|old| old.last_seen_at_ms),
        tokens: old.map(|old| old.tokens.clone()).unwrap_or_default(),
    }
}

/// Notes what a connection of an approved device says about itself; what is pinned stays. Returns whether
/// anything changed.
pub(crate) fn describe(record: &mut Paired, claim: &Claim) -> bool {
    let before = record.clone();
    record.role = claim.role;
    if claim.display_name.is_some() {
        record.display_name.clone_from(&claim.display_name);
    }
    record.client_id = Some(claim.client_id.clone());
    record.client_mode = Some(claim.client_mode.clone()).filter(|mode| !mode.is_empty());
    record.remote_ip.clone_from(&claim.remote_ip);
    // The version of its system may have changed; `decide` has seen that the system has not.
    let updated = claim.protocol == Protocol::V4 && claim.native_app && claim.platform.is_some();
    if record.platform.is_none() || updated {
        record.platform.clone_from(&claim.platform);
    }
    if record.device_family.is_none() {
        record.device_family.clone_from(&claim.device_family);
    }
    *record != before
}

/// Whether a pinned word and a claimed one mean different machines. A side that says nothing agrees.
fn differs(pinned: Option<&str>, claimed: Option<&str>, only_name: bool) -> bool {
    match (pinned, claimed) {
        (Some(pinned), Some(claimed)) => machine(pinned, only_name) != machine(claimed, only_name),
        _ => false,
    }
}

/// A platform's one spelling; without the version where that changes by itself.
fn machine(word: &str, only_name: bool) -> &str {
    let word = if only_name { word.split_whitespace().next().unwrap_or(word) } else { word };
    match word {
        "darwin" | "macos" | "mac" => "macos",
        "win32" | "windows" => "windows",
        other => other,
    }
}
