//! Servers that a reload has taken out of the configuration while they were serving.
//!
//! The kernel drops the packets of connections whose destination is gone, so such a server first stays with weight 0, until
//! it has no connection any more or [`LINGER`] is over. A server that was down, and a service that is gone as a whole, go
//! at once.

use super::Core;
use crate::service::notices;
use base::ipvs::{Dest, ServiceEntry, ServiceKey};
use policy::{Plan, RealId, Record, Role, Wanted, WantedDest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it goes on serving while none of those that replace it is up yet: they wait for their first checks.
const COVER: Duration = Duration::from_secs(5);
/// How long connections to a server that was taken out of the configuration may go on.
const LINGER: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Leaving(BTreeMap<RealId, Last>);

struct Last {
    dest: Dest,
    since: Instant,
}

impl Core {
    /// To be called before a new plan replaces the old one. Told are the servers that were on their way out and are wanted again:
    /// they stand in the table, and were up.
    pub(super) fn note_leaving(&mut self, new: &Plan) -> Vec<RealId> {
        let kept: BTreeSet<RealId> = new.ids().map(|(id, ..)| id).collect();
        let services = new.services();
        for (id, _, real) in self.plan.ids().filter(|(id, ..)| self.active && services.contains(&id.service)) {
            if !kept.contains(&id) && self.health.get(&id).is_some_and(Record::serves) {
                self.leaving.0.insert(id, Last { dest: real.dest.clone(), since: Instant::now() });
            }
        }
        let back = self.leaving.0.keys().filter(|id| kept.contains(id)).copied().collect();
        self.leaving.0.retain(|id, _| !kept.contains(id) && services.contains(&id.service));
        back
    }

    /// They take no new connections once others are up, and are not brought back if somebody removes them.
    pub(super) fn keep_leaving(&self, wanted: &mut Wanted) {
        if self.leaving.0.is_empty() {
            return;
        }
        let serves = |w: &WantedDest| w.role == Role::Real && w.dest.weight > 0;
        let served: BTreeSet<ServiceKey> =
            wanted.services.iter().filter(|(_, s)| s.dests.values().any(serves)).map(|(k, _)| *k).collect();
        for (id, last) in &self.leaving.0 {
            let Some(service) = wanted.services.get_mut(&id.service).map(Arc::make_mut) else { continue };
            let covers = last.since.elapsed() < COVER && !served.contains(&id.service);
            let weight = if covers { last.dest.weight } else { 0 };
            let dest = Dest { weight, ..last.dest.clone() };
            let dest = WantedDest { only_if_present: true, ..WantedDest::new(dest, Role::Real) };
            service.dests.entry(id.dest).or_insert(dest);
        }
    }

    /// Lets go of those without connections, as the whole table was read at `entries`.
    pub(super) fn release_leaving(&mut self, entries: &[ServiceEntry]) {
        if self.leaving.0.is_empty() {
            return;
        }
        let mut done = Vec::new();
        for (id, last) in &self.leaving.0 {
            let service = entries.iter().find(|e| e.service.key == id.service);
            let entry = service.and_then(|s| s.dests.iter().find(|d| d.dest.key == id.dest));
            match entry {
                Some(e) if e.dest.weight > 0 => {}
                Some(e) if e.active_conns > 0 && last.since.elapsed() < LINGER => {}
                Some(e) => done.push((*id, e.active_conns)),
                None => done.push((*id, 0)),
            }
        }
        for (id, connections) in done {
            self.leaving.0.remove(&id);
            self.dirty.insert(id.service);
            if connections > 0 {
                let pair = notices::pair(&id.service, &id.dest);
                let after = LINGER.as_secs();
                self.log(&format!(
                    "Not configured any more, {connections} connections cut off after {after} s: {pair}"
                ));
            }
        }
    }
}
