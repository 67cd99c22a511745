//! The configuration: from the text of `telson.json`, the environment and the flags to [`Settings`].
//!
//! [`KEYS`] is the one table of keys. [`load`] reads the text as JSON5, replaces `${NAME}`, checks every value
//! against the table and answers with the settings or with everything that is wrong, each with its place in the
//! file. Nothing here opens a file: the host hands the text over, and nothing is ever written.
//!
//! ```
//! use telson_core::config::{Environment, Flags, Surroundings, load};
//!
//! let text = "{ gateway: { prot: 19001 } }";
//! let issues = load(Some(text), &Environment::default(), &Flags::default(), &Surroundings::default())
//!     .expect_err("the key is misspelt");
//! assert_eq!(
//!     issues[0].line("telson.json"),
//!     "telson.json:1:14: gateway.prot: is not a known key (did you mean \"gateway.port\"?)"
//! );
//! ```

mod access;
mod api;
mod build;
mod check;
mod env;
mod failure;
mod fingerprint;
mod foreign;
mod issue;
mod keys;
mod kind;
mod logging;
mod models;
mod nearest;
mod policies;
mod proxies;
mod reach;
mod reload;
mod secrets;
mod tailnet;
mod tools;
mod tree;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_reach;

use std::net::{Ipv4Addr, SocketAddr};

pub use access::Access;
pub use env::{Environment, Found, PREFIXES, VARIABLES, Variable};
pub use failure::Failure;
pub use fingerprint::fingerprint;
pub use issue::{Issue, Place, Warning};
pub use keys::{KEYS, Key, Kind};
pub use logging::{Level, Logging, Style, Subsystem};
pub use reach::{Mdns, Remote, TlsPlan};
pub use reload::Changes;
pub use secrets::{REDACTED, SHORTEST, placeholder};

use crate::auth::Secret;
use crate::settings::{AuthMode, AuthSettings, Facts, Settings};
use crate::tailscale::TailscaleSettings;
use access::Sources;
use check::Check;
use tree::Node;

