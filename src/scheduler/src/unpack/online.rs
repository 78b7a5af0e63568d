//! Which nodes are online, pending or unclean, from their `node_state`; sets the flags of `Node` and nothing else.

use super::state::ms_to_s;
use crate::model::flags::rsc as rf;
use crate::model::{INFINITY, NodeIdx, RscIdx, Sched};
use crate::status::Role;
use base::text::{parse_bool, parse_int};

impl Sched {
    pub(crate) fn can_unpack_history(&self, node: NodeIdx) -> bool {
        if self.is_guest(node) {
            let started = |r: Option<RscIdx>| r.is_some_and(|r| self[r].orig_role == Role::Started);
            started(self[node].remote) && started(self.guest_launcher(node))
        } else if self[node].is_remote_kind {
            self[node].remote.is_some_and(|r| self.options.shutdown_lock || self[r].orig_role == Role::Started)
        } else {
            self.options.fencing_enabled || self.options.shutdown_lock || self[node].online
        }
    }

    /// Since when the node is a member of the cluster layer; 0 if it is not, `None` if nobody knows.
    fn member_since(&self, state: u32) -> Option<i64> {
        let text = self.history.states[state as usize].in_ccm.as_deref()?;
        match parse_bool(text) {
            Some(true) => Some(self.now),
            Some(false) => Some(0),
            None => parse_int(text).filter(|t| *t >= 0),
        }
    }

    fn online_since(&self, state: u32) -> i64 {
        match self.history.states[state as usize].crmd.as_deref() {
            None => 0,
            Some(t) if t.eq_ignore_ascii_case("offline") => 0,
            Some(t) if t.eq_ignore_ascii_case("online") => 1,
            Some(t) => parse_int(t).filter(|v| *v >= 0).unwrap_or(0),
        }
    }

    pub(crate) fn determine_online(&mut self, state: u32, node: NodeIdx) {
        self[node].shutdown = false;
        let expected_member =
            self.history.states[state as usize].expected.as_deref().is_some_and(|e| e.eq_ignore_ascii_case("member"));
        if self.shutdown_requested(node) {
            self[node].shutdown = true;
        } else if expected_member {
            self[node].expected_up = true;
        }
        let online = if self.options.fencing_enabled {
            self.online_with_fencing(state, node)
        } else {
            self.online_without_fencing(state, node)
        };
        if online {
            self[node].online = true;
        }
        if !online || self[node].shutdown {
            self[node].base.score = -INFINITY;
        }
        if self[node].unclean {
            let name = self[node].name.clone();
            self.warn(format!("{name} is unclean"));
        }
    }

    fn online_without_fencing(&mut self, state: u32, node: NodeIdx) -> bool {
        let member = self.member_since(state).unwrap_or(-1);
        let joined =
            self.history.states[state as usize].join.as_deref().is_some_and(|j| j.eq_ignore_ascii_case("member"));
        if member <= 0 {
            return false;
        }
        if self.online_since(state) > 0 {
            return joined;
        }
        if self[node].expected_up {
            self.fence_node(node, "peer is unexpectedly down", false);
        }
        false
    }

    fn pending_too_long(&mut self, member: i64, online: i64) -> bool {
        if self.options.node_pending_ms == 0 || member <= 0 || online > 0 {
            return false;
        }
        let timeout = member + ms_to_s(self.options.node_pending_ms);
        if self.now >= timeout {
            return true;
        }
        self.update_recheck(timeout);
        false
    }

    fn online_with_fencing(&mut self, state: u32, node: NodeIdx) -> bool {
        let terminate = self[node].attrs.get("terminate").cloned();
        let terminate = terminate.is_some_and(|v| parse_bool(&v).unwrap_or_else(|| parse_int(&v).unwrap_or(0) > 0));
        let s = &self.history.states[state as usize];
        let (join, expected) = (s.join.clone(), s.expected.clone());
        let join = join.as_deref().unwrap_or_default();
        let member = self.member_since(state).unwrap_or(-1);
        let online = self.online_since(state);
        if self[node].shutdown {
            return online > 0;
        }
        if member < 0 {
            self.fence_node(node, "peer has not been seen by the cluster", false);
            return false;
        }
        if join == "banned" {
            self.fence_node(node, "peer failed Pacemaker membership criteria", false);
        } else if terminate {
            if member <= 0 && online <= 0 && join == "down" {
                return false;
            }
            self.fence_node(node, "fencing was requested", false);
        } else if expected.is_none() || expected.as_deref() == Some("down") {
            if self.pending_too_long(member, online) {
                self.fence_node(node, "peer pending timed out on joining the process group", false);
            } else if member > 0 || online > 0 {
                self[node].standby = true;
                self[node].pending = true;
            }
        } else if member <= 0 {
            self.fence_node(node, "peer is no longer part of the cluster", true);
        } else if online <= 0 {
            self.fence_node(node, "peer process is no longer available", false);
        } else if join == "pending" || join == "down" {
            self[node].standby = true;
            self[node].pending = true;
        } else if join != "member" {
            self.fence_node(node, "peer was in an unknown state", false);
        }
        member > 0
    }

    pub(crate) fn determine_remote_online(&mut self, node: NodeIdx) {
        let Some(remote) = self[node].remote else {
            self[node].online = false;
            return;
        };
        let launcher = self[remote].launcher;
        let host = match (launcher, &self[remote].active_nodes[..]) {
            (Some(_), [one]) => Some(*one),
            _ => None,
        };
        let (role, next) = (self[remote].orig_role, self[remote].next_role);
        if role == Role::Started {
            self[node].online = true;
            if next == Role::Stopped {
                self[node].shutdown = true;
            }
        }
        if launcher.is_some_and(|l| self[l].is(rf::FAILED)) {
            self[node].online = false;
            self[node].remote_reset = true;
        } else if self[remote].is(rf::FAILED) {
            self[node].online = false;
        } else if role == Role::Stopped || launcher.is_some_and(|l| self[l].orig_role == Role::Stopped) {
            self[node].online = false;
            self[node].remote_reset = false;
        } else if host.is_some_and(|h| !self[h].online && self[h].unclean) {
            self[node].online = false;
            self[node].remote_reset = true;
        }
    }
}
