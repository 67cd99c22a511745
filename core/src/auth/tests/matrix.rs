//! The authority matrix: every kind of principal, every method, every effect (DESIGN.md, *Authority*).
//!
//! The expected cells are the specification's own tables (spec 01 §6.2–§6.5), written down here a second time
//! on purpose. A method or an effect without a cell breaks the test or the build.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use telson_proto::{Protocol, Role, Scope, Scopes};

use crate::auth::{AuthMethod, Client, Credential, Declared, Effect, Principal, authorize};
use crate::gateway::{Gateway, Input, METHODS, Output};
use crate::ids::{ConnId, SessionKey, Ticket};
use crate::messages::{Down, Request, Up};
use crate::settings::{AuthMode, Settings};
use crate::store::Loaded;
use crate::{Now, Seed};

/// What the specification asks of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Anyone,
    Operator,
    Node,
    Needs(Scope),
    /// No such method: as any unknown one, it asks for admin and then does not exist.
    Unknown,
}

const READ: Cell = Cell::Needs(Scope::Read);
const WRITE: Cell = Cell::Needs(Scope::Write);
const ADMIN: Cell = Cell::Needs(Scope::Admin);
const PAIRING: Cell = Cell::Needs(Scope::Pairing);
const APPROVALS: Cell = Cell::Needs(Scope::Approvals);
const TALK: Cell = Cell::Needs(Scope::Talk);

