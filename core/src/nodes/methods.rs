//! `node.list`, `node.describe`, `node.rename` and `skills.bins` (spec 03 §2.3–§2.5, §13).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use telson_proto::node::{Described, NodeList, NodeParams, RenameParams, Renamed, SkillBins};
use telson_proto::params::NoParams;
use telson_proto::{ErrorShape, Json};

use crate::audit::Verdict;
use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::DeviceId;
use crate::messages::Outcome;

/// `node.list`: every node that is paired or connected.
pub(crate) fn list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<NodeList> {
    authorize(&call.principal, &Effect::SeeNodes)?;
    let nodes = gateway.node_rows(call.protocol());
    Ok(Reply::Ready(NodeList { ts: gateway.now.wall, nodes }))
}

/// `node.describe`: one of them.
pub(crate) fn describe(gateway: &mut Gateway, call: Call<NodeParams>) -> Answer<Described> {
    authorize(&call.principal, &Effect::SeeNodes)?;
    let node = named(call.params.node_id.as_str())?;
    let row = gateway.node_row(&node, call.protocol()).ok_or_else(unknown)?;
    Ok(Reply::Ready(Described { ts: gateway.now.wall, node: row }))
}

/// `node.rename`: the name that an operator gives a node; it goes before the one that the node gives itself.
pub(crate) fn rename(gateway: &mut Gateway, call: Call<RenameParams>) -> Answer<()> {
    authorize(&call.principal, &Effect::ManageNodes)?;
    let node = named(call.params.node_id.as_str())?;
    let label = call.params.display_name.as_str().trim().to_owned();
    if label.is_empty() {
        return Err(ErrorShape::invalid("displayName required"));
    }
    gateway.devices.node(&node).ok_or_else(unknown)?;
    let (before, op) = gateway.devices.set_label(&node, Some(label.clone())).ok_or_else(unknown)?;
    let audit = gateway.audit_op(&call.principal, "node.rename", node.as_str(), &Verdict::Done);
    gateway.store(vec![op, audit], move |gateway, stored| {
        let outcome = match stored {
            Ok(()) => {
                let answer = Renamed { node_id: node.to_string(), display_name: label };
                Outcome::ok(Json::of(&answer))
            }
            Err(error) => {
                gateway.devices.set_label(&node, before);
                Outcome::error(error.into())
            }
        };
        gateway.reply(call.ticket, outcome);
    });
    Ok(Reply::Later)
}

/// `skills.bins`: the programs that skills need on a node. There are no skills, so none.
pub(crate) fn skill_bins(_: &mut Gateway, _: Call<NoParams>) -> Answer<SkillBins> {
    Ok(Reply::Ready(SkillBins { bins: Vec::new() }))
}

fn named(node: &str) -> Result<DeviceId, ErrorShape> {
    let node = node.trim();
    if node.is_empty() { Err(ErrorShape::invalid("nodeId required")) } else { Ok(DeviceId::new(node)) }
}

fn unknown() -> ErrorShape {
    ErrorShape::invalid("unknown nodeId")
}
