//! What `crm resource start|stop|manage|unmanage|maintenance` set: at the resource, or at what it stands in, and no longer at what
//! stands within, so that one word decides.

use super::options::Children;
use crate::edit::rules::Ids;
use crate::edit::{self, error};
use crate::source::Failure;
use xml::{Element, Node};

/// How doubts are resolved.
#[derive(Clone, Copy)]
pub struct Asking {
    /// All is answered with yes.
    pub force: bool,
    pub children: Children,
}

impl Asking {
    pub fn agrees(self, question: &str) -> bool {
        if self.force {
            super::note!("INFO: {question} [YES]");
            return true;
        }
        crate::terminal::confirmed(question, &[])
    }

    fn agrees_for_child(self, question: &str) -> bool {
        match self.children {
            Children::Always => true,
            Children::Never => false,
            Children::Ask => self.agrees(question),
        }
    }
}

/// Of a resource, or of all that a tag names.
pub fn set(configuration: &mut Element, word: &str, name: &str, value: &str, asking: Asking) -> Result<(), Failure> {
    for id in meant(configuration, word)? {
        let place = topmost(configuration, &id);
        set_one(configuration, &place, name, value, asking)?;
    }
    Ok(())
}

fn meant(configuration: &Element, word: &str) -> Result<Vec<String>, Failure> {
    let tag = configuration.child("tags").and_then(|t| t.child_by_id("tag", word));
    let there = |id: &str| edit::find_resource(configuration, id).is_some();
    let all: Vec<String> = match tag {
        Some(tag) => tag.elements().filter_map(Element::id).filter(|id| there(id)).map(str::to_owned).collect(),
        None if there(word) => vec![word.to_owned()],
        None => Vec::new(),
    };
    if all.is_empty() { Err(error(format!("Resource not found: {word}"))) } else { Ok(all) }
}

/// A member of a group stands for itself; else what holds it at the top.
fn topmost(configuration: &Element, id: &str) -> String {
    let tops = configuration.child("resources").into_iter().flat_map(Element::elements);
    let in_group = |top: &Element| {
        let groups = top.descendants().filter(|e| e.name() == "group");
        groups.flat_map(|g| g.elements_named("primitive")).any(|p| p.id() == Some(id))
    };
    let holds = |top: &&Element| {
        let mut inside = top.descendants().filter(|e| edit::RESOURCES.contains(&e.name()));
        inside.any(|e| e.id() == Some(id))
    };
    match { tops }.find(holds) {
        Some(top) if !in_group(top) => top.id().unwrap_or(id).to_owned(),
        _ => id.to_owned(),
    }
}

fn set_one(configuration: &mut Element, id: &str, name: &str, value: &str, asking: Asking) -> Result<(), Failure> {
    let conflicting = match name {
        "maintenance" => Some("is-managed"),
        "is-managed" => Some("maintenance"),
        _ => None,
    };
    let mut ids = Ids::from_nought(configuration);
    let e = edit::resource_mut(configuration, id)?;
    let is_clone = ["clone", "master"].contains(&e.name());
    if is_clone {
        children_mut(e).for_each(|c| forget(c, name, false));
    }
    let of_group = e.name() == "group" || is_clone && e.child("group").is_some();
    if of_group && asking.children != Children::Never {
        for (attribute, verb) in conflicting.map(|c| (c, "conflict")).into_iter().chain([(name, "override")]) {
            for child in primitives_with(e, attribute) {
                let question = match verb {
                    "conflict" => format!(
                        "'{name}' conflicts with '{attribute}' attribute. Remove '{attribute}' for child resource {child}?"
                    ),
                    _ => format!("Do you want to override '{attribute}' for child resource {child}?"),
                };
                if asking.agrees_for_child(&question)
                    && let Some(c) = e.find_id_mut(&child)
                {
                    forget(c, attribute, true);
                }
            }
        }
    }
    if let Some(other) = conflicting.filter(|other| has(e, other)) {
        let question = format!("'{name}' conflicts with '{other}' attribute. Remove '{other}' for resource {id}?");
        if asking.agrees(&question) {
            own_sets(e).for_each(|set| set.retain_elements(|p| p.attr("name") != Some(other)));
        }
    }
    without_empty_sets(e);
    put(e, id, name, value, &mut ids);
    Ok(())
}

/// Wherever it is set now; else in every set, or in a new one.
fn put(e: &mut Element, id: &str, name: &str, value: &str, ids: &mut Ids) {
    if has(e, name) {
        let pairs = own_sets(e).flat_map(Element::elements_mut);
        pairs.filter(|p| p.attr("name") == Some(name)).for_each(|p| p.set("value", value));
        return;
    }
    if e.child("meta_attributes").is_none() {
        let set = Element::new("meta_attributes").with("id", ids.free(&format!("{id}-meta_attributes")));
        e.push(set);
    }
    for set in own_sets(e) {
        let pair = ids.free(&format!("{}-{name}", set.id().unwrap_or_default()));
        set.push(Element::new("nvpair").with("name", name).with("value", value).with("id", pair));
    }
}

