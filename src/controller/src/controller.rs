//! The controller itself: takes inputs, keeps its parts in step, collects their outputs.
//!
//! ```text
//! Deliver -> Assembler -> (Exchange, at a view's start) -> Replica::apply -> Effects -> Local, Coordinator, Clients
//! ```
//!
//! After every input [`Controller::settle`] lets the coordinator act and publishes what changed.

use crate::api::{Alert, Config, ExecResult, Input, Output, Owners, Persist, Response, Status, TimelineEvent, ViewId};
use crate::checks::{Checks, Held};
use crate::clients::Clients;
use crate::coordinator::{Command, Coordinator};
use crate::fatal::{Backoff, Fatal};
use crate::local::{Doings, Local};
use crate::message::{self, Assembler, Message, Op, OpRecord, Ordered, Standing};
use crate::record::Record;
use crate::replica::{Effect, Replica};
use crate::sync::{Exchange, Step};
use base::exit::OcfCode;
use base::{NodeId, Time, WallTime};
use cib::Cib;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use xml::Element;

mod alerting;
mod fencing;
mod follow;
mod remotes;
mod requests;
mod silent;
mod strays;
mod views;

pub use follow::digest_of;
pub(crate) use remotes::not_connected;

/// A node that may leave does so when all members know, or after this time.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// Writes under way of which the positions are remembered one by one.
const MAX_STORING: usize = 1024;

/// One node's controller.
pub struct Controller {
    config: Config,
    replica: Replica,
    /// The exchange under way; `None` once the view is in step (or before the first view).
    exchange: Option<Exchange>,
    synced: bool,
    /// Once true, the node has lived in a view.
    was_synced: bool,
    assembler: Assembler,
    clients: Clients,
    local: Local,
    /// Of nodes that are reached from here.
    remotes: remotes::Remotes,
    coordinator: Coordinator,
    fencing: fencing::Fencing,
    outputs: VecDeque<Output>,
    /// Time of the input that is being handled.
    now: Time,
    /// When this life began.
    began: Time,
    wall: WallTime,
    quorate: bool,
    /// Quorum that this node as DC has announced without a view.
    quorum_told: Option<(ViewId, bool)>,
    ring_current: bool,
    /// Until then the leases of before the last stall may go on.
    stalled_until: Time,
    /// This node stood still before the view, and does not know yet what happened meanwhile.
    doubtful: bool,
    /// From [`Input::Transitional`] to the next view: "safe" means less than it says.
    view_ending: bool,
    safe: (ViewId, u64),
    message_number: u64,
    /// Who left in good order.
    departed: silent::Departed,
    /// Whether leases are kept, the changes of what this node holds, and who is silent, as told last.
    owners_told: (bool, u64, BTreeSet<NodeId>),
    /// Resources that this node stops before it joins after a merge.
    unwinding: BTreeSet<String>,
    persist_wanted: bool,
    /// Position of the last message that was applied.
    applied: (ViewId, u64),
    /// What is on its way to the disk: ticket and position.
    /// What members say that they hold.
    checks: Checks,
    /// What this node's content is worth at the next merge.
    standing: Standing,
    /// Out of the ring until the next view.
    failed: bool,
    backoff: Backoff,
    storing: VecDeque<(u64, (ViewId, u64))>,
    strays: strays::Strays,
    tickets: u64,
    leave: Option<(ViewId, u64, Time)>,
    counters: BTreeMap<&'static str, u64>,
}

impl Controller {
    /// `cib` and `lineage` are what [`Output::Persist`] gave last, or a new CIB and an empty text.
    pub fn new(config: Config, cib: Cib, lineage: &str, now: Time) -> Controller {
        let seed = config.incarnation;
        let mut cib = cib;
        // Status belongs to a life of the cluster; histories are rebuilt by probes.
        cib.edit_status(|s| {
            let any = s.elements().next().is_some();
            s.retain_elements(|_| false);
            any
        });
        Controller {
            replica: Replica::new(cib, lineage, seed),
            exchange: None,
            synced: false,
            was_synced: false,
            assembler: Assembler::default(),
            clients: Clients::new(config.me, seed),
            local: Local::new(config.me, config.my_name(), crate::digest::uuid(seed)),
            remotes: remotes::Remotes::default(),
            coordinator: Coordinator::new(seed),
            fencing: fencing::Fencing::new(config.me),
            outputs: VecDeque::new(),
            now,
            began: now,
            wall: WallTime::default(),
            quorate: false,
            quorum_told: None,
            ring_current: true,
            stalled_until: Time::ZERO,
            doubtful: false,
            view_ending: false,
            safe: (ViewId::default(), 0),
            message_number: 0,
            departed: silent::Departed::default(),
            owners_told: (false, 0, BTreeSet::new()),
            unwinding: BTreeSet::new(),
            persist_wanted: false,
            applied: (ViewId::default(), 0),
            checks: Checks::default(),
            standing: Standing::default(),
            failed: false,
            backoff: Backoff::default(),
            storing: VecDeque::new(),
            strays: strays::Strays::default(),
            tickets: 0,
            leave: None,
            counters: BTreeMap::new(),
            config,
        }
    }

