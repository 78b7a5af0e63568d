//! The status as text, in the form of Pacemaker 3.0.

pub use super::words::{failed_action, status_words};
use super::{CrmMon, Section, View, bans, fencing, plural};
use crate::clock;
use crate::cluster::Operation;
use base::WallTime;
use base::exit::OcfCode;
use scheduler::status::{Node, NodeKind, Replica, Resource, ResourceKind, Role};
use std::fmt::Write;

pub fn render(options: &CrmMon, view: &View<'_>) -> String {
    type Renderer = fn(&CrmMon, &View<'_>) -> String;
    let sections: [(&[Section], Renderer); 12] = [
        (&[Section::Summary], summary),
        (&[Section::Nodes], nodes),
        (&[Section::Resources], resources),
        (&[Section::Attributes], attributes),
        (&[Section::Operations], operations),
        (&[Section::Failcounts], failcounts),
        (&[Section::Failures], failures),
        (&[Section::FencingFailed], fencing::failed),
        (&[Section::Tickets], tickets),
        (&[Section::Bans], ban_list),
        (&[Section::FencingPending, Section::FencingSucceeded], fencing::others),
        (&[Section::Warnings], |_, view| warnings(view)),
    ];
    let shown =
        sections.iter().filter(|(s, _)| s.iter().any(|s| options.shows(*s))).map(|(_, render)| render(options, view));
    shown.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What the node warns of; nothing where all is well.
fn warnings(view: &View<'_>) -> String {
    if view.warnings.is_empty() {
        return String::new();
    }
    view.warnings.iter().fold("Warnings:\n".to_owned(), |text, warning| format!("{text}  * {warning}\n"))
}

/// Version that the coordinator recorded.
pub fn dc_version(view: &View<'_>) -> String {
    view.cluster.options.get("dc-version").cloned().unwrap_or_else(|| "unknown".to_owned())
}

fn summary(_: &CrmMon, view: &View<'_>) -> String {
    let cluster = &view.cluster;
    let mut out = String::from("Cluster Summary:\n  * Stack: corosync (Pacemaker is running)\n");
    let quorum = if cluster.quorate { "with quorum" } else { "WITHOUT quorum" };
    let _ = match &cluster.dc {
        Some(dc) => writeln!(out, "  * Current DC: {dc} (version {}) - partition {quorum}", dc_version(view)),
        None => writeln!(out, "  * Current DC: NONE"),
    };
    let _ = writeln!(out, "  * Last updated: {} on {}", clock::ctime(view.now), crate::source::host_name());
    let _ = writeln!(out, "  * Last change:  {}", last_change(view));
    let _ = writeln!(out, "  * {} node{} configured", cluster.nodes.len(), plural(cluster.nodes.len()));
    let mut notes = Vec::new();
    if cluster.disabled > 0 {
        notes.push(format!("{} DISABLED", cluster.disabled));
    }
    if cluster.blocked > 0 {
        notes.push(format!("{} BLOCKED from further action due to failure", cluster.blocked));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    let _ = writeln!(out, "  * {} resource instance{} configured{notes}", cluster.instances, plural(cluster.instances));
    if cluster.maintenance_mode {
        out.push_str("\n              *** Resource management is DISABLED ***\n  The cluster will not attempt to start, stop or recover services\n");
    } else if cluster.stop_all_resources {
        out.push_str(
            "\n    *** Resource management: STOP ALL RESOURCES ***\n  The cluster will keep all resources stopped\n",
        );
    }
    out
}

fn last_change(view: &View<'_>) -> String {
    let attr = |name: &str| view.cib.attr(name);
    let mut text = attr("cib-last-written").unwrap_or("unknown").to_owned();
    for (word, name) in [("by", "update-user"), ("via", "update-client"), ("on", "update-origin")] {
        if let Some(value) = attr(name).filter(|v| !v.is_empty()) {
            let _ = write!(text, " {word} {value}");
        }
    }
    text
}

/// `online`, `OFFLINE`, `standby`, …
pub fn node_state(node: &Node) -> &'static str {
    match node {
        Node { unclean: true, online: true, .. } => "UNCLEAN (online)",
        Node { unclean: true, pending: true, .. } => "UNCLEAN (pending)",
        Node { unclean: true, .. } => "UNCLEAN (offline)",
        Node { pending: true, .. } => "pending",
        Node { standby_on_fail: true, online: true, .. } => "standby (on-fail)",
        Node { standby: true, online: true, running, .. } if !running.is_empty() => "standby (with active resources)",
        Node { standby: true, online: true, .. } => "standby",
        Node { standby: true, .. } => "OFFLINE (standby)",
        Node { maintenance: true, online: true, .. } => "maintenance",
        Node { maintenance: true, .. } => "OFFLINE (maintenance)",
        Node { online: true, .. } => "online",
        _ => "OFFLINE",
    }
}

fn kind_word(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Cluster => "Node",
        NodeKind::Remote => "RemoteNode",
        NodeKind::Guest => "GuestNode",
    }
}

fn nodes(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Node List:\n");
    let shown =
        view.cluster.nodes.iter().filter(|n| options.node.as_ref().is_none_or(|w| base::ids::same_node(w, &n.name)));
    let titles = ["Online", "OFFLINE", "RemoteOnline", "RemoteOFFLINE", "GuestOnline"];
    let mut plain: [Vec<String>; 5] = Default::default();
    for node in shown {
        let state = match (node_state(node), node.health) {
            (state, health) if health > 0 || !node.online => state.to_owned(),
            (state, 0) => format!("{state} (health is YELLOW)"),
            (state, _) => format!("{state} (health is RED)"),
        };
        let state = state.as_str();
        let name = if options.show_detail { format!("{} ({})", node.name, node.id) } else { node.name.clone() };
        if options.group_by_node {
            let _ = writeln!(out, "  * {} {name}: {state}:", kind_word(node));
            node_resources(options, view, node, &mut out);
        } else if options.show_detail || !["online", "OFFLINE"].contains(&state) {
            let _ = writeln!(out, "  * {} {name}: {state}", kind_word(node));
        } else {
            let list = match (node.kind, node.online) {
                (NodeKind::Cluster, true) => 0,
                (NodeKind::Cluster, false) => 1,
                (NodeKind::Remote, true) => 2,
                (NodeKind::Remote, false) => 3,
                (NodeKind::Guest, true) => 4,
                // A guest that is off is the resource that runs it, and shown as such.
                (NodeKind::Guest, false) => continue,
            };
            plain[list].push(name);
        }
    }
    for (word, names) in titles.into_iter().zip(plain) {
        if !names.is_empty() {
            let _ = writeln!(out, "  * {word}: [ {} ]", names.join(" "));
        }
    }
    out
}

fn node_resources(options: &CrmMon, view: &View<'_>, node: &Node, out: &mut String) {
    let mut lines = Vec::new();
    for r in &view.cluster.resources {
        on_node(options, view, r, &node.name, &mut lines);
    }
    if !lines.is_empty() {
        out.push_str("    * Resources:\n");
        out.extend(lines.iter().map(|line| format!("      * {line}\n")));
    }
}

fn on_node(options: &CrmMon, view: &View<'_>, r: &Resource, node: &str, lines: &mut Vec<String>) {
    match r.kind {
        ResourceKind::Primitive { .. } if r.active_on.iter().any(|n| n == node) => {
            let alone = Resource { active_on: Vec::new(), id: r.name.clone(), ..r.clone() };
            lines.push(line(&alone, options, view, false));
        }
        _ => r.children.iter().for_each(|c| on_node(options, view, c, node, lines)),
    }
}

fn resources(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::new();
    let wanted = |r: &Resource| {
        options
            .resource
            .as_ref()
            .is_none_or(|w| r.name == *w || r.id == *w || crate::cluster::find(&r.children, w).is_some())
    };
    for r in view.cluster.resources.iter().filter(|r| wanted(r)) {
        if options.group_by_node && is_active(r) {
            continue;
        }
        resource(options, view, r, 1, &mut out);
    }
    let title = match (options.inactive, options.group_by_node) {
        (true, true) => "Inactive Resources",
        (true, false) => "Full List of Resources",
        (false, true) => return String::new(),
        (false, false) => "Active Resources",
    };
    if out.is_empty() {
        let none = match options.inactive {
            true if options.group_by_node => return String::new(),
            true => "  * No resources\n",
            false => "  * No active resources\n",
        };
        out.push_str(none);
    }
    format!("{title}:\n{out}")
}

fn is_active(r: &Resource) -> bool {
    !r.active_on.is_empty()
}

/// One resource with all below it, as `crm_mon` and `crm_resource` list it.
pub fn resource(options: &CrmMon, view: &View<'_>, r: &Resource, level: usize, out: &mut String) {
    resource_as(options, view, r, level, false, out);
}

fn resource_as(options: &CrmMon, view: &View<'_>, r: &Resource, level: usize, numbered: bool, out: &mut String) {
    if !options.inactive && !is_active(r) {
        return;
    }
    let indent = "  ".repeat(level);
    let unique = matches!(r.kind, ResourceKind::Clone { unique: true, .. });
    let flags = match flags(r) {
        f if f.is_empty() => String::new(),
        f => format!(" ({})", f.join(", ")),
    };
    match &r.kind {
        ResourceKind::Primitive { .. } => {
            let _ = writeln!(out, "{indent}* {}", line(r, options, view, numbered));
        }
        ResourceKind::Group => {
            let _ = writeln!(out, "{indent}* Resource Group: {}{flags}:", r.id);
            r.children.iter().for_each(|c| resource_as(options, view, c, level + 1, numbered || unique, out));
        }
        ResourceKind::Clone { promotable, child, .. } => {
            let mut notes = flags_of_clone(r, *promotable, unique);
            if !notes.is_empty() {
                notes = format!(" ({notes})");
            }
            let _ = writeln!(out, "{indent}* Clone Set: {} [{child}]{notes}:", r.id);
            match options.show_detail || unique {
                true => {
                    r.children.iter().for_each(|c| resource_as(options, view, c, level + 1, numbered || unique, out))
                }
                false => clone_summary(options, view, r, level + 1, out),
            }
        }
        ResourceKind::Bundle { image, unique, replicas, .. } => {
            let set = if replicas.len() > 1 { " set" } else { "" };
            let unique = if *unique { " (unique)" } else { "" };
            let managed = match (r.maintenance, r.managed) {
                (true, _) => " (maintenance)",
                (_, false) => " (unmanaged)",
                _ => "",
            };
            let _ = writeln!(out, "{indent}* Container bundle{set}: {} [{image}]{unique}{managed}:", r.id);
            for (replica, parts) in replicas_of(r, replicas) {
                let Some(shown) = parts.get(replica.shown) else { continue };
                let (id, active_on) = (replica.title.clone(), replica.node.iter().cloned().collect());
                let shown = Resource { name: id.clone(), id, active_on, ..shown.clone() };
                let _ = writeln!(out, "{indent}  * {}", line(&shown, options, view, numbered));
            }
        }
    }
}

/// The replicas of a bundle, each with its parts.
pub fn replicas_of<'a>(
    bundle: &'a Resource,
    replicas: &'a [Replica],
) -> impl Iterator<Item = (&'a Replica, &'a [Resource])> {
    let mut rest = &bundle.children[..];
    replicas.iter().map(move |replica| {
        let (parts, others) = rest.split_at(replica.parts.min(rest.len()));
        rest = others;
        (replica, parts)
    })
}

