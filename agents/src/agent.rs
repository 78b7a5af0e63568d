//! What makes something a native agent.
//!
//! ```text
//!              parameters ──settings()──► Settings or a complaint
//!   start, reload        need settings: a complaint is their failure
//!   stop, monitor        never fail by a complaint: they go by what was started here, or by the instance's id alone
//! ```
//!
//! An agent is written without seeing parameters where it stops: what it gets are the settings of the start, if this process
//! made one, else those of the instance (after a restart of the daemon), else none at all. So a bad configuration cannot make a
//! stop fail, and a probe of an instance that cannot have been started says that it does not run.

use crate::meta::Meta;
use crate::outcome::AgentOutcome;
use base::exit::OcfCode;
use base::{Instance, Operation};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Instances of one agent that a node remembers; one more is not started.
const MAX_STARTED: usize = 100_000;

/// A stop that failed, or whose outcome is unknown (the daemon stood still and missed the kernel's answer), is tried again: nothing is
/// worse than a stop that fails, and each looks anew at what is there.
const STOP_TRIES: u32 = 5;
const STOP_PAUSE: Duration = Duration::from_millis(200);

/// An agent. Everything may be called again, and for instances that were never started.
pub(crate) trait Agent: Send + Sync + 'static {
    /// Its parameters, read and checked, whatever else the host is like.
    type Settings: Clone + Send + Sync + 'static;

    fn meta(&self) -> &'static Meta;

    fn settings(&self, instance: &Instance) -> Result<Self::Settings, AgentOutcome>;

    /// `validate-all`: looks further than at the form of the parameters.
    fn validate(&self, _settings: &Self::Settings) -> impl Future<Output = AgentOutcome> + Send {
        async { AgentOutcome::ok() }
    }

    /// Says ok only of what it has seen to be so.
    fn start(&self, id: &str, settings: &Self::Settings) -> impl Future<Output = AgentOutcome> + Send;

    /// Takes away what is there for this instance. Without settings, what is known of its id.
    fn stop(&self, id: &str, placed: Option<&Self::Settings>) -> impl Future<Output = AgentOutcome> + Send;

    fn monitor(&self, id: &str, settings: &Self::Settings) -> impl Future<Output = AgentOutcome> + Send;

    /// Whether something is there for this instance, known by its id alone.
    fn is_placed(&self, _id: &str) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// The node may hold nothing any more: what it has of this agent in the kernel goes, active or on standby; what could not be
    /// removed, in words. Addresses are the lease keeper's, which is faster.
    fn abandon(&self, _why: &str) -> impl Future<Output = Vec<String>> + Send {
        async { Vec::new() }
    }

    /// Any other action of its [`Meta::actions`], such as `reload-agent`.
    fn act(&self, _id: &str, action: &str, _settings: &Self::Settings) -> impl Future<Output = AgentOutcome> + Send {
        let refused = AgentOutcome::unimplemented(self.meta().name, action);
        async { refused }
    }
}

/// An [`Agent`] whose type is not named.
pub(crate) trait Native: Send + Sync {
    fn meta(&self) -> &'static Meta;

    fn run<'a>(&'a self, operation: &'a Operation) -> BoxFuture<'a, AgentOutcome>;

    /// See [`Agent::abandon`].
    fn abandon<'a>(&'a self, why: &'a str) -> BoxFuture<'a, Vec<String>>;
}

/// An agent and what it was started with here, by instance id.
pub(crate) struct Hosted<A: Agent> {
    agent: A,
    started: Mutex<BTreeMap<String, A::Settings>>,
}

impl<A: Agent> Hosted<A> {
    pub fn new(agent: A) -> Hosted<A> {
        Hosted { agent, started: Mutex::default() }
    }

    async fn start(&self, id: &str, settings: A::Settings) -> AgentOutcome {
        // Before the start: one that fails may have placed something.
        if !self.remember(id, settings.clone()) {
            return AgentOutcome::error(format!("{MAX_STARTED} instances of this agent are known; no more are taken"));
        }
        self.agent.start(id, &settings).await
    }

