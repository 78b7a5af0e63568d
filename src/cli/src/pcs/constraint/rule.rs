//! Location constraints whose score a rule decides.

use super::{needs_any, push};
use crate::edit::rules::{self, Ids};
use crate::edit::{edit, error, needs_resource};
use crate::source::{Failure, Source};
use base::Score;
use xml::Element;

/// What stands before the expression.
#[derive(Default)]
struct Options<'a> {
    id: Option<&'a str>,
    constraint: Option<&'a str>,
    discovery: Option<&'a str>,
    role: Option<&'static str>,
    score: Option<(&'static str, &'a str)>,
}

fn options<'w, 'a>(words: &'w [&'a str]) -> Result<(Options<'a>, &'w [&'a str]), Failure> {
    let mut options = Options::default();
    let mut at = 0;
    while let Some((name, value)) = words.get(at).and_then(|w| w.split_once('=')) {
        match name {
            "id" => options.id = Some(value),
            "constraint-id" => options.constraint = Some(value),
            "resource-discovery" => options.discovery = Some(value),
            "role" => {
                let role = super::role_of(value).filter(|r| r.ends_with("romoted"));
                let bad = || error(format!("invalid role '{value}', use 'Promoted' or 'Unpromoted'"));
                options.role = Some(role.ok_or_else(bad)?);
            }
            "score" => {
                Score::parse(value).ok_or_else(|| error(format!("invalid score'{value}'")))?;
                options.score = Some(("score", value));
            }
            "score-attribute" => options.score = Some(("score-attribute", value)),
            _ => break,
        }
        at += 1;
    }
    Ok((options, &words[at..]))
}

/// `location ID rule [OPTION=VALUE...] EXPRESSION`.
pub fn location(source: &Source, resource: &str, words: &[&str]) -> Result<String, Failure> {
    let (options, expression) = options(words)?;
    let condition = rules::parse(expression)?;
    edit(source, |configuration| {
        let (attribute, name) = match resource.split_once('%') {
            Some(("regexp", pattern)) => ("rsc-pattern", pattern),
            Some(("resource", id)) => ("rsc", id),
            _ => ("rsc", resource),
        };
        if attribute == "rsc" {
            needs_resource(configuration, name)?;
        }
        let mut ids = Ids::of(configuration);
        let constraint = match options.constraint {
            Some(id) if configuration.find_id(id).is_some() => {
                return Err(error(format!("id '{id}' is already in use, please specify another one")));
            }
            Some(id) => ids.free(id),
            None => ids.free(&format!("location-{name}")),
        };
        let mut e = Element::new("rsc_location").with("id", &constraint).with(attribute, name);
        if let Some(discovery) = options.discovery {
            e.set("resource-discovery", discovery);
        }
        e.push(rule(configuration, &options, &condition, &constraint, &mut ids)?);
        push(configuration, e);
        Ok(String::new())
    })
}

fn rule(
    configuration: &Element,
    options: &Options<'_>,
    condition: &rules::Condition,
    constraint: &str,
    ids: &mut Ids,
) -> Result<Element, Failure> {
    let id = match options.id {
        Some(id) if configuration.find_id(id).is_some() => {
            return Err(error(format!("id '{id}' is already in use, please specify another one")));
        }
        Some(id) => ids.free(id),
        None => ids.free(&format!("{constraint}-rule")),
    };
    let mut rule = rules::element(condition, id, ids);
    if let Some(role) = options.role {
        rule.set("role", role);
    }
    let (name, value) = options.score.unwrap_or(("score", "INFINITY"));
    rule.set(name, value);
    Ok(rule)
}

/// `rule add CONSTRAINT [OPTION=VALUE...] EXPRESSION`.
pub fn add(source: &Source, constraint: &str, words: &[&str]) -> Result<String, Failure> {
    let (options, expression) = options(words)?;
    edit(source, |configuration| {
        let mut ids = Ids::of(configuration);
        let there = configuration.child("constraints").and_then(|c| c.child_by_id("rsc_location", constraint));
        if there.is_none() {
            return Err(error(format!("Unable to find constraint: {constraint}")));
        }
        let condition = rules::parse(expression)?;
        let new = rule(configuration, &options, &condition, constraint, &mut ids)?;
        let constraints = configuration.child_or_insert("constraints");
        if let Some(e) = constraints.child_by_id_mut("rsc_location", constraint) {
            e.push(new);
        }
        Ok(String::new())
    })
}

pub fn delete(source: &Source, id: &str) -> Result<String, Failure> {
    edit(source, |configuration| {
        let constraints = configuration.child_or_insert("constraints");
        match take(constraints, id) {
            Some(None) => kernel::errln!("Removing Rule: {id}"),
            Some(Some(constraint)) => kernel::errln!("Removing Constraint: {constraint}"),
            None => return Err(error(format!("unable to find rule with id: {id}"))),
        }
        Ok(String::new())
    })
}

/// Takes a rule out of its constraint; a constraint without rules goes too, and is named.
pub fn take(constraints: &mut Element, id: &str) -> Option<Option<String>> {
    let is = |e: &Element| e.name() == "rule" && e.id() == Some(id);
    let holder = constraints.elements_mut().find(|e| e.elements().any(is))?;
    holder.retain_elements(|e| !is(e));
    if holder.child("rule").is_some() {
        return Some(None);
    }
    let constraint = holder.id()?.to_owned();
    constraints.retain_elements(|e| e.id() != Some(&constraint));
    Some(Some(constraint))
}

/// For sets: each resource must be there.
pub fn all_there(configuration: &Element, ids: &[String]) -> Result<(), Failure> {
    ids.iter().try_for_each(|id| needs_any(configuration, id))
}
