//! Makes a table equal to a wanted one by the fewest changes, all or nothing.
//!
//! Order of the changes: what is new, then what differs, then what is no longer wanted, so that a service never stands empty
//! in between. When one change fails, the table is brought back to what it was, again by the fewest changes.

use super::messages;
use base::ipvs::{Dest, Forward, ServiceEntry, ServiceKey, SyncDaemon};
use kernel::ipvs::{Change, Error, Ipvs, Memory};
use std::collections::{BTreeMap, BTreeSet};

/// The table to reach, and which of its parts were asked for.
pub struct Wanted {
    pub table: Memory,
    pub timeouts: bool,
    pub daemons: bool,
}

/// Why a replacement did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", messages::of_read(.0))]
    Read(Error),
    #[error("{message}; the old table is back")]
    RolledBack { message: String },
    #[error("{message}; bringing the old table back failed as well: {then}")]
    Stuck { message: String, then: String },
}

/// Brings `table` to `wanted`; returns how many changes it took.
pub fn replace(table: &mut dyn Ipvs, wanted: &Wanted) -> Result<usize, Failure> {
    let before = Memory::snapshot(table).map_err(Failure::Read)?;
    let changes = differences(&before, &wanted.table, wanted.timeouts, wanted.daemons);
    let Some(message) = first_failure(table, &changes) else { return Ok(changes.len()) };
    let now = match Memory::snapshot(table) {
        Ok(now) => now,
        Err(e) => return Err(Failure::Stuck { message, then: messages::of_read(&e) }),
    };
    match first_failure(table, &differences(&now, &before, true, true)) {
        None => Err(Failure::RolledBack { message }),
        Some(then) => Err(Failure::Stuck { message, then }),
    }
}

/// Applies changes in parts, stopping after the part in which one fails.
fn first_failure(table: &mut dyn Ipvs, changes: &[Change]) -> Option<String> {
    for part in changes.chunks(512) {
        let results = table.apply_all(part);
        let failed = part.iter().zip(results).find_map(|(change, result)| result.err().map(|e| (change, e)));
        if let Some((change, error)) = failed {
            return Some(messages::of_change(change, &error));
        }
    }
    None
}

/// The changes that make `from` equal to `to`.
pub fn differences(from: &Memory, to: &Memory, timeouts: bool, daemons: bool) -> Vec<Change> {
    let old: BTreeMap<ServiceKey, &ServiceEntry> = from.entries().iter().map(|e| (e.service.key, e)).collect();
    let wanted: BTreeSet<ServiceKey> = to.entries().iter().map(|e| e.service.key).collect();
    let mut changes = Vec::new();
    if daemons {
        changes.extend(daemons_to_stop(from, to));
    }
    let mut removals = Vec::new();
    for entry in to.entries() {
        match old.get(&entry.service.key) {
            None => {
                changes.push(Change::AddService(entry.service.clone()));
                // Backwards, since the kernel lists the newest first.
                changes.extend(entry.dests.iter().rev().map(|d| Change::AddDest(entry.service.key, d.dest.clone())));
            }
            Some(before) => changes.extend(service_differences(before, entry, &mut removals)),
        }
    }
    changes.append(&mut removals);
    changes.extend(
        from.entries()
            .iter()
            .filter(|e| !wanted.contains(&e.service.key))
            .map(|e| Change::DeleteService(e.service.key)),
    );
    if timeouts && from.timeouts_now() != to.timeouts_now() {
        changes.push(Change::SetTimeouts(to.timeouts_now()));
    }
    if daemons {
        changes.extend(to.daemons_now().iter().filter(|d| !runs(from, d)).map(|d| Change::StartDaemon(d.clone())));
    }
    changes
}

fn service_differences(before: &ServiceEntry, entry: &ServiceEntry, removals: &mut Vec<Change>) -> Vec<Change> {
    let key = entry.service.key;
    let mut changes = Vec::new();
    if before.service != entry.service {
        changes.push(Change::EditService(entry.service.clone()));
    }
    let old: BTreeMap<_, _> = before.dests.iter().map(|d| (d.dest.key, &d.dest)).collect();
    let wanted: BTreeSet<_> = entry.dests.iter().map(|d| d.dest.key).collect();
    for dest in entry.dests.iter().rev() {
        match old.get(&dest.dest.key) {
            None => changes.push(Change::AddDest(key, dest.dest.clone())),
            Some(now) if !same_dest(now, &dest.dest) => changes.push(Change::EditDest(key, dest.dest.clone())),
            Some(_) => {}
        }
    }
    removals.extend(old.keys().filter(|k| !wanted.contains(*k)).map(|k| Change::DeleteDest(key, *k)));
    changes
}

/// The kernel may report a direct-routed destination as local.
fn same_dest(a: &Dest, b: &Dest) -> bool {
    let forward = |d: &Dest| if d.forward == Forward::Local { Forward::Route } else { d.forward };
    Dest { forward: forward(a), ..a.clone() } == Dest { forward: forward(b), ..b.clone() }
}

fn daemons_to_stop(from: &Memory, to: &Memory) -> Vec<Change> {
    let stop = |d: &SyncDaemon| Change::StopDaemon { state: d.state, sync_id: d.sync_id };
    from.daemons_now().iter().filter(|d| !runs(to, d)).map(stop).collect()
}

fn runs(table: &Memory, daemon: &SyncDaemon) -> bool {
    table.daemons_now().contains(daemon)
}
