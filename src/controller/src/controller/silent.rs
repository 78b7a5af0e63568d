//! Which nodes may live without being heard.
//!
//! One that left in good order is known not to hold anything, for a while: it may have been started since, behind a cut. One
//! that was fenced still counts: its agent may have lied, and who asks the LAN loses next to nothing.

use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a leave in good order vouches for a node.
const VOUCHED: Duration = Duration::from_secs(10);

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
