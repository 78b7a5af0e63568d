//! The status section: node states, transient attributes and operation histories in Pacemaker's 3.0 form.
//!
//! Functions here edit the tree that [`cib::Cib::edit_status`] hands out; each says whether it changed anything. They
//! depend on nothing but their arguments, since every replica must come to the same result.

use crate::message::{OpIdentity, OpRecord};
use base::exit::OcfCode;
use base::{NodeId, Reason};
use std::collections::BTreeSet;
use xml::Element;

mod counts;
mod entry;
pub mod remote;

use counts::bump_fail_count;
pub use counts::{clear_fail_count, counted};
use entry::write_entry;

/// `crm-debug-origin` of what is written here.
const ORIGIN: &str = "bascule";
/// What a `node_state` says about membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    /// A full member since this time (seconds since the epoch).
    Member(i64),
    /// In the ring, but still cleaning up after a merge.
    Joining(i64),
    /// Gone.
    Lost,
}

pub fn node_state(status: &Element, node: NodeId) -> Option<&Element> {
    if node.is_remote() {
        return remote::state(status, node);
    }
    let id = node.to_string();
    status.child_by_id("node_state", &id)
}

fn node_state_mut(status: &mut Element, node: NodeId) -> &mut Element {
    let id = state_id(status, node);
    status.child_by_id_or_insert("node_state", &id)
}

/// What the status section calls a node: its number, or the name of one that is not in the ring.
fn state_id(status: &Element, node: NodeId) -> String {
    let name = || node_state(status, node).and_then(|e| e.id()).map(str::to_owned);
    node.is_remote().then(name).flatten().unwrap_or_else(|| node.to_string())
}

/// All nodes of which the status section knows, remote ones too.
pub fn all_nodes(status: &Element) -> Vec<NodeId> {
    known_nodes(status).into_iter().chain(remote::known(status)).collect()
}

/// Ids of all cluster nodes that the status section knows.
pub fn known_nodes(status: &Element) -> Vec<NodeId> {
    let ids = status.elements_named("node_state").filter_map(|e| e.id()?.parse().ok());
    ids.map(NodeId).collect()
}

pub fn is_online(status: &Element, node: NodeId) -> bool {
    node_state(status, node).and_then(|e| e.attr("crmd")).is_some_and(|v| v != "0")
}

/// Writes a node's membership; `name` is kept if empty.
pub fn set_membership(status: &mut Element, node: NodeId, name: &str, membership: Membership) -> bool {
    let state = node_state_mut(status, node);
    let before: Vec<(String, String)> = attrs_of(state);
    if !name.is_empty() {
        state.set("uname", name);
    }
    match membership {
        Membership::Member(at) | Membership::Joining(at) => {
            for attr in ["in_ccm", "crmd"] {
                if state.attr(attr).is_none_or(|v| v == "0") {
                    state.set(attr, at.to_string());
                }
            }
            state.set("join", if matches!(membership, Membership::Member(_)) { "member" } else { "pending" });
            state.set("expected", "member");
        }
        Membership::Lost => {
            state.set("in_ccm", "0");
            state.set("crmd", "0");
            state.set("join", "down");
            // Attributes die with their node; its history stays until it is back or fenced.
            state.retain_elements(|e| e.name() != "transient_attributes");
        }
    }
    state.set("crm-debug-origin", ORIGIN);
    attrs_of(state) != before
}

