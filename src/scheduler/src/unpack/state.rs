//! Node states: who is online, clean, pending; then the resources' histories, node by node, in the order that guests and
//! remote nodes need.

use super::history::{Histories, OpRef, active_range};
use crate::explain::ledger::Source;
use crate::model::config::RscConfig;
use crate::model::flags::{act, rsc as rf};
use crate::model::options::NoQuorum;
use crate::model::{INFINITY, Index, Map, MultiplyActive, NodeIdx, OnFail, RscIdx, Sched, Str, TicketState, base_name};
use crate::status::Role;
use base::WallTime;
use base::text::{is_true, parse_int};
use std::rc::Rc;
use xml::Element;

/// Milliseconds as seconds, rounded, but never less than one second for what is not zero.
pub fn ms_to_s(ms: u64) -> i64 {
    match ms {
        0 => 0,
        1..1000 => 1,
        _ => ((ms + 500) / 1000) as i64,
    }
}

impl Sched {
    pub(super) fn unpack_status(&mut self, section: Option<&Element>, index: &Index<'_>, now: WallTime) {
        let Some(section) = section else { return };
        self.history = Histories::read(Some(section));
        let mut number = 0u32;
        let mut transient: Vec<Option<&Element>> = Vec::new();
        for e in section.elements() {
            match e.name() {
                "tickets" => {
                    for t in e.elements_named("ticket_state") {
                        self.unpack_ticket_state(t);
                    }
                }
                "node_state" => {
                    transient.push(e.child("transient_attributes"));
                    self.unpack_node_state(number, e.child("transient_attributes"), index, now);
                    number += 1;
                }
                _ => {}
            }
        }
        // Guests can only be read after what runs them, so passes go on until nothing new turns up.
        while self.unpack_histories(false, &transient, index, now) {}
        self.unpack_histories(self.options.fencing_enabled, &transient, index, now);
        for container in std::mem::take(&mut self.stop_needed).into_iter().rev() {
            if let Some(node) = self.current_node(container) {
                self.stop_action(container, Some(node), false);
            }
        }
        for node in self.node_order.clone() {
            if !self[node].is_remote_kind {
                continue;
            }
            if let Some(remote) = self[node].remote.filter(|_| self[node].shutdown) {
                self.set_next_role(remote, Role::Stopped);
            }
            if !self[node].unpacked {
                self.determine_remote_online(node);
            }
        }
    }

    fn unpack_ticket_state(&mut self, e: &Element) {
        let Some(id) = e.id().filter(|id| !id.is_empty()) else { return };
        let attrs: Map = e.shared_attrs().filter(|(n, _)| **n != *"id").collect();
        let ticket = TicketState {
            granted: e.attr("granted").is_some_and(is_true),
            standby: e.attr("standby").is_some_and(is_true),
            last_granted: e.attr("last-granted").and_then(parse_int),
            attrs,
        };
        self.tickets.insert(id.into(), ticket);
    }

    fn node_of_state(&self, state: u32) -> Option<NodeIdx> {
        let s = &self.history.states[state as usize];
        s.id.as_ref()
            .and_then(|id| self.find_node_by_id(id))
            .or_else(|| s.name.as_ref().and_then(|n| self.find_node(n)))
    }

    fn unpack_node_state(&mut self, state: u32, transient: Option<&Element>, index: &Index<'_>, now: WallTime) {
        if self.history.states[state as usize].id.is_none() {
            self.error("Ignoring invalid node_state entry without id");
            return;
        }
        let Some(node) = self.node_of_state(state) else { return };
        if self[node].is_remote_kind {
            self[node].remote_fenced = self.history.states[state as usize].fenced;
            return;
        }
        self.unpack_transient(transient, node, index, now);
        self[node].unclean = false;
        self[node].seen = true;
        self.determine_online(state, node);
        if !self.quorate && self[node].online && self.options.no_quorum == NoQuorum::Fence {
            self.fence_node(node, "cluster does not have quorum", false);
        }
    }

    fn unpack_transient(&mut self, transient: Option<&Element>, node: NodeIdx, index: &Index<'_>, now: WallTime) {
        let nothing = Element::new("transient_attributes");
        self.add_node_attrs(transient.unwrap_or(&nothing), node, true, index, now);
        let on = |s: &Sched, name: &str| s[node].attrs.get(name).is_some_and(|v| is_true(v));
        if on(self, "standby") {
            self[node].standby = true;
        }
        if on(self, "maintenance") {
            self[node].maintenance = true;
        }
    }

