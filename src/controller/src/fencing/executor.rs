//! The executing node's part: runs a device as ordered, and reports.
//!
//! ```text
//! order --delay--> what can the agent? --does it know the target?--> agent --failed--> pause --> agent ... within its time
//!                        |  not installed: Elsewhere    |  Cannot      | worked: Done
//! ```
//!
//! What agents are and list is kept: meta-data for good, lists for [`LIST_LIVES`]. Nothing here decides over a fencing; a job whose
//! fencing is over ends where it is, unless its agent runs already.

use super::device::{self, Covers, Device, Facts, HostCheck, WATCHDOG};
use super::driver::QUERY_WITHIN;
use super::state::Fencing;
use super::{Ended, FenceAction, FenceId, FenceOrder, Outcome};
use base::outside::Reason;
use base::{NodeId, Time, secret};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use xml::Element;

/// Between two runs of an agent that fails.
const PAUSE: Duration = Duration::from_secs(1);
/// For an agent's meta-data.
const FACTS_WITHIN: Duration = Duration::from_secs(10);
/// How long a device's list is believed.
pub const LIST_LIVES: Duration = Duration::from_secs(60);
/// Agents of which something is kept; no configuration has as many.
const MAX_AGENTS: usize = 256;

/// A run of a fence agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentCall {
    pub agent: String,
    pub kind: AgentKind,
    pub timeout_ms: u64,
}

#[derive(Clone, PartialEq, Eq)]
pub enum AgentKind {
    /// What it is; nothing may be done to anybody.
    Metadata,
    /// The device's id, by which its secrets are found where they are not in the configuration, and its parameters, the action
    /// among them.
    Run { device: String, input: Vec<(String, String)> },
}

/// Secrets do not appear, wherever it is printed.
impl fmt::Debug for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentKind::Metadata => f.write_str("Metadata"),
            AgentKind::Run { device, input } => {
                let input = secret::all_shown(input.iter().map(|(name, value)| (name, value)));
                f.debug_struct("Run").field("device", device).field("input", &input).finish()
            }
        }
    }
}

impl AgentKind {
    pub fn of(device: &Device, action: &str, target: Option<&str>, facts: Option<&Facts>) -> AgentKind {
        AgentKind::Run { device: device.id.clone(), input: device.input(action, target, facts) }
    }
}

/// How a run has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentResult {
    pub end: AgentEnd,
    /// Standard output, bounded.
    pub output: String,
    pub reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentEnd {
    Code(i32),
    Timeout,
    NotInstalled,
    NotStarted,
}

impl AgentResult {
    pub fn code(code: i32) -> AgentResult {
        AgentResult { end: AgentEnd::Code(code), output: String::new(), reason: Reason::default() }
    }

    pub fn is_ok(&self) -> bool {
        self.end == AgentEnd::Code(0)
    }

    /// In words, for one that is no success.
    pub fn said(&self) -> String {
        let what = match self.end {
            AgentEnd::Code(code) => format!("exit code {code}"),
            AgentEnd::Timeout => "did not finish in time".to_owned(),
            AgentEnd::NotInstalled => "is not installed".to_owned(),
            AgentEnd::NotStarted => "could not be started".to_owned(),
        };
        if self.reason.is_empty() { what } else { format!("{what}: {}", self.reason) }
    }
}

/// What is to be done after a step of the executor.
#[derive(Default, Debug)]
pub struct Work {
    pub calls: Vec<(u64, AgentCall)>,
    pub outcomes: Vec<Outcome>,
    /// Calls that were made for a query and have ended, by the query's number.
    pub asked: Vec<(u64, String, AgentResult)>,
}

enum For {
    Facts(String),
    Job(FenceId),
    Query { number: u64, device: String, lists: bool },
}

struct Job {
    order: FenceOrder,
    target: String,
    /// The fencing switches off and then on, and this is the second part.
    comes_back: bool,
    stage: Stage,
    /// End of the device's time; set when the delay is over.
    until: Time,
    tries: u32,
    /// The target is back, or a merge has put an end to it: what runs comes to its end, and nothing more begins.
    needless: bool,
}

#[derive(PartialEq, Debug)]
enum Stage {
    Wait {
        until: Time,
    },
    Facts,
    Check,
    Run,
    /// The target's own watchdog needs that long.
    Watchdog {
        until: Time,
    },
}

