//! Actions that wait for each other, as contradictory orderings make them: they could never run, so the graph goes without.
//!
//! They stay as phantoms, so that what waits for them waits on: the same outcome as with the loop, but nobody has to find out.

use crate::graph::{ActionId, Graph};
use crate::model::Sched;
use std::collections::BTreeSet;

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
        self.left_out = out.len();
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
    let mut at: Vec<(ActionId, u32)> = graph.actions.iter().map(|a| a.id).zip(0..).collect();
    at.sort_unstable();
    let place = |id: &ActionId| at.binary_search_by_key(id, |x| x.0).ok().map(|found| at[found].1);
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for (action, then) in graph.actions.iter().zip(0..) {
        pairs.extend(action.inputs.iter().filter_map(place).map(|first| (then, first)));
    }
    let waits_for = Links::new(graph.actions.len(), &pairs);
    pairs.iter_mut().for_each(|p| *p = (p.1, p.0));
    let waited_by = Links::new(graph.actions.len(), &pairs);
    let mut left = vec![true; graph.actions.len()];
    trim(&mut left, &waits_for, &waited_by);
    trim(&mut left, &waited_by, &waits_for);
    graph.actions.iter().zip(left).filter(|(_, stuck)| *stuck).map(|(a, _)| a.id).collect()
}

/// For each action the others that it is linked to, in one list.
struct Links {
    start: Vec<u32>,
    to: Vec<u32>,
}

impl Links {
    fn new(actions: usize, pairs: &[(u32, u32)]) -> Links {
        let mut start = vec![0u32; actions + 1];
        pairs.iter().for_each(|(from, _)| start[*from as usize + 1] += 1);
        for i in 0..actions {
            start[i + 1] += start[i];
        }
        let mut free = start.clone();
        let mut to = vec![0u32; pairs.len()];
        for (from, other) in pairs {
            to[free[*from as usize] as usize] = *other;
            free[*from as usize] += 1;
        }
        Links { start, to }
    }

    fn of(&self, action: usize) -> &[u32] {
        &self.to[self.start[action] as usize..self.start[action + 1] as usize]
    }
}

/// Takes away all that waits for nothing left, again and again.
fn trim(left: &mut [bool], waits_for: &Links, waited_by: &Links) {
    let open = |i: usize| waits_for.of(i).iter().filter(|other| left[**other as usize]).count();
    let mut waiting: Vec<usize> = (0..left.len()).map(open).collect();
    let mut ready: Vec<usize> = (0..left.len()).filter(|i| left[*i] && waiting[*i] == 0).collect();
    while let Some(i) = ready.pop() {
        left[i] = false;
        for next in waited_by.of(i).iter().map(|n| *n as usize).filter(|n| left[*n]) {
            waiting[next] = waiting[next].saturating_sub(1);
            if waiting[next] == 0 {
                ready.push(next);
            }
        }
    }
}
