//! Setup codes: approvals that an admin gives in advance, to whoever shows the code first (spec 01 §5.8).
//!
//! A code holds a token that is good once, for ten minutes at most, for the roles and scopes of its profile and
//! nothing else, and of which only a hash is kept. The first device that shows it has it. A code that was used,
//! revoked or has ended gives nothing, whoever shows it (spec 08 S-45, S-46).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use telson_proto::device::SetupCompleted;
use telson_proto::{Json, Role, Scope, Scopes};

use super::pairing::Grant;
use super::record::hash;
use crate::ids::DeviceId;
use crate::limits;
use crate::store::{Op, Record, Shelf};
use crate::time::Now;

/// What a device becomes by a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// A phone: its camera and screen, and its owner's words.
    Mobile,
    /// The same with every right.
    MobileFull,
    /// A machine that lends its abilities.
    Node,
    /// The owner's Control UI.
    ControlUi,
    /// A machine that listens and speaks.
    VoiceNode,
}

impl Profile {
    /// Every word that names a profile.
    pub(crate) const WORDS: [(&'static str, Self); 7] = [
        ("mobile", Self::Mobile),
        ("limited", Self::Mobile),
        ("mobile-full", Self::MobileFull),
        ("full", Self::MobileFull),
        ("node", Self::Node),
        ("control-ui", Self::ControlUi),
        ("voice-node", Self::VoiceNode),
    ];

    /// The profile of this name.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(name, _)| *name == word).map(|(_, profile)| profile)
    }

    /// What a code of this profile approves.
    pub(crate) fn grant(self) -> Grant {
        use Scope::{Admin, Approvals, Pairing, Questions, Read, Talk, TalkSecrets, Write};
        let (roles, scopes): (&[Role], &[Scope]) = match self {
            Self::Mobile => {
                (&[Role::Operator, Role::Node], &[Approvals, Questions, Read, TalkSecrets, Write])
            }
            Self::MobileFull => {
                (&[Role::Operator, Role::Node], &[Admin, Approvals, Questions, Read, TalkSecrets, Write])
            }
            Self::Node => (&[Role::Node], &[]),
            Self::ControlUi => {
                (&[Role::Operator], &[Admin, Approvals, Pairing, Questions, Read, TalkSecrets, Write])
            }
            Self::VoiceNode => (&[Role::Operator, Role::Node], &[Read, Talk]),
        };
        Grant { roles: BTreeSet::from_iter(roles.iter().copied()), scopes: scopes.iter().copied().collect() }
    }

    /// How much it gives, in one word.
    pub(crate) fn access(self) -> &'static str {
        match self {
            Self::MobileFull | Self::ControlUi => "full",
            Self::Mobile | Self::VoiceNode => "limited",
            Self::Node => "node",
        }
    }
}

/// The codes. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Setups {
    codes: BTreeMap<String, Code>,
    litter: Vec<Op>,
}

#[derive(Clone, Debug)]
struct Code {
    kept: Kept,
    /// Until when it is good, on the monotonic clock.
    until: Duration,
}

/// A code as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// Lower-case hex SHA-256 of its token.
    hash: String,
    profile: Profile,
    expires_at_ms: u64,
    /// The device that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redeemed_at_ms: Option<u64>,
    #[serde(default)]
    revoked: bool,
}

/// A code that was shown and is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its name.
    pub(crate) id: String,
    /// What it makes of the device.
    pub(crate) profile: Profile,
}

impl Setups {
    /// Takes over what was kept.
    pub(crate) fn restore(&mut self, now: Now, records: Vec<Record>) {
        for record in records {
            match serde_json::from_str::<Kept>(record.record.as_str()) {
                Ok(kept) => {
                    let left = kept.expires_at_ms.saturating_sub(now.wall).min(limits::SETUP_CODE_TTL_MS);
                    self.codes.insert(record.key, Code { kept, until: now.mono + limits::millis(left) });
                }
                Err(error) => {
                    tracing::error!(target: "gateway", code = %record.key, %error, "a setup code cannot be read and is not good");
                    self.litter.push(Op::DeleteRecord { shelf: Shelf::SetupCodes, key: record.key });
                }
            }
        }
    }

    /// Makes a code of this token. Returns until when it is good; `None` when there are too many.
    pub(crate) fn issue(
        &mut self,
        now: Now,
        id: &str,
        token: &str,
        profile: Profile,
        ttl: Duration,
    ) -> Option<u64> {
        self.prune(now);
        if self.codes.len() as u64 >= limits::SETUP_CODES {
            return None;
        }
        let ttl = ttl.min(limits::millis(limits::SETUP_CODE_TTL_MS));
        let expires_at_ms = now.wall + u64::try_from(ttl.as_millis()).unwrap_or(limits::SETUP_CODE_TTL_MS);
        let kept = Kept {
            hash: hash(token),
            profile,
            expires_at_ms,
            device: None,
            device_name: None,
            redeemed_at_ms: None,
            revoked: false,
        };
        self.codes.insert(id.to_owned(), Code { kept, until: now.mono + ttl });
        Some(expires_at_ms)
    }

