//! `pcs resource utilization` and `pcs node utilization`: what resources need and nodes have.

use super::node;
use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::nvpairs;
use crate::source::{Failure, Source};
use std::fmt::Write;
use xml::Element;

pub fn resources(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [id, pairs @ ..] if !pairs.is_empty() => {
            let pairs = integers(pairs)?;
            edit(source, |configuration| {
                let e = primitive(configuration, id)?;
                edit::set_pairs(e, "utilization", &format!("{id}-utilization"), &pairs);
                Ok(String::new())
            })
        }
        ids => {
            let cib = source.cib()?;
            let resources = cib.child("configuration").and_then(|c| c.child("resources"));
            let all = resources.into_iter().flat_map(Element::descendants).filter(|e| e.name() == "primitive");
            let mut out = "Resource Utilization:\n".to_owned();
            let wanted = all.filter(|e| ids.is_empty() || e.id().is_some_and(|id| ids.contains(&id)));
            wanted.for_each(|e| list(e, e.id().unwrap_or_default(), "utilization", line.value("--name"), &mut out));
            Ok(out)
        }
    }
}

fn primitive<'a>(configuration: &'a mut Element, id: &str) -> Result<&'a mut Element, Failure> {
    let missing = || error(format!("Unable to find a resource: {id}"));
    edit::resource_mut(configuration, id).ok().filter(|e| e.name() == "primitive").ok_or_else(missing)
}

pub fn nodes(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [name, pairs @ ..] if !pairs.is_empty() => {
            integers(pairs)?;
            node::set(source, name, "utilization", pairs)
        }
        names => node::list(source, names.first().copied(), "utilization", ("Node Utilization:", line.value("--name"))),
    }
}

/// What is needed and had is counted.
fn integers(words: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    let pairs = words.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    match pairs.iter().find(|(_, v)| !v.is_empty() && v.parse::<i64>().is_err()) {
        Some((name, value)) => Err(error(format!("Value of utilization attribute must be integer: '{name}={value}'"))),
        None => Ok(pairs),
    }
}

/// One holder's pairs in a line.
pub fn list(e: &Element, name: &str, kind: &str, only: Option<&str>, out: &mut String) {
    let of = |p: &Element, n: &str| p.attr(n).unwrap_or_default().to_owned();
    let pairs = e.elements_named(kind).flat_map(nvpairs::written);
    let mut pairs: Vec<(String, String)> = pairs.map(|p| (of(p, "name"), of(p, "value"))).collect();
    pairs.retain(|(n, _)| only.is_none_or(|o| o == n));
    pairs.sort();
    if pairs.is_empty() {
        return;
    }
    let shown: Vec<String> = pairs
        .iter()
        .map(|(n, v)| if v.contains(char::is_whitespace) { format!("{n}=\"{v}\"") } else { format!("{n}={v}") })
        .collect();
    let _ = writeln!(out, " {name}: {}", shown.join(" "));
}
