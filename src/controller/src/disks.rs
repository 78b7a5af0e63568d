//! Whose disk holds what: a change is durable once nodes with a majority of the votes have written it, so that any later
//! quorum has at least one node that knows it, even if the power fails everywhere at once.

use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// A member whose disk is so far behind is named in the status.
const LATE_AFTER: Duration = Duration::from_secs(5);

/// What the members of one view have said of their disks.
#[derive(Default)]
pub struct Disks {
    /// Members and their votes.
    votes: BTreeMap<NodeId, u32>,
    /// Nodes of so many votes must have written a change.
    needed: u32,
    held: BTreeMap<NodeId, Held>,
    /// The newest message whose content is to be stored, and since when something is.
    wanted: Option<u64>,
}

#[derive(Clone, Copy, Default)]
struct Held {
    /// Written up to this message of the view,
    written: Option<u64>,
    /// and tried up to this one.
    tried: Option<u64>,
    /// Since when it has written less than is wanted.
    owing: Option<Time>,
}

/// Whether a change will outlive a failure of the power everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    Durable,
    Unknown,
    /// Every disk that counts has had its turn, and too many could not write it.
    Failed,
}

/// What a member's disk does, if it is no good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiskTrouble {
    /// The last write failed.
    Failing,
    /// Nothing was heard of the last write for a while.
    Late,
}

impl Disks {
    /// A view of these members with their votes, where `expected` votes make up the cluster. Where fewer than a majority have
    /// quorum (by a device, or because the expected votes went down with the members), all of them have to write.
    pub fn new(votes: BTreeMap<NodeId, u32>, expected: u32) -> Disks {
        let total = votes.values().fold(0u32, |a, v| a.saturating_add(*v));
        Disks { needed: (expected / 2 + 1).min(total), votes, held: BTreeMap::new(), wanted: None }
    }

    /// Votes have changed within the view: what is not durable yet needs as many as they say now.
    pub fn count(&mut self, votes: BTreeMap<NodeId, u32>, expected: u32) {
        let Disks { needed, votes, .. } = Disks::new(votes, expected);
        (self.needed, self.votes) = (needed, votes);
    }

    /// Message `seq` has changed what is to be stored.
    pub fn want(&mut self, now: Time, seq: u64) {
        self.wanted = self.wanted.max(Some(seq));
        for node in self.votes.keys() {
            self.held.entry(*node).or_default().owing.get_or_insert(now);
        }
    }

    pub fn report(&mut self, now: Time, node: NodeId, seq: u64, written: bool) {
        let held = self.held.entry(node).or_default();
        held.tried = held.tried.max(Some(seq));
        if written {
            held.written = held.written.max(Some(seq));
            held.owing = (held.written < self.wanted).then_some(now);
        }
    }

    /// Of the change that came with message `seq` of the view.
    pub fn durability(&self, seq: u64) -> Durability {
        let at_least = |of: fn(&Held) -> Option<u64>| {
            self.votes.iter().filter(move |(m, _)| self.held.get(m).and_then(of) >= Some(seq))
        };
        let written = at_least(|h| h.written).fold(0u32, |sum, (_, v)| sum.saturating_add(*v));
        match written {
            written if written >= self.needed && self.needed > 0 => Durability::Durable,
            _ if at_least(|h| h.tried).count() == self.votes.len() => Durability::Failed,
            _ => Durability::Unknown,
        }
    }

    /// Whether this member has written the change of message `seq`, or has failed to.
    pub fn has_tried(&self, node: NodeId, seq: u64) -> bool {
        self.held.get(&node).and_then(|h| h.tried) >= Some(seq)
    }

    /// Members whose disk fails or hangs.
    pub fn troubles(&self, now: Time) -> BTreeMap<NodeId, DiskTrouble> {
        let of = |(node, held): (&NodeId, &Held)| match held.owing {
            Some(_) if held.tried > held.written => Some((*node, DiskTrouble::Failing)),
            Some(since) if now.since(since) >= LATE_AFTER => Some((*node, DiskTrouble::Late)),
            _ => None,
        };
        self.held.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1);

    /// One vote each.
    fn members(list: &[u32]) -> BTreeMap<NodeId, u32> {
        list.iter().map(|n| (NodeId(*n), 1)).collect()
    }

    #[test]
    fn two_of_three_are_enough() {
        let mut disks = Disks::new(members(&[1, 2, 3]), 3);
        disks.report(NOW, NodeId(1), 7, true);
        assert_eq!(disks.durability(7), Durability::Unknown);
        disks.report(NOW, NodeId(3), 6, true);
        assert_eq!((disks.durability(6), disks.durability(7)), (Durability::Durable, Durability::Unknown));
        disks.report(NOW, NodeId(3), 9, true);
        assert_eq!((disks.durability(7), disks.durability(8)), (Durability::Durable, Durability::Unknown));
    }

