//! Editing the configuration as the shells `pcs` and `crm` do: read it, change a copy, put it back whole.
//!
//! The change is one replacement of the `configuration` section, so that a resource and what names it go together, made to the
//! version that was read.

pub mod alerts;
pub mod levels;
pub mod rules;

use crate::agents;
use crate::attributes::sign;
use crate::nvpairs;
use crate::source::{Failure, Source};
use base::exit::crm;
use base::secret;
use cib::{Expected, Op, Request, Target, Version};
use scheduler::status::Resource;
use xml::{Element, Node};

/// So often is a change made anew because somebody else's came in between.
const TRIES: u32 = 5;

/// Reads the configuration, lets `change` work on a copy, and puts it back if it differs; answers what `change` says. Where somebody
/// else has changed the configuration meanwhile, on another node a moment ago for instance, all of that is done anew.
pub fn edit<T>(source: &Source, change: impl Fn(&mut Element) -> Result<T, Failure>) -> Result<T, Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let cib = source.cib()?;
        let old = cib.child("configuration").cloned().unwrap_or_else(|| Element::new("configuration"));
        let mut new = old.clone();
        let said = change(&mut new)?;
        if new == old {
            return Ok(said);
        }
        match put_back(source, Version::of(&cib)?, new) {
            Err(refused) if refused.code == crm::OLD && tries < TRIES => {}
            done => return done.map(|()| said),
        }
    }
}

/// Replaces the configuration that was read at version `read`. A user who may not read all of it cannot replace it: then only
/// what differs is asked for.
pub fn put_back(source: &Source, read: Version, configuration: Element) -> Result<(), Failure> {
    let expecting = |op: Op, target: Target, payload: Element| {
        let mut request = Request::new(op, target, Some(payload));
        request.expected = Some(Expected::configuration(read));
        source.call(sign(request)).map(drop)
    };
    let section = Target::Section("configuration".to_owned());
    match expecting(Op::Replace, section, configuration.clone()) {
        Err(refused) if refused.code == crm::INSUFFICIENT_PRIV => {
            let seen = source.cib()?.child("configuration").cloned().unwrap_or_else(|| Element::new("configuration"));
            let whole = |configuration| Element::new("cib").with_child(configuration);
            let Some(difference) = xml::diff(&whole(seen), &whole(configuration)) else { return Err(refused) };
            expecting(Op::Patch, Target::Whole, difference)
        }
        done => done,
    }
}

/// Primitives that run in the cluster and that `new` has no more, with their nodes. In a file nothing runs.
pub fn running_without(source: &Source, old: &Element, new: &Element) -> Result<Vec<String>, Failure> {
    let primitives = |e: &Element| -> Vec<String> {
        let resources = e.child("resources").into_iter().flat_map(Element::descendants);
        resources.filter(|r| r.name() == "primitive").filter_map(Element::id).map(str::to_owned).collect()
    };
    let kept = primitives(new);
    let gone: Vec<String> = primitives(old).into_iter().filter(|id| !kept.contains(id)).collect();
    if gone.is_empty() || source.client().is_none() {
        return Ok(Vec::new());
    }
    let cluster = crate::cluster::read(&source.cib()?, crate::source::now())?;
    let on = |id: &String| {
        let nodes = crate::cluster::find(&cluster.resources, id).map(Resource::held_by).unwrap_or_default();
        let nodes = Vec::from_iter(nodes).join(", ");
        (!nodes.is_empty()).then(|| format!("{id} (on {nodes})"))
    };
    Ok(gone.iter().filter_map(on).collect())
}

pub fn error(message: impl Into<String>) -> Failure {
    Failure::new(crm::ERROR, message)
}

/// Kinds of elements that are resources.
pub const RESOURCES: [&str; 5] = ["primitive", "group", "clone", "master", "bundle"];

pub fn find_resource<'a>(configuration: &'a Element, id: &str) -> Option<&'a Element> {
    let resources = configuration.child("resources")?;
    resources.descendants().find(|e| RESOURCES.contains(&e.name()) && e.id() == Some(id))
}

pub fn resource_mut<'a>(configuration: &'a mut Element, id: &str) -> Result<&'a mut Element, Failure> {
    let there = find_resource(configuration, id).is_some();
    let found = configuration.child_mut("resources").and_then(|r| r.find_id_mut(id)).filter(|_| there);
    found.ok_or_else(|| error(format!("Resource '{id}' does not exist")))
}

