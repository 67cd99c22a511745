#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::foreign::FOREIGN;
use super::keys::Step;
use super::*;
use crate::limits::LIMITS;

pub(super) const STRONG: &str = "c3VubnkgZGF5IG9uIHRoZSBzZWE";

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn read(text: &str) -> Result<Loaded, Vec<Issue>> {
    load(Some(text), &Environment::default(), &Flags::default(), &Surroundings::default())
}

fn read_with(text: &str, pairs: &[(&str, &str)], flags: &Flags) -> Result<Loaded, Vec<Issue>> {
    load(Some(text), &env(pairs), flags, &Surroundings::default())
}

fn facts() -> Facts {
    Settings::plain(AuthMode::None).facts
}

pub(super) fn only(issues: Vec<Issue>) -> Issue {
    assert_eq!(issues.len(), 1, "{issues:?}");
    issues.into_iter().next().unwrap()
}

/// A file that sets one key of the table, on its own line where possible.
fn file_with(path: &str, value: &str) -> String {
    let mut opening = String::new();
    let mut closing = String::new();
    for step in keys::steps(KEYS.iter().find(|key| key.path == path).unwrap().path) {
        match step {
            Step::Name(name) => {
                opening.push_str(&format!("{{{}{name}: ", required(path, &opening)));
                closing.insert(0, '}');
            }
            Step::Any => {
                opening.push_str(if path.contains("defaults.models") {
                    "{'some/name': "
                } else {
                    "{somename: "
                });
                closing.insert(0, '}');
            }
            Step::Each => {
                opening.push('[');
                closing.insert(0, ']');
            }
        }
    }
    format!("{opening}\n{value}\n{closing}")
}

/// Members that must accompany the key.
fn required(path: &str, opening: &str) -> &'static str {
    let deep = opening.matches('{').count();
    match path {
        _ if path.starts_with("agents.list[]") && path != "agents.list[].id" && deep == 2 => "id: 'a', ",
        _ if path.starts_with("models.providers") && !path.ends_with("baseUrl") && deep == 3 => {
            "baseUrl: 'http://127.0.0.1:1/v1', "
        }
        _ if path.starts_with("models.providers.*.models[]") && !path.ends_with(".id") && deep == 4 => {
            "id: 'm', "
        }
        _ if path.starts_with("session.sendPolicy.rules[].match") && deep == 3 => "action: 'deny', ",
        "mcp.servers.*.command" | "mcp.servers.*.url" => "",
        _ if path.starts_with("mcp.servers") && deep == 3 => "command: 'x', ",
        _ => "",
    }
}

fn sample(kind: Kind) -> String {
    match kind {
        Kind::Flag => "true".to_owned(),
        Kind::Count(low, _) => low.to_string(),
        Kind::Choice(words) => format!("'{}'", words[0]),
        Kind::Text => "'words'".to_owned(),
        Kind::Secret => format!("'{STRONG}'"),
        Kind::Url => "'https://host.example/v1'".to_owned(),
        Kind::Socket => "'wss://host:1'".to_owned(),
        Kind::Fingerprint => format!("'{}'", "0f".repeat(32)),
        Kind::Ipv4 => "'127.0.0.1'".to_owned(),
        Kind::Path => "'~/a.log'".to_owned(),
        Kind::Model => "'echo/echo'".to_owned(),
        Kind::Models => "['echo/echo']".to_owned(),
        Kind::Amount => "0.25".to_owned(),
        Kind::Origin => "'https://host'".to_owned(),
        Kind::Choices(words) => format!("['{}']", words[0]),
        Kind::Texts => "['a+']".to_owned(),
        Kind::Origins => "['https://host:1']".to_owned(),
        Kind::Networks => "['10.0.0.2', 'fd00::/8']".to_owned(),
        Kind::Network => "'10.0.0.2'".to_owned(),
        Kind::Hosts => "['box.example']".to_owned(),
        Kind::Host => "'box.example'".to_owned(),
        Kind::Headers => "['x-user']".to_owned(),
        Kind::Header => "'x-user'".to_owned(),
        Kind::TextOrOff => "false".to_owned(),
    }
}

