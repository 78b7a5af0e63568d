//! Fencing as this node sees it: requests of its clients, orders to it, and what it does when it is fenced itself.

use super::Controller;
use crate::alerts;
use crate::api::{Alert, FenceRequest, Output, Response, Safety};
use crate::fencing::driver::{Driver, Wish};
use crate::fencing::executor::{AgentResult, Executor, Work};
use crate::fencing::query::{self, FencingQuery, Known, Queries};
use crate::fencing::state::{Entry, Turn};
use crate::fencing::{Ask, CLUSTER, FenceAction, FenceId, FenceOp, FenceOrder, Over, Wanted, device, panics};
use crate::message::{Message, Op};
use crate::replica::Turnover;
use base::exit::crm;
use base::outside::Word;
use base::{NodeId, Time};
use std::collections::BTreeMap;

/// Clients that wait for a verdict.
const MAX_WAITERS: usize = 256;
/// Events that status shows.
const SHOWN: usize = 50;

pub(super) struct Fencing {
    pub driver: Driver,
    executor: Executor,
    queries: Queries,
    /// Clients by the request that answers them.
    waiters: BTreeMap<FenceId, u64>,
    number: u64,
    /// The configuration may speak of agents of which nothing is known.
    pub unprepared: bool,
    obeyed: bool,
    was_quorate: bool,
}

impl Fencing {
    pub fn new(me: NodeId) -> Fencing {
        Fencing {
            driver: Driver::default(),
            executor: Executor::new(me),
            queries: Queries::default(),
            waiters: BTreeMap::new(),
            number: 0,
            unprepared: true,
            obeyed: false,
            was_quorate: false,
        }
    }

    pub fn has_obeyed(&self) -> bool {
        self.obeyed
    }

    pub fn deadline(&self, dc: bool) -> Option<Time> {
        let driver = if dc { self.driver.deadline() } else { None };
        [driver, self.executor.deadline()].into_iter().flatten().min()
    }
}

impl Controller {
    /// Whether the hardware watchdog may be fed: not once this node was fenced, nor while it is without quorum that it has had and the
    /// others count on its watchdog.
    pub fn may_feed(&self) -> bool {
        let counted_on = || self.replica.watchdog_timeout_ms().is_some();
        !self.fencing.obeyed && (self.quorate || !self.fencing.was_quorate || !counted_on())
    }

    pub(super) fn shown_fencing(&self) -> Vec<query::Event> {
        let mut all = query::history(&self.replica.fencing, &self.config, None);
        all.truncate(SHOWN);
        all
    }

    // ---- requests ----

    pub(super) fn on_fencing_query(&mut self, client: u64, query: FencingQuery, timeout_ms: u64) {
        let known =
            Known { now: self.now, cib: self.replica.cib.root(), state: &self.replica.fencing, config: &self.config };
        let Fencing { queries, executor, .. } = &mut self.fencing;
        match queries.ask(client, query, timeout_ms, &known, executor) {
            Ok(answer) => {
                self.outputs.push_back(Output::Reply { id: client, response: Response::Fencing(Box::new(answer)) });
            }
            Err(work) => self.work(work),
        }
    }

    pub(super) fn on_fence_request(&mut self, client: u64, request: FenceRequest) {
        let target = match self.node_number(Some(&request.target)) {
            Ok(target) => target,
            Err(message) => return self.refuse(client, crm::NOSUCH, message),
        };
        let Some(id) = self.wait_for(client) else { return };
        let ask = Ask {
            id,
            target: target.0,
            name: Word::cleaned(&self.name_of(target)),
            action: request.action,
            client: request.client,
            origin: Word::cleaned(&self.config.my_name()),
            timeout_ms: request.timeout_ms,
            delay_ms: request.delay_ms,
            tolerance_ms: request.tolerance_ms,
            attributes: Vec::new(),
            view: None,
        };
        self.fence(FenceOp::Ask(ask));
    }

