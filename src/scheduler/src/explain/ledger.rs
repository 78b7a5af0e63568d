//! Writing the book of placement scores: the stages of placement do it, beside the tables that they change.
//!
//! Kept only for [`super::explain`]; in any other run [`Sched::record`] and its kin do nothing.

use crate::model::flags::rsc as rf;
pub use crate::model::ledger::{Change, Ledger, PROMOTION, Settled, Source, Step, TAKEN_BACK};
use crate::model::{NodeIdx, NodeTable, RscIdx, Sched, add_scores};

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
