//! `pcs resource` and `pcs stonith`.

use super::create::{self, Parts};
use super::report::{Report, deprecated, warn};
use super::{defaults, describe, live, operations, relations, unable, utilization};
use crate::crm_mon::View;
use crate::crm_resource::{cleanup, listing, moving};
use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source, checked};
use base::ids::same_node;
use cib::config::Index;
use std::fmt::Write;
use std::time::{Duration, Instant};
use wire::api::CleanupCall;
use xml::{Element, Node};

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] | ["status" | "show"] => status(source),
        ["restart", id, nodes @ ..] => live::restart(source, id, nodes),
        ["failcount", "show", rest @ ..] | ["failcount", rest @ ..] => live::failcounts(source, line, rest, false),
        ["config", ids @ ..] => describe::config(source, line, ids, false),
        ["create", id, agent, rest @ ..] => create::create(source, line, id, agent, rest),
        ["delete" | "remove", ids @ ..] => {
            warn_of_devices(source, "delete", ids)?;
            delete(source, ids)
        }
        ["enable" | "disable", ids @ ..] => {
            warn_of_devices(source, words[0], ids)?;
            roles(source, ids, words[0] == "enable")
        }
        ["manage", ids @ ..] => managed(source, line, ids, true),
        ["unmanage", ids @ ..] => managed(source, line, ids, false),
        ["update", id, rest @ ..] => update(source, line, id, rest),
        ["meta", id, pairs @ ..] => set(source, id, "meta_attributes", pairs),
        ["move", id, rest @ ..] => move_and_wait(source, &Placing::of(line, id, rest)?),
        ["move-with-constraint", id, rest @ ..] => place(source, &Placing::of(line, id, rest)?, Move::To),
        ["ban", id, rest @ ..] => place(source, &Placing::of(line, id, rest)?, Move::Away),
        ["clear", id, rest @ ..] => place(source, &Placing::of(line, id, rest)?, Move::Clear),
        ["cleanup", rest @ ..] => forget(source, rest, false),
        ["refresh", rest @ ..] => forget(source, rest, true),
        ["group", rest @ ..] => group(source, line, rest),
        ["ungroup", name, ids @ ..] => ungroup(source, name, ids),
        ["clone", id, rest @ ..] => clone(source, id, rest, false),
        ["promotable", id, rest @ ..] => clone(source, id, rest, true),
        ["unclone", id] => unclone(source, id),
        ["defaults", rest @ ..] => defaults::run(source, line, defaults::Of::Resources, rest),
        ["op", "defaults", rest @ ..] => defaults::run(source, line, defaults::Of::Operations, rest),
        ["op", rest @ ..] => operations::run(source, line, rest),
        ["utilization", rest @ ..] => utilization::resources(source, line, rest),
        ["relations", id] => relations::show(source, line, id),
        ["bundle", rest @ ..] => super::bundle::run(source, line, rest),
        ["standards"] => Ok(listing::standards()),
        ["providers"] => Ok(listing::ocf_providers()),
        ["agents"] => listing::agents("ocf"),
        ["agents", spec] => listing::agents(spec),
        ["list"] => Ok(listing::all_ocf()),
        ["describe", agent] => listing::metadata(&edit::full_agent_name(agent)?),
        _ => Err(error(format!("unknown resource command '{}' (see: pcs help)", words.join(" ")))),
    }
}

pub fn stonith(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] | ["status" | "show"] => status(source),
        ["config", ids @ ..] => describe::config(source, line, ids, true),
        ["create", id, agent, rest @ ..] => create::create(source, line, id, &format!("stonith:{agent}"), rest),
        ["update", id, rest @ ..] => update(source, line, id, rest),
        ["delete" | "remove", ids @ ..] => delete(source, ids),
        ["list"] => listing::agents("stonith"),
        ["describe", agent] => listing::metadata(&format!("stonith:{agent}")),
        ["enable", ids @ ..] => roles(source, ids, true),
        ["disable", ids @ ..] => roles(source, ids, false),
        ["failcount", "show", rest @ ..] | ["failcount", rest @ ..] => live::failcounts(source, line, rest, true),
        ["meta" | "defaults" | "op" | "cleanup" | "refresh", ..] => run(source, line, words),
        _ => Err(error(format!("unknown stonith command '{}' (see: pcs help)", words.join(" ")))),
    }
}

