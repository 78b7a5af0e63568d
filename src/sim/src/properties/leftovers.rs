//! What is in place on a machine belongs to a resource of the configuration, with its parameters of today, and its daemon keeps a
//! record of it: every stop has taken away what its start had placed, and a deleted resource leaves nothing.

use crate::agents::{address, thing};
use crate::world::World;
use std::collections::BTreeSet;

pub fn check(world: &World) -> Result<(), String> {
    for host in world.hosts() {
        let records: BTreeSet<&str> = host.disk.records.keys().map(String::as_str).collect();
        let wanted: BTreeSet<String> = host
            .disk
            .records
            .values()
            .map(|r| match address(&r.instance) {
                Some(address) => address.to_owned(),
                None => thing(&r.instance),
            })
            .collect();
        let here = host.placed.keys().chain(host.addresses.keys());
        if let Some(left) = here.into_iter().find(|t| !wanted.contains(*t)) {
            return Err(format!("node {} holds {left:?}, which none of its records {records:?} has placed", host.id));
        }
        let placed: BTreeSet<&String> = host.placed.keys().chain(host.addresses.keys()).collect();
        let gone = |r: &&controller::Record| {
            let what = address(&r.instance).map_or_else(|| thing(&r.instance), str::to_owned);
            r.instance.class != "stonith" && !placed.contains(&what)
        };
        if let Some(record) = host.disk.records.values().find(gone) {
            return Err(format!(
                "node {} keeps a record of {}, of which nothing is in place",
                host.id, record.instance.id
            ));
        }
    }
    Ok(())
}