struct Listed {
    at: Time,
    params: BTreeMap<String, String>,
    names: Vec<String>,
}

pub struct Executor {
    me: NodeId,
    /// `None`: it was asked and says nothing useful.
    facts: BTreeMap<String, Option<Facts>>,
    lists: BTreeMap<String, Listed>,
    calls: BTreeMap<u64, For>,
    jobs: BTreeMap<FenceId, Job>,
    next: u64,
}

impl Executor {
    pub fn new(me: NodeId) -> Executor {
        Executor {
            me,
            facts: BTreeMap::new(),
            lists: BTreeMap::new(),
            calls: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next: 1,
        }
    }

    /// This node was ordered to run a device.
    pub fn begin(&mut self, now: Time, order: &FenceOrder, fencing: &Fencing, cib: &Element) -> Work {
        let comes_back = fencing.ask.action == FenceAction::Reboot && order.step.action == FenceAction::On;
        let until = now + Duration::from_millis(order.delay_ms);
        let job = Job {
            order: order.clone(),
            target: fencing.ask.name.to_string(),
            comes_back,
            stage: Stage::Wait { until },
            until,
            tries: 0,
            needless: fencing.needless,
        };
        self.jobs.insert(order.id, job);
        self.tick(now, cib)
    }

    /// A fencing is over: what of it has not reached its agent does not begin.
    pub fn over(&mut self, id: FenceId) {
        self.jobs.retain(|job, j| *job != id || j.stage == Stage::Run);
    }

    /// A view has begun: only these are still needed. Of the others, those that have not reached their agent end at once, and the rest
    /// with what their agent is at.
    pub fn keep(&mut self, needed: &BTreeSet<FenceId>) -> Work {
        let mut work = Work::default();
        let all: Vec<FenceId> = self.jobs.keys().filter(|id| !needed.contains(id)).copied().collect();
        for id in all {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.needless = true;
            if job.stage != Stage::Run {
                self.end(id, Ended::Elsewhere, "it is not needed any more", &mut work);
            }
        }
        work
    }

    pub fn deadline(&self) -> Option<Time> {
        let due = |j: &Job| match j.stage {
            Stage::Wait { until } | Stage::Watchdog { until } => Some(until),
            _ => None,
        };
        self.jobs.values().filter_map(due).min()
    }

    pub fn tick(&mut self, now: Time, cib: &Element) -> Work {
        let mut work = Work::default();
        let due = |j: &Job| match j.stage {
            Stage::Wait { until } | Stage::Watchdog { until } => until <= now,
            _ => false,
        };
        let due: Vec<FenceId> = self.jobs.iter().filter(|(_, j)| due(j)).map(|(id, _)| *id).collect();
        for id in due {
            self.go_on(now, id, cib, &mut work);
        }
        work
    }

    /// Learns what agents are of which the configuration has come to speak.
    pub fn prepare(&mut self, cib: &Element) -> Work {
        let mut work = Work::default();
        for device in device::all(cib) {
            let known = self.facts.contains_key(&device.agent);
            if !known && !self.is_asked(&device.agent) && self.facts.len() < MAX_AGENTS {
                self.ask_facts(&device.agent, &mut work);
            }
        }
        work
    }

    pub fn facts(&self, agent: &str) -> Option<&Facts> {
        self.facts.get(agent).and_then(Option::as_ref)
    }

    /// What the device listed of late.
    pub fn listed(&self, now: Time, device: &Device) -> Option<&[String]> {
        let fresh = |l: &&Listed| now.since(l.at) < LIST_LIVES && l.params == device.params;
        self.lists.get(&device.id).filter(fresh).map(|l| l.names.as_slice())
    }

    /// Runs `action` of a device for a query.
    pub fn ask(&mut self, number: u64, device: &Device, action: &str, timeout_ms: u64) -> Work {
        let mut work = Work::default();
        let kind = AgentKind::of(device, action, None, self.facts(&device.agent));
        let call = AgentCall { agent: device.agent.clone(), kind, timeout_ms };
        self.call(For::Query { number, device: device.id.clone(), lists: action == "list" }, call, &mut work);
        work
    }