    async fn stop(&self, instance: &Instance) -> AgentOutcome {
        let placed = self.started(&instance.id).or_else(|| self.agent.settings(instance).ok());
        let mut outcome = self.agent.stop(&instance.id, placed.as_ref()).await;
        for _ in 1..STOP_TRIES {
            if outcome.code == OcfCode::OK {
                break;
            }
            tracing::warn!(resource = instance.id, "stop: {}: trying again", outcome.reason);
            tokio::time::sleep(STOP_PAUSE).await;
            outcome = self.agent.stop(&instance.id, placed.as_ref()).await;
        }
        if outcome.code == OcfCode::OK {
            self.lock().remove(&instance.id);
        }
        outcome
    }

    async fn monitor(&self, instance: &Instance) -> AgentOutcome {
        let complaint = match self.agent.settings(instance) {
            Ok(settings) => return self.agent.monitor(&instance.id, &settings).await,
            Err(complaint) => complaint.reason,
        };
        match self.started(&instance.id) {
            Some(settings) => self.agent.monitor(&instance.id, &settings).await,
            None if self.agent.is_placed(&instance.id).await => AgentOutcome::new(OcfCode::OK, complaint),
            None => AgentOutcome::new(OcfCode::NOT_RUNNING, complaint),
        }
    }

    async fn act(&self, instance: &Instance, action: &str, settings: A::Settings) -> AgentOutcome {
        let outcome = self.agent.act(&instance.id, action, &settings).await;
        if outcome.code == OcfCode::OK && matches!(action, "reload" | "reload-agent") {
            self.remember(&instance.id, settings);
        }
        outcome
    }

    fn started(&self, id: &str) -> Option<A::Settings> {
        self.lock().get(id).cloned()
    }

    fn remember(&self, id: &str, settings: A::Settings) -> bool {
        let mut started = self.lock();
        let room = started.len() < MAX_STARTED || started.contains_key(id);
        if room {
            started.insert(id.to_owned(), settings);
        }
        room
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, A::Settings>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Agent> Native for Hosted<A> {
    fn meta(&self) -> &'static Meta {
        self.agent.meta()
    }

    fn abandon<'a>(&'a self, why: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(self.agent.abandon(why))
    }

    fn run<'a>(&'a self, operation: &'a Operation) -> BoxFuture<'a, AgentOutcome> {
        Box::pin(async move {
            let (instance, action) = (&operation.instance, operation.action.as_str());
            match action {
                "stop" => return self.stop(instance).await,
                "monitor" | "status" => return self.monitor(instance).await,
                "meta-data" => return AgentOutcome { output: self.meta().xml(), ..AgentOutcome::ok() },
                _ if !self.meta().has_action(action) => return AgentOutcome::unimplemented(self.meta().name, action),
                _ => {}
            }
            match self.agent.settings(instance) {
                Err(complaint) => complaint,
                Ok(settings) if action == "start" => self.start(&instance.id, settings).await,
                Ok(settings) if action == "validate-all" => self.agent.validate(&settings).await,
                Ok(settings) => self.act(instance, action, settings).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const META: Meta =
        Meta { name: "Reluctant", providers: &["test"], about: "", params: &[], actions: &[("stop", 20, None)] };

    /// Its stop fails so many times.
    struct Reluctant(AtomicU32);

    impl Agent for Reluctant {
        type Settings = ();

        fn meta(&self) -> &'static Meta {
            &META
        }

        fn settings(&self, _instance: &Instance) -> Result<(), AgentOutcome> {
            Ok(())
        }

        async fn start(&self, _id: &str, _settings: &()) -> AgentOutcome {
            AgentOutcome::ok()
        }

        async fn stop(&self, _id: &str, _placed: Option<&()>) -> AgentOutcome {
            let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(1)));
            if left == Ok(0) { AgentOutcome::ok() } else { AgentOutcome::error("no answer from the kernel") }
        }

        async fn monitor(&self, _id: &str, _settings: &()) -> AgentOutcome {
            AgentOutcome::ok()
        }
    }

    #[tokio::test]
    async fn a_stop_that_fails_for_a_while_is_a_stop() {
        for (failures, code) in [(0, OcfCode::OK), (1, OcfCode::OK), (4, OcfCode::OK), (5, OcfCode::ERROR)] {
            let agent = Hosted::new(Reluctant(AtomicU32::new(failures)));
            assert_eq!(agent.stop(&Instance { id: "x".into(), ..Instance::default() }).await.code, code, "{failures}");
        }
    }
}
