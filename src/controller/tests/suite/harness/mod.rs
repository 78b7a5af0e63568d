//! Controllers on a virtual clock, over a bus that orders messages per partition as the ring does, with pretended agents.

mod documents;
pub mod fences;
mod operator;
pub mod planner;

use base::exit::OcfCode;
use base::{NodeId, Time, WallTime};
use cib::Cib;
use controller::fencing::executor::AgentCall;
use controller::*;
pub use documents::{GROUP, document, schedule, seeds};
use scheduler::Schedule;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use xml::Element;

pub type Tape = Vec<(NodeId, ViewId, u64, Vec<u8>)>;
pub type Tamper = (NodeId, fn(&mut [u8]));
pub type Planner = fn(&Element, WallTime) -> Result<Schedule, String>;

/// Everything about one node that a test may look at.
pub struct Node {
    pub controller: Controller,
    pub incarnation: u64,
    pub running: BTreeSet<String>,
    pub persisted: Option<(Arc<Element>, String)>,
    /// The newest write that was wanted, and the newest that was done.
    newest: u64,
    stored: u64,
    pub owners: Owners,
    pub discarded: Vec<String>,
    pub timeline: Vec<TimelineEvent>,
    pub replies: BTreeMap<u64, Response>,
    pub left: bool,
    /// What it keeps of its instances, as files.
    pub records: BTreeMap<String, Record>,
    /// What agents have put in place: agent and parameters. It outlives the daemon.
    pub placed: BTreeSet<String>,
    /// Instances that are promoted.
    pub promoted: BTreeSet<String>,
    /// What its alerts said of the protocol, and of trouble with fencing.
    pub alerts: Vec<String>,
    /// Alert agents that it called.
    pub notified: Vec<controller::alerts::Call>,
    /// Why it left the ring to come back, and how often.
    pub stopped: Vec<String>,
    tick: Option<Time>,
    cancelled: BTreeSet<u64>,
}

#[derive(Clone)]
enum Event {
    Deliver {
        sender: NodeId,
        view: ViewId,
        seq: u64,
        payload: Vec<u8>,
    },
    Safe {
        view: ViewId,
        seq: u64,
    },
    View {
        id: ViewId,
        members: Vec<NodeId>,
        quorate: bool,
    },
    Tick,
    Done {
        incarnation: u64,
        call: u64,
        operation: base::Operation,
    },
    Scheduled {
        incarnation: u64,
        ticket: u64,
        result: Box<Result<Schedule, String>>,
    },
    FenceAgent {
        incarnation: u64,
        call: u64,
        run: AgentCall,
    },
    /// A write ends; `again` if it had failed before.
    Stored {
        incarnation: u64,
        saved: Persist,
        again: bool,
    },
    Digested {
        incarnation: u64,
        ticket: u64,
        digest: String,
    },
    /// It has stayed away for long enough.
    Return,
}

struct Ring {
    id: ViewId,
    members: BTreeSet<NodeId>,
    next: u64,
}

pub struct Lab {
    pub now: Time,
    pub nodes: BTreeMap<NodeId, Node>,
    rings: Vec<Ring>,
    view_seq: u64,
    queue: BTreeMap<(Time, u64), (NodeId, Event)>,
    order: u64,
    planner: Planner,
    /// Expected votes: more than half of them have quorum.
    pub votes: usize,
    /// Seen executions: time, node, operation key.
    pub log: Vec<(Time, NodeId, String)>,
    /// How long an operation takes, by key; otherwise 5 ms.
    pub delays: BTreeMap<String, u64>,
    /// Agents find what they have put in place by their parameters, not by the resource's name.
    pub exact: bool,
    /// Codes that agents give instead of the truth, by node and key.
    pub faults: BTreeMap<(NodeId, String), OcfCode>,
    /// At a view change, messages that were not delivered go into the new view instead of the old one.
    pub requeue: bool,
    /// Primitives that ran on two connected nodes at once, or on any two.
    pub doubles: Vec<(Time, String)>,
    next_client: u64,
    watchdog_ms: u64,
    /// Fence agents by name.
    pub agents: BTreeMap<String, fences::Agent>,
    /// What fence agents were asked to do to somebody, when, and on which node.
    pub fences: Vec<fences::Fence>,
    /// Who ended because it was fenced.
    pub obeyed: Vec<(Time, NodeId, String)>,
    /// How long a node's disk takes to write a CIB; otherwise 2 ms.
    pub disk_ms: BTreeMap<NodeId, u64>,
    pub full_disks: BTreeSet<NodeId>,
    /// Votes of the nodes, where they are not one each.
    pub node_votes: BTreeMap<NodeId, u32>,
    /// Damages what is delivered to one node.
    pub tamper: Option<Tamper>,
    /// Levels of nodes that run an older program; to be set before they start.
    pub levels: BTreeMap<NodeId, u32>,
    /// Every ordered payload with its sender, view and number, if wanted.
    pub tape: Option<Tape>,
}

