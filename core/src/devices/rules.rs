//! Who may decide about whose devices, and how much may be given (spec 01 §5.6, 08 S-42–S-44, S-48).
//!
//! Nothing here knows of the gateway: these are the bounds that every way to an approval passes, whether it is
//! a method, the command line or a word in a chat. Nobody gives more than they hold, nobody who came with a
//! device's own token touches another device, and only an admin decides about other roles than operator.

use telson_proto::{ErrorShape, Protocol, Role, Scope, Scopes};

use super::pairing::Grant;
use crate::auth::{AuthMethod, Principal};
use crate::ids::DeviceId;

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manager<'a> {
    scopes: &'a Scopes,
    protocol: Protocol,
    admin: bool,
    /// The one device that it may see and manage, if it may not all.
    own: Option<&'a DeviceId>,
}

/// Why something may not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no such request, device or token.
    Unknown,
    /// It is another device than the caller's own.
    NotOwn,
    /// It is about another role than operator, which needs an admin.
    Role,
    /// It would give a scope that the caller does not hold.
    Scope(Scope),
    /// It would give more than the device is approved for.
    Beyond,
}

/// What is done, in the words of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Approve,
    Reject,
    Remove,
    Rename,
    Rotate,
    Revoke,
}

impl<'a> Manager<'a> {
    /// The caller as a manager of devices.
    pub(crate) fn of(principal: &'a Principal) -> Self {
        let admin = principal.holds(Scope::Admin);
        let by_device = matches!(principal.method, AuthMethod::DeviceToken | AuthMethod::BootstrapToken);
        Self {
            scopes: &principal.scopes,
            protocol: principal.protocol,
            admin,
            own: principal.device.as_ref().filter(|_| by_device && !admin),
        }
    }

    /// Whether it may see and manage this device.
    ///
    /// # Errors
    ///
    /// [`Denied::NotOwn`].
    pub(crate) fn touch(&self, device: &DeviceId) -> Result<(), Denied> {
        if self.own.is_none_or(|own| own == device) { Ok(()) } else { Err(Denied::NotOwn) }
    }

    /// The same for what the device has in these roles.
    ///
    /// # Errors
    ///
    /// [`Denied::NotOwn`], [`Denied::Role`].
    pub(crate) fn touch_roles<'r>(
        &self,
        device: &DeviceId,
        mut roles: impl Iterator<Item = &'r Role>,
    ) -> Result<(), Denied> {
        self.touch(device)?;
        if self.admin || roles.all(|role| *role == Role::Operator) { Ok(()) } else { Err(Denied::Role) }
    }

    /// Whether it may approve a device for this.
    ///
    /// # Errors
    ///
    /// [`Denied::NotOwn`], [`Denied::Role`], [`Denied::Scope`].
    pub(crate) fn grant(&self, device: &DeviceId, grant: &Grant) -> Result<(), Denied> {
        self.touch_roles(device, grant.roles.iter())?;
        self.hold(&grant.scopes)
    }

    /// What a new token of a device may allow: what is wanted, or else what its tokens allow now. It is within
    /// what the device is approved for and within what the caller holds, or there is no token.
    ///
    /// # Errors
    ///
    /// [`Denied::Beyond`], [`Denied::Scope`].
    pub(crate) fn rotated(
        &self,
        approved: &Scopes,
        held: &Scopes,
        wanted: Option<&Scopes>,
    ) -> Result<Scopes, Denied> {
        let scopes = match wanted {
            Some(wanted) if approved.covers(wanted, self.protocol) => wanted.clone(),
            Some(_) => return Err(Denied::Beyond),
            None => held.within(approved, self.protocol),
        };
        self.hold(&scopes)?;
        Ok(scopes)
    }

    fn hold(&self, scopes: &Scopes) -> Result<(), Denied> {
        let lacking = |scope: &Scope| !self.scopes.grants(*scope, self.protocol);
        match scopes.iter().find(lacking) {
            Some(scope) if !self.admin => Err(Denied::Scope(scope)),
            _ => Ok(()),
        }
    }

    /// The answer to a caller that may not. On protocol 4 it is the same sentence for every reason, so that
    /// nobody learns by asking which devices there are; an admin is told (spec 08 S-51).
    pub(crate) fn refusal(&self, deed: Deed, denied: Denied) -> ErrorShape {
        let always = matches!(deed, Deed::Rotate | Deed::Revoke);
        if self.protocol == Protocol::V4 && (always || !self.admin) {
            return ErrorShape::invalid(deed.denial());
        }
        ErrorShape::invalid(match denied {
            Denied::Unknown | Denied::NotOwn => deed.unknown().to_owned(),
            Denied::Role => format!("missing scope: {}", Scope::Admin),
            Denied::Scope(scope) => format!("missing scope: {scope}"),
            Denied::Beyond => "scopes exceed those that the device is approved for".to_owned(),
        })
    }
}

impl Deed {
    /// The action in the book of deeds.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::Approve => "device.pair.approve",
            Self::Reject => "device.pair.reject",
            Self::Remove => "device.pair.remove",
            Self::Rename => "device.pair.rename",
            Self::Rotate => "device.token.rotate",
            Self::Revoke => "device.token.revoke",
        }
    }

    const fn denial(self) -> &'static str {
        match self {
            Self::Approve => "device pairing approval denied",
            Self::Reject => "device pairing rejection denied",
            Self::Remove => "device pairing removal denied",
            Self::Rename => "device pairing rename denied",
            Self::Rotate => "device token rotation denied",
            Self::Revoke => "device token revocation denied",
        }
    }

    const fn unknown(self) -> &'static str {
        match self {
            Self::Approve | Self::Reject => "unknown requestId",
            Self::Remove | Self::Rename => "unknown deviceId",
            Self::Rotate | Self::Revoke => "unknown deviceId/role",
        }
    }
}

impl std::fmt::Display for Denied {
    /// The reason in the book of deeds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("it does not exist"),
            Self::NotOwn => f.write_str("it is another device"),
            Self::Role => f.write_str("roles other than operator need an admin"),
            Self::Scope(scope) => write!(f, "the caller lacks {scope}"),
            Self::Beyond => f.write_str("the device is not approved for so much"),
        }
    }
}
