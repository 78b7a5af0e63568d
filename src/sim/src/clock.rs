//! A process's clock: it counts from the process's start, runs a little fast or slow, and stands still while its machine does.

use base::Time;
use std::time::Duration;

const MILLION: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// World time at which it would have shown [`Clock::FIRST`] if it had never stood still.
    began: Time,
    /// Parts in a million that it runs fast.
    drift_ppm: i64,
}

impl Clock {
    /// No clock shows zero: it stands for "never".
    const FIRST: u64 = 1_000;

    pub fn new(began: Time, drift_ppm: i64) -> Clock {
        Clock { began, drift_ppm }
    }

    /// What it shows at this moment of the world.
    pub fn shows(&self, world: Time) -> Time {
        let ran = world.0.saturating_sub(self.began.0);
        Time(Clock::FIRST + ran * self.speed() / MILLION)
    }

    /// The first moment of the world at which it shows `local`.
    pub fn when(&self, local: Time) -> Time {
        let shown = local.0.saturating_sub(Clock::FIRST);
        Time(self.began.0 + (shown * MILLION).div_ceil(self.speed()))
    }

    /// Parts of a million. With 64 bits that reaches for half a year.
    fn speed(&self) -> u64 {
        MILLION.saturating_add_signed(self.drift_ppm)
    }

    pub fn stand_still(&mut self, for_how_long: Duration) {
        self.began = self.began + for_how_long;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_when_the_clock_shows_it() {
        for ppm in [-500, -1, 0, 7, 500] {
            let mut clock = Clock::new(Time::from_millis(777), ppm);
            clock.stand_still(Duration::from_millis(250));
            for local in [1_000, 1_001, 5_000, 123_456, 60_000_000, 3_600_000_000] {
                let at = clock.when(Time(local));
                let shown = clock.shows(at).0;
                assert!(shown >= local && shown <= local + 1, "{ppm} ppm: {local} is shown as {shown}");
            }
        }
    }
}
