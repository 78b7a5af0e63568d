//! The DC's part: gives the orders, gives up those that are not answered, pronounces the verdicts.
//!
//! It keeps nothing that another DC would need: only when it has to look again, and what it has said that is not delivered yet.

use super::device::{self, WATCHDOG};
use super::plan::{self, Ground, Next};
use super::state::Fencing;
use super::{Ended, FenceId, FenceOp, FenceOrder, Outcome, Step, fencing_timeout_ms};
use crate::api::Config;
use crate::message::{Message, Op};
use crate::replica::Replica;
use base::outside::Reason;
use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an executor's report is waited for, of the device's time.
pub const SLACK_PERCENT: u64 = 120;
/// For finding out what an agent can do and whom it covers, beside the device's own time.
pub const QUERY_WITHIN: Duration = Duration::from_secs(20);
/// A target that was told, and is still a member after this, counts as fenced all the same: the device has said so.
pub const OBEY_WITHIN: Duration = Duration::from_secs(5);
/// What is left of a device's time for the node that takes over from an executor that died; less is not worth a try.
const LEAST_MS: u64 = 1000;

/// What the DC wants sent.
#[derive(Debug)]
pub enum Wish {
    Broadcast(Message),
    Submit(Op),
    Timeline { subject: String, text: String },
}

#[derive(Default)]
pub struct Driver {
    /// What was said last of each fencing, until it is delivered: nothing is said twice.
    said: BTreeMap<FenceId, Mark>,
    /// Orders on their way.
    sent: BTreeMap<FenceId, (u32, String)>,
    /// Until when the order under way is waited for.
    waits: BTreeMap<(FenceId, u32), Time>,
    /// When each step was first ordered: who takes over has what is left.
    begun: BTreeMap<(FenceId, Step), Time>,
    obeying: BTreeMap<FenceId, Time>,
}

/// How far a fencing had got.
type Mark = (u32, usize, bool, bool);

fn mark(f: &Fencing) -> Mark {
    (f.attempt, f.tried.len(), f.running.is_some(), f.obeying)
}

impl Driver {
    /// A view or another DC: orders that were not delivered are void.
    pub fn reset(&mut self) {
        *self = Driver::default();
    }

    pub fn deadline(&self) -> Option<Time> {
        self.waits.values().chain(self.obeying.values()).min().copied()
    }

    /// To be called after every input while this node is the DC.
    pub fn advance(&mut self, now: Time, replica: &Replica, config: &Config) -> Vec<Wish> {
        let state = &replica.fencing;
        let open = |id: &FenceId| state.open.iter().any(|f| f.ask.id == *id);
        self.said.retain(|id, _| open(id));
        self.obeying.retain(|id, _| open(id));
        self.waits.retain(|(id, _), _| open(id));
        self.begun.retain(|(id, _), _| open(id));
        let mut wishes = Vec::new();
        self.sent.retain(|id, (attempt, _)| state.open.iter().any(|f| f.ask.id == *id && f.attempt < *attempt));
        let running = state.open.iter().filter_map(|f| f.running.as_ref()).map(|o| o.step.device.to_string());
        let mut busy: Vec<String> = running.chain(self.sent.values().map(|(_, device)| device.clone())).collect();
        for fencing in state.active() {
            let mark = mark(fencing);
            if self.said.get(&fencing.ask.id) == Some(&mark) {
                continue;
            }
            let before = wishes.len();
            self.look(now, fencing, replica, config, &mut busy, &mut wishes);
            if wishes.len() > before {
                self.said.insert(fencing.ask.id, mark);
            }
        }
        wishes
    }

    fn look(
        &mut self,
        now: Time,
        fencing: &Fencing,
        replica: &Replica,
        config: &Config,
        busy: &mut Vec<String>,
        wishes: &mut Vec<Wish>,
    ) {
        let id = fencing.ask.id;
        if fencing.obeying {
            let until = *self.obeying.entry(id).or_insert(now + OBEY_WITHIN);
            if until <= now {
                self.obeying.remove(&id);
                wishes.push(verdict(id, true, "", true));
            }
        } else if let Some(order) = &fencing.running {
            self.watch(now, order, replica, wishes);
        } else {
            self.plan(now, fencing, replica, config, busy, wishes);
        }
    }

    fn watch(&mut self, now: Time, order: &FenceOrder, replica: &Replica, wishes: &mut Vec<Wish>) {
        let executor = NodeId(order.executor);
        let alive = replica.members.contains(&executor) && replica.life_of(executor) == order.incarnation;
        let wait = Duration::from_millis(order.delay_ms + order.timeout_ms * SLACK_PERCENT / 100) + QUERY_WITHIN;
        let until = *self.waits.entry((order.id, order.attempt)).or_insert(now + wait);
        let (ended, reason) = match alive {
            false => (Ended::Elsewhere, "the node that ran it was lost".to_owned()),
            true if until <= now => (Ended::Failed, format!("no report within {} ms", wait.as_millis())),
            true => return,
        };
        self.waits.remove(&(order.id, order.attempt));
        let (id, attempt, step) = (order.id, order.attempt, order.step.clone());
        let reason = Reason::cleaned(&reason);
        let outcome = Outcome { id, attempt, step, executor: order.executor, ended, reason };
        wishes.push(Wish::Submit(Op::Fence(Box::new(FenceOp::Outcome(outcome)))));
    }

