//! Invariants of each transition, whatever the scheduler thought: its edges exist and go round in no circle, nothing runs where
//! nobody is, and nothing is started twice.

use scheduler::Schedule;
use scheduler::graph::{Action, ActionKind};
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

pub fn check(cib: &Element, schedule: &Schedule) -> Result<(), String> {
    let actions: BTreeMap<u32, &Action> = schedule.graph.actions.iter().map(|a| (a.id, a)).collect();
    if actions.len() != schedule.graph.actions.len() {
        return Err("two actions of one number".to_owned());
    }
    let known: BTreeSet<u32> = actions.keys().copied().chain(schedule.graph.phantoms.iter().map(|a| a.id)).collect();
    for action in actions.values() {
        if let Some(missing) = action.inputs.iter().find(|i| !known.contains(i)) {
            return Err(format!("action {} waits for {missing}, which is not there: {:?}", action.id, action.kind));
        }
    }
    circle(&actions)?;
    let online = online(cib);
    let mut started = BTreeSet::new();
    for action in actions.values() {
        let ActionKind::Resource(op) = &action.kind else { continue };
        let node = op.target.node.to_string();
        if !online.contains(&node) && op.router_node.is_none() {
            return Err(format!("{} is to run on {node}, which is not there", op.key));
        }
        if op.operation.as_str() == "start" && !started.insert((op.primitive.id.to_string(), node.clone())) {
            return Err(format!("{} is to be started twice on {node}", op.primitive.id));
        }
    }
    Ok(())
}

fn online(cib: &Element) -> BTreeSet<String> {
    let states = cib.child("status").into_iter().flat_map(|s| s.elements_named("node_state"));
    let here = states.filter(|s| s.attr("crmd").is_some_and(|v| v != "0" && v != "offline"));
    here.filter_map(|s| s.attr("uname").map(str::to_owned)).collect()
}

/// Takes away what waits for nothing, until all is gone.
fn circle(actions: &BTreeMap<u32, &Action>) -> Result<(), String> {
    let present = |a: &Action| a.inputs.iter().filter(|i| actions.contains_key(i)).count();
    let mut waits: BTreeMap<u32, usize> = actions.iter().map(|(id, a)| (*id, present(a))).collect();
    let mut after: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for action in actions.values() {
        action.inputs.iter().for_each(|i| after.entry(*i).or_default().push(action.id));
    }
    let mut free: Vec<u32> = waits.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    let mut done = 0;
    while let Some(id) = free.pop() {
        done += 1;
        for next in after.remove(&id).unwrap_or_default() {
            if let Some(n) = waits.get_mut(&next) {
                *n -= 1;
                if *n == 0 {
                    free.push(next);
                }
            }
        }
    }
    if done == actions.len() { Ok(()) } else { Err(format!("{} actions wait for each other", actions.len() - done)) }
}
