//! The last steps of a handshake: pairing, token, and the way in (spec 01 §2.1 steps 11–17, §5.2, §5.4).

use std::sync::Arc;

use serde_json::json;
use telson_proto::device::PairResolved;
use telson_proto::{Dialect, ErrorShape, EventName, Json, Protocol, Role, Scopes};

use super::deviceless::Allowance;
use super::epochs::Epochs;
use super::failure::{PendingApproval, Refusal, remediation};
use super::hello::IssuedToken;
use super::principal::{Declared, Principal};
use super::proof::{ProvenDevice, normal};
use super::request::ConnectRequest;
use super::verify::Verified;
use crate::devices::{Claim, PairingReason};
use crate::gateway::Gateway;
use crate::ids::DeviceId;
use crate::messages::{Accept, ConnLimits, Connect, Down, Publish};
use crate::store::StoreError;

/// A connect that is let in as soon as its device's row is stored.
pub(super) struct Entry {
    pub(super) dialect: Dialect,
    pub(super) principal: Principal,
    pub(super) token: Option<IssuedToken>,
    /// The pairing request that was approved on the way.
    resolved: Option<String>,
}

impl Gateway {
    /// What a verified connection becomes. Its device is approved at once where that may be, and gets a token
    /// if it has none that will do.
    ///
    /// # Errors
    ///
    /// The refusal of a device that must wait for an approval.
    pub(super) fn pair(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        verified: &Verified,
    ) -> Result<Entry, Refusal> {
        let scopes = verified.scopes(request);
        let Some(device) = verified.device.clone() else {
            let scopes = self.without_device_scopes(request, verified.allowance, scopes);
            return Ok(entry(connect, request, verified, scopes, self.epochs));
        };
        let claim = claim(connect, request, &device, scopes);
        let resolved = match self.devices.decide(&claim) {
            None => None,
            Some(reason) if self.is_silent(connect, reason, verified) => {
                let waiting = self.devices.approve_silently(self.now, &claim);
                Some(waiting.unwrap_or_else(|| self.entropy.uuid()))
            }
            Some(reason) => return Err(self.ask_for_approval(request, &claim, reason)),
        };
        self.devices.connected(self.now, &claim);
        let token = self.token_for(&claim, verified);
        Ok(Entry {
            token: Some(token),
            resolved,
            ..entry(connect, request, verified, claim.scopes, self.epochs)
        })
    }

    fn without_device_scopes(
        &self,
        request: &ConnectRequest,
        allowance: Allowance,
        scopes: Scopes,
    ) -> Scopes {
        match (allowance, request.dialect) {
            (Allowance::NoScopes, _) => Scopes::none(),
            (Allowance::Scopes, Dialect::Native) => scopes,
            (Allowance::Scopes, Dialect::Plain) => {
                scopes.within(&self.settings.simple_max_scopes, request.protocol)
            }
        }
    }

    /// Whether an approval needs nobody's word: the device is on this host. More than a device had it gets
    /// only for the gateway's own secret, whose holder could as well bring a new device; its own token is not
    /// enough.
    fn is_silent(&self, connect: &Connect, reason: PairingReason, verified: &Verified) -> bool {
        connect.peer.is_direct_local()
            && self.settings.auth.auto_approve_local
            && (verified.has_secret() || !reason.is_upgrade())
    }

    fn ask_for_approval(
        &mut self,
        request: &ConnectRequest,
        claim: &Claim,
        reason: PairingReason,
    ) -> Refusal {
        let entropy = &mut self.entropy;
        let request_id = self.devices.ask(self.now, claim, || entropy.uuid());
        let mut details = json!({
            "code": "PAIRING_REQUIRED",
            "reason": reason.as_str(),
            "requestId": request_id,
            "remediationHint": remediation(reason),
            "deviceId": claim.device,
            "requestedRole": claim.role,
            "requestedScopes": claim.scopes,
        });
        if let Some((roles, scopes)) = self.devices.approvals(&claim.device) {
            details["approvedRoles"] = json!(roles);
            details["approvedScopes"] = json!(scopes);
        }
        // A page is left open while somebody decides, so it is told to go on trying.
        if request.role == Role::Operator && request.kind.is_control_ui(Protocol::V4) {
            details["recommendedNextStep"] = json!("wait_then_retry");
            details["retryable"] = json!(true);
            details["pauseReconnect"] = json!(false);
        }
        Refusal::pairing(request, &PendingApproval { reason, request_id, details })
    }

    /// The token that the hello carries: the one that the client showed, if it allows what was granted;
    /// otherwise a new one, since only its hash is known of any older one.
    fn token_for(&mut self, claim: &Claim, verified: &Verified) -> IssuedToken {
        if let Some(shown) = &verified.token {
            self.devices.used_token(self.now, &claim.device, claim.role, &shown.value);
            if shown.held.scopes.covers(&claim.scopes, claim.protocol) {
                return IssuedToken { value: shown.value.clone(), issued_at_ms: shown.held.issued_at_ms };
            }
        }
        let value = self.entropy.token();
        self.devices.add_token(self.now, &claim.device, claim.role, &value, claim.scopes.clone());
        IssuedToken { value, issued_at_ms: self.now.wall }
    }

