//! From a request to its method and back (spec 03 §1.1): scope, lookup, parameters, answer.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use telson_proto::{ErrorShape, Json, Protocol};

use crate::audit::Audited;
use crate::auth::{Principal, require, wrong_role};
use crate::entropy::hex;
use crate::ids::Ticket;
use crate::messages::{Outcome, Request};

use super::methods::{METHODS, Method, Need};
use super::{Gateway, Phase};

/// A call of a method: who calls, what to answer to, and the parameters.
#[derive(Debug)]
pub struct Call<P> {
    /// Who calls.
    pub principal: Arc<Principal>,
    /// The request to answer.
    pub ticket: Ticket,
    /// The parameters.
    pub params: P,
    /// Hex SHA-256 of the parameters' content, whatever their spelling.
    pub digest: String,
}

impl<P> Call<P> {
    /// The protocol of the caller, which fixes payload shapes.
    pub fn protocol(&self) -> Protocol {
        self.principal.protocol
    }
}

/// What a method says at once.
#[derive(Debug)]
pub enum Reply<R> {
    /// The result.
    Ready(R),
    /// The method keeps the ticket and answers when an effect has come back.
    Later,
}

/// A method's answer.
pub type Answer<R> = Result<Reply<R>, ErrorShape>;

/// A call whose parameters have not been read yet.
pub(super) struct RawCall {
    principal: Arc<Principal>,
    ticket: Ticket,
    method: &'static str,
    params: Option<Box<RawValue>>,
    /// The method has a deadline of its own.
    takes_its_time: bool,
}

impl Gateway {
    pub(super) fn dispatch(&mut self, request: Request) {
        let Some(principal) = self.conns.get(&request.ticket.conn).cloned() else { return };
        tracing::trace!(target: "gateway.ws", conn = %request.ticket.conn, method = %request.method, "request");
        let ticket = request.ticket.clone();
        if let Err(error) = self.admit_and_run(principal, request) {
            self.reply(ticket, Outcome::error(error));
        }
    }

    fn admit_and_run(&mut self, principal: Arc<Principal>, request: Request) -> Result<(), ErrorShape> {
        let Request { ticket, method, params } = request;
        let found = find(&method, principal.protocol);
        if let Err(error) = check_access(&principal, found) {
            self.audit_denial(&principal, found.map(|method| method.name), &error);
            return Err(error);
        }
        let Some(found) = found else {
            return Err(match method.as_str() {
                "connect" => ErrorShape::invalid("connect is only valid as the first request"),
                _ => ErrorShape::invalid(format!("unknown method: {}", shown(&method))),
            });
        };
        if self.phase != Phase::Serving && found.starts_work {
            return Err(draining(found.name));
        }
        let (method, takes_its_time) = (found.name, found.takes_its_time);
        let audited = found.audited(principal.protocol);
        if audited == Audited::Calls {
            self.audit_call(&principal, &ticket, method, params.as_deref().map(RawValue::get));
        }
        let who = Arc::clone(&principal);
        let outcome = (found.run)(self, RawCall { principal, ticket, method, params, takes_its_time });
        if let (Err(error), Audited::Denials) = (&outcome, audited) {
            self.audit_denial(&who, Some(method), error);
        }
        outcome
    }
}

/// The method of this name that exists for the protocol.
fn find(name: &str, protocol: Protocol) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name && !matches!(method.need(protocol), Need::Absent))
}

/// The first gate. It comes before the lookup's outcome is told: an unknown method asks for admin, so that
/// nobody learns by asking what exists (spec 01 §6.3).
fn check_access(principal: &Principal, method: Option<&Method>) -> Result<(), ErrorShape> {
    use telson_proto::{Role, Scope};
    match (method.map(|method| method.need(principal.protocol)), principal.role) {
        (Some(Need::Anyone), _) => Ok(()),
        (Some(Need::Operator), Role::Operator) | (Some(Need::Node), Role::Node) => Ok(()),
        (Some(Need::Node), role) => Err(wrong_role(role)),
        (_, Role::Node) => Err(wrong_role(Role::Node)),
        (Some(Need::Scope(scope)), _) => require(principal, scope),
        (Some(Need::Absent) | None, Role::Operator) => require(principal, Scope::Admin),
    }
}

/// Reads the parameters, calls the method and answers unless it answers later.
pub(super) fn typed<P: DeserializeOwned, R: Serialize>(
    gateway: &mut Gateway,
    call: RawCall,
    method: fn(&mut Gateway, Call<P>) -> Answer<R>,
) -> Result<(), ErrorShape> {
    let text = call.params.as_deref().map_or("{}", RawValue::get);
    let params = read_params(call.method, text, call.principal.protocol)?;
    let digest = digest(text);
    let ticket = call.ticket.clone();
    if !call.takes_its_time {
        gateway.deadlines.wait(gateway.now, ticket.clone(), call.method);
    }
    match method(gateway, Call { principal: call.principal, ticket: call.ticket, params, digest })? {
        Reply::Ready(result) => gateway.reply(ticket, Outcome::ok(Json::of(&result))),
        Reply::Later => {}
    }
    Ok(())
}

/// Reads parameters. Protocol 3 has closed parameter objects; protocol 4 clients come in more versions than
/// one, so members that nobody knows are ignored there.
///
/// # Errors
///
/// `invalid <method> params: <detail>`, the detail in the reference's wording (spec 02 §2.1).
pub(crate) fn read_params<P: DeserializeOwned>(
    method: &str,
    text: &str,
    protocol: Protocol,
) -> Result<P, ErrorShape> {
    let invalid = |detail: &str| ErrorShape::invalid(format!("invalid {method} params: {detail}"));
    if !text.trim_start().starts_with('{') {
        return Err(invalid("at root: must be object"));
    }
    let unknown = RefCell::new(BTreeSet::new());
    let mut json = serde_json::Deserializer::from_str(text);
    let mut note = |path: serde_ignored::Path<'_>| {
        unknown.borrow_mut().insert(path.to_string());
    };
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = P::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
    let params = read.map_err(|error| invalid(&detail(&track.path().to_string(), &error.to_string())))?;
    if protocol == Protocol::V3
        && let Some(path) = unknown.borrow().first()
    {
        return Err(invalid(&unexpected(path)));
    }
    Ok(params)
}

fn unexpected(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((parent, name)) => format!("at /{}: unexpected property '{name}'", parent.replace('.', "/")),
        None => format!("at root: unexpected property '{path}'"),
    }
}

/// Turns serde's wording into the one that clients know.
fn detail(path: &str, message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let sentence = format!("must have required property '{field}'");
        return if path == "." { sentence } else { format!("at {}: {sentence}", pointer(path)) };
    }
    match path {
        "." => format!("at root: {message}"),
        path => format!("at {}: {message}", pointer(path)),
    }
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace(['.', '['], "/").replace(']', ""))
}

fn digest(text: &str) -> String {
    // A `Value` keeps its members sorted, so two spellings of the same parameters agree.
    let canonical =
        serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| text.to_owned(), |v| v.to_string());
    hex(Sha256::digest(canonical.as_bytes()).as_slice())
}

/// A method's name as it may stand in an error: short, and without control characters.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn draining(method: &str) -> ErrorShape {
    ErrorShape::unavailable(format!("{method} unavailable during gateway restart"))
        .with_details(
            &serde_json::json!({"method": method, "reason": "gateway-restarting", "phase": "draining"}),
        )
        .retry_after(1_000)
}
