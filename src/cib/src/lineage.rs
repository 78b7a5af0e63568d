//! Which document stays when partitions meet: the one that last had quorum, then the higher version, then the lower node id.
//!
//! The ring's view numbers grow along every chain of views that share a member, and two quorate views always share one;
//! so the view under which a document last was quorate orders the lineages.

use crate::Version;
use base::NodeId;
use std::fmt;

/// Where a document's line last had quorum: the view's number and its representative; zeros if it never had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lineage {
    pub view_seq: u64,
    pub rep: NodeId,
}

impl Default for Lineage {
    fn default() -> Lineage {
        Lineage { view_seq: 0, rep: NodeId(0) }
    }
}

impl Lineage {
    /// To be called for every view that is installed with quorum.
    pub fn quorate_view(&mut self, view_seq: u64, rep: NodeId) {
        *self = (*self).max(Lineage { view_seq, rep });
    }

    /// The text form of files and messages: `SEQ.REP`.
    pub fn parse(text: &str) -> Option<Lineage> {
        let (seq, rep) = text.split_once('.')?;
        Some(Lineage { view_seq: seq.parse().ok()?, rep: NodeId(rep.parse().ok()?) })
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view_seq, self.rep)
    }
}

/// What one member brings to a merge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateOffer {
    pub node: NodeId,
    pub lineage: Lineage,
    pub version: Version,
    /// [`crate::Cib::digest`]; members with the winner's digest have nothing to fetch.
    pub digest: String,
}

/// The offer whose document stays. Views of one number that both had quorum (two nodes that each went on alone) are as
/// good as each other, so there the version decides. Every member computes the same from the same offers, in any order.
pub fn choose_winner(offers: &[StateOffer]) -> Option<&StateOffer> {
    offers.iter().max_by_key(|o| (o.lineage.view_seq, o.version, std::cmp::Reverse(o.node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(node: u32, seq: u64, epoch: u64) -> StateOffer {
        let version = Version { admin_epoch: 0, epoch, num_updates: 0 };
        StateOffer {
            node: NodeId(node),
            lineage: Lineage { view_seq: seq, rep: NodeId(1) },
            version,
            digest: String::new(),
        }
    }

    #[test]
    fn quorum_then_version_then_lower_id() {
        let winner = |offers: &[StateOffer]| choose_winner(offers).map(|o| o.node.0);
        assert_eq!(winner(&[offer(1, 8, 99), offer(2, 12, 3)]), Some(2));
        assert_eq!(winner(&[offer(1, 12, 3), offer(2, 12, 4)]), Some(2));
        assert_eq!(winner(&[offer(3, 12, 4), offer(2, 12, 4)]), Some(2));
        assert_eq!(winner(&[]), None);
    }

    #[test]
    fn text_form_round_trips() {
        let mut lineage = Lineage::default();
        lineage.quorate_view(20, NodeId(3));
        lineage.quorate_view(16, NodeId(1));
        assert_eq!(lineage.to_string(), "20.3");
        assert_eq!(Lineage::parse("20.3"), Some(lineage));
        assert_eq!(Lineage::parse("x"), None);
    }
}
