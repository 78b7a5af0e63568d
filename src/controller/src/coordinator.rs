//! The DC's work: on every change ask for a schedule, execute its graph, watch what is under way.
//!
//! ```text
//! idle --change--> asking --schedule of the current content--> executing --all done--> idle
//!   ^                 ^   '--content moved on: ask again           | unexpected change or failure: abort, nothing new begins
//!   |                 '--------------------------------------------'
//!   '- not the DC: everything is dropped; the next DC starts with a schedule
//! ```
//!
//! Nothing waits for the unrelated: a schedule is made while actions of earlier transitions are under way, which the history shows as
//! pending. What a new graph has in common with them is theirs ([`Coordinator::adopt`]): it is not asked for again, and what is ordered
//! behind it waits for its result. Everything else on the same resource and node waits until it has ended. One thing is waited for:
//! who is to be notified of what was done is told first ([`Transition::is_owed`]), since no new graph would know of it.
//!
//! The controller calls [`Coordinator::advance`] after every input and performs the [`Command`]s.

use crate::api::{Config, HeldStart, OpStatus, Output};
use crate::backoff::Backoff;
use crate::fencing::{Over, Wanted, Wants};
use crate::message::{Exec, InFlight, Message, Op, OpIdentity, OpRecord, REMOTE_LEVEL};
use crate::replica::{Replica, Turnover};
use crate::status;
use crate::transition::Transition;
use base::exit::OcfCode;
use base::{NodeId, Reason, Time, WallTime};
use scheduler::Schedule;
use scheduler::graph::{Action, ActionId, ActionKind};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

mod holds;
mod nodes;
mod settings;

use nodes::{leases_of, node_of, router_of};

use holds::Awaited;
use settings::{limits, recheck_interval};

/// Changes that come together are scheduled together.
const SETTLE: Duration = Duration::from_millis(2);
/// More runs of the scheduler than this within [`BUSY_SPAN`] are spaced out by [`BUSY_PAUSE`]: something never settles.
const BUSY_RUNS: usize = 50;
const BUSY_SPAN: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// What is only half known is not planned on: changes that press nobody wait that long, at most, for probes that are under way.
const PROBES_WAIT: Duration = Duration::from_secs(3);
/// Wait before a failed scheduler run is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Who is configured and was never met is waited for that long after the last view (`dc-deadtime` of the original) before it is fenced.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// Agents whose resources are leases: they end by themselves when their node is gone.
const LEASE_AGENTS: [&str; 2] = ["IPaddr2", "IPaddr"];

/// What the coordinator wants done.
#[derive(Debug)]
pub enum Command {
    Broadcast(Message),
    Submit(Op),
    Output(Output),
    Fence(Wanted),
    Timeline { kind: &'static str, subject: String, text: String },
}

pub struct Coordinator {
    uuid: String,
    number: u32,
    ticket: u64,
    asked: Option<u64>,
    dirty: Option<String>,
    /// A node was lost or has come, or something that ran has failed.
    pressing: bool,
    /// Since when it waits for probes.
    unknown_since: Option<Time>,
    /// When the scheduler was asked of late.
    runs: VecDeque<Time>,
    due: Time,
    /// Nothing is asked of the scheduler before this.
    paused_until: Time,
    /// Whether there is quorum is not known before this.
    undecided_until: Time,
    recheck: Option<Time>,
    transition: Option<Transition>,
    /// Orders on their way to their node: not in the content yet, so nobody may plan on it.
    sent: BTreeSet<(NodeId, String)>,
    /// What was under way when the scheduler was asked, and so is pending in what it was given.
    flying: BTreeSet<(NodeId, String)>,
    /// What of it has succeeded since.
    landed: Vec<OpIdentity>,
    /// What of earlier transitions is under way, and what the orders of the configuration make wait for it.
    awaited: Vec<Awaited>,
    /// Actions of the transition that earlier ones have begun, by the key that their result will have.
    adopted: BTreeMap<(NodeId, String), ActionId>,
    backoff: Backoff,
    /// When what is under way counts as lost.
    deadlines: BTreeMap<(NodeId, String), Time>,
    /// Resources of lost nodes whose leases may not be over, with their node.
    holds: BTreeMap<String, (NodeId, Time)>,
    /// What transitions want fenced.
    pub wants: Wants,
    pub active: bool,
    /// Since when this is the DC of this view.
    since: Option<Time>,
}

impl Coordinator {
    pub fn new(seed: u64) -> Coordinator {
        Coordinator {
            uuid: crate::digest::uuid(seed),
            number: 0,
            ticket: 0,
            asked: None,
            dirty: None,
            pressing: false,
            unknown_since: None,
            runs: VecDeque::new(),
            due: Time::ZERO,
            paused_until: Time::ZERO,
            undecided_until: Time::ZERO,
            recheck: None,
            transition: None,
            sent: BTreeSet::new(),
            flying: BTreeSet::new(),
            landed: Vec::new(),
            awaited: Vec::new(),
            adopted: BTreeMap::new(),
            backoff: Backoff::default(),
            deadlines: BTreeMap::new(),
            holds: BTreeMap::new(),
            wants: Wants::default(),
            active: false,
            since: None,
        }
    }

