//! Difference of two trees as a patchset of format 2 (`crm_diff`, `cibadmin --patch`), and its application.
//!
//! Child elements are paired by name and `id`, comments by text and place; both count where a place is told. Where several
//! siblings share name and id, or text differs, the element is given whole. First comes what goes, in the order in which it
//! goes; then, in document order, what changes, comes and moves.

use crate::path::{Location, MAX_VISITS, Path, PathError};
use crate::tree::{Element, Node};
use std::collections::{BTreeMap, BTreeSet};

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

/// What leads from `old` to `new`, whatever the order of attributes; `None` if they are the same. Both must have the same root name.
pub fn diff(old: &Element, new: &Element) -> Option<Element> {
    difference(old, new, false)
}

/// [`diff`] that also tells of attributes that stand in another order.
pub fn diff_as_written(old: &Element, new: &Element) -> Option<Element> {
    difference(old, new, true)
}

fn difference(old: &Element, new: &Element, attribute_order: bool) -> Option<Element> {
    let mut out = Changes { attribute_order, ..Changes::default() };
    compare(old, new, &format!("/{}", old.name()), &mut out);
    if out.gone.is_empty() && out.rest.is_empty() {
        return None;
    }
    let mut patchset = Element::new("diff").with("format", "2");
    out.gone.into_iter().chain(out.rest).for_each(|change| patchset.push(change));
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
            "delete" => match subject(root, change, visits) {
                Ok((parent, index)) => drop(take(root, &parent, index)),
                Err(PatchError::TooCostly) => return Err(PatchError::TooCostly),
                // What is not there need not be deleted.
                Err(_) => {}
            },
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
    gone: Vec<Element>,
    rest: Vec<Element>,
    /// Whether an attribute's place is told as well.
    attribute_order: bool,
}

fn change(operation: &str, path: &str) -> Element {
    Element::new("change").with("operation", operation).with("path", path)
}

/// What stands for a child when it is paired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Element(&'a str, Option<&'a str>),
    /// With its place, if it must be the same.
    Comment(&'a str, usize),
}

impl Key<'_> {
    fn is_comment(&self) -> bool {
        matches!(self, Key::Comment(..))
    }
}

/// The children that have a place.
type Children<'a> = Vec<(Key<'a>, &'a Node)>;

/// A child that has a place: an element or a comment.
fn has_place(node: &Node) -> bool {
    !matches!(node, Node::Text(_))
}

fn placed(e: &Element) -> Children<'_> {
    let children = e.nodes().iter().filter(|n| has_place(n)).enumerate();
    children
        .map(|(place, node)| match node {
            Node::Element(child) => (Key::Element(child.name(), child.id()), node),
            Node::Comment(text) | Node::Text(text) => (Key::Comment(text, place), node),
        })
        .collect()
}

fn step_to(path: &str, e: &Element) -> String {
    match e.id() {
        Some(id) => format!("{path}/{}[@id='{id}']", e.name()),
        None => format!("{path}/{}", e.name()),
    }
}

/// Whether the children can be told apart by name and id, in words that a path can hold.
fn distinct(e: &Element) -> bool {
    let mut keys: Vec<(&str, Option<&str>)> = e.elements().map(|c| (c.name(), c.id())).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    // A path of a child without an id fits its siblings of the same name as well.
    let ambiguous = keys.windows(2).any(|w| w[0].0 == w[1].0 && w[0].1.is_none());
    keys.len() == count && !ambiguous && keys.iter().all(|(_, id)| id.is_none_or(|id| !id.contains('\'')))
}

fn compare(old: &Element, new: &Element, path: &str, out: &mut Changes) {
    modified(old, new, path, out);
    let (before, after) = (placed(old), placed(new));
    let mut there: BTreeMap<Key<'_>, &Node> = before.iter().copied().collect();
    let mut kept = kept(&there, &after);
    let moved = moved(&before, &after, &mut kept);
    let mut gone = 0;
    for (place, (key, node)) in before.iter().enumerate() {
        if !kept.contains(key) {
            out.gone.push(match node {
                Node::Element(e) => change("delete", &step_to(path, e)),
                _ => change("delete", &format!("{path}/comment")).with("position", (place - gone).to_string()),
            });
            gone += 1;
            there.remove(key);
        }
    }
    for (place, (key, node)) in after.iter().enumerate() {
        let at = place.to_string();
        match (there.get(key), node) {
            (None, node) => {
                let mut create = change("create", path).with("position", at);
                create.nodes_mut().push((*node).clone());
                out.rest.push(create);
            }
            (Some(Node::Element(was)), Node::Element(is)) => {
                let path = step_to(path, is);
                compare(was, is, &path, out);
                if moved.contains(key) {
                    out.rest.push(change("move", &path).with("position", at));
                }
            }
            _ => {}
        }
    }
}