    /// Lets a connection in, after its device's row is on disk.
    pub(super) fn enter(&mut self, connect: Connect, entry: Entry) {
        let conn = connect.ticket.conn;
        let device = entry.principal.device.clone();
        let Some(op) = device.as_ref().and_then(|device| self.devices.save(device)) else {
            return self.accept(&connect, entry);
        };
        self.handshake.storing.insert(conn);
        self.store(vec![op], move |gateway, result| gateway.entry_stored(&connect, entry, result));
    }

    fn entry_stored(&mut self, connect: &Connect, entry: Entry, result: Result<(), StoreError>) {
        if let (Err(_), Some(device)) = (&result, &entry.principal.device) {
            self.devices.not_saved(device);
        }
        if !self.handshake.storing.remove(&connect.ticket.conn) {
            return; // the client did not wait
        }
        let outcome = result
            .map_err(|error| Refusal::not_stored(ErrorShape::from(error)))
            .and_then(|()| self.admission());
        match outcome {
            Ok(()) => self.accept(connect, entry),
            Err(refusal) => self.refuse(connect, None, refusal),
        }
    }

    fn accept(&mut self, connect: &Connect, entry: Entry) {
        let conn = connect.ticket.conn;
        let principal = Arc::new(entry.principal);
        tracing::info!(
            target: "gateway.ws",
            %conn, peer = %principal.addr, client = %principal.declared.shown().id, role = %principal.role,
            protocol = principal.protocol.number(), method = principal.method.as_str(), "connected"
        );
        self.presence.connected(self.now, conn, &principal);
        self.conns.insert(conn, Arc::clone(&principal));
        let limits = self.limits_of(entry.dialect, &principal);
        let hello = self.hello(entry.dialect, &principal, entry.token.as_ref(), limits);
        let ticket = connect.ticket.clone();
        let device = principal.device.clone();
        let entered = Arc::clone(&principal);
        self.tell(Down::Accept(Box::new(Accept { ticket, hello, principal, limits })));
        if let (Some(request_id), Some(device)) = (entry.resolved, device) {
            self.announce_approval(request_id, &device);
        }
        if entered.role == Role::Node {
            self.node_entered(conn, &entered);
        }
        if self.handshake.may_refresh(self.now) {
            self.refresh_health();
        }
    }

    fn announce_approval(&mut self, request_id: String, device: &DeviceId) {
        let payload = PairResolved {
            request_id,
            device_id: device.to_string(),
            decision: "approved",
            ts: self.now.wall,
        };
        self.publish(Publish::droppable(EventName::DevicePairResolved, Json::of(&payload)));
    }

    /// The limits of a connection; hello states them and the switchboard enforces them (D3). A node's pictures
    /// are as large on the old protocol as on the new one (spec 03 §2.7).
    fn limits_of(&self, dialect: Dialect, principal: &Principal) -> ConnLimits {
        let limits = &self.settings.limits;
        match (dialect, principal.protocol) {
            (Dialect::Native, Protocol::V4) => limits.v4,
            (Dialect::Native, Protocol::V3) | (Dialect::Plain, _) if principal.role == Role::Node => {
                ConnLimits { max_payload: limits.v4.max_payload.max(limits.v3.max_payload), ..limits.v3 }
            }
            (Dialect::Native, Protocol::V3) | (Dialect::Plain, _) => limits.v3,
        }
    }
}

fn entry(
    connect: &Connect,
    request: &ConnectRequest,
    verified: &Verified,
    scopes: Scopes,
    epochs: Epochs,
) -> Entry {
    let principal = Principal {
        role: request.role,
        scopes,
        method: verified.method,
        credential: verified.credential(epochs),
        user: verified.vouched.as_ref().map(|vouched| vouched.user.clone()),
        device: verified.device.as_ref().map(|device| device.id.clone()),
        protocol: request.protocol,
        addr: connect.peer.addr,
        local: connect.peer.is_direct_local(),
        declared: Declared::new(request.client.clone()),
    };
    Entry { dialect: request.dialect, principal, token: None, resolved: None }
}

fn claim(connect: &Connect, request: &ConnectRequest, device: &ProvenDevice, scopes: Scopes) -> Claim {
    let client = &request.client;
    let normal = |word: &str| Some(normal(word)).filter(|word| !word.is_empty());
    Claim {
        device: device.id.clone(),
        public_key: device.public_key.clone(),
        role: request.role,
        scopes,
        protocol: request.protocol,
        display_name: client.display_name.clone(),
        platform: normal(&request.signed.platform),
        device_family: normal(&request.signed.device_family),
        client_id: client.id.clone(),
        client_mode: client.mode.clone(),
        remote_ip: (!connect.peer.addr.is_loopback()).then(|| connect.peer.addr.to_string()),
        origin: connect.peer.origin.clone(),
        native_app: request.kind.is_native_app(),
    }
}
