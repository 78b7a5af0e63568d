//! Fencing levels: which devices are tried for a target, in which order.

use super::alerts::free_id;
use super::error;
use crate::source::Failure;
use xml::Element;

/// Highest level (the schema's limit).
pub const MAX_LEVEL: u32 = 9;

/// Whom a level is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Node(String),
    Pattern(String),
    Attribute(String, String),
}

impl Target {
    pub fn of(level: &Element) -> Option<Target> {
        let of = |name: &str| level.attr(name).map(str::to_owned);
        of("target")
            .map(Target::Node)
            .or_else(|| of("target-pattern").map(Target::Pattern))
            .or_else(|| Some(Target::Attribute(of("target-attribute")?, of("target-value").unwrap_or_default())))
    }

    /// As messages name it.
    pub fn words(&self) -> String {
        match self {
            Target::Node(name) | Target::Pattern(name) => name.clone(),
            Target::Attribute(name, value) => format!("{name}={value}"),
        }
    }

    pub fn write(&self, level: Element) -> Element {
        match self {
            Target::Node(name) => level.with("target", name),
            Target::Pattern(pattern) => level.with("target-pattern", pattern),
            Target::Attribute(name, value) => level.with("target-attribute", name).with("target-value", value),
        }
    }

    fn id_part(&self) -> String {
        let name = match self {
            Target::Node(name) | Target::Pattern(name) | Target::Attribute(name, _) => name,
        };
        name.chars().filter(|c| c.is_alphanumeric() || "-_.".contains(*c)).collect()
    }
}

/// A level's number; 1 is tried first.
pub fn index(word: &str) -> Result<u32, String> {
    word.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("'{word}' is not a valid level value, use a positive integer"))
}

/// All levels in document order.
pub fn all(configuration: &Element) -> impl Iterator<Item = &Element> {
    configuration.child("fencing-topology").into_iter().flat_map(|t| t.elements_named("fencing-level"))
}

pub fn devices(level: &Element) -> Vec<&str> {
    level.attr("devices").unwrap_or_default().split(',').map(str::trim).filter(|d| !d.is_empty()).collect()
}

/// What of a level does not exist: devices, or the node it is for.
pub fn problems(configuration: &Element, target: &Target, devices: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    if let Target::Node(name) = target {
        let nodes = configuration.child("nodes").into_iter().flat_map(Element::elements);
        let known = nodes.filter_map(|n| n.attr("uname")).any(|n| base::ids::same_node(n, name));
        if !known {
            all.push(format!("Node '{name}' does not appear to exist in configuration"));
        }
    }
    let is_device =
        |id: &&str| super::find_resource(configuration, id).is_some_and(|e| e.attr("class") == Some("stonith"));
    let missing: Vec<String> = devices.iter().filter(|id| !is_device(id)).map(|id| format!("'{id}'")).collect();
    if !missing.is_empty() {
        all.push(format!("Stonith resource(s) {} do not exist", missing.join(", ")));
    }
    all
}

/// A level of the target, number and devices (any, where not said).
fn is(level: &Element, number: Option<u32>, target: Option<&Target>, wanted: &[&str]) -> bool {
    let same = |n: u32| level.attr("index").and_then(|i| i.parse().ok()) == Some(n);
    number.is_none_or(same)
        && target.is_none_or(|t| Target::of(level).as_ref() == Some(t))
        && (wanted.is_empty() || devices(level) == wanted)
}

/// Adds a level after those that are there.
pub fn add(configuration: &mut Element, number: u32, target: &Target, wanted: &[&str]) -> Result<(), Failure> {
    if all(configuration).any(|l| is(l, Some(number), Some(target), wanted)) {
        let what = words(Some(number), Some(target), wanted);
        return Err(error(format!("Fencing level {what} already exists")));
    }
    let id = free_id(configuration, &format!("fl-{}-{number}", target.id_part()));
    let level = Element::new("fencing-level").with("index", number.to_string()).with("devices", wanted.join(","));
    let level = target.write(level).with("id", id);
    configuration.child_or_insert("fencing-topology").push(level);
    Ok(())
}

/// Removes the levels that fit; false if there is none.
pub fn remove(configuration: &mut Element, number: Option<u32>, target: Option<&Target>, wanted: &[&str]) -> bool {
    let Some(topology) = configuration.child_mut("fencing-topology") else { return false };
    let before = topology.elements().count();
    topology.retain_elements(|l| !is(l, number, target, wanted));
    topology.elements().count() < before
}

/// `for 'node1' at level '1' with device(s) 'f1'`.
pub fn words(number: Option<u32>, target: Option<&Target>, devices: &[&str]) -> String {
    let mut parts = Vec::new();
    parts.extend(target.map(|t| format!("for '{}'", t.words())));
    parts.extend(number.map(|n| format!("at level '{n}'")));
    if !devices.is_empty() {
        let devices: Vec<String> = devices.iter().map(|d| format!("'{d}'")).collect();
        parts.push(format!("with device(s) {}", devices.join(", ")));
    }
    parts.join(" ")
}

/// Takes devices out of all levels; a level without devices goes.
pub fn forget_devices(configuration: &mut Element, gone: &[String]) {
    let Some(topology) = configuration.child_mut("fencing-topology") else { return };
    for level in topology.elements_mut().filter(|l| l.name() == "fencing-level") {
        let kept: Vec<String> =
            devices(level).into_iter().filter(|d| !gone.iter().any(|g| g == d)).map(str::to_owned).collect();
        if kept.len() < devices(level).len() {
            level.set("devices", kept.join(","));
        }
    }
    topology.retain_elements(|l| l.name() != "fencing-level" || l.attr("devices") != Some(""));
}
