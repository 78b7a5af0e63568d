//! `crm configure primitive|rsc_template|group|clone|ms|monitor|node|tag`: words to the elements of resources, nodes and tags.

use super::sets::Set;
use crate::edit::rules::Ids;
use crate::edit::{self, error, pair};
use crate::source::Failure;
use xml::{Element, Node};

type Pairs = Vec<(String, String)>;

/// What stands in an operation's own attributes.
const OPERATION: [&str; 10] = [
    "name",
    "interval",
    "timeout",
    "role",
    "start-delay",
    "interval-origin",
    "enabled",
    "record-pending",
    "on-fail",
    "description",
];

#[derive(Default)]
struct Operation {
    name: String,
    own: Pairs,
    sets: Vec<Set>,
}

/// Parameters, meta-attributes and operations of a resource.
#[derive(Default)]
pub struct Parts {
    /// What stands before the first part: members, the description.
    pub bare: Vec<String>,
    description: Option<String>,
    sets: Vec<Set>,
    operations: Vec<Operation>,
    /// `$id` and `$id-ref` of the list of operations.
    list: Pairs,
    /// Its parts' names in the order in which they were given.
    order: Vec<&'static str>,
}

/// Words that open a part, and what holds it.
const PARTS: [(&str, &str); 5] = [
    ("params", "instance_attributes"),
    ("meta", "meta_attributes"),
    ("utilization", "utilization"),
    ("op", "operations"),
    ("operations", "operations"),
];

fn kind_of(word: &str) -> &'static str {
    match word {
        "meta" | "op_meta" => "meta_attributes",
        "utilization" => "utilization",
        _ => "instance_attributes",
    }
}

impl Parts {
    pub fn of(words: &[&str]) -> Result<Parts, Failure> {
        let mut parts = Parts::default();
        let mut place = "";
        let mut words = words.iter();
        while let Some(word) = words.next() {
            parts.order.extend(PARTS.iter().find(|(opens, _)| opens == word).map(|(_, name)| *name));
            match *word {
                "operations" => place = word,
                "params" | "meta" | "utilization" | "attributes" => {
                    place = word;
                    parts.sets.push(Set::new(kind_of(word)));
                }
                "op_params" | "op_meta" => {
                    place = word;
                    let op = parts.operations.last_mut().ok_or_else(|| error(format!("{word} stands behind no op")))?;
                    op.sets.push(Set::new(kind_of(word)));
                }
                "op" => {
                    place = "op";
                    let name = words.next().ok_or_else(|| error("op needs an operation's name"))?;
                    parts.operations.push(Operation { name: (*name).to_owned(), ..Operation::default() });
                }
                word if !word.contains('=') && place.is_empty() => parts.bare.push(word.to_owned()),
                word => parts.take(place, word)?,
            }
        }
        Ok(parts)
    }

    fn take(&mut self, place: &str, word: &str) -> Result<(), Failure> {
        match place {
            "op" | "op_params" | "op_meta" => {
                let op = self.operations.last_mut().ok_or_else(|| super::sets::misplaced(word))?;
                return op.take(place, word);
            }
            "operations" => self.list.push(pair(word)?),
            "" => match pair(word)? {
                (name, value) if name == "description" => self.description = Some(value),
                // Without a word before them they are parameters.
                _ => {
                    if self.sets.is_empty() {
                        self.sets.push(Set::new("instance_attributes"));
                        self.order.push("instance_attributes");
                    }
                    self.sets.last_mut().map_or(Ok(()), |set| set.take(word))?;
                }
            },
            _ => self.sets.last_mut().ok_or_else(|| super::sets::misplaced(word))?.take(word)?,
        }
        Ok(())
    }

    /// Named values of all sets of a kind.
    fn pairs<'p>(&'p self, kind: &'p str) -> impl Iterator<Item = (&'p str, &'p str)> {
        self.sets.iter().filter(move |s| s.kind == kind).flat_map(Set::pairs)
    }

    /// Puts all of it into a resource's element.
    fn put(&self, configuration: &Element, e: &mut Element, id: &str, ids: &mut Ids) -> Result<(), Failure> {
        if let Some(text) = &self.description {
            e.set("description", text);
        }
        for set in &self.sets {
            set.element(configuration, id, ids)?.into_iter().for_each(|set| e.push(set));
        }
        if !self.operations.is_empty() || !self.list.is_empty() {
            e.push(self.list_of_operations(configuration, id, ids)?);
        }
        let place = |part: &Element| self.order.iter().position(|name| *name == part.name());
        let mut all: Vec<Element> = e.elements().cloned().collect();
        all.sort_by_key(|part| place(part).unwrap_or(usize::MAX));
        e.retain_elements(|_| false);
        all.into_iter().for_each(|part| e.push(part));
        Ok(())
    }

    fn list_of_operations(&self, configuration: &Element, id: &str, ids: &mut Ids) -> Result<Element, Failure> {
        let mut operations = Element::new("operations");
        let mut base = id.to_owned();
        for (name, value) in &self.list {
            operations.set(name.trim_start_matches('$'), value);
            if name == "$id" {
                base.clone_from(value);
            }
        }
        for op in &self.operations {
            operations.push(op.element(configuration, &base, ids)?);
        }
        Ok(operations)
    }
}

