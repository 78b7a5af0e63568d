//! A run as data: who, with which configuration, and what is done to them when. A plan follows from its seed; taken apart step by
//! step ([`crate::shrink`]) it stays a plan.

use crate::agents;
use crate::disk;
use crate::fences;
use crate::generate::{self, Configuration};
use crate::host::Pause;
use crate::net::{Weather, Which};
use crate::rng::Rng;
use base::NodeId;
use base::exit::OcfCode;
use controller::FEATURE_LEVEL;
use std::collections::BTreeMap;
use xml::Element;

/// The planned trouble is over after that many ms of a run at the latest.
pub const TROUBLE_MS: u64 = 45_000;
/// A cluster that nobody disturbs is up before the first step.
const QUIET_MS: u64 = 2_500;
const MAX_STEPS: u64 = 18;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: u32,
    pub two_node: bool,
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
    Weather(Weather),
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
    Client {
        node: NodeId,
        wish: Wish,
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
    /// The daemon is stopped in good order, and started again.
    Stop,
    Fence {
        of: NodeId,
    },
}

impl Plan {
    pub fn from_seed(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x5EED);
        let nodes = *rng.pick(&[2, 2, 3, 3, 3, 3, 4, 5]);
        let two_node = nodes == 2;
        let configuration = generate::configuration(&mut rng, nodes);
        let mut older = BTreeMap::new();
        if rng.percent(15) {
            let level = rng.between(1, u64::from(FEATURE_LEVEL) - 1) as u32;
            older = (1..=nodes).map(NodeId).filter(|_| rng.percent(60)).map(|id| (id, level)).collect();
        }
        let count = rng.between(1, MAX_STEPS);
        let mut steps: Vec<Step> = (0..count).map(|_| step(&mut rng, nodes, &configuration)).collect();
        steps.sort_by_key(|s| s.at_ms);
        Plan { seed, nodes, two_node, older, configuration, steps }
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

fn deed(rng: &mut Rng, nodes: u32, configuration: &Configuration) -> Deed {
    let node = NodeId(rng.between(1, u64::from(nodes)) as u32);
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
            Deed::Disk { node, mood: *rng.pick(&[disk::Mood::Full, disk::Mood::Hung, slow]) }
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
    let of = NodeId(rng.between(1, u64::from(nodes)) as u32);
    let resource = rng.pick(&configuration.movable()).clone();
    match rng.below(18) {
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
        _ => Wish::Stop,
    }
}
