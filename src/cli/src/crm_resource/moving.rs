//! Moving, banning and clearing: location constraints with ids that start with `cli-`.

use crate::attributes::sign;
use crate::clock;
use crate::crm_mon::View;
use crate::source::{Failure, Source};
use base::exit::crm;
use cib::{Op, Request, Target};
use scheduler::status::{Resource, ResourceKind, Role};
use std::fmt::Write;
use xml::Element;

/// What is to be moved or kept off where.
pub struct Place<'a> {
    pub resource: &'a Resource,
    pub node: Option<&'a str>,
    pub promoted: bool,
    /// ISO 8601 duration.
    pub lifetime: Option<&'a str>,
}

impl Place<'_> {
    fn role(&self) -> &'static str {
        if self.promoted { "Promoted" } else { "Started" }
    }
}

/// `--move`.
pub fn move_to(source: &Source, view: &View<'_>, place: &Place<'_>, force: bool) -> Result<String, Failure> {
    let r = place.resource;
    let Some(node) = place.node else {
        return match active_nodes(r, place.promoted).as_slice() {
            [one] => ban_on(source, view, place, one),
            _ => Err(several(r)),
        };
    };
    if active_nodes(r, place.promoted) == [node] && !force {
        return Err(Failure::new(
            crm::OK,
            format!("Situation already as requested: {} is already active on {node}", r.name),
        ));
    }
    // An old ban there or preference elsewhere would speak against it.
    let mut text = String::new();
    for id in
        made_by_us(view, &r.name, None).iter().filter(|e| is_ban_on(e, node) || is_preference(e)).filter_map(|e| e.id())
    {
        remove(source, id)?;
    }
    let id = format!("cli-prefer-{}", r.name);
    let mut e = Element::new("rsc_location").with("id", &id).with("rsc", &r.name).with("role", place.role());
    match place.lifetime {
        None => {
            e.set("node", node);
            e.set("score", "INFINITY");
        }
        Some(lifetime) => {
            let end = clock::after(lifetime).map_err(Failure::usage)?;
            let _ = writeln!(text, "Migration will take effect until: {end}");
            e.push(timed_rule(
                [
                    format!("cli-prefer-rule-{}", r.name),
                    format!("cli-prefer-expr-{}", r.name),
                    format!("cli-prefer-lifetime-end-{}", r.name),
                ],
                "INFINITY",
                node,
                &end,
            ));
        }
    }
    add(source, e)?;
    Ok(text)
}

/// `--ban`.
pub fn ban(source: &Source, view: &View<'_>, place: &Place<'_>) -> Result<String, Failure> {
    match place.node {
        Some(node) => ban_on(source, view, place, node),
        None => match active_nodes(place.resource, place.promoted).as_slice() {
            [one] => ban_on(source, view, place, one),
            _ => Err(several(place.resource)),
        },
    }
}

fn several(r: &Resource) -> Failure {
    let count = active_nodes(r, false).len();
    let message = format!(
        "Resource '{}' not moved: active in {count} locations.\nTo prevent '{}' from running on a specific location, specify a node.",
        r.name, r.name
    );
    Failure::usage(message)
}

fn active_nodes(r: &Resource, promoted: bool) -> Vec<String> {
    if promoted && let ResourceKind::Clone { .. } = r.kind {
        let children = r.children.iter().filter(|c| c.role == Role::Promoted);
        return children.flat_map(|c| c.active_on.clone()).collect();
    }
    r.active_on.clone()
}