/// Method, protocol 3 (§6.3), protocol 4 (§6.4, §6.5).
const METHOD_CELLS: &[(&str, Cell, Cell)] = &[
    ("health", READ, Cell::Anyone),
    ("status", READ, READ),
    ("system-presence", READ, READ),
    ("system-event", ADMIN, ADMIN),
    ("last-heartbeat", READ, READ),
    ("talk.mode", WRITE, TALK),
    ("config.get", ADMIN, READ),
    ("chat.send", WRITE, WRITE),
    ("chat.history", READ, READ),
    ("chat.startup", Cell::Unknown, READ),
    ("chat.abort", WRITE, WRITE),
    ("chat.inject", ADMIN, ADMIN),
    ("commands.list", Cell::Unknown, READ),
    ("agent", WRITE, WRITE),
    ("agent.wait", WRITE, WRITE),
    ("agent.identity.get", READ, READ),
    ("agents.list", READ, READ),
    ("models.list", READ, READ),
    ("sessions.list", READ, READ),
    ("sessions.preview", READ, READ),
    ("sessions.resolve", ADMIN, READ),
    ("sessions.subscribe", Cell::Unknown, READ),
    ("sessions.patch", ADMIN, Cell::Operator),
    ("sessions.reset", ADMIN, ADMIN),
    ("sessions.search", Cell::Unknown, READ),
    ("sessions.usage", Cell::Unknown, READ),
    ("sessions.usage.timeseries", Cell::Unknown, READ),
    ("sessions.usage.logs", Cell::Unknown, READ),
    ("usage.cost", READ, READ),
    ("usage.status", READ, READ),
    ("sessions.delete", ADMIN, WRITE),
    ("sessions.compact", ADMIN, ADMIN),
    ("sessions.cleanup", Cell::Unknown, ADMIN),
    ("sessions.recover", Cell::Unknown, WRITE),
    ("sessions.groups.list", Cell::Unknown, READ),
    ("sessions.groups.put", Cell::Unknown, WRITE),
    ("sessions.groups.rename", Cell::Unknown, WRITE),
    ("sessions.groups.delete", Cell::Unknown, WRITE),
    ("session.typing", Cell::Unknown, WRITE),
    ("sessions.create", Cell::Unknown, WRITE),
    ("sessions.send", Cell::Unknown, WRITE),
    ("sessions.steer", Cell::Unknown, WRITE),
    ("sessions.abort", Cell::Unknown, WRITE),
    ("sessions.describe", Cell::Unknown, READ),
    ("sessions.get", Cell::Unknown, READ),
    ("sessions.messages.subscribe", Cell::Unknown, READ),
    ("sessions.messages.unsubscribe", Cell::Unknown, READ),
    ("sessions.patchMany", Cell::Unknown, Cell::Operator),
    ("sessions.fork", Cell::Unknown, WRITE),
    ("sessions.rewind", Cell::Unknown, ADMIN),
    ("sessions.branches.list", Cell::Unknown, READ),
    ("sessions.branches.switch", Cell::Unknown, ADMIN),
    ("chat.metadata", Cell::Unknown, READ),
    ("chat.message.get", Cell::Unknown, READ),
    ("device.pair.list", PAIRING, PAIRING),
    ("device.pair.approve", PAIRING, PAIRING),
    ("device.pair.reject", PAIRING, PAIRING),
    ("device.pair.remove", Cell::Unknown, PAIRING),
    ("device.pair.rename", Cell::Unknown, PAIRING),
    ("device.token.rotate", PAIRING, PAIRING),
    ("device.token.revoke", PAIRING, PAIRING),
    ("device.scopes.requestUpgrade", Cell::Unknown, Cell::Operator),
    ("device.scopes.waitUpgrade", Cell::Unknown, Cell::Operator),
    ("device.pair.setupCode", Cell::Unknown, ADMIN),
    ("device.pair.setupStatus", Cell::Unknown, ADMIN),
    ("tokens.create", ADMIN, ADMIN),
    ("tokens.list", ADMIN, ADMIN),
    ("tokens.revoke", ADMIN, ADMIN),
    ("exec.approval.request", APPROVALS, APPROVALS),
    ("exec.approval.resolve", APPROVALS, APPROVALS),
    ("exec.approval.waitDecision", Cell::Unknown, APPROVALS),
    ("exec.approval.get", Cell::Unknown, APPROVALS),
    ("exec.approval.list", Cell::Unknown, APPROVALS),
    ("exec.approval.grants.list", Cell::Unknown, APPROVALS),
    ("exec.approval.grants.revoke", Cell::Unknown, APPROVALS),
    ("approval.get", Cell::Unknown, APPROVALS),
    ("approval.resolve", Cell::Unknown, APPROVALS),
    ("approval.history", Cell::Unknown, APPROVALS),
    ("plugin.approval.request", Cell::Unknown, APPROVALS),
    ("plugin.approval.waitDecision", Cell::Unknown, APPROVALS),
    ("plugin.approval.list", Cell::Unknown, APPROVALS),
    ("plugin.approval.resolve", Cell::Unknown, APPROVALS),
    ("exec.approvals.get", ADMIN, ADMIN),
    ("exec.approvals.set", ADMIN, ADMIN),
    ("exec.approvals.node.get", ADMIN, ADMIN),
    ("exec.approvals.node.set", ADMIN, ADMIN),
    ("audit.list", ADMIN, ADMIN),
    ("tools.catalog", Cell::Unknown, READ),
    ("tools.effective", Cell::Unknown, READ),
    ("node.list", READ, READ),
    ("node.describe", READ, READ),
    ("node.rename", PAIRING, PAIRING),
    ("node.invoke", WRITE, WRITE),
    ("node.pair.list", PAIRING, PAIRING),
    ("node.pair.approve", PAIRING, PAIRING),
    ("node.pair.reject", PAIRING, PAIRING),
    ("node.pair.remove", Cell::Unknown, PAIRING),
    ("node.pair.request", PAIRING, Cell::Unknown),
    ("node.pair.verify", PAIRING, Cell::Unknown),
    ("node.pending.enqueue", Cell::Unknown, WRITE),
    ("node.invoke.result", Cell::Node, Cell::Node),
    ("node.event", Cell::Node, Cell::Node),
    ("skills.bins", Cell::Node, Cell::Node),
    ("node.invoke.progress", Cell::Unknown, Cell::Node),
    ("node.pending.drain", Cell::Unknown, Cell::Node),
    ("node.pending.pull", Cell::Unknown, Cell::Node),
    ("node.pending.ack", Cell::Unknown, Cell::Node),
    // Not ours: what does not exist asks for admin.
    ("connect", Cell::Unknown, Cell::Unknown),
    ("no.such.method", Cell::Unknown, Cell::Unknown),
];

