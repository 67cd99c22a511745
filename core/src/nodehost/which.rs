//! `system.which`: where programs are (spec 03 §2.9).

use serde_json::{Value, json};

use super::desk::{Act, Desk, Errand, Fault, Outcome, Work};

/// At most so many names in one question.
const MOST: usize = 256;

/// The longest name, in bytes.
const LONGEST: usize = 255;

/// A question after programs.
pub(super) struct Which {
    names: Vec<String>,
}

impl Which {
    pub(super) fn new(params: &Value) -> Result<Self, Fault> {
        let bins =
            params.get("bins").and_then(Value::as_array).ok_or_else(|| Fault::invalid("bins required"))?;
        if bins.len() > MOST {
            return Err(Fault::invalid(format!("bins has {} names; at most {MOST}", bins.len())));
        }
        let mut names = Vec::new();
        for (index, name) in bins.iter().enumerate() {
            let name =
                name.as_str().ok_or_else(|| Fault::invalid(format!("bins/{index} is no string")))?.trim();
            if name.len() > LONGEST || name.contains('\0') {
                return Err(Fault::invalid(format!("bins/{index} is no name of a program")));
            }
            // A name only: paths are not looked up, which would tell what files there are.
            if !name.is_empty() && !name.contains(['/', '\\']) {
                names.push(name.to_owned());
            }
        }
        Ok(Self { names })
    }
}

impl Work for Which {
    fn begin(&mut self, desk: &mut Desk<'_>) {
        let programs = std::mem::take(&mut self.names);
        let path = desk.machine.path().to_owned();
        desk.act(Act::Ask(Errand::Look { programs, files: Vec::new(), path, cwd: None }));
    }

    fn told(&mut self, desk: &mut Desk<'_>, outcome: Outcome) {
        desk.answer(match outcome {
            Outcome::Found { programs, .. } => Ok(json!({"bins": programs})),
            Outcome::Failed(reason) => Err(Fault::unavailable(reason)),
            _ => return,
        });
    }
}
