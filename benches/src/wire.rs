//! WebSocket frames on a byte buffer (RFC 6455), as much as the load generator and its counterpart need.

use std::ops::Range;

/// A complete frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The opcode.
    pub opcode: u8,
    /// Where the payload stands in the buffer.
    pub payload: Range<usize>,
}

impl Frame {
    /// Where the next frame begins.
    pub fn end(&self) -> usize {
        self.payload.end
    }
}

/// The opcode of a text message.
pub const TEXT: u8 = 1;
/// The opcode of a close.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
/// The opcode of a pong.
pub const PONG: u8 = 10;

const MASKED: u8 = 0x80;
const FINAL: u8 = 0x80;

/// Reads the frame at the start of `bytes` and takes its mask off; `None` when it is not complete.
pub fn read(bytes: &mut [u8]) -> Option<Frame> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, mut start) = match second & !MASKED {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mut key = [0_u8; 4];
    if second & MASKED != 0 {
        key.copy_from_slice(bytes.get(start..start + 4)?);
        start += 4;
    }
    let payload = start..start.checked_add(length)?;
    let masked = bytes.get_mut(payload.clone())?;
    if key != [0; 4] {
        masked.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    Some(Frame { opcode: first & 0x0f, payload })
}

/// Appends a server's frame.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a client's frame. Its masking key is zero, which is a valid key and costs nothing.
pub fn write_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(out, opcode, payload.len(), MASKED);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[expect(clippy::cast_possible_truncation, reason = "each arm has checked the length")]
fn head(out: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    out.push(FINAL | opcode);
    match length {
        0..126 => out.push(masked | length as u8),
        126..65_536 => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The end of an HTTP head in `bytes`, behind the empty line.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The upgrade request of every client here.
pub const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn frames_of_every_length_are_read_as_they_were_written() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            for masked in [false, true] {
                let mut bytes = Vec::new();
                match masked {
                    true => write_masked(&mut bytes, TEXT, &payload),
                    false => write(&mut bytes, TEXT, &payload),
                }
                let whole = bytes.len();
                let frame = read(&mut bytes).unwrap();
                assert_eq!((frame.opcode, frame.end()), (TEXT, whole));
                assert_eq!(bytes[frame.payload], payload);
                bytes.pop();
                assert_eq!(read(&mut bytes), None, "a frame of {length} bytes without its last byte");
            }
        }
    }

    #[test]
    fn a_mask_is_taken_off() {
        let mut bytes = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let frame = read(&mut bytes).unwrap();
        assert_eq!(&bytes[frame.payload], b"Hello");
    }
}
