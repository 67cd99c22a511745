//! The configuration as `config.get` shows it: nothing missing but the secrets (spec 03 §6.1, §6.9).

use serde_json::{Map, Number, Value as Shown};
use sha2::{Digest as _, Sha256};
use telson_proto::Json;

use super::check::Path;
use super::env::is_reference;
use super::issue::Warning;
use super::keys::{KEYS, Step};
use super::secrets::{REDACTED, is_hidden};
use super::tree::{Node, Value};
use crate::entropy::hex;
use crate::settings::ConfigView;

/// Texts shorter than this are not searched for in comments: they would match by accident.
const SEARCHABLE: usize = 8;

/// The view of a file: its text, its tree as written, and its tree with variables replaced. `known` are the
/// secrets in force, wherever they come from.
pub(super) fn view(
    text: Option<&str>,
    written: &Node,
    effective: &Node,
    warnings: &[Warning],
    known: &[&str],
) -> ConfigView {
    let mut config = shown(effective, &Path::default());
    fill(&mut config);
    ConfigView {
        exists: text.is_some(),
        raw: text.map(|text| redacted(text, written, known)),
        parsed: Json::of(&shown(written, &Path::default())),
        config: Json::of(&config),
        hash: hash(text.unwrap_or_default()),
        warnings: Json::of(warnings),
    }
}

/// Lower-case hex SHA-256 of a text.
fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The text with every secret replaced in its place, and wherever else it stands, such as in a comment.
fn redacted(text: &str, root: &Node, known: &[&str]) -> String {
    let mut secrets = Vec::new();
    collect(root, &Path::default(), &mut secrets);
    let mut out = text.to_owned();
    secrets.sort_by_key(|(node, _)| std::cmp::Reverse(node.range.start));
    for (node, _) in &secrets {
        if out.is_char_boundary(node.range.start) && out.is_char_boundary(node.range.end) {
            out.replace_range(node.range.clone(), &format!("\"{REDACTED}\""));
        }
    }
    let own = secrets.iter().map(|(_, secret)| secret.as_str());
    for secret in own.chain(known.iter().copied()).filter(|secret| secret.len() >= SEARCHABLE) {
        out = out.replace(secret, REDACTED);
    }
    out
}

/// Every secret text of the tree. References to variables are none.
fn collect<'a>(node: &'a Node, path: &Path, into: &mut Vec<(&'a Node, String)>) {
    match &node.value {
        Value::Text(text) if is_hidden(path) && !is_reference(text) => into.push((node, text.clone())),
        Value::List(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, &path.item(index), into));
        }
        Value::Table(members) => {
            members.iter().for_each(|member| collect(&member.node, &path.name(&member.name), into));
        }
        _ => {}
    }
}

fn shown(node: &Node, path: &Path) -> Shown {
    match &node.value {
        Value::Null => Shown::Null,
        Value::Flag(flag) => Shown::Bool(*flag),
        Value::Number(number) => match node.count() {
            Some(count) => Shown::Number(count.into()),
            None => Number::from_f64(*number).map_or(Shown::Null, Shown::Number),
        },
        Value::Text(text) if is_hidden(path) && !is_reference(text) => Shown::String(REDACTED.to_owned()),
        Value::Text(text) => Shown::String(text.clone()),
        Value::List(items) => Shown::Array(
            items.iter().enumerate().map(|(index, item)| shown(item, &path.item(index))).collect(),
        ),
        Value::Table(members) => {
            let pairs = members
                .iter()
                .map(|member| (member.name.clone(), shown(&member.node, &path.name(&member.name))));
            Shown::Object(pairs.collect())
        }
    }
}

/// Adds the default of every key that has a fixed place.
fn fill(config: &mut Shown) {
    for key in KEYS {
        let fixed: Option<Vec<&'static str>> = key
            .steps()
            .map(|step| match step {
                Step::Name(name) => Some(name),
                _ => None,
            })
            .collect();
        let default = key.default.and_then(|text| serde_json::from_str(text).ok());
        if let (Some(path), Some(default)) = (fixed, default) {
            insert(config, &path, default);
        }
    }
}

fn insert(config: &mut Shown, path: &[&str], default: Shown) {
    let (Shown::Object(members), Some((first, rest))) = (config, path.split_first()) else { return };
    if rest.is_empty() {
        members.entry(*first).or_insert(default);
    } else {
        insert(members.entry(*first).or_insert_with(|| Shown::Object(Map::new())), rest, default);
    }
}
