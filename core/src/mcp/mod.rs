//! Servers of the Model Context Protocol as a source of tools: started with the gateway, asked for their tools,
//! called, restarted when they fail.
//!
//! Each server is a machine of its own with its own failures; none can stop another or the gateway. The protocol
//! (`session`) knows nothing of how messages travel: by the lines of a process, or by HTTP (`link`). Servers are
//! started when the gateway begins to serve, because a run asks for its tools and cannot wait for them; a server that
//! is not ready has no tools.
//!
//! ```text
//! off → starting → ready ⇄ resting (1 s, 2 s, … 60 s after a failure)
//! ```

mod content;
mod drive;
mod link;
mod names;
mod server;
mod session;
pub mod settings;
mod tool;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{FetchId, ProcessId};
use crate::tools::ToolSpec;

use link::Exchange;
use server::Server;
use session::ServerTool;
use settings::McpServerSettings;

/// Every server. See the [module documentation](self).
pub(crate) struct Mcp {
    servers: Vec<Server>,
    /// The tools by the name under which they are offered: the server's place and the tool's.
    names: BTreeMap<String, (usize, usize)>,
    processes: BTreeMap<ProcessId, usize>,
    exchanges: BTreeMap<FetchId, Exchange>,
    stopping: bool,
}

/// A tool that a server offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    /// The name by which it is called.
    pub(crate) name: &'a str,
    /// The server's place.
    pub(crate) place: usize,
    /// The server's name.
    pub(crate) server: &'a str,
    /// The tool's name at the server.
    pub(crate) tool: &'a str,
    entry: &'a ServerTool,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerStatus<'a> {
    pub(crate) name: &'a str,
    /// `starting`, `ready`, `resting` or `off`.
    pub(crate) state: &'static str,
    pub(crate) tools: usize,
    /// Why it is not ready.
    pub(crate) problem: Option<&'a str>,
}

impl Offer<'_> {
    /// What a model is told of it.
    pub(crate) fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.to_owned(),
            description: self.entry.description.clone(),
            parameters: self.entry.schema.clone(),
            strict: None,
        }
    }

    /// What the server says of it.
    pub(crate) fn description(&self) -> &str {
        &self.entry.description
    }

    /// The name to show.
    pub(crate) fn title(&self) -> &str {
        self.entry.title.as_deref().unwrap_or(&self.entry.name)
    }

    /// What the server promises of it: `low` for a tool that only reads, `high` for one that destroys. It is the
    /// server's own word and decides nothing.
    pub(crate) fn risk(&self) -> &'static str {
        match (self.entry.read_only, self.entry.destructive) {
            (Some(true), _) => "low",
            (_, Some(true)) => "high",
            _ => "medium",
        }
    }
}

impl Mcp {
    /// The servers of a configuration, none of them started.
    pub(crate) fn new(settings: &[McpServerSettings]) -> Self {
        Self {
            servers: settings.iter().filter(|server| server.enabled).cloned().map(Server::new).collect(),
            names: BTreeMap::new(),
            processes: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            stopping: false,
        }
    }

    /// When something is due: a deadline of a request, or the end of a rest.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.servers.iter().filter_map(Server::next_deadline).min()
    }

    /// The tools of the servers that are ready, by name.
    pub(crate) fn offered(&self) -> impl Iterator<Item = Offer<'_>> {
        self.names.keys().filter_map(|name| self.offer(name))
    }

    /// A tool by the name under which it is offered.
    pub(crate) fn offer(&self, name: &str) -> Option<Offer<'_>> {
        let (name, (place, tool)) = self.names.get_key_value(name)?;
        let server = self.servers.get(*place)?;
        let entry = server.session.tools().get(*tool)?;
        Some(Offer { name, place: *place, server: server.name(), tool: &entry.name, entry })
    }

    /// How each server is, in the order of their names.
    pub(crate) fn servers(&self) -> impl Iterator<Item = ServerStatus<'_>> {
        self.servers.iter().map(Server::status)
    }

    /// How long a call of a server may take.
    pub(crate) fn patience(&self, place: usize) -> Duration {
        self.servers.get(place).map_or(Duration::ZERO, |server| server.settings.timeout)
    }

    /// Gives every tool its name anew.
    fn rename(&mut self) {
        let all = self.servers.iter().enumerate().flat_map(|(place, server)| {
            let tools = server.session.tools().iter().enumerate();
            let offered = tools.filter(|(_, tool)| server.offers(&tool.name));
            offered.map(move |(at, tool)| (server.name(), tool.name.as_str(), (place, at)))
        });
        self.names = names::assign(all);
    }
}