    pub fn finished(&mut self, now: Time, call: u64, result: &AgentResult, cib: &Element) -> Work {
        let mut work = Work::default();
        match self.calls.remove(&call) {
            None => {}
            Some(For::Facts(agent)) => self.learn(now, agent, result, cib, &mut work),
            Some(For::Query { number, device, lists }) => {
                if let Some(device) = device::find(cib, &device).filter(|_| lists && result.is_ok()) {
                    self.list(now, &device, result);
                }
                work.asked.push((number, device, result.clone()));
            }
            Some(For::Job(id)) => self.ran(now, id, result, cib, &mut work),
        }
        work
    }

    /// A list that a query has asked for is as good as one of a job.
    pub fn list(&mut self, now: Time, device: &Device, result: &AgentResult) {
        let names = device::names(&result.output);
        self.lists.insert(device.id.clone(), Listed { at: now, params: device.params.clone(), names });
        while self.lists.len() > MAX_AGENTS {
            self.lists.pop_first();
        }
    }

    fn learn(&mut self, now: Time, agent: String, result: &AgentResult, cib: &Element, work: &mut Work) {
        let installed = result.end != AgentEnd::NotInstalled;
        if installed {
            self.facts.insert(agent.clone(), Facts::read(&result.output));
        }
        let waits = |j: &Job| j.stage == Stage::Facts && agent_of(cib, &j.order).is_some_and(|a| a == agent);
        let ids: Vec<FenceId> = self.jobs.iter().filter(|(_, j)| waits(j)).map(|(id, _)| *id).collect();
        for id in ids {
            if installed {
                self.check(now, id, cib, work);
            } else {
                self.end(id, Ended::Elsewhere, &format!("{agent} is not installed"), work);
            }
        }
    }

    fn is_asked(&self, agent: &str) -> bool {
        self.calls.values().any(|c| matches!(c, For::Facts(a) if a == agent))
    }

    fn ask_facts(&mut self, agent: &str, work: &mut Work) {
        let timeout_ms = FACTS_WITHIN.as_millis() as u64;
        let call = AgentCall { agent: agent.to_owned(), kind: AgentKind::Metadata, timeout_ms };
        self.call(For::Facts(agent.to_owned()), call, work);
    }

    fn call(&mut self, what: For, call: AgentCall, work: &mut Work) {
        let number = self.next;
        self.next += 1;
        self.calls.insert(number, what);
        work.calls.push((number, call));
    }

