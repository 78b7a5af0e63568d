//! The configuration of resources in pcs's words, as JSON, or as the commands that make it.

use crate::edit::{self, error};
use crate::grammar::Line;
use crate::nvpairs;
use crate::source::{Failure, Source};
use cib::config::Index;
use std::fmt::Write;
use xml::Element;

/// Options of operations, in the order in which they are shown.
const OPERATION: [&str; 9] = [
    "interval",
    "description",
    "start-delay",
    "interval-origin",
    "timeout",
    "enabled",
    "record-pending",
    "role",
    "on-fail",
];
/// Kinds of resources, in the order in which they are shown.
const ORDER: [&str; 5] = ["primitive", "group", "clone", "master", "bundle"];

pub fn config(source: &Source, line: &Line, ids: &[&str], stonith: bool) -> Result<String, Failure> {
    let form = line.value("--output-format").unwrap_or("text");
    if !["cmd", "json", "text"].contains(&form) {
        return Err(error(format!(
            "Unknown value '{form}' for '--output-format' option. Supported values are: 'cmd', 'json', 'text'"
        )));
    }
    let cib = edit::masked(&source.cib()?);
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let resources = configuration.child("resources").into_iter().flat_map(Element::elements);
    let mut chosen: Vec<&Element> = match ids {
        [] => resources.filter(|e| (e.attr("class") == Some("stonith")) == stonith).collect(),
        ids => {
            let find = |id: &&str| {
                let found = edit::find_resource(configuration, id);
                if found.is_none() {
                    super::report::warn(&format!("Unable to find resource '{id}'"));
                }
                found
            };
            ids.iter().filter_map(find).collect()
        }
    };
    if chosen.is_empty() && !ids.is_empty() {
        return Err(error(if stonith { "No stonith device found" } else { "No resource found" }));
    }
    chosen.sort_by_key(|e| ORDER.iter().position(|kind| *kind == e.name()));
    let index = Index::new(&cib);
    match form {
        "cmd" => Ok(commands(&chosen, stonith)),
        "json" => Ok(json(&chosen)),
        _ => {
            let mut out = String::new();
            chosen.iter().for_each(|e| describe(e, 0, &index, &mut out));
            Ok(out)
        }
    }
}

/// All resources that fit, as text.
pub fn text(source: &Source, which: impl Fn(&Element) -> bool) -> Result<String, Failure> {
    let cib = edit::masked(&source.cib()?);
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let mut all: Vec<&Element> = resources.into_iter().flat_map(Element::elements).filter(|e| which(e)).collect();
    all.sort_by_key(|e| ORDER.iter().position(|kind| *kind == e.name()));
    let index = Index::new(&cib);
    let mut out = String::new();
    all.iter().for_each(|e| describe(e, 0, &index, &mut out));
    Ok(out)
}

fn quoted(value: &str) -> String {
    if value.is_empty() || value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}

/// Pairs of a set in order of their names.
fn sorted(set: &Element) -> Vec<(String, String)> {
    let text = |p: &Element, name: &str| p.attr(name).unwrap_or_default().to_owned();
    let mut all: Vec<_> = nvpairs::written(set).map(|p| (text(p, "name"), text(p, "value"))).collect();
    all.sort();
    all
}

fn attributes(e: &Element, but: &[&str]) -> String {
    e.attrs().filter(|(n, _)| !but.contains(n)).map(|(n, v)| format!(" {n}={}", quoted(v))).collect()
}

