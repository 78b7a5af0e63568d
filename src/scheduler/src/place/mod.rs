//! Placement: which node each resource gets. Scores of nodes are settled resource by resource, colocated ones first.

mod collective;
mod colocate;
mod criteria;
mod instances;
mod primitive;
mod promotable;
mod utilization;

use crate::model::flags::{act, rsc as rf};
use crate::model::options::Placement;
use crate::model::{Assigned, INFINITY, NodeIdx, NodeTable, RscIdx, Sched, ScoreLine, Variant};
use crate::status::Role;

/// Longest chain of resources that wait for each other's placement; the stack has room for it ([`crate::STACK_BYTES`]).
const MAX_DEPTH: usize = 4_000;

impl Sched {
    /// The node could run resources, whatever its score.
    pub fn node_available(&self, node: NodeIdx) -> bool {
        let n = &self[node];
        n.online && !n.shutdown && !n.unclean && !n.standby && !n.maintenance
    }

    pub fn any_available(&self, table: &NodeTable) -> bool {
        table.iter().any(|(n, a)| a.score >= 0 && self.node_available(n))
    }

    /// Why a node comes before another one with the same score.
    pub(crate) fn tie_break(&self, rsc: RscIdx, chosen: NodeIdx, other: NodeIdx) -> &'static str {
        if self.current_node(rsc) == Some(chosen) {
            return "runs there already";
        }
        match self.options.placement {
            Placement::Minimal => "comes first by name",
            Placement::Balanced if self.compare_capacities(chosen, other) != 0 => "has more free capacity",
            _ if self[chosen].num_resources != self[other].num_resources => "has fewer resources",
            _ => "comes first by name",
        }
    }

    /// Nodes of a table, best first. The order is total. Capacities compare in pairs, which may go round in a circle: so nodes of
    /// one score are ranked by how many of the others they are roomier than, less how many are roomier than they.
    pub fn sorted_nodes(&self, table: &NodeTable, active: Option<NodeIdx>) -> Vec<(NodeIdx, i32)> {
        let counts = |(n, score): (NodeIdx, i32)| if self.node_available(n) { score } else { -INFINITY };
        let nodes: Vec<(NodeIdx, i32)> = table.iter().map(|(n, a)| (n, a.score)).collect();
        let balanced = self.options.placement == Placement::Balanced;
        let minimal = self.options.placement == Placement::Minimal;
        let rank = |node: (NodeIdx, i32)| -> i64 {
            let equals = nodes.iter().filter(|n| balanced && counts(**n) == counts(node));
            equals.map(|n| i64::from(self.compare_capacities(node.0, n.0).signum())).sum()
        };
        let key = |node: &(NodeIdx, i32)| {
            let n = node.0;
            let load = if minimal { (0, 0, false) } else { (rank(*node), self[n].num_resources, active != Some(n)) };
            (std::cmp::Reverse(counts(*node)), load, self[n].name.clone())
        };
        let mut sorted = nodes.clone();
        sorted.sort_by_cached_key(key);
        sorted
    }

    fn happy(&self, node: NodeIdx) -> bool {
        self[node].online && !self[node].unclean
    }

    /// Takes a node into account; true while another one could be a better answer.
    fn count_active(&self, rsc: RscIdx, node: NodeIdx, active: &mut Option<NodeIdx>) -> bool {
        let mut go_on = false;
        if let Some(source) = self[rsc].partial_migration_source {
            if node == source {
                *active = Some(node);
            } else {
                go_on = true;
            }
        } else if !self[rsc].is(rf::NEEDS_FENCING) {
            if self.happy(node) && active.is_none_or(|a| !self.happy(a)) {
                *active = Some(node);
            } else {
                go_on = true;
            }
        }
        active.get_or_insert(node);
        go_on
    }

    /// Where a resource is active: all such nodes, for a bundle those of its containers.
    fn active_list(&self, rsc: RscIdx) -> Vec<NodeIdx> {
        if self[rsc].variant != Variant::Bundle {
            return self[rsc].active_nodes.clone();
        }
        let mut all = Vec::new();
        for container in self.bundle_containers(rsc) {
            for node in &self[container].active_nodes {
                if !all.contains(node) {
                    all.push(*node);
                }
            }
        }
        all
    }

    /// The node where a resource counts as being now.
    pub fn current_node(&self, rsc: RscIdx) -> Option<NodeIdx> {
        if self[rsc].variant == Variant::Bundle {
            let mut active = self.bundle_containers(rsc).into_iter().filter(|c| !self[*c].active_nodes.is_empty());
            if let (Some(one), None) = (active.next(), active.next()) {
                return self.current_node(one);
            }
        }
        let mut active = None;
        for node in self.active_list(rsc) {
            if !self.count_active(rsc, node, &mut active) {
                break;
            }
        }
        active
    }

    /// How many nodes a resource is active on: (all, clean ones).
    pub fn active_counts(&self, rsc: RscIdx) -> (usize, usize) {
        let list = self.active_list(rsc);
        (list.len(), list.iter().filter(|n| self.happy(**n)).count())
    }

    /// The node that counts when all active nodes are looked at.
    pub fn active_node_counting(&self, rsc: RscIdx) -> Option<NodeIdx> {
        let mut active = None;
        for node in self.active_list(rsc) {
            self.count_active(rsc, node, &mut active);
        }
        active
    }

    /// Active nodes that matter, given whether the resource needs fencing.
    pub fn active_count_by_requirement(&self, rsc: RscIdx) -> usize {
        let (all, clean) = self.active_counts(rsc);
        if self[rsc].is(rf::NEEDS_FENCING) { all } else { clean }
    }

    /// Nodes that a resource (or its parts) is on now, or is assigned to.
    pub fn locations_of(&self, rsc: RscIdx, current: bool, list: &mut Vec<NodeIdx>) {
        let mut add = |n: NodeIdx| {
            if !list.contains(&n) {
                list.push(n);
            }
        };
        if self[rsc].children.is_empty() {
            if current {
                self[rsc].active_nodes.iter().for_each(|n| add(*n));
            } else if let Some(a) = self[rsc].assigned {
                add(a.node);
            }
            return;
        }
        for child in &self[rsc].children {
            self.locations_of(*child, current, list);
        }
    }

    /// The one node that a resource is on now, or is assigned to.
    pub fn location_of(&self, rsc: RscIdx, current: bool) -> Option<NodeIdx> {
        let mut list = Vec::new();
        self.locations_of(rsc, current, &mut list);
        match list[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The current or next role, of a collective the highest of its parts.
    pub fn role_of(&self, rsc: RscIdx, current: bool) -> Role {
        match self[rsc].variant {
            Variant::Primitive => {
                if current {
                    self[rsc].orig_role
                } else {
                    self[rsc].next_role
                }
            }
            Variant::Bundle => Role::Unknown,
            _ => self[rsc].children.iter().map(|c| self.role_of(*c, current)).max().unwrap_or(Role::Unknown),
        }
    }

    /// Records the scores of a resource and all below it for display.
    pub fn show_scores(&mut self, rsc: RscIdx, stage: &'static str) {
        if self[rsc].is(rf::REMOVED) {
            return;
        }
        for i in 0..self.node_order.len() {
            let node = self.node_order[i];
            if let Some(score) = self[rsc].allowed.score(node) {
                self.scores.push(ScoreLine::Allocation { stage, rsc, node, score });
                self.record_settled(stage, rsc, Some(node), score);
            }
        }
        for child in self[rsc].children.clone() {
            self.show_scores(child, stage);
        }
    }

    /// Decides where a resource goes; gives the node.
    ///
    /// The one way into the assignment of any resource, and so the place where its recursion ends: a collective that is
    /// reached again on the way to its own place has none yet, and neither has the end of a chain that is too long.
    pub fn assign(&mut self, rsc: RscIdx, prefer: Option<NodeIdx>, stop_if_fail: bool) -> Option<NodeIdx> {
        let again = self[rsc].variant != Variant::Primitive && self[rsc].is(rf::ASSIGNING);
        if again || self.update_depth >= MAX_DEPTH {
            return None;
        }
        self.update_depth += 1;
        let node = match self[rsc].variant {
            Variant::Primitive => self.assign_primitive(rsc, prefer, stop_if_fail),
            Variant::Group => self.assign_group(rsc, prefer, stop_if_fail),
            Variant::Clone => self.assign_clone(rsc, prefer, stop_if_fail),
            Variant::Bundle => self.assign_bundle(rsc, prefer, stop_if_fail),
        };
        self.update_depth -= 1;
        node
    }

    /// Puts a resource on a node, or nowhere; true if that is a change.
    pub fn assign_resource(
        &mut self,
        rsc: RscIdx,
        node: Option<(NodeIdx, i32)>,
        force: bool,
        stop_if_fail: bool,
    ) -> bool {
        if !self[rsc].children.is_empty() {
            let mut changed = false;
            for child in self[rsc].children.clone() {
                changed |= self.assign_resource(child, node, force, stop_if_fail);
            }
            return changed;
        }
        let mut node = node;
        if let Some((n, score)) = node.filter(|_| !force)
            && (score < 0 || (!self.node_available(n) && !self.is_guest(n)))
        {
            if stop_if_fail {
                self.set_next_role(rsc, Role::Stopped);
            }
            node = None;
        }
        let changed = self[rsc].assigned.map(|a| a.node) != node.map(|n| n.0);
        self.unassign(rsc);
        self.clear(rsc, rf::UNASSIGNED);
        let Some((node, score)) = node else {
            if stop_if_fail {
                self.stop_unassigned(rsc);
            }
            return changed;
        };
        self[rsc].assigned = Some(Assigned { node, score });
        self[node].num_resources += 1;
        self.consume_capacity(node, rsc);
        if self.options.show_utilization {
            self.scores.push(ScoreLine::Utilization { rsc, node });
        }
        changed
    }

    fn stop_unassigned(&mut self, rsc: RscIdx) {
        self.set_next_role(rsc, Role::Stopped);
        for a in self[rsc].actions.clone() {
            match &*self[a].task {
                "stop" => self[a].flags &= !act::OPTIONAL,
                "start" => self[a].flags &= !act::RUNNABLE,
                _ => {
                    let recurring = self[a].meta("interval").is_some_and(|i| i != "0");
                    if recurring && self[a].meta("op_target_rc") != Some("7") {
                        self[a].flags &= !act::RUNNABLE;
                    }
                }
            }
        }
    }

    pub fn unassign(&mut self, rsc: RscIdx) {
        self.set(rsc, rf::UNASSIGNED);
        if self[rsc].children.is_empty() {
            if let Some(old) = self[rsc].assigned.take() {
                self[old.node].num_resources -= 1;
                self.release_capacity(old.node, rsc);
            }
            return;
        }
        for child in self[rsc].children.clone() {
            self.unassign(child);
        }
    }

    /// Assigns everything: remote connections first, since nodes depend on them.
    pub fn assign_all(&mut self) {
        if self.options.placement != Placement::Default {
            self.sort_by_placement();
        }
        self.show_capacities("Original");
        if self.have_remote_nodes {
            for rsc in self.top.clone() {
                if self[rsc].is(rf::REMOTE_CONNECTION) {
                    let target = self[rsc].partial_migration_target;
                    self.assign(rsc, target, true);
                }
            }
        }
        for rsc in self.top.clone() {
            if !self[rsc].is(rf::REMOTE_CONNECTION) {
                self.assign(rsc, None, true);
            }
        }
        self.show_capacities("Remaining");
    }
}
