//! A response as the client gets it (spec 04 §8.3, §8.4).

use serde_json::Value;

use super::request::Echo;
use super::resource::{Status, function_call, message, text_part};
use super::stream::Stream;
use crate::api::call::Ending;
use crate::api::errors::Refusal;
use crate::api::outcome::{self, Said};
use crate::api::tools::Must;
use crate::api::words::Words;
use crate::entropy::Entropy;
use crate::http::HttpResponse;
use crate::providers::Usage;
use crate::runs::RunResult;

/// Who answers a request for a response.
pub(in crate::api) struct Answer {
    /// Of the response and of its run.
    pub(in crate::api) id: String,
    /// Epoch seconds.
    pub(super) created: u64,
    pub(in crate::api) stream: bool,
    pub(super) echo: Echo,
    pub(super) must: Must,
    pub(super) words: Words,
    pub(super) events: Stream,
}

impl Answer {
    /// The run has ended.
    pub(in crate::api) fn end(mut self, result: &RunResult, entropy: &mut Entropy) -> Ending {
        let usage = result.usage.as_ref();
        let said = outcome::of(result, &self.must);
        if self.stream {
            return Ending::Last(self.last(said, usage, entropy));
        }
        Ending::Whole(match said {
            Ok(said) => self.whole(&said, usage, entropy),
            Err(refusal) => self.failed(&refusal, usage),
        })
    }

    fn whole(&self, said: &Said<'_>, usage: Option<&Usage>, entropy: &mut Entropy) -> HttpResponse {
        let status = status_of(said);
        let mut output: Vec<Value> = Vec::new();
        if !said.text.is_empty() {
            output.push(message(self.events.message_id(), status, &[text_part(&said.text)]));
        }
        for call in said.calls {
            let id = format!("fc_{}", entropy.uuid());
            let arguments = outcome::arguments(call);
            output.push(function_call(&id, &call.id, &call.name, arguments, Status::Completed));
        }
        let resource = self.resource(status, &output, usage, None);
        HttpResponse::json(200, serde_json::to_string(&resource).unwrap_or_default())
    }

    /// A failed response and an error of the API in one.
    fn failed(&self, refusal: &Refusal, usage: Option<&Usage>) -> HttpResponse {
        let resource = self.resource(Status::Failed, &[], usage, Some(&refusal.message));
        HttpResponse::json(refusal.status, serde_json::to_string(&resource).unwrap_or_default())
            .header("x-should-retry", "false")
    }
}

/// How a response with this answer ends.
pub(super) fn status_of(said: &Said<'_>) -> Status {
    if said.cut { Status::Incomplete } else { Status::Completed }
}
