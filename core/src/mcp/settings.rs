//! What the configuration says about a server (`mcp.servers.<name>`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::process::ProcessSpec;

/// A server.
#[derive(Clone, Debug)]
pub struct McpServerSettings {
    /// The operator's name for it.
    pub name: String,
    /// Whether it is started.
    pub enabled: bool,
    /// How it is reached.
    pub transport: McpTransport,
    /// How long a call may take.
    pub timeout: Duration,
    /// Only these of its tools, with `*` as wildcard; all when empty.
    pub allow: Vec<String>,
    /// Not these of its tools.
    pub deny: Vec<String>,
}

impl McpServerSettings {
    /// The values that must not be shown. Short ones are none: masking them would hide every other word.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = match &self.transport {
            McpTransport::Stdio(spec) => spec.env.values(),
            McpTransport::Http { headers, .. } => headers.values(),
        };
        values.map(String::as_str).filter(|value| value.len() >= SHORTEST)
    }
}

/// The shortest value of an environment or a header that is taken for a secret.
const SHORTEST: usize = 8;

/// How a server is reached.
#[derive(Clone)]
pub enum McpTransport {
    /// A process that speaks by lines.
    Stdio(ProcessSpec),
    /// Streamable HTTP.
    Http {
        /// Where it is.
        url: String,
        /// Further headers of each request.
        headers: BTreeMap<String, String>,
    },
}

impl std::fmt::Debug for McpTransport {
    /// Values of headers stay out of logs: they carry keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdio(spec) => write!(f, "{spec:?}"),
            Self::Http { url, headers } => write!(f, "{url} ({} headers)", headers.len()),
        }
    }
}