    fn unpack_remote_attrs(
        &mut self,
        state: u32,
        node: NodeIdx,
        transient: Option<&Element>,
        index: &Index<'_>,
        now: WallTime,
    ) {
        self[node].remote_maint = self.history.states[state as usize].in_maintenance;
        if !self[node].remote_reset {
            self[node].unclean = false;
            self[node].seen = true;
        }
        self.unpack_transient(transient, node, index, now);
        if self.shutdown_requested(node) {
            self[node].shutdown = true;
        }
        if self[node].remote.is_some_and(|r| !self[r].is(rf::MANAGED)) {
            self[node].maintenance = true;
        }
        let discovery = self[node].attrs.get("resource-discovery-enabled").is_some_and(|v| !is_true(v));
        if discovery && (self.is_guest(node) || self.options.fencing_enabled) {
            self[node].probes_allowed = false;
        }
    }

    /// One pass over the histories that can be read by now; true if any could.
    fn unpack_histories(
        &mut self,
        all: bool,
        transient: &[Option<&Element>],
        index: &Index<'_>,
        now: WallTime,
    ) -> bool {
        let mut progress = false;
        for state in 0..self.history.states.len() as u32 {
            let s = &self.history.states[state as usize];
            if s.id.is_none() || s.name.is_none() {
                continue;
            }
            let Some(node) = self.node_of_state(state) else { continue };
            if self[node].unpacked || !(all || self.can_unpack_history(node)) {
                continue;
            }
            if self[node].is_remote_kind {
                self.determine_remote_online(node);
                self.unpack_remote_attrs(state, node, transient.get(state as usize).copied().flatten(), index, now);
            }
            self[node].unpacked = true;
            self.unpack_node_history(state, node);
            progress = true;
        }
        progress
    }

    fn unpack_node_history(&mut self, state: u32, node: NodeIdx) {
        let mut removed_launched = false;
        for at in 0..self.history.states[state as usize].resources.len() as u32 {
            if let Some(rsc) = self.unpack_resource_history(state, at, node) {
                removed_launched |= self[rsc].is(rf::REMOVED_LAUNCHED);
            }
        }
        if removed_launched {
            for at in 0..self.history.states[state as usize].resources.len() as u32 {
                self.link_removed_launched(state, at);
            }
        }
    }

    fn link_removed_launched(&mut self, state: u32, at: u32) {
        let entry = self.history.rsc(state, at);
        let (Some(container), Some(id)) = (entry.attr("container").cloned(), entry.id.clone()) else { return };
        let (Some(launcher), Some(rsc)) = (self.find_resource(&container), self.find_resource(&id)) else { return };
        if self[rsc].launcher.is_none() && self[rsc].is(rf::REMOVED_LAUNCHED) {
            self[rsc].launcher = Some(launcher);
            self[launcher].launched.push(rsc);
        }
    }

    fn unpack_resource_history(&mut self, state: u32, at: u32, node: NodeIdx) -> Option<RscIdx> {
        let Some(id) = self.history.rsc(state, at).id.clone() else {
            self.error("Ignoring invalid lrm_resource entry: No id");
            return None;
        };
        let empty = self.history.rsc(state, at).ops.is_empty();
        if empty && !self.options.shutdown_lock {
            return None;
        }
        let rsc = match self.resource_of_history(node, &id) {
            Some(rsc) => rsc,
            None if empty => return None,
            None => self.create_removed(state, at, &id)?,
        };
        if self.options.shutdown_lock {
            self.unpack_shutdown_lock(state, at, rsc, node);
        }
        let saved_role = self[rsc].orig_role;
        self[rsc].orig_role = Role::Unknown;
        let order = self.history.rsc(state, at).sorted();
        let (mut last_failure, mut on_fail) = (None, OnFail::Ignore);
        for op in &order {
            self.unpack_op(rsc, node, OpRef { state, rsc: at, op: *op }, &mut last_failure, &mut on_fail);
        }
        let entry = self.history.rsc(state, at);
        let ops: Vec<_> = order.iter().map(|o| &entry.ops[*o as usize]).collect();
        let (start, stop) = active_range(&ops);
        self.recreate_recurring(rsc, node, (state, at), &order, start, stop);
        self.process_state(rsc, node, on_fail);
        if let Some(role) = self.target_role(rsc)
            && (self[rsc].next_role == Role::Unknown || role < self[rsc].next_role)
        {
            self.set_next_role(rsc, role);
        }
        if saved_role > self[rsc].orig_role {
            self[rsc].orig_role = saved_role;
        }
        Some(rsc)
    }

