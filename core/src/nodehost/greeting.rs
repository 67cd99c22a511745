//! How a node introduces itself (spec 01 §2.3, §4.2).

use serde_json::{Map, Value, json};

use crate::auth::Secret;

use super::settings::NodeSettings;

/// The id by which gateways know node hosts.
const CLIENT_ID: &str = "node-host";

/// The mode, and the role.
const NODE: &str = "node";

/// The generations of the signed text that a node can write. Gateways of protocol 3 know the second only, and none
/// says which it knows: the third, which binds the platform too, is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With the nonce.
    V2,
    /// With the nonce, the platform and the device family.
    V3,
}

/// What is shown, one at a time.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// Nothing.
    Nothing,
    /// The shared token.
    Token(Secret),
    /// The shared password.
    Password(Secret),
    /// The token that this gateway gave to this node.
    Device(Secret),
    /// The token of a setup code.
    Setup(Secret),
}

impl Shown {
    /// The member of `auth` and its value. A device token goes where gateways of both protocols look for it; those
    /// of protocol 3 refuse a member that they do not know.
    fn field(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Nothing => None,
            Self::Token(secret) | Self::Device(secret) => Some(("token", secret.expose())),
            Self::Password(secret) => Some(("password", secret.expose())),
            Self::Setup(secret) => Some(("bootstrapToken", secret.expose())),
        }
    }

    /// The credential that is signed.
    fn signed(&self) -> &str {
        match self {
            Self::Token(secret) | Self::Device(secret) | Self::Setup(secret) => secret.expose(),
            Self::Nothing | Self::Password(_) => "",
        }
    }
}

/// The challenge of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) nonce: String,
    /// The gateway's clock; this machine's when the gateway does not say.
    pub(super) at_ms: u64,
}

impl Challenge {
    /// Reads the payload of `connect.challenge`; `None` without a usable nonce.
    pub(super) fn read(payload: &Value, now_ms: u64) -> Option<Self> {
        let nonce = payload.get("nonce")?.as_str()?.trim();
        if nonce.is_empty() || nonce.len() > 256 {
            return None;
        }
        let at_ms = payload.get("ts").and_then(Value::as_u64).unwrap_or(now_ms);
        Some(Self { nonce: nonce.to_owned(), at_ms })
    }
}

/// The parameters of `connect`.
pub(super) fn params(settings: &NodeSettings, challenge: &Challenge, shown: &Shown, form: Form) -> Value {
    let identity = &settings.identity;
    let auth: Map<String, Value> =
        shown.field().into_iter().map(|(name, secret)| (name.to_owned(), secret.into())).collect();
    json!({
        "minProtocol": 3,
        "maxProtocol": 4,
        "client": {
            "id": CLIENT_ID,
            "displayName": settings.name,
            "version": settings.version,
            "platform": settings.platform,
            "deviceFamily": settings.family,
            "mode": NODE,
            "instanceId": identity.id(),
        },
        "role": NODE,
        "scopes": [],
        "caps": settings.machine.capabilities(),
        "commands": settings.machine.commands(),
        "pathEnv": settings.machine.path(),
        "auth": auth,
        "device": {
            "id": identity.id(),
            "publicKey": identity.public_key(),
            "signature": identity.sign(&signed_text(settings, challenge, shown, form)),
            "signedAt": challenge.at_ms,
            "nonce": challenge.nonce,
        },
    })
}

/// The signed text. A node asks for no scopes.
fn signed_text(settings: &NodeSettings, challenge: &Challenge, shown: &Shown, form: Form) -> String {
    let signed_at = challenge.at_ms.to_string();
    let version = match form {
        Form::V2 => "v2",
        Form::V3 => "v3",
    };
    let id = settings.identity.id();
    let mut text =
        [version, id, CLIENT_ID, NODE, NODE, "", &signed_at, shown.signed(), &challenge.nonce].join("|");
    if form == Form::V3 {
        for word in [&settings.platform, &settings.family] {
            text.push('|');
            text.push_str(&word.trim().to_ascii_lowercase());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::testing::settings;
    use super::*;

    const NONCE: &str = "7d1f0c9e-2a64-4b0d-9a53-5f6f1f6f0a11";

    #[test]
    fn the_second_form_is_signed_as_the_published_vector() {
        let settings = settings();
        let challenge = Challenge { nonce: NONCE.to_owned(), at_ms: 1_769_700_000_000 };
        let params = params(&settings, &challenge, &Shown::Nothing, Form::V2);
        assert_eq!(
            params["device"]["id"],
            "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c"
        );
        assert_eq!(params["device"]["publicKey"], "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
        assert_eq!(
            params["device"]["signature"],
            "uiSKZJGXLtbLDmllgOPoVdlle-3snceEUzIegbNa8T0TIDgUh26oQMK-Hfd8CL4KsfacDdffrR8Ky0GyGCEgBQ"
        );
    }

    #[test]
    fn the_third_form_binds_the_platform_and_the_credential() {
        let settings = settings();
        let challenge = Challenge { nonce: NONCE.to_owned(), at_ms: 7 };
        let text = signed_text(&settings, &challenge, &Shown::Device(Secret::new("dt")), Form::V3);
        assert!(
            text.starts_with("v3|56475aa7") && text.ends_with(&format!("|7|dt|{NONCE}|linux|linux")),
            "{text}"
        );
    }

    #[test]
    fn each_credential_stands_where_both_generations_of_gateways_look() {
        let settings = settings();
        let challenge = Challenge { nonce: NONCE.to_owned(), at_ms: 7 };
        let auth = |shown: Shown| params(&settings, &challenge, &shown, Form::V3)["auth"].clone();
        assert_eq!(auth(Shown::Nothing), json!({}));
        assert_eq!(auth(Shown::Token(Secret::new("a"))), json!({"token": "a"}));
        assert_eq!(auth(Shown::Device(Secret::new("b"))), json!({"token": "b"}));
        assert_eq!(auth(Shown::Password(Secret::new("c"))), json!({"password": "c"}));
        assert_eq!(auth(Shown::Setup(Secret::new("d"))), json!({"bootstrapToken": "d"}));
    }

    #[test]
    fn a_challenge_without_a_nonce_is_none() {
        for payload in
            [json!({}), json!({"nonce": " "}), json!({"nonce": 7}), json!({"nonce": "x".repeat(300)})]
        {
            assert_eq!(Challenge::read(&payload, 1), None, "{payload}");
        }
        let read = Challenge::read(&json!({"nonce": "n"}), 5).unwrap();
        assert_eq!(read, Challenge { nonce: "n".to_owned(), at_ms: 5 });
    }
}
