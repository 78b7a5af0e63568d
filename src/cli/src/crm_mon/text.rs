//! The status as text, in the form of Pacemaker 3.0.

pub use super::operations::threshold;
use super::operations::{failcounts, operations};
pub use super::words::{failed_action, failed_action_in_detail, status_words};
use super::{CrmMon, Section, View, bans, brief, elements, fencing, past, plural};
use crate::clock;
use base::WallTime;
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

fn summary(options: &CrmMon, view: &View<'_>) -> String {
    let cluster = &view.cluster;
    let state = if view.live { " (Pacemaker is running)" } else { "" };
    let mut out = format!("Cluster Summary:\n  * Stack: corosync{state}\n");
    let quorum = if cluster.quorate { "with quorum" } else { "WITHOUT quorum" };
    let _ = match &cluster.dc {
        Some(dc) => {
            let dc = display_name(options, view, dc);
            let mixed = if elements::is_mixed(view) { "MIXED-VERSION " } else { "" };
            writeln!(out, "  * Current DC: {dc} (version {}) - {mixed}partition {quorum}", dc_version(view))
        }
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

/// A node with its id, and a guest with the node that runs it, where details are asked for.
pub fn display_name(options: &CrmMon, view: &View<'_>, name: &str) -> String {
    let Some(node) = view.cluster.nodes.iter().find(|n| n.name == name).filter(|_| options.show_detail) else {
        return name.to_owned();
    };
    if let (NodeKind::Guest, Some(launcher)) = (node.kind, &node.launcher) {
        let host = crate::cluster::find(view.all_resources(), launcher).and_then(|r| r.active_on.first());
        return format!("{name}@{}", host.map_or("", String::as_str));
    }
    if node.id == node.name { name.to_owned() } else { format!("{name} ({})", node.id) }
}

fn nodes(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::new();
    let shown = view.cluster.nodes.iter().filter(|n| view.only.node(&n.name));
    let titles = ["Online", "OFFLINE", "RemoteOnline", "RemoteOFFLINE", "GuestOnline"];
    let mut plain: [Vec<String>; 5] = Default::default();
    for node in shown {
        let state = match (node_state(node), node.health) {
            (state, health) if health > 0 || !node.online => state.to_owned(),
            (state, 0) => format!("{state} (health is YELLOW)"),
            (state, _) => format!("{state} (health is RED)"),
        };
        let mut state = state;
        if let Some(set) = elements::feature_set(node).filter(|_| options.show_detail) {
            state = format!("{state}, feature set {set}");
        }
        let state = state.as_str();
        let name = display_name(options, view, &node.name);
        if options.group_by_node {
            node_resources(options, view, node, &format!("  * {} {name}: {state}:\n", kind_word(node)), &mut out);
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
    if out.is_empty() { out } else { format!("Node List:\n{out}") }
}

/// A node with what runs there.
fn node_resources(options: &CrmMon, view: &View<'_>, node: &Node, title: &str, out: &mut String) {
    if options.brief {
        let lines = brief::on_node(view, &node.name);
        if !lines.is_empty() {
            let _ = write!(out, "{title}    * Resources:\n{lines}");
        }
        return;
    }
    let _ = writeln!(out, "{title}    * Resources:");
    for r in super::elements::running(view, node) {
        // What connects a container is no resource of the operator's.
        if view.cluster.nodes.iter().any(|n| n.kind == NodeKind::Guest && n.name == r.name) {
            continue;
        }
        let alone = Resource { active_on: Vec::new(), id: r.name.clone(), ..r.clone() };
        let _ = writeln!(out, "      * {}", line(&alone, options, view, false));
    }
}

fn resources(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::new();
    let shown = |r: &&Resource| !(options.group_by_node && is_wholly_active(r));
    let plain =
        |r: &&Resource| options.brief && !options.group_by_node && matches!(r.kind, ResourceKind::Primitive { .. });
    let all: Vec<&Resource> = view.cluster.resources.iter().filter(shown).collect();
    let alike: Vec<&Resource> = all.iter().copied().filter(plain).collect();
    brief::lines(options, &alike, false, 1, &mut out);
    all.into_iter().filter(|r| !plain(r)).for_each(|r| resource(options, view, r, 1, &mut out));
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

/// Whether all of it is shown where it runs.
pub fn is_wholly_active(r: &Resource) -> bool {
    is_active(r) && r.children.iter().all(is_wholly_active)
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
            // Members that are not shown count as well.
            let whole = crate::cluster::find(view.all_resources(), &r.id).unwrap_or(r);
            let inactive = whole.children.iter().filter(|c| !is_active(c)).count();
            let flags = match inactive {
                n if n > 0 && !options.inactive => {
                    let plural = if n == 1 { "" } else { "s" };
                    let all = flags_of(r, [format!("{n} member{plural} inactive")]);
                    format!(" ({})", all.join(", "))
                }
                _ => flags,
            };
            let _ = writeln!(out, "{indent}* Resource Group: {}{flags}:", r.id);
            if options.brief {
                brief::lines(options, &r.children.iter().collect::<Vec<_>>(), true, level + 1, out);
            } else {
                r.children.iter().for_each(|c| resource_as(options, view, c, level + 1, numbered || unique, out));
            }
        }
        ResourceKind::Clone { promotable, child, .. } => {
            let mut notes = flags_of_clone(r, *promotable, unique);
            if !notes.is_empty() {
                notes = format!(" ({notes})");
            }
            let _ = writeln!(out, "{indent}* Clone Set: {} [{child}]{notes}:", r.id);
            match options.show_detail || unique {
                true => r.children.iter().for_each(|c| match c.kind {
                    // Every instance is a detail, also one that runs nowhere.
                    ResourceKind::Primitive { .. } if options.show_detail => {
                        let _ = writeln!(out, "{indent}  * {}", line(c, options, view, numbered || unique));
                    }
                    _ => resource_as(options, view, c, level + 1, numbered || unique, out),
                }),
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
            if options.show_detail || view.only.is_part_of(r) {
                return replica_parts(options, view, r, level + 1, numbered, out);
            }
            for (replica, parts) in replicas_of(r, replicas) {
                let Some(shown) = parts.get(replica.shown) else { continue };
                let (id, active_on) = (replica.title.clone(), replica.node.iter().cloned().collect());
                let shown = Resource { name: id.clone(), id, active_on, ..shown.clone() };
                let _ = writeln!(out, "{indent}  * {}", line(&shown, options, view, numbered));
            }
        }
    }
}

/// Every part of every replica; those of the only one without a title.
fn replica_parts(options: &CrmMon, view: &View<'_>, r: &Resource, level: usize, numbered: bool, out: &mut String) {
    let ResourceKind::Bundle { replicas, .. } = &r.kind else { return };
    let indent = "  ".repeat(level);
    for (number, (_, parts)) in replicas_of(r, replicas).enumerate().filter(|(_, (_, parts))| !parts.is_empty()) {
        if replicas.len() > 1 {
            let _ = writeln!(out, "{indent}* Replica[{number}]");
        }
        for part in parts {
            let _ = writeln!(out, "{indent}  * {}", line(part, options, view, numbered));
        }
    }
}

/// Flags, with others before them.
fn flags_of(r: &Resource, before: impl IntoIterator<Item = String>) -> Vec<String> {
    before.into_iter().chain(flags(r)).collect()
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
        let special = child.failed || pending_role(child).is_some() || child.blocked || is_left_alone(child);
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
    let in_bundle = |n: &Node| {
        n.launcher.as_ref().is_some_and(|launcher| {
            let bundles = view.all_resources().iter().filter(|r| matches!(r.kind, ResourceKind::Bundle { .. }));
            bundles.into_iter().any(|b| crate::cluster::find(&b.children, launcher).is_some())
        })
    };
    let idle =
        view.cluster.nodes.iter().filter(|n| !busy.contains(&&n.name) && !in_bundle(n) && view.only.node(&n.name));
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

/// Whether the cluster does not care for it, or for a part of it.
fn is_left_alone(r: &Resource) -> bool {
    is_active(r) && (!r.managed || r.maintenance) || r.children.iter().any(is_left_alone)
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
    let name = if numbered { &r.id } else { &r.name };
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
            if let Some(words) = view.failed_probe(r).filter(|_| role <= Role::Stopped) {
                let _ = write!(out, " ({words})");
            }
        }
    }
    match r.active_on.as_slice() {
        [] => r.pending_on.iter().for_each(|node| {
            let _ = write!(out, " {node}");
        }),
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
    let described = options.show_description || options.show_detail || options.include.iter().any(|i| i == "all");
    if let (true, Some(description)) = (described, &r.description) {
        let _ = write!(out, " ({description})");
    }
    out
}

pub fn shown_nodes<'a>(view: &'a View<'_>) -> impl Iterator<Item = &'a Node> {
    view.cluster.nodes.iter().filter(|n| n.online && view.only.node(&n.name))
}

fn attributes(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Node Attributes:\n");
    let empty = out.len();
    for node in shown_nodes(view).filter(|n| visible_attributes(n).next().is_some()) {
        let _ = writeln!(out, "  * Node: {}:", display_name(options, view, &node.name));
        for (name, value) in visible_attributes(node) {
            let (expected, found) = (past::expected(view, node, name).unwrap_or(0), value.parse().unwrap_or(0));
            let note = match expected {
                e if e > 0 && found <= 0 => "\t: Connectivity is lost".to_owned(),
                e if found < e => format!("\t: Connectivity is degraded (Expected={e})"),
                _ => String::new(),
            };
            let _ = writeln!(out, "    * {name:<32}\t: {value:<10}{note}");
        }
    }
    if out.len() == empty { String::new() } else { out }
}

/// Those that an operator set; not what the cluster keeps for itself.
pub fn visible_attributes(node: &Node) -> impl Iterator<Item = (&str, &str)> {
    let own = ["standby", "shutdown", "probe_complete", "terminate"];
    let is_own = move |name: &str| {
        own.contains(&name) || ["#", "fail-count-", "last-failure-"].iter().any(|stem| name.starts_with(stem))
    };
    let visible = node.attributes.iter().filter(move |(name, _)| !is_own(name));
    visible.map(|(name, value)| (name.as_str(), base::secret::shown(name, value)))
}

fn failures(options: &CrmMon, view: &View<'_>) -> String {
    if view.failures().next().is_none() {
        return String::new();
    }
    let mut out = String::from("Failed Resource Actions:\n");
    for failure in view.failures() {
        let words = if options.show_detail { failed_action_in_detail } else { failed_action };
        let _ = writeln!(out, "  * {}", words(failure));
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
    for e in bans(view.cib, prefix).filter(|e| view.only.resource(e.attr("rsc").unwrap_or_default())) {
        let attr = |name: &str| e.attr(name).unwrap_or_default();
        let role = if attr("role") == "Promoted" { " (as Promoted role)" } else { "" };
        let _ = writeln!(
            out,
            "  * {}\tprevents {} from running{role} on {}",
            attr("id"),
            attr("rsc"),
            display_name(options, view, attr("node"))
        );
    }
    if out.len() == empty { String::new() } else { out }
}
