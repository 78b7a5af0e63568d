//! When each held address is announced again. Pure: time is an argument.
//!
//! The first burst comes with the address. A second follows when slow switches have learnt their ports anew, and from then
//! on single announcements, since caches forget and stale ones come back.

use super::table::Vip;
use crate::net::Announce;
use kernel::announce::Burst;
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
    next: Option<Duration>,
    second_done: bool,
}

impl Announcer {
    /// A first burst goes out at `now`.
    pub fn begin(&mut self, resource: &str, vip: Vip, how: Announce, now: Duration) -> Burst {
        let next = (how.burst.count > 0).then(|| now + SECOND_AFTER);
        self.plans.insert(resource.to_owned(), Plan { vip, how, next, second_done: false });
        how.burst
    }

    pub fn end(&mut self, resource: &str) {
        self.plans.remove(resource);
    }

    /// What is to be announced at `now`.
    pub fn due(&mut self, now: Duration) -> Vec<(Vip, Burst)> {
        let mut due = Vec::new();
        for plan in self.plans.values_mut() {
            if plan.next.is_none_or(|at| at > now) {
                continue;
            }
            let again = plan.second_done;
            let burst = if again { Burst { count: 1, ..plan.how.burst } } else { plan.how.burst };
            plan.second_done = true;
            plan.next = (plan.how.refresh_s > 0).then(|| now + Duration::from_secs(plan.how.refresh_s));
            due.push((plan.vip.clone(), burst));
        }
        due
    }

    /// Everything, as at the start: after a merge, or on this link when it has its carrier again.
    pub fn again(&self, link: Option<u32>) -> Vec<(Vip, Burst)> {
        let on = |p: &&Plan| link.is_none_or(|index| p.vip.interface_index == index);
        self.plans.values().filter(on).map(|p| (p.vip.clone(), p.how.burst)).collect()
    }

    /// Addresses on a link whose carrier matters to them.
    pub fn on_link(&self, link: u32) -> Vec<(String, Vip)> {
        let on = |(_, p): &(&String, &Plan)| p.vip.interface_index == link && p.how.check_link;
        self.plans.iter().filter(on).map(|(r, p)| (r.clone(), p.vip.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(link: u32) -> Vip {
        Vip { addr: [192, 0, 2, 1].into(), interface_index: link, label: None }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_another_and_then_now_and_then() {
        let mut announcer = Announcer::default();
        let how = Announce { burst: Burst { count: 4, interval_ms: 100 }, refresh_s: 60, check_link: true };
        assert_eq!(announcer.begin("vip", vip(3), how, s(10)).count, 4);
        assert_eq!(announcer.due(s(14)), []);
        assert_eq!(announcer.due(s(15)), [(vip(3), how.burst)]);
        assert_eq!(announcer.due(s(16)), []);
        let single = Burst { count: 1, ..how.burst };
        assert_eq!(announcer.due(s(75)), [(vip(3), single)]);
        assert_eq!(announcer.due(s(200)), [(vip(3), single)], "rounds that were slept through are not made up for");
        assert_eq!(announcer.due(s(201)), []);
        assert_eq!(announcer.again(None), [(vip(3), how.burst)]);
        assert_eq!((announcer.again(Some(4)), announcer.on_link(4)), (vec![], vec![]));
        assert_eq!(announcer.on_link(3), [("vip".to_owned(), vip(3))]);
        announcer.end("vip");
        assert_eq!((announcer.due(s(999)), announcer.again(None)), (vec![], vec![]));
    }

    #[test]
    fn none_if_asked_for_none() {
        let mut announcer = Announcer::default();
        let how = Announce { burst: Burst { count: 0, interval_ms: 100 }, refresh_s: 60, check_link: false };
        announcer.begin("vip", vip(3), how, s(10));
        assert_eq!(announcer.due(s(1000)), []);
        assert_eq!(announcer.on_link(3), []);
    }
}