/// The original takes devices here, but would rather not.
fn warn_of_devices(source: &Source, verb: &str, ids: &[&str]) -> Result<(), Failure> {
    let cib = source.cib()?;
    let is = |id: &&str| {
        let e = cib.child("configuration").and_then(|c| edit::find_resource(c, id));
        e.is_some_and(|e| e.attr("class") == Some("stonith"))
    };
    if ids.iter().any(is) {
        deprecated(&format!(
            "Ability of this command to accept stonith resources is deprecated and will be removed in a future release. \
             Please use 'pcs stonith {verb}' instead."
        ));
    }
    Ok(())
}

fn with_view<T>(source: &Source, work: impl FnOnce(&View<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
    let cib = source.cib()?;
    work(&View::of(&cib)?)
}

fn status(source: &Source) -> Result<String, Failure> {
    with_view(source, |view| {
        let text = listing::list(view);
        let body: String = text.lines().filter(|l| l.starts_with(' ')).map(|l| format!("{l}\n")).collect();
        Ok(if body.is_empty() { "NO resources configured\n".to_owned() } else { body })
    })
}

/// A clone of a primitive or group, called as wanted or after what it clones.
pub fn clone_of(
    inner: Element,
    id: &str,
    wanted: Option<&str>,
    meta: &[(String, String)],
    promotable: bool,
) -> Element {
    let clone_id = wanted.map_or_else(|| format!("{id}-clone"), str::to_owned);
    let mut clone = Element::new("clone").with("id", &clone_id).with_child(inner);
    let mut meta = meta.to_vec();
    if promotable {
        meta.push(("promotable".to_owned(), "true".to_owned()));
    }
    edit::set_pairs(&mut clone, "meta_attributes", &format!("{clone_id}-meta_attributes"), &meta);
    clone
}

/// `--before` and `--after` within a group.
pub fn reorder(configuration: &mut Element, group: &str, id: &str, line: &Line) -> Result<(), Failure> {
    let (anchor, after) = match (line.value("--before"), line.value("--after")) {
        (Some(anchor), _) => (anchor, 0),
        (None, Some(anchor)) => (anchor, 1),
        (None, None) => return Ok(()),
    };
    let holder = edit::resource_mut(configuration, group)?;
    let position =
        |e: &Element, id: &str| e.nodes().iter().position(|n| matches!(n, Node::Element(c) if c.id() == Some(id)));
    let absent = |id: &str| error(format!("'{id}' is not in group '{group}'"));
    let own = position(holder, id).ok_or_else(|| absent(id))?;
    let moved = holder.nodes_mut().remove(own).ok_or_else(|| absent(id))?;
    let at = position(holder, anchor).ok_or_else(|| absent(anchor))?;
    holder.nodes_mut().insert(at + after, moved);
    Ok(())
}

pub fn delete(source: &Source, ids: &[&str]) -> Result<String, Failure> {
    if ids.is_empty() {
        return Err(error("name what to delete"));
    }
    let said = edit(source, |configuration| {
        let mut said = Vec::new();
        for id in ids {
            delete_one(configuration, id, &mut said)?;
        }
        Ok(said)
    })?;
    // What it does beside what was asked is said as the original does, where nobody takes it for an answer.
    said.iter().for_each(|line| kernel::errln!("{line}"));
    Ok(String::new())
}

/// A group goes with all that it holds; of a clone what it is of is named.
fn delete_one(configuration: &mut Element, id: &str, said: &mut Vec<String>) -> Result<(), Failure> {
    let e = edit::find_resource(configuration, id).ok_or_else(|| error(format!("Resource '{id}' does not exist.")))?;
    let members: Vec<&str> =
        e.elements().filter(|c| edit::RESOURCES.contains(&c.name())).filter_map(Element::id).collect();
    let (group, last) = (e.name() == "group", members.last().map_or(id, |m| m).to_owned());
    let shown = if members.len() == 1 || group { last } else { id.to_owned() };
    let rest: Vec<String> = members[..members.len().saturating_sub(1)].iter().map(|m| (*m).to_owned()).collect();
    if group {
        said.push(format!("Removing group: {id} (and all resources within group)"));
        said.push(format!("Stopping all resources in group: {id}..."));
        said.extend(rest.iter().map(|m| format!("Deleting Resource - {m}")));
    }
    let mut hanging = edit::delete_resource(configuration, id)?;
    hanging.sort();
    said.extend(hanging);
    said.push(format!("Deleting Resource{} - {shown}", if group { " (and group)" } else { "" }));
    Ok(())
}

/// The resources that words name: themselves, or what a tag stands for.
fn meant(configuration: &Element, words: &[&str]) -> Result<Vec<String>, Failure> {
    if words.is_empty() {
        return Err(error("name at least one resource"));
    }
    let mut ids = Vec::new();
    let mut missing = Vec::new();
    for word in words {
        let tag = configuration.child("tags").and_then(|t| t.child_by_id("tag", word));
        match (edit::find_resource(configuration, word), tag) {
            (Some(_), _) => ids.push((*word).to_owned()),
            (None, Some(tag)) => ids.extend(tag.elements_named("obj_ref").filter_map(Element::id).map(str::to_owned)),
            (None, None) => missing.push(format!("bundle/clone/group/resource/tag '{word}' does not exist")),
        }
    }
    if missing.is_empty() { Ok(ids) } else { Err(unable(&missing)) }
}

/// Ids of what holds a resource and nothing else: its clone or bundle, above its group or itself.
fn holders(configuration: &Element, id: &str) -> Vec<String> {
    let resources = configuration.child("resources");
    let all = resources.into_iter().flat_map(Element::descendants);
    let holds =
        |e: &&Element| ["clone", "master", "bundle"].contains(&e.name()) && e.elements().any(|c| c.id() == Some(id));
    all.filter(holds).filter_map(Element::id).map(str::to_owned).collect()
}

fn set_meta(configuration: &mut Element, id: &str, name: &str, value: &str) -> Result<(), Failure> {
    let e = edit::resource_mut(configuration, id)?;
    let pair = (name.to_owned(), value.to_owned());
    edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &[pair]);
    Ok(())
}

