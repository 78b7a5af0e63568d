//! States of remote and guest nodes: nobody tells them but the results of the operations on their connections.

use super::{ORIGIN, is_failure_entry};
use base::NodeId;
use xml::Element;

fn states(status: &Element) -> impl Iterator<Item = &Element> {
    status.elements_named("node_state").filter(|e| e.attr("remote_node").is_some_and(|v| v == "true" || v == "1"))
}

pub fn state(status: &Element, node: NodeId) -> Option<&Element> {
    states(status).find(|e| e.id().is_some_and(|id| NodeId::of_remote(id) == node))
}

pub fn known(status: &Element) -> Vec<NodeId> {
    states(status).filter_map(Element::id).map(NodeId::of_remote).collect()
}

/// Makes a state for a node that has none.
pub fn introduce<'a>(status: &'a mut Element, name: &str) -> &'a mut Element {
    let id = state(status, NodeId::of_remote(name)).and_then(Element::id).unwrap_or(name).to_owned();
    let state = status.child_by_id_or_insert("node_state", &id);
    if state.attr("remote_node").is_none() {
        state.set("remote_node", "true");
        state.set("uname", &id);
        state.set("crm-debug-origin", ORIGIN);
    }
    state
}

/// The connection has been made: what was known of the node is of a former time, and is found out anew.
pub fn up(status: &mut Element, name: &str) {
    let state = introduce(status, name);
    state.set("in_ccm", "true");
    state.remove_attr("node_fenced");
    state.retain_elements(|e| e.name() != "transient_attributes" && e.name() != "lrm");
}

/// The connection was ended on purpose. Attributes die with it.
pub fn down(status: &mut Element, name: &str) {
    let state = introduce(status, name);
    state.set("in_ccm", "false");
    state.retain_elements(|e| e.name() != "transient_attributes");
}

/// Another cluster node has the connection: what is repeated there was repeated by the one before.
pub fn moved(status: &mut Element, name: &str) {
    let state = introduce(status, name);
    let Some(list) = state.child_mut("lrm").and_then(|l| l.child_mut("lrm_resources")) else { return };
    let ids: Vec<String> = list.elements().filter_map(Element::id).map(str::to_owned).collect();
    for id in ids {
        if let Some(resource) = list.child_by_id_mut("lrm_resource", &id) {
            resource.retain_elements(|e| e.attr("interval").is_none_or(|v| v == "0") || is_failure_entry(e));
        }
    }
}

pub(super) fn set_fenced(state: &mut Element) {
    state.set("in_ccm", "false");
    state.set("node_fenced", "1");
}

/// The highest number of a result in a node's history.
pub fn last_call(status: &Element, node: NodeId) -> u64 {
    let entries = state(status, node).into_iter().flat_map(Element::descendants);
    entries.filter_map(|e| e.attr("call-id")?.parse().ok()).max().unwrap_or(0)
}

/// Whether a cluster node other than `host` has the connection, as its history says.
pub fn is_held_elsewhere(status: &Element, name: &str, host: NodeId) -> bool {
    let others = super::known_nodes(status).into_iter().filter(|n| *n != host);
    others.filter_map(|n| super::node_state(status, n)).any(|s| super::active(s).contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;

    #[test]
    fn a_life_of_a_remote_node() {
        let mut s = Element::new("status");
        let node = NodeId::of_remote("Far");
        assert!(node.is_remote() && node == NodeId::of_remote("far"));
        assert!(!status::set_attribute(&mut s, node, "x", None));
        up(&mut s, "Far");
        assert!(status::set_attribute(&mut s, node, "x", Some("1")));
        assert_eq!(s.elements().count(), 1, "one state, under its name");
        assert_eq!((status::attribute(&s, node, "x"), known(&s)), (Some("1"), vec![node]));
        assert_eq!(state(&s, node).and_then(|e| e.id()), Some("Far"));
        assert!(status::known_nodes(&s).is_empty(), "it is no member of the ring");
        status::fenced(&mut s, node);
        let fenced = state(&s, node).and_then(|e| e.attr("node_fenced"));
        assert_eq!((fenced, status::attribute(&s, node, "x")), (Some("1"), None));
        up(&mut s, "Far");
        assert_eq!(state(&s, node).and_then(|e| e.attr("node_fenced")), None);
        down(&mut s, "far");
        assert_eq!(state(&s, node).and_then(|e| e.attr("in_ccm")), Some("false"));
    }
}
