//! Instances of clones and bundles: in which order they are placed, and how many go on a node.

use super::colocate::Gather;
use crate::explain::ledger::{Source, TAKEN_BACK};
use crate::model::flags::rsc as rf;
use crate::model::{Assign, INFINITY, NodeIdx, NodeTable, RscIdx, Sched, Variant};
use crate::status::Role;
use crate::unpack::history::merge_sort;
use std::cmp::Ordering;

impl Sched {
    fn can_run_instance(&self, instance: RscIdx, node: NodeIdx, max_per_node: i32) -> bool {
        if self[instance].is(rf::REMOVED) || !self.node_available(node) {
            return false;
        }
        self.top_allowed(instance, node).is_some_and(|a| a.score >= 0 && a.count < max_per_node)
    }

    /// What the collective (or, without one, the resource itself) thinks of the node.
    pub(super) fn top_allowed(&self, rsc: RscIdx, node: NodeIdx) -> Option<&Assign> {
        self[self[rsc].parent.unwrap_or(rsc)].allowed.get(node)
    }

    fn ban_unavailable(&mut self, instance: RscIdx, max_per_node: i32) {
        for node in self[instance].allowed.nodes() {
            if self.can_run_instance(instance, node, max_per_node) {
                continue;
            }
            self.set_score(instance, node, -INFINITY, &Source::Own("__no_instance_here__"));
            for child in self[instance].children.clone() {
                self.set_score(child, node, -INFINITY, &Source::Own("__no_instance_here__"));
            }
        }
    }

    /// Preferences of what goes with an instance for the node where it is now.
    fn colocated_score_here(&mut self, instance: RscIdx, node: NodeIdx) -> i32 {
        let mut table = NodeTable::default();
        table.insert(node, self[node].base);
        let mut nodes = Some(table);
        for c in self.this_with_list(instance) {
            let factor = self[c].score as f32 / INFINITY as f32;
            let other = self[c].primary;
            self.add_colocated_scores(other, Some(instance), &mut nodes, Some(c), factor, Gather::default());
        }
        for c in self.with_this_list(instance) {
            if !self.has_influence(c, Some(instance)) {
                continue;
            }
            let factor = self[c].score as f32 / INFINITY as f32;
            let other = self[c].dependent;
            let gather = Gather { nonnegative: true, ..Default::default() };
            self.add_colocated_scores(other, Some(instance), &mut nodes, Some(c), factor, gather);
        }
        nodes.and_then(|t| t.score(node)).unwrap_or(0)
    }

    fn did_fail(&self, rsc: RscIdx) -> bool {
        self[rsc].is(rf::FAILED) || self[rsc].children.iter().any(|c| self.did_fail(*c))
    }

    /// The number behind the last colon (or dash, of a container).
    pub fn instance_number(&self, rsc: RscIdx) -> i64 {
        let id = &self[rsc].id;
        let at = id.rfind(':').or_else(|| id.rfind('-'));
        at.and_then(|at| base::text::parse_int(&id[at + 1..])).unwrap_or(0)
    }

    pub fn sort_by_number(&self, list: &mut [RscIdx]) {
        list.sort_by_key(|r| self.instance_number(*r));
    }

    /// Everything about an instance by which instances are ordered.
    fn instance_rank(&mut self, rsc: RscIdx) -> InstanceRank {
        let (active, _) = self.active_counts(rsc);
        let node = self.active_node_counting(rsc);
        let allowed = node.is_none_or(|n| self[rsc].allowed.score(n).is_some_and(|s| s >= 0));
        let node = node.filter(|_| allowed);
        let available = node.is_some_and(|n| self.node_available(n));
        let count = node.and_then(|n| self.top_allowed(rsc, n)).map(|a| a.count);
        InstanceRank {
            active,
            allowed,
            priority: self[rsc].priority,
            node,
            available,
            count,
            failed: self.did_fail(rsc),
            number: self.instance_number(rsc),
            colocated: None,
            current: self.current_node(rsc),
        }
    }

