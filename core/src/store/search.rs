//! Words looked for in transcripts (spec 02 §20.7, `sessions.search`).
//!
//! The store keeps an index of the words in what people and the assistant said. It narrows millions of entries
//! down to those that contain every word; the newest of them are scored and cut to snippets here.

use serde_json::Value;

use crate::ids::SessionId;
use crate::sessions::sanitise;

use super::TranscriptEntry;

/// At most so many words of a question count.
const MAX_WORDS: usize = 32;
/// At most so many of the newest entries that contain the words are looked at.
pub const MAX_CANDIDATES: usize = 200;
/// A last word at least this long also finds longer words that begin with it.
const MIN_PREFIX: usize = 3;
/// At most so much of a text is indexed, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// How much of a text a snippet shows, in characters, before and after the first word.
const SNIPPET: (usize, usize) = (60, 140);

/// What is looked for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// The words, lower case; an entry must contain all of them.
    pub words: Vec<String>,
    /// In these transcripts only.
    pub sessions: Option<Vec<SessionId>>,
    /// In sessions only whose key begins so.
    pub key_prefix: Option<String>,
    /// At most this many hits.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchHits {
    /// The hits, the best first.
    pub hits: Vec<SearchHit>,
    /// Entries from before the index existed are still being read.
    pub indexing: bool,
    /// There are more hits.
    pub truncated: bool,
}

/// An entry that contains the words.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// The transcript.
    pub session: SessionId,
    /// The entry's id.
    pub id: String,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// Epoch milliseconds.
    pub at: u64,
    /// The words with what stands around them.
    pub snippet: String,
    /// How well it fits: the share of the text that the words make up, between 0 and 1.
    pub score: f64,
}

/// The words of a text as the index has them: runs of letters and digits, lower case.
pub fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(MAX_WORDS).map(str::to_lowercase).collect()
}

/// A text as the index takes it: its words, lower case, with blanks between them.
pub fn index_text(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().flat_map(char::to_lowercase));
    }
    words
}

/// What people see of a message and may look for; `None` when it is neither the user's nor the assistant's, or
/// says nothing.
pub fn visible_text(message: &Value) -> Option<(&'static str, String)> {
    let role = match message.get("role")?.as_str()? {
        "user" => "user",
        "assistant" => "assistant",
        _ => return None,
    };
    let text = sanitise::text_of(message);
    let text = match role {
        "user" => sanitise::user_text(&text),
        _ => sanitise::assistant_text(&text),
    };
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text[..end].trim();
    (!text.is_empty()).then(|| (role, text.to_owned()))
}

impl SearchQuery {
    /// Whether the last word may be the beginning of a longer one.
    pub fn is_prefix(&self, word: usize) -> bool {
        word + 1 == self.words.len() && self.words[word].chars().count() >= MIN_PREFIX
    }

    /// The hit that an entry is, if it contains every word.
    pub fn hit(&self, entry: &TranscriptEntry) -> Option<SearchHit> {
        let (role, text) = visible_text(&entry.message.to_value())?;
        let (mut first, mut covered) = (usize::MAX, 0);
        for (n, word) in self.words.iter().enumerate() {
            let (at, count) = find(&text, word, self.is_prefix(n));
            if count == 0 {
                return None;
            }
            first = first.min(at);
            covered += count * word.chars().count();
        }
        let length = text.chars().count().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a text has fewer than 2^52 characters")]
        let score = (covered.min(length) as f64) / (length as f64);
        let snippet = snippet(&text, first);
        Some(SearchHit {
            session: entry.session.clone(),
            id: entry.id.clone(),
            role,
            at: entry.at,
            snippet,
            score,
        })
    }

    /// The hits among entries that are newest first, the best first.
    pub fn rank<'a>(&self, newest: impl Iterator<Item = &'a TranscriptEntry>) -> SearchHits {
        self.best(newest.filter_map(|entry| self.hit(entry)).collect())
    }

    /// The best of some hits.
    pub fn best(&self, mut hits: Vec<SearchHit>) -> SearchHits {
        let more = hits.len() > self.limit;
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.at.cmp(&a.at)));
        hits.truncate(self.limit);
        SearchHits { hits, indexing: false, truncated: more }
    }
}

