//! Start, periodic work and stop (spec 03 §9.5, §9.6; 05 §10.3).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use telson_proto::{CloseCode, EventName, Json, StateVersion};

use crate::messages::{Audience, Down, Publish};
use crate::store::{Everything, Loaded, Query, Record, Shelf};

use super::{Gateway, Output, Phase};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shutdown<'a> {
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_expected_ms: Option<u64>,
}

impl Gateway {
    pub(super) fn start(&mut self) {
        self.load(Query::Everything, |gateway, loaded| match loaded {
            Ok(Loaded::Everything(everything)) => gateway.restore(*everything),
            Ok(_) => gateway.break_down("the store answered another question"),
            Err(error) => gateway.break_down(&error.to_string()),
        });
    }

    /// Takes over what was kept; runs that were under way when the last process ended are closed first.
    fn restore(&mut self, everything: Everything) {
        if self.phase != Phase::Starting {
            return; // It was stopped before it had begun.
        }
        let Everything { sessions, devices, answers, open_runs, transcripts, records } = everything;
        tracing::info!(
            target: "gateway", sessions = sessions.len(), devices = devices.len(), interrupted = open_runs.len(),
            "state loaded"
        );
        self.sessions.restore(sessions, transcripts);
        self.devices.restore(devices);
        self.end_page_tokens();
        self.answers.restore(answers, self.now);
        self.restore_records(records);
        self.phase = Phase::Serving;
        self.system.start(self.now);
        self.close_interrupted(open_runs);
        self.write_interrupted_approvals();
        self.start_tools();
        self.start_tailscale();
        self.refresh_health();
    }

    /// Takes over what decisions about devices and tokens need, without beginning any work.
    pub(crate) fn sit_down(&mut self, everything: Everything, addresses: Vec<SocketAddr>) {
        let ours = [Shelf::PairRequests, Shelf::SetupCodes, Shelf::ServiceTokens];
        self.devices.restore(everything.devices);
        let records = everything.records.into_iter();
        self.restore_records(records.filter(|record| ours.contains(&record.shelf)).collect());
        self.addresses = addresses;
        self.phase = Phase::Serving;
    }

    /// Hands each small record to its domain.
    fn restore_records(&mut self, records: Vec<Record>) {
        let mut shelves: BTreeMap<Shelf, Vec<Record>> = BTreeMap::new();
        for record in records {
            shelves.entry(record.shelf).or_default().push(record);
        }
        for (shelf, records) in shelves {
            match shelf {
                Shelf::PairRequests | Shelf::SetupCodes => {
                    self.devices.restore_records(self.now, shelf, records);
                }
                Shelf::ServiceTokens => self.tokens.restore(self.now, records),
                Shelf::NodeSurfaces | Shelf::NodeWork => self.nodes.restore(self.now, shelf, records),
                Shelf::Approvals | Shelf::ApprovalPolicy => self.approvals.restore(self.now, shelf, records),
            }
        }
    }

    /// A gateway that cannot read what it kept must not pretend that there is nothing.
    fn break_down(&mut self, reason: &str) {
        tracing::error!(target: "gateway", reason, "the kept state cannot be loaded; nothing is served");
        self.phase = Phase::Broken;
        self.emit(Output::Stopped);
    }

    pub(super) fn timeout(&mut self) {
        if self.drain_until.is_some_and(|until| until <= self.now.mono) {
            self.drain_until = None;
            self.abort_all_runs("restart");
        }
        self.run_timeouts();
        self.tool_timeouts();
        self.api_timeouts();
        self.session_timeouts();
        self.refuse_overdue();
        self.approval_timeouts();
        self.audit_timeouts();
        self.device_timeouts();
        self.node_timeouts();
        self.tailscale_timeouts();
        self.token_timeouts();
        self.handshake.timeout(self.now);
        self.release_refusals();
        let due = self.system.due(self.now);
        if due.tick {
            let payload = Json::of(&serde_json::json!({"ts": self.now.wall}));
            self.publish(Publish::lossless(EventName::Tick, payload));
        }
        if due.health {
            self.refresh_health();
        }
        if due.sweep {
            let forgotten = self.answers.sweep(self.now);
            if !forgotten.is_empty() {
                self.store(vec![crate::store::Op::DeleteAnswers(forgotten)], |_, _| {});
            }
        }
    }

    /// Raises the health version and tells everyone.
    pub(crate) fn refresh_health(&mut self) {
        let summary = self.health_summary();
        self.system.refreshed(self.now, summary.clone());
        // Session keys are for those who may read; the others hear that the gateway lives (spec 08 S-16).
        let brief = self.health_in_brief();
        for (payload, reads) in [(summary, true), (brief, false)] {
            let event = Publish::lossless(EventName::Health, payload);
            let state = Some(self.state_version());
            self.publish(Publish { state, to: Audience::Readers(reads), ..event });
        }
    }

    /// Publishes what changed in this turn, each kind once.
    pub(super) fn announce(&mut self) {
        if let Some(payload) = self.presence.announcement(self.now) {
            let mut publish = Publish::droppable(EventName::Presence, payload);
            publish.state = Some(self.state_version());
            self.publish(publish);
        }
    }

    pub(crate) fn state_version(&self) -> StateVersion {
        StateVersion { presence: self.presence.version(), health: self.system.health_version() }
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.now.mono.saturating_sub(self.started.mono).as_millis()).unwrap_or(u64::MAX)
    }

    /// Lets the runs under way come to their end, tells the clients, and lets go when all is stored.
    pub(crate) fn stop(&mut self, reason: &str, restart_expected: Option<Duration>) {
        match self.phase {
            Phase::Serving => {}
            Phase::Starting => {
                self.phase = Phase::Stopping;
                return;
            }
            // Asked again: once is enough.
            Phase::Stopping | Phase::Stopped | Phase::Broken => return,
        }
        tracing::info!(target: "gateway", reason, runs = self.runs.open(), "stopping");
        self.phase = Phase::Stopping;
        match self.runs.begun() {
            0 => self.abort_all_runs("restart"),
            _ => self.drain(),
        }
        self.api_stop();
        self.stop_tailscale();
        self.flush_audit();
        let restart_expected_ms = restart_expected.and_then(|d| u64::try_from(d.as_millis()).ok());
        self.system.shutdown = Some(Json::of(&Shutdown { reason, restart_expected_ms }));
    }

    /// Runs under way may go on for a while; those that wait for their turn end now (spec 05 §10.3, 07 P-28).
    fn drain(&mut self) {
        if self.settings.drain.is_zero() {
            return self.abort_all_runs("restart");
        }
        self.drain_until = Some(self.now.mono + self.settings.drain);
        self.abort_waiting_runs("restart");
    }

    /// When the last run is stored: the shutdown event, then every socket closes.
    pub(super) fn finish_stopping(&mut self) {
        if self.phase != Phase::Stopping || !self.stores.is_empty() || self.runs.open() > 0 {
            return;
        }
        self.stop_tools();
        self.settle_tools();
        self.phase = Phase::Stopped;
        self.drain_until = None;
        self.flush_session_changes();
        if let Some(payload) = self.system.shutdown.take() {
            self.publish(Publish::lossless(EventName::Shutdown, payload));
        }
        self.tell(Down::CloseAll { code: CloseCode::Restart, reason: "service restart".to_owned() });
        self.emit(Output::Stopped);
    }
}
