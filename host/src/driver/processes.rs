//! Processes that the machines ask for: written to and heard by lines, and ended with all that they have started.
//!
//! Each has a process group of its own, so that a program which runs the real one, as `npx` does, leaves nothing
//! behind. Its events are told in order; `Exited` comes after everything that it has written.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select, try_join};
use futures_util::io::{AsyncWrite, AsyncWriteExt as _};
use telson_core::ProcessId;
use telson_core::limits;
use telson_core::process::{MAX_LINE_BYTES, ProcessEvent, ProcessSpec};

use crate::group::{Group, Reaper};
use crate::runtime::{Process, Program, Runtime};

use super::lines::{Broken, Lines};
use super::link::{Context, Event};

/// How long a process may take to end once its input is closed.
const GRACE: Duration = Duration::from_secs(2);

/// How long the output of a process that has ended may be held open by somebody who has left its group.
const DRAIN: Duration = Duration::from_secs(2);

/// What of the gateway's environment a process gets.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// The processes that run, as the engine knows them.
#[derive(Default)]
pub(super) struct Processes(HashMap<ProcessId, Running>);

struct Running {
    /// What is to be written. Closed when the process is to end.
    lines: Sender<String>,
    /// Bytes of lines that are not written.
    waiting: Arc<AtomicUsize>,
    group: Group,
    /// Dropped when the process is to end.
    end: Option<Sender<Infallible>>,
}

impl Processes {
    /// Starts a process.
    pub(super) fn spawn<R: Runtime>(&mut self, context: &Context<R>, id: ProcessId, spec: ProcessSpec) {
        tracing::debug!(target: "gateway.process", %id, "{spec:?}");
        let (lines, input) = async_channel::unbounded();
        let (end, ended) = async_channel::bounded(1);
        let (waiting, group) = (Arc::<AtomicUsize>::default(), Group::default());
        let task = Task { input, waiting: Arc::clone(&waiting), group: group.clone(), ended };
        self.0.insert(id, Running { lines, waiting, group, end: Some(end) });
        let own = context.clone();
        context.spawn(async move {
            let event = task.run(&own, id, spec).await;
            let _ = own.events.send(Event::Process { id, event }).await;
        });
    }

    /// Writes a line. The event is what the machines are to hear of a process that does not read.
    pub(super) fn write(&mut self, id: ProcessId, mut line: String) -> Option<ProcessEvent> {
        let running = self.0.get_mut(&id).filter(|running| running.end.is_some())?;
        line.push('\n');
        let most = usize::try_from(limits::PROCESS_INPUT_BYTES).unwrap_or(usize::MAX);
        let size = line.len();
        if running.waiting.fetch_add(size, Ordering::Relaxed).saturating_add(size) > most {
            running.group.kill();
            running.end = None;
            let text = format!("the process does not read its input: more than {most} bytes are waiting");
            return Some(ProcessEvent::Failed(text));
        }
        let _ = running.lines.try_send(line);
        None
    }

    /// Ends a process; nothing more is told of it.
    pub(super) fn kill(&mut self, id: ProcessId) {
        if let Some(running) = self.0.get_mut(&id) {
            running.lines.close();
            running.end = None;
        }
    }

    /// A process has moved. False when nobody wants to hear of it any more.
    pub(super) fn moved(&mut self, id: ProcessId, event: &ProcessEvent) -> bool {
        let wanted = self.0.get(&id).is_some_and(|running| running.end.is_some());
        if matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Failed(_)) {
            self.0.remove(&id);
        }
        wanted
    }

    /// Ends every process at once: the gateway ends.
    pub(super) fn end(&mut self) {
        for (_, running) in self.0.drain() {
            running.group.kill();
        }
    }
}

/// The task's end of a process.
struct Task {
    input: Receiver<String>,
    waiting: Arc<AtomicUsize>,
    group: Group,
    ended: Receiver<Infallible>,
}

/// What of a process has ended first.
enum First {
    Exit(std::io::Result<ExitStatus>),
    Unreadable(String),
}

