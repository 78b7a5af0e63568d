//! Configuration that has changed since an operation ran: restart, reload, or run it again.

use crate::digest::Match;
use crate::model::flags::{rel, rsc as rf};
use crate::model::{NodeIdx, RscIdx, Sched, Side};
use crate::unpack::history::{OpRef, ParamCheck, active_range};

impl Sched {
    /// Compares the history of every usable node with the configuration.
    pub fn handle_config_changes(&mut self) {
        for node in self.node_order.clone() {
            if !self[node].maintenance && !self.node_available(node) {
                continue;
            }
            let name = self[node].name.clone();
            let states: Vec<u32> = (0..self.history.states.len() as u32)
                .filter(|s| self.history.states[*s as usize].name.as_ref() == Some(&name))
                .collect();
            let [state] = states[..] else { continue };
            for at in 0..self.history.states[state as usize].resources.len() as u32 {
                let entry = self.history.rsc(state, at);
                let Some(id) = entry.id.clone().filter(|_| entry.has_entries) else { continue };
                for rsc in self.resources_of_history(&id) {
                    if self[rsc].is_primitive() {
                        self.compare_history(rsc, node, state, at);
                    }
                }
            }
        }
    }

    /// All resources that an id in a history can mean, the last one first.
    fn resources_of_history(&self, id: &str) -> Vec<RscIdx> {
        let Some(list) = self.rsc_by_id.get(id) else { return Vec::new() };
        let fits = |r: &&RscIdx| *self[**r].id == *id || self[**r].history_id.as_deref() == Some(id);
        list.iter().filter(fits).copied().rev().collect()
    }

    fn agent_changed(&mut self, rsc: RscIdx, node: NodeIdx, state: u32, at: u32, active: bool) -> bool {
        let entry = self.history.rsc(state, at);
        let conf = &self[rsc].conf;
        let differing = [
            (conf.agent.as_ref(), entry.attr("type")),
            (conf.class.as_ref(), entry.attr("class")),
            (conf.provider.as_ref(), entry.attr("provider")),
        ];
        let changes = differing.iter().filter(|(a, b)| a != b).count();
        for _ in 0..changes {
            self.trigger_unfencing(Some(rsc), Some(node), "Device definition changed", None);
        }
        if changes > 0 && active {
            self.custom_action(Some(rsc), self.key(rsc, "stop", 0), "stop", Some(node), false);
            self.set(rsc, rf::START_PENDING);
        }
        changes > 0
    }

    fn compare_history(&mut self, rsc: RscIdx, node: NodeIdx, state: u32, at: u32) {
        if self[rsc].is(rf::REMOVED) {
            if !self.is_anonymous_clone(Some(self.top_of(rsc, false))) {
                self.schedule_cleanup(rsc, node, false);
            }
            return;
        }
        let active = self[rsc].active_nodes.contains(&node);
        if self.agent_changed(rsc, node, state, at, active) {
            self.schedule_cleanup(rsc, node, false);
        }
        if !active {
            return;
        }
        let order = self.history.rsc(state, at).sorted();
        let ops: Vec<_> = order.iter().map(|o| &self.history.rsc(state, at).ops[*o as usize]).collect();
        let (start, stop) = active_range(&ops);
        if start < stop {
            return;
        }
        for (i, op) in order.into_iter().enumerate() {
            if i as i32 >= start {
                self.compare_entry(rsc, node, OpRef { state, rsc: at, op });
            }
        }
    }

    fn compare_entry(&mut self, rsc: RscIdx, node: NodeIdx, at: OpRef) {
        let entry = self.history.op(at);
        let (interval, Some(task)) = (entry.interval_ms, entry.task.clone()) else { return };
        if interval > 0 && (self[rsc].is(rf::MAINTENANCE) || self[node].maintenance) {
            let call_id = entry.call_id_text.clone();
            self.schedule_cancel(rsc, call_id.as_deref(), &task, interval, node);
            return;
        }
        // The original does not compare what a demotion ran with: a change of parameters whose demotion is done, and whose transition
        // gave way to another one, would be forgotten.
        let matters =
            ["monitor", "start", "promote", "demote", "migrate_from"].iter().any(|t| task.eq_ignore_ascii_case(t));
        if interval == 0 && !matters {
            return;
        }
        if self.needs_remote_name(rsc) {
            self.param_checks.push(ParamCheck { rsc, node, op: at, last_failure: false });
        } else if self.check_op_config(rsc, node, at) && self.fail_count(node, rsc, true, false, None).0 != 0 {
            self.clear_fail_count(rsc, node);
        }
    }

