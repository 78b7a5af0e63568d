//! The `quorum {}` section and the votes of the nodelist, as typed values, with the rules that upstream applies to them.

use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TieBreaker {
    /// The lowest node id of the nodelist.
    Lowest,
    Highest,
    /// The first of these that is a member of the half; upstream asks that the first listed ones stay together.
    List(Vec<NodeId>),
}

impl TieBreaker {
    pub(crate) fn is_in<'a>(
        &self,
        view: &BTreeSet<NodeId>,
        mut all: impl DoubleEndedIterator<Item = &'a NodeId>,
    ) -> bool {
        match self {
            TieBreaker::Lowest => all.next().is_some_and(|n| view.contains(n)),
            TieBreaker::Highest => all.next_back().is_some_and(|n| view.contains(n)),
            TieBreaker::List(list) => list.first().is_some_and(|n| view.contains(n)),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub me: NodeId,
    /// `quorum_votes` of every node of the nodelist (1 where it is not given).
    pub votes: BTreeMap<NodeId, u32>,
    /// `quorum.expected_votes`; otherwise the sum of the nodelist.
    pub expected_votes: Option<u32>,
    pub two_node: bool,
    /// `None`: as `two_node` asks.
    pub wait_for_all: Option<bool>,
    pub auto_tie_breaker: Option<TieBreaker>,
    pub last_man_standing: bool,
    pub last_man_standing_window: Duration,
    pub allow_downscale: bool,
    pub expected_votes_tracking: bool,
    /// The most votes that a former life expected, where that is tracked.
    pub barrier: u32,
    /// There are `quorum.ping_targets`: with `two_node`, a node that is alone has its vote only while it reaches one of them.
    pub must_reach: bool,
    /// There is a `quorum.device {}`: how many votes it has.
    pub device: Option<u32>,
}

impl Config {
    /// One vote each, no special rule.
    pub fn new(me: NodeId, nodes: impl IntoIterator<Item = NodeId>) -> Config {
        Config {
            me,
            votes: nodes.into_iter().map(|n| (n, 1)).collect(),
            expected_votes: None,
            two_node: false,
            wait_for_all: None,
            auto_tie_breaker: None,
            last_man_standing: false,
            last_man_standing_window: Duration::from_secs(10),
            allow_downscale: false,
            expected_votes_tracking: false,
            barrier: 0,
            must_reach: false,
            device: None,
        }
    }

    pub fn expected_votes(&self) -> u32 {
        let sum = self.votes.values().fold(0u32, |a, v| a.saturating_add(*v));
        self.expected_votes.unwrap_or(sum.saturating_add(self.device.unwrap_or(0)))
    }

    /// `two_node` counts only for two nodes; with more, upstream turns it off.
    pub fn two_node_effective(&self) -> bool {
        self.two_node && self.votes.len() <= 2 && self.expected_votes() == 2
    }

    /// Asked for, or implied by `two_node`.
    pub fn wait_for_all(&self) -> bool {
        self.wait_for_all.unwrap_or(self.two_node_effective())
    }

    /// Asked for, or implied by `allow_downscale`.
    pub fn tracks(&self) -> bool {
        self.expected_votes_tracking || self.allow_downscale
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.last_man_standing
            && let Some((node, votes)) = self.votes.iter().find(|(_, votes)| **votes != 1)
        {
            return Err(ConfigError::LastManStandingVotes { node: *node, votes: *votes });
        }
        let beside = [
            (self.two_node, "two_node"),
            (self.auto_tie_breaker.is_some(), "auto_tie_breaker"),
            (self.last_man_standing, "last_man_standing"),
        ];
        if let Some((_, key)) = beside.into_iter().find(|(on, _)| *on && self.device.is_some()) {
            return Err(ConfigError::BesideDevice { key });
        }
        if self.two_node && self.auto_tie_breaker.is_some() {
            return Err(ConfigError::TwoNodeAndTieBreaker);
        }
        if !self.votes.contains_key(&self.me) {
            return Err(ConfigError::NotInList { me: self.me });
        }
        if self.expected_votes() == 0 {
            return Err(ConfigError::NoVotes);
        }
        let listed: &[NodeId] = match &self.auto_tie_breaker {
            Some(TieBreaker::List(list)) => list,
            _ => &[],
        };
        match listed.iter().find(|n| !self.votes.contains_key(n)) {
            Some(node) => Err(ConfigError::UnknownTieBreaker { node: *node }),
            None => Ok(()),
        }
    }
}

/// The configuration's fault. `key` is the dotted name in corosync.conf.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("quorum.device and quorum.{key} are both set; they exclude each other: remove `{key}`")]
    BesideDevice { key: &'static str },
    #[error(
        "quorum.last_man_standing: node {node} has {votes} votes; every node must have exactly one: remove quorum_votes"
    )]
    LastManStandingVotes { node: NodeId, votes: u32 },
    #[error("quorum.two_node and quorum.auto_tie_breaker are both set; they exclude each other: keep one")]
    TwoNodeAndTieBreaker,
    #[error("this node ({me}) is not in the nodelist")]
    NotInList { me: NodeId },
    #[error("quorum.expected_votes: no votes at all")]
    NoVotes,
    #[error("quorum.auto_tie_breaker_node: node {node} is not in the nodelist")]
    UnknownTieBreaker { node: NodeId },
}
