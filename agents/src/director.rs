//! `ocf:heartbeat:ldirectord`: the director, in process.

use crate::call::{AgentCall, AgentOutcome};
use crate::native::DataPlane;

/// Running directors, by resource.
pub struct Directors {
    #[allow(dead_code)]
    data_plane: DataPlane,
}

impl Directors {
    pub(crate) fn new(data_plane: DataPlane) -> Directors {
        Directors { data_plane }
    }
}

pub(crate) async fn run(_call: &AgentCall, _directors: &Directors) -> AgentOutcome {
    AgentOutcome::error("the director is not wired in yet")
}