/// Every effect once. A new effect breaks the build here and asks for its cell.
fn effect_cells() -> Vec<(Effect, Scope, Scope)> {
    let session = || SessionKey::new("agent:main:main");
    let all = [
        (Effect::RunAgent { session: session() }, Scope::Write, Scope::Write),
        (Effect::AbortRun { session: session() }, Scope::Write, Scope::Write),
        (Effect::InjectMessage { session: session() }, Scope::Admin, Scope::Admin),
        (Effect::PatchSession { session: session(), light: true }, Scope::Admin, Scope::Write),
        (Effect::PatchSession { session: session(), light: false }, Scope::Admin, Scope::Admin),
        (Effect::EndSession { session: session() }, Scope::Admin, Scope::Admin),
        (Effect::EndArchived { session: session() }, Scope::Admin, Scope::Write),
        (Effect::CreateSession { session: session(), heavy: false }, Scope::Admin, Scope::Write),
        (Effect::CreateSession { session: session(), heavy: true }, Scope::Admin, Scope::Admin),
        (Effect::RewindSession { session: session() }, Scope::Admin, Scope::Admin),
        (Effect::ReadSessions, Scope::Read, Scope::Read),
        (Effect::PostSystemEvent, Scope::Admin, Scope::Admin),
        (Effect::SwitchTalkMode, Scope::Write, Scope::Talk),
        (Effect::SeeDevices, Scope::Pairing, Scope::Pairing),
        (Effect::SeeConfig, Scope::Admin, Scope::Read),
        (Effect::SeeTools, Scope::Read, Scope::Read),
        (Effect::FetchPublicUrl, Scope::Write, Scope::Write),
        (Effect::OperateGateway, Scope::Admin, Scope::Admin),
        (Effect::ManageDevices, Scope::Pairing, Scope::Pairing),
        (Effect::IssueSetupCode, Scope::Admin, Scope::Admin),
        (Effect::ManageServiceTokens, Scope::Admin, Scope::Admin),
        (Effect::SeeNodes, Scope::Read, Scope::Read),
        (Effect::InvokeNode { admin: false }, Scope::Write, Scope::Write),
        (Effect::InvokeNode { admin: true }, Scope::Admin, Scope::Admin),
        (Effect::ManageNodes, Scope::Pairing, Scope::Pairing),
        (Effect::LendCommands { host: false }, Scope::Write, Scope::Write),
        (Effect::LendCommands { host: true }, Scope::Admin, Scope::Admin),
        (Effect::RequestApproval, Scope::Approvals, Scope::Approvals),
        (Effect::SeeApprovals, Scope::Approvals, Scope::Approvals),
        (Effect::DecideApproval, Scope::Approvals, Scope::Approvals),
        (Effect::SeeApprovalPolicy, Scope::Admin, Scope::Admin),
        (Effect::ChangeApprovalPolicy, Scope::Admin, Scope::Admin),
        (Effect::ReadAudit, Scope::Admin, Scope::Admin),
    ];
    let mut seen = [false; 29];
    for (effect, ..) in &all {
        seen[place(effect)] = true;
    }
    assert_eq!(seen, [true; 29], "every effect has a cell");
    all.into()
}

/// Exhaustive, so that an effect cannot be forgotten.
fn place(effect: &Effect) -> usize {
    match effect {
        Effect::RunAgent { .. } => 0,
        Effect::AbortRun { .. } => 1,
        Effect::InjectMessage { .. } => 2,
        Effect::PatchSession { .. } => 3,
        Effect::EndSession { .. } => 4,
        Effect::ReadSessions => 5,
        Effect::PostSystemEvent => 6,
        Effect::SwitchTalkMode => 7,
        Effect::SeeDevices => 8,
        Effect::SeeConfig => 9,
        Effect::EndArchived { .. } => 10,
        Effect::CreateSession { .. } => 11,
        Effect::RewindSession { .. } => 12,
        Effect::SeeTools => 13,
        Effect::FetchPublicUrl => 14,
        Effect::OperateGateway => 15,
        Effect::ManageDevices => 16,
        Effect::IssueSetupCode => 17,
        Effect::ManageServiceTokens => 18,
        Effect::SeeNodes => 19,
        Effect::InvokeNode { .. } => 20,
        Effect::ManageNodes => 21,
        Effect::LendCommands { .. } => 22,
        Effect::RequestApproval => 23,
        Effect::SeeApprovals => 24,
        Effect::DecideApproval => 25,
        Effect::SeeApprovalPolicy => 26,
        Effect::ChangeApprovalPolicy => 27,
        Effect::ReadAudit => 28,
    }
}

/// Every kind of principal: each scope alone, none, all; by each method of proof; operators and nodes.
fn principals() -> Vec<Principal> {
    let mut sets: Vec<Scopes> = Scope::ALL.into_iter().map(|scope| Scopes::from_iter([scope])).collect();
    sets.extend([Scopes::none(), Scopes::all()]);
    let methods = [
        AuthMethod::None,
        AuthMethod::Token,
        AuthMethod::Password,
        AuthMethod::DeviceToken,
        AuthMethod::BootstrapToken,
        AuthMethod::ServiceToken,
    ];
    let mut all = Vec::new();
    for protocol in Protocol::ALL {
        for role in [Role::Operator, Role::Node] {
            for scopes in &sets {
                for method in methods {
                    all.push(principal(protocol, role, scopes.clone(), method));
                }
            }
        }
    }
    all
}

fn principal(protocol: Protocol, role: Role, scopes: Scopes, method: AuthMethod) -> Principal {
    Principal {
        role,
        scopes,
        method,
        credential: Credential::Shared { epoch: 0 },
        user: None,
        device: None,
        protocol,
        addr: IpAddr::from([10, 0, 0, 1]),
        local: false,
        declared: Declared::new(Client::default()),
    }
}

