//! What a connect asks for, read and checked but not yet believed (spec 01 §2.3, §2.4, §9.4).

use telson_proto::connect::{ConnectParams, DeviceProof};
use telson_proto::params::{Count, Text};
use telson_proto::{CloseCode, Dialect, ErrorShape, Protocol, Role, Scope, Scopes};

use super::clients::{Kind, is_worker};
use super::failure::Refusal;
use super::principal::Client;
use crate::gateway::read_params;
use crate::messages::Connect;

/// A connect request.
#[derive(Debug)]
pub(super) struct ConnectRequest {
    pub(super) dialect: Dialect,
    pub(super) protocol: Protocol,
    pub(super) role: Role,
    pub(super) kind: Kind,
    /// What it says about itself.
    pub(super) client: Client,
    pub(super) wanted: Wanted,
    pub(super) credentials: Credentials,
    pub(super) device: Option<DeviceProof>,
    pub(super) signed: SignedFields,
}

/// The scopes that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// These.
    These(Scopes),
    /// These, as far as the credential goes: the client named none.
    AtMost(Scopes),
    /// What the credential is bound to: protocol 3 clients that name none [S-03].
    Bound,
}

impl Wanted {
    /// Whether a credential with these scopes is enough for it.
    pub(super) fn fits(&self, held: &Scopes, protocol: Protocol) -> bool {
        match self {
            Self::These(scopes) => held.covers(scopes, protocol),
            Self::AtMost(_) | Self::Bound => true,
        }
    }

    /// The scopes that a device's own token gives.
    pub(super) fn by_token(&self, held: &Scopes, protocol: Protocol) -> Scopes {
        match self {
            Self::These(scopes) | Self::AtMost(scopes) => scopes.within(held, protocol),
            Self::Bound => held.clone(),
        }
    }

    /// The scopes that a service token gives. A program that names none gets those of its token, which were
    /// chosen for it.
    pub(super) fn by_service(&self, held: &Scopes, protocol: Protocol) -> Scopes {
        match self {
            Self::These(scopes) if scopes.is_empty() => held.clone(),
            other => other.by_token(held, protocol),
        }
    }

    /// The scopes that the client itself has named.
    pub(super) fn named(&self) -> Scopes {
        match self {
            Self::These(scopes) => scopes.clone(),
            Self::AtMost(_) | Self::Bound => Scopes::none(),
        }
    }

    /// The scopes that the gateway's own secret gives: whoever holds it may ask for anything.
    pub(super) fn by_secret(&self) -> Scopes {
        match self {
            Self::These(scopes) | Self::AtMost(scopes) => scopes.clone(),
            Self::Bound => Scopes::from_iter([Scope::Admin]),
        }
    }
}

/// What the client shows to prove itself. `None` and blank are the same to the rules, not to signatures.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) token: Option<String>,
    pub(super) password: Option<String>,
    pub(super) device_token: Option<String>,
    pub(super) bootstrap_token: Option<String>,
}

/// The words of the connect that a device signs, as they were written (spec 01 §4.2).
#[derive(Debug, Default)]
pub(super) struct SignedFields {
    pub(super) client_id: String,
    pub(super) client_mode: String,
    pub(super) scopes: Vec<String>,
    pub(super) platform: String,
    pub(super) device_family: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Credentials {
    pub(super) fn token(&self) -> Option<&str> {
        present(self.token.as_deref())
    }

    pub(super) fn password(&self) -> Option<&str> {
        present(self.password.as_deref())
    }

    pub(super) fn device_token(&self) -> Option<&str> {
        present(self.device_token.as_deref())
    }

    pub(super) fn bootstrap_token(&self) -> Option<&str> {
        present(self.bootstrap_token.as_deref())
    }

    /// The token that a device signs: the first that was sent, also when it is empty (D10).
    pub(super) fn signed_token(&self) -> &str {
        [&self.token, &self.device_token, &self.bootstrap_token]
            .into_iter()
            .find_map(|token| token.as_deref())
            .unwrap_or_default()
    }
}

fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

impl ConnectRequest {
    /// Reads the parameters of a connect.
    ///
    /// # Errors
    ///
    /// A refusal that names the field, or the protocol versions.
    pub(super) fn read(connect: &Connect) -> Result<Self, Refusal> {
        let params = parse(connect)?;
        let role = params.role.as_ref().map_or("operator", Text::as_str).to_owned();
        if is_worker(params.client.id.as_str(), params.client.mode.as_ref().map(Text::as_str), &role) {
            return Err(Refusal::wordless("invalid-handshake"));
        }
        let kind = match connect.dialect {
            Dialect::Native => native_kind(&params),
            Dialect::Plain => plain_kind(&params),
        };
        let kind = kind.map_err(|detail| Refusal::invalid_params(&detail))?;
        let protocol = negotiate(&params, connect.dialect)?;
        let role = match role.as_str() {
            "operator" => Role::Operator,
            "node" => Role::Node,
            _ => return Err(Refusal::policy("invalid-role", ErrorShape::invalid("invalid role"))),
        };
        let scopes = params.scopes.as_deref();
        Ok(Self {
            dialect: connect.dialect,
            protocol,
            role,
            kind,
            wanted: wanted(scopes, role, protocol, connect.dialect),
            signed: signed_fields(&params),
            client: declared(&params, connect.dialect),
            credentials: credentials(&params, connect.dialect),
            device: params.device,
        })
    }

