//! HTTP by hand, so that a request can be as wrong as a test wants it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status; 0 when the connection was closed without an answer.
    pub status: u16,
    /// The head, names as they came.
    pub head: String,
    /// Everything after the head.
    pub body: String,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a well-formed request without a body and reads the answer.
pub fn request(address: SocketAddr, method: &str, path: &str) -> Reply {
    raw(
        address,
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

/// Sends these bytes, ends the sending side, and reads what comes until the server closes.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).expect("the gateway accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // A server may refuse before it has read everything; what it answered still counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
