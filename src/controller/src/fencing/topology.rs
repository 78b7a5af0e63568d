//! Levels: which devices are tried together, and in which order, for whom (`fencing-topology`).

use base::ids::same_node;
use cib::config::{self, Index};
use regex::RegexBuilder;
use xml::Element;

/// Levels have these indices.
const INDICES: std::ops::RangeInclusive<u32> = 1..=9;
/// A pattern that would take more than this is not used.
const PATTERN_BYTES: usize = 64 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Node(String),
    /// An extended regular expression.
    Pattern(String),
    Attribute {
        name: String,
        value: String,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level {
    pub id: String,
    pub target: Target,
    pub index: u32,
    pub devices: Vec<String>,
}

/// All levels that can be used, in the order of the document.
pub fn all(cib: &Element) -> Vec<Level> {
    let levels = cib.child("configuration").and_then(|c| c.child("fencing-topology"));
    levels.into_iter().flat_map(|t| t.elements_named("fencing-level")).filter_map(read).collect()
}

fn read(e: &Element) -> Option<Level> {
    let target = match (e.attr("target"), e.attr("target-pattern"), e.attr("target-attribute")) {
        (Some(name), ..) => Target::Node(name.to_owned()),
        (_, Some(pattern), _) => Target::Pattern(pattern.to_owned()),
        (.., Some(name)) => {
            Target::Attribute { name: name.to_owned(), value: e.attr("target-value").unwrap_or_default().to_owned() }
        }
        _ => return None,
    };
    let index = e.attr("index").and_then(|i| i.trim().parse().ok()).filter(|i| INDICES.contains(i))?;
    let devices = super::device::names(e.attr("devices").unwrap_or_default());
    Some(Level { id: e.id().unwrap_or_default().to_owned(), target, index, devices })
}

/// The levels of `node` by index; empty if no topology applies to it. A level that names the node counts more than one that matches it.
pub fn levels_of(cib: &Element, node: &str) -> Vec<(u32, Vec<String>)> {
    let all = all(cib);
    let named = |l: &&Level| matches!(&l.target, Target::Node(name) if same_node(name, node));
    let first = all.iter().find(named).or_else(|| all.iter().find(|l| matches(cib, &l.target, node)));
    let Some(chosen) = first else { return Vec::new() };
    let same = |l: &&Level| match (&l.target, &chosen.target) {
        (Target::Node(a), Target::Node(b)) => same_node(a, b),
        (a, b) => a == b,
    };
    let mut levels: Vec<(u32, Vec<String>)> = Vec::new();
    for level in all.iter().filter(same) {
        match levels.iter_mut().find(|(index, _)| *index == level.index) {
            Some((_, devices)) => devices.extend(level.devices.iter().cloned()),
            None => levels.push((level.index, level.devices.clone())),
        }
    }
    levels.sort_by_key(|(index, _)| *index);
    levels
}

pub fn matches(cib: &Element, target: &Target, node: &str) -> bool {
    match target {
        Target::Node(name) => same_node(name, node),
        Target::Pattern(pattern) => {
            let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
            compiled.is_ok_and(|p| p.is_match(node))
        }
        Target::Attribute { name, value } => attribute(cib, node, name).is_some_and(|v| v == *value),
    }
}

/// A node's permanent attribute.
fn attribute(cib: &Element, node: &str, name: &str) -> Option<String> {
    let nodes = cib.child("configuration")?.child("nodes")?;
    let of_node = nodes.elements_named("node").find(|n| n.attr("uname").is_some_and(|u| same_node(u, node)))?;
    let index = Index::for_part(of_node, cib);
    config::values(of_node, "instance_attributes", &index).get(name).map(|v| (*v).to_owned())
}
