//! What the tailnet's program tells, as far as it matters here. Everything in it is read leniently and believed
//! narrowly: what is not understood counts as not said.

use serde_json::Value;

/// How the tailnet's service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    /// It is connected; this machine's name, or its first address.
    Running(String),
    /// It is not; its own word for how it stands.
    Not(String),
}

/// The login that stands for every machine which belongs to no person.
const NOBODY: &str = "tagged-devices";

/// The longest login and state that are believed, in characters.
const LONGEST: usize = 255;

/// Reads `status --json`.
pub(super) fn daemon(text: &str) -> Option<Daemon> {
    let status: Value = serde_json::from_str(text).ok()?;
    let state = word(status.get("BackendState")?)?;
    if state != "Running" {
        return Some(Daemon::Not(state));
    }
    let own = status.get("Self").unwrap_or(&Value::Null);
    let name = own.get("DNSName").and_then(word).map(|name| name.trim_end_matches('.').to_owned());
    let address = || word(own.pointer("/TailscaleIPs/0")?);
    let name = name.filter(|name| !name.is_empty()).or_else(address);
    Some(
        name.map_or_else(|| Daemon::Not("Running, without a name or an address".to_owned()), Daemon::Running),
    )
}

/// Whether `serve status --json` shows a route to `target`, and for a funnel that the internet may use it. The
/// claim of a foreground command stands below `Foreground`, by session.
pub(super) fn shows_route(text: &str, target: &str, funnel: bool) -> bool {
    let Ok(status) = serde_json::from_str::<Value>(text) else { return false };
    let sessions = status.get("Foreground").and_then(Value::as_object).into_iter().flatten();
    std::iter::once(&status).chain(sessions.map(|(_, session)| session)).any(|config| {
        let hosts = config.get("Web").and_then(Value::as_object).into_iter().flatten();
        hosts.filter(|(_, host)| proxies(host, target)).any(|(name, _)| {
            let open = config.get("AllowFunnel").and_then(|open| open.get(name));
            (open == Some(&Value::Bool(true))) == funnel
        })
    })
}

fn proxies(host: &Value, target: &str) -> bool {
    let root = host.pointer("/Handlers").and_then(|handlers| handlers.get("/"));
    let proxy = root.and_then(|root| root.get("Proxy")).and_then(Value::as_str);
    proxy.is_some_and(|proxy| proxy.trim_end_matches('/') == target)
}

/// Whose an address is, by `whois --json`. Machines with tags belong to nobody.
pub(super) fn login(text: &str) -> Option<String> {
    let whois: Value = serde_json::from_str(text).ok()?;
    let profile = ["UserProfile", "userProfile", "User"].iter().find_map(|name| whois.get(name))?;
    let login = ["LoginName", "loginName", "Login", "login"].iter().find_map(|name| profile.get(name))?;
    word(login).filter(|login| !login.eq_ignore_ascii_case(NOBODY))
}

/// A text that is one short line.
fn word(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    let fine = !text.is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
    fine.then(|| text.to_owned())
}
