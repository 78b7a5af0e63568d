use super::*;
use base::Time;
use base::ipvs::*;
use std::collections::BTreeSet;
use std::time::Duration;

mod agreed;
mod tuning;

fn dest(n: u8, weight: u32) -> Dest {
    let key = DestKey { addr: [10, 0, 1, n].into(), port: 80 };
    Dest { key, forward: Forward::Route, weight, tunnel: Tunnel::Ipip, u_threshold: 0, l_threshold: 0 }
}

fn key() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, addr: [10, 0, 0, 1].into(), port: 80 }
}

fn id(n: u8) -> RealId {
    RealId { service: key(), dest: dest(n, 1).key }
}

fn plan(count: u8, quiescent: bool, failure_count: u32) -> Plan {
    let reals = (1..=count).map(|n| RealPlan { dest: dest(n, 5), mode: Mode::Checked }).collect();
    let v = VirtualPlan {
        service: Service::new(key(), "wrr"),
        reals,
        fallback: Some(dest(99, 1)),
        quiescent,
        tuning: Tuning::fall(failure_count),
    };
    Plan { virtuals: vec![v], readd_quiescent: false }
}

fn verdict(up: bool) -> Verdict {
    Verdict { up, answer: String::new(), latency_us: 0 }
}

/// A table with one service, changed by operations as the kernel would.
#[derive(Default)]
struct Table(Vec<ServiceEntry>);

impl Table {
    fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::AddService(s) => {
                    self.0.push(ServiceEntry { service: s.clone(), stats: Stats::default(), dests: Vec::new() })
                }
                Op::EditService(s) => self.0[0].service = s.clone(),
                Op::DeleteService(k) => self.0.retain(|e| e.service.key != *k),
                Op::AddDest { dest, .. } => self.0[0].dests.push(DestEntry {
                    dest: dest.clone(),
                    active_conns: 0,
                    inactive_conns: 0,
                    persistent_conns: 0,
                    stats: Stats::default(),
                }),
                Op::EditDest { dest, .. } => {
                    self.0[0].dests.iter_mut().filter(|d| d.dest.key == dest.key).for_each(|d| d.dest = dest.clone())
                }
                Op::DeleteDest { dest, .. } => self.0[0].dests.retain(|d| d.dest.key != *dest),
            }
            let serving: u32 = self.0.iter().flat_map(|e| &e.dests).map(|d| d.dest.weight).sum();
            assert!(serving > 0 || self.0.iter().all(|e| e.dests.iter().all(|d| d.dest.weight == 0)));
        }
    }

    fn weights(&self) -> Vec<(u8, u32)> {
        let last = |d: &DestEntry| match d.dest.key.addr {
            std::net::IpAddr::V4(a) => a.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        };
        let mut all: Vec<(u8, u32)> = self.0.iter().flat_map(|e| &e.dests).map(|d| (last(d), d.dest.weight)).collect();
        all.sort_unstable();
        all
    }
}

fn settle(plan: &Plan, health: &Health, table: &mut Table, now: Time) -> Vec<Op> {
    let ops = diff(&wanted(plan, health, now), &BTreeSet::new(), &table.0);
    table.apply(&ops);
    assert!(diff(&wanted(plan, health, now), &BTreeSet::new(), &table.0).is_empty(), "a second pass has nothing to do");
    ops
}

#[test]
fn no_weight_before_a_passed_check_and_no_flapping_fallback() {
    let plan = plan(2, false, 1);
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), []);
    assert_eq!(health.record(id(1), &verdict(true), &Tuning::fall(1), Time::ZERO), Transition::Up);
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), [(1, 5)]);
    assert_eq!(health.record(id(2), &verdict(false), &Tuning::fall(1), Time::ZERO), Transition::Down);
    assert!(settle(&plan, &health, &mut table, Time::ZERO).is_empty());
}

