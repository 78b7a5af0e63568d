//! What a virtual service asks of its servers' standing beyond a single check.

use base::Time;
use std::time::Duration;

/// More falls than this are not counted, whatever is asked for.
pub const MAX_FLAP_CHANGES: u32 = 100;
/// Steps in which a server that came back gets its weight: few enough that log and table stay quiet.
const RAMP_STEPS: u64 = 10;
/// Largest weight that the kernel's tools take.
pub const MAX_WEIGHT: u32 = 65_535;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// Failures in a row that bring a server down which was up (`failurecount`, `fall`).
    pub fall: u32,
    /// Passed checks in a row that bring a server back which was down (`rise`). One that nothing is known of needs only one.
    pub rise: u32,
    pub flap: Option<Flap>,
    /// How long the weight of a server that came back takes to be whole; zero: at once.
    pub slow_start: Duration,
    /// Whether an agent on the server is asked for weight and state.
    pub agent: bool,
}

/// Flap damping: who goes down `changes` times within `window` stays down until every check has passed for `hold`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flap {
    pub changes: u32,
    pub window: Duration,
    pub hold: Duration,
}

impl Tuning {
    /// Down after so many failures in a row, and nothing else.
    pub fn fall(fall: u32) -> Tuning {
        Tuning { fall, rise: 1, flap: None, slow_start: Duration::ZERO, agent: false }
    }

    /// The share of `weight` that a server has which came back at `risen`.
    pub fn ramp(&self, weight: u32, risen: Option<Time>, now: Time) -> u32 {
        let Some(elapsed) = self.ramping(risen, now) else { return weight };
        let whole = u64::try_from(self.slow_start.as_micros()).unwrap_or(u64::MAX).max(1);
        let step = (elapsed.as_micros() as u64).saturating_mul(RAMP_STEPS) / whole;
        (u64::from(weight) * (step + 1)).div_ceil(RAMP_STEPS).min(u64::from(weight)) as u32
    }

    /// For how long a server has been on its way to its whole weight, if it is.
    pub fn ramping(&self, risen: Option<Time>, now: Time) -> Option<Duration> {
        let elapsed = now.since(risen?);
        (elapsed < self.slow_start).then_some(elapsed)
    }
}
