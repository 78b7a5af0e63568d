//! Whose disk holds what: a change is durable once a majority of the nodelist has written it, so that any later quorum has
//! at least one node that knows it, even if the power fails everywhere at once.

use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What the members of one view have said of their disks.
#[derive(Default)]
pub struct Disks {
    members: BTreeSet<NodeId>,
    /// So many must have written a change.
    needed: usize,
    held: BTreeMap<NodeId, Held>,
}

#[derive(Clone, Copy, Default)]
struct Held {
    /// Written up to this message of the view,
    written: Option<u64>,
    /// and tried up to this one.
    tried: Option<u64>,
}

/// Whether a change will outlive a failure of the power everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    Durable,
    Unknown,
    /// Every disk has had its turn, and too many could not write it.
    Failed,
}

impl Disks {
    /// A view of these members, out of so many nodes. Where fewer than a majority have quorum (by a device, or because the
    /// expected votes went down with the members), all of them have to write.
    pub fn new(members: BTreeSet<NodeId>, nodes: usize) -> Disks {
        let needed = (nodes / 2 + 1).min(members.len());
        Disks { members, needed, held: BTreeMap::new() }
    }

    pub fn report(&mut self, node: NodeId, seq: u64, written: bool) {
        let held = self.held.entry(node).or_default();
        held.tried = held.tried.max(Some(seq));
        if written {
            held.written = held.written.max(Some(seq));
        }
    }

    /// Of the change that came with message `seq` of the view.
    pub fn durability(&self, seq: u64) -> Durability {
        let count = |of: fn(&Held) -> Option<u64>| {
            self.members.iter().filter(|m| self.held.get(m).and_then(of) >= Some(seq)).count()
        };
        match count(|h| h.written) {
            written if written >= self.needed => Durability::Durable,
            _ if count(|h| h.tried) == self.members.len() => Durability::Failed,
            _ => Durability::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[u32]) -> BTreeSet<NodeId> {
        list.iter().map(|n| NodeId(*n)).collect()
    }

    #[test]
    fn two_of_three_are_enough() {
        let mut disks = Disks::new(members(&[1, 2, 3]), 3);
        disks.report(NodeId(1), 7, true);
        assert_eq!(disks.durability(7), Durability::Unknown);
        disks.report(NodeId(3), 6, true);
        assert_eq!((disks.durability(6), disks.durability(7)), (Durability::Durable, Durability::Unknown));
        disks.report(NodeId(3), 9, true);
        assert_eq!((disks.durability(7), disks.durability(8)), (Durability::Durable, Durability::Unknown));
    }

    #[test]
    fn two_of_two_are_needed_and_one_where_one_has_quorum() {
        let mut disks = Disks::new(members(&[1, 2]), 2);
        disks.report(NodeId(1), 1, true);
        assert_eq!(disks.durability(1), Durability::Unknown);
        let mut alone = Disks::new(members(&[2]), 2);
        alone.report(NodeId(2), 1, true);
        assert_eq!(alone.durability(1), Durability::Durable);
    }

    #[test]
    fn a_full_disk_fails_what_it_is_needed_for() {
        let mut disks = Disks::new(members(&[1, 2]), 3);
        disks.report(NodeId(1), 4, true);
        disks.report(NodeId(2), 4, false);
        assert_eq!(disks.durability(4), Durability::Failed);
        // It has room again, and the next write holds everything.
        disks.report(NodeId(2), 5, true);
        assert_eq!(disks.durability(4), Durability::Durable);
        // Nobody outside the view counts.
        let mut disks = Disks::new(members(&[1, 2]), 3);
        disks.report(NodeId(1), 4, true);
        disks.report(NodeId(9), 4, true);
        assert_eq!(disks.durability(4), Durability::Unknown);
    }
}
