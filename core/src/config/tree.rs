//! The configuration file as a tree in which every value knows where it stands.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::failure::Failure;
use super::issue::{Issue, Place};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// The bytes it takes in the text.
    pub(super) range: std::ops::Range<usize>,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Member>),
}

/// A member of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where the name stands.
    pub(super) at: usize,
    pub(super) node: Node,
}

impl Node {
    /// A table without members.
    pub(super) fn empty() -> Self {
        Self { range: 0..0, value: Value::Table(Vec::new()) }
    }

    /// The value of a member; `None` when there is none or this is no table.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(members) => {
                members.iter().find(|member| member.name == name).map(|member| &member.node)
            }
            _ => None,
        }
    }

    /// The value at a path of names with dots between them.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, name| node.get(name))
    }

    /// The members of a table; none for other values.
    pub(super) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Table(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none for other values.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, when it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The flag, when it is one.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// The number, when it is one.
    pub(super) fn number(&self) -> Option<f64> {
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The whole number, when it is one that is exact.
    pub(super) fn count(&self) -> Option<u64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.value {
            // The cast is exact: the number is whole and within the range in which every whole number exists.
            Value::Number(number) if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) => {
                Some(number as u64)
            }
            _ => None,
        }
    }

    /// What it is, in words that never repeat the value, which may be a secret.
    pub(super) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Flag(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Table(_) => "an object",
        }
    }
}

/// Reads JSON5. An empty text is an empty table.
pub(super) fn parse(text: &str) -> Result<Node, Box<Issue>> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = text.len() - body.len();
    let options = ParseOptions { allow_missing_commas: false, ..ParseOptions::default() };
    let parsed = parse_to_ast(body, &CollectOptions::default(), &options).map_err(|error| {
        let place = Place::of(text, skipped + error.range().start);
        let message = format!("JSON5 parse failed: {}", error.kind());
        Box::new(Issue::new(Failure::ConfigInvalid, "", message).at(Some(place)))
    })?;
    let Some(value) = parsed.value else { return Ok(Node::empty()) };
    let mut reader = Reader { text, skipped, twice: None };
    let node = reader.node(value);
    match reader.twice {
        Some(issue) => Err(Box::new(issue)),
        None => Ok(node),
    }
}

struct Reader<'a> {
    text: &'a str,
    skipped: usize,
    twice: Option<Issue>,
}

impl Reader<'_> {
    fn node(&mut self, value: ast::Value<'_>) -> Node {
        let range = value.range().start + self.skipped..value.range().end + self.skipped;
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(flag) => Value::Flag(flag.value),
            ast::Value::NumberLit(number) => Value::Number(number_of(number.value)),
            ast::Value::StringLit(text) => Value::Text(text.value.into_owned()),
            ast::Value::Array(list) => {
                Value::List(list.elements.into_iter().map(|item| self.node(item)).collect())
            }
            ast::Value::Object(table) => Value::Table(self.members(table)),
        };
        Node { range, value }
    }

    /// A key that stands twice is refused: whoever reads the file would believe in the wrong one.
    fn members(&mut self, table: ast::Object<'_>) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::with_capacity(table.properties.len());
        for property in table.properties {
            let at = property.range.start + self.skipped;
            let name = property.name.into_string();
            if self.twice.is_none() && members.iter().any(|member| member.name == name) {
                let issue =
                    Issue::new(Failure::ConfigInvalid, name.clone(), "is given twice in the same object");
                self.twice = Some(issue.at(Some(Place::of(self.text, at))));
            }
            let node = self.node(property.value);
            members.push(Member { name, at, node });
        }
        members
    }
}

/// A number of JSON5: decimal, hexadecimal, with a leading plus, with a bare decimal point, infinite, or none.
fn number_of(text: &str) -> f64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let size = match hex {
        Some(hex) => u64::from_str_radix(hex, 16).map_or(f64::INFINITY, |number| number as f64),
        None => digits.parse().unwrap_or(f64::NAN),
    };
    if negative { -size } else { size }
}
