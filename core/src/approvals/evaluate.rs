//! Whether a command may run, must be asked about, or must not run (spec 03 §3.7).
//!
//! The machine that runs the command judges: it alone knows its programs. What it must look up stands in
//! [`Surroundings`], so that the judgement itself is pure.

use super::policy::shell::{self, Segment, ShellFault};
use super::policy::{AgentPolicy, AllowEntry, ApprovalsFile, Ask, Security, glob, safe};

/// What the judgement asks of the machine that is to run the command.
pub trait Surroundings {
    /// The absolute path of the executable that a word names, without links' `.` and `..`: looked up in the
    /// search path that the command will have, or, with a slash, from its working directory.
    fn resolve(&self, program: &str) -> Option<String>;

    /// Whether a word names a file, seen from the working directory.
    fn exists(&self, name: &str) -> bool;

    /// The home directory, for `~` in patterns.
    fn home(&self) -> Option<String>;

    /// Whether an installed skill brings a program of this name.
    fn is_skill_program(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// A line for a shell.
    Shell(&'a str),
    /// A program and its arguments.
    Argv(&'a [String]),
}

/// What holds for an agent on a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What may run.
    pub security: Security,
    /// When somebody is asked.
    pub ask: Ask,
    /// Whether programs of skills may run.
    pub auto_allow_skills: bool,
    /// Everyone's lines, then the agent's own.
    pub allowlist: Vec<AllowEntry>,
    /// The safe programs; empty for [`safe::DEFAULT_SAFE`].
    pub safe_programs: Vec<String>,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What is to be done.
    pub outcome: Outcome,
    /// The executable of each segment, as far as the command was understood.
    pub executables: Vec<String>,
    /// The lines that covered a segment: pattern and executable.
    pub used: Vec<(String, String)>,
    /// Why the command was not understood.
    pub fault: Option<ShellFault>,
}

/// What is to be done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may run.
    Run,
    /// Somebody must allow it; without an answer it does not run.
    Ask,
    /// It must not run.
    Refuse,
}

impl Policy {
    /// What a file says of an agent: its own entry, then everyone's, then the defaults, then `deny` and
    /// `on-miss`.
    pub fn of(file: &ApprovalsFile, agent: &str) -> Self {
        let defaults = file.defaults.clone().unwrap_or_default();
        let own: Vec<&AgentPolicy> =
            [agent, "*"].into_iter().filter_map(|name| file.agents.get(name)).collect();
        let security = own.iter().map(|entry| &entry.security).chain([&defaults.security]);
        let ask = own.iter().map(|entry| &entry.ask).chain([&defaults.ask]);
        let skills = own.iter().find_map(|entry| entry.auto_allow_skills).or(defaults.auto_allow_skills);
        let everyones = file.agents.get("*").filter(|_| agent != "*");
        let lists = everyones.into_iter().chain(file.agents.get(agent));
        Self {
            security: security.flatten().find_map(|word| Security::parse(word)).unwrap_or_default(),
            ask: ask.flatten().find_map(|word| Ask::parse(word)).unwrap_or_default(),
            auto_allow_skills: skills.unwrap_or(false),
            allowlist: lists.flat_map(|entry| entry.allowlist.iter().flatten().cloned()).collect(),
            safe_programs: Vec::new(),
        }
    }

    /// The same under the levels of a tool or a caller, which can only be stricter.
    #[must_use]
    pub fn tightened(self, security: Option<Security>, ask: Option<Ask>) -> Self {
        Self {
            security: security.map_or(self.security, |other| other.min(self.security)),
            ask: ask.map_or(self.ask, |other| other.max(self.ask)),
            ..self
        }
    }

    /// Judges a command.
    pub fn judge(&self, command: Command<'_>, around: &impl Surroundings) -> Verdict {
        let segments = match command {
            Command::Shell(text) => shell::analyse(text),
            Command::Argv(argv) => shell::of_argv(argv),
        };
        let mut verdict =
            Verdict { outcome: Outcome::Refuse, executables: Vec::new(), used: Vec::new(), fault: None };
        let covered = match segments {
            Ok(segments) => self.cover(&segments, around, &mut verdict),
            Err(fault) => {
                verdict.fault = Some(fault);
                false
            }
        };
        verdict.outcome = match (self.security, self.ask) {
            (Security::Deny, _) => Outcome::Refuse,
            (_, Ask::Always) => Outcome::Ask,
            (Security::Full, _) => Outcome::Run,
            (Security::Allowlist, _) if covered => Outcome::Run,
            (Security::Allowlist, Ask::OnMiss) => Outcome::Ask,
            (Security::Allowlist, Ask::Off) => Outcome::Refuse,
        };
        verdict
    }

    /// Whether every segment is covered.
    fn cover(&self, segments: &[Segment], around: &impl Surroundings, verdict: &mut Verdict) -> bool {
        let mut all = true;
        for segment in segments {
            let Some(program) = segment.argv.first().filter(|word| !word.expands) else { return false };
            let Some(resolved) = around.resolve(&program.text) else {
                all = false;
                continue;
            };
            verdict.executables.push(resolved.clone());
            let home = around.home();
            let line = self.allowlist.iter().find(|entry| {
                glob::covers(&entry.pattern, &resolved, home.as_deref()) && arguments_fit(entry, segment)
            });
            if let Some(entry) = line {
                verdict.used.push((entry.pattern.clone(), resolved));
                continue;
            }
            let skill = self.auto_allow_skills
                && !program.text.contains('/')
                && around.is_skill_program(&program.text);
            all &= skill
                || safe::is_safe(&segment.argv, &resolved, &self.safe_programs, |name| around.exists(name));
        }
        all
    }
}

/// Whether a line's pattern for arguments, if it has one, says exactly these. Other programs write a regular
/// expression there; one that is more than a literal text covers nothing here.
fn arguments_fit(entry: &AllowEntry, segment: &Segment) -> bool {
    let Some(pattern) = &entry.arg_pattern else { return true };
    let Some(literal) = literal(pattern) else { return false };
    let arguments: Vec<&str> = segment.argv.iter().skip(1).map(|word| word.text.as_str()).collect();
    if segment.argv.iter().any(|word| word.expands) {
        return false;
    }
    if literal.contains('\0') {
        return arguments.iter().map(|word| format!("{word}\0")).collect::<String>() == literal;
    }
    !arguments.iter().any(|word| word.contains(' ') || word.is_empty()) && arguments.join(" ") == literal
}

/// The text that an anchored regular expression without operators stands for.
fn literal(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'x' if chars.as_str().starts_with("00") => {
                    chars.nth(1);
                    text.push('\0');
                }
                c if c.is_alphanumeric() => return None,
                c => text.push(c),
            },
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}