/// What stands on both sides and can be followed into.
fn kept<'a>(there: &BTreeMap<Key<'a>, &Node>, after: &[(Key<'a>, &Node)]) -> BTreeSet<Key<'a>> {
    let follows = |key: &Key<'a>, is: &Node| match (there.get(key), is) {
        (Some(Node::Element(was)), Node::Element(is)) => can_descend(was, is),
        (Some(_), Node::Comment(_)) => true,
        _ => false,
    };
    after.iter().filter(|(key, is)| follows(key, is)).map(|(key, _)| *key).collect()
}

/// What must be moved so that, everything placed one after the other, all stands as in `after`. A comment has nothing to be
/// moved by: it goes and comes anew, so it is kept no more.
fn moved<'a>(before: &Children<'a>, after: &Children<'a>, kept: &mut BTreeSet<Key<'a>>) -> BTreeSet<Key<'a>> {
    let keys = |of: &Children<'a>| of.iter().map(|(key, _)| *key).collect::<Vec<_>>();
    let (before, after) = (keys(before), keys(after));
    loop {
        let order: Vec<Key<'a>> = before.iter().copied().filter(|key| kept.contains(key)).collect();
        let moved = rearranged(order, &after, kept);
        if !moved.iter().any(Key::is_comment) {
            return moved;
        }
        kept.retain(|key| !key.is_comment() || !moved.contains(key));
    }
}

fn rearranged<'a>(before: Vec<Key<'a>>, after: &[Key<'a>], kept: &BTreeSet<Key<'a>>) -> BTreeSet<Key<'a>> {
    let stays: Vec<Key<'a>> = after.iter().copied().filter(|key| kept.contains(key)).collect();
    if before == stays {
        return BTreeSet::new();
    }
    let told = displaced(&before, &stays);
    let mut order = before.clone();
    place_all(&mut order, after, kept, |key, _| told.contains(key));
    if order == after {
        return told;
    }
    let mut needed = BTreeSet::new();
    place_all(&mut { before }, after, kept, |key, is_there| {
        if !is_there {
            needed.insert(*key);
        }
        !is_there
    });
    needed
}

/// What the original says has moved: what has other neighbours before it. Once told, the one that came from further back counts
/// no more where it was, nor the other where it is.
fn displaced<'a>(before: &[Key<'a>], after: &[Key<'a>]) -> BTreeSet<Key<'a>> {
    let (mut skipped_before, mut skipped_after) = (BTreeSet::new(), BTreeSet::new());
    let place = |of: &Key<'a>, all: &[Key<'a>], skipped: &BTreeSet<Key<'a>>| {
        all.iter().take_while(|key| *key != of).filter(|key| !skipped.contains(*key)).count()
    };
    let mut told = BTreeSet::new();
    for key in after {
        let was = place(key, before, &skipped_before);
        let is = place(key, after, &skipped_after);
        if was != is {
            told.insert(*key);
            if was > is { &mut skipped_before } else { &mut skipped_after }.insert(*key);
        }
    }
    told
}

