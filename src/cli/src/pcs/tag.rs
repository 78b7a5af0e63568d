//! `pcs tag`: names for several resources at once.

use super::report::{self, Report};
use super::unable;
use crate::edit::{edit, error, find_resource};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use std::fmt::Write;
use xml::{Element, Node};

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] => config(source, &[]),
        ["config", ids @ ..] => config(source, ids),
        ["list" | "show", ids @ ..] => {
            report::deprecated("This command is deprecated and will be removed. Please use 'pcs tag config' instead.");
            config(source, ids)
        }
        ["create", id, members @ ..] => create(source, line, id, members),
        ["delete" | "remove", ids @ ..] => delete(source, ids),
        ["update", id, rest @ ..] => update(source, line, id, rest),
        _ => Err(error(format!("unknown tag command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn tags(configuration: &Element) -> impl Iterator<Item = &Element> {
    configuration.child("tags").into_iter().flat_map(|t| t.elements_named("tag"))
}

fn members(tag: &Element) -> Vec<String> {
    tag.elements_named("obj_ref").filter_map(Element::id).map(str::to_owned).collect()
}

pub fn config(source: &Source, ids: &[&str]) -> Result<String, Failure> {
    let cib = source.cib()?;
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let missing: Vec<String> = ids
        .iter()
        .filter(|id| !tags(configuration).any(|t| t.id() == Some(id)))
        .map(|id| format!("tag '{id}' does not exist"))
        .collect();
    if !missing.is_empty() {
        return Err(unable(&missing));
    }
    let mut out = String::new();
    for tag in tags(configuration).filter(|t| ids.is_empty() || t.id().is_some_and(|id| ids.contains(&id))) {
        let _ = writeln!(out, "{}", tag.id().unwrap_or_default());
        members(tag).iter().for_each(|m| {
            let _ = writeln!(out, "  {m}");
        });
    }
    Ok(if out.is_empty() { " No tags defined\n".to_owned() } else { out })
}

fn taggable(configuration: &Element, ids: &[&str], report: &mut Report) {
    for id in ids.iter().filter(|id| find_resource(configuration, id).is_none()) {
        report.error(format!("bundle/clone/group/resource '{id}' does not exist"));
    }
}

fn create(source: &Source, line: &Line, id: &str, members: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let mut report = Report::of(line);
        if configuration.find_id(id).is_some() {
            report.error(format!("'{id}' already exists"));
        }
        taggable(configuration, members, &mut report);
        report.done()?;
        let mut tag = Element::new("tag").with("id", id);
        members.iter().for_each(|m| tag.push(Element::new("obj_ref").with("id", m)));
        configuration.child_or_insert("tags").push(tag);
        Ok(String::new())
    })
}

fn delete(source: &Source, ids: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let there = |id: &str| tags(configuration).any(|t| t.id() == Some(id));
        let missing: Vec<String> =
            ids.iter().filter(|id| !there(id)).map(|id| format!("tag '{id}' does not exist")).collect();
        if !missing.is_empty() {
            return Err(unable(&missing));
        }
        let section = configuration.child_or_insert("tags");
        section.retain_elements(|t| !t.id().is_some_and(|id| ids.contains(&id)));
        if section.child("tag").is_none() {
            configuration.retain_elements(|e| e.name() != "tags");
        }
        Ok(String::new())
    })
}

/// `ID [add ID... [--before|--after ID]] [remove ID...]`.
fn update(source: &Source, line: &Line, id: &str, words: &[&str]) -> Result<String, Failure> {
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    let mut part: Option<&mut Vec<&str>> = None;
    for word in words {
        match (*word, &mut part) {
            ("add", _) => part = Some(&mut add),
            ("remove" | "delete", _) => part = Some(&mut remove),
            (word, Some(list)) => list.push(word),
            (word, None) => return Err(error(format!("expected 'add' or 'remove', found '{word}'"))),
        }
    }
    edit(source, |configuration| {
        if !tags(configuration).any(|t| t.id() == Some(id)) {
            return Err(unable(&[format!("tag '{id}' does not exist")]));
        }
        let mut report = Report::of(line);
        taggable(configuration, &add, &mut report);
        let tag = configuration.child_or_insert("tags").child_by_id_mut("tag", id);
        let tag = tag.ok_or_else(|| error("gone"))?;
        let had = members(tag);
        for gone in remove.iter().filter(|r| !had.iter().any(|h| h == *r)) {
            report.error(format!("Tag '{id}' does not contain id: '{gone}'"));
        }
        let anchor = line.value("--before").or(line.value("--after"));
        if let Some(anchor) = anchor.filter(|a| !had.iter().any(|h| h == a)) {
            report.error(format!(
                "There is no reference id '{anchor}' in the tag '{id}', cannot put reference ids next to it in the tag"
            ));
        }
        report.done()?;
        tag.retain_elements(|r| !r.id().is_some_and(|i| remove.contains(&i) || add.contains(&i)));
        let at = |tag: &Element, a: &str| {
            tag.nodes().iter().position(|n| matches!(n, Node::Element(e) if e.id() == Some(a)))
        };
        let at = match anchor.and_then(|a| at(tag, a)) {
            Some(at) => at + usize::from(line.value("--before").is_none()),
            None => tag.nodes().len(),
        };
        for (n, member) in add.iter().enumerate() {
            tag.nodes_mut().insert(at + n, Node::Element(Element::new("obj_ref").with("id", member)));
        }
        Ok(String::new())
    })
}