    /// Sorts instances so that those which should stay where they are come first.
    pub(super) fn sort_instances(
        &mut self,
        list: &mut Vec<RscIdx>,
        before: &dyn Fn(&Sched, RscIdx, RscIdx) -> Ordering,
    ) {
        let mut ranks = Vec::new();
        for rsc in list.iter() {
            ranks.push(self.instance_rank(*rsc));
        }
        // Preferences of others only matter (and cost) where everything else is equal.
        let any_colocation =
            list.iter().any(|r| !self.this_with_list(*r).is_empty() || !self.with_this_list(*r).is_empty());
        if any_colocation {
            for (i, rsc) in list.iter().enumerate() {
                if let Some(node) = ranks[i].current.filter(|_| ranks[i].node.is_some()) {
                    ranks[i].colocated = Some(self.colocated_score_here(*rsc, node));
                }
            }
        } else {
            for rank in &mut ranks {
                rank.colocated = rank.current.map(|n| self[n].base.score);
            }
        }
        let mut order: Vec<usize> = (0..list.len()).collect();
        merge_sort(&mut order, &|a, b| before(self, list[*a], list[*b]).then_with(|| ranks[*a].compare(&ranks[*b])));
        *list = order.into_iter().map(|i| list[i]).collect();
    }

    fn count_on_parent(&mut self, instance: RscIdx, node: Option<NodeIdx>) {
        let table = self[instance].parent.unwrap_or(instance);
        if let Some(assign) = node.and_then(|n| self[table].allowed.get_mut(n)) {
            assign.count += 1;
        }
    }

    fn assign_instance(&mut self, instance: RscIdx, prefer: Option<NodeIdx>, max_per_node: i32) -> Option<NodeIdx> {
        if self[instance].is(rf::ASSIGNING) {
            return None;
        }
        self.ban_unavailable(instance, max_per_node);
        let chosen = self.assign(instance, prefer, prefer.is_none());
        self.count_on_parent(instance, chosen);
        chosen
    }

    fn save_tables(&self, rsc: RscIdx, saved: &mut Vec<(RscIdx, NodeTable)>) {
        saved.push((rsc, self[rsc].allowed.clone()));
        for child in &self[rsc].children {
            self.save_tables(*child, saved);
        }
    }

    /// Tries to leave an instance where it is; others that push it away get their place reserved meanwhile.
    fn assign_early(&mut self, instance: RscIdx, current: NodeIdx, max_per_node: i32, available: i32) -> bool {
        let Some(parent) = self[instance].parent else { return false };
        if !self[instance].allowed.score(current).is_some_and(|s| s >= 0 && self.node_available(current)) {
            return false;
        }
        let mut saved = Vec::new();
        self.save_tables(instance, &mut saved);
        let parent_table = self[parent].allowed.clone();
        let (mut chosen, mut reserved) = (None, 0);
        while reserved < available {
            chosen = self.assign_instance(instance, Some(current), max_per_node);
            if chosen == Some(current) {
                break;
            }
            for (rsc, table) in &saved {
                self.record_table(*rsc, table, &TAKEN_BACK);
                self[*rsc].allowed = table.clone();
            }
            if chosen.is_none() {
                self.set(instance, rf::UNASSIGNED);
                break;
            }
            reserved += 1;
            self.unassign(instance);
            chosen = None;
        }
        self.record_table(parent, &parent_table, &TAKEN_BACK);
        self[parent].allowed = parent_table;
        if chosen.is_none() {
            return false;
        }
        self.count_on_parent(instance, chosen);
        true
    }

    fn preferred_node(&self, instance: RscIdx, optimal_per_node: i32) -> Option<NodeIdx> {
        let r = &self[instance];
        if r.active_nodes.is_empty() || !r.is(rf::UNASSIGNED) || r.is(rf::FAILED) {
            return None;
        }
        let node = self.current_node(instance)?;
        let full = self.top_allowed(instance, node).is_some_and(|a| a.count >= optimal_per_node);
        (self.node_available(node) && self[node].base.score >= 0 && !full).then_some(node)
    }

