//! The scheduler's working model: dense tables of nodes, resources, actions and constraints, unpacked once from the CIB.
//!
//! [`Sched`] owns everything; the modules of the crate are its stages, each adding methods to it. Lists that Pacemaker
//! keeps newest-first are kept here oldest-first and walked backwards where the order matters.

mod action;
mod basics;
pub mod config;
pub mod flags;
pub mod ids;
pub mod ledger;
mod map;
pub mod nvpair;
pub mod options;
mod queries;
pub mod rules;
mod tables;

use crate::message::{Message, Severity};
use crate::role::Role;
pub use action::{Action, After, Before, OnFail, Requires, op_key, parse_op_key};
pub use basics::{INFINITY, Str, add_scores, score_text};
pub use cib::config::Index;
use config::RscConfig;
pub use ids::{ActIdx, ColocIdx, LocIdx, NodeIdx, RscIdx};
use ledger::Ledger;
pub use map::Map;
use nvpair::Blocks;
use options::ClusterOptions;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum ProbeMode {
    #[default]
    Always,
    Never,
    Exclusive,
}

/// What a resource thinks of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Assign {
    pub score: i32,
    pub count: i32,
    pub probe_mode: ProbeMode,
}

/// Assignments by node; an absent entry means that the node is not considered at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeTable(Vec<Option<Assign>>);

impl NodeTable {
    pub fn get(&self, node: NodeIdx) -> Option<&Assign> {
        self.0.get(node.at())?.as_ref()
    }

    pub fn get_mut(&mut self, node: NodeIdx) -> Option<&mut Assign> {
        self.0.get_mut(node.at())?.as_mut()
    }

    pub fn insert(&mut self, node: NodeIdx, assign: Assign) {
        if self.0.len() <= node.at() {
            self.0.resize(node.at() + 1, None);
        }
        self.0[node.at()] = Some(assign);
    }

    pub fn remove(&mut self, node: NodeIdx) {
        if let Some(slot) = self.0.get_mut(node.at()) {
            *slot = None;
        }
    }

