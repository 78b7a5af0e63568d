//! The table as plan and health want it.

use crate::health::Health;
use crate::plan::{Plan, VirtualPlan};
use base::Time;
use base::ipvs::{Dest, DestKey, Service, ServiceKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a new service may wait for first verdicts before its fallback goes in, so that the fallback does not flap at start.
pub const FALLBACK_GRACE: Duration = Duration::from_millis(1_000);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Real,
    Fallback,
    /// In the table, but not of this configuration.
    Foreign,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Shared, since one table is compared with the next and most services stay as they are.
    pub services: BTreeMap<ServiceKey, Arc<WantedService>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedService {
    pub service: Service,
    pub dests: BTreeMap<DestKey, WantedDest>,
    /// `Some(true)`: no server is up; `None`: not known yet.
    pub all_down: Option<bool>,
    /// The fallback's key, whether it is wanted now or not.
    pub fallback: Option<DestKey>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedDest {
    pub dest: Dest,
    pub role: Role,
    /// If it is absent, it stays so (removed by hand while quiescent).
    pub only_if_present: bool,
    /// If it is absent, it must have this weight for a moment. The kernel's `mh` shares its table out by the last weight that was not
    /// 0, and passes over servers that never had one: with `mh-fallback` the table is a function of the configuration then, the same on
    /// every director, and health only masks it.
    pub first_weight: Option<u32>,
}

impl WantedDest {
    pub fn new(dest: Dest, role: Role) -> WantedDest {
        WantedDest { dest, role, only_if_present: false, first_weight: None }
    }
}

pub fn wanted(plan: &Plan, health: &Health, now: Time) -> Wanted {
    let services = plan.virtuals.iter().map(|v| (v.service.key, Arc::new(wanted_service(plan, v, health, now))));
    Wanted { services: services.collect() }
}

impl Wanted {
    /// Takes over the memory of services that are the same in `earlier`.
    pub fn share(&mut self, earlier: &Wanted) {
        for (key, service) in &mut self.services {
            if let Some(same) = earlier.services.get(key).filter(|s| *s == service) {
                *service = same.clone();
            }
        }
    }
}

fn wanted_service(plan: &Plan, v: &VirtualPlan, health: &Health, now: Time) -> WantedService {
    let mut dests = Vec::with_capacity(v.reals.len() + 1);
    let spares = spares(v, health);
    for real in &v.reals {
        let record = health.get(&v.id(real));
        let serves = record.is_some_and(|r| r.serves() || spares && r.spare(v.tuning.rise));
        if let Some(record) = record.filter(|_| serves) {
            let dest = Dest { weight: record.weight(real.dest.weight, &v.tuning, now), ..real.dest.clone() };
            dests.push((real.dest.key, WantedDest::new(dest, Role::Real)));
        } else if v.quiescent {
            let only_if_present = !plan.readd_quiescent && record.is_some_and(|r| r.placed);
            let dest = Dest { weight: 0, ..real.dest.clone() };
            let first_weight = Some(real.dest.weight).filter(|w| v.masks() && *w > 0);
            dests.push((
                real.dest.key,
                WantedDest { only_if_present, first_weight, ..WantedDest::new(dest, Role::Real) },
            ));
        }
    }
    let all_down = if spares { Some(false) } else { all_down(v, health, now) };
    if let Some(fallback) = v.fallback.as_ref().filter(|_| all_down == Some(true)) {
        dests.push((fallback.key, WantedDest::new(fallback.clone(), Role::Fallback)));
    }
    // Of two for one destination the last counts. Built as a whole, the tree has no half empty nodes.
    let dests = dests.into_iter().collect();
    WantedService { service: v.service.clone(), dests, all_down, fallback: v.fallback.as_ref().map(|f| f.key) }
}

/// Whether servers that are held down for flapping have to serve, since nobody else does: better one that may fail than none.
fn spares(v: &VirtualPlan, health: &Health) -> bool {
    if v.tuning.flap.is_none() {
        return false;
    }
    let mut records = v.reals.iter().filter_map(|real| health.get(&v.id(real)));
    let mut found = false;
    records.all(|r| {
        found |= r.spare(v.tuning.rise);
        !r.takes()
    }) && found
}

/// A server that is drained takes no new connections, so that with all of them drained the fallback has to.
fn all_down(v: &VirtualPlan, health: &Health, now: Time) -> Option<bool> {
    let mut pending = false;
    for real in &v.reals {
        match health.get(&v.id(real)) {
            Some(record) if record.takes() => return Some(false),
            Some(record) if record.known() => {}
            _ => pending = true,
        }
    }
    let waited = health.born(&v.service.key).is_none_or(|born| now.since(born) >= FALLBACK_GRACE);
    if pending && !waited { None } else { Some(true) }
}
