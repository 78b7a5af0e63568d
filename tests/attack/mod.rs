//! Random faults on real nodes: the faults of the simulator, done to processes, links and disks of this machine (DESIGN §3.22).
//!
//! ```text
//!   ring network ─── eth1 of n1, n2 (n3)
//!   service LAN ──── eth0 of n1, n2 (n3): one address, a responder on every node; and of the client that asks it every 5 ms
//! ```
//!
//! Two nodes without fence devices rely on leases; three nodes have a device that takes the power from a node. One fault after
//! the other is chosen from a seed, lasts, is withdrawn, and everything must be well again within [`CONVERGES`]; the properties
//! are in `properties`. A handful of faults each, `BASCULE_LONG=1` does 150 each; `BASCULE_FAULTS=N` does N, `BASCULE_SEED=N`
//! chooses others, `BASCULE_FAULT=TEXT` only those of that name. A violation prints what led to it and fails the test at the end.

mod faults;
mod field;
mod probe;
mod properties;
mod report;
mod writer;

use crate::root::root;
use faults::Deck;
use field::Field;
use report::Report;
use sim::rng::Rng;
use std::time::{Duration, Instant};

/// From the end of a fault to one view, one configuration, and everything running once; on a machine that does other things
/// as well. The table tells how long it really took.
const CONVERGES: Duration = Duration::from_secs(30);
/// Faults after which new nodes are taken: what they log and write stays small.
const FAULTS_PER_FIELD: usize = 25;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn attack(nodes: &[&'static str], fencing: bool, few: usize) {
    let long = std::env::var("BASCULE_LONG").is_ok_and(|v| v == "1");
    let faults = number("BASCULE_FAULTS").map_or(if long { 150 } else { few }, |n| n as usize);
    let seed = number("BASCULE_SEED").unwrap_or(1);
    let mut deck = Deck::shuffled(&mut Rng::new(seed), fencing);
    let mut report = Report::default();
    let mut left = faults;
    let mut part = 0;
    while left > 0 {
        let mut rng = Rng::new(seed * 1000 + part);
        let mut field = Field::start(nodes, fencing).await;
        for n in 0..left.min(FAULTS_PER_FIELD) {
            let fault = faults::choose(&mut rng, &mut deck, &field).await;
            let title = format!("{} nodes, seed {seed}, part {part}, fault {n}: {fault:?}", nodes.len());
            if !one(&mut field, &fault, &title, &mut report).await {
                break;
            }
        }
        left -= left.min(FAULTS_PER_FIELD);
        part += 1;
        properties::nothing_left_at_the_end(&mut field, &mut report).await;
    }
    println!("{} nodes, {}\n{report}", nodes.len(), if fencing { "fencing" } else { "leases alone" });
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

/// False if the nodes are of no use any more.
async fn one(field: &mut Field, fault: &faults::Fault, title: &str, report: &mut Report) -> bool {
    // The cards of an address that has moved are told, and what was fenced is forgotten.
    field.pass(Duration::from_millis(500)).await;
    field.begin_fault();
    let began = Instant::now();
    faults::inflict(field, fault).await;
    field.pass(fault.lasts).await;
    faults::withdraw(field, fault).await;
    let withdrawn = Instant::now();
    let mut why = String::new();
    let well = loop {
        field.pass(Duration::from_millis(50)).await;
        match properties::well(field).await {
            Ok(()) => break true,
            Err(reason) => why = reason,
        }
        if withdrawn.elapsed() > CONVERGES {
            break false;
        }
    };
    let had = report.violations.len();
    let converged = withdrawn.elapsed();
    // Answers are on their way.
    field.pass(Duration::from_millis(300)).await;
    let outage = field.probe.outage(began, Instant::now());
    report.count(fault, outage, converged);
    report
        .check("converges", well.then_some(()).ok_or_else(|| format!("{title}: not well after {converged:?}: {why}")));
    properties::check(field, fault, began, title, report);
    println!("{title}: outage {} ms, well after {} ms", outage.as_millis(), converged.as_millis());
    if report.violations.len() > had {
        println!("VIOLATION: {:#?}\n{}", &report.violations[had..], field.story());
    }
    well
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_rely_on_leases() {
    let Some(()) = root() else { return };
    attack(&["n1", "n2"], false, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_a_fence_device() {
    let Some(()) = root() else { return };
    attack(&["n1", "n2", "n3"], true, 6).await;
}
