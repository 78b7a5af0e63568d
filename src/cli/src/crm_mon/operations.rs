//! Operations and fail counts as text.

use super::text::{display_name, shown_nodes};
use super::{CrmMon, View, past};
use crate::clock;
use crate::cluster::Operation;
use base::WallTime;
use scheduler::status::Node;
use std::fmt::Write;

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

pub fn operations(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Operations:\n");
    for past::OfNode { node, resources } in past::of(view) {
        let _ = writeln!(out, "  * Node: {}:", display_name(options, view, &node.name));
        for (id, ops) in resources {
            let _ = writeln!(out, "    * {}:", fail_line(view, node, id));
            for op in ops {
                let _ = writeln!(out, "      * {}", operation(options, op));
            }
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
    if options.timing_details {
        let _ = write!(out, " rc={} ({})", op.rc, crate::report::exit_words(op.rc));
    }
    out
}

pub fn failcounts(options: &CrmMon, view: &View<'_>) -> String {
    let mut out = String::from("Migration Summary:\n");
    let empty = out.len();
    for node in shown_nodes(view) {
        let failed = node.fail_counts.iter().filter(|(r, c)| **c != 0 && view.only.resource(r)).map(|(r, _)| r);
        let failed: Vec<&String> = failed.collect();
        if failed.is_empty() {
            continue;
        }
        let _ = writeln!(out, "  * Node: {}:", display_name(options, view, &node.name));
        for resource in failed {
            let _ = writeln!(out, "    * {}", fail_line(view, node, resource));
        }
    }
    if out.len() == empty { String::new() } else { out }
}
