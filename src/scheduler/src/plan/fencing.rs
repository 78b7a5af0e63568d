//! What fencing of a node implies for the resources on it, and the other way round.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, Requires, RscIdx, Sched};

impl Sched {
    pub fn is_unfenced(&self, node: NodeIdx) -> bool {
        self[node].attrs.get("#node-unfenced").is_some_and(|v| &**v != "0")
    }

    fn known_on(&self, rsc: RscIdx, node: NodeIdx) -> bool {
        let parent = self[rsc].parent.filter(|p| self[rsc].is_primitive() && self.is_anonymous_clone(Some(*p)));
        self[rsc].probed.contains(&node) || parent.is_some_and(|p| self[p].probed.contains(&node))
    }

    fn order_starts_vs_fencing(&mut self, rsc: RscIdx, fencing: ActIdx, target: NodeIdx) {
        for a in self[rsc].actions.clone().into_iter().rev() {
            match self[a].needs {
                Requires::Nothing => {}
                Requires::Fencing => {
                    self.order_actions(fencing, a, rel::ORDERED);
                }
                Requires::Quorum => {
                    if &*self[a].task == "start" && self[rsc].allowed.contains(target) && !self.known_on(rsc, target) {
                        self.order_actions(fencing, a, rel::ORDERED | rel::UNRUNNABLE_FIRST_BLOCKS);
                    }
                }
            }
        }
    }

    fn order_stops_vs_fencing(&mut self, rsc: RscIdx, fencing: ActIdx, target: NodeIdx) {
        let top = self.uber_parent(rsc);
        let implied = self[rsc].is(rf::NEEDS_FENCING) || self.is_guest(target);
        let stops = self.actions_of(rsc, Some(target), "stop", false);
        let parent_stop =
            if implied && !stops.is_empty() { self.find_first(top, None, Some("stop"), None) } else { None };
        for a in stops {
            // The fencing stops it.
            self[a].flags |= act::PSEUDO | act::RUNNABLE;
            if implied {
                if !self.is_bundled(rsc) {
                    self.order_actions(fencing, a, rel::GUEST_ALLOWED);
                }
                if let Some(parent_stop) = parent_stop {
                    self.order_actions(fencing, parent_stop, rel::GUEST_ALLOWED);
                }
            }
            if self[rsc].is(rf::NOTIFY) {
                self.order_notifications_after_fencing(a, rsc, fencing);
            }
        }
        for a in self.actions_of(rsc, Some(target), "demote", false) {
            let Some(node) = self[a].node else { continue };
            if !self[node].online || self[node].unclean || self[rsc].is(rf::FAILED) {
                self[a].flags |= act::PSEUDO | act::RUNNABLE;
                if !self.is_bundled(rsc) && implied {
                    self.order_actions(fencing, a, rel::GUEST_ALLOWED | rel::ORDERED);
                }
            }
        }
    }

    fn order_resource_vs_fencing(&mut self, rsc: RscIdx, fencing: ActIdx, target: NodeIdx) {
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.order_resource_vs_fencing(child, fencing, target);
            }
        } else if self[rsc].is(rf::MANAGED) {
            self.order_starts_vs_fencing(rsc, fencing, target);
            self.order_stops_vs_fencing(rsc, fencing, target);
        }
    }

    /// Orders all resources' actions as a node's fencing demands.
    pub fn order_vs_fencing(&mut self, fencing: ActIdx) {
        let Some(target) = self[fencing].node else { return };
        for rsc in self.top.clone() {
            self.order_resource_vs_fencing(rsc, fencing, target);
        }
    }

    pub fn order_vs_unfencing(&mut self, rsc: RscIdx, node: NodeIdx, action: ActIdx, order: u32) {
        let device = self[rsc].is(rf::FENCE_DEVICE) && self.enable_unfencing;
        if !device && !self[rsc].is(rf::NEEDS_UNFENCING) {
            return;
        }
        let unfence = self.fence_op(node, Some("on"), true, None, false);
        self.order_actions(unfence, action, order);
        if !self.is_unfenced(node) {
            let reason = format!("required by {} {}", self[rsc].id, self[action].task);
            self.trigger_unfencing(None, Some(node), &reason, None);
        }
    }

    /// A guest is fenced by stopping what launches it.
    pub fn fence_guest(&mut self, node: NodeIdx) {
        let Some(remote) = self[node].remote else { return };
        let (mut stop, mut action) = (None, "off");
        if let Some(launcher) = self[remote].launcher {
            stop = self.find_first(launcher, None, Some("stop"), None);
            if self.find_first(launcher, None, Some("start"), None).is_some() {
                action = "reboot";
            }
        }
        let fencing = self.fence_op(node, Some(action), false, Some("guest is unclean"), false);
        self[fencing].flags |= act::PSEUDO | act::RUNNABLE;
        let implied = rel::UNRUNNABLE_FIRST_BLOCKS | rel::FIRST_IMPLIES_THEN;
        match stop {
            Some(stop) if self[stop].is(act::PSEUDO) => {
                if let Some(host) = self[stop].node {
                    let host_fencing = self.fence_op(host, None, false, None, false);
                    self.order_actions(host_fencing, fencing, implied);
                }
            }
            Some(stop) => {
                self.order_actions(stop, fencing, implied);
            }
            None => {
                if let Some(stop) = self.find_first(remote, None, Some("stop"), None) {
                    self.order_actions(stop, fencing, rel::ORDERED);
                }
            }
        }
        self.order_vs_fencing(fencing);
    }
}
