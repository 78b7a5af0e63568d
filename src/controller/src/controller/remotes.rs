//! Remote and guest nodes to which this member has the connection: what runs there is asked for here, as if it were this node's own.
//!
//! A node has one [`Local`] for as long as the connection stays. The daemon tells calls to different nodes apart by their numbers: the
//! upper bits are the connection's, 0 being this node itself.

use super::Controller;
use crate::api::{ExecResult, OpStatus, Output};
use crate::local::{Doings, Local};
use crate::message::Exec;
use crate::record::{AgentFacts, AgentName};
use crate::status;
use base::exit::OcfCode;
use base::{NodeId, Reason, Time};
use std::collections::BTreeMap;

/// Bits of a call's number that are its node's own count.
const CALL_BITS: u32 = 44;
const CALL_MASK: u64 = (1 << CALL_BITS) - 1;

#[derive(Default)]
pub(super) struct Remotes {
    all: BTreeMap<NodeId, Remote>,
    connections: u64,
    /// What agents say: a connection that is made later needs it, too.
    facts: BTreeMap<AgentName, AgentFacts>,
}

struct Remote {
    /// Of the node, and of the resource that is its connection.
    name: String,
    local: Local,
    /// Counts connections.
    number: u64,
}

impl Remotes {
    pub fn deadline(&self) -> Option<Time> {
        self.all.values().filter_map(|r| r.local.deadline()).min()
    }
}

impl Controller {
    pub(super) fn on_connected(&mut self, node: NodeId, name: String, host: NodeId) {
        self.drop_remote(node);
        if host != self.config.me {
            return;
        }
        self.remotes.connections += 1;
        let number = self.remotes.connections;
        let uuid = crate::digest::uuid(self.config.incarnation);
        let mut local = Local::new(node, name.clone(), uuid);
        local.count_from(self.replica.status().map_or(0, |s| status::remote::last_call(s, node)));
        for (agent, facts) in &self.remotes.facts {
            local.learn(agent.clone(), facts.clone());
        }
        self.timeline("remote", &name, "connected: this node sees to it".to_owned());
        self.remotes.all.insert(node, Remote { name, local, number });
    }

    /// This member has nothing more to do with the node; what runs there goes on.
    pub(super) fn drop_remote(&mut self, node: NodeId) {
        let Some(mut remote) = self.remotes.all.remove(&node) else { return };
        let doings = remote.local.abandon();
        self.perform_remote(remote.number, doings);
    }

    /// The connection has broken, if `resource` is one: what was under way over it has an unknown end.
    pub(super) fn remote_lost(&mut self, resource: &str) {
        let node = NodeId::of_remote(resource);
        if self.remotes.all.get(&node).is_some_and(|r| r.name == resource) {
            self.timeline("remote", resource, "the connection is lost".to_owned());
            self.drop_remote(node);
        }
    }

    pub(super) fn remote_start(&mut self, exec: Exec) {
        let (now, wall) = (self.now, self.wall);
        let node = exec.identity.node;
        if let Some(remote) = self.remotes.all.get_mut(&node) {
            let doings = remote.local.start(now, wall, exec);
            let number = remote.number;
            return self.perform_remote(number, doings);
        }
        // Its connection broke meanwhile, or is not made yet.
        let uuid = crate::digest::uuid(self.config.incarnation);
        let mut local = Local::new(node, exec.identity.node_name.clone(), uuid);
        local.count_from(self.replica.status().map_or(0, |s| status::remote::last_call(s, node)));
        let doings = local.refuse(exec, wall);
        self.perform_remote(0, doings);
    }

    /// False if the call is none of a remote node's.
    pub(super) fn remote_finished(&mut self, call: u64, result: &ExecResult) -> bool {
        let number = call >> CALL_BITS;
        if number == 0 {
            return false;
        }
        let (now, wall) = (self.now, self.wall);
        if let Some(remote) = self.remotes.all.values_mut().find(|r| r.number == number) {
            let doings = remote.local.finished(now, wall, call & CALL_MASK, result);
            self.perform_remote(number, doings);
        }
        true
    }

    pub(super) fn remote_forget(&mut self, node: NodeId, resource: &str) {
        let mut doings = Doings::default();
        if let Some(remote) = self.remotes.all.get_mut(&node) {
            remote.local.forget(&mut doings, resource);
            let number = remote.number;
            self.perform_remote(number, doings);
        }
    }

    pub(super) fn remotes_learn(&mut self, agent: &AgentName, facts: &AgentFacts) {
        self.remotes.facts.insert(agent.clone(), facts.clone());
        self.with_remotes(|local| local.learn(agent.clone(), facts.clone()));
    }

    pub(super) fn remotes_tick(&mut self) {
        let (now, wall) = (self.now, self.wall);
        if self.remotes.deadline().is_some_and(|at| at <= now) {
            self.with_remotes(|local| local.tick(now, wall));
        }
    }

    fn with_remotes(&mut self, mut step: impl FnMut(&mut Local) -> Doings) {
        let all: Vec<(u64, Doings)> = self.remotes.all.values_mut().map(|r| (r.number, step(&mut r.local))).collect();
        all.into_iter().for_each(|(number, doings)| self.perform_remote(number, doings));
    }

    /// Calls get their connection's number. Records are about this host; what runs on a remote node outlives it.
    fn perform_remote(&mut self, number: u64, mut doings: Doings) {
        let outputs = std::mem::take(&mut doings.outputs);
        let of_connection = |call: u64| call | number << CALL_BITS;
        doings.outputs.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Execute { call, operation, .. } => {
                Some(Output::Execute { call: of_connection(call), operation, record: None })
            }
            Output::Cancel { call } => Some(Output::Cancel { call: of_connection(call) }),
            _ => None,
        }));
        self.perform(doings);
    }

    /// A node's name, which of remote ones the configuration knows.
    pub(super) fn name_of(&self, node: NodeId) -> String {
        let remote = || {
            let mut names = cib::config::remote_nodes(self.replica.cib.root()).into_iter();
            names.find(|n| NodeId::of_remote(n) == node).map(str::to_owned)
        };
        node.is_remote().then(remote).flatten().unwrap_or_else(|| self.config.name_of(node))
    }
}

/// For what could not be asked of a remote node.
pub(crate) fn not_connected() -> ExecResult {
    let reason = Reason::cleaned("no connection to the remote node");
    ExecResult { status: OpStatus::NotConnected, reason, ..ExecResult::done(OcfCode::ERROR) }
}
