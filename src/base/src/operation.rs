//! What an agent is asked to do: one type from the transition to the agent, and the instance that it is done to.
//!
//! An [`Instance`] is what runs (or shall run): agent and parameters as it was started with. Whoever stops, demotes or checks
//! something that runs takes the instance from the node's record of it, never from the present configuration.

use crate::secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A resource instance: which agent, with which parameters.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Instance {
    /// Instance id, e.g. `vip` or `web:0`.
    pub id: String,
    /// `ocf`, `lsb`, `systemd`, `service`, `stonith`.
    pub class: String,
    pub provider: Option<String>,
    /// `IPaddr2`, `ldirectord`, …
    pub agent: String,
    /// Instance parameters, without any prefix.
    pub params: BTreeMap<String, String>,
}

/// Whether an agent's resources are connections to remote nodes.
pub fn is_connection(class: &str, provider: Option<&str>, agent: &str) -> bool {
    (class, provider, agent) == ("ocf", Some("pacemaker"), "remote")
}

/// One action on one instance.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Operation {
    pub instance: Instance,
    /// `start`, `stop`, `monitor`, `promote`, `notify`, …
    pub action: String,
    /// 0 for a single run; recurring operations are asked for anew each round.
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// What the cluster tells the agent beside its parameters: names without `CRM_meta_`, e.g. `notify_type`.
    pub meta: BTreeMap<String, String>,
    /// Name of the node that performs it, as the CIB has it.
    pub node: String,
}

/// Secrets do not appear, wherever it is printed.
impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = secret::all_shown(&self.params);
        let mut out = f.debug_struct("Instance");
        out.field("id", &self.id).field("class", &self.class).field("provider", &self.provider);
        out.field("agent", &self.agent).field("params", &params).finish()
    }
}

impl Instance {
    /// Whether it stands for the connection to a remote or guest node, which has its name.
    pub fn is_connection(&self) -> bool {
        is_connection(&self.class, self.provider.as_deref(), &self.agent)
    }

    /// A parameter that is present and not empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    /// The provider, with the one that OCF means when none is named.
    pub fn provider(&self) -> &str {
        self.provider.as_deref().unwrap_or("heartbeat")
    }
}

impl Operation {
    /// Prefix of what the cluster tells an agent, in transition graphs and in the agent's environment.
    pub const META_PREFIX: &str = "CRM_meta_";

    /// A parameter that is present and not empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.instance.param(name)
    }

    /// The first question about an instance of which nobody knows whether it runs here.
    pub fn is_probe(&self) -> bool {
        self.action == "monitor" && self.interval_ms == 0
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// `RESOURCE_ACTION_INTERVAL`, as logs and histories name it.
    pub fn key(&self) -> String {
        format!("{}_{}_{}", self.instance.id, self.action, self.interval_ms)
    }
}
