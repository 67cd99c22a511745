//! What the operator probably meant.

use super::check::Path;
use super::foreign::FOREIGN;
use super::keys::{KEYS, Step, steps};

/// Two words are alike from here on; 1 is the same word.
const ALIKE: f64 = 0.65;

/// The valid key that looks most like `name` below `parent`: first a sibling, then a key of the same name
/// elsewhere, such as `gateway.auth.token` for `gateway.token`.
pub(super) fn key(parent: &Path, name: &str) -> Option<String> {
    let below = parent.parts();
    let known = KEYS.iter().map(|key| key.path).chain(FOREIGN.iter().copied());
    if let Some(best) = best(name, known.filter_map(|path| sibling(path, &below))) {
        return Some(parent.name(best).to_string());
    }
    let wanted = parent.name(name).to_string();
    let same = KEYS
        .iter()
        .map(|key| key.path)
        .filter(|path| path.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(name)));
    same.max_by(|a, b| likeness(a, &wanted).total_cmp(&likeness(b, &wanted))).map(str::to_owned)
}

/// The word of a list that looks most like the one given.
pub(super) fn word(given: &str, words: &[&'static str]) -> Option<String> {
    best(given, words.iter().copied()).map(str::to_owned)
}

/// The name that follows `below` in a path of the table, if the path leads through it.
fn sibling(path: &'static str, below: &[String]) -> Option<&'static str> {
    let mut steps = steps(path);
    for part in below {
        let fits = match steps.next()? {
            Step::Name(name) => name == part,
            Step::Any => true,
            Step::Each => part.bytes().all(|byte| byte.is_ascii_digit()),
        };
        if !fits {
            return None;
        }
    }
    match steps.next()? {
        Step::Name(name) => Some(name),
        Step::Any | Step::Each => None,
    }
}

fn best<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rated = words.map(|word| (likeness(word, given), word)).filter(|(rate, _)| *rate >= ALIKE);
    rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&a.to_ascii_lowercase(), &b.to_ascii_lowercase())
}
