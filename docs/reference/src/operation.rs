//! Limits, configuration keys, environment variables, exit codes and failure codes.

use telson_core::config::{Failure, KEYS, PREFIXES, VARIABLES};
use telson_core::limits::LIMITS;
use telson_host::cli::Exit;

use crate::markdown::{code, page, table};

pub(crate) fn limits() -> String {
    let lead = "Every limit of this gateway, with what happens at it. Where a configuration key is named, that key \
                changes the limit; the others are fixed. What a hello states in `policy` is what is enforced.";
    let rows = LIMITS.iter().map(|limit| {
        let key = limit.key.map_or_else(|| "—".to_owned(), code);
        [code(limit.name), grouped(limit.default), limit.unit.to_owned(), key, limit.policy.to_owned()]
    });
    page("Limits", lead) + &table(["limit", "default", "unit", "key", "what happens at it"], rows)
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn configuration() -> String {
    let lead = "Every key of `telson.json`. A path names the members from the outside in; `*` stands for a name of \
                your choice, `[]` for the items of a list. How the file is read stands under \
                [Configuration](../configuration.md).\n\n## Keys";
    let rows = KEYS.iter().map(|key| {
        let default = key.default.map_or_else(|| "—".to_owned(), code);
        [code(key.path), key.kind.describe(), default, key.meaning.to_owned()]
    });
    let mut text = page("Configuration keys", lead);
    text += &table(["key", "value", "default", "what it does"], rows);
    let prefixes: Vec<String> = PREFIXES.into_iter().map(code).collect();
    text += &format!(
        "\n## Environment variables\n\nA variable is looked for under the prefixes {} in this order; the first one \
         that is not blank counts. Those marked *own* are read under the first prefix only.\n",
        prefixes.join(", ")
    );
    let rows = VARIABLES.iter().map(|variable| {
        let own = if variable.shared { "" } else { "own" };
        [code(&format!("{}{}", PREFIXES[0], variable.name)), own.to_owned(), variable.meaning.to_owned()]
    });
    text += &table(["variable", "", "what it does"], rows);
    text
}

pub(crate) fn exit_codes() -> String {
    let lead = "What a command tells the shell, and the stable names of failures. A failure code stands in the \
                output of `--json` and in the log field `code`. Neither changes from one release to the next.\n\n\
                ## Exit codes";
    let rows = Exit::ALL.iter().map(|exit| [code(&exit.number().to_string()), exit.meaning().to_owned()]);
    let mut text = page("Exit codes and failure codes", lead);
    text += &table(["exit code", "meaning"], rows);
    text += "\n## Failure codes\n\nEach failure ends a command with one exit code.\n";
    let rows = Failure::ALL.iter().map(|failure| {
        let exit = Exit::from(*failure).number().to_string();
        [code(failure.code()), code(&exit), failure.meaning().to_owned()]
    });
    text += &table(["failure code", "exit code", "meaning"], rows);
    text
}
