//! Devices as nodes: what the domain of nodes reads and changes of their rows.
//!
//! A change is in memory at once, and taken back when it could not be written: what a connect changes of the same
//! row meanwhile stays.

use telson_proto::{Json, Role};

use super::Devices;
use super::record::Paired;
use crate::ids::DeviceId;
use crate::store::{DeviceRecord, Op};

impl Devices {
    /// The devices that are paired as nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&DeviceId, &Paired)> {
        self.paired.iter().filter(|(_, record)| record.roles.contains(&Role::Node))
    }

    /// A device that is paired as a node.
    pub(crate) fn node(&self, id: &DeviceId) -> Option<&Paired> {
        self.paired.get(id).filter(|record| record.roles.contains(&Role::Node))
    }

    /// Gives a device the name that an operator chose. Returns the one before and the change to store.
    pub(crate) fn set_label(&mut self, id: &DeviceId, label: Option<String>) -> Option<(Option<String>, Op)> {
        let record = self.paired.get_mut(id)?;
        let before = std::mem::replace(&mut record.operator_label, label);
        let op = Op::PutDevice(DeviceRecord { id: id.clone(), record: Json::of(record) });
        Some((before, op))
    }

    /// Ends a device's role as a node; a device that was nothing else goes. Returns the row before and the change
    /// to store.
    pub(crate) fn drop_node(&mut self, id: &DeviceId) -> Option<(Paired, Op)> {
        let before = self.node(id)?.clone();
        let record = self.paired.get_mut(id)?;
        record.roles.remove(&Role::Node);
        record.tokens.remove(&Role::Node);
        let Some(role) = record.roles.first().copied() else {
            self.paired.remove(id);
            self.unsaved.remove(id);
            return Some((before, Op::DeleteDevice(id.clone())));
        };
        record.role = role;
        let op = Op::PutDevice(DeviceRecord { id: id.clone(), record: Json::of(record) });
        Some((before, op))
    }

    /// Takes [`Self::drop_node`] back.
    pub(crate) fn keep_node(&mut self, id: &DeviceId, before: Paired) {
        let Some(record) = self.paired.get_mut(id) else {
            self.paired.insert(id.clone(), before);
            return;
        };
        record.roles.insert(Role::Node);
        if let Some(tokens) = before.tokens.get(&Role::Node) {
            record.tokens.entry(Role::Node).or_insert_with(|| tokens.clone());
        }
    }
}