    /// A view or a new DC: nothing of what was decided before counts. Holds go on.
    pub fn reset(&mut self) {
        self.asked = None;
        self.transition = None;
        self.sent.clear();
        self.flying.clear();
        self.landed.clear();
        self.awaited.clear();
        self.adopted.clear();
        self.backoff.clear();
        self.deadlines.clear();
        self.wants.reset();
        self.dirty = None;
        self.pressing = false;
        self.unknown_since = None;
        self.active = false;
        self.since = None;
    }

    /// This node is the DC from now on.
    pub fn begin(&mut self, now: Time) {
        self.active = true;
        self.since = Some(now);
    }

    /// The content changed unexpectedly. `urgent` changes are scheduled without waiting for more of them.
    pub fn change(&mut self, now: Time, reason: &str, urgent: bool) {
        let busy = self.runs.len() >= BUSY_RUNS && self.runs.front().is_some_and(|at| now.since(*at) < BUSY_SPAN);
        let due = if busy {
            now + BUSY_PAUSE
        } else if urgent {
            now
        } else {
            now + SETTLE
        };
        self.pressing |= urgent;
        self.due = if self.dirty.is_some() { self.due.min(due) } else { due };
        self.dirty.get_or_insert_with(|| reason.to_owned());
    }

    /// Decides nothing new until then.
    pub fn pause(&mut self, until: Time) {
        self.paused_until = until;
    }

    /// Decides nothing new until then: whether there is quorum is being asked.
    pub fn undecided(&mut self, until: Time) {
        self.undecided_until = until;
    }

    /// Keeps resources back until the leases of a lost node are over (`bascule-takeover=safe`).
    pub fn hold(&mut self, now: Time, node: NodeId, turnover: &Turnover, replica: &Replica, config: &Config) {
        if replica.property("bascule-takeover") != Some("safe") {
            return;
        }
        let until = now + config.lease.hold();
        let starting =
            turnover.starting.iter().filter(|(n, id)| *n == node && LEASE_AGENTS.contains(&id.agent.as_str()));
        let starting = starting.map(|(_, id)| id.resource.to_string());
        for resource in leases_of(replica, node).into_iter().chain(starting) {
            self.holds.insert(resource, (node, until));
        }
    }

    /// A node is certainly down: its leases are nobody's.
    pub fn release(&mut self, node: NodeId) {
        self.holds.retain(|_, (n, _)| *n != node);
    }

