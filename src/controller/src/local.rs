//! This node's operations: one at a time per resource, recurring ones at their interval, results reported on change.
//!
//! ```text
//! queued --resource free--> running --result--> reported (single)
//!   ^                                 '-------> resting (recurring) --interval over--> queued
//!   '- asked for                                    | cancelled, or its resource is stopped: gone
//! ```

use crate::api::{ExecResult, OpStatus, Output};
use crate::message::{Exec, OpIdentity, OpRecord};
use crate::status::ends_recurring;
use base::exit::OcfCode;
use base::{Reason, Time, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Operations of one node at the same time, resting ones included; more are refused as failed.
const MAX_OPERATIONS: usize = 8192;

/// Runs what the DC asks of this node.
#[derive(Default)]
pub struct Local {
    last_call: u64,
    operations: BTreeMap<u64, Operation>,
    /// What this node runs as far as it knows itself: the base of its leases.
    held: BTreeSet<String>,
    /// How each held resource is stopped, in the order of their starts.
    started: BTreeMap<String, (u64, Exec)>,
}

struct Operation {
    exec: Exec,
    state: State,
    asked: Time,
    begun: Time,
    begun_wall: WallTime,
    /// Result reported last, of recurring operations.
    reported: Option<(OcfCode, OpStatus)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Running,
    Resting { until: Time },
}

/// What came of an input.
#[derive(Default)]
pub struct Doings {
    pub outputs: Vec<Output>,
    pub reports: Vec<OpRecord>,
    pub begun: Vec<OpIdentity>,
}

impl Local {
    /// Resources that this node holds.
    pub fn held(&self) -> &BTreeSet<String> {
        &self.held
    }

    /// Stops for `resources`, last started first, made from how they were started.
    pub fn stops_for(&self, resources: &BTreeSet<String>) -> Vec<Exec> {
        let mut known: Vec<&(u64, Exec)> = resources.iter().filter_map(|r| self.started.get(r)).collect();
        known.sort_by_key(|(call, _)| std::cmp::Reverse(*call));
        known.into_iter().map(|(_, exec)| stop_of(exec)).collect()
    }

    pub fn start(&mut self, now: Time, wall: WallTime, exec: Exec) -> Doings {
        let mut doings = Doings::default();
        let id = exec.identity.clone();
        self.last_call += 1;
        let call = self.last_call;
        match id.operation.as_str() {
            "cancel" => {
                self.cancel(&mut doings, |op| op.identity.resource == id.resource && op.identity.key == id.key);
                doings.reports.push(report(&exec, call, &ExecResult::done(OcfCode::OK), wall.secs()));
                return doings;
            }
            "delete" => {
                self.forget(&mut doings, &id.resource);
                doings.reports.push(report(&exec, call, &ExecResult::done(OcfCode::OK), wall.secs()));
                return doings;
            }
            _ => {}
        }
        if self.operations.len() >= MAX_OPERATIONS {
            let mut result = ExecResult::done(OcfCode::ERROR);
            result.status = OpStatus::Error;
            result.reason = Reason::cleaned(&format!("more than {MAX_OPERATIONS} operations on this node"));
            doings.reports.push(report(&exec, call, &result, wall.secs()));
            return doings;
        }
        if ends_recurring(&id.operation) {
            self.cancel(&mut doings, |op| op.identity.resource == id.resource && op.identity.interval_ms > 0);
        }
        if id.interval_ms > 0 {
            self.cancel(&mut doings, |op| op.identity.resource == id.resource && op.identity.key == id.key);
        }
        match id.operation.as_str() {
            // From here on the address may be used, and from here on it may not.
            "start" | "migrate_from" => {
                self.held.insert(id.resource.clone());
                self.started.insert(id.resource.clone(), (call, exec.clone()));
            }
            "stop" => drop(self.held.remove(&id.resource)),
            _ => {}
        }
        let operation =
            Operation { exec, state: State::Queued, asked: now, begun: now, begun_wall: wall, reported: None };
        self.operations.insert(call, operation);
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// Ends operations for which `chosen` holds, without a report.
    fn cancel(&mut self, doings: &mut Doings, chosen: impl Fn(&Exec) -> bool) {
        let calls: Vec<u64> = self.operations.iter().filter(|(_, o)| chosen(&o.exec)).map(|(c, _)| *c).collect();
        for call in calls {
            if self.operations.remove(&call).is_some_and(|o| o.state == State::Running) {
                doings.outputs.push(Output::Cancel { call });
            }
        }
    }

    /// A resource's history was forgotten: its recurring operations end, what runs goes on.
    pub fn forget(&mut self, doings: &mut Doings, resource: &str) {
        self.cancel(doings, |op| op.identity.resource == resource && op.identity.interval_ms > 0);
    }

    /// Starts what may run: a resource's operations run one after the other, oldest first.
    fn run_queued(&mut self, now: Time, wall: WallTime, doings: &mut Doings) {
        let running = self.operations.values().filter(|o| o.state == State::Running);
        let mut busy: BTreeSet<String> = running.map(|o| o.exec.identity.resource.clone()).collect();
        for (call, operation) in &mut self.operations {
            let id = &operation.exec.identity;
            if operation.state != State::Queued || !busy.insert(id.resource.clone()) {
                continue;
            }
            operation.state = State::Running;
            operation.begun = now;
            operation.begun_wall = wall;
            if operation.reported.is_none() {
                doings.begun.push(id.clone());
            }
            doings.outputs.push(Output::Execute { call: *call, operation: operation.exec.operation.clone() });
        }
    }

    /// An operation, or one round of it, has ended.
    pub fn finished(&mut self, now: Time, wall: WallTime, call: u64, result: &ExecResult) -> Doings {
        let mut doings = Doings::default();
        let Some(operation) = self.operations.get_mut(&call).filter(|o| o.state == State::Running) else {
            return doings;
        };
        let mut result = result.clone();
        if result.exec_ms == 0 {
            result.exec_ms = now.since(operation.begun).as_millis() as u64;
        }
        if operation.reported.is_none() {
            result.queue_ms = result.queue_ms.saturating_add(operation.begun.since(operation.asked).as_millis() as u64);
        }
        let seen = (result.code, result.status);
        let changed = operation.reported != Some(seen);
        let at = if operation.reported.is_none() { operation.begun_wall } else { wall };
        if changed {
            doings.reports.push(report(&operation.exec, call, &result, at.secs()));
        }
        let (id, exec) = (operation.exec.identity.clone(), operation.exec.clone());
        if id.interval_ms > 0 {
            operation.reported = Some(seen);
            operation.state = State::Resting { until: now + Duration::from_millis(id.interval_ms) };
        } else {
            self.operations.remove(&call);
        }
        self.note_result(&id, &exec, call, &result);
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// A held resource has failed by itself: told as the result of its monitor, or, if it has none, of an `asyncmon`. While
    /// another operation is under way on it, that one's result tells.
    pub fn fail(&mut self, wall: WallTime, resource: &str, result: &ExecResult) -> Doings {
        let mut doings = Doings::default();
        let busy = |o: &Operation| o.exec.identity.resource == resource && o.exec.identity.interval_ms == 0;
        if !self.held.contains(resource) || self.operations.values().any(busy) {
            return doings;
        }
        let monitor = self.operations.iter_mut().find(|(_, o)| {
            let id = &o.exec.identity;
            id.resource == resource && id.operation == "monitor" && id.target_rc == OcfCode::OK.0
        });
        if let Some((call, monitor)) = monitor {
            if monitor.reported != Some((result.code, result.status)) {
                monitor.reported = Some((result.code, result.status));
                doings.reports.push(report(&monitor.exec, *call, result, wall.secs()));
            }
        } else if let Some((_, exec)) = self.started.get(resource) {
            self.last_call += 1;
            doings.reports.push(report(&asyncmon_of(exec), self.last_call, result, wall.secs()));
        }
        if result.code == OcfCode::NOT_RUNNING {
            self.held.remove(resource);
        }
        doings
    }

    fn note_result(&mut self, id: &OpIdentity, exec: &Exec, call: u64, result: &ExecResult) {
        if result.status != OpStatus::Done {
            return;
        }
        match (id.operation.as_str(), result.code) {
            ("monitor", OcfCode::OK | OcfCode::PROMOTED) => {
                self.held.insert(id.resource.clone());
                self.started.entry(id.resource.clone()).or_insert((call, exec.clone()));
            }
            ("monitor", OcfCode::NOT_RUNNING) => drop(self.held.remove(&id.resource)),
            ("stop", OcfCode::OK) => {
                self.held.remove(&id.resource);
                self.started.remove(&id.resource);
            }
            _ => {}
        }
    }

    /// Starts the rounds that are due.
    pub fn tick(&mut self, now: Time, wall: WallTime) -> Doings {
        let mut doings = Doings::default();
        for operation in self.operations.values_mut() {
            if matches!(operation.state, State::Resting { until } if until <= now) {
                operation.state = State::Queued;
                operation.asked = now;
            }
        }
        self.run_queued(now, wall, &mut doings);
        doings
    }

    /// Makes the next round of every recurring operation due now.
    pub fn hasten(&mut self, now: Time) {
        for operation in self.operations.values_mut() {
            if let State::Resting { until } = &mut operation.state {
                *until = (*until).min(now);
            }
        }
    }

    pub fn deadline(&self) -> Option<Time> {
        let until = |o: &Operation| match o.state {
            State::Resting { until } => Some(until),
            _ => None,
        };
        self.operations.values().filter_map(until).min()
    }
}

fn report(exec: &Exec, call: u64, result: &ExecResult, changed_s: i64) -> OpRecord {
    OpRecord {
        identity: exec.identity.clone(),
        call: i64::try_from(call).unwrap_or(i64::MAX),
        code: result.code.0,
        status: result.status,
        reason: result.reason.clone(),
        exec_ms: result.exec_ms,
        queue_ms: result.queue_ms,
        changed_s,
    }
}

/// A stop of this node's own making, with the parameters that `exec` was run with.
fn stop_of(exec: &Exec) -> Exec {
    own_operation(exec, "stop", crate::message::Bump::Infinity)
}

/// What Pacemaker calls a failure that no operation has found.
fn asyncmon_of(exec: &Exec) -> Exec {
    own_operation(exec, "asyncmon", crate::message::Bump::One)
}

fn own_operation(exec: &Exec, operation: &str, bump: crate::message::Bump) -> Exec {
    let mut own = exec.clone();
    let id = &mut own.identity;
    id.operation = operation.to_owned();
    id.interval_ms = 0;
    own.operation.action = operation.to_owned();
    own.operation.interval_ms = 0;
    id.key = format!("{}_{operation}_0", id.resource);
    id.target_rc = 0;
    id.bump = bump;
    // Keep the UUID, but never meet the key of an action in a transition.
    let uuid = id.transition_key.rsplit(':').next().unwrap_or_default().to_owned();
    id.transition_key = format!("0:0:0:{uuid}");
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ViewId;
    use crate::message::Bump;
    use base::NodeId;

    fn exec(operation: &str, interval_ms: u64) -> Exec {
        let identity = OpIdentity {
            node: NodeId(1),
            node_name: "a".into(),
            resource: "vip".into(),
            class: "ocf".into(),
            provider: Some("heartbeat".into()),
            agent: "IPaddr2".into(),
            operation: operation.into(),
            interval_ms,
            key: format!("vip_{operation}_{interval_ms}"),
            transition_key: format!("{operation}:1:0:u"),
            target_rc: 0,
            digest: String::new(),
            ignore_failure: false,
            bump: Bump::One,
            extra: vec![],
        };
        let operation = base::Operation { action: operation.into(), interval_ms, ..base::Operation::default() };
        Exec { view: ViewId::default(), identity, operation, own: vec![], wait_ms: 20000 }
    }

    fn calls(doings: &Doings) -> Vec<String> {
        let text = |o: &Output| match o {
            Output::Execute { call, operation } => format!("{call} {}", operation.action),
            Output::Cancel { call } => format!("cancel {call}"),
            other => format!("{other:?}"),
        };
        doings.outputs.iter().map(text).collect()
    }

    #[test]
    fn monitors_report_changes_only_and_end_with_their_resource() {
        let (mut local, wall) = (Local::default(), WallTime(0));
        let ok = ExecResult::done(OcfCode::OK);
        let mut now = Time::ZERO;
        assert_eq!(calls(&local.start(now, wall, exec("start", 0))), ["1 start"]);
        assert!(local.held().contains("vip"));
        assert_eq!(calls(&local.start(now, wall, exec("monitor", 10000))), Vec::<String>::new());
        let done = local.finished(now, wall, 1, &ok);
        assert_eq!((done.reports.len(), calls(&done)), (1, vec!["2 monitor".to_owned()]));
        assert_eq!(local.finished(now, wall, 2, &ok).reports.len(), 1);
        now = Time::from_millis(10000);
        assert_eq!(local.deadline(), Some(now));
        assert_eq!(calls(&local.tick(now, wall)), ["2 monitor"]);
        assert_eq!(local.finished(now, wall, 2, &ok).reports.len(), 0);
        now = Time::from_millis(20000);
        local.tick(now, wall);
        let failed = local.finished(now, wall, 2, &ExecResult::done(OcfCode::NOT_RUNNING));
        assert!(failed.reports[0].failed());
        assert!(!local.held().contains("vip"));
        now = Time::from_millis(30000);
        assert_eq!(calls(&local.tick(now, wall)), ["2 monitor"]);
        assert_eq!(calls(&local.start(now, wall, exec("stop", 0))), ["cancel 2", "3 stop"]);
        assert_eq!(local.finished(now, wall, 2, &ok).reports.len(), 0, "a cancelled round's answer is late");
        local.finished(now, wall, 3, &ok);
        assert_eq!(local.deadline(), None);
    }
}
