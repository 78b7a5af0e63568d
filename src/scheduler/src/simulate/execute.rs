//! Carrying a graph out on a CIB: everything succeeds, in the order in which the controller would do it.

use super::history::Recorder;
use super::inject::Events;
use super::outline::Outline;
use crate::graph::{Action, ActionId, ActionKind, Graph};
use crate::model::{INFINITY, Sched};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use xml::Element;

/// Order of execution: passes over the graph, each doing what is ready by then.
struct Passes<'a> {
    graph: &'a Graph,
    waiting: Vec<usize>,
    dependents: BTreeMap<ActionId, Vec<usize>>,
    this_pass: BinaryHeap<Reverse<usize>>,
    next_pass: BinaryHeap<Reverse<usize>>,
}

impl<'a> Passes<'a> {
    fn new(graph: &'a Graph) -> Passes<'a> {
        let mut dependents: BTreeMap<ActionId, Vec<usize>> = BTreeMap::new();
        for (at, action) in graph.actions.iter().enumerate() {
            for input in &action.inputs {
                dependents.entry(*input).or_default().push(at);
            }
        }
        let waiting: Vec<usize> = graph.actions.iter().map(|a| a.inputs.len()).collect();
        let ready = waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(at, _)| Reverse(at)).collect();
        Passes { graph, waiting, dependents, this_pass: ready, next_pass: BinaryHeap::new() }
    }
}

impl<'a> Iterator for Passes<'a> {
    type Item = &'a Action;

    fn next(&mut self) -> Option<&'a Action> {
        if self.this_pass.is_empty() {
            std::mem::swap(&mut self.this_pass, &mut self.next_pass);
        }
        let Reverse(at) = self.this_pass.pop()?;
        let action = &self.graph.actions[at];
        for &dependent in self.dependents.get(&action.id).into_iter().flatten() {
            self.waiting[dependent] -= 1;
            if self.waiting[dependent] == 0 {
                let pass = if dependent > at { &mut self.this_pass } else { &mut self.next_pass };
                pass.push(Reverse(dependent));
            }
        }
        Some(action)
    }
}

/// Does all of the graph; false if parts of it could never run.
pub(super) fn execute(s: &Sched, graph: &Graph, events: &Events, cib: &mut Recorder<'_>, out: &mut Outline) -> bool {
    out.begin("Executing Cluster Transition");
    let mut done = 0;
    let mut failed: BTreeSet<ActionId> = BTreeSet::new();
    for action in Passes::new(graph) {
        done += 1;
        // After a failure only what is most urgent goes on, and nothing that waits for what did not happen.
        let held =
            !failed.is_empty() && !matches!(action.kind, ActionKind::Pseudo { .. }) && action.priority < INFINITY;
        if held || action.inputs.iter().any(|i| failed.contains(i)) {
            failed.insert(action.id);
            continue;
        }
        let node = action.target().map_or("", |t| &*t.node);
        match &action.kind {
            ActionKind::Pseudo { key, target, .. } => {
                let place = target.as_ref().map(|t| format!(" on {}", t.node)).unwrap_or_default();
                out.item(&format!("Pseudo action:   {key}{place}"));
                let mut e = Element::new("pseudo_action").with("task", key);
                target.iter().for_each(|t| e.set("node", &t.node));
                out.element(e);
            }
            ActionKind::Cluster { operation, .. } if operation == "stonith" => {
                let how = action.attribute("CRM_meta_stonith_action").unwrap_or_default();
                out.item(&format!("Fencing {node} ({how})"));
                out.element(Element::new("fencing_action").with("target", node).with("op", how));
                if !how.eq_ignore_ascii_case("on") {
                    cib.fence(node, action.target().map_or(node, |t| &t.uuid));
                }
            }
            ActionKind::Cluster { operation, primitive, .. } => {
                let rsc = primitive.as_ref().map(|p| format!("for {} ", p.id)).unwrap_or_default();
                out.item(&format!("Cluster action:  {operation} {rsc}on {node}"));
                let mut e = Element::new("cluster_action").with("task", operation).with("node", node);
                primitive.iter().for_each(|p| e.set("id", &p.id));
                out.element(e);
            }
            ActionKind::Resource(op) => {
                let exact = |id: &str| s.find_resource(id).is_some();
                let long = op.primitive.long_id.as_deref().filter(|l| !exact(&op.primitive.id) && exact(l));
                let name = long.unwrap_or(&op.primitive.id);
                let interval = if op.interval_ms > 0 { format!("={}", op.interval_ms) } else { String::new() };
                out.item(&format!("Resource action: {name:<15} {}{interval} on {node}", op.operation));
                let mut e =
                    Element::new("rsc_action").with("resource", name).with("op", &op.operation).with("node", node);
                if op.interval_ms > 0 {
                    e.set("interval", op.interval_ms.to_string());
                }
                out.element(e);
                if !matches!(&*op.operation, "delete" | "meta-data") {
                    let result = [name, &op.primitive.id]
                        .into_iter()
                        .find_map(|n| events.failure(n, &op.operation, op.interval_ms, node));
                    if let Some(rc) = result {
                        out.item(&format!("Pretending action {} failed with rc={rc}", action.id));
                        failed.insert(action.id);
                        let fatal =
                            op.operation == "stop" || (op.operation == "start" && s.options.start_failure_fatal);
                        cib.add_failure(op, name, rc, fatal, out);
                    }
                    cib.record(name, op, &action.attributes, result);
                }
            }
        }
    }
    out.end();
    done == graph.actions.len()
}
