//! `crm configure fencing_topology`: devices in the order in which they are tried, for every node or for those that are named.

use crate::edit::alerts::free_id;
use crate::edit::{error, levels::Target};
use crate::source::Failure;
use xml::Element;

/// Replaces the topology.
pub fn set(configuration: &mut Element, words: &[&str]) -> Result<String, Failure> {
    let mut all: Vec<(Target, Vec<String>)> = Vec::new();
    for word in words {
        match word.strip_suffix(':') {
            Some(name) => all.push((target(name)?, Vec::new())),
            None => match all.last_mut() {
                Some((_, devices)) => devices.push((*word).to_owned()),
                None => {
                    // Without a target the list is every node's.
                    let nodes = configuration.child("nodes").into_iter().flat_map(Element::elements);
                    let names: Vec<String> = nodes.filter_map(|n| n.attr("uname")).map(str::to_owned).collect();
                    let devices: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
                    if let Some(stray) = devices.iter().find(|d| d.ends_with(':')) {
                        return Err(error(format!(
                            "syntax in fencing_topology: '{stray}' must come before all devices"
                        )));
                    }
                    all = names.into_iter().map(|n| (Target::Node(n), devices.clone())).collect();
                    break;
                }
            },
        }
    }
    if let Some((of, _)) = all.iter().find(|(_, devices)| devices.is_empty()) {
        return Err(error(format!("syntax in fencing_topology: no devices for {}", of.words())));
    }
    let missing =
        all.iter().flat_map(|(_, d)| d).flat_map(|d| d.split(',')).find(|id| {
            crate::edit::find_resource(configuration, id).is_none_or(|e| e.attr("class") != Some("stonith"))
        });
    if let Some(id) = missing {
        return Err(error(format!("fencing_topology: resource {id} does not exist or is no fence device")));
    }
    configuration.child_or_insert("fencing-topology").nodes_mut().clear();
    for (of, devices) in all {
        for (index, devices) in (1..).zip(devices) {
            let id = numbered(configuration);
            let level = of.write(Element::new("fencing-level"));
            let level = level.with("index", u32::to_string(&index)).with("devices", devices).with("id", id);
            configuration.child_or_insert("fencing-topology").push(level);
        }
    }
    Ok(String::new())
}

/// `fencing`, `fencing-0`, `fencing-1`, … as crmsh numbers them.
fn numbered(configuration: &Element) -> String {
    let taken = |id: &str| configuration.descendants().any(|e| e.name() != "node" && e.id() == Some(id));
    let mut all = std::iter::once("fencing".to_owned()).chain((0..100_000).map(|n| format!("fencing-{n}")));
    all.find(|id| !taken(id)).unwrap_or_else(|| free_id(configuration, "fencing"))
}

/// `NODE`, `pattern:REGEX` or `attr:NAME=VALUE`.
fn target(name: &str) -> Result<Target, Failure> {
    if let Some(pattern) = name.strip_prefix("pattern:") {
        return Ok(Target::Pattern(pattern.to_owned()));
    }
    match name.strip_prefix("attr:").map(|a| a.split_once('=')) {
        None => Ok(Target::Node(name.to_owned())),
        Some(Some((name, value))) => Ok(Target::Attribute(name.to_owned(), value.to_owned())),
        Some(None) => Err(error(format!("syntax in fencing_topology: '{name}' is not attr:NAME=VALUE"))),
    }
}

/// The topology in crmsh's words; without targets where every node has the same.
pub fn show(configuration: &Element) -> Option<String> {
    let mut all: Vec<(Target, Vec<(u32, String)>)> = Vec::new();
    for level in crate::edit::levels::all(configuration) {
        let of = Target::of(level)?;
        let entry = (
            level.attr("index").and_then(|i| i.parse().ok()).unwrap_or(0),
            level.attr("devices").unwrap_or_default().to_owned(),
        );
        match all.iter_mut().find(|(t, _)| *t == of) {
            Some((_, levels)) => levels.push(entry),
            None => all.push((of, vec![entry])),
        }
    }
    all.iter_mut().for_each(|(_, levels)| levels.sort());
    let (_, first) = all.first()?;
    let nodes = configuration.child("nodes").into_iter().flat_map(Element::elements).count();
    let same = all.len() == nodes
        && all.iter().all(|(of, levels)| {
            matches!(of, Target::Node(_)) && levels.iter().map(|l| &l.1).eq(first.iter().map(|l| &l.1))
        });
    let devices = |levels: &[(u32, String)]| levels.iter().map(|l| l.1.clone()).collect::<Vec<_>>().join(" ");
    if same {
        return Some(format!("fencing_topology {}", devices(first)));
    }
    let lines = all.iter().map(|(of, levels)| {
        let name = match of {
            Target::Node(name) => name.clone(),
            Target::Pattern(pattern) => format!("pattern:{pattern}"),
            Target::Attribute(name, value) => format!("attr:{name}={value}"),
        };
        format!(" \\\n\t{name}: {}", devices(levels))
    });
    Some(format!("fencing_topology{}", lines.collect::<String>()))
}
