//! Orderings and colocations that the kind of a resource implies.

use crate::explain::ledger::Source;
use crate::model::flags::{rel, rsc as rf};
use crate::model::options::Placement;
use crate::model::{ActIdx, INFINITY, NodeIdx, RscIdx, Sched, Side, Variant};
use crate::status::Role;

/// What is known while going through a group's members.
struct Members {
    ordered: bool,
    colocated: bool,
    promotable: bool,
    last_active: Option<RscIdx>,
    previous: Option<RscIdx>,
}

impl Sched {
    pub fn create_internal_constraints(&mut self) {
        for rsc in self.top.clone() {
            self.internal_constraints(rsc);
        }
    }

    fn internal_constraints(&mut self, rsc: RscIdx) {
        match self[rsc].variant {
            Variant::Primitive => self.primitive_constraints(rsc),
            Variant::Group => self.group_constraints(rsc),
            Variant::Clone => self.clone_constraints(rsc),
            Variant::Bundle => self.bundle_constraints(rsc),
        }
    }

    fn avoid_remote_nodes(&mut self, rsc: RscIdx) {
        for node in self[rsc].allowed.nodes() {
            if self[node].remote.is_some() {
                self.set_score(rsc, node, -INFINITY, &Source::Own("__no_remote_nodes__"));
            }
        }
    }

    fn nodes_by_name(&self, rsc: RscIdx) -> Vec<NodeIdx> {
        self.node_order.iter().copied().filter(|n| self[rsc].allowed.contains(*n)).collect()
    }

    fn primitive_constraints(&mut self, rsc: RscIdx) {
        if !self[rsc].is(rf::MANAGED) {
            return;
        }
        let r = &self[rsc];
        let check_unfencing = !r.is(rf::FENCE_DEVICE) && self.enable_unfencing && r.is(rf::NEEDS_UNFENCING);
        let check_utilization = !r.utilization.is_empty() && self.options.placement != Placement::Default;
        self.order_tasks(rsc, "stop", rsc, "start", rel::ORDERED | rel::FIRST_IMPLIES_THEN | rel::INTERMEDIATE_STOP);
        if self[self.top_of(rsc, false)].is(rf::PROMOTABLE) || self[rsc].orig_role > Role::Unpromoted {
            self.order_tasks(rsc, "demote", rsc, "stop", rel::PROMOTED_THEN_IMPLIES_FIRST);
            self.order_tasks(rsc, "start", rsc, "promote", rel::UNRUNNABLE_FIRST_BLOCKS);
        }
        self.order_tasks(rsc, "lrm_delete", rsc, "monitor", rel::IF_ON_SAME_NODE | rel::THEN_CANCELS_FIRST);
        if check_unfencing {
            for node in self.nodes_by_name(rsc) {
                self.order_restart_vs_unfencing(rsc, node);
            }
        }
        if check_utilization {
            let allowed = self.nodes_by_name(rsc);
            self.utilization_constraints(rsc, &allowed);
        }
        if let Some(launcher) = self[rsc].launcher {
            self.launcher_constraints(rsc, launcher);
        }
        if self[rsc].is(rf::REMOTE_CONNECTION | rf::FENCE_DEVICE) {
            self.avoid_remote_nodes(rsc);
        }
    }

    fn launcher_constraints(&mut self, rsc: RscIdx, launcher: RscIdx) {
        let mut remote = None;
        if self[rsc].is(rf::REMOTE_CONNECTION) {
            if !self[rsc].is(rf::REMOTE_NESTING) {
                self.avoid_remote_nodes(launcher);
            }
            self.order_tasks(launcher, "monitor", rsc, "stop", rel::ORDERED);
        } else if self[launcher].is(rf::REMOTE_CONNECTION) {
            remote = Some(launcher);
        } else {
            remote = self.guest_connection(launcher);
        }
        if let Some(remote) = remote {
            for node in self[rsc].allowed.nodes() {
                if self[node].remote != Some(remote) {
                    self.set_score(rsc, node, -INFINITY, &Source::Own("__inside_container__"));
                }
            }
            return;
        }
        self.order_tasks(launcher, "start", rsc, "start", rel::FIRST_IMPLIES_THEN | rel::UNRUNNABLE_FIRST_BLOCKS);
        self.order_tasks(rsc, "stop", launcher, "stop", rel::THEN_IMPLIES_FIRST);
        let score = if self[rsc].is(rf::REMOTE_NESTING) { 10_000 } else { INFINITY };
        self.colocate_implied("#resource-with-container", score, rsc, launcher, true);
    }