pub fn needs_resource(configuration: &Element, id: &str) -> Result<(), Failure> {
    match find_resource(configuration, id) {
        Some(_) => Ok(()),
        None => Err(error(format!("Resource '{id}' does not exist"))),
    }
}

pub fn needs_free_id(configuration: &Element, id: &str) -> Result<(), Failure> {
    match configuration.descendants().filter(|e| e.name() != "node").any(|e| e.id() == Some(id)) {
        true => Err(error(format!("'{id}' already exists"))),
        false => Ok(()),
    }
}

/// Sets pairs in the holder's set of `kind`; an empty value deletes.
pub fn set_pairs(holder: &mut Element, kind: &str, default_set: &str, pairs: &[(String, String)]) {
    for (name, value) in pairs {
        if value.is_empty() {
            for set in holder.elements_mut().filter(|e| e.name() == kind) {
                set.retain_elements(|p| p.attr("name") != Some(name));
            }
            continue;
        }
        let (frame, _, _) = nvpairs::update(holder, kind, (name, value), None, None, default_set);
        let Some(set) = frame.child(kind) else { continue };
        let (Some(set_id), Some(pair)) = (set.id(), set.child("nvpair")) else { continue };
        let at = holder
            .nodes()
            .iter()
            .position(|n| matches!(n, Node::Element(e) if e.name() == kind && e.id() == Some(set_id)));
        match at.and_then(|i| holder.at_mut(&[i])) {
            Some(there) => {
                let replaced =
                    there.elements_mut().find(|p| p.id() == pair.id()).map(|old| *old = pair.clone()).is_some();
                if !replaced {
                    there.push(pair.clone());
                }
            }
            None => holder.push(set.clone()),
        }
    }
}

/// As people may look at it: every list of parameters goes through here. What is read back by a command or a program is not
/// masked, since it would destroy what it cannot tell: `cibadmin`, `crm configure save`, the files of `pcs cluster cib`, and the
/// one value that was asked for by its name.
pub fn masked(e: &Element) -> Element {
    let mut shown = e.clone();
    mask(&mut shown);
    shown
}

fn mask(e: &mut Element) {
    let is_secret = |p: &Element| {
        let Some(name) = p.attr("name") else { return false };
        nvpairs::names(p, name)
            && secret::is_secret(name)
            && !matches!(p.attr("value"), None | Some("" | secret::ELSEWHERE))
    };
    if is_secret(e) {
        e.set("value", secret::MASK);
    }
    // Only what holds one is copied.
    for at in 0..e.nodes().len() {
        if e.at(&[at]).is_some_and(|c| c.descendants().any(is_secret))
            && let Some(child) = e.at_mut(&[at])
        {
            mask(child);
        }
    }
}

/// Splits `name=value` words.
pub fn pair(word: &str) -> Result<(String, String), Failure> {
    match word.split_once('=') {
        Some((name, secret::MASK)) if secret::is_secret(name) => Err(error(format!(
            "{name}: {} stands in lists in place of a secret, and is none; give the value itself (lists that can be loaded again: \
             crm configure save, pcs cluster cib, cibadmin -Q)",
            secret::MASK
        ))),
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(error(format!("missing value of '{word}' option"))),
    }
}

/// One operation; times as given, id from name and interval.
pub fn operation(resource: &str, name: &str, pairs: &[(String, String)]) -> Element {
    let interval = pairs.iter().find(|(n, _)| n == "interval").map_or("0s", |(_, v)| v.as_str());
    let id = nvpairs::as_id(&format!("{resource}-{name}-interval-{interval}"));
    let mut op = Element::new("op").with("id", id).with("name", name).with("interval", interval);
    let mut extra = Vec::new();
    for (n, v) in pairs.iter().filter(|(n, _)| n != "interval") {
        if ["timeout", "start-delay", "interval-origin", "enabled", "record-pending", "role", "on-fail", "description"]
            .contains(&n.as_str())
        {
            op.set(n, v);
        } else {
            extra.push((n.clone(), v.clone()));
        }
    }
    let set = format!("{}-instance_attributes", op.id().unwrap_or_default());
    set_pairs(&mut op, "instance_attributes", &set, &extra);
    op
}

/// A primitive's element with its parameters, operations and meta-attributes.
pub struct NewPrimitive<'a> {
    pub id: &'a str,
    /// `class:provider:type` or `class:type`.
    pub agent: &'a str,
    pub params: Vec<(String, String)>,
    pub meta: Vec<(String, String)>,
    pub operations: Vec<(String, Vec<(String, String)>)>,
}