fn attrs_of(e: &Element) -> Vec<(String, String)> {
    e.attrs().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

pub fn set_name(status: &mut Element, node: NodeId, name: &str) -> bool {
    node_state_mut(status, node).set("uname", name);
    true
}

/// Says that a node will leave on purpose.
pub fn expect_down(status: &mut Element, node: NodeId) -> bool {
    node_state_mut(status, node).set("expected", "down");
    true
}

/// After fencing: the node is surely down, and what it ran is gone.
pub fn fenced(status: &mut Element, node: NodeId) -> bool {
    let state = node_state_mut(status, node);
    if node.is_remote() {
        remote::set_fenced(state);
    } else {
        for (name, value) in [("in_ccm", "0"), ("crmd", "0"), ("join", "down"), ("expected", "down")] {
            state.set(name, value);
        }
    }
    state.retain_elements(|e| e.name() != "transient_attributes" && e.name() != "lrm");
    true
}

/// Replaces history and attributes of `node` by those of `own` (nothing, if there is none).
pub fn replace_own(status: &mut Element, node: NodeId, own: Option<&Element>) -> bool {
    let state = node_state_mut(status, node);
    state.retain_elements(|e| e.name() != "transient_attributes" && e.name() != "lrm");
    for part in own.iter().flat_map(|e| e.elements()).filter(|e| matches!(e.name(), "transient_attributes" | "lrm")) {
        state.push(part.clone());
    }
    true
}

// ---- attributes ----

/// The transient attribute's value.
pub fn attribute<'a>(status: &'a Element, node: NodeId, name: &str) -> Option<&'a str> {
    let set = node_state(status, node)?.child("transient_attributes")?.child("instance_attributes")?;
    set.elements_named("nvpair").find(|e| e.attr("name") == Some(name))?.attr("value")
}

/// Most transient attributes that clients may give a node; the cluster's own fail counts come on top.
pub const MAX_ATTRIBUTES: usize = 4000;

/// Whether `name` would be one attribute too many.
pub fn attributes_full(status: &Element, node: NodeId, name: &str) -> bool {
    let set = node_state(status, node).and_then(|s| s.child("transient_attributes")?.child("instance_attributes"));
    let Some(set) = set else { return false };
    let theirs =
        |e: &&Element| e.attr("name").is_some_and(|n| !n.starts_with("fail-count-") && !n.starts_with("last-failure-"));
    attribute(status, node, name).is_none() && set.elements().filter(theirs).count() >= MAX_ATTRIBUTES
}

/// Sets or removes a transient attribute. `value++` and `value+=N` count up, saturating at INFINITY.
pub fn set_attribute(status: &mut Element, node: NodeId, name: &str, value: Option<&str>) -> bool {
    let old = attribute(status, node, name).map(str::to_owned);
    let value = value.map(|v| expand(v, old.as_deref()));
    if value == old {
        return false;
    }
    let id = state_id(status, node);
    let state = node_state_mut(status, node);
    let Some(value) = value else {
        let set = state.child_mut("transient_attributes").and_then(|t| t.child_mut("instance_attributes"));
        if let Some(set) = set {
            set.retain_elements(|e| e.attr("name") != Some(name));
        }
        return true;
    };
    let attributes = state.child_or_insert("transient_attributes");
    attributes.set("id", &id);
    let set = attributes.child_or_insert("instance_attributes");
    let set_id = format!("status-{id}");
    set.set("id", &set_id);
    if let Some(pair) = set.find_mut(|e| e.attr("name") == Some(name)) {
        pair.set("value", value);
        return true;
    }
    let pair_id =
        format!("{set_id}-{}", name.replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "."));
    set.push(Element::new("nvpair").with("id", pair_id).with("name", name).with("value", value));
    true
}

fn expand(value: &str, old: Option<&str>) -> String {
    let step = match value.strip_prefix("value") {
        Some("++") => 1,
        Some(rest) => match rest.strip_prefix("+=").map(str::parse::<i64>) {
            Some(Ok(step)) => step,
            _ => return value.to_owned(),
        },
        None => return value.to_owned(),
    };
    let old = old.and_then(base::Score::parse).map_or(0, |s| i64::from(s.value()));
    base::Score::new(old.saturating_add(step)).to_string()
}

/// Removes attributes of `node` for which `matches` holds; tells their names.
fn remove_attributes(status: &mut Element, node: NodeId, matches: impl Fn(&str) -> bool) -> Vec<String> {
    let set =
        node_state_mut(status, node).child_mut("transient_attributes").and_then(|t| t.child_mut("instance_attributes"));
    let Some(set) = set else { return Vec::new() };
    let gone = set.elements().filter_map(|e| e.attr("name")).filter(|n| matches(n)).map(str::to_owned).collect();
    set.retain_elements(|e| !e.attr("name").is_some_and(&matches));
    gone
}

// ---- histories ----

