//! Crate `agents` behind the runner's trait.

use crate::exec::{Native, NativeCall};
use agents::{AgentCall, Agents};
use base::exit::OcfCode;
use std::future::Future;
use std::pin::Pin;

pub(super) struct InProcess(pub Agents);

impl Native for InProcess {
    fn knows(&self, agent: &str) -> bool {
        self.0.knows(agent)
    }

    fn run(&self, call: NativeCall) -> Pin<Box<dyn Future<Output = (OcfCode, String)> + Send>> {
        let agents = self.0.clone();
        let NativeCall { resource, agent, operation, params, timeout } = call;
        Box::pin(async move {
            let outcome = agents.run(AgentCall { resource, agent, operation, params, timeout }).await;
            (outcome.code, outcome.reason)
        })
    }
}
