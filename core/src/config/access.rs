//! Where the gateway listens and what it asks for (spec 05 §6): flags before file before environment for
//! secrets, flags before environment before file for the port; no way leads to an open gateway by accident.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::check::Check;
use super::env::Environment;
use super::failure::Failure;
use super::issue::{Issue, Warning};
use super::keys::{AUTH_MODES, BINDS};
use super::nearest;
use super::secrets::{SHORTEST, placeholder};
use super::tree::Node;
use super::{Flags, Surroundings};
use crate::auth::Secret;

/// What the operator wrote on the command line and what the host is, for the rules of this module.
pub(super) struct Sources<'a> {
    pub(super) root: &'a Node,
    pub(super) env: &'a Environment,
    pub(super) flags: &'a Flags,
    pub(super) surroundings: &'a Surroundings,
}

/// What the gateway asks for, and from where it comes.
#[derive(Clone, Debug)]
pub enum Access {
    /// Nothing.
    Open,
    /// The shared token.
    Token(Secret),
    /// The shared password.
    Password(Secret),
    /// A token that the host makes at the first start and keeps in the state directory.
    MadeToken,
    /// A trusted proxy's word, or from this host the password.
    TrustedProxy(Option<Secret>),
}

/// A secret with the name of its source.
pub(super) struct Given {
    pub(super) from: String,
    pub(super) secret: Secret,
    pub(super) at: Option<usize>,
}

