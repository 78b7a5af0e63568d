//! Waiting until the cluster has nothing left to do.

use crate::source::{Failure, Source};
use base::exit::crm;
use std::time::{Duration, Instant};

/// Idle twice in a row, so that a change just made has had time to be looked at.
pub fn until_idle(source: &Source, timeout_ms: u64) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_millis(timeout_ms);
    let mut idle = 0;
    while idle < 2 {
        let status = source.status()?.ok_or_else(|| Failure::usage("waiting needs the running cluster"))?;
        idle = if status.controller.starts_with("idle") { idle + 1 } else { 0 };
        if Instant::now() > end {
            return Err(Failure::new(crm::TIMEOUT, "Error performing operation: Timer expired"));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}
