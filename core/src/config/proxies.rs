//! Reverse proxies: whose word counts, and what a start without it would expose (spec 01 §3.1, §3.8, 08 S-27).

use telson_proto::Scopes;

use super::access::{Given, Sources};
use super::build::{flag, text, texts};
use super::check::Check;
use super::failure::Failure;
use super::issue::Issue;
use super::tree::Node;
use crate::auth::{Secret, TrustedProxySettings};
use crate::ingress::{IngressSettings, network};

/// Whose word counts, and by which names the gateway is known.
pub(super) fn ingress(root: &Node) -> IngressSettings {
    IngressSettings {
        trusted_proxies: texts(root, "gateway.trustedProxies").filter_map(network).collect(),
        allow_real_ip: flag(root, "gateway.allowRealIpFallback").unwrap_or(false),
        allowed_hosts: texts(root, "gateway.allowedHosts").map(str::to_ascii_lowercase).collect(),
        strict_transport: text(root, "gateway.http.securityHeaders.strictTransportSecurity"),
    }
}

/// How users come through a proxy.
pub(super) fn trusted_proxy(root: &Node) -> TrustedProxySettings {
    let of = |name: &str| format!("gateway.auth.trustedProxy.{name}");
    let lower = |name: &str| text(root, &of(name)).map(|name| name.to_ascii_lowercase());
    let users = root.at("gateway.auth.identityScopes").map(Node::members).unwrap_or_default().iter();
    let scopes = |node: &Node| Scopes::parse(&node.items().iter().filter_map(Node::text).collect::<Vec<_>>());
    TrustedProxySettings {
        user_header: lower("userHeader").unwrap_or_default(),
        required_headers: texts(root, &of("requiredHeaders")).map(str::to_ascii_lowercase).collect(),
        allow_users: texts(root, &of("allowUsers")).map(str::to_owned).collect(),
        allow_loopback: flag(root, &of("allowLoopback")).unwrap_or(false),
        secret_header: lower("secretHeader.name")
            .zip(root.at(&of("secretHeader.value")).and_then(Node::text).map(Secret::new)),
        identity_scopes: users.map(|user| (user.name.clone(), scopes(&user.node))).collect(),
    }
}

/// An origin as browsers write it: lower case, names in ASCII.
pub(super) fn origin(written: &str) -> String {
    let ascii = url::Url::parse(written).ok().filter(|_| !written.is_ascii());
    ascii.map_or_else(|| written.to_lowercase(), |url| url.origin().ascii_serialization())
}

