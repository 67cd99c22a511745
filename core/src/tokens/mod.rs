//! Service tokens: bearers with scopes and an end, for programs that have no device key (07 P-23).

use std::time::Duration;

use crate::gateway::Gateway;
use crate::store::Record;

/// The service tokens. See the [module documentation](self).
#[derive(Default)]
pub struct Tokens {}

impl Tokens {
    /// Takes over what was kept.
    pub(crate) fn restore(&mut self, _records: Vec<Record>) {}

    /// When the next token ends.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        None
    }
}

impl Gateway {
    /// Ends the tokens whose time has come.
    pub(crate) fn token_timeouts(&mut self) {}
}
