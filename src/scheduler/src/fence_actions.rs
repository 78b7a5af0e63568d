//! Actions that fence or unfence nodes: whether a node can be fenced, the one fencing action for each node, and why.

use crate::digest::Match;
use crate::model::flags::{act, rel, rsc as rf};
use crate::model::options::NoQuorum;
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Str};
use crate::unpack::state_ms_to_s;

/// Deepest nesting of guest nodes that is looked into.
const MAX_GUEST_DEPTH: usize = 8;

impl Sched {
    fn unfencing_devices(&self, candidates: &[RscIdx], found: &mut Vec<RscIdx>) {
        for rsc in candidates {
            let r = &self[*rsc];
            if !r.children.is_empty() {
                self.unfencing_devices(&r.children, found);
            } else if r.is(rf::FENCE_DEVICE)
                && (r.is(rf::NEEDS_UNFENCING)
                    || r.meta("provides").is_some_and(|v| v.eq_ignore_ascii_case("unfencing")))
            {
                found.push(*rsc);
            }
        }
    }

    /// Delay that favours the more valuable side of a split.
    fn priority_delay_s(&self, node: NodeIdx) -> i64 {
        if self[node].is_remote_kind || self[node].online {
            return 0;
        }
        let members: Vec<_> = self.nodes.iter().filter(|n| !n.is_remote_kind).collect();
        let online = members.iter().filter(|n| n.online).count();
        let top = members.iter().map(|n| n.priority).max().unwrap_or(0);
        let lowest = members.iter().map(|n| n.priority).min().unwrap_or(0);
        if online > members.len() / 2 || lowest == top || self[node].priority < top {
            return 0;
        }
        state_ms_to_s(self.options.priority_fencing_ms)
    }

    /// The fencing (or unfencing) of a node.
    pub fn fence_op(
        &mut self,
        node: NodeIdx,
        op: Option<&str>,
        optional: bool,
        reason: Option<&str>,
        priority_delay: bool,
    ) -> ActIdx {
        let op = op.map_or_else(|| self.options.fence_action.clone(), str::to_owned);
        let (name, id) = (self[node].name.clone(), self[node].id.clone());
        let key: Str = format!("stonith-{name}-{op}").into();
        let mut optional = optional;
        let a = match self.singletons.get(&key) {
            Some(known) => *known,
            None => {
                let a = self.custom_action(None, key, "stonith", Some(node), true);
                self.set_action_meta(a, "on_node", &name);
                self.set_action_meta(a, "on_node_uuid", &id);
                self.set_action_meta(a, "stonith_action", &op);
                if self.enable_unfencing {
                    optional &= !self.add_unfencing_digests(a, node);
                }
                a
            }
        };
        if self.options.priority_fencing_ms > 0 && (priority_delay || self[a].meta("priority-fencing-delay").is_some())
        {
            let delay = self.priority_delay_s(node);
            self.set_action_meta(a, "priority-fencing-delay", &delay.to_string());
        }
        if !optional && self.can_fence(node) {
            self[a].flags &= !act::OPTIONAL;
            if let Some(reason) = reason {
                self.set_reason(a, reason, false);
            }
        } else if let (Some(reason), None) = (reason, &self[a].reason) {
            self[a].reason = Some(reason.into());
        }
        a
    }

    /// Records the devices' parameters with an unfencing; true if any changed.
    fn add_unfencing_digests(&mut self, a: ActIdx, node: NodeIdx) -> bool {
        let mut devices = Vec::new();
        let top = self.top.clone();
        self.unfencing_devices(&top, &mut devices);
        let (mut all, mut secure, mut changed) = (String::new(), String::new(), false);
        for device in devices.into_iter().rev() {
            let agent = self[device].meta("type").unwrap_or_default().to_owned();
            let (result, digests) = self.compare_fencing_digest(device, &agent, node);
            if result == Match::Mismatch {
                changed = true;
                let text = format!(
                    "notice: Unfencing node {} because the definition of {} changed",
                    self[node].name, self[device].id
                );
                self.info.push(text);
            }
            all.push_str(&format!("{}:{agent}:{},", self[device].id, digests.all));
            secure.push_str(&format!("{}:{agent}:{},", self[device].id, digests.secure));
        }
        self.set_action_meta(a, "digests-all", &all);
        self.set_action_meta(a, "digests-secure", &secure);
        changed
    }