fn flags_of_clone(r: &Resource, promotable: bool, unique: bool) -> String {
    let mut words: Vec<String> = Vec::new();
    if promotable {
        words.push("promotable".to_owned());
    }
    if unique {
        words.push("unique".to_owned());
    }
    words.extend(flags(r));
    words.join(", ")
}

/// Instances in their plain states by name of the node; whatever is special on its own line.
fn clone_summary(options: &CrmMon, view: &View<'_>, r: &Resource, level: usize, out: &mut String) {
    let indent = "  ".repeat(level);
    let (mut started, mut promoted, mut unpromoted) = (Vec::new(), Vec::new(), Vec::new());
    for child in &r.children {
        let special = child.failed || pending_role(child).is_some() || child.blocked || (!child.managed && r.managed);
        let special = special || child.active_on.iter().any(|n| is_unclean(view, n));
        let partly = !child.children.is_empty() && child.children.iter().any(|m| !is_active(m) && is_active(child));
        if special || partly {
            resource(options, view, child, level, out);
            continue;
        }
        let names = match child.role {
            Role::Promoted => &mut promoted,
            Role::Unpromoted => &mut unpromoted,
            Role::Started => &mut started,
            _ => continue,
        };
        names.extend(child.active_on.iter().cloned());
    }
    let busy: Vec<&String> = r.children.iter().flat_map(|c| &c.active_on).collect();
    let idle = view.cluster.nodes.iter().filter(|n| !busy.contains(&&n.name));
    let mut stopped: Vec<String> = idle.map(|n| n.name.clone()).collect();
    let free = r.children.iter().filter(|c| !is_active(c)).count();
    stopped.truncate(free);
    let word = if r.disabled { "Stopped (disabled)" } else { "Stopped" };
    let stopped = if options.inactive { stopped } else { Vec::new() };
    for (word, mut names) in [("Promoted", promoted), ("Unpromoted", unpromoted), ("Started", started), (word, stopped)]
    {
        if !names.is_empty() {
            names.sort_by_key(|n| crate::cluster::natural(n));
            let _ = writeln!(out, "{indent}* {word}: [ {} ]", names.join(" "));
        }
    }
}

