//! What a refusal means: what to do, and what a person can do about it (spec 01 §3.9, §5.5).
//!
//! Gateways of protocol 4 name their refusals in `details.code`; those of protocol 3 say it in words only, and a
//! client that was too slow sees nothing but the reason of the close.

use std::time::Duration;

use serde_json::Value;

use super::greeting::{Form, Shown};

/// A refused connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The code of the error; empty for a close.
    code: String,
    /// The words.
    pub(super) message: String,
    /// `details.code`; empty without one.
    detail: String,
    request_id: Option<String>,
    retryable: bool,
    retry_after: Option<Duration>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again, after this time when the gateway said one.
    Later(Option<Duration>),
    /// Sign as older clients do, at once.
    SignOlder,
    /// The token that this gateway gave is worth nothing any more.
    ForgetToken,
    /// The setup code is worth nothing any more.
    ForgetSetup,
    /// A person has to approve this node at the gateway.
    Approval,
    /// A person has to do something here.
    Person(&'static str),
}

/// The longest pause that a gateway may ask for.
const LONGEST: Duration = Duration::from_secs(15 * 60);

impl Refusal {
    /// Reads the error of an answer.
    pub(super) fn of_error(error: &Value) -> Self {
        let text = |path: &str| error.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let message = text("/message");
        Self {
            code: text("/code").to_owned(),
            message: if message.is_empty() {
                "the gateway refused without a word".to_owned()
            } else {
                clip(message)
            },
            detail: text("/details/code").to_owned(),
            request_id: id(text("/details/requestId")).or_else(|| id_in(message)),
            retryable: error.get("retryable") == Some(&Value::Bool(true)),
            retry_after: error.get("retryAfterMs").and_then(Value::as_u64).map(Duration::from_millis),
        }
    }

    /// Reads the reason of a close that came without an answer.
    pub(super) fn of_close(reason: &str) -> Self {
        Self { message: clip(reason), request_id: id_in(reason), ..Self::default() }
    }

    /// What to do about it when this was shown.
    pub(super) fn verdict(&self, shown: &Shown, form: Form) -> Verdict {
        let says = |words: &str| self.message.contains(words);
        if self.detail == "AUTH_RATE_LIMITED" || says("too many failed authentication attempts") {
            return Verdict::Later(Some(self.pause().unwrap_or(Duration::from_secs(60))));
        }
        if self.detail == "PAIRING_REQUIRED" || says("pairing required") {
            return Verdict::Approval;
        }
        if self.retryable || self.code == "UNAVAILABLE" {
            return Verdict::Later(self.pause());
        }
        if self.detail == "DEVICE_AUTH_SIGNATURE_INVALID" || says("device signature invalid") {
            return match form {
                Form::V3 => Verdict::SignOlder,
                Form::V2 => Verdict::Person("update the gateway, or this program: they sign differently"),
            };
        }
        if self.detail.starts_with("DEVICE_AUTH_") || says("device signature expired") || says("device nonce")
        {
            return Verdict::Later(None);
        }
        if says("unauthorized") || self.detail.starts_with("AUTH_") {
            return self.about_credentials(shown);
        }
        if self.detail == "PROTOCOL_MISMATCH" || says("protocol mismatch") {
            return Verdict::Person("this gateway speaks another protocol: update it, or this program");
        }
        match self.code.as_str() {
            "INVALID_REQUEST" | "FORBIDDEN" | "NOT_PAIRED" => {
                Verdict::Person("see the gateway's log for the reason")
            }
            _ => Verdict::Later(self.pause()),
        }
    }

    fn about_credentials(&self, shown: &Shown) -> Verdict {
        match shown {
            Shown::Device(_) => Verdict::ForgetToken,
            Shown::Setup(_) => Verdict::ForgetSetup,
            Shown::Nothing => Verdict::Person(
                "start again with --setup-code, --token or --password; `telson token show` on the gateway's machine shows the token",
            ),
            Shown::Token(_) => Verdict::Person(
                "start again with the gateway's token; `telson token show` on the gateway's machine shows it",
            ),
            Shown::Password(_) => Verdict::Person("start again with the gateway's password"),
        }
    }

    fn pause(&self) -> Option<Duration> {
        self.retry_after.map(|pause| pause.clamp(Duration::from_millis(100), LONGEST))
    }

    /// The command that approves this node at the gateway. A gateway of protocol 3 without the words of the newer
    /// ones is no Telson.
    pub(super) fn remedy(&self) -> String {
        let speaks_new = !self.detail.is_empty() || self.message.contains("pairing required:");
        match (&self.request_id, speaks_new) {
            (Some(id), true) => {
                format!(
                    "telson devices approve {id}   (on an OpenClaw gateway: openclaw devices approve {id})"
                )
            }
            (Some(id), false) => format!("openclaw devices approve {id}"),
            (None, true) => {
                "telson devices list   (on an OpenClaw gateway: openclaw devices list)".to_owned()
            }
            (None, false) => "openclaw devices list".to_owned(),
        }
    }