    /// Takes over the records that a former life of this node kept ([`Output::Record`]); to be called before any input. Each instance is
    /// looked after, and what is there is told to the cluster, whatever the configuration says of it today.
    pub fn restore(&mut self, wall: WallTime, records: Vec<Record>) {
        self.wall = wall;
        let doings = self.local.restore(self.now, wall, records);
        self.perform(doings);
    }

    /// To be called with every input; then [`Controller::poll_output`] until it is empty.
    pub fn handle(&mut self, now: Time, wall: WallTime, input: Input) {
        self.now = self.now.max(now);
        self.wall = wall;
        if self.fencing.has_obeyed() {
            // Down, as far as anybody is concerned.
            return;
        }
        match input {
            Input::View { id, members, quorate } => self.on_view(id, &members, quorate),
            Input::Quorum { quorate } => self.quorate = quorate,
            Input::Undecided { until } => self.coordinator.undecided(until),
            Input::Deliver { sender, view, seq, payload } => {
                if let Err(fatal) = self.on_deliver(sender, view, seq, &payload) {
                    self.fail_stop(&fatal);
                }
            }
            Input::Safe { view, seq } => self.on_safe(view, seq),
            Input::Transitional => self.view_ending = true,
            Input::Ring { current } => self.ring_current = current,
            Input::Client { id, request } => self.on_client(id, request),
            Input::Executed { call, result } => {
                if self.remote_finished(call, &result) {
                    return self.on_time_and_settle();
                }
                let doings = self.local.finished(self.now, wall, call, &result);
                self.perform(doings);
            }
            Input::Failed { resource, code, reason } => {
                let mut result = ExecResult::done(code);
                result.reason = reason;
                self.remote_lost(&resource);
                let doings = self.local.fail(self.now, wall, &resource, &result);
                self.perform(doings);
            }
            Input::Facts { agent, facts } => {
                self.remotes_learn(&agent, &facts);
                let doings = self.local.learn(agent, facts);
                self.perform(doings);
            }
            Input::Scheduled { ticket, result } => {
                let commands = self.coordinator.scheduled(self.now, wall, ticket, result.map(|s| *s), &self.replica);
                self.command(commands);
            }
            Input::Stored { ticket, written } => self.on_stored(ticket, written),
            Input::FenceAgent { call, result } => self.on_fence_agent(call, &result),
            Input::Stalled { ms } => self.on_stalled(ms),
            Input::StartedOver => self.on_started_over(),
            Input::Digested { ticket, digest } => self.on_digested(ticket, digest),
            Input::DeathConfirmed { node } => self.coordinator.release(node),
            Input::PeerReady { node, ready } => self.on_peer_ready(node, ready),
            Input::Trouble { resource, text } => self.on_trouble(resource, text),
            Input::Observed { kind, subject, text } => self.timeline(&kind, &subject, text),
            Input::Tick => {}
        }
        self.on_time_and_settle();
    }

    fn on_time_and_settle(&mut self) {
        self.on_time();
        self.settle();
    }