    pub fn scheduled(
        &mut self,
        now: Time,
        wall: WallTime,
        ticket: u64,
        result: Result<Schedule, String>,
        replica: &Replica,
    ) -> Vec<Command> {
        if self.asked != Some(ticket) {
            return Vec::new();
        }
        self.asked = None;
        if self.dirty.is_some() {
            return Vec::new();
        }
        match result {
            Ok(schedule) => {
                let mut commands = self.end_transition();
                self.number += 1;
                let mut transition = Transition::new(self.number, schedule.graph);
                self.adopt(now, &mut transition, replica);
                let text = format!("{} actions, {} of them work", transition.len(), transition.work());
                let subject = format!("transition {}", self.number);
                if let Some(by) = schedule.recheck_by {
                    let wait = Duration::from_secs(u64::try_from(by - wall.secs()).unwrap_or(0).max(1));
                    self.recheck = Some(self.recheck.map_or(now + wait, |at| at.min(now + wait)));
                }
                self.transition = Some(transition);
                commands.push(Command::Timeline { kind: "transition", subject, text });
                commands
            }
            Err(message) => {
                self.change(now, "the scheduler failed", false);
                self.due = now + RETRY;
                vec![Command::Timeline { kind: "schedule_failed", subject: String::new(), text: message }]
            }
        }
    }

    /// Finds what of a new transition is under way already, or has succeeded since the scheduler was asked.
    fn adopt(&mut self, now: Time, transition: &mut Transition, replica: &Replica) {
        self.adopted.clear();
        self.wants.forget_actions();
        let mut unplanned: Vec<OpIdentity> = std::mem::take(&mut self.landed);
        let (mut running, mut done) = (Vec::new(), Vec::new());
        let ended = ended(transition, replica);
        for action in transition.actions() {
            let Some(node) = action.target().and_then(|t| node_of(t, replica)) else { continue };
            if action.operation() == "stonith" {
                if self.wants.adopt(action, node, replica) {
                    running.push(action.id);
                }
                continue;
            }
            let ActionKind::Resource(op) = &action.kind else { continue };
            // What is ended first and done anew is another operation than that which is under way.
            let anew = !ends(&op.operation) && ended.contains(&(node, op.primitive.id.as_str()));
            let same = |id: &OpIdentity| !anew && transition.is_same(action, op, id);
            if let Some(at) = unplanned.iter().position(|id| id.node == node && same(id)) {
                unplanned.remove(at);
                done.push(action.id);
            } else if let Some(flight) = flights(replica, node).find(|f| same(&f.identity)) {
                self.adopted.insert((node, flight.identity.transition_key.clone()), action.id);
                running.push(action.id);
            }
        }
        self.awaited = holds::awaited(replica);
        running.iter().chain(&done).for_each(|id| transition.take(*id));
        for id in done {
            transition.confirm(id, true);
        }
        if let Some(id) = unplanned.iter().find(|id| status::is_recorded(&id.operation)) {
            self.change(now, &format!("{} reported", id.key), true);
        }
    }

    /// An order has reached everybody: the content shows it as pending.
    pub fn delivered(&mut self, node: NodeId, transition_key: &str) {
        self.sent.remove(&(node, transition_key.to_owned()));
    }

    /// Failures of a resource were forgotten.
    pub fn forgotten(&mut self, node: NodeId, resource: &str) {
        self.backoff.forget(node, resource);
    }

    /// An operation has reported, wherever it was asked for.
    pub fn result(&mut self, now: Time, record: &OpRecord) {
        let id = &record.identity;
        let key = (id.node, id.transition_key.clone());
        let failed = record.failed() && !id.ignore_failure;
        let action = self.adopted.remove(&key).or_else(|| self.action_of(&id.transition_key));
        let ours = action.and_then(|action| Some(self.transition.as_mut()?.confirm(action, !failed)));
        let flew = self.flying.remove(&key);
        // One of several that tell together what is where.
        let probe = id.operation == "monitor" && id.interval_ms == 0;
        if failed {
            if id.interval_ms > 0 || matches!(id.operation.as_str(), "start" | "promote" | "asyncmon") {
                self.backoff.failed(now, id.node, &id.resource, id.interval_ms);
            }
            self.change(now, &format!("{} failed", id.key), !probe);
        } else if self.asked.is_some() && flew {
            self.landed.push(id.clone());
        } else if ours != Some(true) {
            self.change(now, &format!("{} reported", id.key), !probe);
        }
    }

