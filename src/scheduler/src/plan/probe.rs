//! Probes: one-off monitors that find out what is active where.

use crate::explain::ledger::{Change, Source};
use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, ProbeMode, RscIdx, Sched, Side, Variant};
use crate::status::Role;

impl Sched {
    pub(super) fn schedule_probes(&mut self) {
        for node in self.node_order.clone() {
            if !self[node].online {
                if self.is_failed_remote(node) {
                    self.fence_node(node, "the connection is unrecoverable", false);
                }
                continue;
            }
            if !self[node].unclean && self[node].probes_allowed {
                for rsc in self.top.clone() {
                    self.create_probe(rsc, node);
                }
            }
        }
    }

    fn create_probe(&mut self, rsc: RscIdx, node: NodeIdx) -> bool {
        match self[rsc].variant {
            Variant::Primitive | Variant::Group => self.probe_on_node(rsc, node),
            Variant::Clone => self.probe_clone(rsc, node),
            Variant::Bundle => self.probe_bundle(rsc, node),
        }
    }

    fn probe_list(&mut self, list: &[RscIdx], node: NodeIdx) -> bool {
        #[allow(clippy::unnecessary_fold, reason = "every one is probed; `any` would stop at the first")]
        list.iter().fold(false, |any, rsc| self.create_probe(*rsc, node) || any)
    }

    fn probed_on(&self, rsc: RscIdx, node: NodeIdx) -> bool {
        if self[rsc].children.is_empty() {
            self[rsc].probed.contains(&node)
        } else {
            self[rsc].children.iter().any(|c| self.probed_on(*c, node))
        }
    }

    fn probe_clone(&mut self, rsc: RscIdx, node: NodeIdx) -> bool {
        if self[rsc].is(rf::EXCLUSIVE_PROBES)
            && self[rsc].allowed.get(node).is_none_or(|a| a.probe_mode != ProbeMode::Exclusive)
        {
            self[rsc].allowed.remove(node);
            self.record(rsc, node, Change::Forget, &Source::Own("__exclusive_discovery__"));
            return false;
        }
        let mut children = self[rsc].children.clone();
        self.sort_by_number(&mut children);
        self[rsc].children = children.clone();
        if self[rsc].is(rf::UNIQUE) {
            return self.probe_list(&children, node);
        }
        let known = children.iter().copied().find(|c| self.probed_on(*c, node));
        let chosen = known.or_else(|| children.iter().copied().find(|c| self.location_of(*c, false) == Some(node)));
        chosen.or(children.first().copied()).is_some_and(|c| self.create_probe(c, node))
    }

    fn probe_bundle(&mut self, rsc: RscIdx, node: NodeIdx) -> bool {
        let mut any = false;
        let replicas = self[rsc].bundle.replicas.clone();
        for replica in &replicas {
            if let Some(ip) = replica.ip {
                any |= self.create_probe(ip, node);
            }
            if let Some(child) = replica.child.filter(|_| replica.node == Some(node)) {
                any |= self.create_probe(child, node);
            }
            if self.create_probe(replica.container, node) {
                any = true;
                if self[rsc].bundle.per_host == 1 {
                    for other in replicas.iter().filter(|o| o.container != replica.container) {
                        self.order_tasks(
                            replica.container,
                            "monitor",
                            other.container,
                            "start",
                            rel::ORDERED | rel::IF_ON_SAME_NODE,
                        );
                    }
                }
            }
            let Some(remote) = replica.remote else { continue };
            if self.create_probe(remote, node) {
                let key = self.key(remote, "monitor", 0);
                if let Some(probe) = self.find_first(remote, Some(&key), None, Some(node)) {
                    any = true;
                    let first = Side {
                        rsc: Some(replica.container),
                        key: Some(self.key(replica.container, "start", 0)),
                        action: None,
                    };
                    let then = Side { rsc: Some(remote), key: None, action: Some(probe) };
                    self.new_ordering(first, then, rel::NESTED_REMOTE_PROBE);
                }
            }
        }
        any
    }

