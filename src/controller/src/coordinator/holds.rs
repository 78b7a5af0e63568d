//! What an action has to wait for beside the inputs of its graph.
//!
//! A graph is computed while operations of earlier ones are under way. To the scheduler a start that is pending has happened, so what
//! comes after it by an order has no edge to it: the orders of the configuration are looked up here for what was under way when the
//! graph came. What the graph itself begins has its edges.

use super::{Coordinator, flights, node_of};
use crate::replica::Replica;
use crate::status;
use base::{NodeId, Time};
use scheduler::graph::{Action, ActionKind, ResourceAction};
use std::cell::RefCell;
use std::collections::BTreeSet;
use xml::Element;

/// An operation under way, and the primitives that may not do the like before it is over.
pub(super) struct Awaited {
    flight: (NodeId, String),
    begins: bool,
    others: BTreeSet<String>,
}

/// Of everything that begins or ends something at this moment.
pub(super) fn awaited(replica: &Replica) -> Vec<Awaited> {
    let Some(configuration) = replica.cib.section("configuration") else { return Vec::new() };
    let mut all = Vec::new();
    for (key, flight) in &replica.in_flight {
        let begins = match flight.identity.operation.as_str() {
            "start" | "promote" => true,
            "stop" | "demote" => false,
            _ => continue,
        };
        let others = others(configuration, base_id(&flight.identity.resource), begins);
        if !others.is_empty() {
            all.push(Awaited { flight: key.clone(), begins, others });
        }
    }
    all
}

/// The primitive of an instance of a clone.
fn base_id(resource: &str) -> &str {
    resource.split_once(':').map_or(resource, |(id, _)| id)
}

/// Primitives that come after this one where things begin, and before it where they end.
fn others(configuration: &Element, primitive: &str, begins: bool) -> BTreeSet<String> {
    let Some(resources) = configuration.child("resources") else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    let mut add = |chain: &[BTreeSet<String>]| {
        let Some(at) = chain.iter().position(|step| step.contains(primitive)) else { return };
        let others = if begins { &chain[at + 1..] } else { &chain[..at] };
        found.extend(others.iter().flatten().cloned());
    };
    for group in resources.descendants().filter(|e| e.name() == "group") {
        let members = group.elements_named("primitive").filter_map(|p| p.id());
        add(&members.map(|id| BTreeSet::from([id.to_owned()])).collect::<Vec<_>>());
    }
    let orders = configuration.child("constraints").into_iter().flat_map(|c| c.elements_named("rsc_order"));
    for order in orders {
        if let (Some(first), Some(then)) = (order.attr("first"), order.attr("then")) {
            add(&[primitives_of(resources, first), primitives_of(resources, then)]);
        }
        let steps = order.elements_named("resource_set").flat_map(|set| {
            let refs = set.elements_named("resource_ref").filter_map(|r| r.id());
            let members: Vec<BTreeSet<String>> = refs.map(|id| primitives_of(resources, id)).collect();
            match set.attr("sequential") {
                Some("false" | "no" | "off" | "0") => vec![members.into_iter().flatten().collect()],
                _ => members,
            }
        });
        add(&steps.collect::<Vec<_>>());
    }
    found.remove(primitive);
    found
}

/// Of a primitive, group, clone or bundle.
fn primitives_of(resources: &Element, id: &str) -> BTreeSet<String> {
    let Some(named) = resources.descendants().find(|e| e.id() == Some(id)) else { return BTreeSet::new() };
    let inner = named.descendants().filter(|e| e.name() == "primitive");
    inner.filter_map(|p| p.id().map(str::to_owned)).collect()
}

impl Coordinator {
    /// Whether an action has to wait for something that its graph does not know of.
    pub(super) fn is_held(
        &self,
        now: Time,
        action: &Action,
        replica: &Replica,
        waiting: &RefCell<BTreeSet<(NodeId, String)>>,
    ) -> bool {
        if action.operation() == "stonith" {
            return action.target().and_then(|t| node_of(t, replica)).is_some_and(|node| self.wants.is_held(now, node));
        }
        let ActionKind::Resource(op) = &action.kind else { return false };
        let resource = op.primitive.id.as_str();
        let Some(node) = action.target().and_then(|t| node_of(t, replica)) else { return false };
        if flights(replica, node).any(|f| f.identity.resource == resource && f.identity.interval_ms == 0) {
            return true;
        }
        let begins = matches!(op.operation.as_str(), "start" | "promote");
        if begins && is_kept_by_one_who_joins(op, node, replica) || self.is_awaiting(op, replica) {
            return true;
        }
        if op.operation != "start" {
            return false;
        }
        let repeats = self.backoff.until(now, node, resource).is_some();
        if repeats {
            waiting.borrow_mut().insert((node, resource.to_owned()));
        }
        repeats || self.holds.contains_key(resource)
    }

    /// An operation that comes before it by an order of the configuration is under way.
    fn is_awaiting(&self, op: &ResourceAction, replica: &Replica) -> bool {
        let begins = match op.operation.as_str() {
            "start" | "promote" => true,
            "stop" | "demote" => false,
            _ => return false,
        };
        let waits = |a: &Awaited| {
            a.begins == begins
                && a.others.contains(op.primitive.id.as_str())
                && replica.in_flight.contains_key(&a.flight)
        };
        self.awaited.iter().any(waits)
    }
}

/// A member that still cleans up after a merge runs nothing, as far as the scheduler is concerned: what it has stays its own until
/// it has joined and is planned with. Of a clone others may have instances, but may not promote one meanwhile.
fn is_kept_by_one_who_joins(op: &ResourceAction, node: NodeId, replica: &Replica) -> bool {
    if op.operation == "start" && op.primitive.long_id.is_some() {
        return false;
    }
    let resource = op.primitive.id.as_str();
    let has = |joins: &NodeId| {
        let state = replica.status().and_then(|s| status::node_state(s, *joins));
        state.is_some_and(|s| status::active(s).contains(resource))
    };
    replica.joining.iter().filter(|n| **n != node).any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_by_a_group_an_order_or_a_set_waits_and_nothing_else() {
        let primitive = |id: &str| format!("<primitive id=\"{id}\"/>");
        let text = format!(
            "<configuration><resources><group id=\"g\">{}{}</group><clone id=\"c\">{}</clone>{}{}{}</resources><constraints>\
             <rsc_order id=\"o1\" first=\"g\" then=\"p\"/><rsc_order id=\"o2\" first=\"c\" then=\"g\"/>\
             <rsc_order id=\"o3\"><resource_set id=\"s1\" sequential=\"false\"><resource_ref id=\"p\"/><resource_ref id=\"q\"/>\
             </resource_set><resource_set id=\"s2\"><resource_ref id=\"r\"/></resource_set></rsc_order></constraints></configuration>",
            primitive("vip"),
            primitive("lvs"),
            primitive("x"),
            primitive("p"),
            primitive("q"),
            primitive("r"),
        );
        let configuration = xml::parse(&text).unwrap();
        let of =
            |id: &str, begins| others(&configuration, base_id(id), begins).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(of("vip", true), "lvs p", "its group, and what comes after the group");
        assert_eq!(of("lvs", true), "p");
        assert_eq!(of("x:1", true), "lvs vip", "an instance of a clone");
        assert_eq!(of("p", true), "r", "not its neighbour in a set without order");
        assert_eq!((of("lvs", false), of("p", false)), ("vip x".to_owned(), "lvs vip".to_owned()), "ends go backwards");
        assert_eq!(of("r", true), "");
    }
}
