//! `pcs resource restart|failcount`: of what runs.

use crate::crm_mon::View;
use crate::crm_resource::by_hand;
use crate::edit::error;
use crate::grammar::Line;
use crate::source::{Failure, Source};
use scheduler::status::ResourceKind;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Longest time that a restart waits until all is done.
const WAIT_MS: u64 = 3_600_000;

pub fn restart(source: &Source, id: &str, nodes: &[&str]) -> Result<String, Failure> {
    match nodes.first() {
        Some(node) => crate::restart::on_node(source, id, node, None)?,
        None => crate::restart::run(source, id, None)?,
    }
    crate::wait::until_idle(source, WAIT_MS)?;
    Ok(format!("{id} successfully restarted\n"))
}

/// What a `debug-` command has the agent do.
pub fn by_hand(command: &str) -> Option<by_hand::Action> {
    match command {
        "debug-start" => Some(by_hand::Action::Start),
        "debug-stop" => Some(by_hand::Action::Stop),
        "debug-promote" => Some(by_hand::Action::Promote),
        "debug-demote" => Some(by_hand::Action::Demote),
        "debug-monitor" => Some(by_hand::Action::Check),
        _ => None,
    }
}

pub fn debug(source: &Source, line: &Line, command: &str, id: &str) -> Result<(String, i32), Failure> {
    let action = by_hand(command).ok_or_else(|| error(format!("unknown command '{command}'")))?;
    let cib = source.cib()?;
    let view = View::of(&cib)?;
    let found = crate::cluster::find(&view.cluster.resources, id);
    let r = found.ok_or_else(|| error(format!("unable to find a resource/clone/group/bundle: {id}")))?;
    if !matches!(r.kind, ResourceKind::Primitive { .. }) {
        let names: Vec<&str> = r.children.iter().map(|c| c.name.as_str()).collect();
        return Err(error(format!(
            "unable to {command} several resources as one; try one of '{id}': {}",
            names.join(",")
        )));
    }
    let mut call = by_hand::of_resource(&view, r, action, line.has("--force"))?;
    call.verbose = if line.has("--full") { 2 } else { 0 };
    call.told()
}

/// Counts of one resource or all, by node; of one operation where it is named.
pub fn failcounts(source: &Source, line: &Line, words: &[&str], devices: bool) -> Result<String, Failure> {
    let mut id = None;
    let mut only: BTreeMap<&str, &str> = BTreeMap::new();
    for word in words {
        match word.split_once('=') {
            Some((name @ ("node" | "operation" | "interval"), value)) => drop(only.insert(name, value)),
            None if id.is_none() => id = Some(*word),
            _ => return Err(error(format!("'{word}' does not fit the command: node=, operation= or interval="))),
        }
    }
    let mut found: BTreeMap<String, BTreeMap<String, Vec<(String, String)>>> = BTreeMap::new();
    for count in counts(&source.cib()?, devices) {
        let interval = only.get("interval").and_then(|i| cib::interval_ms(i));
        let wanted = id.is_none_or(|id| id == count.resource)
            && only.get("node").is_none_or(|n| base::ids::same_node(n, &count.node))
            && only.get("operation").is_none_or(|o| *o == count.operation)
            && interval.is_none_or(|ms| ms == count.interval_ms);
        if wanted {
            let operation = format!("{} {}ms", count.operation, count.interval_ms);
            found.entry(count.resource).or_default().entry(count.node).or_default().push((operation, count.value));
        }
    }
    let mut of = only.get("operation").map(|o| format!(" for operation '{o}'")).unwrap_or_default();
    if let Some(interval) = only.get("interval") {
        of += &format!(" with interval '{interval}'");
    }
    let on = only.get("node").map(|n| format!(" on node '{n}'")).unwrap_or_default();
    if found.is_empty() {
        let what = id.map(|id| format!(" for resource '{id}'")).unwrap_or_default();
        return Ok(format!("No failcounts{of}{what}{on}\n"));
    }
    let mut out = String::new();
    for (resource, nodes) in &found {
        let _ = writeln!(out, "Failcounts{of} for resource '{resource}'{on}");
        for (node, operations) in nodes {
            if line.has("--full") {
                let _ = writeln!(out, "  {node}:");
                operations.iter().for_each(|(operation, n)| {
                    let _ = writeln!(out, "    {operation}: {n}");
                });
            } else {
                let all: Option<u64> = operations.iter().map(|(_, n)| n.parse::<u64>().ok()).sum();
                let _ = writeln!(out, "  {node}: {}", all.map_or("INFINITY".to_owned(), |n| n.to_string()));
            }
        }
    }
    Ok(out)
}

struct Count {
    node: String,
    resource: String,
    operation: String,
    interval_ms: u64,
    value: String,
}

/// `fail-count-RESOURCE#OPERATION_INTERVAL` of every node.
fn counts(cib: &xml::Element, devices: bool) -> Vec<Count> {
    let is_device = |id: &str| {
        let e = cib.child("configuration").and_then(|c| crate::edit::find_resource(c, id));
        e.is_some_and(|e| e.attr("class") == Some("stonith"))
    };
    let states = cib.child("status").into_iter().flat_map(|s| s.elements_named("node_state"));
    let mut all = Vec::new();
    for state in states {
        let node = state.attr("uname").unwrap_or_default();
        for p in state.child("transient_attributes").into_iter().flat_map(xml::Element::descendants) {
            let Some(rest) = p.attr("name").and_then(|n| n.strip_prefix("fail-count-")) else { continue };
            let (resource, key) = rest.split_once('#').unwrap_or((rest, "monitor_0"));
            let resource = resource.split(':').next().unwrap_or(resource);
            let (operation, interval) = key.rsplit_once('_').unwrap_or((key, "0"));
            if is_device(resource) == devices {
                all.push(Count {
                    node: node.to_owned(),
                    resource: resource.to_owned(),
                    operation: operation.to_owned(),
                    interval_ms: interval.parse().unwrap_or(0),
                    value: p.attr("value").unwrap_or_default().to_owned(),
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up_or_shown_one_by_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cib.xml");
        let text = "<cib validate-with=\"pacemaker-3.10\" admin_epoch=\"0\" epoch=\"1\" num_updates=\"0\"><configuration><crm_config/><nodes/>\
            <resources/><constraints/></configuration><status><node_state id=\"1\" uname=\"d1\"><transient_attributes id=\"1\">\
            <instance_attributes id=\"s\"><nvpair id=\"a\" name=\"fail-count-vip#monitor_10000\" value=\"2\"/>\
            <nvpair id=\"b\" name=\"fail-count-vip#start_0\" value=\"INFINITY\"/><nvpair id=\"c\" name=\"fail-count-web#stop_0\" value=\"1\"/>\
            </instance_attributes></transient_attributes></node_state></status></cib>";
        std::fs::write(&path, text).expect("written");
        let source = Source::File(path);
        let shown = |words: &[&str]| failcounts(&source, &Line::default(), words, false).expect("shown");
        assert_eq!(
            shown(&[]),
            "Failcounts for resource 'vip'\n  d1: INFINITY\nFailcounts for resource 'web'\n  d1: 1\n"
        );
        assert_eq!(
            shown(&["vip", "operation=monitor"]),
            "Failcounts for operation 'monitor' for resource 'vip'\n  d1: 2\n"
        );
        assert_eq!(shown(&["vip", "node=d2"]), "No failcounts for resource 'vip' on node 'd2'\n");
        assert_eq!(failcounts(&source, &Line::default(), &[], true).expect("shown"), "No failcounts\n");
    }
}
