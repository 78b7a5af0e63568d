//! `pcs cluster node add-remote|add-guest|delete-…`: nodes without a cluster stack, and guests, as the CIB has them.

use super::report::Report;
use super::unable;
use super::{create, resource};
use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use xml::Element;

pub fn is(words: &[&str]) -> bool {
    matches!(
        words,
        ["add-remote" | "add-guest" | "delete-remote" | "remove-remote" | "delete-guest" | "remove-guest", ..]
    )
}

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["add-remote", name, rest @ ..] => add_remote(source, line, name, rest),
        ["add-guest", name, id, rest @ ..] => add_guest(source, line, name, id, rest),
        ["delete-remote" | "remove-remote", name] => delete_remote(source, name),
        ["delete-guest" | "remove-guest", name] => delete_guest(source, name),
        _ => Err(error(format!("unknown command 'cluster node {}' (see: pcs help)", words.join(" ")))),
    }
}

fn unchecked(source: &Source) {
    if source.client().is_none() {
        kernel::errln!(
            "Unable to check if there is a conflict with nodes set in corosync because the command does not run on a live cluster \
             (e.g. -f was used)"
        );
    }
}

/// What is for the operator to do, on the node itself.
fn by_hand(name: &str, added: bool) {
    let because = "was skipped because the command does not run on a live cluster (e.g. -f was used). Please,";
    let actions = |verb: &str, last: &str| {
        kernel::errln!(
            "Running action(s) 'pacemaker_remote {verb}', 'pacemaker_remote {last}' on '{name}' {because} run the action(s) manually."
        );
    };
    if added {
        kernel::errln!("Distribution of 'pacemaker authkey' to '{name}' {because} distribute the file(s) manually.");
        actions("enable", "start");
    } else {
        actions("disable", "stop");
        kernel::errln!("Removing 'pacemaker authkey' from '{name}' {because} remove the file(s) manually.");
    }
}

/// Names and addresses of remote nodes and guests that there are.
fn known(configuration: &Element) -> Vec<String> {
    let primitives = configuration.descendants().filter(|e| e.name() == "primitive");
    let value = |e: &Element, kind: &str, name: &str| {
        let mut pairs = e.elements_named(kind).flat_map(crate::nvpairs::written);
        pairs.find(|p| p.attr("name") == Some(name)).and_then(|p| p.attr("value")).map(str::to_owned)
    };
    let mut all = Vec::new();
    for e in primitives {
        if e.attr("type") == Some("remote") && e.attr("provider") == Some("pacemaker") {
            all.extend(e.id().map(str::to_owned));
            all.extend(value(e, "instance_attributes", "server"));
        }
        all.extend(value(e, "meta_attributes", "remote-node"));
        all.extend(value(e, "meta_attributes", "remote-addr"));
    }
    all
}

fn add_remote(source: &Source, line: &Line, name: &str, words: &[&str]) -> Result<String, Failure> {
    unchecked(source);
    let (address, rest) = match words {
        [first, rest @ ..] if !first.contains('=') && !["op", "meta"].contains(first) => (*first, rest),
        words => (name, words),
    };
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let known = known(configuration);
    let mut taken: Vec<&str> = [address, name].into_iter().filter(|n| known.iter().any(|k| k == n)).collect();
    if configuration.find_id(name).is_some_and(|e| e.name() != "node") {
        taken.push(name);
    }
    taken.sort_unstable();
    taken.dedup();
    if !taken.is_empty() {
        return Err(unable(&taken.iter().map(|n| format!("'{n}' already exists")).collect::<Vec<_>>()));
    }
    let server = format!("server={address}");
    // Parameters go before the parts that follow.
    let mut all = vec![server.as_str()];
    all.extend(rest);
    let said = create::create(source, line, name, "ocf:pacemaker:remote", &all)?;
    by_hand(name, true);
    Ok(said)
}

const GUEST: [&str; 4] = ["remote-addr", "remote-connect-timeout", "remote-node", "remote-port"];

fn add_guest(source: &Source, line: &Line, name: &str, id: &str, words: &[&str]) -> Result<String, Failure> {
    unchecked(source);
    let mut pairs = words.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    if !pairs.iter().any(|(n, _)| n == "remote-addr") {
        kernel::errln!("No addresses specified for host '{name}', using '{name}'");
    }
    pairs.push(("remote-node".to_owned(), name.to_owned()));
    edit(source, |configuration| {
        let mut report = Report::of(line);
        for (option, _) in pairs.iter().filter(|(n, _)| !GUEST.contains(&n.as_str())) {
            report.error(format!(
                "invalid guest option '{option}', allowed options are: {}",
                super::report::quoted(GUEST)
            ));
        }
        if known(configuration).iter().any(|k| k == name) || configuration.find_id(name).is_some() {
            report.error(format!("'{name}' already exists"));
        }
        if edit::find_resource(configuration, id).is_none_or(|e| e.name() != "primitive") {
            report.error(format!("resource '{id}' does not exist"));
        }
        report.done()?;
        let e = edit::resource_mut(configuration, id)?;
        edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &pairs);
        Ok(())
    })?;
    by_hand(name, true);
    Ok(String::new())
}

fn delete_remote(source: &Source, name: &str) -> Result<String, Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let is = |e: &&Element| {
        let named = e.id() == Some(name)
            || e.descendants().any(|p| p.attr("name") == Some("server") && p.attr("value") == Some(name));
        e.name() == "primitive" && e.attr("type") == Some("remote") && named
    };
    let found = configuration.descendants().find(is).and_then(Element::id);
    let id = found.ok_or_else(|| error(format!("remote node '{name}' does not appear to exist in configuration")))?;
    by_hand(id, false);
    resource::delete(source, &[id])
}

fn delete_guest(source: &Source, name: &str) -> Result<String, Failure> {
    edit(source, |configuration| {
        let is = |p: &Element| crate::nvpairs::names(p, "remote-node") && p.attr("value") == Some(name);
        let holder = configuration
            .descendants()
            .find(|e| e.name() == "primitive" && e.elements_named("meta_attributes").any(|s| s.elements().any(is)));
        let missing = || error(format!("guest node '{name}' does not appear to exist in configuration"));
        let id = holder.and_then(Element::id).map(str::to_owned).ok_or_else(missing)?;
        let e = edit::resource_mut(configuration, &id)?;
        let none: Vec<(String, String)> = GUEST.iter().map(|n| ((*n).to_owned(), String::new())).collect();
        edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &none);
        Ok(())
    })?;
    by_hand(name, false);
    Ok(String::new())
}