    /// Looks at a code that a proven device shows, which asks for a role and scopes. Every code is compared, in
    /// constant time each.
    pub(crate) fn check(
        &self,
        now: Now,
        token: &str,
        device: &DeviceId,
        role: Role,
        wanted: &Scopes,
    ) -> Option<Shown> {
        let hash = hash(token);
        let mut found = None;
        for (id, code) in &self.codes {
            if bool::from(code.kept.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some((id, code));
            }
        }
        let (id, code) = found.filter(|(_, code)| code.is_good(now))?;
        let grant = code.kept.profile.grant();
        let is_its = code.kept.device.as_ref().is_none_or(|bound| bound == device);
        // Exactly what the profile names: what a scope implies is not given by a code.
        let within = wanted.iter().all(|scope| grant.scopes.iter().any(|held| held == scope));
        let fits = is_its && grant.roles.contains(&role) && (within || role == Role::Node);
        fits.then(|| Shown { id: id.clone(), profile: code.kept.profile })
    }

    /// The device has redeemed the code: nobody else will.
    pub(crate) fn redeem(&mut self, now: Now, id: &str, device: &DeviceId, name: Option<&str>) {
        if let Some(code) = self.codes.get_mut(id) {
            code.kept.device = Some(device.clone());
            code.kept.device_name = name.map(str::to_owned);
            code.kept.redeemed_at_ms = Some(now.wall);
        }
    }

    /// What the code gave could not be written. Its device may try again, and no other.
    pub(crate) fn release(&mut self, id: &str) {
        if let Some(code) = self.codes.get_mut(id) {
            code.kept.redeemed_at_ms = None;
        }
    }

    /// Ends the codes that a device has. Returns the changes.
    pub(crate) fn revoke_of(&mut self, device: &DeviceId) -> Vec<Op> {
        let mut ops = Vec::new();
        for (id, code) in &mut self.codes {
            if code.kept.device.as_ref() == Some(device) && !code.kept.revoked {
                code.kept.revoked = true;
                ops.push(code.row(id));
            }
        }
        ops
    }

    /// The row of a code.
    pub(crate) fn row(&self, id: &str) -> Option<Op> {
        Some(self.codes.get(id)?.row(id))
    }

    /// A code that could not be written is none.
    pub(crate) fn withdraw(&mut self, id: &str) {
        self.codes.remove(id);
    }

    /// Who has redeemed the code; an inner `None` while nobody has, an outer one when there is no such code.
    pub(crate) fn status(&self, id: &str) -> Option<Option<SetupCompleted>> {
        let Kept { profile, device, device_name, redeemed_at_ms, .. } = &self.codes.get(id)?.kept;
        let completion = device.as_ref().zip(*redeemed_at_ms);
        Some(completion.map(|(device, ts)| SetupCompleted {
            setup_id: id.to_owned(),
            device_id: device.to_string(),
            device_name: device_name.clone(),
            access: profile.access(),
            ts,
        }))
    }

    /// When the next code is forgotten, or at once when rows are to be removed.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if !self.litter.is_empty() {
            return Some(Duration::ZERO);
        }
        self.codes.values().map(Code::forget_at).min()
    }

    /// Forgets the codes of which nobody asks any more.
    pub(crate) fn prune(&mut self, now: Now) {
        let over: Vec<String> = self
            .codes
            .iter()
            .filter(|(_, code)| code.forget_at() <= now.mono)
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.codes.remove(&id);
            self.litter.push(Op::DeleteRecord { shelf: Shelf::SetupCodes, key: id });
        }
    }

    /// Takes the changes that remove the rows of codes that are no more.
    pub(crate) fn litter(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.litter)
    }
}

impl Code {
    /// By both clocks: a wall clock that was set forward ends it, one that was set back does not keep it alive.
    fn is_good(&self, now: Now) -> bool {
        let Kept { redeemed_at_ms, revoked, expires_at_ms, .. } = &self.kept;
        redeemed_at_ms.is_none() && !revoked && now.mono < self.until && now.wall < *expires_at_ms
    }

    /// Its end can still be asked for as long again as it was good.
    fn forget_at(&self) -> Duration {
        self.until + limits::millis(limits::SETUP_CODE_TTL_MS)
    }

    fn row(&self, id: &str) -> Op {
        let record = Json::of(&self.kept);
        Op::PutRecord(Record { shelf: Shelf::SetupCodes, key: id.to_owned(), record })
    }
}
