//! The table of methods. What is not in it does not exist.
//!
//! The table alone gives the `features.methods` of a hello, the scope check, the parameter validation with its
//! error text, and the protocol page of the documentation.

use telson_proto::{ErrorShape, Protocol, Scope};

use crate::{
    agents, approvals, audit, chat, commands, devices, nodes, sessions, system, tokens, tools, usage,
};

use super::Gateway;
use super::dispatch::{RawCall, typed};

/// One method.
pub struct Method {
    /// The name on the wire.
    pub name: &'static str,
    /// What a protocol 3 caller needs (spec 01 §6.3).
    pub v3: Need,
    /// What a protocol 4 caller needs (spec 01 §6.4).
    pub v4: Need,
    /// Whether hello lists it; the others can be called all the same.
    pub advertised: Listed,
    /// Whether it takes an idempotency key.
    pub idempotent: bool,
    /// Whether it has a deadline of its own, so that the general one does not apply.
    pub takes_its_time: bool,
    /// Whether it starts work that a stopping gateway refuses.
    pub starts_work: bool,
    /// What it does, for the generated reference.
    pub about: &'static str,
    pub(super) run: fn(&mut Gateway, RawCall) -> Result<(), ErrorShape>,
}

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing; nodes may call it too.
    Anyone,
    /// To be an operator; the effect decides on the scope.
    Operator,
    /// To be a node.
    Node,
    /// To be an operator with this scope.
    Scope(Scope),
    /// The method does not exist in this protocol.
    Absent,
}

/// In which hellos a method is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// In those of both protocols, as far as it exists in them.
    Both,
    /// In those of protocol 3 only.
    V3,
    /// In those of protocol 4 only.
    V4,
    /// In none.
    Nowhere,
}

impl Method {
    /// What a caller of this protocol needs.
    pub const fn need(&self, protocol: Protocol) -> Need {
        match protocol {
            Protocol::V3 => self.v3,
            Protocol::V4 => self.v4,
        }
    }

    /// Whether a hello of this protocol lists it.
    pub fn is_listed(&self, protocol: Protocol) -> bool {
        let listed = match self.advertised {
            Listed::Both => true,
            Listed::V3 => protocol == Protocol::V3,
            Listed::V4 => protocol == Protocol::V4,
            Listed::Nowhere => false,
        };
        listed && self.need(protocol) != Need::Absent
    }
}

const ADMIN: Need = Need::Scope(Scope::Admin);
const READ: Need = Need::Scope(Scope::Read);
const WRITE: Need = Need::Scope(Scope::Write);
const TALK: Need = Need::Scope(Scope::Talk);
const PAIRING: Need = Need::Scope(Scope::Pairing);
const APPROVALS: Need = Need::Scope(Scope::Approvals);

macro_rules! methods {
    ($( $name:literal $v3:expr, $v4:expr, $listed:ident, [$($flag:ident)*], $run:expr, $about:literal; )*) => {
        &[ $( {
            #[allow(unused_mut, reason = "rows without flags change nothing")]
            let mut method = Method {
                name: $name, v3: $v3, v4: $v4, advertised: Listed::$listed,
                idempotent: false, starts_work: false, takes_its_time: false,
                about: $about, run: |gateway, call| typed(gateway, call, $run),
            };
            $( method.$flag = true; )*
            method
        }, )* ]
    };
}

