//! The book of placement scores: every change of a resource's score on a node, with where it comes from, in the order applied.
//!
//! Kept only for [`super::explain`]; in any other run [`Sched::record`] and its kin do nothing. The stages of placement write
//! it, beside the tables that they change: the sums here are added up from the recorded parts alone, so that a change that
//! nobody recorded shows as a sum that differs from the table's score.

use crate::model::flags::rsc as rf;
use crate::model::{ColocIdx, NodeIdx, NodeTable, RscIdx, Sched, Str, add_scores};
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
    fn between(before: Option<i32>, after: i32) -> Change {
        let delta = before.map(|b| after.saturating_sub(b).clamp(-crate::model::INFINITY, crate::model::INFINITY));
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
    fn sum(&self, resource: RscIdx, node: NodeIdx, promotion: bool) -> Option<i32> {
        self.sums.get(&(resource, node, promotion)).copied()
    }

    fn write(&mut self, place: (RscIdx, NodeIdx), promotion: bool, late: bool, change: Change, source: Source) {
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

impl Sched {
    /// Notes a change of a resource's score on a node.
    pub fn record(&mut self, resource: RscIdx, node: NodeIdx, change: Change, source: &Source) {
        let r = &self.resources[resource.at()];
        let late = r.is_primitive() && r.assigned.is_some() && !r.is(rf::UNASSIGNED) && *source != TAKEN_BACK;
        if let Some(ledger) = &mut self.ledger {
            ledger.write((resource, node), false, late, change, source.clone());
        }
    }

    /// Notes a change of an instance's score for being promoted where it goes.
    pub fn record_promotion(&mut self, resource: RscIdx, node: NodeIdx, change: Change, source: &Source) {
        if let Some(ledger) = &mut self.ledger {
            ledger.write((resource, node), true, false, change, source.clone());
        }
    }

    /// Notes how `after` differs from the resource's present table, which it is going to replace.
    pub fn record_table(&mut self, resource: RscIdx, after: &NodeTable, source: &Source) {
        if self.ledger.is_none() {
            return;
        }
        let before = &self[resource].allowed;
        let mut changes = Vec::new();
        for (node, old) in before.iter() {
            match after.score(node) {
                None => changes.push((node, Change::Forget)),
                Some(new) if new != old.score => changes.push((node, Change::between(Some(old.score), new))),
                Some(_) => {}
            }
        }
        for (node, new) in after.iter().filter(|(n, _)| !before.contains(*n)) {
            changes.push((node, Change::Set(new.score)));
        }
        for (node, change) in changes {
            self.record(resource, node, change, source);
        }
    }

    /// Sets a score where the node is considered at all.
    pub fn set_score(&mut self, resource: RscIdx, node: NodeIdx, score: i32, source: &Source) {
        if let Some(assign) = self[resource].allowed.get_mut(node) {
            assign.score = score;
            self.record(resource, node, Change::Set(score), source);
        }
    }

    /// Adds to a score where the node is considered at all.
    pub fn add_score(&mut self, resource: RscIdx, node: NodeIdx, score: i32, source: &Source) {
        if let Some(assign) = self[resource].allowed.get_mut(node) {
            assign.score = add_scores(assign.score, score);
            self.record(resource, node, Change::Add(score), source);
        }
    }

    /// Notes a score that is now final for its stage.
    pub fn record_settled(&mut self, stage: &'static str, resource: RscIdx, node: Option<NodeIdx>, score: i32) {
        if let Some(ledger) = &mut self.ledger {
            let sum = node.and_then(|n| ledger.sum(resource, n, stage == PROMOTION));
            ledger.settled.push(Settled { stage, resource, node, score, sum });
        }
    }

    /// Notes why `chosen` was taken before the others with the same score.
    pub fn record_ties(&mut self, resource: RscIdx, chosen: (NodeIdx, i32), others: &[(NodeIdx, i32)]) {
        if self.ledger.is_none() {
            return;
        }
        let mut ties = Vec::new();
        for other in others.iter().filter(|o| o.0 != chosen.0 && o.1 == chosen.1) {
            ties.push((other.0, self.tie_break(resource, chosen.0, other.0)));
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.ties.retain(|(r, _), _| *r != resource);
            ledger.ties.extend(ties.into_iter().map(|(node, why)| ((resource, node), why)));
        }
    }
}

/// A table is put back to what it was before an attempt that came to nothing.
pub const TAKEN_BACK: Source = Source::Own("__tried_early__");

/// Stage of [`Settled`] scores for being promoted.
pub const PROMOTION: &str = "promotion";
