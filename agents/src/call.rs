//! One call of an agent and its outcome, the same for all agents.

use base::exit::OcfCode;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the cluster asks of an agent.
#[derive(Clone, Debug)]
pub struct AgentCall {
    /// Instance id, e.g. `vip`.
    pub resource: String,
    /// `IPaddr2`, `ldirectord`, …
    pub agent: String,
    /// `start`, `stop`, `monitor`, `validate-all`, `meta-data`.
    pub operation: String,
    /// Instance parameters without any prefix.
    pub params: BTreeMap<String, String>,
    pub timeout: Duration,
}

impl AgentCall {
    /// A parameter that is present and not empty.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    /// OCF's idea of a true boolean.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.param(name)
            .map_or(default, |v| matches!(v.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on" | "y"))
    }

    /// A number, or the outcome that says what is wrong with it.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, AgentOutcome> {
        let Some(text) = self.param(name) else { return Ok(default) };
        text.parse().map_err(|_| AgentOutcome::not_configured(format!("{name}='{text}' is not a number")))
    }
}

/// What the agent answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentOutcome {
    pub code: OcfCode,
    /// Exit reason for people; empty on success.
    pub reason: String,
    /// Standard output, where the operation has any (`meta-data`).
    pub output: String,
}

impl AgentOutcome {
    pub fn ok() -> AgentOutcome {
        AgentOutcome::new(OcfCode::OK, "")
    }

    pub fn new(code: OcfCode, reason: impl Into<String>) -> AgentOutcome {
        AgentOutcome { code, reason: reason.into(), output: String::new() }
    }

    pub fn error(reason: impl Into<String>) -> AgentOutcome {
        AgentOutcome::new(OcfCode::ERROR, reason)
    }

    pub fn not_running() -> AgentOutcome {
        AgentOutcome::new(OcfCode::NOT_RUNNING, "")
    }

    pub fn not_configured(reason: impl Into<String>) -> AgentOutcome {
        AgentOutcome::new(OcfCode::NOT_CONFIGURED, reason)
    }
}
