//! From an older schema to the newest: 1.x → 2.10 → 3.10 → 4.0, each step a list of rules over the whole configuration.
//!
//! [`upgraded`] is what everybody reads who acts on a configuration: the document on disk stays as its owner wrote it. Names that
//! a newer schema no longer has are known in these rules alone. A set of pairs, a rule or a set of resources that stands somewhere
//! by reference (`id-ref`) stays a reference; if the one that it names goes away with what held it, the first reference becomes
//! the definition.

#[cfg(test)]
mod tests;
mod to_2;
mod to_3;
mod to_4;

use crate::schema::Claim;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use xml::Element;

/// How much an operator should care about what an upgrade did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    Debug,
    Info,
    Warning,
}

/// Something that an upgrade did and that changes what the configuration says or may say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    pub weight: Weight,
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.weight {
            Weight::Debug => "DEBUG",
            Weight::Info => "INFO",
            Weight::Warning => "WARNING",
        };
        write!(f, "{word}: {}", self.text)
    }
}

/// A document of the newest schema, and what was done to get there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgraded {
    pub cib: Element,
    pub notices: Vec<Notice>,
}

/// One step: documents below `to` go through its rules, in this order.
struct Step {
    to: (u32, u32),
    rules: &'static [Rule],
}

struct Rule {
    run: fn(&mut Work),
    /// About what the schema after this step does not have at all; else about what is read all the same, or only tidier after.
    needed: bool,
}

const fn needed(run: fn(&mut Work)) -> Rule {
    Rule { run, needed: true }
}

const fn tidier(run: fn(&mut Work)) -> Rule {
    Rule { run, needed: false }
}

const STEPS: &[Step] = &[
    Step { to: (2, 0), rules: to_2::RULES },
    Step { to: (3, 0), rules: to_3::RULES },
    Step { to: (4, 0), rules: to_4::RULES },
];

/// The document as the newest schema writes it. One that claims the newest schema, none or an unknown one is as it was.
pub fn upgraded(cib: &Element) -> Upgraded {
    let untouched = || Upgraded { cib: cib.clone(), notices: Vec::new() };
    let Ok(Claim::Version(claimed)) = Claim::of(cib) else { return untouched() };
    let steps: Vec<&Step> = STEPS.iter().filter(|s| claimed < s.to).collect();
    let Some(configuration) = cib.child("configuration").filter(|_| !steps.is_empty()) else { return untouched() };
    let mut work = Work::new(configuration);
    for step in steps {
        work.start = work.configuration.clone();
        step.rules.iter().for_each(|rule| work.apply(rule.run));
    }
    let mut cib = cib.clone();
    cib.set("validate-with", crate::SCHEMA);
    if let Some(slot) = cib.child_mut("configuration") {
        *slot = work.configuration;
    }
    Upgraded { cib, notices: work.notices }
}

/// Where a document that claims the newest schema says what only older ones have: name, line and column of each such element.
pub(crate) fn outdated(cib: &Element) -> BTreeSet<(String, u32, u32)> {
    let newest = matches!(Claim::of(cib), Ok(Claim::Version(claimed)) if claimed >= (4, 0));
    let Some(configuration) = cib.child("configuration").filter(|_| newest) else { return BTreeSet::new() };
    let mut work = Work::new(configuration);
    to_4::RULES.iter().filter(|rule| rule.needed).for_each(|rule| (rule.run)(&mut work));
    work.touched
}

/// A configuration under way.
struct Work {
    configuration: Element,
    /// What a rule has rewritten or taken out, as long as it stood in the source.
    touched: BTreeSet<(String, u32, u32)>,
    /// As it was when the step began.
    start: Element,
    notices: Vec<Notice>,
}

/// Elements by name and id.
type Definitions = BTreeMap<(String, String), Element>;

