//! A configuration that changes while the gateway runs (spec 05 §4, 08 S-12, S-98).
//!
//! Who may come in changes at once; everything else waits for the next start. A new configuration is judged by
//! where the running gateway listens, not by where the next one would: otherwise an edit of both would open the
//! port that is open now.

use super::access::{Access, weak};
use super::failure::Failure;
use super::issue::Issue;
use super::tailnet::unfit;
use super::tree::{Node, Value};
use super::{Loaded, check};
use crate::auth::Secret;
use crate::settings::{AuthMode, AuthSettings};

/// The keys that take effect while the gateway runs, and everything below them.
const HOT: &[&str] = &[
    "gateway.auth",
    "gateway.trustedProxies",
    "gateway.allowRealIpFallback",
    "gateway.allowedHosts",
    "gateway.http.securityHeaders",
    "gateway.controlUi.allowedOrigins",
    "gateway.controlUi.allowInsecureAuth",
    "gateway.controlUi.dangerouslyDisableDeviceAuth",
    "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
    "gateway.nodes.pairing.autoApproveLocal",
];

/// At most so many changed keys are named.
const NAMED: usize = 20;

/// The content of a file with variables replaced. Never shown: it holds secrets.
#[derive(Clone)]
pub(super) struct Content(pub(super) Node);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content(***)")
    }
}

/// Which keys differ between two configurations, by path; never more than a few of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that take effect at once.
    pub hot: Vec<String>,
    /// Those that wait for the next start.
    pub at_restart: Vec<String>,
}

impl Loaded {
    /// Which keys differ from those of an earlier configuration.
    pub fn changes_since(&self, earlier: &Self) -> Changes {
        let mut changes = Changes::default();
        differ(Some(&earlier.content.0), Some(&self.content.0), &check::Path::default(), &mut changes);
        changes
    }

    /// What the running gateway is to ask for from now on. `made_token` is what the host found for
    /// [`Access::MadeToken`]; without it there is nothing to ask for, rather than nothing asked for.
    ///
    /// # Errors
    ///
    /// Where `running` listens, the new configuration would protect too little.
    pub fn access_beside(
        &self,
        running: &Self,
        made_token: Option<Secret>,
    ) -> Result<Option<AuthSettings>, Box<Issue>> {
        if let Some(address) = running.listen.iter().find(|address| !address.ip().is_loopback()) {
            let problem = match &self.access {
                Access::Open => Some("nothing would be asked for".to_owned()),
                Access::Token(secret) | Access::Password(secret) => {
                    weak(secret).then(|| "the secret is too short".to_owned())
                }
                Access::TrustedProxy(Some(password)) => {
                    weak(password).then(|| "the password is too short".to_owned())
                }
                Access::MadeToken | Access::TrustedProxy(None) => None,
            };
            if let Some(problem) = problem {
                let message = format!("{problem}, and the running gateway listens on {address}");
                let issue = Issue::new(Failure::AuthRequiredForBind, "gateway.auth", message);
                return Err(Box::new(issue.expecting("a strong secret, or a restart on a loopback bind")));
            }
        }
        let tailscale = &running.draft.tailscale;
        if let Some(issue) = unfit(tailscale.exposure, &running.listen, &self.access, "gateway.auth") {
            return Err(Box::new(issue));
        }
        let Some(mode) = self.mode(made_token) else { return Ok(None) };
        Ok(Some(AuthSettings { mode, ..self.draft.auth.clone() }))
    }

    /// What the gateway asks for; `None` when it is a token that the host has not made.
    pub(super) fn mode(&self, made_token: Option<Secret>) -> Option<AuthMode> {
        Some(match &self.access {
            Access::Open => AuthMode::None,
            Access::Token(secret) => AuthMode::Token(secret.clone()),
            Access::Password(secret) => AuthMode::Password(secret.clone()),
            Access::MadeToken => AuthMode::Token(made_token?),
            Access::TrustedProxy(password) => AuthMode::TrustedProxy { password: password.clone() },
        })
    }
}

