//! What `crm_resource` shows.

use crate::cluster::Operation;
use crate::crm_mon::text::{self, status_words};
use crate::crm_mon::{CrmMon, View};
use crate::source::Failure;
use base::agent::MetadataQuery;
use base::exit::crm;
use scheduler::status::{Resource, ResourceKind, Role};
use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use xml::Element;

pub fn list(view: &View<'_>) -> String {
    let options = CrmMon { inactive: true, ..CrmMon::default() };
    let mut out = String::new();
    view.cluster.resources.iter().for_each(|r| text::resource(&options, view, r, 1, &mut out));
    if out.is_empty() { "No resources configured\n".to_owned() } else { format!("Full List of Resources:\n{out}") }
}

pub fn elements(view: &View<'_>) -> Vec<Element> {
    let mut list = Element::new("resources");
    view.cluster.resources.iter().for_each(|r| list.push(crate::crm_mon::elements::resource(view, r)));
    vec![list]
}

pub fn raw(resources: &[Resource]) -> String {
    let line = |r: &Resource| match r.kind {
        ResourceKind::Primitive { .. } => format!("{}\n", r.id),
        _ => raw(&r.children),
    };
    resources.iter().map(line).collect()
}

/// Where the instances run that `id` names: all of a clone, of its primitive, or one.
pub fn locate(view: &View<'_>, id: &str) -> (String, Element) {
    let mut instances = Vec::new();
    collect(&view.cluster.resources, id, false, &mut instances);
    let mut places: Vec<(&String, bool)> = Vec::new();
    for r in instances {
        places.extend(r.active_on.iter().map(|node| (node, r.role == Role::Promoted)));
    }
    places.sort();
    places.dedup();
    let mut out = String::new();
    let mut element = Element::new("nodes").with("resource", id);
    for (node, promoted) in places {
        let suffix = if promoted { " Promoted" } else { "" };
        let _ = writeln!(out, "resource {id} is running on: {node}{suffix}");
        let mut e = Element::new("node");
        if promoted {
            e.set("state", "promoted");
        }
        e.nodes_mut().push(xml::Node::Text(node.clone()));
        element.push(e);
    }
    if out.is_empty() {
        let _ = writeln!(out, "resource {id} is NOT running");
    }
    (out, element)
}

/// The primitives at or below what is called `id`.
fn collect<'a>(resources: &'a [Resource], id: &str, within: bool, out: &mut Vec<&'a Resource>) {
    for r in resources {
        let meant = within || r.id == id || r.name == id;
        match r.kind {
            ResourceKind::Primitive { .. } if meant => out.push(r),
            _ => collect(&r.children, id, meant, out),
        }
    }
}

/// The operations of a resource on a node: the last ones, or all.
pub fn operations(view: &View<'_>, resource: Option<&str>, node: Option<&str>, all: bool) -> (String, Element) {
    let (mut out, mut list) = (String::new(), Element::new("operations"));
    let concerns = |id: &str| resource.is_none_or(|r| id == r || id.split(':').next() == Some(r));
    let concerned: Vec<&Operation> = view
        .operations
        .iter()
        .filter(|o| concerns(&o.resource) && node.is_none_or(|n| base::ids::same_node(&o.node, n)))
        .collect();
    let one = |a: &&Operation, b: &&Operation| (&a.node, &a.resource) == (&b.node, &b.resource);
    let histories = concerned.chunk_by(one);
    for op in histories.flat_map(|history| if all { history } else { crate::cluster::since_start(history) }) {
        let found = crate::cluster::find(&view.cluster.resources, op.resource.split(':').next().unwrap_or_default());
        let agent = found.map(text::agent).unwrap_or_default();
        let role = found.map_or("Unknown", |r| r.role.text());
        let state = if op.pending() { "Pending" } else { status_words(op.status) };
        let _ = writeln!(
            out,
            "{}\t({agent}):\t {role}: {} (node={}, call={}, rc={}, exec={}ms): {state}",
            op.resource, op.key, op.node, op.call_id, op.rc, op.exec_ms
        );
        // A class without providers has an empty one in XML.
        let agent = if agent.matches(':').count() == 1 { agent.replace(':', "::") } else { agent };
        let e = Element::new("operation").with("op", &op.key).with("node", &op.node);
        let e = e.with("call", op.call_id.to_string()).with("rc", op.rc.to_string()).with("status", state);
        list.push(e.with("rsc", &op.resource).with("agent", agent).with("exec-time", op.exec_ms.to_string()));
    }
    (out, list)
}

