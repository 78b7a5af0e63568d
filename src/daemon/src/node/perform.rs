//! Performs the controller's outputs that need no answer from the core task: agents started and cancelled, schedules asked
//! for, state kept, fencing, alerts.

use super::facts::Facts;
use super::keep::Keeper;
use super::records::Records;
use crate::alerts::Alerts;
use crate::exec::{Runner, fence};
use crate::remote::Remotes;
use crate::schedule::Job;
use crate::timeline::Timeline;
use agents::Agents;
use base::exit::OcfCode;
use base::{Names, Operation, Reason};
use controller::fencing::executor::{AgentCall, AgentResult};
use controller::{Alert, ExecResult, OpStatus, Output, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc as sync;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// After a merge, addresses are announced again at once and after this, when slow switches have settled.
const REANNOUNCE_AGAIN: Duration = Duration::from_millis(1000);
/// How long the end waits for the state directory.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Where results and work go.
pub(super) struct Outlets {
    pub executed: mpsc::UnboundedSender<(u64, ExecResult)>,
    pub fenced: mpsc::UnboundedSender<(u64, AgentResult)>,
    pub schedules: sync::Sender<Job>,
    pub keeper: Keeper,
    pub records: Records,
    pub facts: Facts,
    /// For those who meet others on an address's LAN.
    pub standing: watch::Sender<crate::claims::Standing>,
}

pub(super) struct Performer {
    pub runner: Runner,
    /// For nodes that are reached from here.
    pub remotes: Remotes,
    pub agents: Agents,
    pub timeline: Timeline,
    pub alerts: Alerts,
    pub to: Outlets,
    running: BTreeMap<u64, AbortHandle>,
    /// Resources of the configuration, for the directors on standby.
    configured: watch::Sender<BTreeSet<String>>,
    stop_asked: bool,
}

impl Performer {
    pub fn new(
        (runner, remotes): (Runner, Remotes),
        agents: Agents,
        timeline: Timeline,
        alerts: Alerts,
        to: Outlets,
    ) -> Performer {
        let configured = watch::Sender::default();
        tokio::spawn(follow(agents.clone(), configured.subscribe()));
        Performer {
            runner,
            remotes,
            agents,
            timeline,
            alerts,
            to,
            running: BTreeMap::new(),
            configured,
            stop_asked: false,
        }
    }

    pub fn perform(&mut self, output: Output) {
        match output {
            Output::Execute { call, operation, record } => self.execute(call, operation, record),
            Output::Record(record) => drop(self.to.records.keep(record)),
            Output::Unrecord { instance } => self.to.records.remove(instance),
            Output::Cancel { call } => {
                if let Some(handle) = self.running.remove(&call) {
                    handle.abort();
                }
            }
            Output::Schedule { ticket, cib, wall } => {
                if self.to.schedules.send(Job { ticket, cib, wall }).is_err() {
                    tracing::error!("the scheduler's thread has ended");
                }
            }
            Output::Persist(p) => {
                let _ = self.configured.send(primitives(&p.cib));
                self.to.keeper.cib(p.ticket, p.cib, p.lineage);
            }
            Output::Discarded { cib, reason } => self.to.keeper.discarded(cib, reason),
            Output::Timeline(e) => {
                if e.kind == "backoff" {
                    tracing::warn!("{}: {}", e.subject, e.text);
                }
                self.timeline.add_at(e.at, &e.kind, &e.subject, &e.text);
            }
            Output::FenceAgent { call, run } => self.fence_agent(call, run),
            Output::Alert(alert) => self.alert(&alert),
            Output::Notify(calls) => self.alerts.send(calls),
            other => tracing::error!("output that nobody performs: {other:?}"),
        }
    }

    pub async fn owners(&self, resources: Names) {
        self.agents.set_owners(resources).await;
    }

    pub fn reannounce(&self) {
        let agents = self.agents.clone();
        tokio::spawn(async move {
            agents.reannounce().await;
            tokio::time::sleep(REANNOUNCE_AGAIN).await;
            agents.reannounce().await;
        });
    }

    pub async fn make_permanent(&self) -> Result<(), String> {
        self.agents.make_permanent().await.map_err(|e| e.to_string())
    }

    /// Remembers the first call; true from the second on.
    pub fn asked_to_stop(&mut self) -> bool {
        std::mem::replace(&mut self.stop_asked, true)
    }

    /// Ends what runs and waits until the state directory holds everything, and, unless it is in a `hurry`, a little for alerts.
    pub async fn finish(&mut self, hurry: bool) {
        self.cancel_all();
        if tokio::time::timeout(FLUSH_LIMIT, self.to.keeper.flush()).await.is_err() {
            tracing::error!("the state directory did not take everything within {} s", FLUSH_LIMIT.as_secs());
        }
        if !hurry {
            self.alerts.drain().await;
        }
    }

    pub(super) fn cancel_all(&mut self) {
        for handle in std::mem::take(&mut self.running).into_values() {
            handle.abort();
        }
    }

    /// On a remote node, or the connection to one: it ends with this process, so that its record is of no use.
    fn execute_far(&mut self, call: u64, operation: Operation, _record: Option<Box<Record>>) {
        self.running.retain(|_, handle| !handle.is_finished());
        let (remotes, executed, timeline) = (self.remotes.clone(), self.to.executed.clone(), self.timeline.clone());
        let task = tokio::spawn(async move {
            let result = remotes.run(&operation).await;
            if operation.interval_ms == 0 || result.code != OcfCode::OK {
                let (key, at) = (operation.key(), &operation.node);
                let ExecResult { code, exec_ms, reason, .. } = &result;
                let text = format!("at {at}: rc {} ({code}) after {exec_ms} ms {reason}", code.0);
                timeline.add("agent_end", &key, text.trim_end());
                tracing::info!("{key}: {}", text.trim_end());
            }
            let _ = executed.send((call, result));
        });
        self.running.insert(call, task.abort_handle());
    }

    fn execute(&mut self, call: u64, operation: Operation, record: Option<Box<Record>>) {
        self.to.facts.wanted(&operation);
        if self.remotes.takes(&operation) {
            return self.execute_far(call, operation, record);
        }
        let kept = record.map(|record| self.to.records.keep(record));
        self.running.retain(|_, handle| !handle.is_finished());
        let (runner, executed, timeline) = (self.runner.clone(), self.to.executed.clone(), self.timeline.clone());
        let task = tokio::spawn(async move {
            let subject = operation.key();
            let recurring = operation.interval_ms != 0;
            if !recurring {
                timeline.add(
                    "agent_start",
                    &subject,
                    if runner.is_native(&operation) { "in this process" } else { "as child process" },
                );
            }
            let result = match kept {
                Some(kept) => match kept.await.unwrap_or_else(|_| Err("its thread has ended".to_owned())) {
                    Ok(()) => runner.run(&operation).await,
                    Err(error) => unrecorded(&error),
                },
                None => runner.run(&operation).await,
            };
            if !recurring || result.code != base::exit::OcfCode::OK {
                let text =
                    format!("rc {} ({}) after {} ms {}", result.code.0, result.code, result.exec_ms, result.reason);
                timeline.add("agent_end", &subject, text.trim_end());
                tracing::info!("{subject}: {}", text.trim_end());
            }
            let _ = executed.send((call, result));
        });
        self.running.insert(call, task.abort_handle());
    }

    fn fence_agent(&self, call: u64, run: AgentCall) {
        let (fenced, places) = (self.to.fenced.clone(), self.runner.places());
        tokio::spawn(async move {
            let result = fence::run(&places, &run).await;
            if !result.is_ok() {
                tracing::warn!("{}: {}", run.agent, result.said());
            }
            let _ = fenced.send((call, result));
        });
    }

    fn alert(&self, alert: &Alert) {
        let text = match alert {
            Alert::Node { name, online: true } => format!("node {name} is online"),
            Alert::Node { name, online: false } => format!("node {name} is lost"),
            Alert::Resource { node, resource, operation, code, target, reason } => {
                format!(
                    "{resource}: {operation} on {node} returned {} ({code}), expected {} ({target}) {reason}",
                    code.0, target.0
                )
            }
            Alert::Fencing { event } => event.to_string(),
            Alert::FencingTrouble { name, message } => format!("fencing of {name}: {message}"),
            Alert::Discarded { reason } => format!("content was discarded at a merge: {reason}"),
            Alert::Protocol { message } => format!("a peer's message cannot be read: {message}"),
        };
        match alert {
            Alert::Node { online: true, .. } => tracing::info!("{}", text.trim_end()),
            _ => tracing::warn!("{}", text.trim_end()),
        }
        self.timeline.add("alert", "", text.trim_end());
    }
}

/// A start that does not run, since nobody would know afterwards what it had placed.
fn unrecorded(error: &str) -> ExecResult {
    let reason = Reason::cleaned(&format!("not started: the record of the instance was not written: {error}"));
    ExecResult { status: OpStatus::Error, reason, ..ExecResult::done(OcfCode::ERROR) }
}

/// Directors take their time, so the newest configuration counts.
async fn follow(agents: Agents, mut configured: watch::Receiver<BTreeSet<String>>) {
    while configured.changed().await.is_ok() {
        let resources = configured.borrow_and_update().clone();
        agents.lan().set_configured(resources.clone());
        agents.directors().set_configured(resources).await;
    }
}

/// Ids of all primitives of the configuration.
fn primitives(cib: &xml::Element) -> BTreeSet<String> {
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let all = resources.into_iter().flat_map(|r| r.descendants()).filter(|e| e.name() == "primitive");
    all.filter_map(|e| e.id()).map(str::to_owned).collect()
}
