//! The history of a session as a stream: first a page, then every message that is added (spec 04 §13.1).
//!
//! What is added is read from the store when the session has moved, so the stream says nothing that is not kept.

use std::time::Duration;

use serde_json::json;

use super::history::{Page, shown};
use super::{Pending, Spelling, Stage, sse};
use crate::auth::{Effect, Principal, authorize};
use crate::gateway::Gateway;
use crate::http::HttpResponse;
use crate::ids::{HttpId, SessionId, SessionKey};
use crate::store::{Loaded, StoreError, TranscriptEntry};

/// Who follows a session.
pub(super) struct Follower {
    page: Page,
    principal: Principal,
    /// The incarnation whose messages were sent.
    session: Option<SessionId>,
    /// The position of the last message that was sent.
    seen: u64,
    /// Whether the store is being asked.
    asking: bool,
    /// Whether the session has moved meanwhile.
    moved: bool,
    /// When something last went out.
    pub(super) last_sent: Duration,
}

impl Gateway {
    /// Begins a stream with a page of the history.
    pub(super) fn follow_session(&mut self, id: HttpId, principal: Principal, page: Page) {
        let last_sent = self.now.mono;
        let (session, seen, asking, moved) = (None, 0, false, false);
        let follower = Box::new(Follower { page, principal, session, seen, asking, moved, last_sent });
        self.api.pending.insert(id, Pending { spelling: Spelling::Ok, stage: Stage::Following(follower) });
        self.respond_head(id, HttpResponse::events());
        self.respond_chunk(id, "retry: 1000\n\n");
        self.ask_for_news(id);
    }

    /// A session has moved: those who follow it look for news.
    pub(crate) fn api_session_moved(&mut self, key: &SessionKey) {
        let follows = |pending: &Pending| matches!(&pending.stage, Stage::Following(f) if f.page.key == *key);
        let pending = self.api.pending.iter().filter(|(_, pending)| follows(pending));
        let followers: Vec<HttpId> = pending.map(|(id, _)| *id).collect();
        for id in followers {
            self.ask_for_news(id);
        }
    }

    fn follower(&mut self, id: HttpId) -> Option<&mut Follower> {
        match &mut self.api.pending.get_mut(&id)?.stage {
            Stage::Following(follower) => Some(follower),
            _ => None,
        }
    }

    fn ask_for_news(&mut self, id: HttpId) {
        let Some(follower) = self.follower(id) else { return };
        if follower.asking {
            follower.moved = true;
            return;
        }
        follower.asking = true;
        follower.moved = false;
        let Some(Stage::Following(follower)) = self.api.pending.get(&id).map(|pending| &pending.stage) else {
            return;
        };
        let query = self.page_query(&follower.page);
        let session = self.sessions.get(&follower.page.key).map(|session| session.id.clone());
        self.load(query, move |gateway, loaded| gateway.tell_news(id, session, loaded));
    }

    fn tell_news(&mut self, id: HttpId, session: Option<SessionId>, loaded: Result<Loaded, StoreError>) {
        let now = self.now.mono;
        let Some(follower) = self.follower(id) else { return };
        follower.asking = false;
        let again = follower.moved;
        let Ok(Loaded::Entries(entries)) = loaded else { return self.stop_following(id) };
        if let Some(news) = follower.news(session, entries) {
            follower.last_sent = now;
            self.respond_chunk(id, news);
        }
        if again {
            self.ask_for_news(id);
        }
    }

    /// Nothing was said for a while.
    pub(super) fn keep_following(&mut self, id: HttpId) {
        let Some(follower) = self.follower(id) else { return };
        if authorize(&follower.principal, &Effect::ReadSessions).is_ok() {
            self.respond_chunk(id, sse::KEEP_ALIVE);
        } else {
            self.stop_following(id);
        }
    }

    fn stop_following(&mut self, id: HttpId) {
        self.api.take(id);
        self.respond_end(id);
    }
}

impl Follower {
    /// What is to be sent of these entries: a page at first, after a reset and where a window was asked for,
    /// otherwise each message that is new.
    fn news(&mut self, session: Option<SessionId>, entries: Vec<TranscriptEntry>) -> Option<String> {
        let last = entries.last().map_or(0, |entry| entry.seq);
        let another = session.is_none() || session != self.session;
        let seen = std::mem::replace(&mut self.seen, last);
        if another || (self.page.windowed && last > seen) {
            self.session = session;
            return Some(sse::named("history", &self.page.body(entries)));
        }
        let news = entries.iter().filter(|entry| entry.seq > seen);
        let events = news.filter_map(|entry| {
            let message = shown(entry)?;
            let data = json!({
                "sessionKey": self.page.key,
                "message": message,
                "messageId": entry.id,
                "messageSeq": entry.seq,
            });
            Some(sse::named("message", &data))
        });
        let events: String = events.collect();
        (!events.is_empty()).then_some(events)
    }
}
