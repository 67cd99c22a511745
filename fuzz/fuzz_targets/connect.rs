//! Whatever a client says in its first frame: it gets a hello or a refusal, and no hello without the secret.
//!
//! An input that begins with `{` is taken as the parameters as written; any other builds parameters piece by
//! piece, so that most of them are well-formed and go further.
#![no_main]

use std::net::IpAddr;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use telson_core::auth::Secret;
use telson_core::ingress::Trail;
use telson_core::peer::Peer;
use telson_core::settings::AuthMode;
use telson_fuzz::{SECRET, World};

fuzz_target!(|data: &[u8]| {
    let params = match std::str::from_utf8(data) {
        Ok(text) if text.starts_with('{') => text.to_owned(),
        _ => match Shape::arbitrary(&mut Unstructured::new(data)) {
            Ok(shape) => shape.params().to_string(),
            Err(_) => return,
        },
    };
    // The last bytes choose the surroundings, so that a text input meets all of them too.
    let choice = data.iter().rev().take(8).fold(0_u8, |sum, byte| sum.rotate_left(3) ^ byte);
    for plain in [false, true] {
        connect(&params, plain, choice);
    }
});

fn connect(params: &str, plain: bool, choice: u8) {
    let mode = match choice % 3 {
        0 => AuthMode::None,
        1 => AuthMode::Token(Secret::new(SECRET)),
        _ => AuthMode::Password(Secret::new(SECRET)),
    };
    let open = matches!(mode, AuthMode::None);
    let mut world = World::serving(mode);
    let Some(conn) = world.open(peer(choice)) else {
        world.finish();
        return;
    };
    let frame = match plain {
        true => format!(r#"{{"type":"connect","params":{params}}}"#),
        false => format!(r#"{{"type":"req","id":"c","method":"connect","params":{params}}}"#),
    };
    world.say(conn, frame);
    if world.hello(conn).is_some() {
        assert!(open || holds_secret(params), "a hello without the secret: {params}");
    }
    for (id, method) in ["health", "sessions.list", "system-presence", "nothing"].into_iter().enumerate() {
        let kind = if plain { "request" } else { "req" };
        world.say(conn, format!(r#"{{"type":"{kind}","id":"{id}","method":"{method}"}}"#));
    }
    world.finish();
}

fn peer(choice: u8) -> Peer {
    let addr = if choice & 8 == 0 { [127, 0, 0, 1] } else { [192, 0, 2, 7] };
    let mut peer = Peer::at(IpAddr::from(addr));
    peer.host = (choice & 16 == 0).then(|| "127.0.0.1:18789".to_owned());
    peer.origin = match choice & 96 {
        0 | 32 => None,
        64 => Some("http://127.0.0.1:18789".to_owned()),
        _ => Some("https://elsewhere.example".to_owned()),
    };
    if choice & 128 != 0 && choice & 96 == 96 {
        peer.trail = Trail::new([("x-forwarded-for".to_owned(), "203.0.113.9".to_owned())]);
    }
    peer
}

/// Whether the secret stands somewhere in the parameters, however it is escaped.
fn holds_secret(params: &str) -> bool {
    serde_json::from_str::<Value>(params).is_ok_and(|value| value.to_string().contains(SECRET))
}

/// The parameters of a connect.
#[derive(Arbitrary, Debug)]
struct Shape {
    min: Field<u8>,
    max: Field<u8>,
    client: Field<Client>,
    role: Field<Choice>,
    scopes: Field<Vec<Choice>>,
    auth: Field<Auth>,
    device: Field<Device>,
    caps: Field<Vec<Choice>>,
    permissions: Field<bool>,
    token: Field<Choice>,
    password: Field<Choice>,
    device_token: Field<Choice>,
    extra: Option<String>,
}

/// A field: mostly as it should be, sometimes absent, sometimes of the wrong kind.
#[derive(Arbitrary, Debug)]
enum Field<T> {
    Right(T),
    RightToo(T),
    Absent,
    Null,
    Wrong(Wrong),
}

#[derive(Arbitrary, Debug)]
enum Wrong {
    Number(i64),
    Float(f32),
    Text(String),
    List,
    Object,
    Deep(u8),
}

/// A text that means something to the gateway, or one that does not.
#[derive(Arbitrary, Debug)]
enum Choice {
    Secret,
    Known(u8),
    Empty,
    Text(String),
}

#[derive(Arbitrary, Debug)]
struct Client {
    id: Field<Choice>,
    version: Field<Choice>,
    platform: Field<Choice>,
    mode: Field<Choice>,
    name: Field<Choice>,
    instance: Field<Choice>,
}

#[derive(Arbitrary, Debug)]
struct Auth {
    token: Field<Choice>,
    password: Field<Choice>,
    device_token: Field<Choice>,
    bootstrap_token: Field<Choice>,
}

#[derive(Arbitrary, Debug)]
struct Device {
    id: Field<Choice>,
    public_key: Field<Choice>,
    signature: Field<Choice>,
    signed_at: Field<u64>,
    nonce: Field<Choice>,
}

/// Words that occur in real parameters.
const WORDS: [&str; 24] = [
    "cli",
    "webchat",
    "ui",
    "backend",
    "node",
    "probe",
    "test",
    "worker",
    "operator",
    "openclaw-control-ui",
    "clawdbot-control-ui",
    "gateway-client",
    "node-host",
    "openclaw-worker",
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.pairing",
    "operator.talk",
    "tool-events",
    "session-scoped-events",
    "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
    "dev",
];

impl Shape {
    fn params(self) -> Value {
        let mut object = Map::new();
        put(&mut object, "minProtocol", self.min, Value::from);
        put(&mut object, "maxProtocol", self.max, Value::from);
        put(&mut object, "client", self.client, Client::value);
        put(&mut object, "role", self.role, Choice::value);
        put(&mut object, "scopes", self.scopes, texts);
        put(&mut object, "auth", self.auth, Auth::value);
        put(&mut object, "device", self.device, Device::value);
        put(&mut object, "caps", self.caps, texts);
        put(&mut object, "permissions", self.permissions, |granted| json!({"camera": granted}));
        put(&mut object, "token", self.token, Choice::value);
        put(&mut object, "password", self.password, Choice::value);
        put(&mut object, "deviceToken", self.device_token, Choice::value);
        if let Some(name) = self.extra {
            object.entry(name).or_insert(Value::Bool(true));
        }
        Value::Object(object)
    }
}

impl Client {
    fn value(self) -> Value {
        let mut object = Map::new();
        put(&mut object, "id", self.id, Choice::value);
        put(&mut object, "version", self.version, Choice::value);
        put(&mut object, "platform", self.platform, Choice::value);
        put(&mut object, "mode", self.mode, Choice::value);
        put(&mut object, "displayName", self.name, Choice::value);
        put(&mut object, "instanceId", self.instance, Choice::value);
        Value::Object(object)
    }
}

impl Auth {
    fn value(self) -> Value {
        let mut object = Map::new();
        put(&mut object, "token", self.token, Choice::value);
        put(&mut object, "password", self.password, Choice::value);
        put(&mut object, "deviceToken", self.device_token, Choice::value);
        put(&mut object, "bootstrapToken", self.bootstrap_token, Choice::value);
        Value::Object(object)
    }
}

impl Device {
    fn value(self) -> Value {
        let mut object = Map::new();
        put(&mut object, "id", self.id, Choice::value);
        put(&mut object, "publicKey", self.public_key, Choice::value);
        put(&mut object, "signature", self.signature, Choice::value);
        put(&mut object, "signedAt", self.signed_at, Value::from);
        put(&mut object, "nonce", self.nonce, Choice::value);
        Value::Object(object)
    }
}

impl Choice {
    fn value(self) -> Value {
        Value::String(match self {
            Self::Secret => SECRET.to_owned(),
            Self::Known(n) => WORDS[usize::from(n) % WORDS.len()].to_owned(),
            Self::Empty => String::new(),
            Self::Text(text) => text,
        })
    }
}

impl Wrong {
    fn value(self) -> Value {
        match self {
            Self::Number(number) => number.into(),
            Self::Float(number) => json!(number),
            Self::Text(text) => text.into(),
            Self::List => json!([[], {}, null]),
            Self::Object => json!({"a": {"b": []}}),
            Self::Deep(depth) => (0..depth).fold(Value::Null, |inner, _| json!([inner])),
        }
    }
}

fn texts(list: Vec<Choice>) -> Value {
    Value::Array(list.into_iter().take(32).map(Choice::value).collect())
}

fn put<T>(object: &mut Map<String, Value>, name: &str, field: Field<T>, write: impl FnOnce(T) -> Value) {
    let value = match field {
        Field::Right(right) | Field::RightToo(right) => write(right),
        Field::Absent => return,
        Field::Null => Value::Null,
        Field::Wrong(wrong) => wrong.value(),
    };
    object.insert(name.to_owned(), value);
}
