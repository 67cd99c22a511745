//! `/status` and `/context`.

use telson_proto::ErrorShape;

use crate::gateway::Gateway;
use crate::ids::SessionKey;
use crate::settings::ModelRef;

use super::{Caller, Done};

/// `/status`: the gateway, the model, the session, and what runs.
pub(super) fn status(gateway: &Gateway, caller: &Caller<'_>, _: &str) -> Result<Done, ErrorShape> {
    let key = caller.key;
    let model = gateway.model_of(key);
    let entry = gateway.sessions.entry(key);
    let agents = &gateway.settings.agents;
    let or = |level: Option<&String>, default: Option<&String>| {
        level.or(default).map_or("off", String::as_str).to_owned()
    };
    let thinking = entry.and_then(|entry| entry.thinking_level.clone());
    let verbose = entry.and_then(|entry| entry.verbose_level.as_ref());
    let reasoning = entry.and_then(|entry| entry.reasoning_level.as_ref());
    let elevated = entry.and_then(|entry| entry.elevated_level.as_ref());
    let queue = gateway.settings.agents.queue.of(entry);
    let runs = gateway.sessions.active_runs(key).count();
    let lines = [
        format!("Telson {}, up {}", gateway.settings.facts.version, duration(gateway.uptime_ms())),
        format!("Model: {model} ({})", credential(gateway, &model)),
        format!("Session: {key}, {}", age(gateway, key)),
        context_line(gateway, key, &model),
        format!(
            "Levels: thinking {}, verbose {}, reasoning {}, elevated {}",
            thinking.unwrap_or_else(|| gateway.agents.thinking_default(&model)),
            or(verbose, agents.verbose_default.as_ref()),
            or(reasoning, None),
            elevated.map_or("default", String::as_str),
        ),
        format!(
            "Queue: {}, {runs} open in this session, {} in all",
            queue.mode.as_str(),
            gateway.runs.open()
        ),
    ];
    Ok(Done::says(lines.join("\n")))
}

/// `/context`: how much of the model's context the session uses.
pub(super) fn context(gateway: &Gateway, caller: &Caller<'_>, _: &str) -> Result<Done, ErrorShape> {
    let model = gateway.model_of(caller.key);
    let session = gateway.sessions.get(caller.key);
    let entry = session.map(|session| &session.entry);
    let tokens = |count: Option<u64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let compacted = entry.and_then(|entry| entry.extra.get("compactionCount")?.as_u64()).unwrap_or(0);
    let lines = [
        context_line(gateway, caller.key, &model),
        format!(
            "Last run: {} tokens in, {} out",
            tokens(entry.and_then(|entry| entry.input_tokens)),
            tokens(entry.and_then(|entry| entry.output_tokens)),
        ),
        format!("Transcript: {} entries, compacted {compacted} times", session.map_or(0, |s| s.last_seq)),
    ];
    Ok(Done::says(lines.join("\n")))
}

fn context_line(gateway: &Gateway, key: &SessionKey, model: &ModelRef) -> String {
    let used = gateway.sessions.entry(key).and_then(|entry| entry.total_tokens);
    match (used, gateway.agents.context_tokens(model)) {
        (Some(used), Some(all)) if all > 0 => {
            format!("Context: {used} of {all} tokens ({}%)", used.saturating_mul(100) / all)
        }
        (None, Some(all)) => format!("Context: nothing yet of {all} tokens"),
        (Some(used), _) => format!("Context: {used} tokens"),
        (None, None) => "Context: unknown".to_owned(),
    }
}

/// How the gateway proves itself to the model's provider; never the proof.
fn credential(gateway: &Gateway, model: &ModelRef) -> &'static str {
    let provider = gateway.settings.providers.iter().find(|provider| provider.id == model.provider);
    match provider {
        None if model.provider == "echo" => "built in",
        None => "no such provider is configured",
        Some(provider) if provider.api_key.is_some() => "key configured",
        Some(provider) if !provider.headers.is_empty() => "headers configured",
        Some(_) => "no key configured",
    }
}

fn age(gateway: &Gateway, key: &SessionKey) -> String {
    match gateway.sessions.get(key) {
        None => "not begun".to_owned(),
        Some(session) => {
            let ago = gateway.now.wall.saturating_sub(session.updated_at);
            format!("changed {} ago", duration(ago))
        }
    }
}

/// A time span in its two largest units.
fn duration(millis: u64) -> String {
    let secs = millis / 1_000;
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn time_spans_show_their_two_largest_units() {
        let cases = [(999, "0 s"), (61_000, "1 min 1 s"), (7_260_000, "2 h 1 min"), (90_000_000, "1 d 1 h")];
        for (millis, text) in cases {
            assert_eq!(duration(millis), text);
        }
    }
}
