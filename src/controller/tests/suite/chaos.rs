//! Random partitions, crashes, restarts and writes from a seed; then everything heals and must be in order.

use crate::harness::planner::plan;
use crate::harness::{GROUP, Lab, Planner};
use base::Time;
use controller::*;
use std::collections::BTreeMap;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

type Stored = BTreeMap<u32, Option<(std::sync::Arc<xml::Element>, String)>>;

/// One step of disorder. Down nodes are those with an entry in `stored`.
fn disturb(lab: &mut Lab, random: &mut Random, stored: &mut Stored, lives: &mut u64) {
    let up: Vec<u32> = lab.nodes.keys().map(|n| n.0).collect();
    match random.below(8) {
        0 if up.len() > 2 => {
            let id = up[random.below(up.len() as u64) as usize];
            stored.insert(id, lab.node(id).persisted.clone());
            lab.kill(id);
        }
        1 if !stored.is_empty() => {
            let (id, disk) = stored.pop_first().unwrap();
            *lives += 1;
            lab.restart(id, disk, *lives);
            regroup(lab, random);
        }
        2 | 3 => regroup(lab, random),
        _ => lab.run_ms(random.below(30)),
    }
}

/// Everyone lands in one of two groups, often the same.
fn regroup(lab: &mut Lab, random: &mut Random) {
    let ids: Vec<u32> = lab.nodes.keys().map(|n| n.0).collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let whole = random.below(2) == 0;
    for id in ids {
        if whole || random.below(2) == 0 { a.push(id) } else { b.push(id) }
    }
    lab.requeue = random.below(2) == 0;
    let groups: Vec<&[u32]> = [a.as_slice(), b.as_slice()].into_iter().filter(|g| !g.is_empty()).collect();
    lab.partition(&groups);
}

fn heal(lab: &mut Lab, stored: &mut Stored, lives: &mut u64) {
    while let Some((id, disk)) = stored.pop_first() {
        *lives += 1;
        lab.restart(id, disk, *lives);
    }
    let all: Vec<u32> = lab.nodes.keys().map(|n| n.0).collect();
    lab.partition(&[&all]);
    lab.run_ms(2000);
}

fn life_of(seed: u64, plan: Planner) {
    let mut random = Random(seed);
    let mut lab = Lab::new(3, GROUP, plan);
    for key in ["vip_start_0", "lvs_start_0", "vip_stop_0", "lvs_stop_0", "vip_monitor_0"] {
        lab.delays.insert(key.into(), random.below(60));
    }
    lab.run_ms(random.below(200));
    let (mut stored, mut lives) = (Stored::new(), 1);
    // Writes by the node they were given to; a crash of that node takes its answers along.
    let mut writes: Vec<(u32, u64, u64, String)> = Vec::new();
    for round in 0..40 {
        let up: Vec<u32> = lab.nodes.keys().map(|n| n.0).collect();
        let node = up[random.below(up.len() as u64) as usize];
        let name = format!("w{round}");
        let id = lab.property(node, &name, "v");
        writes.push((node, lab.node(node).incarnation, id, name));
        disturb(&mut lab, &mut random, &mut stored, &mut lives);
    }
    heal(&mut lab, &mut stored, &mut lives);
    lab.assert_same_cib();
    let text = lab.node(1).controller.cib().root().to_pretty();
    for (node, incarnation, id, name) in writes {
        let holder = lab.node(node);
        if holder.incarnation != incarnation {
            continue;
        }
        match holder.replies.get(&id) {
            Some(Response::Done { safety: Safety::Safe, .. }) => {
                assert!(text.contains(&format!("name=\"{name}\"")), "seed {seed}: safe write {name} is lost\n{text}");
            }
            Some(_) => {}
            None => panic!("seed {seed}: {name} was never answered"),
        }
    }
    assert!(!text.contains("join=\"pending\""), "seed {seed}: {text}");
    assert_eq!(lab.where_is("vip").len(), 1, "seed {seed}: {:?}\n{text}", lab.where_is("vip"));
    assert_eq!(lab.where_is("vip"), lab.where_is("lvs"), "seed {seed}\n{text}");
    let holder = lab.where_is("vip")[0];
    for (id, node) in &lab.nodes {
        assert_eq!(node.owners.resources.contains("vip"), id.0 == holder, "seed {seed}: leases of {id}");
        assert_eq!(node.controller.status().state == "idle", node.controller.status().dc == Some(*id), "seed {seed}");
    }
}

#[test]
fn disorder_heals() {
    for seed in crate::harness::seeds(40) {
        life_of(seed, plan);
    }
}

#[test]
fn disorder_heals_with_the_real_scheduler() {
    for seed in crate::harness::seeds(20) {
        life_of(seed, crate::harness::schedule);
    }
}

#[test]
fn the_same_seed_is_the_same_life() {
    let run = || {
        let mut lab = Lab::new(3, GROUP, plan);
        lab.run_ms(100);
        lab.kill(1);
        lab.run_ms(500);
        (lab.operations(Time::ZERO), lab.node(2).controller.cib().digest())
    };
    assert_eq!(run(), run());
}
