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
/// Parameters of fence devices that are the cluster's and that no agent names.
const FENCING: [&str; 10] = [
    "pcmk_host_argument",
    "pcmk_host_map",
    "pcmk_host_list",
    "pcmk_host_check",
    "pcmk_delay_max",
    "pcmk_delay_base",
    "pcmk_action_limit",
    "priority",
    "provides",
    "stonith-timeout",
];
/// Each with `_action`, `_timeout` and `_retries`.
const FENCING_ACTIONS: [&str; 7] = ["reboot", "off", "on", "list", "monitor", "status", "validate-all"];
/// The cluster fills them in, whatever the agent demands.
const FILLED_IN: [&str; 4] = ["action", "port", "plug", "nodename"];

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
    /// A former name of it, which will do.
    pub former: Option<String>,
}

/// One thing that an agent can do, with what it recommends for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    pub name: String,
    pub options: Vec<(String, String)>,
}

/// Of an agent's document, what a configuration is checked against.
#[derive(Debug)]
pub struct Described {
    /// In pcs's words: `resource` or `stonith`.
    pub kind: &'static str,
    pub parameters: Vec<Parameter>,
    pub actions: Vec<Action>,
}

/// Asks the agent; an error where there is none, or none that answers with a document.
pub fn describe(agent: &str) -> Result<Described, Failure> {
    let document = match native_document(agent) {
        Some(document) => document,
        None => listing::metadata(agent)?,
    };
    let kind = if agent.starts_with("stonith:") { "stonith" } else { "resource" };
    read(&document, kind).ok_or_else(|| Failure::new(crm::ERROR, format!("{agent} gives no valid metadata")))
}

fn read(document: &str, kind: &'static str) -> Option<Described> {
    // Document types say nothing that is needed, and our parser takes none.
    let root = xml::parse(document.get(document.find("<resource-agent")?..)?).ok()?;
    let yes = |e: &Element, name: &str| matches!(e.attr(name), Some("1" | "true" | "yes" | "on"));
    let filled_in = |name: &str| kind == "stonith" && FILLED_IN.contains(&name);
    let parameter = |e: &Element| {
        let name = e.attr("name")?.to_owned();
        let required = yes(e, "required") && !yes(e, "deprecated") && !filled_in(&name);
        Some(Parameter { name, required, former: e.attr("obsoletes").map(str::to_owned) })
    };
    let action = |e: &Element| {
        let options = e.attrs().filter(|(n, v)| *n != "name" && !v.is_empty());
        let options = options.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        Some(Action { name: e.attr("name")?.to_owned(), options })
    };
    let list = |name: &str, of: &'static str| root.child(name).into_iter().flat_map(move |l| l.elements_named(of));
    Some(Described {
        kind,
        parameters: list("parameters", "parameter").filter_map(parameter).collect(),
        actions: list("actions", "action").filter_map(action).collect(),
    })
}

/// Actions that a configuration has no operations for.
const NO_OPERATIONS: [&str; 4] = ["meta-data", "methods", "status", "validate-all"];

/// Agents of any provider that are called so, by their full names.
pub fn called(name: &str) -> Vec<String> {
    let providers = listing::ocf_providers();
    let full = providers.lines().map(|provider| format!("ocf:{provider}:{name}"));
    let mut found: Vec<String> = full.filter(|agent| crate::edit::agent_is_there(agent)).collect();
    // What is of ours alone by its provider is the same agent under another name.
    if found.len() > 1 {
        found.retain(|agent| !agent.starts_with("ocf:bascule:"));
    }
    found
}

