//! The operations. Each works on a private copy when the configuration may change, and otherwise checks before it
//! changes anything, so that a refused request leaves no trace.

mod edit;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transactions;

use crate::acl::{Access, Guard, Subject};
use crate::limits::{check_request, check_section, may_grow};
use crate::{CONFIGURATION_SECTIONS, CibError, Op, Outcome, Request, Severity, Target, Version, schema, stamp};
use std::sync::Arc;
use xml::{Element, Location, Path};

/// Where a section stands below the root; `None` if there is no such section.
pub fn section_path(name: &str) -> Option<Vec<&str>> {
    match name {
        "cib" | "all" => Some(vec![]),
        "configuration" | "status" => Some(vec![name]),
        _ if CONFIGURATION_SECTIONS.contains(&name) => Some(vec!["configuration", name]),
        _ => None,
    }
}

pub fn query(root: &Element, request: &Request) -> Result<Element, CibError> {
    let strip = |e: &Element| if request.options.no_children { edit::without_children(e) } else { e.clone() };
    match &request.target {
        Target::Whole => Ok(strip(root)),
        Target::Section(name) => {
            let path = path_of_section(name)?;
            let found = path.iter().try_fold(root, |e, part| e.child(part));
            found.map(strip).ok_or(CibError::NotFound)
        }
        Target::XPath(expression) => {
            let found = Path::parse(expression)?.find(root)?;
            match found.as_slice() {
                [] => Err(CibError::NotFound),
                [one] => root.at(one).map(strip).ok_or(CibError::NotFound),
                many => {
                    let mut all = Element::new("xpath-query");
                    many.iter().filter_map(|at| root.at(at)).for_each(|e| all.push(strip(e)));
                    Ok(all)
                }
            }
        }
    }
}

/// `subject`: who asks, if ACLs may apply.
pub fn apply(shared: &mut Arc<Element>, request: &Request, subject: Option<&Subject>) -> Result<Outcome, CibError> {
    let version = Version::of(shared)?;
    if request.op == Op::Query {
        let access = subject.map_or(Ok(None), |s| Access::of(shared, s))?;
        let seen = access.map_or_else(|| Ok(Element::clone(shared)), |a| a.visible(shared))?;
        let answer = query(&seen, request)?;
        return Ok(Outcome { changed: false, config_changed: false, answer: Some(answer), version });
    }
    check_request(request)?;
    let old = Version::of(shared)?;
    if let Some(expected) = request.expected.filter(|e| !e.holds(old)) {
        return Err(CibError::Changed { expected, found: old });
    }
    let guard = subject.map_or(Ok(None), |s| Guard::new(shared, s))?;
    if guard.is_none() && only_status(request) && !may_grow(request.op) {
        // In place: it needs neither schema check nor roll-back.
        let changed = edit::perform(Arc::make_mut(shared), request, &mut 0)?;
        let version = if changed { Version { num_updates: old.num_updates + 1, ..old } } else { old };
        if changed {
            version.write_to(Arc::make_mut(shared));
        }
        return Ok(Outcome { changed, config_changed: false, answer: None, version });
    }
    let raises = |r: &Request| matches!(r.op, Op::Bump | Op::Erase | Op::Upgrade);
    let mut copy = guard.as_ref().map_or_else(|| Element::clone(shared), |g| Element::clone(&g.masked()));
    let performed = edit::perform(&mut copy, request, &mut 0)?;
    if let Some(guard) = &guard {
        if let Some(whole) = std::iter::once(request).chain(&request.steps).find(|r| raises(r)) {
            guard.may_write_root(whole.op.name())?;
        }
        copy = guard.settle(&copy)?;
    }
    if !performed && !matches!(request.op, Op::Bump | Op::Erase) {
        return Ok(Outcome { changed: false, config_changed: false, answer: None, version: old });
    }
    let config_changed = raises(request) || request.steps.iter().any(raises) || differs_outside_status(shared, &copy);
    if may_grow(request.op) {
        check_section("status", shared.child("status"), copy.child("status"))?;
        check_section("configuration", shared.child("configuration"), copy.child("configuration"))?;
    }
    let version = next_version(old, Version::of(&copy)?, config_changed, request);
    version.write_to(&mut copy);
    if config_changed {
        sign(&mut copy, request);
        validate(&copy)?;
        still_claims(shared, &copy)?;
    }
    *shared = Arc::new(copy);
    Ok(Outcome { changed: true, config_changed, answer: None, version })
}

