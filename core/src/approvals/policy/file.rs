//! `exec-approvals.json` as a value: read, made regular, written, compared by hash (spec 03 §3.5).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::entropy::hex;
use crate::limits;

/// The name of an agent's entry that older files use for `main`.
const LEGACY_AGENT: &str = "default";

/// The agent whose entry stands for all.
const EVERY_AGENT: &str = "*";

/// The policy of one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalsFile {
    /// Always 1.
    pub version: u64,
    /// Where a companion program asks, and its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<Socket>,
    /// What holds where an agent's entry says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// What each agent may; `*` stands for all of them.
    #[serde(default)]
    pub agents: BTreeMap<String, AgentPolicy>,
}

/// The socket of a companion program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    /// Its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its secret, which no method returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Levels for all agents. Words that are no levels count as absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// [`super::Security`] in its spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// [`super::Ask`] in its spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// What an unanswered question would become; kept for other programs, never followed here (08 S-57).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_fallback: Option<String>,
    /// Whether programs of installed skills may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_allow_skills: Option<bool>,
}

/// What one agent may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPolicy {
    /// As in [`Defaults`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// As in [`Defaults`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// As in [`Defaults`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_fallback: Option<String>,
    /// As in [`Defaults`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_allow_skills: Option<bool>,
    /// The programs that may run without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<Vec<AllowEntry>>,
    /// Tools of tool servers, which the newer protocol lists here; kept as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_tools: Option<Vec<Value>>,
}

/// One line of an allowlist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowEntry {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A [`super::glob`] over the path of the executable.
    pub pattern: String,
    /// `allow-always` when an answer to a question made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The command for which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_text: Option<String>,
    /// What the arguments must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_pattern: Option<String>,
    /// When it last let a command run, in epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<f64>,
    /// Which command that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_command: Option<String>,
    /// Which executable that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_resolved_path: Option<String>,
}

/// Why a file that a caller sends is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// It is no object.
    #[error("exec approvals file is required")]
    Missing,
    /// It has a member that nobody knows.
    #[error("at /file/{parent}: unexpected property '{name}'")]
    Unknown {
        /// Where, as a JSON pointer without its first slash.
        parent: String,
        /// The member.
        name: String,
    },
    /// A member has a value that it cannot have.
    #[error("at /file/{at}: {problem}")]
    Wrong {
        /// Where.
        at: String,
        /// What is wrong.
        problem: String,
    },
}

impl Default for ApprovalsFile {
    fn default() -> Self {
        Self { version: 1, socket: None, defaults: None, agents: BTreeMap::new() }
    }
}

impl ApprovalsFile {
    /// Reads what is kept. A text that cannot be read, or of another version, is an empty file, which allows
    /// nothing.
    pub fn parse(raw: &str, fresh_id: impl FnMut() -> String) -> Self {
        let read = serde_json::from_str::<Self>(raw).ok().filter(|file| file.version == 1);
        let mut file = read.unwrap_or_default();
        file.normalise(fresh_id);
        file
    }