/// Collects the paths at which two trees differ. Lists are compared whole.
fn differ(old: Option<&Node>, new: Option<&Node>, path: &check::Path, changes: &mut Changes) {
    let members = |node: Option<&Node>| match node.map(|node| &node.value) {
        None | Some(Value::Table(_)) => Some(node.map(Node::members).unwrap_or_default().to_vec()),
        Some(_) => None,
    };
    match (members(old), members(new)) {
        (Some(old), Some(new)) => {
            let mut names: Vec<&str> = old.iter().chain(&new).map(|member| member.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of = |members: &'_ [super::tree::Member]| {
                    members.iter().find(|member| member.name == name).map(|member| member.node.clone())
                };
                differ(of(&old).as_ref(), of(&new).as_ref(), &path.name(name), changes);
            }
        }
        _ if old.zip(new).is_some_and(|(old, new)| same(old, new)) => {}
        _ => {
            let path = path.to_string();
            let below = |key: &str| {
                path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let list =
                if HOT.iter().any(|key| below(key)) { &mut changes.hot } else { &mut changes.at_restart };
            if list.len() < NAMED {
                list.push(path);
            }
        }
    }
}

/// Whether two values are the same, wherever they stand.
fn same(old: &Node, new: &Node) -> bool {
    match (&old.value, &new.value) {
        (Value::List(old), Value::List(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        }
        (Value::Table(old), Value::Table(new)) => {
            let found = |member: &super::tree::Member| {
                let twin = new.iter().find(|other| other.name == member.name);
                twin.is_some_and(|twin| same(&member.node, &twin.node))
            };
            old.len() == new.len() && old.iter().all(found)
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::{Environment, Flags, Surroundings, load};
    use super::*;

    fn read(text: &str) -> Loaded {
        load(Some(text), &Environment::default(), &Flags::default(), &Surroundings::default()).unwrap()
    }

    fn changes(old: &str, new: &str) -> Changes {
        read(new).changes_since(&read(old))
    }

    #[test]
    fn what_admits_is_hot_and_the_rest_waits() {
        let changes = changes(
            "{gateway: {port: 1, auth: {token: 'a-token-of-16-chars'}}, agents: {list: [{id: 'a'}]}}",
            "{gateway: {auth: {token: 'b-token-of-16-chars'}, controlUi: {allowedOrigins: ['https://x']}}, agents: {list: [{id: 'b'}]}}",
        );
        assert_eq!(changes.hot, ["gateway.auth.token", "gateway.controlUi.allowedOrigins"]);
        assert_eq!(changes.at_restart, ["agents.list", "gateway.port"]);
    }

    #[test]
    fn comments_order_and_spaces_change_nothing() {
        let changes = changes(
            "{gateway: {port: 1, bind: 'loopback'}, agents: {list: [{id: 'a', name: 'b'}]}}",
            "// moved\n{agents: {list: [{name: 'b', id: 'a'}]},   gateway: {bind: 'loopback', port: 1}}",
        );
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn a_path_that_only_begins_alike_is_not_hot() {
        let changes = changes("{}", "{gateway: {controlUi: {allowInsecureAuth: true}, bind: 'loopback'}}");
        assert_eq!(changes.hot, ["gateway.controlUi.allowInsecureAuth"]);
        assert_eq!(changes.at_restart, ["gateway.bind"]);
    }

    #[test]
    fn a_gateway_that_others_reach_is_not_opened_by_an_edit_of_both_keys() {
        let running = read("{gateway: {bind: 'lan', auth: {token: 'a-token-of-16-chars'}}}");
        let open = read("{gateway: {bind: 'loopback', auth: {mode: 'none'}}}");
        let issue = open.access_beside(&running, None).unwrap_err();
        assert_eq!(issue.code, Failure::AuthRequiredForBind);
        let short = read("{gateway: {bind: 'loopback', auth: {token: 'short1'}}}");
        assert!(short.access_beside(&running, None).is_err());
        let here = read("{}");
        assert!(matches!(open.access_beside(&here, None).unwrap().unwrap().mode, AuthMode::None));
    }

    #[test]
    fn a_funnel_keeps_its_password_and_a_tailnet_its_secret() {
        let password = "auth: {password: 'a-password-of-16-chars'}";
        let funnel = read(&format!("{{gateway: {{tailscale: {{mode: 'funnel'}}, {password}}}}}"));
        let token = read("{gateway: {auth: {token: 'a-token-of-16-chars'}}}");
        assert_eq!(token.access_beside(&funnel, None).unwrap_err().code, Failure::FunnelNeedsPassword);
        let serve = read("{gateway: {tailscale: {mode: 'serve'}}}");
        let open = read("{gateway: {auth: {mode: 'none'}}}");
        assert_eq!(open.access_beside(&serve, None).unwrap_err().code, Failure::AuthRequiredForBind);
        assert!(token.access_beside(&serve, None).is_ok());
    }

    #[test]
    fn a_token_that_the_host_has_not_made_opens_nothing() {
        let plain = read("{}");
        assert!(plain.access_beside(&plain, None).unwrap().is_none());
    }
}
