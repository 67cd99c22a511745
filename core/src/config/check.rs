//! The file against the table of keys: every key known, every value of the right kind and within its bounds.

use std::net::Ipv4Addr;

use super::access;
use super::failure::Failure;
use super::fingerprint::fingerprint;
use super::foreign::FOREIGN;
use super::issue::{Issue, Place, Warning};
use super::keys::{KEYS, Key, Kind, Step, steps};
use super::nearest;
use super::tree::{Member, Node, Value};
use crate::ingress::network;
use crate::settings::ModelRef;

/// What a check found.
pub(super) struct Check<'a> {
    text: &'a str,
    pub(super) issues: Vec<Issue>,
    pub(super) warnings: Vec<Warning>,
}

/// A place in the tree: names and list positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Name(String),
    Item(usize),
}

impl Path {
    pub(super) fn name(&self, name: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Name(name.to_owned()));
        Self(parts)
    }

    pub(super) fn item(&self, index: usize) -> Self {
        let mut parts = self.0.clone();
        parts.push(Part::Item(index));
        Self(parts)
    }

    /// Whether the path is one of the table's, written with `*` and `[]`.
    pub(super) fn is(&self, pattern: &'static str) -> bool {
        let mut parts = self.0.iter();
        let fits = steps(pattern).all(|step| match (step, parts.next()) {
            (Step::Name(expected), Some(Part::Name(name))) => expected == name,
            (Step::Any, Some(Part::Name(_))) | (Step::Each, Some(Part::Item(_))) => true,
            _ => false,
        });
        fits && parts.next().is_none()
    }

    /// Whether the reference system knows the path and this gateway does not use it.
    pub(super) fn is_foreign(&self) -> bool {
        FOREIGN.iter().any(|pattern| self.is(pattern))
    }

    /// The parts as texts.
    pub(super) fn parts(&self) -> Vec<String> {
        let text = |part: &Part| match part {
            Part::Name(name) => name.clone(),
            Part::Item(index) => index.to_string(),
        };
        self.0.iter().map(text).collect()
    }

    /// The last name.
    pub(super) fn last(&self) -> &str {
        self.0
            .iter()
            .rev()
            .find_map(|part| match part {
                Part::Name(name) => Some(name.as_str()),
                Part::Item(_) => None,
            })
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Path {
    /// Names with dots between them; a name that itself contains a dot stands in quotes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            let dot = if position == 0 { "" } else { "." };
            match part {
                Part::Name(name) if name.contains('.') => write!(f, "{dot}\"{}\"", name.escape_debug())?,
                Part::Name(name) => write!(f, "{dot}{}", name.escape_debug())?,
                Part::Item(index) => write!(f, "{dot}{index}")?,
            }
        }
        Ok(())
    }
}

