//! What a node offers, or is approved for: capabilities, commands, permissions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::auth::Client;

/// See the [module documentation](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    #[serde(default)]
    pub(crate) caps: BTreeSet<String>,
    #[serde(default)]
    pub(crate) commands: BTreeSet<String>,
    #[serde(default)]
    pub(crate) permissions: BTreeMap<String, bool>,
}

impl Offer {
    /// What a client declares: trimmed words, each once, in order. A command is a word of printable ASCII.
    pub(crate) fn declared(client: &Client) -> Self {
        const LONGEST: usize = 128;
        let words = |list: &[String]| -> BTreeSet<String> {
            list.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let mut commands = words(&client.commands);
        commands.retain(|command| command.len() <= LONGEST && command.bytes().all(|b| b.is_ascii_graphic()));
        Self { caps: words(&client.caps), commands, permissions: client.permissions.clone() }
    }

    /// Whether it asks for nothing beyond `other`. A permission that the node does not hold asks for nothing.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let held = |(name, held): (&String, &bool)| !held || other.permissions.get(name) == Some(&true);
        self.caps.is_subset(&other.caps)
            && self.commands.is_subset(&other.commands)
            && self.permissions.iter().all(held)
    }

    /// What is in both.
    pub(crate) fn shared_with(&self, other: &Self) -> Self {
        let permissions = self.permissions.iter();
        Self {
            caps: self.caps.intersection(&other.caps).cloned().collect(),
            commands: self.commands.intersection(&other.commands).cloned().collect(),
            permissions: permissions
                .map(|(name, held)| (name.clone(), *held && other.permissions.get(name) == Some(&true)))
                .collect(),
        }
    }

    /// Whether the node can talk.
    pub(crate) fn talks(&self) -> bool {
        self.caps.contains("talk") || self.commands.iter().any(|command| command.starts_with("talk."))
    }

    /// The capabilities as a list.
    pub(crate) fn caps(&self) -> Vec<String> {
        self.caps.iter().cloned().collect()
    }

    /// The commands as a list.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.commands.iter().cloned().collect()
    }

    /// The permissions, if there are any.
    pub(crate) fn permissions(&self) -> Option<BTreeMap<String, bool>> {
        Some(self.permissions.clone()).filter(|permissions| !permissions.is_empty())
    }
}
