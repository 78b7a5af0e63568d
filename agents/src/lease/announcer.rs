//! When each held address is announced. Pure: time is an argument.
//!
//! The first burst comes with the address. A second follows when slow switches have learnt their ports anew, and from then
//! on single announcements, since caches forget and stale ones come back. What is due is handed out one packet at a time,
//! so that whoever sends it can look first whether the address is still there.

use super::table::Vip;
use crate::net::Announce;
use kernel::announce::MAX_BURST;
use std::collections::BTreeMap;
use std::time::Duration;

/// From the first burst to the second.
const SECOND_AFTER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Announcer {
    plans: BTreeMap<String, Plan>,
}

struct Plan {
    vip: Vip,
    how: Announce,
    /// When the next packet is due, if any.
    next: Option<Duration>,
    /// Packets of this burst, the next one included.
    left: u32,
    /// When the second burst comes, until it has come.
    second: Option<Duration>,
}

impl Plan {
    fn burst(&mut self, now: Duration) {
        self.left = self.how.burst.count.min(MAX_BURST);
        self.next = (self.left > 0).then_some(now);
    }

    /// One packet is handed out at `now`.
    fn advance(&mut self, now: Duration) {
        self.left = self.left.saturating_sub(1);
        if self.how.burst.count == 0 {
            self.next = None;
            return;
        }
        self.next = if self.left > 0 {
            Some(now + Duration::from_millis(self.how.burst.interval_ms))
        } else if let Some(second) = self.second.take() {
            self.left = self.how.burst.count.min(MAX_BURST);
            Some(second.max(now))
        } else {
            self.left = 1;
            (self.how.refresh_s > 0).then(|| now + Duration::from_secs(self.how.refresh_s))
        };
    }
}

impl Announcer {
    /// A first burst begins at `now`.
    pub fn begin(&mut self, resource: &str, vip: Vip, how: Announce, now: Duration) {
        let mut plan = Plan { vip, how, next: None, left: 0, second: Some(now + SECOND_AFTER) };
        plan.burst(now);
        self.plans.insert(resource.to_owned(), plan);
    }

    pub fn end(&mut self, resource: &str) {
        self.plans.remove(resource);
    }

    /// Addresses of which one packet is to be sent at `now`; at most so many, the rest with the next call.
    pub fn due(&mut self, now: Duration, most: usize) -> Vec<Vip> {
        let ready = self.plans.values_mut().filter(|p| p.next.is_some_and(|at| at <= now)).take(most);
        ready
            .map(|plan| {
                plan.advance(now);
                plan.vip.clone()
            })
            .collect()
    }

    /// When [`Announcer::due`] has something next.
    pub fn deadline(&self) -> Option<Duration> {
        self.plans.values().filter_map(|p| p.next).min()
    }

    /// Everything as at the start: after a merge, or on this link when it has its carrier again.
    pub fn again(&mut self, link: Option<u32>, now: Duration) {
        for plan in self.plans.values_mut() {
            if link.is_none_or(|index| plan.vip.interface_index == index) {
                plan.burst(now);
            }
        }
    }

    /// The resource's address alone, anew.
    pub fn defend(&mut self, resource: &str, now: Duration) {
        if let Some(plan) = self.plans.get_mut(resource) {
            plan.burst(now);
        }
    }

    /// One packet now, and then whatever was to come; also where no other is ever sent.
    pub fn once(&mut self, resource: &str, now: Duration) {
        if let Some(plan) = self.plans.get_mut(resource) {
            (plan.next, plan.left) = (Some(now), plan.left.max(1));
        }
    }

    /// Addresses on a link whose carrier matters to them.
    pub fn on_link(&self, link: u32) -> Vec<String> {
        let on = |(_, p): &(&String, &Plan)| p.vip.interface_index == link && p.how.check_link;
        self.plans.iter().filter(on).map(|(r, _)| r.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::announce::Burst;

    const ALL: usize = usize::MAX;

    fn vip(link: u32) -> Vip {
        Vip { addr: [192, 0, 2, 1].into(), interface_index: link, label: None }
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn how(count: u32, check_link: bool) -> Announce {
        Announce { burst: Burst { count, interval_ms: 100 }, refresh_s: 60, check_link }
    }

    /// Every moment at which a packet goes out between two times.
    fn moments(announcer: &mut Announcer, from: u64, to: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        while let Some(at) = announcer.deadline().filter(|at| *at < ms(to)) {
            let at = at.max(ms(from));
            seen.extend(announcer.due(at, ALL).iter().map(|_| at.as_millis() as u64));
        }
        seen
    }

    #[test]
    fn a_burst_another_and_then_now_and_then() {
        let mut announcer = Announcer::default();
        announcer.begin("vip", vip(3), how(3, true), ms(10_000));
        let first = [10_000, 10_100, 10_200, 15_000, 15_100, 15_200, 75_200];
        assert_eq!(moments(&mut announcer, 0, 100_000), first);
        assert_eq!(
            moments(&mut announcer, 200_000, 210_000),
            [200_000],
            "rounds that were slept through are not made up for"
        );
        announcer.again(Some(4), ms(201_000));
        assert_eq!(moments(&mut announcer, 201_000, 210_000), Vec::<u64>::new());
        announcer.again(None, ms(201_000));
        assert_eq!(moments(&mut announcer, 201_000, 210_000), [201_000, 201_100, 201_200]);
        assert_eq!((announcer.on_link(4), announcer.on_link(3)), (vec![], vec!["vip".to_owned()]));
        announcer.end("vip");
        announcer.again(None, ms(300_000));
        assert_eq!((announcer.deadline(), announcer.due(ms(999_000), ALL)), (None, vec![]));
    }

    #[test]
    fn none_if_asked_for_none() {
        let mut announcer = Announcer::default();
        announcer.begin("vip", vip(3), how(0, false), ms(10));
        assert_eq!(announcer.deadline(), None);
        announcer.again(None, ms(20));
        assert_eq!((announcer.deadline(), announcer.on_link(3)), (None, vec![]));
    }

    #[test]
    fn one_packet_against_a_stranger() {
        let mut announcer = Announcer::default();
        announcer.begin("vip", vip(3), how(2, true), ms(0));
        assert_eq!(moments(&mut announcer, 0, 10_000), [0, 100, 5000, 5100]);
        announcer.once("vip", ms(20_000));
        assert_eq!(moments(&mut announcer, 0, 60_000), [20_000]);
        announcer.begin("quiet", vip(3), how(0, true), ms(0));
        announcer.once("quiet", ms(70_000));
        announcer.end("vip");
        assert_eq!(moments(&mut announcer, 0, 75_000), [70_000]);
        announcer.once("gone", ms(0));
    }

    #[test]
    fn many_come_in_portions() {
        let mut announcer = Announcer::default();
        for n in 0..10 {
            announcer.begin(&n.to_string(), vip(n), how(2, false), ms(0));
        }
        let portions: Vec<usize> = (0..4).map(|_| announcer.due(ms(1), 4).len()).collect();
        assert_eq!(portions, [4, 4, 2, 0]);
    }
}
