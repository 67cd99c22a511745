//! Decisions about devices: approve, reject, remove, rename (spec 01 §5.3, §5.6).
//!
//! Every way to a decision ends here, whether it came as a method, from the command line or as a word in a chat,
//! and passes the same [rules](super::rules). A decision is on disk before it is told.

use telson_proto::device::{
    ApprovedVia, PairApproved, PairDecision, PairRejected, PairRemove, PairRemoved, PairRename, PairRenamed,
    PairResolved,
};
use telson_proto::{ErrorShape, EventName, Json, Protocol};

use super::methods::shown;
use super::pairing::approved;
use super::pending;
use super::record::Paired;
use super::rules::{Deed, Denied, Manager};
use super::upgrade::Verdict as Upgrade;
use crate::audit::Verdict;
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::DeviceId;
use crate::messages::{Outcome, Publish};

/// `device.pair.approve`: what a device asks for is given to it.
pub(crate) fn approve(gateway: &mut Gateway, call: Call<PairDecision>) -> Answer<PairApproved> {
    let Call { principal, ticket, params, .. } = call;
    gateway.approve_device(&principal, params.request_id.as_str(), move |gateway, result| {
        gateway.reply(ticket, outcome(result));
    })?;
    Ok(Reply::Later)
}

/// `device.pair.reject`: what a device asks for is not given to it.
pub(crate) fn reject(gateway: &mut Gateway, call: Call<PairDecision>) -> Answer<PairRejected> {
    let Call { principal, ticket, params, .. } = call;
    gateway.reject_device(&principal, params.request_id.as_str(), move |gateway, result| {
        gateway.reply(ticket, outcome(result));
    })?;
    Ok(Reply::Later)
}

/// `device.pair.remove`: a device is forgotten, with its tokens and whatever it asks for.
pub(crate) fn remove(gateway: &mut Gateway, call: Call<PairRemove>) -> Answer<PairRemoved> {
    let Call { principal, ticket, params, .. } = call;
    let device = DeviceId::new(params.device_id.into_string());
    gateway
        .remove_device(&principal, device, move |gateway, result| gateway.reply(ticket, outcome(result)))?;
    Ok(Reply::Later)
}

/// `device.pair.rename`: what people call a device.
pub(crate) fn rename(gateway: &mut Gateway, call: Call<PairRename>) -> Answer<PairRenamed> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::ManageDevices)?;
    let label = params.label.as_str().trim().to_owned();
    if label.is_empty() {
        return Err(ErrorShape::invalid("label required"));
    }
    if label.chars().any(char::is_control) {
        return Err(ErrorShape::invalid("label must not contain control characters"));
    }
    let device = DeviceId::new(params.device_id.into_string());
    let touched = Manager::of(&principal).touch(&device);
    let record = gateway.devices.paired.get_mut(&device).filter(|_| touched.is_ok());
    let Some(record) = record else {
        return Err(gateway.deny(
            &principal,
            Deed::Rename,
            device.as_str(),
            touched.err().unwrap_or(Denied::Unknown),
        ));
    };
    record.operator_label = Some(label.clone());
    let ops = vec![
        gateway.devices.write(&device),
        gateway.audit_op(&principal, Deed::Rename.action(), device.as_str(), &Verdict::Done),
    ];
    gateway.store(ops, move |gateway, result| {
        gateway.devices.saved(&device, result.is_ok());
        let renamed = PairRenamed { device_id: device.to_string(), label };
        let result = result.map(|()| renamed).map_err(ErrorShape::from);
        if result.is_ok() {
            gateway.announce_change();
        }
        gateway.reply(ticket, outcome(result));
    });
    Ok(Reply::Later)
}

/// What a caller is answered.
pub(super) fn outcome<R: serde::Serialize>(result: Result<R, ErrorShape>) -> Outcome {
    match result {
        Ok(result) => Outcome::ok(Json::of(&result)),
        Err(error) => Outcome::error(error),
    }
}

