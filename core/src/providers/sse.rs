//! Server-sent events, read from pieces of any size (WHATWG HTML, *Parsing an event stream*).

/// The longest line and the longest event in bytes. A server that sends more is not a model server.
pub(crate) const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

const BOM: &[u8] = "\u{feff}".as_bytes();

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Its type; `message` unless the stream names another.
    pub(crate) event: String,
    /// Its data lines, joined by line feeds.
    pub(crate) data: String,
}

/// A line or an event is longer than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct TooLong;

/// The parser. Bytes go in as they arrive; each complete event comes out once. What an ending stream leaves
/// incomplete is no event.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    data: Vec<u8>,
    event: String,
    /// The last line ended with a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// Some line has been read, so a byte order mark is no longer one.
    begun: bool,
}

impl SseParser {
    /// Reads further bytes; the events that they complete are added to `events`.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; the parser must not be used afterwards.
    pub(crate) fn push(&mut self, mut bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLong> {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_return = bytes[end] == b'\r';
            self.extend_line(&bytes[..end])?;
            self.end_line(events)?;
            bytes = &bytes[end + 1..];
            if is_return {
                self.after_return = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.extend_line(bytes)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) -> Result<(), TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if line.is_empty() {
            self.dispatch(events);
        } else {
            self.field(&line)?;
        }
        // The buffer goes back, so that a stream of short lines allocates once.
        line.clear();
        self.line = line;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), TooLong> {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(0) => return Ok(()),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.data.len() + value.len() >= MAX_EVENT_BYTES {
                    return Err(TooLong);
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            // `id` and `retry` serve reconnection, which a model's answer does not know.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let event = std::mem::take(&mut self.event);
        if self.data.is_empty() {
            return;
        }
        self.data.pop();
        let data = String::from_utf8_lossy(&self.data).into_owned();
        self.data.clear();
        let event = if event.is_empty() { "message".to_owned() } else { event };
        events.push(SseEvent { event, data });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, &mut events).unwrap();
        }
        events
    }

    fn data(text: &str) -> Vec<String> {
        parse(&[text.as_bytes()]).into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn lines_end_in_three_ways() {
        assert_eq!(data("data: a\n\ndata: b\r\n\r\ndata: c\r\r"), ["a", "b", "c"]);
    }

    #[test]
    fn a_return_at_the_end_of_a_piece_does_not_end_two_lines() {
        let events = parse(&[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]);
        assert_eq!(events, [SseEvent { event: "message".to_owned(), data: "a\nb".to_owned() }]);
    }

    #[test]
    fn data_lines_join_and_one_blank_after_the_colon_goes() {
        assert_eq!(data("data:  a\ndata:b\ndata\n\n"), [" a\nb\n"]);
    }

    #[test]
    fn comments_unknown_fields_and_empty_events_say_nothing() {
        assert_eq!(data(": keep-alive\n\nid: 7\nretry: 9\nfoo: bar\n\nevent: x\n\ndata: a\n\n"), ["a"]);
    }

    #[test]
    fn an_event_may_name_its_type_and_the_next_one_does_not_inherit_it() {
        let events = parse(&[b"event: error\ndata: a\n\ndata: b\n\n"]);
        assert_eq!(events[0].event, "error");
        assert_eq!(events[1].event, "message");
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        assert_eq!(data("\u{feff}data: a\n\n"), ["a"]);
        assert_eq!(data("data: a\n\n\u{feff}data: b\n\n"), ["a"]);
    }

    #[test]
    fn what_the_end_cuts_off_is_no_event() {
        assert_eq!(data("data: a\n\ndata: b\n"), ["a"]);
    }

    #[test]
    fn endless_lines_and_endless_events_are_refused() {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        assert_eq!(parser.push(&vec![b'x'; MAX_EVENT_BYTES + 1], &mut events), Err(TooLong));
        let mut parser = SseParser::default();
        let line = [&b"data:"[..], &vec![b'x'; MAX_EVENT_BYTES / 2], b"\n"].concat();
        assert_eq!(parser.push(&line, &mut events), Ok(()));
        assert_eq!(parser.push(&line, &mut events), Err(TooLong));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            lines in prop::collection::vec("(data|event|id|: |)?(: ?)?[ab\u{fc}]{0,4}(\r\n|\n|\r)", 0..12),
            cuts in prop::collection::vec(1_usize..7, 1..20),
        ) {
            let text = lines.concat();
            let whole = parse(&[text.as_bytes()]);
            let (mut pieces, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(parse(&pieces), whole);
        }
    }
}
