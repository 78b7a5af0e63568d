//! The cluster introduces itself in its configuration: nodes, names, versions.

use super::Replica;
use base::Word;
use base::ids::same_node;
use cib::Request;
use std::collections::BTreeMap;
use xml::Element;

/// What the configuration says of the cluster itself; the same on every member of a view.
#[derive(Clone, Debug, Default)]
pub(super) struct Introduction {
    pub nodes: Vec<(u32, Word)>,
    pub program: Word,
    pub cluster_name: Word,
}

impl Replica {
    /// Nodes appear under `nodes`, the cluster's name and version under `crm_config`, as Pacemaker writes them. A node's name is
    /// what the node itself says; one that was renamed keeps its id, and gets its new name there, as with Pacemaker.
    pub(super) fn introduce(&mut self) {
        let Introduction { nodes, program, cluster_name } = self.introduction.clone();
        // The nodes' own words stand behind those of the list, and count.
        for (id, name) in nodes.into_iter().collect::<BTreeMap<_, _>>() {
            let id = id.to_string();
            let known = |nodes: &Element| {
                let mut all = nodes.elements();
                all.any(|n| match n.id() == Some(&id) {
                    true => n.attr("uname") == Some(name.as_str()),
                    false => n.attr("uname").is_some_and(|own| same_node(own, &name)),
                })
            };
            if !self.cib.section("nodes").is_some_and(known) {
                let node = Element::new("node").with("id", &id).with("uname", &name);
                self.bookkeeping("nodes", Element::new("nodes").with_child(node));
            }
        }
        let facts = [
            ("have-watchdog", if self.watchdogs.is_empty() { "false" } else { "true" }),
            ("dc-version", program.as_str()),
            ("cluster-infrastructure", "corosync"),
            ("cluster-name", &cluster_name),
        ];
        for (name, value) in facts {
            if value.is_empty()
                || self.property(name) == Some(value)
                || (!matches!(name, "dc-version" | "have-watchdog") && self.property(name).is_some())
            {
                continue;
            }
            let pair = Element::new("nvpair")
                .with("id", format!("cib-bootstrap-options-{name}"))
                .with("name", name)
                .with("value", value);
            let set = Element::new("cluster_property_set").with("id", "cib-bootstrap-options").with_child(pair);
            self.bookkeeping("crm_config", Element::new("crm_config").with_child(set));
        }
    }

    /// A change of the configuration that the cluster itself makes. No one's work, so it does not count at a merge.
    fn bookkeeping(&mut self, section: &str, element: Element) {
        // A configuration in which this cannot be written is the operator's to repair; nothing depends on it.
        let _ = self.cib.keep_books(&Request::upsert(section, element));
    }
}
