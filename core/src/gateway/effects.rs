//! Effects under way: what was asked of the adapter, and what is to happen when it has come back.

use std::sync::Arc;

use telson_proto::{ErrorShape, EventName, Json};

use crate::fetch::{FetchEvent, FetchRequest};
use crate::ids::{ConnId, FetchId, HttpId, ProcessId, QueryId, RunId, Ticket, TxId};
use crate::messages::{Down, Outcome, Publish};
use crate::process::{ProcessEvent, ProcessSpec};
use crate::store::{Loaded, Op, Query, StoreError, Transaction};

use super::{Gateway, Output};

/// On whose behalf an outbound request goes, and who hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fetcher {
    /// A run asks its model.
    Run(RunId),
    /// A tool, or a server of tools.
    Tools,
    /// An HTTP request wants a picture, a file or an embedding.
    Api(HttpId),
}

/// On whose behalf a process runs, and who hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// A server of tools.
    Tools,
    /// The tailnet's own program.
    Tailscale,
}

impl Gateway {
    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Writes `ops` as one transaction; `then` runs when they are on disk or have failed.
    pub(crate) fn store(
        &mut self,
        ops: Vec<Op>,
        then: impl FnOnce(&mut Self, Result<(), StoreError>) + Send + 'static,
    ) {
        let id = TxId(self.next_serial());
        self.stores.insert(id, Box::new(then));
        self.emit(Output::Store(Transaction { id, ops }));
    }

    /// Asks the store; `then` runs with its answer.
    pub(crate) fn load(
        &mut self,
        query: Query,
        then: impl FnOnce(&mut Self, Result<Loaded, StoreError>) + Send + 'static,
    ) {
        let id = QueryId(self.next_serial());
        self.loads.insert(id, Box::new(then));
        self.emit(Output::Load { id, query });
    }

    /// Starts an outbound request on behalf of somebody, who hears of what becomes of it.
    pub(crate) fn fetch(&mut self, fetcher: Fetcher, request: FetchRequest) -> FetchId {
        let id = FetchId(self.next_serial());
        self.fetches.insert(id, fetcher);
        self.emit(Output::Fetch { id, request });
        id
    }

    /// Gives an outbound request up.
    pub(crate) fn abort_fetch(&mut self, id: FetchId) {
        if self.fetches.remove(&id).is_some() {
            self.emit(Output::AbortFetch { id });
        }
    }

    /// Starts a process on behalf of somebody, who hears of what becomes of it.
    pub(crate) fn spawn(&mut self, runner: Runner, spec: ProcessSpec) -> ProcessId {
        let id = ProcessId(self.next_serial());
        self.processes.insert(id, runner);
        self.emit(Output::Spawn { id, spec });
        id
    }

    /// Writes a line to a process.
    pub(crate) fn write_line(&mut self, id: ProcessId, line: String) {
        if self.processes.contains_key(&id) {
            self.emit(Output::WriteLine { id, line });
        }
    }

    /// Ends a process; nothing more is heard of it.
    pub(crate) fn kill(&mut self, id: ProcessId) {
        if self.processes.remove(&id).is_some() {
            self.emit(Output::Kill { id });
        }
    }

    pub(super) fn process_moved(&mut self, id: ProcessId, event: ProcessEvent) {
        let over = matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Failed(_));
        let runner = if over { self.processes.remove(&id) } else { self.processes.get(&id).copied() };
        match runner {
            Some(Runner::Tools) => self.tool_process_moved(id, event),
            Some(Runner::Tailscale) => self.tailscale_moved(id, event),
            None => {}
        }
    }

    /// Answers a request, unless its deadline has passed.
    pub(crate) fn reply(&mut self, ticket: Ticket, outcome: Outcome) {
        self.audit_answer(&ticket, &outcome);
        if !self.deadlines.answered(&ticket) {
            return;
        }
        self.emit(Output::Down(Down::Reply { ticket, outcome }));
    }

    /// Sends an event to its audience.
    pub(crate) fn publish(&mut self, publish: Publish) {
        self.emit(Output::Down(Down::Publish(Arc::new(publish))));
    }

    /// Sends an event to one connection, without a number.
    pub(crate) fn address(&mut self, conn: ConnId, event: EventName, payload: Json) {
        self.emit(Output::Down(Down::Address { conn, event, payload }));
    }

    /// Tells one connection's switchboard something.
    pub(crate) fn tell(&mut self, down: Down) {
        self.emit(Output::Down(down));
    }

    pub(super) fn stored(&mut self, id: TxId, result: Result<(), StoreError>) {
        if let Err(error) = &result {
            tracing::error!(target: "gateway", %error, "a transaction was not stored");
        }
        if let Some(then) = self.stores.remove(&id) {
            then(self, result);
        }
    }

    pub(super) fn loaded(&mut self, id: QueryId, result: Result<Loaded, StoreError>) {
        if let Some(then) = self.loads.remove(&id) {
            then(self, result);
        }
    }

    pub(super) fn fetched(&mut self, id: FetchId, event: FetchEvent) {
        let over = matches!(event, FetchEvent::End | FetchEvent::Failed(_));
        let fetcher = if over { self.fetches.remove(&id) } else { self.fetches.get(&id).cloned() };
        match fetcher {
            Some(Fetcher::Run(run)) => self.run_fetched(&run, id, event),
            Some(Fetcher::Tools) => self.tool_fetched(id, event),
            Some(Fetcher::Api(request)) => self.api_fetched(request, id, event),
            None => {}
        }
    }

    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.handshake.gone(conn);
        self.tailscale.gone(conn);
        self.deadlines.gone(conn);
        self.sessions.watches.gone(conn);
        if let Some(principal) = self.conns.remove(&conn) {
            self.presence.gone(self.now, conn);
            self.node_gone(conn, &principal);
        }
        self.approval_asker_gone(conn);
        self.devices.gone(conn);
        self.audit_gone(conn);
    }
}

impl From<StoreError> for ErrorShape {
    /// A store that cannot write is no fault of the request, which may be sent again.
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string()).retry_after(1_000)
    }
}
