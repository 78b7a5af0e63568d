//! The book of placement scores: every change of a resource's score on a node, with where it comes from, in the order applied.
//!
//! The sums here are added up from the recorded parts alone, so that a change that nobody recorded shows as a sum that
//! differs from the table's score.

use super::basics::{INFINITY, Str, add_scores};
use super::ids::{ColocIdx, NodeIdx, RscIdx};
use std::collections::BTreeMap;

/// Where a part of a score comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A rule of the scheduler's own, by name.
    Own(&'static str),
    /// A location constraint or the rule in it, by id.
    Location(Str),
    /// A colocation, by number; `as_primary` if this resource is what others want to be with.
    Colocation { constraint: ColocIdx, as_primary: bool },
    /// The node's own score: it is offline, is shutting down, or is the inside of a container.
    Node,
    /// The promotion score of an instance of this clone.
    Instance(RscIdx),
}

/// What a step does with the sum before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Add(i32),
    /// Whatever it was.
    Set(i32),
    /// The node is no longer considered.
    Forget,
}

impl Change {
    fn apply(self, before: Option<i32>) -> Option<i32> {
        match self {
            Change::Add(score) => Some(add_scores(before.unwrap_or(0), score)),
            Change::Set(score) => Some(score),
            Change::Forget => None,
        }
    }

    /// The change from one score to another; an addition where one leads there.
    pub fn between(before: Option<i32>, after: i32) -> Change {
        let delta = before.map(|b| after.saturating_sub(b).clamp(-INFINITY, INFINITY));
        match delta {
            Some(d) if add_scores(before.unwrap_or(0), d) == after => Change::Add(d),
            _ => Change::Set(after),
        }
    }
}

/// One line of the book.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub resource: RscIdx,
    pub node: NodeIdx,
    /// About the score for being promoted, not for being there at all.
    pub promotion: bool,
    /// Noted when the resource had its place already.
    pub late: bool,
    pub change: Change,
    /// The sum with this step.
    pub sum: Option<i32>,
    pub source: Source,
}

/// A score that was settled, next to what the book says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    pub stage: &'static str,
    pub resource: RscIdx,
    pub node: Option<NodeIdx>,
    pub score: i32,
    pub sum: Option<i32>,
}

/// The whole book.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub steps: Vec<Step>,
    pub settled: Vec<Settled>,
    /// Why the chosen node came before others with the same score.
    pub ties: BTreeMap<(RscIdx, NodeIdx), &'static str>,
    sums: BTreeMap<(RscIdx, NodeIdx, bool), i32>,
}

impl Ledger {
    pub fn sum(&self, resource: RscIdx, node: NodeIdx, promotion: bool) -> Option<i32> {
        self.sums.get(&(resource, node, promotion)).copied()
    }

    pub fn write(&mut self, place: (RscIdx, NodeIdx), promotion: bool, late: bool, change: Change, source: Source) {
        let (resource, node) = place;
        let before = self.sum(resource, node, promotion);
        let sum = change.apply(before);
        if before == sum && matches!(change, Change::Add(0) | Change::Set(_) | Change::Forget) {
            return;
        }
        match sum {
            Some(sum) => self.sums.insert((resource, node, promotion), sum),
            None => self.sums.remove(&(resource, node, promotion)),
        };
        self.steps.push(Step { resource, node, promotion, late, change, sum, source });
    }
}

/// A table is put back to what it was before an attempt that came to nothing.
pub const TAKEN_BACK: Source = Source::Own("__tried_early__");

/// Stage of [`Settled`] scores for being promoted.
pub const PROMOTION: &str = "promotion";
