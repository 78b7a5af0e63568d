//! The history of operations as it is shown: by node and resource, in the order in which the status has them.

use super::View;
use crate::cluster::Operation;
use scheduler::status::{Node, Resource};

/// One node's part of it.
pub struct OfNode<'v> {
    pub node: &'v Node,
    /// By resource; none is empty.
    pub resources: Vec<(&'v str, Vec<&'v Operation>)>,
}

/// What is worth telling: no notifications, and no probes that found nothing, as they should.
pub fn of<'v>(view: &'v View<'_>) -> Vec<OfNode<'v>> {
    let mut all: Vec<OfNode<'v>> = Vec::new();
    for op in view.operations.iter().filter(|o| !o.pending() && is_told(o) && view.only.node(&o.node)) {
        if !view.only.resource(op.resource.split(':').next().unwrap_or_default()) {
            continue;
        }
        let Some(node) = view.cluster.nodes.iter().find(|n| n.name == op.node && n.online) else { continue };
        if all.last().is_none_or(|last| last.node.name != node.name) {
            all.push(OfNode { node, resources: Vec::new() });
        }
        let Some(of_node) = all.last_mut() else { continue };
        match of_node.resources.last_mut().filter(|(id, _)| *id == op.resource) {
            Some((_, ops)) => ops.push(op),
            None => of_node.resources.push((&op.resource, vec![op])),
        }
    }
    all
}

/// `OCF_NOT_RUNNING`.
const NOT_RUNNING: i32 = 7;

fn is_told(op: &Operation) -> bool {
    let probe = op.task == "monitor" && op.interval_ms == 0;
    op.task != "notify" && !(probe && op.rc == NOT_RUNNING)
}

/// What a connectivity attribute should be: the sum over the hosts that its agent pings; `None` for other attributes.
pub fn expected(view: &View<'_>, node: &Node, attribute: &str) -> Option<i64> {
    let resources = view.cib.child("configuration").and_then(|c| c.child("resources"))?;
    let pings =
        resources.descendants().filter(|e| e.name() == "primitive" && matches!(e.attr("type"), Some("ping" | "pingd")));
    let runs = |id: &str| runs_on(view.all_resources(), id, &node.name);
    for e in pings.filter(|e| e.id().is_some_and(runs)) {
        let parameter = |name: &str| {
            let found = crate::nvpairs::find(e, "instance_attributes", name, None, None);
            found.first().and_then(|p| p.pair.attr("value")).map(str::to_owned)
        };
        if parameter("name").as_deref().unwrap_or("pingd") == attribute {
            let hosts = parameter("host_list").map_or(0, |list| list.split_whitespace().count() as i64);
            let each = parameter("multiplier").and_then(|m| m.parse::<i64>().ok()).unwrap_or(1);
            return Some(hosts.saturating_mul(each));
        }
    }
    None
}

fn runs_on(resources: &[Resource], id: &str, node: &str) -> bool {
    resources.iter().any(|r| (r.name == id && r.active_on.iter().any(|n| n == node)) || runs_on(&r.children, id, node))
}
