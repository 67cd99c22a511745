//! `system.execApprovals.get` and `.set`: the standing policy of this machine (spec 03 §3.5, §3.6).
//!
//! The caller names the hash of what it has seen, so that nobody's change is lost. A file that cannot be read as a
//! policy allows nothing and is never rewritten, unless a caller who has seen it replaces it (spec 08 S-50).

use serde_json::{Value, json};

use crate::approvals::policy::ApprovalsFile;
use crate::limits;

use super::desk::{Act, Desk, Errand, Fault, Outcome, Work};

/// The policy as callers see it.
fn snapshot(desk: &Desk<'_>, raw: Option<&str>, file: &ApprovalsFile) -> Value {
    json!({
        "path": desk.machine.policy,
        "exists": raw.is_some(),
        "hash": ApprovalsFile::hash(raw),
        "file": file.shown(),
    })
}

/// Reads a kept text.
pub(super) fn parse(desk: &mut Desk<'_>, raw: Option<&str>) -> ApprovalsFile {
    ApprovalsFile::parse(raw.unwrap_or_default(), || desk.entropy.uuid())
}

/// Whether a kept text may be rewritten without anybody having seen it.
pub(super) fn is_sound(raw: Option<&str>) -> bool {
    raw.is_none_or(|raw| serde_json::from_str::<ApprovalsFile>(raw).is_ok_and(|file| file.version == 1))
}

/// Reads the policy. A machine without one gets an empty one, which allows nothing.
#[derive(Default)]
pub(super) struct PolicyGet {
    /// What is being written.
    made: Option<(String, ApprovalsFile)>,
}

impl Work for PolicyGet {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        desk.act(Act::Ask(Errand::ReadPolicy));
    }

    fn told(&mut self, desk: &mut Desk<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Policy(raw) => {
                let raw = raw.as_deref();
                let mut file = parse(desk, raw);
                let socket = desk.machine.policy_socket.clone();
                if is_sound(raw) && file.ensure_socket(&socket, || desk.entropy.token()) {
                    let text = file.text();
                    self.made = Some((text.clone(), file));
                    desk.act(Act::Ask(Errand::WritePolicy { text, was: raw.map(str::to_owned) }));
                } else {
                    let shown = snapshot(desk, raw, &file);
                    desk.answer(Ok(shown));
                }
            }
            Outcome::Written => {
                let Some((text, file)) = self.made.take() else { return };
                let shown = snapshot(desk, Some(&text), &file);
                desk.answer(Ok(shown));
            }
            // Somebody was faster: what they wrote is read.
            Outcome::Changed => desk.act(Act::Ask(Errand::ReadPolicy)),
            Outcome::Failed(reason) => desk.answer(Err(Fault::unavailable(reason))),
            Outcome::Found { .. } | Outcome::Listed { .. } => {}
        }
    }
}

/// Replaces the policy.
pub(super) struct PolicySet {
    sent: Value,
    base: Option<String>,
    made: Option<(String, ApprovalsFile)>,
}

impl PolicySet {
    pub(super) fn new(params: &Value) -> Result<Self, Fault> {
        let sent = params.get("file").filter(|file| file.is_object()).cloned();
        let sent = sent.ok_or_else(|| Fault::invalid("exec approvals file required"))?;
        let base = params.get("baseHash").and_then(Value::as_str).map(|hash| hash.trim().to_owned());
        Ok(Self { sent, base: base.filter(|hash| !hash.is_empty()), made: None })
    }

    /// The text that is to be kept.
    fn replace(&self, desk: &mut Desk<'_>, raw: Option<&str>) -> Result<(String, ApprovalsFile), Fault> {
        if raw.is_some() || self.base.is_some() {
            let base = self.base.as_ref();
            let base =
                base.ok_or_else(|| Fault::invalid("exec approvals base hash required; reload and retry"))?;
            if *base != ApprovalsFile::hash(raw) {
                return Err(Fault::invalid("exec approvals changed since last load; reload and retry"));
            }
        }
        let mut file = ApprovalsFile::read(&self.sent, || desk.entropy.uuid()).map_err(Fault::invalid)?;
        if let Some(kept) = parse(desk, raw).socket {
            let socket = file.socket.get_or_insert_default();
            socket.path = socket.path.take().or(kept.path);
            socket.token = socket.token.take().or(kept.token);
        }
        let socket = desk.machine.policy_socket.clone();
        file.ensure_socket(&socket, || desk.entropy.token());
        let text = file.text();
        if text.len() as u64 > limits::APPROVALS_FILE_BYTES {
            return Err(Fault::invalid(format!(
                "the file has more than {} bytes",
                limits::APPROVALS_FILE_BYTES
            )));
        }
        Ok((text, file))
    }
}

impl Work for PolicySet {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        desk.act(Act::Ask(Errand::ReadPolicy));
    }

    fn told(&mut self, desk: &mut Desk<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Policy(raw) => match self.replace(desk, raw.as_deref()) {
                Ok((text, file)) => {
                    self.made = Some((text.clone(), file));
                    desk.act(Act::Ask(Errand::WritePolicy { text, was: raw }));
                }
                Err(fault) => desk.answer(Err(fault)),
            },
            Outcome::Written => {
                let Some((text, file)) = self.made.take() else { return };
                let shown = snapshot(desk, Some(&text), &file);
                desk.answer(Ok(shown));
            }
            Outcome::Changed => {
                desk.answer(Err(Fault::invalid("exec approvals changed since last load; reload and retry")));
            }
            Outcome::Failed(reason) => desk.answer(Err(Fault::unavailable(reason))),
            Outcome::Found { .. } | Outcome::Listed { .. } => {}
        }
    }
}
