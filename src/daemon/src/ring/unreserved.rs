//! Ring numbers that are in use before the disk has them. One that is merely slow is nobody's business, as at every start; one
//! that fails or hangs is told, once.

use base::Time;
use std::time::Duration;

/// A state directory that takes longer for a ring number is told.
const WITHIN: Duration = Duration::from_secs(3);

#[derive(Clone, Copy)]
struct Waiting {
    seq: u64,
    since: Time,
    told: bool,
}

#[derive(Default)]
pub(super) struct Unreserved(Option<Waiting>);

impl Unreserved {
    /// This number is used, and on disk or not.
    pub fn used(&mut self, now: Time, seq: u64, reserved: bool) {
        self.0 = match self.0 {
            _ if reserved => None,
            Some(waiting) => Some(Waiting { seq, ..waiting }),
            None => Some(Waiting { seq, since: now, told: false }),
        };
    }

    /// What to tell by now, if anything; `reserve` asks for a number and says whether it is on disk.
    pub fn look(&mut self, now: Time, reserve: &mut dyn FnMut(u64) -> bool) -> Option<String> {
        let waiting = self.0?;
        if reserve(waiting.seq) {
            self.0 = None;
            return None;
        }
        let lasts = now.since(waiting.since);
        if waiting.told || lasts < WITHIN {
            return None;
        }
        self.0 = Some(Waiting { told: true, ..waiting });
        let (seq, s) = (waiting.seq, lasts.as_secs());
        Some(format!("ring number {seq} is used although the state directory has not taken one for {s} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_not_told_and_one_that_hangs_is_once() {
        let at = Time::from_millis;
        let mut unreserved = Unreserved::default();
        unreserved.used(at(0), 8, false);
        assert_eq!(unreserved.look(at(1000), &mut |_| false), None, "slow");
        assert_eq!(unreserved.look(at(1500), &mut |seq| seq == 8), None, "there it is");
        assert_eq!(unreserved.look(at(9000), &mut |_| panic!("nothing waits")), None);
        unreserved.used(at(10_000), 12, false);
        unreserved.used(at(12_000), 16, false);
        let told: Vec<String> = (100..200).filter_map(|t| unreserved.look(at(t * 100), &mut |_| false)).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("ring number 16") && told[0].ends_with("for 3 s"), "{told:?}");
        unreserved.used(at(20_000), 20, true);
        assert_eq!(unreserved.look(at(30_000), &mut |_| false), None);
    }
}