    fn unpack_shutdown_lock(&mut self, state: u32, at: u32, rsc: RscIdx, node: NodeIdx) {
        let Some(since) = self.history.rsc(state, at).shutdown_lock.filter(|t| *t != 0) else { return };
        let limit = self.options.shutdown_lock_ms;
        if limit > 0 && self.now > since + ms_to_s(limit) {
            self.clear_history(rsc, node);
        } else {
            self[rsc].lock_node = Some(node);
            self[rsc].lock_time = since;
        }
    }

    /// Which configured resource (or instance) an entry of a node's history belongs to.
    fn resource_of_history(&mut self, node: NodeIdx, id: &Str) -> Option<RscIdx> {
        let mut found = self.find_resource(id);
        let parent = match found {
            Some(rsc) if !self[rsc].is_primitive() => return None,
            Some(rsc) => Some(self.uber_parent(rsc)),
            None => {
                let zero = self.find_resource(&format!("{}:0", base_name(id))).filter(|z| !self[*z].is(rf::UNIQUE));
                found = zero;
                zero.map(|z| self.uber_parent(z))
            }
        };
        if let Some(parent) = parent.filter(|p| self.is_anonymous_clone(Some(*p))) {
            found = if self.is_bundled(parent) {
                let replicas = self[parent].parent.map(|b| self[b].bundle.replicas.clone()).unwrap_or_default();
                replicas.iter().find(|r| r.node == Some(node)).and_then(|r| r.child)
            } else {
                self.anonymous_instance(node, parent, base_name(id))
            };
        }
        let rsc = found?;
        if **id != *self[rsc].id && self[rsc].history_id.as_ref() != Some(id) {
            self.set_history_id(rsc, Some(id));
        }
        Some(rsc)
    }

    /// The instance of an anonymous clone that takes what a node's history says: one that is known there, an unused one,
    /// or a new one.
    fn anonymous_instance(&mut self, node: NodeIdx, parent: RscIdx, id: &str) -> Option<RscIdx> {
        let (mut found, mut inactive, mut skip_inactive) = (None, None, false);
        for child in self[parent].children.clone() {
            if found.is_some() {
                break;
            }
            let places = self.places(child);
            if let Some(first) = places.first() {
                if *first == node {
                    found = self.find_clone_member(child, id, None);
                    if found.is_some_and(|r| !self[r].active_nodes.is_empty()) {
                        // Active there twice: an error that the extra instance will show.
                        skip_inactive = true;
                        found = None;
                    }
                }
            } else if !skip_inactive && inactive.is_none() && !self[child].is(rf::BLOCKED) {
                inactive = self.find_clone_member(child, id, None);
                if inactive.is_some_and(|r| self[r].pending_node.is_some_and(|p| p != node)) {
                    inactive = None;
                }
            }
        }
        if found.is_none() && !skip_inactive {
            found = inactive;
        }
        let unusable = !self[node].online || self[node].unclean;
        if found.is_some_and(|r| !self[r].is(rf::NEEDS_FENCING))
            && unusable
            && !self.is_guest(node)
            && !self.is_universal_clone(parent)
        {
            found = None;
        }
        found.or_else(|| {
            let top = self.create_clone_child(parent)?;
            self.find_clone_member(top, id, None)
        })
    }

    /// Nodes where a resource is active or about to be.
    fn places(&self, rsc: RscIdx) -> Vec<NodeIdx> {
        let mut all = Vec::new();
        if self[rsc].children.is_empty() {
            all.extend(self[rsc].active_nodes.iter().copied());
            all.extend(self[rsc].pending_node.filter(|n| !self[rsc].active_nodes.contains(n)));
        } else {
            for child in &self[rsc].children {
                for node in self.places(*child) {
                    if !all.contains(&node) {
                        all.push(node);
                    }
                }
            }
        }
        all
    }

    /// A resource that is active but configured no more.
    fn create_removed(&mut self, state: u32, at: u32, id: &Str) -> Option<RscIdx> {
        let attrs = Rc::clone(&self.history.rsc(state, at).attrs);
        let launched = self.history.rsc(state, at).attr("container").is_some();
        let rsc = self.unpack_resource(Rc::new(RscConfig::bare(id, &attrs)), None, None)?;
        if self[rsc].conf.is_remote() {
            let node = match self.find_node(id) {
                Some(node) => node,
                None => self.create_node(id, id, true, 0),
            };
            self.link_remote_node(rsc);
            self[node].shutdown = true;
        }
        if launched {
            self.set(rsc, rf::REMOVED_LAUNCHED);
        }
        self.set(rsc, rf::REMOVED);
        self.top.push(rsc);
        if self.options.stop_removed_resources {
            self.add_location(rsc, None, -INFINITY, "__removed_do_not_run__");
        } else {
            self.clear(rsc, rf::MANAGED);
        }
        Some(rsc)
    }

