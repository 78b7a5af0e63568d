//! One link to one peer: whether it works, how far away the peer is over it, what went over it.
//!
//! ```text
//!            heartbeats in a row >= answers
//!   down ------------------------------------> up
//!        <------------------------------------
//!            silent for timeout
//! ```
//!
//! Data is never held back: with no link up, what has to be said is said over the most wanted one.

use crate::path::{Path, Sizes};
use crate::status::{LinkStatus, Traffic};
use base::Time;
use std::time::Duration;

/// How frames are spread over the links to a peer (`link_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkMode {
    /// Over the most wanted link that works.
    #[default]
    Passive,
    /// Over all that work.
    Active,
    /// Over all that work, in turn.
    RoundRobin,
}

/// How one link is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// Between two heartbeats (`knet_ping_interval`); on the links in use they are never further apart than `Config::beat_interval`.
    pub interval: Duration,
    /// Silent for that long it is down (`knet_ping_timeout`).
    pub timeout: Duration,
    /// Heartbeats in a row that bring it up (`knet_pong_count`).
    pub answers: u32,
    /// Round trips that its average is made of (`knet_ping_precision`).
    pub samples: u32,
}

impl Watch {
    /// Times that are missing follow from those that are there.
    pub fn new(interval: Option<Duration>, timeout: Option<Duration>, usual: Watch) -> Watch {
        let (interval, timeout) = match (interval, timeout) {
            (Some(interval), Some(timeout)) => (interval, timeout),
            (Some(interval), None) => (interval, interval * 3),
            (None, Some(timeout)) => (timeout / 3, timeout),
            (None, None) => (usual.interval, usual.timeout),
        };
        let interval = interval.max(SHORTEST_INTERVAL);
        // One heartbeat that is lost must not take a link down.
        Watch { interval, timeout: timeout.max(interval * 2), ..usual }
    }
}

/// Heartbeats closer together would say nothing new.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(5);

/// Fixed point of the average round trip, so that small changes count with many samples.
const SCALE: u64 = 1 << 12;
/// Beyond an hour it is a clock that is wrong.
const LONGEST_ROUND_TRIP_US: u64 = 3_600_000_000;

#[derive(Clone, Copy, Default)]
pub struct Link {
    pub heard: Option<Time>,
    pub up: bool,
    /// Heartbeats in a row while it is down.
    streak: u32,
    /// When this node's last heartbeat went out.
    pub beaten: Option<Time>,
    /// The network said that nobody listens there, and nothing has come since.
    pub unreachable: bool,
    /// A token sent over it was not acknowledged in time, and nothing has come over it since.
    pub doubtful: bool,
    pub rtt_us: Option<u64>,
    /// The average of the last `samples` round trips, times [`SCALE`].
    average: u64,
    round_trips: u32,
    round_trip_min_us: u64,
    round_trip_max_us: u64,
    /// Its last heartbeat here: the sender's clock and ours.
    pub echo: Option<(u64, Time)>,
    pub received: Traffic,
    pub sent: Traffic,
    pub errors: u64,
    pub path: Path,
    up_count: u64,
    down_count: u64,
}

impl Link {
    /// A heartbeat came. True if that brought the link up.
    pub fn beat(&mut self, watch: &Watch) -> bool {
        if self.up {
            return false;
        }
        self.streak += 1;
        self.up = self.streak >= watch.answers;
        self.up_count += u64::from(self.up);
        if let Some(now) = self.heard.filter(|_| self.up) {
            self.path.up(now);
        }
        self.up
    }

    /// Silent for how long, if that took it down.
    pub fn check(&mut self, now: Time, watch: &Watch) -> Option<Duration> {
        let silent = self.heard.map(|t| now.since(t)).unwrap_or_default();
        if silent < watch.timeout {
            return None;
        }
        self.streak = 0;
        let was_up = std::mem::replace(&mut self.up, false);
        self.down_count += u64::from(was_up);
        if was_up {
            self.path.down();
        }
        was_up.then_some(silent)
    }

