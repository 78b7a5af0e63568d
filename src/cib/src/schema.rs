//! Whether a document says something that the cluster can act on, with the position of each problem.
//!
//! [`check`] is the structure, from the tables in `rules.rs`: elements, attributes, their types, unique ids and
//! references. An error there keeps a change out. [`verify`] adds what is well-formed but will not do what its writer
//! hopes, as `crm_verify` says it.

mod cycles;
mod properties;
mod rules;
#[cfg(test)]
mod tests;
mod verify;

use rules::{Attr, Kind, Rule};
use std::collections::BTreeMap;
use std::fmt;
use xml::{Element, Node};

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
    let mut checker = Checker { problems: Vec::new(), ids: BTreeMap::new() };
    if let Some(configuration) = root.child("configuration") {
        checker.collect_ids(configuration, "/cib/configuration");
    }
    checker.element(root, "", "/cib");
    checker.problems
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
}

fn below(path: &str, e: &Element) -> String {
    match e.id() {
        Some(id) => format!("{path}/{}[@id='{id}']", e.name()),
        None => format!("{path}/{}", e.name()),
    }
}

impl<'a> Checker<'a> {
    fn error(&mut self, e: &Element, path: &str, message: String) {
        self.report(Severity::Error, e, path, message);
    }

    fn report(&mut self, severity: Severity, e: &Element, path: &str, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                severity,
                line: e.line(),
                column: e.column(),
                path: path.to_owned(),
                message,
            });
        }
    }

    fn collect_ids(&mut self, e: &'a Element, path: &str) {
        for child in e.elements() {
            let path = below(path, child);
            let declares = rules::find(child.name(), e.name())
                .is_none_or(|r| r.attrs.iter().any(|a| a.name == "id" && a.kind == Kind::Id));
            if let Some(id) = child.id().filter(|_| declares) {
                match self.ids.get(id) {
                    Some((name, 0)) => self.error(child, &path, format!("id '{id}' is already used by a {name}")),
                    Some((name, line)) => {
                        let message = format!("id '{id}' is already used by the {name} in line {line}");
                        self.error(child, &path, message);
                    }
                    None => drop(self.ids.insert(id, (child.name(), child.line()))),
                }
            }
            self.collect_ids(child, &path);
        }
    }

    fn element(&mut self, e: &Element, parent: &str, path: &str) {
        let Some(rule) = rules::find(e.name(), parent) else {
            return self.error(e, path, format!("unknown element '{}'", e.name()));
        };
        self.attributes(e, rule, path);
        if rule.open {
            return;
        }
        for node in e.nodes() {
            match node {
                Node::Element(child) => {
                    let path = below(path, child);
                    if rule.children.contains(&child.name()) {
                        self.element(child, e.name(), &path);
                    } else {
                        let expected = match rule.children {
                            [] => "nothing may stand in it".to_owned(),
                            names => format!("expected {}", names.join(", ")),
                        };
                        self.error(
                            child,
                            &path,
                            format!("element '{}' may not stand in '{}' ({expected})", child.name(), e.name()),
                        );
                    }
                }
                Node::Text(text) if !rule.text => {
                    let shown: String = text.trim().chars().take(20).collect();
                    self.error(e, path, format!("text '{shown}' may not stand in '{}'", e.name()));
                }
                _ => {}
            }
        }
        if let Some(missing) = rules::missing_child(e) {
            self.error(e, path, missing);
        }
    }

    fn attributes(&mut self, e: &Element, rule: &Rule, path: &str) {
        let by_reference = e.attr("id-ref").is_some() && rule.attrs.iter().any(|a| a.name == "id-ref");
        for attr in rule.attrs.iter().filter(|a| a.required && !by_reference) {
            if e.attr(attr.name).is_none() {
                self.error(e, path, format!("{} without attribute '{}'", e.name(), attr.name));
            }
        }
        for (name, value) in e.attrs() {
            match rule.attrs.iter().find(|a| a.name == name) {
                Some(attr) => self.value(e, attr, value, path),
                None if rule.any_attrs => {}
                None => {
                    let known: Vec<&str> = rule.attrs.iter().map(|a| a.name).collect();
                    let hint = closest(name, &known).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
                    self.error(e, path, format!("{} has no attribute '{name}'{hint}", e.name()));
                }
            }
        }
        if let Some(problem) = rules::attribute_conflict(e) {
            self.error(e, path, problem);
        }
    }

    fn value(&mut self, e: &Element, attr: &Attr, value: &str, path: &str) {
        let what = format!("{} {}=\"{value}\"", e.name(), attr.name);
        match attr.kind {
            Kind::IdRef(names) => match self.ids.get(value) {
                None => self.error(e, path, format!("{what}: there is no element with id '{value}'")),
                Some((name, _)) if !names.is_empty() && !names.contains(name) => {
                    let message = format!("{what}: '{value}' is a {name}, expected {}", names.join(" or "));
                    self.report(Severity::Warning, e, path, message);
                }
                Some(_) => {}
            },
            kind => {
                if let Err(expected) = rules::value_fits(kind, value) {
                    // The schemas take any text for times; the scheduler then uses the default.
                    let severity = if kind == Kind::Interval { Severity::Warning } else { Severity::Error };
                    self.report(severity, e, path, format!("{what}: expected {expected}"));
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
