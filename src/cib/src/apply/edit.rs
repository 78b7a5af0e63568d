//! Changing the tree: what each operation does to the elements that it names.

use super::{locate, path_of_section};
use crate::limits::check_places;
use crate::{CibError, FEATURE_SET, Op, Request, SCHEMA, Target, Version, empty_root};
use xml::{Element, Location, Node};

/// Performs a writing request; returns whether anything differs afterwards.
/// `visits` counts what XPaths look at, of all steps of a transaction together.
pub fn perform(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    let changed = operate(root, request, visits)?;
    // Whatever was deleted or replaced, the frame stays.
    root.child_or_insert("configuration");
    root.child_or_insert("status");
    Ok(changed)
}

fn operate(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    match request.op {
        Op::Query => Ok(false),
        Op::Create => create(root, request, visits),
        Op::Modify => modify(root, request, visits),
        Op::Replace => replace(root, request, visits),
        Op::Delete => delete(root, request, visits),
        Op::Patch => patch(root, request, visits),
        Op::Bump => Ok(true),
        Op::Erase => {
            erase(root);
            Ok(true)
        }
        Op::Transaction => transaction(root, request, visits),
        Op::Upgrade => {
            let changed = root.attr("validate-with") != Some(SCHEMA);
            *root = crate::upgrade::upgraded(root).cib;
            root.set("validate-with", SCHEMA);
            root.set("crm_feature_set", FEATURE_SET);
            Ok(changed)
        }
    }
}

/// The steps one after the other; the caller throws the tree away if one of them fails.
fn transaction(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    let mut changed = false;
    for (at, step) in request.steps.iter().enumerate() {
        let wrong = |error| CibError::Step { step: at + 1, op: step.op.name(), error: Box::new(error) };
        if matches!(step.op, Op::Query | Op::Transaction) {
            return Err(wrong(CibError::BadRequest("only changes can be part of one".to_owned())));
        }
        changed |= perform(root, step, visits).map_err(wrong)?;
    }
    Ok(changed)
}

pub fn without_children(e: &Element) -> Element {
    e.attrs().fold(Element::new(e.name()), |copy, (n, v)| copy.with(n, v))
}

pub fn location_by_names(root: &Element, names: &[&str]) -> Option<Location> {
    let mut at = Vec::with_capacity(names.len());
    let mut here = root;
    for name in names {
        let index = here.nodes().iter().position(|n| matches!(n, Node::Element(e) if e.name() == *name))?;
        at.push(index);
        here = here.at(&[index])?;
    }
    Some(at)
}

fn payload(request: &Request) -> Result<&Element, CibError> {
    request.payload.as_ref().ok_or(CibError::NoPayload { op: request.op.name() })
}

/// The section as a mutable element, made if it is not there yet.
fn section_or_insert<'a>(root: &'a mut Element, name: &str) -> Result<&'a mut Element, CibError> {
    let mut here = root;
    for part in path_of_section(name)? {
        here = here.child_or_insert(part);
    }
    Ok(here)
}

/// Adds the payload (or, if it is the section itself, each of its children) as new; an element that is there is an error.
fn create(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    let new = payload(request)?;
    match &request.target {
        Target::XPath(_) => {
            let found = locate(root, request, visits)?;
            if found.is_empty() {
                return Err(CibError::NotFound);
            }
            check_places(new, found.len())?;
            for at in &found {
                root.at(at).map_or(Ok(()), |parent| refuse_existing(parent, new))?;
            }
            for parent in found {
                if let Some(e) = root.at_mut(&parent) {
                    e.push(new.clone());
                }
            }
            Ok(true)
        }
        Target::Section(name) if new.name() != "cib" && !matches!(name.as_str(), "cib" | "all") => {
            let parent = section_or_insert(root, name)?;
            let objects: Vec<&Element> = if new.name() == parent.name() { new.elements().collect() } else { vec![new] };
            for object in &objects {
                refuse_existing(parent, object)?;
            }
            let changed = !objects.is_empty();
            objects.into_iter().for_each(|o| parent.push(o.clone()));
            Ok(changed)
        }
        _ => match update_match(root, new, false) {
            Some(changed) => Ok(changed),
            None => Err(CibError::NotFound),
        },
    }
}

