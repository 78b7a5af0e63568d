//! What resource agents say of themselves: those that this program has in itself, and those that are installed.

use crate::crm_resource::listing;
use crate::source::Failure;
use base::applet::Natives;
use base::exit::crm;
use std::sync::OnceLock;
use xml::Element;

static NATIVES: OnceLock<&'static Natives> = OnceLock::new();

/// Parameters that agents' shell library takes for every agent, and no document names.
const TRACING: [&str; 2] = ["trace_ra", "trace_file"];

/// The agents that the program has in itself; said once, by who makes the program.
pub fn know(natives: &'static Natives) {
    // Said twice, it is the same.
    let _ = NATIVES.set(natives);
}

/// Names of those, as configurations have them.
pub fn native_names() -> Vec<String> {
    NATIVES.get().map(|natives| (natives.names)()).unwrap_or_default()
}

pub fn native_document(agent: &str) -> Option<String> {
    NATIVES.get().and_then(|natives| (natives.document)(agent))
}

#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    pub required: bool,
}

/// Of an agent's document, what a configuration is checked against.
#[derive(Debug)]
pub struct Described {
    pub parameters: Vec<Parameter>,
    /// Name, interval, timeout.
    pub actions: Vec<(String, Option<String>, Option<String>)>,
}

/// Asks the agent; an error where there is none, or none that answers with a document.
pub fn describe(agent: &str) -> Result<Described, Failure> {
    let document = match native_document(agent) {
        Some(document) => document,
        None => listing::metadata(agent)?,
    };
    read(&document).ok_or_else(|| Failure::new(crm::ERROR, format!("{agent} gives no valid metadata")))
}

fn read(document: &str) -> Option<Described> {
    // Document types say nothing that is needed, and our parser takes none.
    let root = xml::parse(document.get(document.find("<resource-agent")?..)?).ok()?;
    let yes = |e: &Element, name: &str| matches!(e.attr(name), Some("1" | "true" | "yes" | "on"));
    let parameter = |e: &Element| Some(Parameter { name: e.attr("name")?.to_owned(), required: yes(e, "required") });
    let action = |e: &Element| {
        let text = |name: &str| e.attr(name).map(str::to_owned);
        Some((text("name")?, text("interval"), text("timeout")))
    };
    let list = |name: &str, of: &'static str| root.child(name).into_iter().flat_map(move |l| l.elements_named(of));
    Some(Described {
        parameters: list("parameters", "parameter").filter_map(parameter).collect(),
        actions: list("actions", "action").filter_map(action).collect(),
    })
}

impl Described {
    /// What is wrong with parameters that somebody wants to set: unknown ones, and, of `all` that the resource then has, required
    /// ones that are missing. In pcs's words.
    pub fn problems(&self, set: &[(String, String)], all: &[String]) -> Vec<String> {
        let known = |name: &str| self.parameters.iter().any(|p| p.name == name) || TRACING.contains(&name);
        let unknown: Vec<&str> =
            set.iter().filter(|(n, v)| !v.is_empty() && !known(n)).map(|(n, _)| n.as_str()).collect();
        let missing: Vec<&str> =
            self.parameters.iter().filter(|p| p.required && !all.contains(&p.name)).map(|p| p.name.as_str()).collect();
        let mut problems = Vec::new();
        if !unknown.is_empty() {
            let word = if unknown.len() == 1 { "option" } else { "options:" };
            let allowed: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).chain(TRACING).collect();
            let (unknown, allowed) = (quoted(unknown), quoted(allowed));
            problems.push(format!("invalid resource {word} {unknown}, allowed options are: {allowed}"));
        }
        match missing.as_slice() {
            [] => {}
            [one] => problems.push(format!("required resource option '{one}' is missing")),
            _ => problems.push(format!("required resource options {} are missing", quoted(missing))),
        }
        problems
    }
}

/// In order, each in quotes.
fn quoted(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<?xml version=\"1.0\"?>\n<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">\n<resource-agent name=\"A\">\
        <parameters><parameter name=\"ip\" required=\"1\"/><parameter name=\"nic\"/><parameter name=\"key\" required=\"true\"/>\
        </parameters><actions><action name=\"monitor\" interval=\"10s\" timeout=\"20s\"/></actions></resource-agent>";

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_the_document_does_not_have_is_named_and_what_it_demands() {
        let described = read(DOCUMENT).expect("a document");
        let all = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let none = Vec::<String>::new();
        assert_eq!(described.problems(&pairs(&[("ip", "1"), ("trace_ra", "1")]), &all(&["ip", "key"])), none);
        assert_eq!(
            described.problems(&pairs(&[("bogus", "1")]), &all(&["ip", "key", "bogus"])),
            ["invalid resource option 'bogus', allowed options are: 'ip', 'key', 'nic', 'trace_file', 'trace_ra'"]
        );
        let gone = described.problems(&pairs(&[("bogus", ""), ("ip", "")]), &all(&["key"]));
        assert_eq!(gone, ["required resource option 'ip' is missing"], "an unknown one may be taken away");
        assert_eq!(described.problems(&[], &[]), ["required resource options 'ip', 'key' are missing"]);
        assert_eq!(described.actions, [("monitor".to_owned(), Some("10s".to_owned()), Some("20s".to_owned()))]);
        assert!(read("nothing").is_none() && read("<resource-agent").is_none());
    }
}
