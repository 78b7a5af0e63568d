//! A resource's parameters, meta-attributes and element.

use super::stack;
use crate::attributes::{counted, sign};
use crate::crm_mon::View;
use crate::nvpairs;
use crate::source::{Failure, Source};
use base::exit::crm;
use cib::{Op, Request, Target};
use std::fmt::Write;
use xml::Element;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Instance,
    Meta,
    Utilization,
    /// An XML attribute of the element itself.
    Element,
}

/// Which store, and which set and pair in it if several could be meant.
pub struct Store<'a> {
    pub kind: Kind,
    pub set_id: Option<&'a str>,
    pub id: Option<&'a str>,
    /// The named resource itself, whatever its parent or child has.
    pub force: bool,
    /// All that is colocated with it too.
    pub recursive: bool,
}

impl Store<'_> {
    fn set(&self) -> &'static str {
        match self.kind {
            Kind::Meta => "meta_attributes",
            Kind::Utilization => "utilization",
            Kind::Instance | Kind::Element => "instance_attributes",
        }
    }
}

/// What was said, and what was written.
#[derive(Default)]
pub struct Done {
    pub text: String,
    pub elements: Vec<Element>,
}

/// A configured resource's element.
pub fn element<'a>(cib: &'a Element, id: &str) -> Result<&'a Element, Failure> {
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    resources
        .and_then(|r| r.find_id(id))
        .ok_or_else(|| super::performing(crm::NOSUCH, format!("Resource '{id}' not found")))
}

/// With what its template says where it says nothing itself.
pub fn expanded(cib: &Element, e: &Element) -> Element {
    let Some(template) = e.attr("template").and_then(|t| element(cib, t).ok()) else { return e.clone() };
    let mut out = Element::new(e.name());
    e.attrs().filter(|(n, _)| *n != "template").for_each(|(n, v)| out.set(n, v));
    for name in ["class", "provider", "type"] {
        if let Some(value) = template.attr(name) {
            out.set(name, value);
        }
    }
    e.elements().chain(template.elements().filter(|t| e.child(t.name()).is_none())).for_each(|c| out.push(c.clone()));
    out
}

/// Its value; `None` where it has none.
pub fn get(cib: &Element, id: &str, store: &Store<'_>, name: &str) -> Result<Option<String>, Failure> {
    let e = element(cib, id)?;
    let own = match store.kind {
        Kind::Element => e.attr(name).map(str::to_owned),
        _ => {
            let e = expanded(cib, e);
            let found = nvpairs::find(&e, store.set(), name, store.set_id, store.id);
            let own = found.first().and_then(|p| p.pair.attr("value")).map(str::to_owned);
            // It may be another's, by a reference.
            let referred = || {
                let index = cib::config::Index::new(cib);
                let values = cib::config::values(&e, store.set(), &index);
                values.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_owned())
            };
            own.or_else(|| if store.set_id.is_none() && store.id.is_none() { referred() } else { None })
        }
    };
    let default = || match store.kind {
        Kind::Meta => inherited_meta(cib, id, name),
        _ => None,
    };
    Ok(own.or_else(default))
}

/// From what holds the resource, then from the defaults.
fn inherited_meta(cib: &Element, id: &str, name: &str) -> Option<String> {
    let configuration = cib.child("configuration")?;
    let resources = configuration.child("resources")?;
    let holds = |e: &&Element| {
        e.id() != Some(id) && e.find_id(id).is_some() && ["group", "clone", "master", "bundle"].contains(&e.name())
    };
    let parents: Vec<&Element> = resources.descendants().filter(holds).collect();
    let places = parents.into_iter().rev().chain(configuration.child("rsc_defaults"));
    places
        .flat_map(|e| nvpairs::find(e, "meta_attributes", name, None, None))
        .find_map(|p| p.pair.attr("value").map(str::to_owned))
}

/// Whose attribute is meant: where a primitive of a clone and the clone could both have it, the one that has it already.
struct Meant<'a> {
    element: &'a Element,
    /// Why it is that one, and what else fits.
    text: String,
}

fn meant<'a>(cib: &'a Element, id: &str, store: &Store<'_>, name: &str, verb: &str) -> Result<Meant<'a>, Failure> {
    let own = element(cib, id)?;
    let mut meant = Meant { element: own, text: String::new() };
    if store.force || store.kind != Kind::Meta {
        return Ok(meant);
    }
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let is_clone = |e: &&Element| ["clone", "master"].contains(&e.name());
    let clones = resources.into_iter().flat_map(Element::elements).filter(is_clone);
    let Some((clone, child)) =
        clones.filter_map(|c| Some((c, inner(c)?))).find(|(c, p)| c.id() == Some(id) || p.id() == Some(id))
    else {
        return Ok(meant);
    };
    let of = |e: &'a Element| nvpairs::find(e, store.set(), name, store.set_id, store.id);
    let (in_child, in_clone) = (of(child), of(clone));
    if in_child.len() + in_clone.len() > 1 {
        let _ = writeln!(meant.text, "Multiple attributes match name={name}");
        for pair in in_child.iter().chain(&in_clone) {
            let attr = |name: &str| pair.pair.attr(name).unwrap_or_default();
            let _ = writeln!(meant.text, "  Value: {} \t(id={})", attr("value"), attr("id"));
        }
    }
    let named = |e: &Element| e.id().unwrap_or_default().to_owned();
    match (own.id() == clone.id(), in_child.is_empty()) {
        (true, false) => {
            meant.element = child;
            let _ = writeln!(
                meant.text,
                "A value for '{name}' already exists in child '{}', performing {verb} on that instead of '{}'",
                named(child),
                named(clone)
            );
        }
        (false, true) => {
            meant.element = clone;
            let _ = writeln!(
                meant.text,
                "Performing {verb} of '{name}' on '{}', the parent of '{}'",
                named(clone),
                named(child)
            );
        }
        _ => {}
    }
    Ok(meant)
}

