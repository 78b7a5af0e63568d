//! A run as data: who, with which configuration, and what is done to them when. A plan follows from its seed; taken apart step by
//! step ([`crate::shrink`]) it stays a plan.

mod chains;
mod wider;

use crate::agents;
use crate::arbiter::Trouble;
use crate::disk;
use crate::fences;
use crate::generate::{self, Configuration, Still};
use crate::host::Pause;
use crate::net::{Weather, Which};
use crate::rng::Rng;
use crate::site::Arbitrator;
use base::NodeId;
use base::exit::OcfCode;
use std::collections::BTreeMap;
use xml::Element;

/// The planned trouble is over after that many ms of a run at the latest.
pub const TROUBLE_MS: u64 = 45_000;
/// A cluster that nobody disturbs is up before the first step.
const QUIET_MS: u64 = 2_500;
/// And nothing is under way any more by then.
pub const SETTLED_MS: u64 = 9_000;
const MAX_STEPS: u64 = 18;
/// Feature levels that there were when plans were first drawn; those since come later, so that remembered lives stay what they were.
const OLD_LEVELS: u64 = 2;

/// What a plan is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Anything goes wrong.
    Wild,
    /// Nothing that is done is a reason to stop or to move anything.
    Calm,
    /// One node is lost while something else starts slowly.
    Loss,
    /// The ring breaks into two parts, and an arbitrator decides.
    Split,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub nodes: u32,
    /// Machines that are no nodes yet.
    pub spares: u32,
    /// Of the ring, between each two nodes.
    pub links: u8,
    /// The largest datagram that each link carries, in bytes; without, there is no limit.
    pub largest: Vec<Option<usize>>,
    pub arbitrator: Option<Arbitrator>,
    pub two_node: bool,
    /// As in corosync.conf; where it is not set `two_node` has it.
    pub wait_for_all: Option<bool>,
    /// Nodes that begin with an older program, and its feature level; who starts again has the present one.
    pub older: BTreeMap<NodeId, u32>,
    pub configuration: Configuration,
    /// In the order of time.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub at_ms: u64,
    /// After so many ms it is undone, if it can be.
    pub for_ms: u64,
    pub deed: Deed,
}

#[derive(Clone, Debug)]
pub enum Deed {
    PowerOff {
        node: NodeId,
    },
    KillDaemon {
        node: NodeId,
    },
    Pause {
        node: NodeId,
        pause: Pause,
    },
    /// The controller's task stands still, the ring does not.
    Hang {
        node: NodeId,
    },
    Cut {
        from: NodeId,
        to: NodeId,
        both: bool,
        which: Which,
    },
    Isolate {
        node: NodeId,
        which: Which,
    },
    /// One link alone.
    CutLink {
        link: u8,
        from: NodeId,
        to: NodeId,
        both: bool,
    },
    /// A link of a node goes and comes back, again and again.
    Flap {
        link: u8,
        node: NodeId,
        every_ms: u64,
    },
    /// All links between these nodes and the others.
    Part {
        first: Vec<NodeId>,
    },
    Arbitrator {
        trouble: Trouble,
    },
    Weather(Weather),
    /// A link loses what is larger, and nobody is told.
    Narrow {
        link: u8,
        largest: usize,
        /// Also when all trouble is over: it is how the network is now.
        stays: bool,
    },
    Disk {
        node: NodeId,
        mood: disk::Mood,
    },
    WallStep {
        node: NodeId,
        ms: i64,
    },
    Agent {
        node: NodeId,
        instance: String,
        action: &'static str,
        mood: agents::Mood,
    },
    Devices {
        mood: fences::Mood,
    },
    LoseAddress {
        node: NodeId,
    },
    /// An operator gives all nodes another corosync.conf, and asks this one to have it taken over.
    Reload {
        node: NodeId,
        change: Change,
    },
    Client {
        node: NodeId,
        wish: Wish,
    },
}

/// What an operator does to corosync.conf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    DeadAfter {
        ms: u64,
    },
    /// The node is stopped in good order, then it is taken out, and its machine is switched off.
    Remove {
        of: NodeId,
    },
    /// A machine becomes a node, `wiped` with nothing on its disk; one node's copy of the file is forgotten at first.
    Add {
        of: NodeId,
        wiped: bool,
        missing: Option<NodeId>,
    },
}

/// What an operator does at a node.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A property of its own, to be found again.
    Write,
    /// A transient attribute of the node.
    Attribute,
    Standby {
        of: NodeId,
    },
    Move {
        resource: String,
        to: NodeId,
    },
    Ban {
        resource: String,
        from: NodeId,
    },
    Cleanup,
    Refresh,
    Change {
        resource: String,
        value: u64,
    },
    /// The resource is deleted, and comes back.
    Delete {
        resource: String,
    },
    Disable {
        resource: String,
    },
    Maintenance,
    /// Every ticket is granted, or revoked and granted again.
    Tickets {
        granted: bool,
    },
    /// The daemon is stopped in good order, and started again.
    Stop,
    Fence {
        of: NodeId,
    },
}

