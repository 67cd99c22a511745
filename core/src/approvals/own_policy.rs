//! This gateway's own approvals file (spec 03 §3.5).
//!
//! The older systems keep it as `exec-approvals.json`; here it is a record of the store, which tells the same
//! text, the same hash and that path. Who writes it says from which text it was made, so that nobody undoes
//! another's change unseen.

use serde_json::{Value, json};
use telson_proto::approval::{PolicySet, PolicySnapshot};
use telson_proto::params::{NoParams, Text};
use telson_proto::{ErrorShape, Json, Protocol};

use super::evaluate::Policy;
use super::policy::{ApprovalsFile, FileFault, Socket};
use crate::auth::{Effect, authorize};
use crate::entropy::Entropy;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::Ticket;
use crate::messages::Outcome;
use crate::store::{Op, Record, Shelf};

const KEY: &str = "own";

/// The file. See the [module documentation](self).
#[derive(Default)]
pub(super) struct OwnPolicy {
    /// The text on disk.
    raw: Option<String>,
    /// Whether another text is being written.
    writing: bool,
}

impl OwnPolicy {
    /// Takes over the text that was kept.
    pub(super) fn restore(&mut self, record: &str) {
        self.raw = serde_json::from_str::<String>(record).ok();
    }

    /// The file with its socket, as it is or as it is to be.
    fn file(&self, state_dir: &str, entropy: &mut Entropy) -> (ApprovalsFile, bool) {
        let mut file = ApprovalsFile::parse(self.raw.as_deref().unwrap_or_default(), || entropy.uuid());
        file.ensure_socket(&format!("{state_dir}/exec-approvals.sock"), || entropy.token());
        let same = self.raw.as_deref() == Some(file.text().as_str());
        (file, same)
    }
}

/// `exec.approvals.get`: the file without its secret. The first time it is made.
pub(crate) fn policy_get(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<PolicySnapshot> {
    authorize(&call.principal, &Effect::SeeApprovalPolicy)?;
    let (file, same) = gateway.own_policy();
    if same {
        return Ok(Reply::Ready(gateway.policy_snapshot(&file, call.protocol())));
    }
    gateway.write_policy(file, call.ticket, call.principal.protocol)?;
    Ok(Reply::Later)
}

/// `exec.approvals.set`: another file in its place, made from the present one.
pub(crate) fn policy_set(gateway: &mut Gateway, call: Call<PolicySet>) -> Answer<PolicySnapshot> {
    authorize(&call.principal, &Effect::ChangeApprovalPolicy)?;
    let protocol = call.protocol();
    let (present, _) = gateway.own_policy();
    check_base(&present, call.params.base_hash.as_ref().map(Text::as_str))?;
    let entropy = &mut gateway.entropy;
    let sent = ApprovalsFile::read(&call.params.file, || entropy.uuid()).map_err(|fault| match fault {
        FileFault::Missing => ErrorShape::invalid(fault.to_string()),
        fault => ErrorShape::invalid(format!("invalid exec.approvals.set params: {fault}")),
    })?;
    let file = ApprovalsFile { socket: Some(merged(sent.socket.as_ref(), present.socket.as_ref())), ..sent };
    gateway.write_policy(file, call.ticket, protocol)?;
    Ok(Reply::Later)
}

/// Whether the caller knows the present file.
fn check_base(present: &ApprovalsFile, base: Option<&str>) -> Result<(), ErrorShape> {
    let again = "re-run exec.approvals.get and retry";
    let base = base.map(str::trim).filter(|hash| !hash.is_empty());
    let base =
        base.ok_or_else(|| ErrorShape::invalid(format!("exec approvals base hash required; {again}")))?;
    if base == ApprovalsFile::hash(Some(&present.text())) {
        return Ok(());
    }
    Err(ErrorShape::invalid(format!("exec approvals changed since last load; {again}")))
}

/// The socket stays unless the caller brings another one.
fn merged(sent: Option<&Socket>, present: Option<&Socket>) -> Socket {
    let own = |get: fn(&Socket) -> &Option<String>| {
        sent.and_then(|socket| get(socket).clone()).or_else(|| present.and_then(|socket| get(socket).clone()))
    };
    Socket { path: own(|socket| &socket.path), token: own(|socket| &socket.token) }
}

impl Gateway {
    fn own_policy(&mut self) -> (ApprovalsFile, bool) {
        self.approvals.policy.file(&self.settings.facts.state_dir, &mut self.entropy)
    }

    /// Writes the file, then answers with it.
    fn write_policy(
        &mut self,
        file: ApprovalsFile,
        ticket: Ticket,
        protocol: Protocol,
    ) -> Result<(), ErrorShape> {
        if self.approvals.policy.writing {
            let message = "the approvals file is being written; re-run exec.approvals.get and retry";
            return Err(ErrorShape::unavailable(message).retry_after(500));
        }
        self.approvals.policy.writing = true;
        let text = file.text();
        let record = Record { shelf: Shelf::ApprovalPolicy, key: KEY.to_owned(), record: Json::of(&text) };
        self.store(vec![Op::PutRecord(record)], move |gateway, result| {
            gateway.approvals.policy.writing = false;
            let outcome = match result {
                Ok(()) => {
                    gateway.approvals.policy.raw = Some(text);
                    Outcome::ok(Json::of(&gateway.policy_snapshot(&file, protocol)))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
        Ok(())
    }

    fn policy_snapshot(&self, file: &ApprovalsFile, protocol: Protocol) -> PolicySnapshot {
        PolicySnapshot {
            path: format!("{}/exec-approvals.json", self.settings.facts.state_dir),
            exists: true,
            hash: ApprovalsFile::hash(Some(&file.text())),
            file: serde_json::to_value(file.shown()).unwrap_or(Value::Null),
            resolved_defaults: (protocol == Protocol::V4).then(|| resolved(file)),
        }
    }
}

/// What holds for an agent of whom the file says nothing.
fn resolved(file: &ApprovalsFile) -> Value {
    let defaults = ApprovalsFile { agents: std::collections::BTreeMap::new(), ..file.clone() };
    let policy = Policy::of(&defaults, "*");
    json!({
        "security": policy.security.as_str(),
        "ask": policy.ask.as_str(),
        // Whatever the file says: a question that nobody answers allows nothing (08 S-57).
        "askFallback": "deny",
        "autoAllowSkills": policy.auto_allow_skills,
    })
}