    /// Whether the rules of the v3 server's order and device-less clients apply.
    pub(super) fn is_native_v3(&self) -> bool {
        self.dialect == Dialect::Native && self.protocol == Protocol::V3
    }
}

fn parse(connect: &Connect) -> Result<ConnectParams, Refusal> {
    let text = connect.params.as_deref().map_or("{}", serde_json::value::RawValue::get);
    // Members that nobody knows are ignored, whatever the protocol will be [D2].
    read_params("connect", text, Protocol::V4).map_err(|error| Refusal::policy("invalid-params", error))
}

fn native_kind(params: &ConnectParams) -> Result<Kind, String> {
    let client = &params.client;
    let missing = [
        ("", "minProtocol", params.min_protocol.is_none()),
        ("", "maxProtocol", params.max_protocol.is_none()),
        ("at /client: ", "version", client.version.is_none()),
        ("at /client: ", "platform", client.platform.is_none()),
        ("at /client: ", "mode", client.mode.is_none()),
    ];
    if let Some((place, field, _)) = missing.iter().find(|(_, _, missing)| *missing) {
        return Err(format!("{place}must have required property '{field}'"));
    }
    Kind::native(client.id.as_str(), client.mode.as_ref().map(Text::as_str).unwrap_or_default())
}

fn plain_kind(params: &ConnectParams) -> Result<Kind, String> {
    let id = params.client.id.as_str();
    if id.chars().count() > 128 || id.chars().any(char::is_control) {
        return Err("at /client/id: must be 1 to 128 printable characters".to_owned());
    }
    Ok(Kind::plain())
}

fn negotiate(params: &ConnectParams, dialect: Dialect) -> Result<Protocol, Refusal> {
    let number = |count: Option<Count<1>>| count.map(|count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    let (min, max) = (number(params.min_protocol), number(params.max_protocol));
    let (min, max) = match (dialect, min, max) {
        (Dialect::Plain, None, None) => (3, 3),
        (_, min, max) => (min.unwrap_or(1), max.unwrap_or(u32::MAX)),
    };
    Protocol::negotiate(min, max).ok_or_else(|| {
        let error = ErrorShape::invalid("protocol mismatch").with_details(&serde_json::json!({
            "code": "PROTOCOL_MISMATCH",
            "clientMinProtocol": min,
            "clientMaxProtocol": max,
            "expectedProtocol": if min > 4 { 4 } else { 3 },
            "minimumProbeProtocol": 3,
        }));
        Refusal::new("protocol-mismatch", error, CloseCode::Protocol)
    })
}

fn wanted(sent: Option<&[Text]>, role: Role, protocol: Protocol, dialect: Dialect) -> Wanted {
    let these = || {
        Wanted::These(Scopes::parse(&sent.unwrap_or_default().iter().map(Text::as_str).collect::<Vec<_>>()))
    };
    match (role, dialect, protocol, sent) {
        // Nodes hold no scopes, whatever they ask for (spec 01 §6.2).
        (Role::Node, ..) => Wanted::These(Scopes::none()),
        (_, Dialect::Plain, _, None) => Wanted::AtMost(Scopes::from_iter([Scope::Read, Scope::Write])),
        (_, Dialect::Native, Protocol::V3, None | Some([])) => Wanted::Bound,
        _ => these(),
    }
}

fn signed_fields(params: &ConnectParams) -> SignedFields {
    let client = &params.client;
    let text = |text: &Option<Text>| text.as_ref().map(Text::as_str).unwrap_or_default().to_owned();
    SignedFields {
        client_id: client.id.to_string(),
        client_mode: text(&client.mode),
        scopes: params.scopes.iter().flatten().map(Text::to_string).collect(),
        platform: text(&client.platform),
        device_family: text(&client.device_family),
    }
}

fn credentials(params: &ConnectParams, dialect: Dialect) -> Credentials {
    match dialect {
        Dialect::Native => {
            let auth = params.auth.clone().unwrap_or_default();
            Credentials {
                token: auth.token,
                password: auth.password,
                device_token: auth.device_token,
                bootstrap_token: auth.bootstrap_token,
            }
        }
        Dialect::Plain => Credentials {
            token: params.token.clone(),
            password: params.password.clone(),
            device_token: params.device_token.clone(),
            bootstrap_token: None,
        },
    }
}

fn declared(params: &ConnectParams, dialect: Dialect) -> Client {
    let client = &params.client;
    let text = |text: &Option<Text>| {
        text.as_ref().map(|text| printable(text.as_str())).filter(|text| !text.is_empty())
    };
    let default = |word: &str| (dialect == Dialect::Plain).then(|| word.to_owned());
    Client {
        id: printable(client.id.as_str()),
        display_name: text(&client.display_name),
        version: text(&client.version).or_else(|| default("0")),
        platform: text(&client.platform).or_else(|| default("unknown")),
        device_family: text(&client.device_family),
        model_identifier: text(&client.model_identifier),
        mode: text(&client.mode).unwrap_or_default(),
        instance_id: text(&client.instance_id),
        caps: params.caps.iter().take(64).map(|cap| printable(cap.as_str())).collect(),
        time_zone: client.time_zone.as_deref().map(printable).filter(|zone| !zone.is_empty()),
        commands: params.commands.iter().take(256).map(|command| printable(command.as_str())).collect(),
        permissions: params
            .permissions
            .iter()
            .take(64)
            .map(|(name, held)| (printable(name), *held))
            .collect(),
        path_env: params.path_env.as_deref().map(|path| shown(path, 4_096)).filter(|path| !path.is_empty()),
    }
}

/// A declared word as it may be shown and logged: without control characters, and of bounded length.
fn printable(text: &str) -> String {
    shown(text, 256)
}

fn shown(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
