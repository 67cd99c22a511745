//! No secret reaches a sink (spec 05 §11.6 [D-46], 08 S-102).
//!
//! Two nets: every secret that this process knows is masked wherever it stands, and whatever looks like a
//! secret is masked by pattern. A text is searched whole before it is cut, so that no half of a secret is left.

use std::sync::{Arc, PoisonError, RwLock};

use telson_core::auth::Secret;

use super::patterns::Patterns;

/// Shorter secrets are not searched for: they would match by accident.
const SEARCHABLE: usize = 8;

/// The longest message, in characters.
const LONGEST_MESSAGE: usize = 4_096;

/// The longest value of a field, in characters.
const LONGEST_FIELD: usize = 256;

/// What stands in place of a known secret.
const MASK: &str = "***";

/// The secrets that this process knows. Cheap to clone; all clones are one list, which may grow.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<Secret>>>);

impl Secrets {
    /// Masks a secret from now on.
    pub fn add(&self, secret: &str) {
        let secret = secret.trim();
        if secret.len() < SEARCHABLE {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut forms = vec![secret.to_owned()];
        // The same secret inside a JSON text, and inside the debug form of such a text.
        forms.extend(serde_json::to_string(secret).ok().map(|quoted| quoted.trim_matches('"').to_owned()));
        forms.push(secret.escape_debug().to_string());
        for form in forms {
            if !known.iter().any(|known| known.expose() == form) {
                known.push(Secret::new(form));
            }
        }
        // The longest first, so that a secret that contains another is masked whole.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    }

    /// The text with every known secret masked.
    pub fn mask(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), MASK) } else { text }
        })
    }
}

/// Frees texts of secrets.
pub(super) struct Redactor {
    secrets: Secrets,
    patterns: Patterns,
}

impl Redactor {
    /// A redactor with further patterns of the operator; unusable ones are reported and left out.
    pub(super) fn new(secrets: Secrets, further: &[String], problems: &mut Vec<String>) -> Self {
        Self { secrets, patterns: Patterns::new(further, problems) }
    }

    /// A message without secrets.
    pub(super) fn message(&self, text: &str) -> String {
        cut(self.clean(text), LONGEST_MESSAGE)
    }

    /// A field's value without secrets; all of it when the field's name says that it is one.
    pub(super) fn field(&self, name: &str, text: &str) -> String {
        if names_a_secret(name) { MASK.to_owned() } else { cut(self.clean(text), LONGEST_FIELD) }
    }

    fn clean(&self, text: &str) -> String {
        self.patterns.mask(&self.secrets.mask(text))
    }
}

fn names_a_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["token", "password", "passwd", "secret", "api_key", "apikey", "authorization"]
        .iter()
        .any(|ending| lower.ends_with(ending))
}

fn cut(mut text: String, longest: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(longest) {
        text.truncate(end);
        text.push('…');
    }
    text
}
