//! Pretended fence agents.

use super::*;
use controller::fencing::executor::{AgentCall, AgentEnd, AgentKind, AgentResult};

/// What an agent does when it is to fence somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acts {
    /// The target is gone when it has ended.
    Kills,
    /// It says so, and nothing has happened.
    Lies,
    Hangs,
    Fails,
}

#[derive(Clone, Debug)]
pub struct Agent {
    pub acts: Acts,
    pub ms: u64,
    /// So many runs fail first.
    pub fails: u32,
    /// Actions of its meta-data.
    pub actions: &'static str,
    /// What `list` prints.
    pub lists: &'static str,
    pub missing_on: Vec<u32>,
}

impl Agent {
    pub fn new(acts: Acts, ms: u64) -> Agent {
        let actions = "<action name=\"on\"/><action name=\"off\"/><action name=\"reboot\"/><action name=\"status\"/>";
        Agent { acts, ms, fails: 0, actions, lists: "", missing_on: Vec::new() }
    }
}

/// One run that was to do something to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    pub at: Time,
    /// When it ended; `None` while it runs, or if its node died.
    pub ended: Option<Time>,
    pub on: u32,
    pub agent: String,
    pub action: String,
    pub target: u32,
}

fn value<'a>(run: &'a AgentCall, name: &str) -> Option<&'a str> {
    let AgentKind::Run { input, .. } = &run.kind else { return None };
    input.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

impl Lab {
    /// How long it will take.
    pub(super) fn begin_fence_agent(&mut self, on: NodeId, run: &AgentCall) -> u64 {
        let Some(agent) = self.agents.get(&run.agent).cloned() else { return 1 };
        if run.kind == AgentKind::Metadata || agent.missing_on.contains(&on.0) {
            return 3;
        }
        let action = value(run, "action").unwrap_or_default().to_owned();
        let Some(target) = value(run, "nodename").filter(|_| matches!(action.as_str(), "on" | "off" | "reboot")) else {
            return 3;
        };
        let target = target.trim_start_matches("node").parse().unwrap();
        let (at, agent_name) = (self.now, run.agent.clone());
        self.fences.push(Fence { at, ended: None, on: on.0, agent: agent_name, action, target });
        match agent.acts {
            Acts::Hangs => run.timeout_ms,
            _ if agent.ms > run.timeout_ms => run.timeout_ms,
            _ => agent.ms,
        }
    }

    /// What has come of it; `None` if the node that ran it has died of it.
    pub(super) fn fence_agent(&mut self, on: NodeId, run: &AgentCall) -> Option<AgentResult> {
        let missing = AgentResult { end: AgentEnd::NotInstalled, ..AgentResult::code(0) };
        let Some(agent) = self.agents.get(&run.agent).cloned() else { return Some(missing) };
        if agent.missing_on.contains(&on.0) {
            return Some(missing);
        }
        if run.kind == AgentKind::Metadata {
            let output = format!("<resource-agent name=\"x\"><actions>{}</actions></resource-agent>", agent.actions);
            return Some(AgentResult { output, ..AgentResult::code(0) });
        }
        let action = value(run, "action").unwrap_or_default().to_owned();
        if !matches!(action.as_str(), "on" | "off" | "reboot") {
            return Some(AgentResult { output: agent.lists.to_owned(), ..AgentResult::code(0) });
        }
        let target: u32 = value(run, "nodename").unwrap().trim_start_matches("node").parse().unwrap();
        let now = self.now;
        let begun = |f: &&mut Fence| f.on == on.0 && f.agent == run.agent && f.target == target && f.ended.is_none();
        if let Some(fence) = self.fences.iter_mut().rev().find(begun) {
            fence.ended = Some(now);
        }
        if agent.acts == Acts::Hangs || agent.ms > run.timeout_ms {
            return Some(AgentResult { end: AgentEnd::Timeout, ..AgentResult::code(1) });
        }
        if agent.fails > 0 || agent.acts == Acts::Fails {
            if let Some(agent) = self.agents.get_mut(&run.agent) {
                agent.fails = agent.fails.saturating_sub(1);
            }
            return Some(AgentResult { reason: base::Reason::cleaned("no power switch"), ..AgentResult::code(1) });
        }
        if agent.acts == Acts::Kills && action != "on" {
            self.kill(target);
        }
        self.nodes.contains_key(&on).then(|| AgentResult::code(0))
    }
}

/// A CIB with fencing on, these properties beside it, resources, levels and constraints.
pub fn fenced(properties: &[(&str, &str)], resources: &str, levels: &str, constraints: &str) -> String {
    let pair = |(name, value): &(&str, &str)| format!("<nvpair id=\"p-{name}\" name=\"{name}\" value=\"{value}\"/>");
    let properties: String = properties.iter().map(pair).collect();
    format!(
        "<cib crm_feature_set=\"3.20.1\" validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\"><configuration>\
         <crm_config><cluster_property_set id=\"cib-bootstrap-options\">{properties}</cluster_property_set></crm_config><nodes/>\
         <resources>{resources}</resources><constraints>{constraints}</constraints>\
         <fencing-topology>{levels}</fencing-topology></configuration><status/></cib>"
    )
}

/// A device with these parameters.
pub fn device(id: &str, agent: &str, params: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("<nvpair id=\"{id}-{name}\" name=\"{name}\" value=\"{value}\"/>");
    let params: String = params.iter().map(pair).collect();
    format!(
        "<primitive id=\"{id}\" class=\"stonith\" type=\"{agent}\"><instance_attributes id=\"{id}-i\">{params}</instance_attributes></primitive>"
    )
}

pub fn level(target: &str, index: u32, devices: &str) -> String {
    format!("<fencing-level id=\"l-{target}-{index}\" target=\"{target}\" index=\"{index}\" devices=\"{devices}\"/>")
}
