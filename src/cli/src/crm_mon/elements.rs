//! The status as elements: Pacemaker's XML, and by [`crate::report::json`] our JSON.

use super::text::{agent, dc_version, pending_role, replicas_of, status_words, threshold, visible_attributes};
use super::{CrmMon, Section, View, bans, past};
use crate::args::compat_21;
use crate::clock;
use crate::cluster::Operation;
use base::WallTime;
use base::exit::OcfCode;
use scheduler::status::{FailedAction, Node, NodeKind, Resource, ResourceKind};
use xml::Element;

pub fn all(options: &CrmMon, view: &View<'_>) -> Vec<Element> {
    type Maker = fn(&CrmMon, &View<'_>) -> Option<Element>;
    let sections: [(Section, Maker); 10] = [
        (Section::Summary, |_, v| Some(summary(v))),
        (Section::Nodes, |o, v| Some(nodes(o, v))),
        (Section::Resources, |o, v| Some(resources(o, v))),
        (Section::Attributes, |_, v| attributes(v)),
        (Section::Operations, |_, v| history(v)),
        (Section::Failures, |_, v| failures(v)),
        (Section::FencingPending, super::fencing::element),
        (Section::Tickets, |_, v| tickets(v)),
        (Section::Bans, |o, v| ban_list(o, v)),
        (Section::Warnings, |_, v| warnings(v)),
    ];
    // In XML they stand beside the status.
    let elsewhere = |s: Section| s == Section::Warnings && options.common.output_as == crate::report::Format::Xml;
    sections
        .iter()
        .filter(|(s, _)| options.shows(*s) && !elsewhere(*s))
        .filter_map(|(_, make)| make(options, view))
        .collect()
}

/// Nodes and resources, and the nodes' attributes if asked for; for what a simulation shows.
pub fn status(options: &CrmMon, view: &View<'_>, with_attributes: bool) -> Vec<Element> {
    let mut all = vec![nodes(options, view), resources(options, view)];
    all.extend(attributes(view).filter(|_| with_attributes));
    all
}

fn yes(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn summary(view: &View<'_>) -> Element {
    let cluster = &view.cluster;
    let attr = |name: &str| view.cib.attr(name).unwrap_or_default();
    let mut dc = Element::new("current_dc").with("present", yes(cluster.dc.is_some()));
    if let Some(node) = cluster.nodes.iter().find(|n| n.is_dc) {
        dc = dc.with("version", dc_version(view)).with("name", &node.name).with("id", &node.id);
        dc = dc.with("with_quorum", yes(cluster.quorate)).with("mixed_version", yes(is_mixed(view)));
    }
    let option = |names: &[&str], default: &str| {
        names.iter().find_map(|n| cluster.options.get(*n)).cloned().unwrap_or_else(|| default.to_owned())
    };
    let ms = |text: &str| cib::interval_ms(text).unwrap_or(0).to_string();
    let (fencing, timeout) =
        (yes(cluster.fencing_enabled), ms(&option(&["fencing-timeout", "stonith-timeout"], "60s")));
    let options = Element::new("cluster_options")
        .with("fencing-enabled", fencing)
        .with("fencing-timeout-ms", &timeout)
        .with("symmetric-cluster", yes(cluster.symmetric))
        .with("no-quorum-policy", option(&["no-quorum-policy"], "stop"))
        .with("maintenance-mode", yes(cluster.maintenance_mode))
        .with("stop-all-resources", yes(cluster.stop_all_resources))
        .with("priority-fencing-delay-ms", ms(&option(&["priority-fencing-delay"], "0")))
        .with("stonith-enabled", fencing)
        .with("stonith-timeout-ms", &timeout);
    let mut stack = Element::new("stack").with("type", "corosync");
    let mut updated = Element::new("last_update").with("time", clock::ctime(view.now));
    if view.live {
        stack.set("pacemakerd-state", "running");
        updated.set("origin", crate::source::host_name());
    }
    Element::new("summary")
        .with_child(stack)
        .with_child(dc)
        .with_child(updated)
        .with_child(
            Element::new("last_change")
                .with("time", attr("cib-last-written"))
                .with("user", attr("update-user"))
                .with("client", attr("update-client"))
                .with("origin", attr("update-origin")),
        )
        .with_child(Element::new("nodes_configured").with("number", cluster.nodes.len().to_string()))
        .with_child(
            Element::new("resources_configured")
                .with("number", cluster.instances.to_string())
                .with("disabled", cluster.disabled.to_string())
                .with("blocked", cluster.blocked.to_string()),
        )
        .with_child(options)
}

fn nodes(options: &CrmMon, view: &View<'_>) -> Element {
    let mut list = Element::new("nodes");
    for n in view.cluster.nodes.iter().filter(|n| view.only.node(&n.name)) {
        let mut e = node(n);
        if options.group_by_node {
            for r in running(view, n) {
                e.push(r.description.iter().fold(resource(view, r), |e, d| e.with("description", d)));
            }
        }
        list.push(e);
    }
    list
}

/// What runs on a node, in the order of its history.
pub fn running<'v>(view: &'v View<'_>, node: &Node) -> Vec<&'v Resource> {
    fn collect<'v>(r: &'v Resource, node: &str, out: &mut Vec<&'v Resource>) {
        match r.kind {
            ResourceKind::Primitive { .. } if r.active_on.iter().any(|n| n == node) => out.push(r),
            _ => r.children.iter().for_each(|c| collect(c, node, out)),
        }
    }
    let mut all = Vec::new();
    view.cluster.resources.iter().for_each(|r| collect(r, &node.name, &mut all));
    let place = |r: &Resource| {
        let op =
            view.operations.iter().position(|o| o.node == node.name && o.resource.split(':').next() == Some(&r.name));
        op.unwrap_or(usize::MAX)
    };
    all.sort_by_key(|r| place(r));
    all
}

/// A member that does not say is older than the attribute; nothing is known of one that has never been up.
pub fn feature_set(n: &Node) -> Option<&str> {
    let said = n.attributes.get("#feature-set").map(String::as_str);
    said.or(n.online.then_some("<3.15.1")).filter(|_| n.kind == NodeKind::Cluster)
}

/// Whether the members run different releases.
pub fn is_mixed(view: &View<'_>) -> bool {
    let mut sets: Vec<&str> = view.cluster.nodes.iter().filter(|n| n.online).filter_map(feature_set).collect();
    sets.sort_unstable();
    sets.dedup();
    sets.len() > 1
}

fn node(n: &Node) -> Element {
    let health = match n.health {
        1 => "green",
        0 => "yellow",
        _ => "red",
    };
    let kind = match n.kind {
        NodeKind::Cluster => "member",
        NodeKind::Remote | NodeKind::Guest => "remote",
    };
    let mut e = Element::new("node")
        .with("name", &n.name)
        .with("id", &n.id)
        .with("online", yes(n.online))
        .with("standby", yes(n.standby))
        .with("standby_onfail", yes(n.standby_on_fail))
        .with("maintenance", yes(n.maintenance))
        .with("pending", yes(n.pending))
        .with("unclean", yes(n.unclean))
        .with("health", health);
    if let Some(set) = feature_set(n) {
        e.set("feature_set", set);
    }
    e = e
        .with("shutdown", yes(n.shutdown))
        .with("expected_up", yes(n.expected_up))
        .with("is_dc", yes(n.is_dc))
        .with("resources_running", n.running.len().to_string())
        .with("type", kind);
    n.launcher.iter().fold(e, |e, launcher| e.with("id_as_resource", launcher))
}

fn resources(options: &CrmMon, view: &View<'_>) -> Element {
    let mut list = Element::new("resources");
    // XML is for programs: it has the inactive ones as well, as the original's; grouped by node, what is not active as a whole.
    let shown = |r: &&Resource| !options.group_by_node || !super::text::is_wholly_active(r);
    view.cluster.resources.iter().filter(shown).for_each(|r| list.push(resource(view, r)));
    list
}

pub fn resource(view: &View<'_>, r: &Resource) -> Element {
    resource_as(view, r, false)
}

/// Its description, where those are asked for.
fn described<'r>(view: &View<'_>, r: &'r Resource) -> Option<&'r String> {
    r.description.as_ref().filter(|_| view.descriptions)
}

/// With instance numbers, if the instances differ.
fn resource_as(view: &View<'_>, r: &Resource, numbered: bool) -> Element {
    let common = |e: Element| {
        let e =
            e.with("maintenance", yes(r.maintenance)).with("managed", yes(r.managed)).with("disabled", yes(r.disabled));
        described(view, r).into_iter().fold(e, |e, d| e.with("description", d))
    };
    let mut e = match &r.kind {
        ResourceKind::Primitive { .. } => return primitive(view, r, numbered),
        ResourceKind::Group => {
            common(Element::new("group").with("id", &r.id).with("number_resources", r.children.len().to_string()))
        }
        ResourceKind::Clone { promotable, unique, .. } => {
            let e = Element::new("clone")
                .with("id", &r.id)
                .with("multi_state", yes(*promotable))
                .with("unique", yes(*unique));
            let e = common(e).with("failed", yes(r.failed)).with("failure_ignored", yes(r.failure_ignored));
            r.target_role.iter().fold(e, |e, role| e.with("target_role", role))
        }
        ResourceKind::Bundle { image, container, unique, replicas } => {
            let e = Element::new("bundle").with("id", &r.id).with("type", container).with("image", image);
            let e = e.with("unique", yes(*unique)).with("maintenance", yes(r.maintenance));
            let e = described(view, r).into_iter().fold(e, |e, d| e.with("description", d));
            let e = e.with("managed", yes(r.managed)).with("failed", yes(r.failed));
            let shown = replicas_of(r, replicas).zip(0..).filter(|((_, parts), _)| !parts.is_empty());
            return shown.fold(e, |e, ((_, parts), number)| {
                let replica = Element::new("replica").with("id", number.to_string());
                e.with_child(parts.iter().fold(replica, |e, part| e.with_child(resource(view, part))))
            });
        }
    };
    let numbered = numbered || matches!(r.kind, ResourceKind::Clone { unique: true, .. });
    r.children.iter().for_each(|c| e.push(resource_as(view, c, numbered)));
    e
}

fn primitive(view: &View<'_>, r: &Resource, numbered: bool) -> Element {
    let id = if numbered { &r.id } else { &r.name };
    let state = pending_role(r).unwrap_or(r.role.text());
    let mut e = Element::new("resource").with("id", id).with("resource_agent", agent(r)).with("role", state);
    if let Some(role) = &r.target_role {
        e.set("target_role", role);
    }
    e = e
        .with("active", yes(!r.active_on.is_empty()))
        .with("orphaned", yes(r.removed))
        .with("removed", yes(r.removed))
        .with("blocked", yes(r.blocked))
        .with("maintenance", yes(r.maintenance))
        .with("managed", yes(r.managed))
        .with("failed", yes(r.failed))
        .with("failure_ignored", yes(r.failure_ignored))
        .with("nodes_running_on", r.active_on.len().to_string());
    if r.pending.as_deref() == Some("monitor") {
        e.set("pending", "Monitoring");
    }
    if let Some(node) = &r.locked_to {
        e.set("locked_to", node);
    }
    if let Some(description) = described(view, r) {
        e.set("description", description);
    }
    for name in &r.active_on {
        let node = view.cluster.nodes.iter().find(|n| n.name == *name);
        let id = node.map_or("", |n| n.id.as_str());
        e.push(
            Element::new("node").with("name", name).with("id", id).with("cached", yes(node.is_some_and(|n| n.online))),
        );
    }
    e
}

fn attributes(view: &View<'_>) -> Option<Element> {
    let mut list = Element::new("node_attributes");
    let shown = |n: &&Node| n.online && view.only.node(&n.name) && visible_attributes(n).next().is_some();
    for node in view.cluster.nodes.iter().filter(shown) {
        let mut e = Element::new("node").with("name", &node.name);
        for (name, value) in visible_attributes(node) {
            let mut attribute = Element::new("attribute").with("name", name).with("value", value);
            if let Some(expected) = past::expected(view, node, name) {
                attribute.set("expected", expected.to_string());
            }
            e.push(attribute);
        }
        list.push(e);
    }
    unless_empty(list)
}

fn history(view: &View<'_>) -> Option<Element> {
    let mut list = Element::new("node_history");
    for past::OfNode { node, resources } in past::of(view) {
        let mut of_node = Element::new("node").with("name", &node.name);
        for (id, ops) in resources {
            let plain = id.split(':').next().unwrap_or(id);
            let gone = crate::cluster::find(view.all_resources(), plain).is_none_or(|r| r.removed);
            let mut e = Element::new("resource_history").with("id", id).with("orphan", yes(gone));
            e.set("removed", yes(gone));
            e.set("migration-threshold", threshold(view, id));
            if let Some(count) = node.fail_counts.get(plain).filter(|c| **c != 0) {
                e.set("fail-count", base::Score::from(*count).to_string());
            }
            ops.into_iter().for_each(|op| e.push(operation(op)));
            of_node.push(e);
        }
        list.push(of_node);
    }
    // There is one, only nothing of what is shown is in it.
    let states = view.cib.child("status").into_iter().flat_map(|s| s.elements_named("node_state"));
    let online = |name: &str| view.cluster.nodes.iter().any(|n| n.name == name && n.online);
    let mut named = states.filter_map(|s| s.attr("uname"));
    if named.any(|name| online(name) && view.only.node(name)) { Some(list) } else { unless_empty(list) }
}

/// Words of an agent's exit code, as that release has them.
fn exit_words(code: i32) -> String {
    if compat_21() { OcfCode(code).words().to_owned() } else { crate::report::exit_words(code).to_owned() }
}

fn operation(op: &Operation) -> Element {
    let task = if op.task == "monitor" && op.interval_ms == 0 { "probe" } else { &op.task };
    let mut e = Element::new("operation_history").with("call", op.call_id.to_string()).with("task", task);
    e = e.with("rc", op.rc.to_string()).with("rc_text", exit_words(op.rc));
    if op.interval_ms > 0 {
        e.set("interval", format!("{}ms", op.interval_ms));
    }
    if let Some(at) = op.last_change {
        e.set("last-rc-change", clock::ctime(WallTime::from_secs(at)));
    }
    e.with("exec-time", format!("{}ms", op.exec_ms)).with("queue-time", format!("{}ms", op.queue_ms))
}

fn failures(view: &View<'_>) -> Option<Element> {
    let mut list = Element::new("failures");
    view.failures().for_each(|f| list.push(failure(f)));
    unless_empty(list)
}

fn failure(f: &FailedAction) -> Element {
    let mut e = Element::new("failure")
        .with("op_key", &f.key)
        .with("node", &f.node)
        .with("exitstatus", exit_words(f.rc))
        .with("exitreason", f.exit_reason.as_deref().unwrap_or_default())
        .with("exitcode", f.rc.to_string())
        .with("call", f.call_id.to_string())
        .with("status", status_words(f.status));
    // The original's schema has the rest with a time or not at all.
    let Some(at) = f.last_change else { return e };
    e.set("last-rc-change", clock::stamp(WallTime::from_secs(at)));
    e.with("queued", f.queue_ms.to_string())
        .with("exec", f.exec_ms.to_string())
        .with("interval", f.interval_ms.to_string())
        .with("task", &f.operation)
}

fn tickets(view: &View<'_>) -> Option<Element> {
    let mut list = Element::new("tickets");
    for t in &view.cluster.tickets {
        let status = if t.granted { "granted" } else { "revoked" };
        list.push(Element::new("ticket").with("id", &t.id).with("status", status).with("standby", yes(t.standby)));
    }
    unless_empty(list)
}

fn ban_list(options: &CrmMon, view: &View<'_>) -> Option<Element> {
    let prefix = options.neg_locations.as_deref().unwrap_or_default();
    let mut list = Element::new("bans");
    for e in bans(view.cib, prefix).filter(|e| view.only.resource(e.attr("rsc").unwrap_or_default())) {
        let attr = |name: &str| e.attr(name).unwrap_or_default();
        let weight = e.attr("score").and_then(base::Score::parse).unwrap_or_default().value();
        let only = yes(attr("role") == "Promoted");
        list.push(
            Element::new("ban")
                .with("id", attr("id"))
                .with("resource", attr("rsc"))
                .with("node", attr("node"))
                .with("weight", weight.to_string())
                .with("promoted-only", only)
                .with("master_only", only),
        );
    }
    unless_empty(list)
}

/// An element of our own, only where there is something to warn of.
fn warnings(view: &View<'_>) -> Option<Element> {
    let mut list = Element::new("warnings");
    view.warnings.iter().for_each(|text| list.push(Element::new("warning").with("text", text)));
    unless_empty(list)
}

fn unless_empty(list: Element) -> Option<Element> {
    if list.nodes().is_empty() { None } else { Some(list) }
}
