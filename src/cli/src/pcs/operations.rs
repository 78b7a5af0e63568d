//! `pcs resource|stonith op add|delete`: operations of one primitive.

use super::unable;
use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use xml::Element;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["add", id, name, options @ ..] => add(source, line, id, name, options),
        ["delete" | "remove", id] => {
            delete(source, |op| op.id() == Some(id), || format!("unable to find operation id: {id}"))
        }
        ["delete" | "remove", resource, name, options @ ..] => {
            let pairs = options.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
            let cib = source.cib()?;
            let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
            let primitive = edit::find_resource(configuration, resource);
            let primitive = primitive.ok_or_else(|| error(format!("Unable to find resource: {resource}")))?;
            let fits = |op: &&Element| {
                op.attr("name") == Some(name) && pairs.iter().all(|(n, v)| op.attr(n) == Some(v.as_str()))
            };
            let found = operations(primitive).find(fits).and_then(Element::id).map(str::to_owned);
            let what = || format!("Unable to find operation matching: {}", words[2..].join(" "));
            let found = found.ok_or_else(|| error(what()))?;
            delete(source, |op| op.id() == Some(&found), what)
        }
        _ => Err(error(format!("unknown command 'op {}' (see: pcs help)", words.join(" ")))),
    }
}

fn operations(primitive: &Element) -> impl Iterator<Item = &Element> {
    primitive.child("operations").into_iter().flat_map(|o| o.elements_named("op"))
}

fn interval(op: &Element) -> Option<u64> {
    cib::interval_ms(op.attr("interval").unwrap_or("0"))
}

fn add(source: &Source, line: &Line, id: &str, name: &str, options: &[&str]) -> Result<String, Failure> {
    let mut pairs = options.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    if name == "monitor" && !pairs.iter().any(|(n, _)| n == "interval") {
        pairs.push(("interval".to_owned(), "60s".to_owned()));
    }
    if let Some((_, wrong)) = pairs.iter().find(|(n, v)| n == "interval" && cib::interval_ms(v).is_none()) {
        return Err(unable(&[format!(
            "'{wrong}' is not a valid interval value, use time interval (e.g. 1, 2s, 3m, 4h, ...)"
        )]));
    }
    edit(source, |configuration| {
        let missing = || error(format!("Unable to find resource: {id}"));
        let kind = edit::find_resource(configuration, id).map(Element::name).ok_or_else(missing)?;
        if kind != "primitive" {
            return Err(error(format!("'{id}' is not a resource that has operations of its own, it is a {kind}")));
        }
        let e = edit::resource_mut(configuration, id)?;
        let mut new = edit::operation(id, name, &pairs);
        let same = |op: &&Element| {
            op.attr("name") == Some(name) && interval(op) == interval(&new) && op.attr("role") == new.attr("role")
        };
        if let Some(there) = operations(e).find(same).filter(|_| !line.has("--force")) {
            let role = there.attr("role").map(|r| format!(" role={r}")).unwrap_or_default();
            return Err(error(format!(
                "operation {name} with interval {} already specified for {id}:\n{name} interval={}{role} ({})",
                new.attr("interval").unwrap_or_default(),
                there.attr("interval").unwrap_or_default(),
                there.id().unwrap_or_default()
            )));
        }
        let base = new.id().unwrap_or_default().to_owned();
        let taken = |id: &str| operations(e).any(|op| op.id() == Some(id));
        let mut ids = std::iter::once(base.clone()).chain((1..).map(|n| format!("{base}-{n}")));
        if let Some(free) = ids.find(|id| !taken(id)) {
            new.set("id", free);
        }
        e.child_or_insert("operations").push(new);
        Ok(String::new())
    })
}

fn delete(source: &Source, which: impl Fn(&Element) -> bool, missing: impl Fn() -> String) -> Result<String, Failure> {
    edit(source, |configuration| {
        let holds = |e: &&Element| e.name() == "primitive" && operations(e).any(&which);
        let holder = configuration.child("resources").and_then(|r| r.descendants().find(holds)).and_then(Element::id);
        let holder = holder.map(str::to_owned).ok_or_else(|| error(missing()))?;
        if let Some(operations) = edit::resource_mut(configuration, &holder)?.child_mut("operations") {
            operations.retain_elements(|op| !which(op));
        }
        Ok(String::new())
    })
}