impl Operation {
    fn take(&mut self, place: &str, word: &str) -> Result<(), Failure> {
        let own = word.split_once('=').filter(|(name, _)| place == "op" && OPERATION.contains(name));
        if let Some((name, value)) = own {
            self.own.push((name.to_owned(), value.to_owned()));
            return Ok(());
        }
        let kind = kind_of(place);
        if self.sets.is_empty() {
            self.sets.push(Set::new(kind));
        }
        self.sets.last_mut().map_or(Ok(()), |set| set.take(word))
    }

    fn element(&self, configuration: &Element, base: &str, ids: &mut Ids) -> Result<Element, Failure> {
        let interval = self.own.iter().find(|(n, _)| n == "interval").map_or("0", |(_, v)| v.as_str());
        let id = ids.free(&format!("{base}-{}-{interval}", self.name));
        let mut op = Element::new("op").with("name", &self.name);
        self.own.iter().for_each(|(n, v)| op.set(n, v));
        op.set("interval", interval);
        op.set("id", &id);
        for set in &self.sets {
            set.element(configuration, &id, ids)?.into_iter().for_each(|set| op.push(set));
        }
        Ok(op)
    }
}

pub fn exists(configuration: &Element, kind: &str, id: &str) -> Result<(), Failure> {
    match configuration.descendants().find(|e| e.id() == Some(id) && e.name() != "node") {
        Some(e) => {
            let there = super::show::word_of(e);
            Err(error(format!("Cannot create {kind} with ID '{id}': Found existing {there} with same ID.")))
        }
        None => Ok(()),
    }
}

/// `primitive ID AGENT|@TEMPLATE …`, `rsc_template ID AGENT …`.
pub fn primitive(configuration: &mut Element, kind: &str, id: &str, words: &[&str]) -> Result<String, Failure> {
    let [agent, rest @ ..] = words else {
        return Err(error(format!(
            "syntax in {kind}: Expected at least 2 arguments near <{kind}> parsing '{kind} {id}'"
        )));
    };
    exists(configuration, kind, id)?;
    let mut parts = Parts::of(rest)?;
    let mut e = Element::new(if kind == "rsc_template" { "template" } else { "primitive" }).with("id", id);
    if let Some(template) = agent.strip_prefix('@') {
        let resources = configuration.child("resources");
        if resources.is_none_or(|r| r.child_by_id("template", template).is_none()) {
            return Err(error(format!("{template}: no such resource template")));
        }
        e.set("template", template);
    } else {
        let full = full_name(agent)?;
        let names = ["class", "provider", "type"];
        let fields: Vec<&str> = full.split(':').collect();
        let of: &[&str] = if fields.len() == 3 { &names } else { &["class", "type"] };
        of.iter().zip(&fields).for_each(|(n, v)| e.set(n, v));
        judge(id, &full, &parts);
    }
    // Operations of another resource are meant by its name as well.
    for (_, value) in parts.list.iter_mut().filter(|(name, _)| name == "$id-ref") {
        let other = edit::find_resource(configuration, value).and_then(|e| e.child("operations"));
        if let Some(id) = other.and_then(|o| o.id().or(o.attr("id-ref"))) {
            *value = id.to_owned();
        }
    }
    parts.put(configuration, &mut e, id, &mut Ids::from_nought(configuration))?;
    if kind == "primitive" {
        advise(&e);
    }
    configuration.child_or_insert("resources").push(e);
    Ok(String::new())
}

/// Of a plain name the provider that crmsh looks in first.
pub fn full_name(agent: &str) -> Result<String, Failure> {
    match agent.split(':').count() {
        1 => {
            let found = crate::agents::called(agent);
            let heartbeat = format!("ocf:heartbeat:{agent}");
            let chosen = found.iter().find(|f| **f == heartbeat).or(found.first());
            Ok(chosen.cloned().unwrap_or(heartbeat))
        }
        2 if agent.starts_with("ocf:") => Ok(agent.replacen("ocf:", "ocf:heartbeat:", 1)),
        2 | 3 => Ok(agent.to_owned()),
        _ => Err(error(format!("'{agent}' is not an agent's name: [class:[provider:]]type"))),
    }
}

