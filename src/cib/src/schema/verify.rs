//! Well-formed, but not what its writer hopes for.

use super::{META_ATTRIBUTES, PROPERTIES, Problem, Property, Severity, below, closest, cycles};
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

/// Adds errors and warnings about a whole document.
pub fn run(root: &Element, problems: &mut Vec<Problem>) {
    let Some(configuration) = root.child("configuration") else { return };
    // Up to 3, a schema has it.
    let has_master = matches!(super::Claim::of(root), Ok(super::Claim::Version((major, _))) if major < 4);
    let mut look = Look { problems, has_master };
    let path = "/cib/configuration";
    for section in configuration.elements() {
        look.walk(section, &below(path, section));
    }
    look.properties(configuration);
    look.fencing(configuration);
    look.constraints(configuration);
    look.cycles(configuration);
}

struct Look<'p> {
    problems: &'p mut Vec<Problem>,
    has_master: bool,
}

impl Look<'_> {
    fn say(&mut self, severity: Severity, e: &Element, path: &str, message: String) {
        self.problems.push(Problem { severity, line: e.line(), column: e.column(), path: path.to_owned(), message });
    }

    fn note(&mut self, e: &Element, path: &str, message: String) {
        self.say(Severity::Info, e, path, message);
    }

    fn warn(&mut self, e: &Element, path: &str, message: String) {
        self.say(Severity::Warning, e, path, message);
    }

    fn walk(&mut self, e: &Element, path: &str) {
        match e.name() {
            "group" if e.child("primitive").is_none() => self.warn(e, path, "the group has no members".to_owned()),
            "master" if self.has_master => {
                let message = "'master' is deprecated and gone as of schema 4.0; write a clone with promotable=true";
                self.note(e, path, message.to_owned());
            }
            "master" => {
                self.warn(e, path, "'master' is no longer in the schema; write a clone with promotable=true".to_owned())
            }
            "primitive" | "group" | "clone" | "bundle" => self.meta(e, path),
            "operations" => self.operations(e, path),
            _ => {}
        }
        for child in e.elements() {
            self.walk(child, &below(path, child));
        }
    }

    fn meta(&mut self, e: &Element, path: &str) {
        for set in e.elements_named("meta_attributes") {
            for pair in set.elements_named("nvpair") {
                let path = below(&below(path, set), pair);
                self.option(pair, META_ATTRIBUTES, &path, false);
            }
        }
    }

    /// An unknown meta-attribute may be the operator's own, an unknown property hardly.
    fn option(&mut self, pair: &Element, table: &[Property], path: &str, closed: bool) {
        let (Some(name), Some(value)) = (pair.attr("name"), pair.attr("value")) else { return };
        match table.iter().find(|p| p.name == name) {
            Some(property) => {
                if let Err(expected) = property.accepts(value) {
                    let message =
                        format!("{name}=\"{value}\": expected {expected}; the default ({}) is used", property.default);
                    self.say(Severity::Error, pair, path, message);
                }
            }
            None => {
                let names: Vec<&str> = table.iter().map(|p| p.name).collect();
                match closest(name, &names) {
                    Some(near) => self.note(pair, path, format!("unknown option '{name}'; did you mean '{near}'?")),
                    None if closed => self.note(pair, path, format!("unknown cluster property '{name}'")),
                    None => {}
                }
            }
        }
    }

    fn operations(&mut self, e: &Element, path: &str) {
        let mut seen: BTreeMap<(String, u64), String> = BTreeMap::new();
        for op in e.elements_named("op") {
            let (Some(id), Some(name), Some(interval)) = (op.id(), op.attr("name"), op.attr("interval")) else {
                continue;
            };
            let key = (name.to_owned(), crate::interval_ms(interval).unwrap_or(0));
            if key.1 == 0 {
                continue;
            }
            if let Some(first) = seen.insert(key, id.to_owned()) {
                let message = format!(
                    "operation {id} is a duplicate of {first} (do not use the same name and interval combination more than once per resource)"
                );
                self.say(Severity::Error, op, &below(path, op), message);
            }
        }
    }

    fn properties(&mut self, configuration: &Element) {
        // Written by tools for themselves, or by newer versions.
        let tolerated =
            ["last-lrm-refresh", "default-resource-stickiness", "is-managed-default", "expected-quorum-votes"];
        let Some(section) = configuration.child("crm_config") else { return };
        for set in section.elements_named("cluster_property_set") {
            for pair in set.elements_named("nvpair") {
                if pair.attr("name").is_some_and(|n| tolerated.contains(&n) || n.starts_with("cib-bootstrap")) {
                    continue;
                }
                let path = below(&below("/cib/configuration/crm_config", set), pair);
                self.option(pair, PROPERTIES, &path, true);
            }
        }
    }

    fn fencing(&mut self, configuration: &Element) {
        let enabled = ["fencing-enabled", "stonith-enabled"]
            .iter()
            .find_map(|name| crate::config::property_of(configuration, name));
        let off = enabled.is_some_and(|v| ["false", "off", "no", "n", "0"].iter().any(|w| w.eq_ignore_ascii_case(v)));
        let Some(resources) = configuration.child("resources") else { return };
        if off || resources.descendants().any(|e| e.name() == "primitive" && e.attr("class") == Some("stonith")) {
            return;
        }
        let message = "Resource start-up disabled since no fencing resources have been defined. Either configure some or \
                       disable fencing with the fencing-enabled option. NOTE: Clusters with shared data need fencing to \
                       ensure data integrity.";
        self.say(Severity::Error, resources, "/cib/configuration/resources", message.to_owned());
    }

    /// Orderings and colocations that lead back to where they began.
    fn cycles(&mut self, configuration: &Element) {
        let Some(constraints) = configuration.child("constraints") else { return };
        let mandatory = |e: &&Element| {
            let kind = e.attr("kind").is_none_or(|k| k.eq_ignore_ascii_case("Mandatory"));
            let action = |name: &str| e.attr(name).is_none_or(|a| a == "start");
            kind && e.attr("score").is_none_or(|s| s != "0") && action("first-action") && action("then-action")
        };
        for cycle in cycles::find(constraints.elements_named("rsc_order").filter(mandatory), "first", "then") {
            let path = below("/cib/configuration/constraints", cycle.constraint);
            let message = format!("orderings form a cycle, none of these can start: {}", cycle.along);
            self.warn(cycle.constraint, &path, message);
        }
        for cycle in cycles::find(constraints.elements_named("rsc_colocation"), "rsc", "with-rsc") {
            let path = below("/cib/configuration/constraints", cycle.constraint);
            self.note(cycle.constraint, &path, format!("colocations form a cycle: {}", cycle.along));
        }
    }

    fn constraints(&mut self, configuration: &Element) {
        let Some(constraints) = configuration.child("constraints") else { return };
        let nodes: BTreeSet<&str> = configuration
            .child("nodes")
            .into_iter()
            .flat_map(|n| n.elements_named("node"))
            .filter_map(|n| n.attr("uname"))
            .chain(remote_nodes(configuration))
            .collect();
        for e in constraints.elements() {
            let path = below("/cib/configuration/constraints", e);
            if let Some(node) = e.attr("node").filter(|n| !nodes.contains(n)) {
                let names: Vec<&str> = nodes.iter().copied().collect();
                let hint = closest(node, &names).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
                self.note(e, &path, format!("no node is called '{node}'{hint}"));
            }
            if e.name() == "rsc_colocation" && e.attr("rsc").is_some() && e.attr("rsc") == e.attr("with-rsc") {
                self.note(e, &path, "colocates a resource with itself".to_owned());
            }
            if e.name() == "rsc_order" && e.attr("first").is_some() && e.attr("first") == e.attr("then") {
                self.note(e, &path, "orders a resource after itself".to_owned());
            }
        }
    }
}

fn remote_nodes(configuration: &Element) -> impl Iterator<Item = &str> {
    configuration.child("resources").into_iter().flat_map(Element::descendants).filter_map(|e| match e.name() {
        "primitive" if e.attr("type") == Some("remote") => e.id(),
        "nvpair" if e.attr("name") == Some("remote-node") => e.attr("value"),
        _ => None,
    })
}