    /// The action of the current transition that `key` names.
    fn action_of(&self, key: &str) -> Option<ActionId> {
        let mut parts = key.split(':');
        let (action, number) = (parts.next()?.parse().ok()?, parts.next()?.parse::<u32>().ok()?);
        let uuid = parts.nth(1)?;
        (self.transition.as_ref()?.number == number && uuid == self.uuid).then_some(action)
    }

    /// A fencing is over; gives what is to be told of it.
    pub fn fenced(&mut self, now: Time, over: &Over<'_>, replica: &Replica) -> Option<String> {
        if over.ok && over.human {
            // A device's word alone does not end leases that may be alive: they have their bound.
            self.release(over.node);
        }
        let (action, told) = self.wants.over(now, over, replica, recheck_interval(replica));
        if let (Some(transition), Some(action)) = (&mut self.transition, action) {
            transition.confirm(action, over.ok);
            if !over.ok {
                self.change(now, "fencing failed", false);
            }
        }
        told
    }

    /// Does what is due. To be called after every input while this node is the DC.
    pub fn advance(&mut self, now: Time, wall: WallTime, replica: &Replica, config: &Config) -> Vec<Command> {
        let mut commands = Vec::new();
        self.holds.retain(|_, (_, until)| *until > now);
        self.watch(now, wall, replica, &mut commands);
        if self.recheck.is_some_and(|at| at <= now) {
            self.recheck = None;
            self.change(now, "time", false);
        }
        self.execute(now, replica, config, &mut commands);
        self.look_for_probes(now, replica);
        if self.may_ask()
            && self.due_at() <= now
            && let Some(reason) = self.dirty.take()
        {
            self.pressing = false;
            self.unknown_since = None;
            self.ticket += 1;
            self.asked = Some(self.ticket);
            self.flying = replica.in_flight.keys().cloned().collect();
            self.landed.clear();
            self.runs.push_back(now);
            while self.runs.len() > BUSY_RUNS {
                self.runs.pop_front();
            }
            self.recheck = Some(now + recheck_interval(replica));
            commands.push(Command::Timeline {
                kind: "schedule",
                subject: format!("ticket {}", self.ticket),
                text: reason,
            });
            let cib = replica.cib.shared_root();
            commands.push(Command::Output(Output::Schedule { ticket: self.ticket, cib, wall }));
        }
        commands
    }

    /// What was asked before is answered first, and what is on its way to its node must be known there before anybody plans on.
    /// Those who are to be told of what was done are told before anything else is decided.
    fn may_ask(&self) -> bool {
        self.asked.is_none() && self.sent.is_empty() && !self.transition.as_ref().is_some_and(Transition::is_owed)
    }

    /// A plan made while probes are under way takes for stopped what they are about to find, and would stop what comes after it.
    fn look_for_probes(&mut self, now: Time, replica: &Replica) {
        let probe = |f: &InFlight| f.identity.operation == "monitor" && f.identity.interval_ms == 0;
        let waits = self.dirty.is_some() && !self.pressing && replica.in_flight.values().any(probe);
        self.unknown_since = if waits { self.unknown_since.or(Some(now)) } else { None };
    }

    /// When the scheduler is asked, if nothing else is in the way.
    fn due_at(&self) -> Time {
        let known = self.unknown_since.map_or(Time::ZERO, |at| at + PROBES_WAIT);
        self.due.max(self.paused_until).max(self.undecided_until).max(known)
    }