#[test]
fn the_fallback_comes_before_the_last_server_goes_and_leaves_after_the_first_has_come() {
    let plan = plan(2, false, 1);
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    for n in [1, 2] {
        health.record(id(n), &verdict(true), &Tuning::fall(1), Time::ZERO);
    }
    settle(&plan, &health, &mut table, Time::ZERO);
    for n in [1, 2] {
        health.record(id(n), &verdict(false), &Tuning::fall(1), Time::ZERO);
    }
    let ops = settle(&plan, &health, &mut table, Time::ZERO);
    assert!(matches!(ops[0], Op::AddDest { role: Role::Fallback, .. }), "{ops:?}");
    assert_eq!(table.weights(), [(99, 1)]);
    health.record(id(2), &verdict(true), &Tuning::fall(1), Time::ZERO);
    let ops = settle(&plan, &health, &mut table, Time::ZERO);
    assert!(
        matches!(ops[..], [Op::AddDest { role: Role::Real, .. }, Op::DeleteDest { role: Role::Fallback, .. }]),
        "{ops:?}"
    );
}

#[test]
fn a_silent_start_gets_its_fallback_after_the_grace_time() {
    let plan = plan(1, true, 1);
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO + FALLBACK_GRACE - Duration::from_millis(1));
    assert_eq!(table.weights(), [(1, 0)]);
    settle(&plan, &health, &mut table, Time::ZERO + FALLBACK_GRACE);
    assert_eq!(table.weights(), [(1, 0), (99, 1)]);
}

#[test]
fn failures_in_a_row() {
    let plan = plan(1, true, 3);
    let mut health = Health::default();
    health.follow(&plan, Time::ZERO);
    let mut check = |up| health.record(id(1), &verdict(up), &Tuning::fall(3), Time::ZERO);
    assert_eq!(check(true), Transition::Up);
    assert_eq!(check(false), Transition::SoftFailure { failures: 1, limit: 3 });
    assert_eq!(check(true), Transition::SoftFailuresReset);
    assert_eq!(check(false), Transition::SoftFailure { failures: 1, limit: 3 });
    assert_eq!(check(false), Transition::SoftFailure { failures: 2, limit: 3 });
    assert_eq!(check(false), Transition::Down);
    assert_eq!(check(false), Transition::None);
    assert_eq!(check(true), Transition::Up);
}

#[test]
fn a_table_changed_by_hand_is_repaired() {
    let plan = plan(2, false, 1);
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    for n in [1, 2] {
        health.record(id(n), &verdict(true), &Tuning::fall(1), Time::ZERO);
    }
    settle(&plan, &health, &mut table, Time::ZERO);
    table.0[0].dests[0].dest.weight = 0;
    table.0[0].dests.remove(1);
    table.0[0].dests.push(DestEntry {
        dest: dest(50, 3),
        active_conns: 0,
        inactive_conns: 0,
        persistent_conns: 0,
        stats: Stats::default(),
    });
    table.0[0].service.scheduler = "rr".to_owned();
    let ops = settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(ops.len(), 4, "{ops:?}");
    assert_eq!(table.weights(), [(1, 5), (2, 5)]);
    // What the kernel adds by itself is no difference.
    table.0[0].service.flags |= service_flags::HASHED;
    table.0[0].dests[0].dest.forward = Forward::Local;
    assert!(settle(&plan, &health, &mut table, Time::ZERO).is_empty());
}

#[test]
fn a_quiescent_server_removed_by_hand_stays_away_unless_readdquiescent() {
    let mut plan = plan(2, true, 1);
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    health.record(id(1), &verdict(true), &Tuning::fall(1), Time::ZERO);
    health.record(id(2), &verdict(false), &Tuning::fall(1), Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), [(1, 5), (2, 0)]);
    health.note_placed(id(2));
    table.0[0].dests.retain(|d| d.dest.weight > 0);
    assert!(settle(&plan, &health, &mut table, Time::ZERO).is_empty());
    plan.readd_quiescent = true;
    assert_eq!(settle(&plan, &health, &mut table, Time::ZERO).len(), 1);
    health.record(id(2), &verdict(true), &Tuning::fall(1), Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), [(1, 5), (2, 5)]);
}