    /// The guest will be down when probes would run.
    fn guest_will_stop(&self, node: NodeIdx, guest: RscIdx) -> bool {
        let g = &self[guest];
        let moves = g.orig_role > Role::Stopped && g.assigned.is_some_and(|a| !g.active_nodes.contains(&a.node));
        self[node].remote_reset || self[node].unclean || g.is(rf::FAILED) || g.next_role == Role::Stopped || moves
    }

    fn may_probe(&self, rsc: RscIdx, node: NodeIdx) -> bool {
        if !self.options.probe {
            return false;
        }
        if self[node].is_remote_kind {
            let hosts_guest = self.is_guest(node) && self.guest_connection(rsc).is_some();
            if self[rsc].is(rf::FENCE_DEVICE | rf::REMOTE_CONNECTION) || hosts_guest {
                return false;
            }
        }
        true
    }

    fn discovery_allows(&self, rsc: RscIdx, top: RscIdx, node: NodeIdx) -> bool {
        let mode = self[rsc].allowed.get(node).map(|a| a.probe_mode);
        if self[rsc].is(rf::EXCLUSIVE_PROBES) || self[top].is(rf::EXCLUSIVE_PROBES) {
            return mode == Some(ProbeMode::Exclusive);
        }
        mode.unwrap_or(self[node].base.probe_mode) != ProbeMode::Never
    }

    fn probe_on_node(&mut self, rsc: RscIdx, node: NodeIdx) -> bool {
        if !self.may_probe(rsc, node) {
            return false;
        }
        if !self[rsc].children.is_empty() {
            let children = self[rsc].children.clone();
            return self.probe_list(&children, node);
        }
        let inside = self[rsc].launcher.is_some() && !self[rsc].is(rf::REMOTE_CONNECTION);
        if inside || self[rsc].is(rf::REMOVED) || self[rsc].probed.contains(&node) {
            return false;
        }
        let top = self.uber_parent(rsc);
        if !self.discovery_allows(rsc, top, node) {
            return false;
        }
        if self.is_guest(node) {
            let Some(guest) = self.guest_launcher(node) else { return false };
            if self[guest].orig_role == Role::Stopped {
                if self[guest].assigned.is_some_and(|a| !self[guest].probed.contains(&a.node)) {
                    self.order_tasks(guest, "monitor", top, "start", rel::ORDERED);
                }
                return false;
            }
            if self.guest_will_stop(node, guest) {
                self.order_tasks(guest, "stop", top, "start", rel::ORDERED);
                return false;
            }
        }
        let probe = self.probe_action(rsc, node);
        let top = if self[top].is_clone() { top } else { rsc };
        let mut flags = rel::ORDERED;
        if !self[probe].is(act::RUNNABLE) && self[top].active_nodes.is_empty() {
            flags |= rel::UNRUNNABLE_FIRST_BLOCKS;
        }
        self.order_then_task(probe, top, "start", flags);
        let reload = Side { rsc: Some(top), key: Some(self.key(rsc, "reload-agent", 0)), action: None };
        self.new_ordering(Side::of(probe), reload, rel::ORDERED);
        true
    }

    fn probe_action(&mut self, rsc: RscIdx, node: NodeIdx) -> ActIdx {
        let probe = self.custom_action(Some(rsc), self.key(rsc, "monitor", 0), "monitor", Some(node), false);
        self[probe].flags &= !act::OPTIONAL;
        self.order_vs_unfencing(rsc, node, probe, rel::ORDERED);
        if !self[rsc].active_nodes.contains(&node) {
            self.set_action_meta(probe, "op_target_rc", "7");
        } else if self[rsc].orig_role == Role::Promoted {
            self.set_action_meta(probe, "op_target_rc", "8");
        }
        probe
    }
}