/// Places what is new, and what `moves` (told whether it stands there already) says, as [`patch`] does.
fn place_all<'a>(
    order: &mut Vec<Key<'a>>,
    after: &[Key<'a>],
    kept: &BTreeSet<Key<'a>>,
    mut moves: impl FnMut(&Key<'a>, bool) -> bool,
) {
    for (position, key) in after.iter().enumerate() {
        let is_there = order.get(position) == Some(key);
        if kept.contains(key) && !moves(key, is_there) {
            continue;
        }
        if kept.contains(key) {
            order.retain(|o| o != key);
        }
        order.insert(position.min(order.len()), *key);
    }
}

fn can_descend(old: &Element, new: &Element) -> bool {
    old.text() == new.text() && distinct(old) && distinct(new)
}

fn modified(old: &Element, new: &Element, path: &str, out: &mut Changes) {
    let mut list = Element::new("change-list");
    let attr =
        |name: &str, operation: &str| Element::new("change-attr").with("name", name).with("operation", operation);
    let place = |of: &Element, name: &str| of.attrs().position(|(n, _)| n == name);
    let differs = |(place_now, (name, value)): &(usize, (&str, &str))| {
        old.attr(name) != Some(value) || out.attribute_order && place(old, name) != Some(*place_now)
    };
    for (_, (name, value)) in new.attrs().enumerate().filter(differs) {
        list.push(attr(name, "set").with("value", value));
    }
    for (name, _) in old.attrs().filter(|(n, _)| new.attr(n).is_none()) {
        list.push(attr(name, "unset"));
    }
    if !list.nodes().is_empty() {
        let bare = new.attrs().fold(Element::new(new.name()), |e, (n, v)| e.with(n, v));
        let result = Element::new("change-result").with_child(bare);
        out.rest.push(change("modify", path).with_child(list).with_child(result));
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
    if let Some(result) = change.child("change-result").and_then(|r| r.elements().next()) {
        in_order_of(here, result);
    }
    Ok(())
}

/// Attributes stand as in `model`; those that it has not come last.
fn in_order_of(e: &mut Element, model: &Element) {
    let wanted = model.attrs().map(|(name, _)| name).filter(|name| e.attr(name).is_some());
    let others = e.attrs().map(|(name, _)| name).filter(|name| model.attr(name).is_none());
    let order: Vec<String> = wanted.chain(others).map(str::to_owned).collect();
    if e.attrs().map(|(name, _)| name).eq(order.iter().map(String::as_str)) {
        return;
    }
    for name in order {
        if let Some(value) = e.remove_attr(&name) {
            e.set(&name, value);
        }
    }
}

/// What a change deletes or moves: its parent, and its index among the parent's nodes. A comment's path says where it is among
/// its siblings; of an element, the position is where it goes.
fn subject(root: &Element, change: &Element, visits: &mut usize) -> Result<(Location, usize), PatchError> {
    let path = need(change, "path")?;
    let missing = || PatchError::NoSuchPath { path: path.to_owned() };
    let position = change.attr("position").and_then(|p| p.parse().ok());
    if let (Some(parent), Some(position)) = (path.strip_suffix("/comment"), position) {
        let at = locate(root, parent, visits)?;
        let nodes = root.at(&at).ok_or_else(missing)?.nodes().iter().enumerate();
        let (index, node) = nodes.filter(|(_, n)| has_place(n)).nth(position).ok_or_else(missing)?;
        return if matches!(node, Node::Comment(_)) { Ok((at, index)) } else { Err(missing()) };
    }
    let at = locate(root, path, visits)?;
    let (index, parent) = at.split_last().ok_or_else(missing)?;
    Ok((parent.to_vec(), *index))
}

fn take(root: &mut Element, parent: &[usize], index: usize) -> Option<Node> {
    root.at_mut(parent)?.nodes_mut().remove(index)
}

fn place(root: &mut Element, change: &Element, position: usize, visits: &mut usize) -> Result<(), PatchError> {
    let path = need(change, "path")?;
    let missing = || PatchError::NoSuchPath { path: path.to_owned() };
    let (parent_at, node) = if change.attr("operation") == Some("move") {
        let (parent, index) = subject(root, change, visits)?;
        let node = take(root, &parent, index).ok_or_else(missing)?;
        (parent, node)
    } else {
        let new = change.nodes().iter().find(|n| has_place(n));
        let new = new.ok_or(PatchError::Missing { line: change.line(), attribute: "element to create" })?;
        (locate(root, path, visits)?, new.clone())
    };
    let parent = root.at_mut(&parent_at).ok_or_else(missing)?;
    let places = parent.nodes().iter().enumerate().filter(|(_, n)| has_place(n));
    let index = places.map(|(i, _)| i).nth(position).unwrap_or(parent.nodes().len());
    parent.nodes_mut().insert(index, node);
    Ok(())
}
