//! The last steps of a handshake: pairing, token, and the way in (spec 01 §2.1 steps 11–17, §5.2, §5.4).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use telson_proto::connect::RoleToken;
use telson_proto::device::{ApprovedVia, SetupCompleted};
use telson_proto::{Dialect, ErrorShape, Protocol, Role, Scopes};

use super::deviceless::Allowance;
use super::epochs::Epochs;
use super::failure::{PendingApproval, Refusal, remediation};
use super::hello::{IssuedToken, Withheld};
use super::principal::{AuthMethod, Credential, Declared, Principal};
use super::proof::{ProvenDevice, normal};
use super::request::{ConnectRequest, Wanted};
use super::verify::Verified;
use crate::audit::Verdict;
use crate::devices::{Asked, Claim, PairingReason, Shown, hash};
use crate::gateway::Gateway;
use crate::ids::DeviceId;
use crate::ingress::Kind;
use crate::messages::{Accept, ConnLimits, Connect, Down};
use crate::store::{Op, Shelf, StoreError};

/// A connect that is let in as soon as its device's row is stored.
pub(super) struct Entry {
    pub(super) dialect: Dialect,
    pub(super) principal: Principal,
    pub(super) token: Option<IssuedToken>,
    /// Tokens for the device's other roles.
    others: Vec<RoleToken>,
    withheld: Option<Withheld>,
    /// The pairing request that was approved on the way.
    resolved: Option<String>,
    /// The setup code that was redeemed on the way.
    redeemed: Option<SetupCompleted>,
    /// What is to be stored beside the device's row.
    ops: Vec<Op>,
}

/// A connect that is not let in.
pub(super) enum Turn {
    /// It is refused.
    Away(Box<Refusal>),
    /// It is refused as soon as the request that it is told of is stored.
    Wait(Box<Asking>),
}

impl From<Refusal> for Turn {
    fn from(refusal: Refusal) -> Self {
        Self::Away(Box::new(refusal))
    }
}

