//! Who a connection is, as verified at connect, and what it merely says about itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use telson_proto::{Protocol, Role, Scope, Scopes};

use crate::ids::DeviceId;

/// How a connection proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// Mode `none` on a loopback bind: nothing was asked for.
    None,
    /// The gateway's shared token.
    Token,
    /// The gateway's shared password.
    Password,
    /// A paired device's own token.
    DeviceToken,
    /// A setup code's token, which its first device redeems.
    BootstrapToken,
    /// A token that an operator made for a program.
    ServiceToken,
    /// A proxy that the operator trusts vouches for the user.
    TrustedProxy,
    /// The tailnet vouches for the user.
    Tailscale,
}

impl AuthMethod {
    /// The spelling in a v4 hello.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
            Self::DeviceToken => "device-token",
            Self::BootstrapToken => "bootstrap-token",
            Self::ServiceToken => "service-token",
            Self::TrustedProxy => "trusted-proxy",
            Self::Tailscale => "tailscale",
        }
    }
}

/// What admitted a connection or a request. When it ends, so does what it admitted (DESIGN.md, *Epochs*).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing was asked for.
    Nothing,
    /// The gateway's own secret, as it was in this epoch.
    Shared {
        /// How often the secret had changed before.
        epoch: u64,
    },
    /// A device's token.
    DeviceToken {
        /// Lower-case hex SHA-256 of its value.
        hash: String,
    },
    /// A service token.
    Service {
        /// Its id.
        id: String,
    },
    /// A user for whom a proxy or the tailnet vouches, under the rules of this epoch.
    Vouched {
        /// How often the rules had changed before.
        epoch: u64,
    },
}

/// Who a connection is. Built once, at connect, from verified facts only; the one thing that
/// [`crate::auth::authorize`] trusts.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Operator or node.
    pub role: Role,
    /// The scopes in force.
    pub scopes: Scopes,
    /// How it proved itself.
    pub method: AuthMethod,
    /// What admitted it.
    pub credential: Credential,
    /// The device whose key signed the challenge and which is paired.
    pub device: Option<DeviceId>,
    /// The person for whom a proxy or the tailnet vouches.
    pub user: Option<String>,
    /// The protocol, which fixes the scope implications.
    pub protocol: Protocol,
    /// The client's address: the socket's, or the one for which a trusted proxy vouches.
    pub addr: IpAddr,
    /// Whether it is a direct connection from this host. It grants nothing.
    pub local: bool,
    /// What the client says it is.
    pub declared: Declared<Client>,
}

impl Principal {
    /// Who it is in the book of deeds, and for telling whose answer may be continued; in nothing else.
    pub fn actor(&self) -> String {
        match (&self.device, &self.user, &self.credential) {
            (Some(device), ..) => format!("device:{device}"),
            (None, Some(user), _) => format!("user:{user}"),
            (None, None, Credential::Service { id }) => format!("service:{id}"),
            (None, None, _) => self.method.as_str().to_owned(),
        }
    }

    /// Whether the principal holds `scope`. Nodes hold none.
    pub fn holds(&self, scope: Scope) -> bool {
        self.role == Role::Operator && self.scopes.grants(scope, self.protocol)
    }
}

/// What a client declares about itself. It can be shown and logged; it cannot reach `authorize`, which takes
/// no such type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared<T>(T);

impl<T> Declared<T> {
    /// Marks a value as declared.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for showing, logging and answering in the client's own style.
    pub fn shown(&self) -> &T {
        &self.0
    }
}

/// A client's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The product's id.
    pub id: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its operating system.
    pub platform: Option<String>,
    /// The kind of machine.
    pub device_family: Option<String>,
    /// The model of the machine.
    pub model_identifier: Option<String>,
    /// How it is used: `cli`, `ui`, `webchat`, …; empty for plain clients that say nothing.
    pub mode: String,
    /// Stable per installation or tab.
    pub instance_id: Option<String>,
    /// Its capabilities.
    pub caps: Vec<String>,
    /// Its time zone.
    pub time_zone: Option<String>,
    /// Commands that a node offers.
    pub commands: Vec<String>,
    /// Permissions of its system that a node holds.
    pub permissions: BTreeMap<String, bool>,
    /// Where a node's system looks for programs.
    pub path_env: Option<String>,
}

impl Client {
    /// The name under which people know it.
    pub fn name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.id)
    }
}
