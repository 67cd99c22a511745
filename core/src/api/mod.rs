//! The HTTP endpoints for programs: `/v1/*`, `/tools/invoke`, `/sessions/*` (spec 04 §5–§9, §12, §13).
//!
//! A call of a model endpoint is a run like any other; the client hears it as a whole answer or as server-sent
//! events, and a client that goes away aborts it. On the way to its run a request passes these rooms:
//!
//! ```text
//! route → enter → chat | responses (request) → target → call (media, files) → run → chat | responses (answer)
//! ```

mod call;
mod chat;
mod continuations;
mod embeddings;
mod enter;
mod errors;
mod fields;
mod files;
mod follow;
mod history;
mod invoke;
mod kill;
mod media;
mod models;
mod outcome;
mod prompt;
mod responses;
mod route;
mod settings;
mod sse;
mod target;
#[cfg(test)]
mod tests;
mod tools;
mod words;

pub(crate) use route::percent_decoded;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Principal;
use crate::fetch::FetchEvent;
use crate::gateway::Gateway;
use crate::http::HttpResponse;
use crate::ids::{CallId, FetchId, HttpId};
use crate::limits;
use crate::time::earliest;

pub use settings::{ApiSettings, EndpointSettings, FILE_MIMES, IMAGE_MIMES, MediaSettings};

use call::{Draft, Live};
use continuations::Continuations;
use embeddings::Embedding;
use errors::{Refusal, Spelling};
use follow::Follower;
use media::Download;
use route::Head;

/// The requests that are not answered yet, and the responses that later requests may continue.
pub struct Api {
    pending: BTreeMap<HttpId, Pending>,
    /// Answers to wrong secrets, by the moment of their release.
    held: BTreeMap<(Duration, HttpId), HttpResponse>,
    continuations: Continuations,
    /// Who each unanswered request is from, so that its end can follow that of its credential.
    admitted: BTreeMap<HttpId, Admitted>,
}

/// Who an unanswered request is from.
struct Admitted {
    principal: Arc<Principal>,
    /// Its answer has begun.
    begun: bool,
}

/// A request that is not answered yet.
struct Pending {
    spelling: Spelling,
    stage: Stage,
}

/// Where a request is.
enum Stage {
    /// Its body is read.
    Body { head: Head, principal: Arc<Principal> },
    /// A picture or a file that it names is fetched.
    Media { draft: Box<Draft>, download: Box<Download> },
    /// The end of its session's transcript is loaded.
    Context(Box<Draft>),
    /// Its run is under way.
    Run(Box<Live>),
    /// Its tool is called.
    Tool(CallId),
    /// Its embeddings are made.
    Embedding(Box<Embedding>),
    /// It hears what is added to a session.
    Following(Box<Follower>),
    /// It waits for the store or for the ends of runs.
    Waiting,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self {
            pending: BTreeMap::new(),
            held: BTreeMap::new(),
            continuations: Continuations::default(),
            admitted: BTreeMap::new(),
        }
    }

    /// When something is due: keep-alives, held answers, the deadlines of fetches.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let held = self.held.first_key_value().map(|((at, _), _)| *at);
        earliest(held, self.pending.values().filter_map(Pending::due).min())
    }

    fn is_full(&self) -> bool {
        self.pending.len() + self.held.len() >= limits::length(limits::API_REQUESTS)
    }

    /// Takes a request out of its stage; whoever goes on with it puts it back.
    fn take(&mut self, id: HttpId) -> Option<Pending> {
        self.pending.remove(&id)
    }
}

impl Pending {
    fn due(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Run(live) if live.streams() => {
                Some(live.last_sent + limits::millis(limits::API_KEEP_ALIVE_MS))
            }
            Stage::Following(follower) => {
                Some(follower.last_sent + limits::millis(limits::API_KEEP_ALIVE_MS))
            }
            Stage::Media { download, .. } => Some(download.deadline),
            _ => None,
        }
    }
}

