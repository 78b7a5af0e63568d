//! Wanted against present: the changes that are missing, in an order in which nothing flaps.
//!
//! Per service: the service itself; then whatever gains weight (a fallback before the last server goes, a server before the fallback
//! goes); then what loses its weight; then what leaves. Services that are no longer wanted leave last.

use crate::wanted::{Role, Wanted, WantedService};
use base::ipvs::{Dest, DestKey, Forward, Service, ServiceEntry, ServiceKey, service_flags};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    AddService(Service),
    EditService(Service),
    DeleteService(ServiceKey),
    AddDest { service: ServiceKey, dest: Dest, role: Role },
    EditDest { service: ServiceKey, dest: Dest, role: Role, weight_before: u32 },
    DeleteDest { service: ServiceKey, dest: DestKey, role: Role },
}

impl Op {
    pub fn service(&self) -> ServiceKey {
        match self {
            Op::AddService(s) | Op::EditService(s) => s.key,
            Op::DeleteService(key) => *key,
            Op::AddDest { service, .. } | Op::EditDest { service, .. } | Op::DeleteDest { service, .. } => *service,
        }
    }
}

/// `dropped` are services that this director managed and no longer does; services of others are left alone.
pub fn diff(wanted: &Wanted, dropped: &BTreeSet<ServiceKey>, table: &[ServiceEntry]) -> Vec<Op> {
    let present: BTreeMap<ServiceKey, &ServiceEntry> = table.iter().map(|e| (e.service.key, e)).collect();
    let mut ops = Vec::new();
    for (key, service) in &wanted.services {
        diff_service(service, present.get(key).copied(), &mut ops);
    }
    let gone = dropped.iter().filter(|k| !wanted.services.contains_key(k) && present.contains_key(k));
    ops.extend(gone.map(|key| Op::DeleteService(*key)));
    ops
}

fn diff_service(wanted: &WantedService, present: Option<&ServiceEntry>, ops: &mut Vec<Op>) {
    let key = wanted.service.key;
    match present {
        None => ops.push(Op::AddService(wanted.service.clone())),
        Some(entry) if !same_service(&wanted.service, &entry.service) => {
            ops.push(Op::EditService(wanted.service.clone()))
        }
        Some(_) => {}
    }
    let there: BTreeMap<DestKey, &Dest> =
        present.map(|e| e.dests.iter().map(|d| (d.dest.key, &d.dest)).collect()).unwrap_or_default();
    let (mut gain, mut lose) = (Vec::new(), Vec::new());
    for (dest_key, want) in &wanted.dests {
        let op = match there.get(dest_key) {
            None if want.only_if_present => continue,
            None => {
                if let Some(weight) = want.first_weight {
                    let dest = Dest { weight, ..want.dest.clone() };
                    gain.push(Op::AddDest { service: key, dest, role: want.role });
                    gain.push(Op::EditDest {
                        service: key,
                        dest: want.dest.clone(),
                        role: want.role,
                        weight_before: weight,
                    });
                    continue;
                }
                Op::AddDest { service: key, dest: want.dest.clone(), role: want.role }
            }
            Some(has) if same_dest(&want.dest, has) => continue,
            Some(has) => {
                Op::EditDest { service: key, dest: want.dest.clone(), role: want.role, weight_before: has.weight }
            }
        };
        if want.dest.weight > 0 { gain.push(op) } else { lose.push(op) }
    }
    ops.append(&mut gain);
    ops.append(&mut lose);
    for dest_key in there.keys().filter(|k| !wanted.dests.contains_key(k)) {
        let role = if wanted.fallback == Some(*dest_key) { Role::Fallback } else { Role::Foreign };
        ops.push(Op::DeleteDest { service: key, dest: *dest_key, role });
    }
}

fn same_service(a: &Service, b: &Service) -> bool {
    let persistent = a.flags & service_flags::PERSISTENT != 0;
    a.scheduler == b.scheduler
        && a.flags & !service_flags::HASHED == b.flags & !service_flags::HASHED
        && (!persistent || a.timeout_s == b.timeout_s)
        && a.netmask == b.netmask
        && a.pe.as_deref().unwrap_or("") == b.pe.as_deref().unwrap_or("")
}

/// A kernel that shows one of its own addresses as `Local` still has what was asked for.
fn same_dest(want: &Dest, has: &Dest) -> bool {
    let forward = want.forward == has.forward || has.forward == Forward::Local;
    let tunnel = want.forward != Forward::Tunnel || want.tunnel == has.tunnel;
    forward
        && tunnel
        && want.weight == has.weight
        && want.u_threshold == has.u_threshold
        && want.l_threshold == has.l_threshold
}
