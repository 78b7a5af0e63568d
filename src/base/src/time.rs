//! Time as the cores see it: always an argument, never read.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time in microseconds since an arbitrary start (the driver's process start, or the simulator's zero).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    pub const ZERO: Time = Time(0);

    pub fn from_millis(ms: u64) -> Time {
        Time(ms * 1000)
    }

    pub fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// Time that has passed since `earlier`; zero if `earlier` lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(d.as_micros().min(u128::from(u64::MAX)) as u64))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, d: Duration) -> Time {
        Time(self.0.saturating_sub(d.as_micros().min(u128::from(u64::MAX)) as u64))
    }
}

/// Calendar time in milliseconds since 1970-01-01T00:00:00Z, as written into the CIB's histories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct WallTime(pub i64);

impl WallTime {
    pub fn from_secs(secs: i64) -> WallTime {
        WallTime(secs.saturating_mul(1000))
    }

    pub fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