/// The place of the first occurrence of a word in a text, in bytes, and how often it occurs.
fn find(text: &str, word: &str, prefix: bool) -> (usize, usize) {
    let (mut first, mut count) = (0, 0);
    let mut at = 0;
    for piece in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let found = fold(piece.trim_end_matches(|c: char| !c.is_alphanumeric()));
        if found == *word || (prefix && found.starts_with(word)) {
            if count == 0 {
                first = at;
            }
            count += 1;
        }
        at += piece.len();
    }
    (first, count)
}

fn fold(word: &str) -> String {
    word.to_lowercase()
}

/// The text around a place, on one line.
fn snippet(text: &str, at: usize) -> String {
    let before: Vec<char> = text[..at].chars().rev().take(SNIPPET.0).collect();
    let after: String = text[at..].chars().take(SNIPPET.1).collect();
    let cut = (text[..at].chars().nth(SNIPPET.0).is_some(), text[at..].chars().nth(SNIPPET.1).is_some());
    let words: String = before.into_iter().rev().chain(after.chars()).collect();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{words}{}", if cut.0 { "…" } else { "" }, if cut.1 { "…" } else { "" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use telson_proto::Json;

    use super::*;

    fn query(text: &str) -> SearchQuery {
        SearchQuery { words: words_of(text), sessions: None, key_prefix: None, limit: 10 }
    }

    fn said(seq: u64, role: &str, text: &str) -> TranscriptEntry {
        TranscriptEntry {
            session: SessionId::new("s"),
            seq,
            id: format!("{seq:08x}"),
            parent: None,
            at: seq,
            run: None,
            message: Json::of(&json!({"role": role, "content": [{"type": "text", "text": text}]})),
        }
    }

    #[test]
    fn an_entry_must_contain_every_word() {
        let entry = said(1, "assistant", "The moon moves the sea; the Sun helps.");
        assert!(query("MOON sea").hit(&entry).is_some());
        assert!(query("moon river").hit(&entry).is_none());
        assert!(query("moo").hit(&entry).is_some(), "the last word may be a beginning");
        assert!(query("moo sea").hit(&entry).is_none());
        assert!(query("th").hit(&entry).is_none(), "a beginning has three letters");
    }

    #[test]
    fn tools_and_machinery_are_not_found() {
        assert_eq!(visible_text(&json!({"role": "toolResult", "content": "moon"})), None);
        let user = json!({"role": "user", "content": "[WhatsApp +1555] hello\n[message_id: run-1]"});
        assert_eq!(visible_text(&user), Some(("user", "hello".to_owned())));
        assert_eq!(visible_text(&json!({"role": "assistant", "content": []})), None);
    }

    #[test]
    fn short_answers_come_first_and_then_new_ones() {
        let entries = [
            said(3, "user", "a long text in which the moon is one word of many"),
            said(2, "user", "moon"),
            said(1, "user", "moon"),
        ];
        let found = query("moon").rank(entries.iter());
        assert_eq!(found.hits.iter().map(|hit| hit.at).collect::<Vec<_>>(), [2, 1, 3]);
        assert!((found.hits[0].score - 1.0).abs() < f64::EPSILON);
        assert!(!found.truncated);
    }

    #[test]
    fn a_snippet_shows_what_stands_around_the_word() {
        let text = format!("{} moon {}", "x ".repeat(100), "y ".repeat(200));
        let hit = query("moon").hit(&said(1, "user", &text)).unwrap();
        assert!(hit.snippet.starts_with('…') && hit.snippet.ends_with('…'), "{}", hit.snippet);
        assert!(hit.snippet.contains("x moon y"));
        assert!(hit.snippet.chars().count() < 210);
    }
}