    /// Whether the cluster may and can fence the node.
    pub fn can_fence(&self, node: NodeIdx) -> bool {
        self.can_fence_below(node, 0)
    }

    /// `depth` bounds guests within guests.
    fn can_fence_below(&self, node: NodeIdx, depth: usize) -> bool {
        if self.is_guest(node) {
            let Some(launcher) = self.guest_launcher(node) else { return true };
            let fenceable = |n: NodeIdx| depth < MAX_GUEST_DEPTH && self.can_fence_below(n, depth + 1);
            return self[launcher].active_nodes.iter().all(|n| self[*n].online || fenceable(*n));
        }
        if !self.options.fencing_enabled || !self.have_fencing {
            return false;
        }
        if self.quorate || self.options.no_quorum == NoQuorum::Ignore {
            return true;
        }
        if !self[node].online {
            return false;
        }
        if self[node].is_remote_kind
            && !self.options.fence_remote_no_quorum
            && let Some(remote) = self[node].remote
        {
            return self[remote].allowed.iter().all(|(n, _)| self[n].online);
        }
        true
    }

    /// Marks a node for fencing, or what stands for it.
    pub fn fence_node(&mut self, node: NodeIdx, reason: &str, priority_delay: bool) {
        let remote = self[node].remote;
        let name = self[node].name.clone();
        if self.is_guest(node) {
            let Some(launcher) = self.guest_launcher(node) else { return };
            if !self[launcher].is(rf::FAILED) && self[launcher].is(rf::MANAGED) {
                let text = format!(
                    "Guest node {name} will be fenced (by recovering its guest resource {}): {reason}",
                    self[launcher].id
                );
                self.warn(text);
                self[node].remote_reset = true;
                self.set(launcher, rf::FAILED | rf::STOP_IF_FAILED);
            }
            return;
        }
        if let Some(remote) = remote
            .filter(|r| self[node].is_remote_kind && self[*r].launcher.is_none() && self[*r].is(rf::REMOVED_LAUNCHED))
        {
            self.set(remote, rf::FAILED | rf::STOP_IF_FAILED);
            return;
        }
        let fate = if self.can_fence(node) { "will be fenced" } else { "is unclean" };
        if self[node].is_remote_kind {
            let managed = remote.is_none_or(|r| self[r].is(rf::MANAGED));
            if managed && !self[node].remote_reset {
                self[node].remote_reset = true;
                self.warn(format!("Remote node {name} {fate}: {reason}"));
            }
            self[node].unclean = true;
            self.fence_op(node, None, true, Some(reason), false);
        } else if !self[node].unclean {
            self.warn(format!("Cluster node {name} {fate}: {reason}"));
            self[node].unclean = true;
            self.fence_op(node, None, true, Some(reason), priority_delay);
        }
    }

    /// Schedules unfencing of a node (or of all where a device may run), before `dependency`.
    pub fn trigger_unfencing(
        &mut self,
        rsc: Option<RscIdx>,
        node: Option<NodeIdx>,
        reason: &str,
        dependency: Option<ActIdx>,
    ) {
        if !self.enable_unfencing || rsc.is_some_and(|r| !self[r].is(rf::FENCE_DEVICE)) {
            return;
        }
        let usable = |s: &Sched, n: NodeIdx| s[n].online && !s[n].unclean && !s[n].shutdown;
        let nodes = match (node.filter(|n| usable(self, *n)), rsc) {
            (Some(node), _) => vec![node],
            (None, Some(rsc)) => self[rsc].allowed.nodes().into_iter().filter(|n| usable(self, *n)).collect(),
            (None, None) => Vec::new(),
        };
        for node in nodes {
            let unfence = self.fence_op(node, Some("on"), false, Some(reason), false);
            if let Some(dependency) = dependency {
                self.order_actions(unfence, dependency, rel::ORDERED);
            }
        }
    }
}
