//! Identifiers that cross crate borders.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A cluster node's number, `nodeid` of corosync.conf: 1..=65535; 0 never names a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId(pub u32);

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
