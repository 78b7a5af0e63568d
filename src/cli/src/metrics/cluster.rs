//! Nodes, resources and failures as the configuration and the history show them.

use super::exposition::Exposition;
use super::gather::Held;
use scheduler::status::{Cluster, Node, NodeKind, Resource, ResourceKind};
use xml::Element;

pub fn cluster(out: &mut Exposition, held: &Held) {
    let state = &held.cluster;
    nodes(out, state);
    let resources = out
        .gauge("ha_cluster_pacemaker_resources", "A resource on a node (or on none), with each status that it has; 1");
    for resource in &state.resources {
        told(resource, &Within::default(), &mut |labels| resources.set(labels, 1.0));
    }
    let fencing = out.gauge("ha_cluster_pacemaker_stonith_enabled", "Whether nodes that fail are fenced");
    fencing.alone(f64::from(state.fencing_enabled));
    let maintenance = out.gauge("bascule_maintenance_mode", "Whether the cluster leaves all resources alone");
    maintenance.alone(f64::from(state.maintenance_mode));
    let failed = out.gauge("bascule_failed_actions", "Failed operations that are still in the history");
    failed.alone(state.failures.len() as f64);
    for (name, help, count) in [
        ("bascule_resource_instances", "Resource instances that are configured", state.instances),
        ("bascule_resource_instances_disabled", "Of these, kept stopped by their target-role", state.disabled),
        ("bascule_resource_instances_blocked", "Of these, with a failure that nobody can act on", state.blocked),
    ] {
        out.gauge(name, help).alone(count as f64);
    }
    let tickets = out.gauge("bascule_ticket_granted", "Whether a ticket is granted to this cluster");
    for ticket in &state.tickets {
        tickets.set([("ticket", &ticket.id)], f64::from(ticket.granted));
    }
    configuration(out, &held.cib);
}

fn nodes(out: &mut Exposition, state: &Cluster) {
    let nodes = out.gauge("ha_cluster_pacemaker_nodes", "A node with each status that it has; 1");
    let attributes = out.gauge("ha_cluster_pacemaker_node_attributes", "An attribute of a node, with its value; 1");
    let counts =
        out.gauge("ha_cluster_pacemaker_fail_count", "Failures of a resource on a node; inf: it may not run there");
    for node in &state.nodes {
        let kind = match node.kind {
            NodeKind::Cluster => "member",
            NodeKind::Remote => "remote",
            NodeKind::Guest => "guest",
        };
        for status in statuses(node) {
            nodes.set([("node", node.name.as_str()), ("type", kind), ("status", status)], 1.0);
        }
        for (name, value) in &node.attributes {
            attributes.set([("node", &node.name), ("name", name), ("value", value)], 1.0);
        }
        for (resource, count) in &node.fail_counts {
            let count = if *count >= base::Score::INFINITY.value() { f64::INFINITY } else { f64::from(*count) };
            counts.set([("node", &node.name), ("resource", resource)], count);
        }
    }
}

fn statuses(node: &Node) -> impl Iterator<Item = &'static str> {
    let all = [
        (node.online, "online"),
        (!node.online, "offline"),
        (node.standby, "standby"),
        (node.standby_on_fail, "standby_onfail"),
        (node.maintenance, "maintenance"),
        (node.pending, "pending"),
        (node.unclean, "unclean"),
        (node.shutdown, "shutdown"),
        (node.expected_up, "expected_up"),
        (node.is_dc, "dc"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word)
}

/// What a resource is part of.
#[derive(Clone, Default)]
struct Within {
    group: String,
    clone: String,
}

type ResourceLabels = [(&'static str, String); 8];

/// A primitive once for each node that it is active on and each status; one that is active nowhere, once without a node.
fn told(resource: &Resource, within: &Within, put: &mut impl FnMut(ResourceLabels)) {
    let agent = match &resource.kind {
        ResourceKind::Primitive { class, provider: Some(provider), agent } => format!("{class}:{provider}:{agent}"),
        ResourceKind::Primitive { class, provider: None, agent } => format!("{class}:{agent}"),
        kind => {
            let mut inner = within.clone();
            match kind {
                ResourceKind::Group => inner.group.clone_from(&resource.name),
                _ => inner.clone.clone_from(&resource.name),
            }
            return resource.children.iter().for_each(|child| told(child, &inner, put));
        }
    };
    let all = [
        (!resource.active_on.is_empty(), "active"),
        (resource.removed, "orphaned"),
        (resource.blocked, "blocked"),
        (resource.failed, "failed"),
        (resource.failure_ignored, "failure_ignored"),
        (resource.disabled, "disabled"),
    ];
    let mut statuses: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if statuses.is_empty() {
        statuses.push("stopped");
    }
    let nowhere = [String::new()];
    let places = if resource.active_on.is_empty() { nowhere.as_slice() } else { &resource.active_on };
    for node in places {
        for status in &statuses {
            put([
                ("node", node.clone()),
                ("resource", resource.name.clone()),
                ("role", resource.role.text().to_lowercase()),
                ("managed", resource.managed.to_string()),
                ("status", (*status).to_owned()),
                ("agent", agent.clone()),
                ("group", within.group.clone()),
                ("clone", within.clone.clone()),
            ]);
        }
    }
}

/// The document's version and last change, and what places resources.
fn configuration(out: &mut Exposition, cib: &Element) {
    let version = out.gauge("bascule_cib_version", "Version of the configuration, by part");
    for part in ["admin_epoch", "epoch", "num_updates"] {
        if let Some(number) = cib.attr(part).and_then(|n| n.parse::<f64>().ok()) {
            version.set([("part", part)], number);
        }
    }
    let changed = out.gauge(
        "ha_cluster_pacemaker_config_last_change",
        "When the configuration was last changed, in seconds since the epoch",
    );
    if let Some(at) = cib.attr("cib-last-written").and_then(crate::clock::from_stamp) {
        changed.alone(at.0 as f64 / 1000.0);
    }
    let locations =
        out.gauge("ha_cluster_pacemaker_location_constraints", "Score of a location constraint without rules");
    let constraints = cib.child("configuration").and_then(|c| c.child("constraints"));
    for constraint in constraints.into_iter().flat_map(|c| c.elements_named("rsc_location")) {
        let get = |name: &str| constraint.attr(name).unwrap_or_default().to_owned();
        let Some(score) = base::Score::parse(&get("score")) else { continue };
        let score = if score.is_infinite() {
            f64::from(score.value().signum()) * f64::INFINITY
        } else {
            f64::from(score.value())
        };
        let (resource, role) = (get("rsc"), get("role").to_lowercase());
        locations
            .set([("constraint", get("id")), ("node", get("node")), ("resource", resource), ("role", role)], score);
    }
}
