//! Identifiers that cross crate borders.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A cluster node's number, `nodeid` of corosync.conf: 1..=65535; 0 never names a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// Numbers of nodes that are no members of the ring: never those of a `nodeid`.
const REMOTE: u32 = 1 << 31;

impl NodeId {
    /// The number under which a remote or guest node is kept, which has a name only. The same on every member, and the same for
    /// both cases of a letter ([`same_node`]).
    pub fn of_remote(name: &str) -> NodeId {
        // FNV-1a.
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
        NodeId(name.bytes().fold(0x811c_9dc5, step) | REMOTE)
    }

    /// Whether this is a remote or guest node's.
    pub fn is_remote(self) -> bool {
        self.0 & REMOTE != 0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether two names are one node's. The one place that compares them: letters count the same in both cases, as in
/// Pacemaker (`pcmk_find_node`, the peer cache) and in the names of hosts (RFC 4343).
pub fn same_node(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
