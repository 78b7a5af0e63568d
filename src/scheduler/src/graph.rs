//! The transition graph: what the controller executes, and what `crm_simulate -G` writes.
//!
//! An action may run when every action in `inputs` is confirmed done. Ids are positive and unique within the graph. Only
//! the scheduler makes graphs; the controller reads them.

use base::{NodeId, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use xml::Element;

/// One action's number within its transition.
pub type ActionId = u32;

/// A whole transition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Graph {
    /// Cluster-wide parameters of the `transition_graph` element (`cluster-delay`, `fencing-timeout`, `batch-limit`,
    /// `migration-limit`, `failed-start-offset`, …), as written.
    pub settings: BTreeMap<String, String>,
    pub actions: Vec<Action>,
    /// Actions that are named as inputs but are themselves not to be run; who waits for one never runs.
    pub phantoms: Vec<Action>,
}

/// One action with the ids of what must be done before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Action {
    pub id: ActionId,
    pub kind: ActionKind,
    /// Synapse priority; 0 unless written.
    pub priority: i32,
    /// Ids of the actions (or phantoms) that must be confirmed first; never contains `id`.
    pub inputs: Vec<ActionId>,
    /// The `<attributes>` of the action, sorted by name: instance parameters and `CRM_meta_*`.
    pub attributes: Vec<(Text, Text)>,
    /// `internal_operation_key`: the scheduler's own key, where the agent sees an instance under another name.
    pub internal_key: Option<Text>,
    /// Ids of the nodes that this action takes down when it succeeds.
    pub downed: Vec<Text>,
    /// Maintenance states to record, by node id (only in `maintenance_nodes`).
    pub maintenance: Vec<(Text, bool)>,
}

/// Node on which an action runs: its name in the CIB and its id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    pub node: Text,
    /// `on_node_uuid`: the corosync node id as text for cluster nodes, the name for remote nodes.
    pub uuid: Text,
}

impl Target {
    /// The cluster node's number; `None` for remote and guest nodes.
    pub fn node_id(&self) -> Option<NodeId> {
        self.uuid.parse().ok().map(NodeId)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ActionKind {
    /// A resource operation: `<rsc_op>`.
    Resource(ResourceAction),
    /// An ordering point without work: `<pseudo_event>`; `key` is its `operation_key`. Only implied fencing has a target.
    Pseudo { key: Text, operation: Text, target: Option<Target> },
    /// Work for the controller itself: `<crm_event>` — fencing (`stonith`), `do_shutdown`, `clear_failcount`,
    /// `lrm_delete`.
    Cluster { key: Text, operation: Text, target: Target, router_node: Option<Text>, primitive: Option<PrimitiveRef> },
}

/// One operation of one resource instance on one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResourceAction {
    /// `RSC_OPERATION_INTERVALMS`, e.g. `vip_monitor_10000`.
    pub key: Text,
    /// `start`, `stop`, `monitor`, `promote`, `demote`, `notify`, `migrate_to`, `migrate_from`, `reload-agent`, `cancel`, `delete`.
    pub operation: Text,
    pub interval_ms: u64,
    pub target: Target,
    /// Remote node's host, where the action goes through one.
    pub router_node: Option<Text>,
    pub primitive: PrimitiveRef,
    /// Timeout in ms, as the graph's `CRM_meta_timeout` says.
    pub timeout_ms: u64,
    /// Names of parameters that belong to the operation, not to the resource.
    pub own: Vec<Text>,
    /// Seconds since the epoch since which the resource is locked to this node; to be recorded with the action.
    pub shutdown_lock: Option<i64>,
}

/// `<primitive …/>` inside `<rsc_op>`: which agent runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PrimitiveRef {
    /// Instance id as the agent sees it, e.g. `web:1` for a unique clone's instance, `web` for an anonymous one's.
    pub id: Text,
    pub long_id: Option<Text>,
    /// `ocf`, `lsb`, `systemd`, `service`, `stonith`.
    pub class: Text,
    pub provider: Option<Text>,
    pub agent: Text,
}

impl PrimitiveRef {
    fn to_element(&self) -> Element {
        let mut e = Element::new("primitive").with("id", &self.id);
        for (name, value) in [
            ("long-id", self.long_id.as_deref()),
            ("class", Some(&*self.class)),
            ("provider", self.provider.as_deref()),
            ("type", Some(&*self.agent)),
        ] {
            if let Some(value) = value {
                e.set(name, value);
            }
        }
        e
    }
}

impl Action {
    /// The `operation_key`.
    pub fn key(&self) -> &str {
        match &self.kind {
            ActionKind::Resource(r) => &r.key,
            ActionKind::Pseudo { key, .. } | ActionKind::Cluster { key, .. } => key,
        }
    }

