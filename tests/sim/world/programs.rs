//! Scripted programs: what they answer to each line, when they end, and when they break.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use telson_core::process::{ProcessEvent, ProcessSpec};
use telson_core::{Input, ProcessId, gateway};

use super::{Event, World};

/// What a program does at a line, whose number counts from 0.
type Answers = Rc<dyn Fn(usize, &str) -> Reply>;

/// A program that can be started.
#[derive(Clone)]
pub(crate) struct Program {
    /// What it does before it reads anything.
    greets: Reply,
    answers: Answers,
    /// How long it takes for each line, in milliseconds.
    pub(crate) pace: (u64, u64),
}

/// What a program writes, and whether it ends then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    out: Vec<String>,
    err: Vec<String>,
    exit: Option<String>,
}

impl Reply {
    /// Says nothing.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Writes a line.
    pub(crate) fn line(line: impl Into<String>) -> Self {
        Self::default().and(line)
    }

    /// And another one.
    pub(crate) fn and(mut self, line: impl Into<String>) -> Self {
        self.out.push(line.into());
        self
    }

    /// Complains, on the standard error.
    pub(crate) fn complaining(mut self, line: impl Into<String>) -> Self {
        self.err.push(line.into());
        self
    }

    /// Then ends, in words such as `exit status: 1`.
    pub(crate) fn then_exits(mut self, how: &str) -> Self {
        self.exit = Some(how.to_owned());
        self
    }
}

impl Program {
    /// Answers each line.
    pub(crate) fn answering(answers: impl Fn(usize, &str) -> Reply + 'static) -> Self {
        Self { greets: Reply::nothing(), answers: Rc::new(answers), pace: (0, 20) }
    }

    /// Repeats what it hears.
    pub(crate) fn echo() -> Self {
        Self::answering(|_, line| Reply::line(line))
    }

    /// The same program, which first says something of its own.
    pub(crate) fn greeting(self, greets: Reply) -> Self {
        Self { greets, ..self }
    }

    /// The same program, which crashes instead of answering line number `at`.
    pub(crate) fn crashing_at(self, at: usize) -> Self {
        let answers = Rc::clone(&self.answers);
        let crash = || Reply::nothing().complaining("Segmentation fault").then_exits("signal: 11 (SIGSEGV)");
        let answers: Answers =
            Rc::new(move |number, line| if number == at { crash() } else { answers(number, line) });
        Self { answers, ..self }
    }
}

struct Running {
    program: Program,
    /// How many lines it has read.
    lines: usize,
    /// What it will have done, in order.
    coming: VecDeque<ProcessEvent>,
    /// When the last of it comes: nothing overtakes.
    clock: Duration,
    /// It has ended, or will have when all that is coming has come.
    ends: bool,
}

/// What is installed on this host, and what of it runs.
#[derive(Default)]
pub(crate) struct Programs {
    /// By the name under which it is started.
    pub(crate) installed: BTreeMap<String, Program>,
    running: BTreeMap<ProcessId, Running>,
    /// Every line that was written to a program, by its name.
    pub(crate) written: Vec<(String, String)>,
    names: BTreeMap<ProcessId, String>,
}

impl Programs {
    /// The process died, and all its children with it.
    pub(super) fn crash(&mut self) {
        self.running.clear();
        self.names.clear();
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }
}

impl World {
    pub(super) fn spawn(&mut self, id: ProcessId, spec: &ProcessSpec) {
        self.trace.note(self.time, format!("<- spawn {id} {spec:?}"));
        if self.programs.names.insert(id, spec.program.clone()).is_some() {
            self.violated(&format!("two processes are called {id}"));
        }
        let (program, greets) = match self.programs.installed.get(&spec.program) {
            Some(program) => (program.clone(), program.greets.clone()),
            None => (Program::echo(), Reply::nothing()),
        };
        let missing = !self.programs.installed.contains_key(&spec.program);
        let running = Running { program, lines: 0, coming: VecDeque::new(), clock: self.time, ends: missing };
        self.programs.running.insert(id, running);
        if missing {
            let text = format!("cannot start {}: No such file or directory (os error 2)", spec.program);
            self.will_come(id, ProcessEvent::Failed(text));
        } else {
            self.replies(id, greets);
        }
    }

    pub(super) fn write_line(&mut self, id: ProcessId, line: &str) {
        self.trace.note(self.time, format!("<- line {id} {line}"));
        let Some(name) = self.programs.names.get(&id).cloned() else {
            self.violated(&format!("a line for process {id}, which was never started"))
        };
        let Some(running) = self.programs.running.get_mut(&id).filter(|running| !running.ends) else {
            return;
        };
        let number = running.lines;
        running.lines += 1;
        let answers = Rc::clone(&running.program.answers);
        self.programs.written.push((name, line.to_owned()));
        self.replies(id, answers(number, line));
    }

    pub(super) fn kill(&mut self, id: ProcessId) {
        self.trace.note(self.time, format!("<- kill {id}"));
        if !self.programs.names.contains_key(&id) {
            self.violated(&format!("process {id} is killed, and was never started"));
        }
        self.programs.running.remove(&id);
    }

    fn replies(&mut self, id: ProcessId, reply: Reply) {
        let Reply { out, err, exit } = reply;
        for line in out {
            self.will_come(id, ProcessEvent::Stdout(line));
        }
        for line in err {
            self.will_come(id, ProcessEvent::Stderr(line));
        }
        if let Some(how) = exit {
            if let Some(running) = self.programs.running.get_mut(&id) {
                running.ends = true;
            }
            self.will_come(id, ProcessEvent::Exited(how));
        }
    }

    fn will_come(&mut self, id: ProcessId, event: ProcessEvent) {
        let now = self.time;
        let Some((low, high)) = self.programs.running.get(&id).map(|running| running.program.pace) else {
            return;
        };
        let wait = self.dice.millis(low, high);
        let Some(running) = self.programs.running.get_mut(&id) else { return };
        running.clock = running.clock.max(now) + wait;
        running.coming.push_back(event);
        let (at, life) = (running.clock, self.life);
        self.at(at, Event::Process(life, id));
    }

    /// The next thing that a process has done reaches the gateway.
    pub(super) fn process_moves(&mut self, life: u64, id: ProcessId) {
        if life != self.life {
            return;
        }
        let Some(event) = self.programs.running.get_mut(&id).and_then(|running| running.coming.pop_front())
        else {
            return;
        };
        if matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Failed(_)) {
            self.programs.running.remove(&id);
        }
        self.tell(Input::Gateway(gateway::Input::Process { id, event }));
    }
}
