//! Methods, commands, events, errors and scopes.

use telson_core::audit::Audited;
use telson_core::commands::{COMMANDS, Needs};
use telson_core::gateway::{METHODS, Method, Need};
use telson_proto::event::Guard;
use telson_proto::{CloseCode, ErrorCode, EventName, Protocol, Scope};

use crate::markdown::{code, page, table};

pub(crate) fn methods() -> String {
    let lead = "Every method of this gateway. *3* and *4* say what a caller of that protocol needs; plain \
                connections speak protocol 3 unless they ask for 4. *Hello* says in whose hello the method is \
                listed; a method that is not listed can be called all the same. *Key* marks methods that take an \
                idempotency key. *Book* marks methods whose every call is written into the \
                [audit book](../audit.md), on one protocol or both.\n\n\
                A method that stands in no row does not exist: a caller with `operator.admin` gets `unknown \
                method`, any other caller a missing scope.";
    let rows = METHODS.iter().map(|method| {
        let [v3, v4] = Protocol::ALL.map(|protocol| need(method.need(protocol)));
        let book = Protocol::ALL.into_iter().any(|protocol| method.audited(protocol) == Audited::Calls);
        let (listed, key) = (listed(method), yes(method.idempotent));
        [code(method.name), v3, v4, listed, key, yes(book), method.about.to_owned()]
    });
    page("Methods", lead) + &table(["method", "3", "4", "hello", "key", "book", "what it does"], rows)
}

pub(crate) fn commands() -> String {
    let lead = "Every command that can be typed as a message. *Needs* says what the sender needs beyond the right to \
                send, `operator.write`, to change something; to show it needs nothing more. A message with more \
                words than a command takes goes to the model. How commands work stands under \
                [Commands](../commands.md).";
    let rows = COMMANDS.iter().map(|command| {
        let arguments = command.args.iter().map(|arg| match arg.choices {
            [] => arg.name.to_owned(),
            choices => choices.join(" | "),
        });
        let also: Vec<String> = command.aliases.iter().map(|alias| code(&format!("/{alias}"))).collect();
        let [v3, v4] = Protocol::ALL.map(|protocol| command_needs(command.needs, protocol));
        [
            code(&format!("/{}", command.name)),
            also.join(", "),
            arguments.collect::<Vec<_>>().join("; "),
            v3,
            v4,
            command.about.to_owned(),
        ]
    });
    page("Commands", lead)
        + &table(["command", "also", "what may follow", "needs (3)", "needs (4)", "what it does"], rows)
}

fn command_needs(needs: Needs, protocol: Protocol) -> String {
    match (needs, protocol) {
        (Needs::Nothing | Needs::Abort, _) | (Needs::Light, Protocol::V4) => String::new(),
        (Needs::Light | Needs::Setting | Needs::Reset, _) => code(Scope::Admin.as_str()),
    }
}

fn need(need: Need) -> String {
    match need {
        Need::Anyone => "everyone".to_owned(),
        Need::Operator => "operator".to_owned(),
        Need::Node => "node".to_owned(),
        Need::Scope(scope) => code(scope.as_str()),
        Need::Absent => "—".to_owned(),
    }
}

fn listed(method: &Method) -> String {
    let words: Vec<String> = Protocol::ALL
        .into_iter()
        .filter(|protocol| method.is_listed(*protocol))
        .map(|protocol| protocol.number().to_string())
        .collect();
    if words.is_empty() { "—".to_owned() } else { words.join(", ") }
}

fn yes(yes: bool) -> String {
    if yes { "yes".to_owned() } else { String::new() }
}

pub(crate) fn events() -> String {
    let lead = "Every event that this gateway sends. *Who hears it* is checked for each connection as the last step \
                before the socket. An event that is droppable is left out for a slow reader; its number is used \
                up, so the reader sees a gap. Any other event closes a reader that is too slow.\n\n\
                Protocol 3 knows no scope for talk: there, whoever may read hears `talk.mode`.";
    let rows = EventName::ALL.iter().map(|event| {
        let spec = event.spec();
        let hello = match (spec.v3, spec.v4) {
            (true, true) => "3, 4",
            (true, false) => "3",
            (false, true) => "4",
            (false, false) => "—",
        };
        [code(spec.name), guard(spec.guard), hello.to_owned(), spec.about.to_owned()]
    });
    page("Events", lead) + &table(["event", "who hears it", "hello", "what it says"], rows)
}

fn guard(guard: Guard) -> String {
    match guard {
        Guard::Everyone => "everyone, nodes too".to_owned(),
        Guard::Scope(scope) => format!("operators with {}", code(scope.as_str())),
        Guard::Addressed => "the connection it is for".to_owned(),
    }
}

pub(crate) fn errors() -> String {
    let lead = "A failed request is answered with `ok: false` and an `error` with `code`, `message` and, where they \
                help, `details`, `retryable` and `retryAfterMs`. The message names the field, the problem and the \
                remedy.\n\n## Error codes";
    let codes = ErrorCode::ALL.map(|(error, about)| [code(error.as_str()), about.to_owned()]);
    let closes = CloseCode::ALL.map(|(close, about)| [code(&close.number().to_string()), about.to_owned()]);
    let mut text = page("Error codes and close codes", lead);
    text += &table(["code", "meaning"], codes);
    text += "\n## Close codes\n\nEvery close has a reason in words, at most 120 bytes long. A refused connect is \
             answered first and closed then.\n";
    text += &table(["code", "meaning"], closes);
    text
}

pub(crate) fn scopes() -> String {
    let lead = "An operator holds scopes. The set is closed: a word that is none of these grants nothing. *Also \
                grants* lists what a scope implies.";
    let about = |scope| match scope {
        Scope::Admin => "Everything.",
        Scope::Read => "See state, history and events.",
        Scope::Write => "Act: chat, send, wake, invoke.",
        Scope::Approvals => "Decide on approvals.",
        Scope::Pairing => "Manage devices and nodes.",
        Scope::Questions => "Answer questions (protocol 4).",
        Scope::Talk => "Use talk mode (protocol 4).",
        Scope::TalkSecrets => "Read talk credentials (protocol 4).",
    };
    let rows = Scope::ALL.map(|scope| [code(scope.as_str()), about(scope).to_owned(), implied(scope)]);
    page("Scopes", lead) + &table(["scope", "what it permits", "also grants"], rows)
}

fn implied(scope: Scope) -> String {
    let others = || Scope::ALL.into_iter().filter(move |other| *other != scope);
    if others().all(|other| scope.covers(other, Protocol::V3)) {
        return "every other scope".to_owned();
    }
    let words: Vec<String> = others()
        .filter(|other| scope.covers(*other, Protocol::V4))
        .map(|other| match scope.covers(other, Protocol::V3) {
            true => code(other.as_str()),
            false => format!("{} (protocol 4)", code(other.as_str())),
        })
        .collect();
    words.join(", ")
}
