//! A call of a model endpoint, from the request that was read to the answer of its run (spec 04 §5).

use std::collections::VecDeque;
use std::time::Duration;

use super::continuations::Continuation;
use super::errors::{Refusal, Spelling};
use super::media::{self, Content, Download, Kind, Progress, Source, Wanted};
use super::prompt::Prompt;
use super::target::Target;
use super::tools::Must;
use super::{MediaSettings, Pending, Stage, chat, files, responses};
use crate::fetch::FetchEvent;
use crate::gateway::{Fetcher, Gateway};
use crate::http::HttpResponse;
use crate::ids::{HttpId, RunId};
use crate::limits;
use crate::providers::request::{Image, Sampling};
use crate::runs::{Admission, Ask, Asker, Family, Owner, RunResult};
use crate::store::{Loaded, Query};
use crate::tools::{Caller, ToolContext, ToolSpec};

/// What both endpoints ask, in the same words.
pub(super) struct Asked {
    pub(super) prompt: Prompt,
    /// Appended to the agent's own system prompt, part by part.
    pub(super) system: Vec<String>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) tools: Vec<ToolSpec>,
    pub(super) must: Must,
    pub(super) max_tokens: Option<u64>,
    pub(super) sampling: Sampling,
}

/// A call on its way to its run.
pub(super) struct Draft {
    target: Target,
    subject: String,
    owner: bool,
    run: RunId,
    asked: Asked,
    wanted: VecDeque<Wanted>,
    images: Vec<Image>,
    image_bytes: usize,
    files: Vec<String>,
    answer: Answer,
}

/// Who answers a call, in the endpoint's own shapes.
pub(super) enum Answer {
    Chat(Box<chat::Answer>),
    Response(Box<responses::Answer>),
}

/// The run of a call.
pub(super) struct Live {
    pub(super) run: RunId,
    answer: Answer,
    target: Target,
    subject: String,
    /// Whether the head of a stream has gone out.
    opened: bool,
    /// When something last went out.
    pub(super) last_sent: Duration,
}

/// The end of an answer.
pub(super) enum Ending {
    Whole(HttpResponse),
    /// The last piece of a stream.
    Last(String),
}

impl Live {
    /// Whether the client hears the words as they come.
    pub(super) fn streams(&self) -> bool {
        self.answer.streams()
    }
}

impl Answer {
    fn streams(&self) -> bool {
        match self {
            Self::Chat(answer) => answer.stream,
            Self::Response(answer) => answer.stream,
        }
    }

    fn first(&mut self) -> String {
        match self {
            Self::Chat(answer) => answer.first(),
            Self::Response(answer) => answer.first(),
        }
    }

    fn said(&mut self, words: &str, anew: bool) -> Option<String> {
        match self {
            Self::Chat(answer) => answer.said(words, anew),
            Self::Response(answer) => answer.said(words, anew),
        }
    }

    /// What a client is told of a picture or a file that cannot be used.
    fn part_refused(&self, kind: &Kind, problem: &str) -> Refusal {
        match (self, kind) {
            (Self::Chat(_), _) => {
                Refusal::invalid(format!("Invalid image_url content in messages: an image {problem}."))
            }
            (Self::Response(_), Kind::Image) => {
                Refusal::invalid(format!("Invalid input_image content in input: an image {problem}."))
            }
            (Self::Response(_), Kind::File { .. }) => {
                Refusal::invalid(format!("Invalid input_file content in input: a file {problem}."))
            }
        }
    }
}

impl Gateway {
    /// Goes on with a request that was read: its tools are checked, then its pictures and files are gathered.
    pub(super) fn begin_call(
        &mut self,
        id: HttpId,
        (target, subject, owner): (Target, String, bool),
        mut asked: Asked,
        run: RunId,
        answer: Answer,
    ) -> Result<(), Refusal> {
        let wanted = VecDeque::from(std::mem::take(&mut asked.wanted));
        let (images, image_bytes, files) = (Vec::new(), 0, Vec::new());
        let draft = Draft { target, subject, owner, run, asked, wanted, images, image_bytes, files, answer };
        self.check_names(id, &draft)?;
        self.gather(id, draft)
    }

    /// A tool of the client must not hide one of the agent's own.
    fn check_names(&self, id: HttpId, draft: &Draft) -> Result<(), Refusal> {
        if draft.asked.tools.is_empty() {
            return Ok(());
        }
        let context = ToolContext {
            caller: Caller::Http(id),
            agent: draft.target.agent.clone(),
            session: draft.target.key.clone(),
            owner: draft.owner,
            untrusted: false,
        };
        let own = self.tools_for(&context);
        match draft.asked.tools.iter().find(|tool| own.iter().any(|own| own.name == tool.name)) {
            None => Ok(()),
            Some(tool) => Err(Refusal::invalid(format!(
                "The tool name {:?} is taken by a tool of the agent; choose another name.",
                tool.name
            ))),
        }
    }