    /// Active recurring operations become optional actions, so that they can be told from new ones.
    fn recreate_recurring(&mut self, rsc: RscIdx, node: NodeIdx, at: (u32, u32), order: &[u32], start: i32, stop: i32) {
        for (i, op) in order.iter().enumerate() {
            let i = i as i32;
            if !self[node].online {
                break;
            }
            if (start < stop && i <= stop) || i < start {
                continue;
            }
            let entry = self.history.op(OpRef { state: at.0, rsc: at.1, op: *op });
            if entry.interval_ms == 0 || entry.status == Some(-1) {
                continue;
            }
            let (task, interval) = (entry.task.clone().unwrap_or_else(|| "".into()), entry.interval_ms);
            let key = self.key(rsc, &task, interval);
            self.custom_action(Some(rsc), key, &task, Some(node), true);
        }
    }

    /// Acts on what the history of a resource on a node came to.
    fn process_state(&mut self, rsc: RscIdx, node: NodeIdx, on_fail: OnFail) {
        let known_active = self[rsc].orig_role > Role::Stopped;
        if self[rsc].orig_role != Role::Unknown {
            let mut at = Some(rsc);
            while let Some(r) = at {
                self[r].probed.insert(node);
                at = if self[r].is(rf::UNIQUE) { None } else { self[r].parent };
            }
        }
        if known_active && !self[node].online && !self[node].maintenance && self[rsc].is(rf::MANAGED) {
            self.fence_for_active(rsc, node);
        }
        let effective = if self[node].unclean { OnFail::Ignore } else { on_fail };
        self.apply_on_fail(rsc, node, effective, known_active);
        if self[rsc].is(rf::FAILED) && self[rsc].is(rf::REMOTE_CONNECTION) {
            let id = self[rsc].id.clone();
            if let Some(n) = self.find_node(&id).filter(|n| self[*n].unclean) {
                self[n].seen = true;
            }
        }
        if known_active {
            self.add_running(rsc, node, on_fail != OnFail::Ignore);
            match effective {
                OnFail::Ignore => {}
                OnFail::Demote | OnFail::Block => self.set(rsc, rf::FAILED),
                _ => self.set(rsc, rf::FAILED | rf::STOP_IF_FAILED),
            }
        } else if self[rsc].history_id.as_ref().is_some_and(|h| h.contains(':')) {
            // An anonymous instance that is not active here does not need its number from the history.
            self.set_history_id(rsc, None);
        } else {
            for stop in self.actions_of(rsc, Some(node), "stop", false) {
                self[stop].flags |= act::OPTIONAL;
            }
        }
        if self[rsc].orig_role == Role::Stopped
            && !self[rsc].active_nodes.is_empty()
            && self[rsc].partial_migration_target.is_some()
            && self[rsc].partial_migration_source == Some(node)
        {
            self[rsc].orig_role = Role::Started;
        }
    }

    fn fence_for_active(&mut self, rsc: RscIdx, node: NodeIdx) {
        let id = self[rsc].id.clone();
        let mut reason = format!("{id} is thought to be active there");
        if self.is_guest(node) {
            self.set(rsc, rf::FAILED | rf::STOP_IF_FAILED);
        } else if self.options.fencing_enabled {
            if self.is_remote(node) && self[node].remote.is_some_and(|r| !self[r].is(rf::FAILED)) {
                self[node].seen = false;
                reason = format!(
                    "{id} is active there (fencing will be revoked if remote connection can be re-established elsewhere)"
                );
            }
        } else {
            return;
        }
        self.fence_node(node, &reason, false);
    }