    /// The connection resource of a guest that the resource launches.
    pub fn guest_connection(&self, rsc: RscIdx) -> Option<RscIdx> {
        if !self.have_remote_nodes {
            return None;
        }
        self[rsc].launched.iter().copied().find(|l| self[*l].is(rf::REMOTE_CONNECTION))
    }

    fn load_stopped(&mut self, node: NodeIdx) -> ActIdx {
        let name = format!("load_stopped_{}", self[node].name);
        let a = self.pseudo_op(&name);
        if self[a].node.is_none() {
            self[a].node = Some(node);
            self[a].flags &= !crate::model::flags::act::OPTIONAL;
        }
        a
    }

    fn utilization_constraints(&mut self, rsc: RscIdx, allowed: &[NodeIdx]) {
        for node in self[rsc].active_nodes.clone() {
            let load = self.load_stopped(node);
            self.order_task_then(rsc, "stop", load, rel::IF_ON_SAME_NODE_OR_TARGET);
        }
        for node in allowed {
            let load = self.load_stopped(*node);
            self.order_then_task(load, rsc, "start", rel::IF_ON_SAME_NODE_OR_TARGET);
            self.order_then_task(load, rsc, "migrate_to", rel::IF_ON_SAME_NODE_OR_TARGET);
        }
    }

    fn group_constraints(&mut self, rsc: RscIdx) {
        self.order_tasks(rsc, "stop", rsc, "stopped", rel::UNRUNNABLE_FIRST_BLOCKS);
        self.order_tasks(rsc, "stopped", rsc, "start", rel::ORDERED);
        self.order_tasks(rsc, "start", rsc, "running", rel::UNRUNNABLE_FIRST_BLOCKS);
        let mut members = Members {
            ordered: self[rsc].group.ordered,
            colocated: self[rsc].group.colocated,
            promotable: self[self.top_of(rsc, false)].is(rf::PROMOTABLE),
            last_active: None,
            previous: None,
        };
        for member in self[rsc].children.clone() {
            self.member_constraints(rsc, member, &mut members);
        }
    }

    fn member_constraints(&mut self, group: RscIdx, member: RscIdx, m: &mut Members) {
        self.internal_constraints(member);
        let (mut down, mut post_down) = (rel::THEN_IMPLIES_FIRST_GRAPHED, rel::FIRST_IMPLIES_THEN_GRAPHED);
        match m.previous {
            None if m.ordered => {
                down |= rel::ORDERED;
                post_down = rel::FIRST_IMPLIES_THEN;
            }
            Some(previous) if m.colocated => {
                let influence = self[member].is(rf::CRITICAL);
                self.colocate_implied("#group-members", INFINITY, member, previous, influence);
            }
            _ => {}
        }
        let up = rel::UNRUNNABLE_FIRST_BLOCKS | rel::FIRST_IMPLIES_THEN | rel::FIRST_IMPLIES_THEN_GRAPHED;
        if m.promotable {
            self.order_tasks(group, "demote", member, "demote", down);
            self.order_tasks(member, "demote", group, "demoted", post_down);
            self.order_tasks(member, "promote", group, "promoted", up);
            self.order_tasks(group, "promote", member, "promote", rel::THEN_IMPLIES_FIRST_GRAPHED);
        }
        self.order_tasks(group, "stop", member, "stop", down);
        self.order_tasks(member, "stop", group, "stopped", post_down);
        self.order_tasks(group, "start", member, "start", rel::THEN_IMPLIES_FIRST_GRAPHED);
        self.order_tasks(member, "start", group, "running", up);
        self.order_member(group, member, m);
        if !self[member].active_nodes.is_empty() {
            let gap = m.ordered && m.previous.is_some_and(|p| self[p].active_nodes.is_empty());
            if let Some(last) = m.last_active.filter(|l| gap && !self[*l].active_nodes.is_empty()) {
                self.order_tasks(member, "stop", last, "stop", rel::ORDERED);
            }
            m.last_active = Some(member);
        }
        m.previous = Some(member);
    }