impl Plan {
    pub fn from_seed(seed: u64) -> Plan {
        let mut plan = Plan::of_before_sizes(seed);
        wider::sizes(&mut plan);
        wider::levels(&mut plan);
        plan
    }

    /// The same without what was added later, for lives that were remembered before: links carry datagrams of every size, older programs are old.
    pub fn of_before_sizes(seed: u64) -> Plan {
        Plan::made(seed, true)
    }

    /// The same without the chains of steps, for lives that were remembered before there were any.
    pub fn without_chains(seed: u64) -> Plan {
        Plan::made(seed, false)
    }

    fn made(seed: u64, chains: bool) -> Plan {
        let mut rng = Rng::new(seed ^ 0x5EED);
        let nodes = *rng.pick(&[2, 2, 3, 3, 3, 3, 4, 5]);
        let two_node = nodes == 2;
        let kind = match rng.below(100) {
            0..=7 => Kind::Calm,
            8..=15 => Kind::Loss,
            _ => Kind::Wild,
        };
        let wait_for_all = match two_node {
            true => rng.percent(25).then_some(false),
            false => rng.percent(15).then_some(true),
        };
        let still = if kind == Kind::Wild { Still::No } else { Still::Yes };
        let mut configuration = generate::configuration(&mut rng, nodes, still);
        let mut older = BTreeMap::new();
        if rng.percent(15) {
            let level = rng.between(1, OLD_LEVELS) as u32;
            older = (1..=nodes).map(NodeId).filter(|_| rng.percent(60)).map(|id| (id, level)).collect();
        }
        let count = rng.between(1, MAX_STEPS);
        let mut steps: Vec<Step> = match kind {
            Kind::Wild => (0..count).map(|_| step(&mut rng, nodes, &configuration)).collect(),
            Kind::Calm => (0..count).map(|_| calm_step(&mut rng, nodes)).collect(),
            Kind::Loss => loss(&mut rng, nodes, &mut configuration),
            // Comes about later.
            Kind::Split => Vec::new(),
        };
        if chains {
            steps = chains::added(&mut rng, kind, nodes, &configuration, steps);
        }
        let (spares, links, arbitrator) = (0, 1, None);
        if !configuration.tickets().is_empty() {
            let grant = Deed::Client { node: NodeId(1), wish: Wish::Tickets { granted: true } };
            steps.push(Step { at_ms: QUIET_MS, for_ms: 0, deed: grant });
        }
        let largest = Vec::new();
        let mut plan = Plan {
            seed,
            kind,
            nodes,
            spares,
            links,
            largest,
            arbitrator,
            two_node,
            wait_for_all,
            older,
            configuration,
            steps,
        };
        if chains {
            wider::added(&mut plan);
            wider::contests(&mut plan);
        }
        plan.steps.sort_by_key(|s| s.at_ms);
        plan
    }

    /// Every machine that there is.
    pub fn hosts(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes + self.spares).map(NodeId)
    }

    pub fn document(&self) -> Element {
        self.configuration.document()
    }

    /// How long its trouble lasts.
    pub fn trouble_ms(&self) -> u64 {
        self.steps.iter().map(|s| s.at_ms + s.for_ms).max().unwrap_or(QUIET_MS).min(TROUBLE_MS)
    }
}