    pub(super) fn on_confirm(&mut self, client: u64, target: &Word, by: Word) {
        let target = match self.node_number(Some(target)) {
            Ok(target) => target,
            Err(message) => return self.refuse(client, crm::NOSUCH, message),
        };
        let Some(id) = self.wait_for(client) else { return };
        let (name, origin) = (Word::cleaned(&self.name_of(target)), Word::cleaned(&self.config.my_name()));
        self.fence(FenceOp::Confirm { id, target: target.0, name, client: by, origin });
    }

    fn refuse(&mut self, client: u64, code: i32, message: String) {
        self.outputs.push_back(Output::Reply { id: client, response: Response::Failed { code, message } });
    }

    /// Names a request whose verdict a client waits for; `None` if it was refused.
    fn wait_for(&mut self, client: u64) -> Option<FenceId> {
        let alone = self.synced && !self.replica.shares_fencing() && !self.is_coordinator();
        let refusal = if alone {
            Some("not all nodes know this operation yet: ask on the coordinator".to_owned())
        } else if self.clients.is_full() || self.fencing.waiters.len() >= MAX_WAITERS {
            Some("too many changes are under way on this node".to_owned())
        } else {
            None
        };
        if let Some(message) = refusal {
            self.refuse(client, crm::UNAVAILABLE, message);
            return None;
        }
        let id = self.new_id();
        self.fencing.waiters.insert(id, client);
        Some(id)
    }

    fn new_id(&mut self) -> FenceId {
        self.fencing.number += 1;
        FenceId { node: self.config.me.0, incarnation: self.config.incarnation, number: self.fencing.number }
    }

    /// A transition wants a node fenced.
    pub(super) fn fence_wanted(&mut self, wanted: Wanted) {
        let id = self.new_id();
        self.timeline("fence", &wanted.name, format!("{} is wanted by the transition", wanted.action.name()));
        let ask = Ask {
            id,
            target: wanted.node.0,
            name: wanted.name,
            action: wanted.action,
            client: Word::cleaned(CLUSTER),
            origin: Word::cleaned(&self.config.my_name()),
            timeout_ms: 0,
            delay_ms: wanted.delay_ms,
            tolerance_ms: 0,
            attributes: wanted.attributes,
            view: Some(self.replica.view),
        };
        self.fence(FenceOp::Ask(ask));
    }

    /// A change of the fencing state, told to all; with members that do not know of it, it stays with the DC.
    fn fence(&mut self, op: FenceOp) {
        if !self.synced || self.replica.shares_fencing() {
            return self.submit(None, Op::Fence(Box::new(op)));
        }
        for turn in self.replica.fence_alone(&op, self.wall) {
            self.on_turn(turn, false);
        }
    }

    // ---- the DC ----

    pub(super) fn drive_fencing(&mut self) {
        let wishes = self.fencing.driver.advance(self.now, &self.replica, &self.config);
        for wish in wishes {
            match wish {
                Wish::Timeline { subject, text } => self.timeline("fence", &subject, text),
                Wish::Submit(Op::Fence(op)) => self.fence(*op),
                Wish::Submit(op) => self.submit(None, op),
                Wish::Broadcast(Message::Fence(order)) if !self.replica.shares_fencing() => {
                    for turn in self.replica.order_alone(&order) {
                        self.on_turn(turn, false);
                    }
                }
                Wish::Broadcast(message) => self.broadcast(&message),
            }
        }
    }

    // ---- what was decided ----

