//! Classes of resources, containers and settings that are gone, with everything that was about them.

use super::warn;
use crate::upgrade::{Change, Notice, Weight, Work};
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

/// Settings without successor.
pub fn meta_attributes(work: &mut Work) {
    const RESOURCES: [&str; 6] = ["template", "primitive", "group", "clone", "bundle", "rsc_defaults"];
    work.rewrite(&mut |holder, _, notices| {
        let (names, instead): (&[&str], _) = match holder.name() {
            name if RESOURCES.contains(&name) => {
                (&["restart-type"], "Consider setting the \"kind\" attribute for relevant constraints")
            }
            "op" | "op_defaults" => {
                (&["can_fail", "role_after_failure"], "Consider setting the \"on-fail\" operation attribute instead")
            }
            _ => return Change::Keep,
        };
        let is_gone = |e: &Element| e.name() == "nvpair" && e.attr("name").is_some_and(|n| names.contains(&n));
        if !holder.elements_named("meta_attributes").any(|s| s.elements().any(is_gone)) {
            return Change::Keep;
        }
        let mut new = holder.clone();
        for set in new.elements_mut().filter(|s| s.name() == "meta_attributes") {
            let id = set.id().unwrap_or_default().to_owned();
            for name in set.elements().filter(|e| is_gone(e)).filter_map(|e| e.attr("name")) {
                let why = "because it is no longer supported";
                warn(notices, format!("Dropping {name} meta-attribute from {id} {why}. {instead}"));
            }
            set.retain_elements(|e| !is_gone(e));
        }
        Change::to(new)
    });
}

fn is_gone_class(class: &str) -> bool {
    ["nagios", "upstart"].iter().any(|c| c.eq_ignore_ascii_case(class))
}

/// Resources of a class that is gone, what only holds such, and the constraints about them.
pub fn resources(work: &mut Work) {
    let classes: BTreeMap<String, String> = work
        .configuration
        .descendants()
        .filter(|e| e.name() == "template")
        .filter_map(|e| Some((e.id()?.to_owned(), e.attr("class")?.to_owned())))
        .collect();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    work.rewrite(&mut |e, _, notices| {
        let Some(what) = verdict(e, &classes, &gone) else { return Change::Keep };
        notices.push(what);
        if e.name() != "template" {
            gone.extend(e.id().map(str::to_owned));
        }
        Change::drop()
    });
    if !gone.is_empty() {
        constraints(work, &gone);
    }
}

/// Why a resource goes, if it does. Those in it have been looked at before, and are no longer there.
fn verdict(e: &Element, classes: &BTreeMap<String, String>, gone: &BTreeSet<String>) -> Option<Notice> {
    let id = e.id().unwrap_or_default();
    let class = e.attr("class").or_else(|| e.attr("template").and_then(|t| classes.get(t)).map(String::as_str));
    let old_class = class.filter(|c| is_gone_class(c));
    let emptied = || !gone.is_empty() && !["primitive", "group"].iter().any(|n| e.child(n).is_some());
    let (weight, text) = match (e.name(), old_class) {
        ("template", Some(class)) => {
            (Weight::Warning, format!("Dropping template {id} because {class} resources are no longer supported"))
        }
        ("primitive", Some(class)) => {
            (Weight::Warning, format!("Dropping resource {id} because {class} resources are no longer supported"))
        }
        ("group" | "clone", _) if emptied() => {
            (Weight::Info, format!("Dropping {} {id} because it would become empty", e.name()))
        }
        ("bundle", _) if e.child("rkt").is_some() => {
            (Weight::Warning, format!("Dropping bundle resource {id} because rkt containers are no longer supported"))
        }
        _ => return None,
    };
    Some(Notice { weight, text })
}

fn constraints(work: &mut Work, gone: &BTreeSet<String>) {
    let is_gone = |e: &Element, names: &[&str]| names.iter().filter_map(|n| e.attr(n)).any(|id| gone.contains(id));
    let mut emptied: BTreeSet<String> = BTreeSet::new();
    work.rewrite(&mut |e, _, _| match e.name() {
        "resource_ref" if is_gone(e, &["id"]) => Change::drop(),
        "resource_set" if e.attr("id-ref").is_none() && e.child("resource_ref").is_none() => {
            emptied.extend(e.id().map(str::to_owned));
            Change::drop()
        }
        _ => Change::Keep,
    });
    work.rewrite(&mut |e, _, _| {
        let refers = e.attr("id-ref").is_some_and(|id| emptied.contains(id));
        if e.name() == "resource_set" && refers { Change::drop() } else { Change::Keep }
    });
    work.rewrite(&mut |e, _, _| {
        let (about, subject): (&[&str], &[&str]) = match e.name() {
            "rsc_location" => (&["rsc"], &["rsc", "rsc-pattern"]),
            "rsc_ticket" => (&["rsc"], &["rsc"]),
            "rsc_colocation" => (&["rsc", "with-rsc"], &["rsc"]),
            "rsc_order" => (&["first", "then"], &["first"]),
            _ => return Change::Keep,
        };
        let subjectless = e.child("resource_set").is_none() && subject.iter().all(|n| e.attr(n).is_none());
        if is_gone(e, about) || subjectless { Change::drop() } else { Change::Keep }
    });
}

/// A permission for an element that is gone is for nothing: it stays as one, since others may name it.
pub fn permissions(work: &mut Work) {
    let ids: BTreeSet<String> = work.configuration.descendants().filter_map(|e| e.id().map(str::to_owned)).collect();
    let mut by_path = false;
    work.rewrite(&mut |e, _, _| {
        if e.name() != "acl_permission" {
            return Change::Keep;
        }
        by_path |= e.attr("xpath").is_some();
        if e.attr("reference").is_none_or(|id| ids.contains(id)) {
            return Change::Keep;
        }
        let mut new = e.clone();
        new.remove_attr("reference");
        Change::to(new.with("xpath", NOTHING))
    });
    if by_path && !work.configuration.is_same(&work.start) {
        let text = "CIB syntax changes may invalidate ACLs that use \"xpath\". It is strongly recommended to run \"cibadmin \
                    --upgrade\" and then examine the updated CIB carefully to ensure ACLs still match the desired intent.";
        warn(&mut work.notices, text.to_owned());
    }
}

/// A path to nothing: a document has one outermost element, and it is called `cib`.
const NOTHING: &str = "/nothing";
