//! Several active directors: agreed health, and the table of `mh`.

use super::*;
use std::collections::BTreeMap;

const GRACE: Duration = Duration::from_secs(5);

fn at(ms: u64) -> Time {
    Time(1_000_000 + ms * 1_000)
}

fn weights(plan: &Plan, health: &Health, now: Time) -> Vec<(u8, u32)> {
    let mut table = Table::default();
    table.apply(&diff(&wanted(plan, health, now), &BTreeSet::new(), &[]));
    table.weights()
}

#[test]
fn the_agreed_word_counts_until_this_host_is_alone_with_its_own() {
    let plan = plan(2, false, 1);
    let mut health = Health::default();
    health.follow(&plan, at(0));
    for n in 1..=2 {
        health.record(id(n), &verdict(true), &Tuning::fall(1), at(0));
    }
    let agree = |health: &mut Health, up: &[(u8, bool)], now| {
        let agreed: BTreeMap<RealId, bool> = up.iter().map(|(n, up)| (id(*n), *up)).collect();
        health.agree(&agreed, |_| GRACE, now)
    };
    assert_eq!(agree(&mut health, &[(1, true), (2, true)], at(10)), []);
    // Found down here: the others have not said so yet.
    health.record(id(2), &verdict(false), &Tuning::fall(1), at(100));
    assert_eq!(weights(&plan, &health, at(100)), [(1, 5), (2, 5)]);
    assert_eq!(agree(&mut health, &[(1, true), (2, false)], at(150)), [id(2)]);
    assert_eq!(weights(&plan, &health, at(150)), [(1, 5)]);
    // The others find it up again; here its way is cut.
    assert_eq!(agree(&mut health, &[(1, true), (2, true)], at(200)), [id(2)]);
    assert_eq!(agree(&mut health, &[(1, true), (2, true)], at(5_100)), [], "they may need as long as the grace");
    assert_eq!(agree(&mut health, &[(1, true), (2, true)], at(5_101)), [id(2)]);
    assert_eq!(weights(&plan, &health, at(5_101)), [(1, 5)]);
    health.record(id(2), &verdict(true), &Tuning::fall(1), at(6_000));
    assert_eq!(weights(&plan, &health, at(6_000)), [(1, 5), (2, 5)]);
    assert_eq!(agree(&mut health, &[(1, true), (2, true)], at(6_001)), []);
    // Nobody to agree with: own checks.
    health.record(id(1), &verdict(false), &Tuning::fall(1), at(7_000));
    assert_eq!(agree(&mut health, &[], at(7_001)), [id(1)]);
    assert_eq!(weights(&plan, &health, at(7_001)), [(2, 5)]);
}

/// A director that starts while a server is down must fill `mh`'s table as those do that knew the server up.
#[test]
fn with_mh_fallback_a_server_that_is_down_has_had_its_weight() {
    let mut plan = plan(3, true, 1);
    plan.virtuals[0].service = Service { flags: service_flags::SCHED1, ..Service::new(key(), "mh") };
    let mut health = Health::default();
    health.follow(&plan, at(0));
    for (n, up) in [(1, true), (2, false), (3, true)] {
        health.record(id(n), &verdict(up), &Tuning::fall(1), at(0));
    }
    let ops = diff(&wanted(&plan, &health, at(2_000)), &BTreeSet::new(), &[]);
    let placed: Vec<(bool, DestKey, u32)> = ops
        .iter()
        .filter_map(|op| match op {
            Op::AddDest { dest, .. } => Some((true, dest.key, dest.weight)),
            Op::EditDest { dest, .. } => Some((false, dest.key, dest.weight)),
            _ => None,
        })
        .collect();
    let [a, b, c] = [1, 2, 3].map(|n| dest(n, 1).key);
    assert_eq!(placed, [(true, a, 5), (true, b, 5), (false, b, 0), (true, c, 5)], "in the order of the addresses");
    // Settled: nothing is done twice, and one that goes and comes only changes its weight.
    let mut table = Table::default();
    table.apply(&ops);
    assert_eq!(settle(&plan, &health, &mut table, at(2_001)), []);
    // Without the flag it never has any.
    plan.virtuals[0].service.flags = 0;
    let ops = diff(&wanted(&plan, &health, at(2_000)), &BTreeSet::new(), &[]);
    assert!(!ops.iter().any(|op| matches!(op, Op::EditDest { .. })), "{ops:?}");
}
