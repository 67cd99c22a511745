//! Many clients on one thread: the load generator's own side of the sockets.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;

use crate::wire;

/// A set of WebSocket clients.
pub struct Mux {
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    upgraded: bool,
    blocked: bool,
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
pub enum Got<'a> {
    /// A text message.
    Text(&'a [u8]),
    /// The connection is gone: the close frame's code and reason, or why the socket failed.
    Closed(&'a str),
}

impl Mux {
    /// No clients yet.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, clients: Vec::new(), events: Vec::with_capacity(512), scratch: vec![0; 262_144] })
    }

    /// Opens a connection, with the upgrade request on its way; its name is an index.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn open(&mut self, addr: SocketAddr) -> io::Result<usize> {
        let slot = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
        let mut stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.write_all(wire::UPGRADE.as_bytes())?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
        let client =
            Client { stream, input: Vec::new(), output: Vec::new(), upgraded: false, blocked: false };
        match self.clients.get_mut(slot) {
            Some(place) => *place = Some(client),
            None => self.clients.push(Some(client)),
        }
        Ok(slot)
    }

    /// Queues a text message; [`Self::flush`] sends it.
    pub fn queue(&mut self, slot: usize, text: &str) {
        if let Some(Some(client)) = self.clients.get_mut(slot) {
            wire::write_masked(&mut client.output, wire::TEXT, text.as_bytes());
        }
    }

    /// Sends what is queued for a connection.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn flush(&mut self, slot: usize) -> io::Result<()> {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return Ok(()) };
        if client.output.is_empty() {
            return Ok(());
        }
        let written = match client.stream.write(&client.output) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        client.output.drain(..written);
        let blocked = !client.output.is_empty();
        if blocked != client.blocked {
            client.blocked = blocked;
            let more = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::modify(&self.epoll, &client.stream, data, epoll::EventFlags::IN | more)?;
        }
        Ok(())
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn send(&mut self, slot: usize, text: &str) -> io::Result<()> {
        self.queue(slot, text);
        self.flush(slot)
    }

    /// Resets a connection, so that thousands of closed ones do not use the ports up.
    pub fn close(&mut self, slot: usize) {
        if let Some(client) = self.clients.get_mut(slot).and_then(Option::take) {
            let _ = rustix::net::sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO));
            let _ = epoll::delete(&self.epoll, &client.stream);
        }
    }

    /// Waits at most `patience` for messages and hands each to `hear`. Pings are answered.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn poll(&mut self, patience: Duration, mut hear: impl FnMut(usize, Got<'_>)) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let slot = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                self.flush(slot)?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.read(slot, &mut hear);
                self.flush(slot)?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn read(&mut self, slot: usize, hear: &mut impl FnMut(usize, Got<'_>)) {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        let length = match client.stream.read(&mut self.scratch) {
            Ok(0) => {
                self.close(slot);
                hear(slot, Got::Closed("the server closed the socket"));
                return;
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                self.close(slot);
                hear(slot, Got::Closed(&error.to_string()));
                return;
            }
        };
        // Whole frames are read where they are; only a torn one is kept.
        let whole = client.input.is_empty();
        if !whole {
            client.input.extend_from_slice(&self.scratch[..length]);
        }
        let mut torn = std::mem::take(&mut client.input);
        let bytes = if whole { &mut self.scratch[..length] } else { &mut torn[..] };
        match client.frames(slot, bytes, hear) {
            Some(read) if whole => client.input.extend_from_slice(&self.scratch[read..length]),
            Some(read) => {
                torn.drain(..read);
                client.input = torn;
            }
            None => self.close(slot),
        }
    }

    /// How many connections are open.
    pub fn open_count(&self) -> usize {
        self.clients.iter().flatten().count()
    }
}

impl Client {
    /// Reads every whole frame; the bytes that were read, or `None` when the connection is over.
    fn frames(
        &mut self,
        slot: usize,
        bytes: &mut [u8],
        hear: &mut impl FnMut(usize, Got<'_>),
    ) -> Option<usize> {
        let mut start = 0;
        if !self.upgraded {
            let Some(end) = wire::head_end(bytes) else { return Some(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                hear(slot, Got::Closed(&String::from_utf8_lossy(&bytes[..end])));
                return None;
            }
            self.upgraded = true;
            start = end;
        }
        while let Some(frame) = wire::read(&mut bytes[start..]) {
            let payload = &bytes[start..][frame.payload.clone()];
            match frame.opcode {
                wire::TEXT => hear(slot, Got::Text(payload)),
                wire::PING => wire::write_masked(&mut self.output, wire::PONG, payload),
                wire::CLOSE => {
                    let reason = payload.get(2..).unwrap_or_default();
                    hear(slot, Got::Closed(&String::from_utf8_lossy(reason)));
                    return None;
                }
                _ => {}
            }
            start += frame.end();
        }
        Some(start)
    }
}