    fn plan(
        &mut self,
        now: Time,
        fencing: &Fencing,
        replica: &Replica,
        config: &Config,
        busy: &mut Vec<String>,
        wishes: &mut Vec<Wish>,
    ) {
        let cib = replica.cib.root();
        let target = NodeId(fencing.ask.target);
        let mut members: Vec<(NodeId, String)> = replica
            .members
            .iter()
            .filter(|n| replica.can_execute(**n, config.me))
            .map(|n| (*n, config.name_of(*n)))
            .collect();
        members.sort_by_key(|(n, _)| (*n != config.me, *n));
        let watchdog = replica.counts_on_watchdog(target);
        let open = replica.fencing.open.iter().filter(|f| f.ask.action.kills());
        let victims = open.map(|f| NodeId(f.ask.target)).collect();
        match plan::next(fencing, &Ground { cib, members, victims, watchdog }) {
            Next::Done => wishes.push(verdict(fencing.ask.id, true, "", false)),
            Next::Failed(_) | Next::Run { .. } if fencing.needless => {
                let subject = fencing.ask.name.to_string();
                wishes.push(Wish::Timeline { subject, text: "it is back: not fenced any more".to_owned() });
                wishes.push(verdict(fencing.ask.id, false, "it is back", true));
            }
            Next::Failed(why) => {
                let subject = fencing.ask.name.to_string();
                wishes.push(Wish::Timeline { subject, text: format!("{} failed: {why}", fencing.ask.action.name()) });
                wishes.push(verdict(fencing.ask.id, false, &why, false));
            }
            Next::Run { step, executor } => {
                let Some(order) = self.order(now, fencing, step, executor, replica) else { return };
                let limit = device::find(cib, &order.step.device).and_then(|d| d.limit());
                let used = busy.iter().filter(|d| **d == *order.step.device).count();
                if limit.is_some_and(|most| used >= most) {
                    return;
                }
                busy.push(order.step.device.to_string());
                self.sent.insert(order.id, (order.attempt, order.step.device.to_string()));
                let subject = fencing.ask.name.to_string();
                let text = format!(
                    "{} by {} on {}, within {} ms{}",
                    order.step.action.name(),
                    order.step.device,
                    config.name_of(executor),
                    order.timeout_ms,
                    if order.delay_ms > 0 { format!(" after a delay of {} ms", order.delay_ms) } else { String::new() }
                );
                wishes.push(Wish::Timeline { subject, text });
                wishes.push(Wish::Broadcast(Message::Fence(Box::new(order))));
            }
        }
    }

    fn order(
        &mut self,
        now: Time,
        fencing: &Fencing,
        step: Step,
        executor: NodeId,
        replica: &Replica,
    ) -> Option<FenceOrder> {
        let (cib, ask) = (replica.cib.root(), &fencing.ask);
        let begun = *self.begun.entry((ask.id, step.clone())).or_insert(now);
        let taken_over = fencing.outcomes(&step).any(|o| o.ended == Ended::Elsewhere);
        let spent = if taken_over { now.since(begun).as_millis() as u64 } else { 0 };
        let default_ms = if ask.timeout_ms > 0 { ask.timeout_ms } else { fencing_timeout_ms(cib) };
        let (timeout_ms, delay_ms) = if *step.device == *WATCHDOG {
            (replica.watchdog_timeout_ms()?, 0)
        } else {
            let device = device::find(cib, &step.device)?;
            let timeout = device.timeout_ms(step.action.name(), default_ms);
            (timeout.saturating_sub(spent).max(LEAST_MS), delay(fencing, &device, &step))
        };
        Some(FenceOrder {
            view: replica.view,
            id: ask.id,
            attempt: fencing.attempt + 1,
            step,
            executor: executor.0,
            incarnation: replica.life_of(executor),
            delay_ms,
            timeout_ms,
        })
    }
}

/// Each device's own delay, and before the first device what the request wants. Switching on never waits, nor what takes over.
fn delay(fencing: &Fencing, device: &device::Device, step: &Step) -> u64 {
    let ask = &fencing.ask;
    if !step.action.kills() || ask.delay_ms < 0 || fencing.outcomes(step).next().is_some() {
        return 0;
    }
    let seed = crate::digest::sha(format!("{} {}", ask.id, device.id).as_bytes());
    let seed = u64::from_le_bytes([seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], seed[6], seed[7]]);
    let asked = if fencing.tried.is_empty() { u64::try_from(ask.delay_ms).unwrap_or(0) } else { 0 };
    asked.saturating_add(device.delay_ms(&ask.name, seed))
}

fn verdict(id: FenceId, ok: bool, reason: &str, last: bool) -> Wish {
    let reason = Reason::cleaned(reason);
    Wish::Submit(Op::Fence(Box::new(FenceOp::Verdict { id, ok, reason, last })))
}
