//! Who may live without being heard: what a node that takes over asks the LAN about.
use crate::harness::fences::{Acts, Agent, device, fenced};
use crate::harness::planner::plan;
use crate::harness::{GROUP, Lab, schedule};
use base::NodeId;
use controller::Request;
use std::collections::{BTreeMap, BTreeSet};

fn silent(lab: &Lab, node: u32) -> BTreeSet<u32> {
    lab.node(node).owners.silent.iter().map(|n| n.0).collect()
}

fn up() -> Lab {
    let mut lab = Lab::new(3, GROUP, plan);
    lab.run_ms(1000);
    lab
}

#[test]
fn members_are_not_silent_and_who_is_lost_is() {
    let mut lab = up();
    assert_eq!(silent(&lab, 2), BTreeSet::new());
    lab.kill(1);
    lab.run_ms(1000);
    assert_eq!((silent(&lab, 2), silent(&lab, 3)), ([1].into(), [1].into()));
    // Each half of a cut knows the other to be silent, and a heal ends that.
    lab.partition(&[&[2], &[3]]);
    lab.run_ms(1000);
    assert_eq!((silent(&lab, 2), silent(&lab, 3)), ([1, 3].into(), [1, 2].into()));
    lab.partition(&[&[2, 3]]);
    lab.run_ms(1000);
    assert_eq!((silent(&lab, 2), silent(&lab, 3)), ([1].into(), [1].into()));
}

#[test]
fn who_left_in_good_order_is_vouched_for_for_a_while() {
    let mut lab = up();
    lab.ask(1, Request::Shutdown { cancel: false });
    lab.run_ms(1000);
    assert!(!lab.nodes.contains_key(&NodeId(1)), "it has left");
    assert_eq!(silent(&lab, 2), BTreeSet::new(), "a planned leave is not asked for");
    lab.run_ms(11_000);
    assert_eq!(silent(&lab, 2), [1].into(), "it may have been started since, behind a cut");
}

#[test]
fn who_starts_alone_knows_of_nobody() {
    let mut lab = Lab::new(2, GROUP, plan);
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(500);
    assert_eq!((silent(&lab, 1), silent(&lab, 2)), ([2].into(), [1].into()));
}

#[test]
fn after_a_cold_start_a_node_that_stays_away_is_waited_for_and_then_fenced() {
    let cib = fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", &[])), "", "");
    let mut lab = Lab::on(&[1; 3], &cib, schedule, BTreeMap::new());
    lab.agents = BTreeMap::from([("fence_a".to_owned(), Agent::new(Acts::Kills, 100))]);
    lab.run_ms(3000);
    let stored: Vec<_> = (1..=2).map(|n| lab.node(n).persisted.clone()).collect();
    (1..=3).for_each(|n| lab.kill(n));
    lab.run_ms(1000);
    let begin = lab.fences.len();
    for (n, stored) in (1..).zip(stored) {
        lab.restart(n, stored, 2);
    }
    lab.partition(&[&[1, 2]]);
    lab.run_ms(10_000);
    assert_eq!(lab.fences.len(), begin, "it may be starting, too");
    assert!(lab.where_is("vip").is_empty(), "and nobody knows what it runs");
    lab.run_ms(20_000);
    assert!(lab.fences[begin..].iter().all(|f| f.target == 3) && lab.fences.len() == begin + 1, "{:?}", lab.fences);
    assert_eq!(lab.where_is("vip").len(), 1);
}
