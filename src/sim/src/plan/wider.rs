//! What is around the nodes: several links between them, an arbitrator, machines that become nodes and nodes that go; and what
//! becomes of all that in a plan. Drawn from a source of its own, so that the rest of a plan stays what it was.

use super::{Change, Deed, Kind, Plan, QUIET_MS, SETTLED_MS, Step, TROUBLE_MS, Wish, any_node};
use crate::agents;
use crate::arbiter::Trouble;
use crate::net::{Weather, Which};
use crate::rng::Rng;
use crate::site::Arbitrator;
use base::NodeId;
use base::exit::OcfCode;
use controller::FEATURE_LEVEL;
use quorum::qnet::Algorithm;

/// As in the documents of corosync: no cluster of the simulator grows beyond.
const MOST_NODES: u32 = 6;

pub fn added(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0xB00C);
    plan.links = *rng.pick(&[1, 1, 2, 2, 3]);
    if rng.percent(30) {
        let algorithm = *rng.pick(&[Algorithm::Ffsplit, Algorithm::Ffsplit, Algorithm::Lms]);
        plan.arbitrator = Some(Arbitrator { algorithm, keep_active_partition: rng.percent(50) });
        plan.two_node = false;
        if plan.kind == Kind::Wild && rng.percent(20) {
            plan.kind = Kind::Split;
            plan.steps = split(&mut rng, plan.nodes);
        } else {
            let trouble = arbitrators(&mut rng, plan);
            plan.steps.extend(trouble);
        }
    }
    if plan.links > 1 && rng.percent(70) {
        let cuts = if plan.kind == Kind::Calm { one_link(&mut rng, plan) } else { some_links(&mut rng, plan) };
        plan.steps.extend(cuts);
    }
    if plan.kind == Kind::Wild && rng.percent(30) {
        let changes = nodelists(&mut rng, plan);
        plan.steps.extend(changes);
    }
    if plan.kind == Kind::Wild && rng.percent(12) {
        let storm = storm(&mut rng, plan);
        plan.steps.extend(storm);
    }
    if plan.kind == Kind::Wild && rng.percent(12) {
        let failures = failures_of_the_future(&mut rng, plan);
        plan.steps.extend(failures);
    }
}

/// What an arbitrator alone is asked: a part that has its vote loses sight of it, or a part that it prefers comes together late.
/// Drawn last, and from yet another source.
pub fn contests(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0xD1CE);
    if plan.arbitrator.is_none() || plan.kind != Kind::Wild || !rng.percent(30) {
        return;
    }
    let half: Vec<NodeId> = (1..=plan.nodes / 2).map(NodeId).collect();
    let at_ms = SETTLED_MS + rng.below(3_000);
    if half.len() > 1 && rng.percent(70) {
        let (from, to) = (half[0], half[1]);
        let apart = Deed::Cut { from, to, both: true, which: Which::Ring };
        plan.steps.push(Step { at_ms, for_ms: rng.between(2_000, 5_000), deed: apart });
        plan.steps.push(Step { at_ms, for_ms: 14_000, deed: Deed::Part { first: half } });
    } else {
        let node = any_node(&mut rng, plan.nodes);
        plan.steps.push(Step { at_ms, for_ms: 22_000, deed: Deed::Part { first: half } });
        let deed = Deed::Arbitrator { trouble: Trouble::Unreached { node } };
        plan.steps.push(Step { at_ms: at_ms + rng.between(500, 4_000), for_ms: 17_000, deed });
    }
}

/// Programs that are older, but not that old.
pub fn levels(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0x1E7E);
    if rng.percent(50) {
        let level = rng.between(1, u64::from(FEATURE_LEVEL) - 1) as u32;
        plan.older.values_mut().for_each(|l| *l = level);
    }
}

