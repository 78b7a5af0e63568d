//! Two nodes hold the same address: who keeps it. Pure.
//!
//! Each tells the other, sealed, what it holds and for how long. The node in the part with quorum keeps the address, else the one
//! that has held it longer, else the one with the lower number. Both judge by the same rule; where their clocks disagree on
//! who was first, the numbers decide.

use base::NodeId;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

/// Times that differ by no more than this are the same: they were taken on two machines.
const NEAR: Duration = Duration::from_millis(500);
/// Addresses in one claim: it has to fit one frame, sealed.
pub const MAX_CLAIMED: usize = 16;

/// What a node holds on one link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    pub quorate: bool,
    /// Each with how long it has been held, in ms.
    pub held: Vec<(IpAddr, u64)>,
}

impl Claim {
    pub fn encode(&self) -> Vec<u8> {
        // Plain data of our own; writing to memory does not fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None` for what is no claim.
    pub fn decode(body: &[u8]) -> Option<Claim> {
        let claim: Claim = serde_json::from_slice(body).ok()?;
        (claim.held.len() <= MAX_CLAIMED).then_some(claim)
    }
}

/// A node's right to one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Right {
    pub quorate: bool,
    pub held: Duration,
    pub node: NodeId,
}

impl Right {
    /// Whether this one keeps the address against the other.
    pub fn beats(&self, other: &Right) -> bool {
        let near = self.held.abs_diff(other.held) <= NEAR;
        let longer = if near { Ordering::Equal } else { self.held.cmp(&other.held) };
        self.quorate.cmp(&other.quorate).then(longer).then(other.node.cmp(&self.node)).is_gt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(quorate: bool, held_ms: u64, node: u32) -> Right {
        Right { quorate, held: Duration::from_millis(held_ms), node: NodeId(node) }
    }

    #[test]
    fn quorum_then_time_then_number() {
        assert!(right(true, 0, 2).beats(&right(false, 90_000, 1)));
        assert!(right(true, 90_000, 2).beats(&right(true, 1_000, 1)));
        assert!(right(false, 1_200, 1).beats(&right(false, 1_500, 2)), "as good as the same time");
    }

    #[test]
    fn of_two_exactly_one_keeps_it() {
        let all: Vec<Right> = [true, false]
            .into_iter()
            .flat_map(|q| [0, 400, 501, 1000, 60_000].map(|held| (q, held)))
            .map(|(q, held)| right(q, held, 0))
            .collect();
        for a in &all {
            for b in &all {
                let (a, b) = (Right { node: NodeId(1), ..*a }, Right { node: NodeId(2), ..*b });
                assert_ne!(a.beats(&b), b.beats(&a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_claim_is_read_as_written_and_fits_a_frame() {
        let long: IpAddr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
        let claim = Claim { quorate: true, held: vec![(long, u64::MAX); MAX_CLAIMED] };
        assert!(claim.encode().len() + 64 < 1500, "{}", claim.encode().len());
        assert_eq!(Claim::decode(&claim.encode()), Some(claim.clone()));
        let more = Claim { held: vec![(long, 1); MAX_CLAIMED + 1], ..claim };
        assert_eq!(Claim::decode(&more.encode()), None);
        assert_eq!(Claim::decode(b"{"), None);
    }
}
