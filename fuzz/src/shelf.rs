//! A store in memory that never fails.

use std::collections::BTreeMap;

use telson_core::SessionId;
use telson_core::store::{Everything, Loaded, Op, Query, Transaction, TranscriptEntry};

/// What the gateway has stored of its transcripts; nothing else is ever asked for again.
#[derive(Default)]
pub(crate) struct Shelf {
    transcripts: BTreeMap<SessionId, Vec<TranscriptEntry>>,
}

impl Shelf {
    /// Writes a transaction.
    pub(crate) fn write(&mut self, transaction: Transaction) {
        for op in transaction.ops {
            match op {
                Op::AppendEntry(entry) => {
                    let transcript = self.transcripts.entry(entry.session.clone()).or_default();
                    assert_eq!(entry.seq, transcript.len() as u64 + 1, "a transcript is contiguous");
                    transcript.push(entry);
                }
                Op::DeleteTranscript(session) => {
                    self.transcripts.remove(&session);
                }
                _ => {}
            }
        }
    }

    /// Answers a question.
    pub(crate) fn read(&self, query: &Query) -> Loaded {
        match query {
            Query::Everything => Loaded::Everything(Box::<Everything>::default()),
            Query::Tail { session, limit, max_bytes } => {
                let all = self.transcripts.get(session).map_or(&[][..], Vec::as_slice);
                let mut bytes = 0;
                let mut tail: Vec<TranscriptEntry> = all
                    .iter()
                    .rev()
                    .take(*limit)
                    .enumerate()
                    .take_while(|(n, entry)| {
                        bytes += entry.message.as_str().len();
                        *n == 0 || bytes <= *max_bytes
                    })
                    .map(|(_, entry)| entry.clone())
                    .collect();
                tail.reverse();
                Loaded::Entries(tail)
            }
            Query::Page(page) => {
                Loaded::Page(page.of(self.transcripts.get(&page.session).map_or(&[], Vec::as_slice)))
            }
            Query::Search(search) => Loaded::Hits(search.rank(self.transcripts.values().flatten().rev())),
            Query::Usage(usage) => Loaded::Usage(usage.of(std::iter::empty())),
            Query::Audit(query) => Loaded::Audit(query.of(&[])),
        }
    }
}
