//! What is known of nodes before any resource is placed: health, locks, locations, stickiness, failures, discovery.

use crate::explain::ledger::{Change, Source};
use crate::model::flags::rsc as rf;
use crate::model::options::Health;
use crate::model::{Assign, INFINITY, LocIdx, NodeIdx, ProbeMode, RscIdx, Sched, Variant, add_scores};
use crate::status::Role;
use crate::unpack::state_ms_to_s;
use base::text::parse_int;

impl Sched {
    /// Health attributes of nodes become location constraints.
    pub fn apply_node_health(&mut self) {
        if self.options.health == Health::None {
            return;
        }
        let strategy = self.options.text("node-health-strategy");
        for node in self.node_order.clone() {
            let health = self.node_health_sum(node);
            if health == 0 {
                continue;
            }
            for rsc in self.top.clone() {
                if health > 0 || !self[rsc].meta_true("allow-unhealthy-nodes") {
                    self.new_location(&strategy, rsc, None, vec![(node, health)]);
                }
            }
        }
    }

    fn node_health_sum(&self, node: NodeIdx) -> i32 {
        let attrs = self[node].attrs.starting_with("#health");
        attrs.filter_map(|(_, v)| self.score_of(v)).fold(self.options.health_base, add_scores)
    }

    /// 1 green, 0 yellow, -1 red.
    pub fn node_health(&self, node: NodeIdx) -> i8 {
        if self.options.health == Health::None {
            return 1;
        }
        let mut result = 1;
        for (_, value) in self[node].attrs.iter().filter(|(n, _)| n.starts_with("#health")) {
            if value.eq_ignore_ascii_case("red") {
                return -1;
            }
            if value.eq_ignore_ascii_case("yellow") {
                result = 0;
                continue;
            }
            let Some(score) = self.score_of(value) else { continue };
            if score <= self.options.red() {
                return -1;
            }
            if score <= self.options.yellow() && self.options.yellow() != self.options.green() {
                result = 0;
            }
        }
        result
    }

    pub fn apply_node_criteria(&mut self) {
        if self.options.shutdown_lock {
            for rsc in self.top.clone() {
                self.shutdown_lock(rsc);
            }
        }
        for l in (0..self.locations.len() as u32).rev() {
            let l = LocIdx(l);
            self.apply_location_to(self[l].rsc, l);
        }
        for rsc in self.top.clone() {
            self.apply_stickiness(rsc);
        }
        for node in self.node_order.clone() {
            for rsc in self.top.clone() {
                self.check_failure_threshold(rsc, node);
                self.apply_exclusive_discovery(rsc, node);
            }
        }
    }

    fn shutdown_lock(&mut self, rsc: RscIdx) {
        match self[rsc].variant {
            Variant::Group => {
                for child in self[rsc].children.clone() {
                    self.shutdown_lock(child);
                }
            }
            Variant::Primitive => self.shutdown_lock_primitive(rsc),
            _ => {}
        }
    }

    fn shutdown_lock_primitive(&mut self, rsc: RscIdx) {
        if self[rsc].is(rf::FENCE_DEVICE | rf::REMOTE_CONNECTION) {
            return;
        }
        if let Some(node) = self[rsc].lock_node {
            if !self[rsc].active_nodes.is_empty() {
                self.clear_history(rsc, node);
                self[rsc].lock_node = None;
                self[rsc].lock_time = 0;
            }
        } else if let [node] = self[rsc].active_nodes[..]
            && self[node].shutdown
            && !self[node].unclean
        {
            let since = self[node].attrs.get("shutdown").and_then(|v| parse_int(v)).filter(|t| *t != 0);
            self[rsc].lock_node = Some(node);
            self[rsc].lock_time = since.unwrap_or(self.now);
        }
        let Some(locked) = self[rsc].lock_node else { return };
        if self.options.shutdown_lock_ms > 0 {
            let limit_s = state_ms_to_s(self.options.shutdown_lock_ms);
            let expires = self[rsc].lock_time.saturating_add(limit_s).saturating_add(1);
            self.update_recheck(expires);
        }
        for node in self.node_order.clone() {
            if node != locked {
                self.add_location(rsc, Some(node), -INFINITY, "shutdown-lock");
            }
        }
    }

