//! `crm resource trace|untrace`: the parameter by which agents write down what they do, on operations.

use crate::edit::rules::Ids;
use crate::edit::{self, error};
use crate::source::Failure;
use xml::Element;

const SWITCH: &str = "trace_ra";
const FOLDER: &str = "trace_dir";
/// Where the agents' shell library writes.
const PLACE: &str = "/var/lib/heartbeat/trace_ra";

/// `[OP] [INTERVAL] [DIRECTORY]`.
struct What<'a> {
    op: Option<&'a str>,
    interval: Option<&'a str>,
    folder: Option<&'a str>,
}

impl<'a> What<'a> {
    fn of(words: &[&'a str]) -> Result<What<'a>, Failure> {
        let mut what = What { op: None, interval: None, folder: None };
        for word in words.iter().filter(|w| **w != "force") {
            let place = match word {
                w if w.starts_with('/') => &mut what.folder,
                w if w.starts_with(|c: char| c.is_ascii_digit()) => &mut what.interval,
                _ => &mut what.op,
            };
            if place.replace(word).is_some() {
                return Err(error("usage: trace ID [OP] [INTERVAL] [DIRECTORY]"));
            }
        }
        // A probe is a monitor that is not repeated.
        if what.op == Some("probe") {
            what.op = Some("monitor");
            what.interval.get_or_insert("0");
        }
        Ok(what)
    }

    fn means(&self, op: &Element) -> bool {
        let ms = |text: &str| cib::interval_ms(text);
        let interval = op.attr("interval").unwrap_or("0");
        self.op.is_none_or(|name| op.attr("name") == Some(name))
            && self.interval.is_none_or(|wanted| ms(wanted) == ms(interval))
    }
}

fn primitive<'a>(configuration: &'a mut Element, id: &str) -> Result<&'a mut Element, Failure> {
    let e = edit::resource_mut(configuration, id).map_err(|_| error(format!("resource {id} does not exist")))?;
    if e.name() == "primitive" { Ok(e) } else { Err(error(format!("element {id} is not a primitive resource"))) }
}

pub fn on(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let what = What::of(words)?;
    let mut ids = Ids::from_nought(configuration);
    let e = primitive(configuration, id)?;
    let kind = e.attr("type").unwrap_or_default().to_owned();
    let there = |e: &Element| e.child("operations").is_some_and(|o| o.elements().any(|op| what.means(op)));
    let added: Vec<(&str, &str)> = match (what.op, what.interval) {
        (None, _) => {
            let has = |name: &str| e.descendants().any(|op| op.name() == "op" && op.attr("name") == Some(name));
            ["start", "stop"].into_iter().filter(|name| !has(name)).map(|name| (name, "0")).collect()
        }
        (Some(_), _) if there(e) => Vec::new(),
        (Some("monitor"), None) => return Err(error(format!("No monitor operation configured for {id}"))),
        (Some(op), None) => vec![(op, "0")],
        (Some(op), Some(interval)) if cib::interval_ms(interval) == Some(0) => vec![(op, interval)],
        (Some(op), Some(interval)) => {
            return Err(error(format!("Operation {op} with interval {interval} not found in {id}")));
        }
    };
    let operations = e.child_or_insert("operations");
    for (name, interval) in added {
        operations.push(Element::new("op").with("name", name).with("interval", interval).with("id", ""));
    }
    for op in operations.elements_mut().filter(|op| what.means(op)) {
        let of = |name: &str| op.attr(name).unwrap_or("0").to_owned();
        let wanted = format!("{id}-{}-{}", of("name"), of("interval"));
        // crmsh calls an operation that it touches by its own rule.
        let own = if op.id() == Some(wanted.as_str()) { wanted } else { ids.free(&wanted) };
        op.set("id", &own);
        let mut pairs = vec![(SWITCH.to_owned(), "1".to_owned())];
        pairs.extend(what.folder.map(|f| (FOLDER.to_owned(), f.to_owned())));
        edit::set_pairs(op, "instance_attributes", &format!("{own}-instance_attributes"), &pairs);
    }
    let of = what.op.map(|op| format!(":{op}")).unwrap_or_default();
    let which = match what.op {
        Some(op) if op != "monitor" => format!("the {op} operation"),
        _ => "non-monitor operations".to_owned(),
    };
    Ok(format!(
        "INFO: Trace for {id}{of} is written to {}/{kind}\nINFO: Trace set, restart {id} to trace {which}\n",
        what.folder.unwrap_or(PLACE)
    ))
}

pub fn off(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let what = What::of(words)?;
    let e = primitive(configuration, id)?;
    let operations = e.child_or_insert("operations");
    if what.op.is_some() && !operations.elements().any(|op| what.means(op)) {
        let interval = what.interval.map(|i| format!(" with interval {i}")).unwrap_or_default();
        return Err(error(format!("Operation {}{interval} not found in {id}", what.op.unwrap_or_default())));
    }
    let mut bare = Vec::new();
    for op in operations.elements_mut().filter(|op| what.means(op)) {
        let traced = op.descendants().any(|p| p.attr("name") == Some(SWITCH));
        for set in op.elements_mut() {
            set.retain_elements(|p| ![Some(SWITCH), Some(FOLDER)].contains(&p.attr("name")));
        }
        op.retain_elements(|set| set.elements().next().is_some());
        // What was there for the trace alone goes with it.
        let alone = op.attrs().all(|(n, v)| ["id", "name"].contains(&n) || n == "interval" && v == "0");
        if traced && alone && op.elements().next().is_none() {
            bare.extend(op.id().map(str::to_owned));
        }
    }
    operations.retain_elements(|op| !op.id().is_some_and(|id| bare.iter().any(|b| b == id)));
    e.retain_elements(|c| c.name() != "operations" || c.elements().next().is_some() || c.attrs().next().is_some());
    let of = what.op.map(|op| format!(" for operation {op}")).unwrap_or_default();
    Ok(format!("INFO: Stop tracing {id}{of}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_without_trace() {
        let text = "<configuration><resources><primitive id=\"p\" type=\"Dummy\"><operations><op id=\"p-monitor-10s\" name=\"monitor\" \
            interval=\"10s\"/></operations></primitive></resources></configuration>";
        let mut c = xml::parse(text).expect("good");
        let before = c.clone();
        for words in [&[][..], &["monitor"], &["probe"], &["start", "/tmp/x"], &["monitor", "10"]] {
            on(&mut c, "p", words).expect("can be traced");
            assert!(c.to_compact().contains("trace_ra"));
            off(&mut c, "p", words).expect("was traced");
            assert_eq!(c, before, "{words:?}");
        }
        assert!(on(&mut c, "p", &["monitor", "20s"]).is_err() && on(&mut c, "q", &[]).is_err());
        assert!(off(&mut c, "p", &["start"]).is_err() && on(&mut c, "p", &["start", "stop"]).is_err());
    }
}