    pub fn contains(&self, node: NodeIdx) -> bool {
        self.get(node).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeIdx, &Assign)> {
        self.0.iter().enumerate().filter_map(|(i, a)| Some((NodeIdx(i as u32), a.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NodeIdx, &mut Assign)> {
        self.0.iter_mut().enumerate().filter_map(|(i, a)| Some((NodeIdx(i as u32), a.as_mut()?)))
    }

    pub fn nodes(&self) -> Vec<NodeIdx> {
        self.iter().map(|(n, _)| n).collect()
    }

    pub fn score(&self, node: NodeIdx) -> Option<i32> {
        self.get(node).map(|a| a.score)
    }
}

/// A cluster, remote or guest node.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: Str,
    pub name: Str,
    /// Remote and guest nodes.
    pub is_remote_kind: bool,
    /// Score and discovery mode that resources start from.
    pub base: Assign,
    pub attrs: Map,
    pub utilization: Map,
    /// The connection resource of a remote or guest node.
    pub remote: Option<RscIdx>,
    pub online: bool,
    pub unclean: bool,
    pub pending: bool,
    pub shutdown: bool,
    pub maintenance: bool,
    pub standby: bool,
    pub fail_standby: bool,
    pub expected_up: bool,
    pub seen: bool,
    pub unpacked: bool,
    pub probes_allowed: bool,
    pub remote_reset: bool,
    pub remote_fenced: bool,
    pub remote_maint: bool,
    pub running: Vec<RscIdx>,
    pub num_resources: i32,
    pub priority: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Variant {
    Primitive,
    Group,
    Clone,
    Bundle,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MultiplyActive {
    #[default]
    Restart,
    Stop,
    Block,
    Unexpected,
}

#[derive(Clone, Debug, Default)]
pub struct GroupData {
    pub ordered: bool,
    pub colocated: bool,
}

/// Notification pseudo-actions around one kind of action of a clone, and what they report.
#[derive(Clone, Debug, Default)]
pub struct NotifyData {
    pub action: &'static str,
    pub pre: Option<ActIdx>,
    pub pre_done: Option<ActIdx>,
    pub post: Option<ActIdx>,
    pub post_done: Option<ActIdx>,
    pub active: Vec<(RscIdx, Option<NodeIdx>)>,
    pub inactive: Vec<(RscIdx, Option<NodeIdx>)>,
    pub start: Vec<(RscIdx, Option<NodeIdx>)>,
    pub stop: Vec<(RscIdx, Option<NodeIdx>)>,
    pub promote: Vec<(RscIdx, Option<NodeIdx>)>,
    pub demote: Vec<(RscIdx, Option<NodeIdx>)>,
    pub promoted: Vec<(RscIdx, Option<NodeIdx>)>,
    pub unpromoted: Vec<(RscIdx, Option<NodeIdx>)>,
    pub available: Option<RscIdx>,
    pub keys: Vec<(&'static str, Str)>,
}

#[derive(Clone, Debug, Default)]
pub struct CloneData {
    pub child: Option<Rc<RscConfig>>,
    pub clone_max: i32,
    pub clone_node_max: i32,
    pub promoted_max: i32,
    pub promoted_node_max: i32,
    pub total: i32,
    pub ordered: bool,
    pub promotion_added: bool,
    pub promotion_constrained: bool,
    pub start_notify: Option<Box<NotifyData>>,
    pub stop_notify: Option<Box<NotifyData>>,
    pub promote_notify: Option<Box<NotifyData>>,
    pub demote_notify: Option<Box<NotifyData>>,
}

/// One container of a bundle with what belongs to it.
#[derive(Clone, Debug)]
pub struct Replica {
    pub offset: i32,
    pub ip_addr: Option<Str>,
    pub ip: Option<RscIdx>,
    pub child: Option<RscIdx>,
    pub container: RscIdx,
    pub remote: Option<RscIdx>,
    pub node: Option<NodeIdx>,
}

#[derive(Clone, Debug, Default)]
pub struct BundleData {
    pub replicas: Vec<Replica>,
    pub child: Option<RscIdx>,
    pub max: i32,
    pub per_host: i32,
    pub image: String,
}

/// Node that a resource was put on, with its score at that moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assigned {
    pub node: NodeIdx,
    pub score: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LossPolicy {
    Stop,
    Demote,
    Fence,
    Freeze,
}

#[derive(Clone, Debug)]
pub struct RscTicket {
    pub ticket: Str,
    pub policy: LossPolicy,
    pub role: Role,
}

#[derive(Clone, Debug)]
pub struct Resource {
    /// With instance number, for instances.
    pub id: Str,
    pub conf: Rc<RscConfig>,
    pub variant: Variant,
    pub parent: Option<RscIdx>,
    pub children: Vec<RscIdx>,
    pub flags: u32,
    pub meta: Map,
    pub utilization: Map,
    pub priority: i32,
    pub promotion_priority: i32,
    pub stickiness: i32,
    pub ban_after_failures: i32,
    pub multiply_active: MultiplyActive,
    pub failure_expiration_ms: u64,
    pub remote_reconnect_ms: u64,
    pub orig_role: Role,
    pub next_role: Role,
    /// Id under which the history knows an anonymous instance.
    pub history_id: Option<Str>,
    pub pending_action: Option<Str>,
    pub pending_node: Option<NodeIdx>,
    pub active_nodes: Vec<NodeIdx>,
    pub allowed: NodeTable,
    pub probed: BTreeSet<NodeIdx>,
    pub assigned: Option<Assigned>,
    pub launcher: Option<RscIdx>,
    pub launched: Vec<RscIdx>,
    pub lock_node: Option<NodeIdx>,
    pub lock_time: i64,
    pub partial_migration_source: Option<NodeIdx>,
    pub partial_migration_target: Option<NodeIdx>,
    pub dangling_migration_sources: Vec<NodeIdx>,
    pub actions: Vec<ActIdx>,
    pub this_with: Vec<ColocIdx>,
    pub with_this: Vec<ColocIdx>,
    pub locations: Vec<LocIdx>,
    pub tickets: Vec<RscTicket>,
    pub params: BTreeMap<Option<NodeIdx>, Rc<Map>>,
    pub group: GroupData,
    pub clone: CloneData,
    pub bundle: BundleData,
}

impl Resource {
    pub fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub fn is_primitive(&self) -> bool {
        self.variant == Variant::Primitive
    }

    pub fn is_clone(&self) -> bool {
        self.variant == Variant::Clone
    }

    pub fn meta(&self, name: &str) -> Option<&str> {
        self.meta.get(name).map(|v| &**v)
    }

    pub fn meta_true(&self, name: &str) -> bool {
        self.meta(name).is_some_and(base::text::is_true)
    }

    /// Id as configured, shared by all instances.
    pub fn xml_id(&self) -> &Str {
        &self.conf.id
    }

    pub fn insert_meta(&mut self, name: &str, value: &str) {
        self.meta.insert(name.into(), value.into());
    }
}

#[derive(Clone, Debug)]
pub struct Colocation {
    pub id: Str,
    pub dependent: RscIdx,
    pub primary: RscIdx,
    pub score: i32,
    pub dependent_role: Role,
    pub primary_role: Role,
    pub node_attribute: Str,
    /// The dependent's preferences count for the primary.
    pub influence: bool,
    /// Configured, not implied.
    pub explicit: bool,
}

#[derive(Clone, Debug)]
pub struct Location {
    pub id: Str,
    pub rsc: RscIdx,
    pub role: Role,
    pub probe_mode: ProbeMode,
    pub nodes: Vec<(NodeIdx, i32, ProbeMode)>,
}

/// One side of an ordering: an action, or whatever actions of a resource have the key.
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub rsc: Option<RscIdx>,
    pub key: Option<Str>,
    pub action: Option<ActIdx>,
}

#[derive(Clone, Debug)]
pub struct Ordering {
    pub first: Side,
    pub then: Side,
    pub flags: u32,
}

#[derive(Clone, Debug, Default)]
pub struct TicketState {
    pub granted: bool,
    pub standby: bool,
    pub last_granted: Option<i64>,
    pub attrs: Map,
}

/// A score that `crm_simulate -s` shows, in the order in which it was settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScoreLine {
    Allocation { stage: &'static str, rsc: RscIdx, node: NodeIdx, score: i32 },
    Promotion { rsc: RscIdx, node: Option<NodeIdx>, score: i32 },
    Capacity { comment: &'static str, node: NodeIdx, values: Map },
    Utilization { rsc: RscIdx, node: NodeIdx },
}

/// Everything that one scheduling run works on.
pub struct Sched {
    pub now: i64,
    pub options: ClusterOptions,
    pub feature_set: Option<Str>,
    pub dc_id: Option<Str>,
    pub quorate: bool,
    pub have_fencing: bool,
    /// Secrets in the CIB are blanked out: a difference in them alone is none.
    pub sanitized: bool,
    pub have_remote_nodes: bool,
    pub enable_unfencing: bool,
    pub rsc_defaults: Blocks,
    pub op_defaults: Blocks,
    pub nodes: Vec<Node>,
    /// Nodes sorted by name.
    pub node_order: Vec<NodeIdx>,
    pub node_by_name: BTreeMap<String, NodeIdx>,
    pub node_by_id: BTreeMap<String, NodeIdx>,
    pub dc: Option<NodeIdx>,
    pub resources: Vec<Resource>,
    /// Top-level resources in processing order.
    pub top: Vec<RscIdx>,
    /// Resources by id and by history id, for look-ups; kept up to date by `index_resource`.
    pub rsc_by_id: BTreeMap<Str, Vec<RscIdx>>,
    pub templates: BTreeMap<Str, Vec<Str>>,
    pub tags: BTreeMap<Str, Vec<Str>>,
    pub tickets: BTreeMap<Str, TicketState>,
    pub actions: Vec<Action>,
    pub singletons: BTreeMap<Str, ActIdx>,
    pub orderings: Vec<Ordering>,
    pub colocations: Vec<Colocation>,
    pub locations: Vec<Location>,
    pub history: crate::unpack::history::Histories,
    pub failed: Vec<crate::unpack::history::FailedOp>,
    pub param_checks: Vec<crate::unpack::history::ParamCheck>,
    pub stop_needed: Vec<RscIdx>,
    pub recheck_by: Option<i64>,
    pub scores: Vec<ScoreLine>,
    /// Kept only where an explanation is asked for.
    pub ledger: Option<Ledger>,
    pub messages: Vec<Message>,
    /// What belongs beside the scores.
    pub info: Vec<String>,
    pub instances: usize,
    pub disabled: usize,
    pub blocked: usize,
    /// Words that many actions have in common.
    pub words: BTreeSet<Str>,
    pub digest_cache: BTreeMap<(NodeIdx, Str), Rc<crate::digest::Digests>>,
    pub update_depth: usize,
    /// Look-ups of others' preferences for the resource that is being placed.
    pub gathered: u32,
    /// Actions that wait for each other and are therefore not in the graph.
    pub left_out: usize,
}

impl Side {
    pub fn of(action: ActIdx) -> Side {
        Side { rsc: None, key: None, action: Some(action) }
    }
}

impl Sched {
    pub fn error(&mut self, text: impl Into<String>) {
        self.messages.push(Message { severity: Severity::Error, text: text.into() });
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.messages.push(Message { severity: Severity::Warning, text: text.into() });
    }

    pub fn update_recheck(&mut self, at: i64) {
        if at > self.now && self.recheck_by.is_none_or(|r| r > at) {
            self.recheck_by = Some(at);
        }
    }

    /// Key of a resource's action.
    pub fn key(&self, rsc: RscIdx, task: &str, interval_ms: u64) -> Str {
        op_key(&self[rsc].id, task, interval_ms)
    }

    /// The one copy of a text that many actions have.
    pub fn word(&mut self, text: &str) -> Str {
        if let Some(known) = self.words.get(text) {
            return known.clone();
        }
        let made = Str::from(text);
        self.words.insert(made.clone());
        made
    }

    /// Sets a meta-attribute of an action.
    pub fn set_action_meta(&mut self, a: ActIdx, name: &str, value: &str) {
        let (name, value) = (self.word(name), self.word(value));
        self[a].meta.insert(name, value);
    }

    pub fn score_of(&self, text: &str) -> Option<i32> {
        self.options.score(text)
    }
}

/// The id without an instance number.
pub fn base_name(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((base, n)) if !base.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => id,
    }
}
