//! Difference of two trees as a patchset of format 2 (`crm_diff`, `cibadmin --patch`), and its application.
//!
//! Children are paired by name and `id`. Where several siblings share both, or text differs, the parent is given whole.
//! Comments take no part.

use crate::path::{Location, MAX_VISITS, Path, PathError};
use crate::tree::{Element, Node};

#[cfg(test)]
mod tests;

/// Most changes of one patchset that are applied.
pub const MAX_CHANGES: usize = 1_000_000;

/// Why a patchset could not be applied; the tree may then be changed in part, so work on a copy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatchError {
    #[error("not a patchset of format 2")]
    NotAPatchset,
    #[error("more than {MAX_CHANGES} changes")]
    TooMany,
    #[error("line {line}: change without '{attribute}'")]
    Missing { line: u32, attribute: &'static str },
    #[error("line {line}: unknown operation '{operation}'")]
    UnknownOperation { line: u32, operation: String },
    #[error("nothing stands at {path}")]
    NoSuchPath { path: String },
    #[error("its paths need more than {MAX_VISITS} visits of elements; replace what changes as a whole, or split it")]
    TooCostly,
}

/// What leads from `old` to `new`; `None` if they are the same. Both must have the same root name.
pub fn diff(old: &Element, new: &Element) -> Option<Element> {
    let mut out = Changes::default();
    compare(old, new, &format!("/{}", old.name()), &mut out);
    if out.first.is_empty() && out.placed.is_empty() {
        return None;
    }
    let mut patchset = Element::new("diff").with("format", "2");
    out.first.into_iter().chain(out.placed).for_each(|change| patchset.push(change));
    Some(patchset)
}

/// Applies the `change`s of a patchset; versions are the caller's concern.
pub fn patch(root: &mut Element, patchset: &Element) -> Result<(), PatchError> {
    patch_within(root, patchset, &mut 0)
}

/// [`patch`] as a part of work whose paths may visit [`crate::path::MAX_VISITS`] elements together.
pub fn patch_within(root: &mut Element, patchset: &Element, visits: &mut usize) -> Result<(), PatchError> {
    if patchset.name() != "diff" || patchset.attr("format") != Some("2") {
        return Err(PatchError::NotAPatchset);
    }
    let changes: Vec<&Element> = patchset.elements_named("change").take(MAX_CHANGES + 1).collect();
    if changes.len() > MAX_CHANGES {
        return Err(PatchError::TooMany);
    }
    let mut placed: Vec<(usize, &Element)> = Vec::new();
    for change in changes {
        match need(change, "operation")? {
            "delete" => {
                match locate(root, need(change, "path")?, visits) {
                    Ok(at) => drop(root.remove_at(&at)),
                    Err(PatchError::TooCostly) => return Err(PatchError::TooCostly),
                    // What is not there need not be deleted.
                    Err(_) => {}
                }
            }
            "modify" => modify(root, change, visits)?,
            "create" | "move" => {
                let position = change.attr("position").and_then(|p| p.parse().ok()).unwrap_or(usize::MAX);
                placed.push((position, change));
            }
            other => {
                return Err(PatchError::UnknownOperation { line: change.line(), operation: other.to_owned() });
            }
        }
    }
    placed.sort_by_key(|(position, _)| *position);
    for (position, change) in placed {
        place(root, change, position, visits)?;
    }
    Ok(())
}

#[derive(Default)]
struct Changes {
    /// Deletions and changed attributes: they come first.
    first: Vec<Element>,
    /// Creations and moves, which name a position.
    placed: Vec<Element>,
}

fn change(operation: &str, path: &str) -> Element {
    Element::new("change").with("operation", operation).with("path", path)
}

type Key<'a> = (&'a str, Option<&'a str>);

fn key(e: &Element) -> Key<'_> {
    (e.name(), e.id())
}

fn step_to(path: &str, e: &Element) -> String {
    match e.id() {
        Some(id) => format!("{path}/{}[@id='{id}']", e.name()),
        None => format!("{path}/{}", e.name()),
    }
}

/// Whether the children can be told apart by name and id, in words that a path can hold.
fn distinct(e: &Element) -> bool {
    let mut keys: Vec<Key<'_>> = e.elements().map(key).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    // A path of a child without an id fits its siblings of the same name as well.
    let ambiguous = keys.windows(2).any(|w| w[0].0 == w[1].0 && w[0].1.is_none());
    keys.len() == count && !ambiguous && keys.iter().all(|(_, id)| id.is_none_or(|id| !id.contains('\'')))
}

