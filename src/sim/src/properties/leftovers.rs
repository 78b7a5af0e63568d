//! What is in place on a machine has a record of its daemon and the parameters of today's configuration: every stop has taken away
//! what its start had placed, a change has reached what runs, and a deleted resource leaves nothing.

use crate::agents::{address, thing};
use crate::world::World;
use std::collections::BTreeSet;

/// What the configuration says today of the parameter that each generated primitive has.
fn wanted_today(world: &World, record: &controller::Record) -> Option<bool> {
    let id = &record.instance.id;
    let name = if address(&record.instance).is_some() { "ip" } else { "v" };
    let cib = world.hosts().find_map(|h| h.process.as_ref())?.controller.cib();
    let pair = cib.root().find_id(&format!("{id}-{name}"))?;
    Some(pair.attr("value") == record.instance.params.get(name).map(String::as_str))
}

pub fn check(world: &World) -> Result<(), String> {
    for record in world.hosts().flat_map(|h| h.disk.records.values()).filter(|r| r.instance.class != "stonith") {
        let id = &record.instance.id;
        match wanted_today(world, record) {
            Some(true) => {}
            Some(false) => {
                return Err(format!(
                    "{id} runs with {:?}, which the configuration says no more",
                    record.instance.params
                ));
            }
            None => return Err(format!("{id} runs, and the configuration has no such resource")),
        }
    }
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
