//! A chat completion as the client gets it (spec 04 §7.2, §7.5).

use serde::Serialize;

use crate::api::call::Ending;
use crate::api::errors::{Refusal, Spelling};
use crate::api::outcome::{self, Said};
use crate::api::tools::Must;
use crate::api::words::Words;
use crate::http::HttpResponse;
use crate::providers::Usage;
use crate::providers::request::ToolCall;
use crate::runs::RunResult;

/// Who answers a chat completion.
pub(in crate::api) struct Answer {
    /// Of the completion and of its run.
    pub(super) id: String,
    /// Epoch seconds.
    pub(super) created: u64,
    /// As the request names it.
    pub(super) model: String,
    pub(in crate::api) stream: bool,
    pub(super) include_usage: bool,
    pub(super) must: Must,
    pub(super) words: Words,
}

/// The words of a call: held back while it is open whether the model calls what it must.
pub(super) fn words(must: &Must) -> Words {
    Words::new(*must != Must::Nothing)
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Tokens,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// The tokens of a completion.
#[derive(Default, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names are the API's")]
pub(super) struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

impl Tokens {
    pub(super) fn of(usage: Option<&Usage>) -> Self {
        usage.map_or_else(Self::default, |usage| Self {
            prompt_tokens: usage.prompt(),
            completion_tokens: usage.output,
            total_tokens: outcome::total(usage),
            prompt_tokens_details: Some(PromptDetails { cached_tokens: usage.cache_read }),
        })
    }
}

/// Why a completion has ended.
pub(super) fn finish_reason(said: &Said<'_>) -> &'static str {
    match (said.calls.is_empty(), said.cut) {
        (false, _) => "tool_calls",
        (true, true) => "length",
        (true, false) => "stop",
    }
}

impl Answer {
    /// The run has ended.
    pub(in crate::api) fn end(self, result: &RunResult) -> Ending {
        let said = outcome::of(result, &self.must);
        if self.stream {
            return Ending::Last(self.last(said, result.usage.as_ref()));
        }
        Ending::Whole(match said {
            Ok(said) => self.whole(&said, result.usage.as_ref()),
            Err(refusal) => Refusal::begun(refusal).response(Spelling::OpenAi),
        })
    }

    fn whole(&self, said: &Said<'_>, usage: Option<&Usage>) -> HttpResponse {
        let message = Message {
            role: "assistant",
            content: &said.text,
            refusal: None,
            tool_calls: said.calls.iter().map(call).collect(),
        };
        let completion = Completion {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: [Choice { index: 0, message, logprobs: None, finish_reason: finish_reason(said) }],
            usage: Tokens::of(usage),
        };
        HttpResponse::json(200, serde_json::to_string(&completion).unwrap_or_default())
    }
}

fn call(call: &ToolCall) -> Call<'_> {
    let function = Function { name: &call.name, arguments: outcome::arguments(call) };
    Call { id: &call.id, r#type: "function", function }
}