    /// `shared`: all members see the same; else this one, the DC, has to tell them.
    pub(super) fn on_turn(&mut self, turn: Turn, shared: bool) {
        match turn {
            Turn::Order(order) => self.on_order(&order),
            Turn::Obey { target, incarnation } => {
                self.timeline("fenced", &self.config.name_of(target), "the device has done it".to_owned());
                if target == self.config.me && incarnation == self.config.incarnation {
                    self.obey("this node was fenced", panics(self.replica.cib.root()));
                }
            }
            Turn::Down { target } if !shared => {
                self.submit(None, Op::Fenced { node: target.0, action: "off".to_owned() });
            }
            Turn::Down { .. } | Turn::Up { .. } => {}
            Turn::Acquitted { target } => {
                let why =
                    "fenced by the others, who were fenced by it, and all live: an agent lies; it stays, they end";
                let name = self.config.name_of(target);
                self.timeline("fence_contradicted", &name, why.to_owned());
                // Whoever relies on these devices has to learn of it.
                self.outputs.push_back(Output::Alert(Alert::FencingTrouble { name, message: why.to_owned() }));
            }
            Turn::Over { entry, askers } => self.on_over(&entry, &askers),
            Turn::Settled { target, action } => {
                let name = self.config.name_of(target);
                self.timeline("fence_end", &name, "this life of it was fenced already".to_owned());
                self.retry(&Over { node: target, name: &name, action, ok: true, human: false });
            }
            Turn::Withdrawn { id, target } => {
                self.fencing.executor.over(id);
                self.timeline("fence_end", &self.config.name_of(target), "not needed any more: it is back".to_owned());
            }
            Turn::Refused { asker, target, why } => match self.fencing.waiters.remove(&asker) {
                Some(client) => self.refuse(client, crm::UNSAFE, why),
                None if asker.node == self.config.me.0 => {
                    let name = self.config.name_of(target);
                    let over = Over { node: target, name: &name, action: FenceAction::Off, ok: false, human: false };
                    self.retry(&over);
                }
                None => {}
            },
        }
    }

    fn on_order(&mut self, order: &FenceOrder) {
        let Some(fencing) = self.replica.fencing.open.iter().find(|f| f.ask.id == order.id) else { return };
        let by_watchdog = *order.step.device == *device::WATCHDOG;
        if by_watchdog && fencing.ask.target == self.config.me.0 && fencing.incarnation == self.config.incarnation {
            return self.obey("this node has to reset itself", true);
        }
        if order.executor != self.config.me.0 || order.incarnation != self.config.incarnation {
            return;
        }
        let (target, step) = (fencing.ask.name.to_string(), order.step.clone());
        let work = self.fencing.executor.begin(self.now, order, fencing, self.replica.cib.root());
        self.timeline("fence_start", &target, format!("{} by {}", step.action.name(), step.device));
        self.work(work);
    }

    fn on_over(&mut self, entry: &Entry, askers: &[FenceId]) {
        self.fencing.executor.over(entry.id);
        let events = query::history(&self.replica.fencing, &self.config, None);
        let event = events.into_iter().find(|e| e.id == entry.id && e.ok.is_some());
        let by = event.as_ref().and_then(|e| e.delegate.clone()).unwrap_or_else(|| "nobody".to_owned());
        let text = match entry.ok {
            true => format!("{} done by {by} {}", entry.action.name(), entry.device),
            false => format!("{} failed: {}", entry.action.name(), entry.reason),
        };
        self.timeline("fence_end", &entry.name, text.trim_end().to_owned());
        if let Some(event) = event {
            self.notify(&alerts::Event::Fencing {
                target: event.target.clone(),
                operation: event.action.to_owned(),
                description: event.to_string(),
                code: if entry.ok { crm::OK } else { crm::ERROR },
            });
            self.outputs.push_back(Output::Alert(Alert::Fencing { event: Box::new(event) }));
        }
        for client in askers.iter().filter_map(|a| self.fencing.waiters.remove(a)).collect::<Vec<_>>() {
            let response = match entry.ok {
                true => Response::Done { safety: Safety::Unchanged, answer: None, version: self.replica.version() },
                false => Response::Failed { code: crm::ERROR, message: entry.reason.to_string() },
            };
            self.outputs.push_back(Output::Reply { id: client, response });
        }
        let (node, name) = (NodeId(entry.target), entry.name.as_str());
        self.retry(&Over { node, name, action: entry.action, ok: entry.ok, human: entry.delegate.is_none() });
    }

    /// The transition that waited for it goes on; or it is tried again.
    fn retry(&mut self, over: &Over<'_>) {
        if !self.is_coordinator() {
            return;
        }
        if let Some(message) = self.coordinator.fenced(self.now, over, &self.replica) {
            self.timeline("fence_retry", over.name, message.clone());
            self.outputs.push_back(Output::Alert(Alert::FencingTrouble { name: over.name.to_owned(), message }));
        }
    }

