//! The process's clocks, read here and handed to the cores as arguments.

use base::{Time, WallTime};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since the first call in this process.
pub fn now() -> Time {
    Time(start().elapsed().as_micros() as u64)
}

/// The instant at which `time` is or was.
pub fn instant(time: Time) -> Instant {
    start() + std::time::Duration::from_micros(time.0)
}

pub fn wall() -> WallTime {
    WallTime(wall_us() / 1000)
}

/// Calendar time in µs since the epoch.
pub fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_micros() as i64).unwrap_or(0)
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