/// What the links carry, and one that carries less for a while. From a source of its own as well.
pub fn sizes(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0x517E);
    // Ethernet, with and without jumbo frames; the least that has IPv6; a loopback.
    const USUAL: [Option<usize>; 6] = [Some(1428), Some(1428), Some(1428), Some(8928), Some(1208), None];
    plan.largest = (0..plan.links).map(|_| *rng.pick(&USUAL)).collect();
    if !matches!(plan.kind, Kind::Wild | Kind::Calm) || !rng.percent(20) {
        return;
    }
    let largest = *rng.pick(&[1300, 1208, 800, 500]);
    let link = rng.below(u64::from(plan.links)) as u8;
    let deed = Deed::Narrow { link, largest, stays: rng.percent(50) };
    let at_ms = rng.between(SETTLED_MS, TROUBLE_MS - 15_000);
    plan.steps.push(Step { at_ms, for_ms: rng.between(20, 10_000), deed });
    plan.steps.sort_by_key(|s| s.at_ms);
}

/// Much is said while frames get lost and the ring breaks again and again, also before it is whole.
fn storm(rng: &mut Rng, plan: &Plan) -> Vec<Step> {
    const LASTS_MS: u64 = 3_000;
    let begin = rng.between(QUIET_MS + 1_000, TROUBLE_MS - 20_000);
    let weather = Weather {
        loss: *rng.pick(&[20, 100, 300]),
        repeat: *rng.pick(&[0, 50]),
        delay_us: (80, *rng.pick(&[500, 5_000, 20_000, 40_000])),
    };
    let mut steps = vec![Step { at_ms: begin, for_ms: LASTS_MS, deed: Deed::Weather(weather) }];
    for _ in 0..rng.between(10, 40) {
        let node = any_node(rng, plan.nodes);
        let at_ms = begin + rng.below(LASTS_MS);
        steps.push(Step { at_ms, for_ms: 0, deed: Deed::Client { node, wish: Wish::Attribute } });
    }
    for _ in 0..rng.between(3, 10) {
        let (from, to) = (any_node(rng, plan.nodes), any_node(rng, plan.nodes));
        let deed = match rng.below(4) {
            0 if from != to => Deed::Cut { from, to, both: rng.percent(50), which: Which::Ring },
            1 => Deed::Part { first: vec![from, to] },
            _ => Deed::Isolate { node: from, which: Which::Ring },
        };
        let at_ms = begin + rng.below(LASTS_MS);
        steps.push(Step { at_ms, for_ms: rng.between(5, 400), deed });
    }
    steps
}

/// Something fails while the clocks are ahead, and is started again when they are right.
fn failures_of_the_future(rng: &mut Rng, plan: &Plan) -> Vec<Step> {
    const AHEAD_MS: i64 = 3_600_000;
    let begin = rng.between(SETTLED_MS, SETTLED_MS + 3_000);
    let resource = rng.pick(&plan.configuration.movable()).clone();
    let of: Vec<String> = plan.configuration.primitives_of(&resource).into_iter().map(str::to_owned).collect();
    let instance = rng.pick(&of).clone();
    let code = *rng.pick(&[OcfCode::ERROR, OcfCode::NOT_RUNNING]);
    let mut steps = Vec::new();
    for node in (1..=plan.nodes).map(NodeId) {
        steps.push(Step { at_ms: begin, for_ms: 14_000, deed: Deed::WallStep { node, ms: AHEAD_MS } });
        let mood = agents::Mood::Fails(code);
        let deed = Deed::Agent { node, instance: instance.clone(), action: "monitor", mood };
        steps.push(Step { at_ms: begin + 100, for_ms: 10_000, deed });
    }
    let deed = Deed::Client { node: any_node(rng, plan.nodes), wish: Wish::Disable { resource } };
    steps.push(Step { at_ms: begin + rng.between(15_000, 17_000), for_ms: 3_000, deed });
    steps
}

/// Two parts that do not hear each other, and both reach the arbitrator.
fn split(rng: &mut Rng, nodes: u32) -> Vec<Step> {
    let first = rng.between(1, u64::from(nodes) / 2) as u32;
    // The first ones or the last ones, so that the lowest number is now here, now there.
    let turned = rng.percent(50);
    let of = |n: u32| NodeId(if turned { nodes + 1 - n } else { n });
    let first = (1..=first).map(of).collect();
    let at_ms = SETTLED_MS + rng.below(2_000);
    vec![Step { at_ms, for_ms: rng.between(8_000, 20_000), deed: Deed::Part { first } }]
}

