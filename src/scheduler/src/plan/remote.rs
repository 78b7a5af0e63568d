//! Actions on remote and guest nodes wait for the connection, and connections outlive what runs behind them.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Side, Str};
use crate::status::Role;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Connection {
    Unknown,
    Alive,
    /// Will be there again, but not now.
    Resting,
    Failed,
    Stopped,
}

impl Sched {
    fn connection_state(&self, node: NodeIdx, remote: RscIdx) -> Connection {
        let r = &self[remote];
        let host = self.current_node(remote);
        if r.next_role == Role::Stopped || r.assigned.is_none() {
            if host.is_some_and(|h| self[h].unclean) {
                return Connection::Failed;
            }
            if !r.is(rf::FAILED) {
                return Connection::Stopped;
            }
            let waits = r.next_role == Role::Stopped && r.remote_reconnect_ms > 0 && self[node].remote_fenced;
            return if waits && !self.shutdown_requested(node) { Connection::Unknown } else { Connection::Failed };
        }
        let Some(host) = host else { return Connection::Unknown };
        let migrating =
            r.active_nodes.len() > 1 && r.partial_migration_source.is_some() && r.partial_migration_target.is_some();
        if self[host].unclean || !self[host].online || migrating {
            return Connection::Resting;
        }
        Connection::Alive
    }

    pub(super) fn is_failed_remote(&self, node: NodeIdx) -> bool {
        self.is_remote(node) && self[node].remote.is_some_and(|r| self.connection_state(node, r) == Connection::Failed)
    }

    fn start_then(&mut self, first: RscIdx, then: ActIdx, extra: u32) {
        let first = Side { rsc: Some(first), key: Some(self.key(first, "start", 0)), action: None };
        self.new_ordering(first, Side::of(then), rel::GUEST_ALLOWED | rel::UNRUNNABLE_FIRST_BLOCKS | extra);
    }

    fn then_stop(&mut self, first: ActIdx, then: RscIdx, extra: u32) {
        self.order_then_task(first, then, "stop", rel::GUEST_ALLOWED | extra);
    }

    fn effective_task(&self, a: ActIdx) -> Str {
        match &*self[a].task {
            "migrate_to" | "migrate_from" => "stop".into(),
            _ => self[a].task.clone(),
        }
    }

    fn order_on_remote(&mut self, a: ActIdx, node: NodeIdx, remote: RscIdx) {
        let state = self.connection_state(node, remote);
        let recurring = self[a].interval_ms() > 0;
        match &*self.effective_task(a) {
            "start" | "promote" => {
                let extra = if state == Connection::Failed { rel::FIRST_IMPLIES_THEN } else { rel::NONE };
                self.start_then(remote, a, extra);
            }
            "stop" => match state {
                Connection::Alive => self.then_stop(a, remote, rel::THEN_IMPLIES_FIRST),
                Connection::Failed => {
                    self.fence_node(node, "resources are active but connection is unrecoverable", false)
                }
                _ if self[remote].next_role == Role::Stopped => self.then_stop(a, remote, rel::THEN_IMPLIES_FIRST),
                _ => self.start_then(remote, a, rel::NONE),
            },
            "demote" => {
                if matches!(state, Connection::Resting | Connection::Unknown) {
                    self.start_then(remote, a, rel::NONE);
                }
            }
            _ if recurring => self.start_then(remote, a, rel::FIRST_IMPLIES_THEN),
            task => {
                if task == "monitor" && state == Connection::Failed {
                    self.fence_node(node, "resources are in unknown state and connection is unrecoverable", false);
                }
                if self.current_node(remote).is_some() && state == Connection::Stopped {
                    self.then_stop(a, remote, rel::UNRUNNABLE_FIRST_BLOCKS);
                } else {
                    self.start_then(remote, a, rel::NONE);
                }
            }
        }
    }

    fn order_on_guest(&mut self, a: ActIdx, node: NodeIdx, remote: RscIdx, launcher: RscIdx) {
        if self[launcher].is(rf::FAILED) {
            self.fence_node(node, "container failed", false);
        }
        let recurring = self[a].interval_ms() > 0;
        match &*self.effective_task(a) {
            "start" | "promote" => {
                self.start_then(launcher, a, rel::FIRST_IMPLIES_THEN);
                self.start_then(remote, a, rel::NONE);
            }
            "stop" | "demote" => {
                // What runs on a failed guest is stopped by the guest's recovery.
                if !self[launcher].is(rf::FAILED) {
                    self.then_stop(a, remote, rel::NONE);
                }
            }
            task if recurring => {
                if crate::plan::notify::is_known_task(task) {
                    self.start_then(remote, a, rel::FIRST_IMPLIES_THEN);
                }
            }
            _ => self.start_then(remote, a, rel::NONE),
        }
    }

    pub fn order_remote_connection_actions(&mut self) {
        if !self.have_remote_nodes {
            return;
        }
        for a in (0..self.actions.len() as u32).rev().map(ActIdx) {
            let Some(rsc) = self[a].rsc else { continue };
            if self[rsc].is(rf::REMOTE_CONNECTION) && &*self[a].task == "clear_failcount" {
                self.order_then_task(a, rsc, "start", rel::ORDERED);
                continue;
            }
            let Some(node) = self[a].node.filter(|n| self[*n].is_remote_kind && !self[a].is(act::PSEUDO)) else {
                continue;
            };
            let Some(remote) = self[node].remote else { continue };
            if &*self[a].task == "start" {
                for other in self[rsc].actions.clone().into_iter().rev() {
                    if self[other].node != Some(node) && &*self[other].task == "stop" {
                        self.order_task_then(remote, "start", other, rel::ORDERED);
                    }
                }
            }
            match self[remote].launcher {
                Some(launcher) => self.order_on_guest(a, node, remote, launcher),
                None => self.order_on_remote(a, node, remote),
            }
        }
    }

    /// The cluster node through which an action on a remote node goes.
    pub fn router_of(&self, a: ActIdx) -> Option<NodeIdx> {
        let action = &self[a];
        let node = action.node.filter(|n| self[*n].is_remote_kind && &*action.task != "stonith")?;
        let remote = self[node].remote?;
        let began = self.current_node(remote);
        let ended = self[remote].assigned.map(|a| a.node);
        let (Some(began), Some(ended)) = (began, ended) else { return began.or(ended) };
        if began == ended {
            return Some(began);
        }
        let partial = self[remote].launcher.is_none() && self[remote].partial_migration_target.is_some();
        let task =
            if &*action.task == "notify" { action.meta("notify_operation").unwrap_or_default() } else { &action.task };
        let before_move =
            ["cancel", "stop", "demote", "migrate_from", "migrate_to"].iter().any(|t| task.eq_ignore_ascii_case(t));
        Some(if before_move && !partial { began } else { ended })
    }
}
