//! `node.event`: what a node tells by itself (spec 03 §2.8, §2.10).

use serde::Deserialize;
use serde_json::Value;
use telson_proto::node::{EventHeard, EventParams, HostStatsEvent};
use telson_proto::{ErrorShape, EventName, Json, Protocol};

use super::registry::{Activity, node_id};
use crate::auth::Principal;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{ConnId, DeviceId, Ticket};
use crate::limits;
use crate::messages::{Outcome, Publish};

/// How long after its last use a node counts as used.
const ACTIVE_MS: u64 = 300_000;

impl Activity {
    /// Whether somebody uses the node.
    pub(super) fn is_fresh(self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_active_at) < ACTIVE_MS
    }
}

/// What came of an event.
enum Came {
    /// This, at once.
    Now(bool, Option<&'static str>),
    /// The answer comes when it is stored.
    Later,
}

/// `node.event`: protocol 3 is told `ok` whatever it was; protocol 4 is told what came of it.
pub(crate) fn event(gateway: &mut Gateway, call: Call<EventParams>) -> Answer<EventHeard> {
    let Call { principal, ticket, params, .. } = call;
    let name = params.event.as_str().trim().to_owned();
    let came = match payload(params.payload, params.payload_json) {
        Some(payload) => gateway.node_told(&principal, &ticket, &name, payload)?,
        None => Came::Now(false, Some("invalid_payload")),
    };
    Ok(match came {
        Came::Now(handled, reason) => Reply::Ready(heard(principal.protocol, name, handled, reason)),
        Came::Later => Reply::Later,
    })
}

fn heard(protocol: Protocol, event: String, handled: bool, reason: Option<&'static str>) -> EventHeard {
    match protocol {
        Protocol::V3 => EventHeard { ok: true, event: None, handled: None, reason: None },
        Protocol::V4 => EventHeard { ok: true, event: Some(event), handled: Some(handled), reason },
    }
}

/// The payload of either form, which must be an object.
fn payload(payload: Option<Value>, text: Option<Value>) -> Option<Value> {
    let value = match text {
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        Some(Value::Null) | None => payload?,
        Some(other) => payload.unwrap_or(other),
    };
    value.is_object().then_some(value)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default)]
    idle_seconds: Option<u64>,
    #[serde(default)]
    action: Option<String>,
}

impl Gateway {
    fn node_told(
        &mut self,
        who: &Principal,
        ticket: &Ticket,
        event: &str,
        payload: Value,
    ) -> Result<Came, ErrorShape> {
        let (node, conn) = (node_id(who), ticket.conn);
        let (handled, reason) = match event {
            "voice.transcript" => self.node_says(who, &node, conn, &payload),
            "agent.request" => self.node_asks(who, &node, conn, &payload),
            "chat.subscribe" => self.node_listens(who, conn, &payload, true)?,
            "chat.unsubscribe" => self.node_listens(who, conn, &payload, false)?,
            "exec.started" | "exec.finished" | "exec.denied" => {
                self.exec_event(who, &node, conn, event, payload)
            }
            "node.presence.alive" => return Ok(self.node_alive(&node, ticket, who.protocol, &payload)),
            "node.presence.activity" => self.node_activity(&node, conn, payload),
            "node.host.stats" => self.node_stats(&node, conn, &payload),
            _ => (false, Some("unsupported_event")),
        };
        Ok(Came::Now(handled, reason))
    }

    /// From now on, or no longer, the node hears a session.
    fn node_listens(
        &mut self,
        who: &Principal,
        conn: ConnId,
        payload: &Value,
        on: bool,
    ) -> Result<(bool, Option<&'static str>), ErrorShape> {
        let spelling = payload["sessionKey"].as_str().unwrap_or_default().trim();
        if spelling.is_empty() {
            return Ok((false, Some("invalid_payload")));
        }
        let Ok(key) = self.canonical_for(who, conn, spelling) else {
            return Ok((false, Some("invalid_payload")));
        };
        self.watch_messages(conn, &key, on)?;
        Ok((true, None))
    }

