//! The methods of the devices domain.

use std::collections::BTreeSet;

use telson_proto::Protocol;
use telson_proto::device::{PairList, PairedDevice};
use telson_proto::params::NoParams;

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::DeviceId;

use super::record::Paired;
use super::rules::Manager;

/// `device.pair.list`: the requests that wait and the paired devices, never a token's value. Who came with a
/// device's token and without admin sees that device only (spec 01 §5.6).
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<PairList> {
    authorize(&call.principal, &Effect::SeeDevices)?;
    let protocol = call.protocol();
    let manager = Manager::of(&call.principal);
    let sees = |device: &DeviceId| manager.touch(device).is_ok();
    let connected: BTreeSet<DeviceId> =
        gateway.conns.values().filter_map(|principal| principal.device.clone()).collect();
    let now = gateway.now;
    let mut pending = gateway.devices.pending.list(now, protocol);
    pending.retain(|request| sees(&DeviceId::new(request.device_id.as_str())));
    let mut paired: Vec<PairedDevice> = gateway
        .devices
        .paired
        .iter()
        .filter(|(id, _)| sees(id))
        .map(|(id, record)| shown(id, record, protocol, connected.contains(id)))
        .collect();
    paired.sort_by_key(|device| std::cmp::Reverse(device.approved_at_ms));
    Ok(Reply::Ready(PairList { pending, paired }))
}

/// A device as a caller of this protocol sees it.
pub(super) fn shown(id: &DeviceId, record: &Paired, protocol: Protocol, connected: bool) -> PairedDevice {
    let v4 = protocol == Protocol::V4;
    PairedDevice {
        device_id: id.to_string(),
        public_key: record.public_key.clone(),
        display_name: record.display_name.clone(),
        platform: record.platform.clone(),
        device_family: record.device_family.clone().filter(|_| v4),
        client_id: record.client_id.clone(),
        client_mode: record.client_mode.clone(),
        role: record.role,
        roles: record.roles.iter().copied().collect(),
        scopes: record.scopes.clone(),
        remote_ip: record.remote_ip.clone(),
        operator_label: record.operator_label.clone().filter(|_| v4),
        approved_via: v4.then_some(record.approved_via),
        created_at_ms: record.created_at_ms,
        approved_at_ms: record.approved_at_ms,
        last_seen_at_ms: record.last_seen_at_ms.filter(|_| v4),
        tokens: record.token_summaries(),
        connected: v4.then_some(connected),
    }
}
