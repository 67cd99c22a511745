//! The environment: variables under this gateway's prefix and those of its predecessors, and `${NAME}` in the
//! file (spec 05 §1.5, §2.3).

use std::collections::BTreeMap;

use super::check::{Check, Path};
use super::failure::Failure;
use super::issue::{Issue, Warning};
use super::secrets;
use super::tree::{Member, Node, Value};

/// The prefixes of a variable's name, the first that is set wins [D-02].
pub const PREFIXES: [&str; 4] = ["TELSON_", "OPENCLAW_", "MOLTBOT_", "CLAWDBOT_"];

/// An environment variable that the gateway reads, without its prefix.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name after the prefix.
    pub name: &'static str,
    /// Whether the predecessors' prefixes are read too. Where Telson keeps its own state and file, they are not:
    /// it never writes into a directory of the reference system [D-06].
    pub shared: bool,
    /// What it does.
    pub meaning: &'static str,
}

/// Every variable with a prefix.
pub const VARIABLES: &[Variable] = &[
    Variable { name: "STATE_DIR", shared: false, meaning: "The state directory; `~/.telson` when unset." },
    Variable {
        name: "CONFIG_PATH",
        shared: false,
        meaning: "The configuration file; `telson.json` in the state directory when unset.",
    },
    Variable {
        name: "TAILSCALE_BIN",
        shared: false,
        meaning: "The absolute path of the program `tailscale`, where it is in none of the usual places. It must belong to this user or to root, and nobody else may be able to change it.",
    },
    Variable {
        name: "GATEWAY_PORT",
        shared: true,
        meaning: "The port. Beats `gateway.port`, loses to `--port`.",
    },
    Variable {
        name: "GATEWAY_TOKEN",
        shared: true,
        meaning: "The shared token. Loses to `gateway.auth.token` and `--token`.",
    },
    Variable {
        name: "GATEWAY_PASSWORD",
        shared: true,
        meaning: "The shared password. Loses to `gateway.auth.password` and `--password`.",
    },
    Variable {
        name: "DISABLE_BONJOUR",
        shared: true,
        meaning: "`1` keeps the gateway from announcing itself, whatever else is said.",
    },
    Variable {
        name: "MDNS_HOSTNAME",
        shared: true,
        meaning: "The host name to announce; `openclaw` when unset. Its first label counts.",
    },
    Variable {
        name: "SSH_PORT",
        shared: true,
        meaning: "The SSH port to announce with `discovery.mdns.mode: \"full\"`; 22 when unset.",
    },
    Variable {
        name: "ALLOW_INSECURE_PRIVATE_WS",
        shared: true,
        meaning: "`1` lets commands send secrets over plain `ws://` to addresses of private networks.",
    },
    Variable {
        name: "LOG_LEVEL",
        shared: true,
        meaning: "The level of file and console. Beats `logging.level` and `logging.consoleLevel`.",
    },
    Variable {
        name: "LOG_LEVELS",
        shared: true,
        meaning: "Levels per subsystem, such as `gateway.ws=debug,gateway.health=warn`. Beats `logging.levels`.",
    },
];

/// A copy of the process environment.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// A variable that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The full name under which it was found.
    pub name: String,
    /// Its value, trimmed.
    pub value: String,
}

impl Found {
    /// Whether it was found under a predecessor's prefix.
    pub fn is_legacy(&self) -> bool {
        !self.name.starts_with("TELSON_") && !self.name.starts_with("OPENCLAW_")
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl Environment {
    /// A variable by its full name; blank ones count as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A variable by its name without prefix; the first prefix under which it is not blank wins.
    pub fn find(&self, name: &str) -> Option<Found> {
        let shared = VARIABLES.iter().all(|variable| variable.name != name || variable.shared);
        let prefixes = if shared { PREFIXES.as_slice() } else { &PREFIXES[..1] };
        prefixes.iter().find_map(|prefix| {
            let full = format!("{prefix}{name}");
            let value = self.get(&full)?.to_owned();
            Some(Found { name: full, value })
        })
    }
}

/// Replaces `${NAME}` in every text of the tree. A value whose variable is unset is taken out of the tree: with
/// an error where the key matters for security, else with a warning, and never left as the literal text [D-10].
pub(super) fn substitute(root: &mut Node, env: &Environment, check: &mut Check<'_>) {
    walk(root, &Path::default(), env, check);
}

/// Returns whether the node stays.
fn walk(node: &mut Node, path: &Path, env: &Environment, check: &mut Check<'_>) -> bool {
    match &mut node.value {
        Value::Text(text) => match expand(text, env) {
            Ok(expanded) => {
                *text = expanded;
                true
            }
            Err(variable) => {
                let message = format!("the environment variable {variable} is not set");
                if secrets::is_sensitive(path) {
                    check.refuse(
                        node.range.start,
                        Issue::new(Failure::ConfigInvalid, path.to_string(), message),
                    );
                } else {
                    check
                        .warnings
                        .push(Warning::new(path.to_string(), format!("{message}; the key counts as unset")));
                }
                false
            }
        },
        Value::List(items) => {
            let mut index = 0;
            items.retain_mut(|item| {
                index += 1;
                walk(item, &path.item(index - 1), env, check)
            });
            true
        }
        Value::Table(members) => {
            members.retain_mut(|Member { name, node, .. }| {
                let below = path.name(name);
                below.is_foreign() || walk(node, &below, env, check)
            });
            true
        }
        Value::Null | Value::Flag(_) | Value::Number(_) => true,
    }
}

/// The text with its variables replaced, or the name of one that is not set. `$${NAME}` stands for `${NAME}`.
fn expand(text: &str, env: &Environment) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        let Some((name, after)) = variable(reference) else {
            out.push_str(before);
            out.push_str("${");
            rest = reference.get(2..).unwrap_or_default();
            continue;
        };
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            out.push_str(name);
            out.push('}');
        } else {
            out.push_str(before);
            out.push_str(env.get(name).ok_or_else(|| name.to_owned())?);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether the text is nothing but a reference to a variable.
pub(super) fn is_reference(text: &str) -> bool {
    variable(text.trim()).is_some_and(|(_, after)| after.is_empty())
}

/// The name in `${NAME}` at the start of a text, and what follows.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix("${")?.split_once('}')?;
    let first = name.bytes().next()?;
    let usable = (first.is_ascii_uppercase() || first == b'_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    usable.then_some((name, after))
}