    fn rules(&self, answer: &Answer, kind: &Kind) -> &MediaSettings {
        let settings = &self.settings.api;
        match (answer, kind) {
            (Answer::Chat(_), _) => &settings.chat.images,
            (Answer::Response(_), Kind::Image) => &settings.responses.images,
            (Answer::Response(_), Kind::File { .. }) => &settings.files,
        }
    }

    /// Takes the next picture or file; when there is none left, goes on.
    fn gather(&mut self, id: HttpId, mut draft: Draft) -> Result<(), Refusal> {
        while let Some(Wanted { kind, source }) = draft.wanted.pop_front() {
            let rules = self.rules(&draft.answer, &kind);
            match source {
                Source::Data { mime, base64 } => {
                    let content = media::decoded(rules, mime, &base64)
                        .map_err(|problem| draft.answer.part_refused(&kind, &problem))?;
                    self.take_part(&mut draft, &kind, &content)?;
                }
                Source::Url(url) => {
                    media::judge(rules, &url)
                        .map_err(|problem| draft.answer.part_refused(&kind, &problem))?;
                    let (rules, timeout) = (rules.clone(), rules.timeout);
                    let fetch = self.fetch(Fetcher::Api(id), media::request(&url, timeout));
                    let deadline = self.now.mono + timeout;
                    let download = Box::new(Download::new(kind, fetch, url, deadline, &rules));
                    return self.wait(id, Stage::Media { draft: Box::new(draft), download });
                }
            }
        }
        self.recall(id, draft)
    }

    fn wait(&mut self, id: HttpId, stage: Stage) -> Result<(), Refusal> {
        self.api.pending.insert(id, Pending { spelling: Spelling::OpenAi, stage });
        Ok(())
    }

    fn take_part(&mut self, draft: &mut Draft, kind: &Kind, content: &Content) -> Result<(), Refusal> {
        let taken = match kind {
            Kind::Image => {
                draft.image_bytes += content.bytes.len();
                let most = limits::length(limits::API_IMAGES_BYTES);
                if draft.image_bytes > most {
                    Err(format!("is one too many: all images together are larger than {most} bytes"))
                } else {
                    media::image(self.rules(&draft.answer, kind), content)
                        .map(|image| draft.images.push(image))
                }
            }
            Kind::File { name } => {
                let mark = self.entropy.uuid().replace('-', "");
                let rules = self.rules(&draft.answer, kind);
                files::block(rules, self.settings.api.file_chars, name.as_deref(), content, &mark)
                    .map(|block| draft.files.push(block))
            }
        };
        taken.map_err(|problem| draft.answer.part_refused(kind, &problem))
    }

    /// The fetch of a picture or a file has moved.
    pub(super) fn media_fetched(&mut self, id: HttpId, event: FetchEvent) {
        let over = matches!(event, FetchEvent::End | FetchEvent::Failed(_));
        let Some(Pending { stage: Stage::Media { mut draft, mut download }, .. }) = self.api.take(id) else {
            return;
        };
        let rules = self.rules(&draft.answer, &download.kind).clone();
        let outcome = match download.fetched(&rules, event) {
            Ok(Progress::Going) => self.wait(id, Stage::Media { draft, download }),
            Ok(Progress::Elsewhere(url)) => {
                self.abort_fetch(download.fetch);
                let left = download.deadline.saturating_sub(self.now.mono);
                download.fetch = self.fetch(Fetcher::Api(id), media::request(&url, left));
                self.wait(id, Stage::Media { draft, download })
            }
            Ok(Progress::Done(content)) => match self.take_part(&mut draft, &download.kind, &content) {
                Ok(()) => self.gather(id, *draft),
                Err(refusal) => Err(refusal),
            },
            Err(problem) => {
                if !over {
                    self.abort_fetch(download.fetch);
                }
                Err(draft.answer.part_refused(&download.kind, &problem))
            }
        };
        if let Err(refusal) = outcome {
            self.refuse_http(id, Spelling::OpenAi, &refusal);
        }
    }

    /// The fetch of a picture or a file has taken too long.
    pub(super) fn media_late(&mut self, id: HttpId) {
        let Some(Pending { stage: Stage::Media { draft, download }, .. }) = self.api.take(id) else { return };
        self.abort_fetch(download.fetch);
        let refusal = draft.answer.part_refused(&download.kind, "did not come in time");
        self.refuse_http(id, Spelling::OpenAi, &refusal);
    }

