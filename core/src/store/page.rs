//! A page of a transcript: which part, how much of it, and what comes back (spec 02 §7.2, §20.5).

use serde_json::{Value, json};

use crate::ids::{RunId, SessionId};

use super::TranscriptEntry;

/// A message of more bytes has a brief form without the data of its pictures, which is what pages show of it.
pub const LONG_MESSAGE: usize = 128 * 1024;

/// Which part of a transcript is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// The transcript.
    pub session: SessionId,
    /// Where in it.
    pub place: Place,
    /// At most this many entries.
    pub limit: usize,
    /// At most this many bytes of messages, but at least one entry.
    pub max_bytes: usize,
    /// Take the brief form of long messages.
    pub brief: bool,
    /// For each of these runs, find the entry with the words that it answers.
    pub runs: Vec<RunId>,
}

/// Where a page lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the end, behind this many newer entries.
    End(usize),
    /// Just before a position.
    Before(u64),
    /// Just after a position; the oldest entries come first and the newest are left out.
    After(u64),
    /// Around the entry with this id. Nothing when there is none.
    Around(String),
}

/// A part of a transcript.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The entries, oldest first.
    pub entries: Vec<TranscriptEntry>,
    /// The transcript has entries before the first of these.
    pub earlier: bool,
    /// The transcript has entries after the last of these.
    pub later: bool,
    /// The runs that were asked for and the ids of the entries with their words; runs without one are left out.
    pub words_of: Vec<(RunId, String)>,
}

impl PageQuery {
    /// The page that a transcript in memory has; what the database answers in another way.
    pub fn of(&self, all: &[TranscriptEntry]) -> Page {
        let around = |id: &str| all.iter().position(|entry| entry.id == id);
        let (from, to) = match &self.place {
            Place::End(skip) => self.back(all, all.len().saturating_sub(*skip), self.limit, self.max_bytes),
            Place::Before(seq) => {
                self.back(all, all.partition_point(|e| e.seq < *seq), self.limit, self.max_bytes)
            }
            Place::After(seq) => {
                let from = all.partition_point(|entry| entry.seq <= *seq);
                (from, self.forth(all, from, self.limit, self.max_bytes, true))
            }
            Place::Around(id) => match around(id) {
                None => return Page::default(),
                Some(at) => {
                    let to = self.forth(all, at + 1, self.limit / 2, self.max_bytes / 2, false);
                    let rest = self.max_bytes.saturating_sub(self.bytes(&all[at + 1..to]));
                    (self.back(all, at + 1, self.limit.saturating_sub(to - at - 1), rest).0, to)
                }
            },
        };
        let words = |run: &RunId| {
            let entry = all.iter().find(|entry| entry.run.as_ref() == Some(run))?;
            Some((run.clone(), entry.id.clone()))
        };
        Page {
            entries: all[from..to].iter().map(|entry| self.shown(entry)).collect(),
            earlier: from > 0,
            later: to < all.len(),
            words_of: self.runs.iter().filter_map(words).collect(),
        }
    }

    fn back(&self, all: &[TranscriptEntry], to: usize, limit: usize, mut room: usize) -> (usize, usize) {
        let mut from = to;
        while from > 0 && to - from < limit {
            let size = self.bytes(&all[from - 1..from]);
            if size > room && from < to {
                break;
            }
            room = room.saturating_sub(size);
            from -= 1;
        }
        (from, to)
    }

    fn forth(
        &self,
        all: &[TranscriptEntry],
        from: usize,
        limit: usize,
        mut room: usize,
        at_least_one: bool,
    ) -> usize {
        let mut to = from;
        while to < all.len() && to - from < limit {
            let size = self.bytes(&all[to..=to]);
            if size > room && (to > from || !at_least_one) {
                break;
            }
            room = room.saturating_sub(size);
            to += 1;
        }
        to
    }

    fn bytes(&self, entries: &[TranscriptEntry]) -> usize {
        entries.iter().map(|entry| self.shown(entry).message.as_str().len()).sum()
    }

    fn shown(&self, entry: &TranscriptEntry) -> TranscriptEntry {
        let mut entry = entry.clone();
        if self.brief
            && entry.message.as_str().len() > LONG_MESSAGE
            && let Some(brief) = brief(entry.message.as_str().len(), &entry.message.to_value())
        {
            entry.message = telson_proto::Json::of(&brief);
        }
        entry
    }
}

