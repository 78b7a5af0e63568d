//! From the configuration to the policy's plan, and to the table that results if all checks pass or all fail.

use crate::config::{CheckType, Config, Fallback, Real, Virtual};
use base::Time;
use base::ipvs::{Dest, DestEntry, ServiceEntry, Stats, Tunnel};
use policy::{Flap, Health, Mode, Plan, RealId, RealPlan, Tuning, Verdict, VirtualPlan, Wanted, WantedDest, wanted};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn plan(config: &Config) -> Plan {
    Plan {
        virtuals: config.virtuals.iter().map(virtual_plan).collect(),
        readd_quiescent: config.global.readd_quiescent,
    }
}

fn virtual_plan(v: &Virtual) -> VirtualPlan {
    let mode = match v.check_type {
        CheckType::On => Mode::AlwaysUp,
        CheckType::Off => Mode::AlwaysDown,
        _ => Mode::Checked,
    };
    // Of two lines for one destination the last counts.
    let mut reals: Vec<RealPlan> = Vec::with_capacity(v.reals.len());
    let mut index = BTreeMap::new();
    for real in &v.reals {
        let dest = real_dest(v, real);
        match index.get(&dest.key) {
            Some(&at) => reals[at] = RealPlan { dest, mode },
            None => {
                index.insert(dest.key, reals.len());
                reals.push(RealPlan { dest, mode });
            }
        }
    }
    VirtualPlan {
        service: v.ipvs_service(),
        reals,
        fallback: v.fallback.map(|f| fallback_dest(v, f)),
        quiescent: v.quiescent,
        tuning: tuning(v),
    }
}

fn tuning(v: &Virtual) -> Tuning {
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    Tuning {
        fall: v.failure_count,
        rise: v.tuning.rise,
        flap: v.tuning.flap.map(|f| Flap { changes: f.changes, window: seconds(f.window_s), hold: seconds(f.hold_s) }),
        slow_start: seconds(v.tuning.slow_start_s),
        agent: v.tuning.agent.is_some(),
    }
}

/// The id under which a configured real server is kept.
pub fn real_id(v: &Virtual, real: &Real) -> RealId {
    RealId { service: v.key, dest: v.dest_key(real.addr, real.port, real.forward) }
}

fn real_dest(v: &Virtual, real: &Real) -> Dest {
    Dest {
        key: v.dest_key(real.addr, real.port, real.forward),
        forward: real.forward.forward(),
        weight: real.weight,
        tunnel: Tunnel::Ipip,
        u_threshold: real.upper_threshold.unwrap_or(0),
        l_threshold: real.lower_threshold.unwrap_or(0),
    }
}

fn fallback_dest(v: &Virtual, fallback: Fallback) -> Dest {
    Dest {
        key: v.dest_key(fallback.addr, fallback.port, fallback.forward),
        forward: fallback.forward.forward(),
        weight: 1,
        tunnel: Tunnel::Ipip,
        u_threshold: 0,
        l_threshold: 0,
    }
}

/// The table that results if every check passes (`up`) or fails.
pub fn assumed(config: &Config, up: bool) -> Vec<ServiceEntry> {
    let plan = plan(config);
    let mut health = Health::default();
    health.follow(&plan, Time::ZERO);
    let verdict = Verdict { up, answer: String::new(), latency_us: 0 };
    for (id, ..) in plan.ids() {
        health.record(id, &verdict, &Tuning::fall(1), Time::ZERO);
    }
    entries(&wanted(&plan, &health, Time::ZERO))
}

fn entries(wanted: &Wanted) -> Vec<ServiceEntry> {
    let entry = |want: &WantedDest| DestEntry {
        dest: want.dest.clone(),
        active_conns: 0,
        inactive_conns: 0,
        persistent_conns: 0,
        stats: Stats::default(),
    };
    let services = wanted.services.values().map(|s| ServiceEntry {
        service: s.service.clone(),
        stats: Stats::default(),
        dests: s.dests.values().map(entry).collect(),
    });
    services.collect()
}