pub const START_WALL: i64 = 1_700_000_000_000;

impl Lab {
    /// Nodes 1..=n, all up and together, on the given configuration sections.
    pub fn new(n: u32, resources: &str, planner: Planner) -> Lab {
        Lab::with_votes(&vec![1; n as usize], resources, planner)
    }

    /// Nodes 1..=n with these votes.
    pub fn with_votes(votes: &[u32], resources: &str, planner: Planner) -> Lab {
        Lab::with(votes, resources, planner, BTreeMap::new())
    }

    /// Some of them run an older program, which is at these levels.
    pub fn mixed(n: u32, resources: &str, planner: Planner, levels: BTreeMap<NodeId, u32>) -> Lab {
        Lab::with(&vec![1; n as usize], resources, planner, levels)
    }

    fn with(votes: &[u32], resources: &str, planner: Planner, levels: BTreeMap<NodeId, u32>) -> Lab {
        Lab::on(votes, &document(resources), planner, levels)
    }

    /// All up and together on this CIB.
    pub fn on(votes: &[u32], cib: &str, planner: Planner, levels: BTreeMap<NodeId, u32>) -> Lab {
        Lab::watched(votes, cib, planner, levels, 0)
    }

    /// Each node has a hardware watchdog of that time.
    pub fn watched(votes: &[u32], cib: &str, planner: Planner, levels: BTreeMap<NodeId, u32>, watchdog_ms: u64) -> Lab {
        let n = votes.len() as u32;
        let mut lab = Lab {
            now: Time::from_millis(1000),
            nodes: BTreeMap::new(),
            rings: Vec::new(),
            view_seq: 0,
            queue: BTreeMap::new(),
            order: 0,
            planner,
            votes: votes.iter().sum::<u32>() as usize,
            log: Vec::new(),
            delays: BTreeMap::new(),
            exact: false,
            faults: BTreeMap::new(),
            requeue: false,
            doubles: Vec::new(),
            next_client: 0,
            watchdog_ms,
            agents: BTreeMap::new(),
            fences: Vec::new(),
            obeyed: Vec::new(),
            disk_ms: BTreeMap::new(),
            full_disks: BTreeSet::new(),
            node_votes: (1..).map(NodeId).zip(votes.iter().copied()).collect(),
            tamper: None,
            levels,
            tape: None,
        };
        for id in 1..=n {
            lab.boot(NodeId(id), Cib::parse(cib).unwrap(), "", 1);
        }
        let all: Vec<u32> = (1..=n).collect();
        lab.partition(&[&all]);
        lab
    }

