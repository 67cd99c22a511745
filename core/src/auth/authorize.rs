//! The one gate at the effects (DESIGN.md, *Authority*).
//!
//! The method table is the first gate; this is the second, and the only one that an effect trusts. It takes a
//! [`Principal`], which is made of verified facts alone, and never a declaration.
//!
//! A domain asks here at the place where the effect happens, not where the method begins: whichever way leads
//! there, the question is asked. Who adds an [`Effect`] says in [`Effect::needs`] what it asks for, and once
//! more, from the specification, in the matrix test, which tries every principal on every method and every
//! effect and does not build while a cell is missing.

use telson_proto::{ErrorCode, ErrorShape, Protocol, Role, Scope};

use super::principal::Principal;
use crate::ids::SessionKey;

/// Something that changes the world or shows what is confidential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run an agent on a session.
    RunAgent {
        /// The session.
        session: SessionKey,
    },
    /// Abort runs of a session.
    AbortRun {
        /// The session.
        session: SessionKey,
    },
    /// Write a message into a session in the assistant's name.
    InjectMessage {
        /// The session.
        session: SessionKey,
    },
    /// Change a session's settings.
    PatchSession {
        /// The session.
        session: SessionKey,
        /// Only label, model and levels, which protocol 4 leaves to `write` (spec 01 §6.5).
        light: bool,
    },
    /// Empty or remove a session.
    EndSession {
        /// The session.
        session: SessionKey,
    },
    /// Remove a session that is archived.
    EndArchived {
        /// The session.
        session: SessionKey,
    },
    /// Make a session.
    CreateSession {
        /// The session.
        session: SessionKey,
        /// With rights beyond the usual (spec 02 §20.3).
        heavy: bool,
    },
    /// Make another branch of a session's transcript the conversation.
    RewindSession {
        /// The session.
        session: SessionKey,
    },
    /// Read conversations.
    ReadSessions,
    /// Post a system event.
    PostSystemEvent,
    /// Switch talk mode.
    SwitchTalkMode,
    /// See paired devices.
    SeeDevices,
    /// Decide about devices and their tokens; whose, and how much, the rules of devices say.
    ManageDevices,
    /// Make a code by which a device comes in.
    IssueSetupCode,
    /// Make, see and end the tokens of programs.
    ManageServiceTokens,
    /// See the configuration.
    SeeConfig,
    /// See which tools there are.
    SeeTools,
    /// Ask for an approval.
    RequestApproval,
    /// See approvals and what became of them.
    SeeApprovals,
    /// Answer an approval, or end a standing one.
    DecideApproval,
    /// See the standing policy for commands.
    SeeApprovalPolicy,
    /// Change it.
    ChangeApprovalPolicy,
    /// Read the book of deeds.
    ReadAudit,
    /// Fetch from the public web.
    FetchPublicUrl,
    /// Operate the gateway by its tools: its state, its jobs, its nodes.
    OperateGateway,
    /// See the nodes.
    SeeNodes,
    /// Ask a node to do something.
    InvokeNode {
        /// With rights that an operator's usual ones do not reach (spec 01 §6.5).
        admin: bool,
    },
    /// See, name, approve, reject and remove nodes.
    ManageNodes,
    /// Approve commands of a node, on top of [`Self::ManageNodes`].
    LendCommands {
        /// Some of them act with the rights of the node's user.
        host: bool,
    },
}

impl Effect {
    /// The scope that the effect asks for.
    pub const fn needs(&self, protocol: Protocol) -> Scope {
        match (self, protocol) {
            (Self::RunAgent { .. } | Self::AbortRun { .. }, _) => Scope::Write,
            (
                Self::PatchSession { light: true, .. }
                | Self::EndArchived { .. }
                | Self::CreateSession { heavy: false, .. },
                Protocol::V4,
            ) => Scope::Write,
            (
                Self::InjectMessage { .. }
                | Self::PatchSession { .. }
                | Self::EndSession { .. }
                | Self::EndArchived { .. }
                | Self::CreateSession { .. }
                | Self::RewindSession { .. },
                _,
            ) => Scope::Admin,
            (Self::ReadSessions | Self::SeeTools, _) => Scope::Read,
            (Self::FetchPublicUrl, _) => Scope::Write,
            (Self::OperateGateway, _) => Scope::Admin,
            (Self::RequestApproval | Self::SeeApprovals | Self::DecideApproval, _) => Scope::Approvals,
            (Self::SeeApprovalPolicy | Self::ChangeApprovalPolicy | Self::ReadAudit, _) => Scope::Admin,
            (Self::PostSystemEvent, _) => Scope::Admin,
            (Self::SwitchTalkMode, Protocol::V3) => Scope::Write,
            (Self::SwitchTalkMode, Protocol::V4) => Scope::Talk,
            (Self::SeeDevices | Self::ManageDevices | Self::ManageNodes, _) => Scope::Pairing,
            (Self::IssueSetupCode | Self::ManageServiceTokens, _) => Scope::Admin,
            (Self::SeeNodes, _) => Scope::Read,
            (Self::InvokeNode { admin } | Self::LendCommands { host: admin }, _) => {
                if *admin {
                    Scope::Admin
                } else {
                    Scope::Write
                }
            }
            (Self::SeeConfig, Protocol::V3) => Scope::Admin,
            (Self::SeeConfig, Protocol::V4) => Scope::Read,
        }
    }
}

/// Whether `principal` may cause `effect`; otherwise the error to answer with.
///
/// # Errors
///
/// The role error for nodes, the missing-scope error of the principal's protocol for operators.
pub fn authorize(principal: &Principal, effect: &Effect) -> Result<(), ErrorShape> {
    require(principal, effect.needs(principal.protocol))
}

/// Whether a tool may cause `effect`. Who runs an agent holds `operator.write`; what asks for more is for the owner
/// of the gateway alone.
pub(crate) fn permits_tool(owner: bool, effect: &Effect) -> bool {
    owner || matches!(effect.needs(Protocol::V4), Scope::Read | Scope::Write)
}

/// Whether `principal` is an operator that holds `scope`; otherwise the error to answer with.
pub(crate) fn require(principal: &Principal, scope: Scope) -> Result<(), ErrorShape> {
    if principal.role != Role::Operator {
        return Err(wrong_role(principal.role));
    }
    if principal.holds(scope) { Ok(()) } else { Err(missing_scope(scope, principal)) }
}

/// The answer to a caller of the wrong role (spec 01 §6.1).
pub(crate) fn wrong_role(role: Role) -> ErrorShape {
    ErrorShape::invalid(format!("unauthorized role: {role}"))
}

/// The answer to a caller that lacks a scope: what it would need, and what it has (spec 01 §6.2, 07 P-23).
fn missing_scope(scope: Scope, principal: &Principal) -> ErrorShape {
    let code = match principal.protocol {
        Protocol::V3 => ErrorCode::InvalidRequest,
        Protocol::V4 => ErrorCode::Forbidden,
    };
    ErrorShape::new(code, format!("missing scope: {scope}")).with_details(&serde_json::json!({
        "code": "MISSING_SCOPE",
        "missingScope": scope,
        "requiredScopes": [scope],
        "heldScopes": principal.scopes,
    }))
}