impl Task {
    /// Runs a process to its end, which is the last event.
    async fn run<R: Runtime>(self, context: &Context<R>, id: ProcessId, spec: ProcessSpec) -> ProcessEvent {
        let name = spec.program.clone();
        let Process { stdin, stdout, stderr, mut child } = match context.runtime.launch(program(spec)) {
            Ok(process) => process,
            Err(error) => return ProcessEvent::Failed(format!("cannot start {name}: {error}")),
        };
        self.group.begin(child.id());
        let reaper = Reaper(self.group.clone());
        let Self { input, waiting, group, ended } = self;
        let heard = try_join(
            tell(context, id, Lines::new(stdout, MAX_LINE_BYTES), ProcessEvent::Stdout),
            tell(context, id, Lines::new(stderr, MAX_LINE_BYTES), ProcessEvent::Stderr),
        );
        let mut heard = std::pin::pin!(heard.fuse());
        let mut writing = std::pin::pin!(write(stdin, input, &waiting).fuse());
        let mut ending = std::pin::pin!(end(&context.runtime, ended, group).fuse());
        let mut quiet = false;
        let first = {
            let mut exit = child.wait();
            std::future::poll_fn(|cx| {
                let _ = writing.as_mut().poll(cx);
                let _ = ending.as_mut().poll(cx);
                if !quiet && let std::task::Poll::Ready(outcome) = heard.as_mut().poll(cx) {
                    quiet = true;
                    if let Err(reason) = outcome {
                        return std::task::Poll::Ready(First::Unreadable(reason));
                    }
                }
                exit.as_mut().poll(cx).map(First::Exit)
            })
            .await
        };
        // Nobody who is left of the group keeps the output open.
        drop(reaper);
        match first {
            First::Unreadable(reason) => {
                let _ = child.wait().await;
                ProcessEvent::Failed(reason)
            }
            First::Exit(status) => {
                let late = context.runtime.sleep_until(Instant::now() + DRAIN);
                if !quiet && let Either::Left((Err(reason), _)) = select(heard, std::pin::pin!(late)).await {
                    return ProcessEvent::Failed(reason);
                }
                match status {
                    Ok(status) => ProcessEvent::Exited(status.to_string()),
                    Err(error) => ProcessEvent::Failed(format!("the end of {name} cannot be told: {error}")),
                }
            }
        }
    }
}

/// Tells every line of a stream.
async fn tell<R: Runtime>(
    context: &Context<R>,
    id: ProcessId,
    mut lines: Lines,
    event: fn(String) -> ProcessEvent,
) -> Result<(), String> {
    loop {
        match lines.next().await {
            Ok(Some(line)) => {
                let _ = context.events.send(Event::Process { id, event: event(line) }).await;
            }
            Ok(None) => return Ok(()),
            Err(Broken::TooLong) => {
                return Err(format!("the process wrote a line of more than {MAX_LINE_BYTES} bytes"));
            }
            Err(Broken::Io(error)) => {
                return Err(format!("the output of the process cannot be read: {error}"));
            }
        }
    }
}

/// Writes lines until there are no more, then closes the input. A process that has closed it reads nothing more,
/// which is its business.
async fn write(stdin: Pin<Box<dyn AsyncWrite + Send>>, input: Receiver<String>, waiting: &AtomicUsize) {
    let mut stdin = Some(stdin);
    while let Ok(line) = input.recv().await {
        if let Some(pipe) = &mut stdin
            && (pipe.write_all(line.as_bytes()).await.is_err() || pipe.flush().await.is_err())
        {
            stdin = None;
        }
        waiting.fetch_sub(line.len(), Ordering::Relaxed);
    }
}

/// Kills the process some time after it was told to end.
async fn end<R: Runtime>(runtime: &R, ended: Receiver<Infallible>, group: Group) {
    let _ = ended.recv().await;
    runtime.sleep_until(Instant::now() + GRACE).await;
    group.kill();
}

/// What the runtime is to start.
fn program(spec: ProcessSpec) -> Program {
    let own = INHERITED.iter().filter(|name| !spec.env.contains_key(**name));
    let own = own.filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
    let mut env: Vec<_> = own.collect();
    env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.into())));
    Program {
        path: spec.program.into(),
        args: spec.args.into_iter().map(Into::into).collect(),
        env,
        cwd: spec.cwd.map(Into::into),
    }
}
