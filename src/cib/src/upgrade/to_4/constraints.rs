//! Constraints: pings, several rules in one location, and lifetimes.

use super::{PREFIX, warn};
use crate::upgrade::{Change, Work};
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

/// A ping node is a member where nothing may run and nothing is looked for.
pub fn ping_nodes(work: &mut Work) {
    let mut names = Vec::new();
    work.rewrite(&mut |e, holder, _| {
        if e.name() != "node" || holder.name() != "nodes" || e.attr("type") != Some("ping") {
            return Change::Keep;
        }
        names.extend(e.attr("uname").map(str::to_owned));
        Change::to(e.clone().with("type", "member"))
    });
    for name in names {
        let ban = Element::new("rsc_location")
            .with("id", format!("{PREFIX}ping-node-ban-{name}"))
            .with("rsc-pattern", ".*")
            .with("node", &name)
            .with("score", "-INFINITY")
            .with("resource-discovery", "never");
        work.configuration.child_or_insert("constraints").push(ban);
    }
}

/// A location with several rules is one location for each.
pub fn several_rules(work: &mut Work) {
    let mut split: BTreeMap<String, Vec<String>> = BTreeMap::new();
    work.rewrite(&mut |e, _, _| {
        let rules: Vec<&Element> = e.elements_named("rule").collect();
        if e.name() != "rsc_location" || rules.len() < 2 {
            return Change::Keep;
        }
        let id = e.id().unwrap_or_default();
        let one = |(at, rule): (usize, &&Element)| {
            let mut new = e.clone();
            new.set("id", format!("{PREFIX}{id}-{}", at + 1));
            new.nodes_mut().clear();
            let others = |name| e.elements_named(name).map(|s| if at == 0 { s.clone() } else { by_reference(s) });
            others("resource_set").for_each(|s| new.push(s));
            new.push((*rule).clone());
            others("lifetime").for_each(|s| new.push(s));
            new
        };
        let all: Vec<Element> = rules.iter().enumerate().map(one).collect();
        let ids = all.iter().filter_map(|n| n.id().map(str::to_owned)).collect();
        split.insert(id.to_owned(), ids);
        Change::Into(all)
    });
    if split.is_empty() {
        return;
    }
    work.rewrite(&mut |e, _, _| {
        let Some(ids) = e.attr("reference").filter(|_| e.name() == "acl_permission").and_then(|r| split.get(r)) else {
            return Change::Keep;
        };
        let tests: Vec<String> = ids.iter().map(|id| format!("@id = '{id}'")).collect();
        let mut new = e.clone();
        new.remove_attr("reference");
        Change::to(new.with("xpath", format!("//*[{}]", tests.join(" or "))))
    });
}

/// The element as it stands a second time: by reference, or with all in it by reference if it has no id itself.
fn by_reference(e: &Element) -> Element {
    match (e.id(), e.attr("id-ref")) {
        (Some(id), _) => Element::new(e.name()).with("id-ref", id),
        (None, Some(_)) => e.clone(),
        (None, None) => e.elements().map(by_reference).fold(Element::new(e.name()), Element::with_child),
    }
}

/// A location's lifetime is one more condition of its rule; other constraints hold always.
pub fn lifetimes(work: &mut Work) {
    let mut dropped: Vec<Element> = Vec::new();
    work.rewrite(&mut |e, _, notices| {
        let Some(lifetime) = e.child("lifetime") else { return Change::Keep };
        let mut new = e.clone();
        new.retain_elements(|c| c.name() != "lifetime");
        match e.name() {
            "rsc_location" => Change::to(conditional(new, lifetime)),
            "rsc_colocation" | "rsc_order" => {
                let id = e.id().unwrap_or_default();
                let why = "because lifetime elements are no longer supported. Any rules contained there will no longer \
                           apply to the constraint";
                warn(notices, format!("Dropping lifetime element from constraint {id} {why}"));
                dropped.extend(lifetime.elements_named("rule").filter(|r| r.id().is_some()).cloned());
                Change::to(new)
            }
            _ => Change::Keep,
        }
    });
    keep_rules_in_use(work, dropped);
}

/// The location with its lifetime's rules beside its own condition, all of which must hold.
fn conditional(mut location: Element, lifetime: &Element) -> Element {
    let id = location.id().unwrap_or_default().to_owned();
    let own = location.child("rule").cloned();
    location.retain_elements(|c| c.name() != "rule");
    let own = own.unwrap_or_else(|| node_rule(&location, &id));
    location.remove_attr("node");
    location.remove_attr("score");
    let rule = Element::new("rule").with("id", format!("{PREFIX}{id}-lifetime-and-rule"));
    let mut rule = rule.with("boolean-op", "and").with_child(own);
    let times: Vec<&Element> = lifetime.elements_named("rule").collect();
    match times[..] {
        [one] => rule.push(one.clone()),
        _ => {
            let any = Element::new("rule").with("id", format!("{PREFIX}{id}-lifetime-or-rule"));
            rule.push(times.into_iter().cloned().fold(any.with("boolean-op", "or"), Element::with_child));
        }
    }
    location.with_child(rule)
}

/// A location's node and score as a rule.
fn node_rule(location: &Element, id: &str) -> Element {
    let id = format!("{PREFIX}{id}-node-score-rule");
    let test = Element::new("expression")
        .with("id", format!("{id}-expr"))
        .with("attribute", "#uname")
        .with("operation", "eq")
        .with("value", location.attr("node").unwrap_or_default());
    let mut rule = Element::new("rule").with("id", id);
    location.attr("score").into_iter().for_each(|s| rule.set("score", s));
    rule.with_child(test)
}

/// Rules that something still refers to move to a location of no resource, the one place where a rule may say anything.
fn keep_rules_in_use(work: &mut Work, dropped: Vec<Element>) {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut defined: BTreeSet<String> = BTreeSet::new();
    for e in work.configuration.descendants().filter(|e| e.name() == "rule") {
        wanted.extend(e.attr("id-ref").map(str::to_owned));
        defined.extend(e.id().map(str::to_owned));
    }
    let in_use = |r: &Element| r.id().is_some_and(|id| wanted.contains(id) && !defined.contains(id));
    let kept: Vec<Element> = dropped.into_iter().filter(in_use).collect();
    if kept.is_empty() {
        return;
    }
    let id = format!("{PREFIX}coloc-order-lifetime-rules");
    let rule = Element::new("rule").with("id", format!("{id}-rule")).with("score", "-INFINITY");
    let rule = kept.into_iter().fold(rule, Element::with_child);
    let holder = Element::new("rsc_location").with("id", id).with("rsc-pattern", "a^").with_child(rule);
    work.configuration.child_or_insert("constraints").push(holder);
}
