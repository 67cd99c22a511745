//! The servers inside the gateway: started, written to, heard, restarted.

use serde_json::Value;

use crate::fetch::{FetchError, FetchEvent};
use crate::gateway::{Fetcher, Gateway, Runner};
use crate::ids::{CallId, FetchId, ProcessId};
use crate::limits;
use crate::process::ProcessEvent;
use crate::tools::ToolOutcome;

use super::content;
use super::link::{Exchange, http_request};
use super::server::{Server, State};
use super::session::{Answer, Event};
use super::settings::McpTransport;

/// The longest line of a process's standard error that goes to the log, in characters.
const MAX_STDERR: usize = 1_000;

impl Gateway {
    /// Starts every server.
    pub(crate) fn start_servers(&mut self) {
        for place in 0..self.tools.mcp.servers.len() {
            self.start_server(place);
        }
    }

    /// Ends every server.
    pub(crate) fn stop_servers(&mut self) {
        self.tools.mcp.stopping = true;
        for place in 0..self.tools.mcp.servers.len() {
            let server = &mut self.tools.mcp.servers[place];
            let request = server
                .http_session
                .take()
                .and_then(|id| http_request(&server.settings, Some(&id), server.session.version(), None));
            server.state = State::Off;
            let mut events = Vec::new();
            server.session.close("the gateway is stopping", &mut events);
            self.serve(place, events);
            self.unlink(place);
            if let Some(request) = request {
                let fetch = self.fetch(Fetcher::Tools, request);
                self.tools.mcp.exchanges.insert(fetch, Exchange::new(place, None));
            }
        }
    }

    fn start_server(&mut self, place: usize) {
        let (now, version) = (self.now.mono, self.settings.facts.version.clone());
        let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
        server.state = State::Starting;
        tracing::debug!(target: "mcp", server = server.name(), "starting");
        if let McpTransport::Stdio(spec) = &server.settings.transport {
            let spec = spec.clone();
            let process = self.spawn(Runner::Tools, spec);
            self.tools.mcp.processes.insert(process, place);
            if let Some(server) = self.tools.mcp.servers.get_mut(place) {
                server.process = Some(process);
            }
        }
        let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
        let mut events = Vec::new();
        server.session.open(now, &version, &mut events);
        self.serve(place, events);
    }

