//! What agents say of their parameters: asked once for each agent, beside its operations and never before them.

use crate::exec::{Places, ocf_document};
use base::{Instance, Operation};
use controller::{AgentFacts, AgentName, ParamFacts, Reload};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// For one agent's meta-data.
const WITHIN: Duration = Duration::from_secs(20);
/// Agents that are asked; no configuration has as many.
const MAX_AGENTS: usize = 512;
const MAX_PARAMS: usize = 512;

pub(super) struct Facts {
    places: Arc<Places>,
    /// Known, or being asked.
    asked: Arc<Mutex<BTreeSet<AgentName>>>,
    /// One at a time: nobody waits for it.
    turn: Arc<Semaphore>,
    to: mpsc::UnboundedSender<(AgentName, AgentFacts)>,
}

impl Facts {
    pub fn new(places: Arc<Places>, to: mpsc::UnboundedSender<(AgentName, AgentFacts)>) -> Facts {
        Facts { places, asked: Arc::default(), turn: Arc::new(Semaphore::new(1)), to }
    }

    /// An operation of the agent is about to run. What could not be found out is asked again at its next start.
    pub fn wanted(&self, operation: &Operation) {
        let instance = &operation.instance;
        if instance.class != "ocf" || operation.interval_ms != 0 {
            return;
        }
        let name = AgentName::of(instance);
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() >= MAX_AGENTS || !asked.insert(name.clone()) {
                return;
            }
        }
        let native = agents::meta(instance.provider(), &instance.agent).map(agents::Meta::xml);
        // Without parameters: it is asked about itself, not about an instance.
        let agent = Instance { params: Default::default(), ..instance.clone() };
        let places = self.places.clone();
        let (asked, turn, to) = (self.asked.clone(), self.turn.clone(), self.to.clone());
        tokio::spawn(async move {
            let document = match native {
                Some(document) => Some(document),
                None => {
                    let _turn = turn.acquire().await;
                    ocf_document(&places, &agent, WITHIN).await
                }
            };
            match document.as_deref().and_then(read) {
                Some(facts) => drop(to.send((name, facts))),
                None => {
                    tracing::debug!("{}: no meta-data", agent.agent);
                    asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                }
            }
        });
    }
}

/// Reads a document of the Resource Agent API, 1.0 or 1.1.
fn read(document: &str) -> Option<AgentFacts> {
    let root = xml::parse(&crate::exec::fence::without_doctype(document)).ok()?;
    let flag = |e: &xml::Element, name: &str| {
        let value = e.attr(name).unwrap_or_default().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "yes" | "on" | "y")
    };
    let param = |e: &xml::Element| {
        let (unique, reloadable, private) = (flag(e, "unique"), flag(e, "reloadable"), flag(e, "private"));
        Some(ParamFacts { name: e.attr("name")?.to_owned(), unique, reloadable, private })
    };
    let params = root.child("parameters").into_iter().flat_map(|p| p.elements_named("parameter"));
    let has = |name: &str| {
        let mut actions = root.child("actions").into_iter().flat_map(|a| a.elements_named("action"));
        actions.any(|a| a.attr("name") == Some(name))
    };
    let reload = if has(Reload::Agent.action()) {
        Some(Reload::Agent)
    } else {
        has(Reload::Legacy.action()).then_some(Reload::Legacy)
    };
    Some(AgentFacts { params: params.filter_map(param).take(MAX_PARAMS).collect(), reload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_both_versions() {
        let document = |actions: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">\n<resource-agent name=\"D\">\
                 <parameters><parameter name=\"state\" unique=\"1\"/><parameter name=\"fake\" reloadable=\"1\"/>\
                 <parameter name=\"passwd\" private=\"1\" unique=\"0\"/></parameters><actions>{actions}</actions></resource-agent>"
            )
        };
        let facts = read(&document("<action name=\"reload\"/><action name=\"reload-agent\"/>")).expect("facts");
        assert_eq!(facts.reload, Some(Reload::Agent));
        let seen: Vec<(&str, bool, bool, bool)> =
            facts.params.iter().map(|p| (p.name.as_str(), p.unique, p.reloadable, p.private)).collect();
        assert_eq!(seen, [("state", true, false, false), ("fake", false, true, false), ("passwd", false, false, true)]);
        assert_eq!(read(&document("<action name=\"reload\"/>")).and_then(|f| f.reload), Some(Reload::Legacy));
        assert_eq!(read(&document("")).and_then(|f| f.reload), None);
        assert_eq!(read("no document"), None);
    }
}