/// `ocf:heartbeat:IPaddr2`.
pub fn agent(r: &Resource) -> String {
    match &r.kind {
        ResourceKind::Primitive { class, provider: Some(provider), agent } => format!("{class}:{provider}:{agent}"),
        ResourceKind::Primitive { class, provider: None, agent } => format!("{class}:{agent}"),
        _ => String::new(),
    }
}

fn is_unclean(view: &View<'_>, node: &str) -> bool {
    view.cluster.nodes.iter().any(|n| n.name == node && n.unclean && !n.online)
}

fn flags(r: &Resource) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(node) = &r.locked_to {
        words.push(format!("LOCKED {node}"));
    }
    if r.pending.as_deref() == Some("monitor") {
        words.push("Monitoring".to_owned());
    }
    for (is, word) in [
        (r.disabled, "disabled"),
        (r.blocked, "blocked"),
        (r.maintenance, "maintenance"),
        (!r.managed && !r.maintenance, "unmanaged"),
        (r.failure_ignored, "failure ignored"),
    ] {
        if is {
            words.push(word.to_owned());
        }
    }
    words
}

/// What is being done with a resource, in place of its role.
pub fn pending_role(r: &Resource) -> Option<&'static str> {
    match r.pending.as_deref()? {
        "start" => Some("Starting"),
        "stop" => Some("Stopping"),
        "promote" => Some("Promoting"),
        "demote" => Some("Demoting"),
        "migrate_to" | "migrate_from" => Some("Migrating"),
        _ => None,
    }
}

