//! What is said when a server misbehaves, on every API.

use super::*;
use crate::fetch::FetchError;

/// Half of the recorded answer: words have come, the end has not.
fn half(api: Api) -> &'static str {
    let text = recording(api);
    let at = text.find("ße").unwrap();
    let line = text[at..].find('\n').unwrap();
    &text[..at + line + 1]
}

/// What the server does, and the failure that is told: its kind, its status, and a part of its message.
type Story = (&'static str, Vec<FetchEvent>, ErrorKind, Option<u16>, &'static str);

fn stories(api: Api) -> Vec<Story> {
    let begun = || vec![head(200, streaming(api)), chunk(half(api)), chunk("\n")];
    let with = |more: Vec<FetchEvent>| begun().into_iter().chain(more).collect::<Vec<_>>();
    let broken = || FetchEvent::Failed(FetchError::Broken("reset".to_owned()));
    let silent = || FetchEvent::Failed(FetchError::Timeout(Duration::from_secs(120)));
    let refused = FetchError::Connect { host: "127.0.0.1:9".to_owned(), reason: "refused".to_owned() };
    let limited = FetchEvent::Head { status: 429, headers: vec![("retry-after".to_owned(), "7".to_owned())] };
    let torn = if api == Api::Ollama { "{\"mess\n" } else { "data: {\"choi\n\n" };
    let cut = "ended the answer before it was complete";
    let endless = "x".repeat(5 * 1024 * 1024);
    vec![
        ("cut", with(vec![FetchEvent::End]), ErrorKind::Unknown, None, cut),
        ("empty", vec![head(200, streaming(api)), FetchEvent::End], ErrorKind::Unknown, None, cut),
        ("reset", with(vec![broken()]), ErrorKind::Unknown, None, "p: the connection broke off: reset"),
        ("stall", with(vec![silent()]), ErrorKind::Timeout, None, "p: no answer within 120 s"),
        ("silence", vec![silent()], ErrorKind::Timeout, None, "p: no answer within 120 s"),
        (
            "absent",
            vec![FetchEvent::Failed(refused)],
            ErrorKind::Unknown,
            None,
            "p: cannot connect to 127.0.0.1:9",
        ),
        ("half JSON", with(vec![chunk(torn)]), ErrorKind::Unknown, None, "p sent what its API does not know"),
        ("oversized", with(vec![chunk(&endless)]), ErrorKind::Unknown, None, "larger than"),
        (
            "limited",
            vec![limited, chunk("{\"error\":{\"message\":\"slow down\"}}"), FetchEvent::End],
            ErrorKind::RateLimit,
            Some(429),
            "429 slow down (try again in 7 s)",
        ),
        (
            "down",
            vec![head(500, "text/html"), chunk("<html>"), FetchEvent::End],
            ErrorKind::Unknown,
            Some(500),
            "500 from p",
        ),
        (
            "down and cut",
            vec![head(503, "text/plain"), chunk("busy"), broken()],
            ErrorKind::Unknown,
            Some(503),
            "503 busy",
        ),
        (
            "endless error",
            vec![head(500, "text/plain"), chunk(&endless), FetchEvent::End],
            ErrorKind::Unknown,
            Some(500),
            "500 xxx",
        ),
    ]
}

#[test]
fn every_misbehaviour_ends_the_answer_with_one_clear_failure() {
    for api in Api::ALL {
        for (name, events, kind, status, message) in stories(api) {
            let said = told(api, events);
            let error = failure_of(&said);
            assert_eq!((error.kind, error.status), (kind, status), "{api:?} {name}");
            assert!(
                error.message.contains(message) && error.message.len() < 2_000,
                "{api:?} {name}: {error}"
            );
            let ends = said.iter().filter(|event| matches!(event, ModelEvent::Failed(_)));
            assert_eq!(ends.count(), 1, "{api:?} {name}");
        }
    }
}

#[test]
fn what_was_said_before_the_break_is_kept() {
    for api in Api::ALL {
        let said = told(api, [head(200, streaming(api)), chunk(half(api)), chunk("\n"), FetchEvent::End]);
        let words: String = said
            .iter()
            .filter_map(|event| if let ModelEvent::Text(text) = event { Some(text.as_str()) } else { None })
            .collect();
        assert_eq!(words, "Grüße", "{api:?}");
    }
}

#[test]
fn an_endless_answer_is_stopped() {
    let piece = "x".repeat(1_000_000);
    for api in Api::ALL {
        let line = match api {
            Api::OpenAiChat => {
                format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n")
            }
            Api::OpenAiResponses => {
                format!("data: {{\"type\":\"response.output_text.delta\",\"delta\":\"{piece}\"}}\n\n")
            }
            Api::Anthropic => format!(
                "data: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"{piece}\"}}}}\n\n"
            ),
            Api::Ollama => format!("{{\"message\":{{\"content\":\"{piece}\"}},\"done\":false}}\n"),
        };
        let said = told(api, std::iter::once(head(200, streaming(api))).chain((0..6).map(|_| chunk(&line))));
        assert!(failure_of(&said).message.contains("longer than"), "{api:?}");
        assert_eq!(said.len(), 5, "{api:?}: four pieces and the end");
    }
}

#[test]
fn a_whole_answer_that_is_too_long_or_no_json_is_an_error() {
    for api in [Api::OpenAiChat, Api::OpenAiResponses, Api::Anthropic] {
        let said = told(api, [head(200, "application/json"), chunk(&"x".repeat(5_000_000)), FetchEvent::End]);
        assert!(failure_of(&said).message.contains("longer than"), "{api:?}");
        assert!(failure_of(&answered(api, "{\"a\"")).message.contains("does not know"), "{api:?}");
    }
}
