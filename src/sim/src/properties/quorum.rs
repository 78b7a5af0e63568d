//! Never two quorate partitions at once, but where the configuration admits it (`two_node`); and with `wait_for_all` nobody is
//! quorate who has neither seen all nodes since its start nor been told by somebody who has.

use crate::plan::Plan;
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

pub struct Quorum {
    two_node: bool,
    wait_for_all: bool,
    nodes: usize,
    quorate: BTreeMap<NodeId, Vec<NodeId>>,
    /// Processes that need not wait any more.
    seen_all: BTreeSet<NodeId>,
    pub broken: Option<String>,
}

impl Quorum {
    pub fn new(plan: &Plan) -> Quorum {
        Quorum {
            two_node: plan.two_node,
            wait_for_all: plan.wait_for_all.unwrap_or(plan.two_node),
            nodes: plan.nodes as usize,
            quorate: BTreeMap::new(),
            seen_all: BTreeSet::new(),
            broken: None,
        }
    }

    pub fn begins(&mut self, id: NodeId) {
        self.seen_all.remove(&id);
    }

    pub fn ends(&mut self, id: NodeId) {
        self.quorate.remove(&id);
    }

    pub fn verdict(&mut self, id: NodeId, members: &[NodeId], quorate: bool) {
        if members.len() == self.nodes {
            self.seen_all.insert(id);
        }
        if !quorate {
            self.quorate.remove(&id);
            return;
        }
        if !self.two_node {
            let apart = |(_, other): &(&NodeId, &Vec<NodeId>)| !other.iter().any(|m| members.contains(m));
            if let Some((other, theirs)) = self.quorate.iter().find(apart) {
                self.broken.get_or_insert(format!(
                    "node {id} with {members:?} and node {other} with {theirs:?} both are quorate"
                ));
            }
        }
        if self.wait_for_all && !members.iter().any(|m| self.seen_all.contains(m)) {
            self.broken.get_or_insert(format!(
                "node {id} is quorate with {members:?}, of which nobody has seen all nodes since its start"
            ));
        }
        self.seen_all.insert(id);
        self.quorate.insert(id, members.to_vec());
    }
}
