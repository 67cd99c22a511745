//! A process of a node: heard piece by piece, ended with all that it has started.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{join, select};
use futures_util::io::{AsyncRead, AsyncReadExt as _};
use telson_core::nodehost::{Input, JobId, ProcessEvent, Program};

use crate::group::{Group, Reaper};
use crate::runtime::{self, Process, Runtime};

use super::Context;

/// How much is read at once.
const READ: usize = 16 * 1_024;

/// How long the output of a process that has ended may be held open by somebody who has left its group.
const DRAIN: Duration = Duration::from_secs(2);

/// Starts a process.
pub(super) fn start<R: Runtime>(
    runtime: &R,
    context: &Arc<Context>,
    job: JobId,
    program: Program,
    group: Group,
) {
    let (context, own) = (Arc::clone(context), runtime.clone());
    runtime.spawn(async move {
        let event = run(&own, &context, job, program, group).await;
        let _ = context.events.send(Input::Process(job, event)).await;
    });
}

/// Runs a process to its end, which is the last event.
async fn run<R: Runtime>(
    runtime: &R,
    context: &Context,
    job: JobId,
    program: Program,
    group: Group,
) -> ProcessEvent {
    let name = program.program.clone();
    let cwd = program.cwd.clone();
    let Process { stdin, stdout, stderr, mut child } = match runtime.launch(described(program)) {
        Ok(process) => process,
        Err(error) => {
            let place = cwd.map(|cwd| format!(" in {cwd}")).unwrap_or_default();
            return ProcessEvent::Failed(format!("cannot start {name}{place}: {error}"));
        }
    };
    group.begin(child.id());
    let reaper = Reaper(group);
    // It has nothing to read.
    drop(stdin);
    let heard = join(
        tell(context, job, stdout, ProcessEvent::Stdout),
        tell(context, job, stderr, ProcessEvent::Stderr),
    );
    let mut heard = Box::pin(heard.fuse());
    let mut quiet = false;
    let status = {
        let mut exit = child.wait();
        std::future::poll_fn(|cx| {
            if !quiet && heard.as_mut().poll(cx).is_ready() {
                quiet = true;
            }
            match exit.as_mut().poll(cx) {
                Poll::Ready(status) => Poll::Ready(status),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    };
    // Nobody who is left of the group works on or keeps the output open.
    drop(reaper);
    if !quiet {
        let late = Box::pin(runtime.sleep_until(Instant::now() + DRAIN));
        select(heard, late).await;
    }
    match status {
        Ok(status) => ProcessEvent::Exited(status.code()),
        Err(error) => ProcessEvent::Failed(format!("the end of {name} cannot be told: {error}")),
    }
}

/// Tells what a stream carries.
async fn tell(
    context: &Context,
    job: JobId,
    mut stream: Pin<Box<dyn AsyncRead + Send>>,
    event: fn(Vec<u8>) -> ProcessEvent,
) {
    let mut piece = vec![0; READ];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let bytes = piece.get(..count).unwrap_or_default().to_vec();
        if context.events.send(Input::Process(job, event(bytes))).await.is_err() {
            return;
        }
    }
}

/// What the runtime is to start.
fn described(program: Program) -> runtime::Program {
    runtime::Program {
        path: program.program.into(),
        args: program.args.into_iter().map(Into::into).collect(),
        env: program.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        cwd: program.cwd.map(Into::into),
    }
}
