//! Whether everything that differs between two documents may differ.

use super::marks::{Allowed, Marks};
use std::collections::BTreeMap;
use xml::{Element, Node};

/// What is not allowed, and the rule that forbids it.
#[derive(Debug)]
pub struct Denied {
    pub what: String,
    pub rule: String,
}

/// A document before and after a change, with each one's marks.
pub struct Check<'a> {
    pub old: &'a Element,
    pub old_marks: &'a Marks,
    pub new: &'a Element,
    pub new_marks: &'a Marks,
}

/// An element on the way down.
struct Spot<'a> {
    e: &'a Element,
    marks: &'a Marks,
    allowed: Allowed,
    /// Place among its siblings.
    at: usize,
}

/// Whether the outermost element may be written.
pub fn root_writable(_root: &Element, marks: &Marks) -> Result<(), String> {
    Allowed::nothing().at(marks).write
}

impl<'a> Check<'a> {
    pub fn run(&self) -> Result<(), Denied> {
        let top = Allowed::nothing();
        let old = Spot { e: self.old, marks: self.old_marks, allowed: top.at(self.old_marks), at: 0 };
        let new = Spot { e: self.new, marks: self.new_marks, allowed: top.at(self.new_marks), at: 0 };
        if old.e.name() != new.e.name() {
            old.writable("replace", "")?;
            return new.writable("replace", "");
        }
        changed(&old, &new, &format!("/{}", self.old.name()), false)
    }
}

impl<'a> Spot<'a> {
    /// Child elements with their places in [`Element::nodes`].
    fn children(&self) -> Vec<Spot<'a>> {
        let (e, marks) = (self.e, self.marks);
        let children = e.nodes().iter().enumerate().filter_map(|(at, node)| match node {
            Node::Element(child) => {
                let marks = marks.child(at);
                Some(Spot { e: child, marks, allowed: self.allowed.at(marks), at })
            }
            _ => None,
        });
        children.collect()
    }

    fn path(&self, above: &str) -> String {
        match self.e.id() {
            Some(id) => format!("{above}/{}[@id='{id}']", self.e.name()),
            None => format!("{above}/{}", self.e.name()),
        }
    }

    fn writable(&self, verb: &str, path: &str) -> Result<(), Denied> {
        let Err(rule) = &self.allowed.write else { return Ok(()) };
        Err(Denied { what: format!("{verb} {path}"), rule: rule.clone() })
    }
}

/// Two states of one element.
fn changed(old: &Spot<'_>, new: &Spot<'_>, path: &str, in_acls: bool) -> Result<(), Denied> {
    if old.e == new.e {
        return Ok(());
    }
    let differs = |a: &Element, b: &Element| {
        a.attrs().find(|(name, value)| b.attr(name) != Some(value)).map(|(name, _)| format!("attribute {name} of "))
    };
    let attribute = differs(new.e, old.e).or_else(|| differs(old.e, new.e));
    let text = || (own_text(old.e) != own_text(new.e)).then(|| "the text of ".to_owned());
    if let Some(part) = attribute.or_else(text) {
        let verb = format!("change {part}");
        old.writable(verb.trim_end(), path)?;
        new.writable(verb.trim_end(), path)?;
    }
    children(old, new, path, in_acls || new.e.name() == "acls")
}

fn own_text(e: &Element) -> Vec<&str> {
    let text = e.nodes().iter().filter_map(|n| match n {
        Node::Text(text) | Node::Comment(text) => Some(text.as_str()),
        Node::Element(_) => None,
    });
    text.collect()
}

fn children(old: &Spot<'_>, new: &Spot<'_>, path: &str, in_acls: bool) -> Result<(), Denied> {
    // Same tag and id are the same element; of several the first with the first.
    let key = |e: &Element| (e.name().to_owned(), e.id().map(str::to_owned));
    let mut before: BTreeMap<_, Vec<Spot<'_>>> = BTreeMap::new();
    for spot in old.children().into_iter().rev() {
        before.entry(key(spot.e)).or_default().push(spot);
    }
    // Places before of those that may not be moved, in their order now.
    let mut fixed = Vec::new();
    for spot in new.children() {
        let below = spot.path(path);
        match before.get_mut(&key(spot.e)).and_then(Vec::pop) {
            Some(was) => {
                changed(&was, &spot, &below, in_acls)?;
                if was.writable("move", &below).and_then(|()| spot.writable("move", &below)).is_err() {
                    fixed.push((was.at, was, below));
                }
            }
            None => created(&spot, &below, in_acls)?,
        }
    }
    for spot in before.values().flatten() {
        deleted(spot, &spot.path(path))?;
    }
    match fixed.windows(2).find(|pair| pair[0].0 > pair[1].0) {
        Some([(_, spot, path), ..]) => spot.writable("move", path),
        _ => Ok(()),
    }
}

/// With all that it contains.
fn deleted(spot: &Spot<'_>, path: &str) -> Result<(), Denied> {
    spot.writable("delete", path)?;
    if !spot.marks.has_any_below() {
        return Ok(());
    }
    for child in spot.children() {
        match child.allowed.read {
            Ok(()) => deleted(&child, &child.path(path))?,
            // Its name is not for the user to know.
            Err(_) => child.writable("delete something below", path)?,
        }
    }
    Ok(())
}

/// With all that it contains. An element of nothing but an id may enclose what may be made, outside of `acls`.
fn created(spot: &Spot<'_>, path: &str, in_acls: bool) -> Result<(), Denied> {
    if let Err(denied) = spot.writable("create", path) {
        let bare = spot.e.attrs().all(|(name, _)| name == "id") && own_text(spot.e).is_empty();
        if in_acls || !bare || spot.e.elements().next().is_none() {
            return Err(denied);
        }
    } else if !spot.marks.has_any_below() {
        return Ok(());
    }
    let in_acls = in_acls || spot.e.name() == "acls";
    spot.children().iter().try_for_each(|child| created(child, &child.path(path), in_acls))
}
