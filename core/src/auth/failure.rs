//! Refusals: what a client is told when it may not come in (spec 01 §2.9, §3.6, §3.9, §5.5).
//!
//! Structured details are those of protocol 4, on answers of either protocol (D9).

use std::time::Duration;

use serde_json::{Value, json};
use telson_proto::{CloseCode, ErrorCode, ErrorShape, Protocol};

use super::request::ConnectRequest;
use super::tailnet::TailnetFault;
use super::vouched::VoucherFault;
use crate::devices::PairingReason;

/// The answer to a connect that fails, and the close that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What to answer; nothing for clients that take the wrong door.
    pub(super) error: Option<Box<ErrorShape>>,
    pub(super) code: CloseCode,
    /// The close reason; cut to fit when it is sent.
    pub(super) reason: String,
    /// The word for the log.
    pub(super) why: &'static str,
    /// How long the answer is held back.
    pub(super) delay: Duration,
}

impl Refusal {
    /// A refusal whose close reason is the error's message.
    pub(super) fn new(why: &'static str, error: ErrorShape, code: CloseCode) -> Self {
        Self { reason: error.message.clone(), error: Some(Box::new(error)), code, why, delay: Duration::ZERO }
    }

    /// A refusal by policy: close code 1008.
    pub(super) fn policy(why: &'static str, error: ErrorShape) -> Self {
        Self::new(why, error, CloseCode::Policy)
    }

    /// A close without an answer.
    pub(super) fn wordless(reason: &'static str) -> Self {
        let (code, delay) = (CloseCode::Policy, Duration::ZERO);
        Self { error: None, code, reason: reason.to_owned(), why: reason, delay }
    }

    /// Parameters that are not as they must be.
    pub(super) fn invalid_params(detail: &str) -> Self {
        Self::policy("invalid-params", ErrorShape::invalid(format!("invalid connect params: {detail}")))
    }

    /// The gateway has not loaded its state, or cannot.
    pub(super) fn starting() -> Self {
        let error = ErrorShape::unavailable("gateway starting; retry shortly")
            .with_details(&json!({"reason": "startup-sidecars"}))
            .retry_after(500);
        Self { reason: "gateway starting".to_owned(), ..Self::new("starting", error, CloseCode::TryAgain) }
    }

    /// The gateway is going down.
    pub(super) fn stopping() -> Self {
        let details = json!({"method": "connect", "reason": "gateway-restarting", "phase": "draining"});
        let error = ErrorShape::unavailable("connect unavailable during gateway restart")
            .with_details(&details)
            .retry_after(1_000);
        let reason = "gateway restart in progress".to_owned();
        Self { reason, ..Self::new("stopping", error, CloseCode::TryAgain) }
    }

    /// What admitted the connect has ended while it waited (spec 01 §3.12).
    pub(super) fn lapsed(reason: &'static str) -> Self {
        let error = ErrorShape::invalid(format!("unauthorized: {reason}"))
            .with_details(&json!({"code": "AUTH_CHANGED", "authReason": "auth_changed"}));
        Self { reason: reason.to_owned(), ..Self::new("lapsed", error, CloseCode::Revoked) }
    }

    /// The device's row could not be written, so nothing was granted.
    pub(super) fn not_stored(error: ErrorShape) -> Self {
        let reason = "gateway store unavailable".to_owned();
        Self { reason, ..Self::new("not-stored", error, CloseCode::TryAgain) }
    }

    /// The client must come with a device.
    pub(super) fn device_required() -> Self {
        let error = ErrorShape::new(ErrorCode::NotPaired, "device identity required")
            .with_details(&json!({"code": "DEVICE_IDENTITY_REQUIRED"}));
        Self::policy("device-required", error)
    }

    /// A page that could have a device must have one.
    pub(super) fn control_ui_device_required(protocol: Protocol) -> Self {
        let message = match protocol {
            Protocol::V3 => "control ui requires HTTPS or localhost (secure context)",
            Protocol::V4 => "control ui requires device identity (use HTTPS or localhost secure context)",
        };
        let details = json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"});
        Self::policy("control-ui-device-required", ErrorShape::invalid(message).with_details(&details))
    }

