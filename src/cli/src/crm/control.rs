//! `crm resource`, `crm node` and `crm ra`.

use super::meta::Asking;
use crate::attributes::{self, Scope, Which};
use crate::crm_resource::parameters::{self, Kind, Store};
use crate::crm_resource::{cleanup, listing, moving};
use crate::edit::{self, error};
use crate::source::{Failure, Source, checked, checked_if};
use base::ids::same_node;
use std::fmt::Write;
use wire::api::{CleanupCall, FenceAction, FencingOp};
use xml::Element;

pub fn resource(source: &Source, words: &[&str], asking: Asking) -> Result<String, Failure> {
    match words {
        [] | ["status" | "show" | "list"] => with_view(source, |view| Ok(listing::list(view))),
        ["status" | "show" | "list" | "locate", id] => with_resource(source, id, |view, _| {
            let text = listing::locate(view, id).0;
            let (none, found): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.contains("is NOT running"));
            none.iter().for_each(|line| kernel::errln!("{line}"));
            Ok(found.iter().map(|line| format!("{line}\n")).collect())
        }),
        ["start", ids @ ..] => deep(source, ids, "target-role", "Started", asking),
        ["stop", ids @ ..] => deep(source, ids, "target-role", "Stopped", asking),
        ["restart", id] => restart(source, id),
        ["promote", id] => target(source, id, role_word(source, "Promoted", "Master")?),
        ["demote", id] => target(source, id, role_word(source, "Unpromoted", "Slave")?),
        ["manage", ids @ ..] => deep(source, ids, "is-managed", "true", asking),
        ["unmanage", ids @ ..] => deep(source, ids, "is-managed", "false", asking),
        ["maintenance", id] | ["maintenance", id, "on" | "true"] => deep(source, &[id], "maintenance", "true", asking),
        ["maintenance", id, "off" | "false"] => deep(source, &[id], "maintenance", "false", asking),
        ["trace", id, rest @ ..] => edit::edit(source, |c| super::trace::on(c, id, rest)),
        ["untrace", id, rest @ ..] => edit::edit(source, |c| super::trace::off(c, id, rest)),
        ["scores"] => scores(source),
        ["operations", rest @ ..] => {
            with_view(source, |view| Ok(listing::operations(view, rest.first().copied(), rest.get(1).copied(), true).0))
        }
        ["move" | "migrate", id, rest @ ..] => {
            deprecated(words[0], "move");
            place(source, id, rest, moving::move_to)?;
            let to = rest.first().filter(|w| **w != "force").map(|n| format!(" to {n}")).unwrap_or_default();
            Ok(format!(
                "INFO: Move constraint created for {id}{to}\nINFO: Use `crm resource clear {id}` to remove this constraint\n"
            ))
        }
        ["ban", id, rest @ ..] => place(source, id, rest, |s, v, p, _| moving::ban(s, v, p)),
        ["clear" | "unmove" | "unmigrate" | "unban", id] => {
            deprecated(words[0], "clear");
            place(source, id, &[], |s, v, p, _| moving::clear(s, v, p, false, false))?;
            Ok(format!("INFO: Removed migration constraints for {id}\n"))
        }
        ["cleanup", rest @ ..] => forget(source, rest, false),
        ["refresh", rest @ ..] => forget(source, rest, true),
        ["constraints", id] => with_view(source, |view| Ok(crate::crm_resource::stack::show(view, id, false).text)),
        ["meta", id, rest @ ..] => attribute(source, id, rest, Kind::Meta),
        ["param", id, rest @ ..] => attribute(source, id, rest, Kind::Instance),
        ["utilization", id, rest @ ..] => attribute(source, id, rest, Kind::Utilization),
        ["secret", id, what, param, value @ ..] if value.len() <= 1 => secret(id, what, param, value),
        ["failcount", id, "show", node] => failcount(source, id, node),
        ["failcount", id, "set", node, value] => super::operator::set_failcount(source, id, node, value),
        ["failcount", id, "delete", node] => {
            let call = CleanupCall {
                resource: Some(checked("resource", id)?),
                node: Some(checked("node", node)?),
                ..CleanupCall::default()
            };
            cleanup::run(source, &call)
        }
        _ => Err(error(format!("resource: unknown command '{}' (see: crm help)", words.join(" ")))),
    }
}

/// By way of `cibsecret`, whose words are almost these.
fn secret(id: &str, what: &str, param: &str, value: &[&str]) -> Result<String, Failure> {
    let what = if what == "show" { "get" } else { what };
    let words = [&[what, id, param], value].concat();
    match crate::cibsecret::main(words.into_iter().map(Into::into).collect()) {
        0 => Ok(String::new()),
        code => Err(Failure::new(code, "")),
    }
}

