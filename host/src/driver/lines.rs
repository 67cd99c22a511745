//! What a process writes, line by line.

use std::io;
use std::pin::Pin;

use futures_util::io::{AsyncRead, AsyncReadExt as _};

/// How much is read at once.
const READ: usize = 16 * 1024;

/// Splits a stream into lines.
pub(super) struct Lines {
    source: Pin<Box<dyn AsyncRead + Send>>,
    /// What is read and not yet told.
    buffer: Vec<u8>,
    /// How far the buffer was searched for a line end.
    searched: usize,
    most: usize,
}

/// Why no more lines come.
#[derive(Debug)]
pub(super) enum Broken {
    /// A line is longer than was allowed.
    TooLong,
    /// The stream cannot be read.
    Io(io::Error),
}

impl Lines {
    /// The lines of a stream; one of more than `most` bytes is an error.
    pub(super) fn new(source: Pin<Box<dyn AsyncRead + Send>>, most: usize) -> Self {
        Self { source, buffer: Vec::new(), searched: 0, most }
    }

    /// The next line without its end, `None` at the end of the stream. What is no UTF-8 is replaced. The last line
    /// needs no end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Broken> {
        loop {
            if let Some(line) = self.take() {
                return if line.len() > self.most { Err(Broken::TooLong) } else { Ok(Some(text(&line))) };
            }
            if self.buffer.len() > self.most {
                return Err(Broken::TooLong);
            }
            let mut piece = [0; READ];
            match self.source.read(&mut piece).await.map_err(Broken::Io)? {
                0 if self.buffer.is_empty() => return Ok(None),
                0 => {
                    self.searched = 0;
                    return Ok(Some(text(&std::mem::take(&mut self.buffer))));
                }
                count => self.buffer.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        }
    }

    /// A line that is complete.
    fn take(&mut self) -> Option<Vec<u8>> {
        let fresh = self.buffer.get(self.searched..)?;
        let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt as _;
    use futures_util::io::Cursor;

    use super::*;

    fn all(bytes: &[u8], most: usize) -> Result<Vec<String>, Broken> {
        let mut lines = Lines::new(Box::pin(Cursor::new(bytes.to_vec())), most);
        let mut all = Vec::new();
        while let Some(line) = lines.next().now_or_never().unwrap()? {
            all.push(line);
        }
        Ok(all)
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line_and_the_last_needs_none() {
        assert_eq!(all(b"tide\nmoon\r\n\nlast", 10).unwrap(), ["tide", "moon", "", "last"]);
        assert_eq!(all(b"a\rb\n", 10).unwrap(), ["a\rb"]);
        assert_eq!(all(b"", 10).unwrap(), [""; 0]);
        let long = "x".repeat(50_000);
        assert_eq!(all(format!("{long}\n{long}").as_bytes(), 60_000).unwrap(), [long.clone(), long]);
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(all(b"ti\xffde\n", 10).unwrap(), ["ti\u{fffd}de"]);
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_reading() {
        assert_eq!(all(b"1234567\n", 8).unwrap(), ["1234567"]);
        for bytes in [&b"1234567890\n"[..], b"1234567890", &[b'x'; 100_000]] {
            assert!(matches!(all(bytes, 8), Err(Broken::TooLong)));
        }
    }
}
