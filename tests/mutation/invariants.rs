//! What must hold of every graph, whatever the input was.

use scheduler::graph::{Action, ActionId, ActionKind, Graph};
use scheduler::status::Cluster;
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

type Broken = (&'static str, String);

/// Gives what does not hold.
pub fn check(cib: &Element, cluster: &Cluster, graph: &Graph) -> Result<(), Broken> {
    let order = Order::new(graph)?;
    known_nodes(cluster, graph)?;
    started_once(cib, &order)?;
    fenced_before_started(cib, cluster, &order)
}

/// The graph's actions by number, with all that comes before each.
struct Order<'a> {
    graph: &'a Graph,
    at: BTreeMap<ActionId, usize>,
}

impl<'a> Order<'a> {
    /// Fails if numbers are not unique, an input is unknown, or there is a cycle.
    fn new(graph: &'a Graph) -> Result<Order<'a>, Broken> {
        let mut at = BTreeMap::new();
        for (i, action) in graph.actions.iter().enumerate() {
            if at.insert(action.id, i).is_some() {
                return Err(("numbers", format!("{} has the number {} of another action", action.key(), action.id)));
            }
        }
        let phantoms: BTreeSet<ActionId> = graph.phantoms.iter().map(|p| p.id).collect();
        let mut waiting: Vec<usize> = Vec::new();
        let mut dependents: BTreeMap<ActionId, Vec<usize>> = BTreeMap::new();
        for (i, action) in graph.actions.iter().enumerate() {
            let inputs: BTreeSet<ActionId> = action.inputs.iter().copied().collect();
            if let Some(unknown) = inputs.iter().find(|n| !at.contains_key(n) && !phantoms.contains(n)) {
                return Err(("inputs", format!("{} waits for {unknown}, which is not there", action.key())));
            }
            let real: Vec<ActionId> = inputs.into_iter().filter(|n| at.contains_key(n)).collect();
            waiting.push(real.len());
            real.into_iter().for_each(|n| dependents.entry(n).or_default().push(i));
        }
        let mut ready: Vec<usize> = (0..waiting.len()).filter(|i| waiting[*i] == 0).collect();
        let mut done = 0;
        while let Some(i) = ready.pop() {
            done += 1;
            for next in dependents.get(&graph.actions[i].id).into_iter().flatten() {
                waiting[*next] -= 1;
                if waiting[*next] == 0 {
                    ready.push(*next);
                }
            }
        }
        if done < graph.actions.len() {
            let stuck: Vec<&str> =
                graph.actions.iter().zip(&waiting).filter(|(_, n)| **n > 0).map(|(a, _)| a.key()).take(8).collect();
            return Err((
                "cycle",
                format!("{} actions wait for each other: {}", graph.actions.len() - done, stuck.join(", ")),
            ));
        }
        Ok(Order { graph, at })
    }

    /// True if `first` comes before `then`, directly or not.
    fn precedes(&self, first: ActionId, then: &Action) -> bool {
        let mut seen = BTreeSet::new();
        let mut open: Vec<ActionId> = then.inputs.clone();
        while let Some(id) = open.pop() {
            if id == first {
                return true;
            }
            if seen.insert(id)
                && let Some(i) = self.at.get(&id)
            {
                open.extend(&self.graph.actions[*i].inputs);
            }
        }
        false
    }

    fn operations<'b>(&'b self, operation: &'b str) -> impl Iterator<Item = (&'b Action, &'b str, &'b str)> {
        self.graph.actions.iter().filter_map(move |a| match &a.kind {
            ActionKind::Resource(r) if r.operation == operation => {
                Some((a, r.primitive.long_id.as_deref().unwrap_or(&r.primitive.id), r.target.node.as_str()))
            }
            _ => None,
        })
    }
}

