//! Which tools a policy permits: names, wildcards, groups and profiles (spec 04 §12). Pure.

use super::settings::{PolicySettings, Profile};

/// The groups of tools by name. Names of tools that this gateway does not have stand here too, so that a policy
/// that was written for another gateway says the same here.
pub const GROUPS: &[(&str, &[&str])] = &[
    (
        "group:sessions",
        &["sessions_list", "sessions_history", "sessions_send", "sessions_spawn", "session_status"],
    ),
    ("group:agents", &["agents_list"]),
    ("group:web", &["web_search", "web_fetch"]),
    ("group:messaging", &["message"]),
    ("group:automation", &["cron", "gateway"]),
    ("group:nodes", &["nodes"]),
    ("group:memory", &["memory_search", "memory_get"]),
    ("group:fs", &["read", "write", "edit", "apply_patch"]),
    ("group:runtime", &["exec", "process"]),
    ("group:ui", &["browser", "canvas"]),
];

/// Groups that are no list of names: every tool of the gateway itself, and every tool of other programs.
const OWN: [&str; 2] = ["group:telson", "group:openclaw"];
const FOREIGN: [&str; 3] = ["group:mcp", "group:plugins", "bundle-mcp"];

/// What a sub-agent may not use unless it may start sub-agents itself.
pub(super) const SUBAGENT_DENY: &[&str] = &[
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "sessions_spawn",
    "session_status",
    "agents_list",
    "gateway",
    "cron",
    "memory_search",
    "memory_get",
];

/// What a sub-agent may not use in any case.
pub(super) const SUBAGENT_DENY_ALWAYS: &[&str] = &["sessions_send", "agents_list", "gateway", "cron"];

/// What a run may not use that a machine has started: what changes the gateway, runs programs, asks other sessions or
/// machines, and what other programs bring [S-62].
pub(super) const UNTRUSTED_DENY: &[&str] = &[
    "group:automation",
    "group:nodes",
    "group:fs",
    "group:runtime",
    "group:ui",
    "group:messaging",
    "group:mcp",
    "sessions_send",
    "sessions_spawn",
    "sessions_history",
    "sessions_list",
];

/// A tool as policies see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Whether another program brings it.
    pub(super) foreign: bool,
}

/// One step of the chain; each only narrows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    /// Only these; everything when `None`.
    allow: Option<Vec<String>>,
    deny: Vec<String>,
}

impl Rule {
    /// A rule that takes some tools away.
    pub(super) fn without<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { allow: None, deny: names.into_iter().map(normalise).collect() }
    }

    /// The rule of a scope's `allow` and `deny`. An empty `allow` permits everything.
    pub(super) fn lists(allow: &[String], deny: &[String]) -> Self {
        let list = |names: &[String]| names.iter().map(|name| normalise(name)).collect::<Vec<_>>();
        Self { allow: (!allow.is_empty()).then(|| list(allow)), deny: list(deny) }
    }

    /// The rule of a profile, with what is allowed beyond it.
    pub(super) fn profile(profile: Profile, also: &[String]) -> Self {
        let Some(names) = allowed(profile) else { return Self::default() };
        let also = also.iter().map(|name| normalise(name));
        Self {
            allow: Some(names.iter().map(|name| (*name).to_owned()).chain(also).collect()),
            deny: Vec::new(),
        }
    }

    /// Whether it lets a tool through.
    pub(super) fn permits(&self, tool: Subject<'_>) -> bool {
        let name = normalise(tool.name);
        let any = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, &name, tool.foreign));
        !any(&self.deny) && self.allow.as_deref().is_none_or(any)
    }
}

/// The rules of a scope that stands before the narrower ones: the profile, then the lists.
pub(super) fn rules(policy: &PolicySettings) -> Rule {
    Rule::lists(&policy.allow, &policy.deny)
}

/// The part of a policy that is for a model, if it has one: `provider/model` goes before `provider`.
pub(super) fn for_model<'a>(
    policy: &'a PolicySettings,
    provider: &str,
    model: &str,
) -> Option<&'a PolicySettings> {
    let whole = format!("{provider}/{model}");
    let found = |name: &str| {
        policy.by_provider.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, policy)| policy)
    };
    found(&whole).or_else(|| found(provider))
}

/// The names that a profile allows; `None` for everything.
fn allowed(profile: Profile) -> Option<&'static [&'static str]> {
    match profile {
        Profile::Minimal => Some(&["session_status"]),
        Profile::Coding => Some(&[
            "group:fs",
            "group:runtime",
            "group:web",
            "group:sessions",
            "group:memory",
            "cron",
            "image",
            "group:mcp",
        ]),
        Profile::Messaging => Some(&[
            "group:messaging",
            "sessions_list",
            "sessions_history",
            "sessions_send",
            "session_status",
            "group:mcp",
        ]),
        Profile::Full => None,
    }
}

/// The profiles that hold a tool.
pub(super) fn profiles_of(tool: Subject<'_>) -> Vec<&'static str> {
    let all = Profile::ALL.into_iter().map(|(profile, _)| profile);
    all.filter(|profile| Rule::profile(*profile, &[]).permits(tool)).map(Profile::as_str).collect()
}

/// A name as policies compare it.
fn normalise(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "bash" => "exec".to_owned(),
        "apply-patch" => "apply_patch".to_owned(),
        _ => name,
    }
}

fn covers(pattern: &str, name: &str, foreign: bool) -> bool {
    if OWN.contains(&pattern) {
        return !foreign;
    }
    if FOREIGN.contains(&pattern) {
        return foreign;
    }
    match GROUPS.iter().find(|(group, _)| *group == pattern) {
        Some((_, members)) => !foreign && members.contains(&name),
        None => wildcard(pattern, name),
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
