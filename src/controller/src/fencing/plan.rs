//! The next step of a fencing: from the configuration and what was tried, nothing else.
//!
//! With a topology only its levels count: all devices of a level must succeed, levels are tried by index. A reboot on a level of several
//! devices switches all of them off and then on, since outlets that go down one after the other cut no power; that one comes back on
//! does not decide over success. Without a topology every device that can fence the target is a level of its own, higher priority first,
//! those that name the target before those that take anybody.
//!
//! A device is run where it is monitored, else on any other member; on the target only if nobody else is left. What could not be run on
//! a node is tried on the next; what failed on one is tried elsewhere once all other devices have had their turn.

use super::device::{self, Covers, Device, WATCHDOG};
use super::state::{Fencing, MAX_TRIED};
use super::{Ended, FenceAction, Step, topology};
use crate::status;
use base::NodeId;
use base::outside::Word;
use xml::Element;

/// What a plan is made from.
pub struct Ground<'a> {
    pub cib: &'a Element,
    /// Members that can execute, with their names; this order is the order of preference.
    pub members: Vec<(NodeId, String)>,
    /// Nodes that are being fenced themselves: they execute only if nobody else can.
    pub victims: Vec<NodeId>,
    /// The target has a watchdog that resets it when it has lost quorum, and has lost it.
    pub watchdog: bool,
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    Run { step: Step, executor: NodeId },
    Done,
    Failed(String),
}

struct Level {
    index: u32,
    devices: Vec<Device>,
    /// Named by the topology and of no use, with the reason.
    missing: Vec<String>,
}

pub fn next(fencing: &Fencing, ground: &Ground<'_>) -> Next {
    let levels = levels(fencing, ground);
    if levels.is_empty() {
        return Next::Failed(format!("no device can fence {}", fencing.ask.name));
    }
    if fencing.tried.len() >= MAX_TRIED {
        return Next::Failed(format!("{MAX_TRIED} attempts have failed"));
    }
    let with_topology = levels.iter().any(|l| l.index > 0);
    let mut waiting: Option<(usize, Next)> = None;
    for level in &levels {
        match next_of_level(fencing, level, ground) {
            Progress::Done => return Next::Done,
            Progress::Run { step, executor, failures } => {
                let run = Next::Run { step, executor };
                if with_topology {
                    return run;
                }
                // The device that has failed least often; of equals the first.
                if waiting.as_ref().is_none_or(|(least, _)| failures < *least) {
                    waiting = Some((failures, run));
                }
            }
            Progress::Failed => {}
        }
    }
    waiting.map_or_else(|| Next::Failed(said(fencing, &levels)), |(_, run)| run)
}

enum Progress {
    Done,
    Run { step: Step, executor: NodeId, failures: usize },
    Failed,
}

fn next_of_level(fencing: &Fencing, level: &Level, ground: &Ground<'_>) -> Progress {
    if !level.missing.is_empty() || level.devices.is_empty() {
        return Progress::Failed;
    }
    let wanted = fencing.ask.action;
    let phases: &[FenceAction] = match wanted {
        FenceAction::Reboot if level.devices.len() > 1 => &[FenceAction::Off, FenceAction::On],
        _ => &[wanted],
    };
    for (nth, phase) in phases.iter().enumerate() {
        for device in &level.devices {
            let step = Step { level: level.index, device: Word::cleaned(&device.id), action: *phase };
            let over = |ended| ended == Ended::Done || nth > 0;
            if fencing.outcomes(&step).any(|o| over(o.ended)) {
                continue;
            }
            return match executor(fencing, &step, device, ground) {
                Some((executor, failures)) => Progress::Run { step, executor, failures },
                None if nth > 0 => continue,
                None => Progress::Failed,
            };
        }
    }
    Progress::Done
}

/// The first node that may try the step and has not, with how often it has failed.
fn executor(fencing: &Fencing, step: &Step, device: &Device, ground: &Ground<'_>) -> Option<(NodeId, usize)> {
    let tried = |node: NodeId| fencing.outcomes(step).any(|o| o.executor == node.0);
    if fencing.outcomes(step).any(|o| o.ended == Ended::Cannot) {
        return None;
    }
    let failures = fencing.outcomes(step).filter(|o| o.ended == Ended::Failed).count();
    let target = fencing.ask.target;
    let mut able: Vec<&(NodeId, String)> =
        ground.members.iter().filter(|(_, name)| !device::is_banned(ground.cib, &device.id, name)).collect();
    let runs = |node: NodeId| {
        let state = ground.cib.child("status").and_then(|s| status::node_state(s, node));
        state.is_some_and(|s| status::active(s).contains(&device.id))
    };
    able.sort_by_key(|(node, _)| (node.0 == target, ground.victims.contains(node), !runs(*node)));
    able.into_iter().map(|(node, _)| *node).find(|node| !tried(*node)).map(|node| (node, failures))
}

fn levels(fencing: &Fencing, ground: &Ground<'_>) -> Vec<Level> {
    let name = fencing.ask.name.as_str();
    let devices = device::all(ground.cib);
    let topology = topology::levels_of(ground.cib, name);
    if !topology.is_empty() {
        return topology.into_iter().map(|(index, ids)| level(index, &ids, &devices, name)).collect();
    }
    let mut able: Vec<Device> =
        devices.into_iter().filter(|d| d.disabled.is_none() && d.covers(name) != Covers::No).collect();
    able.sort_by_key(|d| (std::cmp::Reverse(d.priority), !d.names(name)));
    if ground.watchdog && fencing.ask.action.kills() {
        able.push(watchdog());
    }
    able.into_iter().map(|d| Level { index: 0, devices: vec![d], missing: Vec::new() }).collect()
}

fn level(index: u32, ids: &[String], devices: &[Device], target: &str) -> Level {
    let mut level = Level { index, devices: Vec::new(), missing: Vec::new() };
    for id in ids {
        match devices.iter().find(|d| d.id == *id) {
            None if id == WATCHDOG => level.devices.push(watchdog()),
            None => level.missing.push(format!("level {index}: {id} is not there")),
            Some(d) if d.disabled.is_some() => {
                level.missing.push(format!("level {index}: {id}: {}", d.disabled.as_deref().unwrap_or_default()));
            }
            Some(d) if d.covers(target) == Covers::No => {
                level.missing.push(format!("level {index}: {id} does not name {target}"));
            }
            Some(d) => level.devices.push(d.clone()),
        }
    }
    level
}

/// Stands for the target's own watchdog.
pub fn watchdog() -> Device {
    Device { check: device::HostCheck::None, ..Device::new(WATCHDOG, "fence_watchdog", Default::default()) }
}

/// Why nothing has worked, the last word of each device on each node.
fn said(fencing: &Fencing, levels: &[Level]) -> String {
    let missing = levels.iter().flat_map(|l| l.missing.iter().cloned());
    let tried = fencing.tried.iter().filter(|t| t.ended != Ended::Done);
    let tried = tried.map(|t| format!("{} on node {}: {}", t.step.device, t.executor, t.reason));
    let all: Vec<String> = missing.chain(tried).collect();
    match all.is_empty() {
        true => "no node can run any of its devices".to_owned(),
        false => all.join("; "),
    }
}
