//! Which nodes may live without being heard.
//!
//! One that left in good order is known not to hold anything, for a while: it may have been started since, behind a cut. One
//! that was fenced still counts: its agent may have lied, and who asks the LAN loses next to nothing.

use super::Controller;
use crate::message::Message;
use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a leave in good order vouches for a node.
const VOUCHED: Duration = Duration::from_secs(10);

/// After an own stall, how long to wait for those who may have gone on without this node.
const STALL_GRACE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Departed(BTreeMap<NodeId, Time>);

impl Departed {
    pub fn left(&mut self, node: NodeId, now: Time) {
        self.0.insert(node, now);
    }

    pub fn here(&mut self, members: &BTreeSet<NodeId>) {
        self.0.retain(|node, _| !members.contains(node));
    }

    /// Nodes of the nodelist that are neither here nor known to be gone.
    pub fn silent<'a>(
        &self,
        now: Time,
        nodes: impl Iterator<Item = &'a NodeId>,
        members: &BTreeSet<NodeId>,
        me: NodeId,
    ) -> impl Iterator<Item = &'a NodeId> {
        let gone = move |node: &NodeId| self.0.get(node).is_some_and(|at| now.since(*at) < VOUCHED);
        nodes.filter(move |node| **node != me && !members.contains(node) && !gone(node))
    }
}

impl Controller {
    /// After a stall that leases do not survive nothing is decided until the others had time to be heard again.
    pub(super) fn on_stalled(&mut self, ms: u64) {
        self.stalled_until = self.now + self.config.lease.possession();
        if u128::from(ms) >= self.config.lease.stall().as_millis() {
            self.timeline("stalled", &self.config.my_name(), format!("this process did not run for {ms} ms"));
            self.coordinator.pause(self.now + STALL_GRACE);
            self.local.hasten(self.now);
        }
    }

    pub(super) fn on_peer_ready(&mut self, node: NodeId, ready: bool) {
        if self.synced && self.replica.ready.get(&node).is_some_and(|r| *r != ready) {
            self.broadcast(&Message::Ready { view: self.replica.view, node, ready });
        }
    }
}
