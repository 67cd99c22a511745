//! Runs the machine of [`telson_core::nodehost`]: one connection, some processes, a few files.
//!
//! One loop owns the machine. Tasks of the connection, of processes and of file work tell it what happened; what the
//! machine wants done is passed on to them.

mod facts;
mod files;
mod keep;
mod link;
mod process;

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use telson_core::Seed;
use telson_core::nodehost::{Input, JobId, LinkId, News, NodeHost, NodeSettings, Output};

use crate::driver::clock::Clock;
use crate::group::Group;
use crate::runtime::{Runtime, Signal};
use crate::tls::Trust;

pub use facts::machine;
pub use keep::{Keep, KeepError, NodeLock};

use files::Files;
use link::Line;

/// What happened and is not told yet; who tells more has to wait.
const EVENTS: usize = 64;

/// What a node host is started with.
pub struct NodeOptions {
    /// What the machine is told once.
    pub settings: NodeSettings,
    /// Which certificate of the gateway is believed.
    pub trust: Trust,
    /// Where the node's own files are.
    pub keep: Keep,
    /// 32 bytes from the operating system.
    pub seed: Seed,
    /// Told what there is to tell.
    pub show: Box<dyn FnMut(&News) + Send>,
}

/// Runs a node host until it is told to stop by a signal.
///
/// # Errors
///
/// Signals cannot be caught.
pub async fn run<R: Runtime>(runtime: R, options: NodeOptions) -> io::Result<()> {
    let mut signals = runtime.signals()?;
    let NodeOptions { settings, trust, keep, seed, show } = options;
    let clock = Clock::start();
    let (events, inbox) = async_channel::bounded(EVENTS);
    let files = Files::new(&settings.machine);
    let context = Arc::new(Context { events, trust, files });
    let machine = NodeHost::new(settings, seed, clock.now());
    let mut engine = Engine {
        runtime,
        clock,
        machine,
        context,
        keep,
        show,
        line: None,
        processes: BTreeMap::new(),
        ended: false,
    };
    engine.tell(Input::Started).await;
    let mut asked = false;
    while !engine.ended {
        let next = {
            let deadline = engine.machine.poll_timeout().map(|mono| clock.instant(mono));
            let sleep = async {
                match deadline {
                    Some(at) => engine.runtime.sleep_until(at).await,
                    None => pending().await,
                }
            };
            let event = pin!(inbox.recv());
            let news = select(event, signals.next());
            match select(news, pin!(sleep)).await {
                Either::Left((Either::Left((event, _)), _)) => Next::Event(event.ok()),
                Either::Left((Either::Right((signal, _)), _)) => Next::Signal(signal),
                Either::Right(_) => Next::Event(Some(Input::Woken)),
            }
        };
        match next {
            Next::Event(Some(input)) => engine.tell(input).await,
            Next::Signal(Some(Signal::Hangup | Signal::User1 | Signal::User2)) => {
                engine.tell(Input::Retry).await;
            }
            // A second one means now.
            Next::Signal(_) if asked => break,
            Next::Event(None) | Next::Signal(_) => {
                asked = true;
                engine.tell(Input::Stop).await;
            }
        }
    }
    engine.end(&inbox).await;
    Ok(())
}

enum Next {
    Event(Option<Input>),
    Signal(Option<Signal>),
}

/// What the tasks share.
struct Context {
    events: Sender<Input>,
    trust: Trust,
    files: Files,
}

struct Engine<R: Runtime> {
    runtime: R,
    clock: Clock,
    machine: NodeHost,
    context: Arc<Context>,
    keep: Keep,
    show: Box<dyn FnMut(&News) + Send>,
    line: Option<(LinkId, Line)>,
    processes: BTreeMap<JobId, Group>,
    ended: bool,
}

impl<R: Runtime> Engine<R> {
    async fn tell(&mut self, input: Input) {
        if let Input::Process(
            job,
            telson_core::nodehost::ProcessEvent::Exited(_) | telson_core::nodehost::ProcessEvent::Failed(_),
        ) = &input
        {
            self.processes.remove(job);
        }
        self.machine.handle(self.clock.now(), input);
        while let Some(output) = self.machine.poll_output() {
            self.perform(output).await;
        }
    }

    async fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { link, url } => {
                self.line = Some((link, Line::start(&self.runtime, &self.context, link, url)));
            }
            Output::Send(link, text) => {
                if let Some((_, line)) = self.line.as_ref().filter(|(open, _)| *open == link) {
                    line.send(text);
                }
            }
            Output::Close { link, code, reason } => {
                if let Some((_, line)) = self.line.take_if(|(open, _)| *open == link) {
                    line.close(code, reason);
                }
            }
            Output::Keep { origin, token } => {
                let keep = self.keep.clone();
                let kept = self.runtime.unblock(move || keep.set_token(&origin, token)).await;
                if let Err(error) = kept.and_then(|kept| kept) {
                    tracing::warn!(target: "node", "the token of the gateway cannot be kept: {error}");
                }
            }
            Output::Do(job, errand) => {
                let (context, runtime) = (Arc::clone(&self.context), self.runtime.clone());
                self.runtime.spawn(async move {
                    let files = context.files.clone();
                    let outcome = runtime.unblock(move || files.perform(errand)).await;
                    let outcome = outcome
                        .unwrap_or_else(|error| telson_core::nodehost::Outcome::Failed(error.to_string()));
                    let _ = context.events.send(Input::Done(job, outcome)).await;
                });
            }
            Output::Spawn(job, program) => {
                let group = Group::default();
                self.processes.insert(job, group.clone());
                process::start(&self.runtime, &self.context, job, program, group);
            }
            Output::Kill(job) => {
                if let Some(group) = self.processes.get(&job) {
                    group.kill();
                }
            }
            Output::Say(news) => (self.show)(&news),
            Output::Ended => self.ended = true,
        }
    }

    /// Ends what still runs, and lets the goodbye go out.
    async fn end(mut self, inbox: &Receiver<Input>) {
        for group in std::mem::take(&mut self.processes).into_values() {
            group.kill();
        }
        drop(self.line.take());
        let Self { context, runtime, .. } = self;
        drop(context);
        // The tasks end when they have said their last; then nobody is left to tell anything.
        let late = runtime.sleep_until(std::time::Instant::now() + link::GOODBYE);
        let rest = async { while inbox.recv().await.is_ok() {} };
        select(pin!(rest), pin!(late)).await;
    }
}
