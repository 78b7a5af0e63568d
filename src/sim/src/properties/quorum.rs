//! Never two quorate partitions at once, but where the configuration admits it (`two_node`).

use base::NodeId;
use std::collections::BTreeMap;

pub struct Quorum {
    two_node: bool,
    quorate: BTreeMap<NodeId, Vec<NodeId>>,
    pub broken: Option<String>,
}

impl Quorum {
    pub fn new(two_node: bool) -> Quorum {
        Quorum { two_node, quorate: BTreeMap::new(), broken: None }
    }

    pub fn ends(&mut self, id: NodeId) {
        self.quorate.remove(&id);
    }

    pub fn verdict(&mut self, id: NodeId, members: &[NodeId], quorate: bool) {
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
        self.quorate.insert(id, members.to_vec());
    }
}
