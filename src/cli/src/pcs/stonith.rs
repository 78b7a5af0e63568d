//! `pcs stonith`: devices are resources, and fencing is asked of the node.

use super::{resource, sbd, unable};
use crate::edit::levels::{self, Target};
use crate::edit::{edit, error};
use crate::fencing::{self, Form};
use crate::grammar::Line;
use crate::source::{Failure, Source, checked};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, IsTerminal};
use wire::api::{FenceAction, FencingOp, FencingReply};

/// What the original gives `stonith_admin`.
const TIMEOUT_MS: u64 = 120_000;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["fence", node] => fence(source, line, node),
        ["confirm", node] => confirm(source, line, node),
        ["history"] | ["history", "show"] => history(source, None),
        ["history", "show", node] => history(source, Some(node)),
        ["history", "cleanup"] => cleanup(source, None),
        ["history", "cleanup", node] => cleanup(source, Some(node)),
        ["history", "update"] => {
            history(source, None)?;
            Ok("gather fencing-history from all nodes\n".to_owned())
        }
        ["level"] | ["level", "config"] => config(source),
        ["level", "add", number, target, devices @ ..] => add(source, line, number, target, devices),
        ["level", "remove" | "delete", number, rest @ ..] => remove(source, number, rest),
        ["level", "clear", rest @ ..] => clear(source, rest),
        ["level", "verify"] => verify(source),
        ["sbd", rest @ ..] => sbd::run(line, rest),
        ["meta", id, ..] if !is_there(source, id)? => Err(error(format!("Unable to find stonith device '{id}'"))),
        ["config", ids @ ..] if !ids.is_empty() => described(source, line, ids),
        ["enable" | "disable", ids @ ..] => {
            warn_of_resources(source, words[0], ids)?;
            resource::stonith(source, line, words)
        }
        words => resource::stonith(source, line, words),
    }
}

fn is_device(configuration: &xml::Element, id: &str) -> bool {
    crate::edit::find_resource(configuration, id).is_some_and(|e| e.attr("class") == Some("stonith"))
}

fn is_there(source: &Source, id: &str) -> Result<bool, Failure> {
    Ok(source.cib()?.child("configuration").is_some_and(|c| is_device(c, id)))
}

/// Devices that are there; the others are named.
fn described(source: &Source, line: &Line, ids: &[&str]) -> Result<String, Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let (there, missing): (Vec<&str>, Vec<&str>) = ids.iter().partition(|id| is_device(configuration, id));
    missing.iter().for_each(|id| super::report::warn(&format!("Unable to find stonith device '{id}'")));
    if there.is_empty() {
        return Err(error("No stonith device found"));
    }
    super::describe::config(source, line, &there, true)
}

/// The original takes resources here, but would rather not.
fn warn_of_resources(source: &Source, verb: &str, ids: &[&str]) -> Result<(), Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let known = |id: &&&str| crate::edit::find_resource(configuration, id).is_some() && !is_device(configuration, id);
    if ids.iter().any(|id| known(&id)) {
        kernel::errln!(
            "Deprecation Warning: Ability of this command to accept resources is deprecated and will be removed in a future \
             release. Please use 'pcs resource {verb}' instead."
        );
    }
    Ok(())
}

fn ask(source: &Source, op: FencingOp) -> Result<FencingReply, Failure> {
    let client = source.client().ok_or_else(|| error("Specified option '-f' is not supported in this command"))?;
    fencing::ask(client, &format!("pcs.{}", std::process::id()), TIMEOUT_MS, op)
}

fn fence(source: &Source, line: &Line, node: &str) -> Result<String, Failure> {
    let action = if line.has("--off") { FenceAction::Off } else { FenceAction::Reboot };
    let op = FencingOp::Fence { target: checked("node", node)?, action, delay_ms: 0, tolerance_ms: 0, tag: None };
    ask(source, op).map_err(|f| error(format!("unable to fence '{node}'\n{}", f.message)))?;
    kernel::errln!("Node: {node} fenced");
    Ok(String::new())
}

fn confirm(source: &Source, line: &Line, node: &str) -> Result<String, Failure> {
    let warning = format!(
        "If node {node} is not powered off or it does have access to shared resources, \
         data corruption and/or cluster failure may occur"
    );
    if line.has("--force") {
        kernel::errln!("Warning: {warning}");
    } else {
        kernel::errln!("WARNING: {warning}. Are you sure you want to continue? [y/N]");
        if !std::io::stdin().is_terminal() || !says_yes() {
            return Err(error(format!(
                "node {node} was not confirmed to be down, use --force to confirm without a question"
            )));
        }
    }
    ask(source, FencingOp::Confirm { target: checked("node", node)? })
        .map_err(|f| error(format!("unable to confirm fencing of node '{node}'\n{}", f.message)))?;
    kernel::errln!("Node: {node} confirmed fenced");
    Ok(String::new())
}