impl NewPrimitive<'_> {
    pub fn element(&self) -> Result<Element, Failure> {
        let parts: Vec<&str> = self.agent.split(':').collect();
        let mut e = Element::new("primitive").with("id", self.id);
        match parts.as_slice() {
            ["ocf", provider, agent] => e = e.with("class", "ocf").with("provider", provider).with("type", agent),
            [class, agent] if *class != "ocf" => e = e.with("class", class).with("type", agent),
            _ => return Err(error(format!("'{}' is not an agent's name: standard:[provider:]type", self.agent))),
        }
        set_pairs(&mut e, "instance_attributes", &format!("{}-instance_attributes", self.id), &self.params);
        set_pairs(&mut e, "meta_attributes", &format!("{}-meta_attributes", self.id), &self.meta);
        let mut operations = Element::new("operations");
        self.operations.iter().for_each(|(name, pairs)| operations.push(operation(self.id, name, pairs)));
        if !operations.nodes().is_empty() {
            e.push(operations);
        }
        Ok(e)
    }
}

/// Whether the agent can be run here; else why not.
pub fn agent_is_there(agent: &str) -> bool {
    if agents::native_document(agent).is_some() {
        return true;
    }
    let root =
        std::env::var_os("OCF_ROOT").map_or_else(|| "/usr/lib/ocf".into(), std::path::PathBuf::from).join("resource.d");
    let parts: Vec<&str> = agent.split(':').collect();
    if parts.iter().any(|p| p.is_empty() || p.contains('/') || *p == "..") {
        return false;
    }
    match parts.as_slice() {
        ["ocf", provider, name] => root.join(provider).join(name).is_file(),
        ["lsb", name] => std::path::Path::new("/etc/init.d").join(name).is_file(),
        ["stonith", name] => crate::fence_agent::find(name).is_some(),
        ["systemd" | "service", name] => ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
            .iter()
            .any(|dir| std::path::Path::new(dir).join(format!("{name}.service")).is_file()),
        _ => false,
    }
}

/// The agent of a primitive, as configurations call it.
pub fn agent_of(primitive: &Element) -> String {
    ["class", "provider", "type"].iter().filter_map(|n| primitive.attr(n)).collect::<Vec<_>>().join(":")
}

/// What speaks against these parameters, as the agent describes itself: `set` are the new ones, `all` the names that the
/// resource then has.
pub fn problems_of(agent: &str, set: &[(String, String)], all: &[String]) -> Vec<String> {
    if !agent.starts_with("ocf:") && !agent.starts_with("stonith:") {
        return Vec::new();
    }
    agents::describe(agent).map(|described| described.problems(set, all)).unwrap_or_default()
}

/// Names of the parameters that a primitive has, its own and those of sets that it refers to.
pub fn parameters_of(primitive: &Element, index: &cib::config::Index<'_>) -> Vec<String> {
    let sets = primitive.elements_named("instance_attributes");
    sets.flat_map(|set| cib::config::pairs(set, index)).map(|p| p.name().to_owned()).collect()
}

/// The full name of an agent given without standard and provider, if exactly one fits.
pub fn full_agent_name(name: &str) -> Result<String, Failure> {
    if name.contains(':') {
        return Ok(name.to_owned());
    }
    let native = format!("ocf:heartbeat:{name}");
    if agent_is_there(&native) {
        return Ok(native);
    }
    Err(error(format!(
        "Agent name must be specified in the form 'standard:[provider:]type', '{name}' is ambiguous or not installed"
    )))
}

/// Deletes a resource with all that names it; a group, clone or set that it leaves empty goes too.
pub fn delete_resource(configuration: &mut Element, id: &str) -> Result<Vec<String>, Failure> {
    let e = find_resource(configuration, id).ok_or_else(|| error(format!("Resource '{id}' does not exist")))?;
    let mut gone: Vec<String> =
        e.descendants().filter(|d| RESOURCES.contains(&d.name())).filter_map(Element::id).map(str::to_owned).collect();
    // What holds nothing but what goes, goes.
    while let Some(holder) = holder_of_only(configuration, &gone) {
        gone.push(holder);
    }
    let mut said = Vec::new();
    if let Some(constraints) = configuration.child_mut("constraints") {
        remove_references(constraints, &gone, &mut said);
    }
    for section in ["tags", "acls"] {
        if let Some(e) = configuration.child_mut(section) {
            remove_references(e, &gone, &mut said);
        }
    }
    levels::forget_devices(configuration, &gone);
    if let Some(resources) = configuration.child_mut("resources") {
        prune(resources, &gone);
    }
    Ok(said)
}

