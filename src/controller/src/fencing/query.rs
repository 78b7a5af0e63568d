//! Answers for people: which devices there are, whom they can fence, levels, and what was done.

use super::device::{self, Covers, Device, HostCheck};
use super::executor::{AgentResult, Executor, Work};
use super::state::{Entry, State};
use super::{FenceId, topology};
use crate::api::Config;
use crate::status;
use base::exit::crm;
use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use xml::Element;

/// Questions that wait for agents at the same time.
const MAX_WAITING: usize = 32;
/// How long an agent may take to list, unless the asker says otherwise.
const WITHIN: Duration = Duration::from_secs(20);

/// What is asked; nothing of it changes anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FencingQuery {
    Devices { target: Option<String> },
    Targets { device: String },
    Monitor { device: String },
    Levels { target: Option<String> },
    History { target: Option<String> },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FencingAnswer {
    pub code: i32,
    pub message: Option<String>,
    pub devices: Vec<DeviceInfo>,
    /// Name and port.
    pub targets: Vec<(String, Option<String>)>,
    pub levels: Vec<topology::Level>,
    pub history: Vec<Event>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    pub device: Device,
    pub check: HostCheck,
    pub targets: Vec<(String, Option<String>)>,
    pub running_on: Vec<String>,
}

/// A fencing as people see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub id: FenceId,
    pub target: String,
    pub action: &'static str,
    /// `None`: under way.
    pub ok: Option<bool>,
    pub delegate: Option<String>,
    pub device: String,
    pub client: String,
    pub origin: String,
    pub asked_ms: i64,
    pub completed_ms: i64,
    pub reason: String,
    pub detail: Option<String>,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = self.delegate.as_deref().unwrap_or("nobody");
        write!(f, "Operation {} of {} by {by} for {}@{}: ", self.action, self.target, self.client, self.origin)?;
        match self.ok {
            None => f.write_str("pending"),
            Some(true) => f.write_str("OK"),
            Some(false) => write!(f, "Error ({})", self.reason),
        }
    }
}

/// What an operator's word has in place of a node.
pub const HUMAN: &str = "a human";

/// Fencing under way and over, newest first.
pub fn history(state: &State, config: &Config, target: Option<&str>) -> Vec<Event> {
    let name = |n: u32| config.name_of(NodeId(n));
    let of = |n: &str| target.is_none_or(|t| base::ids::same_node(t, n));
    let open = state.open.iter().rev().filter(|f| of(&f.ask.name)).map(|f| {
        let running = f.running.as_ref();
        let detail = match running {
            _ if f.obeying => "it worked; the target ends".to_owned(),
            Some(o) => format!("{} by {} on {}", o.step.action.name(), o.step.device, name(o.executor)),
            None => "waits for its turn".to_owned(),
        };
        Event {
            id: f.ask.id,
            target: f.ask.name.to_string(),
            action: f.ask.action.name(),
            ok: None,
            delegate: running.map(|o| name(o.executor)),
            device: running.map(|o| o.step.device.to_string()).unwrap_or_default(),
            client: f.ask.client.to_string(),
            origin: f.ask.origin.to_string(),
            asked_ms: f.asked_ms,
            completed_ms: 0,
            reason: f.tried.last().map(|t| t.reason.to_string()).unwrap_or_default(),
            detail: Some(detail),
        }
    });
    let over = state.history.iter().rev().filter(|e| of(&e.name)).map(|e: &Entry| Event {
        id: e.id,
        target: e.name.to_string(),
        action: e.action.name(),
        ok: Some(e.ok),
        delegate: match e.delegate {
            Some(n) => Some(name(n)),
            None => e.ok.then(|| HUMAN.to_owned()),
        },
        device: e.device.to_string(),
        client: e.client.to_string(),
        origin: e.origin.to_string(),
        asked_ms: e.asked_ms,
        completed_ms: e.completed_ms,
        reason: e.reason.to_string(),
        detail: None,
    });
    open.chain(over).collect()
}

struct Waiting {
    query: FencingQuery,
    /// Devices that are still being asked.
    devices: BTreeSet<String>,
    result: Option<AgentResult>,
}

/// Questions that wait for agents, by their client's number.
#[derive(Default)]
pub struct Queries {
    waiting: BTreeMap<u64, Waiting>,
}

/// What answers are made from.
pub struct Known<'a> {
    pub now: Time,
    pub cib: &'a Element,
    pub state: &'a State,
    pub config: &'a Config,
}

impl Queries {
    /// The answer, or the agents to be asked first.
    pub fn ask(
        &mut self,
        client: u64,
        query: FencingQuery,
        timeout_ms: u64,
        known: &Known<'_>,
        executor: &mut Executor,
    ) -> Result<FencingAnswer, Work> {
        let limit_ms = if timeout_ms > 0 { timeout_ms } else { WITHIN.as_millis() as u64 };
        let (to_ask, action) = match &query {
            FencingQuery::Monitor { device } => (device::find(known.cib, device).into_iter().collect(), "monitor"),
            _ => (to_list(&query, known, executor), "list"),
        };
        if to_ask.is_empty() || self.waiting.len() >= MAX_WAITING {
            return Ok(answer(&query, known, executor, None));
        }
        let mut work = Work::default();
        for device in &to_ask {
            let more = executor.ask(client, device, action, device.timeout_ms(action, limit_ms));
            work.calls.extend(more.calls);
        }
        let devices = to_ask.into_iter().map(|d| d.id).collect();
        self.waiting.insert(client, Waiting { query, devices, result: None });
        Err(work)
    }