impl Sources<'_> {
    /// What mode `trusted-proxy` cannot do without.
    pub(super) fn trusted_proxy(&self, token: Option<&Given>, check: &mut Check<'_>) {
        let settings = trusted_proxy(self.root);
        let proxies = ingress(self.root).trusted_proxies;
        let mut lacks = |failure, path: &str, message: &str, remedy: &str| {
            let issue = Issue::new(failure, path, message).expecting(remedy);
            match self.root.at(path) {
                Some(node) => check.refuse(node.range.start, issue),
                None => check.issues.push(issue),
            }
        };
        if settings.user_header.is_empty() {
            let message = "gateway auth mode is trusted-proxy, but no header names the user";
            lacks(
                Failure::AuthMissing,
                "gateway.auth.trustedProxy.userHeader",
                message,
                "the name of the proxy's header",
            );
        }
        if proxies.is_empty() {
            let message = "gateway auth mode is trusted-proxy, but no proxy is trusted";
            lacks(Failure::AuthMissing, "gateway.trustedProxies", message, "the addresses of the proxy");
        }
        let written =
            |name: &str| self.text(&format!("gateway.auth.trustedProxy.secretHeader.{name}")).is_some();
        if written("name") != written("value") {
            let message = "has a name or a value, but not both";
            lacks(Failure::AuthMissing, "gateway.auth.trustedProxy.secretHeader", message, "name and value");
        }
        let here = |net: &ipnet::IpNet| net.addr().is_loopback();
        if settings.allow_loopback && settings.secret_header.is_none() {
            let message = "lets every process on this host name a user";
            let remedy = "gateway.auth.trustedProxy.secretHeader as well, or false";
            lacks(Failure::AuthMissing, "gateway.auth.trustedProxy.allowLoopback", message, remedy);
        } else if !settings.allow_loopback && !proxies.is_empty() && proxies.iter().all(here) {
            let message = "every trusted proxy is on this host, and no proxy on this host may name users";
            let remedy = "gateway.auth.trustedProxy.allowLoopback and secretHeader, or the address of a proxy elsewhere";
            lacks(Failure::AuthMissing, "gateway.trustedProxies", message, remedy);
        }
        if let Some(token) = token {
            let message = "is set, and gateway auth mode trusted-proxy takes no token";
            lacks(Failure::ConfigConflict, &token.from, message, "no token, or another gateway.auth.mode");
        }
        if let Some((_, secret)) = settings.secret_header {
            let from = "gateway.auth.trustedProxy.secretHeader.value".to_owned();
            let at = self.root.at(&from).map(|node| node.range.start);
            self.strong(&Given { from, secret, at }, true, check);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::env::Environment;
    use super::super::{Flags, Loaded, Surroundings, load};
    use super::*;

    const RIGHT: &str = r"trustedProxies: ['10.0.0.2', 'fd00::/8'], auth: {mode: 'trusted-proxy',
        trustedProxy: {userHeader: 'X-User'}, identityScopes: {'ada@example.com': ['operator.admin']}}";

    fn read(gateway: &str) -> Result<Loaded, Vec<Issue>> {
        let text = format!("{{gateway: {{{gateway}}}}}");
        load(Some(&text), &Environment::default(), &Flags::default(), &Surroundings::default())
    }

    #[test]
    fn a_whole_set_up_is_read() {
        let facts = crate::settings::Settings::plain(crate::settings::AuthMode::None).facts;
        let auth = read(RIGHT).unwrap().settings(facts, None).unwrap().auth;
        assert_eq!(auth.mode.as_str(), "trusted-proxy");
        assert_eq!(auth.trusted_proxy.user_header, "x-user");
        assert_eq!(auth.ingress.trusted_proxies.len(), 2);
        assert!(auth.trusted_proxy.identity_scopes.contains_key("ada@example.com"));
    }

    #[test]
    fn an_exposed_gateway_may_rest_on_its_proxy() {
        assert!(read(&format!("bind: 'lan', {RIGHT}")).is_ok());
    }

    #[test]
    fn what_would_let_strangers_name_themselves_does_not_start() {
        let proxy = "trustedProxies: ['10.0.0.2']";
        let local = "trustedProxies: ['127.0.0.1', '::1']";
        let mode = |inside: &str| format!("auth: {{mode: 'trusted-proxy', {inside}}}");
        let user = "userHeader: 'x-user'";
        for (text, path) in [
            (format!("{proxy}, {}", mode("")), "gateway.auth.trustedProxy.userHeader"),
            (mode(&format!("trustedProxy: {{{user}}}")), "gateway.trustedProxies"),
            (format!("{local}, {}", mode(&format!("trustedProxy: {{{user}}}"))), "gateway.trustedProxies"),
            (
                format!("{local}, {}", mode(&format!("trustedProxy: {{{user}, allowLoopback: true}}"))),
                "gateway.auth.trustedProxy.allowLoopback",
            ),
            (
                format!(
                    "{proxy}, {}",
                    mode(&format!("trustedProxy: {{{user}, secretHeader: {{name: 'x-key'}}}}"))
                ),
                "gateway.auth.trustedProxy.secretHeader",
            ),
            (
                format!(
                    "{proxy}, {}",
                    mode(&format!(
                        "trustedProxy: {{{user}, secretHeader: {{name: 'x-key', value: 'short'}}}}"
                    ))
                ),
                "gateway.auth.trustedProxy.secretHeader.value",
            ),
            (
                format!(
                    "{proxy}, {}",
                    mode(&format!("token: 'a token of 16 characters', trustedProxy: {{{user}}}"))
                ),
                "gateway.auth.token",
            ),
        ] {
            let issues = read(&text).unwrap_err();
            assert!(issues.iter().any(|issue| issue.path == path), "{text}: {issues:?}");
        }
    }

    #[test]
    fn wrong_networks_names_and_headers_are_named() {
        for (text, path) in [
            ("trustedProxies: ['10.0.0.0/33']", "gateway.trustedProxies.0"),
            ("trustedProxies: ['proxy.example']", "gateway.trustedProxies.0"),
            ("allowedHosts: ['https://box.example']", "gateway.allowedHosts.0"),
            ("allowedHosts: ['box.example:443']", "gateway.allowedHosts.0"),
            ("auth: {trustedProxy: {userHeader: 'x user'}}", "gateway.auth.trustedProxy.userHeader"),
        ] {
            let issues = read(text).unwrap_err();
            assert!(issues.iter().any(|issue| issue.path == path), "{text}: {issues:?}");
        }
    }

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        assert_eq!(origin("https://Chat.Example:8443"), "https://chat.example:8443");
        assert_eq!(origin("https://b\u{fc}cher.example"), "https://xn--bcher-kva.example");
        assert_eq!(origin("*"), "*");
    }
}
