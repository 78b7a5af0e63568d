//! What agents need of the process that they run in.

use crate::lan;
use crate::lease::KeeperEvent;
use std::sync::Arc;

/// Opens the table that a director programs: the kernel's, or the embedded relay's.
pub type DataPlane = Arc<dyn Fn() -> Result<Box<dyn kernel::ipvs::Ipvs>, kernel::ipvs::Error> + Send + Sync>;

/// What happened in an agent, for the log and the fail-over timeline.
#[derive(Clone, Debug)]
pub enum Event {
    Address(KeeperEvent),
    Lan(lan::Event),
    /// A director has the table now, and on what it rests.
    Director {
        resource: String,
        text: String,
    },
    /// A node attribute of this node, to be set or (`None`) removed.
    Attribute {
        name: String,
        value: Option<String>,
    },
}