#[test]
fn a_restart_takes_over_weights_of_the_table() {
    let plan = plan(2, false, 2);
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    health.record(id(1), &verdict(true), &Tuning::fall(1), Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO);
    let mut again = Health::default();
    again.follow(&plan, Time::ZERO);
    again.adopt_table(&table.0, Time::ZERO);
    assert!(settle(&plan, &again, &mut table, Time::ZERO).is_empty());
    assert_eq!(
        again.record(id(1), &verdict(false), &Tuning::fall(2), Time::ZERO),
        Transition::SoftFailure { failures: 1, limit: 2 }
    );
}

#[test]
fn verdicts_travel_with_their_age() {
    let plan = plan(3, false, 1);
    let (mut active, mut standby) = (Health::default(), Health::default());
    let checked = Time::from_millis(10_000);
    active.follow(&plan, Time::ZERO);
    standby.follow(&plan, Time::ZERO);
    active.record(id(1), &verdict(true), &Tuning::fall(1), checked);
    active.record(id(2), &verdict(false), &Tuning::fall(1), checked);
    let exported = active.export(checked + Duration::from_millis(500));
    let text = serde_json::to_string(&exported).unwrap();
    let received: Verdicts = serde_json::from_str(&text).unwrap();
    assert_eq!(received.entries.len(), 2);
    assert_eq!(standby.import(&received, Duration::from_millis(400), Time::from_millis(1)), 0, "too old");
    assert_eq!(standby.import(&received, Duration::from_secs(30), Time::from_millis(5_000)), 2);
    let mut table = Table::default();
    settle(&plan, &standby, &mut table, Time::from_millis(5_000));
    assert_eq!(table.weights(), [(1, 5)]);
    // Own checks outrank what a peer says afterwards.
    standby.record(id(1), &verdict(false), &Tuning::fall(1), Time::from_millis(6_000));
    standby.import(&received, Duration::from_secs(30), Time::from_millis(6_001));
    assert_eq!(standby.get(&id(1)).map(|r| r.standing), Some(Standing::Down));
}

#[test]
fn maintenance_is_down_at_once_and_fixed_modes_need_no_check() {
    let mut plan = plan(3, false, 9);
    plan.virtuals[0].reals[1].mode = Mode::AlwaysUp;
    plan.virtuals[0].reals[2].mode = Mode::AlwaysDown;
    let (mut health, mut table) = (Health::default(), Table::default());
    health.follow(&plan, Time::ZERO);
    health.record(id(1), &verdict(true), &Tuning::fall(9), Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), [(1, 5), (2, 5)]);
    assert!(health.set_maintenance(id(2), true, Time::ZERO));
    assert!(!health.set_maintenance(id(2), true, Time::ZERO));
    assert!(health.set_maintenance(id(1), true, Time::ZERO));
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), [(99, 1)]);
    health.record(id(1), &verdict(true), &Tuning::fall(9), Time::ZERO);
    assert!(settle(&plan, &health, &mut table, Time::ZERO).is_empty());
    health.set_maintenance(id(1), false, Time::ZERO);
    settle(&plan, &health, &mut table, Time::ZERO);
    assert_eq!(table.weights(), [(1, 5)]);
}

#[test]
fn dropped_services_leave_and_foreign_ones_stay() {
    let other = ServiceKey::Fwmark { mark: 7, family: Family::IPv4 };
    let foreign = ServiceKey::Fwmark { mark: 8, family: Family::IPv4 };
    let entry = |key| ServiceEntry { service: Service::new(key, "rr"), stats: Stats::default(), dests: Vec::new() };
    let ops = diff(&Wanted::default(), &BTreeSet::from([other]), &[entry(other), entry(foreign)]);
    assert_eq!(ops, [Op::DeleteService(other)]);
}