/// Name, agent, state and place, with tabs where the original has them.
pub fn line(r: &Resource, options: &CrmMon, view: &View<'_>, numbered: bool) -> String {
    let name = if options.show_detail || numbered { &r.id } else { &r.name };
    let mut out = format!("{name}\t({}):\t", agent(r));
    if r.removed {
        out.push_str(" ORPHANED");
    }
    match (r.failed, r.role) {
        (true, role) if role > Role::Started => {
            let _ = write!(out, " FAILED {}", role.text());
        }
        (true, _) => out.push_str(" FAILED"),
        (false, _) if pending_role(r).is_some() => {
            let _ = write!(out, " {}", pending_role(r).unwrap_or_default());
        }
        (false, role) => {
            let _ = write!(out, " {}", role.text());
        }
    }
    match r.active_on.as_slice() {
        [] => {}
        [one] => {
            let _ = write!(out, " {one}");
        }
        many => {
            let _ = write!(out, " [ {} ]", many.join(" "));
        }
    }
    let mut flags = flags(r);
    if r.active_on.iter().any(|n| is_unclean(view, n)) {
        flags.insert(0, "UNCLEAN".to_owned());
    }
    if !flags.is_empty() {
        let _ = write!(out, " ({})", flags.join(", "));
    }
    if let (true, Some(description)) = (options.show_description, &r.description) {
        let _ = write!(out, " ({description})");
    }
    out
}

