//! `pcs resource|stonith create`: a primitive with the operations that its agent recommends, alone, in a group, a clone or a bundle.

use super::report::{self, Report, quoted};
use super::resource::{clone_of, reorder};
use super::unable;
use crate::agents::{self, Described};
use crate::edit::{self, NewPrimitive, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use xml::Element;

type Pairs = Vec<(String, String)>;

/// What an operation may have.
const OPERATION: [&str; 12] = [
    "OCF_CHECK_LEVEL",
    "description",
    "enabled",
    "id",
    "interval",
    "interval-origin",
    "name",
    "on-fail",
    "record-pending",
    "role",
    "start-delay",
    "timeout",
];
const ON_FAIL: [&str; 8] = ["block", "demote", "fence", "ignore", "restart", "restart-container", "standby", "stop"];

/// What follows the agent: parameters, then `op`, `meta`, `clone`, `promotable` and `bundle` parts.
#[derive(Clone, Default)]
pub struct Parts {
    pub params: Pairs,
    pub meta: Pairs,
    pub operations: Vec<(String, Pairs)>,
    /// The clone's id if it was given, its meta-attributes, and whether it is promotable.
    pub clone: Option<(Option<String>, Pairs, bool)>,
    bundle: Option<String>,
}

#[derive(PartialEq)]
enum In {
    Params,
    Op,
    Meta,
    Clone,
    Bundle,
}

impl Parts {
    pub fn of(words: &[&str]) -> Result<Parts, Failure> {
        let mut parts = Parts::default();
        let mut place = In::Params;
        for word in words {
            place = parts.take(word, place)?;
        }
        Ok(parts)
    }

    fn take(&mut self, word: &str, place: In) -> Result<In, Failure> {
        match (word, &place) {
            ("op", _) => return Ok(In::Op),
            ("meta", _) => return Ok(In::Meta),
            ("bundle", _) => return Ok(In::Bundle),
            ("clone" | "promotable" | "master", _) => {
                self.clone = Some((None, Vec::new(), word != "clone"));
                return Ok(In::Clone);
            }
            ("add" | "delete" | "remove", In::Op) => {}
            (word, In::Op) if !word.contains('=') => self.operations.push((word.to_owned(), Vec::new())),
            (word, In::Op) => match self.operations.last_mut() {
                Some((_, pairs)) => pairs.push(pair(word)?),
                None => return Err(error("When using 'op' you must specify an operation name after 'op'")),
            },
            (word, In::Params) => self.params.push(pair(word)?),
            (word, In::Meta) => self.meta.push(pair(word)?),
            (word, In::Bundle) => self.bundle = Some(word.to_owned()),
            (word, In::Clone) => {
                if let Some((id, pairs, _)) = &mut self.clone {
                    match word.contains('=') || id.is_some() || !pairs.is_empty() {
                        true => pairs.push(pair(word)?),
                        false => *id = Some(word.to_owned()),
                    }
                }
            }
        }
        Ok(place)
    }
}

pub fn create(source: &Source, line: &Line, id: &str, agent: &str, words: &[&str]) -> Result<String, Failure> {
    let parts = Parts::of(words)?;
    for option in ["--before", "--after"] {
        if line.value(option).is_some() && line.value("--group").is_none() {
            return Err(error(format!("you cannot use {option} without --group")));
        }
    }
    let holders = [line.value("--group").is_some(), parts.clone.is_some(), parts.bundle.is_some()];
    if holders.iter().filter(|h| **h).count() > 1 {
        return Err(error("you can specify only one of clone, promotable, bundle or --group"));
    }
    edit(source, |configuration| {
        let mut parts = parts.clone();
        let full = named(agent)?;
        edit::needs_free_id(configuration, id)?;
        let mut report = Report::of(line);
        let described = agents::describe(&full).ok();
        if described.is_none() && !edit::agent_is_there(&full) {
            report.forceable(&not_installed(&full));
            // Of one that nobody knows nothing else can be said.
            report.stop()?;
        }
        let names: Vec<String> = parts.params.iter().filter(|(_, v)| !v.is_empty()).map(|(n, _)| n.clone()).collect();
        edit::problems_of(&full, &parts.params, &names).iter().for_each(|p| report.forceable(p));
        operations(&mut parts.operations, described.as_ref(), &mut report, line.has("--no-default-ops"));
        if line.has("--disabled") {
            parts.meta.retain(|(n, _)| n != "target-role");
            parts.meta.push(("target-role".to_owned(), "Stopped".to_owned()));
        }
        place_is_there(configuration, line, id, &parts, &mut report)?;
        report.done()?;
        let primitive = NewPrimitive {
            id,
            agent: &full,
            params: std::mem::take(&mut parts.params),
            meta: std::mem::take(&mut parts.meta),
            operations: std::mem::take(&mut parts.operations),
        };
        put(configuration, line, primitive.element()?, id, &parts)?;
        Ok(String::new())
    })
}

/// The full name; one that is guessed is told.
pub fn named(agent: &str) -> Result<String, Failure> {
    const CLASSES: [&str; 7] = ["lsb", "nagios", "service", "stonith", "systemd", "upstart", "heartbeat"];
    match agent.split(':').collect::<Vec<_>>().as_slice() {
        ["ocf", provider, name] if !provider.is_empty() && !name.is_empty() => Ok(agent.to_owned()),
        [class, _, ..] if CLASSES.contains(class) => Ok(agent.to_owned()),
        [_] => {
            let found = agents::called(agent);
            match found.as_slice() {
                [one] => {
                    kernel::errln!("Assumed agent name '{one}' (deduced from '{agent}')");
                    Ok(one.clone())
                }
                [] => Err(unable(&[format!("Unable to find agent '{agent}', try specifying its full name")])),
                [all @ .., last] => {
                    let all: Vec<String> = all.iter().map(|n| format!("'{n}'")).collect();
                    Err(unable(&[format!(
                        "Multiple agents match '{agent}', please specify full name: {} or '{last}'",
                        all.join(", ")
                    )]))
                }
            }
        }
        _ => Err(unable(&[format!(
            "Invalid resource agent name '{agent}'. Use standard:provider:type when standard is 'ocf' or standard:type otherwise. \
             List of standards and providers can be obtained by using commands 'pcs resource standards' and 'pcs resource \
             providers'."
        )])),
    }
}

/// With the words of the tool that the original asks.
fn not_installed(agent: &str) -> String {
    let why = if agent.starts_with("systemd:") { "No such device or address" } else { "No such file or directory" };
    format!(
        "Agent '{agent}' is not installed or does not provide valid metadata: crm_resource: Metadata query for {agent} failed: \
         {why}, Error performing operation: No such object"
    )
}

/// Checks the operations that were given, and adds those that the agent recommends.
fn operations(given: &mut Vec<(String, Pairs)>, described: Option<&Described>, report: &mut Report, only: bool) {
    let known: Vec<&str> = described.iter().flat_map(|d| &d.actions).map(|a| a.name.as_str()).collect();
    let stonith = described.is_some_and(|d| d.kind == "stonith");
    for (name, pairs) in given.iter_mut() {
        if !known.contains(&name.as_str()) && !stonith {
            let allowed =
                if known.is_empty() { String::new() } else { format!(", use {}", quoted(known.iter().copied())) };
            report.forceable(&format!("'{name}' is not a valid operation name value{allowed}"));
        }
        check(name, pairs, report);
    }
    twice(given, report);
    let has = |given: &[(String, Pairs)], name: &str| given.iter().any(|(n, _)| n == name);
    let recommended = described.filter(|d| d.kind != "stonith").map(Described::operations).unwrap_or_default();
    let own = given.clone();
    given.extend(recommended.into_iter().filter(|(name, _)| !has(&own, name) && (!only || name == "monitor")));
    if !has(given, "monitor") {
        given.push(("monitor".to_owned(), vec![("interval".to_owned(), "60s".to_owned())]));
    }
    let without =
        |(name, pairs): &&mut (String, Pairs)| name == "monitor" && !pairs.iter().any(|(n, _)| n == "interval");
    for (_, pairs) in given.iter_mut().filter(without) {
        pairs.push(("interval".to_owned(), "60s".to_owned()));
    }
    given.sort_by(|a, b| a.0.cmp(&b.0));
}

/// One operation's options; a monitor without an interval has the usual one.
pub fn check(name: &str, pairs: &mut Pairs, report: &mut Report) {
    for (option, value) in pairs.iter_mut() {
        match option.as_str() {
            "role" => {
                let today = match value.as_str() {
                    "Master" => "Promoted",
                    "Slave" => "Unpromoted",
                    _ => "",
                };
                if !today.is_empty() {
                    report::deprecated(&format!(
                        "Value '{value}' of option role is deprecated and should not be used, use '{today}' value instead"
                    ));
                    *value = today.to_owned();
                }
                report.one_of("role", Some(value), &["Promoted", "Started", "Stopped", "Unpromoted"]);
            }
            "on-fail" => report.one_of("on-fail", Some(value), &ON_FAIL),
            "interval" if cib::interval_ms(value).is_none() => report
                .error(format!("'{value}' is not a valid interval value, use time interval (e.g. 1, 2s, 3m, 4h, ...)")),
            option if !OPERATION.contains(&option) => report.error(format!(
                "invalid resource operation option '{option}', allowed options are: {}",
                quoted(OPERATION)
            )),
            _ => {}
        }
    }
    if name == "monitor" && !pairs.iter().any(|(n, _)| n == "interval") {
        pairs.push(("interval".to_owned(), "60s".to_owned()));
    }
}

/// An operation stands once with an interval.
fn twice(given: &[(String, Pairs)], report: &mut Report) {
    let key = |(name, pairs): &(String, Pairs)| {
        let of = |what: &str| pairs.iter().find(|(n, _)| n == what).map(|(_, v)| v.clone());
        let interval = of("interval").unwrap_or_else(|| "0s".to_owned());
        (name.clone(), cib::interval_ms(&interval), of("role"), interval)
    };
    let keys: Vec<_> = given.iter().map(key).collect();
    for (i, (name, ms, role, _)) in keys.iter().enumerate() {
        let same = |k: &&(String, Option<u64>, Option<String>, String)| (&k.0, &k.1, &k.2) == (name, ms, role);
        let first = keys.iter().position(|k| same(&k)) == Some(i);
        let all: Vec<&str> = keys.iter().filter(same).map(|k| k.3.as_str()).collect();
        if first && all.len() > 1 {
            report.error(format!(
                "multiple specification of the same operation with the same interval:\n{name} with intervals {}",
                all.join(", ")
            ));
        }
    }
}

fn place_is_there(
    configuration: &Element,
    line: &Line,
    id: &str,
    parts: &Parts,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Some(group) = line.value("--group") {
        let there = edit::find_resource(configuration, group);
        match there {
            Some(e) if e.name() != "group" => report.error(format!("'{group}' is not a group")),
            _ => {}
        }
        let member = |anchor: &str| there.is_some_and(|g| g.child_by_id("primitive", anchor).is_some());
        for anchor in [line.value("--before"), line.value("--after")].into_iter().flatten() {
            if !member(anchor) {
                report.error(format!(
                    "There is no resource '{anchor}' in the group '{group}', cannot add resources next to it"
                ));
            }
        }
    }
    if let Some((Some(clone), ..)) = &parts.clone {
        edit::needs_free_id(configuration, clone)?;
    }
    let Some(bundle) = &parts.bundle else { return Ok(()) };
    let there = edit::find_resource(configuration, bundle).filter(|e| e.name() == "bundle");
    let there = there.ok_or_else(|| unable(&[format!("bundle '{bundle}' does not exist")]))?;
    if let Some(inner) = there.child("primitive").and_then(Element::id) {
        return Err(error(format!(
            "bundle '{bundle}' already contains resource '{inner}', a bundle may contain at most one resource"
        )));
    }
    let network = there.child("network");
    if network.is_none_or(|n| n.attr("control-port").or(n.attr("ip-range-start")).is_none()) {
        report.forceable(&format!(
            "Resource '{id}' will not be accessible by the cluster inside bundle '{bundle}', at least one of bundle options \
             'control-port' or 'ip-range-start' has to be specified"
        ));
    }
    Ok(())
}

fn put(configuration: &mut Element, line: &Line, primitive: Element, id: &str, parts: &Parts) -> Result<(), Failure> {
    if let Some(bundle) = &parts.bundle {
        edit::resource_mut(configuration, bundle)?.push(primitive);
        return Ok(());
    }
    let resources = configuration.child_or_insert("resources");
    match &parts.clone {
        Some((clone, meta, promotable)) => {
            resources.push(clone_of(primitive, id, clone.as_deref(), meta, *promotable));
        }
        None => resources.push(primitive),
    }
    if let Some(group) = line.value("--group") {
        edit::group_add(configuration, group, &[id.to_owned()])?;
        reorder(configuration, group, id, line)?;
    }
    Ok(())
}
