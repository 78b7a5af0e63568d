//! How long the controller has been silent, as the ring's thread may say it: only time in which the thread itself ran counts.
//! A controller that hangs while the thread looks on is silent; when the whole process was stopped (SIGSTOP, a paused machine)
//! nobody was silent, and the node joins again like one that starts instead of leaving.

use base::Time;
use std::time::Duration;

/// The most that one look can witness: the thread looks ten times as often.
const WITNESSED_AT_MOST: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Watch {
    tick: Time,
    looked: Time,
    silent: Duration,
}

impl Watch {
    pub fn new(now: Time) -> Watch {
        Watch { tick: Time::ZERO, looked: now, silent: Duration::ZERO }
    }

    /// `tick` is the controller's last sign of life. Gives its silence.
    pub fn look(&mut self, now: Time, tick: Time) -> Duration {
        self.silent += now.since(self.looked).min(WITNESSED_AT_MOST);
        self.looked = self.looked.max(now);
        if tick > self.tick {
            self.tick = tick;
            // The part of the silence that came after the tick.
            self.silent = self.silent.min(now.since(tick));
        }
        self.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_controller_that_hangs_is_silent_for_as_long_as_it_hangs() {
        let mut watch = Watch::new(ms(0));
        for t in (50..=1000).step_by(50) {
            assert!(watch.look(ms(t), ms(t - 10)) <= Duration::from_millis(10));
        }
        for t in (1050..=6000).step_by(50) {
            let silent = watch.look(ms(t), ms(990));
            assert_eq!(silent, Duration::from_millis(t - 990));
        }
        assert_eq!(watch.look(ms(6050), ms(6040)), Duration::from_millis(10), "one tick ends it");
    }

    #[test]
    fn the_time_in_which_the_whole_process_was_stopped_is_nobodys_silence() {
        let mut watch = Watch::new(ms(0));
        for t in (50..=1000).step_by(50) {
            watch.look(ms(t), ms(t - 10));
        }
        let resumed = watch.look(ms(9000), ms(990));
        assert!(resumed <= WITNESSED_AT_MOST + Duration::from_millis(10), "{resumed:?}");
        // But a controller that hangs on after it is found out.
        for t in (9050..=14_000).step_by(50) {
            watch.look(ms(t), ms(990));
        }
        assert!(watch.look(ms(14_050), ms(990)) > Duration::from_secs(5));
    }
}
