#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

mod approvals;
mod events;
mod invoke;
mod pairing;
mod policy;
mod presence;
mod work;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use telson_proto::device::ApprovedVia;
use telson_proto::{EventName, Protocol, Role, Scopes};

use crate::auth::{AuthMethod, Client, Credential, Declared, Principal};
use crate::devices::Claim;
use crate::gateway::Input;
use crate::ids::{ConnId, DeviceId};
use crate::messages::{Down, Up};
use crate::testing::{Told, World};

/// A node's connection, as a test makes it.
struct Machine {
    conn: ConnId,
    protocol: Protocol,
    device: &'static str,
    platform: &'static str,
    commands: Vec<&'static str>,
    credential: Credential,
    local: bool,
}

const SHARED: Credential = Credential::Shared { epoch: 0 };

/// A Linux machine of this host that can run programs.
fn machine(conn: u64, protocol: Protocol) -> Machine {
    Machine {
        conn: ConnId(1_000 + conn),
        protocol,
        device: "n1",
        platform: "linux",
        commands: vec!["system.run", "system.which", "system.notify"],
        credential: SHARED,
        local: true,
    }
}

fn client(machine: &Machine) -> Client {
    Client {
        id: "node-host".to_owned(),
        display_name: Some("shed".to_owned()),
        platform: Some(machine.platform.to_owned()),
        mode: "node".to_owned(),
        caps: vec!["system".to_owned()],
        commands: machine.commands.iter().map(|command| (*command).to_owned()).collect(),
        ..Client::default()
    }
}

impl World {
    /// A node's device is paired and connects.
    fn node(&mut self, machine: Machine) -> ConnId {
        let device = DeviceId::new(machine.device);
        let claim = Claim {
            device: device.clone(),
            public_key: "k".to_owned(),
            role: Role::Node,
            scopes: Scopes::none(),
            protocol: machine.protocol,
            display_name: Some("shed".to_owned()),
            platform: Some(machine.platform.to_owned()),
            device_family: None,
            client_id: "node-host".to_owned(),
            client_mode: "node".to_owned(),
            remote_ip: None,
            origin: None,
            native_app: false,
        };
        if self.gateway.devices.decide(&claim).is_some() {
            self.gateway.devices.approve(self.now, &claim, &claim.grant(), ApprovedVia::Silent);
        }
        if let Some(op) = self.gateway.devices.save(&device) {
            self.shelf.apply(vec![op]);
        }
        let principal = Arc::new(Principal {
            role: Role::Node,
            scopes: Scopes::none(),
            method: AuthMethod::Token,
            credential: machine.credential.clone(),
            user: None,
            device: Some(device),
            protocol: machine.protocol,
            addr: IpAddr::from([127, 0, 0, 1]),
            local: machine.local,
            declared: Declared::new(client(&machine)),
        });
        let conn = machine.conn;
        self.gateway.presence.connected(self.now, conn, &principal);
        self.gateway.conns.insert(conn, Arc::clone(&principal));
        self.gateway.node_entered(conn, &principal);
        self.input(Input::Timeout);
        conn
    }

    /// The same, approved for everything that it offers.
    fn approved_node(&mut self, machine: Machine) -> ConnId {
        let conn = self.node(machine);
        let operator = self.operator(Protocol::V4);
        let pending = self.ask(operator, "node.pair.list", json!({}))["pending"].clone();
        for request in pending.as_array().unwrap() {
            self.ask(operator, "node.pair.approve", json!({"requestId": request["requestId"]}));
        }
        conn
    }

    /// A connection is gone.
    fn lose(&mut self, conn: ConnId) {
        self.input(Input::Up(Up::Gone { conn }));
    }

    /// What was addressed to a connection, oldest first.
    fn addressed(&self, to: ConnId, name: EventName) -> Vec<Value> {
        let told = self.told.iter().filter_map(|told| match told {
            Told::Other(Down::Address { conn, event, payload }) if *conn == to && *event == name => {
                Some(payload.to_value())
            }
            _ => None,
        });
        told.collect()
    }

    /// The last invocation that a node was sent.
    fn invocation(&self, node: ConnId) -> Value {
        self.addressed(node, EventName::NodeInvokeRequest).pop().unwrap()
    }

    /// A node answers the last invocation that it was sent.
    fn node_answers(&mut self, node: ConnId, result: Value) -> Value {
        let sent = self.invocation(node);
        let mut params = result;
        params["id"] = sent["id"].clone();
        params["nodeId"] = sent["nodeId"].clone();
        self.ask(node, "node.invoke.result", params)
    }

    /// Invokes a command of node `n1`; the call to look for.
    fn invoke(&mut self, conn: ConnId, command: &str, params: Value) -> u64 {
        let params = json!({"nodeId": "n1", "command": command, "params": params, "idempotencyKey": "k"});
        self.call(conn, "node.invoke", params)
    }
}
