//! Groups of sessions: `sessions.groups.list`, `.put`, `.rename` and `.delete` (spec 02 §20.7).
//!
//! A session is in the group that its `category` names. The list of groups, which may hold empty ones and has an
//! order of its own, is kept with the main session of the default agent: that one is always there, or is made.

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use telson_proto::params::{NoParams, Text};
use telson_proto::{ErrorShape, Json};

use crate::auth::{Effect, Principal, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{SessionKey, Ticket};
use crate::limits;
use crate::messages::Outcome;

/// The member of the main session's entry that holds the list.
pub(super) const GROUPS: &str = "sessionGroups";

type Name = Text<1, 512>;

/// The list as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Groups {
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section_order: Option<Vec<String>>,
}

/// The parameters of `sessions.groups.put`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutParams {
    names: Vec<Name>,
    #[serde(default)]
    section_order: Option<Vec<Name>>,
}

/// The parameters of `sessions.groups.rename`.
#[derive(Debug, Deserialize)]
pub(crate) struct RenameParams {
    name: Name,
    to: Name,
}

/// The parameters of `sessions.groups.delete`.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteParams {
    name: Name,
}

/// The answer to each of the methods.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupsResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    groups: Vec<Group>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section_order: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_sessions: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    position: usize,
}

/// `sessions.groups.list`: the groups in their order; those that only sessions name come last.
pub(crate) fn list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<GroupsResult> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    Ok(Reply::Ready(gateway.groups().shown(None, None)))
}

/// `sessions.groups.put`: replaces the list.
pub(crate) fn put(gateway: &mut Gateway, call: Call<PutParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    may_arrange(gateway, &principal)?;
    let kept = gateway.groups().section_order;
    let groups = Groups {
        names: distinct("names", &params.names)?,
        section_order: match &params.section_order {
            Some(order) => Some(distinct("sectionOrder", order)?),
            None => kept,
        },
    };
    gateway.arrange_groups(ticket, groups, &[], None);
    Ok(Reply::Later)
}

/// `sessions.groups.rename`: gives a group another name, on its sessions too.
pub(crate) fn rename(gateway: &mut Gateway, call: Call<RenameParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    may_arrange(gateway, &principal)?;
    let (name, to) = (trimmed(&params.name)?, trimmed(&params.to)?);
    let mut groups = gateway.groups();
    if groups.names.contains(&to) && name != to {
        return Err(ErrorShape::invalid(format!("group already exists: {to}; choose another name")));
    }
    let place = groups.place(&name)?;
    groups.names[place].clone_from(&to);
    for section in groups.section_order.iter_mut().flatten().filter(|section| **section == name) {
        section.clone_from(&to);
    }
    let members = gateway.members(&name);
    gateway.arrange_groups(ticket, groups, &members, Some(&to));
    Ok(Reply::Later)
}

/// `sessions.groups.delete`: removes a group; its sessions stay, without one.
pub(crate) fn delete(gateway: &mut Gateway, call: Call<DeleteParams>) -> Answer<()> {
    let Call { principal, ticket, params, .. } = call;
    may_arrange(gateway, &principal)?;
    let name = trimmed(&params.name)?;
    let mut groups = gateway.groups();
    groups.names.remove(groups.place(&name)?);
    if let Some(order) = &mut groups.section_order {
        order.retain(|section| *section != name);
    }
    let members = gateway.members(&name);
    gateway.arrange_groups(ticket, groups, &members, None);
    Ok(Reply::Later)
}

fn may_arrange(gateway: &Gateway, principal: &Principal) -> Result<(), ErrorShape> {
    authorize(principal, &Effect::PatchSession { session: gateway.sessions.main_key(), light: true })
}

fn trimmed(name: &Name) -> Result<String, ErrorShape> {
    match name.as_str().trim() {
        "" => Err(ErrorShape::invalid("a group's name is blank; give it words")),
        name => Ok(name.to_owned()),
    }
}

/// The names without blanks around them, each once.
fn distinct(field: &str, names: &[Name]) -> Result<Vec<String>, ErrorShape> {
    let most = limits::length(limits::SESSION_GROUPS);
    if names.len() > most {
        return Err(ErrorShape::invalid(format!("{field} holds {} groups; use at most {most}", names.len())));
    }
    let mut seen = BTreeSet::new();
    let mut distinct = Vec::with_capacity(names.len());
    for name in names {
        let name = trimmed(name)?;
        if seen.insert(name.clone()) {
            distinct.push(name);
        }
    }
    Ok(distinct)
}

impl Groups {
    fn place(&self, name: &str) -> Result<usize, ErrorShape> {
        let place = self.names.iter().position(|other| other == name);
        place.ok_or_else(|| {
            ErrorShape::invalid(format!("no such group: {name}; sessions.groups.list names them"))
        })
    }

    fn shown(self, ok: Option<bool>, updated_sessions: Option<usize>) -> GroupsResult {
        let groups = self.names.into_iter().enumerate().map(|(position, name)| Group { name, position });
        GroupsResult { ok, groups: groups.collect(), section_order: self.section_order, updated_sessions }
    }
}

impl Gateway {
    /// The list, and the groups that only sessions name.
    fn groups(&self) -> Groups {
        let kept = self.sessions.entry(&self.sessions.main_key()).and_then(|entry| entry.extra.get(GROUPS));
        let mut groups: Groups =
            kept.and_then(|kept| serde_json::from_value(kept.clone()).ok()).unwrap_or_default();
        let named: BTreeSet<&str> = self
            .sessions
            .in_order(None, false)
            .filter_map(|(_, session)| session.entry.text("category"))
            .collect();
        let others: Vec<&str> =
            named.into_iter().filter(|name| !groups.names.iter().any(|known| known == name)).collect();
        let room = limits::length(limits::SESSION_GROUPS).saturating_sub(groups.names.len());
        groups.names.extend(others.into_iter().take(room).map(str::to_owned));
        groups
    }

    fn members(&self, name: &str) -> Vec<SessionKey> {
        let all = self.sessions.in_order(None, false);
        all.filter(|(_, session)| session.entry.text("category") == Some(name))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Stores the list, and the group of some sessions, as one change.
    fn arrange_groups(
        &mut self,
        ticket: Ticket,
        groups: Groups,
        members: &[SessionKey],
        category: Option<&str>,
    ) {
        let main = self.sessions.main_key();
        self.sessions.ensure(self.now, &mut self.entropy, &main);
        let value = serde_json::to_value(&groups).unwrap_or_default();
        self.sessions.edit_quietly(&main, |entry| entry.set(GROUPS, Some(value)));
        for key in members {
            self.sessions.edit_quietly(key, |entry| entry.set("category", category.map(Into::into)));
        }
        let updated = members.len();
        let changed: BTreeSet<SessionKey> = members.iter().cloned().chain([main]).collect();
        self.store_sessions(&changed, move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    gateway.announce_list("groups");
                    Outcome::ok(Json::of(&groups.shown(Some(true), Some(updated))))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
        });
    }
}
