//! What an agent answers, and parameters as agents read them.

use base::Instance;
use base::exit::OcfCode;

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

    pub fn unimplemented(agent: &str, action: &str) -> AgentOutcome {
        AgentOutcome::new(OcfCode::UNIMPLEMENTED, format!("{agent} has no action '{action}'"))
    }
}

/// Parameters with a type; what is wrong with one is the outcome of whoever needs it.
pub(crate) trait Parameters {
    /// OCF's idea of a true boolean.
    fn flag(&self, name: &str, default: bool) -> bool;

    fn number(&self, name: &str, default: u64) -> Result<u64, AgentOutcome>;
}

impl Parameters for Instance {
    fn flag(&self, name: &str, default: bool) -> bool {
        self.param(name).map_or(default, base::text::is_true)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, AgentOutcome> {
        let Some(text) = self.param(name) else { return Ok(default) };
        text.parse().map_err(|_| AgentOutcome::not_configured(format!("{name}='{text}' is not a number")))
    }
}
