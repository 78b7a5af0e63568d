//! `crm configure assist`: what takes several objects at once.

use crate::edit::{self, error};
use crate::source::Failure;
use xml::Element;

/// `weak-bond A B…`: they are kept together, and none of them depends on another; `template A B…`: what their agent is stands once.
pub fn run(configuration: &mut Element, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] => Ok(String::new()),
        ["weak-bond" | "weak_bond", ids @ ..] => weak_bond(configuration, ids),
        ["template", ids @ ..] => template(configuration, ids),
        [other, ..] => Err(error(format!("assist.{other}: No such command: weak-bond ID ID…, template ID…"))),
    }
}

fn primitive<'a>(configuration: &'a Element, id: &str) -> Result<&'a Element, Failure> {
    let found = edit::find_resource(configuration, id).ok_or_else(|| error(format!("Object not found: {id}")))?;
    if found.name() == "primitive" { Ok(found) } else { Err(error(format!("Object not primitive: {id}"))) }
}

fn unique(configuration: &Element, prefix: &str) -> String {
    (1..).map(|n: u32| format!("{prefix}{n}")).find(|id| configuration.find_id(id).is_none()).unwrap_or_default()
}

fn weak_bond(configuration: &mut Element, ids: &[&str]) -> Result<String, Failure> {
    if ids.len() < 2 {
        return Err(error("Need at least two arguments"));
    }
    ids.iter().try_for_each(|id| primitive(configuration, id).map(drop))?;
    let (bond, dummy) = (unique(configuration, "place-constraint-"), unique(configuration, "place-dummy-"));
    super::primitive::primitive(configuration, "primitive", &dummy, &["ocf:heartbeat:Dummy"])?;
    let words = [&["inf:", "("], ids, &[")", &dummy]].concat();
    super::constraints::colocation(configuration, &bond, &words)?;
    Ok(format!(
        "Create weak bond / independent colocation\nThe following elements will be created:\n   * Colocation constraint, ID: {bond}\n   \
         * Dummy resource, ID: {dummy}\n"
    ))
}

fn template(configuration: &mut Element, ids: &[&str]) -> Result<String, Failure> {
    if ids.is_empty() {
        return Err(error("Expected at least one primitive argument"));
    }
    let mut agents = Vec::new();
    for id in ids {
        let e = primitive(configuration, id)?;
        if e.attr("template").is_some() {
            return Err(error(format!("{id} has a template already: {}", e.attr("template").unwrap_or_default())));
        }
        agents.push(["class", "provider", "type"].map(|n| e.attr(n).map(str::to_owned)));
    }
    if agents.iter().any(|a| *a != agents[0]) {
        return Err(error("Cannot template the given primitives: their agents differ"));
    }
    let kind = agents[0][2].clone().unwrap_or_default().to_lowercase();
    let name = unique(configuration, &format!("template-{kind}-"));
    let mut e = Element::new("template").with("id", &name);
    for (attribute, value) in ["class", "provider", "type"].iter().zip(&agents[0]) {
        value.iter().for_each(|v| e.set(attribute, v));
    }
    for id in ids {
        let p = edit::resource_mut(configuration, id)?;
        ["class", "provider", "type"].iter().for_each(|n| drop(p.remove_attr(n)));
        p.set("template", &name);
    }
    configuration.child_or_insert("resources").push(e);
    Ok(format!("INFO: Template created: {name}\n"))
}
