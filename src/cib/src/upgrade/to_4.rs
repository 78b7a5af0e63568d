//! 3.10 → 4.0: what no longer exists is said in other words, or goes.
//!
//! The order of the rules matters in two places: pairs are told apart by name only when references with a name of their own have
//! become pairs, and resources go last, since rules before them may still read them.

mod constraints;
mod gone;

use super::{Change, Notice, Rule, Weight, Work, needed, pair, tidier};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

pub const RULES: &[Rule] = &[
    tidier(named_references),
    needed(valueless_pairs),
    needed(moons),
    needed(properties),
    needed(fencing_levels),
    tidier(repeated_pairs),
    needed(constraints::ping_nodes),
    needed(promotable),
    needed(constraints::several_rules),
    needed(constraints::lifetimes),
    needed(gone::meta_attributes),
    needed(gone::resources),
    tidier(gone::permissions),
];

/// Before every id that this step makes.
const PREFIX: &str = "pcmk__3_10_upgrade-";

fn warn(notices: &mut Vec<Notice>, text: String) {
    notices.push(Notice { weight: Weight::Warning, text });
}

/// Pairs by id.
fn pairs_by_id(configuration: &Element) -> BTreeMap<String, Element> {
    let pairs = configuration.descendants().filter(|e| e.name() == "nvpair");
    pairs.filter_map(|p| Some((p.id()?.to_owned(), p.clone()))).collect()
}

/// A reference that gives the value of another pair a name of its own is a pair of its own.
fn named_references(work: &mut Work) {
    let by_id = pairs_by_id(&work.configuration);
    let mut made = BTreeSet::new();
    work.rewrite(&mut |e, _, _| {
        let (Some(meant), Some(name)) = (e.attr("id-ref"), e.attr("name")) else { return Change::Keep };
        if e.name() != "nvpair" {
            return Change::Keep;
        }
        let id = format!("{PREFIX}{meant}-{name}");
        let value = by_id.get(meant).and_then(|p| p.attr("value")).unwrap_or_default();
        Change::to(match made.insert(id.clone()) {
            true => pair(&id, name, value),
            false => Element::new("nvpair").with("id-ref", id),
        })
    });
}

/// A pair without a value says nothing, nor does a reference to it.
fn valueless_pairs(work: &mut Work) {
    let configuration = work.configuration.clone();
    let by_id = LazyCell::new(|| pairs_by_id(&configuration));
    work.rewrite(&mut |e, _, _| {
        let meant = e.attr("id-ref").and_then(|id| by_id.get(id)).unwrap_or(e);
        let says_nothing = e.name() == "nvpair" && meant.attr("id-ref").is_none() && meant.attr("value").is_none();
        if says_nothing { Change::drop() } else { Change::Keep }
    });
}

/// Phases of the moon.
fn moons(work: &mut Work) {
    work.rewrite(&mut |e, _, notices| {
        let mut new = e.clone();
        if e.name() != "date_spec" || new.remove_attr("moon").is_none() {
            return Change::Keep;
        }
        let id = e.id().unwrap_or_default();
        let why = "because moon phase is no longer supported";
        warn(notices, format!("Dropping moon attribute from date spec {id} {why}"));
        Change::to(new)
    });
}

fn properties(work: &mut Work) {
    const CALLED: [(&str, &str); 3] = [
        ("crmd-finalization-timeout", "join-finalization-timeout"),
        ("crmd-integration-timeout", "join-integration-timeout"),
        ("crmd-transition-delay", "transition-delay"),
    ];
    work.rewrite(&mut |e, holder, notices| {
        let (Some(name), "cluster_property_set") = (e.attr("name"), holder.name()) else { return Change::Keep };
        let new = CALLED.iter().find(|(old, _)| *old == name).map(|(_, new)| e.clone().with("name", new));
        match (name, e.attr("value")) {
            _ if new.is_some() => Change::Into(new.into_iter().collect()),
            ("remove-after-stop", _) => {
                let id = e.id().unwrap_or_default();
                let why = "because the remove-after-stop property is unsupported";
                warn(notices, format!("Dropping nvpair {id} {why}"));
                Change::drop()
            }
            ("stonith-action", Some("poweroff")) => Change::to(e.clone().with("value", "off")),
            _ => Change::Keep,
        }
    });
}

/// Levels end at 9.
fn fencing_levels(work: &mut Work) {
    work.rewrite(&mut |e, _, _| {
        let index = e.attr("index").and_then(|i| i.trim().parse::<i64>().ok());
        let above = e.name() == "fencing-level" && index.is_some_and(|i| i > 9);
        if above { Change::drop() } else { Change::Keep }
    });
}

/// A set says each name once: the pair that counts stays.
fn repeated_pairs(work: &mut Work) {
    let by_id = pairs_by_id(&work.configuration);
    work.rewrite(&mut |set, _, _| {
        if set.elements_named("nvpair").count() < 2 {
            return Change::Keep;
        }
        let meant = |p: &Element| p.attr("id-ref").and_then(|id| by_id.get(id)).unwrap_or(p).clone();
        let pairs: Vec<Element> = set.elements_named("nvpair").map(meant).collect();
        let keep = counting(&pairs);
        if keep.iter().all(|k| *k) {
            return Change::Keep;
        }
        let mut new = set.clone();
        let mut at = 0;
        new.retain_elements(|e| {
            let kept = e.name() != "nvpair" || keep[at];
            at += usize::from(e.name() == "nvpair");
            kept
        });
        Change::to(new)
    });
}

/// Which pairs count: the first of a name wins, but `#default` takes back what stands before it, and only the last such is needed.
fn counting(pairs: &[Element]) -> Vec<bool> {
    let mut keep = vec![true; pairs.len()];
    let mut in_force: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, p) in pairs.iter().enumerate() {
        let name = p.attr("name").unwrap_or_default();
        let takes_back = p.attr("value") == Some("#default");
        match in_force.get(name).copied() {
            Some(before) if takes_back => keep[before] = false,
            Some(before) if pairs[before].attr("value") != Some("#default") => {
                keep[i] = false;
                continue;
            }
            // A value after `#default` counts, and makes it needless.
            Some(before) => keep[before] = false,
            None => {}
        }
        in_force.insert(name, i);
    }
    keep
}

/// `<master>` is a promotable clone, and the container's `masters` its `promoted-max`.
fn promotable(work: &mut Work) {
    work.rewrite(&mut |e, _, _| match e.name() {
        "master" => {
            let id = format!("{PREFIX}promotable-legacy-{}-meta_attributes", e.id().unwrap_or_default());
            let yes = pair(&format!("{id}-promotable"), "promotable", "true");
            let set = Element::new("meta_attributes").with("id", &id).with("score", "INFINITY").with_child(yes);
            let mut clone = super::renamed(e, "clone");
            clone.nodes_mut().insert(0, xml::Node::Element(set));
            Change::to(clone)
        }
        _ => {
            let mut new = e.clone();
            match new.remove_attr("masters") {
                Some(most) => Change::to(new.with("promoted-max", most)),
                None => Change::Keep,
            }
        }
    });
}