/// The primitive of a clone.
fn inner(clone: &Element) -> Option<&Element> {
    clone.elements_named("primitive").next()
}

pub fn set(
    source: &Source,
    view: &View<'_>,
    id: &str,
    store: &Store<'_>,
    name: &str,
    value: &str,
) -> Result<Done, Failure> {
    let e = element(view.cib, id)?;
    if store.kind == Kind::Element {
        let frame = Element::new(e.name()).with("id", id).with(name, value);
        let same = e.attr(name) == Some(value);
        source.call(sign(if same { confirmed() } else { Request::upsert("resources", frame) }))?;
        return Ok(Done { text: format!("Set attribute: name={name} value={value}\n"), elements: Vec::new() });
    }
    let mut done = Done::default();
    let mut steps = Vec::new();
    let ids = if store.recursive { stack::dependents(view, id) } else { with_members(e, store, name) };
    for id in ids {
        let meant = meant(view.cib, &id, store, name, "update")?;
        done.text += &meant.text;
        let id = meant.element.id().unwrap_or_default();
        let default_set = format!("{id}-{}", store.set());
        let existed = !nvpairs::find(meant.element, store.set(), name, store.set_id, store.id).is_empty();
        let (frame, set, pair) =
            nvpairs::update(meant.element, store.set(), (name, value), store.set_id, store.id, &default_set);
        let set = if existed { String::new() } else { format!(" set={set}") };
        let _ = writeln!(done.text, "Set '{id}' option: id={pair}{set} name={name} value={value}");
        done.elements.push(nvpairs::name_last(&frame));
        steps.push(Request::upsert("resources", frame));
    }
    // Several change together or not at all.
    let changes = steps.len() as u64;
    let request = match changes {
        0 => return Ok(done),
        1 => steps.pop(),
        _ => Some(counted(steps, changes, cib::Version::of(view.cib)?)),
    };
    if let Some(request) = request {
        source.call(sign(request))?;
    }
    Ok(done)
}

/// A group's meta-attribute reaches the members that have one of their own only if theirs is set as well.
fn with_members(e: &Element, store: &Store<'_>, name: &str) -> Vec<String> {
    let alone = store.force || store.set_id.is_some() || store.id.is_some();
    let has = |m: &&Element| !nvpairs::find(m, store.set(), name, None, None).is_empty();
    let is_for_all = e.name() == "group" && store.kind == Kind::Meta && !alone;
    let members = e.elements_named("primitive").filter(|m| is_for_all && has(m)).filter_map(Element::id);
    members.chain(e.id()).map(str::to_owned).collect()
}

pub fn delete(source: &Source, view: &View<'_>, id: &str, store: &Store<'_>, name: &str) -> Result<String, Failure> {
    let e = element(view.cib, id)?;
    if store.kind == Kind::Element {
        let mut without = e.clone();
        // What is not there need not be deleted.
        let request = match without.remove_attr(name) {
            Some(_) => Request::new(Op::Replace, Target::Section("resources".to_owned()), Some(without)),
            None => confirmed(),
        };
        source.call(sign(request))?;
        return Ok(format!("Deleted attribute: {name}\n"));
    }
    let meant = meant(view.cib, id, store, name, "delete")?;
    let id = meant.element.id().unwrap_or_default();
    let found = nvpairs::find(meant.element, store.set(), name, store.set_id, store.id);
    let Some(pair) = found.first().and_then(|p| p.pair.id()) else { return Ok(meant.text) };
    let criteria = Element::new("nvpair").with("id", pair);
    source.call(sign(Request::new(Op::Delete, Target::Section("resources".to_owned()), Some(criteria))))?;
    Ok(format!("{}Deleted '{id}' option: id={pair} name={name}\n", meant.text))
}

/// An element set to what it is counts as a change of the configuration all the same, as with the original.
fn confirmed() -> Request {
    Request::new(Op::Bump, Target::Whole, None)
}

/// `--delete`: the element's name guards against deleting something else than was meant.
pub fn delete_resource(source: &Source, view: &View<'_>, id: &str, kind: Option<&str>) -> Result<(), Failure> {
    let kind = kind.ok_or_else(|| Failure::usage("You need to specify a resource type with -t"))?;
    if element(view.cib, id)?.name() != kind {
        return Err(Failure::new(crm::NOSUCH, format!("there is no {kind} called '{id}'")));
    }
    let criteria = Element::new(kind).with("id", id);
    source.call(sign(Request::new(Op::Delete, Target::Section("resources".to_owned()), Some(criteria)))).map(drop)
}
