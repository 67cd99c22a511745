//! The owner's desk: decisions about devices and tokens on what is kept, while no gateway runs.
//!
//! It is the gateway's own machine with one caller, the person who may write the state directory, and without
//! everything that a gateway does by itself. A decision made here passes the same functions as one that came over
//! a socket (spec 08 S-44). Whoever drives it stores what it asks for and tells it how that went:
//!
//! ```
//! use telson_core::desk::{Desk, Step};
//! use telson_core::settings::{AuthMode, Settings};
//! use telson_core::store::Everything;
//! use telson_core::{Now, Seed};
//!
//! let (now, seed) = (Now::epoch(), Seed::from([7; 32]));
//! let mut desk = Desk::new(Settings::plain(AuthMode::None), seed, now, Everything::default(), Vec::new());
//! let Step::Done(answer) = desk.ask(now, "device.pair.list", "{}") else { return };
//! assert!(answer.error.is_none());
//! ```

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::value::RawValue;
use telson_proto::{ErrorShape, Protocol, Role, Scopes};

use crate::auth::{AuthMethod, Client, Credential, Declared, Principal};
use crate::entropy::Seed;
use crate::gateway::{Gateway, Input, Output};
use crate::ids::{ConnId, Ticket, TxId};
use crate::messages::{Down, Outcome, Request, Up};
use crate::settings::Settings;
use crate::store::{Everything, StoreError, Transaction};
use crate::time::Now;

/// The methods that need no gateway at work begin so.
const FAMILIES: [&str; 3] = ["device.pair.", "device.token.", "tokens."];

/// The one caller.
const OWNER: ConnId = ConnId(0);

/// The desk. See the [module documentation](self).
pub struct Desk {
    gateway: Gateway,
    to_store: VecDeque<Transaction>,
    answer: Option<Outcome>,
    serial: u64,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Store this, then tell [`Desk::stored`].
    Store(Transaction),
    /// The answer; nothing more is to be done.
    Done(Outcome),
}

impl Desk {
    /// A desk with what is kept. `addresses` are those at which a gateway would listen.
    pub fn new(
        settings: Settings,
        seed: Seed,
        now: Now,
        everything: Everything,
        addresses: Vec<SocketAddr>,
    ) -> Self {
        let mut gateway = Gateway::new(settings, seed, now);
        gateway.sit_down(everything, addresses);
        gateway.conns.insert(OWNER, Arc::new(owner()));
        Self { gateway, to_store: VecDeque::new(), answer: None, serial: 0 }
    }

    /// Calls a method; the parameters are JSON.
    pub fn ask(&mut self, now: Now, method: &str, params: &str) -> Step {
        if !FAMILIES.iter().any(|family| method.starts_with(family)) {
            let message = format!("{method} needs a gateway at work; start it with: telson gateway run");
            return Step::Done(Outcome::error(ErrorShape::unavailable(message)));
        }
        self.serial += 1;
        let ticket = Ticket { conn: OWNER, id: self.serial.to_string(), serial: self.serial };
        let request = Request {
            ticket,
            method: method.to_owned(),
            params: RawValue::from_string(params.to_owned()).ok(),
        };
        self.gateway.handle(now, Input::Up(Up::Request(request)));
        self.step()
    }

    /// A transaction was stored, or was not.
    pub fn stored(&mut self, now: Now, id: TxId, result: Result<(), StoreError>) -> Step {
        self.gateway.handle(now, Input::Stored { id, result });
        self.step()
    }

    fn step(&mut self) -> Step {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Store(transaction) => self.to_store.push_back(transaction),
                Output::Down(Down::Reply { outcome, .. }) => self.answer = Some(outcome),
                // There is nobody to tell.
                _ => {}
            }
        }
        if let Some(transaction) = self.to_store.pop_front() {
            return Step::Store(transaction);
        }
        let unanswered = || Outcome::error(ErrorShape::unavailable("there was no answer"));
        Step::Done(self.answer.take().unwrap_or_else(unanswered))
    }
}

/// Who may write the state directory may do anything that a gateway on it may do.
fn owner() -> Principal {
    Principal {
        role: Role::Operator,
        scopes: Scopes::all(),
        method: AuthMethod::None,
        credential: Credential::Nothing,
        user: Some("offline".to_owned()),
        device: None,
        protocol: Protocol::V4,
        addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
        local: true,
        declared: Declared::new(Client::default()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::{Value, json};

    use super::*;
    use crate::settings::AuthMode;
    use crate::store::Op;

    fn desk(everything: Everything) -> Desk {
        let settings = Settings::plain(AuthMode::None);
        Desk::new(settings, Seed::from([1; 32]), Now::epoch(), everything, Vec::new())
    }

    fn call(desk: &mut Desk, method: &str, params: &Value) -> (Value, Vec<Op>) {
        let mut ops = Vec::new();
        let mut step = desk.ask(Now::epoch(), method, &params.to_string());
        loop {
            match step {
                Step::Store(transaction) => {
                    ops.extend(transaction.ops);
                    step = desk.stored(Now::epoch(), transaction.id, Ok(()));
                }
                Step::Done(Outcome { payload: Some(payload), .. }) => return (payload.to_value(), ops),
                Step::Done(Outcome { error, .. }) => return (json!({"error": error.unwrap().message}), ops),
            }
        }
    }

    #[test]
    fn a_token_made_at_the_desk_is_stored_and_written_into_the_book() {
        let mut desk = desk(Everything::default());
        let params = json!({"name": "bot", "scopes": ["operator.read"]});
        let (made, ops) = call(&mut desk, "tokens.create", &params);
        assert!(made["value"].as_str().unwrap().starts_with("telson_svc_"));
        assert!(
            matches!(&ops[..], [Op::PutRecord(_), Op::AppendAudit(line)] if line.actor == "user:offline")
        );
    }

    #[test]
    fn what_needs_a_gateway_at_work_is_refused() {
        let mut desk = desk(Everything::default());
        let (answer, ops) = call(&mut desk, "chat.send", &json!({}));
        assert!(answer["error"].as_str().unwrap().contains("needs a gateway"));
        assert!(ops.is_empty());
        let (unknown, _) = call(&mut desk, "device.pair.approve", &json!({"requestId": "x"}));
        assert_eq!(unknown["error"], "unknown requestId");
    }
}