fn resource_mut<'a>(status: &'a mut Element, op: &OpIdentity) -> &'a mut Element {
    if op.node.is_remote() {
        remote::introduce(status, &op.node_name);
    }
    let id = state_id(status, op.node);
    let lrm = node_state_mut(status, op.node).child_or_insert("lrm");
    lrm.set("id", &id);
    let list = lrm.child_or_insert("lrm_resources");
    let resource = list.child_by_id_or_insert("lrm_resource", &op.resource);
    if resource.attr("type").is_none() {
        resource.set("class", &op.class);
        if let Some(provider) = &op.provider {
            resource.set("provider", provider);
        }
        resource.set("type", &op.agent);
    }
    resource
}

/// Operations whose results say nothing about a resource's state.
pub fn is_recorded(operation: &str) -> bool {
    !matches!(operation, "cancel" | "delete" | "notify")
}

/// Notes that an operation was given to its node. Operations that end recurring ones remove their entries.
pub fn record_pending(status: &mut Element, op: &OpIdentity) -> bool {
    if !is_recorded(&op.operation) {
        return false;
    }
    let resource = resource_mut(status, op);
    remove_ended(resource, op);
    let record = OpRecord {
        identity: op.clone(),
        call: -1,
        code: OcfCode::PENDING.0,
        status: crate::api::OpStatus::Pending,
        reason: Reason::default(),
        exec_ms: 0,
        queue_ms: 0,
        changed_s: 0,
    };
    write_entry(resource, &entry_id(&record), &record);
    true
}

fn remove_ended(resource: &mut Element, op: &OpIdentity) {
    if ends_recurring(&op.operation) {
        resource.retain_elements(|e| e.attr("interval").is_none_or(|v| v == "0") || is_failure_entry(e));
    }
}

/// Operations before which the node cancels the resource's recurring ones.
pub fn ends_recurring(operation: &str) -> bool {
    matches!(operation, "stop" | "demote" | "promote" | "migrate_from" | "migrate_to" | "delete")
}

fn is_failure_entry(e: &Element) -> bool {
    e.id().is_some_and(|id| id.ends_with("_last_failure_0"))
}

/// A probe that found something running where nothing was expected: noted as a failure, but nothing has failed.
fn is_finding(e: &Element) -> bool {
    let is = |name: &str, value: &str| e.attr(name) == Some(value);
    let probe = is("operation", "monitor") && is("interval", "0") && is("op-status", "0");
    probe && matches!(e.attr("rc-code"), Some("0" | "7" | "8" | "190" | "191"))
}

fn entry_id(record: &OpRecord) -> String {
    let op = &record.identity;
    if op.interval_ms > 0 { op.key.clone() } else { format!("{}_last_0", op.resource) }
}

/// Writes a result into its node's history, and a failure into the node's fail count. `now_s` dates the failure.
pub fn record(status: &mut Element, record: &OpRecord, now_s: i64) -> bool {
    let placed;
    let record = match in_order(status, record) {
        Some(numbered) => {
            placed = numbered;
            &placed
        }
        None => record,
    };
    let op = &record.identity;
    match op.operation.as_str() {
        "delete" if !record.failed() => return delete_resource(status, op.node, &op.resource),
        "cancel" => return delete_entry(status, op.node, &op.resource, &op.key),
        operation if !is_recorded(operation) => return false,
        _ => {}
    }
    let resource = resource_mut(status, op);
    if matches!(op.operation.as_str(), "start" | "migrate_from") {
        name_agent(resource, op);
    }
    // A node that stops of its own accord (before it joins after a merge) was not asked, so nothing was noted before.
    remove_ended(resource, op);
    if record.failed() {
        write_entry(resource, &format!("{}_last_failure_0", op.resource), record);
        if op.interval_ms == 0 {
            write_entry(resource, &entry_id(record), record);
        } else {
            // A pending first round has become a failure: it runs on, and is not asked for anew.
            if resource.elements().any(|e| e.id() == Some(&op.key) && e.attr("rc-code") == Some("193")) {
                write_entry(resource, &op.key, record);
            }
        }
        bump_fail_count(status, record, now_s);
    } else {
        write_entry(resource, &entry_id(record), record);
    }
    true
}

