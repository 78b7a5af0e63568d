//! Which actions are needed: for each resource what leads from its present to its next state, and for nodes fencing and
//! shutdown.

mod changes;
mod fencing;
mod internal;
mod migration;
pub mod notify;
mod probe;
mod recurring;
mod remote;
mod transition;

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, INFINITY, NodeIdx, RscIdx, Sched, Variant};

/// What goes on among the instances of a collective.
#[derive(Clone, Copy, Default)]
struct Happening {
    starting: bool,
    stopping: bool,
    restarting: bool,
    active: bool,
}

impl Sched {
    /// Creates the actions of a resource and all below it.
    pub fn create_actions(&mut self, rsc: RscIdx) {
        match self[rsc].variant {
            Variant::Primitive => self.create_primitive_actions(rsc),
            Variant::Group => self.create_group_actions(rsc),
            Variant::Clone => {
                let children = self[rsc].children.clone();
                self.create_instance_actions(rsc, &children);
                if self[rsc].is(rf::PROMOTABLE) {
                    self.create_promotable_actions(rsc);
                }
            }
            Variant::Bundle => self.create_bundle_actions(rsc),
        }
    }

    fn create_group_actions(&mut self, rsc: RscIdx) {
        for member in self[rsc].children.clone() {
            self.create_actions(member);
        }
        let mut tasks = vec!["start", "running", "stop", "stopped"];
        if self[rsc].meta_true("promotable") {
            tasks.extend(["demote", "demoted", "promote", "promoted"]);
        }
        for task in tasks {
            let a = self.custom_action(Some(rsc), self.key(rsc, task, 0), task, None, true);
            self[a].flags |= act::PSEUDO | act::RUNNABLE;
        }
    }

    fn look_at_instance(&self, instance: RscIdx, seen: &mut Happening) {
        if self[instance].variant > Variant::Primitive {
            for child in &self[instance].children {
                self.look_at_instance(*child, seen);
            }
            return;
        }
        seen.active |= !self[instance].active_nodes.is_empty();
        let (mut starting, mut stopping) = (false, false);
        for a in &self[instance].actions {
            let a = &self[*a];
            let required = !a.is(act::OPTIONAL);
            match &*a.task {
                "start" => starting |= required && a.is(act::RUNNABLE),
                "stop" => stopping |= required && a.is(act::PSEUDO | act::RUNNABLE),
                _ => {}
            }
        }
        seen.starting |= starting;
        seen.stopping |= stopping;
        seen.restarting |= starting && stopping;
    }

    fn create_instance_actions(&mut self, collective: RscIdx, instances: &[RscIdx]) {
        let mut seen = Happening::default();
        for instance in instances {
            self.create_actions(*instance);
            self.look_at_instance(*instance, &mut seen);
        }
        let start = self.rsc_pseudo(collective, "start", !seen.starting, true);
        let started = self.rsc_pseudo(collective, "running", !seen.starting, false);
        self[started].priority = INFINITY;
        if seen.active || seen.starting {
            self[started].flags |= act::RUNNABLE;
        }
        let stop = self.rsc_pseudo(collective, "stop", !seen.stopping, true);
        let stopped = self.rsc_pseudo(collective, "stopped", !seen.stopping, true);
        self[stopped].priority = INFINITY;
        if !seen.restarting {
            self[stop].flags |= act::MIGRATABLE;
        }
        if self[collective].is_clone() {
            self.create_notify_points(collective, start, started, stop, stopped);
        }
    }

    fn role_changes(&self, rsc: RscIdx, demoting: &mut bool, promoting: &mut bool) {
        for child in &self[rsc].children {
            self.role_changes(*child, demoting, promoting);
        }
        if !self[rsc].children.is_empty() {
            return;
        }
        for a in self[rsc].actions.iter().map(|a| &self[*a]).filter(|a| !a.is(act::OPTIONAL)) {
            *demoting |= &*a.task == "demote";
            *promoting |= &*a.task == "promote";
        }
    }

    fn create_promotable_actions(&mut self, clone: RscIdx) {
        let (mut demoting, mut promoting) = (false, false);
        for instance in self[clone].children.clone() {
            self.create_actions(instance);
            self.role_changes(instance, &mut demoting, &mut promoting);
        }
        let promote = self.rsc_pseudo(clone, "promote", !promoting, true);
        let promoted = self.rsc_pseudo(clone, "promoted", !promoting, true);
        self[promoted].priority = INFINITY;
        if self[clone].clone.promote_notify.is_none() {
            self[clone].clone.promote_notify =
                self.notify_points(clone, "promote", Some(promote), Some(promoted)).map(Box::new);
        }
        let demote = self.rsc_pseudo(clone, "demote", !demoting, true);
        let demoted = self.rsc_pseudo(clone, "demoted", !demoting, true);
        self[demoted].priority = INFINITY;
        if self[clone].clone.demote_notify.is_none() {
            self[clone].clone.demote_notify =
                self.notify_points(clone, "demote", Some(demote), Some(demoted)).map(Box::new);
            self.order_notifications(clone);
        }
        let priority = self[clone].priority;
        for instance in self[clone].children.clone() {
            self[instance].priority = priority;
        }
    }

