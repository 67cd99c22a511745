//! What of a method's calls is written into the book (08 S-70).

use telson_proto::{Protocol, Scope};

use crate::gateway::{METHODS, Method, Need};

/// What is written of a method's calls. Every method has one, by what it asks of its caller: a new scope does not
/// build until it is said here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audited {
    /// Every call, whatever becomes of it.
    Calls,
    /// Denials only.
    Denials,
}

impl Audited {
    /// For a method that asks for this.
    pub const fn of(need: Need) -> Self {
        match need {
            Need::Scope(Scope::Admin | Scope::Pairing | Scope::Approvals | Scope::TalkSecrets) => Self::Calls,
            Need::Scope(Scope::Read | Scope::Write | Scope::Questions | Scope::Talk)
            | Need::Anyone
            | Need::Node
            | Need::Operator
            | Need::Absent => Self::Denials,
        }
    }
}

impl Method {
    /// What is written of its calls by callers of this protocol.
    pub const fn audited(&self, protocol: Protocol) -> Audited {
        Audited::of(self.need(protocol))
    }
}

/// Whether there is a method of this name.
pub(super) fn is_method(name: &str) -> bool {
    METHODS.iter().any(|method| method.name == name)
}
