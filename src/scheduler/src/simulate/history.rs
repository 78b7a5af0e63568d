//! Results of simulated operations, written into the status section of a CIB.

use super::outline::Outline;
use crate::digest::{digest_params, filter_params};
use crate::graph::ResourceAction;
use base::Text;
use base::text::parse_int;
use std::collections::{BTreeMap, BTreeSet};
use xml::{Element, Node};

/// Who the entries say that they were ordered by.
const SIMULATED: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// A CIB that takes results.
pub(super) struct Recorder<'a> {
    status: &'a mut Element,
    now: i64,
    /// Positions of node states by node name, and of resources' histories within them.
    states: BTreeMap<String, usize>,
    resources: BTreeMap<(usize, String), usize>,
    ambiguous: BTreeSet<(usize, usize)>,
    /// Latest call number of each.
    calls: BTreeMap<(usize, usize), i64>,
}

fn element_at(parent: &mut Element, at: usize) -> Option<&mut Element> {
    match parent.nodes_mut().get_mut(at) {
        Some(Node::Element(e)) => Some(e),
        _ => None,
    }
}

impl<'a> Recorder<'a> {
    pub fn new(cib: &'a mut Element, now: i64) -> Recorder<'a> {
        let status = cib.child_or_insert("status");
        let mut states = BTreeMap::new();
        for (at, node) in status.nodes().iter().enumerate() {
            if let Node::Element(e) = node
                && e.name() == "node_state"
                && let Some(name) = e.attr("uname")
            {
                states.entry(name.to_owned()).or_insert(at);
            }
        }
        Recorder { status, now, states, resources: BTreeMap::new(), ambiguous: BTreeSet::new(), calls: BTreeMap::new() }
    }

    /// Position of the node's state, made if there is none.
    fn state_of(&mut self, name: &str, id: &str) -> usize {
        if let Some(at) = self.states.get(name) {
            return *at;
        }
        let same_id = |n: &Node| matches!(n, Node::Element(e) if e.name() == "node_state" && e.id() == Some(id));
        let at = match self.status.nodes().iter().position(same_id) {
            Some(at) => {
                if let Some(e) = element_at(self.status, at) {
                    e.set("uname", name);
                }
                at
            }
            None => {
                self.status.push(Element::new("node_state").with("id", id).with("uname", name));
                self.status.nodes().len() - 1
            }
        };
        self.states.insert(name.to_owned(), at);
        at
    }

    /// Takes a node down, with all that is known about what runs there.
    pub fn fence(&mut self, name: &str, id: &str) {
        let at = self.state_of(name, id);
        let Some(state) = element_at(self.status, at) else { return };
        for (attr, value) in [
            ("in_ccm", "false"),
            ("crmd", "offline"),
            ("join", "down"),
            ("expected", "down"),
            ("crm-debug-origin", "crm_simulate"),
        ] {
            state.set(attr, value);
        }
        state.retain_elements(|e| !matches!(e.name(), "lrm" | "transient_attributes"));
        self.resources.retain(|(state, _), _| *state != at);
        self.calls.retain(|(state, _), _| *state != at);
    }

    /// Brings a node up, or, without `member`, lets it fail.
    pub fn set_online(&mut self, name: &str, id: &str, member: bool) {
        let at = self.state_of(name, id);
        let Some(state) = element_at(self.status, at) else { return };
        let in_ccm = if member { "true" } else { "false" };
        for (attr, value) in [
            ("in_ccm", in_ccm),
            ("crmd", "online"),
            ("join", "member"),
            ("expected", "member"),
            ("crm-debug-origin", "crm_simulate"),
        ] {
            state.set(attr, value);
        }
    }

    pub fn set_ticket(&mut self, id: &str, attr: &str, value: bool) {
        let value = if value { "true" } else { "false" };
        let tickets = self.status.child_or_insert("tickets");
        if let Some(ticket) = tickets.find_mut(|t| t.id() == Some(id)) {
            ticket.set(attr, value);
            return;
        }
        tickets.push(Element::new("ticket_state").with("id", id).with(attr, value));
    }

    /// Counts a failure in the node's attributes.
    pub fn add_failure(&mut self, op: &ResourceAction, rsc: &str, rc: i32, fatal: bool, out: &mut Outline) {
        if rc == 0 || (rc == 7 && op.interval_ms == 0) {
            return;
        }
        let at = self.state_of(&op.target.node, &op.target.uuid);
        let now = self.now;
        let Some(state) = element_at(self.status, at) else { return };
        let id = state.id().unwrap_or_default().to_owned();
        if state.child("transient_attributes").is_none() {
            state.push(Element::new("transient_attributes").with("id", &id));
        }
        let attributes = state.child_or_insert("transient_attributes");
        if attributes.child("instance_attributes").is_none() {
            attributes.push(Element::new("instance_attributes").with("id", &id));
        }
        let set = attributes.child_or_insert("instance_attributes");
        let stem = format!("{rsc}#{}_{}", op.operation, op.interval_ms);
        let count = format!("fail-count-{stem}");
        let known =
            set.elements().find(|e| e.attr("name") == Some(&count)).and_then(|e| e.attr("value")).and_then(parse_int);
        let value = if fatal { "INFINITY".to_owned() } else { (known.unwrap_or(0) + 1).to_string() };
        for (name, value) in [(count, value), (format!("last-failure-{stem}"), now.to_string())] {
            set_pair(set, &name, &value);
            out.item(&format!("Injecting attribute {name}={value} into /node_state '{id}'"));
            let e = Element::new("inject_attr").with("name", &name).with("value", &value);
            out.element(e.with("node_path", "/node_state").with("cib_node", &id));
        }
    }

    fn find_resource(&mut self, state: usize, id: &str) -> Option<usize> {
        if let Some(at) = self.resources.get(&(state, id.to_owned())) {
            return Some(*at);
        }
        let list = element_at(self.status, state)?.child("lrm")?.child("lrm_resources")?;
        let matching = |n: &Node| matches!(n, Node::Element(e) if e.name() == "lrm_resource" && e.id() == Some(id));
        let mut all = list.nodes().iter().enumerate().filter(|(_, n)| matching(n)).map(|(at, _)| at);
        let at = all.next()?;
        if all.next().is_some() {
            self.ambiguous.insert((state, at));
        }
        self.resources.insert((state, id.to_owned()), at);
        Some(at)
    }

    fn resource_of(&mut self, state: usize, name: &str, op: &ResourceAction) -> Option<usize> {
        let p = &op.primitive;
        if let Some(at) = self.find_resource(state, name).or_else(|| self.find_resource(state, &p.id)) {
            return Some(at);
        }
        let state_element = element_at(self.status, state)?;
        let id = state_element.id().unwrap_or_default().to_owned();
        if state_element.child("lrm").is_none() {
            state_element.push(Element::new("lrm").with("id", &id));
        }
        let list = state_element.child_or_insert("lrm").child_or_insert("lrm_resources");
        let mut made = Element::new("lrm_resource").with("id", &p.id).with("class", &p.class);
        if let Some(provider) = &p.provider {
            made.set("provider", provider);
        }
        made.set("type", &p.agent);
        list.push(made);
        let at = list.nodes().len() - 1;
        self.resources.insert((state, p.id.to_string()), at);
        Some(at)
    }

    /// Writes the result of an operation; the expected one unless `rc` says otherwise.
    pub fn record(&mut self, name: &str, op: &ResourceAction, attributes: &[(Text, Text)], rc: Option<i32>) {
        let id = if op.router_node.is_none() { &op.target.uuid } else { &op.target.node };
        let state = self.state_of(&op.target.node, id);
        let Some(at) = self.resource_of(state, name, op) else { return };
        let Some(state_element) = element_at(self.status, state) else { return };
        let list = state_element.child_or_insert("lrm").child_or_insert("lrm_resources");
        let Some(rsc) = element_at(list, at) else { return };
        let latest = || rsc.elements().filter_map(|e| e.attr("call-id").and_then(parse_int)).max().unwrap_or(0).max(0);
        let call = self.calls.get(&(state, at)).copied().unwrap_or_else(latest).saturating_add(1);
        // Where a resource has several histories, none tells which call was the last.
        let call = if self.ambiguous.contains(&(state, at)) { 1 } else { call };
        self.calls.insert((state, at), call);
        write_entry(rsc, op, attributes, rc, call, self.now);
    }
}

/// Sets `name` among the attributes in `set`.
pub(super) fn set_pair(set: &mut Element, name: &str, value: &str) {
    if let Some(pair) = set.find_mut(|e| e.attr("name") == Some(name)) {
        pair.set("value", value);
        return;
    }
    let id = format!("{}-{name}", set.id().unwrap_or_default());
    set.push(Element::new("nvpair").with("id", id).with("name", name).with("value", value));
}

fn write_entry(
    rsc: &mut Element,
    op: &ResourceAction,
    attributes: &[(Text, Text)],
    result: Option<i32>,
    call: i64,
    now: i64,
) {
    let meta = |name: &str| attributes.iter().find(|(n, _)| *n == *name).map(|(_, v)| v.as_str());
    let task = if matches!(&*op.operation, "reload" | "reload-agent") { "start" } else { &*op.operation };
    let target = meta("CRM_meta_op_target_rc").and_then(parse_int).unwrap_or(0);
    let rc = result.map_or(target, i64::from);
    let failed = rc != target;
    let id = &op.primitive.id;
    let key = format!("{id}_{task}_{}", op.interval_ms);
    let migration = matches!(task, "migrate_to" | "migrate_from");
    let entry_id = match task {
        "notify" => {
            let part = |name: &str| meta(name).unwrap_or_default();
            format!("{id}_{}_notify_{}_0", part("CRM_meta_notify_type"), part("CRM_meta_notify_operation"))
        }
        _ if migration => key.clone(),
        _ if failed => format!("{id}_last_failure_0"),
        _ if op.interval_ms > 0 => key.clone(),
        _ => format!("{id}_last_0"),
    };
    let transition = format!("{call}:-1:{target}:{SIMULATED}");
    let mut params: BTreeMap<String, String> = attributes.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    filter_params(&mut params);
    let mut fresh = Element::new("lrm_rsc_op").with("id", &entry_id);
    let known = rsc.elements().any(|e| e.name() == "lrm_rsc_op" && e.id() == Some(&entry_id));
    let entry = match rsc.find_mut(|e| known && e.id() == Some(&entry_id)) {
        Some(entry) => entry,
        None => &mut fresh,
    };
    for (name, value) in [
        ("operation_key", key.as_str()),
        ("operation", task),
        ("crm-debug-origin", "crm_simulate"),
        ("crm_feature_set", crate::unpack::FEATURE_SET),
        ("transition-key", &transition),
        ("transition-magic", &format!("0:{rc};{transition}")),
        ("exit-reason", ""),
        ("on_node", &op.target.node),
        ("call-id", &call.to_string()),
        ("rc-code", &rc.to_string()),
        ("op-status", "0"),
        ("interval", &op.interval_ms.to_string()),
        ("last-rc-change", &now.to_string()),
        ("exec-time", "0"),
        ("queue-time", "0"),
    ] {
        entry.set(name, value);
    }
    if migration {
        for (name, from) in
            [("migrate_source", "CRM_meta_migrate_source"), ("migrate_target", "CRM_meta_migrate_target")]
        {
            if let Some(value) = meta(from) {
                entry.set(name, value);
            }
        }
    }
    entry.set("op-digest", digest_params(&params));
    if !known {
        rsc.push(fresh);
    }
}
