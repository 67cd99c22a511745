//! Beacons: what `system-event` says about a machine, as members and as a line of text (spec 03 §5.4).

use telson_proto::system::PresenceEntry;

use super::methods::EventParams;

/// What the line `Node: <host> (<ip>) · app <version> · last input <n>s ago · mode <mode> · reason <reason>`
/// says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    host: Option<String>,
    ip: Option<String>,
    version: Option<String>,
    last_input_seconds: Option<u64>,
    mode: Option<String>,
    reason: Option<String>,
}

/// Reads a beacon line; a text of any other form says nothing.
pub(super) fn parse(text: &str) -> Line {
    let Some(rest) = text.trim().strip_prefix("Node:") else { return Line::default() };
    let mut line = Line::default();
    for (index, part) in rest.split('·').map(str::trim).enumerate() {
        if index == 0 {
            let (host, ip) = part.split_once('(').unwrap_or((part, ""));
            line.host = non_blank(host);
            line.ip = non_blank(ip.trim_end_matches(')'));
        } else if let Some(version) = part.strip_prefix("app ") {
            line.version = non_blank(version);
        } else if let Some(mode) = part.strip_prefix("mode ") {
            line.mode = non_blank(mode);
        } else if let Some(reason) = part.strip_prefix("reason ") {
            line.reason = non_blank(reason);
        } else if let Some(seconds) = part.strip_prefix("last input ") {
            line.last_input_seconds = seconds.trim_end_matches("s ago").trim().parse().ok();
        }
    }
    line
}

/// The presence key and entry of a beacon: members win over the line [C-44].
pub(super) fn entry(params: &EventParams, text: &str, now_ms: u64) -> (String, PresenceEntry) {
    let line = parse(text);
    let host = params.host.clone().or(line.host);
    let ip = params.ip.clone().or(line.ip);
    let key = [&params.device_id, &params.instance_id, &host, &ip]
        .into_iter()
        .find_map(|name| name.clone().filter(|name| !name.trim().is_empty()))
        .unwrap_or_else(|| text.chars().take(64).collect());
    let entry = PresenceEntry {
        host,
        ip,
        version: params.version.clone().or(line.version),
        platform: params.platform.clone(),
        device_family: params.device_family.clone(),
        model_identifier: params.model_identifier.clone(),
        mode: params.mode.clone().or(line.mode),
        last_input_seconds: params.last_input_seconds.or(line.last_input_seconds),
        reason: params.reason.clone().or(line.reason),
        device_id: params.device_id.clone(),
        instance_id: params.instance_id.clone(),
        roles: params.roles.clone(),
        scopes: params.scopes.clone(),
        text: text.to_owned(),
        ts: now_ms,
    };
    (key.trim().to_lowercase(), entry)
}

/// What of a `Node:` beacon is news for the main session, or nothing.
pub(super) fn news(before: Option<&PresenceEntry>, after: &PresenceEntry) -> Option<String> {
    let changed = |old: fn(&PresenceEntry) -> &Option<String>| {
        let new = old(after);
        new.is_some() && before.is_none_or(|before| old(before) != new)
    };
    let mut parts = Vec::new();
    if changed(|e| &e.host) || changed(|e| &e.ip) {
        let host = after.host.as_deref().unwrap_or("unknown");
        let ip = after.ip.as_deref().map(|ip| format!(" ({ip})")).unwrap_or_default();
        parts.push(format!("Node: {host}{ip}"));
    }
    if changed(|e| &e.version) {
        parts.push(format!("app {}", after.version.as_deref().unwrap_or_default()));
    }
    if changed(|e| &e.mode) {
        parts.push(format!("mode {}", after.mode.as_deref().unwrap_or_default()));
    }
    let reason = after.reason.as_deref().unwrap_or_default();
    if changed(|e| &e.reason) && reason != "heartbeat" && !reason.starts_with("periodic") {
        parts.push(format!("reason {reason}"));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

fn non_blank(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_line_is_read_in_parts() {
        let line = parse("Node: desk (10.0.0.7) · app 1.2 · last input 12s ago · mode ui · reason launch");
        assert_eq!(line.host.as_deref(), Some("desk"));
        assert_eq!(line.ip.as_deref(), Some("10.0.0.7"));
        assert_eq!(line.version.as_deref(), Some("1.2"));
        assert_eq!(line.last_input_seconds, Some(12));
        assert_eq!((line.mode.as_deref(), line.reason.as_deref()), (Some("ui"), Some("launch")));
        assert_eq!(parse("anything else"), Line::default());
    }

    #[test]
    fn only_changes_are_news_and_heartbeats_are_none() {
        let params = EventParams { text: None, ..EventParams::default() };
        let (_, first) = entry(&params, "Node: desk · app 1 · mode ui · reason launch", 1);
        assert_eq!(news(None, &first).as_deref(), Some("Node: desk · app 1 · mode ui · reason launch"));
        let (_, second) = entry(&params, "Node: desk · app 2 · mode ui · reason heartbeat", 2);
        assert_eq!(news(Some(&first), &second).as_deref(), Some("app 2"));
        assert_eq!(news(Some(&second), &second), None);
    }
}
