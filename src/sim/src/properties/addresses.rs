//! An address is on two nodes that both answer on its LAN no longer than the bounds say: for a lease and its margin where one of
//! them could not be asked (its machine stood still, or the LAN was cut when it was taken), else not at all.

use crate::world::World;
use base::lease::Bounds;
use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What two holders may need in addition once they hear each other: the ring forms anew and the loser stops.
const MERGE: Duration = Duration::from_secs(4);

#[derive(Default)]
pub struct Addresses {
    /// Since when two nodes hold it and both could answer a client.
    both: BTreeMap<(String, NodeId, NodeId), Time>,
    pub longest: Duration,
}

impl World {
    /// Compares the holders; to be called now and then.
    pub(crate) fn watch_addresses(&mut self) {
        let mut held: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
        for host in self.hosts().filter(|h| h.answers()) {
            host.addresses.keys().for_each(|a| held.entry(a).or_default().push(host.id));
        }
        let mut both = Vec::new();
        for (address, nodes) in held.into_iter().filter(|(_, n)| n.len() > 1) {
            for (at, a) in nodes.iter().enumerate() {
                for b in nodes[at + 1..].iter().filter(|b| self.net.meet(*a, **b) && self.net.ring_meets(*a, **b)) {
                    both.push((address.to_owned(), *a, *b));
                }
            }
        }
        let now = self.now;
        let addresses = &mut self.book.addresses;
        let before = std::mem::take(&mut addresses.both);
        for key in both {
            let since = before.get(&key).copied().unwrap_or(now);
            let lasted = now.since(since);
            addresses.longest = addresses.longest.max(lasted);
            if lasted > Bounds::STANDARD.overlap() + MERGE {
                let text = format!("{} has been on nodes {} and {} for {lasted:?}", key.0, key.1, key.2);
                return self.book.fail("addresses", now, text);
            }
            addresses.both.insert(key, since);
        }
    }
}
