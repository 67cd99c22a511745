//! A connected device asks for more scopes and waits for the decision (spec 01 §5.6, protocol 4).

use std::collections::VecDeque;

use telson_proto::device::{ScopesRequest, ScopesRequested, UpgradeOutcome};
use telson_proto::{ErrorShape, Json, Protocol, Role, Scopes};

use super::decide::outcome;
use super::pairing::Claim;
use super::secrets::wanted_scopes;
use crate::audit::Verdict as Deed;
use crate::auth::Principal;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{ConnId, DeviceId, Ticket};
use crate::limits;
use crate::messages::Outcome;

/// Who waits for a decision, and the decisions that nobody has asked for yet.
#[derive(Default)]
pub(super) struct Upgrades {
    waiting: Vec<Waiting>,
    /// Decided requests of devices that asked by method, the oldest first.
    decided: VecDeque<(Asking, Verdict)>,
    /// Requests that were made by method.
    asking: VecDeque<Asking>,
}

/// A request and its device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asking {
    request: String,
    device: DeviceId,
}

struct Waiting {
    asking: Asking,
    ticket: Ticket,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// These scopes were approved.
    Approved(Scopes),
    Rejected,
    Expired,
}

impl Upgrades {
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.waiting.retain(|waiting| waiting.ticket.conn != conn);
    }

    fn asked(&mut self, asking: Asking) {
        self.asking.retain(|known| *known != asking);
        if self.asking.len() as u64 >= limits::PAIR_REQUESTS {
            self.asking.pop_front();
        }
        self.asking.push_back(asking);
    }

    fn decide(&mut self, request: &str, verdict: &Verdict) -> Vec<Waiting> {
        let (now, later) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| w.asking.request == request);
        self.waiting = later;
        let at = self.asking.iter().position(|asking| asking.request == request);
        if let Some(asking) = at.and_then(|at| self.asking.remove(at))
            && now.is_empty()
        {
            if self.decided.len() as u64 >= limits::PAIR_REQUESTS {
                self.decided.pop_front();
            }
            self.decided.push_back((asking, verdict.clone()));
        }
        now
    }

    fn take_decided(&mut self, asking: &Asking) -> Option<Verdict> {
        let at = self.decided.iter().position(|(decided, _)| decided == asking)?;
        self.decided.remove(at).map(|(_, verdict)| verdict)
    }
}

/// `device.scopes.requestUpgrade`: a request for more scopes than the connection has.
pub(crate) fn request(gateway: &mut Gateway, call: Call<ScopesRequest>) -> Answer<ScopesRequested> {
    let Call { principal, ticket, params, .. } = call;
    let wanted = wanted_scopes(&params.scopes)?;
    let device = own_device(gateway, &principal)?;
    if !wanted.covers(&principal.scopes, Protocol::V4) {
        return Err(ErrorShape::invalid("scopes must include the current ones"));
    }
    let Some(claim) = gateway.upgrade_claim(&principal, &device, wanted) else {
        return Err(unpaired());
    };
    let entropy = &mut gateway.entropy;
    let asked = gateway.devices.ask(gateway.now, &claim, || entropy.uuid());
    gateway.devices.upgrades.asked(Asking { request: asked.id.clone(), device: device.clone() });
    let mut ops = gateway.devices.pending.litter();
    ops.extend(gateway.devices.pending.row(&device));
    ops.push(gateway.audit_op(&principal, "device.scopes.requestUpgrade", device.as_str(), &Deed::Done));
    gateway.store(ops, move |gateway, result| {
        if let Err(error) = result {
            return gateway.reply(ticket, Outcome::error(ErrorShape::from(error)));
        }
        gateway.request_written(&device, &asked);
        gateway.reply(ticket, Outcome::ok(Json::of(&ScopesRequested { request_id: asked.id })));
    });
    Ok(Reply::Later)
}

/// `device.scopes.waitUpgrade`: answered when the request is decided or has ended.
pub(crate) fn wait(
    gateway: &mut Gateway,
    call: Call<telson_proto::device::PairDecision>,
) -> Answer<UpgradeOutcome> {
    let Call { principal, ticket, params, .. } = call;
    let device = own_device(gateway, &principal)?;
    let request = params.request_id.into_string();
    let asking = Asking { request: request.clone(), device: device.clone() };
    if let Some(verdict) = gateway.devices.upgrades.take_decided(&asking) {
        gateway.answer_upgrade(Waiting { asking, ticket }, verdict);
        return Ok(Reply::Later);
    }
    gateway.devices.pending.prune(gateway.now);
    let waits = gateway.devices.pending.find(&request).is_some_and(|found| found.claim().device == device);
    if !waits {
        return Err(ErrorShape::invalid("unknown requestId"));
    }
    gateway.devices.upgrades.waiting.push(Waiting { asking, ticket });
    Ok(Reply::Later)
}

/// The paired device of the caller.
fn own_device(gateway: &Gateway, principal: &Principal) -> Result<DeviceId, ErrorShape> {
    let device = principal.device.as_ref().filter(|device| gateway.devices.is_paired(device));
    device.cloned().ok_or_else(unpaired)
}

fn unpaired() -> ErrorShape {
    ErrorShape::invalid("only a paired device can ask for more scopes")
}

impl Gateway {
    fn upgrade_claim(&self, principal: &Principal, device: &DeviceId, scopes: Scopes) -> Option<Claim> {
        let record = self.paired(device)?;
        Some(Claim {
            device: device.clone(),
            public_key: record.public_key.clone(),
            role: Role::Operator,
            scopes,
            protocol: principal.protocol,
            display_name: record.display_name.clone(),
            platform: record.platform.clone(),
            device_family: record.device_family.clone(),
            client_id: record.client_id.clone().unwrap_or_default(),
            client_mode: record.client_mode.clone().unwrap_or_default(),
            remote_ip: (!principal.addr.is_loopback()).then(|| principal.addr.to_string()),
            origin: None,
            native_app: false,
        })
    }

    /// A request has been decided or has ended: whoever waits for it hears of it.
    pub(super) fn settle_upgrade(&mut self, request: &str, verdict: &Verdict) {
        for waiting in self.devices.upgrades.decide(request, verdict) {
            self.answer_upgrade(waiting, verdict.clone());
        }
    }

    /// Answers one who waits. With an approval goes a token that allows what was approved; it is on disk first.
    fn answer_upgrade(&mut self, Waiting { asking, ticket }: Waiting, verdict: Verdict) {
        let Asking { request, device } = asking;
        let plain =
            |status| UpgradeOutcome { status, request_id: request.clone(), device_token: None, scopes: None };
        let scopes = match verdict {
            // Removed meanwhile, a device gets nothing.
            Verdict::Approved(scopes)
                if self.devices.allows(&device, Role::Operator, &scopes, Protocol::V3) =>
            {
                scopes
            }
            Verdict::Approved(_) | Verdict::Rejected => {
                return self.reply(ticket, outcome(Ok(plain("rejected"))));
            }
            Verdict::Expired => return self.reply(ticket, outcome(Ok(plain("expired")))),
        };
        let value = self.entropy.token();
        self.devices.add_token(self.now, &device, Role::Operator, &value, scopes.clone());
        let answer = UpgradeOutcome { device_token: Some(value), scopes: Some(scopes), ..plain("approved") };
        let op = self.devices.write(&device);
        self.store(vec![op], move |gateway, result| {
            gateway.devices.saved(&device, result.is_ok());
            gateway.reply(ticket, outcome(result.map(|()| answer).map_err(ErrorShape::from)));
        });
    }
}
