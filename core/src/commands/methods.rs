//! `commands.list` (protocol 4; spec 02 §20.10, 06 §4).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use serde::Deserialize;
use telson_proto::ErrorShape;
use telson_proto::command::{ArgChoice, ArgEntry, CommandEntry, CommandsList};
use telson_proto::params::Text;

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::sessions::keys;

use super::table::{COMMANDS, Command, Takes};

/// The parameters of `commands.list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListParams {
    #[serde(default)]
    agent_id: Option<Text>,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    include_args: Option<bool>,
}

/// For which surface: typed text, or the own commands of a messenger, of which there are none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Text,
    Native,
    Both,
}

/// `commands.list`: the commands, in the order of the table.
pub(crate) fn list(gateway: &mut Gateway, call: Call<ListParams>) -> Answer<CommandsList> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = &call.params;
    if let Some(agent) = &params.agent_id {
        let id = keys::normalise_agent(agent.as_str());
        if !gateway.settings.agents.list.iter().any(|profile| profile.id == id) {
            return Err(ErrorShape::invalid(format!("unknown agent id \"{agent}\"")));
        }
    }
    let with_args = params.include_args != Some(false);
    let commands = match params.scope {
        Some(Scope::Native) => Vec::new(),
        Some(Scope::Text | Scope::Both) | None => {
            COMMANDS.iter().map(|command| entry(command, with_args)).collect()
        }
    };
    Ok(Reply::Ready(CommandsList { commands }))
}

fn entry(command: &'static Command, with_args: bool) -> CommandEntry {
    let names = std::iter::once(&command.name).chain(command.aliases);
    let args = command.args.iter().map(|arg| ArgEntry {
        name: arg.name,
        description: arg.about,
        kind: "string",
        choices: arg.choices.iter().map(|value| ArgChoice { value, label: value }).collect(),
    });
    CommandEntry {
        name: command.name,
        text_aliases: names.map(|name| format!("/{name}")).collect(),
        description: command.about,
        category: command.category.as_str(),
        source: "native",
        scope: "text",
        accepts_args: command.takes != Takes::Words(0),
        args: if with_args { args.collect() } else { Vec::new() },
    }
}