    /// The page is from elsewhere (spec 01 §3.11).
    pub(super) fn origin(reason: &'static str) -> Self {
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
        let details = json!({"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason});
        Self::policy("origin-not-allowed", ErrorShape::invalid(message).with_details(&details))
    }

    /// What let the connection in has ended before it was in.
    pub(super) fn revoked_meanwhile() -> Self {
        let error = ErrorShape::invalid("unauthorized: the credential was revoked meanwhile");
        Self::policy("revoked-meanwhile", error)
    }

    /// The device waits for an approval (spec 01 §5.5).
    pub(super) fn pairing(request: &ConnectRequest, pending: &PendingApproval) -> Self {
        let PendingApproval { reason, request_id, details } = pending;
        let message = match (request.protocol, reason) {
            (Protocol::V3, _) => "pairing required",
            (_, PairingReason::NotPaired) => "pairing required: device is not approved yet",
            (_, PairingReason::RoleUpgrade) => {
                "pairing required: device is asking for a higher role than currently approved"
            }
            (_, PairingReason::ScopeUpgrade) => {
                "pairing required: device is asking for more scopes than currently approved"
            }
            (_, PairingReason::MetadataUpgrade) => {
                "pairing required: device identity changed and must be re-approved"
            }
        };
        let close = match request.protocol {
            Protocol::V3 => message.to_owned(),
            Protocol::V4 => format!("{message} (requestId: {request_id})"),
        };
        let error = ErrorShape::new(ErrorCode::NotPaired, message).with_details(details);
        Self { reason: close, ..Self::policy(reason.as_str(), error) }
    }
}

/// A device that waits for an approval.
pub(super) struct PendingApproval {
    pub(super) reason: PairingReason,
    pub(super) request_id: String,
    /// The error's details.
    pub(super) details: Value,
}

/// What a person can do about a device that waits: what it is about, and the very command (07 P-22).
pub(super) fn remediation(reason: PairingReason, request_id: &str) -> String {
    let what = match reason {
        PairingReason::NotPaired => "Approve this device first",
        PairingReason::RoleUpgrade => "Approve the new role of this device first",
        PairingReason::ScopeUpgrade => "Approve the additional scopes of this device first",
        PairingReason::MetadataUpgrade => "Approve this device again",
    };
    format!("{what}: telson devices approve {request_id}")
}

/// Why a credential does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthFailure {
    TokenMissing,
    TokenMismatch,
    PasswordMissing,
    PasswordMismatch,
    BootstrapTokenInvalid,
    ServiceTokenInvalid,
    DeviceTokenMismatch,
    ScopeMismatch,
    /// No trusted proxy says who it is.
    NotVouched(VoucherFault),
    /// The tailnet does not say who it is.
    Tailnet(TailnetFault),
    /// Too many wrong ones; worth trying again after this.
    RateLimited(Duration),
}

impl AuthFailure {
    /// Whether a credential was shown and is wrong; a missing one is no attempt (spec 01 §3.10).
    pub(super) const fn is_wrong(self) -> bool {
        matches!(self, Self::TokenMismatch | Self::PasswordMismatch)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenMismatch => "token_mismatch",
            Self::PasswordMissing => "password_missing",
            Self::PasswordMismatch => "password_mismatch",
            Self::BootstrapTokenInvalid => "bootstrap_token_invalid",
            Self::ServiceTokenInvalid => "service_token_invalid",
            Self::DeviceTokenMismatch => "device_token_mismatch",
            Self::ScopeMismatch => "scope_mismatch",
            Self::NotVouched(fault) => fault.as_str(),
            Self::Tailnet(fault) => fault.as_str(),
            Self::RateLimited(_) => "rate_limited",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::TokenMissing => "AUTH_TOKEN_MISSING",
            // To clients it is a token that will not do, which they know how to show.
            Self::TokenMismatch | Self::ServiceTokenInvalid => "AUTH_TOKEN_MISMATCH",
            Self::PasswordMissing => "AUTH_PASSWORD_MISSING",
            Self::PasswordMismatch => "AUTH_PASSWORD_MISMATCH",
            Self::BootstrapTokenInvalid => "AUTH_BOOTSTRAP_TOKEN_INVALID",
            Self::DeviceTokenMismatch => "AUTH_DEVICE_TOKEN_MISMATCH",
            Self::ScopeMismatch => "AUTH_SCOPE_MISMATCH",
            Self::NotVouched(fault) => fault.code(),
            Self::Tailnet(fault) => fault.code(),
            Self::RateLimited(_) => "AUTH_RATE_LIMITED",
        }
    }