fn roles(source: &Source, words: &[&str], enable: bool) -> Result<String, Failure> {
    edit(source, |configuration| {
        for id in meant(configuration, words)? {
            // What keeps it stopped may stand at its clone, or at what a clone is of.
            let mut own = vec![id.clone()];
            if enable {
                own.extend(holders(configuration, &id));
                let e = edit::find_resource(configuration, &id).filter(|e| ["clone", "master"].contains(&e.name()));
                let inner = e.into_iter().flat_map(Element::elements).filter(|c| edit::RESOURCES.contains(&c.name()));
                own.extend(inner.filter_map(Element::id).map(str::to_owned));
            }
            let value = if enable { "" } else { "Stopped" };
            own.iter().try_for_each(|id| set_meta(configuration, id, "target-role", value))?;
        }
        Ok(String::new())
    })
}

/// Primitives are managed or not, whatever they stand in; `--monitor` switches their monitors too.
fn managed(source: &Source, line: &Line, words: &[&str], manage: bool) -> Result<String, Failure> {
    edit(source, |configuration| {
        for id in meant(configuration, words)? {
            let e = edit::find_resource(configuration, &id)
                .ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
            let primitives: Vec<String> = e
                .descendants()
                .filter(|d| d.name() == "primitive")
                .filter_map(Element::id)
                .map(str::to_owned)
                .collect();
            let mut own = primitives.clone();
            if manage {
                let inside = e.descendants().filter(|d| edit::RESOURCES.contains(&d.name()));
                own.extend(inside.filter_map(Element::id).map(str::to_owned));
                own.extend(holders(configuration, &id));
            }
            let value = if manage { "" } else { "false" };
            own.iter().try_for_each(|id| set_meta(configuration, id, "is-managed", value))?;
            if line.has("--monitor") {
                primitives.iter().try_for_each(|id| monitors(configuration, id, manage))?;
            }
        }
        Ok(String::new())
    })
}