    /// When [`Input::Tick`] is due next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let coordinator = if self.is_coordinator() { self.coordinator.deadline(self.now) } else { None };
        let leave = self.leave.map(|(_, _, at)| at);
        let checks = if self.is_coordinator() { self.checks.deadline() } else { None };
        let fencing = self.fencing.deadline(self.is_coordinator());
        let own = [
            self.local.deadline(),
            self.remotes.deadline(),
            self.clients.deadline(),
            coordinator,
            checks,
            leave,
            fencing,
        ];
        own.into_iter().flatten().min()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The CIB as applied so far.
    pub fn cib(&self) -> &Cib {
        &self.replica.cib
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether this node is in step with its view.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    pub fn status(&self) -> Status {
        let state = match () {
            () if self.failed => "out of the ring".to_owned(),
            () if self.replica.view == ViewId::default() && self.exchange.is_none() => "starting".to_owned(),
            () if !self.synced || self.replica.joining.contains(&self.config.me) => "joining".to_owned(),
            () if self.is_coordinator() => self.coordinator.describe(),
            () if !self.replica.in_flight.is_empty() => "following a transition".to_owned(),
            () => "following".to_owned(),
        };
        Status {
            view: self.exchange.as_ref().map(|e| e.view).or((self.synced).then_some(self.replica.view)),
            members: match &self.exchange {
                Some(e) => e.members.iter().copied().collect(),
                None => self.replica.members.iter().copied().collect(),
            },
            quorate: self.quorate,
            synced: self.synced,
            dc: self.synced.then_some(self.replica.dc).flatten(),
            state,
            disks: if self.synced { self.clients.disk_troubles(self.now) } else { BTreeMap::new() },
            no_content: !self.replica.lineage.content,
            held_back: if self.is_coordinator() { self.coordinator.held_back(self.now) } else { Vec::new() },
            fencing: self.shown_fencing(),
            counters: self.counters.clone(),
        }
    }

    fn is_coordinator(&self) -> bool {
        self.synced && self.replica.dc == Some(self.config.me)
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    fn timeline(&mut self, kind: &str, subject: &str, text: String) {
        let event =
            TimelineEvent { at: self.now, wall: self.wall, kind: kind.to_owned(), subject: subject.to_owned(), text };
        self.outputs.push_back(Output::Timeline(event));
    }

    /// The one way out. What some member of the view would not understand is not sent.
    fn broadcast(&mut self, message: &Message) {
        if self.synced && message.level() > self.replica.level() {
            return self.count("messages_withheld");
        }
        self.message_number += 1;
        for payload in message::encode(message, self.message_number) {
            self.outputs.push_back(Output::Broadcast(payload));
        }
    }

    /// Sends an operation of this node; before the first view, and during an exchange, it waits for its end.
    fn submit(&mut self, client: Option<u64>, op: Op) {
        let message = self.clients.submit(self.now, self.wall.0, client, op);
        if self.synced {
            self.broadcast(&Message::Op(Box::new(message)));
        }
    }

    fn reply(&mut self, answers: Vec<(u64, Response)>) {
        self.outputs.extend(answers.into_iter().map(|(id, response)| Output::Reply { id, response }));
    }

    // ---- messages ----

    fn on_deliver(&mut self, sender: NodeId, view: ViewId, seq: u64, payload: &[u8]) -> Result<(), Fatal> {
        if self.failed {
            return Ok(());
        }
        let current = self.exchange.as_ref().map_or(self.replica.view, |e| e.view);
        if view < current {
            // Left out here; the chains that members tell at the start of the view show it.
            self.count("messages_of_other_views");
            return Ok(());
        }
        if view > current {
            return Err(Fatal::OtherView { got: view, expected: current });
        }
        let read = self.assembler.push(sender, payload).map_err(|error| Fatal::Unreadable { sender, error })?;
        let Some(ordered) = read else { return Ok(()) };
        let Some(exchange) = &mut self.exchange else {
            return self.apply(sender, view, seq, ordered);
        };
        match exchange.receive(sender, ordered)? {
            Step::Wait => {}
            Step::Decided => {
                let (view, winner) = (exchange.view, exchange.merge.as_ref().map(|m| m.winner));
                if winner == Some(self.config.me) {
                    let snapshot = self.replica.snapshot(view);
                    self.broadcast(&Message::Snapshot(Box::new(snapshot)));
                }
            }
            Step::Complete(snapshot) => self.finish_exchange(seq, snapshot)?,
        }
        Ok(())
    }

    fn apply(&mut self, sender: NodeId, view: ViewId, seq: u64, ordered: Ordered) -> Result<(), Fatal> {
        self.count("messages_applied");
        self.applied = (view, seq);
        match ordered.message {
            Message::Stored { view: of, seq: upto, written } => {
                if of == view {
                    self.clients.stored(self.now, sender, upto, written);
                    self.answer_safe();
                }
            }
            Message::Check { view: of, number } => self.on_check(sender, of, seq, number),
            Message::Digest { view: of, number, chain, document } => {
                self.on_digest(sender, (of, number), Held { chain, document })?;
            }
            _ => {
                let mut effects = Vec::new();
                self.replica.apply(sender, ordered, &mut effects);
                for effect in effects {
                    self.on_effect(effect, view, seq);
                }
            }
        }
        Ok(())
    }

    fn on_effect(&mut self, effect: Effect, view: ViewId, seq: u64) {
        match effect {
            Effect::Changed { reason } => self.coordinator.change(self.now, &reason, false),
            Effect::Config => {
                self.persist_wanted = true;
                self.coordinator.wants.changed();
                self.fencing.unprepared = true;
                self.clients.wanted_on_disk(self.now, seq);
            }
            Effect::Applied { origin, incarnation, seq: number, result } => {
                if self.clients.is_mine(self.config.me, origin, incarnation) {
                    let version = self.replica.version();
                    let answer = self.clients.applied(number, (view, seq), version, result);
                    self.reply(answer.into_iter().collect());
                    self.answer_safe();
                }
            }
            Effect::Repeated { origin, incarnation, seq: number } => {
                if self.clients.is_mine(self.config.me, origin, incarnation) {
                    let answer = self.clients.repeated(number);
                    self.reply(answer.into_iter().collect());
                }
            }
            Effect::Exec(exec) => {
                self.coordinator.delivered(exec.identity.node, &exec.identity.transition_key);
                if exec.identity.node == self.config.me {
                    let doings = self.local.start(self.now, self.wall, *exec);
                    self.perform(doings);
                } else if exec.router == Some(self.config.me) {
                    self.remote_start(*exec);
                }
            }
            Effect::Result(record) => self.on_result(&record),
            Effect::Attribute { node, name, value } => self.on_attribute(node, name, value),
            Effect::Forgotten { node, resource } => {
                self.coordinator.forgotten(node, &resource);
                if node == self.config.me {
                    let mut doings = Doings::default();
                    self.local.forget(&mut doings, &resource);
                    self.perform(doings);
                }
                self.remote_forget(node, &resource);
            }
            Effect::Connected { node, name, host } => self.on_connected(node, name, host),
            Effect::Disconnected { node, host } => {
                if host == self.config.me {
                    self.drop_remote(node);
                }
            }
            Effect::Leave { node } => {
                self.timeline("leave", &self.config.name_of(node), "may leave".to_owned());
                if node == self.config.me {
                    self.leave = Some((view, seq, self.now + LEAVE_WAIT));
                }
            }
            Effect::Joined { node } => self.timeline("joined", &self.config.name_of(node), "is a member".to_owned()),
            Effect::Fence(turn) => self.on_turn(turn, true),
            Effect::Coordinator => {
                self.coordinator.reset();
                self.fencing.driver.reset();
                let dc = self.replica.dc.map_or_else(String::new, |n| self.config.name_of(n));
                self.timeline("dc", &dc, "is the coordinator".to_owned());
            }
        }
    }

    fn on_result(&mut self, record: &OpRecord) {
        let id = &record.identity;
        let text = format!("{} on {}: {} in {} ms", id.operation, id.node_name, OcfCode(record.code), record.exec_ms);
        self.timeline("action_end", &id.key, text);
        if record.failed() && id.operation != "monitor" || record.failed() && id.interval_ms > 0 {
            self.outputs.push_back(Output::Alert(Alert::Resource {
                node: id.node_name.clone(),
                resource: id.resource.clone(),
                operation: id.operation.clone(),
                code: OcfCode(record.code),
                target: OcfCode(id.target_rc),
                reason: record.reason.to_string(),
            }));
        }
        if self.is_coordinator() {
            self.coordinator.result(self.now, record);
        }
        if id.node == self.config.me && id.operation == "stop" && self.unwinding.remove(&id.resource) {
            self.join_if_unwound();
        }
    }

    fn on_safe(&mut self, view: ViewId, seq: u64) {
        if self.view_ending || !self.ring_current {
            return;
        }
        self.safe = (view, seq);
        self.answer_safe();
        if self.leave.is_some_and(|(v, s, _)| v == view && s <= seq) {
            self.leave = None;
            self.outputs.push_back(Output::Leave);
        }
    }

    fn on_stored(&mut self, ticket: u64, written: bool) {
        let done = self.storing.iter().take_while(|(t, _)| *t <= ticket).count();
        let Some((_, (view, seq))) = done.checked_sub(1).and_then(|last| self.storing.get(last).copied()) else {
            return;
        };
        // What failed is tried again, and told once more when it is written.
        if written {
            self.storing.drain(..done);
        }
        if self.synced && view == self.replica.view {
            self.broadcast(&Message::Stored { view, seq, written });
        }
    }

    // ---- agents ----

    fn perform(&mut self, doings: Doings) {
        if doings.is_empty() {
            return;
        }
        for id in &doings.begun {
            self.timeline("action_start", &id.key, format!("{} on {}", id.operation, id.node_name));
        }
        self.outputs.extend(doings.outputs);
        self.notify_results(&doings.news);
        for record in doings.reports {
            self.submit(None, Op::Result(Box::new(record)));
        }
    }

    fn command(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Broadcast(message) => self.broadcast(&message),
                Command::Submit(op) => self.submit(None, op),
                Command::Output(output) => self.outputs.push_back(output),
                Command::Fence(wanted) => self.fence_wanted(wanted),
                Command::Timeline { kind, subject, text } => self.timeline(kind, &subject, text),
            }
        }
    }