fn shown_nodes<'a>(options: &'a CrmMon, view: &'a View<'_>) -> impl Iterator<Item = &'a Node> {
    view.cluster
        .nodes
        .iter()
        .filter(move |n| n.online && options.node.as_ref().is_none_or(|w| base::ids::same_node(w, &n.name)))
}

fn attributes(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Node Attributes:\n");
    let empty = out.len();
    for node in shown_nodes(options, view).filter(|n| visible_attributes(n).next().is_some()) {
        let _ = writeln!(out, "  * Node: {}:", node.name);
        for (name, value) in visible_attributes(node) {
            let _ = writeln!(out, "    * {name:<32}\t: {value:<10}");
        }
    }
    if out.len() == empty { String::new() } else { out }
}

/// Those that an operator set; not what the cluster keeps for itself.
pub fn visible_attributes(node: &Node) -> impl Iterator<Item = (&str, &str)> {
    let own = ["standby", "shutdown", "probe_complete", "terminate", "maintenance"];
    let is_own = move |name: &str| {
        own.contains(&name) || ["#", "fail-count-", "last-failure-"].iter().any(|stem| name.starts_with(stem))
    };
    let visible = node.attributes.iter().filter(move |(name, _)| !is_own(name));
    visible.map(|(name, value)| (name.as_str(), base::secret::shown(name, value)))
}

/// `rsc: migration-threshold=3 fail-count=1 last-failure='…'`.
fn fail_line(view: &View<'_>, node: &Node, resource: &str) -> String {
    let mut out = format!("{resource}: migration-threshold={}", threshold(view, resource));
    let plain = resource.split(':').next().unwrap_or(resource);
    if let Some(count) = node.fail_counts.get(plain).filter(|c| **c != 0) {
        let _ = write!(out, " fail-count={}", base::Score::from(*count));
        if let Some(at) = last_failure(view, node, plain) {
            let _ = write!(out, " last-failure='{}'", clock::ctime(WallTime::from_secs(at)));
        }
    }
    out
}

pub fn threshold(view: &View<'_>, resource: &str) -> String {
    let plain = resource.split(':').next().unwrap_or(resource);
    let element = view.cib.child("configuration").and_then(|c| c.child("resources")).and_then(|r| r.find_id(plain));
    let index = cib::config::Index::new(view.cib);
    let own = element.map(|e| cib::config::values(e, "meta_attributes", &index)).unwrap_or_default();
    let defaults = view.cib.child("configuration").and_then(|c| c.child("rsc_defaults"));
    let defaults = defaults.map(|d| cib::config::values(d, "meta_attributes", &index)).unwrap_or_default();
    let text = own.get("migration-threshold").or(defaults.get("migration-threshold"));
    text.and_then(|t| base::Score::parse(t)).unwrap_or(base::Score::INFINITY).value().to_string()
}