impl Sources<'_> {
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.root.at(path).and_then(Node::text)
    }

    /// The port [spec 05 §1.5].
    pub(super) fn port(&self, check: &mut Check<'_>) -> u16 {
        if let Some(port) = self.flags.port {
            return port;
        }
        if let Some(found) = self.env.find("GATEWAY_PORT") {
            match found.value.parse() {
                Ok(port) if port > 0 => return port,
                _ => {
                    let message = format!("Invalid port {:?}", found.value);
                    let issue = Issue::new(Failure::ArgInvalid, found.name, message);
                    check.issues.push(issue.expecting("a whole number from 1 to 65535"));
                }
            }
        }
        let written = self.root.at("gateway.port").and_then(Node::count);
        written.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT)
    }

    /// The addresses, the first of them the one that names the gateway [D-29].
    pub(super) fn listen(&self, port: u16, check: &mut Check<'_>) -> Vec<SocketAddr> {
        self.addresses(check).into_iter().map(|address| SocketAddr::new(address, port)).collect()
    }

    fn addresses(&self, check: &mut Check<'_>) -> Vec<IpAddr> {
        let flag = self.flags.bind.as_deref();
        let mode = flag.or_else(|| self.text("gateway.bind")).unwrap_or("loopback");
        match mode {
            "loopback" => loopback(),
            "auto" if self.surroundings.container => self.everywhere(),
            "auto" => loopback(),
            "lan" => self.everywhere(),
            "tailnet" => match self.surroundings.tailnet {
                Some(address) => beside_loopback(address),
                None => {
                    let message = "this host has no tailnet address; listening on this machine only";
                    check.warnings.push(Warning::new("gateway.bind", message));
                    loopback()
                }
            },
            "custom" => self.custom(check),
            other => {
                if flag.is_some() {
                    check.issues.push(bad_bind(other));
                }
                loopback()
            }
        }
    }

    /// Every interface, with IPv6 when the operator wants it.
    fn everywhere(&self) -> Vec<IpAddr> {
        let ipv6 = self.root.at("gateway.bindIpv6").and_then(Node::flag) == Some(true);
        let further = ipv6.then_some(Ipv6Addr::UNSPECIFIED.into());
        std::iter::once(Ipv4Addr::UNSPECIFIED.into()).chain(further).collect()
    }

    fn custom(&self, check: &mut Check<'_>) -> Vec<IpAddr> {
        match self.text("gateway.customBindHost").and_then(|text| text.parse::<Ipv4Addr>().ok()) {
            Some(Ipv4Addr::LOCALHOST) => loopback(),
            Some(Ipv4Addr::UNSPECIFIED) => self.everywhere(),
            Some(address) => beside_loopback(address),
            None => {
                let message = "bind mode custom needs the address to bind";
                let issue = Issue::new(Failure::ConfigInvalid, "gateway.customBindHost", message);
                check.issues.push(issue.expecting("an IPv4 address"));
                loopback()
            }
        }
    }

    /// What the gateway asks for [D-25, D-26]. With any issue the result counts for nothing.
    pub(super) fn access(&self, listen: &[SocketAddr], check: &mut Check<'_>) -> Access {
        let exposed = listen.iter().find(|address| !address.ip().is_loopback());
        let token = self.secret("token", "GATEWAY_TOKEN", self.flags.token.as_ref());
        let password = self.secret("password", "GATEWAY_PASSWORD", self.flags.password.as_ref());
        self.disagreements(check);
        let Some(mode) = self.mode(token.as_ref(), password.as_ref(), check) else { return Access::Open };
        self.same_secret_twice(token.as_ref(), password.as_ref(), check);
        self.confused_keys(check);
        if mode == "trusted-proxy" {
            self.trusted_proxy(token.as_ref(), check);
            if let Some(given) = &password {
                self.strong(given, true, check);
            }
            return Access::TrustedProxy(password.map(|given| given.secret));
        }
        let given = if mode == "password" { password } else { token };
        match (mode, given) {
            ("none", given) => {
                if let Some(address) = exposed {
                    check.issues.push(exposed_without_auth(address));
                }
                if let Some(given) = given {
                    check.warnings.push(Warning::new(given.from, "is ignored: gateway auth mode is none"));
                }
                Access::Open
            }
            ("password", Some(given)) => {
                self.strong(&given, exposed.is_some(), check);
                Access::Password(given.secret)
            }
            ("token", Some(given)) => {
                self.strong(&given, exposed.is_some(), check);
                Access::Token(given.secret)
            }
            (_, None) if let Some(address) = exposed => {
                check.issues.push(exposed_without_auth(address));
                Access::Open
            }
            ("password", None) => {
                let message = "gateway auth mode is password, but no password is set";
                let remedy = "gateway.auth.password, OPENCLAW_GATEWAY_PASSWORD or --password";
                check.issues.push(
                    Issue::new(Failure::AuthMissing, "gateway.auth.password", message).expecting(remedy),
                );
                Access::Open
            }
            _ => Access::MadeToken,
        }
    }

    /// The mode; `None` when the operator must decide.
    fn mode(&self, token: Option<&Given>, password: Option<&Given>, check: &mut Check<'_>) -> Option<&str> {
        if let Some(mode) = self.flags.auth.as_deref() {
            if AUTH_MODES.contains(&mode) {
                return Some(mode);
            }
            let mut issue = Issue::new(Failure::ArgInvalid, "--auth", format!("Invalid --auth {mode:?}"))
                .expecting(format!("one of {}", AUTH_MODES.join(", ")));
            issue.nearest = nearest::word(mode, AUTH_MODES);
            check.issues.push(issue);
            return None;
        }
        match (&self.flags.token, &self.flags.password) {
            (Some(_), None) => return Some("token"),
            (None, Some(_)) => return Some("password"),
            (Some(_), Some(_)) => {
                let message = "--token and --password are both given";
                let issue = Issue::new(Failure::ConfigConflict, "--auth", message);
                check.issues.push(issue.expecting("one of them, or --auth to say which one counts"));
                return None;
            }
            (None, None) => {}
        }
        if let Some(mode) = self.text("gateway.auth.mode") {
            return Some(mode);
        }
        match (token, password) {
            (Some(token), Some(password)) => {
                let message =
                    format!("both a token ({}) and a password ({}) are set", token.from, password.from);
                let issue = Issue::new(Failure::ConfigConflict, "gateway.auth.mode", message);
                check.issues.push(issue.expecting("token or password, to say which one counts"));
                None
            }
            (None, Some(_)) => Some("password"),
            _ => Some("token"),
        }
    }

    fn secret(&self, name: &str, variable: &str, flag: Option<&Secret>) -> Option<Given> {
        if let Some(secret) = flag {
            return Some(Given { from: format!("--{name}"), secret: secret.clone(), at: None });
        }
        let path = format!("gateway.auth.{name}");
        if let Some((node, text)) = self.root.at(&path).and_then(|node| Some((node, node.text()?))) {
            return Some(Given { from: path, secret: Secret::new(text), at: Some(node.range.start) });
        }
        let found = self.env.find(variable)?;
        Some(Given { from: found.name, secret: Secret::new(found.value), at: None })
    }

    /// Says when file and environment name different secrets: whoever set the other one would wonder [D-30].
    fn disagreements(&self, check: &mut Check<'_>) {
        for (name, variable) in [("token", "GATEWAY_TOKEN"), ("password", "GATEWAY_PASSWORD")] {
            let path = format!("gateway.auth.{name}");
            if let (Some(written), Some(found)) = (self.text(&path), self.env.find(variable))
                && !Secret::new(written).matches(&found.value)
            {
                check
                    .warnings
                    .push(Warning::new(found.name, format!("differs from {path}, which goes before it")));
            }
        }
    }

    /// Refuses secrets that are none, and short ones where other machines can try them.
    pub(super) fn strong(&self, given: &Given, exposed: bool, check: &mut Check<'_>) {
        let text = given.secret.expose();
        let short = weak(&given.secret);
        let problem = match placeholder(text) {
            Some(problem) => problem.to_owned(),
            None if short && exposed => format!("is shorter than {SHORTEST} characters"),
            None => {
                if short {
                    let message = format!("is shorter than {SHORTEST} characters; use a longer one");
                    check.warnings.push(Warning::new(given.from.clone(), message));
                }
                return;
            }
        };
        let remedy = "a random text, such as the output of `openssl rand -base64 32`";
        let issue = Issue::new(Failure::AuthMissing, given.from.clone(), problem).expecting(remedy);
        match given.at {
            Some(at) => check.refuse(at, issue),
            None => check.issues.push(issue),
        }
    }

    /// One secret, one door: a model server must not be sent what opens the gateway (spec 08 S-15).
    fn same_secret_twice(&self, token: Option<&Given>, password: Option<&Given>, check: &mut Check<'_>) {
        if let (Some(token), Some(password)) = (token, password)
            && password.secret.matches(token.secret.expose())
        {
            let message = format!("is the same as {}", token.from);
            let issue = Issue::new(Failure::ConfigConflict, password.from.clone(), message);
            check.issues.push(issue.expecting("a secret of its own"));
        }
        let keys = [("models.providers", "apiKey"), ("auth.profiles", "key")];
        let members = |section: &str| self.root.at(section).map(Node::members).unwrap_or_default();
        for (section, name, member) in
            keys.iter().flat_map(|(section, name)| members(section).iter().map(move |m| (section, name, m)))
        {
            let Some(key) = member.node.get(name) else { continue };
            let own = [token, password].into_iter().flatten();
            for given in own.filter(|given| given.secret.matches(key.text().unwrap_or_default())) {
                let path = format!("{section}.{}.{name}", member.name);
                let issue =
                    Issue::new(Failure::ConfigConflict, path, format!("is the same as {}", given.from));
                check.refuse(key.range.start, issue.expecting("the provider's key"));
            }
        }
    }

    /// Users mistake `gateway.remote.token` for the server's own.
    fn confused_keys(&self, check: &mut Check<'_>) {
        let remote = self.text("gateway.mode") == Some("remote");
        if !remote && self.root.at("gateway.remote.token").is_some() {
            let message =
                "is what a client presents elsewhere; this gateway's own token is gateway.auth.token";
            check.warnings.push(Warning::new("gateway.remote.token", message));
        }
    }
}