fn ban_on(source: &Source, view: &View<'_>, place: &Place<'_>, node: &str) -> Result<String, Failure> {
    let r = place.resource;
    let id = format!("cli-ban-{}-on-{node}", r.name);
    let mut text = String::new();
    let _ = write!(
        text,
        "WARNING: Creating rsc_location constraint '{id}' with a score of -INFINITY for resource {} on {node}.\n\
         \tThis will prevent {} from {} on {node} until the constraint is removed using the clear option or by editing the CIB with an appropriate tool.\n\
         \tThis will be the case even if {node} is the last node in the cluster\n",
        r.name,
        r.name,
        if place.promoted { "being promoted" } else { "running" }
    );
    for old in
        made_by_us(view, &r.name, None).iter().filter(|e| is_preference(e) && prefers(e, node)).filter_map(|e| e.id())
    {
        remove(source, old)?;
    }
    let mut e = Element::new("rsc_location").with("id", &id).with("rsc", &r.name).with("role", place.role());
    match place.lifetime {
        None => {
            e.set("node", node);
            e.set("score", "-INFINITY");
        }
        Some(lifetime) => {
            let end = clock::after(lifetime).map_err(Failure::usage)?;
            let _ = writeln!(text, "Migration will take effect until: {end}");
            e.push(timed_rule(
                [format!("{id}-rule"), format!("{id}-expr"), format!("{id}-lifetime")],
                "-INFINITY",
                node,
                &end,
            ));
        }
    }
    add(source, e)?;
    Ok(text)
}

fn timed_rule([rule, expression, lifetime]: [String; 3], score: &str, node: &str, end: &str) -> Element {
    let on_node = Element::new("expression").with("id", expression).with("attribute", "#uname").with("operation", "eq");
    let on_node = on_node.with("value", node).with("type", "string");
    let until = Element::new("date_expression").with("id", lifetime).with("operation", "lt").with("end", end);
    Element::new("rule")
        .with("id", rule)
        .with("score", score)
        .with("boolean-op", "and")
        .with_child(on_node)
        .with_child(until)
}

/// `--clear`.
pub fn clear(
    source: &Source,
    view: &View<'_>,
    place: &Place<'_>,
    expired: bool,
    force: bool,
) -> Result<String, Failure> {
    let mut text = String::new();
    for e in made_by_us(view, &place.resource.name, place.node.filter(|_| !force)) {
        let Some(id) = e.id().filter(|_| !expired || is_expired(e)) else { continue };
        remove(source, id)?;
        let _ = writeln!(text, "Removing constraint: {id}");
    }
    Ok(text)
}

/// Constraints of `--move` and `--ban` for a resource; with `node`, those that concern it.
fn made_by_us<'a>(view: &View<'a>, resource: &str, node: Option<&str>) -> Vec<&'a Element> {
    let constraints = view.cib.child("configuration").and_then(|c| c.child("constraints"));
    let all = constraints.into_iter().flat_map(|c| c.elements_named("rsc_location"));
    let ban = format!("cli-ban-{resource}-on-");
    let prefer = format!("cli-prefer-{resource}");
    all.filter(|e| {
        let ours = e.id().is_some_and(|id| id == prefer || id.starts_with(&ban));
        ours && node.is_none_or(|n| target(e) == Some(n))
    })
    .collect()
}

fn target(e: &Element) -> Option<&str> {
    e.attr("node").or_else(|| e.child("rule")?.elements_named("expression").find_map(|x| x.attr("value")))
}

fn is_preference(e: &Element) -> bool {
    e.id().is_some_and(|id| id.starts_with("cli-prefer-"))
}

fn prefers(e: &Element, node: &str) -> bool {
    target(e) == Some(node)
}

fn is_ban_on(e: &Element, node: &str) -> bool {
    !is_preference(e) && target(e) == Some(node)
}

/// Ends compare as text where they are in the form that `--lifetime` writes; others are left alone.
fn is_expired(e: &Element) -> bool {
    let end = e.child("rule").and_then(|r| r.child("date_expression")).and_then(|d| d.attr("end"));
    end.is_some_and(clock::is_past)
}

fn add(source: &Source, e: Element) -> Result<(), Failure> {
    // A constraint of the same id is replaced whole: it may have been of the other form.
    if let Some(id) = e.id() {
        remove(source, id)?;
    }
    source.call(sign(Request::upsert("constraints", e))).map(drop)
}

fn remove(source: &Source, id: &str) -> Result<(), Failure> {
    let criteria = Element::new("rsc_location").with("id", id);
    let request = Request::new(Op::Delete, Target::Section("constraints".to_owned()), Some(criteria));
    source.call(sign(request)).map(drop)
}
