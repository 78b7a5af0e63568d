//! Actions that wait for each other, as contradictory orderings make them: they could never run, so the graph goes without.
//!
//! They stay as phantoms, so that what waits for them waits on: the same outcome as with the loop, but nobody has to find out.

use crate::graph::{ActionId, Graph};
use crate::model::Sched;
use std::collections::{BTreeMap, BTreeSet};

/// Actions that a message names.
const MAX_NAMED: usize = 8;

impl Sched {
    pub(crate) fn leave_out_loops(&mut self, graph: &mut Graph) {
        let loops = looping(graph);
        if loops.is_empty() {
            return;
        }
        let (out, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut graph.actions).into_iter().partition(|a| loops.contains(&a.id));
        graph.actions = kept;
        let place = |a: &crate::graph::Action| a.target().map(|t| format!(" on {}", t.node)).unwrap_or_default();
        let named: Vec<String> = out.iter().take(MAX_NAMED).map(|a| format!("{}{}", a.key(), place(a))).collect();
        let more = if out.len() > MAX_NAMED { format!(" and {} more", out.len() - MAX_NAMED) } else { String::new() };
        self.error(format!(
            "Contradictory orderings: {} actions wait for each other and are left out: {}{more}",
            out.len(),
            named.join(", ")
        ));
        // Only what somebody waits for needs to be known.
        let awaited: BTreeSet<ActionId> = graph.actions.iter().flat_map(|a| a.inputs.iter().copied()).collect();
        graph.phantoms.retain(|p| awaited.contains(&p.id));
        graph.phantoms.extend(out.into_iter().filter(|a| awaited.contains(&a.id)).map(|mut a| {
            a.inputs.clear();
            a
        }));
        graph.phantoms.sort_by_key(|p| p.id);
    }
}

/// Numbers of the actions that are in loops, or between two of them.
fn looping(graph: &Graph) -> BTreeSet<ActionId> {
    let mut inputs: BTreeMap<ActionId, BTreeSet<ActionId>> = BTreeMap::new();
    let mut outputs: BTreeMap<ActionId, BTreeSet<ActionId>> = BTreeMap::new();
    for action in &graph.actions {
        inputs.entry(action.id).or_default().extend(&action.inputs);
        for input in &action.inputs {
            outputs.entry(*input).or_default().insert(action.id);
        }
    }
    let present: BTreeSet<ActionId> = inputs.keys().copied().collect();
    let stuck = trim(present, &inputs, &outputs);
    trim(stuck, &outputs, &inputs)
}

/// What is left when all that waits for nothing left is taken away, again and again.
fn trim(
    mut left: BTreeSet<ActionId>,
    waits_for: &BTreeMap<ActionId, BTreeSet<ActionId>>,
    waited_by: &BTreeMap<ActionId, BTreeSet<ActionId>>,
) -> BTreeSet<ActionId> {
    let none = BTreeSet::new();
    let mut waiting: BTreeMap<ActionId, usize> = left
        .iter()
        .map(|id| (*id, waits_for.get(id).unwrap_or(&none).iter().filter(|other| left.contains(other)).count()))
        .collect();
    let mut ready: Vec<ActionId> = waiting.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    while let Some(id) = ready.pop() {
        left.remove(&id);
        for next in waited_by.get(&id).unwrap_or(&none) {
            if let Some(n) = waiting.get_mut(next).filter(|n| **n > 0) {
                *n -= 1;
                if *n == 0 {
                    ready.push(*next);
                }
            }
        }
    }
    left
}