    #[test]
    fn a_node_more_in_the_list_is_a_disk_more_to_write() {
        let mut disks = Disks::new(members(&[1, 2, 3]), 3);
        disks.report(NOW, NodeId(1), 7, true);
        disks.count(members(&[1, 2, 3]), 4);
        disks.report(NOW, NodeId(2), 7, true);
        assert_eq!(disks.durability(7), Durability::Unknown);
        disks.report(NOW, NodeId(3), 7, true);
        assert_eq!(disks.durability(7), Durability::Durable);
        disks.count(members(&[1, 2]), 2);
        assert_eq!(disks.durability(7), Durability::Durable, "and those who are left have it");
    }

    #[test]
    fn two_of_two_are_needed_and_one_where_one_has_quorum() {
        let mut disks = Disks::new(members(&[1, 2]), 2);
        disks.report(NOW, NodeId(1), 1, true);
        assert_eq!(disks.durability(1), Durability::Unknown);
        let mut alone = Disks::new(members(&[2]), 2);
        alone.report(NOW, NodeId(2), 1, true);
        assert_eq!(alone.durability(1), Durability::Durable);
    }

    #[test]
    fn a_full_disk_fails_what_it_is_needed_for() {
        let mut disks = Disks::new(members(&[1, 2]), 3);
        disks.report(NOW, NodeId(1), 4, true);
        disks.report(NOW, NodeId(2), 4, false);
        assert_eq!(disks.durability(4), Durability::Failed);
        // It has room again, and the next write holds everything.
        disks.report(NOW, NodeId(2), 5, true);
        assert_eq!(disks.durability(4), Durability::Durable);
        // Nobody outside the view counts.
        let mut disks = Disks::new(members(&[1, 2]), 3);
        disks.report(NOW, NodeId(1), 4, true);
        disks.report(NOW, NodeId(9), 4, true);
        assert_eq!(disks.durability(4), Durability::Unknown);
    }

    #[test]
    fn votes_count_and_not_nodes() {
        // 3 + 1 + 1: the heavy one is a majority, the two light ones are none.
        let votes = BTreeMap::from([(NodeId(1), 3), (NodeId(2), 1), (NodeId(3), 1)]);
        let mut disks = Disks::new(votes.clone(), 5);
        disks.report(NOW, NodeId(2), 1, true);
        disks.report(NOW, NodeId(3), 1, true);
        assert_eq!(disks.durability(1), Durability::Unknown);
        let mut disks = Disks::new(votes, 5);
        disks.report(NOW, NodeId(1), 1, true);
        assert_eq!(disks.durability(1), Durability::Durable);
        // Who has no vote is no help in a later quorum.
        let mut disks = Disks::new(BTreeMap::from([(NodeId(1), 1), (NodeId(2), 1), (NodeId(3), 0)]), 3);
        disks.report(NOW, NodeId(1), 1, true);
        disks.report(NOW, NodeId(3), 1, true);
        assert_eq!(disks.durability(1), Durability::Unknown);
        disks.report(NOW, NodeId(2), 1, true);
        assert_eq!(disks.durability(1), Durability::Durable);
        // More votes are expected than the list has: more have to write.
        let mut disks = Disks::new(members(&[1, 2, 3]), 5);
        disks.report(NOW, NodeId(1), 1, true);
        disks.report(NOW, NodeId(2), 1, true);
        assert_eq!(disks.durability(1), Durability::Unknown);
    }

    #[test]
    fn a_disk_that_fails_or_hangs_is_named() {
        let at = |secs: u64| Time::from_millis(secs * 1000);
        let mut disks = Disks::new(members(&[1, 2, 3]), 3);
        disks.want(at(1), 10);
        disks.report(at(1), NodeId(1), 10, true);
        disks.report(at(1), NodeId(2), 10, false);
        assert_eq!(disks.troubles(at(2)), BTreeMap::from([(NodeId(2), DiskTrouble::Failing)]));
        let both = BTreeMap::from([(NodeId(2), DiskTrouble::Failing), (NodeId(3), DiskTrouble::Late)]);
        assert_eq!(disks.troubles(at(7)), both);
        disks.report(at(8), NodeId(2), 10, true);
        disks.report(at(8), NodeId(3), 10, true);
        assert_eq!(disks.troubles(at(60)), BTreeMap::new());
    }
}
