//! 2.10 → 3.10: names that have been replaced, as one table for each place where they may stand.

use super::{Change, Notice, Rule, Weight, Work, needed, pair};
use xml::Element;

pub const RULES: &[Rule] = &[needed(properties), needed(nodes), needed(agents), needed(colocations)];

/// What became of a name.
struct Old {
    name: &'static str,
    /// With one of these values only; none means any.
    only: &'static [&'static str],
    now: Now,
    /// What an operator may do instead.
    instead: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Now {
    Gone,
    Called(&'static str),
    /// Another name with a value of its own.
    Means(&'static str, &'static str),
    /// A default of this section; the value too, where it changed.
    Default(&'static str, &'static str, Option<&'static str>),
    /// The rest of the value, behind a prefix, under another name.
    Behind(&'static str, &'static str),
    /// A meta-attribute of the resource.
    Meta(&'static str),
}

const fn called(name: &'static str, new: &'static str) -> Old {
    Old { name, only: &[], now: Now::Called(new), instead: None }
}

const fn gone(name: &'static str, instead: &'static str) -> Old {
    Old { name, only: &[], now: Now::Gone, instead: Some(instead) }
}

const fn default(name: &'static str, section: &'static str, new: &'static str) -> Old {
    Old { name, only: &[], now: Now::Default(section, new, None), instead: None }
}

const fn give_up(name: &'static str) -> Old {
    Old {
        name,
        only: &["-INFINITY"],
        now: Now::Default("rsc_defaults", "migration-threshold", Some("1")),
        instead: None,
    }
}

const THRESHOLD_DEFAULT: &str = "migration-threshold in rsc_defaults can be configured instead";
const THRESHOLD: &str = "migration-threshold can be configured instead";
const ALERTS: &str = "standalone alerts can be configured instead";

const PROPERTIES: &[Old] = &[
    Old {
        name: "cluster-infrastructure",
        only: &["heartbeat", "openais", "classic openais", "classic openais (with plugin)", "cman"],
        now: Now::Gone,
        instead: Some("corosync (2+) infrastructure can be used instead, though the value is not of significance"),
    },
    called("cluster_recheck_interval", "cluster-recheck-interval"),
    called("dc_deadtime", "dc-deadtime"),
    default("default-action-timeout", "op_defaults", "timeout"),
    default("default_action_timeout", "op_defaults", "timeout"),
    gone("default-migration-threshold", THRESHOLD_DEFAULT),
    gone("default_migration_threshold", THRESHOLD_DEFAULT),
    default("default-resource-stickiness", "rsc_defaults", "resource-stickiness"),
    default("default_resource_stickiness", "rsc_defaults", "resource-stickiness"),
    give_up("default-resource-failure-stickiness"),
    gone("default-resource-failure-stickiness", THRESHOLD_DEFAULT),
    give_up("default_resource_failure_stickiness"),
    gone("default_resource_failure_stickiness", THRESHOLD_DEFAULT),
    called("election_timeout", "election-timeout"),
    gone("expected-quorum-votes", "corosync (2+) infrastructure tracks quorum on its own"),
    default("is-managed-default", "rsc_defaults", "is-managed"),
    default("is_managed_default", "rsc_defaults", "is-managed"),
    called("no_quorum_policy", "no-quorum-policy"),
    gone("notification-agent", ALERTS),
    gone("notification-recipient", ALERTS),
    called("remove_after_stop", "remove-after-stop"),
    called("shutdown_escalation", "shutdown-escalation"),
    called("startup_fencing", "startup-fencing"),
    called("stonith_action", "stonith-action"),
    called("stonith_enabled", "stonith-enabled"),
    called("stop_orphan_actions", "stop-orphan-actions"),
    called("stop_orphan_resources", "stop-orphan-resources"),
    called("symmetric_cluster", "symmetric-cluster"),
    called("transition_idle_timeout", "cluster-delay"),
];

const PARAMETERS: &[Old] = &[
    Old { name: "pcmk_arg_map", only: &[], now: Now::Behind("port:", "pcmk_host_argument"), instead: None },
    called("pcmk_list_cmd", "pcmk_list_action"),
    called("pcmk_monitor_cmd", "pcmk_monitor_action"),
    called("pcmk_off_cmd", "pcmk_off_action"),
    called("pcmk_on_cmd", "pcmk_on_action"),
    called("pcmk_reboot_cmd", "pcmk_reboot_action"),
    called("pcmk_status_cmd", "pcmk_status_action"),
];

const fn isolated(name: &'static str) -> Old {
    let instead = "i.e. resource at hand disabled; isolation wrappers obsoleted with bundle resources";
    Old { name, only: &[], now: Now::Means("target-role", "Stopped"), instead: Some(instead) }
}

const fn give_up_here(name: &'static str) -> Old {
    Old { name, only: &["-INFINITY"], now: Now::Means("migration-threshold", "1"), instead: None }
}

const META: &[Old] = &[
    isolated("isolation"),
    isolated("isolation-host"),
    isolated("isolation-instance"),
    isolated("isolation-wrapper"),
    give_up_here("resource-failure-stickiness"),
    gone("resource-failure-stickiness", THRESHOLD),
    give_up_here("resource_failure_stickiness"),
    gone("resource_failure_stickiness", THRESHOLD),
];

/// `requires` of an operation: that of a start or promotion is the resource's, any other never counted.
const REQUIRES: &[Old] = &[
    Old { name: "requires", only: &["start", "promote"], now: Now::Meta("requires"), instead: None },
    gone("requires", "only start/promote operation taken into account"),
];

const COLOCATION: &[Old] = &[
    gone("score-attribute", "was actually never in effect"),
    gone("score-attribute-mangle", "was actually never in effect"),
];

/// The first entry that fits a name and its value, or what else decides.
fn find(table: &'static [Old], name: &str, selector: &str) -> Option<&'static Old> {
    table.iter().find(|o| o.name == name && (o.only.is_empty() || o.only.contains(&selector)))
}

impl Old {
    fn weight(&self) -> Weight {
        match (self.now, self.instead) {
            (Now::Means("target-role", _), _) => Weight::Warning,
            (_, Some(_)) => Weight::Info,
            _ => Weight::Debug,
        }
    }

    /// Says what happens, as operators of the original know it.
    fn tell(&self, place: &str, context: &str, value: &str, notices: &mut Vec<Notice>) {
        let name = self.name;
        let moving = |to: &str, new: &str| format!("moving {name} under {to} as {new} unless already defined there");
        let mut text = match self.now {
            Now::Gone => format!("dropping {name}"),
            Now::Behind(prefix, _) if !value.starts_with(prefix) => format!("dropping {name}"),
            Now::Called(new) | Now::Behind(_, new) => format!("renaming {name} as {new}"),
            Now::Means(new, means) => format!("renaming {name} as {new}, redefined as {means}"),
            Now::Default(section, new, means) => {
                moving(section, new) + &means.map(|m| format!(", redefined as {m}")).unwrap_or_default()
            }
            Now::Meta(new) => moving("meta_attributes", new),
        };
        if !self.only.is_empty() {
            let redefines = matches!(self.now, Now::Means(..) | Now::Default(_, _, Some(_)));
            text += if redefines { "," } else { "" };
            text += &format!(" for matching {}", self.only.join("|"));
        }
        if let Now::Behind(prefix, _) = self.now
            && value.starts_with(prefix)
        {
            text += &format!(" for matching {prefix} prefix that will, meanwhile, get dropped");
        }
        let weight = self.weight();
        notices.push(Notice { weight, text: format!("{place}: {context}: {text}") });
        if let Some(instead) = self.instead {
            notices.push(Notice { weight, text: format!("{place}: ... {instead}") });
        }
    }
}

/// What a pair becomes by its entry, as far as it stays where it is.
fn replaced(e: &Element, old: &Old) -> Option<Element> {
    let (name, value) = match old.now {
        Now::Called(name) => (name, None),
        Now::Means(name, value) => (name, Some(value.to_owned())),
        Now::Behind(prefix, name) => (name, Some(e.attr("value")?.strip_prefix(prefix)?.to_owned())),
        Now::Gone | Now::Default(..) | Now::Meta(_) => return None,
    };
    let mut new = e.clone();
    new.set("name", name);
    value.into_iter().for_each(|v| new.set("value", v));
    Some(new)
}

/// The pairs of a set by the table; sets that lose all their pairs go too. Told to `leaves` is what moves elsewhere.
fn pairs(
    set: &Element,
    table: &'static [Old],
    context: &dyn Fn(&Element) -> (&'static str, String),
    notices: &mut Vec<Notice>,
    leaves: &mut dyn FnMut(&'static Old, &Element),
) -> Option<Element> {
    let mut new = set.clone();
    let mut changed = false;
    new.nodes_mut().clear();
    for node in set.nodes().iter() {
        let found = match node {
            xml::Node::Element(e) if e.name() == "nvpair" => {
                let value = e.attr("value").unwrap_or_default();
                e.attr("name").and_then(|n| find(table, n, value)).map(|old| (e, value, old))
            }
            _ => None,
        };
        let Some((e, value, old)) = found else {
            new.nodes_mut().push(node.clone());
            continue;
        };
        changed = true;
        let (place, whose) = context(e);
        old.tell(place, &whose, value, notices);
        match replaced(e, old) {
            Some(pair) => new.push(pair),
            None => leaves(old, e),
        }
    }
    match changed {
        false => Some(set.clone()),
        true => new.child("nvpair").is_some().then_some(new),
    }
}

/// A pair that becomes a default, with the rule of the set that it stood in.
struct Moved {
    section: &'static str,
    pair: Element,
    set: Element,
}

fn properties(work: &mut Work) {
    let mut moved: Vec<Moved> = Vec::new();
    work.rewrite(&mut |e, _, notices| {
        if e.name() != "cluster_property_set" {
            return Change::Keep;
        }
        let context = |e: &Element| ("Cluster properties", e.id().unwrap_or_default().to_owned());
        let new = pairs(e, PROPERTIES, &context, notices, &mut |old, was| {
            if let Now::Default(section, name, value) = old.now {
                let value = value.or(was.attr("value")).unwrap_or_default();
                moved.push(Moved { section, pair: pair(was.id().unwrap_or_default(), name, value), set: e.clone() });
            }
        });
        match new {
            Some(new) if new.is_same(e) => Change::Keep,
            Some(new) => Change::to(new),
            None => Change::drop(),
        }
    });
    for Moved { section, pair, set } in moved {
        let word = if section == "op_defaults" { "op" } else { "rsc" };
        let id = match set.child("rule") {
            Some(_) => format!("_2TO3_{}", set.id().unwrap_or_default()),
            None => format!("_2TO3_-{word}-defaults"),
        };
        let section = work.configuration.child_or_insert(section);
        let holds = |s: &Element| s.elements_named("nvpair").any(|p| p.attr("name") == pair.attr("name"));
        if section.elements_named("meta_attributes").filter(|s| s.child("rule").is_none()).any(holds) {
            continue;
        }
        let plain = section.elements_named("meta_attributes").find(|s| s.child("rule").is_none());
        let into = match (set.child("rule"), plain.and_then(Element::id)) {
            (None, Some(id)) => id.to_owned(),
            _ => id,
        };
        let target = section.child_by_id_or_insert("meta_attributes", &into);
        if let Some(rule) = set.child("rule").filter(|_| target.child("rule").is_none()) {
            target.push(rule.clone());
        }
        target.push(pair);
    }
}

/// A normal node is a member.
fn nodes(work: &mut Work) {
    work.rewrite(&mut |e, holder, notices| {
        if e.name() != "node" || holder.name() != "nodes" || e.attr("type") != Some("normal") {
            return Change::Keep;
        }
        let whose = format!("{} (id={})", e.attr("uname").unwrap_or_default(), e.id().unwrap_or_default());
        let text = format!("Cluster node: {whose}: keeping type as type, redefined as member, for matching normal");
        notices.push(Notice { weight: Weight::Debug, text });
        Change::to(e.clone().with("type", "member"))
    });
}

/// What stands in primitives and templates.
fn agents(work: &mut Work) {
    work.rewrite(&mut |e, _, notices| match e.name() {
        "primitive" | "template" => agent(e, notices).map_or(Change::Keep, Change::to),
        _ => Change::Keep,
    });
}

fn agent(rsc: &Element, notices: &mut Vec<Notice>) -> Option<Element> {
    let id = rsc.id().unwrap_or_default();
    let mut new = Element::new(rsc.name());
    rsc.attrs().for_each(|(n, v)| new.set(n, v));
    let mut changed = false;
    let mut operations = None;
    for e in rsc.elements() {
        let kept = match e.name() {
            "operations" => {
                operations = Some((new.nodes().len(), e));
                Some(e.clone())
            }
            "instance_attributes" => {
                let context = |p: &Element| ("Resource instance_attributes", p.id().unwrap_or_default().to_owned());
                pairs(e, PARAMETERS, &context, notices, &mut |_, _| {})
            }
            "meta_attributes" => {
                let set = e.id().unwrap_or_default();
                let context = |_: &Element| ("Resource meta_attributes", format!("{id} (meta={set})"));
                pairs(e, META, &context, notices, &mut |_, _| {})
            }
            _ => Some(e.clone()),
        };
        changed |= kept.as_ref().is_none_or(|k| !k.is_same(e));
        kept.into_iter().for_each(|k| new.push(k));
    }
    let (at, operations) = operations.unzip();
    if let Some((at, (kept, requires))) = at.zip(operations.and_then(|o| requires(o, id, notices))) {
        changed = true;
        if let Some(xml::Node::Element(slot)) = new.nodes_mut().get_mut(at) {
            *slot = kept;
        }
        let plain = |s: &&Element| s.child("rule").is_none();
        let is_set = |s: &Element| s.elements_named("nvpair").any(|p| p.attr("name") == Some("requires"));
        if let Some(pair) = requires.filter(|_| !new.elements_named("meta_attributes").filter(plain).any(is_set)) {
            new.push(Element::new("meta_attributes").with("id", format!("_2TO3_{id}-meta")).with_child(pair));
        }
    }
    changed.then_some(new)
}

/// The operations without `requires`, and the pair that it becomes: of several the last one counts.
fn requires(operations: &Element, rsc: &str, notices: &mut Vec<Notice>) -> Option<(Element, Option<Element>)> {
    let mut new = operations.clone();
    let mut kept = None;
    let mut changed = false;
    for op in new.elements_mut().filter(|o| o.name() == "op") {
        let task = op.attr("name").unwrap_or_default().to_owned();
        let op_id = op.id().unwrap_or_default().to_owned();
        let own = find(REQUIRES, "requires", &task);
        if let Some((value, old)) = op.remove_attr("requires").zip(own) {
            changed = true;
            old.tell("Resources-operation", &format!("{op_id} (rsc={rsc})"), &value, notices);
            if let Now::Meta(name) = old.now {
                kept = Some(pair(&format!("_2TO3_{op_id}-meta-requires"), name, &value));
            }
        }
        for set in ["meta_attributes", "instance_attributes"] {
            for set in op.elements_mut().filter(|s| s.name() == set) {
                let set_id = set.id().unwrap_or_default().to_owned();
                let is_it = |p: &Element| p.attr("name") == Some("requires");
                let Some((was, old)) = set.elements().find(|p| is_it(p)).cloned().zip(own) else { continue };
                changed = true;
                let whose = format!("{op_id} (rsc={rsc}, meta={set_id})");
                old.tell("Resources-operation", &whose, was.attr("value").unwrap_or_default(), notices);
                set.retain_elements(|p| !is_it(p));
                if let Now::Meta(name) = old.now {
                    kept.get_or_insert_with(|| {
                        pair(was.id().unwrap_or_default(), name, was.attr("value").unwrap_or_default())
                    });
                }
            }
        }
        op.retain_elements(|s| {
            !s.name().ends_with("_attributes") || s.elements().next().is_some() || s.attr("id-ref").is_some()
        });
    }
    changed.then_some((new, kept))
}

/// Attributes of a colocation that never did anything.
fn colocations(work: &mut Work) {
    work.rewrite(&mut |e, _, notices| {
        if e.name() != "rsc_colocation" {
            return Change::Keep;
        }
        let mut new = e.clone();
        let mut changed = false;
        for old in COLOCATION {
            if let Some(value) = new.remove_attr(old.name) {
                changed = true;
                old.tell("Constraints-colocation", e.id().unwrap_or_default(), &value, notices);
            }
        }
        if changed { Change::to(new) } else { Change::Keep }
    });
}