fn step(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Step {
    let at_ms = rng.between(QUIET_MS, TROUBLE_MS - 10_000);
    // Some last a moment, some for as long as a person needs.
    let for_ms = if rng.percent(40) { rng.between(20, 1_500) } else { rng.between(1_500, 12_000) };
    Step { at_ms, for_ms, deed: deed(rng, nodes, configuration) }
}

fn any_node(rng: &mut Rng, nodes: u32) -> NodeId {
    NodeId(rng.between(1, u64::from(nodes)) as u32)
}

/// What nobody who uses the cluster may notice.
fn calm_step(rng: &mut Rng, nodes: u32) -> Step {
    let at_ms = rng.between(SETTLED_MS, TROUBLE_MS - 15_000);
    let node = any_node(rng, nodes);
    let slow = disk::Mood::Slow(rng.between(50, 3_000));
    let deed = match rng.below(8) {
        0 => Deed::Disk { node, mood: *rng.pick(&[disk::Mood::Full, disk::Mood::Hung, disk::Mood::Forgets, slow]) },
        1 => Deed::WallStep { node, ms: rng.between(0, 7_200_000) as i64 - 3_600_000 },
        2 => Deed::Isolate { node, which: Which::Lan },
        3 => Deed::Weather(Weather { loss: 0, repeat: *rng.pick(&[0, 200]), delay_us: (80, 2_000) }),
        4 => Deed::Devices { mood: *rng.pick(&[fences::Mood::Fails, fences::Mood::Hangs]) },
        5 => Deed::Client { node, wish: Wish::Attribute },
        6 => Deed::Client { node, wish: if rng.percent(50) { Wish::Cleanup } else { Wish::Refresh } },
        _ => Deed::Client { node, wish: Wish::Write },
    };
    Step { at_ms, for_ms: rng.between(20, 10_000), deed }
}

/// A start that takes as long as it may, of something that nothing else waits for; then a node loses its power.
fn loss(rng: &mut Rng, nodes: u32, configuration: &mut Configuration) -> Vec<Step> {
    let slow = configuration.add_free("slow");
    let begin = SETTLED_MS;
    let mut steps: Vec<Step> = (1..=nodes)
        .map(|node| {
            let mood = agents::Mood::Slow(generate::TIMEOUT_S * 1_000 - 100);
            let deed = Deed::Agent { node: NodeId(node), instance: slow.clone(), action: "start", mood };
            Step { at_ms: begin, for_ms: TROUBLE_MS, deed }
        })
        .collect();
    let change = Deed::Client { node: any_node(rng, nodes), wish: Wish::Change { resource: slow, value: 7 } };
    steps.push(Step { at_ms: begin + 10, for_ms: 0, deed: change });
    let at_ms = begin + rng.between(100, 1_500);
    steps.push(Step { at_ms, for_ms: 15_000, deed: Deed::PowerOff { node: any_node(rng, nodes) } });
    steps
}

fn deed(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Deed {
    let node = any_node(rng, nodes);
    let other = NodeId((node.0 + rng.between(0, u64::from(nodes) - 2) as u32) % nodes + 1);
    let which = *rng.pick(&[Which::Ring, Which::Lan, Which::Both, Which::Both]);
    match rng.below(20) {
        0 => Deed::PowerOff { node },
        1 => Deed::KillDaemon { node },
        2 => Deed::Pause { node, pause: *rng.pick(&[Pause::Daemon, Pause::WithGuard, Pause::Machine]) },
        3 => Deed::Hang { node },
        4 | 5 => Deed::Cut { from: node, to: other, both: rng.percent(50), which },
        6 => Deed::Isolate { node, which },
        7 => Deed::Weather(weather(rng)),
        8 => {
            let slow = disk::Mood::Slow(rng.between(50, 3_000));
            Deed::Disk { node, mood: *rng.pick(&[disk::Mood::Full, disk::Mood::Hung, disk::Mood::Forgets, slow]) }
        }
        9 => Deed::WallStep { node, ms: rng.between(0, 7_200_000) as i64 - 3_600_000 },
        10..=12 => agent(rng, node, configuration),
        13 if configuration.fencing => {
            let late = fences::Mood::Late(rng.between(1_000, 70_000));
            Deed::Devices { mood: *rng.pick(&[fences::Mood::Fails, fences::Mood::Hangs, late, fences::Mood::Lies]) }
        }
        14 => Deed::LoseAddress { node },
        _ => Deed::Client { node, wish: wish(rng, nodes, configuration) },
    }
}

fn weather(rng: &mut Rng) -> Weather {
    let most = *rng.pick(&[200, 2_000, 20_000, 60_000]);
    Weather { loss: *rng.pick(&[0, 10, 50, 200]), repeat: *rng.pick(&[0, 20, 200]), delay_us: (80, most) }
}

fn agent(rng: &mut Rng, node: NodeId, configuration: &Configuration) -> Deed {
    let instance = rng.pick(&configuration.instances()).clone();
    let action = *rng.pick(&["start", "stop", "monitor", "monitor", "promote", "demote"]);
    let fails = agents::Mood::Fails(*rng.pick(&[
        OcfCode::ERROR,
        OcfCode::NOT_RUNNING,
        OcfCode::NOT_CONFIGURED,
        OcfCode::NOT_INSTALLED,
    ]));
    let slow = agents::Mood::Slow(rng.between(100, 15_000));
    let moods = [fails.clone(), fails, agents::Mood::Hangs, agents::Mood::Lies, slow, agents::Mood::Rubbish];
    Deed::Agent { node, instance, action, mood: rng.pick(&moods).clone() }
}

fn wish(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Wish {
    let of = any_node(rng, nodes);
    let resource = rng.pick(&configuration.movable()).clone();
    match rng.below(19) {
        0..=3 => Wish::Write,
        4 => Wish::Attribute,
        5 => Wish::Standby { of },
        6 | 7 => Wish::Move { resource, to: of },
        8 => Wish::Ban { resource, from: of },
        9 => Wish::Cleanup,
        10 => Wish::Refresh,
        11 | 12 => Wish::Change { resource: rng.pick(&configuration.changeable()).clone(), value: rng.between(2, 9) },
        13 => Wish::Delete { resource: rng.pick(&configuration.deletable()).clone() },
        14 => Wish::Disable { resource },
        15 => Wish::Maintenance,
        16 if configuration.fencing => Wish::Fence { of },
        17 if !configuration.tickets().is_empty() => Wish::Tickets { granted: rng.percent(30) },
        _ => Wish::Stop,
    }
}
