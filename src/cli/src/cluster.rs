//! The cluster's state for display, read from a CIB alone: nodes, resources with where they are active, failures.
//!
//! Display does not need the scheduler's whole unpacking: the last completed operation of each resource on each node
//! tells its state, as long as nothing is asked about what should happen next.

mod history;
mod resources;
#[cfg(test)]
mod tests;

use base::WallTime;
use scheduler::status::{Cluster, Node, NodeKind, Resource, Ticket};
use std::collections::BTreeMap;
use xml::Element;

pub use history::{Operation, operations};

/// Reads everything that a display needs; `now` lets failures expire.
pub fn read(cib: &Element, now: WallTime) -> Cluster {
    let options = properties(cib);
    let is = |name: &str, default: bool| options.get(name).map_or(default, |v| truthy(v));
    let fencing = is("fencing-enabled", is("stonith-enabled", true));
    let mut cluster = Cluster {
        quorate: cib.attr("have-quorum").is_some_and(truthy),
        maintenance_mode: is("maintenance-mode", false),
        stop_all_resources: is("stop-all-resources", false),
        symmetric: is("symmetric-cluster", true),
        fencing_enabled: fencing,
        tickets: tickets(cib),
        ..Cluster::default()
    };
    cluster.nodes = nodes(cib, fencing);
    cluster.dc = cluster.nodes.iter().find(|n| n.is_dc).map(|n| n.name.clone());
    resources::fill(cib, now, &mut cluster);
    cluster.options = options;
    cluster
}

pub fn truthy(value: &str) -> bool {
    ["true", "on", "yes", "y", "1"].iter().any(|w| w.eq_ignore_ascii_case(value))
}

/// Cluster properties as configured; the set `cib-bootstrap-options` counts first.
fn properties(cib: &Element) -> BTreeMap<String, String> {
    let section = cib.child("configuration").and_then(|c| c.child("crm_config"));
    let mut sets: Vec<&Element> = section.into_iter().flat_map(|s| s.elements_named("cluster_property_set")).collect();
    sets.sort_by_key(|s| s.id() != Some("cib-bootstrap-options"));
    let mut out = BTreeMap::new();
    for pair in sets.into_iter().flat_map(|s| s.elements_named("nvpair")) {
        if let (Some(name), Some(value)) = (pair.attr("name"), pair.attr("value")) {
            out.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    out
}

/// Pairs of all sets of `kind` in `holder`; the first of a name counts.
pub fn pairs(holder: &Element, kind: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for pair in holder.elements_named(kind).flat_map(|s| s.elements_named("nvpair")) {
        if let (Some(name), Some(value)) = (pair.attr("name"), pair.attr("value")) {
            out.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    out
}

fn nodes(cib: &Element, fencing: bool) -> Vec<Node> {
    let configured = cib.child("configuration").and_then(|c| c.child("nodes"));
    let status = cib.child("status");
    let dc = cib.attr("dc-uuid");
    let mut nodes: Vec<Node> = configured
        .into_iter()
        .flat_map(|n| n.elements_named("node"))
        .filter_map(|e| {
            let (id, name) = (e.id()?, e.attr("uname")?);
            let state = status.and_then(|s| s.elements_named("node_state").find(|n| n.id() == Some(id)));
            Some(node(e, state, (id, name), fencing, dc == Some(id)))
        })
        .collect();
    nodes.sort_by_key(|n| natural(&n.name));
    nodes
}

fn health(value: &str) -> i8 {
    match base::Score::parse(value) {
        _ if value == "green" => 1,
        _ if value == "red" => -1,
        Some(score) if score > base::Score::ZERO => 1,
        Some(score) if score < base::Score::ZERO => -1,
        _ => 0,
    }
}

/// `in_ccm` and `crmd` are words in old documents and time stamps (0 = absent) in new ones.
fn present(value: Option<&str>) -> bool {
    !matches!(value, None | Some("false" | "offline" | "0" | "no" | ""))
}

fn node(e: &Element, state: Option<&Element>, (id, name): (&str, &str), fencing: bool, is_dc: bool) -> Node {
    let attr = |name: &str| state.and_then(|s| s.attr(name));
    let member = present(attr("in_ccm"));
    let controller = present(attr("crmd"));
    let joined = attr("join").is_none_or(|j| j == "member");
    let expected = attr("expected").is_some_and(|e| e == "member");
    let mut attributes = pairs(e, "instance_attributes");
    let transient = state.and_then(|s| s.child("transient_attributes")).map(|t| pairs(t, "instance_attributes"));
    let (counts, transient): (BTreeMap<_, _>, BTreeMap<_, _>) = transient
        .unwrap_or_default()
        .into_iter()
        .partition(|(n, _)| n.starts_with("fail-count-") || n.starts_with("last-failure-"));
    attributes.extend(transient);
    let flag = |name: &str| attributes.get(name).is_some_and(|v| truthy(v));
    let online = member && controller && joined;
    Node {
        name: name.to_owned(),
        id: id.to_owned(),
        kind: if e.attr("type") == Some("remote") { NodeKind::Remote } else { NodeKind::Cluster },
        online,
        pending: member && controller && !joined,
        unclean: !online && expected && fencing && !(member && controller),
        standby: flag("standby"),
        maintenance: flag("maintenance"),
        shutdown: attributes.get("shutdown").is_some_and(|v| v != "0"),
        expected_up: expected,
        is_dc,
        health: attributes.iter().filter(|(n, _)| n.starts_with("#health")).map(|(_, v)| health(v)).min().unwrap_or(1),
        utilization: pairs(e, "utilization"),
        fail_counts: fail_counts(&counts),
        attributes,
        ..Node::default()
    }
}

/// Sorts `n2` before `n10`.
pub fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(text_end);
        let digits_end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(digits_end);
        parts.push((0, text.to_lowercase()));
        if !digits.is_empty() {
            parts.push((digits.parse().unwrap_or(u64::MAX), String::new()));
        }
        rest = tail;
    }
    parts
}

/// `fail-count-RSC#OPERATION_INTERVAL` (or without operation), summed per resource.
fn fail_counts(attributes: &BTreeMap<String, String>) -> BTreeMap<String, i32> {
    let mut out: BTreeMap<String, i32> = BTreeMap::new();
    for (name, value) in attributes {
        let Some(rest) = name.strip_prefix("fail-count-") else { continue };
        let resource = rest.split('#').next().unwrap_or(rest);
        let have = out.entry(resource.to_owned()).or_default();
        *have = (base::Score::from(*have) + base::Score::parse(value).unwrap_or_default()).value();
    }
    out
}

fn tickets(cib: &Element) -> Vec<Ticket> {
    let states = cib.child("status").and_then(|s| s.child("tickets"));
    let ticket = |e: &Element| Ticket {
        id: e.id().unwrap_or_default().to_owned(),
        granted: e.attr("granted").is_some_and(truthy),
        standby: e.attr("standby").is_some_and(truthy),
        last_granted: e.attr("last-granted").and_then(|t| t.parse().ok()),
        attributes: BTreeMap::new(),
    };
    states.into_iter().flat_map(|t| t.elements_named("ticket_state")).map(ticket).collect()
}

/// The resource called `id` (configured id or instance) anywhere in the tree.
pub fn find<'a>(resources: &'a [Resource], id: &str) -> Option<&'a Resource> {
    resources.iter().find_map(|r| if r.id == id || r.name == id { Some(r) } else { find(&r.children, id) })
}
