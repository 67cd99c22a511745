//! The machine's limit: a server that speaks the gateway's bytes and does no work.
//!
//! It upgrades whoever asks, answers the first message with a canned hello and every further one with a canned
//! response, and sends a canned event to everyone for each [`FAN_OUT`] request. It reads no JSON, knows nobody,
//! limits nothing and keeps nothing. Writes to one connection within one turn are one system call.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use rustix::event::epoll;

use crate::wire;

/// The method that causes an event.
pub const FAN_OUT: &[u8] = b"\"talk.mode\"";

/// The frames that the server sends, as a gateway wrote them.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Canned {
    /// The first frame of a connection.
    pub challenge: String,
    /// The answer to `connect`.
    pub hello: String,
    /// The answer to any request.
    pub answer: String,
    /// The event that a [`FAN_OUT`] request causes.
    pub event: String,
}

struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    stage: Stage,
    /// Epoll was asked to tell when the socket takes more.
    blocked: bool,
}

#[derive(PartialEq)]
enum Stage {
    Upgrade,
    Challenged,
    Live,
}

struct Server {
    epoll: OwnedFd,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    frames: [Vec<u8>; 4],
    scratch: Vec<u8>,
    dirty: Vec<usize>,
}

const LISTENER: u64 = u64::MAX;

/// Serves until the process ends.
///
/// # Errors
///
/// Those of the operating system.
pub fn serve(listener: &TcpListener, canned: &Canned) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let frames = [&canned.challenge, &canned.hello, &canned.answer, &canned.event].map(|text| {
        let mut frame = Vec::new();
        wire::write(&mut frame, wire::TEXT, text.as_bytes());
        frame
    });
    let scratch = vec![0; 65_536];
    let mut server =
        Server { epoll, conns: Vec::new(), free: Vec::new(), frames, scratch, dirty: Vec::new() };
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1_024);
    loop {
        events.clear();
        epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => server.accept(listener)?,
                slot => server.turn(usize::try_from(slot).unwrap_or(usize::MAX)),
            }
        }
        server.flush();
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
            let (input, output) = (Vec::new(), Vec::new());
            self.conns[slot] = Some(Conn { stream, input, output, stage: Stage::Upgrade, blocked: false });
        }
    }

    /// Reads what a connection has sent and answers it.
    fn turn(&mut self, slot: usize) {
        let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { return };
        match conn.stream.read(&mut self.scratch) {
            Ok(0) => self.close(slot),
            Ok(length) => {
                conn.input.extend_from_slice(&self.scratch[..length]);
                self.dirty.push(slot);
                if self.answer(slot).is_none() {
                    self.close(slot);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.dirty.push(slot),
            Err(_) => self.close(slot),
        }
    }

    /// Answers every complete frame of a connection; `None` when it asked to close.
    fn answer(&mut self, slot: usize) -> Option<()> {
        let conn = self.conns.get_mut(slot)?.as_mut()?;
        let mut start = 0;
        let mut fan_outs = 0;
        if conn.stage == Stage::Upgrade {
            let Some(end) = wire::head_end(&conn.input) else { return Some(()) };
            let key = key(&conn.input[..end])?;
            let accept = derive_accept_key(key);
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            conn.output.extend_from_slice(head.as_bytes());
            conn.output.extend_from_slice(&self.frames[0]);
            conn.stage = Stage::Challenged;
            start = end;
        }
        while let Some(frame) = wire::read(&mut conn.input[start..]) {
            let payload = &conn.input[start..][frame.payload.clone()];
            match (frame.opcode, &conn.stage) {
                (wire::CLOSE, _) => return None,
                (wire::PING, _) => wire::write(&mut conn.output, wire::PONG, payload),
                (wire::TEXT, Stage::Live) => {
                    conn.output.extend_from_slice(&self.frames[2]);
                    fan_outs += usize::from(contains(payload, FAN_OUT));
                }
                (wire::TEXT, _) => {
                    conn.output.extend_from_slice(&self.frames[1]);
                    conn.stage = Stage::Live;
                }
                _ => {}
            }
            start += frame.end();
        }
        conn.input.drain(..start);
        if conn.input.is_empty() {
            conn.input = Vec::new();
        }
        for _ in 0..fan_outs {
            self.fan_out();
        }
        Some(())
    }

    fn fan_out(&mut self) {
        for (slot, conn) in self.conns.iter_mut().enumerate() {
            if let Some(conn) = conn.as_mut().filter(|conn| conn.stage == Stage::Live) {
                if conn.output.is_empty() {
                    self.dirty.push(slot);
                }
                conn.output.extend_from_slice(&self.frames[3]);
            }
        }
    }

    /// Writes what has gathered in this turn.
    fn flush(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for &slot in &dirty {
            let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { continue };
            if conn.output.is_empty() && !conn.blocked {
                continue;
            }
            let written = match conn.stream.write(&conn.output) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    self.close(slot);
                    continue;
                }
            };
            conn.output.drain(..written);
            let blocked = !conn.output.is_empty();
            if !blocked {
                conn.output = Vec::new();
            }
            if blocked != conn.blocked {
                conn.blocked = blocked;
                let more = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
                let data = epoll::EventData::new_u64(slot as u64);
                if epoll::modify(&self.epoll, &conn.stream, data, epoll::EventFlags::IN | more).is_err() {
                    self.close(slot);
                }
            }
        }
        self.dirty = dirty;
        self.dirty.clear();
    }

    fn close(&mut self, slot: usize) {
        if let Some(conn) = self.conns.get_mut(slot).and_then(Option::take) {
            let _ = epoll::delete(&self.epoll, &conn.stream);
            self.free.push(slot);
        }
    }
}

fn key(head: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"sec-websocket-key:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    Some(line[NAME.len()..].trim_ascii())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
