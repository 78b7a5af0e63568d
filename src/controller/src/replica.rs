//! The replicated content and how messages change it.
//!
//! Every member applies the same messages in the same order to the same content; only [`Replica::apply`] and
//! [`Replica::install`] change anything, and neither knows which node it runs on. What follows from a change (running
//! an agent, answering a client, scheduling) is told as [`Effect`]s.

use crate::api::ViewId;
use crate::digest;
use crate::fencing::state::Turn;
use crate::message::{Dedup, Exec, InFlight, Message, Op, OpIdentity, OpMessage, OpRecord, Ordered, Snapshot, State};
use crate::status::{self, Membership};
use crate::sync::Merge;
use base::{NodeId, WallTime};
use cib::{Cib, CibError, Lineage};
use introduce::Introduction;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xml::Element;

mod authority;
mod configuration;
mod fencing;
mod forget;
mod introduce;
mod remote;

/// Configurations whose descendants are recognised at a merge.
const CONFIG_LOG: usize = 256;
/// Operations that may be under way in the whole cluster; the DC's batch limits are far below.
const MAX_IN_FLIGHT: usize = 4096;

mod chain;

/// The same on every member.
#[derive(Clone, Debug)]
pub struct Replica {
    pub cib: Cib,
    /// Digest over everything that was applied.
    pub chain: String,
    /// Chain values at the last configuration changes, newest last.
    pub config_log: VecDeque<String>,
    pub lineage: Lineage,
    pub since: BTreeMap<NodeId, u64>,
    pub dedup: Dedup,
    pub in_flight: BTreeMap<(NodeId, String), InFlight>,
    /// Nodes that may leave: their going is no failure.
    pub leaving: BTreeSet<NodeId>,
    pub fencing: crate::fencing::state::State,
    /// Until now some members did not keep it.
    pub(crate) fencing_alone: bool,
    /// The last known life of each node.
    pub lives: BTreeMap<NodeId, u64>,
    /// Nodes with a hardware watchdog, and its time in ms.
    pub watchdogs: BTreeMap<NodeId, u64>,
    // What follows is made anew at each view.
    pub view: ViewId,
    pub members: BTreeSet<NodeId>,
    pub ready: BTreeMap<NodeId, bool>,
    pub levels: BTreeMap<NodeId, u32>,
    /// Members that still stop what runs elsewhere.
    pub joining: BTreeSet<NodeId>,
    pub dc: Option<NodeId>,
    pub quorate: bool,
    /// With `two_node`: the members' votes are no majority, so the other node may have quorum as well.
    pub half: bool,
    pub wall: WallTime,
    introduction: Introduction,
}

/// What an applied message means for the node that applied it.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// The content changed in a way that no running transition expects.
    Changed {
        reason: String,
    },
    /// The configuration changed and is to be stored.
    Config,
    /// An operation came again that the content has already.
    Repeated {
        origin: NodeId,
        incarnation: u64,
        seq: u64,
    },
    /// A client's operation of `origin` was applied (or refused).
    Applied {
        origin: NodeId,
        incarnation: u64,
        seq: u64,
        result: Result<Applied, CibError>,
    },
    Exec(Box<Exec>),
    Result(Box<OpRecord>),
    /// A transient attribute has another value now, or none.
    Attribute {
        node: NodeId,
        name: String,
        value: Option<String>,
    },
    /// History of a resource on a node was forgotten: its recurring operations end.
    Forgotten {
        node: NodeId,
        resource: String,
    },
    Leave {
        node: NodeId,
    },
    /// This member has the connection to a remote node from now on, and no other has.
    Connected {
        node: NodeId,
        name: String,
        host: NodeId,
    },
    /// This member has it no longer.
    Disconnected {
        node: NodeId,
        host: NodeId,
    },
    Fence(Turn),
    Joined {
        node: NodeId,
    },
    /// The DC is another node now.
    Coordinator,
}

/// Who came and who went with a view.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Turnover {
    pub gained: Vec<NodeId>,
    pub lost: Vec<NodeId>,
    /// Starts under way on nodes that are lost: what they started may run, and no history says so.
    pub starting: Vec<(NodeId, OpIdentity)>,
    /// Fencings that are over with it.
    pub fenced: Vec<Turn>,
    /// Those of which this member alone has known.
    pub fenced_alone: Vec<Turn>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    pub changed: bool,
    pub config_changed: bool,
    pub answer: Option<Element>,
}