/// What speaks against it is said, and it is done all the same.
fn judge(id: &str, agent: &str, parts: &Parts) {
    if !edit::agent_is_there(agent) {
        kernel::errln!("ERROR: {agent}: got no meta-data, does this RA exist?\nERROR: {agent}: no such resource agent");
        return;
    }
    let Ok(described) = crate::agents::describe(agent) else { return };
    // What another set is to give cannot be told from here.
    if parts.sets.iter().any(|s| s.kind == "instance_attributes" && s.refers()) {
        return;
    }
    let has = |name: &str| parts.pairs("instance_attributes").any(|(n, _)| n == name);
    for p in described.parameters.iter().filter(|p| p.required && !has(&p.name)) {
        if !p.former.as_deref().is_some_and(has) {
            kernel::errln!("ERROR: {id}: required parameter \"{}\" not defined", p.name);
        }
    }
    for (name, _) in parts.pairs("instance_attributes").filter(|(n, _)| !described.knows(n)) {
        kernel::errln!("ERROR: {id}: parameter \"{name}\" is not known");
    }
}

/// What may go wrong with a primitive's operations, as crmsh warns of it: two of a kind at the same interval, monitors that are not
/// repeated, less time than the agent wants.
pub fn advise(e: &Element) {
    let id = e.id().unwrap_or_default();
    let described = crate::agents::describe(&edit::agent_of(e)).ok();
    let ms = |text: &str| cib::interval_ms(text);
    let mut seen: Vec<(&str, u64)> = Vec::new();
    for op in e.child("operations").into_iter().flat_map(|o| o.elements_named("op")) {
        let name = op.attr("name").unwrap_or_default();
        let of_kind = |a: &&crate::agents::Action| a.name == name;
        let advised = |what: &str| -> Option<String> {
            let mut options = described.iter().flat_map(|d| &d.actions).filter(of_kind).flat_map(|a| &a.options);
            options.find(|(n, _)| n == what).map(|(_, v)| v.clone())
        };
        let Some(interval) = ms(op.attr("interval").unwrap_or("0")) else { continue };
        if name == "monitor" && interval == 0 {
            let usual = advised("interval").unwrap_or_else(|| "10s".to_owned());
            super::note!("WARNING: {id}: interval in {name} should be larger than 0, advised is {usual}");
        } else if interval > 0 && seen.contains(&(name, interval)) {
            let next = (1..).map(|n| interval + n * 1000).find(|ms| !seen.contains(&(name, *ms))).unwrap_or(0);
            super::note!("WARNING: {id}: interval in {name} must be unique, advised is {}s", next / 1000);
        }
        seen.push((name, interval));
        if let (Some(given), Some(advised)) = (op.attr("timeout"), advised("timeout"))
            && ms(given).zip(ms(&advised)).is_some_and(|(given, advised)| given < advised)
        {
            super::note!("WARNING: {id}: specified timeout {given} for {name} is smaller than the advised {advised}");
        }
    }
}

pub fn group(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    exists(configuration, "group", id)?;
    let parts = Parts::of(words)?;
    if parts.bare.is_empty() {
        return Err(error(format!("syntax in group: Expected at least 2 arguments near <group> parsing 'group {id}'")));
    }
    edit::group_add(configuration, id, &parts.bare)?;
    let mut ids = Ids::from_nought(configuration);
    let before = configuration.clone();
    parts.put(&before, edit::resource_mut(configuration, id)?, id, &mut ids)?;
    Ok(String::new())
}

