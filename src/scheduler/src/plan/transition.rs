//! From a primitive's present role on its present node to the wanted role on the wanted node.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{MultiplyActive, NodeIdx, RscIdx, Sched};
use crate::status::Role;

/// The next role on the way from one role to another.
fn step(from: Role, to: Role) -> Role {
    use Role::*;
    match (from, to) {
        (Unknown, Unknown) => Unknown,
        (Unknown, _) => Stopped,
        (Stopped, Unknown | Stopped) => Stopped,
        (Stopped, Started) => Started,
        (Stopped, _) => Unpromoted,
        (Started, Unknown | Stopped) => Stopped,
        (Started, Started) => Started,
        (Started, other) => other,
        (Unpromoted, Unknown | Stopped | Started) => Stopped,
        (Unpromoted, other) => other,
        (Promoted, Unknown) => Stopped,
        (Promoted, Promoted) => Promoted,
        (Promoted, _) => Unpromoted,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Stop,
    Start,
    Promote,
    Demote,
    Error,
}

/// What makes one step.
fn change(from: Role, to: Role) -> Change {
    use Role::*;
    match (from, to) {
        (Unknown, Stopped) => Change::Stop,
        (Unknown, _) | (_, Unknown) | (Stopped, Promoted) => Change::Error,
        (Stopped, Stopped) => Change::None,
        (Stopped, _) => Change::Start,
        (Started, Stopped) => Change::Stop,
        (Started, Promoted) => Change::Promote,
        (Started, _) => Change::None,
        (Unpromoted, Stopped | Started) => Change::Stop,
        (Unpromoted, Unpromoted) => Change::None,
        (Unpromoted, Promoted) => Change::Promote,
        (Promoted, Promoted) => Change::None,
        (Promoted, _) => Change::Demote,
    }
}

impl Sched {
    fn make_step(&mut self, rsc: RscIdx, change: Change, node: Option<NodeIdx>, optional: bool) {
        match change {
            Change::Stop => self.stop_resource(rsc, optional),
            Change::Start => self.start_resource(rsc, node, optional),
            Change::Promote => self.promote_resource(rsc, node, optional),
            Change::Demote => self.demote_resource(rsc, optional),
            Change::None | Change::Error => {}
        }
    }

    fn schedule_restart(&mut self, rsc: RscIdx, current: Option<NodeIdx>, need_stop: bool, need_promote: bool) {
        self.set(rsc, rf::RESTARTING);
        let mut role = self[rsc].orig_role;
        while role != Role::Stopped {
            let next = step(role, Role::Stopped);
            let change = change(role, next);
            if change == Change::None {
                break;
            }
            self.make_step(rsc, change, current, !need_stop);
            role = next;
        }
        let orig = self[rsc].orig_role;
        while orig <= self[rsc].next_role && role != orig && !self[rsc].is(rf::BLOCKED) {
            let next = step(role, orig);
            let required = need_stop || (next == Role::Promoted && need_promote);
            let change = change(role, next);
            if change == Change::None {
                break;
            }
            let node = self[rsc].assigned.map(|a| a.node);
            self.make_step(rsc, change, node, !required);
            if next == role {
                break;
            }
            role = next;
        }
        self.clear(rsc, rf::RESTARTING);
    }

    fn schedule_role_change(&mut self, rsc: RscIdx) {
        let mut role = self[rsc].orig_role;
        while role != self[rsc].next_role {
            let next = step(role, self[rsc].next_role);
            let change = change(role, next);
            if change == Change::None {
                break;
            }
            let node = self[rsc].assigned.map(|a| a.node);
            self.make_step(rsc, change, node, false);
            if next == role {
                break;
            }
            role = next;
        }
    }

    /// True if the resource is active on too many nodes; says so and prepares for that.
    fn handle_multiply_active(&mut self, rsc: RscIdx, count: usize) -> bool {
        let (what, need_stop) = match self[rsc].multiply_active {
            MultiplyActive::Restart => ("attempting recovery", true),
            MultiplyActive::Stop => ("shutting it down", false),
            MultiplyActive::Block => ("waiting for an administrator", false),
            MultiplyActive::Unexpected => ("stopping unexpected instances", true),
        };
        let text =
            format!("{} resource {} might be active on {count} nodes ({what})", self[rsc].conf.class(), self[rsc].id);
        self.error(text);
        if self[rsc].multiply_active == MultiplyActive::Unexpected {
            self.set(rsc, rf::STOP_UNEXPECTED);
        }
        need_stop
    }

    pub(super) fn create_primitive_actions(&mut self, rsc: RscIdx) {
        if self[rsc].next_role == Role::Unknown {
            let role = if self[rsc].assigned.is_none() { Role::Stopped } else { Role::Started };
            self.set_next_role(rsc, role);
        }
        let current = self.active_node_counting(rsc);
        let (all_active, clean_active) = self.active_counts(rsc);
        for source in self[rsc].dangling_migration_sources.clone().into_iter().rev() {
            let stop = self.stop_action(rsc, Some(source), false);
            self[stop].flags |= act::MIGRATION_ABORT;
        }
        let assigned = self[rsc].assigned.map(|a| a.node);
        let (mut need_stop, mut need_promote, mut can_migrate) = (false, false, false);
        let moving =
            current.is_some() && assigned.is_some() && current != assigned && self[rsc].next_role >= Role::Started;
        if moving {
            can_migrate = self.can_migrate(rsc, current);
            need_stop = true;
        }
        let (source, target) = (self[rsc].partial_migration_source, self[rsc].partial_migration_target);
        let mut multiply = false;
        if source.is_some()
            && target.is_some()
            && can_migrate
            && all_active == 2
            && current == source
            && assigned == target
        {
            // The partial migration goes on.
        } else if source.is_some() || target.is_some() {
            need_stop = true;
            self[rsc].partial_migration_source = None;
            self[rsc].partial_migration_target = None;
            can_migrate = false;
        } else {
            multiply = if self[rsc].is(rf::NEEDS_FENCING) { all_active > 1 } else { clean_active > 1 };
        }
        if multiply {
            need_stop |= self.handle_multiply_active(rsc, all_active);
        } else {
            self.clear(rsc, rf::STOP_UNEXPECTED);
        }
        if self[rsc].is(rf::START_PENDING) {
            let start = self.start_action(rsc, assigned, true);
            self[start].flags |= act::ALWAYS_IN_GRAPH;
        }
        if moving {
            // Stopping is needed anyway.
        } else if self[rsc].is(rf::FAILED) {
            if self[rsc].is(rf::STOP_IF_FAILED) {
                need_stop = true;
            } else {
                need_promote = self[rsc].next_role == Role::Promoted;
            }
        } else if self[rsc].is(rf::BLOCKED) {
            need_stop = true;
        } else if self[rsc].orig_role > Role::Started && current.is_some() && assigned.is_some() {
            let start = self.start_action(rsc, assigned, true);
            need_stop |= !self[start].is(act::OPTIONAL);
        }
        self.schedule_restart(rsc, current, need_stop, need_promote);
        self.schedule_role_change(rsc);
        self.create_recurring_actions(rsc);
        if let Some(current) = current.filter(|_| can_migrate) {
            self.create_migration_actions(rsc, current);
        }
    }

    /// Active where it should be, among others where it should not.
    fn is_expected_node(&self, rsc: RscIdx, node: NodeIdx) -> bool {
        let r = &self[rsc];
        r.is(rf::STOP_UNEXPECTED)
            && r.is(rf::RESTARTING)
            && r.next_role > Role::Stopped
            && r.assigned.is_some_and(|a| a.node == node)
    }

    fn stop_resource(&mut self, rsc: RscIdx, optional: bool) {
        let mut optional = optional;
        for current in self[rsc].active_nodes.clone() {
            if self.is_expected_node(rsc, current) {
                continue;
            }
            let assigned = self[rsc].assigned.map(|a| a.node);
            if let Some(target) = self[rsc].partial_migration_target {
                if current == target && assigned == Some(current) {
                    continue;
                }
                optional = false;
            }
            let stop = self.stop_action(rsc, Some(current), optional);
            if assigned.is_none() {
                self.set_reason(stop, "node availability", true);
            } else if self[rsc].is(rf::RESTARTING) && self[rsc].is(rf::STOP_UNEXPECTED) {
                self.set_reason(stop, "being multiply active", true);
            }
            if !self[rsc].is(rf::MANAGED) {
                self[stop].flags &= !act::RUNNABLE;
            }
            if self[rsc].is(rf::NEEDS_UNFENCING) {
                let unfence = self.fence_op(current, Some("on"), true, None, false);
                self.order_actions(stop, unfence, rel::THEN_IMPLIES_FIRST);
                if !self.is_unfenced(current) {
                    let text = format!("Stopping {} until {} can be unfenced", self[rsc].id, self[current].name);
                    self.error(text);
                }
            }
        }
    }

    fn start_resource(&mut self, rsc: RscIdx, node: Option<NodeIdx>, optional: bool) {
        let start = self.start_action(rsc, node, true);
        if let Some(node) = node {
            self.order_vs_unfencing(rsc, node, start, rel::FIRST_IMPLIES_THEN);
        }
        if self[start].is(act::RUNNABLE) && !optional {
            self[start].flags &= !act::OPTIONAL;
        }
        if node.is_some_and(|n| self.is_expected_node(rsc, n)) {
            self[start].flags |= act::PSEUDO;
        }
    }

    fn promote_resource(&mut self, rsc: RscIdx, node: Option<NodeIdx>, optional: bool) {
        let starts = self.actions_of(rsc, node, "start", true);
        if starts.iter().all(|s| self[*s].is(act::RUNNABLE)) {
            let promote = self.promote_action(rsc, node, optional);
            if node.is_some_and(|n| self.is_expected_node(rsc, n)) {
                self[promote].flags |= act::PSEUDO;
            }
        } else {
            for promote in self.actions_of(rsc, node, "promote", true) {
                self[promote].flags &= !act::RUNNABLE;
            }
        }
    }

    fn demote_resource(&mut self, rsc: RscIdx, optional: bool) {
        for current in self[rsc].active_nodes.clone() {
            if !self.is_expected_node(rsc, current) {
                self.demote_action(rsc, Some(current), optional);
            }
        }
    }
}
