//! Time as the cores see it: always an argument, never read.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time in microseconds since an arbitrary start (the driver's process start, or the simulator's zero).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    pub const ZERO: Time = Time(0);

    #[inline]
    pub fn from_millis(ms: u64) -> Time {
        Time(ms * 1000)
    }

    #[inline]
    pub fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// Time that has passed since `earlier`; zero if `earlier` lies ahead.
    #[inline]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    #[inline]
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(micros(d)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    #[inline]
    fn sub(self, d: Duration) -> Time {
        Time(self.0.saturating_sub(micros(d)))
    }
}

/// As far as 64 bits reach. This is asked for with every frame, so it does without numbers of 128.
#[inline]
fn micros(d: Duration) -> u64 {
    d.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(d.subsec_micros()))
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