/// Reasons that the configuration and the status give.
pub fn why(view: &View<'_>, r: &Resource) -> String {
    let mut out = String::new();
    match r.active_on.as_slice() {
        [] => {
            let _ = writeln!(out, "Resource {} is not running", r.name);
        }
        nodes => {
            let _ = writeln!(out, "Resource {} is running on host {}", r.name, nodes.join(", "));
        }
    }
    let online = view.cluster.nodes.iter().filter(|n| n.online && !n.standby && !n.maintenance).count();
    for (is, reason) in [
        (r.disabled, "configuration specifies that it should stay stopped (target-role)"),
        (!r.managed, "the cluster does not manage it (is-managed or maintenance)"),
        (view.cluster.stop_all_resources, "all resources are to be stopped (stop-all-resources)"),
        (!view.cluster.quorate, "this partition has no quorum"),
        (online == 0, "no node is online and out of standby"),
        (!r.children.is_empty() && r.children.iter().any(|c| c.disabled), "one of its members is to stay stopped"),
    ] {
        if is {
            let _ = writeln!(out, "  * {reason}");
        }
    }
    for node in &view.cluster.nodes {
        if let Some(count) = node.fail_counts.get(&r.name).filter(|c| **c != 0) {
            let threshold = text::threshold(view, &r.name);
            let _ = writeln!(
                out,
                "  * it has failed {} times on {} (migration-threshold={threshold})",
                base::Score::from(*count),
                node.name
            );
        }
    }
    let failures = view.cluster.failures.iter().filter(|f| f.resource == r.name);
    out.extend(failures.map(|f| format!("  * {}\n", text::failed_action(f))));
    out + &super::stack::show(view, &r.name, false).text
}

/// [`why`] for programs: what keeps it from running (on a node).
pub fn reason(view: &View<'_>, r: &Resource, node: Option<&str>) -> Element {
    let unhealthy = node.and_then(|n| view.cluster.nodes.iter().find(|k| k.name == n)).filter(|n| n.health < 0);
    let mut check = Element::new("check").with("id", &r.name);
    for (is, name) in [
        (r.disabled, "remain_stopped"),
        (!r.managed, "unmanaged"),
        (r.locked_to.is_some(), "locked-to"),
        (unhealthy.is_some(), "unhealthy"),
    ] {
        if is {
            check.set(name, "true");
        }
    }
    let mut reason = Element::new("reason");
    if node.is_none() {
        reason.set("running", if r.active_on.is_empty() { "false" } else { "true" });
    }
    reason.with_child(check)
}

/// Where OCF agents find their own files.
pub fn ocf_root_dir() -> PathBuf {
    std::env::var_os("OCF_ROOT").map_or_else(|| PathBuf::from("/usr/lib/ocf"), PathBuf::from)
}

fn ocf_root() -> PathBuf {
    ocf_root_dir().join("resource.d")
}

fn names_in(dir: &Path, directories: bool) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let fits = |p: &Path| if directories { p.is_dir() } else { p.is_file() };
    let named = entries.filter(|e| fits(&e.path())).map(|e| e.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = named.filter(|n| !n.starts_with('.')).collect();
    names.sort();
    names
}

fn lines(names: Vec<String>) -> String {
    names.into_iter().map(|n| n + "\n").collect()
}

pub fn standards() -> String {
    "lsb\nocf\nservice\nstonith\nsystemd\n".to_owned()
}

pub fn ocf_providers() -> String {
    let mut names = names_in(&ocf_root(), true);
    names.extend(natives().into_iter().map(|(provider, _)| provider));
    names.sort();
    names.dedup();
    lines(names)
}

/// Provider and name of the agents that run inside the daemon.
fn natives() -> Vec<(String, String)> {
    let split = |name: String| {
        let (provider, agent) = name.strip_prefix("ocf:")?.split_once(':')?;
        Some((provider.to_owned(), agent.to_owned()))
    };
    crate::agents::native_names().into_iter().filter_map(split).collect()
}

