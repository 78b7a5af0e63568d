//! Moving, banning and clearing: location constraints with ids that start with `cli-`.
//!
//! Each is one transaction on the configuration that was read: old constraints go and new ones come at the same moment, so that
//! nothing is started or stopped in between.

use super::foresight::foresee;
use crate::attributes::{counted, sign};
use crate::clock;
use crate::crm_mon::View;
use crate::source::{Failure, Source};
use base::exit::crm;
use cib::{Expected, Op, Request, Target, Version};
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

/// Changes of the constraints and what is said of them.
#[derive(Default)]
pub struct Plan {
    pub steps: Vec<Request>,
    /// As how many changes of the configuration they count.
    pub changes: u64,
    pub text: String,
}

/// `--move`.
pub fn move_to(source: &Source, view: &View<'_>, place: &Place<'_>, force: bool) -> Result<String, Failure> {
    let mut plan = plan_move(view, place, force)?;
    if let Some(warning) = stays_put(view, place, &plan) {
        plan.text.push_str(&warning);
    }
    commit(source, view, plan)
}

/// A word of warning if the resource would not be where it shall go, the constraint notwithstanding.
fn stays_put(view: &View<'_>, place: &Place<'_>, plan: &Plan) -> Option<String> {
    let (r, node) = (place.resource, place.node?);
    if r.active_on.is_empty() {
        return None;
    }
    let at = foresee(view.cib, &plan.steps, r)?.active_on;
    let then = match at.as_slice() {
        [one] if one == node => return None,
        [] => "it would be stopped".to_owned(),
        nodes => format!("it would be on {}", nodes.join(", ")),
    };
    Some(format!(
        "WARNING: {} will not move to {node} as things are: {then}.\n\tThe constraint is made all the same. \
         `bascule explain {}` says why; `crm_resource -r {} --clear` takes it back\n",
        r.name, r.name, r.name
    ))
}

/// What `--move` changes.
pub fn plan_move(view: &View<'_>, place: &Place<'_>, force: bool) -> Result<Plan, Failure> {
    let r = place.resource;
    let Some(node) = place.node else {
        return match active_nodes(r, place.promoted).as_slice() {
            [one] => plan_ban(place, one),
            _ => Err(several(r)),
        };
    };
    // There is nothing to move, and nothing to keep it there was asked for.
    if active_nodes(r, place.promoted) == [node] && !force {
        return Err(Failure::new(crm::EXISTS, "Error performing operation: Requested item already exists"));
    }
    // An old ban there or preference elsewhere would speak against it.
    let (mut text, mut steps) = (String::new(), Vec::new());
    let old = made_by_us(view, &r.name, None).into_iter().filter(|e| is_ban_on(e, node) || is_preference(e));
    steps.extend(old.filter_map(Element::id).map(removal));
    let changes = 1 + u64::from(!steps.is_empty());
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
    steps.extend(addition(e));
    Ok(Plan { steps, changes, text })
}