/// §6.2, said again.
fn satisfied(principal: &Principal, needed: Scope) -> bool {
    let has = |scope: Scope| principal.scopes.iter().any(|held| held == scope);
    let v4 = principal.protocol == Protocol::V4;
    principal.role == Role::Operator
        && (has(Scope::Admin)
            || has(needed)
            || (needed == Scope::Read && has(Scope::Write))
            || (needed == Scope::Talk && has(Scope::Write) && v4))
}

/// What an answer says about the caller's authority.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    WrongRole,
    Missing(String),
}

fn expected(principal: &Principal, cell: Cell) -> Verdict {
    let needed = match cell {
        Cell::Anyone => return Verdict::Passed,
        Cell::Node if principal.role == Role::Node => return Verdict::Passed,
        Cell::Node => return Verdict::WrongRole,
        _ if principal.role == Role::Node => return Verdict::WrongRole,
        Cell::Operator => return Verdict::Passed,
        Cell::Needs(scope) => scope,
        Cell::Unknown => Scope::Admin,
    };
    if satisfied(principal, needed) { Verdict::Passed } else { Verdict::Missing(needed.to_string()) }
}

fn verdict(message: Option<&str>) -> Verdict {
    let Some(message) = message else { return Verdict::Passed };
    if message.starts_with("unauthorized role:") {
        return Verdict::WrongRole;
    }
    message
        .strip_prefix("missing scope: ")
        .map_or(Verdict::Passed, |scope| Verdict::Missing(scope.to_owned()))
}

/// A gateway in service, into which connections are put by hand.
fn serving() -> Gateway {
    let now = Now { mono: Duration::ZERO, wall: 1 };
    let mut gateway = Gateway::new(Settings::plain(AuthMode::None), Seed::from([1; 32]), now);
    gateway.handle(now, Input::Started);
    while let Some(output) = gateway.poll_output() {
        if let Output::Load { id, .. } = output {
            let result = Ok(Loaded::Everything(Box::default()));
            gateway.handle(now, Input::Loaded { id, result });
        }
    }
    gateway
}

/// Calls a method with empty parameters; the error's message if it fails at once.
fn call(gateway: &mut Gateway, principal: &Principal, method: &str) -> Option<String> {
    let conn = ConnId(1);
    gateway.conns.insert(conn, Arc::new(principal.clone()));
    let ticket = Ticket { conn, id: "1".to_owned(), serial: 1 };
    let params = RawValue::from_string("{}".to_owned()).ok();
    let request = Request { ticket, method: method.to_owned(), params };
    gateway.handle(gateway.now, Input::Up(Up::Request(request)));
    let mut message = None;
    while let Some(output) = gateway.poll_output() {
        if let Output::Down(Down::Reply { outcome, .. }) = output {
            message = outcome.error.map(|error| error.message);
        }
    }
    message
}

#[test]
fn every_method_asks_of_every_principal_what_the_specification_says() {
    for method in METHODS {
        let rows = METHOD_CELLS.iter().filter(|(name, ..)| *name == method.name).count();
        assert_eq!(rows, 1, "{} has no cell: add it from spec 01 §6.3 and §6.4", method.name);
    }
    let mut gateway = serving();
    for principal in principals() {
        for (method, v3, v4) in METHOD_CELLS {
            let cell = if principal.protocol == Protocol::V3 { *v3 } else { *v4 };
            let message = call(&mut gateway, &principal, method);
            assert_eq!(verdict(message.as_deref()), expected(&principal, cell), "{method} for {principal:?}");
            let exists = METHODS.iter().any(|m| m.name == *method) && cell != Cell::Unknown;
            if !exists && verdict(message.as_deref()) == Verdict::Passed {
                assert!(message.is_some(), "{method} is called though it does not exist");
            }
        }
    }
}

#[test]
fn every_effect_asks_of_every_principal_what_the_specification_says() {
    for principal in principals() {
        for (effect, v3, v4) in effect_cells() {
            let needed = if principal.protocol == Protocol::V3 { v3 } else { v4 };
            let outcome = authorize(&principal, &effect).err();
            let message = outcome.as_ref().map(|error| error.message.as_str());
            let expected = expected(&principal, Cell::Needs(needed));
            assert_eq!(verdict(message), expected, "{effect:?} for {principal:?}");
            let code = outcome.map(|error| error.code.as_str());
            match (expected, principal.protocol) {
                (Verdict::Missing(_), Protocol::V4) => assert_eq!(code, Some("FORBIDDEN")),
                (Verdict::Passed, _) => assert_eq!(code, None),
                _ => assert_eq!(code, Some("INVALID_REQUEST")),
            }
        }
    }
}
