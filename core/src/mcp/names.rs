//! The names under which servers' tools are offered: `<server>__<tool>`, in the letters that every model provider
//! takes, at most 64 of them, and each only once.

use std::collections::BTreeMap;

const MOST: usize = 64;
const MOST_SERVER: usize = 30;

/// Gives each tool a name. The same tools in the same order get the same names.
pub(super) fn assign<'a, T>(tools: impl Iterator<Item = (&'a str, &'a str, T)>) -> BTreeMap<String, T> {
    let mut names = BTreeMap::new();
    for (server, tool, value) in tools {
        let mut server = sanitise(server);
        server.truncate(MOST_SERVER);
        let mut name = format!("{server}__{}", sanitise(tool));
        name.truncate(MOST);
        let mut number = 2;
        while names.contains_key(&name) {
            let suffix = format!("-{number}");
            name.truncate(MOST - suffix.len());
            if let Some(at) = name.rfind('-').filter(|_| number > 2) {
                name.truncate(at);
            }
            name.push_str(&suffix);
            number += 1;
        }
        names.insert(name, value);
    }
    names
}

/// Only ASCII letters, digits, `_` and `-`.
fn sanitise(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' })
        .collect();
    if clean.is_empty() { "-".to_owned() } else { clean }
}