    /// Gives up what has not reported in time: its result is unknown, and recorded as a timeout.
    fn watch(&mut self, now: Time, wall: WallTime, replica: &Replica, commands: &mut Vec<Command>) {
        self.deadlines.retain(|key, _| replica.in_flight.contains_key(key));
        for (key, flight) in &replica.in_flight {
            if self.deadlines.get(key).is_some_and(|deadline| *deadline > now) {
                continue;
            }
            let deadline = now + Duration::from_millis(flight.wait_ms);
            let deadline = self.deadlines.entry(key.clone()).or_insert(deadline);
            if *deadline > now {
                continue;
            }
            *deadline = now + Duration::from_millis(flight.wait_ms.max(1000));
            let record = OpRecord {
                identity: flight.identity.clone(),
                call: -1,
                code: OcfCode::ERROR.0,
                status: OpStatus::Timeout,
                reason: Reason::cleaned(&format!(
                    "{} did not report within {} ms",
                    flight.identity.node_name, flight.wait_ms
                )),
                exec_ms: flight.wait_ms,
                queue_ms: 0,
                changed_s: wall.secs(),
            };
            commands.push(Command::Submit(Op::Result(Box::new(record))));
        }
    }

    fn execute(&mut self, now: Time, replica: &Replica, config: &Config, commands: &mut Vec<Command>) {
        let Some(mut transition) = self.transition.take() else { return };
        if let Some(reason) = &self.dirty
            && transition.abort(reason)
        {
            let subject = format!("transition {}", transition.number);
            commands.push(Command::Timeline { kind: "abort", subject, text: reason.clone() });
        }
        let waiting = RefCell::new(BTreeSet::new());
        if transition.has_ready() {
            let limits = limits(replica, config);
            loop {
                let held = |action: &Action| self.is_held(now, action, replica, &waiting);
                let fired = transition.fire(limits, held);
                if fired.is_empty() {
                    break;
                }
                for action in fired {
                    self.start(now, &mut transition, &action, replica, commands);
                }
            }
        }
        for (node, resource) in waiting.into_inner() {
            if let Some(text) = self.backoff.tell(now, node, &resource) {
                let subject = format!("{resource} on {}", config.name_of(node));
                commands.push(Command::Timeline { kind: "backoff", subject, text });
            }
        }
        let more = transition.has_more();
        self.transition = Some(transition);
        if !more {
            commands.extend(self.end_transition());
        }
    }

    /// The transition of now is over, or gives way to a newer one.
    fn end_transition(&mut self) -> Vec<Command> {
        let Some(transition) = self.transition.take() else { return Vec::new() };
        let (done, failed, left) = transition.tally();
        let subject = format!("transition {}", transition.number);
        let mut text = format!("{done} done, {failed} failed, {left} not started");
        let running = transition.running();
        if running > 0 {
            text = format!("{text}, {running} under way");
        }
        if let Some(reason) = transition.aborted() {
            text = format!("{text}; aborted: {reason}");
        }
        vec![Command::Timeline { kind: "transition_end", subject, text }]
    }

    fn start(
        &mut self,
        now: Time,
        transition: &mut Transition,
        action: &Action,
        replica: &Replica,
        commands: &mut Vec<Command>,
    ) {
        let unmet = || self.unmet(now, action);
        let target = action.target().and_then(|t| node_of(t, replica)).or_else(unmet);
        let router = if target.is_some_and(|n| n.is_remote()) { router_of(action, replica) } else { None };
        let reached = |node: &NodeId| replica.members.contains(&router.unwrap_or(*node));
        let node = match target {
            Some(node) if reached(&node) || action.operation() == "stonith" => node,
            _ if matches!(action.kind, ActionKind::Cluster { .. }) && target.is_some() => {
                // The node is gone; forgetting about it needs no help of its own.
                target.unwrap_or(NodeId(0))
            }
            _ => {
                transition.confirm(action.id, false);
                self.change(now, &format!("{}: its node is no member", action.key()), false);
                self.due = now + RETRY;
                return;
            }
        };
        match &action.kind {
            ActionKind::Resource(_) if router.is_some() && replica.level() < REMOTE_LEVEL => {
                transition.confirm(action.id, false);
                let text = "remote nodes wait until all members know them".to_owned();
                commands.push(Command::Timeline { kind: "remote", subject: action.key().to_owned(), text });
            }
            ActionKind::Resource(op) => {
                if op.operation == "start" {
                    self.backoff.started(now, node, &op.primitive.id);
                }
                let exec = Exec { router, ..transition.exec(action, op, node, replica.view, &self.uuid) };
                self.sent.insert((node, exec.identity.transition_key.clone()));
                commands.push(Command::Broadcast(Message::Exec(Box::new(exec))));
            }
            ActionKind::Cluster { .. } => self.start_event(transition, action, node, replica, commands),
            ActionKind::Pseudo { .. } => drop(transition.confirm(action.id, true)),
        }
    }

