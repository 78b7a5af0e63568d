//! `pcs constraint location`: nodes that a resource prefers or avoids.

use super::{push, score, warn_of_minus, whole};
use crate::edit::{edit, error, needs_resource, pair};
use crate::grammar::Line;
use crate::nvpairs::as_id;
use crate::source::{Failure, Source};
use xml::Element;

/// A resource, or a pattern of names (`regexp%^m.*`).
struct Which<'a> {
    attribute: &'static str,
    name: &'a str,
}

impl<'a> Which<'a> {
    fn of(word: &'a str) -> Which<'a> {
        match word.split_once('%') {
            Some(("regexp", pattern)) => Which { attribute: "rsc-pattern", name: pattern },
            Some(("resource", id)) => Which { attribute: "rsc", name: id },
            _ => Which { attribute: "rsc", name: word },
        }
    }
}

fn negated(text: &str) -> String {
    text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned)
}

pub fn run(source: &Source, line: &Line, id: &str, how: &str, nodes: &[&str]) -> Result<String, Failure> {
    if nodes.is_empty() {
        return Err(error("name at least one node"));
    }
    skipped(source);
    let of = Which::of(id);
    edit(source, |configuration| {
        for word in nodes {
            let (node, value) = word.split_once('=').unwrap_or((word, "INFINITY"));
            let value = if how == "avoids" { negated(score(value)?) } else { score(value)?.to_owned() };
            // What may not stand in an id is left out here.
            let named: String = of.name.chars().filter(|c| c.is_alphanumeric() || "-_.".contains(*c)).collect();
            let constraint = as_id(&format!("location-{named}-{node}-{value}"));
            put(configuration, source, line, (&constraint, &of, node, &value), &[])?;
        }
        Ok(String::new())
    })
}

pub fn add(
    source: &Source,
    line: &Line,
    id: &str,
    resource: &str,
    node: &str,
    value: &str,
    options: &[&str],
) -> Result<String, Failure> {
    warn_of_minus(&[value]);
    skipped(source);
    let value = score(value)?;
    let options = options.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    let odd = options.iter().find(|(n, _)| n != "resource-discovery" && !line.has("--force"));
    if let Some((odd, _)) = odd {
        return Err(error(format!("bad option '{odd}', use --force to override")));
    }
    let of = Which::of(resource);
    edit(source, |configuration| {
        put(configuration, source, line, (id, &of, node, value), &options).map(|()| String::new())
    })
}

/// In a file nobody knows which nodes there will be.
fn skipped(source: &Source) {
    if source.client().is_none() {
        crate::pcs::report::warn("Validation for node existence in the cluster will be skipped");
    }
}

/// One constraint, in place of those that say something of the same resource on the same node.
fn put(
    configuration: &mut Element,
    source: &Source,
    line: &Line,
    (id, of, node, value): (&str, &Which<'_>, &str, &str),
    options: &[(String, String)],
) -> Result<(), Failure> {
    if of.attribute == "rsc" {
        needs_resource(configuration, of.name)?;
        whole(configuration, line, of.name)?;
    }
    if !crate::nodes::has(configuration, node) && source.client().is_some() && !line.has("--force") {
        return Err(error(format!("Node '{node}' does not seem to be in the cluster, use --force to override")));
    }
    let constraints = configuration.child_or_insert("constraints");
    constraints.retain_elements(|e| {
        let same = e.attr(of.attribute) == Some(of.name) && e.attr("node") == Some(node);
        e.id() != Some(id) && !(e.name() == "rsc_location" && same)
    });
    let mut e = Element::new("rsc_location").with("id", id).with(of.attribute, of.name);
    e = e.with("node", node).with("score", value);
    options.iter().for_each(|(n, v)| e.set(n, v));
    push(configuration, e);
    Ok(())
}
