//! What clients hear of a run: two encoders over one stream of text (spec 02 §9, §20.6) [C-43].
//!
//! Protocol 3 gets the whole text at most every 150 ms and nothing in between; protocol 4 gets what was added,
//! at most every 75 ms, and never later than that. Everyone gets one terminal event.

use std::time::Duration;

use telson_proto::chat::{AgentData, AgentEvent, ChatEvent, ChatMessage, ErrorDetail, Lifecycle};
use telson_proto::{EventName, Json, Protocol};

use crate::ids::{AgentId, RunId, SessionKey};
use crate::messages::{Audience, Publish};
use crate::providers::ModelError;
use crate::settings::ModelRef;
use crate::time::Now;

/// The pace of chat deltas on protocol 3.
pub(super) const V3_PACE: Duration = Duration::from_millis(150);
/// The pace of chat deltas on protocol 4.
pub(super) const V4_PACE: Duration = Duration::from_millis(75);
/// Up to this length every piece of text makes an `agent` event. Each repeats the text so far, so beyond it
/// they go at the pace of the deltas: the bytes of a long answer would grow with its square.
const EVERY_PIECE: usize = 8 * 1024;
/// The word by which a model says that it has nothing to say [C-23].
const SILENT: &str = "NO_REPLY";
/// The longest text in an error's details, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// The voice of one run.
#[derive(Debug)]
pub(super) struct Voice {
    run: RunId,
    key: SessionKey,
    agent: AgentId,
    /// The number of the last `agent` event.
    seq: u64,
    text: String,
    started_at: Option<u64>,
    /// How much of the text has gone out in `agent` events.
    told: usize,
    v3_at: Option<Duration>,
    v4_at: Option<Duration>,
    /// How much of the text has gone out in deltas of protocol 4.
    v4_told: usize,
    /// Whether the next delta of protocol 4 replaces what earlier messages of the run have left on the screen.
    v4_replaces: bool,
}

/// How a run ends, as clients hear it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending<'a> {
    Done {
        stop_reason: &'static str,
    },
    Aborted {
        reason: &'a str,
    },
    Failed {
        error: &'a ModelError,
        model: &'a ModelRef,
    },
    /// Another run answers.
    Collected,
    /// The gateway has answered a command.
    Replied {
        text: &'a str,
    },
}

impl Voice {
    pub(super) fn new(run: RunId, key: SessionKey, agent: AgentId) -> Self {
        Self {
            run,
            key,
            agent,
            seq: 0,
            text: String::new(),
            started_at: None,
            told: 0,
            v3_at: None,
            v4_at: None,
            v4_told: 0,
            v4_replaces: false,
        }
    }

    /// The text of the current message so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text as people should see it; `None` when there is nothing to see.
    pub(super) fn visible(&self) -> Option<&str> {
        let words = self.text.trim();
        (!words.is_empty() && words != SILENT).then_some(self.text.as_str())
    }

    /// When the attempt began.
    pub(super) fn started_at(&self) -> Option<u64> {
        self.started_at
    }

    /// The attempt begins.
    pub(super) fn start(&mut self, now: Now) -> Publish {
        self.started_at = Some(now.wall);
        let data = Lifecycle { phase: "start", started_at: self.started_at, ..Lifecycle::default() };
        self.agent_event(now, "lifecycle", &AgentData::Lifecycle(data.clone()), &AgentData::Lifecycle(data))
    }

    /// The model says more.
    pub(super) fn say(&mut self, now: Now, words: &str) -> Vec<Publish> {
        self.text.push_str(words);
        if self.may_be_silent() {
            return Vec::new();
        }
        let due = self.due(now.mono);
        let mut events = Vec::new();
        if self.text.len() <= EVERY_PIECE || due.v3 || due.v4 {
            events.extend(self.assistant(now));
        }
        events.extend(self.delta(now, due));
        events
    }

    /// A message of the assistant is complete and another will follow: what was held back, and then the text
    /// starts again. The next one is heard at once [C-21].
    pub(super) fn begin_message(&mut self, now: Now) -> Vec<Publish> {
        let events = if self.visible().is_some() { self.flush(now) } else { Vec::new() };
        self.v4_replaces |= self.v4_told > 0;
        self.text.clear();
        (self.told, self.v4_told) = (0, 0);
        (self.v3_at, self.v4_at) = (None, None);
        events
    }