fn monitors(configuration: &mut Element, id: &str, on: bool) -> Result<(), Failure> {
    let Some(operations) = edit::resource_mut(configuration, id)?.child_mut("operations") else { return Ok(()) };
    for op in operations.elements_mut().filter(|op| op.attr("name") == Some("monitor")) {
        match on {
            true => drop(op.remove_attr("enabled")),
            false => op.set("enabled", "false"),
        }
    }
    Ok(())
}

fn set(source: &Source, id: &str, kind: &str, words: &[&str]) -> Result<String, Failure> {
    let pairs = words.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    edit(source, |configuration| {
        let e = edit::resource_mut(configuration, id)
            .map_err(|_| error(format!("unable to find a resource/clone/group: {id}")))?;
        edit::set_pairs(e, kind, &format!("{id}-{kind}"), &pairs);
        Ok(String::new())
    })
}

/// Parameters, and whole operations anew where their name and interval are given; of a clone its meta-attributes.
fn update(source: &Source, line: &Line, id: &str, words: &[&str]) -> Result<String, Failure> {
    let parts = Parts::of(words)?;
    edit(source, |configuration| {
        let mut parts = parts.clone();
        let mut report = Report::of(line);
        problems_of_update(configuration, id, &parts.params).iter().for_each(|p| report.forceable(p));
        report.done()?;
        let e = edit::resource_mut(configuration, id)?;
        match e.name() {
            "primitive" => {
                edit::set_pairs(e, "instance_attributes", &format!("{id}-instance_attributes"), &parts.params);
            }
            _ => parts.meta.append(&mut parts.params),
        }
        edit::set_pairs(e, "meta_attributes", &format!("{id}-meta_attributes"), &parts.meta);
        for (name, pairs) in &parts.operations {
            let new = edit::operation(id, name, pairs);
            let operations = e.child_or_insert("operations");
            let replaced = |op: &Element| {
                op.attr("name") == Some(name) && (name != "monitor" || op.attr("role") == new.attr("role"))
            };
            let at = operations.elements().position(replaced);
            operations.retain_elements(|op| !replaced(op));
            match at {
                Some(at) => {
                    let at = at.min(operations.nodes().len());
                    operations.nodes_mut().insert(at, Node::Element(new));
                }
                None => operations.push(new),
            }
        }
        Ok(String::new())
    })
}

/// What speaks against new parameters of the primitive. Required ones that it lacked before are not this change's fault.
fn problems_of_update(configuration: &Element, id: &str, set: &[(String, String)]) -> Vec<String> {
    let primitive = edit::find_resource(configuration, id).filter(|e| e.name() == "primitive");
    let Some(primitive) = primitive.filter(|_| !set.is_empty()) else { return Vec::new() };
    let root = Element::new("cib").with_child(configuration.clone());
    let had = edit::parameters_of(primitive, &Index::new(&root));
    let taken = |name: &String| set.iter().any(|(n, v)| n == name && v.is_empty());
    let given = set.iter().filter(|(_, v)| !v.is_empty()).map(|(n, _)| n.clone());
    let agent = edit::agent_of(primitive);
    let all: Vec<String> = had.iter().filter(|n| !taken(n)).cloned().chain(given).collect();
    let before = edit::problems_of(&agent, &[], &had);
    let mut problems = edit::problems_of(&agent, set, &all);
    problems.retain(|p| !before.contains(p));
    problems
}