    /// An agent has answered; gives the query's answer if it was the last.
    pub fn asked(
        &mut self,
        client: u64,
        device: &str,
        result: &AgentResult,
        known: &Known<'_>,
        executor: &Executor,
    ) -> Option<FencingAnswer> {
        let waiting = self.waiting.get_mut(&client)?;
        waiting.devices.remove(device);
        waiting.result = Some(result.clone());
        if !waiting.devices.is_empty() {
            return None;
        }
        let Waiting { query, result, .. } = self.waiting.remove(&client)?;
        Some(answer(&query, known, executor, result.as_ref()))
    }
}

/// Devices of which a list is wanted and not known.
fn to_list(query: &FencingQuery, known: &Known<'_>, executor: &Executor) -> Vec<Device> {
    let wanted = |d: &Device| match query {
        FencingQuery::Devices { target: Some(target) } => d.covers(target) == Covers::Perhaps,
        FencingQuery::Targets { device } => d.id == *device,
        _ => false,
    };
    let dynamic = |d: &Device| d.check_with(executor.facts(&d.agent)) == HostCheck::DynamicList;
    let all = device::all(known.cib).into_iter();
    all.filter(|d| d.disabled.is_none() && wanted(d) && dynamic(d) && executor.listed(known.now, d).is_none()).collect()
}

fn answer(query: &FencingQuery, known: &Known<'_>, executor: &Executor, result: Option<&AgentResult>) -> FencingAnswer {
    let mut out = FencingAnswer::default();
    let missing = |id: &str| FencingAnswer {
        code: crm::NOSUCH,
        message: Some(format!("there is no fence device {id}")),
        ..FencingAnswer::default()
    };
    match query {
        FencingQuery::Devices { target } => {
            let able =
                |d: &Device| target.as_deref().is_none_or(|t| d.disabled.is_none() && can(d, t, known, executor));
            let found = device::all(known.cib).into_iter().filter(able);
            out.devices = found.map(|d| info(d, known, executor)).collect();
        }
        FencingQuery::Targets { device } => match device::find(known.cib, device) {
            None => return missing(device),
            Some(device) => {
                out.targets = targets(&device, known, executor);
                if let Some(result) = result.filter(|r| !r.is_ok()) {
                    (out.code, out.message) = (crm::ERROR, Some(result.said()));
                }
            }
        },
        FencingQuery::Monitor { device } => match result {
            None => return missing(device),
            Some(result) if result.is_ok() => {}
            Some(result) => (out.code, out.message) = (crm::ERROR, Some(result.said())),
        },
        FencingQuery::Levels { target: None } => out.levels = topology::all(known.cib),
        FencingQuery::Levels { target: Some(target) } => {
            let all = topology::all(known.cib).into_iter();
            out.levels = all.filter(|l| topology::matches(known.cib, &l.target, target)).collect();
        }
        FencingQuery::History { target } => out.history = history(known.state, known.config, target.as_deref()),
    }
    out
}

fn can(device: &Device, target: &str, known: &Known<'_>, executor: &Executor) -> bool {
    match device.covers(target) {
        Covers::Yes => true,
        Covers::No => false,
        Covers::Perhaps => match device.check_with(executor.facts(&device.agent)) {
            HostCheck::DynamicList => {
                executor.listed(known.now, device).is_some_and(|l| l.iter().any(|n| n == device.port(target)))
            }
            _ => true,
        },
    }
}

fn targets(device: &Device, known: &Known<'_>, executor: &Executor) -> Vec<(String, Option<String>)> {
    match device.check_with(executor.facts(&device.agent)) {
        HostCheck::DynamicList => {
            let back = |port: &String| match device.map.iter().find(|(_, p)| p == port) {
                Some((name, _)) => (name.clone(), Some(port.clone())),
                None => (port.clone(), None),
            };
            executor.listed(known.now, device).into_iter().flatten().map(back).collect()
        }
        HostCheck::StaticList => {
            let mapped = device.map.iter().map(|(name, port)| (name.clone(), Some(port.clone())));
            let listed = device.listed.iter().filter(|n| !device.map.iter().any(|(m, _)| m == *n));
            mapped.chain(listed.map(|n| (n.clone(), None))).collect()
        }
        HostCheck::Status | HostCheck::None | HostCheck::ByAgent => Vec::new(),
    }
}

fn info(device: Device, known: &Known<'_>, executor: &Executor) -> DeviceInfo {
    let nodes = known.cib.child("status").into_iter().flat_map(|s| s.elements_named("node_state"));
    let runs = nodes.filter(|s| status::active(s).contains(&device.id));
    let running_on = runs.filter_map(|s| s.attr("uname")).map(str::to_owned).collect();
    let check = device.check_with(executor.facts(&device.agent));
    let targets = targets(&device, known, executor);
    DeviceInfo { check, targets, running_on, device }
}
