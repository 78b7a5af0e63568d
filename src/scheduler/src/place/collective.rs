//! Placement of groups, clones and bundles, and colocations with them.

use crate::explain::ledger::{Change, Source};
use crate::model::flags::rsc as rf;
use crate::model::{ColocIdx, INFINITY, NodeIdx, RscIdx, Sched, Variant, add_scores};
use crate::status::Role;
use std::cmp::Ordering;

impl Sched {
    pub(super) fn assign_group(&mut self, rsc: RscIdx, prefer: Option<NodeIdx>, stop_if_fail: bool) -> Option<NodeIdx> {
        if !self[rsc].is(rf::UNASSIGNED) {
            return self[rsc].assigned.map(|a| a.node);
        }
        let Some(first) = self[rsc].children.first().copied() else {
            self.clear(rsc, rf::UNASSIGNED);
            return None;
        };
        self.set(rsc, rf::ASSIGNING);
        self[rsc].orig_role = self[first].orig_role;
        self.show_scores(rsc, "pcmk__group_assign");
        let mut first_node = None;
        for member in self[rsc].children.clone() {
            let node = self.assign(member, prefer, stop_if_fail);
            first_node = first_node.or(node);
        }
        self.set_next_role(rsc, self[first].next_role);
        self.clear(rsc, rf::ASSIGNING | rf::UNASSIGNED);
        if self[rsc].group.colocated { first_node } else { None }
    }

    pub(super) fn assign_clone(&mut self, rsc: RscIdx, prefer: Option<NodeIdx>, stop_if_fail: bool) -> Option<NodeIdx> {
        if !self[rsc].is(rf::UNASSIGNED) {
            return None;
        }
        self.set(rsc, rf::ASSIGNING);
        if self[rsc].is(rf::PROMOTABLE) {
            self.add_promotion_scores(rsc);
        }
        for c in self.this_with_list(rsc) {
            let primary = self[c].primary;
            self.assign(primary, prefer, stop_if_fail);
        }
        for c in self.with_this_list(rsc) {
            self.add_dependent_scores(c, rsc);
        }
        self.show_scores(rsc, "pcmk__clone_assign");
        let mut children = self[rsc].children.clone();
        self.sort_instances(&mut children, &|_, _, _| Ordering::Equal);
        self[rsc].children = children.clone();
        let (max, node_max) = (self[rsc].clone.clone_max, self[rsc].clone.clone_node_max);
        self.assign_instances(rsc, &children, max, node_max);
        if self[rsc].is(rf::PROMOTABLE) {
            self.set_instance_roles(rsc);
        }
        self.clear(rsc, rf::UNASSIGNED | rf::ASSIGNING);
        None
    }

    pub(super) fn assign_bundle(
        &mut self,
        rsc: RscIdx,
        prefer: Option<NodeIdx>,
        stop_if_fail: bool,
    ) -> Option<NodeIdx> {
        self.set(rsc, rf::ASSIGNING);
        self.show_scores(rsc, "pcmk__bundle_assign");
        let mut containers = self.bundle_containers(rsc);
        self.sort_instances(&mut containers, &|_, _, _| Ordering::Equal);
        let (max, per_host) = (self[rsc].bundle.max, self[rsc].bundle.per_host);
        self.assign_instances(rsc, &containers, max, per_host);
        for replica in self[rsc].bundle.replicas.clone() {
            if let Some(ip) = replica.ip {
                self.assign(ip, prefer, stop_if_fail);
            }
            if let Some(remote) = replica.remote {
                let host = self[replica.container].assigned.map(|a| a.node);
                if let Some(host_remote) = host.filter(|h| self[*h].is_remote_kind).and_then(|h| self[h].remote) {
                    self.colocate_implied("#replica-remote-with-host-remote", INFINITY, remote, host_remote, true);
                }
                self.assign(remote, prefer, stop_if_fail);
            }
            if let Some(child) = replica.child {
                self.assign_bundled_instance(child, replica.node, stop_if_fail);
            }
        }
        if let Some(child) = self[rsc].bundle.child {
            let own: Vec<NodeIdx> = self[rsc].bundle.replicas.iter().filter_map(|r| r.node).collect();
            for node in self[child].allowed.nodes() {
                let score = if own.contains(&node) { 0 } else { -INFINITY };
                self.set_score(child, node, score, &Source::Own("__inside_container__"));
            }
            self.assign(child, prefer, stop_if_fail);
        }
        self.clear(rsc, rf::ASSIGNING | rf::UNASSIGNED);
        None
    }

    fn assign_bundled_instance(&mut self, child: RscIdx, own: Option<NodeIdx>, stop_if_fail: bool) {
        for node in self[child].allowed.nodes() {
            let score = if Some(node) != own {
                -INFINITY
            } else if self.threshold_reached(child, node).is_none() {
                INFINITY
            } else {
                continue;
            };
            self.set_score(child, node, score, &Source::Own("__inside_container__"));
        }
        let Some(parent) = self[child].parent else { return };
        self.set(parent, rf::ASSIGNING);
        self.assign(child, own, stop_if_fail);
        self.clear(parent, rf::ASSIGNING);
    }