    pub fn round_trip(&mut self, rtt_us: u64, watch: &Watch) {
        let rtt_us = rtt_us.min(LONGEST_ROUND_TRIP_US);
        self.rtt_us = Some(self.rtt_us.map_or(rtt_us, |old| (old * 7 + rtt_us) / 8));
        let first = self.round_trips == 0;
        self.round_trip_min_us = if first { rtt_us } else { self.round_trip_min_us.min(rtt_us) };
        self.round_trip_max_us = self.round_trip_max_us.max(rtt_us);
        self.round_trips = (self.round_trips + 1).min(watch.samples.max(1));
        let (n, sample) = (u64::from(self.round_trips), rtt_us * SCALE);
        self.average = if sample > self.average {
            self.average + (sample - self.average) / n
        } else {
            self.average - (self.average - sample) / n
        };
    }

    pub fn status(&self, number: u8, sizes: &Sizes, heard_by_peer: bool, in_use: bool) -> LinkStatus {
        LinkStatus {
            link: number,
            up: self.up,
            heard_by_peer,
            in_use,
            rtt_us: self.rtt_us,
            rtt_min_us: self.round_trip_min_us,
            rtt_max_us: self.round_trip_max_us,
            rtt_average_us: self.average / SCALE,
            round_trips: self.round_trips,
            received: self.received,
            sent: self.sent,
            errors: self.errors,
            datagram: self.path.size(sizes),
            probes_repeated: self.path.repeated,
            up_count: self.up_count,
            down_count: self.down_count,
        }
    }
}

/// Whether a set of links has this one.
pub fn is_in(set: u8, link: u8) -> bool {
    link < 8 && set >> link & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn watch() -> Watch {
        Watch { interval: MS(50), timeout: MS(150), answers: 2, samples: 4 }
    }

    #[test]
    fn missing_times_follow_from_those_that_are_there() {
        let of = |interval: Option<u64>, timeout: Option<u64>| {
            let w = Watch::new(interval.map(MS), timeout.map(MS), watch());
            (w.interval.as_millis(), w.timeout.as_millis())
        };
        assert_eq!(of(None, None), (50, 150));
        assert_eq!(of(Some(200), None), (200, 600));
        assert_eq!(of(None, Some(600)), (200, 600));
        assert_eq!(of(Some(200), Some(500)), (200, 500));
        assert_eq!(of(Some(200), Some(100)), (200, 400), "a single lost heartbeat takes no link down");
        assert_eq!(of(Some(1), None), (5, 10));
    }

    #[test]
    fn a_link_that_flaps_stays_down() {
        let (mut link, w) = (Link::default(), Watch { answers: 3, ..watch() });
        let mut now = Time::ZERO;
        let beat = |link: &mut Link, now: Time| {
            link.heard = Some(now);
            link.beat(&w)
        };
        for _ in 0..10 {
            assert!(!beat(&mut link, now) && !beat(&mut link, now + MS(50)));
            now = now + MS(400);
            assert_eq!(link.check(now, &w), None, "it was down all the time");
        }
        assert!(!beat(&mut link, now) && !beat(&mut link, now) && beat(&mut link, now));
        assert_eq!(link.check(now + MS(149), &w), None);
        assert_eq!(link.check(now + MS(150), &w), Some(MS(150)));
        assert_eq!((link.up_count, link.down_count), (1, 1));
    }

    #[test]
    fn round_trips_are_averaged_over_as_many_as_asked() {
        let (mut link, w) = (Link::default(), watch());
        for rtt in [100, 200, 300, 400] {
            link.round_trip(rtt, &w);
        }
        let sizes = crate::Config::new(base::NodeId(1), [], 1).sizes;
        let s = link.status(0, &sizes, true, true);
        assert_eq!((s.rtt_min_us, s.rtt_max_us, s.rtt_average_us, s.round_trips), (100, 400, 250, 4));
        for _ in 0..100 {
            link.round_trip(1000, &w);
        }
        assert!((999..=1000).contains(&link.status(0, &sizes, true, true).rtt_average_us), "the old ones fade");
        link.round_trip(u64::MAX, &w);
    }
}