    fn message(self, request: &ConnectRequest, local: bool) -> String {
        let (what, hint) = match self {
            Self::NotVouched(_) => return "unauthorized".to_owned(),
            Self::Tailnet(fault) => (fault.what(), "use Tailscale Serve auth or gateway token/password"),
            Self::TokenMissing => ("gateway token missing", token_hint(request, local, true)),
            Self::TokenMismatch => ("gateway token mismatch", token_hint(request, local, false)),
            Self::PasswordMissing => ("gateway password missing", password_hint(request, local)),
            Self::PasswordMismatch => ("gateway password mismatch", password_hint(request, local)),
            Self::BootstrapTokenInvalid => {
                ("setup code invalid, expired, revoked, or already used", "ask for a new setup code")
            }
            Self::ServiceTokenInvalid => {
                ("service token invalid, expired or revoked", "make a new one: telson tokens create")
            }
            Self::DeviceTokenMismatch => ("device token mismatch", "rotate/reissue device token"),
            Self::ScopeMismatch => ("device token scope mismatch", "re-pair or approve scope upgrade"),
            Self::RateLimited(_) => ("too many failed authentication attempts", "retry later"),
        };
        format!("unauthorized: {what} ({hint})")
    }

    fn next_step(self, can_retry: bool) -> &'static str {
        match self {
            _ if can_retry => "retry_with_device_token",
            Self::TokenMissing | Self::PasswordMissing => "update_auth_configuration",
            Self::TokenMismatch
            | Self::PasswordMismatch
            | Self::DeviceTokenMismatch
            | Self::ServiceTokenInvalid => "update_auth_credentials",
            Self::RateLimited(_) => "wait_then_retry",
            Self::BootstrapTokenInvalid | Self::ScopeMismatch | Self::NotVouched(_) | Self::Tailnet(_) => {
                "review_auth_configuration"
            }
        }
    }

    /// The refusal of this request.
    pub(super) fn refusal(self, request: &ConnectRequest, local: bool) -> Refusal {
        let credentials = &request.credentials;
        let can_retry = self == Self::TokenMismatch
            && request.device.is_some()
            && credentials.token().is_some()
            && credentials.password().is_none()
            && credentials.device_token().is_none();
        let error = ErrorShape::invalid(self.message(request, local)).with_details(&json!({
            "code": self.code(),
            "authReason": self.as_str(),
            "canRetryWithDeviceToken": can_retry,
            "recommendedNextStep": self.next_step(can_retry),
        }));
        let error = match self {
            Self::RateLimited(after) => error.retry_after(whole_millis(after)),
            _ => error,
        };
        Refusal::policy(self.as_str(), error)
    }
}

/// Milliseconds, rounded up so that a client does not come a moment too early.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn token_hint(request: &ConnectRequest, local: bool, missing: bool) -> &'static str {
    let v4 = request.protocol == Protocol::V4;
    if request.kind.is_cli() {
        return match v4 && local {
            true => "use this gateway's gateway.auth.token or pair the device",
            false => "set gateway.remote.token to match gateway.auth.token",
        };
    }
    match (is_page(request), v4, missing) {
        (false, ..) => "provide gateway auth token",
        (true, false, _) => "open a tokenized dashboard URL or paste token in Control UI settings",
        (true, true, true) => "paste in Control UI settings; telson token show prints it",
        (true, true, false) => "open the dashboard URL and paste the token in Control UI settings",
    }
}

fn password_hint(request: &ConnectRequest, local: bool) -> &'static str {
    if request.kind.is_cli() {
        return match request.protocol == Protocol::V4 && local {
            true => "use this gateway's gateway.auth.password",
            false => "set gateway.remote.password to match gateway.auth.password",
        };
    }
    match is_page(request) {
        true => "enter the password in Control UI settings",
        false => "provide gateway auth password",
    }
}

fn is_page(request: &ConnectRequest) -> bool {
    request.kind.is_control_ui(request.protocol) || request.kind.is_webchat()
}
