//! Who is meant in a schedule, and what a node holds that ends by itself.

use super::LEASE_AGENTS;
use crate::replica::Replica;
use crate::status;
use base::NodeId;

/// The scheduler names nodes by their id where they have one, else by name.
pub(super) fn node_of(target: &scheduler::graph::Target, replica: &Replica) -> Option<NodeId> {
    let known = |node: NodeId| {
        replica.members.contains(&node) || replica.status().is_some_and(|s| status::node_state(s, node).is_some())
    };
    if let Some(node) = target.node_id().filter(|n| known(*n)) {
        return Some(node);
    }
    let by_name = |e: &&xml::Element| e.attr("uname").is_some_and(|n| base::ids::same_node(n, &target.node));
    let state = replica.status()?.elements_named("node_state").find(by_name)?;
    state.id()?.parse().ok().map(NodeId)
}

/// Active address resources of a node, according to its history.
pub(super) fn leases_of(replica: &Replica, node: NodeId) -> Vec<String> {
    let Some(state) = replica.status().and_then(|s| status::node_state(s, node)) else { return Vec::new() };
    let running = status::active(state);
    let is_lease =
        |e: &&xml::Element| e.name() == "lrm_resource" && e.attr("type").is_some_and(|t| LEASE_AGENTS.contains(&t));
    let leases = state.descendants().filter(is_lease).filter_map(|e| e.id());
    leases.filter(|id| running.contains(*id)).map(str::to_owned).collect()
}
