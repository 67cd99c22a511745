//! What the end of a run is to a client: an answer, or a failure (spec 04 §5.4).

use super::errors::Refusal;
use super::tools::Must;
use crate::providers::Usage;
use crate::providers::request::ToolCall;
use crate::runs::RunResult;

/// The answer of a run that has said nothing.
pub(super) const NOTHING: &str = "No response from OpenClaw.";

/// An answer.
#[derive(Debug, PartialEq)]
pub(super) struct Said<'a> {
    /// The words; blank when the model has only called tools.
    pub(super) text: String,
    pub(super) calls: &'a [ToolCall],
    /// Whether the limit on tokens has cut it short.
    pub(super) cut: bool,
}

/// What a run has come to.
///
/// # Errors
///
/// The failure to tell, without what is inside.
pub(super) fn of<'a>(result: &'a RunResult, must: &Must) -> Result<Said<'a>, Refusal> {
    if let Some(failure) = &result.failure {
        tracing::warn!(target: "gateway.http", reason = %failure.message, "the run of a request has failed");
        return Err(Refusal::internal());
    }
    let calls = result.client_calls.as_slice();
    let met = match must {
        Must::Nothing => true,
        Must::Something => !calls.is_empty(),
        Must::Named(name) => calls.iter().any(|call| call.name == *name),
    };
    if !met {
        let message = "the model did not call the required tool";
        return Err(Refusal::new(502, super::errors::API_ERROR, message));
    }
    let texts: Vec<&str> = result.texts.iter().map(String::as_str).filter(|t| !t.trim().is_empty()).collect();
    let text = match (texts.is_empty(), calls.is_empty()) {
        (true, true) => NOTHING.to_owned(),
        _ => texts.join("\n\n"),
    };
    Ok(Said { text, calls, cut: calls.is_empty() && result.stop_reason == "length" })
}

/// All tokens of a run: what the provider reports, else the sum.
pub(super) fn total(usage: &Usage) -> u64 {
    match usage.total {
        0 => usage.prompt().saturating_add(usage.output),
        total => total,
    }
}

/// The arguments of a call as the client gets them: the model's own text, an empty object for none.
pub(super) fn arguments(call: &ToolCall) -> &str {
    if call.arguments.trim().is_empty() { "{}" } else { &call.arguments }
}