    /// A client that sends the whole conversation each time would have its session say everything twice: what the
    /// session remembers is left out of the prompt.
    fn recall(&mut self, id: HttpId, draft: Draft) -> Result<(), Refusal> {
        const ENTRIES: usize = 32;
        const BYTES: usize = 1024 * 1024;
        let session = self.sessions.get(&draft.target.key).map(|session| session.id.clone());
        let Some(session) = session.filter(|_| draft.asked.prompt.has_context()) else {
            return self.admit_call(id, draft);
        };
        self.wait(id, Stage::Context(Box::new(draft)))?;
        self.load(Query::Tail { session, limit: ENTRIES, max_bytes: BYTES }, move |gateway, loaded| {
            let Some(Pending { stage: Stage::Context(mut draft), .. }) = gateway.api.take(id) else { return };
            if let Ok(Loaded::Entries(entries)) = loaded {
                let mut messages = entries.iter().rev().map(|entry| entry.message.to_value());
                let is_assistants = |message: &serde_json::Value| message["role"] == "assistant";
                if let Some(last) = messages.find(is_assistants) {
                    draft.asked.prompt.forget_known(&last);
                }
            }
            if let Err(refusal) = gateway.admit_call(id, *draft) {
                gateway.refuse_http(id, Spelling::OpenAi, &refusal);
            }
        });
        Ok(())
    }

    /// Starts the run.
    fn admit_call(&mut self, id: HttpId, draft: Draft) -> Result<(), Refusal> {
        let Draft { target, subject, run, asked, images, files, answer, .. } = draft;
        let mut system = asked.system;
        system.extend(asked.must.directive());
        system.extend(files);
        let ask = Ask {
            images,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            model: target.model.clone(),
            client_tools: asked.tools,
            tool_choice: asked.must.choice(),
            max_tokens: asked.max_tokens,
            sampling: asked.sampling,
            ..Ask::words(asked.prompt.words(), self.settings.agents.timeout)
        };
        let channel = target.channel.clone();
        let admission = Admission {
            run: run.clone(),
            key: target.key.clone(),
            agent: target.agent.clone(),
            family: Family::Inner,
            owner: Owner::inner(),
            asker: Asker::Http(id),
            digest: String::new(),
            ask,
            edit: Box::new(move |entry| entry.last_channel = Some(channel)),
        };
        let last_sent = self.now.mono;
        let live = Live { run, answer, target, subject, opened: false, last_sent };
        self.wait(id, Stage::Run(Box::new(live)))?;
        if let Err(error) = self.admit_run(admission) {
            self.api.take(id);
            return Err(Refusal::of(&error));
        }
        self.open_stream(id);
        Ok(())
    }

    /// Sends the head and the first piece of a stream, once.
    fn open_stream(&mut self, id: HttpId) {
        let Some(Stage::Run(live)) = self.api.pending.get_mut(&id).map(|pending| &mut pending.stage) else {
            return;
        };
        if live.opened || !live.streams() {
            return;
        }
        live.opened = true;
        live.last_sent = self.now.mono;
        let first = live.answer.first();
        self.respond_head(id, HttpResponse::events());
        self.respond_chunk(id, first);
    }

    /// The run of a request has said more words.
    pub(crate) fn api_run_said(&mut self, id: HttpId, run: &RunId, words: &str) {
        // A run that speaks again after a tool begins another message.
        let anew = self.runs.get(run).is_some_and(|run| run.text().len() == words.len());
        let Some(Stage::Run(live)) = self.api.pending.get_mut(&id).map(|pending| &mut pending.stage) else {
            return;
        };
        if live.run != *run || !live.streams() {
            return;
        }
        if let Some(piece) = live.answer.said(words, anew) {
            live.last_sent = self.now.mono;
            self.respond_chunk(id, piece);
        }
    }

    /// The run of a request has ended, and its end is stored.
    pub(crate) fn api_run_ended(&mut self, id: HttpId, run: &RunId, result: RunResult) {
        let ours = self
            .api
            .pending
            .get(&id)
            .is_some_and(|pending| matches!(&pending.stage, Stage::Run(live) if live.run == *run));
        if !ours {
            return;
        }
        self.open_stream(id);
        let Some(Pending { stage: Stage::Run(live), .. }) = self.api.take(id) else { return };
        let Live { answer, target, subject, .. } = *live;
        let ending = match answer {
            Answer::Chat(answer) => answer.end(&result),
            Answer::Response(answer) => {
                let name = answer.id.clone();
                let ending = answer.end(&result, &mut self.entropy);
                if result.failure.is_none() {
                    let Target { agent, key, .. } = target;
                    let continuation = Continuation { subject, agent, key, session: result.session };
                    self.api.continuations.keep(self.now.mono, name, continuation);
                }
                ending
            }
        };
        match ending {
            Ending::Whole(response) => self.respond(id, response),
            Ending::Last(piece) => {
                self.respond_chunk(id, piece);
                self.respond_end(id);
            }
        }
    }
}