fn known_nodes(cluster: &Cluster, graph: &Graph) -> Result<(), Broken> {
    let names: BTreeSet<&str> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
    for action in &graph.actions {
        let target = action.target().map(|t| t.node.as_str());
        if let Some(unknown) = target.filter(|n| !names.contains(n)) {
            return Err(("unknown node", format!("{} on '{unknown}'", action.key())));
        }
        if target.is_none() && !matches!(action.kind, ActionKind::Pseudo { .. }) {
            return Err(("no node", action.key().to_owned()));
        }
    }
    Ok(())
}

/// Ids of primitives of which there is one instance.
fn single(cib: &Element) -> BTreeSet<&str> {
    fn walk<'a>(e: &'a Element, out: &mut Vec<&'a str>) {
        for child in e.elements() {
            match child.name() {
                "primitive" => out.extend(child.id()),
                "group" => walk(child, out),
                _ => {}
            }
        }
    }
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let mut list = Vec::new();
    resources.into_iter().for_each(|r| walk(r, &mut list));
    // A guest's connection has the id that the guest names.
    let guests = resources.into_iter().flat_map(Element::descendants).filter(|e| e.attr("name") == Some("remote-node"));
    list.extend(guests.filter_map(|e| e.attr("value")));
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&str> = list.iter().copied().filter(|id| !seen.insert(*id)).collect();
    // An id that two elements have is two resources.
    list.into_iter().filter(|id| !twice.contains(id)).collect()
}

fn started_once(cib: &Element, order: &Order<'_>) -> Result<(), Broken> {
    let single = single(cib);
    let mut starts: BTreeMap<&str, Vec<(&Action, &str)>> = BTreeMap::new();
    for (action, rsc, node) in order.operations("start").filter(|(_, rsc, _)| single.contains(rsc)) {
        starts.entry(rsc).or_default().push((action, node));
    }
    for (rsc, list) in starts {
        let stops: Vec<(&Action, &str)> =
            order.operations("stop").filter(|(_, r, _)| *r == rsc).map(|(a, _, n)| (a, n)).collect();
        for (i, (a, a_node)) in list.iter().enumerate() {
            for (b, b_node) in &list[i + 1..] {
                let between = |first: &Action, node: &str, then: &Action| {
                    stops.iter().any(|(s, n)| *n == node && order.precedes(first.id, s) && order.precedes(s.id, then))
                };
                if !between(a, a_node, b) && !between(b, b_node, a) {
                    return Err(("started twice", format!("{rsc} on {a_node} and on {b_node}")));
                }
            }
        }
    }
    Ok(())
}

/// What was active on a node that is fenced is started elsewhere only after the fencing, unless it says that it need not wait.
fn fenced_before_started(cib: &Element, cluster: &Cluster, order: &Order<'_>) -> Result<(), Broken> {
    let fencings: Vec<(&Action, &str)> = order
        .graph
        .actions
        .iter()
        .filter_map(|a| match &a.kind {
            ActionKind::Cluster { operation, target, .. } if operation == "stonith" => Some((a, target.node.as_str())),
            _ => None,
        })
        .filter(|(a, _)| a.attribute("CRM_meta_stonith_action").is_some_and(|how| how != "on"))
        .collect();
    let says = |e: &Element| e.attr("name") == Some("requires") || e.attr("requires").is_some();
    if fencings.is_empty() || cib.descendants().any(says) {
        return Ok(());
    }
    let single = single(cib);
    for (fencing, lost) in fencings {
        for (start, rsc, node) in order.operations("start").filter(|(_, rsc, _)| single.contains(rsc)) {
            let was_there = cluster.nodes.iter().any(|n| n.name == lost && n.running.iter().any(|r| r == rsc));
            // Connections and devices are what fencing itself may need.
            let device = matches!(&start.kind, ActionKind::Resource(r) if r.primitive.class == "stonith" || r.primitive.agent == "remote");
            if node == lost && !device && !order.precedes(fencing.id, start) {
                return Err(("started before fencing", format!("{rsc} on {node}, which is fenced")));
            }
            if was_there && !device && !order.precedes(fencing.id, start) {
                return Err(("started before fencing", format!("{rsc} on {node}, was on {lost}")));
            }
        }
    }
    Ok(())
}