fn refuse_existing(parent: &Element, new: &Element) -> Result<(), CibError> {
    let Some(id) = new.id() else { return Ok(()) };
    match parent.child_by_id(new.name(), id).is_some() {
        true => Err(CibError::Exists { name: new.name().to_owned(), id: id.to_owned() }),
        false => Ok(()),
    }
}

fn modify(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    let update = payload(request)?;
    let score = request.options.score_update;
    if let Target::XPath(_) = request.target {
        let found = locate(root, request, visits)?;
        if found.is_empty() {
            return Err(CibError::NotFound);
        }
        check_places(update, found.len())?;
        let possible = |at: &Location| root.at(at).is_some_and(|here| find_fit(here, update, &fits).is_some());
        if !found.iter().all(possible) {
            return Err(CibError::NotFound);
        }
        let mut changed = false;
        for at in found {
            let here = root.at_mut(&at).ok_or(CibError::NotFound)?;
            changed |= update_match(here, update, score).ok_or(CibError::NotFound)?;
        }
        return Ok(changed);
    }
    let parent = match &request.target {
        // A section that may be left out is there all the same.
        Target::Section(name) => section_or_insert(root, name)?,
        _ => {
            let at = locate(root, request, visits)?.pop().ok_or(CibError::NotFound)?;
            root.at_mut(&at).ok_or(CibError::NotFound)?
        }
    };
    match update_match(parent, update, score) {
        Some(changed) => Ok(changed),
        None if request.options.allow_create => {
            parent.push(update.clone());
            Ok(true)
        }
        None => Err(CibError::NotFound),
    }
}

/// Same name, and the same id where the criteria have one; what refers to another element is told by that one's id.
fn fits(e: &Element, criteria: &Element) -> bool {
    let same = |name: &str| criteria.attr(name).map(|value| e.attr(name) == Some(value));
    e.name() == criteria.name() && same("id").or_else(|| same("id-ref")).unwrap_or(true)
}

/// Merges `update` into the first element in document order that fits it; `None` if none does.
fn update_match(here: &mut Element, update: &Element, score: bool) -> Option<bool> {
    let at = find_fit(here, update, &fits)?;
    here.at_mut(&at).map(|there| merge(there, update, score))
}

/// Copies attributes over and merges children, adding those that are not there.
pub fn merge(here: &mut Element, update: &Element, score: bool) -> bool {
    let mut changed = false;
    for (name, value) in update.attrs() {
        let value = if score { expand_score(name, value, here) } else { value.to_owned() };
        if here.attr(name) != Some(&value) {
            here.set(name, &value);
            changed = true;
        }
    }
    for node in update.nodes() {
        match node {
            Node::Element(child) => {
                let there = match child.id() {
                    Some(id) => here.child_by_id_mut(child.name(), id),
                    None => here.find_mut(|e| fits(e, child)),
                };
                let there = there.map(|there| merge(there, child, score));
                if there.is_none() {
                    here.push(child.clone());
                }
                changed |= there.unwrap_or(true);
            }
            Node::Text(text) if here.text() != *text => {
                here.nodes_mut().retain(|n| !matches!(n, Node::Text(_)));
                here.nodes_mut().push(node.clone());
                changed = true;
            }
            _ => {}
        }
    }
    changed
}

/// `value="value++"` and `value="value+=5"` count up what is there.
fn expand_score(name: &str, text: &str, here: &Element) -> String {
    let Some(rest) = text.strip_prefix(name) else { return text.to_owned() };
    let by = match rest.strip_prefix("+=") {
        Some(amount) => base::Score::parse(amount),
        None if rest == "++" => Some(base::Score::new(1)),
        None => None,
    };
    let Some(by) = by else { return text.to_owned() };
    let have = here.attr(name).and_then(base::Score::parse).unwrap_or_default();
    (have + by).to_string()
}