    fn apply_on_fail(&mut self, rsc: RscIdx, node: NodeIdx, on_fail: OnFail, known_active: bool) {
        match on_fail {
            OnFail::Ignore => {}
            OnFail::Demote => {
                self.set(rsc, rf::FAILED);
                self.demote_action(rsc, Some(node), false);
            }
            OnFail::Fence => {
                let reason = format!("{} failed there", self[rsc].id);
                self.fence_node(node, &reason, false);
            }
            OnFail::Standby => {
                self[node].standby = true;
                self[node].fail_standby = true;
            }
            OnFail::Block => {
                self.clear(rsc, rf::MANAGED);
                self.set(rsc, rf::BLOCKED);
            }
            OnFail::Ban => self.add_location(rsc, Some(node), -INFINITY, "__action_migration_auto__"),
            OnFail::Stop => self.set_next_role(rsc, Role::Stopped),
            OnFail::Restart => {
                if known_active {
                    self.set(rsc, rf::FAILED | rf::STOP_IF_FAILED);
                    self.stop_action(rsc, Some(node), false);
                }
            }
            OnFail::RestartContainer => {
                self.set(rsc, rf::FAILED | rf::STOP_IF_FAILED);
                match self[rsc].launcher {
                    Some(launcher) if self.is_bundled(rsc) => self.stop_needed.push(launcher),
                    Some(launcher) => {
                        self.stop_action(launcher, Some(node), false);
                    }
                    None if known_active => {
                        self.stop_action(rsc, Some(node), false);
                    }
                    None => {}
                }
            }
            OnFail::ResetRemote => self.reset_remote(rsc, node, known_active),
        }
    }

    fn reset_remote(&mut self, rsc: RscIdx, node: NodeIdx, known_active: bool) {
        self.set(rsc, rf::FAILED | rf::STOP_IF_FAILED);
        if self.options.fencing_enabled && self[rsc].is(rf::REMOTE_CONNECTION) {
            let id = self[rsc].id.clone();
            if let Some(n) =
                self.find_node(&id).filter(|n| self.is_remote(*n) && !self[*n].remote_fenced && self[*n].is_remote_kind)
            {
                self.fence_node(n, "remote connection is unrecoverable", false);
            }
        }
        if known_active {
            self.stop_action(rsc, Some(node), false);
        }
        if self[rsc].remote_reconnect_ms > 0 {
            self.set_next_role(rsc, Role::Stopped);
        }
    }

    /// Records that a resource is active on a node, and acts on what does not fit.
    pub(super) fn add_running(&mut self, rsc: RscIdx, node: NodeIdx, failed: bool) {
        if self[rsc].active_nodes.contains(&node) {
            return;
        }
        self[rsc].active_nodes.push(node);
        let parent = self[rsc].parent;
        if self[rsc].is_primitive() {
            self[node].running.push(rsc);
            self.add_priority_to_node(rsc, node, failed);
            if self[node].maintenance {
                self.clear(rsc, rf::MANAGED);
                self.set(rsc, rf::MAINTENANCE);
            }
        }
        if !self[rsc].is(rf::MANAGED) {
            self.add_location(rsc, Some(node), INFINITY, "not_managed_default");
            let mut at = parent;
            while let Some(p) = at {
                self[p].active_nodes.push(node);
                at = self[p].parent;
            }
            return;
        }
        if self[rsc].is_primitive() && self.active_count_by_requirement(rsc) > 1 {
            match self[rsc].multiply_active {
                MultiplyActive::Stop => {
                    let table = self.table_of_all(-INFINITY);
                    self.record_table(rsc, &table, &Source::Own("__multiple_active__"));
                    self[rsc].allowed = table;
                }
                MultiplyActive::Block => self.block_multiply_active(rsc),
                _ => {}
            }
        }
        if let Some(parent) = parent {
            self.add_running(parent, node, false);
        }
    }

    fn block_multiply_active(&mut self, rsc: RscIdx) {
        self.clear(rsc, rf::MANAGED);
        self.set(rsc, rf::BLOCKED);
        let Some(parent) = self[rsc].parent else { return };
        if (self.is_group(Some(parent)) || self.is_bundle(Some(parent)))
            && self[parent].multiply_active == MultiplyActive::Block
        {
            for child in self[parent].children.clone() {
                self.clear(child, rf::MANAGED);
                self.set(child, rf::BLOCKED);
            }
        }
    }

    fn add_priority_to_node(&mut self, rsc: RscIdx, node: NodeIdx, failed: bool) {
        if self[rsc].priority == 0 || failed {
            return;
        }
        let priority = self[rsc].priority + i32::from(self[rsc].orig_role == Role::Promoted);
        self[node].priority += priority;
        if let Some(launcher) = self.guest_launcher(node) {
            for host in self[launcher].active_nodes.clone() {
                self[host].priority += priority;
            }
        }
    }
}
