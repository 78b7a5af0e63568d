//! What a ring tells its user: views, messages, events. Plain data; nothing here decides anything.

use base::NodeId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Identity of a ring and of the view that it carries: its representative (lowest member) and a number that only grows.
/// Ordered by number first, so that the younger of two views is the greater.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ViewId {
    /// Node number of the representative; 0 in the view "none yet".
    pub rep: u32,
    pub seq: u64,
}

impl ViewId {
    /// Before the first view is installed.
    pub const NONE: ViewId = ViewId { rep: 0, seq: 0 };
}

impl PartialOrd for ViewId {
    fn partial_cmp(&self, other: &ViewId) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ViewId {
    fn cmp(&self, other: &ViewId) -> std::cmp::Ordering {
        (self.seq, self.rep).cmp(&(other.seq, other.rep))
    }
}

impl fmt::Display for ViewId {
    /// As corosync prints ring ids: `rep.seq`, the number in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.rep, self.seq)
    }
}

/// A regular configuration: who is in the ring from here on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct View {
    pub id: ViewId,
    /// Ascending.
    pub members: Vec<NodeId>,
    /// Members of both this and this node's previous view that came along with it: they delivered exactly the same
    /// messages in the previous view. Ascending; always contains this node.
    pub transitional: Vec<NodeId>,
    /// `members` without `transitional`: their state may differ from ours. A node that left and came back within one
    /// change stands in `joined` and in `left`.
    pub joined: Vec<NodeId>,
    /// Members of the previous view that did not come along.
    pub left: Vec<NodeId>,
    pub previous: ViewId,
}

/// The transitional configuration: messages delivered between it and the next [`View`] were sent in the old view, but only
/// `members` are known to deliver them there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transitional {
    /// The view that ends.
    pub view: ViewId,
    pub members: Vec<NodeId>,
}

/// An ordered message. `(view, seq)` is the same, and in the same order, at every node that delivers it; own ones come back too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub sender: NodeId,
    pub view: ViewId,
    /// Grows within a view, with gaps.
    pub seq: u64,
    pub payload: Vec<u8>,
}

/// What the node wants done. Order matters: perform the outputs as they come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Seal `frame`, a datagram, and send it to `to` over `link`.
    Send {
        to: NodeId,
        link: u8,
        frame: Bytes,
    },
    /// Ask the host of `to` over `link` for an ICMP echo; its answer goes to [`Node::host_answered`](crate::Node::host_answered).
    Echo {
        to: NodeId,
        link: u8,
    },
    Deliver(Message),
    /// Every member (after [`Output::Transitional`]: every transitional member) of `view` holds everything up to `seq`.
    Safe {
        view: ViewId,
        seq: u64,
    },
    Transitional(Transitional),
    View(View),
    /// Write this down (with fsync) before doing the outputs that follow; hand it back in `Config::ring_seq` at the next start.
    SaveRingSeq(u64),
    Event(Event),
}

/// For logs and the timeline; nothing has to be done about them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Nothing was heard from the peer for `silent_ms`; it is being taken out of the ring.
    PeerSuspected {
        node: NodeId,
        silent_ms: u64,
        reason: Suspicion,
    },
    LinkUp {
        node: NodeId,
        link: u8,
    },
    LinkDown {
        node: NodeId,
        link: u8,
        silent_ms: u64,
    },
    /// Datagrams of at most this size go over the link from now on: larger ones pass, or those of the size before do not.
    LinkSize {
        node: NodeId,
        link: u8,
        bytes: usize,
        before: usize,
    },
    /// What the peer's heartbeats say of its controller and quorum has changed.
    PeerFlags {
        node: NodeId,
        ready: bool,
        quorate: bool,
    },
    PeerRestarted {
        node: NodeId,
    },
    PeerLeft {
        node: NodeId,
    },
    /// This process did not run for that long; silence meanwhile is not held against the peers.
    LocalStall {
        stalled_ms: u64,
    },
    /// The membership protocol (re)starts.
    Gather {
        reason: GatherReason,
    },
    /// This node may have been left behind (a stall of its own, or the word of those who put it out): it has ended its view
    /// and looks for a ring like a process that has just started, under a new incarnation.
    StartedOver {
        reason: GatherReason,
        incarnation: u64,
    },
    /// A ring number that nobody can have reached: from `node`, or from this node's own file. It is not taken over.
    RingNumberRefused {
        node: NodeId,
        got: u64,
        limit: u64,
    },
    /// A ring could not be formed in several rounds; the node goes on alone for a while.
    GaveUpForming {
        rounds: u32,
    },
    /// This node has left, and comes back after that time.
    SteppedOut {
        out_ms: u64,
    },
    /// This node has left; it does nothing any more.
    Left,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// Heartbeats and everything else stayed out.
    Silence,
    /// The network reports that nobody listens there (ICMP), on every link.
    Unreachable,
    /// A member of the ring said so.
    ReportedByMember,
    /// It is alive but did not agree on a membership in time.
    NoConsensus,
    /// It works in another ring.
    OtherRing,
    /// It came back under a new incarnation.
    Restarted,
    Left,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatherReason {
    Start,
    PeerSuspected,
    PeerLeft,
    JoinReceived,
    Merge,
    TokenLost,
    CommitTimeout,
    LocalStall,
    ConsensusTimeout,
    /// Others that live and hear this node go on without it.
    PutOut,
}

/// Where the node is in the ring protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Operational,
    #[default]
    Gather,
    Commit,
    Recovery,
    Left,
}

/// Why `broadcast` refused; nothing was queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BroadcastError {
    #[error("message of {got} bytes; at most {limit}")]
    TooLarge { got: usize, limit: usize },
    #[error("{queued} bytes wait to be sent; at most {limit}")]
    QueueFull { queued: usize, limit: usize },
    #[error("this node has left the ring")]
    Left,
}
