//! Votequorum: who may act.
//!
//! A pure function of the configuration, the present view and what the peers say of themselves; the rules and the words are
//! those of corosync's votequorum(5). Only [`Quorum::set_view`], [`Quorum::learn`], [`Quorum::listen`], [`Quorum::reach`],
//! [`Quorum::cancel_wait_for_all`], the changes at run time in `runtime` and the window of `last_man_standing` change the verdict. Nothing outlives the process, as with the original: `wait_for_all` starts anew with every start, however the
//! former life ended, since a node that comes back cannot know what the others have become meanwhile.

mod config;
pub mod qdevice;
pub mod qnet;
pub mod qnetd;
pub mod reload;
mod runtime;
mod status;

pub use config::{Config, ConfigError, TieBreaker};
pub use runtime::{RunTime, VotesError};
pub use status::{Member, Status};

use base::{NodeId, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub struct Quorum {
    config: Config,
    view: BTreeSet<NodeId>,
    previous: BTreeSet<NodeId>,
    /// Peers that said they are quorate and no longer wait for all, members or not.
    quorate_peers: BTreeSet<NodeId>,
    all_seen: bool,
    listening: bool,
    reached: bool,
    quorate: bool,
    highest_expected: u32,
    /// What was changed since the file was read.
    runtime: RunTime,
    /// As many votes have been here: expected votes grow with them, and do not fall when somebody goes.
    raised: u32,
    /// Who said goodbye since the last view.
    parted: BTreeSet<NodeId>,
    /// `last_man_standing`: when those who went count no more.
    window_ends: Option<Time>,
    /// Most votes that were ever expected (`expected_votes_tracking`).
    barrier: u32,
    device: DeviceState,
}

/// What votequorum knows of a node's quorum device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeviceState {
    pub registered: bool,
    /// The arbitrator answers.
    pub alive: bool,
    /// Its votes are with this node's partition.
    pub cast: bool,
}

impl Quorum {
    pub fn new(config: Config) -> Result<Quorum, ConfigError> {
        config.check()?;
        let view = BTreeSet::new();
        let mut quorum = Quorum {
            all_seen: false,
            listening: false,
            reached: false,
            view,
            previous: BTreeSet::new(),
            quorate_peers: BTreeSet::new(),
            quorate: false,
            highest_expected: 0,
            runtime: RunTime::default(),
            raised: 0,
            parted: BTreeSet::new(),
            window_ends: None,
            barrier: config.barrier,
            device: DeviceState { registered: config.device.is_some(), ..DeviceState::default() },
            config,
        };
        quorum.recompute();
        Ok(quorum)
    }

    /// The ring's present members. Returns whether the verdict changed.
    pub fn set_view(&mut self, members: &[NodeId]) -> bool {
        self.previous = std::mem::replace(&mut self.view, members.iter().copied().collect());
        self.window_ends = None;
        self.downscale();
        self.recompute()
    }

    /// What a member says of itself (in its heartbeats): that it is quorate, which it can be only once it no longer waits
    /// for all. A node that joins such a partition need not wait for all by itself. Returns whether the verdict changed.
    pub fn learn(&mut self, node: NodeId, quorate: bool) -> bool {
        if quorate && node != self.config.me {
            self.quorate_peers.insert(node);
        } else {
            self.quorate_peers.remove(&node);
        }
        self.recompute()
    }

    /// `corosync-cmapctl -s quorum.cancel_wait_for_all u8 1`: the operator vouches that the absent nodes are down.
    pub fn cancel_wait_for_all(&mut self) -> bool {
        self.all_seen = true;
        self.recompute()
    }

    /// A process that has just started listens for a while before it believes with `two_node`, where `wait_for_all` is off,
    /// that the other node is not there. Returns whether the verdict changed.
    pub fn listen(&mut self, on: bool) -> bool {
        self.listening = on;
        self.recompute()
    }

    /// Whether one of the ping targets answers ([`Config::must_reach`]). Returns whether the verdict changed.
    pub fn reach(&mut self, any: bool) -> bool {
        self.reached = any;
        self.recompute()
    }

    /// What the arbitrator says to this node, of the present view. Returns whether the verdict changed.
    pub fn set_device(&mut self, alive: bool, cast: bool) -> bool {
        let registered = self.config.device.is_some();
        self.device = DeviceState { registered, alive: registered && alive, cast: registered && cast };
        self.recompute()
    }

    pub fn device(&self) -> DeviceState {
        self.device
    }

    /// The nodelist was reloaded.
    pub fn reconfigure(&mut self, config: Config) -> Result<bool, ConfigError> {
        config.check()?;
        if config.device != self.config.device {
            self.device = DeviceState { registered: config.device.is_some(), ..DeviceState::default() };
        }
        self.config = config;
        self.highest_expected = 0;
        self.runtime = RunTime::default();
        self.raised = 0;
        self.window_ends = None;
        Ok(self.recompute())
    }

    pub fn is_quorate(&self) -> bool {
        self.quorate
    }

    /// Present but held back because not all nodes have been seen yet.
    pub fn is_waiting_for_all(&self) -> bool {
        self.config.wait_for_all() && !self.all_seen
    }

