//! Device tokens are replaced and ended (spec 01 §5.4, §5.6, 08 S-42, S-43, S-49, S-51).
//!
//! What a token admitted ends with it, after the answer. The new token's value goes to the device itself and to
//! nobody else; a token that was revoked never becomes good again.

use std::sync::Arc;

use telson_proto::device::{TokenRevoked, TokenRotate, TokenRotated, TokenTarget};
use telson_proto::{ErrorShape, Protocol, Role, Scopes};

use super::decide::outcome;
use super::rules::{Deed, Denied, Manager};
use crate::audit::Verdict;
use crate::auth::{AuthMethod, Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::DeviceId;

/// `device.token.rotate`: one new token in place of all that a device has for a role.
pub(crate) fn rotate(gateway: &mut Gateway, call: Call<TokenRotate>) -> Answer<TokenRotated> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::ManageDevices)?;
    let device = DeviceId::new(params.device_id.into_string());
    let wanted = params.scopes.map(|list| wanted_scopes(&list)).transpose()?;
    let allowed = gateway.rotation(&principal, &device, params.role.as_str(), wanted.as_ref());
    let (role, scopes) =
        allowed.map_err(|denied| gateway.deny(&principal, Deed::Rotate, device.as_str(), denied))?;
    let now = gateway.now.wall;
    let value = gateway.entropy.token();
    let Some(record) = gateway.devices.paired.get_mut(&device) else {
        return Err(Manager::of(&principal).refusal(Deed::Rotate, Denied::Unknown));
    };
    let before = record.clone();
    record.rotate(role, &value, scopes.clone(), now);
    // As its reference does, protocol 3 narrows with the token what the device is approved for.
    if principal.protocol == Protocol::V3 && role == Role::Operator && wanted.is_some() {
        record.scopes = scopes.clone();
    }
    let changed = record.clone();
    let subject = format!("{device} {role}");
    let ops = vec![
        gateway.devices.write(&device),
        gateway.audit_op(&principal, Deed::Rotate.action(), &subject, &Verdict::Done),
    ];
    tracing::info!(target: "gateway", %device, %role, by = %principal.actor(), "device token rotated");
    gateway.store(ops, move |gateway, result| {
        gateway.devices.saved(&device, result.is_ok());
        if let Err(error) = result {
            gateway.devices.undo(&device, &changed, Some(before));
            return gateway.reply(ticket, outcome::<TokenRotated>(Err(ErrorShape::from(error))));
        }
        let told = is_told(&principal, &device);
        let delivery = if told { "in-band" } else { "withheld-cross-device" };
        let rotated = TokenRotated {
            device_id: device.to_string(),
            role,
            token: told.then_some(value),
            token_delivery: (principal.protocol == Protocol::V4).then_some(delivery),
            scopes,
            rotated_at_ms: now,
        };
        gateway.reply(ticket, outcome(Ok(rotated)));
        gateway.end_role("client invalidated: device-token-rotated", &device, role);
    });
    Ok(Reply::Later)
}

/// `device.token.revoke`: a device has no token for a role any more.
pub(crate) fn revoke(gateway: &mut Gateway, call: Call<TokenTarget>) -> Answer<TokenRevoked> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::ManageDevices)?;
    let device = DeviceId::new(params.device_id.into_string());
    let now = gateway.now.wall;
    let allowed = gateway.token_role(&principal, &device, params.role.as_str()).and_then(|role| {
        let record = gateway.devices.paired.get_mut(&device).ok_or(Denied::Unknown)?;
        Ok((role, record.revoke(role, now).ok_or(Denied::Unknown)?))
    });
    let (role, revoked_at_ms) =
        allowed.map_err(|denied| gateway.deny(&principal, Deed::Revoke, device.as_str(), denied))?;
    let subject = format!("{device} {role}");
    let ops = vec![
        gateway.devices.write(&device),
        gateway.audit_op(&principal, Deed::Revoke.action(), &subject, &Verdict::Done),
    ];
    tracing::info!(target: "gateway", %device, %role, by = %principal.actor(), "device token revoked");
    gateway.store(ops, move |gateway, result| {
        gateway.devices.saved(&device, result.is_ok());
        let revoked = TokenRevoked { device_id: device.to_string(), role, revoked_at_ms };
        gateway.reply(ticket, outcome(result.map(|()| revoked).map_err(ErrorShape::from)));
        // Also when it could not be written: in memory the token has ended, and nothing brings it back.
        gateway.end_role("client invalidated: device-token-revoked", &device, role);
    });
    Ok(Reply::Later)
}

impl Gateway {
    /// What a new token may allow.
    fn rotation(
        &self,
        who: &Arc<Principal>,
        device: &DeviceId,
        role: &str,
        wanted: Option<&Scopes>,
    ) -> Result<(Role, Scopes), Denied> {
        let role = self.token_role(who, device, role)?;
        let record = self.paired(device).ok_or(Denied::Unknown)?;
        // A role that is not approved, or whose tokens were revoked, has nothing that could be replaced.
        let held = record.token_scopes(role).ok_or(Denied::Unknown)?;
        let (approved, wanted) = match role {
            Role::Operator => (record.scopes.clone(), wanted),
            Role::Node if wanted.is_some_and(|wanted| !wanted.is_empty()) => return Err(Denied::Beyond),
            Role::Node => (Scopes::none(), None),
        };
        Ok((role, Manager::of(who).rotated(&approved, &held, wanted)?))
    }

    /// The role whose tokens are meant, if `who` may decide about them.
    fn token_role(&self, who: &Principal, device: &DeviceId, role: &str) -> Result<Role, Denied> {
        let role = [Role::Operator, Role::Node].into_iter().find(|known| known.as_str() == role);
        Manager::of(who).touch_roles(device, role.iter())?;
        let known =
            self.paired(device).is_some_and(|record| role.is_some_and(|role| record.roles.contains(&role)));
        role.filter(|_| known).ok_or(Denied::Unknown)
    }

    /// Closes what a device has open in a role.
    fn end_role(&mut self, reason: &str, device: &DeviceId, role: Role) {
        self.end_where(reason, |principal| {
            principal.role == role && principal.device.as_ref() == Some(device)
        });
    }
}

/// Whether the value of a device's new token may go to this caller: to the device itself, and on protocol 4 only
/// when its own token admitted it.
fn is_told(principal: &Principal, device: &DeviceId) -> bool {
    let by_device = matches!(principal.method, AuthMethod::DeviceToken | AuthMethod::BootstrapToken);
    principal.device.as_ref() == Some(device) && (by_device || principal.protocol == Protocol::V3)
}

/// Reads a list of scopes; what is none is named.
pub(super) fn wanted_scopes<T: std::fmt::Display>(list: &[T]) -> Result<Scopes, ErrorShape> {
    let spellings: Vec<String> = list.iter().map(ToString::to_string).collect();
    if let Some(odd) = spellings.iter().find(|text| telson_proto::Scope::parse(text).is_none()) {
        let odd: String = odd.chars().filter(|c| !c.is_control()).collect();
        return Err(ErrorShape::invalid(format!(
            "unknown scope {odd:?}; expected scopes such as operator.read or operator.write"
        )));
    }
    Ok(Scopes::parse(&spellings))
}
