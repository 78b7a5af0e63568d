//! `--brief`: how many of each agent are active, instead of one line for each.

use super::text::agent;
use super::{CrmMon, View};
use scheduler::status::{Resource, ResourceKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Lines of primitives beside each other; `of_all`: with how many there are.
pub fn lines(options: &CrmMon, all: &[&Resource], of_all: bool, level: usize, out: &mut String) {
    let indent = "  ".repeat(level);
    let mut agents: BTreeMap<String, (usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for r in all {
        let (total, nodes) = agents.entry(agent(r)).or_default();
        *total += 1;
        r.active_on.iter().for_each(|n| *nodes.entry(n).or_default() += 1);
    }
    for (agent, (total, nodes)) in agents {
        for (node, active) in &nodes {
            let _ = match of_all || options.inactive {
                true => writeln!(out, "{indent}* {active}/{total}\t({agent}):\tActive {node}"),
                false => writeln!(out, "{indent}* {active}\t({agent}):\tActive {node}"),
            };
        }
        if nodes.is_empty() && (of_all || options.inactive) {
            let _ = writeln!(out, "{indent}* 0/{total}\t({agent}):\tActive");
        }
    }
}

/// What is active on one node.
pub fn on_node(view: &View<'_>, node: &str) -> String {
    let mut agents: BTreeMap<String, usize> = BTreeMap::new();
    view.cluster.resources.iter().for_each(|r| count(r, node, &mut agents));
    let line = |(agent, n): (&String, &usize)| format!("      * {n}\t({agent}):\tActive \n");
    agents.iter().map(line).collect()
}

fn count(r: &Resource, node: &str, agents: &mut BTreeMap<String, usize>) {
    match r.kind {
        ResourceKind::Primitive { .. } if r.active_on.iter().any(|n| n == node) => {
            *agents.entry(agent(r)).or_default() += 1;
        }
        _ => r.children.iter().for_each(|c| count(c, node, agents)),
    }
}