/// A device that asks for an approval.
pub(super) struct Asking {
    device: DeviceId,
    asked: Asked,
    refusal: Refusal,
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
    ) -> Result<Entry, Turn> {
        let scopes = verified.scopes(request);
        let Some(device) = verified.device.clone() else {
            let granted = self.without_device_scopes(request, verified.allowance, scopes);
            let withheld = withheld(request, verified, &granted);
            return Ok(Entry { withheld, ..entry(connect, request, verified, granted, self.epochs) });
        };
        let claim = claim(connect, request, &device, scopes);
        if let Some(setup) = &verified.setup {
            return Ok(self.redeem(connect, request, verified, &claim, setup));
        }
        let approval = match self.devices.decide(&claim) {
            None => None,
            Some(reason) => Some(
                self.automatic(connect, request, reason, verified)
                    .ok_or_else(|| Turn::Wait(Box::new(self.ask_for_approval(request, &claim, reason))))?,
            ),
        };
        let waiting = approval.and_then(|via| self.devices.approve(self.now, &claim, &claim.grant(), via));
        self.devices.connected(self.now, &claim);
        let token = self.token_for(&claim, verified);
        if connect.peer.is_page() && matches!(verified.method, AuthMethod::Token | AuthMethod::Password) {
            self.bind_to_secret(&claim, &token);
        }
        let entry = entry(connect, request, verified, claim.scopes.clone(), self.epochs);
        let mut entry = Entry { token: Some(token), ..entry };
        if let Some(via) = approval {
            self.note_automatic(&claim, via, waiting, &mut entry);
        }
        Ok(entry)
    }

    /// What an approval that nobody gave brings with it: a line in the book, an end to the request that waited,
    /// and to silent records of the same client that have not come back.
    fn note_automatic(
        &mut self,
        claim: &Claim,
        via: ApprovedVia,
        waiting: Option<String>,
        entry: &mut Entry,
    ) {
        let action = match via {
            ApprovedVia::TrustedCidr => "device.pair.trusted-cidr",
            ApprovedVia::Owner | ApprovedVia::Silent | ApprovedVia::Bootstrap => "device.pair.silent",
        };
        entry.ops.push(self.audit_op(&entry.principal, action, claim.device.as_str(), &Verdict::Done));
        entry.ops.extend(waiting.iter().map(|_| forget_request(&claim.device)));
        entry.resolved = Some(waiting.unwrap_or_else(|| self.entropy.uuid()));
        if via == ApprovedVia::Silent {
            let open: BTreeSet<&DeviceId> = self.conns.values().filter_map(|p| p.device.as_ref()).collect();
            let gone = self.devices.supersede(self.now, claim, |device| open.contains(device));
            for device in gone {
                tracing::info!(target: "gateway", %device, by = %claim.device, "device superseded");
                entry.ops.push(Op::DeleteDevice(device));
            }
        }
    }

    /// A device that shows a setup code is approved for what the code's profile says, and gets a token for each of
    /// its roles. From here on the code is used up, whatever else comes at the same time (spec 08 S-45).
    fn redeem(
        &mut self,
        connect: &Connect,
        request: &ConnectRequest,
        verified: &Verified,
        claim: &Claim,
        setup: &Shown,
    ) -> Entry {
        let now = self.now;
        let grant = setup.profile.grant();
        let waiting = self.devices.approve(now, claim, &grant, ApprovedVia::Bootstrap);
        self.devices.setups.redeem(now, &setup.id, &claim.device, claim.display_name.as_deref());
        self.devices.connected(now, claim);
        let token = self.token_for(claim, verified);
        let mut others = Vec::new();
        for role in grant.roles.into_iter().filter(|role| *role != claim.role) {
            let scopes = if role == Role::Operator { grant.scopes.clone() } else { Scopes::none() };
            let value = self.entropy.token();
            self.devices.add_token(now, &claim.device, role, &value, scopes.clone());
            others.push(RoleToken { device_token: value, role, scopes, issued_at_ms: now.wall });
        }
        let mut entry = entry(connect, request, verified, claim.scopes.clone(), self.epochs);
        entry.principal.credential = Credential::DeviceToken { hash: hash(&token.value) };
        let mut ops: Vec<Op> = self.devices.setups.row(&setup.id).into_iter().collect();
        ops.extend(waiting.iter().map(|_| forget_request(&claim.device)));
        let subject = format!("{} {}", claim.device, setup.id);
        ops.push(self.audit_op(&entry.principal, "device.pair.redeem", &subject, &Verdict::Done));
        tracing::info!(target: "gateway", device = %claim.device, setup = %setup.id, "setup code redeemed");
        let resolved = Some(waiting.unwrap_or_else(|| self.entropy.uuid()));
        let redeemed = self.devices.setups.status(&setup.id).flatten();
        Entry { token: Some(token), others, resolved, redeemed, ops, ..entry }
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

    /// How a device is approved without anybody's word, if it is. On this host that is a device that is not
    /// paired yet, and one that says it is another machine now; what a paired device asks for beyond what it was
    /// approved for always waits, also beside the gateway's own secret (spec 08 S-07). From a trusted network it
    /// is a new node that asks for nothing else (spec 01 §5.2).
    fn automatic(
        &self,
        connect: &Connect,
        request: &ConnectRequest,
        reason: PairingReason,
        verified: &Verified,
    ) -> Option<ApprovedVia> {
        let (peer, settings) = (&connect.peer, &self.settings.auth);
        let is_local = peer.is_direct_local() && settings.auto_approve_local;
        let silent = match reason {
            PairingReason::NotPaired => is_local,
            PairingReason::MetadataUpgrade => {
                let proper = verified.has_secret() || request.kind.is_native_app();
                is_local && peer.origin.is_none() && proper
            }
            PairingReason::RoleUpgrade | PairingReason::ScopeUpgrade => false,
        };
        if silent {
            return Some(ApprovedVia::Silent);
        }
        let bare_node = reason == PairingReason::NotPaired
            && request.role == Role::Node
            && peer.origin.is_none()
            && (peer.kind == Kind::DirectRemote
                || (peer.kind == Kind::TrustedProxy && !peer.socket.is_loopback()))
            && !request.kind.is_browser();
        let trusted = || settings.auto_approve_networks.iter().any(|network| network.contains(&peer.addr));
        (bare_node && !peer.addr.is_loopback() && trusted()).then_some(ApprovedVia::TrustedCidr)
    }

    fn ask_for_approval(&mut self, request: &ConnectRequest, claim: &Claim, reason: PairingReason) -> Asking {
        let entropy = &mut self.entropy;
        let asked = self.devices.ask(self.now, claim, || entropy.uuid());
        let request_id = asked.id.clone();
        let mut details = json!({
            "code": "PAIRING_REQUIRED",
            "reason": reason.as_str(),
            "requestId": request_id,
            "remediationHint": remediation(reason, &request_id),
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
        let refusal = Refusal::pairing(request, &PendingApproval { reason, request_id, details });
        Asking { device: claim.device.clone(), asked, refusal }
    }

    /// Tells a device that it must wait, once the request that it is told of is on disk.
    pub(super) fn turn_to_wait(&mut self, connect: Connect, asking: Asking) {
        let Asking { device, asked, refusal } = asking;
        tracing::info!(
            target: "gateway", %device, peer = %connect.peer.addr, request = %asked.id, reason = refusal.why,
            "a device asks to be paired; approve it with: telson devices approve {}", asked.id
        );
        let mut ops = self.devices.pending.litter();
        if asked.must_write {
            ops.extend(self.devices.pending.row(&device));
        }
        if ops.is_empty() {
            return self.refuse(&connect, None, refusal);
        }
        let conn = connect.ticket.conn;
        self.handshake.storing.insert(conn);
        self.store(ops, move |gateway, result| {
            let stored = result.map_err(|error| Refusal::not_stored(ErrorShape::from(error)));
            if stored.is_ok() {
                gateway.request_written(&device, &asked);
            }
            if gateway.handshake.storing.remove(&conn) {
                gateway.refuse(&connect, None, stored.err().unwrap_or(refusal));
            }
        });
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

    /// The token of a page that has shown the secret ends with it, unless the device had it before.
    fn bind_to_secret(&mut self, claim: &Claim, token: &IssuedToken) {
        if let Some(secret) = self.settings.auth.mode.secret().filter(|_| token.issued_at_ms == self.now.wall)
        {
            self.devices.bind_token(&claim.device, claim.role, &token.value, secret);
        }
    }

    /// Lets a connection in, after its device's row is on disk.
    pub(super) fn enter(&mut self, connect: Connect, mut entry: Entry) {
        let conn = connect.ticket.conn;
        let device = entry.principal.device.clone();
        let row = device.as_ref().and_then(|device| self.devices.save(device));
        let is_row = row.is_some();
        let mut ops: Vec<Op> = row.into_iter().collect();
        ops.append(&mut entry.ops);
        if ops.is_empty() {
            return self.accept(&connect, entry);
        }
        self.handshake.storing.insert(conn);
        self.store(ops, move |gateway, result| {
            if let Some(device) = device.filter(|_| is_row) {
                gateway.devices.saved(&device, result.is_ok());
            }
            gateway.entry_stored(&connect, entry, result);
        });
    }

    fn entry_stored(&mut self, connect: &Connect, entry: Entry, result: Result<(), StoreError>) {
        match (&result, &entry.redeemed) {
            (Ok(()), Some(completed)) => self.announce_setup(completed),
            (Err(_), Some(completed)) => self.devices.setups.release(&completed.setup_id),
            (_, None) => {}
        }
        if let (Ok(()), Some(id), Some(device)) = (&result, &entry.resolved, &entry.principal.device) {
            self.announce_decision(id.clone(), device, "approved");
        }
        if !self.handshake.storing.remove(&connect.ticket.conn) {
            return; // the client did not wait
        }
        let outcome = result
            .map_err(|error| Refusal::not_stored(ErrorShape::from(error)))
            .and_then(|()| self.admission())
            .and_then(|()| self.rules_still_admit(connect, &entry.principal))
            .and_then(|()| self.still_admits(&entry.principal));
        match outcome {
            Ok(()) => self.accept(connect, entry),
            Err(refusal) => self.refuse(connect, None, refusal),
        }
    }

    /// Whether what let a connection in still does: a decision may have come while its row was written, and what
    /// it ends must not begin (spec 08 S-11, S-49).
    fn still_admits(&self, principal: &Principal) -> Result<(), Refusal> {
        let Principal { role, scopes, protocol, device, .. } = principal;
        let credential = match &principal.credential {
            Credential::Nothing => self.settings.auth.mode.as_str() == "none",
            Credential::Shared { epoch } => *epoch == self.epochs.secret,
            Credential::Vouched { epoch } => *epoch == self.epochs.vouching,
            Credential::Service { id } => self.tokens.is_good(self.now, id),
            Credential::DeviceToken { hash } => {
                device.as_ref().is_some_and(|device| self.devices.has_token(device, *role, hash))
            }
        };
        let paired = device.as_ref().is_none_or(|d| self.devices.allows(d, *role, scopes, *protocol));
        if credential && paired { Ok(()) } else { Err(Refusal::revoked_meanwhile()) }
    }

    fn accept(&mut self, connect: &Connect, entry: Entry) {
        let conn = connect.ticket.conn;
        let principal = Arc::new(entry.principal);
        tracing::info!(
            target: "gateway.ws",
            %conn, peer = %principal.addr, client = %principal.declared.shown().id, role = %principal.role,
            protocol = principal.protocol.number(), method = principal.method.as_str(), "connected"
        );
        if connect.peer.is_page() {
            self.handshake.pages.insert(conn, connect.peer.clone());
        }
        self.presence.connected(self.now, conn, &principal);
        self.conns.insert(conn, Arc::clone(&principal));
        let limits = self.limits_of(entry.dialect, &principal);
        let auth = super::hello::granted(
            entry.dialect,
            &principal,
            entry.token.as_ref(),
            entry.others,
            entry.withheld,
        );
        let hello = self.hello(&principal, auth, limits);
        let ticket = connect.ticket.clone();
        let entered = Arc::clone(&principal);
        self.tell(Down::Accept(Box::new(Accept { ticket, hello, principal, limits })));
        self.show_waiting_approvals(conn, &entered);
        if entered.role == Role::Node {
            self.node_entered(conn, &entered);
        }
        if self.handshake.may_refresh(self.now) {
            self.refresh_health();
        }
    }

    /// A request is on disk: those who manage devices hear of it, and of the one whose place it has taken.
    pub(crate) fn request_written(&mut self, device: &DeviceId, asked: &Asked) {
        self.devices.pending.written(device, &asked.id);
        if let Some(replaced) = &asked.replaced {
            self.announce_decision(replaced.clone(), device, "rejected");
        }
        if asked.is_new {
            self.announce_request(&asked.id);
        }
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
    Entry {
        dialect: request.dialect,
        principal,
        token: None,
        others: Vec::new(),
        withheld: None,
        resolved: None,
        redeemed: None,
        ops: Vec::new(),
    }
}

/// What a connection without a device asked for by name and did not get, and why.
fn withheld(request: &ConnectRequest, verified: &Verified, granted: &Scopes) -> Option<Withheld> {
    let Wanted::These(wanted) = &request.wanted else { return None };
    let scopes: Scopes = wanted.iter().filter(|scope| !granted.grants(*scope, request.protocol)).collect();
    let reason = match (verified.method, request.dialect) {
        (AuthMethod::ServiceToken, _) if !verified.scopes(request).covers(wanted, request.protocol) => {
            "the service token does not allow them; make another one with: telson tokens create"
        }
        (_, Dialect::Plain) if verified.vouched.is_some() => {
            "gateway.auth.identityScopes gives this user no more"
        }
        (_, Dialect::Plain) => "gateway.simpleDialect.maxScopes does not allow them",
        // The closed shape of a native hello has no place for it, and its clients know the rule.
        (_, Dialect::Native) => return None,
    };
    (!scopes.is_empty()).then_some(Withheld { scopes, reason })
}

fn forget_request(device: &DeviceId) -> Op {
    Op::DeleteRecord { shelf: Shelf::PairRequests, key: device.to_string() }
}

fn claim(connect: &Connect, request: &ConnectRequest, device: &ProvenDevice, scopes: Scopes) -> Claim {
    let client = &request.client;
    let normal = |word: &str| Some(short(&normal(word))).filter(|word| !word.is_empty());
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
        origin: connect.peer.origin.as_deref().map(short),
        native_app: request.kind.is_native_app(),
    }
}

/// A declared word as it is kept: without control characters, and of bounded length.
fn short(word: &str) -> String {
    const MOST: usize = 256;
    word.chars().filter(|c| !c.is_control()).take(MOST).collect()
}
