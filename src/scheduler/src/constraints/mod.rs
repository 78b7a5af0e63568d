//! Configured constraints: locations, colocations, orderings, tickets. Each module reads its own elements; sets and tags
//! are alike for all and are read here.

mod colocation;

mod location;
mod ordering;
mod ticket;

use crate::model::{Index, RscIdx, Sched, Str};
use crate::status::Role;
use base::WallTime;
pub use colocation::Roles;
use xml::Element;

/// A `<resource_set>`, or what a tag stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResSet {
    pub id: Option<Str>,
    pub members: Vec<Str>,
    pub role: Option<Str>,
    pub action: Option<Str>,
    pub sequential: Option<Str>,
    pub score: Option<Str>,
    pub kind: Option<Str>,
    pub symmetrical: Option<Str>,
    pub require_all: Option<Str>,
    pub ordering: Option<Str>,
}

impl ResSet {
    fn read(e: &Element) -> ResSet {
        let text = |name: &str| e.attr(name).map(Str::from);
        ResSet {
            id: text("id"),
            members: e.elements_named("resource_ref").filter_map(Element::id).map(Str::from).collect(),
            role: text("role"),
            action: text("action"),
            sequential: text("sequential"),
            score: text("score"),
            kind: text("kind"),
            symmetrical: text("symmetrical"),
            require_all: text("require-all"),
            ordering: text("ordering"),
        }
    }
}

/// What an id in a constraint names.
pub(crate) enum Named {
    Resource(RscIdx),
    /// Members of a tag, or users of a template.
    Tag(Vec<Str>),
}

impl Sched {
    pub fn unpack_constraints(&mut self, cib: &Element, now: WallTime) {
        let index = Index::new(cib);
        let Some(section) = cib.child("configuration").and_then(|c| c.child("constraints")) else { return };
        for e in section.elements() {
            if e.id().is_none_or(str::is_empty) {
                self.error(format!("Ignoring <{}> constraint without id", e.name()));
                continue;
            }
            match e.name() {
                "rsc_order" => self.unpack_order(e, &index),
                "rsc_colocation" => self.unpack_colocation(e, &index),
                "rsc_location" => self.unpack_location(e, &index, now),
                "rsc_ticket" => self.unpack_rsc_ticket(e, &index),
                other => self.error(format!("Unsupported constraint type: {other}")),
            }
        }
    }

    /// The resource that a constraint means: a history's name for an anonymous instance means the whole clone.
    fn constraint_resource(&self, id: &str) -> Option<RscIdx> {
        let found = self.find_resource(id)?;
        Some(if *self[found].id == *id { found } else { self.uber_parent(found) })
    }

    fn named(&mut self, id: &str) -> Option<Named> {
        if let Some(rsc) = self.constraint_resource(id) {
            return Some(Named::Resource(rsc));
        }
        let refs = self.templates.get(id).or_else(|| self.tags.get(id)).cloned();
        match refs {
            Some(refs) if !refs.is_empty() => Some(Named::Tag(refs)),
            Some(_) => None,
            None => {
                self.warn(format!("No resource, template, or tag named '{id}'"));
                None
            }
        }
    }

    /// The sets of a constraint, with tags replaced by what they stand for.
    fn constraint_sets(&mut self, e: &Element, index: &Index<'_>) -> Vec<ResSet> {
        let mut sets: Vec<ResSet> =
            e.elements_named("resource_set").filter_map(|s| index.resolve(s)).map(ResSet::read).collect();
        let original = sets.clone();
        for set in &mut sets {
            let mut members = Vec::new();
            for id in &set.members {
                match self.named(id) {
                    Some(Named::Resource(_)) => members.push(id.clone()),
                    Some(Named::Tag(refs)) => members.extend(refs),
                    None => {
                        let constraint = e.id().unwrap_or_default();
                        self.error(format!(
                            "Ignoring resource sets for constraint '{constraint}' because '{id}' is not a valid resource or tag"
                        ));
                        return original;
                    }
                }
            }
            set.members = members;
        }
        sets
    }

    fn not_valid(&mut self, e: &Element, id: &str) {
        let constraint = e.id().unwrap_or_default();
        self.error(format!("Ignoring constraint '{constraint}' because '{id}' is not a valid resource or tag"));
    }

    /// The role of a constraint; started means any. `None` if it is not a role at all.
    fn constraint_role(&mut self, id: &str, text: Option<&str>) -> Option<Role> {
        let Some(text) = text else { return Some(Role::Unknown) };
        match Role::parse(text) {
            Role::Unknown if !text.eq_ignore_ascii_case("unknown") => {
                self.error(format!("Ignoring constraint {id}: Invalid role '{text}'"));
                None
            }
            Role::Started => Some(Role::Unknown),
            role => Some(role),
        }
    }
}

/// A tag in place of a resource: a set without an order.
fn tag_set(id: &str, members: Vec<Str>) -> ResSet {
    ResSet { id: Some(id.into()), members, sequential: Some("false".into()), ..Default::default() }
}

/// A resource beside a tag: a set of one.
fn single_set(id: &str) -> ResSet {
    ResSet { id: Some(id.into()), members: vec![id.into()], ..Default::default() }
}
