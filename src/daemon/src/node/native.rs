//! Crate `agents` behind the runner's trait.

use crate::exec::Native;
use agents::Agents;
use base::Operation;
use base::exit::OcfCode;
use std::future::Future;
use std::pin::Pin;

pub(super) struct InProcess(pub Agents);

impl Native for InProcess {
    fn knows(&self, provider: &str, agent: &str) -> bool {
        self.0.knows(provider, agent)
    }

    fn run(&self, operation: Operation) -> Pin<Box<dyn Future<Output = (OcfCode, String)> + Send>> {
        let agents = self.0.clone();
        Box::pin(async move {
            let outcome = agents.run(&operation).await;
            (outcome.code, outcome.reason)
        })
    }
}