    pub fn operation(&self) -> &str {
        match &self.kind {
            ActionKind::Resource(r) => &r.operation,
            ActionKind::Pseudo { operation, .. } | ActionKind::Cluster { operation, .. } => operation,
        }
    }

    pub fn target(&self) -> Option<&Target> {
        match &self.kind {
            ActionKind::Resource(r) => Some(&r.target),
            ActionKind::Pseudo { target, .. } => target.as_ref(),
            ActionKind::Cluster { target, .. } => Some(target),
        }
    }

    pub fn router_node(&self) -> Option<&str> {
        match &self.kind {
            ActionKind::Resource(r) => r.router_node.as_deref(),
            ActionKind::Pseudo { .. } => None,
            ActionKind::Cluster { router_node, .. } => router_node.as_deref(),
        }
    }

    /// Value of one entry of `attributes`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| *n == *name).map(|(_, v)| v.as_str())
    }

    /// The element as it stands in triggers: what the action is, without its details.
    fn head(&self) -> Element {
        let tag = match &self.kind {
            ActionKind::Resource(_) => "rsc_op",
            ActionKind::Pseudo { .. } => "pseudo_event",
            ActionKind::Cluster { .. } => "crm_event",
        };
        let mut e = Element::new(tag);
        if self.operation() == "lrm_delete" {
            e.set("mode", "cib");
        }
        e.set("id", self.id.to_string());
        e.set("operation", self.operation());
        e.set("operation_key", self.key());
        if let Some(internal) = &self.internal_key {
            e.set("internal_operation_key", internal);
        }
        if let Some(target) = self.target() {
            e.set("on_node", &target.node);
            e.set("on_node_uuid", &target.uuid);
        }
        if let Some(router) = self.router_node() {
            e.set("router_node", router);
        }
        e
    }

    fn to_element(&self) -> Element {
        let mut e = self.head();
        match &self.kind {
            ActionKind::Resource(r) => {
                if let Some(lock) = r.shutdown_lock {
                    e.set("shutdown-lock", lock.to_string());
                }
                e.push(r.primitive.to_element());
            }
            ActionKind::Cluster { primitive: Some(p), .. } => e.push(p.to_element()),
            _ => {}
        }
        let mut attributes = Element::new("attributes");
        for (name, value) in &self.attributes {
            // A name that starts with a digit cannot be an XML attribute.
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                attributes.push(Element::new("param").with("name", name).with("value", value));
            } else {
                attributes.set(name, value);
            }
        }
        e.push(attributes);
        if !self.downed.is_empty() {
            let mut downed = Element::new("downed");
            for id in &self.downed {
                downed.push(Element::new("node").with("id", id));
            }
            e.push(downed);
        }
        if !self.maintenance.is_empty() {
            let mut list = Element::new("maintenance");
            for (id, on) in &self.maintenance {
                list.push(Element::new("node").with("id", id).with("node_in_maintenance", if *on { "1" } else { "0" }));
            }
            e.push(list);
        }
        e
    }
}

impl Graph {
    /// The `transition_graph` element.
    pub fn to_element(&self) -> Element {
        let mut root = Element::new("transition_graph");
        for (name, value) in &self.settings {
            root.set(name, value);
        }
        self.synapses().for_each(|s| root.push(s));
        root
    }

    /// Text of [`Graph::to_element`], without the whole tree in memory.
    pub fn to_pretty(&self) -> String {
        let mut out = String::new();
        let written = self.write(|part| {
            out.push_str(part);
            Ok::<(), Infallible>(())
        });
        match written {
            Ok(()) => out,
        }
    }

    /// [`Graph::to_pretty`] in parts, one action each, until `sink` fails.
    pub fn write<E>(&self, mut sink: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let empty = Graph { settings: self.settings.clone(), ..Graph::default() }.to_element().to_pretty();
        let Some(open) = empty.strip_suffix("/>\n").filter(|_| !self.actions.is_empty()) else { return sink(&empty) };
        sink(&format!("{open}>\n"))?;
        let mut part = String::new();
        for synapse in self.synapses() {
            part.clear();
            synapse.write_pretty(&mut part, 1);
            sink(&part)?;
        }
        sink("</transition_graph>\n")
    }

    fn synapses(&self) -> impl Iterator<Item = Element> {
        let by_id: BTreeMap<ActionId, &Action> = self.actions.iter().chain(&self.phantoms).map(|a| (a.id, a)).collect();
        self.actions.iter().enumerate().map(move |(number, action)| {
            let mut synapse = Element::new("synapse").with("id", number.to_string());
            if action.priority > 0 {
                synapse.set("priority", action.priority.to_string());
            }
            synapse.push(Element::new("action_set").with_child(action.to_element()));
            let mut inputs = Element::new("inputs");
            for input in action.inputs.iter().filter_map(|id| by_id.get(id)) {
                inputs.push(Element::new("trigger").with_child(input.head()));
            }
            synapse.push(inputs);
            synapse
        })
    }
}