    /// A member after the one before it.
    fn order_member(&mut self, group: RscIdx, member: RscIdx, m: &Members) {
        let chain = rel::FIRST_IMPLIES_THEN | rel::UNRUNNABLE_FIRST_BLOCKS;
        if !m.ordered {
            self.order_tasks(group, "start", member, "start", chain | rel::THEN_IMPLIES_FIRST_GRAPHED);
            if m.promotable {
                self.order_tasks(group, "promote", member, "promote", chain | rel::THEN_IMPLIES_FIRST_GRAPHED);
            }
            return;
        }
        let Some(previous) = m.previous else {
            self.order_tasks(group, "start", member, "start", rel::NONE);
            if m.promotable {
                self.order_tasks(group, "promote", member, "promote", rel::NONE);
            }
            return;
        };
        self.order_tasks(previous, "start", member, "start", chain);
        self.order_tasks(member, "stop", previous, "stop", rel::ORDERED | rel::INTERMEDIATE_STOP);
        if !self[member].active_nodes.is_empty() && self[previous].active_nodes.is_empty() {
            self.order_tasks(member, "stop", previous, "start", rel::THEN_IMPLIES_FIRST | rel::UNRUNNABLE_FIRST_BLOCKS);
        }
        if m.promotable {
            self.order_tasks(previous, "promote", member, "promote", chain);
            self.order_tasks(member, "demote", previous, "demote", rel::ORDERED);
        }
    }

    fn clone_constraints(&mut self, rsc: RscIdx) {
        self.order_tasks(rsc, "stopped", rsc, "start", rel::ORDERED);
        self.order_tasks(rsc, "start", rsc, "running", rel::UNRUNNABLE_FIRST_BLOCKS);
        self.order_tasks(rsc, "stop", rsc, "stopped", rel::UNRUNNABLE_FIRST_BLOCKS);
        let promotable = self[rsc].is(rf::PROMOTABLE);
        if promotable {
            self.order_tasks(rsc, "demoted", rsc, "stop", rel::ORDERED);
            self.order_tasks(rsc, "running", rsc, "promote", rel::UNRUNNABLE_FIRST_BLOCKS);
        }
        let ordered = self[rsc].clone.ordered;
        let mut children = self[rsc].children.clone();
        if ordered {
            self.sort_by_number(&mut children);
            self[rsc].children = children.clone();
        }
        for (i, instance) in children.iter().enumerate() {
            self.internal_constraints(*instance);
            self.order_tasks(
                rsc,
                "start",
                *instance,
                "start",
                rel::UNRUNNABLE_FIRST_BLOCKS | rel::THEN_IMPLIES_FIRST_GRAPHED,
            );
            self.order_tasks(*instance, "start", rsc, "running", rel::FIRST_IMPLIES_THEN_GRAPHED);
            self.order_tasks(rsc, "stop", *instance, "stop", rel::THEN_IMPLIES_FIRST_GRAPHED);
            self.order_tasks(*instance, "stop", rsc, "stopped", rel::FIRST_IMPLIES_THEN_GRAPHED);
            if ordered {
                for later in &children[i + 1..] {
                    self.order_tasks(*instance, "start", *later, "start", rel::ORDERED);
                    self.order_tasks(*later, "stop", *instance, "stop", rel::ORDERED);
                }
            }
        }
        if promotable {
            self.promotable_constraints(rsc);
        }
    }

    fn promotable_restart(&mut self, rsc: RscIdx) {
        for (first, then) in [
            ("stopped", "start"),
            ("stopped", "promote"),
            ("demoted", "stop"),
            ("demoted", "start"),
            ("demoted", "promote"),
            ("running", "promote"),
            ("demote", "demoted"),
        ] {
            self.order_tasks(rsc, first, rsc, then, rel::ORDERED);
        }
    }