    // ---- the executor ----

    pub(super) fn on_fence_agent(&mut self, call: u64, result: &AgentResult) {
        let work = self.fencing.executor.finished(self.now, call, result, self.replica.cib.root());
        self.work(work);
    }

    pub(super) fn fencing_time(&mut self) {
        self.fencing.was_quorate |= self.quorate;
        if std::mem::take(&mut self.fencing.unprepared) {
            let work = self.fencing.executor.prepare(self.replica.cib.root());
            self.work(work);
        }
        let work = self.fencing.executor.tick(self.now, self.replica.cib.root());
        self.work(work);
    }

    fn work(&mut self, work: Work) {
        let calls = work.calls.into_iter().map(|(call, run)| Output::FenceAgent { call, run });
        self.outputs.extend(calls);
        for outcome in work.outcomes {
            let text = format!(
                "{} by {}: {:?} {}",
                outcome.step.action.name(),
                outcome.step.device,
                outcome.ended,
                outcome.reason
            );
            self.timeline("fence_device", &outcome.step.device, text.trim_end().to_owned());
            self.fence(FenceOp::Outcome(outcome));
        }
        for (client, device, result) in work.asked {
            let known = Known {
                now: self.now,
                cib: self.replica.cib.root(),
                state: &self.replica.fencing,
                config: &self.config,
            };
            let Fencing { queries, executor, .. } = &mut self.fencing;
            if let Some(answer) = queries.asked(client, &device, &result, &known, executor) {
                let response = Response::Fencing(Box::new(answer));
                self.outputs.push_back(Output::Reply { id: client, response });
            }
        }
    }

    // ---- the target ----

    /// What a view ends, and whether this node finds that it was fenced while it was apart from the others.
    pub(super) fn fenced_at_a_view(&mut self, turnover: &Turnover) -> bool {
        for turn in &turnover.fenced {
            self.on_turn(turn.clone(), true);
        }
        for turn in &turnover.fenced_alone {
            self.on_turn(turn.clone(), false);
        }
        self.answer_lost();
        let needed = self.replica.fencing.open.iter().filter(|f| !f.needless).map(|f| f.ask.id).collect();
        let work = self.fencing.executor.keep(&needed);
        self.work(work);
        let fenced = self.replica.fencing.is_fenced(self.config.me, self.config.incarnation);
        if fenced {
            self.obey("the others have fenced this node while it was apart from them", panics(self.replica.cib.root()));
        }
        fenced
    }

    /// Requests that another partition's content has put an end to.
    fn answer_lost(&mut self) {
        let state = &self.replica.fencing;
        let unsent = self.clients.unsent();
        let waits =
            |id: &FenceId| state.open.iter().any(|f| f.askers.contains(id)) || unsent.iter().any(|m| names(&m.op, *id));
        let lost: Vec<(FenceId, u64)> =
            self.fencing.waiters.iter().filter(|(id, _)| !waits(id)).map(|(id, c)| (*id, *c)).collect();
        for (id, client) in lost {
            self.fencing.waiters.remove(&id);
            let message = "discarded: another partition's content was kept when they merged; ask again".to_owned();
            self.refuse(client, crm::OLD, message);
        }
    }

    /// This node is to be treated as down by everybody: it holds nothing from now on, and ends.
    fn obey(&mut self, why: &str, panic: bool) {
        if std::mem::replace(&mut self.fencing.obeyed, true) {
            return;
        }
        self.failed = true;
        self.synced = false;
        self.exchange = None;
        self.assembler.clear();
        self.coordinator.reset();
        let abandoned = self.clients.abandon();
        self.reply(abandoned);
        self.timeline("obey", &self.config.my_name(), why.to_owned());
        self.outputs.push_back(Output::Obey { reason: why.to_owned(), panic });
    }
}

fn names(op: &Op, id: FenceId) -> bool {
    let Op::Fence(op) = op else { return false };
    match &**op {
        FenceOp::Ask(ask) => ask.id == id,
        FenceOp::Confirm { id: own, .. } => *own == id,
        _ => false,
    }
}