    /// Reads what a caller sends: closed at every level, and bounded.
    ///
    /// # Errors
    ///
    /// [`FileFault`], which names the member and its problem.
    pub fn read(sent: &Value, fresh_id: impl FnMut() -> String) -> Result<Self, FileFault> {
        if !sent.is_object() {
            return Err(FileFault::Missing);
        }
        let unknown = std::cell::RefCell::new(BTreeSet::new());
        let mut note = |path: serde_ignored::Path<'_>| {
            unknown.borrow_mut().insert(path.to_string().replace(".?", ""));
        };
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(sent, &mut track);
        let read = Self::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
        let mut file = read.map_err(|error| FileFault::Wrong {
            at: track.path().to_string().replace(['.', '['], "/").replace(']', ""),
            problem: error.to_string(),
        })?;
        if let Some(path) = unknown.borrow().first() {
            let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
            return Err(FileFault::Unknown { parent: parent.replace('.', "/"), name: name.to_owned() });
        }
        file.check(sent)?;
        file.normalise(fresh_id);
        Ok(file)
    }

    fn check(&self, sent: &Value) -> Result<(), FileFault> {
        let wrong = |at: &str, problem: String| Err(FileFault::Wrong { at: at.to_owned(), problem });
        if self.version != 1 {
            return wrong("version", "must be 1".to_owned());
        }
        let bytes = sent.to_string().len();
        if bytes as u64 > limits::APPROVALS_FILE_BYTES {
            return wrong("", format!("is {bytes} bytes; at most {}", limits::APPROVALS_FILE_BYTES));
        }
        for (name, agent) in &self.agents {
            for (index, entry) in agent.allowlist.iter().flatten().enumerate() {
                let at = format!("agents/{name}/allowlist/{index}");
                if entry.id.as_ref().is_some_and(String::is_empty) {
                    return wrong(
                        &format!("{at}/id"),
                        "must not be empty; leave it out for a new one".to_owned(),
                    );
                }
                if entry.last_used_at.is_some_and(|at| at < 0.0) {
                    return wrong(&format!("{at}/lastUsedAt"), "must be 0 or more".to_owned());
                }
            }
        }
        Ok(())
    }

    /// Makes a file regular: the entry of older files for `main`, ids for every line, no blank words.
    fn normalise(&mut self, mut fresh_id: impl FnMut() -> String) {
        if let Some(legacy) = self.agents.remove(LEGACY_AGENT) {
            self.agents.entry("main".to_owned()).or_default().adopt(legacy);
        }
        for entry in self.agents.values_mut().flat_map(|agent| agent.allowlist.iter_mut().flatten()) {
            if entry.id.as_ref().is_none_or(|id| id.trim().is_empty()) {
                entry.id = Some(fresh_id());
            }
        }
        if let Some(socket) = &mut self.socket {
            let blank = |text: &String| !text.trim().is_empty();
            socket.path = socket.path.take().filter(blank);
            socket.token = socket.token.take().filter(blank);
        }
    }

    /// Fills in the socket's path and secret where there is none. Whether anything changed.
    pub fn ensure_socket(&mut self, path: &str, token: impl FnOnce() -> String) -> bool {
        let socket = self.socket.get_or_insert_default();
        let mut changed = false;
        if socket.path.is_none() {
            socket.path = Some(path.to_owned());
            changed = true;
        }
        if socket.token.is_none() {
            socket.token = Some(token());
            changed = true;
        }
        changed
    }

    /// The text that is kept: two spaces, a newline at the end.
    pub fn text(&self) -> String {
        // A value of these types has only string keys and finite numbers, so that it can be written.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// The name of a kept text: hex SHA-256 of its bytes, of the empty text when there is none.
    pub fn hash(raw: Option<&str>) -> String {
        hex(Sha256::digest(raw.unwrap_or_default().as_bytes()).as_slice())
    }

    /// The file as a method may show it: the socket without its secret.
    #[must_use]
    pub fn shown(&self) -> Self {
        let path = self.socket.as_ref().and_then(|socket| socket.path.clone());
        Self { socket: path.map(|path| Socket { path: Some(path), token: None }), ..self.clone() }
    }

    /// Notes that lines of an agent's allowlist, or of everyone's, have let a command run.
    pub fn note_use(&mut self, agent: &str, pattern: &str, now_ms: u64, command: &str, resolved: &str) {
        for name in [EVERY_AGENT, agent] {
            let lines = self.agents.get_mut(name).and_then(|agent| agent.allowlist.as_mut());
            for entry in lines.into_iter().flatten().filter(|entry| entry.pattern == pattern) {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of this epoch fit")]
                let at = now_ms as f64;
                entry.last_used_at = Some(at);
                entry.last_used_command = Some(command.to_owned());
                entry.last_resolved_path = Some(resolved.to_owned());
            }
        }
    }

    /// Adds executables to an agent's allowlist, once each: the answer `allow-always`. Whether anything changed.
    pub fn allow_always(
        &mut self,
        agent: &str,
        command: &str,
        executables: &[String],
        mut fresh_id: impl FnMut() -> String,
    ) -> bool {
        let lines = self.agents.entry(agent.to_owned()).or_default().allowlist.get_or_insert_default();
        let before = lines.len();
        for executable in executables {
            if lines.iter().all(|entry| entry.pattern != *executable || entry.arg_pattern.is_some()) {
                lines.push(AllowEntry {
                    id: Some(fresh_id()),
                    pattern: executable.clone(),
                    source: Some("allow-always".to_owned()),
                    command_text: Some(command.to_owned()),
                    ..AllowEntry::default()
                });
            }
        }
        lines.len() != before
    }
}

impl AgentPolicy {
    /// Takes over what another entry says where this one says nothing; their allowlists together.
    fn adopt(&mut self, other: Self) {
        self.security = self.security.take().or(other.security);
        self.ask = self.ask.take().or(other.ask);
        self.ask_fallback = self.ask_fallback.take().or(other.ask_fallback);
        self.auto_allow_skills = self.auto_allow_skills.or(other.auto_allow_skills);
        self.mcp_tools = self.mcp_tools.take().or(other.mcp_tools);
        let Some(theirs) = other.allowlist else { return };
        let mine = self.allowlist.get_or_insert_default();
        let mut seen: BTreeSet<String> = mine.iter().map(|entry| entry.pattern.to_lowercase()).collect();
        mine.extend(theirs.into_iter().filter(|entry| seen.insert(entry.pattern.to_lowercase())));
    }
}