    fn promotable_constraints(&mut self, clone: RscIdx) {
        self.promotable_restart(clone);
        let ordered = self[clone].clone.ordered;
        let mut previous: Option<RscIdx> = None;
        for instance in self[clone].children.clone() {
            self.order_tasks(instance, "demote", instance, "promote", rel::ORDERED);
            self.order_tasks(clone, "promote", instance, "promote", rel::ORDERED);
            self.order_tasks(instance, "promote", clone, "promoted", rel::ORDERED);
            let last = previous.filter(|_| ordered);
            if let Some(last) = last {
                self.order_tasks(last, "promote", instance, "promote", rel::ORDERED);
            }
            self.order_tasks(clone, "demote", instance, "demote", rel::THEN_IMPLIES_FIRST_GRAPHED);
            self.order_tasks(instance, "demote", clone, "demoted", rel::FIRST_IMPLIES_THEN_GRAPHED);
            if let Some(last) = last {
                self.order_tasks(instance, "demote", last, "demote", rel::ORDERED);
            }
            previous = Some(instance);
        }
    }

    fn bundle_constraints(&mut self, rsc: RscIdx) {
        for replica in self[rsc].bundle.replicas.clone() {
            let container = replica.container;
            self.internal_constraints(container);
            self.order_tasks(
                rsc,
                "start",
                container,
                "start",
                rel::UNRUNNABLE_FIRST_BLOCKS | rel::THEN_IMPLIES_FIRST_GRAPHED,
            );
            if let Some(child) = replica.child {
                self.order_tasks(rsc, "stop", child, "stop", rel::THEN_IMPLIES_FIRST_GRAPHED);
            }
            self.order_tasks(rsc, "stop", container, "stop", rel::THEN_IMPLIES_FIRST_GRAPHED);
            self.order_tasks(container, "start", rsc, "running", rel::FIRST_IMPLIES_THEN_GRAPHED);
            self.order_tasks(container, "stop", rsc, "stopped", rel::FIRST_IMPLIES_THEN_GRAPHED);
            if let Some(ip) = replica.ip {
                self.internal_constraints(ip);
                self.order_tasks(ip, "start", container, "start", rel::UNRUNNABLE_FIRST_BLOCKS | rel::GUEST_ALLOWED);
                self.order_tasks(container, "stop", ip, "stop", rel::THEN_IMPLIES_FIRST | rel::GUEST_ALLOWED);
                self.colocate_implied("#ip-with-container", INFINITY, ip, container, true);
            }
            if let Some(remote) = replica.remote {
                self.internal_constraints(remote);
            }
        }
        let Some(child) = self[rsc].bundle.child else { return };
        self.order_tasks(rsc, "start", child, "start", rel::THEN_IMPLIES_FIRST_GRAPHED);
        self.order_tasks(child, "running", rsc, "running", rel::FIRST_IMPLIES_THEN_GRAPHED);
        self.order_tasks(rsc, "stop", child, "stop", rel::THEN_IMPLIES_FIRST_GRAPHED);
        self.order_tasks(child, "stopped", rsc, "stopped", rel::FIRST_IMPLIES_THEN_GRAPHED);
        self.internal_constraints(child);
        if self[child].is(rf::PROMOTABLE) {
            self.promotable_restart(rsc);
            self.order_tasks(rsc, "demote", child, "demote", rel::THEN_IMPLIES_FIRST_GRAPHED);
            self.order_tasks(child, "demoted", rsc, "demoted", rel::FIRST_IMPLIES_THEN_GRAPHED);
            self.order_tasks(rsc, "promote", child, "promote", rel::THEN_IMPLIES_FIRST_GRAPHED);
            self.order_tasks(child, "promoted", rsc, "promoted", rel::FIRST_IMPLIES_THEN_GRAPHED);
        }
    }

    /// A resource that needs unfencing is stopped before, and started after, its node is unfenced.
    fn order_restart_vs_unfencing(&mut self, rsc: RscIdx, node: NodeIdx) {
        let unfence = self.fence_op(node, Some("on"), true, None, false);
        self.order_task_then(rsc, "stop", unfence, rel::ORDERED | rel::IF_ON_SAME_NODE);
        let then = Side { rsc: Some(rsc), key: Some(self.key(rsc, "start", 0)), action: None };
        self.new_ordering(Side::of(unfence), then, rel::FIRST_IMPLIES_SAME_NODE_THEN | rel::IF_ON_SAME_NODE);
    }
}
