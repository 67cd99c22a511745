//! The world around the machines: clocks, network, disk, model servers, clients, and the watch over promises.
//!
//! Everything that happens stands in one queue, ordered by time and then by chance. One turn takes one thing
//! out, tells the machines, and performs what they ask for: the same loop as an adapter's, in virtual time.

mod epochs;
pub(crate) mod link;
mod network;
mod perform;
pub(crate) mod programs;
pub(crate) mod verbs;
pub(crate) mod web;

use std::collections::BTreeMap;
use std::time::Duration;

use telson_core::auth::Secret;
use telson_core::settings::{AuthMode, ModelRef, ModelSettings, ProviderSettings, Settings};
use telson_core::{ConnId, FetchId, HttpId, Input, Joined, Now, ProcessId, Seed, gateway};

use crate::clients::{Client, Reader, Who};
use crate::dice::Dice;
use crate::invariants::Watch;
use crate::provider::{Model, Provider};
use crate::store::Disk;
use crate::trace::Trace;

use epochs::Retired;
use link::Link;
use programs::Programs;
use web::Web;

/// The gateway's shared token.
pub(crate) const TOKEN: &str = "the token of this world";
/// When the world begins, in epoch milliseconds.
const BEGIN: u64 = 1_769_700_000_000;
/// How long the story may wait for something before it counts as never happening.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How often the machines may ask for the same moment again.
const RESTLESS: u32 = 10_000;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// An admitted socket opens.
    Opened(ConnId),
    /// Something of a client arrives at the gateway.
    ArriveUp(ConnId),
    /// The network takes bytes of a connection.
    Write(ConnId),
    /// Something of the gateway arrives at a client.
    ArriveDown(ConnId),
    /// The client has had its time to answer a close.
    Grace(ConnId),
    /// The network tells the gateway that a connection is gone.
    Broken(ConnId),
    /// The disk takes its next step.
    Disk(u64),
    /// The disk reports.
    Report(u64),
    /// The disk answers a question.
    Answer(u64),
    /// An outbound request moves.
    Fetch(u64, FetchId),
    /// The body of an HTTP request is here, of which so many bytes are wanted.
    Body(u64, HttpId, usize),
    /// The gateway learns that an HTTP client has left.
    Left(u64, HttpId),
    /// A process has done something.
    Process(u64, ProcessId),
    /// A client comes back.
    Return(Who),
    /// A client has something to do; left to who drives the world.
    Act(Who),
    /// Something of the campaign happens; left to who drives the world.
    Fate(u32),
}

/// What a turn leaves to who drives the world.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Done,
    Act(Who),
    Fate(u32),
}

/// The gateway's process.
struct Process {
    machines: Joined,
    born: Duration,
}

/// A world of one seed.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    reader: Reader,
    pub(crate) settings: Settings,
    pub(crate) disk: Disk,
    pub(crate) provider: Provider,
    pub(crate) programs: Programs,
    web: Web,
    /// Whom a token that is gone must not let in.
    retired: Retired,
    pub(crate) clients: Vec<Client>,
    pub(crate) watch: Watch,
    /// Virtual time.
    pub(crate) time: Duration,
    /// How far the wall clock is off, in milliseconds.
    pub(crate) wall_error: i64,
    process: Option<Process>,
    /// Which process it is, counted from 1.
    pub(crate) life: u64,
    queue: BTreeMap<(Duration, u64, u64), Event>,
    serial: u64,
    links: BTreeMap<ConnId, Link>,
    next_conn: u64,
    /// Inputs told and outputs performed so far.
    pub(crate) operations: u64,
    /// The process dies in place of this operation.
    pub(crate) dies_at: Option<u64>,
    /// The gateway has said that it may end.
    stopped: bool,
    /// The wake-up that is arranged: the moment asked for, and the moment that it will be.
    wake: Option<(Duration, Duration)>,
    restless: u32,
    /// How long the disk takes for each of its steps, in milliseconds.
    pub(crate) disk_pace: (u64, u64),
    /// The command that runs the failing world again, when there is one.
    pub(crate) replay: Option<String>,
    /// The story is told: nobody comes any more.
    over: bool,
}