fn describe(e: &Element, level: usize, index: &Index<'_>, out: &mut String) {
    let pad = "  ".repeat(level);
    let id = e.id().unwrap_or_default();
    let agent: Vec<String> =
        ["class", "provider", "type"].iter().filter_map(|n| e.attr(n).map(|v| format!("{n}={v}"))).collect();
    let _ = match e.name() {
        "primitive" => writeln!(out, "{pad}Resource: {id} ({})", agent.join(" ")),
        "group" => writeln!(out, "{pad}Group: {id}"),
        "clone" | "master" => writeln!(out, "{pad}Clone: {id}"),
        "bundle" => writeln!(out, "{pad}Bundle: {id}"),
        _ => return,
    };
    if let Some(text) = e.attr("description") {
        let _ = writeln!(out, "{pad}  Description: {text}");
    }
    if e.name() == "bundle" {
        bundle(e, &pad, out);
    }
    let sets =
        [("instance_attributes", "Attributes"), ("meta_attributes", "Meta Attributes"), ("utilization", "Utilization")];
    for (kind, title) in sets {
        for set in e.elements_named(kind) {
            let mut pairs: Vec<(String, String)> =
                cib::config::pairs(set, index).map(|p| (p.name().to_owned(), p.value().to_owned())).collect();
            pairs.sort();
            if pairs.is_empty() {
                continue;
            }
            let _ = writeln!(out, "{pad}  {title}: {}", set.id().unwrap_or_default());
            pairs.iter().for_each(|(n, v)| {
                let _ = writeln!(out, "{pad}    {n}={}", quoted(v));
            });
        }
    }
    if let Some(operations) = e.child("operations").filter(|o| o.child("op").is_some()) {
        let _ = writeln!(out, "{pad}  Operations:");
        for op in operations.elements_named("op") {
            let _ = writeln!(out, "{pad}    {}: {}", op.attr("name").unwrap_or_default(), op.id().unwrap_or_default());
            for name in OPERATION {
                if let Some(value) = op.attr(name) {
                    let _ = writeln!(out, "{pad}      {name}={value}");
                }
            }
            for (name, value) in op.elements().flat_map(sorted) {
                let _ = writeln!(out, "{pad}      {name}={value}");
            }
        }
    }
    e.elements().for_each(|c| describe(c, level + 1, index, out));
}

/// A bundle's container, network and storage.
fn bundle(e: &Element, pad: &str, out: &mut String) {
    for part in e.elements() {
        match part.name() {
            kind @ ("docker" | "podman" | "rkt") => {
                let title = kind[..1].to_uppercase() + &kind[1..];
                let _ = writeln!(out, "{pad}  {title}:{}", attributes(part, &[]));
            }
            "network" => {
                let _ = writeln!(out, "{pad}  Network:{}", attributes(part, &[]));
                mappings(part, "Port Mapping", pad, out);
            }
            "storage" => mappings(part, "Storage Mapping", pad, out),
            _ => {}
        }
    }
}

fn mappings(part: &Element, title: &str, pad: &str, out: &mut String) {
    if part.elements().next().is_some() {
        let _ = writeln!(out, "{pad}  {title}:");
    }
    for map in part.elements() {
        // Where from and where to come before how.
        let first: String =
            ["source-dir", "target-dir"].iter().filter_map(|n| map.attr(n).map(|v| format!(" {n}={v}"))).collect();
        let all = first + &attributes(map, &["id", "source-dir", "target-dir"]);
        let _ = writeln!(out, "{pad}    {} ({})", all.trim_start(), map.id().unwrap_or_default());
    }
}

fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\"'\"'")),
    }
}

fn words_of(e: &Element, kind: &str) -> Vec<String> {
    let pairs = e.elements_named(kind).flat_map(sorted);
    pairs.map(|(n, v)| shell(&format!("{n}={v}"))).collect()
}

/// The commands that make these resources, one after the other.
fn commands(all: &[&Element], stonith: bool) -> String {
    let mut made: Vec<String> = Vec::new();
    let mut after: Vec<(usize, String)> = Vec::new();
    for e in all {
        let inside = e.descendants().filter(|d| edit::RESOURCES.contains(&d.name()));
        for d in inside {
            match d.name() {
                "primitive" => made.push(primitive_command(d, stonith)),
                "group" => after.push((0, group_command(d))),
                "clone" | "master" => after.push((1, clone_command(d))),
                _ => super::report::warn(&format!(
                    "Bundle resource '{}' is not shown as a command",
                    d.id().unwrap_or_default()
                )),
            }
        }
    }
    after.sort_by_key(|(order, _)| *order);
    made.extend(after.into_iter().map(|(_, command)| command));
    match made.is_empty() {
        true => String::new(),
        false => made.join(";\n") + "\n",
    }
}

fn primitive_command(e: &Element, stonith: bool) -> String {
    let kind = if stonith { "stonith" } else { "resource" };
    let agent = if stonith { e.attr("type").unwrap_or_default().to_owned() } else { edit::agent_of(e) };
    let mut text =
        format!("pcs {kind} create --no-default-ops --force -- {} {agent}", shell(e.id().unwrap_or_default()));
    let parameters = words_of(e, "instance_attributes");
    if !parameters.is_empty() {
        let _ = write!(text, " \\\n  {}", parameters.join(" "));
    }
    let operations: Vec<String> =
        e.child("operations").into_iter().flat_map(|o| o.elements_named("op")).map(operation_words).collect();
    if !operations.is_empty() {
        let _ = write!(text, " \\\n  op \\\n    {}", operations.join(" \\\n    "));
    }
    let meta = words_of(e, "meta_attributes");
    if !meta.is_empty() {
        let _ = write!(text, " \\\n  meta {}", meta.join(" "));
    }
    text
}