    fn end(&mut self, id: FenceId, ended: Ended, reason: &str, work: &mut Work) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let order = job.order;
        let reason = Reason::cleaned(&base::text::one_line(reason, 512));
        let executor = self.me.0;
        work.outcomes.push(Outcome { id, attempt: order.attempt, step: order.step, executor, ended, reason });
    }

    /// A delay or a pause is over.
    fn go_on(&mut self, now: Time, id: FenceId, cib: &Element, work: &mut Work) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if matches!(job.stage, Stage::Watchdog { .. }) {
            return self.end(id, Ended::Done, "", work);
        }
        if job.tries > 0 {
            return self.run(now, id, cib, work);
        }
        job.until = now + Duration::from_millis(job.order.timeout_ms);
        if *job.order.step.device == *WATCHDOG {
            job.stage = Stage::Watchdog { until: job.until };
            return;
        }
        let Some(agent) = agent_of(cib, &job.order) else {
            return self.end(id, Ended::Elsewhere, "the device is not in the configuration", work);
        };
        if self.facts.contains_key(&agent) {
            return self.check(now, id, cib, work);
        }
        job.stage = Stage::Facts;
        if !self.is_asked(&agent) {
            self.ask_facts(&agent, work);
        }
    }

    /// Whether the device knows the target.
    fn check(&mut self, now: Time, id: FenceId, cib: &Element, work: &mut Work) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(device) = device::find(cib, &job.order.step.device) else {
            return self.end(id, Ended::Elsewhere, "the device is not in the configuration", work);
        };
        let facts = self.facts(&device.agent);
        let action = job.order.step.action;
        if action == FenceAction::On && facts.is_some_and(|f| f.on_target) && job.order_target(cib) != Some(self.me) {
            return self.end(id, Ended::Elsewhere, "`on` of this agent has to run on the target", work);
        }
        if job.comes_back && facts.is_some_and(|f| f.automatic) {
            return self.end(id, Ended::Done, "it is switched on when the node joins", work);
        }
        if device.covers(&job.target) == Covers::Yes {
            return self.run(now, id, cib, work);
        }
        let query = match device.check_with(facts) {
            HostCheck::DynamicList => match self.listed(now, &device) {
                Some(names) => match names.iter().any(|n| n == device.port(&job.target)) {
                    true => return self.run(now, id, cib, work),
                    false => return self.end(id, Ended::Cannot, "it does not list the target", work),
                },
                None => ("list", None),
            },
            HostCheck::Status => ("status", Some(job.target.clone())),
            HostCheck::StaticList => return self.end(id, Ended::Cannot, "it does not name the target", work),
            HostCheck::None | HostCheck::ByAgent => return self.run(now, id, cib, work),
        };
        let limit =
            device.timeout_ms(query.0, QUERY_WITHIN.as_millis() as u64).min(QUERY_WITHIN.as_millis() as u64 / 2);
        let kind = AgentKind::of(&device, query.0, query.1.as_deref(), facts);
        let call = AgentCall { agent: device.agent.clone(), kind, timeout_ms: limit };
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stage = Stage::Check;
        }
        self.call(For::Job(id), call, work);
    }

    fn run(&mut self, now: Time, id: FenceId, cib: &Element, work: &mut Work) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(device) = device::find(cib, &job.order.step.device) else {
            return self.end(id, Ended::Elsewhere, "the device is not in the configuration", work);
        };
        // What was spent on finding out is no part of the device's time.
        if job.tries == 0 {
            job.until = now + Duration::from_millis(job.order.timeout_ms);
        }
        (job.stage, job.tries) = (Stage::Run, job.tries + 1);
        let facts = self.facts.get(&device.agent).and_then(Option::as_ref);
        let action = device.mapped(job.order.step.action, facts);
        let kind = AgentKind::of(&device, action.name(), Some(&job.target), facts);
        let timeout_ms = job.until.since(now).as_millis() as u64;
        let call = AgentCall { agent: device.agent.clone(), kind, timeout_ms };
        self.call(For::Job(id), call, work);
    }

    fn ran(&mut self, now: Time, id: FenceId, result: &AgentResult, cib: &Element, work: &mut Work) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(device) = device::find(cib, &job.order.step.device) else {
            return self.end(id, Ended::Elsewhere, "the device is not in the configuration", work);
        };
        if matches!(result.end, AgentEnd::NotInstalled | AgentEnd::NotStarted) {
            return self.end(id, Ended::Elsewhere, &result.said(), work);
        }
        if job.stage == Stage::Check {
            return self.checked(now, id, &device, result, cib, work);
        }
        if result.is_ok() {
            return self.end(id, Ended::Done, "", work);
        }
        let tries = device.tries(job.order.step.action.name());
        let until = now + PAUSE;
        if result.end != AgentEnd::Timeout && job.tries < tries && until < job.until && !job.needless {
            job.stage = Stage::Wait { until };
            return;
        }
        let text = match job.tries {
            1 => result.said(),
            tries => format!("{} ({tries} tries)", result.said()),
        };
        self.end(id, Ended::Failed, &text, work);
    }

    fn checked(
        &mut self,
        now: Time,
        id: FenceId,
        device: &Device,
        result: &AgentResult,
        cib: &Element,
        work: &mut Work,
    ) {
        let by_list = device.check_with(self.facts(&device.agent)) == HostCheck::DynamicList;
        match result.end {
            AgentEnd::Code(0) if by_list => {
                self.list(now, device, result);
                self.check(now, id, cib, work);
            }
            // 2: it is off, and known.
            AgentEnd::Code(0 | 2) if !by_list => self.run(now, id, cib, work),
            _ => {
                let what = if by_list { "list" } else { "status" };
                self.end(id, Ended::Failed, &format!("{what}: {}", result.said()), work);
            }
        }
    }
}

impl Job {
    /// The target's number, by its name in the status section.
    fn order_target(&self, cib: &Element) -> Option<NodeId> {
        let mut states = cib.child("status")?.elements_named("node_state");
        let of = |e: &&Element| e.attr("uname").is_some_and(|n| base::ids::same_node(n, &self.target));
        states.find(of)?.id()?.parse().ok().map(NodeId)
    }
}

fn agent_of(cib: &Element, order: &FenceOrder) -> Option<String> {
    device::find(cib, &order.step.device).map(|d| d.agent)
}
