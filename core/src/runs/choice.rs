//! Who answers a run: its model with one of the keys, or else a fallback, as long as nothing was heard.

use crate::gateway::Gateway;
use crate::ids::RunId;
use crate::providers::{Candidate, ModelError};

use super::Stage;
use super::saying::Saying;

impl Gateway {
    /// Who is asked next in a run. A run stays with whom it has found.
    pub(super) fn candidate_of(&mut self, id: &RunId) -> Option<Candidate> {
        let run = self.runs.open.get_mut(id)?;
        if run.talk.chain.present().is_none() {
            let fallbacks = self.agents.fallbacks_of(&run.agent);
            run.talk.chain = self.providers.chain(self.now.mono, &run.model, fallbacks);
            run.talk.chain.next();
        }
        let candidate = run.talk.chain.present()?.clone();
        run.model = candidate.model.clone();
        Some(candidate)
    }

    /// Whoever was asked in a run has failed, and rests.
    pub(super) fn candidate_failed(&mut self, id: &RunId, error: &ModelError) {
        let Some(run) = self.runs.open.get(id) else { return };
        if let Some(candidate) = run.talk.chain.present() {
            self.providers.failed(self.now.mono, candidate, error);
        }
    }

    /// Asks the next one. `false` when the failure is the question's own, or nobody is left.
    pub(super) fn fall_back(&mut self, id: &RunId, error: &ModelError) -> bool {
        let Some(run) = self.runs.open.get_mut(id) else { return false };
        if run.talk.chain.after(error).is_none() {
            return false;
        }
        self.hang_up(id);
        let Some(run) = self.runs.open.get_mut(id) else { return false };
        run.saying = Saying::default();
        run.stage = Stage::Loading;
        self.call_model(id);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use telson_proto::Protocol;

    use crate::fetch::{FetchError, FetchEvent};
    use crate::gateway::Input;
    use crate::ids::{ConnId, FetchId};
    use crate::settings::{ModelRef, ProviderSettings};
    use crate::testing::World;

    fn model(text: &str) -> ModelRef {
        ModelRef::parse(text).unwrap()
    }

    /// A gateway whose model is `one/m`, with `two/m` to fall back on.
    fn world() -> (World, ConnId) {
        let mut world = World::with(|settings| {
            for id in ["one", "two"] {
                settings.providers.push(ProviderSettings::new(id, format!("http://{id}/v1")));
            }
            settings.agents.model = model("one/m");
            settings.agents.fallbacks = vec![model("two/m")];
        });
        let client = world.operator(Protocol::V4);
        (world, client)
    }

    fn send(world: &mut World, client: ConnId, key: &str) {
        world.call(
            client,
            "chat.send",
            json!({"sessionKey": "main", "message": "hi", "idempotencyKey": key}),
        );
    }

    /// The request under way, and the host that it goes to.
    fn asked(world: &World) -> (FetchId, String) {
        assert_eq!(world.fetches.len(), 1, "{:?}", world.fetches);
        let (id, request) = &world.fetches[0];
        (*id, request.url.split('/').nth(2).unwrap().to_owned())
    }

    fn end(world: &World, run: &str) -> Value {
        world.terminal(run, Protocol::V4).unwrap()
    }

    fn last_answer(world: &World) -> Value {
        world.shelf.messages("agent:main:main").pop().unwrap()
    }

    #[test]
    fn when_the_model_is_down_the_fallback_answers_and_is_named() {
        let (mut world, client) = world();
        send(&mut world, client, "r1");
        let (id, host) = asked(&world);
        assert_eq!(host, "one");
        world.refuse(id, 503, "busy");
        assert_eq!(asked(&world).1, "two");
        world.answer("hello");
        assert_eq!(world.chat_states("r1", Protocol::V4), ["delta", "final"]);
        assert_eq!(
            (last_answer(&world)["provider"].as_str(), last_answer(&world)["stopReason"].as_str()),
            (Some("two"), Some("stop"))
        );
    }

    #[test]
    fn a_rate_limit_sends_the_next_run_to_the_fallback_until_it_is_over() {
        let (mut world, client) = world();
        send(&mut world, client, "r1");
        let (id, _) = asked(&world);
        let headers = vec![("retry-after".to_owned(), "20".to_owned())];
        world.input(Input::Fetch { id, event: FetchEvent::Head { status: 429, headers } });
        world.input(Input::Fetch { id, event: FetchEvent::End });
        world.answer("from two");
        send(&mut world, client, "r2");
        assert_eq!(asked(&world).1, "two", "at once");
        world.answer("from two again");
        world.advance(21_000);
        send(&mut world, client, "r3");
        assert_eq!(asked(&world).1, "one");
        world.answer("from one");
        assert_eq!(end(&world, "r3")["state"], "final");
    }

    #[test]
    fn once_something_was_said_nobody_else_is_asked() {
        let (mut world, client) = world();
        send(&mut world, client, "r1");
        let (id, _) = asked(&world);
        world.head(id);
        world.words(id, "Hel");
        world.input(Input::Fetch { id, event: FetchEvent::Failed(FetchError::Broken("reset".to_owned())) });
        assert_eq!(end(&world, "r1")["state"], "error");
        assert!(world.fetches.is_empty());
    }

    #[test]
    fn what_is_wrong_with_the_question_is_told_at_once() {
        let (mut world, client) = world();
        send(&mut world, client, "r1");
        world.refuse(asked(&world).0, 400, "no such parameter");
        assert_eq!(end(&world, "r1")["state"], "error");
        assert!(world.fetches.is_empty());
    }

    #[test]
    fn when_nobody_can_answer_the_last_failure_is_told_and_everybody_is_tried_again() {
        let (mut world, client) = world();
        send(&mut world, client, "r1");
        world.refuse(asked(&world).0, 503, "busy");
        world.refuse(asked(&world).0, 500, "down");
        let end = end(&world, "r1");
        assert!(end["errorMessage"].as_str().unwrap().contains("500 down"), "{end}");
        send(&mut world, client, "r2");
        assert_eq!(asked(&world).1, "one");
    }

    #[test]
    fn thoughts_without_words_do_not_count_as_heard() {
        let (mut world, client) = world();
        send(&mut world, client, "r1");
        let (id, _) = asked(&world);
        world.head(id);
        world.chunk(id, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n");
        world.chunk(id, "data: {\"error\":{\"message\":\"overloaded\",\"code\":529}}\n\n");
        assert_eq!(asked(&world).1, "two");
        world.answer("hello");
        assert_eq!(last_answer(&world)["content"], json!([{"type": "text", "text": "hello"}]));
    }
}
