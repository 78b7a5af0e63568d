//! A resource is active twice only where nothing else was possible: never on two nodes that are in step in one view, and with
//! fencing that works never at all.

use crate::world::World;
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Where instances are.
#[derive(Default)]
pub struct Active {
    at: BTreeMap<String, BTreeSet<NodeId>>,
    /// The same as operations of agents have left them: what was lost since counts until somebody has looked.
    told: BTreeMap<String, BTreeSet<NodeId>>,
}

impl Active {
    /// An operation has taken it away, or has found that it is not there.
    pub fn stopped(&mut self, id: NodeId, instance: &str) {
        self.lost(id, instance);
        if let Some(nodes) = self.told.get_mut(instance) {
            nodes.remove(&id);
        }
    }

    /// It is gone, and nobody knows yet.
    pub fn lost(&mut self, id: NodeId, instance: &str) {
        if let Some(nodes) = self.at.get_mut(instance) {
            nodes.remove(&id);
        }
    }

    pub fn power_lost(&mut self, id: NodeId) {
        for nodes in self.at.values_mut().chain(self.told.values_mut()) {
            nodes.remove(&id);
        }
    }

    pub fn nodes(&self, instance: &str) -> impl Iterator<Item = NodeId> + '_ {
        self.at.get(instance).into_iter().flatten().copied()
    }

    pub fn told(&self, instance: &str) -> impl Iterator<Item = NodeId> + '_ {
        self.told.get(instance).into_iter().flatten().copied()
    }
}

impl World {
    /// An instance begins to start here. What began before others came into the view is nobody's fault.
    pub(crate) fn check_active(&mut self, id: NodeId, instance: &str) {
        if !self.book.monitors_trusted {
            return;
        }
        if self.book.agents_trusted && !self.book.deleted && self.book.active.told(instance).any(|n| n == id) {
            self.book.fail("active", self.now, format!("{instance} begins to start on node {id}, which has it"));
        }
        let others = self.others_with(id, instance);
        if let Some(other) = others.iter().find(|o| self.in_step(id, **o)) {
            let text = format!(
                "{instance} begins to start on node {id} and is active on node {other}, which is in step with it"
            );
            self.book.fail("active", self.now, text);
        }
    }

    /// An instance has been started here.
    pub(crate) fn started(&mut self, id: NodeId, instance: &str) {
        let others = self.others_with(id, instance);
        self.book.active.at.entry(instance.to_owned()).or_default().insert(id);
        self.book.active.told.entry(instance.to_owned()).or_default().insert(id);
        if others.is_empty() {
            return;
        }
        let fenced = self.plan.configuration.fencing && self.book.devices_honest;
        if fenced && self.book.agents_trusted && !self.book.deleted {
            let text =
                format!("{instance} is started on node {id} and is active on {others:?}, with fencing that works");
            self.book.fail("active", self.now, text);
        }
    }

    /// Where else it is, if it may be in one place only.
    fn others_with(&self, id: NodeId, instance: &str) -> Vec<NodeId> {
        if self.plan.configuration.is_clone(instance) {
            return Vec::new();
        }
        self.book.active.nodes(instance).filter(|n| *n != id).collect()
    }

    /// Both are synchronised in the same view.
    pub(crate) fn in_step(&self, a: NodeId, b: NodeId) -> bool {
        let view = |id: NodeId| {
            let p = self.host(id).process.as_ref().filter(|p| p.controller.is_synced() && p.hung_until.is_none())?;
            Some(p.controller.status().view)
        };
        match (view(a), view(b)) {
            (Some(a), Some(b)) => a == b && a.is_some(),
            _ => false,
        }
    }
}
