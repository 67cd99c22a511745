//! Gateways in the local network: announcing this one, and finding others (spec 05 §9).
//!
//! Both speak multicast DNS on threads of their own. What is announced can be read by everybody in the network and
//! written by anybody: nothing that is found decides where a secret goes or which certificate is believed, and
//! nothing that arrives ends more than the responder, which is started again after a pause (07 P-11).

mod advert;
mod announce;
mod beacon;
mod browse;

#[cfg(test)]
mod tests;

pub use advert::{Advert, AdvertFacts};
pub use announce::Announcement;
pub use beacon::Beacon;
pub use browse::{BrowseError, browse};

/// The type of service under which gateways announce themselves.
pub const SERVICE: &str = "_openclaw-gw._tcp.local.";

/// The port of multicast DNS.
pub const PORT: u16 = 5_353;