    /// Why there is no quorum, with the cure where an operator has one; nothing with quorum, or without any view.
    pub fn lack(&self, names: &BTreeMap<NodeId, String>) -> Option<String> {
        if self.quorate || self.view.is_empty() {
            return None;
        }
        let name = |id: &NodeId| names.get(id).cloned().unwrap_or_else(|| id.to_string());
        let absent: Vec<String> = self.config.votes.keys().filter(|n| !self.view.contains(n)).map(name).collect();
        let (absent, total, needed) = (absent.join(" "), self.total_votes(), self.quorum_votes());
        let reason = if total >= needed && self.is_waiting_for_all() {
            format!(
                "this node waits until it has seen all nodes once since its start (wait_for_all), and {absent} is missing: \
                 start it; or, only if it is surely down, set `wait_for_all: 0` in quorum {{}} of corosync.conf and restart here"
            )
        } else if total >= needed && self.listening {
            format!(
                "{absent} is missing, but may live: this node does not go on alone while it is heard, or just after the start"
            )
        } else {
            let device = match (self.config.device, self.device) {
                (Some(votes), DeviceState { alive: true, .. }) => {
                    format!("; the arbitrator gave its {votes} to others, or not yet to these")
                }
                (Some(votes), _) => format!("; the arbitrator (quorum device, {votes}) is not reached"),
                (None, _) => String::new(),
            };
            let more = if self.is_waiting_for_all() { "; and all must be seen once (wait_for_all)" } else { "" };
            format!(
                "{total} of {} votes are here, {needed} are needed; missing: {absent}{device}{more}",
                self.expected_votes()
            )
        };
        Some(format!("no quorum: {reason}"))
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Votes of one node; a node that is not in the list has none.
    pub fn votes_of(&self, node: NodeId) -> u32 {
        let listed = self.config.votes.get(&node).copied();
        listed.map_or(0, |votes| self.runtime.votes.get(&node).copied().unwrap_or(votes))
    }

    /// Of the members, and of the device where it votes for them.
    pub fn total_votes(&self) -> u32 {
        self.votes_in(&self.view).saturating_add(self.device_votes())
    }

    /// Votes of the device that are with this partition.
    pub fn device_votes(&self) -> u32 {
        self.config.device.filter(|_| self.device.cast).unwrap_or(0)
    }

    /// Votes of the file, or as they were changed since; more if more are or were present.
    pub fn expected_votes(&self) -> u32 {
        self.wanted_votes().max(self.raised).max(self.total_votes())
    }

    /// Votes needed to act.
    pub fn quorum_votes(&self) -> u32 {
        self.quorum_of(self.expected_votes())
    }

    /// Whether these nodes together hold a majority of all votes: the rule for acknowledging a configuration change. With
    /// `two_node` one node alone does, as it does for quorum.
    pub fn is_majority(&self, nodes: &[NodeId]) -> bool {
        self.votes_in(&nodes.iter().copied().collect()) >= self.quorum_votes()
    }

    /// Everything `corosync-quorumtool -s` prints. `ring` is (representative, number).
    pub fn status(&self, ring: (u32, u64), names: &BTreeMap<NodeId, String>) -> Status {
        status::status(self, ring, names)
    }

    fn votes_in(&self, nodes: &BTreeSet<NodeId>) -> u32 {
        nodes.iter().fold(0u32, |sum, n| sum.saturating_add(self.votes_of(*n)))
    }

    fn quorum_of(&self, expected: u32) -> u32 {
        if self.config.two_node_effective() { 1 } else { expected / 2 + 1 }
    }

    /// Without regard to who is here.
    fn wanted_votes(&self) -> u32 {
        let tracked = if self.config.tracks() { self.config.barrier } else { 0 };
        self.runtime.expected.unwrap_or_else(|| self.config.expected_votes().max(tracked))
    }

    fn recompute(&mut self) -> bool {
        let before = self.quorate;
        let total = self.total_votes();
        let nodes = self.votes_in(&self.view);
        // `wait_for_all` is about nodes: it does not wait for a device.
        let wanted_nodes = self.wanted_votes().saturating_sub(self.config.device.unwrap_or(0));
        self.raised = self.raised.max(total);
        self.highest_expected = self.highest_expected.max(self.expected_votes());
        self.barrier = self.barrier.max(self.expected_votes());
        let vouched = !self.quorate_peers.is_disjoint(&self.view);
        if nodes > 0 && (nodes >= wanted_nodes || vouched) {
            self.all_seen = true;
        }
        let complete = nodes >= wanted_nodes;
        self.listening &= !complete;
        let cut_off = self.config.must_reach && !complete && !self.reached;
        let held_back = (self.listening || cut_off) && self.config.two_node_effective();
        let enough = total >= self.quorum_votes() && nodes > 0 && !held_back;
        self.quorate = (enough || self.wins_tie(total)) && !self.is_waiting_for_all();
        before != self.quorate
    }

    /// An even split: the half with the tie-breaker node goes on, provided that no other part can have a majority. Upstream
    /// applies it to an odd sum as well, where a node that changes sides later can make both parts quorate; not here.
    fn wins_tie(&self, total: u32) -> bool {
        let Some(breaker) = &self.config.auto_tie_breaker else { return false };
        let expected = self.expected_votes();
        if !expected.is_multiple_of(2) || total != expected / 2 {
            return false;
        }
        let gone = self.previous.difference(&self.view).copied().collect();
        self.votes_in(&gone) < self.quorum_votes() && breaker.is_in(&self.view, self.config.votes.keys())
    }
}

#[cfg(test)]
mod tests;