    /// A check that had to wait until bundles had their hosts.
    pub(super) fn check_parameters(&mut self, check: ParamCheck) {
        let ParamCheck { rsc, node, op, last_failure } = check;
        let clear = if last_failure {
            !matches!(self.compare_digest(rsc, node, op), Match::Unknown | Match::Same)
        } else {
            self.check_op_config(rsc, node, op) && self.fail_count(node, rsc, true, false, None).0 != 0
        };
        if clear {
            self.clear_fail_count(rsc, node);
        }
    }

    /// True if the operation's configuration has changed; schedules what that calls for.
    fn check_op_config(&mut self, rsc: RscIdx, node: NodeIdx, at: OpRef) -> bool {
        let entry = self.history.op(at);
        let interval = entry.interval_ms;
        let Some(task) = entry.task.clone() else { return false };
        let restarts = entry.restart_digest.is_some();
        let call_id = entry.call_id_text.clone();
        if interval > 0 && self.find_op_config(rsc, &task, interval, false).is_none() {
            if self.options.cancel_removed_actions {
                self.schedule_cancel(rsc, call_id.as_deref(), &task, interval, node);
            }
            return true;
        }
        let task = match &*task {
            "monitor" | "migrate_from" | "promote" | "demote" if interval == 0 => "start".into(),
            _ => task,
        };
        if self.only_secrets_changed(rsc, node, at) {
            let magic = self.history.op(at).magic.clone();
            let text = format!(
                "Only 'private' parameters to {}-interval {task} for {} on {} changed: {}",
                readable(interval),
                self[rsc].id,
                self[node].name,
                magic.as_deref().unwrap_or_default()
            );
            self.info.push(text);
            return false;
        }
        match self.compare_digest(rsc, node, at) {
            Match::Same => return false,
            Match::Restart => self.force_restart(rsc, &task, interval, node),
            _ if interval > 0 => self.reschedule_recurring(rsc, &task, interval, node),
            _ if restarts => {
                self.trigger_unfencing(Some(rsc), Some(node), "Device parameters changed (reload)", None);
                self.schedule_reload(rsc, node);
            }
            _ => self.force_restart(rsc, &task, interval, node),
        }
        true
    }

    fn force_restart(&mut self, rsc: RscIdx, task: &str, interval: u64, node: NodeIdx) {
        let required = self.custom_action(Some(rsc), self.key(rsc, task, interval), task, None, false);
        self.set_reason(required, "resource definition change", true);
        self.trigger_unfencing(Some(rsc), Some(node), "Device parameters changed", None);
    }

    fn schedule_reload(&mut self, rsc: RscIdx, node: NodeIdx) {
        if !self[rsc].is(rf::MANAGED) || self[rsc].is(rf::FAILED) {
            return;
        }
        if self[rsc].is(rf::START_PENDING) {
            self.custom_action(Some(rsc), self.key(rsc, "stop", 0), "stop", Some(node), false);
            return;
        }
        self.set(rsc, rf::RELOAD);
        let reload = self.custom_action(Some(rsc), self.key(rsc, "reload-agent", 0), "reload-agent", Some(node), false);
        self.set_reason(reload, "resource definition change", false);
        for task in ["stop", "demote"] {
            let then = Side { rsc: Some(rsc), key: Some(self.key(rsc, task, 0)), action: None };
            self.new_ordering(Side::of(reload), then, rel::ORDERED | rel::THEN_CANCELS_FIRST);
        }
    }

    /// Schedules the removal of a resource's history from a node.
    fn schedule_cleanup(&mut self, rsc: RscIdx, node: NodeIdx, optional: bool) {
        if self[rsc].is(rf::FAILED) || self[node].unclean || !self[node].online {
            return;
        }
        let flags = if optional { rel::FIRST_IMPLIES_THEN } else { rel::ORDERED };
        self.custom_action(Some(rsc), self.key(rsc, "delete", 0), "delete", Some(node), optional);
        self.order_tasks(rsc, "stop", rsc, "delete", flags);
        self.order_tasks(rsc, "delete", rsc, "start", flags);
    }
}

/// An interval in the units that people say it in, `1m30s`.
fn readable(interval_ms: u64) -> String {
    let mut rest = interval_ms;
    let mut text = String::new();
    for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest / ms > 0 {
            text += &format!("{}{unit}", rest / ms);
            rest %= ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
