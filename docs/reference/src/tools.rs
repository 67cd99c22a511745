//! The built-in tools.

use telson_core::tools::{BUILT_IN, GROUPS};

use crate::markdown::{code, page, table};

pub(crate) fn tools() -> String {
    let lead = "Every tool of the gateway itself. How agents get them, and which others servers bring, stands under \
                [Tools](../tools.md) and [Tool servers](../mcp.md). *Owner* marks tools that only the owner of the \
                gateway can use.";
    let rows = BUILT_IN.iter().map(|tool| {
        let owner = if tool.owner_only() { "yes" } else { "" };
        let schema = (tool.parameters)();
        let members = schema["properties"].as_object().map(|all| all.keys().map(|name| code(name)));
        let arguments: Vec<String> = members.into_iter().flatten().collect();
        let risk = tool.risk.to_owned();
        [
            code(tool.name),
            code(tool.group),
            owner.to_owned(),
            risk,
            arguments.join(", "),
            tool.description.to_owned(),
        ]
    });
    let mut text = page("Tools", lead);
    text += &table(["tool", "group", "owner", "risk", "arguments", "what a model is told"], rows);
    text += "\n## Groups\n\nA policy may name a group instead of its tools. `group:telson` stands for every tool of this \
             table, `group:mcp` for every tool of a server. Names of tools that this gateway does not have are \
             understood, and change nothing.\n";
    let rows = GROUPS.iter().map(|(group, members)| {
        let names: Vec<String> = members.iter().map(|name| code(name)).collect();
        [code(group), names.join(", ")]
    });
    text + &table(["group", "tools"], rows)
}
