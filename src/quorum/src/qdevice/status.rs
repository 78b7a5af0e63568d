//! What `corosync-qdevice-tool` shows of the session, as data.

use super::{Device, Phase};
use base::Time;

/// Kept for the status alone, and what is to be said once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Notes {
    /// Why there is no connection.
    pub trouble: Option<String>,
    pub heard: bool,
    pub echoed: Option<Time>,
    /// The server has no answer yet: it is asked once more with the next echo.
    pub ask_again: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceStatus {
    /// `Connected`, `Connecting`, `Connect failed`, `Disconnected`.
    pub state: String,
    pub trouble: Option<String>,
    pub heartbeat_ms: u32,
    pub tls_active: bool,
    pub vote: Option<bool>,
    pub heuristics: String,
    pub heuristics_regular: String,
    pub heuristics_membership: String,
    pub heuristics_connect: String,
    pub keeps_partition: bool,
    /// When the last echo came back.
    pub echoed: Option<Time>,
}

impl DeviceStatus {
    pub fn echoed_ago_ms(&self, now: Time) -> Option<i64> {
        self.echoed.and_then(|at| i64::try_from(now.since(at).as_millis()).ok())
    }
}

impl Device {
    pub fn status(&self) -> DeviceStatus {
        let state = match self.phase {
            Phase::Ready => "Connected",
            Phase::Idle if self.status.trouble.is_some() && self.status.heard => "Disconnected",
            Phase::Idle if self.status.trouble.is_some() => "Connect failed",
            _ => "Connecting",
        };
        DeviceStatus {
            state: state.to_owned(),
            trouble: self.status.trouble.clone(),
            heartbeat_ms: self.heartbeat_ms,
            tls_active: self.secure,
            vote: self.vote,
            heuristics: self.heuristics.last.words().to_owned(),
            heuristics_regular: self.heuristics.regular.words().to_owned(),
            heuristics_membership: self.heuristics.membership.words().to_owned(),
            heuristics_connect: self.heuristics.connect.words().to_owned(),
            keeps_partition: self.keeps_partition,
            echoed: self.status.echoed.filter(|_| self.is_ready()),
        }
    }
}