fn path_of_section(name: &str) -> Result<Vec<&str>, CibError> {
    section_path(name).ok_or_else(|| CibError::UnknownSection { name: name.to_owned() })
}

fn only_status(request: &Request) -> bool {
    match &request.target {
        Target::Section(name) => {
            name == "status" && !matches!(request.op, Op::Bump | Op::Erase | Op::Upgrade | Op::Patch | Op::Transaction)
        }
        Target::XPath(expression) => {
            matches!(request.op, Op::Delete | Op::Modify | Op::Create)
                && (expression.starts_with("/cib/status/") || expression.starts_with("//cib/status/"))
                && !expression.contains("..")
                && !expression.contains('|')
                && !expression.contains("::")
        }
        Target::Whole => false,
    }
}

/// Whether anything but `status` and the counters differs.
fn differs_outside_status(old: &Element, new: &Element) -> bool {
    let counters =
        ["num_updates", "have-quorum", "dc-uuid", "cib-last-written", "update-origin", "update-client", "update-user"];
    let attrs = |e: &Element| {
        let kept = e.attrs().filter(|(n, _)| !counters.contains(n));
        kept.map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<std::collections::BTreeMap<_, _>>()
    };
    attrs(old) != attrs(new)
        || old.elements().filter(|e| e.name() != "status").ne(new.elements().filter(|e| e.name() != "status"))
}

/// A configuration change raises `epoch` and starts `num_updates` anew; a status change raises `num_updates`.
/// `asked` is what the request itself wrote into the document.
fn next_version(old: Version, asked: Version, config_changed: bool, request: &Request) -> Version {
    let versioned = |p: &Element| p.child("version").is_some();
    if request.op == Op::Patch && request.payload.as_ref().is_some_and(versioned) {
        return asked;
    }
    if !config_changed {
        return Version { num_updates: old.num_updates + 1, ..old };
    }
    if asked.admin_epoch > old.admin_epoch {
        // Raised by itself, it is no change of the configuration that would start the count anew.
        let alone = |p: &Element| p.name() == "cib" && p.nodes().is_empty();
        let raised = request.op == Op::Modify && request.payload.as_ref().is_some_and(alone);
        return Version { num_updates: if raised { old.num_updates + 1 } else { 0 }, ..asked };
    }
    Version { admin_epoch: asked.admin_epoch, epoch: asked.epoch.max(old.epoch) + 1, num_updates: 0 }
}

fn sign(root: &mut Element, request: &Request) {
    root.set("cib-last-written", stamp::ctime(request.at));
    let who = [("update-origin", &request.origin), ("update-client", &request.client), ("update-user", &request.user)];
    for (name, value) in who.iter().filter(|(_, v)| !v.is_empty()) {
        root.set(name, value);
    }
}

fn validate(root: &Element) -> Result<(), CibError> {
    if root.attr("validate-with") == Some("none") {
        return Ok(());
    }
    let mut problems = schema::check(root);
    problems.retain(|p| p.severity == Severity::Error);
    if problems.is_empty() { Ok(()) } else { Err(CibError::Invalid { problems }) }
}

/// A document that follows a known schema goes on to do so: nothing would be checked else.
fn still_claims(old: &Element, new: &Element) -> Result<(), CibError> {
    use crate::schema::Claim;
    let Err(unknown) = Claim::of(new) else { return Ok(()) };
    if Claim::of(old).is_err() {
        return Ok(());
    }
    let (line, column) = (new.line(), new.column());
    let message = unknown.to_string();
    Err(CibError::Invalid {
        problems: vec![crate::Problem { severity: Severity::Error, line, column, path: "/cib".to_owned(), message }],
    })
}

/// The elements that a request names by section or XPath; for [`Target::Whole`] the root.
fn locate(root: &Element, request: &Request, visits: &mut usize) -> Result<Vec<Location>, CibError> {
    match &request.target {
        Target::Whole => Ok(vec![Vec::new()]),
        Target::Section(name) => {
            let path = path_of_section(name)?;
            Ok(edit::location_by_names(root, &path).into_iter().collect())
        }
        Target::XPath(expression) => {
            let mut found = Path::parse(expression)?.find_within(root, visits)?;
            if !request.options.multiple {
                found.truncate(1);
            }
            Ok(found)
        }
    }
}