#[test]
fn nothing_is_needed() {
    let loaded = load(None, &Environment::default(), &Flags::default(), &Surroundings::default()).unwrap();
    assert_eq!(loaded.port, 18_789);
    assert_eq!(loaded.listen, ["127.0.0.1:18789".parse().unwrap(), "[::1]:18789".parse().unwrap()]);
    assert!(matches!(loaded.access, Access::MadeToken));
    assert!(loaded.settings(facts(), None).is_none(), "without its token such a gateway must not start");
    let settings = loaded.settings(facts(), Some(Secret::new(STRONG))).unwrap();
    assert!(matches!(settings.auth.mode, AuthMode::Token(_)));
    assert_eq!(settings.agents.model, crate::settings::ModelRef::echo());
    assert!(!settings.config.exists);
    assert_eq!(settings.config.hash, crate::settings::ConfigView::absent().hash);
}

#[test]
fn every_key_takes_its_default_and_a_value_of_its_kind() {
    for key in KEYS {
        let values = key.default.map(str::to_owned).into_iter().chain([sample(key.kind)]);
        for value in values {
            let text = file_with(key.path, &value);
            if let Err(issues) = read(&text) {
                panic!("{} does not take {value}: {issues:?}\n{text}", key.path);
            }
        }
    }
}

#[test]
fn every_key_refuses_another_kind_and_says_where() {
    for key in KEYS {
        let wrong = match key.kind {
            Kind::Flag => "'yes'",
            Kind::TextOrOff => "true",
            _ => "false",
        };
        let issues = read(&file_with(key.path, wrong)).expect_err(key.path);
        let issue = issues.iter().find(|issue| issue.place == Some(Place { line: 2, column: 1 }));
        let issue = issue.unwrap_or_else(|| panic!("{}: {issues:?}", key.path));
        assert!(issue.message.starts_with("is "), "{issue}");
        assert!(issue.expected.is_some(), "{issue}");
    }
}

#[test]
fn writing_every_default_down_changes_nothing() {
    let written = KEYS.iter().filter(|key| key.steps().all(|step| matches!(step, Step::Name(_))));
    let bare = read("{}").unwrap().settings(facts(), Some(Secret::new(STRONG))).unwrap();
    for (key, default) in written.filter_map(|key| Some((key, key.default?))) {
        let full = read(&file_with(key.path, default)).unwrap();
        let full = full.settings(facts(), Some(Secret::new(STRONG))).unwrap();
        let same = |settings: &Settings| {
            let (auth, limits, agents) = (&settings.auth, &settings.limits, &settings.agents);
            format!(
                "{auth:?} {limits:?} {agents:?} {:?} {:?} {}",
                settings.api,
                settings.simple_dialect,
                settings.config.config.as_str()
            )
        };
        assert_eq!(same(&bare), same(&full), "the default of {} is not what happens without it", key.path);
    }
}

#[test]
fn the_tables_of_keys_and_limits_agree() {
    for limit in LIMITS {
        let Some(path) = limit.key else { continue };
        let key = KEYS.iter().find(|key| key.path == path).unwrap_or_else(|| panic!("{path} is no key"));
        let factor = if path.ends_with("Seconds") { 1_000 } else { 1 };
        let default: u64 = key.default.unwrap().parse().unwrap();
        assert_eq!(default * factor, limit.default, "{path}");
    }
}

#[test]
fn no_key_is_both_used_and_foreign() {
    for foreign in FOREIGN {
        let clash =
            KEYS.iter().find(|key| key.path == *foreign || key.path.starts_with(&format!("{foreign}.")));
        assert!(clash.is_none(), "{foreign}");
    }
}

#[test]
fn a_misspelt_key_is_named_with_its_place_and_the_key_that_was_meant() {
    let text = "{\n  // the port\n  gateway: {\n    prot: 19001,\n  },\n}\n";
    let issue = only(read(text).unwrap_err());
    assert_eq!(
        issue.line("/etc/telson.json"),
        "/etc/telson.json:4:5: gateway.prot: is not a known key (did you mean \"gateway.port\"?)"
    );
}