/// What the command line says; it goes before file and environment.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--port`; 0 takes any free port.
    pub port: Option<u16>,
    /// `--bind`.
    pub bind: Option<String>,
    /// `--auth`.
    pub auth: Option<String>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`.
    pub password: Option<Secret>,
    /// `--tailscale`.
    pub tailscale: Option<String>,
    /// `--verbose`.
    pub verbose: bool,
}

/// What the host is, as far as it decides where to listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// The host's address in its tailnet.
    pub tailnet: Option<Ipv4Addr>,
    /// Whether the process runs in a container.
    pub container: bool,
}

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Where to listen. Every address must work, but `::1` behind another one.
    pub listen: Vec<SocketAddr>,
    /// The port.
    pub port: u16,
    /// What to ask for.
    pub access: Access,
    /// What is logged where.
    pub logging: Logging,
    /// Whether `gateway.mode` says that the gateway runs elsewhere.
    pub remote: bool,
    /// The gateway on that other machine.
    pub remote_gateway: Remote,
    /// The certificate, when the port speaks TLS.
    pub tls: Option<TlsPlan>,
    /// What the operator wants the network to know; `None` when nothing is said.
    pub mdns: Option<Mdns>,
    /// What the operator should know.
    pub warnings: Vec<Warning>,
    draft: Settings,
    content: reload::Content,
}

impl Loaded {
    /// The settings of the machines. `made_token` is what the host made or found for [`Access::MadeToken`];
    /// without it such a gateway has no settings, rather than open ones.
    pub fn settings(&self, facts: Facts, made_token: Option<Secret>) -> Option<Settings> {
        let mode = self.mode(made_token)?;
        let mut settings = self.draft.clone();
        settings.auth = AuthSettings { mode, ..settings.auth };
        settings.facts = facts;
        Some(settings)
    }

    /// Whether there is a file.
    pub fn has_file(&self) -> bool {
        self.draft.config.exists
    }

    /// What is asked of Tailscale.
    pub fn tailscale(&self) -> &TailscaleSettings {
        &self.draft.tailscale
    }

    /// Every secret that the configuration holds, so that the logs can mask it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let own = match &self.access {
            Access::Token(secret) | Access::Password(secret) | Access::TrustedProxy(Some(secret)) => {
                Some(secret.expose())
            }
            Access::Open | Access::MadeToken | Access::TrustedProxy(None) => None,
        };
        let proxy = self.draft.auth.trusted_proxy.secret_header.iter().map(|(_, secret)| secret.expose());
        let providers = self.draft.providers.iter().flat_map(|provider| {
            let headers = provider.headers.iter().map(|(_, value)| value.as_str());
            let profiles = provider.profiles.iter().map(|profile| profile.secret.expose());
            provider.api_key.as_ref().map(Secret::expose).into_iter().chain(profiles).chain(headers)
        });
        let servers = self.draft.mcp.iter().flat_map(crate::mcp::settings::McpServerSettings::secrets);
        let away = [&self.remote_gateway.token, &self.remote_gateway.password];
        let away = away.into_iter().flatten().map(Secret::expose);
        own.into_iter().chain(proxy).chain(away).chain(providers).chain(servers)
    }
}

/// Reads a configuration. `text` is the file's content, `None` when there is no file, which is not a mistake.
///
/// # Errors
///
/// Everything that is wrong, in the order of the file; what is wrong outside it comes last.
pub fn load(
    text: Option<&str>,
    env: &Environment,
    flags: &Flags,
    surroundings: &Surroundings,
) -> Result<Loaded, Vec<Issue>> {
    let body = text.unwrap_or_default();
    let written = if body.trim().is_empty() {
        Node::empty()
    } else {
        tree::parse(body).map_err(|issue| vec![*issue])?
    };
    let mut check = Check::new(body);
    let mut root = written.clone();
    env::substitute(&mut root, env, &mut check);
    check.run(&root);
    let logging = Logging::read(&root, env, flags.verbose, &mut check);
    let sources = Sources { root: &root, env, flags, surroundings };
    let port = sources.port(&mut check);
    let listen = sources.listen(port, &mut check);
    let access = sources.access(&listen, &mut check);
    sources.in_the_clear(&listen, &mut check);
    let remote_gateway = reach::remote(&root);
    let (tls, mdns) = (reach::tls(&root), reach::mdns(&root));
    let tailscale = sources.tailscale(&listen, &access, &mut check);
    let auth = AuthSettings {
        allow_tailscale: sources.allows_tailscale(tailscale.exposure, &access),
        ..build::auth(&root, AuthMode::None)
    };
    let (simple_dialect, simple_max_scopes) = build::simple_dialect(&root);
    let agents = build::agents(&root, &mut check);
    let nodes = build::nodes(&root);
    let draft = Settings {
        nodes,
        auth,
        tailscale,
        limits: build::limits(&root),
        drain: build::drain(&root),
        simple_dialect,
        simple_max_scopes,
        providers: models::providers(&root, env, &agents, &mut check),
        cooldowns: models::cooldowns(&root),
        agents,
        policies: policies::policies(&root, &mut check),
        tools: tools::tools(&root, &mut check),
        mcp: tools::servers(&root, &mut check),
        api: api::settings(&root),
        ..Settings::plain(AuthMode::None)
    };
    legacy_names(env, &mut check);
    let Check { mut issues, warnings, .. } = check;
    if !issues.is_empty() {
        issues.sort_by_key(|issue| {
            issue.place.map_or((usize::MAX, usize::MAX), |place| (place.line, place.column))
        });
        return Err(issues);
    }
    let remote = root.at("gateway.mode").and_then(Node::text) == Some("remote");
    let content = reload::Content(root);
    let mut loaded =
        Loaded { listen, port, access, logging, remote, remote_gateway, tls, mdns, warnings, draft, content };
    let known: Vec<&str> = loaded.secrets().collect();
    loaded.draft.config = view::view(text, &written, &loaded.content.0, &loaded.warnings, &known);
    Ok(loaded)
}

/// Says once which variables were found under an old name [D-02].
fn legacy_names(env: &Environment, check: &mut Check<'_>) {
    for variable in VARIABLES {
        if let Some(found) = env.find(variable.name).filter(Found::is_legacy) {
            let message = format!("is an old name; use TELSON_{}", variable.name);
            check.warnings.push(Warning::new(found.name, message));
        }
    }
}