    /// Places at most `max_total` instances, at most `max_per_node` on a node.
    pub(super) fn assign_instances(
        &mut self,
        collective: RscIdx,
        instances: &[RscIdx],
        max_total: i32,
        max_per_node: i32,
    ) {
        let nodes = self[collective].allowed.nodes();
        let available = nodes.iter().filter(|n| self.node_available(**n)).count() as i32;
        for (_, assign) in self[collective].allowed.iter_mut() {
            assign.count = 0;
        }
        let optimal = if available > 0 { (max_total / available).max(1) } else { 1 };
        let mut assigned = 0;
        for instance in instances {
            if assigned >= max_total {
                break;
            }
            if !self[*instance].is(rf::UNASSIGNED) {
                continue;
            }
            if let Some(current) = self.preferred_node(*instance, optimal) {
                assigned += i32::from(self.assign_early(*instance, current, max_per_node, max_total - assigned));
            }
        }
        for instance in instances {
            if !self[*instance].is(rf::UNASSIGNED) {
                continue;
            }
            if assigned >= max_total {
                self.add_location(*instance, None, -INFINITY, "collective_limit_reached");
            } else if self.assign_instance(*instance, None, max_per_node).is_some() {
                assigned += 1;
            }
        }
    }

    /// Instances of a clone, or containers of a bundle.
    pub fn instance_list(&self, rsc: RscIdx) -> Vec<RscIdx> {
        if self[rsc].variant == Variant::Bundle { self.bundle_containers(rsc) } else { self[rsc].children.clone() }
    }

    /// The instance is (or will be) on the node, in the role.
    pub fn instance_matches(
        &self,
        instance: RscIdx,
        node: NodeIdx,
        role: Role,
        current: bool,
        attribute: Option<&str>,
    ) -> bool {
        if role != Role::Unknown && role != self.role_of(instance, current) {
            return false;
        }
        if self.is_set_recursive(instance, rf::BLOCKED, true) {
            return false;
        }
        let Some(here) = self.location_of(instance, current) else { return false };
        match attribute {
            None => here == node,
            Some(attr) => {
                let (a, b) = (self.colocation_attr(here, attr, instance), self.colocation_attr(node, attr, instance));
                match (a, b) {
                    (None, None) => true,
                    (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                    _ => false,
                }
            }
        }
    }

    fn instance_on_node(
        &self,
        rsc: RscIdx,
        node: NodeIdx,
        role: Role,
        current: bool,
        attribute: Option<&str>,
    ) -> Option<RscIdx> {
        self.instance_list(rsc).into_iter().find(|i| self.instance_matches(*i, node, role, current, attribute))
    }

    /// The instance of `rsc` that belongs together with `matching`.
    pub fn compatible_instance(
        &self,
        matching: RscIdx,
        rsc: RscIdx,
        role: Role,
        current: bool,
        attribute: Option<&str>,
    ) -> Option<RscIdx> {
        if let Some(node) = self.location_of(matching, current) {
            return self.instance_on_node(rsc, node, role, current, attribute);
        }
        let nodes = self.sorted_nodes(&self[matching].allowed, None);
        nodes.into_iter().find_map(|(n, _)| self.instance_on_node(rsc, n, role, current, attribute))
    }
}

struct InstanceRank {
    active: usize,
    allowed: bool,
    priority: i32,
    node: Option<NodeIdx>,
    available: bool,
    /// How many instances the collective has on that node; `None` if it does not consider the node.
    count: Option<i32>,
    failed: bool,
    number: i64,
    colocated: Option<i32>,
    current: Option<NodeIdx>,
}

impl InstanceRank {
    fn compare(&self, other: &InstanceRank) -> Ordering {
        let better = |mine: bool, theirs: bool| theirs.cmp(&mine);
        if self.active > 0 && other.active > 0 && self.active != other.active {
            return self.active.cmp(&other.active);
        }
        let order = better(self.allowed, other.allowed).then(other.priority.cmp(&self.priority));
        if order != Ordering::Equal {
            return order;
        }
        match (self.node, other.node) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(_), Some(_)) => {}
        }
        let order = better(self.available, other.available);
        if order != Ordering::Equal {
            return order;
        }
        match (self.count, other.count) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(a), Some(b)) if a != b => return a.cmp(&b),
            _ => {}
        }
        better(!self.failed, !other.failed)
            .then(other.colocated.unwrap_or(0).cmp(&self.colocated.unwrap_or(0)))
            .then(self.number.cmp(&other.number))
    }
}
