//! The agent check: a line in which a server tells its own weight and state, as HAProxy's `agent-check` defines it.
//!
//! Words are separated by blanks, tabs or commas and end with the line; case does not matter. What a line does not mention stays as it
//! was: an agent may tell its load only, another one its state only.

use serde::{Deserialize, Serialize};

/// Longest line that is read.
pub const MAX_AGENT_LINE: usize = 1_024;
/// Larger percentages count as this.
const MAX_PERCENT: u32 = 10_000;

/// What a server's agent wants of the administrator's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    #[default]
    Ready,
    /// No new connections.
    Drain,
    /// Out of service.
    Maint,
}

/// What an agent has said so far.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgentState {
    /// Of the configured weight.
    pub percent: u32,
    /// `down`, `failed` or `stopped`, until `up`.
    pub down: bool,
    pub admin: Admin,
}

impl Default for AgentState {
    fn default() -> AgentState {
        AgentState { percent: 100, down: false, admin: Admin::Ready }
    }
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentReport {
    pub percent: Option<u32>,
    pub down: Option<bool>,
    pub admin: Option<Admin>,
}

impl AgentReport {
    /// `Err`: a word that no agent says; then nothing of the line is used.
    pub fn parse(line: &str) -> Result<AgentReport, String> {
        // Behind `#` stands the agent's reason, for people.
        let words = line.split('#').next().unwrap_or("");
        let mut report = AgentReport::default();
        for word in words.split([' ', '\t', ',']).filter(|w| !w.is_empty()) {
            let lower = word.to_ascii_lowercase();
            match lower.as_str() {
                "up" => report.down = Some(false),
                "down" | "failed" | "fail" | "stopped" => report.down = Some(true),
                "ready" => report.admin = Some(Admin::Ready),
                "drain" => report.admin = Some(Admin::Drain),
                "maint" => report.admin = Some(Admin::Maint),
                // A limit of connections, which belongs to the table's thresholds.
                _ if lower.starts_with("maxconn:") => {}
                _ => report.percent = Some(percent(&lower).ok_or_else(|| format!("unknown word `{word}`"))?),
            }
        }
        if report == AgentReport::default() && !words.contains(|c: char| c.is_ascii_alphanumeric()) {
            return Err("an empty line".to_owned());
        }
        Ok(report)
    }
}

impl AgentState {
    pub(crate) fn take(&mut self, report: &AgentReport) {
        self.percent = report.percent.unwrap_or(self.percent);
        self.down = report.down.unwrap_or(self.down);
        self.admin = report.admin.unwrap_or(self.admin);
    }
}

fn percent(word: &str) -> Option<u32> {
    let digits = word.strip_suffix('%')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Too long for a number is too much as well.
    Some(digits.parse().unwrap_or(MAX_PERCENT).min(MAX_PERCENT))
}