impl Gateway {
    /// Gives a device what it asks for, if `who` may; `then` runs when that is on disk. This is the one way to an
    /// approval by a person (spec 08 S-44).
    ///
    /// # Errors
    ///
    /// The denial, which has been written into the book of deeds.
    pub(crate) fn approve_device(
        &mut self,
        who: &Principal,
        request_id: &str,
        then: impl FnOnce(&mut Self, Result<PairApproved, ErrorShape>) + Send + 'static,
    ) -> Result<(), ErrorShape> {
        authorize(who, &Effect::ManageDevices)?;
        self.devices.pending.prune(self.now);
        let manager = Manager::of(who);
        let fits = match self.devices.pending.find(request_id) {
            None => Err(Denied::Unknown),
            Some(request) => manager
                .grant(&request.claim().device, request.grant())
                .map(|()| request.claim().device.clone()),
        };
        let device = fits.map_err(|denied| self.deny(who, Deed::Approve, request_id, denied))?;
        let Some(request) = self.devices.pending.take(&device) else { return Err(unknown()) };
        let before = self.devices.paired.get(&device).cloned();
        let (claim, grant) = (request.claim(), request.grant());
        let record = approved(before.as_ref(), claim, grant, ApprovedVia::Owner, self.now.wall);
        self.devices.paired.insert(device.clone(), record.clone());
        let ops = vec![
            pending::delete(device.as_str()),
            self.devices.write(&device),
            self.audit_op(who, Deed::Approve.action(), device.as_str(), &Verdict::Done),
        ];
        let protocol = who.protocol;
        tracing::info!(target: "gateway", request = request_id, %device, by = %who.actor(), "device approved");
        self.store(ops, move |gateway, result| {
            gateway.devices.saved(&device, result.is_ok());
            if let Err(error) = result {
                gateway.devices.undo(&device, &record, before);
                gateway.devices.pending.put_back(request);
                return then(gateway, Err(ErrorShape::from(error)));
            }
            let connected = gateway.is_connected(&device);
            let shown = shown(&device, &record, protocol, connected);
            let id = request.id().to_owned();
            then(gateway, Ok(PairApproved { request_id: id.clone(), device: shown }));
            gateway.announce_decision(id.clone(), &device, "approved");
            gateway.settle_upgrade(&id, &Upgrade::Approved(request.grant().scopes.clone()));
        });
        Ok(())
    }

    /// Refuses a device what it asks for, if `who` may; `then` runs when that is on disk.
    ///
    /// # Errors
    ///
    /// The denial, which has been written into the book of deeds.
    pub(crate) fn reject_device(
        &mut self,
        who: &Principal,
        request_id: &str,
        then: impl FnOnce(&mut Self, Result<PairRejected, ErrorShape>) + Send + 'static,
    ) -> Result<(), ErrorShape> {
        authorize(who, &Effect::ManageDevices)?;
        self.devices.pending.prune(self.now);
        let manager = Manager::of(who);
        let fits = match self.devices.pending.find(request_id).map(|request| &request.claim().device) {
            None => Err(Denied::Unknown),
            Some(device) => manager.touch(device).map(|()| device.clone()),
        };
        let device = fits.map_err(|denied| self.deny(who, Deed::Reject, request_id, denied))?;
        let Some(request) = self.devices.pending.take(&device) else { return Err(unknown()) };
        let mut ops = vec![pending::delete(device.as_str())];
        ops.extend(self.devices.setups.revoke_of(&device));
        ops.push(self.audit_op(who, Deed::Reject.action(), device.as_str(), &Verdict::Done));
        tracing::info!(target: "gateway", request = request_id, %device, by = %who.actor(), "device rejected");
        self.store(ops, move |gateway, result| {
            if let Err(error) = result {
                gateway.devices.pending.put_back(request);
                return then(gateway, Err(ErrorShape::from(error)));
            }
            let id = request.id().to_owned();
            then(gateway, Ok(PairRejected { request_id: id.clone(), device_id: device.to_string() }));
            gateway.announce_decision(id.clone(), &device, "rejected");
            gateway.settle_upgrade(&id, &Upgrade::Rejected);
        });
        Ok(())
    }