fn operation_words(op: &Element) -> String {
    let mut words = vec![op.attr("name").unwrap_or_default().to_owned()];
    let option = |name: &str| op.attr(name).map(|v| shell(&format!("{name}={v}")));
    words.extend(option("interval"));
    words.extend(option("id"));
    words.extend(OPERATION.iter().filter(|n| **n != "interval").filter_map(|n| option(n)));
    words.extend(words_of(op, "instance_attributes"));
    words.join(" ")
}

fn group_command(e: &Element) -> String {
    let members: Vec<&str> = e.elements_named("primitive").filter_map(Element::id).collect();
    let mut text = format!("pcs resource group add {} \\\n  {}", e.id().unwrap_or_default(), members.join(" "));
    let meta = words_of(e, "meta_attributes");
    if !meta.is_empty() {
        let _ = write!(text, ";\npcs resource meta {} \\\n  {}", e.id().unwrap_or_default(), meta.join(" "));
    }
    text
}

fn clone_command(e: &Element) -> String {
    let inner = e.elements().find(|c| edit::RESOURCES.contains(&c.name())).and_then(Element::id).unwrap_or_default();
    let mut text = format!("pcs resource clone {inner} {}", e.id().unwrap_or_default());
    let meta = words_of(e, "meta_attributes");
    if !meta.is_empty() {
        let _ = write!(text, " \\\n  meta {}", meta.join(" "));
    }
    text
}

/// The same as the elements say it, with the original's names of the lists.
fn json(all: &[&Element]) -> String {
    let lists = [("primitives", "primitive"), ("clones", "clone"), ("groups", "group"), ("bundles", "bundle")];
    let of = |kind: &str| -> Vec<serde_json::Value> {
        let inside = all.iter().flat_map(|e| e.descendants());
        inside.filter(|d| d.name() == kind || kind == "clone" && d.name() == "master").map(one).collect()
    };
    let whole: serde_json::Map<String, serde_json::Value> =
        lists.into_iter().map(|(name, kind)| (name.to_owned(), of(kind).into())).collect();
    serde_json::Value::Object(whole).to_string() + "\n"
}

fn one(e: &Element) -> serde_json::Value {
    use serde_json::json;
    let sets = |kind: &str| -> Vec<serde_json::Value> {
        let pair = |p: &Element| json!({"id": p.id(), "name": p.attr("name"), "value": p.attr("value")});
        let set = |s: &Element| {
            let pairs: Vec<_> = nvpairs::written(s).map(pair).collect();
            json!({"id": s.id(), "options": {}, "rule": null, "nvpairs": pairs})
        };
        e.elements_named(kind).map(set).collect()
    };
    let member = || e.elements().find(|c| edit::RESOURCES.contains(&c.name())).and_then(Element::id);
    match e.name() {
        "primitive" => json!({
            "id": e.id(),
            "agent_name": {"standard": e.attr("class"), "provider": e.attr("provider"), "type": e.attr("type")},
            "description": e.attr("description"),
            "operations": e.child("operations").into_iter().flat_map(|o| o.elements_named("op")).map(operation_json).collect::<Vec<_>>(),
            "meta_attributes": sets("meta_attributes"),
            "instance_attributes": sets("instance_attributes"),
            "utilization": sets("utilization"),
        }),
        "group" => json!({
            "id": e.id(),
            "description": e.attr("description"),
            "member_ids": e.elements_named("primitive").filter_map(Element::id).collect::<Vec<_>>(),
            "meta_attributes": sets("meta_attributes"),
            "instance_attributes": sets("instance_attributes"),
        }),
        "bundle" => {
            json!({"id": e.id(), "description": e.attr("description"), "member_id": member(), "meta_attributes": sets("meta_attributes")})
        }
        _ => json!({
            "id": e.id(),
            "description": e.attr("description"),
            "member_id": member(),
            "meta_attributes": sets("meta_attributes"),
            "instance_attributes": sets("instance_attributes"),
        }),
    }
}

fn operation_json(op: &Element) -> serde_json::Value {
    let names = ["id", "name", "interval", "description", "interval-origin", "timeout", "role"];
    let mut all: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|n| (n.replace('-', "_"), op.attr(n).into())).collect();
    for name in ["start-delay", "enabled", "record-pending", "on-fail"] {
        all.insert(name.replace('-', "_"), op.attr(name).into());
    }
    for name in ["meta_attributes", "instance_attributes"] {
        all.insert(name.to_owned(), serde_json::Value::Array(Vec::new()));
    }
    all.into()
}