/// Every method.
pub const METHODS: &[Method] = methods! {
    // name             protocol 3, protocol 4, listed in, flags, function, what it does
    "health"            READ, Need::Anyone, Both, [], system::health,
        "The health summary.";
    "status"            READ, READ, Both, [], system::status,
        "Sessions, queued system events and defaults at a glance.";
    "system-presence"   READ, READ, Both, [], system::presence,
        "Who is connected, newest first.";
    "system-event"      ADMIN, ADMIN, Both, [], system::event,
        "Posts a beacon or a text for the main session's next prompt.";
    "last-heartbeat"    READ, READ, Both, [], system::last_heartbeat,
        "The last heartbeat event, or null.";
    "talk.mode"         WRITE, TALK, Both, [], system::talk_mode,
        "Switches talk mode and tells everyone.";
    "config.get"        ADMIN, READ, Both, [], system::config_get,
        "The configuration as read at start, secrets redacted.";
    "chat.send"         WRITE, WRITE, Both, [idempotent starts_work], chat::send,
        "Sends the user's words; the answer streams as events.";
    "chat.history"      READ, READ, Both, [], chat::history,
        "The end of a session's transcript.";
    "chat.startup"      Need::Absent, READ, V4, [], chat::startup,
        "The same with what a page needs for its first paint.";
    "chat.metadata"     Need::Absent, READ, V4, [], chat::metadata,
        "What a composer offers: the models.";
    "chat.message.get"  Need::Absent, READ, V4, [], chat::message,
        "One message of a transcript.";
    "chat.abort"        WRITE, WRITE, Both, [], chat::abort,
        "Aborts one run of a session, or all.";
    "chat.inject"       ADMIN, ADMIN, Nowhere, [], chat::inject,
        "Writes a message in the assistant's name, without a run.";
    "commands.list"     Need::Absent, READ, V4, [], commands::list,
        "The commands that can be typed.";
    "agent"             WRITE, WRITE, Both, [idempotent starts_work takes_its_time], chat::agent,
        "Runs an agent; answers twice, when accepted and when done.";
    "agent.wait"        WRITE, WRITE, Both, [takes_its_time], chat::wait,
        "Waits for the end of a run.";
    "agent.identity.get" READ, READ, Both, [], agents::identity,
        "How an agent presents itself.";
    "agents.list"       READ, READ, Both, [], agents::list,
        "The agents.";
    "models.list"       READ, READ, Both, [], agents::models,
        "The models.";
    "sessions.list"     READ, READ, Both, [], sessions::list,
        "The sessions, newest first.";
    "sessions.preview"  READ, READ, Both, [], sessions::preview,
        "The last messages of several sessions.";
    "sessions.resolve"  ADMIN, READ, Nowhere, [], sessions::resolve,
        "The canonical key of a session.";
    "sessions.subscribe" Need::Absent, READ, V4, [], sessions::subscribe,
        "From now on this connection hears `sessions.changed`.";
    "sessions.patch"    ADMIN, Need::Operator, Both, [], sessions::patch,
        "Changes a session's settings.";
    "sessions.reset"    ADMIN, ADMIN, Both, [], sessions::reset,
        "Starts a session's transcript anew.";
    "sessions.search"   Need::Absent, READ, V4, [], sessions::search,
        "Messages that contain some words.";
    "sessions.usage"    Need::Absent, READ, Nowhere, [], usage::sessions,
        "Tokens and cost of each session, by day and model.";
    "sessions.usage.timeseries" Need::Absent, READ, Nowhere, [], usage::timeseries,
        "How a session's use has grown.";
    "sessions.usage.logs" Need::Absent, READ, Nowhere, [], usage::logs,
        "The last messages of a session with what each cost.";
    "usage.cost"        READ, READ, Both, [], usage::cost,
        "Tokens and cost by day.";
    "usage.status"      READ, READ, Both, [], usage::status,
        "The quota of model providers.";
    "sessions.delete"   ADMIN, WRITE, Both, [], sessions::delete,
        "Removes a session; `write` is enough for one that is archived, with `archivedOnly`.";
    "sessions.compact"  ADMIN, ADMIN, Both, [takes_its_time], sessions::compact,
        "Keeps the last lines of a transcript and archives the others; without `maxLines` on protocol 4, sums it up.";
    "sessions.cleanup"  Need::Absent, ADMIN, V4, [], sessions::cleanup,
        "Reports what the store of sessions holds, and removes empty ones.";
    "sessions.recover"  Need::Absent, WRITE, V4, [starts_work], sessions::recover,
        "Goes on with an answer that was cut short.";
    "sessions.groups.list" Need::Absent, READ, V4, [], sessions::list_groups,
        "The groups of sessions, in their order.";
    "sessions.groups.put" Need::Absent, WRITE, V4, [], sessions::put_groups,
        "Replaces the list of groups.";
    "sessions.groups.rename" Need::Absent, WRITE, V4, [], sessions::rename_group,
        "Gives a group another name, on its sessions too.";
    "sessions.groups.delete" Need::Absent, WRITE, V4, [], sessions::delete_group,
        "Removes a group; its sessions stay.";
    "session.typing"    Need::Absent, WRITE, V4, [], sessions::typing,
        "Tells those who watch a session that somebody writes.";
    "sessions.create"   Need::Absent, WRITE, V4, [idempotent starts_work], sessions::create,
        "Makes a session, and begins its first run when there are words.";
    "sessions.send"     Need::Absent, WRITE, V4, [idempotent starts_work], sessions::send,
        "Sends the user's words into a session that exists.";
    "sessions.steer"    Need::Absent, WRITE, Nowhere, [idempotent starts_work], sessions::steer,
        "The same in place of whatever is under way there.";
    "sessions.abort"    Need::Absent, WRITE, V4, [], sessions::abort,
        "Ends the run that a session is at.";
    "sessions.describe" Need::Absent, READ, V4, [], sessions::describe,
        "The row of one session.";
    "sessions.get"      Need::Absent, READ, Nowhere, [], sessions::get,
        "The last messages of one session.";
    "sessions.messages.subscribe" Need::Absent, READ, V4, [], sessions::subscribe_messages,
        "From now on this connection hears the messages of a session.";
    "sessions.messages.unsubscribe" Need::Absent, READ, V4, [], sessions::unsubscribe_messages,
        "The opposite.";
    "sessions.patchMany" Need::Absent, Need::Operator, V4, [], sessions::patch_many,
        "Changes the settings of many sessions alike.";
    "sessions.fork"     Need::Absent, WRITE, V4, [], sessions::fork,
        "Goes on from an entry of a transcript in a new session.";
    "sessions.rewind"   Need::Absent, ADMIN, V4, [], sessions::rewind,
        "Goes back to an entry of a transcript; what followed becomes another branch.";
    "sessions.branches.list" Need::Absent, READ, V4, [], sessions::list_branches,
        "The branches of a transcript.";
    "sessions.branches.switch" Need::Absent, ADMIN, V4, [], sessions::switch_branch,
        "Makes another branch the conversation.";
    "tools.catalog"     Need::Absent, READ, V4, [], tools::catalog,
        "The tools that there are, by group, with the profiles that hold them.";
    "tools.effective"   Need::Absent, READ, V4, [], tools::effective,
        "The tools that an agent may use in a session.";
    "device.pair.list"  PAIRING, PAIRING, Both, [], devices::list,
        "The paired devices and the requests that wait.";
    "device.pair.approve" PAIRING, PAIRING, Both, [], devices::approve,
        "Gives a device what it asks for, up to what the caller holds.";
    "device.pair.reject" PAIRING, PAIRING, Both, [], devices::reject,
        "Refuses a device what it asks for.";
    "device.pair.remove" Need::Absent, PAIRING, V4, [], devices::remove,
        "Forgets a device and its tokens, and closes its connections.";
    "device.pair.rename" Need::Absent, PAIRING, V4, [], devices::rename,
        "What people call a device.";
    "device.token.rotate" PAIRING, PAIRING, Both, [], devices::rotate,
        "One new token in place of all that a device has for a role; it is told to the device itself only.";
    "device.token.revoke" PAIRING, PAIRING, Both, [], devices::revoke,
        "Ends the tokens that a device has for a role.";
    "device.scopes.requestUpgrade" Need::Absent, Need::Operator, V4, [], devices::request_upgrade,
        "A connected device asks for more scopes.";
    "device.scopes.waitUpgrade" Need::Absent, Need::Operator, V4, [takes_its_time], devices::wait_upgrade,
        "Waits for the decision about such a request; with an approval comes a token.";
    "device.pair.setupCode" Need::Absent, ADMIN, Nowhere, [], devices::issue,
        "A code by which one device comes in without waiting for anybody.";
    "device.pair.setupStatus" Need::Absent, ADMIN, Nowhere, [], devices::status,
        "Whether a setup code has been redeemed, and by whom.";
    "tokens.create"     ADMIN, ADMIN, V4, [], tokens::create,
        "A token for a program, with scopes and an end; its value is told this once.";
    "tokens.list"       ADMIN, ADMIN, V4, [], tokens::list,
        "The service tokens, never their values.";
    "tokens.revoke"     ADMIN, ADMIN, V4, [], tokens::revoke,
        "Ends a service token and whatever it let in.";
    "node.list"         READ, READ, Both, [], nodes::list,
        "The nodes: machines that lend their abilities.";
    "node.describe"     READ, READ, Both, [], nodes::describe,
        "One node.";
    "node.rename"       PAIRING, PAIRING, Both, [], nodes::rename,
        "Gives a node a name.";
    "node.invoke"       WRITE, WRITE, Both, [takes_its_time], nodes::invoke,
        "Asks a node to do something; answered by its result. Some commands take admin.";
    "node.pair.list"    PAIRING, PAIRING, Both, [], nodes::pairings,
        "What nodes are approved for, and the requests that wait.";
    "node.pair.approve" PAIRING, PAIRING, Both, [], nodes::approve,
        "Lets a node be asked for what its request names; takes write or admin too, by the commands.";
    "node.pair.reject"  PAIRING, PAIRING, Both, [], nodes::reject,
        "Settles a node's request without granting it.";
    "node.pair.remove"  Need::Absent, PAIRING, V4, [], nodes::remove,
        "Ends a device's role as a node, and its connections.";
    "node.pair.request" PAIRING, Need::Absent, V3, [], nodes::request,
        "The old protocol's own pairing: asks for one.";
    "node.pair.verify"  PAIRING, Need::Absent, V3, [], nodes::verify,
        "The old protocol's own pairing: whether a token is a node's.";
    "node.pending.enqueue" Need::Absent, WRITE, V4, [], nodes::enqueue,
        "Lets a request wait for a node until it asks.";
    "node.invoke.result" Need::Node, Need::Node, Both, [], nodes::result,
        "A node's answer to an invocation.";
    "node.invoke.progress" Need::Absent, Need::Node, V4, [], nodes::progress,
        "A piece of output of an invocation under way.";
    "node.event"        Need::Node, Need::Node, Both, [], nodes::event,
        "What a node tells by itself.";
    "node.pending.drain" Need::Absent, Need::Node, V4, [], nodes::drain,
        "A node takes the requests that wait for it.";
    "node.pending.pull" Need::Absent, Need::Node, V4, [], nodes::pull,
        "The commands that a node could not take in the background.";
    "node.pending.ack"  Need::Absent, Need::Node, V4, [], nodes::ack,
        "A node has done some of them.";
    "skills.bins"       Need::Node, Need::Node, Both, [], nodes::skill_bins,
        "The programs that skills need on a node; there are none yet.";
    "exec.approval.request" APPROVALS, APPROVALS, Both, [starts_work takes_its_time], approvals::exec_request,
        "Asks whether a command may run; answered when somebody has decided.";
    "exec.approval.resolve" APPROVALS, APPROVALS, Both, [], approvals::exec_resolve,
        "Answers such a question; the first answer counts.";
    "exec.approval.waitDecision" Need::Absent, APPROVALS, V4, [takes_its_time], approvals::exec_wait,
        "Waits for the answer to a question.";
    "exec.approval.get" Need::Absent, APPROVALS, V4, [], approvals::exec_get,
        "What a question is about; the beginning of its id is enough.";
    "exec.approval.list" Need::Absent, APPROVALS, V4, [], approvals::exec_list,
        "The questions that wait for an answer.";
    "exec.approval.grants.list" Need::Absent, APPROVALS, V4, [], approvals::grants_list,
        "The questions that are answered by themselves for some days.";
    "exec.approval.grants.revoke" Need::Absent, APPROVALS, V4, [], approvals::grants_revoke,
        "Such a question is asked again.";
    "approval.get"      Need::Absent, APPROVALS, V4, [], approvals::approval_get,
        "A question of any kind, with what became of it.";
    "approval.resolve"  Need::Absent, APPROVALS, V4, [], approvals::approval_resolve,
        "Answers a question of any kind.";
    "approval.history"  Need::Absent, APPROVALS, V4, [], approvals::approval_history,
        "The questions of the last 30 days, newest first.";
    "plugin.approval.request" Need::Absent, APPROVALS, V4, [starts_work takes_its_time], approvals::plugin_request,
        "Asks for a plugin; answered when somebody has decided.";
    "plugin.approval.waitDecision" Need::Absent, APPROVALS, V4, [takes_its_time], approvals::plugin_wait,
        "Waits for the answer to a plugin's question.";
    "plugin.approval.list" Need::Absent, APPROVALS, V4, [], approvals::plugin_list,
        "The questions of plugins that wait for an answer.";
    "plugin.approval.resolve" Need::Absent, APPROVALS, V4, [], approvals::plugin_resolve,
        "Answers a plugin's question.";
    "exec.approvals.get" ADMIN, ADMIN, Both, [], approvals::policy_get,
        "The standing policy for commands of this gateway.";
    "exec.approvals.set" ADMIN, ADMIN, Both, [], approvals::policy_set,
        "Replaces it, when it is still the one that the caller knows.";
    "exec.approvals.node.get" ADMIN, ADMIN, Both, [takes_its_time], approvals::node_policy_get,
        "The same of a node, asked of it.";
    "exec.approvals.node.set" ADMIN, ADMIN, Both, [takes_its_time], approvals::node_policy_set,
        "Replaces a node's, when it is still the one that the caller knows.";
    "audit.list"        ADMIN, ADMIN, Nowhere, [], audit::list,
        "Who did what, from where, with which outcome, newest first.";
};
