//! Whose answer it is: the hardware addresses of the cluster's nodes, as each tells the others, and which nodes are silent.
//! Pure.

use base::NodeId;
use kernel::inquiry::{Heard, Mac, Use};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// First bytes of a card: a bulletin (see `director::bulletin`) of another version, which those who do not know it pass over.
const MARK: [u8; 2] = [0x42, 2];
/// Hardware addresses of one node that are told; more are left out.
pub(super) const MAX_MACS: usize = 64;
/// A card longer than this is not read.
const MAX_CARD_BYTES: usize = 4096;
/// Nodes whose cards are kept.
const MAX_NODES: usize = 64;

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Card {
    pub macs: BTreeSet<Mac>,
}

impl Card {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MARK.to_vec();
        // Plain data of our own; writing to memory does not fail.
        let _ = serde_json::to_writer(&mut out, self);
        out
    }

    fn decode(payload: &[u8]) -> Option<Card> {
        let body = payload.strip_prefix(&MARK)?;
        let card: Card = (payload.len() <= MAX_CARD_BYTES).then(|| serde_json::from_slice(body).ok())??;
        (card.macs.len() <= MAX_MACS).then_some(card)
    }
}

/// Whether an ordered message is a card.
pub fn is_card(payload: &[u8]) -> bool {
    payload.starts_with(&MARK)
}

/// Who says something about an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Who {
    /// A node that has fallen silent: it lives.
    Silent(String),
    /// Nobody who is known, while a silent node's hardware is not known either: it may be that one.
    Unknown,
    /// A member of the ring. The cluster's state says what it holds, so it does not hold this one for the cluster.
    Member(NodeId),
    /// None of the cluster's nodes.
    Stranger,
}

#[derive(Default)]
pub(super) struct Peers {
    cards: BTreeMap<NodeId, Card>,
    silent: BTreeMap<NodeId, String>,
    /// Without this node.
    members: BTreeSet<NodeId>,
}

impl Peers {
    /// `false` if it cannot be read.
    pub fn learn(&mut self, node: NodeId, payload: &[u8]) -> bool {
        let Some(card) = Card::decode(payload) else { return false };
        if self.cards.len() < MAX_NODES || self.cards.contains_key(&node) {
            self.cards.insert(node, card);
        }
        true
    }

    pub fn set_silent(&mut self, silent: BTreeMap<NodeId, String>) {
        self.silent = silent;
    }

    pub fn set_members(&mut self, others: BTreeSet<NodeId>) {
        self.members = others;
    }

    /// As [`Peers::who`], but nobody is a stranger as long as a member has not told its hardware.
    pub fn judge(&self, mac: Mac) -> Who {
        match self.who(mac) {
            Who::Stranger if !self.members.iter().all(|node| self.cards.contains_key(node)) => Who::Unknown,
            who => who,
        }
    }

    pub fn any_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    pub fn who(&self, mac: Mac) -> Who {
        // The same hardware address may have been told by two, by one of them falsely: the silent one counts.
        let owners = || self.cards.iter().filter(|(_, card)| card.macs.contains(&mac)).map(|(node, _)| *node);
        if let Some(name) = owners().find_map(|node| self.silent.get(&node)) {
            return Who::Silent(name.clone());
        }
        if let Some(node) = owners().next() {
            return Who::Member(node);
        }
        if self.silent.keys().all(|node| self.cards.contains_key(node)) { Who::Stranger } else { Who::Unknown }
    }

    /// Whether this keeps node with hardware address `me` from taking the address. Of two that ask at the same time the one
    /// with the lower hardware address goes on.
    pub fn heeds(&self, me: Mac, heard: &Heard) -> bool {
        let counts = matches!(self.who(heard.mac), Who::Silent(_) | Who::Unknown);
        counts && (heard.what == Use::Held || heard.mac < me)
    }
}

/// `02:00:00:00:00:07`.
pub(super) fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Mac = [2, 0, 0, 0, 0, 5];

    fn card(last: &[u8]) -> Vec<u8> {
        Card { macs: last.iter().map(|n| [2, 0, 0, 0, 0, *n]).collect() }.encode()
    }

    fn held(last: u8) -> Heard {
        Heard { mac: [2, 0, 0, 0, 0, last], what: Use::Held }
    }

    fn peers(silent: &[u32]) -> Peers {
        let mut peers = Peers::default();
        peers.set_silent(silent.iter().map(|n| (NodeId(*n), format!("d{n}"))).collect());
        peers
    }

    #[test]
    fn a_silent_node_that_answers_lives() {
        let mut peers = peers(&[1]);
        assert!(peers.learn(NodeId(1), &card(&[1, 2])) && peers.learn(NodeId(3), &card(&[3])));
        assert_eq!(peers.who([2, 0, 0, 0, 0, 2]), Who::Silent("d1".into()));
        assert!(peers.heeds(ME, &held(2)) && peers.heeds(ME, &held(1)));
        assert_eq!(peers.who([2, 0, 0, 0, 0, 3]), Who::Member(NodeId(3)));
        assert_eq!(peers.who([2, 0, 0, 0, 0, 9]), Who::Stranger);
        assert!(!peers.heeds(ME, &held(3)) && !peers.heeds(ME, &held(9)));
    }

    #[test]
    fn who_is_not_known_may_be_the_silent_one() {
        let mut peers = peers(&[1, 2]);
        assert!(peers.learn(NodeId(1), &card(&[1])));
        assert_eq!(peers.who([2, 0, 0, 0, 0, 9]), Who::Unknown);
        assert!(peers.heeds(ME, &held(9)));
        assert!(peers.learn(NodeId(2), &card(&[2])));
        assert!(!peers.heeds(ME, &held(9)), "both are known now");
    }

    #[test]
    fn a_member_that_has_not_told_its_hardware_is_no_stranger() {
        let mut peers = peers(&[]);
        peers.set_members([NodeId(1)].into());
        assert_eq!(peers.judge([2, 0, 0, 0, 0, 9]), Who::Unknown);
        assert!(peers.learn(NodeId(1), &card(&[1])));
        assert_eq!(peers.judge([2, 0, 0, 0, 0, 9]), Who::Stranger);
        assert_eq!(peers.judge([2, 0, 0, 0, 0, 1]), Who::Member(NodeId(1)));
    }

    #[test]
    fn of_two_that_ask_one_goes_on() {
        let peers = peers(&[1]);
        let wanted = |last| Heard { what: Use::Wanted, ..held(last) };
        assert!(peers.heeds(ME, &wanted(4)));
        assert!(!peers.heeds(ME, &wanted(6)));
    }

    #[test]
    fn cards_are_read_as_written_and_nothing_else_is() {
        let mut peers = peers(&[]);
        assert!(is_card(&card(&[])) && !is_card(&[0x42, 1, b'{']) && !is_card(&[0x42]));
        for bad in [&b""[..], b"\x42\x02", b"\x42\x02{", b"\x42\x01{\"macs\":[]}", b"\x42\x02{\"macs\":[[1]]}"] {
            assert!(!peers.learn(NodeId(1), bad), "{bad:?}");
        }
        let many = Card { macs: (0..=MAX_MACS).map(|n| [2, 0, 0, 0, 0, n as u8]).collect() };
        assert!(!peers.learn(NodeId(1), &many.encode()));
        assert_eq!(text([2, 0, 0, 0, 0, 0xaf]), "02:00:00:00:00:af");
    }
}
