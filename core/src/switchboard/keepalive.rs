//! Deadlines: the handshake's, and the pings that find clients which are gone without saying so (07 P-09).

use std::time::Duration;

use telson_proto::CloseCode;

use crate::ids::ConnId;
use crate::limits;
use crate::messages::Up;
use crate::time::Now;

use super::conn::Stage;
use super::{Output, Switchboard};

impl Switchboard {
    /// Puts a connection under another deadline.
    pub(super) fn set_deadline(&mut self, id: ConnId, deadline: Option<Duration>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if let Some(old) = conn.deadline.take() {
            self.deadlines.remove(&(old, id));
        }
        if let Some(at) = deadline {
            conn.deadline = Some(at);
            self.deadlines.insert((at, id));
        }
    }

    pub(super) fn timeout(&mut self, now: Now) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now.mono {
                return;
            }
            self.set_deadline(id, None);
            self.due(now, id);
        }
    }

    fn due(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match &mut conn.stage {
            Stage::Challenged { .. } | Stage::Handshaking { .. } => {
                self.close(id, CloseCode::Normal, "handshake timeout");
            }
            Stage::Live(live) if live.awaiting_pong => {
                self.close(id, CloseCode::Policy, "keepalive timeout: no pong");
            }
            Stage::Live(live) => {
                live.awaiting_pong = true;
                self.emit(Output::Ping { conn: id });
                self.set_deadline(id, Some(now.mono + limits::millis(limits::PING_MS)));
            }
            Stage::Closing { .. } => {}
        }
    }

    pub(super) fn pong(&mut self, id: ConnId) {
        if let Some(live) = self.conns.get_mut(&id).and_then(super::conn::Conn::live_mut) {
            live.awaiting_pong = false;
            self.emit(Output::Up(Up::Alive { conn: id }));
        }
    }

    pub(super) fn flushed(&mut self, now: Now, id: ConnId, bytes: usize) {
        let handshake = self.handshake;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.outbox.flushed(bytes);
        if let Stage::Challenged { flushed: flushed @ false } = &mut conn.stage {
            *flushed = true;
            self.set_deadline(id, Some(now.mono + handshake));
        }
    }
}