enum Move {
    To,
    Away,
    Clear,
}

/// What of a resource is to be moved or kept off where, and for how long.
struct Placing<'a> {
    id: &'a str,
    node: Option<&'a str>,
    lifetime: Option<&'a str>,
    promoted: bool,
    expired: bool,
}

impl<'a> Placing<'a> {
    fn of(line: &Line, id: &'a str, words: &[&'a str]) -> Result<Placing<'a>, Failure> {
        let promoted = line.has("--promoted") || line.has("--master");
        let mut placing = Placing { id, node: None, lifetime: None, promoted, expired: line.has("--expired") };
        for word in words {
            match word.split_once('=') {
                Some(("lifetime", duration)) if placing.lifetime.is_none() => placing.lifetime = Some(duration),
                None if placing.node.is_none() => placing.node = Some(word),
                _ => return Err(error(format!("'{word}' does not fit the command: a node, or lifetime=DURATION"))),
            }
        }
        Ok(placing)
    }
}

/// The node as the cluster calls it.
fn known<'v>(view: &'v View<'_>, node: Option<&str>) -> Result<Option<&'v str>, Failure> {
    let found = node.map(|n| crate::cluster::node_name(&view.cluster, n)).transpose();
    found.map_err(|unknown| unable(&[format!("Node '{unknown}' does not appear to exist in configuration")]))
}

fn place(source: &Source, what: &Placing<'_>, how: Move) -> Result<String, Failure> {
    let Placing { id, node, lifetime, promoted, expired } = *what;
    with_view(source, |view| {
        let r = crate::cluster::find(&view.cluster.resources, id)
            .ok_or_else(|| unable(&[format!("bundle/clone/group/resource '{id}' does not exist")]))?;
        if let Some(clone) = view.cib.child("configuration").filter(|_| promoted).and_then(|c| holders(c, id).pop()) {
            let message = format!("when specifying --promoted you must use the promotable clone id ({clone})");
            return Err(unable(&[message]));
        }
        let place = moving::Place { resource: r, node: known(view, node)?, promoted, lifetime };
        if node.is_none() && r.active_on.is_empty() && !matches!(how, Move::Clear) {
            return Err(error("You must specify a node when moving/banning a stopped resource"));
        }
        let text = match how {
            Move::To => moving::move_to(source, view, &place, false)?,
            Move::Away => moving::ban(source, view, &place)?,
            Move::Clear => moving::clear(source, view, &place, expired, false)?,
        };
        tell_placed(id, &text, matches!(how, Move::To));
        Ok(String::new())
    })
}

/// In the original's words, where nobody takes them for an answer; what `crm_resource` says beside is kept.
fn tell_placed(id: &str, text: &str, moved: bool) {
    let (timed, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.starts_with("Migration will"));
    timed.iter().for_each(|line| kernel::errln!("{line}"));
    for line in rest {
        let line = line.replacen("WARNING: Creating rsc_location", "Warning: Creating location", 1);
        let line = line.replacen("WARNING: ", "Warning: ", 1);
        let until = " using the clear option or by editing the CIB with an appropriate tool.";
        kernel::errln!("{}", line.strip_suffix(until).unwrap_or(&line));
    }
    if moved && !text.contains("will not move") {
        warn(&format!(
            "A move constraint has been created and the resource '{id}' may or may not move depending on other configuration"
        ));
    }
}

/// Longest time that `pcs resource move` waits for the resource to arrive.
const MOVE_TIMEOUT: Duration = Duration::from_secs(60);