/// `--ban`.
pub fn ban(source: &Source, view: &View<'_>, place: &Place<'_>) -> Result<String, Failure> {
    match place.node {
        Some(node) => commit(source, view, plan_ban(place, node)?),
        None => match active_nodes(place.resource, place.promoted).as_slice() {
            [one] => commit(source, view, plan_ban(place, one)?),
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

fn plan_ban(place: &Place<'_>, node: &str) -> Result<Plan, Failure> {
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
    Ok(Plan { steps: addition(e).collect(), changes: 1, text })
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
    let mut plan = Plan::default();
    for e in made_by_us(view, &place.resource.name, place.node.filter(|_| !force)) {
        let Some(id) = e.id().filter(|_| !expired || is_expired(e)) else { continue };
        plan.steps.push(removal(id));
        let _ = writeln!(plan.text, "Removing constraint: {id}");
    }
    commit(source, view, plan)
}

/// `pcs resource move` takes its constraint back when the resource has arrived: refuses if the resource would not arrive, or
/// would go away again then.
pub fn lasts(view: &View<'_>, place: &Place<'_>) -> Result<(), Failure> {
    let r = place.resource;
    let plan = plan_move(view, place, false)?;
    let Some(moved) = foresee(view.cib, &plan.steps, r) else { return Ok(()) };
    let refuse = |text: String| Err(Failure::new(crm::ERROR, text));
    let arrived = match place.node {
        Some(node) => moved.active_on == [node],
        None => !moved.active_on.is_empty() && moved.active_on != r.active_on,
    };
    if !arrived {
        return refuse(format!(
            "Unable to move resource '{0}': it would be {1} with the constraint; nothing was done ('bascule explain {0}' says why)",
            r.name,
            whereabouts(&moved.active_on)
        ));
    }
    let mut taken_back: Vec<Request> = plan
        .steps
        .iter()
        .filter(|s| s.op != Op::Delete)
        .filter_map(|s| s.payload.as_ref()?.id())
        .map(removal)
        .collect();
    let old = made_by_us(view, &r.name, None).into_iter().filter_map(Element::id).map(removal);
    taken_back.extend(old);
    match foresee(&moved.cib, &taken_back, r) {
        Some(left) if left.active_on != moved.active_on => refuse(format!(
            "Unable to ensure that moved resource '{0}' will stay on the same node after a constraint used for moving it is \
             removed: it would be {1} then; nothing was done. Use 'pcs resource move-with-constraint {0}{2}' to keep the \
             constraint, or give it a resource-stickiness first",
            r.name,
            whereabouts(&left.active_on),
            place.node.map(|n| format!(" {n}")).unwrap_or_default()
        )),
        _ => Ok(()),
    }
}

fn whereabouts(nodes: &[String]) -> String {
    if nodes.is_empty() { "stopped".to_owned() } else { format!("on {}", nodes.join(", ")) }
}

/// All of it at once, on the configuration that it was thought out for.
fn commit(source: &Source, view: &View<'_>, plan: Plan) -> Result<String, Failure> {
    if !plan.steps.is_empty() {
        let now = Version::of(view.cib)?;
        let mut request = sign(counted(plan.steps, plan.changes, now));
        request.expected = Some(Expected::configuration(now));
        source.call(request)?;
    }
    Ok(plan.text)
}

/// `--clear --expired` without a resource.
pub fn clear_expired(source: &Source, view: &View<'_>, node: Option<&str>) -> Result<String, Failure> {
    let constraints = view.cib.child("configuration").and_then(|c| c.child("constraints"));
    let all = constraints.into_iter().flat_map(|c| c.elements_named("rsc_location"));
    let ours = |e: &&Element| e.id().is_some_and(|id| id.starts_with("cli-ban-") || id.starts_with("cli-prefer-"));
    let mut plan = Plan::default();
    for e in all.filter(ours).filter(|e| node.is_none_or(|n| target(e) == Some(n)) && is_expired(e)) {
        let id = e.id().unwrap_or_default();
        plan.steps.push(removal(id));
        let _ = writeln!(plan.text, "Removing constraint: {id}");
    }
    commit(source, view, plan)
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

fn is_ban_on(e: &Element, node: &str) -> bool {
    !is_preference(e) && target(e) == Some(node)
}

/// Ends compare as text where they are in the form that `--lifetime` writes; others are left alone.
fn is_expired(e: &Element) -> bool {
    let end = e.child("rule").and_then(|r| r.child("date_expression")).and_then(|d| d.attr("end"));
    end.is_some_and(clock::is_past)
}

/// A constraint of the same id is replaced whole: it may have been of the other form.
fn addition(e: Element) -> impl Iterator<Item = Request> {
    let old = e.id().map(removal);
    old.into_iter().chain([Request::upsert("constraints", e)])
}

/// What is not there any more need not be removed.
fn removal(id: &str) -> Request {
    let criteria = Element::new("rsc_location").with("id", id);
    Request::new(Op::Delete, Target::Section("constraints".to_owned()), Some(criteria))
}

#[cfg(test)]
mod tests;
