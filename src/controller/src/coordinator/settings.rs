//! Cluster properties that the coordinator heeds.

use crate::api::Config;
use crate::replica::Replica;
use crate::transition::Limits;
use base::text::parse_interval_ms;
use std::time::Duration;

/// `cluster-recheck-interval` unless set.
const RECHECK: Duration = Duration::from_secs(15 * 60);

pub(super) fn recheck_interval(replica: &Replica) -> Duration {
    match replica.property("cluster-recheck-interval").and_then(parse_interval_ms) {
        Some(0) | None => RECHECK,
        Some(ms) => Duration::from_millis(ms),
    }
}

pub(super) fn limits(replica: &Replica, config: &Config) -> Limits {
    let number = |name: &str| replica.property(name).and_then(|v| v.parse::<usize>().ok()).filter(|n| *n > 0);
    Limits {
        batch: number("batch-limit").unwrap_or(0),
        per_node: number("node-action-limit").unwrap_or(config.node_action_limit as usize),
    }
}