fn compare(old: &Element, new: &Element, path: &str, out: &mut Changes) {
    modified(old, new, path, out);
    let old_keys: Vec<Key<'_>> = old.elements().map(key).collect();
    for child in old.elements() {
        if !new.elements().any(|n| key(n) == key(child)) {
            out.first.push(change("delete", &step_to(path, child)));
        }
    }
    let mut order: Vec<Key<'_>> = old_keys.iter().copied().filter(|k| new.elements().any(|n| key(n) == *k)).collect();
    for (position, child) in new.elements().enumerate() {
        let k = key(child);
        let there = old.elements().find(|o| key(o) == k);
        let whole = there.is_some_and(|o| !can_descend(o, child));
        if whole {
            out.first.push(change("delete", &step_to(path, child)));
            order.retain(|o| *o != k);
        }
        if there.is_none() || whole {
            out.placed.push(change("create", path).with("position", position.to_string()).with_child(child.clone()));
            order.insert(position.min(order.len()), k);
        } else if order.get(position) != Some(&k) {
            out.placed.push(change("move", &step_to(path, child)).with("position", position.to_string()));
            order.retain(|o| *o != k);
            order.insert(position.min(order.len()), k);
        }
        if let (Some(o), false) = (there, whole) {
            compare(o, child, &step_to(path, child), out);
        }
    }
}

fn can_descend(old: &Element, new: &Element) -> bool {
    old.text() == new.text() && distinct(old) && distinct(new)
}

fn modified(old: &Element, new: &Element, path: &str, out: &mut Changes) {
    let mut list = Element::new("change-list");
    let attr =
        |name: &str, operation: &str| Element::new("change-attr").with("name", name).with("operation", operation);
    for (name, value) in new.attrs().filter(|(n, v)| old.attr(n) != Some(v)) {
        list.push(attr(name, "set").with("value", value));
    }
    for (name, _) in old.attrs().filter(|(n, _)| new.attr(n).is_none()) {
        list.push(attr(name, "unset"));
    }
    if !list.nodes().is_empty() {
        let bare = new.attrs().fold(Element::new(new.name()), |e, (n, v)| e.with(n, v));
        let result = Element::new("change-result").with_child(bare);
        out.first.push(change("modify", path).with_child(list).with_child(result));
    }
}

fn need<'a>(change: &'a Element, attribute: &'static str) -> Result<&'a str, PatchError> {
    change.attr(attribute).ok_or(PatchError::Missing { line: change.line(), attribute })
}

fn locate(root: &Element, path: &str, visits: &mut usize) -> Result<Location, PatchError> {
    let missing = || PatchError::NoSuchPath { path: path.to_owned() };
    let found = Path::parse(path).and_then(|p| p.find_within(root, visits)).map_err(|e| match e {
        PathError::TooCostly => PatchError::TooCostly,
        _ => missing(),
    })?;
    found.into_iter().next().ok_or_else(missing)
}

fn modify(root: &mut Element, change: &Element, visits: &mut usize) -> Result<(), PatchError> {
    let path = need(change, "path")?;
    let at = locate(root, path, visits)?;
    let here = root.at_mut(&at).ok_or_else(|| PatchError::NoSuchPath { path: path.to_owned() })?;
    for attr in change.child("change-list").into_iter().flat_map(|l| l.elements_named("change-attr")) {
        let name = need(attr, "name")?;
        match need(attr, "operation")? {
            "set" => here.set(name, need(attr, "value")?),
            "unset" => drop(here.remove_attr(name)),
            other => return Err(PatchError::UnknownOperation { line: attr.line(), operation: other.to_owned() }),
        }
    }
    Ok(())
}

fn place(root: &mut Element, change: &Element, position: usize, visits: &mut usize) -> Result<(), PatchError> {
    let path = need(change, "path")?;
    let missing = || PatchError::NoSuchPath { path: path.to_owned() };
    let at = locate(root, path, visits)?;
    let (parent_at, element) = if change.attr("operation") == Some("move") {
        let parent = at.split_last().ok_or_else(missing)?.1.to_vec();
        (parent, root.remove_at(&at).ok_or_else(missing)?)
    } else {
        let new = change
            .elements()
            .next()
            .ok_or(PatchError::Missing { line: change.line(), attribute: "element to create" })?;
        (at, new.clone())
    };
    let parent = root.at_mut(&parent_at).ok_or_else(missing)?;
    let elements = parent.nodes().iter().enumerate().filter(|(_, n)| matches!(n, Node::Element(_)));
    let index = elements.map(|(i, _)| i).nth(position).unwrap_or(parent.nodes().len());
    parent.nodes_mut().insert(index, Node::Element(element));
    Ok(())
}
