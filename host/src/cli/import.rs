//! `import`: sessions and transcripts of an older gateway (spec 02 §4.1 [C-08]).

use serde_json::json;
use telson_core::config::Failure;

use crate::config::Places;
use crate::runtime::Runtime;
use crate::state::{Holder, LOCK_PATIENCE, Lock};
use crate::store::import::{Imported, TransferError, import};

use super::args::Import;
use super::error::CliError;
use super::term::Output;

/// As many reasons are told one by one.
const MOST_TOLD: usize = 20;

/// Imports while no gateway has the state directory.
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Import,
    output: Output,
) -> Result<(), CliError> {
    places.state.prepare()?;
    let holder = Holder::this(&places.state, 0, &places.config);
    let (state, from) = (places.state.clone(), args.from.clone());
    let work = move || -> Result<Imported, CliError> {
        let _lock = Lock::take(&state, &holder, LOCK_PATIENCE)?;
        Ok(import(&state.database(), &from)?)
    };
    let done = runtime.unblock(work).await;
    let done = done.map_err(|error| CliError::new(Failure::Internal, error.to_string()))??;
    tell(&done, output);
    Ok(())
}

fn tell(done: &Imported, output: Output) {
    if output.json {
        output.value(&json!({
            "ok": true, "sessions": done.sessions, "messages": done.messages, "alreadyThere": done.already_there,
            "withoutTranscript": done.without_transcript, "otherLines": done.other_lines, "skipped": done.skipped,
        }));
        return;
    }
    output.line(&format!("{} sessions with {} messages imported", done.sessions, done.messages));
    if done.already_there > 0 {
        output.line(&format!("{} sessions were there already; they are as they were", done.already_there));
    }
    for (kind, count) in &done.other_lines {
        output.note(&format!("{count} lines of the kind {kind} are no messages and were left out"));
    }
    for skipped in done.skipped.iter().take(MOST_TOLD) {
        output.note(&format!("left out: {skipped}"));
    }
    if let Some(more) = done.skipped.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        output.note(&format!("and {more} more were left out; --json names them all"));
    }
}

impl From<TransferError> for CliError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Open(error) => error.into(),
            other => Self::new(Failure::Internal, other.to_string()),
        }
    }
}
