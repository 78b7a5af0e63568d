//! Live migrations in the history: two entries on two nodes that only together tell where the resource is.

use super::history::{OpRef, compare_ops, exec};
use super::operations::Judged;
use crate::model::flags::rsc as rf;
use crate::model::{NodeIdx, RscIdx, Sched, Str};
use crate::status::Role;
use std::cmp::Ordering;

const OK: i32 = 0;
const NOT_RUNNING: i32 = 7;

impl Sched {
    /// Nothing is known of the resource on the node but a lost result.
    fn unknown_on_node(&self, rsc: &str, node: &str) -> bool {
        !self.history.ops_of(node, rsc).iter().any(|o| self.history.op(*o).rc.is_some_and(|rc| rc != 193))
    }

    fn monitor_not_running_after(&self, rsc: &str, node: &str, op: OpRef) -> bool {
        self.history
            .find_op(rsc, "monitor", node, None, Some(NOT_RUNNING))
            .is_some_and(|m| compare_ops(self.history.op(m), self.history.op(op)) == Ordering::Greater)
    }

    fn non_monitor_after(&self, rsc: &str, node: &str, op: OpRef) -> bool {
        let Some((state, at)) = self.history.find_resource(node, rsc) else { return false };
        (0..self.history.rsc(state, at).ops.len() as u32).map(|n| OpRef { state, rsc: at, op: n }).any(|other| {
            let entry = self.history.op(other);
            other != op
                && matches!(entry.task(), "start" | "stop" | "migrate_to" | "migrate_from")
                && compare_ops(entry, self.history.op(op)) == Ordering::Greater
        })
    }

    fn newer_state(&self, rsc: &str, node: &str, to: Option<OpRef>, from: Option<OpRef>) -> bool {
        let Some(mut op) = from.or(to) else { return false };
        if let (Some(to), Some(_)) = (to, from)
            && self.history.op(op).migrate_source.as_deref().is_some_and(|s| s.eq_ignore_ascii_case(node))
        {
            op = to;
        }
        self.non_monitor_after(rsc, node, op) || self.monitor_not_running_after(rsc, node, op)
    }

    /// Source and target of a migration entry, if they fit the node that has it.
    fn migration_nodes(&mut self, h: &Judged, is_source: bool) -> Option<(Str, Str)> {
        let op = self.history.op(h.at);
        let (Some(source), Some(target)) = (op.migrate_source.clone(), op.migrate_target.clone()) else {
            self.error(format!("Ignoring resource history entry {} without migrate_source and migrate_target", h.id));
            return None;
        };
        let own = if is_source { &source } else { &target };
        if !own.eq_ignore_ascii_case(&self[h.node].name) {
            self.error(format!("Ignoring resource history entry {} because its nodes do not match", h.id));
            return None;
        }
        Some((source, target))
    }

    fn online_node(&self, name: &str) -> Option<NodeIdx> {
        self.find_node(name).filter(|n| self[*n].online)
    }

    pub(super) fn migrate_to_succeeded(&mut self, h: &Judged) {
        let Some((source, target)) = self.migration_nodes(h, true) else { return };
        let id = self[h.rsc].id.clone();
        let source_newer = self.non_monitor_after(&id, &source, h.at);
        let from = self.history.find_op(&id, "migrate_from", &target, Some(&source), None);
        let (mut from_rc, mut from_status) = (OK, exec::PENDING);
        if let Some(from) = from {
            if source_newer {
                return;
            }
            from_rc = self.history.op(from).rc.unwrap_or(from_rc);
            from_status = self.history.op(from).status.unwrap_or(from_status);
        }
        let target_newer = self.newer_state(&id, &target, Some(h.at), from);
        if source_newer && target_newer {
            return;
        }
        if from_rc == OK && from_status == exec::DONE {
            // Both sides succeeded, but the source was not told to stop yet.
            self[h.rsc].orig_role = Role::Stopped;
            self[h.rsc].dangling_migration_sources.push(h.node);
            return;
        }
        self[h.rsc].orig_role = Role::Started;
        let target_node = self.online_node(&target);
        let active_on_target = target_node.filter(|_| !target_newer);
        if from_status != exec::PENDING {
            match active_on_target {
                Some(node) => self.add_running(h.rsc, node, true),
                None => self.fail_migration(h.rsc),
            }
            return;
        }
        if target_node.is_some() && self.unknown_on_node(&id, &target) {
            return;
        }
        match active_on_target {
            Some(node) => {
                self.add_running(h.rsc, node, false);
                if let Some(source) = self.online_node(&source) {
                    self[h.rsc].partial_migration_target = Some(node);
                    self[h.rsc].partial_migration_source = Some(source);
                }
            }
            None if !source_newer => self.fail_migration(h.rsc),
            None => {}
        }
    }

    fn fail_migration(&mut self, rsc: RscIdx) {
        self.set(rsc, rf::FAILED | rf::STOP_IF_FAILED);
        self.clear(rsc, rf::MIGRATABLE);
    }

    pub(super) fn migrate_to_failed(&mut self, h: &Judged) {
        let Some((source, target)) = self.migration_nodes(h, true) else { return };
        self[h.rsc].orig_role = Role::Started;
        let id = self[h.rsc].id.clone();
        let from = self.history.find_op(&id, "migrate_from", &target, Some(&source), Some(OK));
        if !self.unknown_on_node(&id, &target) && !self.newer_state(&id, &target, Some(h.at), from) {
            if let Some(node) = self.online_node(&target) {
                self.add_running(h.rsc, node, false);
            }
        } else if !self.non_monitor_after(&id, &source, h.at) {
            self[h.rsc].dangling_migration_sources.push(h.node);
        }
    }

    pub(super) fn migrate_from_failed(&mut self, h: &Judged) {
        let Some((source, target)) = self.migration_nodes(h, false) else { return };
        self[h.rsc].orig_role = Role::Started;
        let id = self[h.rsc].id.clone();
        let to = self.history.find_op(&id, "migrate_to", &source, Some(&target), Some(OK));
        if !self.unknown_on_node(&id, &source)
            && !self.newer_state(&id, &source, to, Some(h.at))
            && let Some(node) = self.online_node(&source)
        {
            self.add_running(h.rsc, node, true);
        }
    }
}
