//! What a lost node held is held by another one within a bound, whatever else is under way at that moment. Where nothing but
//! the one node is lost.

use crate::plan::Kind;
use crate::world::World;
use base::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// The loss is noticed, the fence device waits (2 s) and switches (1.5 s) or the lease is waited out (3 s), the LAN is asked, and the
/// address is taken. What starts slowly meanwhile needs longer than that.
const BOUND: Duration = Duration::from_secs(6);
/// And where an arbitrator has to say first which half goes on: it waits for the lost node for one and a half heartbeats.
const ARBITRATED: Duration = Duration::from_secs(3);

#[derive(Default)]
pub struct Takeover {
    /// Addresses that were lost with the power of their node, and when.
    lost: BTreeMap<String, Time>,
    pub longest: Duration,
}

impl Takeover {
    pub fn lost(&mut self, now: Time, addresses: Vec<String>) {
        self.lost.extend(addresses.into_iter().map(|a| (a, now)));
    }
}

impl World {
    pub(crate) fn watch_takeover(&mut self) {
        if self.plan.kind != Kind::Loss {
            return;
        }
        let bound = if self.site.arbitrator.is_some() { BOUND + ARBITRATED } else { BOUND };
        let lost = std::mem::take(&mut self.book.takeover.lost);
        for (address, since) in lost {
            let waited = self.now.since(since);
            if self.hosts().any(|h| h.answers() && h.addresses.contains_key(&address)) {
                self.book.takeover.longest = self.book.takeover.longest.max(waited);
            } else if waited > bound {
                let text = format!("{address} was lost with its node {waited:?} ago, and nobody has taken it");
                self.book.fail("takeover", self.now, text);
            } else {
                self.book.takeover.lost.insert(address, since);
            }
        }
    }
}
