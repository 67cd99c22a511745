//! Lines of JSON, read from pieces of any size.

use super::sse::{MAX_EVENT_BYTES, TooLong};

/// The parser: bytes go in as they arrive, each complete line that is not blank comes out once.
#[derive(Debug, Default)]
pub(super) struct LineParser {
    line: Vec<u8>,
}

impl LineParser {
    /// Reads further bytes; the lines that they complete are added to `lines`.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; the parser must not be used afterwards.
    pub(super) fn push(&mut self, mut bytes: &[u8], lines: &mut Vec<String>) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end])?;
            lines.extend(self.finish());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes)
    }

    /// What stands there without a line feed.
    pub(super) fn finish(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        (!line.is_empty()).then_some(line)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_come_out_once_whatever_the_pieces() {
        let (mut parser, mut lines) = (LineParser::default(), Vec::new());
        for piece in [&b"{\"a\""[..], b":1}\r", b"\n\n  \n{}\n{\"c", b"\":2}"] {
            parser.push(piece, &mut lines).unwrap();
        }
        lines.extend(parser.finish());
        assert_eq!(lines, ["{\"a\":1}", "{}", "{\"c\":2}"]);
        assert_eq!(parser.finish(), None);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let (mut parser, mut lines) = (LineParser::default(), Vec::new());
        assert_eq!(parser.push(&vec![b'x'; MAX_EVENT_BYTES + 1], &mut lines), Err(TooLong));
    }
}
