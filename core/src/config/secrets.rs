//! Which values are secret, and which are too weak to be one (spec 08 S-14, S-15; 05 [D-31]).

use super::check::Path;
use super::keys::{KEYS, Kind};

/// What stands in place of a secret wherever the configuration is shown.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// The shortest secret that protects a gateway which other machines can reach, in characters.
pub const SHORTEST: usize = 16;

/// Texts from documentation, templates and broken scripts that are no secrets, in lower case.
const PLACEHOLDERS: &[&str] = &[
    "undefined",
    "null",
    "nil",
    "none",
    "false",
    "true",
    "nan",
    "[object object]",
    "changeme",
    "change-me",
    "change_me",
    "change-this",
    "change_this",
    "changethis",
    "replace-me",
    "replace_me",
    "replaceme",
    "placeholder",
    "example",
    "secret",
    "token",
    "password",
    "passwd",
    "my-secret",
    "mysecret",
    "my-token",
    "mytoken",
    "my-password",
    "mypassword",
    "test",
    "todo",
    "tbd",
    "default",
    "admin",
    "redacted",
    "[redacted]",
    "<redacted>",
    "***",
    "openclaw",
    "moltbot",
    "clawdbot",
    "telson",
    "your-secure-token-here",
    "gateway-token",
    "long-random-token",
    "a-long-random-token",
    "replace-with-a-long-random-token",
];

/// How placeholders begin, in lower case.
const BEGINNINGS: &[&str] = &[
    "your-",
    "your_",
    "your ",
    "<your",
    "replace-with",
    "replace_with",
    "insert-",
    "insert_",
    "changeme",
    "change-me",
];

/// Why a text is no secret at all; `None` when it may be one.
pub fn placeholder(text: &str) -> Option<&'static str> {
    let lower = text.trim().to_lowercase();
    let bare = lower.trim_start_matches('$');
    let first = lower.chars().next();
    if lower.is_empty() {
        Some("is blank")
    } else if lower == REDACTED.to_lowercase() || lower.contains("__openclaw_redacted__") {
        Some("is the mark that stands in place of a redacted secret")
    } else if lower.starts_with("${")
        || (bare.len() < lower.len() && bare.chars().all(|c| c.is_alphanumeric() || c == '_'))
    {
        Some("is an unresolved reference to a variable")
    } else if (lower.starts_with('<') && lower.ends_with('>'))
        || PLACEHOLDERS.contains(&lower.as_str())
        || BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
    {
        Some("is a placeholder")
    } else if lower.chars().all(|c| Some(c) == first) {
        Some("repeats one character")
    } else {
        None
    }
}

/// Whether a key's value is a secret, by the table or, for keys of the reference system, by its name.
pub(super) fn is_sensitive(path: &Path) -> bool {
    let listed = KEYS.iter().any(|key| key.kind == Kind::Secret && path.is(key.path));
    listed || path.is("gateway.auth.mode") || names_a_secret(path.last())
}

/// Whether a value must not be shown.
pub(super) fn is_hidden(path: &Path) -> bool {
    !path.is("gateway.auth.mode") && is_sensitive(path)
}

fn names_a_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase().replace(['_', '-'], "");
    [
        "token",
        "password",
        "passwd",
        "secret",
        "apikey",
        "privatekey",
        "credential",
        "credentials",
        "authorization",
    ]
    .iter()
    .any(|ending| lower.ends_with(ending))
}