fn last_failure(view: &View<'_>, node: &Node, resource: &str) -> Option<i64> {
    let failures = view.cluster.failures.iter().filter(|f| f.node == node.name && f.resource == resource);
    failures.filter_map(|f| f.last_change).max()
}

fn operations(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Operations:\n");
    for node in shown_nodes(options, view) {
        let of_node: Vec<&Operation> = view.operations.iter().filter(|o| o.node == node.name && !o.pending()).collect();
        if of_node.is_empty() {
            continue;
        }
        let _ = writeln!(out, "  * Node: {}:", node.name);
        let mut last = "";
        for op in of_node {
            if op.resource != last {
                let _ = writeln!(out, "    * {}:", fail_line(view, node, &op.resource));
                last = &op.resource;
            }
            let _ = writeln!(out, "      * {}", operation(options, op));
        }
    }
    out
}

fn operation(options: &CrmMon, op: &Operation) -> String {
    let task = if op.task == "monitor" && op.interval_ms == 0 { "probe" } else { &op.task };
    let mut out = format!("({}) {task}", op.call_id);
    if op.interval_ms > 0 {
        let _ = write!(out, ": interval=\"{}ms\"", op.interval_ms);
    }
    if options.timing_details {
        if op.interval_ms == 0 {
            out.push(':');
        }
        if let Some(at) = op.last_change {
            let _ = write!(out, " last-rc-change=\"{}\"", clock::ctime(WallTime::from_secs(at)));
        }
        let _ = write!(out, " exec-time=\"{}ms\"", op.exec_ms);
    }
    if options.timing_details || op.rc != 0 {
        let colon = if options.timing_details || op.interval_ms > 0 { "" } else { ":" };
        let _ = write!(out, "{colon} rc={} ({})", op.rc, OcfCode(op.rc));
    }
    out
}

fn failcounts(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Migration Summary:\n");
    let empty = out.len();
    for node in shown_nodes(options, view) {
        let failed: Vec<&String> = node.fail_counts.iter().filter(|(_, c)| **c != 0).map(|(r, _)| r).collect();
        if failed.is_empty() {
            continue;
        }
        let _ = writeln!(out, "  * Node: {}:", node.name);
        for resource in failed {
            let _ = writeln!(out, "    * {}", fail_line(view, node, resource));
        }
    }
    if out.len() == empty { String::new() } else { out }
}

fn failures(_: &CrmMon, view: &View<'_>) -> String {
    if view.cluster.failures.is_empty() {
        return String::new();
    }
    let mut out = String::from("Failed Resource Actions:\n");
    for failure in &view.cluster.failures {
        let _ = writeln!(out, "  * {}", failed_action(failure));
    }
    out
}

fn tickets(_: &CrmMon, view: &View<'_>) -> String {
    if view.cluster.tickets.is_empty() {
        return String::new();
    }
    let mut out = String::from("Tickets:\n");
    for t in &view.cluster.tickets {
        let state = if t.granted { "granted" } else { "revoked" };
        let standby = if t.standby { " [standby]" } else { "" };
        let last = t
            .last_granted
            .map(|at| format!(" last-granted='{}'", clock::ctime(WallTime::from_secs(at))))
            .unwrap_or_default();
        let _ = writeln!(out, "  * {}\t{state}{standby}{last}", t.id);
    }
    out
}

fn ban_list(options: &CrmMon, view: &View<'_>) -> String {
    let prefix = options.neg_locations.as_deref().unwrap_or_default();
    let mut out = String::from("Negative Location Constraints:\n");
    let empty = out.len();
    for e in bans(view.cib, prefix) {
        let attr = |name: &str| e.attr(name).unwrap_or_default();
        let role = if attr("role") == "Promoted" { " (as Promoted role)" } else { "" };
        let _ = writeln!(out, "  * {}\tprevents {} from running{role} on {}", attr("id"), attr("rsc"), attr("node"));
    }
    if out.len() == empty { String::new() } else { out }
}