/// A key that still fits, and the steps that lie ahead of it.
type Candidate = (&'static Key, Vec<Step>);

impl<'a> Check<'a> {
    /// A check of the file with this text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, issues: Vec::new(), warnings: Vec::new() }
    }

    /// Adds an issue at a place of the file.
    pub(super) fn refuse(&mut self, at: usize, issue: Issue) {
        self.issues.push(issue.at(Some(Place::of(self.text, at))));
    }

    /// Checks the whole file.
    pub(super) fn run(&mut self, root: &Node) {
        let all: Vec<Candidate> = KEYS.iter().map(|key| (key, key.steps().collect())).collect();
        match &root.value {
            Value::Table(members) => self.table(members, &Path::default(), &all),
            _ => {
                let message = format!("the file holds {}", root.describe());
                let issue = Issue::new(Failure::ConfigInvalid, "", message).expecting("an object: { … }");
                self.refuse(root.range.start, issue);
            }
        }
    }

    fn table(&mut self, members: &[Member], path: &Path, candidates: &[Candidate]) {
        for Member { name, at, node } in members {
            let below = path.name(name);
            let inside = descend(candidates, name);
            if below.is_foreign() {
                self.warnings
                    .push(Warning::new(below.to_string(), format!("not supported by this gateway: {below}")));
            } else if inside.is_empty() {
                // Left out, what the other file holds would be missing without a word.
                let included = name == "$include";
                let problem =
                    if included { "is not supported by this gateway" } else { "is not a known key" };
                let mut issue = Issue::new(Failure::ConfigInvalid, below.to_string(), problem);
                issue.nearest = nearest::key(path, name);
                self.refuse(*at, issue);
            } else {
                self.value(node, &below, &inside);
            }
        }
    }

    fn value(&mut self, node: &Node, path: &Path, candidates: &[Candidate]) {
        let leaf = candidates.iter().find(|(_, ahead)| ahead.is_empty()).map(|(key, _)| *key);
        let deeper: Vec<Candidate> =
            candidates.iter().filter(|(_, ahead)| !ahead.is_empty()).cloned().collect();
        let lists = deeper.iter().any(|(_, ahead)| ahead.first() == Some(&Step::Each));
        match (&node.value, leaf) {
            (Value::Table(members), _) if !deeper.is_empty() && !lists => self.table(members, path, &deeper),
            (Value::List(items), _) if lists => {
                let each: Vec<Candidate> = deeper.iter().map(|(key, ahead)| (*key, tail(ahead))).collect();
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &path.item(index), &each);
                }
            }
            (_, Some(key)) => self.leaf(node, path, key.kind),
            (_, None) => {
                let expected = if lists { "a list: [ … ]" } else { "an object: { … }" };
                self.wrong(node, path, format!("is {}", node.describe()), expected.to_owned());
            }
        }
    }

    fn leaf(&mut self, node: &Node, path: &Path, kind: Kind) {
        let list = match kind {
            Kind::Texts => Some(Kind::Text),
            Kind::Choices(words) => Some(Kind::Choice(words)),
            Kind::Origins => Some(Kind::Origin),
            Kind::Models => Some(Kind::Model),
            Kind::Networks => Some(Kind::Network),
            Kind::Hosts => Some(Kind::Host),
            Kind::Headers => Some(Kind::Header),
            _ => None,
        };
        match (list, &node.value) {
            (Some(each), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.leaf(item, &path.item(index), each);
                }
            }
            _ => {
                if let Err(problem) = fits(node, kind) {
                    self.wrong(node, path, problem, kind.describe());
                    if let (Kind::Choice(words), Some(given), Some(issue)) =
                        (kind, node.text(), self.issues.last_mut())
                    {
                        issue.nearest = match access::meant(given).filter(|word| words.contains(word)) {
                            Some(word) => Some(word.to_owned()),
                            None => nearest::word(given, words),
                        };
                    }
                }
            }
        }
    }

    fn wrong(&mut self, node: &Node, path: &Path, message: String, expected: String) {
        let issue = Issue::new(Failure::ConfigInvalid, path.to_string(), message).expecting(expected);
        self.refuse(node.range.start, issue);
    }
}

/// The candidates below a member of this name; those that name it go before those that take any name.
fn descend(candidates: &[Candidate], name: &str) -> Vec<Candidate> {
    let step = |wanted: &dyn Fn(Step) -> bool| -> Vec<Candidate> {
        let fitting = candidates.iter().filter(|(_, ahead)| ahead.first().copied().is_some_and(wanted));
        fitting.map(|(key, ahead)| (*key, tail(ahead))).collect()
    };
    let named = step(&|step| matches!(step, Step::Name(expected) if expected == name));
    if named.is_empty() { step(&|step| step == Step::Any) } else { named }
}

fn tail(steps: &[Step]) -> Vec<Step> {
    steps.get(1..).unwrap_or_default().to_vec()
}