/// Whether a secret is too short for a gateway that other machines can reach.
pub(super) fn weak(secret: &Secret) -> bool {
    secret.expose().chars().count() < SHORTEST
}

const DEFAULT_PORT: u16 = 18_789;

fn loopback() -> Vec<IpAddr> {
    vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

/// An address with the alias by which this machine's own clients come in: both must work.
fn beside_loopback(address: Ipv4Addr) -> Vec<IpAddr> {
    std::iter::once(address.into()).chain(loopback()).collect()
}

fn exposed_without_auth(address: &SocketAddr) -> Issue {
    let message = format!("refusing to bind gateway to {address} without auth");
    let remedy = "a token or password (gateway.auth.token, gateway.auth.password, --token, --password), or bind mode loopback";
    Issue::new(Failure::AuthRequiredForBind, "gateway.bind", message).expecting(remedy)
}

/// Host names are not bind modes; the message names the mode that does what was meant.
fn bad_bind(given: &str) -> Issue {
    let mut issue = Issue::new(Failure::ArgInvalid, "--bind", format!("Invalid --bind {given:?}"))
        .expecting(format!("one of {}", BINDS.join(", ")));
    issue.nearest = meant(given).map(str::to_owned).or_else(|| nearest::word(given, BINDS));
    issue
}

/// The bind mode that a host name stands for.
pub(super) fn meant(host: &str) -> Option<&'static str> {
    match host {
        "localhost" | "127.0.0.1" | "::1" | "[::1]" => Some("loopback"),
        "0.0.0.0" | "::" | "[::]" | "*" => Some("lan"),
        other if other.parse::<IpAddr>().is_ok() => Some("custom"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::KEYS;
    use super::*;

    #[test]
    fn the_default_port_is_the_one_of_the_table() {
        let default = KEYS.iter().find(|key| key.path == "gateway.port").and_then(|key| key.default);
        assert_eq!(default, Some(DEFAULT_PORT.to_string().as_str()));
    }
}
