//! What a client is told of a change while disks are slow, full or dead.

use crate::harness::{Lab, schedule};
use base::NodeId;
use cib::{Cib, Lineage};
use controller::disks::DiskTrouble;
use controller::{Response, Safety};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn told(lab: &Lab, node: u32, id: u64) -> Option<Safety> {
    match lab.node(node).replies.get(&id) {
        Some(Response::Done { safety, .. }) => Some(*safety),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn lab(nodes: u32) -> Lab {
    let mut lab = Lab::new(nodes, "", schedule);
    lab.run_ms(3000);
    lab
}

#[test]
fn a_slow_disk_in_the_majority_is_waited_for_and_no_other() {
    let mut lab = lab(3);
    lab.disk_ms.insert(NodeId(2), 400);
    let id = lab.property(1, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe), "nodes 1 and 3 have written it");
    lab.disk_ms.insert(NodeId(3), 300);
    let id = lab.property(1, "two", "2");
    lab.run_ms(200);
    assert_eq!(told(&lab, 1, id), None);
    lab.run_ms(200);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe));
}

#[test]
fn full_disks_make_it_provisional_at_once_and_dead_ones_after_five_seconds() {
    let mut lab = lab(3);
    lab.full_disks.extend([NodeId(2), NodeId(3)]);
    let id = lab.property(2, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 2, id), Some(Safety::Provisional));
    lab.full_disks.clear();
    lab.disk_ms.extend([(NodeId(2), 3_600_000), (NodeId(3), 3_600_000)]);
    let id = lab.property(1, "two", "2");
    lab.run_ms(4900);
    assert_eq!(told(&lab, 1, id), None);
    lab.run_ms(200);
    assert_eq!(told(&lab, 1, id), Some(Safety::Provisional));
}

#[test]
fn the_status_waits_for_no_disk() {
    let mut lab = lab(2);
    lab.disk_ms.extend([(NodeId(1), 3_600_000), (NodeId(2), 3_600_000)]);
    let request = controller::Request::Attribute {
        node: None,
        name: base::Word::cleaned("pingd"),
        value: Some(base::Value::cleaned("100")),
    };
    let id = lab.ask(1, request);
    lab.run_ms(100);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe));
}

/// Whether a node's disk has this property.
fn on_disk(lab: &Lab, node: u32, name: &str) -> bool {
    let stored = lab.node(node).persisted.as_ref();
    stored.is_some_and(|(cib, _)| cib.to_compact().contains(&format!("\"opt-{name}\"")))
}

#[test]
fn a_write_that_failed_is_told_again_once_it_is_stored() {
    let mut lab = lab(3);
    lab.full_disks.extend([NodeId(2), NodeId(3)]);
    let id = lab.property(1, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 1, id), Some(Safety::Provisional));
    let failing = BTreeMap::from([(NodeId(2), DiskTrouble::Failing), (NodeId(3), DiskTrouble::Failing)]);
    assert_eq!(lab.node(1).controller.status().disks, failing, "every node names them");
    lab.full_disks.clear();
    lab.run_ms(600);
    assert!(on_disk(&lab, 2, "one") && on_disk(&lab, 3, "one"), "without a further change");
    assert!(lab.node(1).controller.status().disks.is_empty());
    let id = lab.property(1, "two", "2");
    lab.run_ms(100);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe));
}

#[test]
fn a_disk_that_hangs_is_named_and_takes_no_answer_with_it() {
    let mut lab = lab(3);
    lab.disk_ms.insert(NodeId(3), 3_600_000);
    let id = lab.property(3, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 3, id), Some(Safety::Safe), "the others have it");
    lab.run_ms(6000);
    let late = BTreeMap::from([(NodeId(3), DiskTrouble::Late)]);
    lab.input(NodeId(1), controller::Input::Tick);
    assert_eq!(lab.node(1).controller.status().disks, late);
    // Thousands of writes that are never told of.
    for n in 0..2000 {
        lab.property(3, "many", &n.to_string());
        lab.run_ms(10);
    }
    lab.disk_ms.clear();
    let id = lab.property(3, "last", "1");
    lab.run_ms(200);
    assert_eq!(told(&lab, 3, id), Some(Safety::Safe));
    assert!(lab.node(1).controller.status().disks.is_empty());
}

#[test]
fn a_provisional_change_has_seen_its_own_disk() {
    let mut lab = lab(3);
    lab.partition(&[&[1], &[2, 3]]);
    lab.run_ms(1000);
    lab.disk_ms.insert(NodeId(1), 800);
    let id = lab.property(1, "one", "1");
    lab.run_ms(600);
    assert_eq!(told(&lab, 1, id), None, "not even written here");
    lab.run_ms(400);
    assert_eq!(told(&lab, 1, id), Some(Safety::Provisional));
    assert!(on_disk(&lab, 1, "one"));
}

#[test]
fn votes_and_not_nodes_make_a_change_safe() {
    // Two of three nodes have written it, but a quorum without both of them is possible.
    let mut lab = Lab::with_votes(&[3, 1, 1], "", schedule);
    lab.run_ms(3000);
    lab.full_disks.insert(NodeId(1));
    let id = lab.property(2, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 2, id), Some(Safety::Provisional));
    lab.full_disks.clear();
    lab.full_disks.extend([NodeId(2), NodeId(3)]);
    let id = lab.property(2, "two", "1");
    lab.run_ms(1000);
    assert_eq!(told(&lab, 2, id), Some(Safety::Safe), "every quorum has node 1");
}

