//! What `corosync-quorumtool -s` shows, as data.

use crate::{DeviceState, Quorum};
use base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub provider: String,
    pub node: NodeId,
    pub ring_rep: u32,
    pub ring_seq: u64,
    pub quorate: bool,
    pub expected_votes: u32,
    pub highest_expected: u32,
    pub total_votes: u32,
    /// Votes needed.
    pub quorum: u32,
    pub two_node: bool,
    pub wait_for_all: bool,
    /// Still waiting for a first meeting of all nodes.
    pub waiting_for_all: bool,
    pub auto_tie_breaker: bool,
    pub last_man_standing: bool,
    pub allow_downscale: bool,
    /// Votes of the quorum device, if there is one.
    pub device_votes: Option<u32>,
    pub device: DeviceState,
    /// Present ones, ascending.
    pub members: Vec<Member>,
    /// Of the nodelist but not present, ascending.
    pub absent: Vec<Member>,
    pub lowest_node: Option<NodeId>,
    pub highest_node: Option<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    pub votes: u32,
    pub name: String,
    pub local: bool,
}

impl Status {
    /// `1.8`: representative, dot, number in hexadecimal.
    pub fn ring_id(&self) -> String {
        format!("{}.{:x}", self.ring_rep, self.ring_seq)
    }

    /// The words of the `Flags:` line in the original's order.
    pub fn flags(&self) -> Vec<&'static str> {
        let all = [
            (self.two_node, "2Node"),
            (self.quorate, "Quorate"),
            (self.wait_for_all, "WaitForAll"),
            (self.last_man_standing, "LastManStanding"),
            (self.auto_tie_breaker, "AutoTieBreaker"),
            (self.allow_downscale, "AllowDownscale"),
            (self.device.registered, "Qdevice"),
        ];
        all.into_iter().filter_map(|(on, word)| on.then_some(word)).collect()
    }
}

pub(crate) fn status(q: &Quorum, ring: (u32, u64), names: &BTreeMap<NodeId, String>) -> Status {
    let member = |node: NodeId| Member {
        node,
        votes: q.votes_of(node),
        name: names.get(&node).cloned().unwrap_or_else(|| node.to_string()),
        local: node == q.config.me,
    };
    let absent = q.config.votes.keys().copied().filter(|n| !q.view.contains(n));
    Status {
        provider: "corosync_votequorum".to_owned(),
        node: q.config.me,
        ring_rep: ring.0,
        ring_seq: ring.1,
        quorate: q.quorate,
        expected_votes: q.expected_votes(),
        highest_expected: q.highest_expected,
        total_votes: q.total_votes(),
        quorum: q.quorum_votes(),
        two_node: q.config.two_node_effective(),
        wait_for_all: q.config.wait_for_all(),
        waiting_for_all: q.is_waiting_for_all(),
        auto_tie_breaker: q.config.auto_tie_breaker.is_some(),
        last_man_standing: q.config.last_man_standing,
        allow_downscale: q.config.allow_downscale,
        device_votes: q.config.device,
        device: q.device,
        members: q.view.iter().copied().map(member).collect(),
        absent: absent.map(member).collect(),
        lowest_node: q.view.first().copied(),
        highest_node: q.view.last().copied(),
    }
}