impl World {
    /// A world with a running gateway that nobody has connected to.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::with_settings(seed, settings())
    }

    pub(crate) fn with_settings(seed: u64, settings: Settings) -> Self {
        let mut world = Self {
            seed,
            dice: Dice::new(seed),
            trace: Trace::new(),
            reader: Reader::default(),
            settings,
            disk: Disk::default(),
            provider: Provider::default(),
            programs: Programs::default(),
            web: Web::default(),
            retired: Retired::default(),
            clients: Vec::new(),
            watch: Watch::default(),
            time: Duration::ZERO,
            wall_error: 0,
            process: None,
            life: 0,
            queue: BTreeMap::new(),
            serial: 0,
            links: BTreeMap::new(),
            next_conn: 0,
            operations: 0,
            dies_at: None,
            stopped: false,
            wake: None,
            restless: 0,
            disk_pace: (0, 8),
            replay: None,
            over: false,
        };
        world.start();
        world
    }

    /// The model server answers every request like this.
    pub(crate) fn with_model(mut self, model: Model) -> Self {
        self.provider.script = [model].into();
        self
    }

    /// Both clocks as the gateway's process reads them.
    pub(crate) fn now(&self) -> Now {
        let born = self.process.as_ref().map_or(self.time, |process| process.born);
        let wall = BEGIN + u64::try_from(self.time.as_millis()).unwrap();
        Now { mono: self.time - born, wall: wall.saturating_add_signed(self.wall_error) }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn machines(&self) -> Option<&Joined> {
        self.process.as_ref().map(|process| &process.machines)
    }

    /// Something will happen after `delay`.
    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.time + delay, event);
    }

    /// Something will happen at a moment.
    pub(crate) fn at(&mut self, moment: Duration, event: Event) {
        self.serial += 1;
        let tie = self.dice.number();
        self.queue.insert((moment.max(self.time), tie, self.serial), event);
    }

    /// Begins a process over what is durable.
    pub(crate) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        self.stopped = false;
        let seed = Seed::from(self.dice.seed());
        let life = self.life;
        self.trace.note(self.time, format!("== process {life} begins"));
        let now = Now { mono: Duration::ZERO, ..self.now() };
        self.process =
            Some(Process { machines: Joined::new(self.settings.clone(), seed, now), born: self.time });
        self.watch.process_began(life);
        self.tell(Input::Gateway(gateway::Input::Started));
    }

    /// The process dies at once.
    pub(crate) fn crash(&mut self) {
        self.trace.note(self.time, "== the process dies".to_owned());
        self.dies_at = None;
        self.end_process();
    }

    fn end_process(&mut self) {
        self.process = None;
        self.wake = None;
        self.disk.crash();
        self.provider.crash();
        self.programs.crash();
        self.web.crash();
        self.watch.process_ended();
        for (conn, link) in std::mem::take(&mut self.links) {
            self.client_lost(link.who, conn);
        }
    }

    /// One turn.
    pub(crate) fn turn(&mut self) -> Turn {
        let wake = self.arranged_wake();
        let next = self.queue.first_key_value().map(|((at, ..), _)| *at);
        match (wake, next) {
            (Some(wake), Some(next)) if wake < next => self.wake_up(wake),
            (Some(wake), None) => self.wake_up(wake),
            (_, Some(_)) => return self.take_next(),
            (None, None) => {
                // Nothing will ever happen: let time pass, for whoever waits for a moment.
                self.time += Duration::from_secs(1);
            }
        }
        Turn::Done
    }

    /// The moment at which the adapter wakes the machines: what they asked for, or a little later.
    fn arranged_wake(&mut self) -> Option<Duration> {
        let process = self.process.as_ref()?;
        let asked = process.born + process.machines.poll_timeout()?;
        match self.wake {
            Some((known, at)) if known == asked => Some(at),
            _ => {
                let late = if self.dice.chance(20) { self.dice.millis(0, 30) } else { Duration::ZERO };
                let at = asked.max(self.time) + late;
                self.wake = Some((asked, at));
                Some(at)
            }
        }
    }

    fn wake_up(&mut self, at: Duration) {
        self.wake = None;
        self.restless = if at > self.time { 0 } else { self.restless + 1 };
        if self.restless > RESTLESS {
            self.violated("the machines ask for the same moment again and again");
        }
        self.time = self.time.max(at);
        if !self.operation() {
            return;
        }
        let now = self.now();
        self.trace.note(self.time, "-> timeout".to_owned());
        if let Some(process) = &mut self.process {
            process.machines.handle_timeout(now);
        }
        self.drain();
    }

    fn take_next(&mut self) -> Turn {
        let Some(((at, ..), event)) = self.queue.pop_first() else { return Turn::Done };
        if at > self.time {
            self.restless = 0;
        }
        self.time = at;
        match event {
            Event::Opened(conn) => self.opened(conn),
            Event::ArriveUp(conn) => self.arrive_up(conn),
            Event::Write(conn) => self.write(conn),
            Event::ArriveDown(conn) => self.arrive_down(conn),
            Event::Grace(conn) | Event::Broken(conn) => self.gone(conn),
            Event::Disk(life) => self.disk_writes(life),
            Event::Report(life) => self.disk_reports(life),
            Event::Answer(life) => self.disk_answers(life),
            Event::Fetch(life, id) => self.fetch_moves(life, id),
            Event::Body(life, id, limit) => self.body_arrives(life, id, limit),
            Event::Left(life, id) => self.has_left(life, id),
            Event::Process(life, id) => self.process_moves(life, id),
            Event::Return(who) => self.open(who),
            Event::Act(who) => return Turn::Act(who),
            Event::Fate(number) => return Turn::Fate(number),
        }
        Turn::Done
    }

    /// Counts an operation. Says whether the process lives to do it.
    fn operation(&mut self) -> bool {
        if self.process.is_none() {
            return false;
        }
        self.operations += 1;
        if self.dies_at == Some(self.operations) {
            self.crash();
            return false;
        }
        true
    }

    /// Tells the machines what happened, and performs what they ask for.
    pub(crate) fn tell(&mut self, input: Input) {
        if !self.operation() {
            return;
        }
        let now = self.now();
        self.trace.note(self.time, format!("-> {}", describe(&input)));
        if let Some(process) = &mut self.process {
            process.machines.handle(now, input);
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let Some(output) = self.process.as_mut().and_then(|process| process.machines.poll_output())
            else {
                break;
            };
            if !self.operation() {
                return;
            }
            self.perform(output);
        }
        if let Err(broken) = self.watch.after_turn(&self.links) {
            self.violated(&broken);
        }
        self.end_when_stopped();
    }

    /// A stopped gateway's process ends when its last socket is closed.
    fn end_when_stopped(&mut self) {
        if self.stopped && self.links.is_empty() && self.process.is_some() {
            self.trace.note(self.time, "== the process ends".to_owned());
            self.end_process();
        }
    }

    /// A promise is broken: says which, and how to see it again.
    pub(crate) fn violated(&self, broken: &str) -> ! {
        let replay =
            self.replay.as_ref().map_or(String::new(), |command| format!("\nsee it again: {command}\n"));
        panic!(
            "seed {}, {:.6} s, operation {}: {broken}\n{replay}\nthe last lines:\n{}\n{broken}",
            self.seed,
            self.time.as_secs_f64(),
            self.operations,
            self.trace.tail()
        );
    }
}

/// What an input says, in full: its content counts for the digest.
fn describe(input: &Input) -> String {
    match input {
        Input::Switchboard(input) => format!("{input:?}"),
        Input::Gateway(input) => format!("{input:?}"),
    }
}

/// The settings of a world: a token, a scripted model server beside the built-in model.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::plain(AuthMode::Token(Secret::new(TOKEN)));
    settings.providers = vec![ProviderSettings {
        api_key: Some(Secret::new("the key of the model server")),
        models: vec![ModelSettings {
            name: "Tide".to_owned(),
            images: true,
            context_window: 32_000,
            max_tokens: 4_096,
            ..ModelSettings::new("tide")
        }],
        ..ProviderSettings::new("sim", "http://model.sim/v1")
    }];
    settings.agents.model = ModelRef { provider: "sim".to_owned(), model: "tide".to_owned() };
    settings
}