    fn order_notifications(&mut self, clone: RscIdx) {
        let c = &self[clone].clone;
        let post_done = |n: &Option<Box<crate::model::NotifyData>>| n.as_ref().and_then(|n| n.post_done);
        let pre = |n: &Option<Box<crate::model::NotifyData>>| n.as_ref().and_then(|n| n.pre);
        if c.promote_notify.is_none() {
            return;
        }
        let pairs = [
            (post_done(&c.stop_notify), pre(&c.promote_notify)),
            (post_done(&c.start_notify), pre(&c.promote_notify)),
            (post_done(&c.demote_notify), pre(&c.promote_notify)),
            (post_done(&c.demote_notify), pre(&c.start_notify)),
            (post_done(&c.demote_notify), pre(&c.stop_notify)),
        ];
        for (first, then) in pairs {
            if let (Some(first), Some(then)) = (first, then) {
                self.order_actions(first, then, rel::ORDERED);
            }
        }
    }

    fn create_bundle_actions(&mut self, rsc: RscIdx) {
        for replica in self[rsc].bundle.replicas.clone() {
            for part in [replica.ip, Some(replica.container), replica.remote].into_iter().flatten() {
                self.create_actions(part);
            }
        }
        let containers = self.bundle_containers(rsc);
        self.create_instance_actions(rsc, &containers);
        let Some(child) = self[rsc].bundle.child else { return };
        self.create_actions(child);
        if self[child].is(rf::PROMOTABLE) {
            for task in ["promote", "promoted", "demote", "demoted"] {
                let a = self.rsc_pseudo(rsc, task, true, true);
                if task.ends_with("ed") {
                    self[a].priority = INFINITY;
                }
            }
        }
    }

    /// Checks that had to wait for placement, then all actions of all resources.
    pub fn schedule_resource_actions(&mut self) {
        for check in std::mem::take(&mut self.param_checks).into_iter().rev() {
            self.check_parameters(check);
        }
        if self.options.probe {
            self.schedule_probes();
        }
        if self.options.stop_removed_resources {
            for rsc in self.top.clone() {
                self.clear_fail_counts_of_removed(rsc);
            }
        }
        for rsc in self.top.clone() {
            self.create_actions(rsc);
        }
    }

    fn clear_fail_counts_of_removed(&mut self, rsc: RscIdx) {
        if !self[rsc].is(rf::REMOVED) {
            return;
        }
        for node in self.node_order.clone() {
            if self[node].online && self.fail_count(node, rsc, true, false, None).0 != 0 {
                let clear = self.clear_fail_count(rsc, node);
                self.order_then_task(clear, rsc, "stop", rel::ORDERED);
            }
        }
    }

    fn any_managed(&self, list: &[RscIdx]) -> bool {
        list.iter().any(|r| self[*r].is(rf::MANAGED) || self.any_managed(&self[*r].children))
    }

    fn shutdown_action(&mut self, node: NodeIdx) -> ActIdx {
        let key = format!("do_shutdown-{}", self[node].name).into();
        let a = self.custom_action(None, key, "do_shutdown", Some(node), false);
        self.order_stops_before_shutdown(node, a);
        self.set_action_meta(a, "op_no_wait", "true");
        a
    }

    /// Fencing of unclean nodes and shutdown of those that want it; the controller's own node comes last.
    pub fn schedule_fencing_and_shutdowns(&mut self) {
        let have_managed = self.any_managed(&self.top.clone());
        let concurrent = self.options.concurrent_fencing;
        let mut dc_down = None;
        let mut integrity_lost = false;
        let (mut fencings, mut shutdowns): (Vec<ActIdx>, Vec<ActIdx>) = (Vec::new(), Vec::new());
        for node in self.node_order.clone() {
            if self.is_guest(node) {
                if self[node].remote_reset && have_managed && self.can_fence(node) {
                    self.fence_guest(node);
                }
                continue;
            }
            let is_dc = self.dc == Some(node);
            let mut fenced = false;
            if have_managed && self[node].unclean && self.can_fence(node) {
                let fencing = self.fence_op(node, None, false, Some("node is unclean"), false);
                let name = self[node].name.clone();
                self.warn(format!("Scheduling node {name} for fencing"));
                self.order_vs_fencing(fencing);
                fenced = true;
                if is_dc {
                    dc_down = Some(fencing);
                } else {
                    if let Some(last) = fencings.last().copied().filter(|_| !concurrent) {
                        self.order_actions(last, fencing, rel::ORDERED);
                    }
                    fencings.push(fencing);
                }
            } else if !self[node].is_remote_kind && self[node].online && self[node].shutdown {
                let down = self.shutdown_action(node);
                if is_dc {
                    dc_down = Some(down);
                } else {
                    shutdowns.push(down);
                }
            }
            if !fenced && self[node].unclean {
                integrity_lost = true;
                let name = self[node].name.clone();
                self.warn(format!("Node {name} is unclean but cannot be fenced"));
            }
        }
        if integrity_lost && !self.options.fencing_enabled {
            self.warn("Resource functionality and data integrity cannot be guaranteed (configure, enable, and test fencing to correct this)");
        }
        let Some(dc_down) = dc_down else { return };
        if &*self[dc_down].task == "do_shutdown" {
            for down in shutdowns.into_iter().rev() {
                self.order_actions(down, dc_down, rel::ORDERED);
            }
        }
        if concurrent {
            for fencing in fencings.into_iter().rev() {
                self.order_actions(fencing, dc_down, rel::ORDERED);
            }
        } else if let Some(last) = fencings.last() {
            self.order_actions(*last, dc_down, rel::ORDERED);
        }
    }
}
