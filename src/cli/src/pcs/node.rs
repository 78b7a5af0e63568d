//! `pcs node` and `pcs property`.

use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use base::ids::same_node;
use cib::config::{self, Index};
use xml::Element;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let all = line.has("--all");
    let title = ("Node Attributes:", line.value("--name"));
    match words {
        ["standby", nodes @ ..] => flag(source, nodes, all, "standby", "on"),
        ["unstandby", nodes @ ..] => flag(source, nodes, all, "standby", ""),
        ["maintenance", nodes @ ..] => flag(source, nodes, all, "maintenance", "on"),
        ["unmaintenance", nodes @ ..] => flag(source, nodes, all, "maintenance", ""),
        ["attribute"] => list(source, None, "instance_attributes", title),
        ["attribute", node] => list(source, Some(node), "instance_attributes", title),
        ["attribute", node, pairs @ ..] => set(source, node, "instance_attributes", pairs),
        _ => Err(error(format!("unknown node command '{}' (see: pcs help)", words.join(" ")))),
    }
}

/// On all named nodes in one change, or on none.
fn flag(source: &Source, names: &[&str], all: bool, name: &str, value: &str) -> Result<String, Failure> {
    if all && !names.is_empty() {
        return Err(error("Cannot specify both --all and a list of nodes."));
    }
    let local = if names.is_empty() && !all { Some(source.local_node()?) } else { None };
    let wanted: Vec<&str> = names.iter().copied().chain(local.as_deref()).collect();
    edit(source, |configuration| {
        let nodes = configuration.child_or_insert("nodes");
        let is = |e: &Element, wanted: &str| e.attr("uname").is_some_and(|n| same_node(n, wanted));
        if let Some(missing) = wanted.iter().find(|w| !nodes.elements().any(|e| is(e, w))) {
            return Err(error(format!("Node '{missing}' does not appear to exist in configuration")));
        }
        for e in nodes.elements_mut().filter(|e| all || wanted.iter().any(|w| is(e, w))) {
            let set = format!("nodes-{}", e.id().unwrap_or_default());
            edit::set_pairs(e, "instance_attributes", &set, &[(name.to_owned(), value.to_owned())]);
        }
        Ok(String::new())
    })
}

pub fn set(source: &Source, node: &str, kind: &str, words: &[&str]) -> Result<String, Failure> {
    let pairs = words.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    edit(source, |configuration| {
        let is = |e: &Element| e.attr("uname").is_some_and(|n| same_node(n, node));
        let remote = edit::find_resource(configuration, node).is_some_and(|e| e.attr("type") == Some("remote"));
        let nodes = configuration.child_or_insert("nodes");
        if !nodes.elements().any(is) {
            if !remote {
                return Err(error(format!("Unable to find a node: {node}")));
            }
            nodes.push(Element::new("node").with("type", "remote").with("id", node).with("uname", node));
        }
        let Some(e) = nodes.elements_mut().find(|e| is(e)) else { return Ok(String::new()) };
        let default =
            format!("nodes-{}{}", e.id().unwrap_or_default(), if kind == "utilization" { "-utilization" } else { "" });
        edit::set_pairs(e, kind, &default, &pairs);
        Ok(String::new())
    })
}

/// Pairs of all nodes or one; all or those of one name.
pub fn list(
    source: &Source,
    node: Option<&str>,
    kind: &str,
    (title, name): (&str, Option<&str>),
) -> Result<String, Failure> {
    let cib = edit::masked(&source.cib()?);
    let nodes = cib.child("configuration").and_then(|c| c.child("nodes"));
    let mut out = format!("{title}\n");
    let wanted = |e: &&Element| node.is_none_or(|n| e.attr("uname").is_some_and(|own| same_node(own, n)));
    for e in nodes.into_iter().flat_map(Element::elements).filter(wanted) {
        super::utilization::list(e, e.attr("uname").unwrap_or_default(), kind, name, &mut out);
    }
    Ok(out)
}

pub fn property(source: &Source, words: &[&str], force: bool) -> Result<String, Failure> {
    match words {
        ["set", pairs @ ..] if !pairs.is_empty() => {
            let pairs = pairs.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
            for (name, value) in pairs.iter().filter(|(_, v)| !v.is_empty()) {
                check(name, value, force)?;
            }
            change(source, &pairs)
        }
        ["unset", names @ ..] if !names.is_empty() => {
            let cib = source.cib()?;
            let section = cib.child("configuration").and_then(|c| c.child("crm_config"));
            let there = |name: &str| section.is_some_and(|s| s.descendants().any(|p| crate::nvpairs::names(p, name)));
            let missing: Vec<&str> = names.iter().copied().filter(|n| !force && !there(n)).collect();
            if !missing.is_empty() {
                let (word, are) = if missing.len() == 1 { ("property", "it is") } else { ("properties", "they are") };
                return Err(super::unable(&[format!(
                    "Cannot remove {word} {}, {are} not present in property set 'cib-bootstrap-options', use --force to override",
                    super::report::quoted(missing)
                )]));
            }
            change(source, &names.iter().map(|n| ((*n).to_owned(), String::new())).collect::<Vec<_>>())
        }
        [] | ["config" | "list" | "show", ..] => {
            let cib = source.cib()?;
            let section = cib.child("configuration").and_then(|c| c.child("crm_config"));
            let pairs =
                section.map(|s| config::values(s, "cluster_property_set", &Index::new(&cib))).unwrap_or_default();
            let wanted = words.get(1..).unwrap_or_default();
            let shown = pairs.iter().filter(|(n, _)| wanted.is_empty() || wanted.contains(n));
            Ok(shown.fold("Cluster Properties:\n".to_owned(), |out, (n, v)| out + &format!(" {n}: {v}\n")))
        }
        _ => Err(error(format!("unknown property command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn check(name: &str, value: &str, force: bool) -> Result<(), Failure> {
    let known = cib::schema::PROPERTIES.iter().find(|p| p.name == name);
    match known.map(|p| p.accepts(value)) {
        _ if force => Ok(()),
        Some(Ok(())) => Ok(()),
        Some(Err(expected)) => Err(error(format!(
            "'{value}' is not a valid value for {name}: expected {expected}, use --force to override"
        ))),
        // Old guides set this as a property; the defaults of resources have taken its place.
        None if name == "default-resource-stickiness" => Err(error(
            "'default-resource-stickiness' is a resource default now: pcs resource defaults update resource-stickiness=VALUE",
        )),
        None => Err(error(format!("unknown cluster property: '{name}', use --force to override"))),
    }
}

fn change(source: &Source, pairs: &[(String, String)]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let section = configuration.child_or_insert("crm_config");
        edit::set_pairs(section, "cluster_property_set", "cib-bootstrap-options", pairs);
        Ok(String::new())
    })
}
