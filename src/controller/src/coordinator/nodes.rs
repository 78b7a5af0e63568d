//! Who is meant in a schedule, and what a node holds that ends by itself.

use super::LEASE_AGENTS;
use crate::replica::Replica;
use crate::status;
use base::NodeId;
use scheduler::graph::Action;

/// The scheduler names nodes by their id where they have one, else by name.
pub(super) fn node_of(target: &scheduler::graph::Target, replica: &Replica) -> Option<NodeId> {
    let known = |node: NodeId| {
        replica.members.contains(&node) || replica.status().is_some_and(|s| status::node_state(s, node).is_some())
    };
    if let Some(node) = target.node_id().filter(|n| known(*n)) {
        return Some(node);
    }
    // One that is not in the ring has its name for an id.
    if target.node_id().is_none() && !target.uuid.is_empty() && target.uuid == target.node {
        return Some(NodeId::of_remote(&target.node));
    }
    let by_name = |e: &&xml::Element| e.attr("uname").is_some_and(|n| base::ids::same_node(n, &target.node));
    let state = replica.status()?.elements_named("node_state").find(by_name)?;
    state.id()?.parse().ok().map(NodeId)
}

/// The member that has the connection to an action's remote node, if it is for one.
pub(super) fn router_of(action: &Action, replica: &Replica) -> Option<NodeId> {
    let name = action.router_node()?;
    let by_name = |e: &&xml::Element| e.attr("uname").is_some_and(|n| base::ids::same_node(n, name));
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