impl Replica {
    pub fn new(cib: Cib, lineage: &str, seed: u64) -> Replica {
        let mut words = lineage.split_whitespace();
        let line = words.next().unwrap_or_default();
        let mut config_log: VecDeque<String> = words.map(str::to_owned).collect();
        if config_log.is_empty() {
            config_log.push_back(cib.digest());
        }
        Replica {
            cib,
            chain: digest::link("", &[&seed.to_le_bytes()]),
            config_log,
            lineage: Lineage::parse(line).unwrap_or_default(),
            since: BTreeMap::new(),
            dedup: Dedup::default(),
            in_flight: BTreeMap::new(),
            leaving: BTreeSet::new(),
            fencing: Default::default(),
            fencing_alone: false,
            lives: BTreeMap::new(),
            watchdogs: BTreeMap::new(),
            view: ViewId::default(),
            members: BTreeSet::new(),
            ready: BTreeMap::new(),
            levels: BTreeMap::new(),
            joining: BTreeSet::new(),
            dc: None,
            quorate: false,
            half: false,
            introduction: Introduction::default(),
            wall: WallTime::default(),
        }
    }

    pub fn version(&self) -> (u64, u64, u64) {
        let v = self.cib.version();
        (v.admin_epoch, v.epoch, v.num_updates)
    }

    pub fn status(&self) -> Option<&Element> {
        self.cib.root().child("status")
    }

    pub fn snapshot(&self, view: ViewId) -> Snapshot {
        Snapshot {
            view,
            cib: self.cib.snapshot(),
            chain: self.chain.clone(),
            config_log: self.config_log.clone(),
            lineage: self.lineage.to_string(),
            since: self.since.iter().map(|(n, s)| (n.0, *s)).collect(),
            dedup: self.dedup.clone(),
            in_flight: self.in_flight.values().cloned().collect(),
            leaving: self.leaving.iter().map(|n| n.0).collect(),
            fencing: self.fencing.clone(),
            lives: self.lives.iter().map(|(n, life)| (n.0, *life)).collect(),
            watchdogs: self.watchdogs.iter().map(|(n, ms)| (n.0, *ms)).collect(),
        }
    }