/// A result in the form and with the number that the history wants, if those are others than its own. What a node did not report itself
/// comes after all that it has reported; a reload is a start with other parameters.
fn in_order(status: &Element, record: &OpRecord) -> Option<OpRecord> {
    let op = &record.identity;
    let reloads = matches!(op.operation.as_str(), "reload" | "reload-agent");
    if record.call >= 0 && !reloads {
        return None;
    }
    let mut placed = record.clone();
    if record.call < 0 {
        let list = node_state(status, op.node).and_then(|s| s.child("lrm")?.child("lrm_resources"));
        let resource = list.and_then(|l| l.child_by_id("lrm_resource", &op.resource));
        let calls =
            resource.into_iter().flat_map(|r| r.elements()).filter_map(|e| e.attr("call-id")?.parse::<i64>().ok());
        placed.call = calls.max().unwrap_or(0).max(0).saturating_add(1);
    }
    if reloads {
        let done = record.status == crate::api::OpStatus::Done;
        placed.identity.operation = if done { "start" } else { "monitor" }.to_owned();
        placed.identity.key = format!("{}_{}_0", op.resource, placed.identity.operation);
    }
    Some(placed)
}

fn name_agent(resource: &mut Element, op: &OpIdentity) {
    resource.set("class", &op.class);
    match &op.provider {
        Some(provider) => resource.set("provider", provider),
        None => drop(resource.remove_attr("provider")),
    }
    resource.set("type", &op.agent);
}

fn history_mut(status: &mut Element, node: NodeId) -> Option<&mut Element> {
    let id = state_id(status, node);
    let state = status.child_by_id_mut("node_state", &id)?;
    state.child_mut("lrm")?.child_mut("lrm_resources")
}

/// Removes one entry of a resource's history.
pub fn delete_entry(status: &mut Element, node: NodeId, resource: &str, key: &str) -> bool {
    let Some(list) = history_mut(status, node) else { return false };
    let Some(resource) = list.child_by_id_mut("lrm_resource", resource) else { return false };
    resource.retain_elements(|e| e.id() != Some(key));
    true
}

/// Forgets the results of one operation of a resource.
pub fn delete_operation(status: &mut Element, node: NodeId, resource: &str, operation: &str, interval_ms: u64) -> bool {
    let Some(list) = history_mut(status, node) else { return false };
    let Some(resource) = list.child_by_id_mut("lrm_resource", resource) else { return false };
    let interval = interval_ms.to_string();
    resource.retain_elements(|e| e.attr("operation") != Some(operation) || e.attr("interval") != Some(&interval));
    true
}

/// Forgets a resource's history on one node.
pub fn delete_resource(status: &mut Element, node: NodeId, resource: &str) -> bool {
    let Some(list) = history_mut(status, node) else { return false };
    list.remove_by_id("lrm_resource", resource);
    true
}

/// Resources of which `node` has a history, and whether that shows a failure or a fail count.
pub fn resources_of(status: &Element, node: NodeId) -> Vec<(String, bool)> {
    let Some(state) = node_state(status, node) else { return Vec::new() };
    let list = state.child("lrm").and_then(|l| l.child("lrm_resources"));
    let has_count = |id: &str| {
        let set = state.child("transient_attributes").and_then(|t| t.child("instance_attributes"));
        let prefix = format!("fail-count-{id}#");
        set.is_some_and(|s| s.elements().any(|e| e.attr("name").is_some_and(|n| n.starts_with(&prefix))))
    };
    let row = |e: &Element| {
        let id = e.id()?.to_owned();
        let failed = e.elements().any(|e| is_failure_entry(e) && !is_finding(e)) || has_count(&id);
        Some((id, failed))
    };
    list.iter().flat_map(|l| l.elements()).filter_map(row).collect()
}

/// Whether `node` has a history of an instance, with its number or without.
pub fn has_history(status: &Element, node: NodeId, id: &str) -> bool {
    let list = node_state(status, node).and_then(|s| s.child("lrm")?.child("lrm_resources"));
    let has = |id: &str| list.is_some_and(|l| l.child_by_id("lrm_resource", id).is_some());
    has(id) || id.split_once(':').is_some_and(|(plain, _)| has(plain))
}