    /// Says what the pace has held back, if it is time.
    pub(super) fn timeout(&mut self, now: Now) -> Vec<Publish> {
        match self.next_deadline() {
            Some(deadline) if deadline <= now.mono => self.flush(now),
            _ => Vec::new(),
        }
    }

    /// When [`Self::timeout`] has something to say.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.v4_told < self.text.len() && !self.may_be_silent();
        self.v4_at.filter(|_| waiting).map(|at| at + V4_PACE)
    }

    /// The run has ended: what was held back, the end of its life, and the one terminal event.
    pub(super) fn finish(&mut self, now: Now, ending: Ending<'_>) -> Vec<Publish> {
        let mut events = match self.visible() {
            Some(_) => self.flush(now),
            None => Vec::new(),
        };
        match self.life_end(now, ending) {
            Some(event) => events.push(event),
            None => self.seq += 1,
        }
        events.push(self.terminal(now, ending));
        events
    }

    fn due(&self, now: Duration) -> Due {
        let is_due = |at: Option<Duration>, pace| at.is_none_or(|at| at + pace <= now);
        Due { v3: is_due(self.v3_at, V3_PACE), v4: is_due(self.v4_at, V4_PACE) }
    }

    /// Whether the text may still become the word for silence.
    fn may_be_silent(&self) -> bool {
        SILENT.starts_with(self.text.trim_start())
    }

    fn flush(&mut self, now: Now) -> Vec<Publish> {
        let mut events: Vec<Publish> = self.assistant(now).into_iter().collect();
        events.extend(self.delta(now, Due { v3: false, v4: true }));
        events
    }

    fn assistant(&mut self, now: Now) -> Option<Publish> {
        if self.told == self.text.len() {
            return None;
        }
        self.seq += 1;
        let data = AgentData::Assistant { text: &self.text, delta: &self.text[self.told..] };
        let event = self.written(now, "assistant", &data, &data);
        self.told = self.text.len();
        Some(event)
    }

    fn delta(&mut self, now: Now, due: Due) -> Option<Publish> {
        let due = Due { v4: due.v4 && self.v4_told < self.text.len(), ..due };
        if !due.v3 && !due.v4 {
            return None;
        }
        let mut event = self.chat_event("delta");
        event.message = Some(ChatMessage::of(&self.text, now.wall));
        let v3 = due.v3.then(|| Json::of(&event));
        let v4 = due.v4.then(|| {
            event.agent_id = Some(self.agent.as_str());
            event.delta_text = Some(&self.text[self.v4_told..]);
            event.replace = self.v4_replaces;
            Json::of(&event)
        });
        if due.v3 {
            self.v3_at = Some(now.mono);
        }
        if due.v4 {
            self.v4_at = Some(now.mono);
            self.v4_told = self.text.len();
            self.v4_replaces = false;
        }
        Some(Publish { droppable: true, ..self.publish(EventName::Chat, v3, v4) })
    }

    /// The end of the attempt; a run that never began one has no life to end, unless it failed.
    fn life_end(&mut self, now: Now, ending: Ending<'_>) -> Option<Publish> {
        let begun = self.started_at.is_some();
        let mut data = Lifecycle {
            phase: "end",
            started_at: self.started_at,
            ended_at: Some(now.wall),
            ..Lifecycle::default()
        };
        let stop_reason = match ending {
            Ending::Failed { error, .. } => {
                data.phase = "error";
                data.error = Some(&error.message);
                None
            }
            _ if !begun => return None,
            Ending::Aborted { reason } => {
                data.aborted = Some(true);
                Some(reason)
            }
            Ending::Done { stop_reason } => Some(stop_reason),
            Ending::Collected | Ending::Replied { .. } => Some("stop"),
        };
        let mut later = data.clone();
        later.stop_reason = stop_reason;
        if data.phase == "end" {
            later.aborted = Some(data.aborted.unwrap_or(false));
        }
        Some(self.agent_event(now, "lifecycle", &AgentData::Lifecycle(data), &AgentData::Lifecycle(later)))
    }

    fn terminal(&self, now: Now, ending: Ending<'_>) -> Publish {
        let message = self.visible().map(|text| ChatMessage::of(text.trim(), now.wall));
        let (v3, v4) = match ending {
            Ending::Done { stop_reason } => {
                let v3 = ChatEvent { message, ..self.chat_event("final") };
                let v4 = ChatEvent { stop_reason: Some(stop_reason), ..v3.clone() };
                (v3, v4)
            }
            Ending::Collected => (self.chat_event("final"), self.chat_event("final")),
            Ending::Replied { text } => {
                let message = Some(ChatMessage::injected(text, now.wall));
                let v3 = ChatEvent { message, ..self.chat_event("final") };
                (v3.clone(), ChatEvent { stop_reason: Some("stop"), ..v3 })
            }
            Ending::Aborted { reason } => {
                // Whether old phone apps read a message here is not known, so they get none.
                let v3 = ChatEvent { stop_reason: Some(reason), ..self.chat_event("aborted") };
                let v4 = ChatEvent { message, ..v3.clone() };
                (v3, v4)
            }
            Ending::Failed { error, model } => {
                let v3 = ChatEvent { error_message: Some(&error.message), ..self.chat_event("error") };
                let v4 = ChatEvent {
                    message,
                    error_kind: Some(error.kind.as_str()),
                    error_detail: Some(detail(error, model)),
                    stop_reason: Some("error"),
                    ..v3.clone()
                };
                (v3, v4)
            }
        };
        let v4 = ChatEvent { agent_id: Some(self.agent.as_str()), ..v4 };
        self.publish(EventName::Chat, Some(Json::of(&v3)), Some(Json::of(&v4)))
    }

    fn chat_event<'a>(&'a self, state: &'static str) -> ChatEvent<'a> {
        ChatEvent::new(self.key.as_str(), self.run.as_str(), self.seq, state)
    }

    pub(super) fn agent_event(
        &mut self,
        now: Now,
        stream: &'static str,
        v3: &AgentData<'_>,
        v4: &AgentData<'_>,
    ) -> Publish {
        self.seq += 1;
        self.written(now, stream, v3, v4)
    }

    fn written(&self, now: Now, stream: &'static str, v3: &AgentData<'_>, v4: &AgentData<'_>) -> Publish {
        let write = |protocol: Protocol, data: &AgentData<'_>| {
            Json::of(&AgentEvent {
                session_key: self.key.as_str(),
                run_id: self.run.as_str(),
                agent_id: (protocol == Protocol::V4).then_some(self.agent.as_str()),
                seq: self.seq,
                stream,
                ts: now.wall,
                data: data.clone(),
            })
        };
        self.publish(EventName::Agent, Some(write(Protocol::V3, v3)), Some(write(Protocol::V4, v4)))
    }

    fn publish(&self, event: EventName, v3: Option<Json>, v4: Option<Json>) -> Publish {
        Publish { event, v3, v4, droppable: false, to: Audience::Session(self.key.clone()), state: None }
    }
}

