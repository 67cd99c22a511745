//! The lines that the dispatch of requests writes.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use telson_proto::{ErrorCode, ErrorShape};

use super::Verdict;
use crate::auth::Principal;
use crate::gateway::{Gateway, Phase};
use crate::ids::{ConnId, Ticket};
use crate::messages::Outcome;
use crate::store::AuditRecord;

/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 128;

/// A call that will be noted when it is answered.
pub(super) struct OpenCall {
    conn: ConnId,
    who: Arc<Principal>,
    method: &'static str,
    subject: String,
}

/// The members by which parameters name what they are about. None of them carries a secret or people's words.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    request_id: Option<Value>,
    device_id: Option<Value>,
    node_id: Option<Value>,
    token_id: Option<Value>,
    grant_id: Option<Value>,
    id: Option<Value>,
    key: Option<Value>,
    session_key: Option<Value>,
    agent_id: Option<Value>,
}

/// What a call is about, as far as its parameters name it.
pub(super) fn subject(params: &str) -> String {
    let object = Some(params).filter(|params| params.trim_start().starts_with('{'));
    let named: Named = object.and_then(|params| serde_json::from_str(params).ok()).unwrap_or_default();
    let Named { request_id, device_id, node_id, token_id, grant_id, id, key, session_key, agent_id } = named;
    let first = [request_id, device_id, node_id, token_id, grant_id, id, key, session_key, agent_id];
    let name = first.into_iter().flatten().find_map(|value| value.as_str().map(str::to_owned));
    name.map_or_else(String::new, |name| plain(&name))
}

/// A name with nothing in it but what names are made of.
fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._:@/*+-".contains(c);
    name.chars().map(|c| if fits(c) { c } else { '_' }).take(LONGEST_SUBJECT).collect()
}

/// Whether an error says that the caller may not.
pub(super) fn is_denial(error: &ErrorShape) -> bool {
    matches!(error.code, ErrorCode::Forbidden | ErrorCode::NotPaired)
        || error.message.starts_with("missing scope: ")
        || error.message.starts_with("unauthorized role: ")
}

/// What the book says of an error: why not, but none of the caller's words, which a message may quote.
fn verdict(error: &ErrorShape) -> Verdict {
    let details = error.details.as_ref().map(telson_proto::Json::to_value).unwrap_or_default();
    let word = ["reason", "code"].iter().find_map(|name| details.get(name).and_then(Value::as_str));
    if error.message.starts_with("missing scope: ") || error.message.starts_with("unauthorized role: ") {
        return Verdict::Denied(error.message.clone());
    }
    let code = error.code.as_str();
    let reason = word.map_or_else(|| code.to_owned(), |word| format!("{code}: {}", plain(word)));
    if is_denial(error) { Verdict::Denied(reason) } else { Verdict::Failed(reason) }
}

impl Gateway {
    /// A call that the book wants to know about has begun.
    pub(crate) fn audit_call(
        &mut self,
        who: &Arc<Principal>,
        ticket: &Ticket,
        method: &'static str,
        params: Option<&str>,
    ) {
        let subject = params.map(subject).unwrap_or_default();
        let call = OpenCall { conn: ticket.conn, who: Arc::clone(who), method, subject };
        self.audit.open.insert(ticket.serial, call);
    }

    /// A request is answered.
    pub(crate) fn audit_answer(&mut self, ticket: &Ticket, outcome: &Outcome) {
        let Some(call) = self.audit.open.remove(&ticket.serial) else { return };
        let verdict = outcome.error.as_ref().map_or(Verdict::Done, verdict);
        self.write_call(&call, &verdict);
    }

    /// A connection is gone, and with it whoever waited for an answer.
    pub(crate) fn audit_gone(&mut self, conn: ConnId) {
        let serials: Vec<u64> =
            self.audit.open.iter().filter(|(_, call)| call.conn == conn).map(|(serial, _)| *serial).collect();
        for serial in serials {
            if let Some(call) = self.audit.open.remove(&serial) {
                self.write_call(&call, &Verdict::Failed("the client left before the answer".to_owned()));
            }
        }
    }

    fn write_call(&mut self, call: &OpenCall, verdict: &Verdict) {
        let (outcome, _) = verdict.parts();
        if !self.audit.was_told(&call.who.actor(), call.method, outcome) {
            self.note_deed(&call.who, call.method, &call.subject, verdict);
        }
    }

    /// A request was refused to a caller who may not.
    pub(crate) fn audit_denial(&mut self, who: &Principal, method: Option<&'static str>, error: &ErrorShape) {
        if is_denial(error) {
            // What does not exist has no name but the caller's, which stays out of the book.
            self.note_deed(who, method.unwrap_or("unknown method"), "", &verdict(error));
        }
    }

    /// Somebody was not let in.
    pub(crate) fn audit_stranger(&mut self, address: IpAddr, action: &str, why: &str) {
        if self.phase() != Phase::Serving {
            return;
        }
        self.fold_line(AuditRecord {
            at: self.now.wall,
            actor: "stranger".to_owned(),
            address: address.to_string(),
            action: action.to_owned(),
            subject: String::new(),
            outcome: "denied".to_owned(),
            reason: Some(why.to_owned()),
        });
    }

    fn note_deed(&mut self, who: &Principal, action: &str, subject: &str, verdict: &Verdict) {
        let (outcome, reason) = verdict.parts();
        self.fold_line(AuditRecord {
            at: self.now.wall,
            actor: who.actor(),
            address: who.addr.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
            reason,
        });
    }
}