/// Primitives that `node` runs according to its history, pending starts included.
pub fn active(state: &Element) -> BTreeSet<String> {
    let list = state.child("lrm").and_then(|l| l.child("lrm_resources"));
    let running = list.iter().flat_map(|l| l.elements()).filter(|r| is_active(r));
    running.filter_map(|r| r.id().map(str::to_owned)).collect()
}

fn is_active(resource: &Element) -> bool {
    let number = |e: &Element, name: &str| e.attr(name).and_then(|v| v.parse::<i64>().ok());
    // A pending operation is the newest of all.
    let order = |e: &&Element| match number(e, "call-id") {
        Some(-1) | None => i64::MAX,
        Some(call) => call,
    };
    let mut entries: Vec<&Element> = resource.elements().collect();
    entries.sort_by_key(order);
    let mut active = false;
    for e in entries {
        let (code, status) = (number(e, "rc-code").unwrap_or(1), number(e, "op-status").unwrap_or(0));
        active = match (e.attr("operation").unwrap_or_default(), code, status) {
            ("start" | "promote" | "demote" | "migrate_from" | "reload" | "reload-agent", 0 | 8 | 193, _) => true,
            ("start" | "migrate_from", _, _) => true,
            ("stop", 0, _) | ("migrate_to", 0, 0) => false,
            ("stop", _, _) => true,
            ("monitor", 0 | 8 | 9 | 190 | 191, 0) => true,
            // A recurring one that finds nothing is a failure of something that has still to be stopped.
            ("monitor", 7, _) if e.attr("interval") == Some("0") => false,
            _ => active,
        };
    }
    active
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OpStatus;
    use crate::message::Bump;

    const NODE: NodeId = NodeId(1);

    fn identity(operation: &str, interval_ms: u64, target_rc: i32) -> OpIdentity {
        OpIdentity {
            node: NODE,
            node_name: "a".into(),
            resource: "vip".into(),
            class: "ocf".into(),
            provider: Some("heartbeat".into()),
            agent: "IPaddr2".into(),
            operation: operation.into(),
            interval_ms,
            key: format!("vip_{operation}_{interval_ms}"),
            transition_key: format!("1:2:{target_rc}:u"),
            target_rc,
            digest: "d".into(),
            ignore_failure: false,
            bump: if interval_ms > 0 { Bump::One } else { Bump::Infinity },
            extra: vec![],
        }
    }

    fn result(call: i64, operation: &str, interval_ms: u64, target_rc: i32, code: i32) -> OpRecord {
        let identity = identity(operation, interval_ms, target_rc);
        let reason = Reason::default();
        OpRecord { identity, call, code, status: OpStatus::Done, reason, exec_ms: 3, queue_ms: 0, changed_s: 100 }
    }

    fn is_running(status: &Element) -> bool {
        node_state(status, NODE).map(active).unwrap_or_default().contains("vip")
    }

    fn entries(status: &Element) -> Vec<String> {
        let ops = status.descendants().filter(|e| e.name() == "lrm_rsc_op");
        ops.map(|e| format!("{} {}", e.id().unwrap(), e.attr("rc-code").unwrap())).collect()
    }

    #[test]
    fn a_life_of_a_resource() {
        let mut s = Element::new("status");
        record(&mut s, &result(1, "monitor", 0, 7, 7), 5);
        assert_eq!((entries(&s), is_running(&s)), (vec!["vip_last_0 7".to_owned()], false));
        record_pending(&mut s, &identity("start", 0, 0));
        assert_eq!((entries(&s), is_running(&s)), (vec!["vip_last_0 193".to_owned()], true));
        record(&mut s, &result(2, "start", 0, 0, 0), 5);
        record_pending(&mut s, &identity("monitor", 10, 0));
        record(&mut s, &result(3, "monitor", 10, 0, 0), 5);
        assert_eq!(
            (entries(&s), is_running(&s)),
            (vec!["vip_last_0 0".to_owned(), "vip_monitor_10 0".to_owned()], true)
        );
        let magic = s.find_id("vip_monitor_10").unwrap().attr("transition-magic");
        assert_eq!(magic, Some("0:0;1:2:0:u"));
        // A failed round keeps the entry of the last good one, and counts.
        record(&mut s, &result(3, "monitor", 10, 0, 7), 6);
        record(&mut s, &result(3, "monitor", 10, 0, 1), 7);
        assert_eq!(entries(&s), ["vip_last_0 0", "vip_monitor_10 0", "vip_last_failure_0 1"]);
        assert_eq!(attribute(&s, NODE, "fail-count-vip#monitor_10"), Some("2"));
        assert_eq!(attribute(&s, NODE, "last-failure-vip#monitor_10"), Some("7"));
        assert!(is_running(&s), "it has still to be stopped");
        record_pending(&mut s, &identity("stop", 0, 0));
        assert_eq!(entries(&s), ["vip_last_0 193", "vip_last_failure_0 1"], "its recurring operation ends with it");
        record(&mut s, &result(4, "stop", 0, 0, 0), 8);
        assert!(!is_running(&s));
        assert_eq!(clear_fail_count(&mut s, NODE, "vip", Some(("monitor", 10))).len(), 2);
        assert_eq!(attribute(&s, NODE, "fail-count-vip#monitor_10"), None);
        assert!(delete_operation(&mut s, NODE, "vip", "monitor", 10));
        assert_eq!(entries(&s), ["vip_last_0 0"]);
        assert!(record(&mut s, &result(5, "delete", 0, 0, 0), 9));
        assert_eq!(entries(&s), Vec::<String>::new());
    }

    #[test]
    fn a_stop_that_nobody_ordered_ends_what_was_under_way() {
        let mut s = Element::new("status");
        record(&mut s, &result(1, "start", 0, 0, 0), 5);
        record_pending(&mut s, &identity("monitor", 10, 0));
        record(&mut s, &result(2, "stop", 0, 0, 0), 6);
        assert_eq!((entries(&s), is_running(&s)), (vec!["vip_last_0 0".to_owned()], false));
    }

    #[test]
    fn a_probe_that_finds_something_is_no_failure_of_it() {
        let mut s = Element::new("status");
        record(&mut s, &result(1, "monitor", 0, 7, 0), 5);
        assert_eq!(entries(&s), ["vip_last_failure_0 0", "vip_last_0 0"]);
        assert!(is_running(&s));
        record(&mut s, &result(2, "stop", 0, 0, 1), 5);
        assert!(is_running(&s), "a failed stop leaves it where it was");
        assert_eq!(attribute(&s, NODE, "fail-count-vip#stop_0"), Some("INFINITY"));
    }

    #[test]
    fn attributes_have_a_bound_that_fail_counts_do_not_fill() {
        let mut s = Element::new("status");
        for n in 0..MAX_ATTRIBUTES {
            assert!(!attributes_full(&s, NODE, "one-more"));
            set_attribute(&mut s, NODE, &format!("fail-count-{n}"), Some("1"));
            set_attribute(&mut s, NODE, &format!("a{n}"), Some("1"));
        }
        assert!(attributes_full(&s, NODE, "one-more") && !attributes_full(&s, NODE, "a7"));
        set_attribute(&mut s, NODE, "a7", None);
        assert!(!attributes_full(&s, NODE, "one-more"));
    }

    #[test]
    fn attributes_count_up_and_die_with_their_node() {
        let mut s = Element::new("status");
        assert!(set_attribute(&mut s, NODE, "ping d", Some("value+=5")));
        assert!(set_attribute(&mut s, NODE, "ping d", Some("value++")));
        assert_eq!(attribute(&s, NODE, "ping d"), Some("6"));
        assert!(s.find_id("status-1-ping.d").is_some());
        assert!(!set_attribute(&mut s, NODE, "ping d", Some("6")), "no change is none");
        set_attribute(&mut s, NODE, "big", Some("INFINITY"));
        set_attribute(&mut s, NODE, "big", Some("value++"));
        assert_eq!(attribute(&s, NODE, "big"), Some("INFINITY"));
        set_membership(&mut s, NODE, "a", Membership::Member(7));
        assert!(is_online(&s, NODE));
        set_membership(&mut s, NODE, "", Membership::Lost);
        let state = node_state(&s, NODE).unwrap();
        assert_eq!(
            (state.attr("uname"), state.attr("crmd"), state.attr("expected")),
            (Some("a"), Some("0"), Some("member"))
        );
        assert_eq!(attribute(&s, NODE, "ping d"), None);
    }
}
