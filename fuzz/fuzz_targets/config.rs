//! Whatever stands in the configuration file: settings, or mistakes with their places; never an open gateway that
//! others can reach, and never a secret in what `config.get` shows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telson_core::auth::Secret;
use telson_core::config::{Access, Environment, Flags, Issue, Loaded, REDACTED, Surroundings, load};
use telson_core::settings::Facts;

const ENV_SECRET: &str = "from-the-environment-0123456789";

fuzz_target!(|text: &str| {
    let env: Environment =
        [("OPENCLAW_GATEWAY_PASSWORD", ENV_SECRET), ("KEY", ENV_SECRET), ("LEVEL", "debug")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
    let surroundings = Surroundings { tailnet: Some([100, 64, 0, 9].into()), container: text.len() % 2 == 0 };
    for (env, own) in [(Environment::default(), true), (env, false)] {
        match load(Some(text), &env, &Flags::default(), &surroundings) {
            Ok(loaded) => accepted(text, &loaded, own),
            Err(issues) => refused(text, &issues),
        }
    }
});

fn refused(text: &str, issues: &[Issue]) {
    assert!(!issues.is_empty(), "a refusal has a reason");
    for issue in issues {
        assert!(!issue.message.is_empty());
        let line = issue.line("telson.json");
        assert!(!line.contains(ENV_SECRET), "a mistake does not tell a secret: {line}");
        if let Some(place) = issue.place {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&place.line), "{line}: the file has {lines} lines");
            let columns = text.split('\n').nth(place.line - 1).unwrap_or_default().chars().count();
            assert!((1..=columns + 1).contains(&place.column), "{line}: the line has {columns} columns");
        }
    }
}

/// `own` says that every secret stands in the file itself.
fn accepted(text: &str, loaded: &Loaded, own: bool) {
    assert!(!loaded.listen.is_empty());
    let exposed = loaded.listen.iter().any(|address| !address.ip().is_loopback());
    let guarded = matches!(loaded.access, Access::Token(_) | Access::Password(_));
    assert!(guarded || !exposed, "others can reach a gateway that asks for nothing they were given");
    assert!(loaded.settings(facts(), None).is_some() || matches!(loaded.access, Access::MadeToken));
    let made = Secret::new("made-at-the-first-start");
    let settings =
        loaded.settings(facts(), Some(made)).expect("a configuration without mistakes has settings");

    let view = settings.config;
    assert_eq!(view.raw.is_some(), view.exists);
    assert!(view.config.to_value().is_object(), "{}", view.config.as_str());
    let raw = view.raw.unwrap_or_default();
    for secret in loaded.secrets().filter(|secret| own && secret.len() >= 8) {
        // What looks like the mark itself cannot be told from it.
        if !secret.contains("OPENCLAW") && !secret.contains("REDACTED") {
            assert!(!raw.contains(secret), "a secret is shown: {text}");
        }
    }
    for pointer in ["/gateway/auth/token", "/gateway/auth/password"] {
        if let Some(shown) = view.parsed.to_value().pointer(pointer).and_then(|value| value.as_str()) {
            assert!(shown == REDACTED || shown.trim().starts_with("${"), "{pointer} shows {shown}");
        }
    }
}

fn facts() -> Facts {
    Facts {
        utc_offset_secs: 0,
        version: "0".to_owned(),
        host: "gateway".to_owned(),
        ip: None,
        platform: "linux".to_owned(),
        device_family: "Linux".to_owned(),
        config_path: "/nowhere/telson.json".to_owned(),
        state_dir: "/nowhere".to_owned(),
    }
}
