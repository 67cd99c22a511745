//! What looks like a secret (spec 05 §11.6).

use std::sync::OnceLock;

use regex_lite::{Captures, Regex, RegexBuilder};

/// A masked secret shows this much of its beginning and end when it is long, and nothing when it is short.
const SHORT: usize = 18;
const HEAD: usize = 6;
const TAIL: usize = 4;

/// A family of secrets. The pattern is tried only on texts that contain one of the marks, in lower case.
struct Family {
    marks: &'static [&'static str],
    pattern: &'static str,
    regex: OnceLock<Option<Regex>>,
}

const fn family(marks: &'static [&'static str], pattern: &'static str) -> Family {
    Family { marks, pattern, regex: OnceLock::new() }
}

/// The built-in families. Quotes may be escaped, as in the debug form of a JSON text.
static FAMILIES: [Family; 16] = [
    family(
        &["key", "token", "secret", "password", "passwd"],
        r#"\b[A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)\s*[=:]\s*\\?["']?([^\s"'\\]+)"#,
    ),
    family(
        &["apikey", "token", "secret", "password", "passwd"],
        r#"\\?"(?:apiKey|token|secret|password|passwd|[A-Za-z]*Token)\\?"\s*:\s*\\?"((?:[^"\\]|\\[^"])+)"#,
    ),
    family(
        &["--api-key", "--token", "--secret", "--password", "--passwd"],
        r#"--(?:api-key|token|secret|password|passwd)(?:\s+|=)["']?([^\s"']+)"#,
    ),
    family(
        &["authorization"],
        r"(?i:authorization)\\?.?\s*[:=]\s*\\?.?(?i:bearer|basic)\s+([A-Za-z0-9._~+/=-]+)",
    ),
    family(&["bearer"], r"\b(?i:bearer)\s+([A-Za-z0-9._~+/=-]{18,})"),
    family(&["private key"], r"-----BEGIN [A-Z ]*PRIVATE KEY-----([\s\S]+?)-----END [A-Z ]*PRIVATE KEY-----"),
    family(&["sk-"], r"\b(sk-[A-Za-z0-9_-]{8,})"),
    family(&["ghp_"], r"\b(ghp_[A-Za-z0-9]{20,})"),
    family(&["github_pat_"], r"\b(github_pat_[A-Za-z0-9_]{20,})"),
    family(&["xox"], r"\b(xox[baprs]-[A-Za-z0-9-]{10,})"),
    family(&["xapp-"], r"\b(xapp-[A-Za-z0-9-]{10,})"),
    family(&["gsk_"], r"\b(gsk_[A-Za-z0-9_-]{10,})"),
    family(&["aiza"], r"\b(AIza[A-Za-z0-9_-]{20,})"),
    family(&["pplx-"], r"\b(pplx-[A-Za-z0-9_-]{10,})"),
    family(&["npm_"], r"\b(npm_[A-Za-z0-9]{10,})"),
    family(&[":"], r"\b([0-9]{6,}:[A-Za-z0-9_-]{20,})"),
];

/// The built-in families and the operator's own patterns.
pub(super) struct Patterns {
    further: Vec<Regex>,
}

impl Patterns {
    /// The patterns; unusable ones are reported and left out.
    pub(super) fn new(further: &[String], problems: &mut Vec<String>) -> Self {
        let mut usable = Vec::new();
        for pattern in further {
            match compile(pattern) {
                Ok(regex) => usable.push(regex),
                Err(error) => {
                    problems.push(format!("logging.redactPatterns: {pattern:?} is left out: {error}"));
                }
            }
        }
        Self { further: usable }
    }

    /// The text with everything masked that looks like a secret.
    pub(super) fn mask(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let mut masked = text.to_owned();
        for family in &FAMILIES {
            if !family.marks.iter().any(|mark| lower.contains(mark)) {
                continue;
            }
            if let Some(regex) = family.regex.get_or_init(|| Regex::new(family.pattern).ok()) {
                masked = replace(regex, &masked);
            }
        }
        self.further.iter().fold(masked, |text, regex| replace(regex, &text))
    }
}

/// `/pattern/flags`, or a pattern alone, which ignores case.
fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    let delimited = pattern.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let (body, flags) = delimited.unwrap_or((pattern, "i"));
    RegexBuilder::new(body).case_insensitive(flags.contains('i')).multi_line(flags.contains('m')).build()
}

/// Masks the last group that took part in each match, or the match when there is none.
fn replace(regex: &Regex, text: &str) -> String {
    let masked = regex.replace_all(text, |found: &Captures<'_>| {
        let whole = found.get(0).map_or("", |whole| whole.as_str());
        let start = found.get(0).map_or(0, |whole| whole.start());
        let group = (1..found.len())
            .rev()
            .find_map(|index| found.get(index))
            .filter(|group| !group.as_str().is_empty());
        match group {
            Some(group) => {
                let (head, tail) = (whole.get(..group.start() - start), whole.get(group.end() - start..));
                format!("{}{}{}", head.unwrap_or_default(), veil(group.as_str()), tail.unwrap_or_default())
            }
            None => veil(whole),
        }
    });
    masked.into_owned()
}

/// A secret that can be recognised by who knows it, and by nobody else.
fn veil(secret: &str) -> String {
    let count = secret.chars().count();
    if count < SHORT || secret.contains('\n') || secret.contains("\\n") {
        return "***".to_owned();
    }
    let head: String = secret.chars().take(HEAD).collect();
    let tail: String = secret.chars().skip(count - TAIL).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
pub(super) fn families_compile() -> bool {
    FAMILIES.iter().all(|family| Regex::new(family.pattern).is_ok())
}