    /// Takes another's content in place of this one's.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<(), CibError> {
        self.cib = Cib::parse(&snapshot.cib)?;
        self.chain.clone_from(&snapshot.chain);
        self.config_log.clone_from(&snapshot.config_log);
        while self.config_log.len() > CONFIG_LOG {
            self.config_log.pop_front();
        }
        self.lineage = Lineage::parse(&snapshot.lineage).unwrap_or_default();
        self.since = snapshot.since.iter().map(|(n, s)| (NodeId(*n), *s)).collect();
        self.dedup = snapshot.dedup.clone();
        self.leaving = snapshot.leaving.iter().copied().map(NodeId).collect();
        self.load_fencing(snapshot);
        self.in_flight.clear();
        snapshot.in_flight.iter().for_each(|f| self.begin(f.clone()));
        Ok(())
    }

    /// Starts a view on the winner's content: membership, each node's own history, DC.
    pub fn install(&mut self, view: ViewId, states: &BTreeMap<NodeId, State>, merge: &Merge) -> Turnover {
        self.view = view;
        self.members = states.keys().copied().collect();
        self.ready = states.iter().map(|(n, s)| (*n, s.ready)).collect();
        self.levels = states.iter().map(|(n, s)| (*n, s.feature_level)).collect();
        self.since.retain(|node, _| !merge.losers.contains(node));
        // Who comes anew has not been told to leave.
        self.leaving.retain(|node| !merge.losers.contains(node));
        self.since.retain(|node, _| states.contains_key(node));
        for node in states.keys() {
            self.since.entry(*node).or_insert(view.seq);
        }
        self.joining.clear();
        self.meet_lives(states);
        let fenced_alone = self.end_fencing_alone();
        let acquitted = self.learn_fencing(states, &merge.losers);
        self.dc = self.elect();
        let dc_state = self.dc.and_then(|dc| states.get(&dc));
        self.quorate = dc_state.is_some_and(|s| s.quorate);
        self.wall = WallTime(dc_state.map_or(0, |s| s.wall_ms));
        let votes = states.values().fold(0u32, |sum, s| sum.saturating_add(s.votes.unwrap_or(1)));
        // `two_node` is for two votes in all.
        self.half = dc_state.is_some_and(|s| s.two_node) && votes < 2;
        self.mark_lineage();
        let starting = self.starting_elsewhere();
        self.take_histories(states, &merge.losers);
        let turnover = Turnover { starting, ..self.write_membership(states) };
        let mut fenced = self.begin_fencing();
        fenced.extend(acquitted.into_iter().map(|target| Turn::Acquitted { target }));
        if let Some(state) = self.dc.and_then(|dc| states.get(&dc)) {
            let listed = state.nodes.iter().map(|(id, name)| (*id, name.clone()));
            let present = states.iter().map(|(node, state)| (node.0, state.name.clone()));
            let (program, cluster_name) = (state.program.clone(), state.cluster_name.clone());
            self.introduction = Introduction { nodes: listed.chain(present).collect(), program, cluster_name };
            self.introduce();
        }
        self.write_runtime();
        let members: Vec<String> = states.keys().map(|n| n.to_string()).collect();
        self.advance(format!("view {}.{} {}", view.seq, view.rep, members.join(",")).as_bytes());
        Turnover { fenced, fenced_alone, ..turnover }
    }

    /// Whether no other partition can have quorum at the same time.
    pub fn is_firm(&self) -> bool {
        self.quorate && !self.half
    }

    fn mark_lineage(&mut self) {
        if self.is_firm() {
            self.lineage.quorate_view(self.view.seq, NodeId(self.view.rep));
        }
    }

    /// Not fenced, ready, lowest feature level, oldest in the lineage, lowest id.
    fn elect(&self) -> Option<NodeId> {
        let key = |n: &NodeId| {
            let ready = self.ready.get(n).copied().unwrap_or(false);
            (self.is_fenced(*n), !ready, self.levels.get(n).copied(), self.since.get(n).copied(), *n)
        };
        self.members.iter().copied().min_by_key(key)
    }

    fn starting_elsewhere(&self) -> Vec<(NodeId, OpIdentity)> {
        let lost = self.in_flight.iter().filter(|(_, flight)| !self.members.contains(&flight.host()));
        let starts = lost.filter(|(_, flight)| matches!(flight.identity.operation.as_str(), "start" | "migrate_from"));
        starts.map(|((node, _), flight)| (*node, flight.identity.clone())).collect()
    }

    /// A node's own word about its history counts more than what others remember of it.
    fn take_histories(&mut self, states: &BTreeMap<NodeId, State>, losers: &BTreeSet<NodeId>) {
        let (members, cloned) = (self.members.clone(), self.cloned());
        self.in_flight.retain(|_, f| members.contains(&f.host()) && !losers.contains(&f.host()));
        let others: BTreeSet<String> = {
            let status = self.status();
            let stay = members.iter().filter(|n| !losers.contains(n));
            stay.filter_map(|n| status::node_state(status?, *n)).flat_map(status::active).collect()
        };
        let mut taken = others;
        for node in losers {
            let Some(state) = states.get(node) else { continue };
            let own = (!state.node_state.is_empty()).then(|| xml::parse(&state.node_state).ok()).flatten();
            let running = own.as_ref().map(status::active).unwrap_or_default();
            if running.iter().any(|r| taken.contains(r) && !cloned.contains(r)) {
                self.joining.insert(*node);
            }
            taken.extend(running);
            self.cib.edit_status(|s| status::replace_own(s, *node, own.as_ref()));
            state.in_flight.iter().for_each(|f| self.begin(f.clone()));
        }
    }

    /// Primitives of clones: what of them runs on several nodes is no mistake, or one that the scheduler puts right.
    pub fn cloned(&self) -> BTreeSet<String> {
        let resources = self.cib.section("configuration").and_then(|c| c.child("resources"));
        let clones = resources.into_iter().flat_map(|r| r.elements_named("clone"));
        let inner = clones.flat_map(|c| c.descendants().filter(|e| e.name() == "primitive"));
        inner.filter_map(|p| p.id().map(str::to_owned)).collect()
    }

    fn write_membership(&mut self, states: &BTreeMap<NodeId, State>) -> Turnover {
        let at = self.wall.secs();
        let (members, joining, leaving) = (self.members.clone(), self.joining.clone(), self.leaving.clone());
        let mut turnover = Turnover::default();
        self.cib.edit_status(|s| {
            let mut changed = false;
            for node in status::known_nodes(s).into_iter().filter(|n| !members.contains(n)) {
                if status::is_online(s, node) {
                    turnover.lost.push(node);
                }
                changed |= status::set_membership(s, node, "", Membership::Lost);
            }
            for (node, state) in states {
                if !status::is_online(s, *node) {
                    turnover.gained.push(*node);
                }
                let membership = if joining.contains(node) { Membership::Joining(at) } else { Membership::Member(at) };
                changed |= status::set_membership(s, *node, &state.name, membership);
                if leaving.contains(node) {
                    changed |= status::expect_down(s, *node);
                }
                changed |= status::set_attribute(s, *node, "#feature-set", Some(cib::FEATURE_SET));
            }
            changed
        });
        turnover
    }

    /// A cluster property as configured.
    pub fn property(&self, name: &str) -> Option<&str> {
        cib::config::property(self.cib.root(), name)
    }

    fn write_runtime(&mut self) {
        let dc = self.dc.map(|n| n.to_string());
        self.cib.set_runtime(self.quorate, dc.as_deref());
    }

    fn begin(&mut self, flight: InFlight) {
        self.end_recurring(&flight.identity);
        if self.in_flight.len() < MAX_IN_FLIGHT {
            self.in_flight.insert((flight.identity.node, flight.identity.transition_key.clone()), flight);
        }
    }

    /// The node cancels recurring operations before these, and reports nothing of them.
    fn end_recurring(&mut self, ender: &OpIdentity) {
        // A cancellation names what it ends, and a new operation takes the place of the old one of its key.
        let all = status::ends_recurring(&ender.operation);
        self.end_rounds(ender.node, &ender.resource, |key| all || key == ender.key);
    }

    fn end_rounds(&mut self, node: NodeId, resource: &str, ended: impl Fn(&str) -> bool) {
        let of = |id: &OpIdentity| id.node == node && id.resource == resource && id.interval_ms > 0;
        self.in_flight.retain(|_, f| !(of(&f.identity) && ended(&f.identity.key)));
    }

    /// Applies one ordered message of the current view.
    pub fn apply(&mut self, sender: NodeId, ordered: Ordered, effects: &mut Vec<Effect>) {
        let Ordered { message, digest } = ordered;
        if matches!(
            message,
            Message::State(_)
                | Message::Snapshot(_)
                | Message::Stored { .. }
                | Message::Check { .. }
                | Message::Digest { .. }
        ) {
            return;
        }
        self.chain_message(sender, &digest);
        let kind = std::mem::discriminant(&message);
        match message {
            Message::Op(op) => return self.apply_op(sender, *op, effects),
            Message::Exec(exec) if self.is_order(sender, exec.view) => self.apply_exec(exec, effects),
            Message::Leave { view, node } if self.is_order(sender, view) => {
                self.leaving.insert(node);
                self.cib.edit_status(|s| status::expect_down(s, node));
                effects.push(Effect::Leave { node });
            }
            Message::Quorum { view, quorate } if self.is_order(sender, view) && quorate != self.quorate => {
                self.quorate = quorate;
                self.mark_lineage();
                self.write_runtime();
                effects.push(Effect::Config);
                effects.push(Effect::Changed { reason: format!("quorum: {quorate}") });
            }
            Message::Ready { view, node, ready } if view == self.view => self.apply_ready(node, ready, effects),
            Message::Joined { view } if view == self.view => self.apply_joined(sender, effects),
            Message::Fence(order) if self.is_order(sender, order.view) => self.apply_order(&order, effects),
            _ => return,
        }
        self.advance_old(|| format!("{sender} {kind:?}"));
    }

    /// Orders of a former DC, or from before a view, are void.
    fn is_order(&self, sender: NodeId, view: ViewId) -> bool {
        self.dc == Some(sender) && view == self.view
    }

    fn apply_exec(&mut self, exec: Box<Exec>, effects: &mut Vec<Effect>) {
        if !self.members.contains(&exec.host()) {
            return;
        }
        self.begin(InFlight { identity: exec.identity.clone(), wait_ms: exec.wait_ms, router: exec.router });
        self.cib.edit_status(|s| status::record_pending(s, &exec.identity));
        effects.push(Effect::Exec(exec));
    }

    fn apply_ready(&mut self, node: NodeId, ready: bool, effects: &mut Vec<Effect>) {
        if !self.members.contains(&node) || self.ready.insert(node, ready) == Some(ready) {
            return;
        }
        let dc = self.elect();
        if dc != self.dc {
            self.dc = dc;
            self.write_runtime();
            effects.push(Effect::Coordinator);
            effects.push(Effect::Changed { reason: "coordinator".to_owned() });
        }
    }

    fn apply_joined(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        if !self.joining.remove(&node) {
            return;
        }
        let at = self.wall.secs();
        self.cib.edit_status(|s| status::set_membership(s, node, "", Membership::Member(at)));
        effects.push(Effect::Joined { node });
        effects.push(Effect::Changed { reason: format!("node {node} joined") });
    }

    fn apply_op(&mut self, sender: NodeId, message: OpMessage, effects: &mut Vec<Effect>) {
        if !self.dedup.admit(sender, message.incarnation, message.seq) {
            effects.push(Effect::Repeated { origin: sender, incarnation: message.incarnation, seq: message.seq });
            return;
        }
        self.advance_old(|| format!("{sender} {} {}", message.incarnation, message.seq));
        let result = match message.op {
            Op::As { subject, op } => self.perform_as(&subject, *op, message.wall_ms, effects),
            op => self.perform(op, message.wall_ms, effects),
        };
        effects.push(Effect::Applied { origin: sender, incarnation: message.incarnation, seq: message.seq, result });
    }

    /// Every member does the same here, whoever has asked.
    fn perform(&mut self, op: Op, wall_ms: i64, effects: &mut Vec<Effect>) -> Result<Applied, CibError> {
        let done = |changed| Ok(Applied { changed, config_changed: false, answer: None });
        match op {
            Op::Cib(text) => self.apply_cib(&text, None, effects),
            Op::As { .. } => Err(CibError::BadRequest("an operation on behalf of two users".to_owned())),
            Op::Attribute { node, name, value: Some(_) } if self.attributes_full(NodeId(node), &name) => {
                let (found, limit) = (status::MAX_ATTRIBUTES + 1, status::MAX_ATTRIBUTES);
                Err(CibError::TooCostly { what: "node", unit: "attributes", found, limit })
            }
            Op::Attribute { node, name, value } => {
                let node = NodeId(node);
                if !self.meet(node) {
                    return Err(CibError::BadRequest("the configuration has no such remote node".to_owned()));
                }
                let changed = self.cib.edit_status(|s| status::set_attribute(s, node, &name, value.as_deref()));
                self.name_state(node);
                if changed {
                    self.tell_attribute(node, &name, effects);
                    effects.push(Effect::Changed { reason: format!("attribute {name}") });
                }
                done(changed)
            }
            Op::Cleanup { resource, node, operation, refresh } => {
                done(self.clean_up(resource.as_deref(), node, operation.as_ref(), refresh, effects))
            }
            Op::Shutdown { node, cancel } => {
                let value = (!cancel).then(|| WallTime(wall_ms).secs().to_string());
                let changed =
                    self.cib.edit_status(|s| status::set_attribute(s, NodeId(node), "shutdown", value.as_deref()));
                if changed {
                    self.tell_attribute(NodeId(node), "shutdown", effects);
                }
                effects.push(Effect::Changed { reason: format!("shutdown of node {node}") });
                done(changed)
            }
            Op::Result(record) => {
                let at = WallTime(wall_ms).secs();
                self.in_flight.remove(&(record.identity.node, record.identity.transition_key.clone()));
                if record.identity.interval_ms == 0 {
                    self.end_recurring(&record.identity);
                }
                let changed = self.cib.edit_status(|s| status::record(s, &record, at));
                for name in status::counted(&record) {
                    self.tell_attribute(record.identity.node, &name, effects);
                }
                self.follow_connection(&record, effects);
                effects.push(Effect::Result(record));
                done(changed)
            }
            Op::Forget { node, resource, history } => done(self.forget(NodeId(node), &resource, history, effects)),
            Op::Fenced { node, action } => {
                if action != "on" {
                    self.cib.edit_status(|s| status::fenced(s, NodeId(node)));
                    effects.push(Effect::Changed { reason: format!("node {node} fenced") });
                }
                done(true)
            }
            Op::Fence(op) => {
                self.apply_fencing(&op, WallTime(wall_ms), effects);
                done(true)
            }
        }
    }

    fn attributes_full(&self, node: NodeId, name: &str) -> bool {
        self.status().is_some_and(|s| status::attributes_full(s, node, name))
    }

    /// A state made for a node that was never seen gets its name from the configuration.
    fn name_state(&mut self, node: NodeId) {
        let id = node.to_string();
        let listed = self.cib.section("nodes").and_then(|n| n.elements().find(|e| e.id() == Some(&id)));
        let Some(name) = listed.and_then(|e| e.attr("uname")).map(str::to_owned) else { return };
        let nameless = |s: &Element| status::node_state(s, node).is_some_and(|e| e.attr("uname").is_none());
        if self.status().is_some_and(nameless) {
            self.cib.edit_status(|s| status::set_name(s, node, &name));
        }
    }
}