    /// A node that is to be fenced and that nobody has met since the cluster started: it may just be starting, too.
    fn unmet(&self, now: Time, action: &Action) -> Option<NodeId> {
        let waited = self.since.is_some_and(|at| now.since(at) >= STARTS_WITHIN);
        let target = action.target().filter(|_| action.operation() == "stonith" && waited);
        target.and_then(|t| t.node_id())
    }

    fn start_event(
        &mut self,
        transition: &mut Transition,
        action: &Action,
        node: NodeId,
        replica: &Replica,
        commands: &mut Vec<Command>,
    ) {
        let resource = match &action.kind {
            ActionKind::Cluster { primitive: Some(p), .. } => p.id.to_string(),
            _ => String::new(),
        };
        match action.operation() {
            "stonith" => return commands.extend(self.wants.start(action, node, replica).map(Command::Fence)),
            "do_shutdown" => commands.push(Command::Broadcast(Message::Leave { view: replica.view, node })),
            "clear_failcount" => commands.push(Command::Submit(Op::Forget { node: node.0, resource, history: false })),
            "lrm_delete" => commands.push(Command::Submit(Op::Forget { node: node.0, resource, history: true })),
            _ => {}
        }
        transition.confirm(action.id, true);
    }

    /// When [`Coordinator::advance`] has something to do by itself.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let ask = (self.may_ask() && self.dirty.is_some()).then_some(self.due_at());
        let hold = self.transition.as_ref().and_then(|_| self.holds.values().map(|(_, until)| *until).min());
        let fence = self.transition.as_ref().and_then(|_| self.wants.deadline(now));
        let repeat = self.transition.as_ref().and_then(|_| self.backoff.deadline(now));
        [ask, hold, fence, repeat, self.recheck, self.deadlines.values().min().copied()].into_iter().flatten().min()
    }

    pub fn held_back(&self, now: Time) -> Vec<HeldStart> {
        if self.transition.is_some() { self.backoff.held(now) } else { Vec::new() }
    }

    pub fn describe(&self) -> String {
        match (&self.transition, self.asked, &self.dirty) {
            (_, Some(_), _) | (_, None, Some(_)) => "scheduling".to_owned(),
            (Some(t), _, _) => format!("transition {}", t.number),
            _ => "idle".to_owned(),
        }
    }
}

/// Operations that take back what others have done.
fn ends(operation: &str) -> bool {
    matches!(operation, "stop" | "demote" | "migrate_to" | "delete")
}

/// Resources of which a transition ends something, with the node.
fn ended<'a>(transition: &'a Transition, replica: &Replica) -> BTreeSet<(NodeId, &'a str)> {
    let of = |action: &'a Action| match &action.kind {
        ActionKind::Resource(op) if ends(&op.operation) => {
            Some((node_of(action.target()?, replica)?, op.primitive.id.as_str()))
        }
        _ => None,
    };
    transition.actions().filter_map(of).collect()
}

/// What a node has under way.
fn flights(replica: &Replica, node: NodeId) -> impl Iterator<Item = &InFlight> {
    let of_node = replica.in_flight.range((node, String::new())..).take_while(move |((n, _), _)| *n == node);
    of_node.map(|(_, flight)| flight)
}