#[test]
fn a_key_at_the_wrong_place_is_led_to_the_right_one() {
    let meant = |text: &str| only(read(text).unwrap_err()).nearest;
    assert_eq!(meant("{gateway: {token: 'x'}}").as_deref(), Some("gateway.auth.token"));
    assert_eq!(meant("{port: 1}").as_deref(), Some("gateway.port"));
    assert_eq!(meant("{logging: {levles: {}}}").as_deref(), Some("logging.levels"));
    assert_eq!(
        meant("{agents: {defaults: {models: {'a/b.c': {alais: 'x'}}}}}").as_deref(),
        Some("agents.defaults.models.\"a/b.c\".alias")
    );
    assert_eq!(meant("{qqqqqqqq: 1}"), None);
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "{\n gateway: {port: 'x', bind: 'lann', auth: {mode: 'open'}},\n logging: {keepDays: 0},\n bogus_key: 1\n}";
    let issues = read(text).unwrap_err();
    let paths: Vec<&str> = issues.iter().map(|issue| issue.path.as_str()).collect();
    assert_eq!(paths, ["gateway.port", "gateway.bind", "gateway.auth.mode", "logging.keepDays", "bogus_key"]);
    assert_eq!(issues[0].expected.as_deref(), Some("a whole number from 1 to 65535"));
    assert_eq!(issues[1].nearest.as_deref(), Some("lan"));
    assert!(issues[2].expected.as_deref().unwrap().contains("password"));
    assert!(issues.iter().all(|issue| issue.code == Failure::ConfigInvalid));
}

#[test]
fn json5_is_read_as_people_write_it() {
    let text = "\u{feff}// a comment\n{gateway: {port: 0x4a39, /* hex */ 'bind': 'loopback',}, logging: {keepDays: +30.0},}";
    let loaded = read(text).unwrap();
    assert_eq!(loaded.port, 19_001);
    assert_eq!(loaded.logging.keep_days, 30);
}

#[test]
fn broken_text_is_located() {
    let issue = only(read("{\n  gateway: {\n    port: 1 bind: 'lan'\n  }\n}").unwrap_err());
    assert!(issue.message.starts_with("JSON5 parse failed: "), "{issue}");
    assert_eq!(issue.place.map(|place| place.line), Some(3));
}

#[test]
fn a_key_given_twice_is_refused() {
    let issue = only(read("{gateway: {port: 1,\n port: 2}}").unwrap_err());
    assert_eq!((issue.place.unwrap().line, issue.message.as_str()), (2, "is given twice in the same object"));
}

#[test]
fn keys_of_the_reference_give_a_warning() {
    let text = "{channels: {telegram: {botToken: '${NOT_SET}'}}, gateway: {reload: {mode: 'off'}},
        agents: {defaults: {model: 'a/b', compaction: {mode: 'safeguard'}}}}";
    let loaded = read(text).unwrap();
    let warnings: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "not supported by this gateway: channels",
            "not supported by this gateway: gateway.reload",
            "not supported by this gateway: agents.defaults.compaction",
        ]
    );
}

#[test]
fn an_include_is_refused_rather_than_left_out() {
    let issue = only(read("{gateway: {$include: './gateway.json5'}}").unwrap_err());
    assert_eq!(issue.to_string(), "gateway.$include: is not supported by this gateway");
}

#[test]
fn variables_are_replaced() {
    let text = "{models: {providers: {local: {baseUrl: 'http://${HOST}:8080/v1/', apiKey: '${KEY}'}}},
        agents: {list: [{id: 'A', name: '$${KEY} ${lower}'}]}}";
    let loaded = read_with(text, &[("HOST", "10.0.0.1"), ("KEY", "k-123456789")], &Flags::default()).unwrap();
    let settings = loaded.settings(facts(), Some(Secret::new(STRONG))).unwrap();
    assert_eq!(settings.providers[0].base_url, "http://10.0.0.1:8080/v1");
    assert!(settings.providers[0].api_key.as_ref().unwrap().matches("k-123456789"));
    assert_eq!(settings.agents.list[0].name.as_deref(), Some("${KEY} ${lower}"));
}

