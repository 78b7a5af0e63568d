//! Which document stays when partitions meet: the one that last had quorum, then the higher version, then the lower node id.
//!
//! The ring's view numbers grow along every chain of views that share a member, and two quorate views always share one;
//! so the view under which a document last was quorate orders the lineages.

use crate::Version;
use base::NodeId;
use std::fmt;

/// The text form of [`Lineage::NONE`].
const NO_CONTENT: &str = "none";

/// Where a document's line last had quorum: the view's number and its representative; zeros if it never had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lineage {
    /// False for what stands in place of a document that was lost: it gives way to any content, and no quorum makes it
    /// better. See [`Lineage::NONE`].
    pub content: bool,
    pub view_seq: u64,
    pub rep: NodeId,
}

impl Default for Lineage {
    fn default() -> Lineage {
        Lineage { content: true, view_seq: 0, rep: NodeId(0) }
    }
}

impl Lineage {
    /// Of a node whose stored documents can all not be read.
    pub const NONE: Lineage = Lineage { content: false, view_seq: 0, rep: NodeId(0) };

    /// To be called for every view that is installed with quorum.
    pub fn quorate_view(&mut self, view_seq: u64, rep: NodeId) {
        if self.content {
            *self = (*self).max(Lineage { content: true, view_seq, rep });
        }
    }

    /// Someone has put a document in the place of the lost one.
    pub fn fill(&mut self) {
        if !self.content {
            *self = Lineage::default();
        }
    }

    /// The text form of files and messages: `SEQ.REP`, or `none`.
    pub fn parse(text: &str) -> Option<Lineage> {
        if text == NO_CONTENT {
            return Some(Lineage::NONE);
        }
        let (seq, rep) = text.split_once('.')?;
        Some(Lineage { content: true, view_seq: seq.parse().ok()?, rep: NodeId(rep.parse().ok()?) })
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.content {
            return f.write_str(NO_CONTENT);
        }
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
    offers.iter().max_by_key(|o| (o.lineage.content, o.lineage.view_seq, o.version, std::cmp::Reverse(o.node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(node: u32, seq: u64, epoch: u64) -> StateOffer {
        let version = Version { admin_epoch: 0, epoch, num_updates: 0 };
        StateOffer {
            node: NodeId(node),
            lineage: Lineage { content: true, view_seq: seq, rep: NodeId(1) },
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
    fn no_content_never_wins() {
        let mut none = StateOffer { lineage: Lineage::NONE, ..offer(1, 0, 99) };
        none.lineage.quorate_view(1000, NodeId(1));
        assert_eq!(choose_winner(&[none.clone(), offer(2, 0, 0)]).map(|o| o.node.0), Some(2));
        assert_eq!(Lineage::parse(&none.lineage.to_string()), Some(Lineage::NONE));
        none.lineage.fill();
        none.lineage.quorate_view(1000, NodeId(1));
        assert_eq!(choose_winner(&[none, offer(2, 8, 0)]).map(|o| o.node.0), Some(1));
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