fn replace(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    let new = payload(request)?;
    match &request.target {
        Target::XPath(_) => {
            let found = locate(root, request, visits)?;
            if found.is_empty() {
                return Err(CibError::NotFound);
            }
            check_places(new, found.len())?;
            if let Some(other) = found.iter().filter_map(|at| root.at(at)).find(|e| e.name() != new.name()) {
                return Err(CibError::OtherElement { expected: other.name().to_owned(), got: new.name().to_owned() });
            }
            if found.iter().any(Vec::is_empty) {
                return replace_whole(root, new, request);
            }
            let mut changed = false;
            for at in found.iter().rev() {
                changed |= put(root, at, new);
            }
            Ok(changed)
        }
        Target::Whole if new.name() == "cib" => replace_whole(root, new, request),
        Target::Section(name) if matches!(name.as_str(), "cib" | "all") && new.name() == "cib" => {
            replace_whole(root, new, request)
        }
        Target::Section(name) if new.name() == "cib" => {
            let path = path_of_section(name)?;
            let part = path.iter().try_fold(new, |e, p| e.child(p)).ok_or(CibError::NotFound)?;
            let there = section_or_insert(root, name)?;
            let changed = *there != *part;
            *there = part.clone();
            Ok(changed)
        }
        target => {
            let start = match target {
                Target::Section(name) => section_or_insert(root, name)?,
                _ => root,
            };
            let at = find_fit(start, new, &fits).ok_or(CibError::NotFound)?;
            Ok(put(start, &at, new))
        }
    }
}

fn put(root: &mut Element, at: &[usize], new: &Element) -> bool {
    match root.at_mut(at) {
        Some(there) if *there != *new => {
            *there = new.clone();
            true
        }
        _ => false,
    }
}

fn replace_whole(root: &mut Element, new: &Element, request: &Request) -> Result<bool, CibError> {
    let (have, got) = (Version::of(root)?, Version::of(new)?);
    if got < have && !request.options.force {
        return Err(CibError::Old { have, got });
    }
    let mut new = new.clone();
    new.child_or_insert("configuration");
    new.child_or_insert("status");
    let changed = *root != new;
    *root = new;
    Ok(changed)
}

/// Location of the first element in document order that fits.
fn find_fit(here: &Element, criteria: &Element, fits: &dyn Fn(&Element, &Element) -> bool) -> Option<Location> {
    if fits(here, criteria) {
        return Some(Vec::new());
    }
    here.nodes().iter().enumerate().find_map(|(i, node)| match node {
        Node::Element(child) => {
            let mut at = find_fit(child, criteria, fits)?;
            at.insert(0, i);
            Some(at)
        }
        _ => None,
    })
}

/// Deletes the first element that has all of the payload's attributes, or what the XPath names. Nothing there is success.
fn delete(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    if let Target::XPath(_) = request.target {
        let found = locate(root, request, visits)?;
        // From the last on, so that earlier locations stay true; an ancestor comes after what it contains.
        return Ok(found.iter().rev().filter(|at| root.remove_at(at).is_some()).count() > 0);
    }
    let criteria = payload(request)?;
    let Some(start) = locate(root, request, visits)?.pop() else { return Ok(false) };
    let start = root.at_mut(&start).ok_or(CibError::NotFound)?;
    let all_attributes =
        |e: &Element, c: &Element| e.name() == c.name() && c.attrs().all(|(n, v)| e.attr(n) == Some(v));
    match find_fit(start, criteria, &all_attributes) {
        Some(at) => Ok(start.remove_at(&at).is_some()),
        None => Ok(false),
    }
}

fn erase(root: &mut Element) {
    let mut new = empty_root(SCHEMA);
    for (name, value) in root.attrs() {
        new.set(name, value);
    }
    let admin_epoch = Version::of(root).unwrap_or_default().admin_epoch;
    new.set("admin_epoch", (admin_epoch + 1).to_string());
    *root = new;
}

/// Applies a patchset that starts from exactly the version that is here.
fn patch(root: &mut Element, request: &Request, visits: &mut usize) -> Result<bool, CibError> {
    let patchset = payload(request)?;
    if let Some(source) = patchset.child("version").and_then(|v| v.child("source")) {
        let (expected, have) = (Version::of(source)?, Version::of(root)?);
        if expected != have {
            return Err(CibError::PatchVersion { expected, have });
        }
    }
    xml::patch_within(root, patchset, visits).map_err(|e| CibError::Patch(e.to_string()))?;
    if root.name() != "cib" {
        return Err(CibError::NotACib { found: root.name().to_owned() });
    }
    if let Some(target) = patchset.child("version").and_then(|v| v.child("target")) {
        Version::of(target)?.write_to(root);
    }
    Ok(true)
}
