//! This node's operations: one at a time per resource, recurring ones at their interval, failures reported each round.
//!
//! ```text
//! queued --resource free--> [clear, look] --> running --result--> reported (single)
//!   ^                                             '-------> resting (recurring) --interval over--> queued
//!   '- asked for                                               | cancelled, or its resource is stopped: gone
//! ```
//!
//! *Clear*: before a start, what the record says is in place otherwise is stopped. *Look*: before a probe with the parameters of today,
//! one with those of the record. Reports are numbered in the order in which they are made, so that of two entries of a history the
//! higher number is the newer, whatever the clock says.

use crate::agenda::{Agenda, Entry, State};
use crate::api::{ExecResult, OpStatus, Output, ViewId};
use crate::held::Held;
use crate::message::{Bump, Exec, OpIdentity, OpRecord};
use crate::record::{self, AgentFacts, AgentName, Record};
use crate::status::{ends_recurring, is_recorded};
use base::exit::OcfCode;
use base::{NodeId, Operation, Reason, Time, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod doings;
#[cfg(test)]
mod tests;

pub use doings::Doings;

mod adopt;
mod far;

/// Operations of one node at the same time, resting ones included; more are refused as failed.
const MAX_OPERATIONS: usize = 8192;
/// For operations of this node's own making.
const OWN_TIMEOUT_MS: u64 = 20_000;

/// Runs what the DC asks of this node.
pub struct Local {
    me: NodeId,
    name: String,
    /// Of keys of own operations: none of any transition.
    uuid: String,
    last_call: u64,
    tasks: Agenda<Task>,
    /// What this node runs as far as it knows itself: the base of its leases.
    held: Held,
    placed: BTreeMap<String, Placed>,
    facts: BTreeMap<AgentName, AgentFacts>,
}

/// What may be in place, and what was reported of it last.
struct Placed {
    record: Record,
    /// The newest report of a single operation, to be repeated when more is known of the agent.
    told: Option<(Operation, OpRecord)>,
}

struct Task {
    exec: Exec,
    step: Step,
    state: State,
    asked: Time,
    begun: Time,
    begun_wall: WallTime,
    /// What runs, or ran last.
    running: Option<Operation>,
    /// Result reported last, of recurring operations.
    reported: Option<(OcfCode, OpStatus)>,
    /// The resource has failed by itself meanwhile.
    failed: Option<ExecResult>,
    /// Looks after what a record says, and tells nobody if it is gone.
    adopts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Not begun: whether something comes before it is not known yet.
    Open,
    Clear,
    Look,
    Main,
}

impl Entry for Task {
    fn resource(&self) -> &str {
        &self.exec.identity.resource
    }

    fn state(&self) -> State {
        self.state
    }
}

impl Local {
    /// For node `me`; operations of its own making are marked with `uuid`.
    pub fn new(me: NodeId, name: String, uuid: String) -> Local {
        Local {
            me,
            name,
            uuid,
            last_call: 0,
            tasks: Agenda::default(),
            held: Held::default(),
            placed: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    /// Resources that this node holds.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Stops for `resources`, last started first, of what was started.
    pub fn stops_for(&self, resources: &BTreeSet<String>) -> Vec<Exec> {
        let mut known: Vec<&Record> = resources.iter().filter_map(|r| self.record(r)).collect();
        known.sort_by_key(|r| std::cmp::Reverse(r.order));
        known.into_iter().map(|r| self.own(r, "stop", Bump::Infinity)).collect()
    }

    /// What an agent's meta-data say. Results that were told without it are told again.
    pub fn learn(&mut self, agent: AgentName, facts: AgentFacts) -> Doings {
        let mut doings = Doings::default();
        let (digests, mut call) = (|o: &Operation| record::digests(o, Some(&facts)), self.last_call);
        for placed in self.placed.values_mut().filter(|p| AgentName::of(&p.record.instance) == agent) {
            let Some((operation, report)) = &mut placed.told else { continue };
            let (_, extra) = digests(operation);
            if extra.iter().all(|e| report.identity.extra.contains(e)) {
                continue;
            }
            call += 1;
            report.call = as_call(call);
            report.identity.extra.retain(|(name, _)| !extra.iter().any(|(n, _)| n == name));
            report.identity.extra.extend(extra);
            doings.reports.push(report.clone());
        }
        self.last_call = call;
        self.facts.insert(agent, facts);
        doings
    }

    pub fn start(&mut self, now: Time, wall: WallTime, exec: Exec) -> Doings {
        let mut doings = Doings::default();
        let id = exec.identity.clone();
        match id.operation.as_str() {
            "cancel" => {
                self.cancel(&mut doings, &id.resource, |op| op.identity.key == id.key);
                self.report_plain(&mut doings, &exec, &ExecResult::done(OcfCode::OK), wall);
                return doings;
            }
            "delete" => {
                self.forget(&mut doings, &id.resource);
                self.drop_record(&mut doings, &id.resource);
                self.report_plain(&mut doings, &exec, &ExecResult::done(OcfCode::OK), wall);
                return doings;
            }
            _ => {}
        }
        if self.tasks.len() >= MAX_OPERATIONS {
            let reason = Reason::cleaned(&format!("more than {MAX_OPERATIONS} operations on this node"));
            let refused = ExecResult { status: OpStatus::Error, reason, ..ExecResult::done(OcfCode::ERROR) };
            self.report_plain(&mut doings, &exec, &refused, wall);
            doings.last_is_news();
            return doings;
        }
        if ends_recurring(&id.operation) {
            self.cancel(&mut doings, &id.resource, |op| op.identity.interval_ms > 0);
        }
        if id.interval_ms > 0 {
            self.cancel(&mut doings, &id.resource, |op| op.identity.key == id.key);
        }
        match id.operation.as_str() {
            // From here on the address may be used, and from here on it may not.
            "start" | "migrate_from" => drop(self.held.insert(id.resource.clone())),
            "stop" => self.release(&id.resource),
            _ => {}
        }
        let call = self.next_call();
        self.tasks.insert(call, Task::new(exec, now, wall));
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// A resource's history was forgotten: its recurring operations end, what runs goes on.
    pub fn forget(&mut self, doings: &mut Doings, resource: &str) {
        self.cancel(doings, resource, |op| op.identity.interval_ms > 0);
    }

    /// An operation, or one round of it, has ended.
    pub fn finished(&mut self, now: Time, wall: WallTime, call: u64, result: &ExecResult) -> Doings {
        let mut doings = Doings::default();
        let Some(mut task) = self.tasks.remove(call) else { return doings };
        if task.state != State::Running {
            self.tasks.insert(call, task);
            return doings;
        }
        let mut result = result.clone();
        if result.exec_ms == 0 {
            result.exec_ms = now.since(task.begun).as_millis() as u64;
        }
        match self.prelude_ended(&mut doings, &mut task, &result) {
            Prelude::None => self.main_ended(&mut doings, call, task, result, now, wall),
            Prelude::Go => {
                task.state = State::Queued;
                self.tasks.insert(call, task);
            }
            Prelude::Fail(failure) => {
                self.report(&mut doings, &task, failure, wall);
                doings.last_is_news();
            }
        }
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// A held resource has failed by itself: told as the result of its monitor, or, if it has none, of an `asyncmon`. While
    /// another operation is under way on it, it is told afterwards, unless that one ends the resource.
    pub fn fail(&mut self, now: Time, wall: WallTime, resource: &str, result: &ExecResult) -> Doings {
        let mut doings = Doings::default();
        if !self.held.contains(resource) {
            return doings;
        }
        let busy = self.tasks.of(resource).find(|(_, t)| t.exec.identity.interval_ms == 0).map(|(call, _)| call);
        if let Some((call, mut task)) = busy.and_then(|call| Some((call, self.tasks.remove(call)?))) {
            task.failed = Some(result.clone());
            self.tasks.insert(call, task);
            return doings;
        }
        let is_monitor = |t: &Task| {
            let id = &t.exec.identity;
            id.operation == "monitor" && id.target_rc == OcfCode::OK.0
        };
        let monitor = self.tasks.of(resource).find(|(_, t)| is_monitor(t)).map(|(call, _)| call);
        if let Some((call, mut task)) = monitor.and_then(|call| Some((call, self.tasks.remove(call)?))) {
            if task.running.is_none() {
                task.running = Some(self.on_record(&task.exec));
            }
            self.report(&mut doings, &task, result.clone(), wall);
            if task.reported != Some((result.code, result.status)) {
                doings.last_is_news();
            }
            task.reported = Some((result.code, result.status));
            // What runs may have looked before it happened: its next round tells how it is now.
            if let State::Resting { until } = &mut task.state {
                *until = (*until).min(now + Duration::from_millis(task.exec.identity.interval_ms));
            }
            self.tasks.insert(call, task);
        } else if let Some(record) = self.record(resource) {
            let exec = self.own(record, "asyncmon", Bump::One);
            self.report_plain(&mut doings, &exec, result, wall);
            doings.last_is_news();
        }
        if result.code == OcfCode::NOT_RUNNING {
            self.held.remove(resource);
        }
        doings
    }

    /// Starts the rounds that are due.
    pub fn tick(&mut self, now: Time, wall: WallTime) -> Doings {
        let mut doings = Doings::default();
        if self.tasks.next_due().is_none_or(|at| at > now) {
            return doings;
        }
        for (call, mut task) in self.tasks.take_due(now) {
            task.state = State::Queued;
            task.asked = now;
            self.tasks.insert(call, task);
        }
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// Makes the next round of every recurring operation due now.
    pub fn hasten(&mut self, now: Time) {
        for (call, mut task) in self.tasks.take_resting() {
            if let State::Resting { until } = &mut task.state {
                *until = (*until).min(now);
            }
            self.tasks.insert(call, task);
        }
    }

    pub fn deadline(&self) -> Option<Time> {
        self.tasks.next_due()
    }

    // ---- running ----

    /// Ends operations of a resource for which `chosen` holds, without a report.
    fn cancel(&mut self, doings: &mut Doings, resource: &str, chosen: impl Fn(&Exec) -> bool) {
        let calls: Vec<u64> = self.tasks.of(resource).filter(|(_, t)| chosen(&t.exec)).map(|(c, _)| c).collect();
        for call in calls {
            let Some(task) = self.tasks.remove(call) else { continue };
            if task.state == State::Running {
                doings.outputs.push(Output::Cancel { call });
            }
            if task.exec.identity.interval_ms > 0
                && let Some((code, _)) = task.reported
            {
                let cancelled = ExecResult { status: OpStatus::Cancelled, ..ExecResult::done(code) };
                doings.news.push(outcome(&task.exec, call, &cancelled, 0));
            }
        }
    }

    /// Starts what may run: a resource's operations run one after the other, oldest first.
    fn run_queued(&mut self, now: Time, wall: WallTime, doings: &mut Doings) {
        for call in self.tasks.runnable() {
            let Some(mut task) = self.tasks.remove(call) else { continue };
            task.state = State::Running;
            if task.step == Step::Open && task.reported.is_none() {
                doings.begun.push(task.exec.identity.clone());
            }
            if task.step == Step::Open || task.reported.is_some() {
                (task.begun, task.begun_wall) = (now, wall);
            }
            let (step, operation, record) = self.next_step(call, &task);
            task.step = step;
            task.running = Some(operation.clone());
            self.tasks.insert(call, task);
            doings.outputs.push(Output::Execute { call, operation, record: record.map(Box::new) });
        }
    }

    /// What to run of a task now, and the record to be kept before it runs.
    fn next_step(&mut self, call: u64, task: &Task) -> (Step, Operation, Option<Record>) {
        let exec = &task.exec;
        let starts = matches!(exec.operation.action.as_str(), "start" | "migrate_from");
        let known = self.record(&exec.identity.resource).filter(|r| record::differs(exec, r));
        if let Some(known) = known.filter(|_| task.step == Step::Open && record::is_new(&exec.operation)) {
            let (step, action) = if starts { (Step::Clear, "stop") } else { (Step::Look, "monitor") };
            let timeout_ms = exec.operation.timeout_ms;
            return (step, Operation { timeout_ms, ..self.own(known, action, Bump::None).operation }, None);
        }
        if task.adopts || (record::is_new(&exec.operation) && !starts) {
            return (Step::Main, exec.operation.clone(), None);
        }
        if !starts {
            return (Step::Main, self.on_record(exec), None);
        }
        let record = Record::of(&exec.operation, &exec.own, call);
        self.placed.insert(exec.identity.resource.clone(), Placed { record: record.clone(), told: None });
        (Step::Main, exec.operation.clone(), Some(record))
    }

    fn prelude_ended(&mut self, doings: &mut Doings, task: &mut Task, result: &ExecResult) -> Prelude {
        let resource = task.exec.identity.resource.clone();
        let done = result.status == OpStatus::Done;
        match task.step {
            Step::Clear if done && result.code == OcfCode::OK => {}
            Step::Look if done && result.code == OcfCode::NOT_RUNNING => {}
            Step::Clear => {
                let agent = task.running.as_ref().map(|o| o.instance.agent.clone()).unwrap_or_default();
                let reason = format!("what was started before ({agent}) could not be stopped: {}", result.reason);
                let reason = Reason::cleaned(&reason);
                let code = if result.code == OcfCode::OK { OcfCode::ERROR } else { result.code };
                return Prelude::Fail(ExecResult { code, reason, ..result.clone() });
            }
            // What the record says is there: that is the answer.
            _ => return Prelude::None,
        }
        self.drop_record(doings, &resource);
        task.step = Step::Main;
        Prelude::Go
    }

    fn main_ended(
        &mut self,
        doings: &mut Doings,
        call: u64,
        mut task: Task,
        mut result: ExecResult,
        now: Time,
        wall: WallTime,
    ) {
        if task.reported.is_none() {
            result.queue_ms = result.queue_ms.saturating_add(task.begun.since(task.asked).as_millis() as u64);
        }
        let gone =
            result.status == OpStatus::Done && matches!(result.code, OcfCode::NOT_RUNNING | OcfCode::NOT_INSTALLED);
        self.note_result(doings, &task, &result);
        let seen = (result.code, result.status);
        let at = if task.reported.is_none() { task.begun_wall } else { wall };
        let new = task.reported != Some(seen);
        if !(task.adopts && gone) && (new || task.is_failure(&result)) {
            self.report(doings, &task, result.clone(), at);
            if new {
                doings.last_is_news();
            }
        }
        let meanwhile =
            task.failed.take().filter(|_| result.code == OcfCode::OK && task.exec.operation.action != "stop");
        let resource = task.exec.identity.resource.clone();
        if task.exec.identity.interval_ms > 0 {
            task.reported = Some(seen);
            task.state = State::Resting { until: now + Duration::from_millis(task.exec.identity.interval_ms) };
            self.tasks.insert(call, task);
        }
        if let Some(failure) = meanwhile {
            let told = self.fail(now, wall, &resource, &failure);
            doings.reports.extend(told.reports);
            doings.news.extend(told.news);
        }
    }

    fn note_result(&mut self, doings: &mut Doings, task: &Task, result: &ExecResult) {
        let resource = &task.exec.identity.resource;
        if result.status != OpStatus::Done {
            return;
        }
        let Some(operation) = &task.running else { return };
        match (operation.action.as_str(), result.code) {
            ("monitor", OcfCode::OK | OcfCode::PROMOTED) => {
                self.held.insert(resource.clone());
                if self.record(resource).is_none() {
                    self.keep(doings, resource, Record::of(operation, &task.exec.own, self.last_call));
                }
            }
            ("monitor", OcfCode::NOT_RUNNING) => {
                self.held.remove(resource);
                if operation.interval_ms == 0 {
                    self.drop_record(doings, resource);
                }
            }
            ("stop", OcfCode::OK) => {
                self.release(resource);
                self.drop_record(doings, resource);
            }
            ("reload" | "reload-agent", OcfCode::OK) => {
                let order = self.record(resource).map_or(0, |r| r.order);
                self.keep(doings, resource, Record::of(operation, &task.exec.own, order));
            }
            _ => {}
        }
    }

    // ---- records ----

    fn key_of(&self, resource: &str) -> Option<String> {
        record::key_of(&self.placed, resource).cloned()
    }

    fn record(&self, resource: &str) -> Option<&Record> {
        self.placed.get(&self.key_of(resource)?).map(|p| &p.record)
    }

    fn keep(&mut self, doings: &mut Doings, resource: &str, record: Record) {
        let key = self.key_of(resource).unwrap_or_else(|| resource.to_owned());
        self.placed.insert(key, Placed { record: record.clone(), told: None });
        doings.outputs.push(Output::Record(Box::new(record)));
    }

    fn drop_record(&mut self, doings: &mut Doings, resource: &str) {
        let Some(key) = self.key_of(resource) else { return };
        if let Some(placed) = self.placed.remove(&key) {
            doings.outputs.push(Output::Unrecord { instance: placed.record.instance.id });
        }
    }

    /// The resource is not this node's any more, under whichever of its names.
    fn release(&mut self, resource: &str) {
        self.held.remove(resource);
        if let Some(key) = self.key_of(resource) {
            self.held.remove(&key);
        }
    }

    fn on_record(&self, exec: &Exec) -> Operation {
        let Some(record) = self.record(&exec.identity.resource) else { return exec.operation.clone() };
        record::on_record(exec, record, self.facts.get(&AgentName::of(&record.instance)))
    }

    /// An operation of this node's own making on what a record says.
    fn own(&self, record: &Record, action: &str, bump: Bump) -> Exec {
        let instance = record.instance.clone();
        let identity = OpIdentity {
            node: self.me,
            node_name: self.name.clone(),
            resource: instance.id.clone(),
            class: instance.class.clone(),
            provider: instance.provider.clone(),
            agent: instance.agent.clone(),
            operation: action.to_owned(),
            interval_ms: 0,
            key: format!("{}_{action}_0", instance.id),
            // Never the key of an action in a transition.
            transition_key: format!("0:0:0:{}", self.uuid),
            target_rc: 0,
            digest: record.digest.clone(),
            ignore_failure: false,
            bump,
            extra: Vec::new(),
        };
        let meta_ms = record.meta.get("timeout").and_then(|t| t.parse().ok());
        let timeout_ms = meta_ms.map_or(OWN_TIMEOUT_MS, |ms: u64| ms.max(OWN_TIMEOUT_MS));
        let (action, node) = (action.to_owned(), self.name.clone());
        let operation = Operation { instance, action, interval_ms: 0, timeout_ms, meta: record.meta.clone(), node };
        let view = ViewId::default();
        Exec { view, identity, operation, own: Vec::new(), wait_ms: timeout_ms, router: None }
    }

    // ---- reports ----

    fn next_call(&mut self) -> u64 {
        self.last_call += 1;
        self.last_call
    }

    /// Tells how a task ended, with the digests of what was really run.
    fn report(&mut self, doings: &mut Doings, task: &Task, result: ExecResult, at: WallTime) {
        let mut told = outcome(&task.exec, self.next_call(), &result, at.secs());
        if let Some(operation) = &task.running {
            let name = AgentName::of(&operation.instance);
            let (digest, extra) = record::digests(operation, self.facts.get(&name));
            let id = &mut told.identity;
            (id.class, id.provider, id.agent) = (name.class, name.provider, name.agent);
            id.digest = digest;
            id.extra.extend(extra);
            if id.interval_ms == 0
                && is_recorded(&id.operation)
                && let Some(placed) = self.key_of(&task.exec.identity.resource).and_then(|k| self.placed.get_mut(&k))
            {
                placed.told = (!told.failed()).then(|| (operation.clone(), told.clone()));
            }
        }
        doings.reports.push(told);
    }

    fn report_plain(&mut self, doings: &mut Doings, exec: &Exec, result: &ExecResult, at: WallTime) {
        let call = self.next_call();
        doings.reports.push(outcome(exec, call, result, at.secs()));
    }
}

/// What became of the step before the operation itself.
enum Prelude {
    /// There was none, or it has the answer.
    None,
    Go,
    Fail(ExecResult),
}

impl Task {
    fn new(exec: Exec, now: Time, wall: WallTime) -> Task {
        Task {
            exec,
            step: Step::Open,
            state: State::Queued,
            asked: now,
            begun: now,
            begun_wall: wall,
            running: None,
            reported: None,
            failed: None,
            adopts: false,
        }
    }

    fn is_failure(&self, result: &ExecResult) -> bool {
        outcome(&self.exec, 0, result, 0).failed()
    }
}

fn as_call(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn outcome(exec: &Exec, call: u64, result: &ExecResult, changed_s: i64) -> OpRecord {
    OpRecord {
        identity: exec.identity.clone(),
        call: as_call(call),
        code: result.code.0,
        status: result.status,
        reason: result.reason.clone(),
        exec_ms: result.exec_ms,
        queue_ms: result.queue_ms,
        changed_s,
    }
}
