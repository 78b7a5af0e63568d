//! Waiting until the cluster has nothing left to do.

use crate::source::{Failure, Source};
use base::exit::crm;
use std::time::{Duration, Instant};

/// So many times in a row, so that a change just made has had time to be looked at.
const IDLE_LOOKS: u32 = 2;
/// The same where another node is the coordinator: between the operations of one transition this node sees none either.
const FOLLOWING_LOOKS: u32 = 6;

/// Returns once nothing has been under way for a few looks.
pub fn until_idle(source: &Source, timeout_ms: u64) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_millis(timeout_ms);
    let mut quiet = 0;
    loop {
        let status = source.status()?.ok_or_else(|| Failure::usage("waiting needs the running cluster"))?;
        let wanted = match status.controller.as_str() {
            "idle" => IDLE_LOOKS,
            "following" => FOLLOWING_LOOKS,
            _ => u32::MAX,
        };
        quiet = if wanted == u32::MAX { 0 } else { quiet + 1 };
        if quiet >= wanted {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Failure::new(crm::TIMEOUT, "Error performing operation: Timer expired"));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}
