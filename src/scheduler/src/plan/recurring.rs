//! Recurring operations: what is to be monitored where, and what is to be monitored no more.

use crate::model::config::OpConfig;
use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Side, Str};
use crate::status::Role;
use std::rc::Rc;

struct Recurring {
    name: Str,
    key: Str,
    role: Role,
    interval_ms: u64,
}

impl Sched {
    fn recurring_config(&mut self, rsc: RscIdx, op: &OpConfig) -> Option<Recurring> {
        if op.interval_ms == 0 {
            return None;
        }
        let Some(id) = op.id.clone().filter(|id| !id.is_empty()) else {
            self.error("Ignoring resource history entry without ID");
            return None;
        };
        let name = op.name.clone()?;
        if matches!(&*name, "stop" | "start" | "demote" | "promote" | "reload-agent" | "migrate_to" | "migrate_from") {
            self.error(format!("Ignoring {id} because {name} action cannot be recurring"));
            return None;
        }
        let conf = Rc::clone(&self[rsc].conf);
        let same = conf
            .ops
            .iter()
            .filter(|o| o.name.as_ref() == Some(&name) && o.interval_ms == op.interval_ms && o.id.is_some());
        if let [first, second, ..] = same.collect::<Vec<_>>()[..] {
            let (first, second) =
                (first.id.clone().unwrap_or_else(|| id.clone()), second.id.clone().unwrap_or_else(|| id.clone()));
            self.error(format!(
                "Operation {second} is duplicate of {first} (do not use same name and interval combination more than once per resource)"
            ));
            return None;
        }
        let role = match &op.role {
            None => Role::Unknown,
            Some(text) => match Role::parse(text) {
                Role::Unknown => {
                    self.error(format!("Ignoring {id} role because {text} is not a valid role"));
                    return None;
                }
                role => role,
            },
        };
        self.find_op_config(rsc, &name, op.interval_ms, false)?;
        Some(Recurring { key: self.key(rsc, &name, op.interval_ms), name, role, interval_ms: op.interval_ms })
    }

    pub(super) fn create_recurring_actions(&mut self, rsc: RscIdx) {
        if self[rsc].is(rf::BLOCKED | rf::MAINTENANCE) {
            return;
        }
        let node = self[rsc].assigned.map(|a| a.node);
        let runs = self[rsc].next_role != Role::Stopped || !self[rsc].is(rf::MANAGED);
        let start = node.filter(|n| !self[*n].maintenance && runs).map(|n| self.start_action(rsc, Some(n), true));
        let conf = Rc::clone(&self[rsc].conf);
        for op in &conf.ops {
            let Some(op) = self.recurring_config(rsc, op) else { continue };
            if let Some(start) = start {
                self.recur_while_active(rsc, start, node, &op);
            }
            self.recur_while_stopped(rsc, node, &op);
        }
    }

    fn runs_already(&mut self, rsc: RscIdx, node: Option<NodeIdx>, key: &str, start: ActIdx) -> bool {
        if node.is_none() || self.action_flags(start, None) & act::OPTIONAL == 0 {
            return false;
        }
        let found = self.find_actions_exact(rsc, key, node);
        !found.is_empty() && !found.iter().any(|a| self[*a].is(act::RESCHEDULE))
    }

    fn recur_while_active(&mut self, rsc: RscIdx, start: ActIdx, node: Option<NodeIdx>, op: &Recurring) {
        if op.role == Role::Stopped {
            return;
        }
        let optional = self.runs_already(rsc, node, &op.key, start);
        let next = self[rsc].next_role;
        let fits = if op.role == Role::Unknown { next != Role::Promoted } else { next == op.role };
        if !fits {
            if optional {
                self.cancel_for_role(rsc, node, op);
            }
            return;
        }
        let mon = self.custom_action(Some(rsc), op.key.clone(), &op.name, node, optional);
        let usable = node.is_some_and(|n| self[n].online && !self[n].unclean);
        if !self[start].is(act::RUNNABLE) || !usable {
            self[mon].flags &= !act::RUNNABLE;
        }
        if next == Role::Promoted {
            self.set_action_meta(mon, "op_target_rc", "8");
        }
        if node.is_none() || self[rsc].is(rf::MANAGED) {
            for task in ["start", "reload-agent"] {
                self.order_task_then(rsc, task, mon, rel::FIRST_IMPLIES_THEN | rel::UNRUNNABLE_FIRST_BLOCKS);
            }
            if next == Role::Promoted {
                self.order_task_then(rsc, "promote", mon, rel::ORDERED | rel::UNRUNNABLE_FIRST_BLOCKS);
            } else if self[rsc].orig_role == Role::Promoted {
                self.order_task_then(rsc, "demote", mon, rel::ORDERED | rel::UNRUNNABLE_FIRST_BLOCKS);
            }
        }
    }