fn says_yes() -> bool {
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

fn history(source: &Source, node: Option<&str>) -> Result<String, Failure> {
    let target = node.map(|n| checked("node", n)).transpose()?;
    let history = fencing::sorted(ask(source, FencingOp::History { target })?.history);
    let form = Form { technical: true, full: true };
    let lines: String = history.iter().map(|e| fencing::describe(e, &history, form) + "\n").collect();
    let number = history.len();
    Ok(format!("{lines}{number} {} found\n", if number == 1 { "event" } else { "events" }))
}

fn cleanup(source: &Source, node: Option<&str>) -> Result<String, Failure> {
    ask(source, FencingOp::Cleanup { target: node.map(|n| checked("node", n)).transpose()? })?;
    Ok(format!("cleaning up fencing-history for node {}\n", node.unwrap_or("*")))
}

// ---- levels ----

/// `NODE`, `regexp%PATTERN` or `attrib%NAME=VALUE`.
fn target(word: &str) -> Result<Target, String> {
    let rest = |prefix: &str| word.strip_prefix(prefix).and_then(|r| r.strip_prefix('%'));
    if let Some(pattern) = rest("regexp") {
        return Ok(Target::Pattern(pattern.to_owned()));
    }
    match rest("attrib").map(|r| r.split_once('=')) {
        Some(Some((name, value))) => Ok(Target::Attribute(name.to_owned(), value.to_owned())),
        Some(None) => Err(format!("'{word}' is not an allowed type for 'target', use attrib%<name>=<value>")),
        None => Ok(Target::Node(rest("node").unwrap_or(word).to_owned())),
    }
}

/// Devices, each a word or several with commas between them.
fn names<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().flat_map(|w| w.split(',')).map(str::trim).filter(|w| !w.is_empty()).collect()
}

fn add(source: &Source, line: &Line, number: &str, of: &str, devices: &[&str]) -> Result<String, Failure> {
    let (number, of, devices) = (levels::index(number), target(of), names(devices));
    edit(source, |configuration| {
        let (Ok(number), Ok(of)) = (&number, &of) else {
            let wrong: Vec<String> = [number.clone().err(), of.clone().err()].into_iter().flatten().collect();
            return Err(unable(&wrong));
        };
        let problems = levels::problems(configuration, of, &devices);
        if line.has("--force") {
            problems.iter().for_each(|p| kernel::errln!("Warning: {p}"));
        } else if !problems.is_empty() {
            let told: Vec<String> = problems.iter().map(|p| format!("{p}, use --force to override")).collect();
            return Err(unable(&told));
        }
        levels::add(configuration, *number, of, &devices).map_err(|f| unable(&[f.message]))?;
        Ok(String::new())
    })
}

/// What a level is chosen by: `[target T] [stonith DEVICE...]`, or in the older form `[NODE] [DEVICE...]`.
fn chosen<'a>(configuration: &xml::Element, words: &[&'a str]) -> Result<(Option<Target>, Vec<&'a str>), Failure> {
    let wrong = |message: String| unable(&[message]);
    Ok(match words {
        [] => (None, Vec::new()),
        ["target", of] => (Some(target(of).map_err(wrong)?), Vec::new()),
        ["target", of, "stonith", devices @ ..] => (Some(target(of).map_err(wrong)?), names(devices)),
        ["stonith", devices @ ..] => (None, names(devices)),
        [first, rest @ ..] => match names(&[first]).iter().all(|id| is_device(configuration, id)) {
            true => (None, names(words)),
            false => (Some(target(first).map_err(wrong)?), names(rest)),
        },
    })
}

fn remove(source: &Source, number: &str, words: &[&str]) -> Result<String, Failure> {
    let number = levels::index(number).map_err(|m| unable(&[m]))?;
    edit(source, |configuration| {
        let (of, devices) = chosen(configuration, words)?;
        match levels::remove(configuration, Some(number), of.as_ref(), &devices) {
            true => Ok(String::new()),
            false => {
                let what = levels::words(Some(number), of.as_ref(), &devices);
                Err(unable(&[format!("Fencing level {what} does not exist")]))
            }
        }
    })
}

fn clear(source: &Source, words: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let (of, devices) = chosen(configuration, words)?;
        levels::remove(configuration, None, of.as_ref(), &devices);
        Ok(String::new())
    })
}

fn verify(source: &Source) -> Result<String, Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let mut problems: Vec<String> = Vec::new();
    for level in levels::all(configuration) {
        let Some(of) = Target::of(level) else { continue };
        problems.extend(levels::problems(configuration, &of, &levels::devices(level)));
    }
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(String::new()) } else { Err(unable(&problems)) }
}

pub fn config(source: &Source) -> Result<String, Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let mut targets: BTreeMap<Target, Vec<(u32, String)>> = BTreeMap::new();
    for level in levels::all(configuration) {
        let Some(of) = Target::of(level) else { continue };
        let number = level.attr("index").and_then(|i| i.parse().ok()).unwrap_or(0);
        targets.entry(of).or_default().push((number, levels::devices(level).join(",")));
    }
    let mut out = String::new();
    for (of, mut levels) in targets {
        let kind = if matches!(of, Target::Pattern(_)) { "Target (regexp)" } else { "Target" };
        let _ = writeln!(out, "{kind}: {}", of.words());
        levels.sort();
        for (number, devices) in levels {
            let _ = writeln!(out, "  Level {number} - {devices}");
        }
    }
    Ok(out)
}
