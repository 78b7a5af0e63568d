//! `pcs resource bundle`: containers that the cluster runs a resource in.

use super::report::{Report, quoted};
use super::unable;
use crate::edit::rules::Ids;
use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use xml::{Element, Node};

type Pairs = Vec<(String, String)>;

const CONTAINERS: [&str; 3] = ["docker", "podman", "rkt"];

/// What is said of a bundle, by part.
#[derive(Default)]
struct Parts {
    kind: Option<String>,
    container: Pairs,
    network: Pairs,
    meta: Pairs,
    ports: Vec<Pairs>,
    storages: Vec<Pairs>,
    /// Ids of mappings that go.
    gone: Vec<String>,
}

impl Parts {
    fn of(words: &[&str]) -> Result<Parts, Failure> {
        let mut all = Parts::default();
        let mut part = "";
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            match *word {
                "container" | "network" | "meta" => part = word,
                "port-map" | "storage-map" => {
                    part = word;
                    let list = if part == "port-map" { &mut all.ports } else { &mut all.storages };
                    match words.peek().copied().copied() {
                        Some("add") => {
                            words.next();
                            list.push(Vec::new());
                        }
                        Some("delete" | "remove") => {
                            words.next();
                            part = "gone";
                        }
                        _ => list.push(Vec::new()),
                    }
                }
                word => all.take(part, word)?,
            }
        }
        Ok(all)
    }

    fn take(&mut self, part: &str, word: &str) -> Result<(), Failure> {
        match part {
            "container" if !word.contains('=') && self.kind.is_none() => self.kind = Some(word.to_owned()),
            "container" => self.container.push(pair(word)?),
            "network" => self.network.push(pair(word)?),
            "meta" => self.meta.push(pair(word)?),
            "gone" => self.gone.push(word.to_owned()),
            "port-map" => self.ports.last_mut().map_or(Ok(()), |p| pair(word).map(|w| p.push(w)))?,
            "storage-map" => self.storages.last_mut().map_or(Ok(()), |p| pair(word).map(|w| p.push(w)))?,
            _ => return Err(error(format!("'{word}' stands in no part of the bundle"))),
        }
        Ok(())
    }

    fn check(&self, report: &mut Report, new: bool) {
        if let Some(kind) = &self.kind {
            report.one_of("container type", Some(kind), &CONTAINERS);
            if !CONTAINERS.contains(&kind.as_str()) {
                return;
            }
        }
        let numbers = [("replicas", 1), ("replicas-per-host", 1), ("masters", 0), ("promoted-max", 0)];
        for (name, value) in self.container.iter().filter(|(_, v)| !v.is_empty()) {
            let least = numbers.iter().find(|(n, _)| n == name).map(|(_, least)| *least);
            if least.is_some_and(|least| value.parse::<u32>().is_ok_and(|n| n >= least)) {
                continue;
            }
            let known = ["image", "network", "options", "run-command"];
            match least {
                Some(0) => report.error(format!("'{value}' is not a valid {name} value, use a non-negative integer")),
                Some(_) => report.error(format!("'{value}' is not a valid {name} value, use a positive integer")),
                None if known.contains(&name.as_str()) => {}
                None => report.error(format!(
                    "invalid container option '{name}', allowed options are: {}",
                    quoted(known.into_iter().chain(numbers.map(|(n, _)| n)))
                )),
            }
        }
        if new && !self.container.iter().any(|(n, v)| n == "image" && !v.is_empty()) {
            report.error("required container option 'image' is missing");
        }
    }

    fn mappings(&self, id: &str, ids: &mut Ids) -> (Vec<Element>, Vec<Element>) {
        let mut made = |name: &str, pairs: &Pairs, wanted: String| {
            let mut e = Element::new(name);
            pairs.iter().for_each(|(n, v)| e.set(n, v));
            if e.id().is_none() {
                e.set("id", ids.free(&wanted));
            }
            e
        };
        let ports = self.ports.iter().map(|pairs| {
            let port = pairs.iter().find(|(n, _)| n == "port" || n == "range").map_or("", |(_, v)| v.as_str());
            made("port-mapping", pairs, format!("{id}-port-map-{port}"))
        });
        let ports = ports.collect();
        let storages = self.storages.iter().map(|pairs| made("storage-mapping", pairs, format!("{id}-storage-map")));
        (ports, storages.collect())
    }
}

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["create", id, rest @ ..] => create(source, line, id, rest),
        ["update", id, rest @ ..] => update(source, line, id, rest, false),
        ["reset", id, rest @ ..] => update(source, line, id, rest, true),
        _ => Err(error(format!("unknown bundle command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn create(source: &Source, line: &Line, id: &str, words: &[&str]) -> Result<String, Failure> {
    let parts = Parts::of(words)?;
    edit(source, |configuration| {
        let mut report = Report::of(line);
        if configuration.find_id(id).is_some() {
            report.error(format!("'{id}' already exists"));
        }
        parts.check(&mut report, true);
        report.done()?;
        let mut container = Element::new(parts.kind.as_deref().unwrap_or("docker"));
        parts.container.iter().for_each(|(n, v)| container.set(n, v));
        let mut bundle = Element::new("bundle").with("id", id).with_child(container);
        let (ports, storages) = parts.mappings(id, &mut Ids::of(configuration));
        if !parts.network.is_empty() || !ports.is_empty() {
            let mut network = Element::new("network");
            parts.network.iter().for_each(|(n, v)| network.set(n, v));
            ports.into_iter().for_each(|p| network.push(p));
            bundle.push(network);
        }
        if !storages.is_empty() {
            let mut storage = Element::new("storage");
            storages.into_iter().for_each(|s| storage.push(s));
            bundle.push(storage);
        }
        let mut meta = parts.meta.clone();
        if line.has("--disabled") {
            meta.push(("target-role".to_owned(), "Stopped".to_owned()));
        }
        edit::set_pairs(&mut bundle, "meta_attributes", &format!("{id}-meta_attributes"), &meta);
        configuration.child_or_insert("resources").push(bundle);
        Ok(String::new())
    })
}

/// Changes what is named; after a reset only what is named is left.
fn update(source: &Source, line: &Line, id: &str, words: &[&str], reset: bool) -> Result<String, Failure> {
    let parts = Parts::of(words)?;
    edit(source, |configuration| {
        let there = edit::find_resource(configuration, id).is_some_and(|e| e.name() == "bundle");
        if !there {
            return Err(unable(&[format!("bundle '{id}' does not exist")]));
        }
        let mut report = Report::of(line);
        parts.check(&mut report, reset);
        report.done()?;
        let (ports, storages) = parts.mappings(id, &mut Ids::of(configuration));
        let bundle = edit::resource_mut(configuration, id)?;
        if reset {
            bundle.retain_elements(|e| edit::RESOURCES.contains(&e.name()) || CONTAINERS.contains(&e.name()));
            if let Some(container) = bundle.elements_mut().find(|e| CONTAINERS.contains(&e.name())) {
                *container = Element::new(container.name().to_owned().as_str());
            }
        }
        if let Some(container) = bundle.elements_mut().find(|e| CONTAINERS.contains(&e.name())) {
            set_attributes(container, &parts.container);
        }
        if !parts.network.is_empty() || !ports.is_empty() {
            let network = part_mut(bundle, "network", 1);
            set_attributes(network, &parts.network);
            ports.into_iter().for_each(|p| network.push(p));
        }
        if !storages.is_empty() {
            let storage = part_mut(bundle, "storage", 2);
            storages.into_iter().for_each(|s| storage.push(s));
        }
        for holder in bundle.elements_mut().filter(|e| ["network", "storage"].contains(&e.name())) {
            holder.retain_elements(|m| !m.id().is_some_and(|id| parts.gone.iter().any(|g| g == id)));
        }
        bundle.retain_elements(|e| e.name() != "storage" || e.elements().next().is_some());
        edit::set_pairs(bundle, "meta_attributes", &format!("{id}-meta_attributes"), &parts.meta);
        Ok(String::new())
    })
}

fn set_attributes(e: &mut Element, pairs: &Pairs) {
    for (name, value) in pairs {
        match value.is_empty() {
            true => drop(e.remove_attr(name)),
            false => e.set(name, value),
        }
    }
}

/// The part where the schema has it: behind the container.
fn part_mut<'a>(bundle: &'a mut Element, name: &str, at: usize) -> &'a mut Element {
    if bundle.child(name).is_none() {
        let at = at.min(bundle.nodes().len());
        bundle.nodes_mut().insert(at, Node::Element(Element::new(name)));
    }
    bundle.child_or_insert(name)
}
