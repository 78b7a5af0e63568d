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
