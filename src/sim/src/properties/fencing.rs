//! Nobody is fenced who is healthy, and nobody twice for one loss; where the news of a success may have been lost with the node that
//! had it, not over and over. (Who is back in the view while a device is at it belongs to a merge, in which what the losing part had
//! under way is forgotten: its device's success is nobody's news.)

use crate::world::World;
use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the news of a success may need to the next one who would fence.
const NEWS: Duration = Duration::from_secs(2);
/// So often one life of a node is switched off with success, at most: each of the others may have done it without having heard of it.
const MOST: usize = 3;

#[derive(Default)]
pub struct Fencing {
    /// When an operator asked for it.
    pub by_hand: BTreeMap<NodeId, Time>,
    pub begun: u64,
}

impl World {
    /// `by` begins to switch `target` off.
    pub(crate) fn fencing_begins(&mut self, by: NodeId, target: NodeId) {
        self.book.fencing.begun += 1;
        self.check_needless_fencing(by, target);
        let now = self.now;
        let asked = self.book.fencing.by_hand.get(&target).is_some_and(|at| now.since(*at) < Duration::from_secs(120));
        if asked {
            return;
        }
        let host = self.host(target);
        if self.book.agents_trusted && host.runs() && by != target && self.in_step(by, target) && self.has_lived(target)
        {
            return self.book.fail(
                "fencing",
                now,
                format!("node {by} fences node {target}, which is healthy and in step"),
            );
        }
        let life = self.host(target).lives;
        let done = |s: &&crate::fences::Switching| s.target == target && s.target_life == life && s.done.is_some();
        let often = self.devices.switched.iter().filter(done).count();
        if often >= MOST && !self.forgets_fencing() {
            let text = format!("node {by} fences node {target}, of which this life was switched off {often} times");
            return self.book.fail("fencing", now, text);
        }
        let before = self.devices.switched.iter().rev().skip(1).find(|s| s.target == target && s.done.is_some());
        let Some(before) = before.cloned() else { return };
        let Some(done) = before.done else { return };
        let started_since = host.lives != before.target_life;
        if !started_since
            && now.since(done) > NEWS
            && before.by == by
            && self.has_lived_since(by, done)
            && self.book.devices_honest
            && !before.met
            && !self.forgets_fencing()
        {
            let text =
                format!("node {by} fences node {target} again, which it switched off at {done:?} and which is off");
            self.book.fail("fencing", now, text);
        }
    }

    /// Among older programs the coordinator fences alone, and what it has under way does not outlast its view.
    fn forgets_fencing(&self) -> bool {
        const SHARED_FROM: u32 = 3;
        self.plan.older.values().any(|level| *level < SHARED_FROM)
    }

    /// Its process has been in step for some time.
    fn has_lived(&self, id: NodeId) -> bool {
        let host = self.host(id);
        host.process.as_ref().is_some_and(|p| p.clock.shows(self.now).0 > 10_000_000) && host.paused.is_none()
    }

    fn has_lived_since(&self, id: NodeId, since: Time) -> bool {
        self.host(id).process.as_ref().is_some_and(|p| p.clock.when(Time(0)) < since)
    }
}
