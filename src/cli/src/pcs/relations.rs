//! `pcs resource relations`: what a resource depends on and stands in, as a tree.

use crate::edit::{self, error};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use std::collections::BTreeSet;
use std::fmt::Write;
use xml::Element;

/// One line of the tree, what is said below it, and its branches.
struct Branch {
    title: String,
    notes: Vec<String>,
    branches: Vec<Branch>,
}

struct Walk<'a> {
    configuration: &'a Element,
    full: bool,
    /// Resources and relations that stand in the tree already.
    seen: BTreeSet<String>,
}

pub fn show(source: &Source, line: &Line, id: &str) -> Result<String, Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    if edit::find_resource(configuration, id).is_none() {
        return Err(error(format!("resource '{id}' does not exist")));
    }
    let mut walk = Walk { configuration, full: line.has("--full"), seen: BTreeSet::new() };
    walk.seen.insert(id.to_owned());
    let tree = walk.resource(id);
    let mut out = String::new();
    print(&tree, "", "", &mut out);
    Ok(out)
}

fn print(branch: &Branch, lead: &str, below: &str, out: &mut String) {
    let _ = writeln!(out, "{lead}{}", branch.title);
    let bar = if branch.branches.is_empty() { "   " } else { "|  " };
    branch.notes.iter().for_each(|note| {
        let _ = writeln!(out, "{below}{bar}{note}");
    });
    for (i, inner) in branch.branches.iter().enumerate() {
        let last = i + 1 == branch.branches.len();
        let (own, rest) = if last { ("`- ", "   ") } else { ("|- ", "|  ") };
        print(inner, &format!("{below}{own}"), &format!("{below}{rest}"), out);
    }
}

impl Walk<'_> {
    fn titled(&self, id: &str) -> String {
        let kind = match edit::find_resource(self.configuration, id) {
            Some(e) if e.name() == "primitive" => edit::agent_of(e),
            Some(e) => e.name().replace("master", "clone"),
            None => return id.to_owned(),
        };
        if self.full { format!("{id} (resource: {kind})") } else { id.to_owned() }
    }

    fn named(&self, what: &str, id: &str) -> String {
        if self.full { format!("{what} ({id})") } else { what.to_owned() }
    }

    /// A resource with its relations; each resource and relation stands once in the tree. All that a resource is related to is
    /// taken before any of it is followed.
    fn resource(&mut self, id: &str) -> Branch {
        let mut relations: Vec<(String, Branch, Vec<String>)> = Vec::new();
        relations.extend(self.inside(id));
        relations.extend(self.outside(id));
        relations.extend(self.orders(id));
        let relations: Vec<_> = relations.into_iter().filter(|(key, ..)| self.seen.insert(key.clone())).collect();
        let mut branches = Vec::new();
        for (_, mut branch, members) in relations {
            let fresh: Vec<String> = members.into_iter().filter(|m| self.seen.insert(m.clone())).collect();
            if fresh.is_empty() {
                continue;
            }
            branch.branches = fresh.iter().map(|m| self.resource(m)).collect();
            branches.push(branch);
        }
        Branch { title: self.titled(id), notes: Vec::new(), branches }
    }

    fn inside(&self, id: &str) -> Option<(String, Branch, Vec<String>)> {
        let e = edit::find_resource(self.configuration, id)?;
        let members: Vec<String> = e
            .elements()
            .filter(|c| edit::RESOURCES.contains(&c.name()))
            .filter_map(Element::id)
            .map(str::to_owned)
            .collect();
        if members.is_empty() {
            return None;
        }
        let notes = if members.len() > 1 { vec![format!("members: {}", members.join(" "))] } else { Vec::new() };
        let title = self.named("inner resource(s)", id);
        Some((format!("inner {id}"), Branch { title, notes, branches: Vec::new() }, members))
    }

    fn outside(&self, id: &str) -> Option<(String, Branch, Vec<String>)> {
        let resources = self.configuration.child("resources")?;
        let holds = |e: &&Element| {
            edit::RESOURCES.contains(&e.name())
                && e.elements().any(|c| edit::RESOURCES.contains(&c.name()) && c.id() == Some(id))
        };
        let holder = resources.descendants().find(holds)?.id()?.to_owned();
        let branch = Branch { title: self.named("outer resource", &holder), notes: Vec::new(), branches: Vec::new() };
        Some((format!("inner {holder}"), branch, vec![holder]))
    }

    fn orders(&self, id: &str) -> Vec<(String, Branch, Vec<String>)> {
        let constraints = self.configuration.child("constraints");
        let all = constraints.into_iter().flat_map(|c| c.elements_named("rsc_order"));
        all.filter_map(|e| self.order(id, e)).collect()
    }

    fn order(&self, id: &str, e: &Element) -> Option<(String, Branch, Vec<String>)> {
        let own = e.id().unwrap_or_default();
        let key = format!("order {own}");
        if e.child("resource_set").is_some() {
            let of = |s: &Element| -> Vec<String> {
                s.elements_named("resource_ref").filter_map(Element::id).map(str::to_owned).collect()
            };
            let sets: Vec<&Element> = e.elements_named("resource_set").collect();
            let members: Vec<String> = sets.iter().flat_map(|s| of(s)).collect();
            if !members.iter().any(|m| m == id) {
                return None;
            }
            let note = |s: &&Element| {
                let options: String = s.attrs().filter(|(n, _)| *n != "id").map(|(n, v)| format!(" {n}={v}")).collect();
                let own = if self.full && !options.is_empty() { options } else { String::new() };
                format!("   set {}{own}", of(s).join(" "))
            };
            let notes = sets.iter().map(note).collect();
            return Some((key, Branch { title: self.named("order set", own), notes, branches: Vec::new() }, members));
        }
        let (first, then) = (e.attr("first")?, e.attr("then")?);
        if first != id && then != id {
            return None;
        }
        let first_action = e.attr("first-action").unwrap_or("start");
        let then_action = e.attr("then-action").unwrap_or(first_action);
        let note = format!("{first_action} {first} then {then_action} {then}");
        let branch = Branch { title: self.named("order", own), notes: vec![note], branches: Vec::new() };
        Some((key, branch, vec![first.to_owned(), then.to_owned()]))
    }
}