/// Old names are taken, and the new one is told.
fn deprecated(word: &str, today: &str) {
    if word != today {
        super::note!("WARNING: This command '{word}' is deprecated, please use '{today}'");
        super::note!("INFO: \"{word}\" is accepted as \"{today}\"");
    }
}

fn with_view<T>(
    source: &Source,
    work: impl FnOnce(&crate::crm_mon::View<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let cib = source.cib()?;
    work(&crate::crm_mon::View::of(&cib)?)
}

type View<'a> = crate::crm_mon::View<'a>;

fn with_resource<T>(
    source: &Source,
    id: &str,
    work: impl FnOnce(&View<'_>, &scheduler::status::Resource) -> Result<T, Failure>,
) -> Result<T, Failure> {
    with_view(source, |view| {
        let r = crate::cluster::find(&view.cluster.resources, id);
        work(view, r.ok_or_else(|| error(format!("resource {id} does not exist")))?)
    })
}

/// A role as the CIB's schema calls it.
fn role_word(source: &Source, new: &'static str, old: &'static str) -> Result<&'static str, Failure> {
    Ok(if super::is_modern(&source.cib()?) { new } else { old })
}

fn target(source: &Source, id: &str, role: &str) -> Result<String, Failure> {
    let store = Store { kind: Kind::Meta, set_id: None, id: None, force: true, recursive: false };
    with_view(source, |view| parameters::set(source, view, id, &store, "target-role", role).map(|done| done.text))
}

fn deep(source: &Source, ids: &[&str], name: &str, value: &str, asking: Asking) -> Result<String, Failure> {
    if ids.is_empty() {
        return Err(error("name at least one resource"));
    }
    edit::edit(source, |configuration| {
        ids.iter().try_for_each(|id| super::meta::set(configuration, id, name, value, asking))?;
        Ok(String::new())
    })
}

/// Where everything would be, and by what scores.
fn scores(source: &Source) -> Result<String, Failure> {
    let mut args: Vec<std::ffi::OsString> = vec!["-sU".into()];
    match source {
        Source::File(path) => args.extend(["-x".into(), path.into()]),
        _ => args.push("-L".into()),
    }
    match crate::crm_simulate::main(args) {
        0 => Ok(String::new()),
        code => Err(Failure::new(code, "")),
    }
}

fn restart(source: &Source, id: &str) -> Result<String, Failure> {
    crate::restart::run(source, id, None)?;
    Ok(format!("INFO: ordering {id} to stop\nINFO: ordering {id} to start\n"))
}

fn place(
    source: &Source,
    id: &str,
    words: &[&str],
    how: impl FnOnce(&Source, &View<'_>, &moving::Place<'_>, bool) -> Result<String, Failure>,
) -> Result<String, Failure> {
    with_resource(source, id, |view, r| {
        let mut place = moving::Place { resource: r, node: None, promoted: false, lifetime: None };
        let mut force = false;
        // `[NODE] [LIFETIME] [force]`: a word that is a node's name is the node.
        for word in words {
            match crate::cluster::node_name(&view.cluster, word) {
                Ok(node) if place.node.is_none() => place.node = Some(node),
                Err("force") => force = true,
                Err(duration) if duration.starts_with(['P', '-']) && place.lifetime.is_none() => {
                    place.lifetime = Some(duration);
                }
                _ => return Err(error(format!("node {word} does not exist"))),
            }
        }
        how(source, view, &place, force)
    })
}

fn forget(source: &Source, words: &[&str], refresh: bool) -> Result<String, Failure> {
    let (words, force) = match words {
        [words @ .., "force"] => (words, true),
        words => (words, false),
    };
    let (resource, node) =
        (checked_if("resource", words.first().copied())?, checked_if("node", words.get(1).copied())?);
    cleanup::run(source, &CleanupCall { resource, node, refresh, force, ..CleanupCall::default() })
}

fn attribute(source: &Source, id: &str, words: &[&str], kind: Kind) -> Result<String, Failure> {
    let store = Store { kind, set_id: None, id: None, force: true, recursive: false };
    let told = |failure: Failure| {
        // It is crm_resource's answer.
        let not_found = failure.code == base::exit::crm::NOSUCH && failure.message.starts_with("Resource ");
        match not_found {
            true => {
                kernel::errln!("crm_resource: {}", failure.message);
                Failure::new(failure.code, "")
            }
            false => failure,
        }
    };
    // That there is none is an answer, and crmsh ends well with it.
    let none = |name: &str| {
        kernel::errln!("Attribute '{name}' not found for '{id}'");
        String::new()
    };
    with_view(source, |view| match words {
        ["show", name] => {
            let value = parameters::get(view.cib, id, &store, name).map_err(told)?;
            Ok(value.map_or_else(|| none(name), |value| format!("{value}\n")))
        }
        ["set", name, value @ ..] => {
            parameters::set(source, view, id, &store, name, &joined(value)).map(|done| done.text).map_err(told)
        }
        ["delete", name] => match parameters::delete(source, view, id, &store, name).map_err(told)? {
            text if text.is_empty() => Err(error(format!("Attribute '{name}' not found for '{id}'"))),
            text => Ok(text),
        },
        _ => Err(error("usage: … ID show NAME | set NAME VALUE | delete NAME")),
    })
}

/// A value in quotes that a shell has taken apart.
fn joined(words: &[&str]) -> String {
    let whole = words.join(" ");
    let inner = whole.strip_prefix('"').and_then(|w| w.strip_suffix('"')).filter(|_| words.len() > 1);
    inner.unwrap_or(&whole).to_owned()
}

fn failcount(source: &Source, id: &str, node: &str) -> Result<String, Failure> {
    with_view(source, |view| {
        let found = view.cluster.nodes.iter().find(|n| same_node(&n.name, node));
        let node = found.ok_or_else(|| error(format!("node {node} does not exist")))?;
        let count = node.fail_counts.get(id).copied().unwrap_or(0);
        Ok(format!("scope=status  name=fail-count-{id} value={}\n", base::Score::from(count)))
    })
}

pub fn node(source: &Source, words: &[&str], asking: Asking) -> Result<String, Failure> {
    let force = asking.force;
    match words {
        [] | ["show"] => list(source, None),
        ["show", node] => list(source, Some(node)),
        ["standby", rest @ .., "reboot"] => standby(source, rest, true),
        ["standby", rest @ .., "forever"] | ["standby", rest @ ..] => standby(source, rest, false),
        ["online", rest @ ..] => flag(source, rest, false, "standby", "off").map(|_| String::new()),
        ["maintenance", rest @ ..] => {
            flag(source, rest, false, "maintenance", "true")?;
            edit::edit(source, |configuration| {
                super::meta::no_other_maintenance(configuration, false, asking);
                Ok(String::new())
            })
        }
        ["ready", rest @ ..] => flag(source, rest, false, "maintenance", "off").map(|_| String::new()),
        [kind @ ("attribute" | "utilization"), node, "set", name, value @ ..] => {
            let value = &joined(value);
            let scope = Scope::Node { name: (*node).to_owned(), utilization: *kind == "utilization" };
            attributes::set(source, &scope, Which { name, set_id: None, id: None }, value, false).map_err(|f| {
                let unknown = f.message.strip_suffix(": no such node").map(str::to_owned);
                match unknown {
                    Some(message) => {
                        kernel::errln!("crm_attribute: {message}");
                        Failure::new(f.code, "")
                    }
                    None => f,
                }
            })?;
            Ok(String::new())
        }
        [kind @ ("attribute" | "utilization"), node, "show", name] => {
            let scope = Scope::Node { name: (*node).to_owned(), utilization: *kind == "utilization" };
            let found = attributes::values(&source.cib()?, &scope, Which { name, set_id: None, id: None })?;
            let attributes::Found { name, value, .. } =
                found.first().ok_or_else(|| error(format!("{node} has no attribute {name}")))?;
            Ok(format!("scope=nodes  name={name} value={value}\n"))
        }
        [kind @ ("attribute" | "utilization"), node, "delete", name] => {
            let scope = Scope::Node { name: (*node).to_owned(), utilization: *kind == "utilization" };
            let gone = attributes::delete(source, &scope, Which { name, set_id: None, id: None })?;
            gone.map(|id| format!("Deleted nodes attribute: id={id} name={name}\n"))
                .ok_or_else(|| error(format!("{node} has no attribute {name}")))
        }
        ["status-attr", rest @ ..] => super::operator::status_attribute(source, rest),
        ["clearstate", node] => super::operator::clear_state(source, node, |question| asking.agrees(question)),
        ["delete", node] => delete_node(source, node, force),
        ["fence", node] => fence_node(source, node, force),
        _ => Err(error(format!("node: unknown command '{}' (see: crm help)", words.join(" ")))),
    }
}

/// Reboots or switches off, as `stonith-action` says; what is asked for by hand is asked for once more, unless forced.
fn fence_node(source: &Source, node: &str, force: bool) -> Result<String, Failure> {
    let client = source.client().ok_or_else(|| error("fencing needs a running cluster"))?;
    if !force {
        return Err(error(format!("fencing {node} will kill it with all that runs there: use --force to do it")));
    }
    let cib = source.cib()?;
    let property = |name: &str| cib::config::property(&cib, name);
    let action = match property("fencing-action").or(property("stonith-action")) {
        Some("off" | "poweroff") => FenceAction::Off,
        _ => FenceAction::Reboot,
    };
    let target = crate::source::checked("node", node)?;
    let op = FencingOp::Fence { target, action, delay_ms: 0, tolerance_ms: 0, tag: None };
    crate::fencing::ask(client, &format!("crm.{}", std::process::id()), 0, op)?;
    Ok(format!("INFO: node {node} fenced ({})\n", action.name()))
}

fn delete_node(source: &Source, node: &str, force: bool) -> Result<String, Failure> {
    let up = with_view(source, |view| Ok(view.cluster.nodes.iter().any(|n| same_node(&n.name, node) && n.online)))?;
    if up && source.client().is_some() && !force {
        return Err(error(format!(
            "node {node} is a member: stop its daemon first (pcs cluster stop), or use --force"
        )));
    }
    edit::edit(source, |configuration| {
        let nodes = configuration.child_or_insert("nodes");
        let is = |e: &Element| e.attr("uname").is_some_and(|n| same_node(n, node));
        if !nodes.elements().any(is) {
            return Err(error(format!("node {node} does not exist")));
        }
        nodes.retain_elements(|e| !is(e));
        Ok(format!("INFO: node {node} deleted\n"))
    })
}

fn list(source: &Source, only: Option<&str>) -> Result<String, Failure> {
    let cib = source.cib()?;
    let index = cib::config::Index::new(&cib);
    let nodes = cib.child("configuration").and_then(|c| c.child("nodes"));
    let mut out = String::new();
    let wanted = |e: &&Element| only.is_none_or(|o| e.attr("uname").is_some_and(|n| same_node(n, o)));
    for e in nodes.into_iter().flat_map(Element::elements).filter(wanted) {
        let of = |name: &str| e.attr(name).unwrap_or_default();
        let (name, id) = (of("uname"), of("id"));
        let id = if id == name { String::new() } else { format!("({id})") };
        let _ = writeln!(out, "{name}{id}: {}", e.attr("type").unwrap_or("member"));
        for (name, value) in cib::config::values(e, "instance_attributes", &index) {
            let _ = writeln!(out, "\t{name}={value}");
        }
    }
    Ok(out)
}

/// Until the node's daemon ends, where `reboot` says so.
fn flag(source: &Source, nodes: &[&str], reboot: bool, flag: &str, value: &str) -> Result<String, Failure> {
    let name = match nodes {
        [] => source.local_node()?,
        [node] => (*node).to_owned(),
        [_, odd, ..] => return Err(error(format!("'{odd}' is no lifetime: reboot or forever"))),
    };
    let set = match flag == "standby" && !reboot {
        true => numbered_set(&source.cib()?, &name),
        false => None,
    };
    let of = name.clone();
    let scope = if reboot { Scope::Transient { name: of } } else { Scope::Node { name: of, utilization: false } };
    attributes::set(source, &scope, Which { name: flag, set_id: set.as_deref(), id: None }, value, false)?;
    Ok(name)
}

fn standby(source: &Source, nodes: &[&str], reboot: bool) -> Result<String, Failure> {
    let name = nodes.first().copied().unwrap_or_default();
    let unknown = |f: Failure| match f.message.ends_with("no such node") {
        true => error(format!("node.standby: Node \"{name}\" is not a cluster node")),
        false => f,
    };
    let name = flag(source, nodes, reboot, "standby", "on").map_err(unknown)?;
    Ok(format!("INFO: standby node {name}\n"))
}

/// The set that crmsh makes for a node that has none and that is called by a number.
fn numbered_set(cib: &Element, node: &str) -> Option<String> {
    let nodes = cib.child("configuration").and_then(|c| c.child("nodes"))?;
    let e = nodes.elements().find(|e| e.attr("uname").is_some_and(|n| same_node(n, node)))?;
    let id = e.id().filter(|id| id.chars().all(|c| c.is_ascii_digit()))?;
    e.child("instance_attributes").is_none().then(|| format!("num-{id}-instance_attributes"))
}

/// `maintenance on|off`: of the whole cluster.
pub fn maintenance(source: &Source, words: &[&str]) -> Result<String, Failure> {
    let value = match words {
        ["on" | "true"] => "true",
        ["off" | "false"] => "false",
        _ => return Err(error("usage: maintenance on|off")),
    };
    edit::edit(source, |configuration| {
        let pair = ("maintenance-mode".to_owned(), value.to_owned());
        let section = configuration.child_or_insert("crm_config");
        edit::set_pairs(section, "cluster_property_set", "cib-bootstrap-options", &[pair]);
        Ok(String::new())
    })
}