#[test]
fn an_unset_variable_is_an_error_for_a_secret_and_a_warning_elsewhere() {
    let secret = read("{gateway: {auth: {token: '${NOWHERE}'}}}").unwrap_err();
    assert_eq!(only(secret).message, "the environment variable NOWHERE is not set");
    let loaded = read("{agents: {list: [{id: 'a', name: 'x ${NOWHERE}'}]}}").unwrap();
    assert_eq!(loaded.warnings[0].path, "agents.list.0.name");
    let settings = loaded.settings(facts(), Some(Secret::new(STRONG))).unwrap();
    assert_eq!(settings.agents.list[0].name, None);
}

#[test]
fn variables_are_found_under_every_prefix_the_first_set_one_wins() {
    let port =
        |pairs: &[(&str, &str)]| read_with("{gateway: {port: 4}}", pairs, &Flags::default()).unwrap().port;
    assert_eq!(port(&[]), 4);
    assert_eq!(port(&[("CLAWDBOT_GATEWAY_PORT", "1")]), 1);
    assert_eq!(port(&[("CLAWDBOT_GATEWAY_PORT", "1"), ("MOLTBOT_GATEWAY_PORT", "2")]), 2);
    assert_eq!(port(&[("MOLTBOT_GATEWAY_PORT", "2"), ("OPENCLAW_GATEWAY_PORT", "3")]), 3);
    assert_eq!(port(&[("OPENCLAW_GATEWAY_PORT", "3"), ("TELSON_GATEWAY_PORT", " ")]), 3);
    assert_eq!(port(&[("OPENCLAW_GATEWAY_PORT", "3"), ("TELSON_GATEWAY_PORT", "5")]), 5);
    let legacy = read_with("{}", &[("CLAWDBOT_GATEWAY_PORT", "1")], &Flags::default()).unwrap();
    assert_eq!(
        legacy.warnings[0].to_string(),
        "CLAWDBOT_GATEWAY_PORT: is an old name; use TELSON_GATEWAY_PORT"
    );
    assert!(env(&[("OPENCLAW_STATE_DIR", "/x")]).find("STATE_DIR").is_none(), "their state is not ours");
}

#[test]
fn a_bad_port_in_the_environment_is_named() {
    let issue = only(read_with("{}", &[("OPENCLAW_GATEWAY_PORT", "0")], &Flags::default()).unwrap_err());
    assert_eq!((issue.code, issue.path.as_str()), (Failure::ArgInvalid, "OPENCLAW_GATEWAY_PORT"));
    assert!(issue.message.starts_with("Invalid port"));
}

