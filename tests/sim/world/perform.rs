//! What the machines ask for, done.

use telson_core::fetch::FetchRequest;
use telson_core::messages::CLOSE_GRACE;
use telson_core::{ConnId, FetchId, Input, Output, gateway, switchboard};

use crate::clients::End;

use super::link::Down;
use super::web::Step;
use super::{Event, World};

impl World {
    pub(crate) fn perform(&mut self, output: Output) {
        match output {
            Output::Switchboard(output) => self.perform_socket(output),
            Output::Gateway(output) => self.perform_effect(output),
        }
    }

    fn perform_socket(&mut self, output: switchboard::Output) {
        use switchboard::Output as O;
        match output {
            O::Admit { conn } => {
                self.trace.note(self.time, format!("<- admit {conn}"));
                let wait = self.dice.millis(0, 2);
                self.after(wait, Event::Opened(conn));
            }
            O::Reject { conn, response } => {
                self.trace.note(self.time, format!("<- reject {conn} {response:?}"));
                self.watch.closed(conn);
                if let Some(link) = self.links.remove(&conn) {
                    self.clients[link.who.0].lost(End { code: response.status, reason: response.body });
                    if self.clients[link.who.0].profile.manners.returns {
                        self.after(std::time::Duration::from_secs(2), Event::Return(link.who));
                    }
                }
            }
            O::Send { conn, text } => self.perform_send(conn, &text),
            O::Ping { conn } => {
                self.trace.note(self.time, format!("<- ping {conn}"));
                if let Some(link) = self.links.get_mut(&conn) {
                    link.hand_over(Down::Ping);
                }
                self.arrange_write(conn);
            }
            O::Authenticated { conn } => self.let_in(conn),
            O::Close { conn, code, reason } => {
                self.trace.note(self.time, format!("<- close {conn} {} {reason}", code.number()));
                let Some(link) = self.links.get_mut(&conn) else {
                    self.violated(&format!("a close for connection {conn}, which is gone"))
                };
                if std::mem::replace(&mut link.closing, true) {
                    self.violated(&format!("connection {conn} is closed twice"));
                }
                link.hand_over(Down::Close { code: code.number(), reason: reason.clone() });
                self.watch.closing(conn, code.number(), &reason);
                if reason.is_empty() {
                    self.violated("a close without a reason");
                }
                self.arrange_write(conn);
                self.after(CLOSE_GRACE, Event::Grace(conn));
            }
            O::Up(up) => self.violated(&format!("a message between the machines leaked: {up:?}")),
        }
    }

    fn perform_send(&mut self, conn: ConnId, text: &str) {
        self.trace.note(self.time, format!("<- send {conn} {text}"));
        let Some(frame) = self.reader.read(text) else { self.violated("a frame that is no JSON object") };
        let Some(link) = self.links.get_mut(&conn) else {
            self.violated(&format!("a frame for connection {conn}, which is gone"))
        };
        if link.closing {
            self.violated(&format!("a frame for connection {conn} after its close"));
        }
        let before = link.events_waiting;
        link.hand_over(Down::Frame(frame.clone()));
        let checked = self.watch.sent(conn, &frame, before, &self.disk);
        if let Err(broken) = checked {
            self.violated(&format!("{broken}\nconnection {conn}: {text}"));
        }
        self.arrange_write(conn);
    }

    fn perform_effect(&mut self, output: gateway::Output) {
        use gateway::Output as O;
        let life = self.life;
        match output {
            O::Down(down) => self.violated(&format!("a message between the machines leaked: {down:?}")),
            O::Respond { id, response } => self.perform_http(id, Step::Whole(response), 0),
            O::ReadBody { id, limit } => self.perform_http(id, Step::ReadBody, limit),
            O::RespondHead { id, head } => self.perform_http(id, Step::Head(head), 0),
            O::RespondChunk { id, chunk } => self.perform_http(id, Step::Chunk(chunk), 0),
            O::RespondEnd { id } => self.perform_http(id, Step::End, 0),
            O::Spawn { id, spec } => self.spawn(id, &spec),
            O::WriteLine { id, line } => self.write_line(id, &line),
            O::Kill { id } => self.kill(id),
            O::Fetch { id, request } => self.perform_fetch(life, id, &request),
            O::AbortFetch { id } => {
                self.trace.note(self.time, format!("<- abort fetch {id}"));
                self.provider.abort(id);
            }
            O::Store(transaction) => {
                self.trace.note(self.time, format!("<- store {transaction:?}"));
                self.disk.hand_over(transaction);
                let wait = self.disk_wait();
                self.after(wait, Event::Disk(life));
            }
            O::Load { id, query } => {
                self.trace.note(self.time, format!("<- load {id} {query:?}"));
                self.disk.ask(id, query);
                let wait = self.disk_wait();
                self.after(wait, Event::Answer(life));
            }
            O::Stopped => {
                self.trace.note(self.time, "<- stopped".to_owned());
                if std::mem::replace(&mut self.stopped, true) {
                    self.violated("the gateway has stopped twice");
                }
            }
        }
    }

    fn perform_fetch(&mut self, life: u64, id: FetchId, request: &FetchRequest) {
        let body = String::from_utf8_lossy(&request.body);
        self.trace.note(self.time, format!("<- fetch {id} {} {} {body}", request.method, request.url));
        if let Some(first) = self.provider.begin(&mut self.dice, id, request) {
            self.after(first, Event::Fetch(life, id));
        }
    }

    fn disk_wait(&mut self) -> std::time::Duration {
        let (low, high) = self.disk_pace;
        self.dice.millis(low, high)
    }

    pub(super) fn disk_writes(&mut self, life: u64) {
        if life != self.life {
            return;
        }
        match self.disk.write() {
            Ok(true) => {
                self.trace.note(self.time, "   the disk has written".to_owned());
                let wait = self.disk_wait();
                self.after(wait, Event::Report(life));
            }
            Ok(false) => {}
            Err(broken) => self.violated(&broken),
        }
    }

    pub(super) fn disk_reports(&mut self, life: u64) {
        if life == self.life
            && let Some((id, result)) = self.disk.report()
        {
            self.tell(Input::Gateway(gateway::Input::Stored { id, result }));
        }
    }

    pub(super) fn disk_answers(&mut self, life: u64) {
        if life == self.life
            && let Some((id, loaded)) = self.disk.answer()
        {
            self.tell(Input::Gateway(gateway::Input::Loaded { id, result: Ok(loaded) }));
        }
    }

    pub(super) fn fetch_moves(&mut self, life: u64, id: FetchId) {
        if life != self.life {
            return;
        }
        let Some((event, next)) = self.provider.next(id) else { return };
        if let Some(wait) = next {
            self.after(wait, Event::Fetch(life, id));
        }
        self.tell(Input::Gateway(gateway::Input::Fetch { id, event }));
    }
}