/// Every OCF agent by its full name.
pub fn all_ocf() -> String {
    let of = |provider: &str| {
        let agents = agents(&format!("ocf:{provider}")).unwrap_or_default();
        agents.lines().map(|agent| format!("ocf:{provider}:{agent}\n")).collect::<String>()
    };
    ocf_providers().lines().map(of).collect()
}

pub fn agents(spec: &str) -> Result<String, Failure> {
    let (standard, provider) = spec.split_once(':').map_or((spec, None), |(s, p)| (s, Some(p)));
    let names = match (standard, provider) {
        ("ocf", provider) => {
            let mut names = match provider {
                Some(provider) => names_in(&ocf_root().join(provider), false),
                None => names_in(&ocf_root(), true).iter().flat_map(|p| names_in(&ocf_root().join(p), false)).collect(),
            };
            let own = natives().into_iter().filter(|(of, _)| provider.is_none_or(|p| p == of));
            names.extend(own.map(|(_, agent)| agent));
            if names.is_empty() {
                let text = format!("No agents found for standard={spec}");
                return Err(Failure::new(crm::NOSUCH, text));
            }
            names
        }
        ("lsb", None) => names_in(Path::new("/etc/init.d"), false),
        ("stonith", None) => {
            names_in(&crate::fence_agent::directory(), false).into_iter().filter(|n| n.starts_with("fence_")).collect()
        }
        ("systemd" | "service", None) => ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
            .iter()
            .flat_map(|d| names_in(Path::new(d), false))
            .filter_map(|n| n.strip_suffix(".service").map(str::to_owned))
            .collect(),
        _ => return Err(Failure::new(crm::NOSUCH, format!("No agents found for standard={standard}"))),
    };
    let mut names = names;
    names.sort();
    names.dedup();
    Ok(lines(names))
}

/// For a fence agent's own words.
const METADATA_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

pub fn metadata(spec: &str) -> Result<String, Failure> {
    // The daemon takes these before any of the same name on the disk.
    if let Some(document) = crate::agents::native_document(spec) {
        return Ok(document);
    }
    let missing = || Failure::new(crm::NOSUCH, format!("Metadata query for {spec} failed: no such agent"));
    let (class, agent) = spec.split_once(':').unwrap_or_default();
    if class == "stonith" {
        return crate::fence_agent::metadata(agent, METADATA_WITHIN).map_err(|_| missing());
    }
    let path = executable(spec).map_err(|f| if f.code == crm::NOSUCH { missing() } else { f })?;
    let out =
        describe(class, &path).map_err(|e| Failure::new(crm::OSERR, format!("cannot run {}: {e}", path.display())))?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(missing()),
    }
}

/// The file of an OCF or LSB agent.
pub fn executable(spec: &str) -> Result<PathBuf, Failure> {
    let parts: Vec<&str> = spec.split(':').collect();
    let safe = |name: &str| !name.is_empty() && !name.contains('/') && name != "..";
    let path = match parts.as_slice() {
        ["ocf", provider, agent] if safe(provider) && safe(agent) => ocf_root().join(provider).join(agent),
        ["lsb", agent] if safe(agent) => Path::new("/etc/init.d").join(agent),
        _ => return Err(Failure::usage(format!("'{spec}' is not of the form class:provider:agent"))),
    };
    match path.is_file() {
        true => Ok(path),
        false => Err(Failure::new(crm::NOSUCH, format!("there is no agent {spec} ({})", path.display()))),
    }
}

/// Asks an agent what it is, and nothing else.
fn describe(class: &str, path: &Path) -> std::io::Result<std::process::Output> {
    let query = MetadataQuery::of(class);
    let mut command = std::process::Command::new(path);
    command.args(query.args).env_clear().env("PATH", MetadataQuery::PATH).env("LC_ALL", "C");
    if class == "ocf" {
        command.env("OCF_ROOT", ocf_root().parent().unwrap_or(Path::new("/usr/lib/ocf")));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read it has its arguments.
        let _ = input.write_all(query.input.as_bytes());
    }
    child.wait_with_output()
}
