//! Votes that change while the cluster runs: by the operator, by who leaves, by time.
//!
//! | rule | who makes expected votes fall |
//! |---|---|
//! | none | only the operator, and the file |
//! | `allow_downscale` | who leaves in good order, down to what the file expects |
//! | `last_man_standing` | time: a quorate partition that stays smaller for the window goes on as if that were all |

use crate::Quorum;
use base::{NodeId, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What differs from the file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunTime {
    pub expected: Option<u32>,
    pub votes: BTreeMap<NodeId, u32>,
}

impl RunTime {
    pub fn is_empty(&self) -> bool {
        self.expected.is_none() && self.votes.is_empty()
    }
}

/// Why votes stay as they are: the caller's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VotesError {
    #[error("{total} votes are here: at least as many have to be expected, got {expected}")]
    BelowPresent { expected: u32, total: u32 },
    #[error("with that, {quorum} votes would be needed, and {total} are here")]
    NoQuorum { quorum: u32, total: u32 },
    #[error("node {node} is not in the nodelist")]
    UnknownNode { node: NodeId },
}

impl Quorum {
    /// Whether [`Quorum::set_expected`] would be sound.
    pub fn check_expected(&self, expected: u32) -> Result<(), VotesError> {
        let total = self.total_votes();
        let quorum = self.quorum_of(expected);
        if expected < total || expected == 0 {
            return Err(VotesError::BelowPresent { expected, total });
        }
        if quorum > total { Err(VotesError::NoQuorum { quorum, total }) } else { Ok(()) }
    }

    /// `corosync-quorumtool -e`: as many votes are expected from now on. Returns whether the verdict changed.
    pub fn set_expected(&mut self, expected: u32) -> bool {
        self.runtime.expected = Some(expected);
        self.raised = 0;
        self.barrier = expected;
        self.recompute()
    }

    /// Whether [`Quorum::set_votes`] would be sound.
    pub fn check_votes(&self, node: NodeId, votes: u32) -> Result<(), VotesError> {
        if !self.config.votes.contains_key(&node) {
            return Err(VotesError::UnknownNode { node });
        }
        let now = self.total_votes();
        let here = self.view.contains(&node);
        let total = if here { (now - self.votes_of(node)).saturating_add(votes) } else { now };
        let quorum = self.quorum_of(self.expected_votes().max(total));
        let lost = quorum > total && self.quorum_votes() <= now;
        if lost { Err(VotesError::NoQuorum { quorum, total }) } else { Ok(()) }
    }

    /// `corosync-quorumtool -v -n`. Returns whether the verdict changed.
    pub fn set_votes(&mut self, node: NodeId, votes: u32) -> bool {
        self.runtime.votes.insert(node, votes);
        self.recompute()
    }

    /// What was changed since the file was read, for those who join.
    pub fn run_time(&self) -> &RunTime {
        &self.runtime
    }

    /// What a member from another partition says of its run time. A partition that was quorate knows; else the higher one is
    /// the careful one. Returns whether the verdict changed.
    pub fn adopt(&mut self, theirs: RunTime, they_were_quorate: bool, we_were: bool) -> bool {
        match (they_were_quorate, we_were) {
            (true, false) => {
                self.runtime = theirs;
                self.raised = 0;
            }
            (false, true) => return false,
            _ => {
                self.runtime.expected = self.runtime.expected.max(theirs.expected);
                for (node, votes) in theirs.votes {
                    let own = self.runtime.votes.entry(node).or_insert(votes);
                    *own = (*own).max(votes);
                }
            }
        }
        self.recompute()
    }

    /// The node said goodbye; its view comes.
    pub fn parted(&mut self, node: NodeId) {
        self.parted.insert(node);
    }

    /// The most votes that were expected, to be kept on disk where `expected_votes_tracking` is on.
    pub fn barrier(&self) -> Option<u32> {
        self.config.tracks().then_some(self.barrier)
    }

    /// When [`Quorum::handle_timeout`] wants to be called; to be asked after every change.
    pub fn poll_timeout(&mut self, now: Time) -> Option<Time> {
        if self.stands_smaller() {
            self.window_ends.get_or_insert(now + self.config.last_man_standing_window);
        } else {
            self.window_ends = None;
        }
        self.window_ends
    }

    /// The window of `last_man_standing` is over: those who went are not counted any more. Returns whether the verdict changed.
    pub fn handle_timeout(&mut self, now: Time) -> bool {
        if self.window_ends.take_if(|t| *t <= now).is_none() || !self.stands_smaller() {
            return false;
        }
        self.runtime.expected = Some(self.total_votes());
        self.raised = 0;
        self.recompute()
    }

    /// Down to one node only where `auto_tie_breaker` says which; two without it would each go on alone.
    fn stands_smaller(&self) -> bool {
        let total = self.total_votes();
        let least = if self.config.auto_tie_breaker.is_some() { 1 } else { 2 };
        self.config.last_man_standing && self.quorate && (least..self.expected_votes()).contains(&total)
    }

    pub(crate) fn downscale(&mut self) {
        let gone: BTreeSet<NodeId> = self.previous.difference(&self.view).copied().collect();
        if self.config.allow_downscale && !gone.is_empty() && gone.is_subset(&self.parted) {
            self.runtime.expected = Some(self.config.expected_votes());
            self.raised = 0;
        }
        self.parted.clear();
    }
}

#[cfg(test)]
mod tests;