    pub(super) fn colocate_group_with(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx) -> i32 {
        let Some(first) = self[dependent].children.first().copied() else { return 0 };
        let mut delta = 0;
        if self[dependent].group.colocated {
            delta = self.apply_colocation(first, primary, c, true);
        } else if self[c].score >= INFINITY {
            let text = format!(
                "{}: Cannot perform mandatory colocation between non-colocated group and {}",
                self[dependent].id, self[primary].id
            );
            self.error(text);
            return 0;
        } else {
            for member in self[dependent].children.clone() {
                delta = add_scores(delta, self.apply_colocation(member, primary, c, false));
            }
        }
        if delta != 0 {
            self[dependent].priority = add_scores(delta, self[dependent].priority);
            self.record_colocated_promotion(dependent, c, Change::Add(delta));
        }
        delta
    }

    pub(super) fn colocate_with_group(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx) -> i32 {
        if self[primary].is(rf::UNASSIGNED) {
            return 0;
        }
        let mandatory = self[c].score >= INFINITY;
        if self[primary].group.colocated {
            let member = if mandatory { self[primary].children.last() } else { self[primary].children.first() };
            return member.copied().map_or(0, |m| self.apply_colocation(dependent, m, c, false));
        }
        if mandatory {
            let text = format!(
                "{}: Cannot perform mandatory colocation with non-colocated group {}",
                self[dependent].id, self[primary].id
            );
            self.error(text);
            return 0;
        }
        let members = self[primary].children.clone();
        members.into_iter().fold(0, |delta, m| add_scores(delta, self.apply_colocation(dependent, m, c, false)))
    }

    fn can_interleave(&mut self, c: ColocIdx) -> bool {
        let (primary, dependent) = (self[c].primary, self[c].dependent);
        if self[dependent].variant <= Variant::Group || !self[dependent].meta_true("interleave") {
            return false;
        }
        if self.max_per_node(dependent) != self.max_per_node(primary) {
            let text = format!(
                "Cannot interleave {} and {} because they do not support the same number of instances per node",
                self[dependent].id, self[primary].id
            );
            self.error(text);
            return false;
        }
        true
    }

    pub(super) fn colocate_with_clone(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx) -> i32 {
        if self[primary].is(rf::UNASSIGNED) {
            return 0;
        }
        let coloc = self[c].clone();
        if self[primary].is(rf::PROMOTABLE) && coloc.primary_role != Role::Unknown {
            if self[dependent].is(rf::UNASSIGNED) {
                self.update_dependent_with_promotable(primary, dependent, c);
                return 0;
            }
            if coloc.dependent_role == Role::Promoted {
                return self.update_promotable_dependent(primary, dependent, c);
            }
        }
        if self.can_interleave(c) {
            match self.compatible_instance(dependent, primary, Role::Unknown, false, None) {
                Some(instance) => return self.apply_colocation(dependent, instance, c, true),
                None if coloc.score >= INFINITY => {
                    self.assign_resource(dependent, None, true, true);
                }
                None => {}
            }
            return 0;
        }
        if coloc.score >= INFINITY {
            let mut nodes = Vec::new();
            for instance in self[primary].children.clone() {
                if let Some(node) =
                    self.location_of(instance, false).filter(|_| !self.is_set_recursive(instance, rf::BLOCKED, true))
                {
                    nodes.push((node, 0));
                }
            }
            self.intersect_nodes(dependent, &nodes, false, c);
            return 0;
        }
        let instances = self[primary].children.clone();
        instances.into_iter().fold(0, |delta, i| add_scores(delta, self.apply_colocation(dependent, i, c, false)))
    }

    fn bundle_node_host(&self, node: NodeIdx) -> Option<NodeIdx> {
        if !self.is_bundle_node(node) {
            return Some(node);
        }
        self.location_of(self.guest_launcher(node)?, false)
    }

    /// The container that goes with where the dependent is or may be.
    fn compatible_container(&self, dependent: RscIdx, bundle: RscIdx) -> Option<RscIdx> {
        let on = |node: NodeIdx| {
            self.bundle_containers(bundle)
                .into_iter()
                .find(|c| self.instance_matches(*c, node, Role::Unknown, false, None))
        };
        if let Some(node) = self.location_of(dependent, false).and_then(|n| self.bundle_node_host(n)) {
            return on(node);
        }
        self.sorted_nodes(&self[dependent].allowed, None)
            .into_iter()
            .filter_map(|(n, _)| self.bundle_node_host(n))
            .find_map(on)
    }

    pub(super) fn colocate_with_bundle(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx) -> i32 {
        if self[primary].is(rf::UNASSIGNED) {
            return 0;
        }
        let coloc = self[c].clone();
        if self[coloc.dependent].variant > Variant::Group {
            match self.compatible_container(dependent, primary) {
                Some(container) => return self.apply_colocation(dependent, container, c, true),
                None if coloc.score >= INFINITY => {
                    self.assign_resource(dependent, None, true, true);
                }
                None => {}
            }
            return 0;
        }
        if coloc.score < INFINITY {
            let containers = self.bundle_containers(primary);
            return containers
                .into_iter()
                .fold(0, |delta, i| add_scores(delta, self.apply_colocation(dependent, i, c, false)));
        }
        let mut nodes = Vec::new();
        for replica in self[primary].bundle.replicas.clone() {
            let Some(node) = self.location_of(replica.container, false) else { continue };
            if self.is_set_recursive(replica.container, rf::BLOCKED, true) {
                continue;
            }
            let promoted = replica.child.is_some_and(|child| self[child].next_role >= Role::Promoted);
            if coloc.primary_role < Role::Promoted || promoted {
                nodes.push((node, 0));
            }
        }
        self.intersect_nodes(dependent, &nodes, false, c);
        0
    }
}
