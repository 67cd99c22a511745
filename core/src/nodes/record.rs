//! What is kept of a node beyond its device: what somebody has approved it for, what it asks for, and when it was
//! last seen (spec 01 §5.7). Pure.
//!
//! An approval is of one request, and a request never changes: a node that asks for something else makes another
//! request under another id. So whoever approves grants what he has seen, whatever the node does meanwhile [S-60].

use serde::{Deserialize, Serialize};
use telson_proto::Scope;

use super::offer::Offer;
use super::platform::Platform;
use super::policy::acts_on_host;

/// The record. See the [module documentation](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approved: Option<Approved>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_connected_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_disconnected_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_seen_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_seen_reason: Option<String>,
}

/// What somebody has approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Approved {
    pub(crate) offer: Offer,
    /// The machine that was approved: on another one the approval is void [S-61].
    pub(crate) kind: String,
    /// When the device was paired: the approval ends with that pairing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pairing: Option<u64>,
    /// Epoch milliseconds of the first approval.
    pub(crate) created_at_ms: u64,
    pub(crate) at_ms: u64,
}

/// What waits for an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) offer: Offer,
    pub(crate) kind: String,
    /// What the node says of itself.
    pub(crate) about: About,
    /// It comes from this host with the gateway's own secret.
    pub(crate) silent: bool,
    pub(crate) is_repair: bool,
    pub(crate) ts: u64,
}

/// What a node says of itself, for whoever decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_identifier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote_ip: Option<String>,
}

/// A node has come in.
pub(crate) struct Arrival {
    /// What it offers and may be asked for.
    pub(crate) offer: Offer,
    pub(crate) platform: Platform,
    /// When its device was paired; `None` without one.
    pub(crate) pairing: Option<u64>,
    pub(crate) about: About,
    /// It comes from this host with the gateway's own secret.
    pub(crate) silent: bool,
    /// Its first request needs nobody's word.
    pub(crate) at_once: bool,
    pub(crate) now_ms: u64,
}

/// What came of an arrival.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// It asks for something new.
    pub(crate) asked: bool,
    /// It was approved at once.
    pub(crate) approved: bool,
    /// A request that is no longer wanted.
    pub(crate) settled: Option<String>,
}

impl NodeRecord {
    /// What the node is approved for, on this kind of machine and by this pairing of its device.
    pub(crate) fn approved_on(&self, platform: Platform, pairing: Option<u64>) -> Option<&Offer> {
        let holds = |a: &&Approved| a.kind == platform.as_str() && a.pairing == pairing;
        self.approved.as_ref().filter(holds).map(|approved| &approved.offer)
    }

    /// A node comes in.
    pub(crate) fn arrive(&mut self, arrival: Arrival, fresh_id: impl FnOnce() -> String) -> Outcome {
        self.last_connected_at_ms = Some(arrival.now_ms);
        self.seen(arrival.now_ms, "connect");
        if self.approved.as_ref().is_some_and(|approved| approved.pairing != arrival.pairing) {
            // Its device was removed and paired anew: it begins from nothing.
            self.approved = None;
        }
        if self
            .approved_on(arrival.platform, arrival.pairing)
            .is_some_and(|approved| arrival.offer.is_within(approved))
        {
            let settled = self.request.take().map(|request| request.id);
            return Outcome { settled, ..Outcome::default() };
        }
        if self.approved.is_none() && arrival.at_once {
            let settled = self.request.take().map(|request| request.id);
            let kind = arrival.platform.as_str().to_owned();
            self.approve(arrival.offer, kind, arrival.pairing, arrival.now_ms);
            return Outcome { approved: true, settled, ..Outcome::default() };
        }
        let same =
            |request: &Request| request.offer == arrival.offer && request.kind == arrival.platform.as_str();
        if self.request.as_ref().is_some_and(same) {
            return Outcome::default();
        }
        let request = Request {
            id: fresh_id(),
            offer: arrival.offer,
            kind: arrival.platform.as_str().to_owned(),
            about: arrival.about,
            silent: arrival.silent,
            is_repair: self.approved.is_some(),
            ts: arrival.now_ms,
        };
        let settled = self.request.replace(request).map(|request| request.id);
        Outcome { asked: true, settled, ..Outcome::default() }
    }

    /// Grants what a request asks for. False when it is not the one that waits.
    pub(crate) fn grant(&mut self, request_id: &str, pairing: Option<u64>, now_ms: u64) -> bool {
        let Some(request) = self.request.take_if(|request| request.id == request_id) else { return false };
        self.approve(request.offer, request.kind, pairing, now_ms);
        true
    }

    fn approve(&mut self, offer: Offer, kind: String, pairing: Option<u64>, now_ms: u64) {
        let created_at_ms = self.approved.as_ref().map_or(now_ms, |approved| approved.created_at_ms);
        self.approved = Some(Approved { offer, kind, pairing, created_at_ms, at_ms: now_ms });
    }

    /// Notes a sign of life.
    pub(crate) fn seen(&mut self, now_ms: u64, reason: &str) {
        self.last_seen_at_ms = Some(now_ms);
        self.last_seen_reason = Some(reason.to_owned());
    }

    /// The word for lists.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.approved, &self.request) {
            (Some(_), None) => "approved",
            (Some(_), Some(_)) => "pending-reapproval",
            (None, Some(_)) => "pending-approval",
            (None, None) => "unapproved",
        }
    }
}

impl Request {
    /// The scope that an approval takes beyond `operator.pairing`.
    pub(crate) fn further_scope(&self) -> Option<Scope> {
        if self.offer.commands.iter().any(|command| acts_on_host(command)) {
            return Some(Scope::Admin);
        }
        (!self.offer.commands.is_empty()).then_some(Scope::Write)
    }
}