#[test]
fn secrets_come_from_flag_then_file_then_environment() {
    let text = "{gateway: {auth: {token: 'token-of-the-file-1'}}}";
    let pairs = [("OPENCLAW_GATEWAY_TOKEN", "token-of-the-env-12")];
    let flags = Flags { token: Some(Secret::new("token-of-the-flag-1")), ..Flags::default() };
    let token = |loaded: Loaded| match loaded.access {
        Access::Token(secret) => secret.expose().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(token(read_with(text, &pairs, &flags).unwrap()), "token-of-the-flag-1");
    assert_eq!(token(read_with(text, &pairs, &Flags::default()).unwrap()), "token-of-the-file-1");
    assert_eq!(token(read_with("{}", &pairs, &Flags::default()).unwrap()), "token-of-the-env-12");
}

#[test]
fn the_mode_follows_the_secret_that_is_there() {
    let password = read("{gateway: {auth: {password: 'correct horse battery'}}}").unwrap();
    assert!(matches!(password.access, Access::Password(_)));
    let both = "{gateway: {auth: {token: 'token-of-the-file-1', password: 'correct horse battery'}}}";
    assert_eq!(only(read(both).unwrap_err()).code, Failure::ConfigConflict);
    let decided = both.replace("auth: {", "auth: {mode: 'token', ");
    assert!(matches!(read(&decided).unwrap().access, Access::Token(_)));
    let flags = Flags { password: Some(Secret::new("another horse here")), ..Flags::default() };
    assert!(matches!(read_with(&decided, &[], &flags).unwrap().access, Access::Password(_)));
}

#[test]
fn a_password_mode_without_password_does_not_start() {
    let issue = only(read("{gateway: {auth: {mode: 'password'}}}").unwrap_err());
    assert_eq!(issue.code, Failure::AuthMissing);
    assert!(issue.message.contains("gateway auth mode is password, but no password"));
}

#[test]
fn no_way_leads_to_an_open_gateway_that_others_can_reach() {
    let exposed = [
        "bind: 'lan'",
        "bind: 'custom', customBindHost: '10.1.2.3'",
        "bind: 'custom', customBindHost: '0.0.0.0'",
    ];
    for bind in exposed {
        for auth in ["", "auth: {mode: 'none'}", "auth: {mode: 'token'}", "auth: {mode: 'password'}"] {
            let issues = read(&format!("{{gateway: {{port: 7, {bind}, {auth}}}}}")).expect_err(bind);
            let issue = only(issues);
            assert_eq!(issue.code, Failure::AuthRequiredForBind, "{bind} {auth}");
            assert!(issue.message.starts_with("refusing to bind gateway to "), "{issue}");
            assert!(issue.message.ends_with(":7 without auth"), "{issue}");
        }
        let short = read(&format!("{{gateway: {{{bind}, auth: {{token: 'fifteen-letters'}}}}}}"));
        assert_eq!(only(short.unwrap_err()).code, Failure::AuthMissing);
        assert!(read(&format!("{{gateway: {{{bind}, auth: {{token: '{STRONG}'}}}}}}")).is_ok());
    }
    let inside = Surroundings { container: true, ..Surroundings::default() };
    let auto = load(Some("{gateway: {bind: 'auto'}}"), &Environment::default(), &Flags::default(), &inside);
    assert_eq!(only(auto.unwrap_err()).code, Failure::AuthRequiredForBind);
    let tailnet = Surroundings { tailnet: Some(Ipv4Addr::new(100, 64, 1, 2)), ..Surroundings::default() };
    let bound =
        load(Some("{gateway: {bind: 'tailnet'}}"), &Environment::default(), &Flags::default(), &tailnet);
    assert_eq!(only(bound.unwrap_err()).code, Failure::AuthRequiredForBind);
}

#[test]
fn mode_none_is_for_loopback() {
    assert!(matches!(read("{gateway: {auth: {mode: 'none'}}}").unwrap().access, Access::Open));
    let flags = Flags { auth: Some("none".to_owned()), bind: Some("lan".to_owned()), ..Flags::default() };
    assert_eq!(only(read_with("{}", &[], &flags).unwrap_err()).code, Failure::AuthRequiredForBind);
}

#[test]
fn placeholders_are_no_secrets() {
    let blanks =
        ["undefined", "null", "changeme", "your-token", "Your-Secure-Token-Here", "<token>", REDACTED];
    let more = ["$UNRESOLVED", "xxxxxxxxxxxxxxxxxxxx", "a-long-random-token", "password", "${lower-case}"];
    for text in blanks.into_iter().chain(more) {
        let issue = only(read(&format!("{{gateway: {{auth: {{token: '{text}'}}}}}}")).expect_err(text));
        assert_eq!((issue.code, issue.path.as_str()), (Failure::AuthMissing, "gateway.auth.token"), "{text}");
        assert!(
            !issue.to_string().contains(text) || text == "password" || text == "null",
            "the text is repeated: {issue}"
        );
        let flags = Flags { token: Some(Secret::new(text)), ..Flags::default() };
        assert_eq!(only(read_with("{}", &[], &flags).unwrap_err()).path, "--token");
    }
    let flags = Flags { token: Some(Secret::new("  ")), ..Flags::default() };
    assert_eq!(only(read_with("{}", &[], &flags).unwrap_err()).message, "is blank");
}

#[test]
fn one_secret_opens_one_door() {
    let text = format!(
        "{{gateway: {{auth: {{token: '{STRONG}'}}}}, models: {{providers: {{x: {{baseUrl: 'http://h/v1', apiKey: '{STRONG}'}}}}}}}}"
    );
    let issue = only(read(&text).unwrap_err());
    assert_eq!((issue.code, issue.path.as_str()), (Failure::ConfigConflict, "models.providers.x.apiKey"));
}

#[test]
fn a_host_name_is_not_a_bind_mode_and_the_mode_is_named() {
    let flags = Flags { bind: Some("0.0.0.0".to_owned()), ..Flags::default() };
    let issue = only(read_with("{}", &[], &flags).unwrap_err());
    assert_eq!((issue.path.as_str(), issue.nearest.as_deref()), ("--bind", Some("lan")));
    let issue = only(read("{gateway: {bind: '127.0.0.1'}}").unwrap_err());
    assert_eq!(issue.nearest.as_deref(), Some("loopback"));
}

#[test]
fn the_default_agent_goes_first() {
    let text = "{agents: {list: [{id: 'Zoë'}, {id: 'beta'}, {id: 'alpha', default: true, identity: {emoji: '🐚'}}]}}";
    let settings = read(text).unwrap().settings(facts(), Some(Secret::new(STRONG))).unwrap();
    let ids: Vec<&str> = settings.agents.list.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(
        (settings.agents.default.as_str(), ids.as_slice()),
        ("alpha", ["alpha", "beta", "zo"].as_slice())
    );
    let twice = only(read("{agents: {list: [{id: 'a'}, {id: 'A'}]}}").unwrap_err());
    assert_eq!(twice.path, "agents.list.1.id");
    let nameless = only(read("{agents: {list: [{name: 'x'}]}}").unwrap_err());
    assert_eq!((nameless.path.as_str(), nameless.message.as_str()), ("agents.list.0.id", "is missing"));
}

#[test]
fn a_provider_is_read_whole() {
    let text = "{models: {providers: {Local: {baseUrl: 'https://h/v1/', headers: {'X-Key': 'abc'}, authHeader: false,
        models: [{id: 'local/qwen', input: ['text', 'image'], contextWindow: 4096, reasoning: true,
                  compat: {maxTokensField: 'max_completion_tokens'}}]},
        claude: {baseUrl: 'https://h', api: 'bedrock-converse-stream'}}}}";
    let loaded = read(text).unwrap();
    assert_eq!(loaded.warnings[0].path, "models.providers.claude");
    let settings = loaded.settings(facts(), Some(Secret::new(STRONG))).unwrap();
    assert_eq!(settings.providers.len(), 1);
    let provider = &settings.providers[0];
    assert_eq!((provider.id.as_str(), provider.base_url.as_str()), ("local", "https://h/v1"));
    assert_eq!(provider.headers, [("X-Key".to_owned(), "abc".to_owned())]);
    let model = &provider.models[0];
    assert_eq!((model.id.as_str(), model.name.as_str(), model.max_tokens), ("qwen", "qwen", 4_096));
    assert!(model.images && model.reasoning && model.max_completion_tokens && !provider.auth_header);
}

