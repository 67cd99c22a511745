//! What a client is: its dialect, its credentials, its place in the network and its manners.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use telson_core::hex;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    V3,
    V4,
    Plain,
}

/// What a client shows to get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Token(String),
    /// The token that the gateway gave to this device, once it has one; the shared token before.
    DeviceToken(String),
    Nothing,
}

/// How a client behaves on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// The time a message takes in either direction, in milliseconds.
    pub(crate) latency: (u64, u64),
    /// How many bytes it reads in a second; `None` for as many as there are.
    pub(crate) rate: Option<u64>,
    /// Opens and says nothing.
    pub(crate) silent: bool,
    /// Remembers the events that it hears.
    pub(crate) listens: bool,
    /// Comes back by itself after its connection is lost.
    pub(crate) returns: bool,
}

/// What a client is.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) tongue: Tongue,
    pub(crate) role: &'static str,
    /// The scopes it asks for; `None` leaves them out.
    pub(crate) scopes: Option<Vec<&'static str>>,
    pub(crate) credential: Credential,
    /// The seed of its device key, if it is a device.
    pub(crate) device: Option<[u8; 32]>,
    pub(crate) addr: IpAddr,
    pub(crate) manners: Manners,
    /// The commands that a node offers.
    pub(crate) commands: Vec<&'static str>,
}

const CLIENT_ID: &str = "gateway-client";
const CLIENT_MODE: &str = "backend";

impl Profile {
    /// A well-behaved operator on the gateway's own host, with every right and the right token.
    pub(crate) fn operator(name: &str, tongue: Tongue, token: &str) -> Self {
        Self {
            name: name.to_owned(),
            tongue,
            role: "operator",
            scopes: Some(vec!["operator.admin"]),
            credential: Credential::Token(token.to_owned()),
            device: None,
            addr: IpAddr::from([127, 0, 0, 1]),
            manners: Manners { latency: (0, 3), rate: None, silent: false, listens: true, returns: false },
            commands: Vec::new(),
        }
    }

    /// A node on the gateway's own host with the right token: a device that offers to look for programs.
    pub(crate) fn node(name: &str, tongue: Tongue, token: &str, seed: [u8; 32]) -> Self {
        Self {
            role: "node",
            scopes: None,
            commands: vec!["system.which"],
            ..Self::operator(name, tongue, token).with_device(seed)
        }
    }

    /// The same with these scopes.
    pub(crate) fn with_scopes(mut self, scopes: &[&'static str]) -> Self {
        self.scopes = Some(scopes.to_vec());
        self
    }

    /// The same as a device with a key of its own.
    pub(crate) fn with_device(mut self, seed: [u8; 32]) -> Self {
        self.device = Some(seed);
        self
    }

    /// The same from another place.
    pub(crate) fn at(mut self, addr: [u8; 4]) -> Self {
        self.addr = IpAddr::from(addr);
        self
    }

    /// The same with this token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.credential = Credential::Token(token.to_owned());
        self
    }

    /// The scopes that it holds once it is in (spec 01 §3.6, §9.4), told apart from the gateway's own rules.
    pub(crate) fn granted(&self) -> Vec<&'static str> {
        if self.role == "node" {
            return Vec::new();
        }
        match (self.tongue, &self.scopes) {
            (Tongue::V3, None) => vec!["operator.admin"],
            (Tongue::V3, Some(list)) if list.is_empty() => vec!["operator.admin"],
            (Tongue::Plain, None) => vec!["operator.read", "operator.write"],
            (Tongue::V4, None) => Vec::new(),
            (Tongue::V4, Some(_)) if self.device.is_none() && !self.addr.is_loopback() => Vec::new(),
            (_, Some(list)) => list.clone(),
        }
    }

    pub(crate) fn holds(&self, scope: &str) -> bool {
        self.granted().into_iter().any(|held| {
            held == scope
                || held == "operator.admin"
                || (held == "operator.write" && scope == "operator.read")
                || (held == "operator.write" && scope == "operator.talk" && self.tongue == Tongue::V4)
        })
    }

    /// The id of its connect request.
    pub(crate) fn connect_id(&self) -> &'static str {
        match self.tongue {
            Tongue::Plain => "connect",
            Tongue::V3 | Tongue::V4 => "c-1",
        }
    }

    pub(crate) fn device_id(&self) -> Option<String> {
        self.device.map(|seed| device_id(&SigningKey::from_bytes(&seed)))
    }

    /// Its connect frame.
    pub(crate) fn connect(&self, challenge: &Value, device_token: Option<&str>) -> String {
        let token = match &self.credential {
            Credential::Token(token) => Some(token.clone()),
            Credential::DeviceToken(shared) => Some(device_token.unwrap_or(shared).to_owned()),
            Credential::Nothing => None,
        };
        let mut params = json!({
            "client": {
                "id": CLIENT_ID, "displayName": self.name, "version": "1.0", "platform": "linux",
                "mode": CLIENT_MODE, "instanceId": self.name,
            },
            "role": self.role,
        });
        if !self.commands.is_empty() {
            params["commands"] = json!(self.commands);
        }
        if let Some(scopes) = &self.scopes {
            params["scopes"] = json!(scopes);
        }
        if let Some(seed) = self.device {
            params["device"] = self.proof(seed, challenge, token.as_deref().unwrap_or_default());
        }
        if self.tongue == Tongue::Plain {
            if let Some(token) = token {
                params["token"] = token.into();
            }
            return json!({"type": "connect", "params": params}).to_string();
        }
        let protocol = if self.tongue == Tongue::V3 { 3 } else { 4 };
        params["minProtocol"] = protocol.into();
        params["maxProtocol"] = protocol.into();
        params["caps"] = json!([]);
        params["auth"] = token.map_or(json!({}), |token| json!({"token": token}));
        json!({"type": "req", "id": self.connect_id(), "method": "connect", "params": params}).to_string()
    }

    /// The device's signature over the challenge (spec 01 §4.2, payload version 2).
    fn proof(&self, seed: [u8; 32], challenge: &Value, token: &str) -> Value {
        let key = SigningKey::from_bytes(&seed);
        let (nonce, at) =
            (challenge["nonce"].as_str().unwrap_or_default(), challenge["ts"].as_u64().unwrap_or(0));
        let id = device_id(&key);
        let scopes = self.scopes.clone().unwrap_or_default().join(",");
        let role = self.role;
        let signed = format!("v2|{id}|{CLIENT_ID}|{CLIENT_MODE}|{role}|{scopes}|{at}|{token}|{nonce}");
        json!({
            "id": id,
            "publicKey": URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes()),
            "signature": URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes()),
            "signedAt": at,
            "nonce": nonce,
        })
    }
}

fn device_id(key: &SigningKey) -> String {
    hex(Sha256::digest(key.verifying_key().to_bytes()).as_slice())
}

/// A latency of a far client.
pub(crate) fn far() -> (u64, u64) {
    (20, 180)
}

/// How long a client waits before it comes back.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(800);