    // ---- time ----

    fn on_time(&mut self) {
        let doings = self.local.tick(self.now, self.wall);
        self.perform(doings);
        self.remotes_tick();
        self.fencing_time();
        self.answer_safe();
        let late = self.clients.expire(self.now);
        self.reply(late);
        if self.leave.is_some_and(|(_, _, at)| at <= self.now) {
            self.leave = None;
            self.outputs.push_back(Output::Leave);
        }
    }

    /// What every input may have changed.
    fn settle(&mut self) {
        self.look_for_strays();
        if self.is_coordinator() {
            if !self.coordinator.active {
                self.coordinator.begin(self.now);
                self.coordinator.change(self.now, "new coordinator", true);
            }
            let told = (self.replica.view, self.quorate);
            if self.quorate != self.replica.quorate && self.quorum_told != Some(told) {
                self.quorum_told = Some(told);
                self.broadcast(&Message::Quorum { view: told.0, quorate: told.1 });
            }
            self.ask_for_digests();
            self.drive_fencing();
            let commands = self.coordinator.advance(self.now, self.wall, &self.replica, &self.config);
            self.command(commands);
        }
        // An exchange does not end leases: a member that hangs in it must not cost the others their addresses. For one that
        // stood still it does, since the others may have gone on without it.
        let current = self.ring_current && self.was_synced && !self.doubtful;
        let (nodes, members) = (self.config.nodes.keys(), &self.replica.members);
        let silent = self.departed.silent(self.now, nodes, members, self.config.me);
        let changes = self.local.held().changes();
        let (was_current, told, were_silent) = &self.owners_told;
        if (*was_current, *told) != (current, changes) || !silent.eq(were_silent) {
            let silent: BTreeSet<NodeId> =
                self.departed.silent(self.now, self.config.nodes.keys(), members, self.config.me).copied().collect();
            self.owners_told = (current, changes, silent.clone());
            let resources = self.local.held().resources().clone();
            self.outputs.push_back(Output::Owners(Owners { current, resources, silent }));
        }
        // At once, so that it comes before any acknowledgement; a slow disk may skip to the newest.
        if std::mem::take(&mut self.persist_wanted) {
            self.tickets += 1;
            // A disk that hangs: the middle is told with the newest, which holds it all.
            if self.storing.len() >= MAX_STORING {
                self.storing.pop_back();
            }
            self.storing.push_back((self.tickets, self.applied));
            self.outputs.push_back(Output::Persist(Persist {
                ticket: self.tickets,
                cib: self.without_status(),
                lineage: self.replica.lineage_text(),
            }));
        }
    }

    fn without_status(&self) -> Arc<Element> {
        let mut root = self.replica.cib.root().clone();
        if let Some(status) = root.child_mut("status") {
            status.retain_elements(|_| false);
        }
        Arc::new(root)
    }
}
