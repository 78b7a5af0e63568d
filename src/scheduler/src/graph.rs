//! The transition graph: what the controller executes, and what `crm_simulate -G` writes.
//!
//! An action may run when every action in `inputs` is confirmed done. Ids are dense and positive, in the order in
//! which the graph is written.

use base::NodeId;
use std::collections::BTreeMap;

/// One action's number within its transition; also its synapse's number plus nothing else is implied.
pub type ActionId = u32;

/// A whole transition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    /// Cluster-wide parameters of the `transition_graph` element (`cluster-delay`, `stonith-timeout`, `batch-limit`,
    /// `migration-limit`, `failed-start-offset`, …), as written.
    pub settings: BTreeMap<String, String>,
    pub actions: Vec<Action>,
}

/// One action with the ids of what must be done before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    pub id: ActionId,
    pub kind: ActionKind,
    /// Synapse priority; 0 unless written.
    pub priority: i32,
    /// Ids of the actions that must be confirmed first; never contains `id` and makes no cycle.
    pub inputs: Vec<ActionId>,
    /// The `<attributes>` of the action, in order: instance parameters and `CRM_meta_*`.
    pub attributes: Vec<(String, String)>,
}

/// Node on which an action runs: its name in the CIB and its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    pub node: String,
    /// `on_node_uuid`: the corosync node id as text for cluster nodes, the name for remote nodes.
    pub uuid: String,
}

impl Target {
    /// The cluster node's number; `None` for remote and guest nodes.
    pub fn node_id(&self) -> Option<NodeId> {
        self.uuid.parse().ok().map(NodeId)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionKind {
    /// A resource operation: `<rsc_op>`.
    Resource(ResourceAction),
    /// An ordering point without work: `<pseudo_event>`; `key` is its `operation_key`.
    Pseudo { key: String, operation: String },
    /// Work for the controller itself: `<crm_event>` — fencing (`stonith`), `do_shutdown`, `clear_failcount`,
    /// `lrm_delete`, `maintenance_nodes`.
    Cluster { key: String, operation: String, target: Target },
}

/// One operation of one resource instance on one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceAction {
    /// `RSC_OPERATION_INTERVALMS`, e.g. `vip_monitor_10000`.
    pub key: String,
    /// `start`, `stop`, `monitor`, `promote`, `demote`, `notify`, `migrate_to`, `migrate_from`, `reload-agent`, `cancel`, `delete`.
    pub operation: String,
    pub interval_ms: u64,
    pub target: Target,
    /// Remote node's host, where the action goes through one.
    pub router_node: Option<String>,
    pub primitive: PrimitiveRef,
    /// Timeout in ms, as the graph's `CRM_meta_timeout` says.
    pub timeout_ms: u64,
}

/// `<primitive …/>` inside `<rsc_op>`: which agent runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrimitiveRef {
    /// Instance id as the agent sees it, e.g. `web:1` for a unique clone's instance, `web` for an anonymous one's.
    pub id: String,
    pub long_id: Option<String>,
    /// `ocf`, `lsb`, `systemd`, `service`, `stonith`.
    pub class: String,
    pub provider: Option<String>,
    pub agent: String,
}