impl Work {
    fn new(configuration: &Element) -> Work {
        let (configuration, start) = (configuration.clone(), configuration.clone());
        Work { configuration, touched: BTreeSet::new(), start, notices: Vec::new() }
    }

    fn apply(&mut self, rule: fn(&mut Work)) {
        let before = self.configuration.clone();
        rule(self);
        if !self.configuration.is_same(&before) {
            self.settle_references(&before);
        }
    }

    /// Replaces each element below the configuration, from the innermost out, by what `change` makes of it, given what holds it;
    /// nothing at all takes it out. Elements that stay as they are cost nothing.
    fn rewrite(&mut self, change: &mut dyn FnMut(&Element, &Element, &mut Vec<Notice>) -> Change) {
        let whole = self.configuration.clone();
        if let Some(new) = below(&whole, change, self) {
            self.configuration = new;
        }
    }

    /// References whose definition a rule has taken out take its place: the first one becomes the definition.
    fn settle_references(&mut self, before: &Element) {
        if self.configuration.descendants().all(|e| e.attr("id-ref").is_none()) {
            return;
        }
        let mut defined: BTreeSet<_> = definitions(&self.configuration).into_keys().collect();
        let old = definitions(before);
        self.rewrite(&mut |e, _, _| {
            let Some(key) = e.attr("id-ref").map(|id| (e.name().to_owned(), id.to_owned())) else {
                return Change::Keep;
            };
            match old.get(&key).filter(|_| !defined.contains(&key)) {
                Some(definition) => {
                    defined.insert(key);
                    Change::to(definition.clone())
                }
                None => Change::Keep,
            }
        });
    }
}

fn definitions(configuration: &Element) -> Definitions {
    let named = |e: &Element| Some(((e.name().to_owned(), e.id()?.to_owned()), e.clone()));
    configuration.descendants().filter_map(named).collect()
}

/// What becomes of an element.
enum Change {
    Keep,
    Into(Vec<Element>),
}

impl Change {
    fn drop() -> Change {
        Change::Into(Vec::new())
    }

    fn to(element: Element) -> Change {
        Change::Into(vec![element])
    }
}

/// `holder` with all below it rewritten; `None` where that leaves it as it is, as with nearly every element. The depth is that of the
/// document, which the reader of XML bounds.
fn below(
    holder: &Element,
    change: &mut dyn FnMut(&Element, &Element, &mut Vec<Notice>) -> Change,
    work: &mut Work,
) -> Option<Element> {
    // The children as they are to be, from the first one on that differs.
    let mut rewritten: Option<Vec<xml::Node>> = None;
    for (at, node) in holder.nodes().iter().enumerate() {
        let so_far = || holder.nodes().iter().take(at).cloned().collect();
        let xml::Node::Element(child) = node else {
            rewritten.iter_mut().for_each(|nodes| nodes.push(node.clone()));
            continue;
        };
        let inner = below(child, change, work);
        match change(inner.as_ref().unwrap_or(child), holder, &mut work.notices) {
            Change::Keep => match inner {
                Some(inner) => rewritten.get_or_insert_with(so_far).push(xml::Node::Element(inner)),
                None => rewritten.iter_mut().for_each(|nodes| nodes.push(node.clone())),
            },
            Change::Into(new) => {
                work.touched.insert((child.name().to_owned(), child.line(), child.column()));
                rewritten.get_or_insert_with(so_far).extend(new.into_iter().map(xml::Node::Element));
            }
        }
    }
    let nodes = rewritten?;
    let mut new = holder.clone();
    new.nodes_mut().clear();
    nodes.into_iter().for_each(|n| new.nodes_mut().push(n));
    Some(new)
}

/// A copy under another name.
fn renamed(e: &Element, name: &str) -> Element {
    let mut new = e.clone();
    new.rename(name);
    new
}

/// A pair.
fn pair(id: &str, name: &str, value: &str) -> Element {
    Element::new("nvpair").with("id", id).with("name", name).with("value", value)
}
