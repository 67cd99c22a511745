//! What the network and the sockets do.

use std::time::Duration;

use telson_core::peer::Peer;
use telson_core::{ConnId, Input, limits, switchboard};

use crate::clients::{End, State, Who};

use super::link::{Down, Link, Means, Message, Up};
use super::{Event, World};

/// The largest message that the adapter's WebSocket layer lets pass after hello.
const LARGEST: usize = 26_214_400;

impl World {
    /// A client asks for a connection.
    pub(crate) fn open(&mut self, who: Who) {
        let client = &self.clients[who.0];
        if self.over || client.state != State::Away {
            return;
        }
        if self.process.is_none() {
            self.come_back(who);
            return;
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let peer = Peer::at(client.profile.addr);
        let client = &mut self.clients[who.0];
        client.state = State::Opening;
        client.conn = Some(conn);
        self.links.insert(conn, Link::new(who));
        self.watch.opened(conn, who, &self.clients[who.0].profile, &self.settings.limits);
        self.tell(Input::Switchboard(switchboard::Input::Upgrade { conn, peer }));
    }

    pub(super) fn opened(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn)
            && !link.broken
        {
            link.open = true;
            self.tell(Input::Switchboard(switchboard::Input::Opened { conn }));
        }
    }

    fn latency(&mut self, who: Who) -> Duration {
        let (low, high) = self.clients[who.0].profile.manners.latency;
        self.dice.millis(low, high)
    }

    /// A client puts something on the wire.
    pub(super) fn send_up(&mut self, conn: ConnId, up: Up) {
        let Some(who) = self.links.get(&conn).map(|link| link.who) else { return };
        let delay = self.latency(who);
        let now = self.time;
        let Some(link) = self.links.get_mut(&conn) else { return };
        let too_early = !link.open && !matches!(up, Up::Close);
        if too_early || link.mute || link.broken {
            return;
        }
        let at = link.send_up(now, delay, up);
        self.at(at, Event::ArriveUp(conn));
    }

    /// A client says something on its connection, if it has one.
    pub(crate) fn say(&mut self, who: Who, message: Message) {
        if let Some(conn) = self.clients[who.0].conn {
            self.send_up(conn, Up::Message(message));
        }
    }

    pub(super) fn arrive_up(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        if link.mute || link.broken {
            return;
        }
        let Some(up) = link.up.pop_front() else { return };
        match up {
            Up::Pong => self.tell(Input::Switchboard(switchboard::Input::Pong { conn })),
            Up::Close => self.gone(conn),
            Up::Message(Message { text, means }) => {
                let admitted = if link.authenticated { LARGEST } else { limit(limits::PREAUTH_PAYLOAD) };
                let closing = link.closing;
                if text.len() > admitted {
                    self.tell(Input::Switchboard(switchboard::Input::Unreadable { conn, too_large: true }));
                    return;
                }
                // A closing connection is not read any more.
                if !closing {
                    self.watch.handed(conn, &means, text.len());
                }
                self.tell(Input::Switchboard(switchboard::Input::Message { conn, text }));
            }
        }
    }

    /// The connection is gone, whoever ended it; the gateway hears of it once.
    pub(super) fn gone(&mut self, conn: ConnId) {
        let Some(link) = self.links.remove(&conn) else { return };
        self.watch.closed(conn);
        self.tell(Input::Switchboard(switchboard::Input::Closed { conn }));
        self.client_lost(link.who, conn);
        self.end_when_stopped();
    }

    pub(super) fn client_lost(&mut self, who: Who, conn: ConnId) {
        let client = &mut self.clients[who.0];
        if client.conn == Some(conn) {
            client.lost(End { code: 1006, reason: String::new() });
            if client.profile.manners.returns {
                self.come_back(who);
            }
        }
    }

    fn come_back(&mut self, who: Who) {
        let wait = crate::clients::BACK_OFF + self.dice.millis(0, 1_500);
        self.after(wait, Event::Return(who));
    }

    /// Arranges the next moment at which the network takes bytes.
    pub(super) fn arrange_write(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        if link.writing || link.stalled || link.mute || link.broken || !link.has_output() {
            return;
        }
        link.writing = true;
        let (who, size) = (link.who, link.first_size());
        let wait = match self.clients[who.0].profile.manners.rate {
            None => self.dice.millis(0, 1),
            Some(rate) => {
                let piece = u64::try_from(size).unwrap().min(chunk(rate));
                Duration::from_micros(piece * 1_000_000 / rate + 1)
            }
        };
        self.after(wait, Event::Write(conn));
    }

    pub(super) fn write(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.writing = false;
        if link.stalled || link.mute || link.broken {
            return;
        }
        let who = link.who;
        let most = match self.clients[who.0].profile.manners.rate {
            None => usize::MAX / 2,
            Some(rate) => usize::try_from(chunk(rate)).unwrap(),
        };
        let (bytes, complete) = link.write(most);
        for down in complete {
            let delay = self.latency(who);
            let now = self.time;
            let Some(link) = self.links.get_mut(&conn) else { return };
            let at = link.send_down(now, delay, down);
            self.at(at, Event::ArriveDown(conn));
        }
        if bytes > 0 {
            self.tell(Input::Switchboard(switchboard::Input::Flushed { conn, bytes }));
        }
        self.arrange_write(conn);
    }

    pub(super) fn arrive_down(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let who = link.who;
        let Some(down) = link.down.pop_front() else { return };
        match down {
            Down::Ping => self.send_up(conn, Up::Pong),
            Down::Close { code, reason } => {
                let client = &mut self.clients[who.0];
                if client.conn == Some(conn) {
                    client.lost(End { code, reason });
                    if client.profile.manners.returns {
                        self.come_back(who);
                    }
                }
                self.send_up(conn, Up::Close);
            }
            Down::Frame(frame) => {
                if let Some(text) = self.clients[who.0].receive(&frame) {
                    self.send_up(conn, Up::Message(Message { text, means: Means::Connect }));
                }
            }
        }
    }

    /// The network loses the connection. Loudly: the gateway hears of it soon. Silently: it must find out.
    pub(crate) fn cut(&mut self, who: Who, silently: bool) {
        let Some(conn) = self.clients[who.0].conn else { return };
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.mute = true;
        if !silently {
            link.broken = true;
            let wait = self.dice.millis(0, 500);
            self.after(wait, Event::Broken(conn));
        }
        self.client_lost(who, conn);
    }

    /// The client closes its connection.
    pub(crate) fn hang_up(&mut self, who: Who) {
        let client = &mut self.clients[who.0];
        let Some(conn) = client.conn else { return };
        client.lost(End { code: 1000, reason: String::new() });
        self.send_up(conn, Up::Close);
    }

    /// The client reads nothing until told otherwise.
    pub(crate) fn stall(&mut self, who: Who, stalled: bool) {
        let Some(conn) = self.clients[who.0].conn else { return };
        if let Some(link) = self.links.get_mut(&conn) {
            link.stalled = stalled;
        }
        self.arrange_write(conn);
    }
}

/// How many bytes go at once to a client of this rate.
fn chunk(rate: u64) -> u64 {
    (rate / 20).max(64)
}

fn limit(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}