#[test]
fn a_url_with_credentials_is_refused_without_repeating_them() {
    let issue = only(read("{models: {providers: {x: {baseUrl: 'https://me:hunter22@h/v1'}}}}").unwrap_err());
    assert!(!issue.to_string().contains("hunter22"), "{issue}");
}

#[test]
fn log_levels_come_from_environment_then_file() {
    let text = "{logging: {level: 'warn', consoleLevel: 'error', levels: {'gateway/ws': 'debug',
        'gateway.health': {file: 'trace', style: 'json'}, '*': 'info'}}}";
    let logging = read(text).unwrap().logging;
    assert_eq!((logging.level, logging.console_level), (Level::Warn, Level::Error));
    let names: Vec<&str> = logging.levels.iter().map(|subsystem| subsystem.name.as_str()).collect();
    assert_eq!(names, ["gateway.ws", "gateway.health", ""]);
    assert_eq!(logging.levels[1].style, Some(Style::Json));
    assert_eq!(logging.levels[1].console, None);

    let pairs =
        [("OPENCLAW_LOG_LEVEL", "debug"), ("TELSON_LOG_LEVELS", "gateway.ws=trace, gateway.health=error")];
    let logging = read_with(text, &pairs, &Flags::default()).unwrap().logging;
    assert_eq!((logging.level, logging.console_level), (Level::Debug, Level::Debug));
    let health = logging.levels.iter().find(|subsystem| subsystem.name == "gateway.health").unwrap();
    assert_eq!((health.file, health.style), (Some(Level::Error), Some(Style::Json)));

    let verbose = Flags { verbose: true, ..Flags::default() };
    assert_eq!(read_with(text, &[], &verbose).unwrap().logging.console_level, Level::Debug);
    let wrong =
        only(read_with("{}", &[("TELSON_LOG_LEVELS", "gateway.ws=loud")], &Flags::default()).unwrap_err());
    assert_eq!(wrong.code, Failure::ArgInvalid);
}