    fn cancel_for_role(&mut self, rsc: RscIdx, node: Option<NodeIdx>, op: &Recurring) {
        let cancel = self.cancel_action(rsc, &op.name, op.interval_ms, node);
        let after = match (self[rsc].orig_role, self[rsc].next_role) {
            (Role::Unpromoted | Role::Started, Role::Promoted) => "promote",
            (Role::Unpromoted | Role::Started, Role::Stopped) => "stop",
            (Role::Promoted, _) => "demote",
            _ => return,
        };
        self.order_then_task(cancel, rsc, after, rel::UNRUNNABLE_FIRST_BLOCKS);
    }

    /// Monitors that watch over a resource's absence, on all nodes but its own.
    fn recur_while_stopped(&mut self, rsc: RscIdx, node: Option<NodeIdx>, op: &Recurring) {
        if op.role != Role::Stopped || !self[rsc].is(rf::UNIQUE) {
            return;
        }
        for stop_node in self.node_order.clone() {
            if node == Some(stop_node) {
                self.cancel_if_running(rsc, stop_node, op);
                continue;
            }
            let optional = !self.find_actions_exact(rsc, &op.key, Some(stop_node)).is_empty();
            let mon = self.custom_action(Some(rsc), op.key.clone(), &op.name, Some(stop_node), optional);
            self.set_action_meta(mon, "op_target_rc", "7");
            if self[rsc].is(rf::MANAGED) {
                for probe in self.actions_of(rsc, Some(stop_node), "monitor", false) {
                    self.order_actions(probe, mon, rel::UNRUNNABLE_FIRST_BLOCKS);
                }
            }
            self.order_after_stops(rsc, stop_node, mon);
            if !self[stop_node].online || self[stop_node].unclean {
                self[mon].flags &= !act::RUNNABLE;
            }
        }
    }

    fn cancel_if_running(&mut self, rsc: RscIdx, node: NodeIdx, op: &Recurring) {
        if self.find_actions_exact(rsc, &op.key, Some(node)).is_empty() {
            return;
        }
        let cancel = self.cancel_action(rsc, &op.name, op.interval_ms, Some(node));
        if matches!(self[rsc].next_role, Role::Started | Role::Unpromoted) {
            self.order_then_task(cancel, rsc, "start", rel::UNRUNNABLE_FIRST_BLOCKS);
        }
    }

    fn order_after_stops(&mut self, rsc: RscIdx, node: NodeIdx, action: ActIdx) {
        let managed = self[rsc].is(rf::MANAGED);
        for stop in self.actions_of(rsc, Some(node), "stop", true) {
            if !self[stop].is(act::OPTIONAL) && !self[action].is(act::OPTIONAL) && !managed {
                self[action].flags |= act::OPTIONAL;
            }
            if !self[stop].is(act::RUNNABLE) {
                self[action].flags &= !act::RUNNABLE;
            }
            if managed {
                let first = Side { rsc: Some(rsc), key: Some(self.key(rsc, "stop", 0)), action: Some(stop) };
                self.new_ordering(first, Side::of(action), rel::FIRST_IMPLIES_THEN | rel::UNRUNNABLE_FIRST_BLOCKS);
            }
        }
    }

    pub(super) fn cancel_action(&mut self, rsc: RscIdx, task: &str, interval_ms: u64, node: Option<NodeIdx>) -> ActIdx {
        let a = self.custom_action(Some(rsc), self.key(rsc, task, interval_ms), "cancel", node, false);
        self[a].task = "cancel".into();
        self[a].cancel_task = Some(task.into());
        self.set_action_meta(a, "operation", task);
        self.set_action_meta(a, "interval", &interval_ms.to_string());
        a
    }

    pub(super) fn schedule_cancel(
        &mut self,
        rsc: RscIdx,
        call_id: Option<&str>,
        task: &str,
        interval_ms: u64,
        node: NodeIdx,
    ) {
        let cancel = self.cancel_action(rsc, task, interval_ms, Some(node));
        if let Some(call_id) = call_id {
            self.set_action_meta(cancel, "call-id", call_id);
        }
        let first = Side { rsc: Some(rsc), key: Some(self.key(rsc, "stop", 0)), action: None };
        self.new_ordering(first, Side { rsc: Some(rsc), key: None, action: Some(cancel) }, rel::ORDERED);
    }

    pub(super) fn reschedule_recurring(&mut self, rsc: RscIdx, task: &str, interval_ms: u64, node: NodeIdx) {
        self.trigger_unfencing(Some(rsc), Some(node), "Device parameters changed (reschedule)", None);
        let a = self.custom_action(Some(rsc), self.key(rsc, task, interval_ms), task, Some(node), true);
        self[a].flags |= act::RESCHEDULE;
    }
}
