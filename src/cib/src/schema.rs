//! Whether a document says something that the cluster can act on, with the position of each problem.
//!
//! [`check`] is the structure, from the tables in `rules.rs`: elements, attributes, their types, unique ids and
//! references. An error there keeps a change out. [`verify`] adds what is well-formed but will not do what its writer
//! hopes, as `crm_verify` says it.

mod claim;
mod cycles;
mod properties;
mod rules;
#[cfg(test)]
mod tests;
mod verify;

use rules::{Attr, Kind, Rule};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use xml::{Element, Node};

pub use claim::{Claim, UnknownSchema};
pub use properties::{META_ATTRIBUTES, PROPERTIES, Property};

/// Most problems that one check reports.
pub const MAX_PROBLEMS: usize = 1000;

/// How bad a problem is: an error of structure makes the document unacceptable; information is worth knowing only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub severity: Severity,
    /// Source line; 0 if the element was made by program.
    pub line: u32,
    /// Column of the element's start tag in that line, in bytes; 0 with line 0.
    pub column: u32,
    /// `/cib/configuration/resources/primitive[@id='vip']`.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.severity.word();
        match self.line {
            0 => write!(f, "{word}: {}: {}", self.path, self.message),
            line => write!(f, "{word}: line {line}, column {}: {}: {}", self.column, self.path, self.message),
        }
    }
}

/// Everything that is structurally wrong with a document; empty if it is in order.
pub fn check(root: &Element) -> Vec<Problem> {
    let mut checker = Checker {
        problems: Vec::new(),
        ids: BTreeMap::new(),
        nodes: BTreeSet::new(),
        outdated: crate::upgrade::outdated(root),
    };
    let place = Place { above: None, element: root };
    if let Some(configuration) = root.child("configuration") {
        checker.collect_ids(&place.below(configuration));
    }
    checker.element(&place);
    checker.problems
}

/// Whether a document may be acted on: it claims a known schema, and holds to it.
pub fn admit(root: &Element) -> Result<(), Vec<Problem>> {
    let problems = match Claim::of(root) {
        Ok(Claim::Unchecked) => return Ok(()),
        Ok(Claim::Version(_)) => check(root),
        Err(unknown) => vec![Problem {
            severity: Severity::Error,
            line: root.line(),
            column: root.column(),
            path: "/cib".to_owned(),
            message: unknown.to_string(),
        }],
    };
    let errors: Vec<Problem> = problems.into_iter().filter(|p| p.severity == Severity::Error).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// [`check`], and warnings of likely mistakes.
pub fn verify(root: &Element) -> Vec<Problem> {
    let mut problems = check(root);
    verify::run(root, &mut problems);
    problems.truncate(MAX_PROBLEMS);
    problems
}

struct Checker<'a> {
    problems: Vec<Problem>,
    /// Every id of the configuration, with the name and line of its element.
    ids: BTreeMap<&'a str, (&'a str, u32)>,
    /// Ids of nodes: no ids of XML, for they may be numbers, but tags may name them.
    nodes: BTreeSet<&'a str>,
    /// What the schema that the document claims no longer has.
    outdated: BTreeSet<(String, u32, u32)>,
}

/// An element and the way to it, which becomes text only where there is a problem.
struct Place<'p, 'a> {
    above: Option<&'p Place<'p, 'a>>,
    element: &'a Element,
}

impl<'a> Place<'_, 'a> {
    fn below<'s>(&'s self, element: &'a Element) -> Place<'s, 'a> {
        Place { above: Some(self), element }
    }

    /// Name of the element that this one stands in.
    fn parent(&self) -> &'a str {
        self.above.map_or("", |p| p.element.name())
    }

    fn path(&self) -> String {
        match self.above {
            Some(above) => below(&above.path(), self.element),
            None => format!("/{}", self.element.name()),
        }
    }
}

fn below(path: &str, e: &Element) -> String {
    match e.id() {
        Some(id) => format!("{path}/{}[@id='{id}']", e.name()),
        None => format!("{path}/{}", e.name()),
    }
}

impl<'a> Checker<'a> {
    fn error(&mut self, at: &Place<'_, 'a>, message: String) {
        self.report(Severity::Error, at, message);
    }

