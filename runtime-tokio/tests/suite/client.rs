//! A WebSocket and HTTP client of a few lines, so that the gateway is not tested with its own libraries.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Long enough for the slowest machine, short enough to fail instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

pub const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(u16, String),
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Connects, upgrades, and reads the challenge.
    pub fn upgraded(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr);
        client.send(format!("{UPGRADE}\r\n").as_bytes());
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        let Frame::Text(challenge) = client.frame() else { panic!("no challenge") };
        assert!(challenge.contains("connect.challenge"), "{challenge}");
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends a masked frame.
    pub fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.send(&masked(opcode, payload));
    }

    pub fn send_text(&mut self, text: &str) {
        self.send_frame(1, text.as_bytes());
    }

    /// Reads up to the blank line that ends an HTTP head.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.exactly(1)[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends a request and reads the whole answer: head and body.
    pub fn ask(&mut self, request: &str) -> (String, String) {
        self.send(request.as_bytes());
        let head = self.head();
        let length = head
            .to_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ").and_then(|n| n.parse().ok()))
            .unwrap_or(0);
        let length = if request.starts_with("HEAD") { 0 } else { length };
        let body = String::from_utf8(self.exactly(length)).unwrap();
        (head, body)
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn frame(&mut self) -> Frame {
        let head = self.exactly(2);
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.exactly(2).try_into().unwrap())),
            127 => usize::try_from(u64::from_be_bytes(self.exactly(8).try_into().unwrap())).unwrap(),
            short => usize::from(short),
        };
        let payload = self.exactly(length);
        match head[0] {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x88 => Frame::Close(
                u16::from_be_bytes([payload[0], payload[1]]),
                String::from_utf8(payload[2..].to_vec()).unwrap(),
            ),
            0x89 => Frame::Ping,
            0x8a => Frame::Pong(payload),
            other => panic!("unexpected first byte {other:#x}"),
        }
    }

    /// Reads frames until a text that is wanted.
    pub fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.frame() {
                Frame::Text(text) if wanted(&text) => return text,
                Frame::Text(_) | Frame::Ping | Frame::Pong(_) => {}
                close @ Frame::Close(..) => panic!("{close:?} too early"),
            }
        }
    }

    /// Reads frames until the close frame.
    pub fn close_frame(&mut self) -> (u16, String) {
        loop {
            if let Frame::Close(code, reason) = self.frame() {
                return (code, reason);
            }
        }
    }

    /// Reads until the other end has closed; true if it did.
    pub fn is_closed(&mut self) -> bool {
        let mut buf = [0; 4096];
        loop {
            match self.0.read(&mut buf) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// A frame as clients send it.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