fn holder_of_only(configuration: &Element, gone: &[String]) -> Option<String> {
    let is_gone = |e: &Element| e.id().is_some_and(|id| gone.iter().any(|g| g == id));
    let resources = configuration.child("resources")?;
    let mut holders =
        resources.descendants().filter(|e| ["group", "clone", "master"].contains(&e.name()) && !is_gone(e));
    let empty = holders.find(|e| {
        let mut members = e.elements().filter(|c| RESOURCES.contains(&c.name())).peekable();
        members.peek().is_some() && members.all(is_gone)
    })?;
    empty.id().map(str::to_owned)
}

fn prune(e: &mut Element, gone: &[String]) {
    e.retain_elements(|c| !(RESOURCES.contains(&c.name()) && c.id().is_some_and(|id| gone.iter().any(|g| g == id))));
    e.elements_mut().for_each(|c| prune(c, gone));
}

/// Deletes constraints, set members, tag members and permissions that name what goes.
fn remove_references(e: &mut Element, gone: &[String], said: &mut Vec<String>) {
    const NAMING: [&str; 6] = ["rsc", "with-rsc", "first", "then", "reference", "id"];
    e.elements_mut().for_each(|c| remove_references(c, gone, said));
    e.retain_elements(|c| {
        let by_id = ["resource_ref", "obj_ref"].contains(&c.name());
        let names = NAMING.iter().filter(|n| **n != "id" || by_id).filter_map(|n| c.attr(n));
        let names_gone = names.into_iter().any(|v| gone.iter().any(|g| g == v));
        let was_set = ["resource_set", "tag"].contains(&c.name()) && c.elements().next().is_none();
        let constraint = ["rsc_colocation", "rsc_order", "rsc_ticket", "rsc_location"].contains(&c.name());
        let plain = ["rsc", "first", "rsc-pattern"].iter().any(|n| c.attr(n).is_some());
        let lost_sets = constraint && !plain && c.child("resource_set").is_none();
        let goes = names_gone || was_set || lost_sets;
        if let (true, true, Some(id)) = (goes, constraint, c.id()) {
            said.push(format!("Removing Constraint - {id}"));
        }
        !goes
    });
}

/// Takes a primitive out of where it stands, to put it elsewhere.
pub fn take_primitive(configuration: &mut Element, id: &str) -> Result<Element, Failure> {
    fn take(e: &mut Element, id: &str) -> Option<Element> {
        let at = e
            .nodes()
            .iter()
            .position(|n| matches!(n, Node::Element(c) if c.name() == "primitive" && c.id() == Some(id)));
        if let Some(i) = at {
            return e.remove_at(&[i]);
        }
        e.elements_mut().find_map(|c| take(c, id))
    }
    let in_clone = configuration.child("resources").is_some_and(|r| {
        r.descendants().any(|e| {
            ["clone", "master"].contains(&e.name()) && e.elements_named("primitive").any(|p| p.id() == Some(id))
        })
    });
    if in_clone {
        return Err(error(format!("'{id}' is cloned; it cannot be put into a group")));
    }
    let resources = configuration.child_mut("resources").ok_or_else(|| error("there are no resources"))?;
    take(resources, id).ok_or_else(|| error(format!("Resource '{id}' does not exist or is not a primitive")))
}

/// Puts primitives into a group, which is made if there is none; groups that this leaves empty go.
pub fn group_add(configuration: &mut Element, group: &str, ids: &[String]) -> Result<(), Failure> {
    if find_resource(configuration, group).is_some_and(|e| e.name() != "group") {
        return Err(error(format!("'{group}' is not a group")));
    }
    let mut members = Vec::new();
    for id in ids {
        members.push(take_primitive(configuration, id)?);
    }
    if find_resource(configuration, group).is_none() {
        needs_free_id(configuration, group)?;
        configuration.child_or_insert("resources").push(Element::new("group").with("id", group));
    }
    let holder = resource_mut(configuration, group)?;
    let at = holder
        .nodes()
        .iter()
        .rposition(|n| matches!(n, Node::Element(e) if e.name() == "primitive"))
        .map_or(0, |i| i + 1);
    for (i, member) in members.into_iter().enumerate() {
        holder.nodes_mut().insert(at + i, Node::Element(member));
    }
    let resources = configuration.child_or_insert("resources");
    resources.retain_elements(|e| e.name() != "group" || e.child("primitive").is_some());
    Ok(())
}