impl Gateway {
    /// The answer to a request has begun, or is complete.
    pub(crate) fn api_answered(&mut self, id: HttpId, complete: bool) {
        if complete {
            self.api.admitted.remove(&id);
        } else if let Some(admitted) = self.api.admitted.get_mut(&id) {
            admitted.begun = true;
        }
    }

    /// Ends the requests whose principal `ends`: nothing more is said to them.
    pub(crate) fn api_end_where(&mut self, ends: impl Fn(&Principal) -> bool) {
        let ended = self.api.admitted.iter().filter(|(_, admitted)| ends(&admitted.principal));
        let ended: Vec<(HttpId, bool)> = ended.map(|(id, admitted)| (*id, admitted.begun)).collect();
        for (id, begun) in ended {
            let spelling = self.api.pending.get(&id).map(|pending| pending.spelling);
            self.http_gone(id);
            match spelling {
                Some(spelling) if !begun => self.respond(id, Refusal::unauthorized().response(spelling)),
                _ => self.respond_end(id),
            }
        }
    }

    /// The client is gone: what was done for it is given up (spec 04 §5.4).
    pub(crate) fn http_gone(&mut self, id: HttpId) {
        self.api.held.retain(|(_, held), _| *held != id);
        self.api.admitted.remove(&id);
        match self.api.take(id).map(|pending| pending.stage) {
            Some(Stage::Run(live)) => self.abort_run(&live.run, "disconnect"),
            Some(Stage::Media { download, .. }) => self.abort_fetch(download.fetch),
            Some(Stage::Embedding(embedding)) => self.abort_fetch(embedding.fetch),
            Some(Stage::Tool(call)) => self.abort_tool(call),
            Some(Stage::Body { .. } | Stage::Context(_) | Stage::Following(_) | Stage::Waiting) | None => {}
        }
    }

    /// The gateway is going down: runs end as runs do, everything else is answered now.
    pub(crate) fn api_stop(&mut self) {
        let all: Vec<HttpId> = self.api.pending.keys().copied().collect();
        for id in all {
            let Some(pending) = self.api.pending.get(&id) else { continue };
            let refusal = Refusal::unavailable("the gateway is going down; try again shortly", 1);
            match &pending.stage {
                Stage::Run(_) => continue,
                Stage::Following(_) => self.respond_end(id),
                Stage::Tool(_) => {
                    let begun = Refusal::new(503, "tool_error", "the gateway is going down").begun();
                    self.respond(id, begun.response(pending.spelling));
                }
                _ => self.respond(id, refusal.response(pending.spelling)),
            }
            self.http_gone(id);
        }
        for ((_, id), response) in std::mem::take(&mut self.api.held) {
            self.respond(id, response);
        }
    }

    /// An outbound request on behalf of `request` has moved.
    pub(crate) fn api_fetched(&mut self, request: HttpId, fetch: FetchId, event: FetchEvent) {
        match self.api.pending.get(&request).map(|pending| &pending.stage) {
            Some(Stage::Media { download, .. }) if download.fetch == fetch => {
                self.media_fetched(request, event);
            }
            Some(Stage::Embedding(embedding)) if embedding.fetch == fetch => {
                self.embedding_fetched(request, event);
            }
            _ => {}
        }
    }

    /// What is due.
    pub(crate) fn api_timeouts(&mut self) {
        let now = self.now.mono;
        while let Some(entry) = self.api.held.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, id), response) = entry.remove_entry();
            self.respond(id, response);
        }
        let pending = self.api.pending.iter();
        let due: Vec<HttpId> =
            pending.filter(|(_, p)| p.due().is_some_and(|due| due <= now)).map(|(id, _)| *id).collect();
        for id in due {
            match self.api.pending.get_mut(&id).map(|pending| &mut pending.stage) {
                Some(Stage::Run(live)) => {
                    live.last_sent = now;
                    self.respond_chunk(id, sse::KEEP_ALIVE);
                }
                Some(Stage::Following(follower)) => {
                    follower.last_sent = now;
                    self.keep_following(id);
                }
                Some(Stage::Media { .. }) => self.media_late(id),
                _ => {}
            }
        }
    }
}
