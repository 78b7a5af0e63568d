//! What monitoring asks of a node: changes of members, quorum and links, numbered so that whoever follows misses none; the process
//! groups; what happened of late, for a person who looks for a fault.

use super::{NodeStatus, QuorumStatus};
use base::NodeId;
use serde::{Deserialize, Serialize};

/// The longest that `GET /v1/changes` waits for news.
pub const MAX_CHANGES_WAIT_MS: u64 = 30_000;

/// What changed after a number that the caller names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Changes {
    /// The node that tells.
    pub me: NodeId,
    pub name: String,
    pub quorate: bool,
    /// Number of the newest change; a node that was started again counts anew.
    pub last: u64,
    /// Changes after the number that were not kept.
    pub lost: u64,
    pub changes: Vec<Told>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    pub number: u64,
    /// µs since the epoch.
    pub wall_us: i64,
    pub change: Change,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Change {
    /// A node came into the ring, or is not in it any more.
    Node {
        node: NodeId,
        name: String,
        address: String,
        joined: bool,
    },
    Quorum {
        quorate: bool,
    },
    /// A link of this node to another.
    Link {
        node: NodeId,
        name: String,
        link: u8,
        up: bool,
    },
}

/// Process groups as all members of the ring see them (`corosync-cpgtool`), sorted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Groups {
    pub groups: Vec<Group>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub members: Vec<GroupMember>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GroupMember {
    pub node: NodeId,
    pub pid: u32,
    /// First address of the node.
    pub address: String,
}

/// Write down what happened of late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BlackboxCall {}

/// Where it was written, and what.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BlackboxReply {
    /// Absent if the disk did not take it.
    pub file: Option<String>,
    pub problem: Option<String>,
    pub blackbox: Blackbox,
}

/// What a node's blackbox holds; the file is this as JSON.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Blackbox {
    pub version: String,
    pub node: String,
    pub pid: u32,
    /// Why it was written: an operator asked, a panic, the node's end.
    pub reason: String,
    pub wall_us: i64,
    /// Older records that are not kept any more.
    pub forgotten: u64,
    /// Oldest first.
    pub records: Vec<BlackboxRecord>,
    /// What the node showed last.
    #[serde(default)]
    pub status: Option<NodeStatus>,
    #[serde(default)]
    pub quorum: Option<QuorumStatus>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlackboxRecord {
    /// µs since the epoch.
    pub wall_us: i64,
    /// Of a line of the log its level, else the kind of the event.
    pub kind: String,
    /// What it is about; empty for a line of the log.
    pub subject: String,
    pub text: String,
}
