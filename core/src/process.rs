//! Processes, as the machines ask for them: started, written to by lines, heard by lines, killed.

use std::collections::BTreeMap;

/// A process that the adapter is to start, with its three standard streams piped.
#[derive(Clone, PartialEq, Eq)]
pub struct ProcessSpec {
    /// The program: a path, or a name that is looked for on the `PATH` of `env` or else of the gateway.
    pub program: String,
    /// Its arguments, its name not among them.
    pub args: Vec<String>,
    /// What is added to a minimal environment: `PATH`, `HOME`, `LANG`, `TMPDIR` of the gateway and nothing else.
    pub env: BTreeMap<String, String>,
    /// Its working directory; that of the gateway when `None`.
    pub cwd: Option<String>,
}

impl std::fmt::Debug for ProcessSpec {
    /// Values of the environment stay out of logs: they carry keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} arguments)", self.program, self.args.len())
    }
}

/// The longest line that is read from a process, in bytes. A longer one ends the process.
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// What becomes of a process. After `Exited` or `Failed` nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A line of its standard output, without the line end.
    Stdout(String),
    /// A line of its standard error.
    Stderr(String),
    /// It has ended: in words, such as `exit status: 1`.
    Exited(String),
    /// It could not be started, or its output could not be read.
    Failed(String),
}
