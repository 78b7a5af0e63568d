//! What one node has all members do at the same place of the order, beside the cluster's state: a reload, votes.

use super::core::Core;
use base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A bulletin of this kind ([`agents::is_bulletin`]).
const MARK: [u8; 2] = [0x42, 4];
/// A file of the largest cluster, many times over.
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::node) enum Order {
    Reload(quorum::reload::Message),
    /// `corosync-quorumtool -e`.
    ExpectedVotes(u32),
    /// `corosync-quorumtool -v -n`.
    Votes {
        node: NodeId,
        votes: u32,
    },
    /// Said to those who join: what was changed at run time.
    RunTimeVotes {
        expected: Option<u32>,
        votes: BTreeMap<NodeId, u32>,
        /// Whether the sender was quorate before they came.
        quorate: bool,
    },
    /// `quorum.cancel_wait_for_all`.
    CancelWaitForAll,
    /// `corosync-cfgtool -k`: this node ends.
    Kill(NodeId),
    /// What the sender's quorum device says.
    Device(quorum::DeviceState),
    /// Processes that join and leave groups.
    Group(totem::GroupMessage),
}

impl Order {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MARK.to_vec();
        // Maps with plain keys and texts cannot fail.
        out.extend(serde_json::to_vec(self).unwrap_or_default());
        out
    }
}

pub(in crate::node) fn is_order(payload: &[u8]) -> bool {
    payload.starts_with(&MARK)
}

/// `None`: of a version that this one does not know.
pub(in crate::node) fn decode(payload: &[u8]) -> Option<Order> {
    let body = payload.strip_prefix(&MARK).filter(|body| body.len() <= MAX_BYTES)?;
    serde_json::from_slice(body).ok()
}

impl Core {
    pub(super) async fn ordered(&mut self, sender: NodeId, payload: &[u8]) {
        match decode(payload) {
            Some(Order::Reload(message)) => self.reload_ordered(sender, message).await,
            Some(Order::Kill(node)) if node == self.me() => self.killed(sender).await,
            Some(Order::Kill(_)) => {}
            Some(Order::Device(state)) => self.peer_device(sender, state),
            Some(Order::Group(message)) => self.group_ordered(sender, message),
            Some(order) => self.votes_ordered(sender, order).await,
            None => tracing::warn!("node {sender} ordered what this version does not know"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back_as_they_went_and_nonsense_is_none() {
        let votes = BTreeMap::from([(NodeId(3), 2)]);
        for order in [
            Order::ExpectedVotes(7),
            Order::Votes { node: NodeId(2), votes: 0 },
            Order::RunTimeVotes { expected: None, votes, quorate: true },
            Order::CancelWaitForAll,
            Order::Kill(NodeId(4)),
            Order::Group(totem::GroupMessage::Here([("web".to_owned(), 7)].into())),
            Order::Device(quorum::DeviceState { registered: true, alive: true, cast: false }),
        ] {
            let payload = order.encode();
            assert!(is_order(&payload) && agents::is_bulletin(&payload) && !agents::lan::is_card(&payload));
            assert_eq!(decode(&payload), Some(order));
        }
        for bad in [&b"\x42\x04"[..], b"\x42\x04{\"boil_water\":1}", b"\x42\x03null", b""] {
            assert_eq!(decode(bad), None);
        }
    }
}