impl Described {
    /// Whether it takes a parameter of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.parameters.iter().any(|p| p.name == name) || self.clusters_own().iter().any(|own| own == name)
    }

    /// The operations that the agent recommends, as a configuration writes them.
    pub fn operations(&self) -> Vec<(String, Vec<(String, String)>)> {
        let option = |(name, value): &(String, String)| {
            let value = match (name.as_str(), value.as_str()) {
                ("role", "Master") => "Promoted",
                ("role", "Slave") => "Unpromoted",
                (_, value) => value,
            };
            match name.as_str() {
                "depth" if value == "0" => None,
                "depth" => Some(("OCF_CHECK_LEVEL".to_owned(), value.to_owned())),
                "interval" | "timeout" | "role" | "start-delay" | "on-fail" => Some((name.clone(), value.to_owned())),
                _ => None,
            }
        };
        let usual = self.actions.iter().filter(|a| !NO_OPERATIONS.contains(&a.name.as_str()));
        usual.map(|a| (a.name.clone(), a.options.iter().filter_map(option).collect())).collect()
    }

    /// What is wrong with parameters that somebody wants to set: unknown ones, and, of `all` that the resource then has, required
    /// ones that are missing. In pcs's words.
    pub fn problems(&self, set: &[(String, String)], all: &[String]) -> Vec<String> {
        let mut allowed: Vec<String> = self.parameters.iter().map(|p| p.name.clone()).collect();
        allowed.extend(self.clusters_own());
        let known = |name: &str| allowed.iter().any(|n| n == name);
        let unknown: Vec<&str> =
            set.iter().filter(|(n, v)| !v.is_empty() && !known(n)).map(|(n, _)| n.as_str()).collect();
        let has = |p: &Parameter| all.contains(&p.name) || p.former.as_ref().is_some_and(|f| all.contains(f));
        let missing: Vec<&str> =
            self.parameters.iter().filter(|p| p.required && !has(p)).map(|p| p.name.as_str()).collect();
        let kind = self.kind;
        let mut problems = Vec::new();
        if !unknown.is_empty() {
            let word = if unknown.len() == 1 { "option" } else { "options:" };
            let (unknown, allowed) = (quoted(unknown), quoted(allowed.iter().map(String::as_str).collect()));
            problems.push(format!("invalid {kind} {word} {unknown}, allowed options are: {allowed}"));
        }
        match missing.as_slice() {
            [] => {}
            [one] => problems.push(format!("required {kind} option '{one}' is missing")),
            _ => problems.push(format!("required {kind} options {} are missing", quoted(missing))),
        }
        let senseless = set.iter().filter(|(_, v)| kind == "stonith" && !v.is_empty());
        problems.extend(senseless.filter_map(|(name, value)| {
            let expected = crate::fence_values::expected(name, value)?;
            Some(format!("'{}' is not a valid {name} value, use {expected}", base::text::one_line(value, 80)))
        }));
        if kind == "stonith" && set.iter().any(|(n, v)| n == "action" && !v.is_empty()) {
            problems.push(
                "stonith option 'action' is deprecated and might be removed in a future release, therefore it should not be \
                 used, use 'pcmk_off_action', 'pcmk_reboot_action' instead"
                    .to_owned(),
            );
        }
        problems
    }

    /// What is taken beside what the agent names.
    fn clusters_own(&self) -> Vec<String> {
        if self.kind != "stonith" {
            return TRACING.map(str::to_owned).to_vec();
        }
        let of_action = |a: &&str| ["action", "timeout", "retries"].map(|what| format!("pcmk_{a}_{what}"));
        FENCING.iter().map(|n| (*n).to_owned()).chain(FENCING_ACTIONS.iter().flat_map(of_action)).collect()
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
        let described = read(DOCUMENT, "resource").expect("a document");
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
        assert_eq!(described.operations(), [("monitor".to_owned(), pairs(&[("interval", "10s"), ("timeout", "20s")]))]);
        assert!(read("nothing", "resource").is_none() && read("<resource-agent", "resource").is_none());
    }

    #[test]
    fn fence_devices_have_the_clusters_parameters_too_and_the_target_is_filled_in() {
        let document = "<resource-agent name=\"fence_x\"><parameters><parameter name=\"action\" required=\"1\"/>\
            <parameter name=\"ip\" required=\"1\" obsoletes=\"ipaddr\"/><parameter name=\"ipaddr\" required=\"1\" deprecated=\"1\"/>\
            <parameter name=\"plug\" required=\"1\"/></parameters></resource-agent>";
        let described = read(document, "stonith").expect("a document");
        let problems = |set: &[(&str, &str)]| {
            let names: Vec<String> = set.iter().map(|(n, _)| (*n).to_owned()).collect();
            described.problems(&pairs(set), &names)
        };
        let none = Vec::<String>::new();
        assert_eq!(
            problems(&[("ip", "1"), ("pcmk_host_list", "a"), ("pcmk_reboot_timeout", "9"), ("priority", "2")]),
            none
        );
        assert_eq!(problems(&[("ipaddr", "1")]), none, "the former name will do");
        assert_eq!(problems(&[]), ["required stonith option 'ip' is missing"]);
        let wrong = problems(&[("ip", "1"), ("pcmk_hostlist", "a"), ("trace_ra", "1")]);
        assert!(wrong[0].starts_with(
            "invalid stonith options: 'pcmk_hostlist', 'trace_ra', allowed options are: 'action', 'ip', "
        ));
        assert!(problems(&[("ip", "1"), ("action", "off")])[0].contains("use 'pcmk_off_action'"));
        let late = problems(&[("ip", "1"), ("pcmk_delay_base", "600h")]);
        assert_eq!(late, ["'600h' is not a valid pcmk_delay_base value, use a time of at most 10 minutes, such as 5s"]);
    }
}
