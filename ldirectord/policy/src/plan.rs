//! What the configuration asks for, in the terms of the kernel's table.

use crate::tuning::Tuning;
use base::ipvs::{Dest, DestKey, Service, ServiceKey, service_flags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A real server within its virtual service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RealId {
    pub service: ServiceKey,
    pub dest: DestKey,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pub virtuals: Vec<VirtualPlan>,
    /// Whether a quiescent server that was removed by hand comes back with weight 0.
    pub readd_quiescent: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtualPlan {
    pub service: Service,
    pub reals: Vec<RealPlan>,
    pub fallback: Option<Dest>,
    /// A server that is down keeps its entry with weight 0.
    pub quiescent: bool,
    pub tuning: Tuning,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RealPlan {
    /// With the weight that it has when up.
    pub dest: Dest,
    pub mode: Mode,
}

/// Where a server's state comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Checked,
    /// `checktype = on`.
    AlwaysUp,
    /// `checktype = off`.
    AlwaysDown,
}

impl Plan {
    pub fn services(&self) -> BTreeSet<ServiceKey> {
        self.virtuals.iter().map(|v| v.service.key).collect()
    }

    pub fn ids(&self) -> impl Iterator<Item = (RealId, &VirtualPlan, &RealPlan)> {
        self.virtuals.iter().flat_map(|v| v.reals.iter().map(move |r| (v.id(r), v, r)))
    }
}

impl VirtualPlan {
    /// Whether the scheduler keeps the places of servers that have no weight (`mh` with `mh-fallback`).
    pub(crate) fn masks(&self) -> bool {
        self.service.scheduler == "mh" && self.service.flags & service_flags::SCHED1 != 0
    }

    pub fn id(&self, real: &RealPlan) -> RealId {
        RealId { service: self.service.key, dest: real.dest.key }
    }
}