#[test]
fn what_config_get_shows_has_everything_but_the_secrets() {
    let text = format!(
        "{{\n  // the old one was {STRONG}\n  gateway: {{auth: {{token: '{STRONG}'}}, port: 7}},\n  channels: {{telegram: \
         {{botToken: '12345:abcdefgh'}}}},\n  models: {{providers: {{x: {{baseUrl: 'http://h', apiKey: '${{KEY}}'}}}}}},\n}}"
    );
    let loaded = read_with(&text, &[("KEY", "k-123456789")], &Flags::default()).unwrap();
    let view = loaded.settings(facts(), None).unwrap().config;
    let raw = view.raw.unwrap();
    for shown in [&raw, view.parsed.as_str(), view.config.as_str()] {
        assert!(shown.contains(REDACTED), "{shown}");
        for secret in [STRONG, "12345:abcdefgh", "k-123456789"] {
            assert!(!shown.contains(secret), "{secret} stands in {shown}");
        }
    }
    assert!(raw.contains("// the old one was"), "comments are kept: {raw}");
    assert!(raw.contains("${KEY}"), "references stay visible: {raw}");
    assert_eq!(view.parsed.to_value()["gateway"]["port"], 7);
    assert_eq!(view.parsed.to_value()["gateway"]["bind"], serde_json::Value::Null);
    assert_eq!(view.config.to_value()["gateway"]["bind"], "loopback");
    assert_eq!(view.hash.len(), 64);
    assert!(view.exists);
    assert!(view.warnings.as_str().contains("channels"));
}

#[test]
fn every_secret_is_known_to_the_logs() {
    let text = format!(
        "{{gateway: {{auth: {{token: '{STRONG}'}}}}, models: {{providers: {{x: {{baseUrl: 'http://h', apiKey: 'key-of-x', \
         headers: {{a: 'header-of-x'}}}}}}}}}}"
    );
    let loaded = read(&text).unwrap();
    assert_eq!(loaded.secrets().collect::<Vec<_>>(), [STRONG, "key-of-x", "header-of-x"]);
}

#[test]
fn failure_codes_are_distinct() {
    let codes: std::collections::BTreeSet<&str> = Failure::ALL.iter().map(|failure| failure.code()).collect();
    assert_eq!(codes.len(), Failure::ALL.len());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_soup_of_json5_makes_it_panic(parts in proptest::collection::vec(
        prop_oneof![
            Just("{"), Just("}"), Just("["), Just("]"), Just(":"), Just(","), Just("'"), Just("\""), Just("\\"),
            Just("//"), Just("\n"), Just("/*"), Just("*/"), Just("gateway"), Just("port"), Just("auth"), Just("token"),
            Just("models"), Just("providers"), Just("agents"), Just("list"), Just("${HOME}"), Just("$${A}"), Just("${"),
            Just("0x"), Just("1e999"), Just("-Infinity"), Just("NaN"), Just("null"), Just("true"), Just("é"), Just("\u{feff}"),
        ], 0..60)) {
        let _ = read(&parts.concat());
    }

    #[test]
    fn any_value_in_any_key_is_taken_or_refused_with_its_place(index in 0..KEYS.len(), value in value()) {
        if let Err(issues) = read(&file_with(KEYS[index].path, &value)) {
            prop_assert!(!issues.is_empty());
        }
    }
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<f64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        Just("null".to_owned()),
        "[a-z/:${}A-Z ]{0,12}".prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(("[a-z]{1,6}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

#[test]
fn a_secret_of_the_environment_is_hidden_in_a_comment_too() {
    let text = format!("// once it was {STRONG}\n{{ gateway: {{ port: 18790 }} }}");
    let loaded = read_with(&text, &[("OPENCLAW_GATEWAY_TOKEN", STRONG)], &Flags::default()).unwrap();
    let raw = loaded.settings(facts(), None).unwrap().config.raw.unwrap();
    assert!(!raw.contains(STRONG) && raw.contains(REDACTED), "{raw}");
}
