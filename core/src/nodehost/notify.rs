//! `system.notify`: a notice on the desktop, shown by `notify-send`.

use std::time::Duration;

use serde_json::{Value, json};

use super::desk::{Act, Desk, Fault, Outcome, Work};
use super::link::later;
use super::settings::Machine;
use super::{ProcessEvent, Program};

/// How long it may take to show a notice.
const PATIENCE: Duration = Duration::from_secs(15);

/// A notice.
pub(super) struct Notify {
    program: Option<Program>,
    until: Option<Duration>,
    complaint: Vec<u8>,
}

impl Notify {
    pub(super) fn new(params: &Value, machine: &Machine) -> Result<Self, Fault> {
        let text = |name: &str, most: usize| -> Result<String, Fault> {
            match params.get(name) {
                None | Some(Value::Null) => Ok(String::new()),
                Some(Value::String(text)) => Ok(text.trim().replace('\0', "").chars().take(most).collect()),
                Some(_) => Err(Fault::invalid(format!("{name} is no string"))),
            }
        };
        let (title, body) = (text("title", 256)?, text("body", 4_000)?);
        if title.is_empty() && body.is_empty() {
            return Err(Fault::invalid("title or body required"));
        }
        let urgency = match text("priority", 32)?.as_str() {
            "passive" => "low",
            "timeSensitive" => "critical",
            _ => "normal",
        };
        let program = machine.notify.clone().ok_or_else(|| Fault::unavailable("command not supported"))?;
        let title = if title.is_empty() { "Telson".to_owned() } else { title };
        // What follows `--` is never an option.
        let mut args =
            vec!["--app-name=Telson".to_owned(), format!("--urgency={urgency}"), "--".to_owned(), title];
        if !body.is_empty() {
            args.push(body);
        }
        let program = Program { program, args, env: machine.environment.clone(), cwd: None };
        Ok(Self { program: Some(program), until: None, complaint: Vec::new() })
    }
}

impl Work for Notify {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        self.until = Some(later(desk.now, PATIENCE));
        if let Some(program) = self.program.take() {
            desk.act(Act::Spawn(program));
        }
    }

    fn told(&mut self, _: &mut Desk<'_>, _: Outcome) {}

    fn moved(&mut self, desk: &mut Desk<'_>, event: ProcessEvent) {
        match event {
            ProcessEvent::Stdout(_) => {}
            ProcessEvent::Stderr(bytes) => {
                let room = 500_usize.saturating_sub(self.complaint.len());
                self.complaint.extend(bytes.iter().take(room));
            }
            ProcessEvent::Exited(Some(0)) => desk.answer(Ok(json!({"ok": true}))),
            ProcessEvent::Exited(_) => {
                let complaint = String::from_utf8_lossy(&self.complaint);
                desk.answer(Err(Fault::unavailable(format!(
                    "the notice was not shown: {}",
                    complaint.trim()
                ))));
            }
            ProcessEvent::Failed(reason) => desk.answer(Err(Fault::unavailable(reason))),
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.until
    }

    fn due(&mut self, desk: &mut Desk<'_>) {
        desk.answer(Err(Fault::timeout("the notice was not shown in time")));
    }
}