    /// Does what the protocol with a server asks for.
    fn serve(&mut self, place: usize, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Send { body, request } => self.send_to_server(place, body, request),
                Event::Done(call, answer) => self.server_answered(place, call, answer),
                Event::Tools => self.tools.mcp.rename(),
                Event::Ready => {
                    let now = self.now.mono;
                    let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
                    server.ready(now);
                    let tools = server.session.tools().len();
                    tracing::info!(target: "mcp", server = server.name(), tools, "server ready");
                }
                Event::Broken(problem) => return self.server_failed(place, &problem),
            }
        }
    }

    fn send_to_server(&mut self, place: usize, body: String, request: Option<u64>) {
        let Some(server) = self.tools.mcp.servers.get(place) else { return };
        if let Some(process) = server.process {
            return self.write_line(process, body);
        }
        let session = server.http_session.as_deref();
        let Some(request_out) = http_request(&server.settings, session, server.session.version(), Some(body))
        else {
            return;
        };
        let fetch = self.fetch(Fetcher::Tools, request_out);
        self.tools.mcp.exchanges.insert(fetch, Exchange::new(place, request));
    }

    fn server_answered(&mut self, place: usize, call: CallId, answer: Answer) {
        let marker = self.entropy.entry_id();
        let name =
            self.tools.mcp.servers.get(place).map(|server| server.name().to_owned()).unwrap_or_default();
        let outcome = match answer {
            Answer::Result(result) => content::outcome(&name, &marker, &result),
            Answer::Error(problem) => ToolOutcome::error(format!("MCP server {name}: {problem}")),
        };
        self.finish_call(call, outcome);
    }

    /// A server has failed: its calls end, and it is started again after a rest.
    fn server_failed(&mut self, place: usize, problem: &str) {
        let now = self.now.mono;
        let stopping = self.tools.mcp.stopping;
        self.unlink(place);
        let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
        if stopping || matches!(server.state, State::Off | State::Resting { .. }) {
            return;
        }
        server.http_session = None;
        let rest = server.rest(now, problem.chars().take(500).collect());
        tracing::warn!(
            target: "mcp", server = server.name(), problem, again_in_ms = rest.as_millis(), "server failed"
        );
        let mut events = Vec::new();
        server.session.close(&format!("the server has failed: {problem}"), &mut events);
        self.serve(place, events);
    }

    /// Lets go of a server's process and requests.
    fn unlink(&mut self, place: usize) {
        let process = self.tools.mcp.servers.get_mut(place).and_then(|server| server.process.take());
        if let Some(process) = process {
            self.tools.mcp.processes.remove(&process);
            self.kill(process);
        }
        let mine = |exchange: &Exchange| exchange.server == place;
        let fetches: Vec<FetchId> = self
            .tools
            .mcp
            .exchanges
            .iter()
            .filter(|(_, exchange)| mine(exchange))
            .map(|(id, _)| *id)
            .collect();
        for fetch in fetches {
            self.tools.mcp.exchanges.remove(&fetch);
            self.abort_fetch(fetch);
        }
    }

    /// Calls a tool of a server that is ready.
    pub(crate) fn ask_server(&mut self, place: usize, call: CallId, tool: &str, arguments: &Value) {
        let now = self.now.mono;
        let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
        let timeout = server.settings.timeout;
        let mut events = Vec::new();
        server.session.call(now, call, tool, arguments, timeout, &mut events);
        self.serve(place, events);
    }

    /// Gives a call of a server up.
    pub(crate) fn cancel_server_call(&mut self, place: usize, call: CallId, reason: &str) {
        let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
        let mut events = Vec::new();
        let request = server.session.cancel(call, reason, &mut events);
        self.serve(place, events);
        let fetch = request.and_then(|request| {
            let mut all = self.tools.mcp.exchanges.iter();
            all.find(|(_, exchange)| exchange.server == place && exchange.request == Some(request))
        });
        if let Some(fetch) = fetch.map(|(id, _)| *id) {
            self.tools.mcp.exchanges.remove(&fetch);
            self.abort_fetch(fetch);
        }
    }

    /// A process of a server has moved.
    pub(crate) fn server_process_moved(&mut self, id: ProcessId, event: ProcessEvent) {
        let Some(place) = self.tools.mcp.processes.get(&id).copied() else { return };
        match event {
            ProcessEvent::Stdout(line) if line.trim().is_empty() => {}
            ProcessEvent::Stdout(line) => self.server_said(place, &line),
            ProcessEvent::Stderr(line) => {
                let server = self.tools.mcp.servers.get(place).map(Server::name).unwrap_or_default();
                let line: String = line.chars().take(MAX_STDERR).collect();
                tracing::info!(target: "mcp", server, line, "stderr");
            }
            ProcessEvent::Exited(how) | ProcessEvent::Failed(how) => {
                self.tools.mcp.processes.remove(&id);
                if let Some(server) = self.tools.mcp.servers.get_mut(place) {
                    server.process = None;
                }
                self.server_failed(place, &how);
            }
        }
    }

    /// A message of a server.
    fn server_said(&mut self, place: usize, text: &str) {
        let now = self.now.mono;
        if text.len() > limits::length(limits::MCP_MESSAGE_BYTES) {
            return self.server_failed(place, "it sent a message that is too large");
        }
        let Some(server) = self.tools.mcp.servers.get_mut(place) else { return };
        let mut events = Vec::new();
        match server.session.receive(now, text, &mut events) {
            Ok(()) => server.sense(),
            Err(problem) => {
                tracing::warn!(target: "mcp", server = server.name(), problem, "a message was passed over");
                if server.noise() {
                    events.push(Event::Broken("it does not speak the protocol".to_owned()));
                }
            }
        }
        self.serve(place, events);
    }

    /// An outbound request of a server has moved.
    pub(crate) fn server_fetched(&mut self, id: FetchId, event: FetchEvent) {
        let Some(exchange) = self.tools.mcp.exchanges.get_mut(&id) else { return };
        let place = exchange.server;
        match event {
            FetchEvent::Head { status, headers } => {
                let session = exchange.head(status, &headers);
                let server = self.tools.mcp.servers.get_mut(place);
                if let (Some(server), Some(session)) = (server, session) {
                    server.http_session = server.http_session.take().or(Some(session));
                }
            }
            FetchEvent::Chunk(bytes) => match exchange.chunk(&bytes) {
                Ok(messages) => {
                    for message in messages {
                        self.server_said(place, &message);
                    }
                }
                Err(problem) => self.server_failed(place, problem),
            },
            FetchEvent::End => self.exchange_over(id),
            FetchEvent::Failed(error) => self.exchange_failed(id, &error),
        }
    }

    fn exchange_over(&mut self, id: FetchId) {
        let Some(exchange) = self.tools.mcp.exchanges.remove(&id) else { return };
        let (place, status, body) = (exchange.server, exchange.status, exchange.body());
        let had_session =
            self.tools.mcp.servers.get(place).is_some_and(|server| server.http_session.is_some());
        if exchange.is_good() {
            if !body.trim().is_empty() {
                self.server_said(place, &body);
            }
            return self.unanswered(place, exchange.request, "the server has sent no answer");
        }
        if status == 404 && had_session {
            let problem = "the server has forgotten this session; call again shortly";
            return self.server_failed(place, problem);
        }
        let said: String = body.chars().take(300).collect();
        let problem = format!("the server answered with HTTP {status} {said}");
        self.unanswered(place, exchange.request, problem.trim_end());
    }

    fn exchange_failed(&mut self, id: FetchId, error: &FetchError) {
        let Some(exchange) = self.tools.mcp.exchanges.remove(&id) else { return };
        match error {
            FetchError::Connect { .. } => self.server_failed(exchange.server, &error.to_string()),
            _ => self.unanswered(exchange.server, exchange.request, &error.to_string()),
        }
    }

    fn unanswered(&mut self, place: usize, request: Option<u64>, problem: &str) {
        let (Some(request), Some(server)) = (request, self.tools.mcp.servers.get_mut(place)) else { return };
        let mut events = Vec::new();
        server.session.unanswered(request, problem, &mut events);
        self.serve(place, events);
    }

    /// What is due: requests that took too long, rests that are over.
    pub(crate) fn server_timeouts(&mut self) {
        let now = self.now.mono;
        for place in 0..self.tools.mcp.servers.len() {
            let server = &mut self.tools.mcp.servers[place];
            if matches!(server.state, State::Resting { until } if until <= now) {
                self.start_server(place);
                continue;
            }
            let mut events = Vec::new();
            server.session.timeout(now, &mut events);
            self.serve(place, events);
        }
    }
}