/// Whether a value is of a kind; otherwise what is wrong with it. Texts are not repeated: they may be secret.
fn fits(node: &Node, kind: Kind) -> Result<(), String> {
    let wrong = || Err(format!("is {}", node.describe()));
    match kind {
        Kind::Flag => node.flag().map_or_else(wrong, |_| Ok(())),
        Kind::Count(low, high) => match node.value {
            Value::Number(number) => match node.count() {
                Some(count) if (low..=high).contains(&count) => Ok(()),
                _ => Err(format!("is {number}")),
            },
            _ => wrong(),
        },
        Kind::Amount => match node.value {
            Value::Number(number) if number.is_finite() && number >= 0.0 => Ok(()),
            Value::Number(number) => Err(format!("is {number}")),
            _ => wrong(),
        },
        Kind::Choices(_)
        | Kind::Texts
        | Kind::Origins
        | Kind::Models
        | Kind::Networks
        | Kind::Hosts
        | Kind::Headers => wrong(),
        Kind::TextOrOff if node.flag() == Some(false) => Ok(()),
        _ => node.text().map_or_else(wrong, |text| text_fits(text, kind)),
    }
}

fn text_fits(text: &str, kind: Kind) -> Result<(), String> {
    let no = |problem: &str| Err(problem.to_owned());
    if text.trim().is_empty() {
        return no("is blank");
    }
    if text.chars().any(char::is_control) {
        return no("contains a control character");
    }
    match kind {
        Kind::Choice(words) if !words.contains(&text) => Err(format!("is {text:?}")),
        Kind::Url => match url_problem(text) {
            Some(problem) => no(problem),
            None => Ok(()),
        },
        Kind::Socket => match socket_problem(text) {
            Some(problem) => no(problem),
            None => Ok(()),
        },
        Kind::Fingerprint if fingerprint(text).is_none() => no("is no SHA-256 fingerprint"),
        Kind::Ipv4 if text.parse::<Ipv4Addr>().is_err() => no("is not an IPv4 address"),
        Kind::Path if !text.starts_with('/') && !text.starts_with("~/") => no("is a relative path"),
        Kind::Model if ModelRef::parse(text).is_none() => {
            no("has no provider and model with a slash between them")
        }
        Kind::Origin if !is_origin(text) => no("is not a web origin"),
        Kind::Network if network(text).is_none() => no("is not an address or network"),
        Kind::Host if !is_host(text) => no("is not a host name"),
        Kind::Header if !is_header(text) => no("is not the name of a header"),
        _ => Ok(()),
    }
}

/// Why a text is no base URL. Credentials in a URL end up in logs and error messages, so they are refused.
fn url_problem(text: &str) -> Option<&'static str> {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return Some("is not an http:// or https:// URL");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') {
        Some("names no host")
    } else if authority.contains('@') {
        Some("contains a user name or password")
    } else if text.contains(['?', '#']) {
        Some("contains a query or fragment")
    } else if text.contains(|c: char| c.is_whitespace() || c == '\\') {
        Some("contains a space or backslash")
    } else {
        None
    }
}

/// Why a text is no URL of a gateway. Credentials in it would end up in logs.
fn socket_problem(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://")) else {
        return Some("is not a ws:// or wss:// URL");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') {
        Some("names no host")
    } else if authority.contains('@') {
        Some("contains a user name or password")
    } else {
        None
    }
}

/// Whether a text is a host name without port, or a pattern for some.
fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    text == "*" || (!name.is_empty() && name.bytes().all(letter))
}

fn is_header(text: &str) -> bool {
    text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' '])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_a_gateway_has_a_scheme_a_host_and_no_secret() {
        for url in ["wss://box:18789", "ws://127.0.0.1", "wss://gateway.example/base"] {
            assert_eq!(socket_problem(url), None, "{url}");
        }
        for url in ["https://box", "box:18789", "wss://", "wss://:7", "wss://me:secret@box", "ws:/box"] {
            assert!(socket_problem(url).is_some(), "{url}");
        }
    }
}
