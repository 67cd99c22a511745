//! `/help`, `/commands`, `/whoami` and `/stop`.

use std::fmt::Write as _;

use telson_proto::ErrorShape;

use crate::chat::stoppable;
use crate::gateway::Gateway;

use super::table::{COMMANDS, Command};
use super::{Caller, Done};

/// `/help`: a line for each command.
pub(super) fn help(_: &Gateway, _: &Caller<'_>, _: &str) -> Result<Done, ErrorShape> {
    let mut text = "Commands:".to_owned();
    for command in sorted() {
        let _ = write!(text, "\n/{}: {}", command.name, command.about);
    }
    text.push_str("\n/commands shows their arguments.");
    Ok(Done::says(text))
}

/// `/commands`: the same with arguments and other names.
pub(super) fn commands(_: &Gateway, _: &Caller<'_>, _: &str) -> Result<Done, ErrorShape> {
    let mut text = String::new();
    let mut category = "";
    for command in sorted() {
        if category != command.category.as_str() {
            category = command.category.as_str();
            let gap = if text.is_empty() { "" } else { "\n\n" };
            let _ = write!(text, "{gap}{category}:");
        }
        let _ = write!(text, "\n/{}", command.name);
        for arg in command.args {
            match arg.choices {
                [] => _ = write!(text, " [{}]", arg.name),
                choices => _ = write!(text, " [{}]", choices.join("|")),
            }
        }
        let aliases: Vec<String> = command.aliases.iter().map(|alias| format!("/{alias}")).collect();
        let also = if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) };
        let _ = write!(text, "{also}: {}", command.about);
    }
    Ok(Done::says(text))
}

fn sorted() -> Vec<&'static Command> {
    let mut all: Vec<&Command> = COMMANDS.iter().collect();
    all.sort_by_key(|command| command.category);
    all
}

/// `/whoami`: what the gateway has verified, and what the client says of itself.
pub(super) fn whoami(_: &Gateway, caller: &Caller<'_>, _: &str) -> Result<Done, ErrorShape> {
    let principal = caller.principal;
    let client = principal.declared.shown();
    let device = principal.device.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let scopes: Vec<String> = principal.scopes.iter().map(|scope| scope.to_string()).collect();
    let name = if client.name().is_empty() { "unnamed" } else { client.name() };
    Ok(Done::says(format!(
        "Client: {name} (as it says)\nDevice: {device}\nProof: {}\nRole: {}\nScopes: {}\nProtocol: {}\nSession: {}",
        principal.method.as_str(),
        principal.role,
        if scopes.is_empty() { "none".to_owned() } else { scopes.join(", ") },
        principal.protocol.number(),
        caller.key,
    )))
}

/// `/stop` in another spelling than the stop texts, which `chat.send` knows before any command.
pub(super) fn stop(gateway: &Gateway, caller: &Caller<'_>, _: &str) -> Result<Done, ErrorShape> {
    let abort = stoppable(gateway, caller.principal, caller.ticket, caller.key)?;
    let reply = if abort.is_empty() { "Nothing runs here." } else { "Stopped." };
    Ok(Done { abort, ..Done::says(reply) })
}