/// The arbitrator ends, hangs, or cannot be reached. In a calm plan that is all that happens to quorum, and nobody may notice.
fn arbitrators(rng: &mut Rng, plan: &Plan) -> Vec<Step> {
    let early = if plan.kind == Kind::Wild { QUIET_MS } else { SETTLED_MS };
    if plan.kind == Kind::Loss {
        return Vec::new();
    }
    let one = |rng: &mut Rng| {
        let trouble = match rng.below(4) {
            0 => Trouble::Stopped,
            1 => Trouble::Hung,
            _ => Trouble::Unreached { node: any_node(rng, plan.nodes) },
        };
        let at_ms = rng.between(early, TROUBLE_MS - 15_000);
        Step { at_ms, for_ms: rng.between(20, 12_000), deed: Deed::Arbitrator { trouble } }
    };
    (0..rng.below(4)).map(|_| one(rng)).collect()
}

fn of_link(rng: &mut Rng, plan: &Plan, link: u8) -> Deed {
    let (from, to) = (any_node(rng, plan.nodes), any_node(rng, plan.nodes));
    if from == to || rng.percent(40) {
        let every_ms = *rng.pick(&[20, 100, 300, 1_000]);
        return Deed::Flap { link, node: from, every_ms };
    }
    Deed::CutLink { link, from, to, both: rng.percent(50) }
}

/// Always the same link: another one works all the time.
fn one_link(rng: &mut Rng, plan: &Plan) -> Vec<Step> {
    let link = rng.below(u64::from(plan.links)) as u8;
    let one = |rng: &mut Rng| {
        let deed = of_link(rng, plan, link);
        let at_ms = rng.between(SETTLED_MS, TROUBLE_MS - 15_000);
        Step { at_ms, for_ms: rng.between(20, 12_000), deed }
    };
    (0..rng.between(1, 6)).map(|_| one(rng)).collect()
}

fn some_links(rng: &mut Rng, plan: &Plan) -> Vec<Step> {
    let early = if plan.kind == Kind::Wild { QUIET_MS } else { SETTLED_MS };
    let one = |rng: &mut Rng| {
        // With Split and Loss nothing but the first link is in trouble.
        let links = if plan.kind == Kind::Wild { u64::from(plan.links) } else { 1 };
        let link = rng.below(links) as u8;
        let deed = of_link(rng, plan, link);
        let at_ms = rng.between(early, TROUBLE_MS - 10_000);
        Step { at_ms, for_ms: rng.between(20, 8_000), deed }
    };
    (0..rng.between(1, 5)).map(|_| one(rng)).collect()
}

/// A node comes, one goes, and one that has gone comes back, by chance as a new one.
fn nodelists(rng: &mut Rng, plan: &mut Plan) -> Vec<Step> {
    plan.spares = if plan.nodes < MOST_NODES { rng.below(2) as u32 } else { 0 };
    // Each machine can be switched off.
    plan.configuration.nodes = plan.nodes + plan.spares;
    let spare = NodeId(plan.nodes + 1);
    let goes = any_node(rng, plan.nodes);
    let step =
        |at_ms: u64, node: NodeId, change: Change| Step { at_ms, for_ms: 0, deed: Deed::Reload { node, change } };
    let mut steps = Vec::new();
    let mut at_ms = rng.between(QUIET_MS, SETTLED_MS);
    let add = |rng: &mut Rng, steps: &mut Vec<Step>, at_ms: u64, of: NodeId, wiped: bool| {
        let missing = Some(any_node(rng, plan.nodes)).filter(|n| *n != of && rng.percent(20));
        steps.push(step(at_ms, any_node(rng, plan.nodes), Change::Add { of, wiped, missing }));
    };
    let comes_first = rng.percent(50);
    if plan.spares > 0 && comes_first {
        add(rng, &mut steps, at_ms, spare, true);
        at_ms += rng.between(1_000, 8_000);
    }
    if rng.percent(80) {
        let by = any_node(rng, plan.nodes);
        steps.push(step(at_ms, by, Change::Remove { of: goes }));
        at_ms += rng.between(4_000, 12_000);
        if plan.spares > 0 && !comes_first {
            add(rng, &mut steps, at_ms, spare, true);
            at_ms += rng.between(2_000, 8_000);
        }
        if rng.percent(70) {
            let wiped = rng.percent(60);
            add(rng, &mut steps, at_ms, goes, wiped);
        }
    }
    steps
}
