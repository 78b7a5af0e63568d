//! The cluster as the CIB's status section shows it: what `crm_mon`, `crm_resource --locate` and `crm_simulate` print.
//!
//! Plain data, made in one go by [`read`]; nobody changes it afterwards.

pub use crate::role::Role;
pub use crate::status_read::read;
use crate::unpack::history::exec;
use base::exit::OcfCode;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a status display needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cluster {
    pub quorate: bool,
    /// Name of the node that is the designated controller.
    pub dc: Option<String>,
    /// Cluster properties as configured (not defaults), by name.
    pub options: BTreeMap<String, String>,
    pub maintenance_mode: bool,
    pub stop_all_resources: bool,
    pub fencing_enabled: bool,
    pub symmetric: bool,
    /// Sorted by name.
    pub nodes: Vec<Node>,
    /// Top-level resources, by descending priority, then as configured; removed ones last.
    pub resources: Vec<Resource>,
    pub tickets: Vec<Ticket>,
    /// Failed operations that are still in the history.
    pub failures: Vec<FailedAction>,
    /// Resource instances, and how many of them are disabled or blocked.
    pub instances: usize,
    pub disabled: usize,
    pub blocked: usize,
    /// What there was to say of the configuration and the history, in order.
    pub messages: Vec<crate::Message>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NodeKind {
    #[default]
    Cluster,
    Remote,
    Guest,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    pub name: String,
    pub id: String,
    pub kind: NodeKind,
    pub online: bool,
    pub unclean: bool,
    pub pending: bool,
    pub standby: bool,
    /// In standby because an operation with `on-fail=standby` failed.
    pub standby_on_fail: bool,
    pub maintenance: bool,
    pub shutdown: bool,
    pub expected_up: bool,
    pub is_dc: bool,
    /// 1 green, 0 yellow, -1 red.
    pub health: i8,
    /// Guest's resource id, for guest nodes.
    pub launcher: Option<String>,
    pub attributes: BTreeMap<String, String>,
    pub utilization: BTreeMap<String, String>,
    /// Ids of primitives that are active here.
    pub running: Vec<String>,
    /// Fail counts by resource id.
    pub fail_counts: BTreeMap<String, i32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResourceKind {
    Primitive {
        class: String,
        provider: Option<String>,
        agent: String,
    },
    Group,
    Clone {
        promotable: bool,
        unique: bool,
        child: String,
    },
    Bundle {
        image: String,
        /// `docker` or `podman`.
        container: &'static str,
        unique: bool,
        replicas: Vec<Replica>,
    },
}

/// One container of a bundle; its parts follow each other among the bundle's children.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica {
    /// How displays call it: its connection (else its container), with its address.
    pub title: String,
    /// Number of children that belong to it.
    pub parts: usize,
    /// Which of them stands for all: the service, else the container.
    pub shown: usize,
    /// Where the container is.
    pub node: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// Internal id, with instance number where it has one.
    pub id: String,
    /// Id as configured.
    pub name: String,
    pub kind: ResourceKind,
    pub role: Role,
    pub target_role: Option<String>,
    pub managed: bool,
    pub maintenance: bool,
    pub failed: bool,
    pub failure_ignored: bool,
    pub blocked: bool,
    /// Active, but no longer configured.
    pub removed: bool,
    /// `target-role` keeps it stopped (or unpromoted).
    pub disabled: bool,
    /// What is being done with it, e.g. `start`.
    pub pending: Option<String>,
    /// On which node. A stop that is under way has left no other trace of the resource there.
    pub pending_on: Option<String>,
    /// Names of the nodes where it is active.
    pub active_on: Vec<String>,
    pub locked_to: Option<String>,
    pub description: Option<String>,
    pub children: Vec<Resource>,
}

impl Resource {
    /// Nodes where it, or a part of it, is active or has something done with it: unless there are none, it has not stopped.
    pub fn held_by(&self) -> BTreeSet<&str> {
        let own = self.active_on.iter().chain(&self.pending_on).map(String::as_str);
        own.chain(self.children.iter().flat_map(Resource::held_by)).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ticket {
    pub id: String,
    pub granted: bool,
    pub standby: bool,
    pub last_granted: Option<i64>,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FailedAction {
    pub key: String,
    pub resource: String,
    pub operation: String,
    pub interval_ms: u64,
    pub node: String,
    pub rc: i32,
    /// Execution status number (`op-status`).
    pub status: i32,
    pub call_id: i32,
    pub exit_reason: Option<String>,
    /// Seconds since the epoch.
    pub last_change: Option<i64>,
    pub exec_ms: i64,
    pub queue_ms: i64,
}

impl FailedAction {
    /// A probe that says no more than that the resource cannot run there: no failure of a resource that runs elsewhere.
    pub fn is_masked_probe(&self) -> bool {
        let cannot = [OcfCode::NOT_INSTALLED.0, OcfCode::INVALID_PARAM.0].contains(&self.rc);
        self.operation == "monitor" && self.interval_ms == 0 && (cannot || self.status == exec::NOT_INSTALLED)
    }
}