/// `clone ID CHILD …`, `ms ID CHILD …`.
pub fn clone(configuration: &mut Element, kind: &str, id: &str, words: &[&str]) -> Result<String, Failure> {
    let [inner, rest @ ..] = words else {
        return Err(error(format!(
            "syntax in {kind}: Expected at least 2 arguments near <{kind}> parsing '{kind} {id}'"
        )));
    };
    exists(configuration, kind, id)?;
    let parts = Parts::of(rest)?;
    if let Some(holder) = configuration.child("resources").and_then(|r| {
        r.descendants()
            .find(|e| ["clone", "master", "group"].contains(&e.name()) && e.elements().any(|c| c.id() == Some(inner)))
    }) {
        let of = super::show::word_of(holder);
        let child = edit::find_resource(configuration, inner).map_or("primitive", Element::name);
        return Err(error(format!(
            "Cannot create {kind}:{id}: Child {child}:{inner} already in {of}:{}",
            holder.id().unwrap_or_default()
        )));
    }
    let mut ids = Ids::from_nought(configuration);
    let mut e = Element::new(if kind == "ms" { "master" } else { "clone" }).with("id", id);
    parts.put(configuration, &mut e, id, &mut ids)?;
    let resources = configuration.child_or_insert("resources");
    let fits = |e: &Element| e.id() == Some(inner) && ["primitive", "group"].contains(&e.name());
    let at = resources.nodes().iter().position(|n| matches!(n, Node::Element(e) if fits(e)));
    let at = at.ok_or_else(|| error(format!("{id} refers to missing object {inner}")))?;
    let taken = resources.remove_at(&[at]).ok_or_else(|| error("gone"))?;
    if kind == "ms" {
        let mut words = rest.iter().map(|w| format!(" {w}")).collect::<String>();
        if !rest.contains(&"meta") {
            words += " meta";
        }
        super::note!("WARNING: \"ms\" is deprecated. Please use \"clone {id} {inner}{words} promotable=true\"");
    }
    e.push(taken);
    resources.push(e);
    Ok(String::new())
}

/// `monitor RSC[:ROLE] INTERVAL[:TIMEOUT]`.
pub fn monitor(configuration: &mut Element, what: &str, times: &str) -> Result<String, Failure> {
    let (id, role) = what.split_once(':').map_or((what, None), |(id, role)| (id, Some(role)));
    let (interval, timeout) = times.split_once(':').map_or((times, None), |(i, t)| (i, Some(t)));
    let mut ids = Ids::from_nought(configuration);
    let before = configuration.clone();
    let e = edit::resource_mut(configuration, id).map_err(|_| error(format!("object {id} does not exist")))?;
    let given = |name: &str, value: Option<&str>| value.map(|v| (name.to_owned(), v.to_owned()));
    let own = [given("interval", Some(interval)), given("timeout", timeout), given("role", role)];
    let op = Operation { name: "monitor".to_owned(), own: own.into_iter().flatten().collect(), ..Operation::default() };
    let op = op.element(&before, id, &mut ids)?;
    e.child_or_insert("operations").push(op);
    Ok(String::new())
}

/// `node [ID:] NAME[:TYPE] [attributes …] [utilization …]`: a new one, or more of one that is there.
pub fn node(configuration: &mut Element, words: &[&str]) -> Result<String, Failure> {
    let (id, words) = match words {
        [id, rest @ ..] if id.ends_with(':') => (Some(id.trim_end_matches(':')), rest),
        words => (None, words),
    };
    let [name, rest @ ..] = words else { return Err(error("syntax in node: Expected node name parsing 'node'")) };
    let (name, kind) = name.split_once(':').map_or((*name, None), |(n, k)| (n, Some(k)));
    let parts = Parts::of(rest)?;
    let before = configuration.clone();
    let nodes = configuration.child_or_insert("nodes");
    let is = |e: &Element| e.attr("uname").is_some_and(|n| base::ids::same_node(n, name));
    if !nodes.elements().any(is) {
        let mut e = Element::new("node").with("id", id.unwrap_or(name)).with("uname", name);
        if let Some(kind) = kind {
            e.set("type", kind);
        }
        nodes.push(e);
    }
    let Some(e) = nodes.elements_mut().find(|e| is(e)) else { return Ok(String::new()) };
    // What is said of a node takes the place of what was there; of what nothing is said stays.
    let mut ids = Ids::from_nought(&before);
    for kind in ["instance_attributes", "utilization"] {
        let said: Vec<&Set> = parts.sets.iter().filter(|s| s.kind == kind && !s.is_empty()).collect();
        if said.is_empty() {
            continue;
        }
        // Its own ids may come again.
        let gone: Vec<Element> = e.elements_named(kind).cloned().collect();
        gone.iter().flat_map(Element::descendants).filter_map(Element::id).for_each(|id| ids.release(id));
        e.retain_elements(|s| s.name() != kind);
        for set in said {
            set.element(&before, name, &mut ids)?.into_iter().for_each(|set| e.push(set));
        }
    }
    Ok(String::new())
}

/// `tag ID[:] MEMBER…`.
pub fn tag(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let id = id.trim_end_matches(':');
    exists(configuration, "tag", id)?;
    if words.is_empty() {
        return Err(error(format!("syntax in tag: Expected at least one resource parsing 'tag {id}'")));
    }
    let mut tag = Element::new("tag").with("id", id);
    words.iter().for_each(|m| tag.push(Element::new("obj_ref").with("id", m)));
    configuration.child_or_insert("tags").push(tag);
    Ok(String::new())
}
