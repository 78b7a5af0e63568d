//! Members compare what they hold, every few seconds, at the same position of the same order.
//!
//! ```text
//! DC: Check{number} --ordered--> every member, at that position: chain at once, document on a worker
//!                                        '--> Digest{number, chain, document} --ordered--> compared by every member alike
//! ```
//!
//! The chain says whether the same messages were applied, the document whether they led to the same content. When all members
//! have answered, who is not of the largest group (of several as large: of the coordinator's) has to go. All compute the same
//! from the same ordered messages, so they agree on who that is.

use crate::api::ViewId;
use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two comparisons.
pub const EVERY: Duration = Duration::from_secs(5);

/// What one member holds at the position of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub chain: String,
    pub document: String,
}

/// A comparison that has not heard of all members yet; a newer one replaces it.
#[derive(Default, Debug)]
pub struct Checks {
    view: ViewId,
    number: u64,
    /// Position of the check in the order.
    seq: u64,
    chain: String,
    held: BTreeMap<NodeId, Held>,
    /// The coordinator's: when the next one is due.
    due: Option<Time>,
    asked: u64,
}

/// Members that do not hold what the others do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub seq: u64,
    /// Whose content stays; one of them, as the example to name.
    pub right: NodeId,
    pub wrong: BTreeMap<NodeId, &'static str>,
}

impl Checks {
    /// At every view.
    pub fn reset(&mut self) {
        *self = Checks { asked: self.asked, ..Checks::default() };
    }

    /// For the coordinator: the number of the check to send now, if one is due.
    pub fn next(&mut self, now: Time) -> Option<u64> {
        let due = *self.due.get_or_insert(now + EVERY);
        if now < due {
            return None;
        }
        self.due = Some(now + EVERY);
        self.asked += 1;
        Some(self.asked)
    }

    pub fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// A check was delivered here.
    pub fn begin(&mut self, view: ViewId, number: u64, seq: u64, chain: String) {
        (self.view, self.number, self.seq, self.chain) = (view, number, seq, chain);
        self.held.clear();
    }

    /// This node's own answer, once the worker has the document's digest: nothing if the check is no longer of interest.
    pub fn answer(&self, ticket: u64, document: String) -> Option<(ViewId, u64, Held)> {
        (ticket == self.number && ticket != 0)
            .then(|| (self.view, self.number, Held { chain: self.chain.clone(), document }))
    }

    /// What a member holds. Gives the difference, if that was the last answer and there is one.
    pub fn receive(
        &mut self,
        sender: NodeId,
        (view, number): (ViewId, u64),
        held: Held,
        members: &BTreeSet<NodeId>,
        dc: Option<NodeId>,
    ) -> Option<Difference> {
        if (view, number) != (self.view, self.number) || !members.contains(&sender) {
            return None;
        }
        self.held.insert(sender, held);
        if !members.iter().all(|m| self.held.contains_key(m)) {
            return None;
        }
        let size = |h: &Held| self.held.values().filter(|o| *o == h).count();
        let of_dc = |h: &Held| dc.and_then(|d| self.held.get(&d)) == Some(h);
        let (right, good) = self.held.iter().max_by_key(|(n, h)| (size(h), of_dc(h), std::cmp::Reverse(**n)))?;
        let what =
            |h: &Held| if h.chain != good.chain { "other messages were applied" } else { "the document is another" };
        let wrong: BTreeMap<NodeId, &'static str> =
            self.held.iter().filter(|(_, h)| *h != good).map(|(n, h)| (*n, what(h))).collect();
        (!wrong.is_empty()).then_some(Difference { seq: self.seq, right: *right, wrong })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(held: &[(u32, &str)], dc: u32) -> Option<(u32, Vec<u32>)> {
        let mut checks = Checks::default();
        checks.begin(ViewId::default(), 1, 9, String::new());
        let members: BTreeSet<NodeId> = held.iter().map(|(n, _)| NodeId(*n)).collect();
        let mut found = None;
        for (n, document) in held {
            assert_eq!(found, None);
            let held = Held { chain: String::new(), document: (*document).to_owned() };
            found = checks.receive(NodeId(*n), (ViewId::default(), 1), held, &members, Some(NodeId(dc)));
        }
        found.map(|d| (d.right.0, d.wrong.keys().map(|n| n.0).collect()))
    }

    #[test]
    fn the_minority_goes_and_of_two_the_one_that_is_not_the_coordinator() {
        assert_eq!(compare(&[(1, "a"), (2, "a"), (3, "a")], 1), None);
        assert_eq!(compare(&[(1, "b"), (2, "a"), (3, "a")], 1), Some((2, vec![1])));
        assert_eq!(compare(&[(1, "a"), (2, "b")], 1), Some((1, vec![2])));
        assert_eq!(compare(&[(1, "a"), (2, "b")], 2), Some((2, vec![1])));
        assert_eq!(compare(&[(1, "a"), (2, "b"), (3, "c")], 3), Some((3, vec![1, 2])));
        assert_eq!(compare(&[(1, "a"), (2, "b"), (3, "b"), (4, "a")], 2), Some((2, vec![1, 4])));
    }
}