/// Which protocols may hear a delta now.
#[derive(Clone, Copy)]
struct Due {
    v3: bool,
    v4: bool,
}

fn detail<'a>(error: &'a ModelError, model: &'a ModelRef) -> ErrorDetail<'a> {
    ErrorDetail {
        provider: cut(&model.provider),
        model: cut(&model.model),
        http_status: error.status.filter(|status| (100..600).contains(status)),
        provider_error_message_preview: error.status.map(|_| cut(&error.message)),
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_DETAIL_CHARS).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::providers::ErrorKind;

    fn voice() -> Voice {
        Voice::new(RunId::new("r"), SessionKey::new("agent:main:main"), AgentId::new("main"))
    }

    fn at(millis: u64) -> Now {
        Now { mono: Duration::from_millis(millis), wall: 1_000_000 + millis }
    }

    fn seen(events: &[Publish], protocol: Protocol) -> Vec<(EventName, Value)> {
        let payloads =
            events.iter().filter_map(|event| Some((event.event, event.payload(protocol)?.to_value())));
        payloads.collect()
    }

    fn brief(events: &[Publish], protocol: Protocol) -> Vec<String> {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        seen(events, protocol)
            .into_iter()
            .map(|(event, payload)| {
                let what = word(&payload["state"]).or_else(|| word(&payload["data"]["phase"]));
                format!("{} {} {}", event.as_str(), what.unwrap_or_default(), payload["seq"])
            })
            .collect()
    }

    #[test]
    fn agent_events_precede_deltas_and_life_ends_before_the_final() {
        let mut voice = voice();
        let mut events = vec![voice.start(at(0))];
        events.extend(voice.say(at(10), "He"));
        events.extend(voice.say(at(20), "llo"));
        events.extend(voice.say(at(170), " there"));
        events.extend(voice.finish(at(180), Ending::Done { stop_reason: "stop" }));
        let v3 = [
            "agent start 1",
            "agent  2",
            "chat delta 2",
            "agent  3",
            "agent  4",
            "chat delta 4",
            "agent end 5",
            "chat final 5",
        ];
        assert_eq!(brief(&events, Protocol::V3), v3);
        let last = seen(&events, Protocol::V3).pop().unwrap().1;
        assert_eq!(
            last,
            json!({
                "sessionKey": "agent:main:main", "runId": "r", "seq": 5, "state": "final",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}], "timestamp": 1_000_180},
            })
        );
        let last = seen(&events, Protocol::V4).pop().unwrap().1;
        assert_eq!((last["stopReason"].as_str(), last["agentId"].as_str()), (Some("stop"), Some("main")));
    }

    #[test]
    fn v4_text_that_is_held_back_comes_when_its_time_has_come() {
        let mut voice = voice();
        voice.start(at(0));
        voice.say(at(0), "a");
        assert_eq!(voice.next_deadline(), None);
        voice.say(at(30), "b");
        assert_eq!(voice.next_deadline(), Some(Duration::from_millis(75)));
        assert!(voice.timeout(at(74)).is_empty());
        let events = voice.timeout(at(75));
        assert_eq!(seen(&events, Protocol::V3).len(), 0, "protocol 3 has no trailing deltas");
        let (_, delta) = seen(&events, Protocol::V4).pop().unwrap();
        assert_eq!(
            (delta["deltaText"].as_str(), &delta["message"]["content"][0]["text"]),
            (Some("b"), &json!("ab"))
        );
        assert_eq!(voice.next_deadline(), None);
    }

    #[test]
    fn a_word_of_silence_is_never_seen() {
        let mut voice = voice();
        let mut events = vec![voice.start(at(0))];
        events.extend(voice.say(at(1), "NO_"));
        events.extend(voice.say(at(100), "REPLY"));
        events.extend(voice.finish(at(900), Ending::Done { stop_reason: "stop" }));
        assert_eq!(brief(&events, Protocol::V3), ["agent start 1", "agent end 2", "chat final 2"]);
        assert_eq!(seen(&events, Protocol::V4).pop().unwrap().1.get("message"), None);
    }

    #[test]
    fn what_only_began_like_silence_is_said_after_all() {
        let mut voice = voice();
        voice.start(at(0));
        assert!(voice.say(at(1), "NO").is_empty());
        let events = voice.finish(at(9), Ending::Done { stop_reason: "stop" });
        assert_eq!(brief(&events, Protocol::V4), ["agent  2", "chat delta 2", "agent end 3", "chat final 3"]);
    }

    #[test]
    fn a_run_that_never_began_has_one_event() {
        let events = voice().finish(at(5), Ending::Aborted { reason: "rpc" });
        assert_eq!(brief(&events, Protocol::V3), ["chat aborted 1"]);
        assert_eq!(brief(&voice().finish(at(5), Ending::Collected), Protocol::V4), ["chat final 1"]);
    }

    #[test]
    fn an_abort_carries_the_partial_text_on_v4_only() {
        let mut voice = voice();
        voice.start(at(0));
        voice.say(at(1), "par");
        let events = voice.finish(at(2), Ending::Aborted { reason: "timeout" });
        let (_, v3) = seen(&events, Protocol::V3).pop().unwrap();
        assert_eq!(
            v3,
            json!({"sessionKey": "agent:main:main", "runId": "r", "seq": 3, "state": "aborted", "stopReason": "timeout"})
        );
        let (_, v4) = seen(&events, Protocol::V4).pop().unwrap();
        assert_eq!(v4["message"]["content"][0]["text"], "par");
        let (_, life) =
            seen(&events, Protocol::V3).into_iter().find(|(event, _)| *event == EventName::Agent).unwrap();
        assert_eq!(life["data"]["aborted"], true);
    }

    #[test]
    fn an_error_tells_v4_where_it_happened() {
        let mut voice = voice();
        voice.start(at(0));
        let error = ModelError {
            kind: ErrorKind::RateLimit,
            message: "4".repeat(500),
            status: Some(429),
            retry_after_ms: None,
        };
        let model = ModelRef { provider: "p".to_owned(), model: "m".to_owned() };
        let events = voice.finish(at(1), Ending::Failed { error: &error, model: &model });
        let (_, v3) = seen(&events, Protocol::V3).pop().unwrap();
        assert_eq!(v3["errorMessage"], error.message);
        assert_eq!(v3.as_object().unwrap().len(), 5);
        let (_, v4) = seen(&events, Protocol::V4).pop().unwrap();
        assert_eq!((&v4["errorKind"], &v4["errorDetail"]["httpStatus"]), (&json!("rate_limit"), &json!(429)));
        assert_eq!(v4["errorDetail"]["providerErrorMessagePreview"].as_str().unwrap().len(), 300);
    }

    #[test]
    fn a_long_answer_does_not_repeat_itself_with_every_piece() {
        let mut voice = voice();
        voice.start(at(0));
        let mut bytes = 0;
        for n in 0..5_000 {
            for event in voice.say(at(n * 10), "word") {
                bytes += event.payload(Protocol::V4).map_or(0, |json| json.as_str().len());
            }
        }
        // Two events for each of 625 steps of the pace, and one for each early piece, of 10 KB on average.
        assert!(bytes < 40_000_000, "{bytes}");
    }

    proptest! {
        #[test]
        fn appended_deltas_are_the_message_and_keep_their_pace(
            pieces in prop::collection::vec((0_u64..200, "[NO_ab \u{fc}]{1,5}"), 1..40),
        ) {
            let (mut voice, mut now, mut events) = (voice(), 0, Vec::new());
            events.push((0, voice.start(at(0))));
            for (pause, words) in pieces {
                now += pause;
                while let Some(due) = voice.next_deadline().filter(|due| *due <= at(now).mono) {
                    let due = u64::try_from(due.as_millis()).unwrap();
                    events.extend(voice.timeout(at(due)).into_iter().map(|event| (due, event)));
                }
                events.extend(voice.say(at(now), &words).into_iter().map(|event| (now, event)));
            }
            let end = voice.finish(at(now), Ending::Done { stop_reason: "stop" });
            for protocol in Protocol::ALL {
                let pace = if protocol == Protocol::V3 { V3_PACE } else { V4_PACE };
                let deltas: Vec<(u64, Value)> = events
                    .iter()
                    .filter(|(_, event)| event.event == EventName::Chat)
                    .filter_map(|(when, event)| Some((*when, event.payload(protocol)?.to_value())))
                    .collect();
                for pair in deltas.windows(2) {
                    prop_assert!(pair[1].0 - pair[0].0 >= u64::try_from(pace.as_millis()).unwrap());
                }
                let all: Vec<Value> = deltas.into_iter().map(|(_, event)| event)
                    .chain(seen(&end, protocol).into_iter().filter(|(event, _)| *event == EventName::Chat).map(|(_, e)| e))
                    .collect();
                let seqs: Vec<u64> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
                prop_assert!(seqs.is_sorted());
                let last = all.last().unwrap();
                prop_assert_eq!(&last["state"], "final");
                let whole = last["message"]["content"][0]["text"].as_str().unwrap_or_default();
                prop_assert_eq!(whole, voice.visible().unwrap_or_default().trim());
                if protocol == Protocol::V4 {
                    let appended: String = all.iter().filter_map(|event| event["deltaText"].as_str()).collect();
                    prop_assert_eq!(appended.trim(), whole);
                }
            }
        }
    }
}
