//! Fence devices: one power switch for each machine, behind an agent that every node may run, and that goes wrong in its own ways.

use crate::world::{What, World};
use base::exit::OcfCode;
use base::{NodeId, Operation, Reason, Time};
use controller::Input;
use controller::fencing::executor::{AgentCall, AgentEnd, AgentKind, AgentResult};
use std::rc::Rc;

/// A run that switches takes that long, in µs, at least and at most.
const SWITCHING_US: (u64, u64) = (200_000, 1_500_000);
const ASKING_US: u64 = 5_000;
/// A machine that was switched off and on is up again after that many ms, at least and at most.
const REBOOT_MS: (u64, u64) = (3_000, 9_000);

pub const AGENT: &str = "fence_sim";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mood {
    /// The target is off when it has ended.
    #[default]
    Works,
    /// It says so, and nothing has happened.
    Lies,
    Hangs,
    Fails,
    /// It works, and needs so many ms.
    Late(u64),
}

#[derive(Default, Debug)]
pub struct Devices {
    pub mood: Mood,
    /// Every switching that was begun: when, by whom, whom, and whether it has switched.
    pub switched: Vec<Switching>,
}

#[derive(Clone, Debug)]
pub struct Switching {
    pub at: Time,
    pub by: NodeId,
    pub target: NodeId,
    /// The life of the target that it was to end.
    pub target_life: u64,
    pub done: Option<Time>,
    /// It was in one view with who switches it, while that was under way.
    pub met: bool,
}

fn value<'a>(run: &'a AgentCall, name: &str) -> Option<&'a str> {
    let AgentKind::Run { input, .. } = &run.kind else { return None };
    input.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// Whom a run switches; `None` for every other run.
fn target(run: &AgentCall) -> Option<NodeId> {
    value(run, "action").filter(|a| matches!(*a, "off" | "reboot"))?;
    value(run, "nodename")?.strip_prefix("node")?.parse().ok().map(NodeId)
}

impl World {
    pub(crate) fn fence_agent(&mut self, id: NodeId, call: u64, run: Rc<AgentCall>) {
        let us = match (target(&run), self.devices.mood) {
            (None, _) => ASKING_US,
            (Some(_), Mood::Hangs) => run.timeout_ms * 1_000,
            (Some(_), Mood::Late(ms)) => ms.min(run.timeout_ms) * 1_000,
            (Some(_), _) => self.rng.between(SWITCHING_US.0, SWITCHING_US.1),
        };
        if let Some(target) = target(&run) {
            let (at, target_life) = (self.now, self.host(target).lives);
            self.devices.switched.push(Switching { at, by: id, target, target_life, done: None, met: false });
            self.tell(id, || format!("switches node {target}: {:?}", value(&run, "action")));
            self.fencing_begins(id, target);
        }
        self.soon(us, id, What::FenceAgent { call, run });
    }

    pub(crate) fn fence_agent_ends(&mut self, id: NodeId, call: u64, run: &AgentCall) {
        let result = match target(run) {
            None => answer(run),
            Some(target) => self.switch(id, run, target),
        };
        // It may have switched off its own machine.
        self.input(id, Input::FenceAgent { call, result });
    }

    fn switch(&mut self, id: NodeId, run: &AgentCall, target: NodeId) -> AgentResult {
        let too_late = matches!(self.devices.mood, Mood::Late(ms) if ms >= run.timeout_ms);
        match self.devices.mood {
            Mood::Hangs => AgentResult { end: AgentEnd::Timeout, ..AgentResult::code(1) },
            Mood::Fails => AgentResult { reason: Reason::cleaned("no answer"), ..AgentResult::code(1) },
            Mood::Lies => AgentResult::code(0),
            Mood::Works | Mood::Late(_) => {
                let now = self.now;
                let open = |s: &&mut Switching| s.by == id && s.target == target && s.done.is_none();
                if let Some(switching) = self.devices.switched.iter_mut().rev().find(open) {
                    switching.done = Some(now);
                }
                let back = (value(run, "action") == Some("reboot")).then(|| self.rng.between(REBOOT_MS.0, REBOOT_MS.1));
                // Somebody has to press the button of one that is only off.
                self.power_off(target, Some(back.unwrap_or(2 * REBOOT_MS.1)));
                if too_late {
                    return AgentResult { end: AgentEnd::Timeout, ..AgentResult::code(1) };
                }
                AgentResult::code(0)
            }
        }
    }

    /// What a device does as a resource: nothing but being there.
    pub(crate) fn device_operation(&mut self, id: NodeId, operation: &Operation) -> OcfCode {
        let Some(p) = &mut self.host_mut(id).process else { return OcfCode::ERROR };
        let name = &operation.instance.id;
        match operation.action.as_str() {
            "start" => drop(p.devices.insert(name.clone())),
            "stop" => drop(p.devices.remove(name)),
            "monitor" if !p.devices.contains(name) => return OcfCode::NOT_RUNNING,
            _ => {}
        }
        OcfCode::OK
    }
}

fn answer(run: &AgentCall) -> AgentResult {
    let output = match run.kind {
        AgentKind::Metadata => {
            let actions =
                ["on", "off", "reboot", "status", "monitor"].map(|a| format!("<action name=\"{a}\"/>")).concat();
            format!("<resource-agent name=\"{AGENT}\"><actions>{actions}</actions></resource-agent>")
        }
        AgentKind::Run { .. } => String::new(),
    };
    AgentResult { output, ..AgentResult::code(0) }
}