    /// A node is alive, though it may be about to sleep. The answer says that it is written down.
    fn node_alive(&mut self, node: &DeviceId, ticket: &Ticket, protocol: Protocol, payload: &Value) -> Came {
        const TRIGGERS: [&str; 6] =
            ["background", "silent_push", "bg_app_refresh", "significant_location", "manual", "connect"];
        if self.devices.node(node).is_none() {
            return Came::Now(false, Some("not_paired"));
        }
        let asked = payload["trigger"].as_str().unwrap_or_default();
        let trigger = TRIGGERS.into_iter().find(|known| *known == asked).unwrap_or("background");
        let now = self.now.wall;
        let Some(record) = self.nodes.record_mut(node) else {
            return Came::Now(false, Some("too_many_nodes"));
        };
        let recent =
            record.last_seen_at_ms.is_some_and(|last| last.abs_diff(now) < limits::DEVICE_USED_STEP_MS);
        if recent && record.last_seen_reason.as_deref() == Some(trigger) {
            return Came::Now(true, Some("persisted"));
        }
        record.seen(now, trigger);
        let ops = self.node_record_ops(node);
        let (node, ticket) = (node.clone(), ticket.clone());
        self.store(ops, move |gateway, stored| {
            let outcome = match stored {
                Ok(()) => {
                    let event = "node.presence.alive".to_owned();
                    Outcome::ok(Json::of(&heard(protocol, event, true, Some("persisted"))))
                }
                Err(error) => Outcome::error(error.into()),
            };
            gateway.reply(ticket, outcome);
            gateway.tell_presence(&node, "alive");
        });
        Came::Later
    }

    /// A person uses the node, or does not.
    fn node_activity(
        &mut self,
        node: &DeviceId,
        conn: ConnId,
        payload: Value,
    ) -> (bool, Option<&'static str>) {
        const MOST_IDLE_S: u64 = 2_592_000;
        let now = self.now.wall;
        let Ok(told) = serde_json::from_value::<Told>(payload) else {
            return (false, Some("invalid_payload"));
        };
        let activity = match (told.action.as_deref(), told.idle_seconds) {
            (Some("clear"), _) => None,
            (None, Some(idle)) if idle <= MOST_IDLE_S => {
                Some(Activity { last_active_at: now.saturating_sub(idle * 1_000), updated_at: now })
            }
            _ => return (false, Some("invalid_payload")),
        };
        let Some(session) = self.nodes.registry.session_mut(conn) else {
            return (false, Some("stale_connection"));
        };
        session.activity = activity;
        self.tell_presence(node, "activity");
        (true, None)
    }

    /// How the node's machine is.
    fn node_stats(&mut self, node: &DeviceId, conn: ConnId, payload: &Value) -> (bool, Option<&'static str>) {
        let Some(stats) = host_stats(payload) else { return (false, Some("invalid_payload")) };
        let current = self.nodes.registry.current(node).is_some_and(|session| session.conn == conn);
        let Some(session) = self.nodes.registry.session_mut(conn).filter(|_| current) else {
            return (false, Some("stale_connection"));
        };
        session.host_stats = Some(stats.clone());
        let payload = Json::of(&HostStatsEvent { node_id: node.to_string(), host_stats: stats });
        let publish = Publish::droppable(EventName::NodeHostStats, payload);
        self.publish(Publish { v3: None, ..publish });
        (true, Some("updated"))
    }
}

/// The figures that are known, if those that must be there are.
fn host_stats(payload: &Value) -> Option<Json> {
    const MUST: [&str; 3] = ["cpuCount", "memoryTotalBytes", "memoryFreeBytes"];
    const MAY: [&str; 2] = ["diskTotalBytes", "diskAvailableBytes"];
    let mut stats = serde_json::Map::new();
    for name in MUST {
        stats.insert(name.to_owned(), payload[name].as_u64()?.into());
    }
    if !(1..=4_096).contains(&payload["cpuCount"].as_u64()?) {
        return None;
    }
    for name in MAY {
        if let Some(bytes) = payload[name].as_u64() {
            stats.insert(name.to_owned(), bytes.into());
        }
    }
    if let Some(load) = payload["loadAverage"].as_array() {
        let load: Vec<f64> = load.iter().filter_map(Value::as_f64).filter(|n| *n >= 0.0).collect();
        if load.len() != 3 {
            return None;
        }
        stats.insert("loadAverage".to_owned(), load.into());
    }
    Some(Json::of(&stats))
}