    fn boot(&mut self, id: NodeId, cib: Cib, lineage: &str, life: u64) {
        let names = self.node_votes.keys().map(|n| (*n, format!("node{n}"))).collect();
        let incarnation = u64::from(id.0) * 1000 + life;
        let mut config = Config::new(id, names, "test", incarnation);
        config.votes = self.node_votes.clone();
        config.expected_votes = self.node_votes.values().sum();
        config.watchdog_ms = self.watchdog_ms;
        config.feature_level = self.levels.get(&id).copied().unwrap_or(FEATURE_LEVEL);
        let controller = Controller::new(config, cib, lineage, self.now);
        let node = Node {
            controller,
            incarnation,
            running: BTreeSet::new(),
            persisted: None,
            newest: 0,
            stored: 0,
            owners: Owners::default(),
            discarded: Vec::new(),
            timeline: Vec::new(),
            replies: BTreeMap::new(),
            left: false,
            records: BTreeMap::new(),
            placed: BTreeSet::new(),
            promoted: BTreeSet::new(),
            alerts: Vec::new(),
            notified: Vec::new(),
            stopped: Vec::new(),
            tick: None,
            cancelled: BTreeSet::new(),
        };
        self.nodes.insert(id, node);
    }

    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[&NodeId(id)]
    }

    pub fn wall(&self) -> WallTime {
        WallTime(START_WALL + self.now.as_millis() as i64)
    }

    fn push(&mut self, delay_us: u64, node: NodeId, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + Duration::from_micros(delay_us), self.order), (node, event));
    }

    // ---- the ring ----

    /// Forms new views of these groups. Messages under way reach those who stay with their sender.
    pub fn partition(&mut self, groups: &[&[u32]]) {
        let groups: Vec<BTreeSet<NodeId>> = groups.iter().map(|g| g.iter().copied().map(NodeId).collect()).collect();
        let old: Vec<((Time, u64), (NodeId, Event))> = {
            let is_ring = |e: &Event| matches!(e, Event::Deliver { .. } | Event::Safe { .. } | Event::View { .. });
            let keys: Vec<_> = self.queue.iter().filter(|(_, (_, e))| is_ring(e)).map(|(k, _)| *k).collect();
            keys.into_iter().map(|k| (k, self.queue.remove(&k).unwrap())).collect()
        };
        let mut again: Vec<(NodeId, Vec<u8>)> = Vec::new();
        let everyone: Vec<NodeId> = self.nodes.keys().copied().collect();
        everyone.iter().for_each(|n| self.input(*n, Input::Transitional));
        for (_, (node, event)) in old {
            let Event::Deliver { sender, payload, .. } = &event else {
                if matches!(event, Event::View { .. }) {
                    self.feed(node, event);
                }
                continue;
            };
            let together = groups.iter().any(|g| g.contains(&node) && g.contains(sender));
            if together && self.requeue {
                if node == *sender {
                    again.push((*sender, payload.clone()));
                }
            } else if together && self.nodes.contains_key(&node) {
                let Event::Deliver { view, seq, .. } = event else { continue };
                self.feed(node, event);
                // True for those who come along, as the ring says it.
                self.feed(node, Event::Safe { view, seq });
            }
        }
        // What was sent while the old view ended goes into the new one.
        let late: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, (_, e))| matches!(e, Event::Deliver { .. } | Event::Safe { .. }))
            .map(|(k, _)| *k)
            .collect();
        for key in late {
            if let Some((node, Event::Deliver { sender, payload, .. })) = self.queue.remove(&key)
                && node == sender
            {
                again.push((sender, payload));
            }
        }
        self.rings.clear();
        self.view_seq += 4;
        for group in groups {
            let members: BTreeSet<NodeId> = group.into_iter().filter(|n| self.nodes.contains_key(n)).collect();
            let Some(rep) = members.first() else { continue };
            let id = ViewId { seq: self.view_seq, rep: rep.0 };
            let quorate = self.is_majority(&members);
            self.rings.push(Ring { id, members: members.clone(), next: 1 });
            for node in &members {
                let list = members.iter().copied().collect();
                self.push(1000, *node, Event::View { id, members: list, quorate });
            }
        }
        self.now = self.now + Duration::from_micros(1);
        for (sender, payload) in again {
            self.broadcast(sender, payload);
        }
    }

    /// Whether these nodes have quorum.
    pub fn is_majority<'a>(&self, members: impl IntoIterator<Item = &'a NodeId>) -> bool {
        let votes: u32 = members.into_iter().filter_map(|n| self.node_votes.get(n)).sum();
        votes as usize * 2 > self.votes
    }

    fn broadcast(&mut self, sender: NodeId, payload: Vec<u8>) {
        let Some(ring) = self.rings.iter_mut().find(|r| r.members.contains(&sender)) else { return };
        let (view, seq, members) = (ring.id, ring.next, ring.members.clone());
        ring.next += 1;
        if let Some(tape) = &mut self.tape {
            tape.push((sender, view, seq, payload.clone()));
        }
        for node in members {
            self.push(1500, node, Event::Deliver { sender, view, seq, payload: payload.clone() });
            self.push(2500, node, Event::Safe { view, seq });
        }
    }

    /// The node leaves the ring and lives on; later it comes back.
    fn step_out(&mut self, id: NodeId, reason: String, return_after_ms: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.stopped.push(reason);
        }
        let is_ring = |e: &Event| matches!(e, Event::Deliver { .. } | Event::Safe { .. } | Event::View { .. });
        self.queue.retain(|_, (node, e)| *node != id || !is_ring(e));
        let rest: Vec<Vec<u32>> = self
            .rings
            .iter()
            .map(|r| r.members.iter().filter(|n| **n != id).map(|n| n.0).collect())
            .filter(|g: &Vec<u32>| !g.is_empty())
            .collect();
        let rest: Vec<&[u32]> = rest.iter().map(Vec::as_slice).collect();
        self.partition(&rest);
        self.push(return_after_ms * 1000, id, Event::Return);
    }

    fn come_back(&mut self, id: NodeId) {
        self.input(id, Input::StartedOver);
        let mut all: BTreeSet<u32> =
            self.rings.first().map(|r| r.members.iter().map(|n| n.0).collect()).unwrap_or_default();
        all.insert(id.0);
        let all: Vec<u32> = all.into_iter().collect();
        self.partition(&[&all]);
    }

    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        let mut steps = 0;
        while let Some((&(at, order), _)) = self.queue.first_key_value() {
            if at > end {
                break;
            }
            let (node, event) = self.queue.remove(&(at, order)).unwrap();
            self.now = self.now.max(at);
            self.feed(node, event);
            steps += 1;
            assert!(steps < 200_000, "the cluster never comes to rest");
        }
        self.now = end;
    }

    fn feed(&mut self, id: NodeId, event: Event) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let input = match event {
            Event::Deliver { sender, view, seq, mut payload } => {
                if let Some((_, damage)) = self.tamper.filter(|(victim, _)| *victim == id) {
                    damage(&mut payload);
                }
                Input::Deliver { sender, view, seq, payload }
            }
            Event::Safe { view, seq } => Input::Safe { view, seq },
            Event::View { id, members, quorate } => Input::View { id, members, quorate },
            Event::Tick => {
                node.tick = None;
                Input::Tick
            }
            Event::Scheduled { incarnation, .. } if incarnation != node.incarnation => return,
            Event::Scheduled { ticket, result, .. } => Input::Scheduled { ticket, result: result.map(Box::new) },
            Event::FenceAgent { incarnation, .. } if incarnation != node.incarnation => return,
            Event::FenceAgent { call, run, .. } => match self.fence_agent(id, &run) {
                Some(result) => Input::FenceAgent { call, result },
                None => return,
            },
            Event::Stored { incarnation, .. } if incarnation != node.incarnation => return,
            // One disk writes one after the other.
            Event::Stored { saved, .. } if saved.ticket < node.stored => return,
            Event::Stored { saved, .. } if saved.ticket < node.newest && self.full_disks.contains(&id) => {
                // A newer one is the one to repeat.
                Input::Stored { ticket: saved.ticket, written: false }
            }
            Event::Stored { incarnation, saved, again } => {
                let (ticket, written) = (saved.ticket, !self.full_disks.contains(&id));
                if written {
                    node.stored = ticket;
                    node.persisted = Some((saved.cib, saved.lineage));
                } else {
                    self.push(250_000, id, Event::Stored { incarnation, saved, again: true });
                    if again {
                        return;
                    }
                }
                Input::Stored { ticket, written }
            }
            Event::Digested { incarnation, .. } if incarnation != node.incarnation => return,
            Event::Digested { ticket, digest, .. } => Input::Digested { ticket, digest },
            Event::Return => return self.come_back(id),
            Event::Done { incarnation, call, operation } => {
                if incarnation != node.incarnation || node.cancelled.contains(&call) {
                    return;
                }
                let code = self.act(id, &operation);
                Input::Executed { call, result: ExecResult::done(code) }
            }
        };
        self.input(id, input);
    }

    fn act(&mut self, id: NodeId, operation: &base::Operation) -> OcfCode {
        let key = operation.key();
        let fault = self.faults.get(&(id, key)).copied();
        let others = self.nodes.iter().any(|(n, o)| *n != id && o.running.contains(&operation.instance.id));
        let Some(node) = self.nodes.get_mut(&id) else { return OcfCode::ERROR };
        if let Some(code) = fault {
            return code;
        }
        let thing = thing(&operation.instance);
        match operation.action.as_str() {
            "start" => drop(node.placed.insert(thing)),
            "stop" => {
                node.placed.remove(&thing);
                node.promoted.remove(&operation.instance.id);
            }
            "monitor" if self.exact && node.promoted.contains(&operation.instance.id) => return OcfCode::PROMOTED,
            "monitor" if self.exact && node.placed.contains(&thing) => return OcfCode::OK,
            "monitor" if self.exact => return OcfCode::NOT_RUNNING,
            "reload-agent" => return OcfCode::OK,
            _ => {}
        }
        match operation.action.as_str() {
            "start" => {
                node.running.insert(operation.instance.id.clone());
                // A fence device is used from everywhere, wherever it "runs".
                if others && operation.instance.class != "stonith" {
                    self.doubles.push((self.now, operation.instance.id.clone()));
                }
                OcfCode::OK
            }
            "stop" => {
                node.running.remove(&operation.instance.id);
                OcfCode::OK
            }
            "monitor" if node.running.contains(&operation.instance.id) => OcfCode::OK,
            "monitor" => OcfCode::NOT_RUNNING,
            "promote" => {
                node.promoted.insert(operation.instance.id.clone());
                OcfCode::OK
            }
            "demote" => {
                node.promoted.remove(&operation.instance.id);
                OcfCode::OK
            }
            "notify" => OcfCode::OK,
            _ => OcfCode::UNIMPLEMENTED,
        }
    }

    pub fn input(&mut self, id: NodeId, input: Input) {
        let (now, wall) = (self.now, self.wall());
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.controller.handle(now, wall, input);
        let mut outputs = Vec::new();
        while let Some(output) = node.controller.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.output(id, output);
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(due) = node.controller.poll_timeout()
            && node.tick.is_none_or(|at| due < at)
        {
            let due = due.max(now + Duration::from_micros(1));
            node.tick = Some(due);
            let delay = due.since(now).as_micros() as u64;
            self.push(delay, id, Event::Tick);
        }
    }

    fn output(&mut self, id: NodeId, output: Output) {
        let now = self.now;
        let planner = self.planner;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match output {
            Output::Broadcast(payload) => self.broadcast(id, payload),
            Output::Execute { call, operation, record } => {
                let key = operation.key();
                let delay = self.delays.get(&key).copied().unwrap_or(5);
                let incarnation = node.incarnation;
                self.log.push((now, id, key));
                if let Some(record) = record {
                    node.records.insert(record.instance.id.clone(), *record);
                }
                self.push(delay * 1000, id, Event::Done { incarnation, call, operation });
            }
            Output::Record(record) => drop(node.records.insert(record.instance.id.clone(), *record)),
            Output::Unrecord { instance } => drop(node.records.remove(&instance)),
            Output::Cancel { call } => drop(node.cancelled.insert(call)),
            Output::Schedule { ticket, cib, wall } => {
                let result = Box::new(planner(&cib, wall));
                let incarnation = node.incarnation;
                self.push(1000, id, Event::Scheduled { incarnation, ticket, result });
            }
            Output::Reply { id, response } => drop(node.replies.insert(id, response)),
            Output::Persist(saved) => {
                let incarnation = node.incarnation;
                let delay_ms = self.disk_ms.get(&id).copied().unwrap_or(2);
                node.newest = saved.ticket;
                self.push(delay_ms * 1000, id, Event::Stored { incarnation, saved, again: false });
            }
            Output::Discarded { reason, .. } => node.discarded.push(reason),
            Output::Owners(owners) => node.owners = owners,
            Output::FenceAgent { call, run } => {
                let incarnation = node.incarnation;
                let delay_ms = self.begin_fence_agent(id, &run);
                self.push(delay_ms * 1000, id, Event::FenceAgent { incarnation, call, run });
            }
            Output::Obey { reason, .. } => {
                self.obeyed.push((now, id, reason));
                self.kill(id.0);
            }
            Output::Timeline(event) => node.timeline.push(event),
            Output::Alert(Alert::Protocol { message } | Alert::FencingTrouble { message, .. }) => {
                node.alerts.push(message)
            }
            Output::Alert(_) => {}
            Output::Notify(calls) => node.notified.extend(calls.calls),
            Output::Digest { ticket, cib } => {
                let incarnation = node.incarnation;
                self.push(1000, id, Event::Digested { incarnation, ticket, digest: digest_of(&cib) });
            }
            Output::FailStop { reason, return_after_ms } => self.step_out(id, reason, return_after_ms),
            Output::Leave => {
                node.left = true;
                self.kill(id.0);
            }
        }
    }
}

// ---- clients ----

/// What is left of a node when its daemon is killed.
pub struct Remains {
    stored: Option<(Arc<Element>, String)>,
    records: BTreeMap<String, Record>,
    placed: BTreeSet<String>,
    running: BTreeSet<String>,
}

/// What an instance puts in place; without parameters it goes by its id.
fn thing(instance: &base::Instance) -> String {
    let params: Vec<String> = instance.params.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let by = if params.is_empty() { instance.id.clone() } else { params.join(" ") };
    format!("{} {by}", instance.agent)
}
