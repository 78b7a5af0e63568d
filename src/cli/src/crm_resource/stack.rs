//! The constraints of a resource, and (recursively) of what it is colocated with.

use crate::crm_mon::View;
use base::Score;
use scheduler::status::{Resource, ResourceKind};
use std::fmt::Write;
use xml::Element;

/// How deep chains are followed; longer ones are nobody's.
const MAX_DEPTH: usize = 100;

/// Which side of a colocation is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Those that are placed with it.
    Dependents,
    /// Those that it is placed with.
    Primaries,
}

impl Side {
    fn title(self, id: &str) -> String {
        match self {
            Side::Dependents => format!("Resources colocated with {id}:"),
            Side::Primaries => format!("Resources {id} is colocated with:"),
        }
    }

    /// Attributes that name the resource itself and the other one.
    fn attributes(self) -> (&'static str, &'static str) {
        match self {
            Side::Dependents => ("with-rsc", "rsc"),
            Side::Primaries => ("rsc", "with-rsc"),
        }
    }
}

/// As text and as elements, in one order.
#[derive(Default)]
pub struct Shown {
    pub text: String,
    pub elements: Vec<Element>,
}

struct Walk<'a> {
    constraints: Vec<&'a Element>,
    recursive: bool,
    out: Shown,
    /// The resources on the way here.
    way: Vec<String>,
}

/// What `--constraints` and `--stack` show of the resource called `id`.
pub fn show(view: &View<'_>, id: &str, recursive: bool) -> Shown {
    let mut walk = Walk { constraints: all(view.cib), recursive, out: Shown::default(), way: Vec::new() };
    walk.locations(id, 0);
    walk.side(id, Side::Dependents, 0);
    walk.side(id, Side::Primaries, 0);
    walk.out
}

/// A resource and all that is placed with it, directly or through others; the nearest first.
pub fn dependents(view: &View<'_>, id: &str) -> Vec<String> {
    let constraints = all(view.cib);
    let mut found = vec![id.to_owned()];
    follow(&constraints, id, &mut found);
    found
}

fn follow(constraints: &[&Element], id: &str, found: &mut Vec<String>) {
    for (other, _) in colocations(constraints, id, Side::Dependents) {
        if !found.contains(&other) {
            found.push(other.clone());
            follow(constraints, &other, found);
        }
    }
}

/// What stands for the resource in constraints: its group or clone, unless it is meant itself (`--force`).
pub fn meant<'a>(resources: &'a [Resource], r: &'a Resource, itself: bool) -> &'a Resource {
    let holds = |p: &&Resource| {
        !matches!(p.kind, ResourceKind::Primitive { .. }) && crate::cluster::find(&p.children, &r.id).is_some()
    };
    if itself { r } else { resources.iter().find(holds).unwrap_or(r) }
}

fn all(cib: &Element) -> Vec<&Element> {
    let section = cib.child("configuration").and_then(|c| c.child("constraints"));
    section.into_iter().flat_map(Element::elements).collect()
}

/// The other resource of each colocation on this side: the strongest first, then by name.
fn colocations<'a>(constraints: &[&'a Element], id: &str, side: Side) -> Vec<(String, &'a Element)> {
    let (own, other) = side.attributes();
    let fits = |e: &&&Element| e.name() == "rsc_colocation" && e.attr(own) == Some(id);
    let named = |e: &&'a Element| Some((e.attr(other)?.to_owned(), *e));
    let mut found: Vec<(String, &Element)> = constraints.iter().filter(fits).filter_map(named).collect();
    let strength = |e: &Element| std::cmp::Reverse(e.attr("score").and_then(Score::parse).unwrap_or_default());
    found.sort_by(|(a, x), (b, y)| (strength(x), a).cmp(&(strength(y), b)));
    found
}

impl Walk<'_> {
    /// A line at this depth: items have a star, titles only below the first level.
    fn line(&mut self, depth: usize, text: &str) {
        let _ = match depth {
            0 => writeln!(self.out.text, "{text}"),
            _ => writeln!(self.out.text, "{}* {text}", "  ".repeat(depth)),
        };
    }

    fn locations(&mut self, id: &str, depth: usize) {
        let mut titled = false;
        for e in self.constraints.clone() {
            if e.name() != "rsc_location" || e.attr("rsc") != Some(id) {
                continue;
            }
            let attr = |name: &str| e.attr(name).unwrap_or_default();
            if !std::mem::replace(&mut titled, true) {
                self.line(depth, "Locations:");
            }
            let node = if e.attr("node").is_some() { format!("Node {}", attr("node")) } else { "Rule".to_owned() };
            let score = attr("score");
            self.line(depth + 1, &format!("{node} (score={score}, id={}, rsc={id})", attr("id")));
            let shown = Element::new("rsc_location").with("node", attr("node")).with("rsc", id).with("id", attr("id"));
            self.out.elements.push(shown.with("score", score));
        }
    }

    fn side(&mut self, id: &str, side: Side, depth: usize) {
        let found = colocations(&self.constraints, id, side);
        if found.is_empty() || depth > MAX_DEPTH {
            return;
        }
        self.line(depth, &side.title(id));
        self.way.push(id.to_owned());
        for (other, e) in found {
            let attr = |name: &str| e.attr(name).unwrap_or_default();
            let looped = self.way.contains(&other);
            let text = match looped {
                true => format!("{other} (id={} - loop)", attr("id")),
                false => format!("{other} (score={}{}, id={})", attr("score"), roles(e, side), attr("id")),
            };
            self.line(depth + 1, &text);
            self.out.elements.push(element(e));
            if !looped {
                self.locations(&other, depth + 2);
                if self.recursive {
                    self.side(&other, side, depth + 2);
                }
            }
        }
        self.way.pop();
    }
}

/// Where a role is needed of the one it is placed with.
fn roles(e: &Element, side: Side) -> String {
    let role = e.attr("with-rsc-role").filter(|role| *role != "Started");
    match (role, side) {
        (Some(role), Side::Primaries) => format!(", needs role={role}"),
        _ => String::new(),
    }
}

fn element(e: &Element) -> Element {
    let attr = |name: &str| e.attr(name).unwrap_or_default();
    let mut shown = Element::new("rsc_colocation").with("id", attr("id")).with("rsc", attr("rsc"));
    shown = shown.with("with-rsc", attr("with-rsc")).with("score", attr("score"));
    shown.set("node-attribute", e.attr("node-attribute").unwrap_or("#uname"));
    for name in ["rsc-role", "with-rsc-role"] {
        if let Some(role) = e.attr(name) {
            shown.set(name, role);
        }
    }
    shown
}