fn own_sets(e: &mut Element) -> impl Iterator<Item = &mut Element> {
    e.elements_mut().filter(|s| s.name() == "meta_attributes")
}

fn children_mut(e: &mut Element) -> impl Iterator<Item = &mut Element> {
    e.elements_mut().filter(|c| edit::RESOURCES.contains(&c.name()))
}

fn has(e: &Element, name: &str) -> bool {
    e.elements_named("meta_attributes").flat_map(Element::elements).any(|p| p.attr("name") == Some(name))
}

fn primitives_with(e: &Element, name: &str) -> Vec<String> {
    let all = e.descendants().filter(|d| d.name() == "primitive" && has(d, name));
    all.filter_map(Element::id).map(str::to_owned).collect()
}

/// Takes an attribute away, and from what stands within; from members of a group only where all of it is meant.
fn forget(e: &mut Element, name: &str, members: bool) {
    own_sets(e).for_each(|set| set.retain_elements(|p| p.attr("name") != Some(name)));
    if members || e.name() != "group" {
        children_mut(e).for_each(|c| forget(c, name, members));
    }
}

fn without_empty_sets(e: &mut Element) {
    let empty = |s: &Element| {
        ["meta_attributes", "instance_attributes", "utilization"].contains(&s.name())
            && s.attr("id-ref").is_none()
            && !s.nodes().iter().any(|n| matches!(n, Node::Element(_)))
    };
    e.retain_elements(|s| !empty(s));
    e.elements_mut().for_each(without_empty_sets);
}

/// `maintenance` of resources, and of nodes, that would speak against that of the whole: taken away where the user agrees.
pub fn no_other_maintenance(configuration: &mut Element, nodes: bool, asking: Asking) {
    const NAME: &str = "maintenance";
    let resources = configuration.child("resources");
    let mut found: Vec<String> = Vec::new();
    for kind in ["primitive", "group", "clone", "master", "bundle"] {
        let all = resources.into_iter().flat_map(Element::descendants).filter(|e| e.name() == kind && has(e, NAME));
        found.extend(all.filter_map(Element::id).map(str::to_owned));
    }
    for id in found {
        if asking.agrees(&format!("'{NAME}' attribute already exists in {id}. Remove it?"))
            && let Ok(e) = edit::resource_mut(configuration, &id)
        {
            own_sets(e).for_each(|set| set.retain_elements(|p| p.attr("name") != Some(NAME)));
            without_empty_sets(e);
        }
    }
    for node in configuration.child_or_insert("nodes").elements_mut().filter(|_| nodes) {
        let sets = node.elements_named("instance_attributes").flat_map(Element::elements);
        let there = { sets }.any(|p| p.attr("name") == Some(NAME));
        let name = node.attr("uname").unwrap_or_default().to_owned();
        if there && asking.agrees(&format!("'{NAME}' attribute already exists in {name}. Remove it?")) {
            node.elements_mut().for_each(|set| set.retain_elements(|p| p.attr("name") != Some(NAME)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Asking = Asking { force: true, children: Children::Always };

    fn configuration() -> Element {
        xml::parse(
            "<configuration><nodes/><resources><clone id='c'><group id='g'><primitive id='p'><meta_attributes id='s'>\
             <nvpair id='n' name='target-role' value='Stopped'/></meta_attributes></primitive></group></clone>\
             <primitive id='q'><meta_attributes id='t'><nvpair id='m' name='is-managed' value='false'/></meta_attributes>\
             </primitive></resources><tags><tag id='both'><obj_ref id='p'/><obj_ref id='q'/></tag></tags></configuration>",
        )
        .expect("good")
    }

    #[test]
    fn the_topmost_decides_and_what_stands_within_is_silent() {
        let mut c = configuration();
        set(&mut c, "g", "target-role", "Started", ALWAYS).expect("there");
        let text = c.to_compact();
        assert!(text.contains("id=\"c-meta_attributes-target-role\"") && !text.contains("Stopped"), "{text}");
        let mut c = configuration();
        let never = Asking { children: Children::Never, ..ALWAYS };
        set(&mut c, "g", "target-role", "Started", never).expect("there");
        assert!(c.to_compact().contains("Stopped"));
        set(&mut c, "p", "target-role", "Started", ALWAYS).expect("there");
        assert!(!c.to_compact().contains("Stopped"), "a member stands for itself");
    }

    #[test]
    fn what_conflicts_goes_and_a_tag_stands_for_all() {
        let mut c = configuration();
        set(&mut c, "both", "maintenance", "true", ALWAYS).expect("there");
        let text = c.to_compact();
        assert!(!text.contains("is-managed") && text.matches("name=\"maintenance\"").count() == 2, "{text}");
        no_other_maintenance(&mut c, true, ALWAYS);
        assert!(!c.to_compact().contains("maintenance"));
        assert!(set(&mut c, "nosuch", "maintenance", "true", ALWAYS).is_err());
    }
}