    fn report(&mut self, severity: Severity, at: &Place<'_, 'a>, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                severity,
                line: at.element.line(),
                column: at.element.column(),
                path: at.path(),
                message,
            });
        }
    }

    fn collect_ids(&mut self, at: &Place<'_, 'a>) {
        for child in at.element.elements() {
            let place = at.below(child);
            let declares = rules::find(child.name(), at.element.name())
                .is_none_or(|r| r.attrs.iter().any(|a| a.name == "id" && a.kind == Kind::Id));
            if child.name() == "node" && !declares {
                self.nodes.extend(child.id());
            }
            if let Some(id) = child.id().filter(|_| declares) {
                let used = match self.ids.entry(id) {
                    Entry::Occupied(used) => Some(*used.get()),
                    Entry::Vacant(free) => {
                        free.insert((child.name(), child.line()));
                        None
                    }
                };
                match used {
                    Some((name, 0)) => self.error(&place, format!("id '{id}' is already used by a {name}")),
                    Some((name, line)) => {
                        let message = format!("id '{id}' is already used by the {name} in line {line}");
                        self.error(&place, message);
                    }
                    None => {}
                }
            }
            self.collect_ids(&place);
        }
    }

    fn element(&mut self, at: &Place<'_, 'a>) {
        let e = at.element;
        let Some(rule) = rules::find(e.name(), at.parent()) else {
            return self.error(at, format!("unknown element '{}'", e.name()));
        };
        self.attributes(at, rule);
        if !self.outdated.is_empty() && self.outdated.contains(&(e.name().to_owned(), e.line(), e.column())) {
            let older =
                "only older schemas have this; with validate-with=\"pacemaker-3.10\", 'cibadmin --upgrade' rewrites it";
            self.error(at, format!("{}: {older}", e.name()));
        }
        if rule.open {
            return;
        }
        for node in e.nodes() {
            match node {
                Node::Element(child) => {
                    let place = at.below(child);
                    if rule.children.contains(&child.name()) {
                        self.element(&place);
                    } else {
                        let expected = match rule.children {
                            [] => "nothing may stand in it".to_owned(),
                            names => format!("expected {}", names.join(", ")),
                        };
                        self.error(
                            &place,
                            format!("element '{}' may not stand in '{}' ({expected})", child.name(), e.name()),
                        );
                    }
                }
                Node::Text(text) if !rule.text => {
                    let shown: String = text.trim().chars().take(20).collect();
                    self.error(at, format!("text '{shown}' may not stand in '{}'", e.name()));
                }
                _ => {}
            }
        }
        if let Some(missing) = rules::missing_child(e) {
            self.error(at, missing);
        }
    }

    fn attributes(&mut self, at: &Place<'_, 'a>, rule: &Rule) {
        let e = at.element;
        let by_reference = e.attr("id-ref").is_some() && rule.attrs.iter().any(|a| a.name == "id-ref");
        for attr in rule.attrs.iter().filter(|a| a.required && !by_reference) {
            if e.attr(attr.name).is_none() {
                self.error(at, format!("{} without attribute '{}'", e.name(), attr.name));
            }
        }
        for (name, value) in e.attrs() {
            match rule.attrs.iter().find(|a| a.name == name) {
                Some(attr) => self.value(at, attr, value),
                None if rule.any_attrs => {}
                None => {
                    let known: Vec<&str> = rule.attrs.iter().map(|a| a.name).collect();
                    let hint = closest(name, &known).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
                    self.error(at, format!("{} has no attribute '{name}'{hint}", e.name()));
                }
            }
        }
        if let Some(problem) = rules::attribute_conflict(e) {
            self.error(at, problem);
        }
    }

    fn value(&mut self, at: &Place<'_, 'a>, attr: &Attr, value: &str) {
        let what = || format!("{} {}=\"{value}\"", at.element.name(), attr.name);
        match attr.kind {
            Kind::IdRef(names) => match self.ids.get(value) {
                None if names.is_empty() && self.nodes.contains(value) => {}
                // A tag alone does nothing, and may name what is still to come.
                None if at.element.name() == "obj_ref" => {
                    self.report(Severity::Warning, at, format!("{}: there is no element with id '{value}'", what()));
                }
                None => self.error(at, format!("{}: there is no element with id '{value}'", what())),
                Some((name, _)) if !names.is_empty() && !names.contains(name) => {
                    let message = format!("{}: '{value}' is a {name}, expected {}", what(), names.join(" or "));
                    self.report(Severity::Warning, at, message);
                }
                Some(_) => {}
            },
            kind => {
                if let Err(expected) = rules::value_fits(kind, value) {
                    // The schemas take any text for times; the scheduler then uses the default.
                    let severity = if kind == Kind::Interval { Severity::Warning } else { Severity::Error };
                    self.report(severity, at, format!("{}: expected {expected}", what()));
                }
            }
        }
    }
}

/// The known name that differs least, if it is close enough to be a slip of the pen.
pub fn closest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let best = known.iter().map(|k| (distance(name, k), *k)).min()?;
    (best.0 <= 2 && best.0 < name.len()).then_some(best.1)
}

/// Levenshtein's edit distance; names longer than 64 bytes count as far apart.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
