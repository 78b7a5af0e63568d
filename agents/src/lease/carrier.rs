//! Links without carrier, and when one that has it again may be used. Pure: time is an argument.
//!
//! ```text
//!   carrier ──lost──► without ──back──► settling, for `hold` ──► fit: what has failed for it is of no meaning now
//!      ▲                 ▲                  │ lost
//!      └─ calm: hold ────┴── hold doubles ──┘
//!         is short again
//! ```

use base::lease::Bounds;
use std::collections::BTreeMap;
use std::time::Duration;

/// Links that are remembered.
const MAX_LINKS: usize = 4096;

pub(super) struct Carriers {
    bounds: Bounds,
    links: BTreeMap<u32, Link>,
    /// Resources that have failed for want of a carrier, with their link.
    failed: BTreeMap<String, u32>,
}

struct Link {
    running: bool,
    /// When it was lost last.
    lost: Duration,
    hold: Duration,
    /// When it may be used again, if it has its carrier.
    fit: Duration,
}

/// What a look at a link shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    None,
    Lost,
    Back,
}

impl Carriers {
    pub fn new(bounds: Bounds) -> Carriers {
        Carriers { bounds, links: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// How a link is at `now`.
    pub fn seen(&mut self, index: u32, running: bool, now: Duration) -> Change {
        let bounds = self.bounds;
        match self.links.get_mut(&index) {
            None if running => Change::None,
            None => {
                // Indexes of links that are gone are not used again soon.
                while self.links.len() >= MAX_LINKS {
                    self.links.pop_first();
                }
                self.links.insert(index, Link { running, lost: now, hold: bounds.settle, fit: now });
                Change::Lost
            }
            Some(link) if link.running == running => Change::None,
            Some(link) if running => {
                (link.running, link.fit) = (true, now + link.hold);
                Change::Back
            }
            Some(link) => {
                let flaps = now.saturating_sub(link.lost) < bounds.calm.max(link.hold * 2);
                link.hold = if flaps { (link.hold * 2).min(bounds.settle_most) } else { bounds.settle };
                (link.running, link.lost) = (false, now);
                Change::Lost
            }
        }
    }

    /// The resource cannot run here until this link is fit.
    pub fn fail(&mut self, resource: &str, index: u32) {
        if self.failed.len() < base::lease::MAX_LEASES || self.failed.contains_key(resource) {
            self.failed.insert(resource.to_owned(), index);
        }
    }

    /// It runs.
    pub fn forget(&mut self, resource: &str) {
        self.failed.remove(resource);
    }

    /// Resources whose link is fit at `now`; each is told once.
    pub fn due(&mut self, now: Duration) -> Vec<String> {
        let links = &self.links;
        let fit = |index: &u32| links.get(index).is_none_or(|l| l.running && l.fit <= now);
        let due: Vec<String> = self.failed.iter().filter(|(_, l)| fit(l)).map(|(r, _)| r.clone()).collect();
        due.iter().for_each(|resource| self.forget(resource));
        due
    }

    /// When [`Carriers::due`] has something next.
    pub fn deadline(&self) -> Option<Duration> {
        let fit = |index: &u32| match self.links.get(index) {
            None => Some(Duration::ZERO),
            Some(link) => link.running.then_some(link.fit),
        };
        self.failed.values().filter_map(fit).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Bounds = Bounds::STANDARD;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Loses the carrier at `now`, has it back 10 ms later; how long it settles.
    fn flap(carriers: &mut Carriers, now: Duration) -> Duration {
        assert_eq!(carriers.seen(3, false, now), Change::Lost);
        assert_eq!(carriers.seen(3, false, now), Change::None);
        carriers.fail("vip", 3);
        assert_eq!((carriers.deadline(), carriers.due(now + ms(9))), (None, vec![]), "not without carrier");
        assert_eq!(carriers.seen(3, true, now + ms(10)), Change::Back);
        let fit = carriers.deadline().expect("it settles");
        assert_eq!(carriers.due(fit - ms(1)), Vec::<String>::new());
        assert_eq!(carriers.due(fit), ["vip"]);
        assert_eq!((carriers.due(fit), carriers.deadline()), (vec![], None), "told once");
        fit - now - ms(10)
    }

    #[test]
    fn a_flapping_carrier_has_to_settle_longer_each_time() {
        let mut carriers = Carriers::new(B);
        let mut now = ms(1000);
        let mut holds = Vec::new();
        for _ in 0..12 {
            let hold = flap(&mut carriers, now);
            holds.push(hold);
            now += hold + ms(500);
        }
        assert_eq!(holds[..3], [B.settle, B.settle * 2, B.settle * 4]);
        assert_eq!(*holds.last().unwrap(), B.settle_most);
        now += B.calm.max(B.settle_most * 2);
        assert_eq!(flap(&mut carriers, now), B.settle, "calm since");
    }

    #[test]
    fn losing_it_again_while_it_settles_counts() {
        let mut carriers = Carriers::new(B);
        carriers.seen(3, false, ms(0));
        carriers.fail("vip", 3);
        carriers.seen(3, true, ms(10));
        carriers.seen(3, false, ms(20));
        assert_eq!(carriers.due(ms(60_000)), Vec::<String>::new());
        carriers.seen(3, true, ms(60_000));
        assert_eq!(carriers.deadline(), Some(ms(60_000) + B.settle * 2));
    }

    #[test]
    fn who_runs_again_waits_for_nothing() {
        let mut carriers = Carriers::new(B);
        carriers.seen(3, false, ms(0));
        carriers.fail("vip", 3);
        carriers.forget("vip");
        carriers.seen(3, true, ms(10));
        assert_eq!((carriers.deadline(), carriers.due(ms(99_000))), (None, vec![]));
        assert_eq!(carriers.seen(4, true, ms(10)), Change::None, "a link that was never without");
        carriers.fail("vip", 4);
        assert_eq!(carriers.due(ms(10)), ["vip"], "it had its carrier when the failure was told");
    }
}