    /// Applies a location to a resource and to the parts of it that it concerns.
    pub fn apply_location_to(&mut self, rsc: RscIdx, l: LocIdx) {
        self.apply_location(rsc, l, false);
        match self[rsc].variant {
            Variant::Primitive => {}
            Variant::Group => {
                let colocated = self[rsc].group.colocated;
                for (i, member) in self[rsc].children.clone().into_iter().enumerate() {
                    // Later members follow the first one; only the constraint's discovery mode is theirs as well.
                    self.apply_location(member, l, colocated && i > 0);
                }
            }
            Variant::Clone => {
                for instance in self[rsc].children.clone() {
                    self.apply_location_to(instance, l);
                }
            }
            Variant::Bundle => {
                for replica in self[rsc].bundle.replicas.clone() {
                    self.apply_location_to(replica.container, l);
                    if let Some(ip) = replica.ip {
                        self.apply_location_to(ip, l);
                    }
                }
                if let Some(child) =
                    self[rsc].bundle.child.filter(|_| matches!(self[l].role, Role::Unpromoted | Role::Promoted))
                {
                    self.apply_location_to(child, l);
                    self[child].locations.push(l);
                }
            }
        }
    }

    fn apply_location(&mut self, rsc: RscIdx, l: LocIdx, without_score: bool) {
        let location = self[l].clone();
        if location.role > Role::Unknown && location.role != self[rsc].next_role {
            return;
        }
        for (node, score, probe_mode) in location.nodes {
            let score = if without_score { 0 } else { score };
            self.record(rsc, node, Change::Add(score), &Source::Location(location.id.clone()));
            let table = &mut self[rsc].allowed;
            match table.get_mut(node) {
                Some(assign) => assign.score = add_scores(assign.score, score),
                None => table.insert(node, Assign { score, count: 0, probe_mode }),
            }
            if let Some(assign) = table.get_mut(node).filter(|a| a.probe_mode < location.probe_mode) {
                assign.probe_mode = location.probe_mode;
                if location.probe_mode == ProbeMode::Exclusive {
                    self.set(rsc, rf::EXCLUSIVE_PROBES);
                }
            }
        }
    }

    fn apply_stickiness(&mut self, rsc: RscIdx) {
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.apply_stickiness(child);
            }
            return;
        }
        let [node] = self[rsc].active_nodes[..] else { return };
        if !self[rsc].is(rf::MANAGED) || self[rsc].stickiness < 1 {
            return;
        }
        if !self.options.symmetric && !self[rsc].allowed.contains(node) {
            return;
        }
        self.add_location(rsc, Some(node), self[rsc].stickiness, "stickiness");
    }

    fn check_failure_threshold(&mut self, rsc: RscIdx, node: NodeIdx) {
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.check_failure_threshold(child, node);
            }
            return;
        }
        if self.actions_of(rsc, Some(node), "clear_failcount", true).is_empty()
            && let Some(banned) = self.threshold_reached(rsc, node)
        {
            self.add_location(banned, Some(node), -INFINITY, "__fail_limit__");
        }
    }

    fn apply_exclusive_discovery(&mut self, rsc: RscIdx, node: NodeIdx) {
        if !self[rsc].is(rf::EXCLUSIVE_PROBES) && !self[self.top_of(rsc, false)].is(rf::EXCLUSIVE_PROBES) {
            return;
        }
        for child in self[rsc].children.clone() {
            self.apply_exclusive_discovery(child, node);
        }
        if let Some(assign) = self[rsc].allowed.get_mut(node).filter(|a| a.probe_mode != ProbeMode::Exclusive) {
            assign.score = -INFINITY;
            self.record(rsc, node, Change::Set(-INFINITY), &Source::Own("__exclusive_discovery__"));
        }
    }

    /// Adds the scores that a parent group's locations would give a member, to a copy of its table.
    pub fn table_with_parent_locations(&self, rsc: RscIdx, parent: RscIdx) -> crate::model::NodeTable {
        let mut table = self[rsc].allowed.clone();
        for location in self.locations.iter().rev().filter(|l| l.rsc == parent) {
            if location.role > Role::Unknown && location.role != self[rsc].next_role {
                continue;
            }
            for (node, score, probe_mode) in &location.nodes {
                match table.get_mut(*node) {
                    Some(assign) => assign.score = add_scores(assign.score, *score),
                    None => table.insert(*node, Assign { score: *score, count: 0, probe_mode: *probe_mode }),
                }
            }
        }
        table
    }
}