    /// The id of the request that waits for an approval.
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

/// A request id, if it is one. It is shown inside a command that a person copies: nothing else may stand in it.
fn id(text: &str) -> Option<String> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
    (first && rest && text.len() <= 128).then(|| text.to_owned())
}

/// The request id at the end of the words of a close.
fn id_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("(requestId: ")?;
    id(rest.split(')').next()?)
}

fn clip(text: &str) -> String {
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Secret;

    fn token() -> Shown {
        Shown::Token(Secret::new("t"))
    }

    fn device() -> Shown {
        Shown::Device(Secret::new("d"))
    }

    #[test]
    fn a_pairing_request_is_named_with_the_command_that_approves_it() {
        let newer = json!({"code": "NOT_PAIRED", "message": "pairing required: device is not approved yet",
            "details": {"code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": "5a1e-7"}});
        let refusal = Refusal::of_error(&newer);
        assert_eq!(refusal.verdict(&token(), Form::V3), Verdict::Approval);
        assert!(refusal.remedy().starts_with("telson devices approve 5a1e-7 "), "{}", refusal.remedy());

        let older =
            json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": "77aa"}});
        let refusal = Refusal::of_error(&older);
        assert_eq!(refusal.verdict(&token(), Form::V2), Verdict::Approval);
        assert_eq!(refusal.remedy(), "openclaw devices approve 77aa");

        let close = Refusal::of_close("pairing required: device is not approved yet (requestId: 65fc)");
        assert_eq!(
            (close.verdict(&token(), Form::V3), close.request_id()),
            (Verdict::Approval, Some("65fc"))
        );
    }

    #[test]
    fn a_hostile_request_id_never_reaches_the_command() {
        for id in ["x; rm -rf ~", "$(x)", "a b", "-x", "", &"a".repeat(129), "a\u{1b}[2J"] {
            let error =
                json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": id}});
            assert_eq!(Refusal::of_error(&error).remedy(), "openclaw devices list", "{id}");
        }
    }

    #[test]
    fn a_refused_credential_is_forgotten_or_told() {
        let wrong = Refusal::of_error(&json!({"code": "INVALID_REQUEST",
            "message": "unauthorized: gateway token mismatch (provide gateway auth token)",
            "details": {"code": "AUTH_TOKEN_MISMATCH"}}));
        assert_eq!(wrong.verdict(&device(), Form::V3), Verdict::ForgetToken);
        assert!(matches!(wrong.verdict(&token(), Form::V3), Verdict::Person(_)));
        let rotated = Refusal::of_error(&json!({"code": "INVALID_REQUEST",
            "message": "unauthorized: device token mismatch (rotate/reissue device token)",
            "details": {"code": "AUTH_DEVICE_TOKEN_MISMATCH"}}));
        assert_eq!(rotated.verdict(&device(), Form::V3), Verdict::ForgetToken);
        let used = Refusal::of_close("unauthorized: setup code invalid, expired, revoked, or already used");
        assert_eq!(used.verdict(&Shown::Setup(Secret::new("s")), Form::V3), Verdict::ForgetSetup);
        // A lock-out is no judgement of the token.
        let locked =
            Refusal::of_error(&json!({"code": "INVALID_REQUEST", "retryable": true, "retryAfterMs": 90_000,
            "message": "unauthorized: too many failed authentication attempts (retry later)",
            "details": {"code": "AUTH_RATE_LIMITED"}}));
        assert_eq!(locked.verdict(&device(), Form::V3), Verdict::Later(Some(Duration::from_secs(90))));
    }

    #[test]
    fn the_older_signature_is_tried_once() {
        for refusal in [
            Refusal::of_close("device signature invalid"),
            Refusal::of_error(&json!({"code": "INVALID_REQUEST", "message": "x",
                "details": {"code": "DEVICE_AUTH_SIGNATURE_INVALID"}})),
        ] {
            assert_eq!(refusal.verdict(&token(), Form::V3), Verdict::SignOlder);
            assert!(matches!(refusal.verdict(&token(), Form::V2), Verdict::Person(_)));
        }
    }

    #[test]
    fn a_gateway_that_starts_is_asked_again_when_it_said() {
        let starting =
            Refusal::of_error(&json!({"code": "UNAVAILABLE", "message": "gateway starting; retry shortly",
            "retryable": true, "retryAfterMs": 500}));
        assert_eq!(starting.verdict(&token(), Form::V3), Verdict::Later(Some(Duration::from_millis(500))));
        let endless = json!({"code": "UNAVAILABLE", "message": "no", "retryAfterMs": u64::MAX});
        assert_eq!(Refusal::of_error(&endless).verdict(&token(), Form::V3), Verdict::Later(Some(LONGEST)));
        assert_eq!(Refusal::of_close("").verdict(&token(), Form::V3), Verdict::Later(None));
        let other = Refusal::of_error(&json!({"code": "INVALID_REQUEST", "message": "protocol mismatch"}));
        assert!(matches!(other.verdict(&token(), Form::V3), Verdict::Person(_)));
    }
}
