//! Connections of each server as the table was last read: all that is kept of it.

use base::ipvs::{DestKey, ServiceEntry, ServiceKey};
use policy::RealId;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connections {
    pub active: u32,
    pub inactive: u32,
}

#[derive(Default)]
pub struct Counts(BTreeMap<ServiceKey, Box<[(DestKey, Connections)]>>);

impl Counts {
    pub fn of(table: &[ServiceEntry]) -> Counts {
        let of_service = |entry: &ServiceEntry| {
            let count = |d: &base::ipvs::DestEntry| {
                (d.dest.key, Connections { active: d.active_conns, inactive: d.inactive_conns })
            };
            let mut counts: Box<[_]> = entry.dests.iter().map(count).collect();
            counts.sort_unstable_by_key(|(key, _)| *key);
            (entry.service.key, counts)
        };
        Counts(table.iter().map(of_service).collect())
    }

    /// `None`: it has no entry.
    pub fn get(&self, id: &RealId) -> Option<Connections> {
        let counts = self.0.get(&id.service)?;
        counts.binary_search_by_key(&id.dest, |(key, _)| *key).ok().map(|at| counts[at].1)
    }
}
