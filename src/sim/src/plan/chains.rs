//! Steps that hurt only together, and that chance alone would hardly ever put beside each other.

use super::{Change, Deed, Kind, QUIET_MS, Step, TROUBLE_MS, Wish, any_node};
use crate::generate::Configuration;
use crate::rng::Rng;
use crate::{agents, disk};
use base::NodeId;
use base::exit::OcfCode;

/// A plan's steps, and by chance some of these.
pub fn added(rng: &mut Rng, kind: Kind, nodes: u32, configuration: &Configuration, mut steps: Vec<Step>) -> Vec<Step> {
    match kind {
        Kind::Wild if rng.percent(25) => steps.extend(stubborn(rng, nodes, configuration)),
        Kind::Wild if rng.percent(25) => steps.extend(writes(rng, nodes)),
        Kind::Wild if rng.percent(10) => steps = clocks(rng, nodes, configuration),
        Kind::Calm if rng.percent(60) => steps.extend(probes(rng, nodes, configuration)),
        _ => {}
    }
    if kind != Kind::Loss && rng.percent(15) {
        steps.extend(reloads(rng, nodes));
    }
    steps
}

/// A resource that does not end where it runs, or is said not to run there, and that is wanted elsewhere.
fn stubborn(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Vec<Step> {
    let resource = rng.pick(&configuration.movable()).clone();
    let of: Vec<String> = configuration.primitives_of(&resource).into_iter().map(str::to_owned).collect();
    let instance = rng.pick(&of).clone();
    let (action, mood) = match rng.percent(50) {
        true => ("stop", agents::Mood::Fails(OcfCode::ERROR)),
        false => ("monitor", agents::Mood::Denies),
    };
    let begin = rng.between(QUIET_MS + 2_000, TROUBLE_MS - 20_000);
    let mut steps: Vec<Step> = (1..=nodes)
        .map(|node| {
            let deed = Deed::Agent { node: NodeId(node), instance: instance.clone(), action, mood: mood.clone() };
            Step { at_ms: begin, for_ms: 12_000, deed }
        })
        .collect();
    let (node, other) = (any_node(rng, nodes), any_node(rng, nodes));
    let wish = match rng.below(3) {
        0 => Wish::Ban { resource, from: other },
        1 => Wish::Move { resource, to: other },
        _ => Wish::Standby { of: other },
    };
    let at_ms = begin + rng.between(100, 9_000);
    steps.push(Step { at_ms, for_ms: 8_000, deed: Deed::Client { node, wish } });
    steps
}

/// Changes that follow each other while disks are still at the first ones.
fn writes(rng: &mut Rng, nodes: u32) -> Vec<Step> {
    let begin = rng.between(QUIET_MS + 2_000, TROUBLE_MS - 20_000);
    let slow = rng.between(100, 1_500);
    let disks = (1..=nodes).map(|node| {
        let deed = Deed::Disk { node: NodeId(node), mood: disk::Mood::Slow(slow) };
        Step { at_ms: begin, for_ms: 6_000, deed }
    });
    let mut steps: Vec<Step> = disks.collect();
    for _ in 0..rng.between(2, 6) {
        let at_ms = begin + 10 + rng.below(2 * slow);
        let node = any_node(rng, nodes);
        steps.push(Step { at_ms, for_ms: 0, deed: Deed::Client { node, wish: Wish::Write } });
    }
    steps
}

/// Everything is looked for anew, one thing needs longer than what comes after it, and something changes meanwhile.
fn probes(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Vec<Step> {
    let begin = rng.between(super::SETTLED_MS, TROUBLE_MS - 15_000);
    let node = any_node(rng, nodes);
    let instance = rng.pick(&configuration.instances()).clone();
    let mood = agents::Mood::Slow(rng.between(50, 2_000));
    let slow = (1..=nodes).map(|node| {
        let (instance, mood) = (instance.clone(), mood.clone());
        let deed = Deed::Agent { node: NodeId(node), instance, action: "monitor", mood };
        Step { at_ms: begin, for_ms: 5_000, deed }
    });
    let mut steps: Vec<Step> = slow.collect();
    steps.push(Step { at_ms: begin + 1, for_ms: 0, deed: Deed::Client { node, wish: Wish::Refresh } });
    for _ in 0..rng.between(1, 4) {
        let at_ms = begin + rng.between(2, 500);
        let wish = if rng.percent(50) { Wish::Write } else { Wish::Attribute };
        steps.push(Step { at_ms, for_ms: 0, deed: Deed::Client { node: any_node(rng, nodes), wish } });
    }
    steps
}

/// The file is changed, and by chance changed again before everybody has taken that over.
fn reloads(rng: &mut Rng, nodes: u32) -> Vec<Step> {
    let mut at_ms = rng.between(super::SETTLED_MS, TROUBLE_MS - 20_000);
    let mut steps = Vec::new();
    for _ in 0..rng.between(1, 3) {
        let deed = Deed::Reload { node: any_node(rng, nodes), change: Change::DeadAfter { ms: rng.between(36, 120) } };
        steps.push(Step { at_ms, for_ms: 0, deed });
        at_ms += *rng.pick(&[1, 20, 3_000]);
    }
    steps
}

/// A node's clock is set to another time of day while a resource goes there and away again, and nothing else happens.
fn clocks(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Vec<Step> {
    let (node, begin) = (any_node(rng, nodes), super::SETTLED_MS);
    let resource = rng.pick(&configuration.movable()).clone();
    let away = if rng.percent(50) { 1 } else { -1 } * rng.between(2_000, 3_600_000) as i64;
    let mut steps = vec![Step { at_ms: begin, for_ms: 12_000, deed: Deed::WallStep { node, ms: away } }];
    for n in 0..rng.between(2, 5) {
        let to = if rng.percent(60) { node } else { any_node(rng, nodes) };
        let wish = Wish::Move { resource: resource.clone(), to };
        let deed = Deed::Client { node: any_node(rng, nodes), wish };
        steps.push(Step { at_ms: begin + 500 + n * 3_500, for_ms: rng.between(1_500, 3_000), deed });
    }
    steps
}
