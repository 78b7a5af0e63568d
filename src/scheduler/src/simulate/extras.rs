//! What the status tells of nodes when asked to: their attributes, and failures counted there.

use super::outline::Outline;
use crate::model::{NodeIdx, Sched, score_text};
use std::collections::BTreeMap;

/// Attributes that the cluster keeps for itself.
const OWN: [&str; 5] = ["standby", "shutdown", "probe_complete", "terminate", "maintenance"];

/// What is shown beyond nodes and resources.
#[derive(Clone, Copy, Default)]
pub(super) struct Extras {
    /// Operations that are under way.
    pub pending: bool,
    pub attributes: bool,
    pub fail_counts: bool,
}

impl Sched {
    pub(super) fn write_attributes(&self, out: &mut Outline) {
        let visible = |n: NodeIdx| {
            let hidden = |name: &str| {
                OWN.contains(&name)
                    || name.starts_with('#')
                    || name.starts_with("fail-count-")
                    || name.starts_with("last-failure-")
            };
            self[n].attrs.iter().filter(move |(name, _)| !hidden(name))
        };
        let nodes: Vec<NodeIdx> =
            self.node_order.iter().copied().filter(|n| self[*n].online && visible(*n).next().is_some()).collect();
        if nodes.is_empty() {
            return;
        }
        out.spacer();
        out.begin("Node Attributes");
        for node in nodes {
            out.begin(&format!("Node: {}", self[node].name));
            visible(node).for_each(|(name, value)| out.item(&format!("{name:<32}\t: {value:<10}")));
            out.end();
        }
        out.end();
    }

    pub(super) fn write_fail_counts(&mut self, out: &mut Outline) {
        let mut shown: Vec<(NodeIdx, Vec<String>)> = Vec::new();
        for node in self.node_order.clone() {
            let lines = self.fail_lines(node);
            if !lines.is_empty() {
                shown.push((node, lines));
            }
        }
        if shown.is_empty() {
            return;
        }
        out.spacer();
        out.begin("Migration Summary");
        for (node, lines) in shown {
            out.begin(&format!("Node: {}", self[node].name));
            lines.iter().for_each(|line| out.item(line));
            out.end();
        }
        out.end();
    }

    fn fail_lines(&mut self, node: NodeIdx) -> Vec<String> {
        let names = self[node].attrs.keys().filter_map(|a| a.strip_prefix("fail-count-"));
        let names: BTreeMap<String, ()> = names.map(|n| (n.split('#').next().unwrap_or(n).to_owned(), ())).collect();
        let mut lines = Vec::new();
        for name in names.into_keys() {
            let Some(rsc) = self.find_resource(&name) else { continue };
            let (count, last) = self.fail_count(node, rsc, false, false, None);
            if count == 0 {
                continue;
            }
            let limit = match self[rsc].ban_after_failures {
                0 => crate::model::INFINITY,
                limit => limit,
            };
            let when =
                if last > 0 { format!(" last-failure='{}'", base::dates::to_ctime(last)) } else { String::new() };
            lines.push(format!("{name}: migration-threshold={limit} fail-count={}{when}", score_text(count)));
        }
        lines
    }
}