    /// Forgets a device, if `who` may; `then` runs when that is on disk, and then its connections close. A removal
    /// that could not be written counts all the same until the process ends.
    ///
    /// # Errors
    ///
    /// The denial, which has been written into the book of deeds.
    pub(crate) fn remove_device(
        &mut self,
        who: &Principal,
        device: DeviceId,
        then: impl FnOnce(&mut Self, Result<PairRemoved, ErrorShape>) + Send + 'static,
    ) -> Result<(), ErrorShape> {
        authorize(who, &Effect::ManageDevices)?;
        let manager = Manager::of(who);
        let fits = match self.devices.paired.get(&device) {
            None => manager.touch(&device).and(Err(Denied::Unknown)),
            Some(record) => manager.touch_roles(&device, record.roles.iter()),
        };
        fits.map_err(|denied| self.deny(who, Deed::Remove, device.as_str(), denied))?;
        self.devices.paired.remove(&device);
        let request = self.devices.pending.take(&device).map(|request| request.id().to_owned());
        let mut ops = vec![self.devices.write(&device), pending::delete(device.as_str())];
        ops.extend(self.devices.setups.revoke_of(&device));
        ops.extend(self.nodes.forget(&device));
        ops.push(self.audit_op(who, Deed::Remove.action(), device.as_str(), &Verdict::Done));
        tracing::info!(target: "gateway", %device, by = %who.actor(), "device removed");
        self.store(ops, move |gateway, result| {
            gateway.devices.saved(&device, result.is_ok());
            let removed = PairRemoved { device_id: device.to_string() };
            then(gateway, result.map(|()| removed).map_err(ErrorShape::from));
            if let Some(id) = request {
                gateway.announce_decision(id.clone(), &device, "rejected");
                gateway.settle_upgrade(&id, &Upgrade::Rejected);
            }
            gateway.announce_change();
            gateway.end_where("client invalidated: device-removed", |principal| {
                principal.device.as_ref() == Some(&device)
            });
        });
        Ok(())
    }

    /// Writes a denial into the book of deeds. Returns the answer.
    pub(super) fn deny(&mut self, who: &Principal, deed: Deed, subject: &str, denied: Denied) -> ErrorShape {
        let subject: String = subject.chars().filter(|c| !c.is_control()).take(128).collect();
        tracing::info!(target: "gateway", action = deed.action(), subject, reason = %denied, by = %who.actor(), "denied");
        self.audit(who, deed.action(), &subject, &Verdict::Denied(denied.to_string()));
        Manager::of(who).refusal(deed, denied)
    }

    /// Tells those who manage devices what became of a request.
    pub(crate) fn announce_decision(
        &mut self,
        request_id: String,
        device: &DeviceId,
        decision: &'static str,
    ) {
        let payload = PairResolved { request_id, device_id: device.to_string(), decision, ts: self.now.wall };
        self.publish(Publish::droppable(EventName::DevicePairResolved, Json::of(&payload)));
    }

    /// Tells those who manage devices that a device asks for something.
    pub(crate) fn announce_request(&mut self, request_id: &str) {
        let Some(request) = self.devices.pending.find(request_id) else { return };
        let v3 = Some(Json::of(&request.shown(Protocol::V3)));
        let publish =
            Publish::droppable(EventName::DevicePairRequested, Json::of(&request.shown(Protocol::V4)));
        self.publish(Publish { v3, ..publish });
    }

    /// Tells those who manage devices that their lists are out of date.
    pub(super) fn announce_change(&mut self) {
        let publish = Publish::droppable(EventName::DevicePairChanged, Json::empty());
        self.publish(Publish { v3: None, ..publish });
    }

    pub(super) fn is_connected(&self, device: &DeviceId) -> bool {
        self.conns.values().any(|principal| principal.device.as_ref() == Some(device))
    }

    /// The record of a device, if there is one.
    pub(super) fn paired(&self, device: &DeviceId) -> Option<&Paired> {
        self.devices.paired.get(device)
    }
}

fn unknown() -> ErrorShape {
    ErrorShape::invalid("unknown requestId")
}
