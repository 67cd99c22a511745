//! Whether the gateway's own secret was shown (spec 01 §3.4).

use super::failure::AuthFailure;
use super::principal::AuthMethod;
use super::request::Credentials;
use super::secret::Secret;
use super::vouched::VoucherFault;
use crate::settings::AuthMode;

/// Which secret of a connect is compared with the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The one in the mode's own field, as it is: protocol 3.
    OwnField,
    /// The one in the mode's own field or, failing that, in the other; trimmed. Pages put the same text into
    /// both, command lines into either.
    EitherField,
}

/// The secret that was shown for this mode, if any. Blank is absent.
pub(super) fn shown<'a>(mode: &AuthMode, credentials: &'a Credentials, reading: Reading) -> Option<&'a str> {
    let (token, password) = (credentials.token(), credentials.password());
    let (own, other) = match mode {
        AuthMode::None | AuthMode::TrustedProxy { password: None } => return None,
        AuthMode::Token(_) => (token, password),
        AuthMode::Password(_) | AuthMode::TrustedProxy { .. } => (password, token),
    };
    match reading {
        Reading::OwnField => own,
        Reading::EitherField => own.or(other),
    }
}

/// Compares what was shown with the gateway's secret.
///
/// # Errors
///
/// Whether it is missing or wrong.
pub(super) fn evaluate(
    mode: &AuthMode,
    shown: Option<&str>,
    reading: Reading,
) -> Result<AuthMethod, AuthFailure> {
    let (secret, method, missing, mismatch) = match mode {
        AuthMode::None => return Ok(AuthMethod::None),
        AuthMode::TrustedProxy { password: None } => {
            return Err(AuthFailure::NotVouched(VoucherFault::Source));
        }
        AuthMode::Token(secret) => {
            (secret, AuthMethod::Token, AuthFailure::TokenMissing, AuthFailure::TokenMismatch)
        }
        AuthMode::Password(secret) | AuthMode::TrustedProxy { password: Some(secret) } => {
            (secret, AuthMethod::Password, AuthFailure::PasswordMissing, AuthFailure::PasswordMismatch)
        }
    };
    let shown = shown.ok_or(missing)?;
    if matches(secret, shown, reading) { Ok(method) } else { Err(mismatch) }
}

fn matches(secret: &Secret, shown: &str, reading: Reading) -> bool {
    match reading {
        Reading::OwnField => secret.matches(shown),
        // Both are compared, so that a secret that begins or ends with a space works too.
        Reading::EitherField => secret.matches(shown) | secret.matches(shown.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(token: Option<&str>, password: Option<&str>) -> Credentials {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Credentials { token: owned(token), password: owned(password), ..Credentials::default() }
    }

    fn outcome(
        mode: &AuthMode,
        credentials: &Credentials,
        reading: Reading,
    ) -> Result<AuthMethod, AuthFailure> {
        evaluate(mode, shown(mode, credentials, reading), reading)
    }

    #[test]
    fn protocol_3_looks_at_the_modes_own_field_only() {
        let mode = AuthMode::Password(Secret::new("pass"));
        let own = Reading::OwnField;
        assert_eq!(outcome(&mode, &shows(None, Some("pass")), own), Ok(AuthMethod::Password));
        assert_eq!(outcome(&mode, &shows(Some("pass"), None), own), Err(AuthFailure::PasswordMissing));
        assert_eq!(outcome(&mode, &shows(None, Some(" pass")), own), Err(AuthFailure::PasswordMismatch));
    }

    #[test]
    fn later_clients_may_put_the_secret_into_either_field() {
        let mode = AuthMode::Token(Secret::new("tok"));
        let either = Reading::EitherField;
        assert_eq!(outcome(&mode, &shows(None, Some(" tok ")), either), Ok(AuthMethod::Token));
        assert_eq!(outcome(&mode, &shows(Some("tok"), Some("tok")), either), Ok(AuthMethod::Token));
        assert_eq!(outcome(&mode, &shows(Some("x"), Some("tok")), either), Err(AuthFailure::TokenMismatch));
        assert_eq!(outcome(&mode, &shows(Some("  "), None), either), Err(AuthFailure::TokenMissing));
    }

    #[test]
    fn mode_none_asks_for_nothing_and_hears_nothing() {
        let garbage = shows(Some("x"), Some("y"));
        assert_eq!(outcome(&AuthMode::None, &garbage, Reading::EitherField), Ok(AuthMethod::None));
        assert_eq!(shown(&AuthMode::None, &garbage, Reading::EitherField), None);
    }
}