/// A long message without the data of its pictures; `None` when it is not long or shows none.
pub fn brief(bytes: usize, message: &Value) -> Option<Value> {
    if bytes <= LONG_MESSAGE {
        return None;
    }
    let mut message = message.clone();
    let mut pictures = 0;
    for block in images_of(&mut message) {
        leave_out(block);
        pictures += 1;
    }
    (pictures > 0).then_some(message)
}

/// The blocks with pictures of a message.
pub fn images_of(message: &mut Value) -> impl Iterator<Item = &mut Value> {
    let blocks = message.get_mut("content").and_then(Value::as_array_mut);
    blocks.into_iter().flatten().filter(|block| block.get("type").is_some_and(|kind| kind == "image"))
}

/// Leaves a picture's data out, but says how large it was.
fn leave_out(block: &mut Value) {
    let Some(data) = block.get("data").and_then(Value::as_str).map(str::len) else { return };
    *block =
        json!({"type": "image", "mimeType": block.get("mimeType"), "bytes": data / 4 * 3, "omitted": true});
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use telson_proto::Json;

    use super::*;

    fn transcript() -> Vec<TranscriptEntry> {
        let entry = |seq: u64| TranscriptEntry {
            session: SessionId::new("s"),
            seq,
            id: format!("{seq:08x}"),
            parent: None,
            at: seq,
            run: (seq % 2 == 0).then(|| RunId::new(format!("r{seq}"))),
            message: Json::of(&json!({"role": "user", "content": "0123456789"})),
        };
        (1..=10).map(entry).collect()
    }

    fn seqs(place: Place, limit: usize, max_bytes: usize) -> (Vec<u64>, bool, bool) {
        let session = SessionId::new("s");
        let query = PageQuery { session, place, limit, max_bytes, brief: false, runs: Vec::new() };
        let page = query.of(&transcript());
        (page.entries.iter().map(|entry| entry.seq).collect(), page.earlier, page.later)
    }

    #[test]
    fn a_page_lies_where_it_was_asked_for() {
        let all = 1_000_000;
        assert_eq!(seqs(Place::End(0), 3, all), (vec![8, 9, 10], true, false));
        assert_eq!(seqs(Place::End(8), 3, all), (vec![1, 2], false, true));
        assert_eq!(seqs(Place::Before(3), 9, all), (vec![1, 2], false, true));
        assert_eq!(seqs(Place::After(7), 2, all), (vec![8, 9], true, true));
        assert_eq!(seqs(Place::After(10), 2, all), (vec![], true, false));
        assert_eq!(seqs(Place::Around("00000005".to_owned()), 5, all), (vec![3, 4, 5, 6, 7], true, true));
        assert_eq!(seqs(Place::Around("00000005".to_owned()), 1, all), (vec![5], true, true));
        assert_eq!(seqs(Place::Around("ffffffff".to_owned()), 5, all), (vec![], false, false));
    }

    #[test]
    fn bytes_bound_a_page_but_one_entry_always_comes() {
        let size = transcript()[0].message.as_str().len();
        assert_eq!(seqs(Place::End(0), 5, size * 2).0, [9, 10]);
        assert_eq!(seqs(Place::End(0), 5, 0).0, [10]);
        assert_eq!(seqs(Place::After(2), 5, 0).0, [3]);
        assert_eq!(seqs(Place::Around("00000005".to_owned()), 5, 0).0, [5]);
    }

    #[test]
    fn the_words_of_runs_are_found() {
        let runs = vec![RunId::new("r4"), RunId::new("none")];
        let session = SessionId::new("s");
        let query = PageQuery { session, place: Place::End(0), limit: 1, max_bytes: 1, brief: false, runs };
        assert_eq!(query.of(&transcript()).words_of, [(RunId::new("r4"), "00000004".to_owned())]);
    }

    #[test]
    fn the_brief_form_says_how_large_a_picture_was() {
        let picture = |size: usize| {
            json!({"role": "user", "content": [
                {"type": "text", "text": "look"}, {"type": "image", "mimeType": "image/png", "data": "x".repeat(size)},
            ]})
        };
        assert_eq!(brief(100, &picture(100)), None);
        let large = picture(400_000);
        let short = brief(large.to_string().len(), &large).unwrap();
        assert_eq!(short["content"][0]["text"], "look");
        assert_eq!(
            short["content"][1],
            json!({"type": "image", "mimeType": "image/png", "bytes": 300_000, "omitted": true})
        );
        let text = json!({"role": "user", "content": "x".repeat(200_000)});
        assert_eq!(brief(200_000, &text), None);
    }
}
