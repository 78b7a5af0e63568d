//! Capacities of nodes and what resources take of them.

use super::colocate::Affects;
use crate::model::flags::rsc as rf;
use crate::model::options::Placement;
use crate::model::{ColocIdx, INFINITY, Map, NodeIdx, RscIdx, Sched, ScoreLine, Str, Variant};
use crate::unpack::history::merge_sort;
use base::text::parse_int;
use std::cmp::Ordering;
use std::collections::BTreeSet;

fn value(text: Option<&Str>) -> i64 {
    text.and_then(|t| parse_int(t)).unwrap_or(0).clamp(i64::from(i32::MIN), i64::from(i32::MAX))
}

/// Adds `amounts` times `sign` to `total`.
fn accumulate(total: &mut Map, amounts: &Map, sign: i64) {
    for (name, amount) in amounts.iter() {
        let sum = (value(total.get(name)) + sign * value(Some(amount))).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        total.insert(name.clone(), sum.to_string().into());
    }
}

impl Sched {
    /// Negative if the first node has more in more respects.
    pub(super) fn compare_capacities(&self, a: NodeIdx, b: NodeIdx) -> i32 {
        let (x, y) = (&self[a].utilization, &self[b].utilization);
        let names = x.keys().chain(y.keys().filter(|n| !x.contains_key(n)));
        names.map(|n| value(y.get(n)).cmp(&value(x.get(n))) as i32).sum()
    }

    pub(super) fn consume_capacity(&mut self, node: NodeIdx, rsc: RscIdx) {
        let amounts = std::mem::take(&mut self[rsc].utilization);
        accumulate(&mut self[node].utilization, &amounts, -1);
        self[rsc].utilization = amounts;
    }

    pub(super) fn release_capacity(&mut self, node: NodeIdx, rsc: RscIdx) {
        let amounts = std::mem::take(&mut self[rsc].utilization);
        accumulate(&mut self[node].utilization, &amounts, 1);
        self[rsc].utilization = amounts;
    }

    fn has_capacity(&self, node: NodeIdx, needed: &Map) -> bool {
        needed.iter().all(|(name, amount)| value(Some(amount)) <= value(self[node].utilization.get(name)))
    }

    /// What must go where this resource goes, in the order in which it is come to. Chains may be as long as there are resources,
    /// so that the way back is a list and not the stack.
    fn colocated_resources(&self, orig: RscIdx) -> Vec<RscIdx> {
        let mut list = Vec::new();
        let mut seen: BTreeSet<RscIdx> = BTreeSet::new();
        let mut left = vec![orig];
        while let Some(rsc) = left.pop() {
            if self[rsc].variant == Variant::Group {
                let in_clone = self[rsc].parent.is_some_and(|p| self[p].is_clone());
                if self[rsc].group.colocated || in_clone {
                    list.push(rsc);
                    left.extend(self[rsc].children.iter().rev());
                    continue;
                }
            }
            if !seen.insert(rsc) {
                continue;
            }
            list.push(rsc);
            let next = self.must_go_with(rsc, orig);
            left.extend(next.into_iter().rev());
        }
        list
    }

    /// What a resource must be with, and what must be with it, but for the one that is asked about.
    fn must_go_with(&self, rsc: RscIdx, orig: RscIdx) -> Vec<RscIdx> {
        let must = |dependent: RscIdx, primary: RscIdx, c: ColocIdx| {
            self[c].score == INFINITY && self.affects(dependent, primary, c, true) == Affects::Location
        };
        let mut next = Vec::new();
        for c in self.this_with_list(rsc) {
            let primary = self[c].primary;
            if primary != orig && must(rsc, primary, c) {
                next.push(primary);
            }
        }
        for c in self.with_this_list(rsc) {
            let dependent = self[c].dependent;
            if dependent == orig || (self[rsc].is_clone() && !self[dependent].is_clone()) {
                continue;
            }
            if must(dependent, rsc, c) {
                next.push(dependent);
            }
        }
        next
    }

