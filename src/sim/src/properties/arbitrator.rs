//! What an arbitrator may do to a cluster: bring one half through, and nothing else. Whoever has a majority of all votes without it is
//! quorate, whatever becomes of it; never do two parts count on it for long, but just after it has started anew ([`crate::arbiter::Arbiter::is_new`]); and where the ring breaks into two parts and nothing
//! else goes wrong, exactly one of them goes on.

use crate::plan::{Deed, Kind};
use crate::world::World;
use base::{NodeId, Time};
use std::time::Duration;

/// Who stood still has noticed by then that its vote is gone.
const BOTH: Duration = Duration::from_secs(1);
/// After the break: the loss of the link is noticed, the parts form their views, and ask.
const DECIDED: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Arbitrated {
    both: Option<(NodeId, NodeId, Time)>,
}

impl World {
    /// The arbitrator's vote is not needed where nodes alone are enough.
    pub(crate) fn check_own_majority(&mut self, id: NodeId) {
        let Some(p) = self.host(id).process.as_ref().filter(|p| p.site.arbitrator.is_some()) else { return };
        let here = p.members.iter().filter(|m| p.site.nodes.contains(m)).count();
        let all = p.site.nodes.len() + p.site.device_votes().unwrap_or(0) as usize;
        let quorate = p.quorum.is_quorate() || p.quorum.is_waiting_for_all();
        if here > all / 2 && !quorate {
            let text = format!("node {id} with {:?} of {all} votes is not quorate without the arbitrator", p.members);
            self.book.fail("arbitrator", self.now, text);
        }
    }

    pub(crate) fn watch_arbitrator(&mut self) {
        if self.site.arbitrator.is_none() {
            return;
        }
        if !self.site.admits_two() && !self.arbiter.is_new(self.now) {
            self.watch_both();
        }
        if self.plan.kind == Kind::Split {
            self.watch_split();
        }
    }

    /// Quorate ones that run, by what they see as members.
    fn quorate(&self) -> Vec<(NodeId, &[NodeId])> {
        let awake = |h: &&crate::host::Host| h.runs();
        let processes = self.hosts().filter(awake).filter_map(|h| h.process.as_ref());
        let quorate = processes.filter(|p| p.hung_until.is_none() && p.current && p.quorum.is_quorate());
        quorate.map(|p| (p.me, p.members.as_slice())).collect()
    }

    fn watch_both(&mut self) {
        let (now, quorate) = (self.now, self.quorate());
        let apart = quorate.iter().find_map(|(a, members)| {
            let other = quorate.iter().find(|(_, theirs)| !theirs.iter().any(|m| members.contains(m)))?;
            Some((*a, other.0))
        });
        let before = self.book.arbitrated.both;
        let both = apart.map(|(a, b)| match before {
            Some((x, y, since)) if (x, y) == (a, b) => (a, b, since),
            _ => (a, b, now),
        });
        self.book.arbitrated.both = both;
        if let Some((a, b, since)) = both.filter(|(_, _, since)| now.since(*since) > BOTH) {
            let text = format!("nodes {a} and {b} are quorate without each other since {since:?}");
            self.book.fail("arbitrator", now, text);
        }
    }

    fn watch_split(&mut self) {
        let now = self.now;
        let under_way = self.plan.steps.iter().find_map(|s| match &s.deed {
            Deed::Part { first } => {
                let begins = Time::from_millis(1_000 + s.at_ms);
                let ends = begins + Duration::from_millis(s.for_ms);
                (now > begins + DECIDED && now < ends).then_some(first)
            }
            _ => None,
        });
        let Some(first) = under_way else { return };
        let quorate = self.quorate();
        let in_first = quorate.iter().filter(|(n, _)| first.contains(n)).count();
        let in_second = quorate.len() - in_first;
        if (in_first == 0) == (in_second == 0) {
            let text = format!("between {first:?} and the others the ring is cut, and quorate are {quorate:?}");
            self.book.fail("arbitrator", now, text);
        }
    }
}