/// pcs 0.11's move: the constraint goes as soon as the resource has arrived.
fn move_and_wait(source: &Source, what: &Placing<'_>) -> Result<String, Failure> {
    let Placing { id, node, .. } = *what;
    if what.lifetime.is_some() {
        return Err(error("a move that ends by itself has no lifetime; see: pcs resource move-with-constraint"));
    }
    if source.client().is_none() {
        return Err(error("Only 'pcs resource move-with-constraint' works on a file: nothing moves in one"));
    }
    let where_is = |source: &Source| {
        with_view(source, |view| {
            let r = crate::cluster::find(&view.cluster.resources, id)
                .ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
            Ok(r.active_on.clone())
        })
    };
    let before = where_is(source)?;
    with_view(source, |view| match crate::cluster::find(&view.cluster.resources, id) {
        Some(resource) => {
            moving::lasts(view, &moving::Place { resource, node: known(view, node)?, promoted: false, lifetime: None })
        }
        None => Ok(()),
    })?;
    let mut said = place(source, what, if node.is_some() { Move::To } else { Move::Away })?;
    let _ = writeln!(said, "Location constraint to move resource '{id}' has been created");
    let end = Instant::now() + MOVE_TIMEOUT;
    let arrived = |at: &[String]| match node {
        Some(node) => matches!(at, [one] if same_node(one, node)),
        None => !at.is_empty() && at != before.as_slice(),
    };
    let mut at = where_is(source)?;
    while !arrived(&at) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
        at = where_is(source)?;
    }
    if !arrived(&at) {
        return Err(error(format!(
            "resource '{id}' has not moved within {} s; the constraint stays (pcs resource clear {id})",
            MOVE_TIMEOUT.as_secs()
        )));
    }
    place(source, &Placing { node: None, ..*what }, Move::Clear)?;
    let _ = writeln!(said, "Location constraint created to move resource '{id}' has been removed");
    let _ = writeln!(said, "resource '{id}' is running on node '{}'", at.join("', '"));
    Ok(said)
}

fn forget(source: &Source, words: &[&str], refresh: bool) -> Result<String, Failure> {
    let mut call = CleanupCall { refresh, ..CleanupCall::default() };
    for word in words {
        match word.split_once('=') {
            Some(("node", node)) => call.node = Some(checked("node", node)?),
            Some(("operation", operation)) => call.operation = Some(checked("operation", operation)?),
            Some(("interval", interval)) => {
                let ms = cib::interval_ms(interval).ok_or_else(|| error(format!("'{interval}' is not a time")))?;
                call.interval_ms = Some(ms);
            }
            Some((name, _)) => return Err(error(format!("unknown option '{name}'"))),
            None if call.resource.is_none() => call.resource = Some(checked("resource", word)?),
            None => return Err(error(format!("'{word}': one resource, or none for all"))),
        }
    }
    cleanup::run(source, &call)
}

fn group(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["add", name, ids @ ..] if !ids.is_empty() => edit(source, |configuration| {
            let ids: Vec<String> = ids.iter().map(|i| (*i).to_owned()).collect();
            edit::group_add(configuration, name, &ids)?;
            // Each behind the one before it, so that they keep their order.
            let after = line.value("--after").is_some();
            let order: Vec<&String> = if after { ids.iter().rev().collect() } else { ids.iter().collect() };
            order.into_iter().try_for_each(|id| reorder(configuration, name, id, line))?;
            Ok(String::new())
        }),
        ["remove" | "delete", name, ids @ ..] => ungroup(source, name, ids),
        ["list"] => {
            let cib = source.cib()?;
            let resources = cib.child("configuration").and_then(|c| c.child("resources"));
            let groups = resources.into_iter().flat_map(Element::descendants).filter(|e| e.name() == "group");
            let members = |e: &Element| {
                e.elements_named("primitive").filter_map(Element::id).map(|i| format!(" {i}")).collect::<String>()
            };
            Ok(groups.map(|g| format!("{}:{}\n", g.id().unwrap_or_default(), members(g))).collect())
        }
        _ => Err(error("usage: pcs resource group add GROUP ID... | remove GROUP [ID...] | list")),
    }
}