    fn add_utilization(&self, rsc: RscIdx, all: &[RscIdx], total: &mut Map) {
        if !self[rsc].is(rf::UNASSIGNED) {
            return;
        }
        match self[rsc].variant {
            Variant::Primitive => accumulate(total, &self[rsc].utilization, 1),
            Variant::Group => {
                let whole = self[rsc].group.colocated || self[rsc].parent.is_some_and(|p| self[p].is_clone());
                let count = if whole { usize::MAX } else { 1 };
                for member in self[rsc].children.iter().take(count) {
                    if self[*member].is(rf::UNASSIGNED) && !all.contains(member) {
                        self.add_utilization(*member, all, total);
                    }
                }
            }
            Variant::Clone => {
                let mut existing = false;
                for child in &self[rsc].children {
                    if all.contains(child) {
                        existing = true;
                    } else if self[*child].children.iter().any(|m| all.contains(m)) {
                        self.add_utilization(*child, all, total);
                        existing = true;
                    }
                }
                if let Some(first) = self[rsc].children.first().filter(|_| !existing) {
                    self.add_utilization(*first, all, total);
                }
            }
            Variant::Bundle => {
                if let Some(replica) = self[rsc].bundle.replicas.first() {
                    self.add_utilization(replica.container, all, total);
                }
            }
        }
    }

    /// Bans nodes that cannot take the resource with all that goes with it; gives the roomiest node if none can.
    pub(super) fn ban_insufficient_capacity(&mut self, rsc: RscIdx) -> Option<NodeIdx> {
        if self.options.placement == Placement::Default {
            return None;
        }
        let mut together = self.colocated_resources(rsc);
        if together.is_empty() {
            return None;
        }
        together.reverse();
        if !together.contains(&rsc) {
            together.push(rsc);
        }
        let mut needed = Map::new();
        for other in &together {
            self.add_utilization(*other, &together, &mut needed);
        }
        let usable: Vec<NodeIdx> =
            self[rsc].allowed.iter().filter(|(n, a)| a.score >= 0 && self.node_available(*n)).map(|(n, _)| n).collect();
        let mut roomiest: Option<NodeIdx> = None;
        for node in &usable {
            if roomiest.is_none_or(|r| self.compare_capacities(*node, r) < 0) {
                roomiest = Some(*node);
            }
        }
        let any = usable.iter().any(|n| self.has_capacity(*n, &needed));
        let needed = if any { needed } else { self[rsc].utilization.clone() };
        for node in usable {
            if !self.has_capacity(node, &needed) {
                self.add_location(rsc, Some(node), -INFINITY, "__limit_utilization__");
            }
        }
        if any { None } else { roomiest }
    }

    pub(super) fn show_capacities(&mut self, comment: &'static str) {
        if !self.options.show_utilization {
            return;
        }
        for node in self.node_order.clone() {
            if !self.is_bundle_node(node) {
                let values = self[node].utilization.clone();
                self.scores.push(ScoreLine::Capacity { comment, node, values });
            }
        }
    }

    /// Sorts the top level so that what is more important, or already well placed, gets its node first.
    pub(super) fn sort_by_placement(&mut self) {
        let mut base = crate::model::NodeTable::default();
        for (i, node) in self.nodes.iter().enumerate() {
            base.insert(NodeIdx(i as u32), node.base);
        }
        let nodes: Vec<NodeIdx> = self.sorted_nodes(&base, None).into_iter().map(|n| n.0).collect();
        let mut keyed = Vec::new();
        for (i, rsc) in self.top.clone().into_iter().enumerate() {
            self.gathered = 0;
            let table = self.scores_with_colocated(rsc);
            let score = |n: NodeIdx| table.score(n).unwrap_or(-INFINITY);
            let here = self.current_node(rsc).filter(|_| !self[rsc].active_nodes.is_empty()).map_or(-INFINITY, score);
            let scores: Vec<i32> = nodes.iter().map(|n| score(*n)).collect();
            keyed.push((i, self[rsc].priority, here, scores, rsc));
        }
        let mut order: Vec<usize> = (0..keyed.len()).collect();
        merge_sort(&mut order, &|a, b| {
            let (a, b) = (&keyed[*a], &keyed[*b]);
            b.1.cmp(&a.1).then(b.2.cmp(&a.2)).then_with(|| b.3.cmp(&a.3)).then(Ordering::Equal)
        });
        self.top = order.into_iter().map(|i| keyed[i].4).collect();
    }
}
