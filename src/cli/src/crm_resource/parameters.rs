//! A resource's parameters, meta-attributes and element.

use crate::attributes::sign;
use crate::crm_mon::View;
use crate::nvpairs;
use crate::source::{Failure, Source};
use base::exit::crm;
use cib::{Op, Request, Target};
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

/// A configured resource's element.
pub fn element<'a>(cib: &'a Element, id: &str) -> Result<&'a Element, Failure> {
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    resources.and_then(|r| r.find_id(id)).ok_or_else(|| Failure::new(crm::NOSUCH, format!("Resource '{id}' not found")))
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

pub fn get(cib: &Element, id: &str, store: &Store<'_>, name: &str) -> Result<String, Failure> {
    let e = element(cib, id)?;
    let own = match store.kind {
        Kind::Element => e.attr(name).map(str::to_owned),
        _ => {
            let e = expanded(cib, e);
            let found = nvpairs::find(&e, store.set(), name, store.set_id, store.id);
            found.first().and_then(|p| p.pair.attr("value")).map(str::to_owned)
        }
    };
    let default = || match store.kind {
        Kind::Meta => inherited_meta(cib, id, name),
        _ => None,
    };
    own.or_else(default).ok_or_else(|| Failure::new(crm::NOSUCH, format!("Attribute '{name}' not found for '{id}'")))
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

pub fn set(
    source: &Source,
    cib: &Element,
    id: &str,
    store: &Store<'_>,
    name: &str,
    value: &str,
) -> Result<String, Failure> {
    let e = element(cib, id)?;
    if store.kind == Kind::Element {
        let frame = Element::new(e.name()).with("id", id).with(name, value);
        source.call(sign(Request::upsert("resources", frame)))?;
        return Ok(format!("Set attribute: {name}={value} for {id}\n"));
    }
    let default_set = format!("{id}-{}", store.set());
    let (frame, set, pair) = nvpairs::update(e, store.set(), (name, value), store.set_id, store.id, &default_set);
    source.call(sign(Request::upsert("resources", frame)))?;
    Ok(format!("Set '{id}' option: id={pair} set={set} name={name} value={value}\n"))
}

pub fn delete(source: &Source, cib: &Element, id: &str, store: &Store<'_>, name: &str) -> Result<String, Failure> {
    let e = element(cib, id)?;
    if store.kind == Kind::Element {
        let mut without = e.clone();
        without
            .remove_attr(name)
            .ok_or_else(|| Failure::new(crm::NOSUCH, format!("Attribute '{name}' not found for '{id}'")))?;
        let request = Request::new(Op::Replace, Target::Section("resources".to_owned()), Some(without));
        source.call(sign(request))?;
        return Ok(format!("Deleted attribute: {name}\n"));
    }
    let found = nvpairs::find(e, store.set(), name, store.set_id, store.id);
    let Some(pair) = found.first().and_then(|p| p.pair.id()) else {
        return Err(Failure::new(crm::NOSUCH, format!("Attribute '{name}' not found for '{id}'")));
    };
    let criteria = Element::new("nvpair").with("id", pair);
    source.call(sign(Request::new(Op::Delete, Target::Section("resources".to_owned()), Some(criteria))))?;
    Ok(format!("Deleted '{id}' option: id={pair} name={name}\n"))
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