#[test]
fn what_was_lost_never_wins_a_merge() {
    let none = || Some((Arc::new(Cib::new_empty(base::WallTime(0)).root().clone()), Lineage::NONE.to_string()));
    let mut lab = lab(3);
    let id = lab.property(1, "kept", "1");
    lab.run_ms(1000);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe));
    let stored = lab.node(3).persisted.clone();
    for node in 1..=3 {
        lab.kill(node);
    }
    // Two nodes that have lost theirs are a majority, live for a while, and are changed.
    lab.restart(1, none(), 2);
    lab.restart(2, none(), 2);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(3000);
    assert!(lab.node(1).controller.status().no_content);
    lab.property(1, "other", "1");
    lab.run_ms(1000);
    lab.restart(3, stored, 2);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(3000);
    for node in 1..=3 {
        let text = lab.node(node).controller.cib().root().to_compact();
        assert!(text.contains("opt-kept") && !text.contains("opt-other"), "node {node}: {text}");
        assert!(!lab.node(node).controller.status().no_content);
    }
}

#[test]
fn a_document_in_the_place_of_what_was_lost_is_content() {
    let mut lab = lab(1);
    lab.kill(1);
    let empty = Arc::new(Cib::new_empty(base::WallTime(0)).root().clone());
    lab.restart(1, Some((empty, Lineage::NONE.to_string())), 2);
    lab.partition(&[&[1]]);
    lab.run_ms(3000);
    assert!(lab.node(1).controller.status().no_content);
    let (_, lineage) = lab.node(1).persisted.clone().unwrap();
    assert!(lineage.starts_with("none"), "a restart does not make it good: {lineage}");
    lab.property(1, "little", "1");
    lab.run_ms(500);
    assert!(lab.node(1).controller.status().no_content, "a change here and there is no document");
    let document =
        xml::parse(&crate::harness::document("<primitive id=\"d\" class=\"ocf\" provider=\"p\" type=\"D\"/>")).unwrap();
    let configuration = document.child("configuration").cloned();
    let target = cib::Target::Section("configuration".to_owned());
    let request = cib::Request::new(cib::Op::Replace, target, configuration);
    lab.ask(1, controller::Request::Cib(request));
    lab.run_ms(1000);
    assert!(!lab.node(1).controller.status().no_content);
}

struct Dice(u64);

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The power fails everywhere at a random moment, while disks are slow, full and well again; then any quorum comes back.
#[test]
fn no_power_failure_loses_what_was_called_safe() {
    const FAILURES: u64 = 300;
    let (mut safe, mut provisional) = (0, 0);
    for seed in 1..=FAILURES {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let votes: &[u32] =
            [&[1, 1, 1][..], &[1, 1], &[3, 1, 1], &[1, 1, 0], &[2, 1, 1, 1], &[1, 1, 1, 1, 1]][dice.roll(6) as usize];
        let mut lab = Lab::with_votes(votes, "", schedule);
        lab.run_ms(2000);
        let nodes: Vec<u32> = (1..=votes.len() as u32).collect();
        let mut asked = Vec::new();
        for n in 0..8 {
            for node in nodes.iter().copied().map(NodeId) {
                lab.disk_ms.insert(node, [2, 30, 700][dice.roll(3) as usize]);
                match dice.roll(3) {
                    0 => drop(lab.full_disks.insert(node)),
                    _ => drop(lab.full_disks.remove(&node)),
                }
            }
            let node = nodes[dice.roll(nodes.len() as u64) as usize];
            asked.push((node, lab.property(node, &format!("p{n}"), "1"), format!("opt-p{n}")));
            lab.run_ms(1 + dice.roll(500));
        }
        let told: Vec<(String, Option<Safety>)> =
            asked.into_iter().map(|(node, id, name)| (name, told(&lab, node, id))).collect();
        safe += told.iter().filter(|(_, s)| *s == Some(Safety::Safe)).count();
        provisional += told.iter().filter(|(_, s)| *s == Some(Safety::Provisional)).count();
        let stored: BTreeMap<u32, _> = nodes.iter().map(|n| (*n, lab.node(*n).persisted.clone())).collect();
        nodes.iter().for_each(|n| lab.kill(*n));
        lab.disk_ms.clear();
        lab.full_disks.clear();
        let back: Vec<u32> = loop {
            let some: Vec<u32> = nodes.iter().copied().filter(|_| dice.roll(2) == 0).collect();
            if lab.is_majority(&some.iter().copied().map(NodeId).collect::<BTreeSet<_>>()) {
                break some;
            }
        };
        back.iter().for_each(|n| lab.restart(*n, stored[n].clone(), 2));
        lab.partition(&[&back]);
        lab.run_ms(2000);
        let text = lab.node(back[0]).controller.cib().root().to_compact();
        for (name, safety) in &told {
            let there = text.contains(&format!("\"{name}\""));
            assert!(
                there || *safety != Some(Safety::Safe),
                "seed {seed}, votes {votes:?}, back {back:?}: {name} is lost"
            );
        }
    }
    println!("{FAILURES} power failures: {safe} changes called safe, {provisional} provisional");
    assert!(safe > 200 && provisional > 200, "{safe} safe, {provisional} provisional");
}