/// Takes members out of a group; all of them if none is named.
fn ungroup(source: &Source, name: &str, ids: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let group =
            edit::resource_mut(configuration, name).map_err(|_| error(format!("Group '{name}' does not exist")))?;
        if group.name() != "group" {
            return Err(error(format!("'{name}' is not a group")));
        }
        let members: Vec<String> =
            group.elements_named("primitive").filter_map(Element::id).map(str::to_owned).collect();
        if let Some(other) = ids.iter().find(|i| !members.iter().any(|m| m == **i)) {
            return Err(error(format!("Resource '{other}' is not in group '{name}'")));
        }
        let out: Vec<String> =
            if ids.is_empty() { members.clone() } else { ids.iter().map(|i| (*i).to_owned()).collect() };
        let freed = out.iter().map(|id| edit::take_primitive(configuration, id)).collect::<Result<Vec<_>, _>>()?;
        freed.into_iter().for_each(|e| configuration.child_or_insert("resources").push(e));
        if out.len() == members.len() {
            edit::delete_resource(configuration, name)?;
        }
        Ok(String::new())
    })
}

fn clone(source: &Source, id: &str, words: &[&str], promotable: bool) -> Result<String, Failure> {
    let (wanted, words) = match words {
        [name, rest @ ..] if !name.contains('=') && *name != "meta" => (Some(*name), rest),
        words => (None, words),
    };
    let words: Vec<&str> = words.iter().copied().filter(|w| *w != "meta").collect();
    let meta = words.iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    edit(source, |configuration| {
        if let Some(wanted) = wanted {
            edit::needs_free_id(configuration, wanted)?;
        }
        let resources = configuration.child_or_insert("resources");
        let of = |e: &Element| ["primitive", "group"].contains(&e.name()) && e.id() == Some(id);
        let missing = || error(format!("unable to find group or resource: {id}"));
        let member = resources.elements().any(|e| e.name() == "group" && e.elements().any(of));
        if member {
            // The last one of a group takes its place.
            let freed = edit::take_primitive(configuration, id)?;
            let resources = configuration.child_or_insert("resources");
            resources.push(clone_of(freed, id, wanted, &meta, promotable));
            resources.retain_elements(|e| e.name() != "group" || e.child("primitive").is_some());
            return Ok(String::new());
        }
        let at = resources.nodes().iter().position(|n| matches!(n, Node::Element(e) if of(e))).ok_or_else(missing)?;
        let inner = resources.remove_at(&[at]).ok_or_else(missing)?;
        resources.push(clone_of(inner, id, wanted, &meta, promotable));
        Ok(String::new())
    })
}

fn unclone(source: &Source, id: &str) -> Result<String, Failure> {
    edit(source, |configuration| {
        let resources = configuration.child_or_insert("resources");
        let holds = |e: &Element| {
            e.id() == Some(id) || e.elements().any(|c| edit::RESOURCES.contains(&c.name()) && c.id() == Some(id))
        };
        let at =
            resources.nodes().iter().position(|n| matches!(n, Node::Element(e) if e.name() == "clone" && holds(e)));
        let there = edit::find_resource(configuration, id).is_some();
        let at = at.ok_or_else(|| match there {
            true => error(format!("'{id}' is not a clone resource")),
            false => error(format!("could not find resource: {id}")),
        })?;
        let resources = configuration.child_or_insert("resources");
        let clone = resources.at(&[at]).cloned().ok_or_else(|| error("gone"))?;
        let clone_id = clone.id().unwrap_or_default().to_owned();
        let inner = clone.elements().find(|e| ["primitive", "group"].contains(&e.name())).cloned();
        let inner = inner.ok_or_else(|| error(format!("'{clone_id}' is empty")))?;
        edit::delete_resource(configuration, &clone_id)?;
        configuration.child_or_insert("resources").push(inner);
        Ok(String::new())
    })
}
