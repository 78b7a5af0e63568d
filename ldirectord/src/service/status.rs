//! What the director tells of itself.

use super::edits::Difference;
use policy::{Source, Standing};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub pid: u32,
    pub uptime_ms: u64,
    pub config: Option<String>,
    /// Whether it keeps the table.
    pub active: bool,
    pub last_reload: Option<ReloadNote>,
    /// Why the table could not be read at the last pass.
    pub table_error: Option<String>,
    /// Changes that the table refused at the last pass.
    pub refused: Vec<String>,
    /// Times that the table was found altered by others and was repaired.
    pub repairs: u64,
    /// Age of the connection counts, which are read with the table; `None`: this director does not read it.
    #[serde(default)]
    pub table_age_ms: Option<u64>,
    /// Drains and maintenance of servers that are not configured at present.
    #[serde(default)]
    pub absent_marks: Vec<String>,
    /// Names that could not be asked for when their time was over; their servers stay.
    #[serde(default)]
    pub unresolved: Vec<String>,
    /// Where operators have changed servers against the file.
    #[serde(default)]
    pub differences: Vec<Difference>,
    pub virtuals: Vec<VirtualStatus>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReloadNote {
    pub age_ms: u64,
    /// `None`: it was taken.
    pub error: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VirtualStatus {
    /// `tcp:10.0.0.1:80`.
    pub id: String,
    pub scheduler: String,
    /// `None`: not known yet.
    pub all_down: Option<bool>,
    pub fallback_active: bool,
    pub reals: Vec<RealStatus>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RealStatus {
    pub server: String,
    pub standing: Standing,
    pub source: Source,
    pub maintenance: bool,
    /// Who wants it: `directory`, `command`, `agent`.
    #[serde(default)]
    pub maintenance_by: Vec<String>,
    /// No new connections, by command.
    #[serde(default)]
    pub drained: bool,
    /// What its agent has said.
    #[serde(default)]
    pub agent: Option<policy::AgentState>,
    /// Held down for flapping, for so long at least.
    #[serde(default)]
    pub held_for_ms: Option<u64>,
    /// Its weight grows since it came back.
    #[serde(default)]
    pub ramping: bool,
    /// Weight that the table should have now; `None`: no entry, also where the table has refused it (`Status::refused` says why).
    pub weight: Option<u32>,
    pub configured_weight: u32,
    /// Failures in a row.
    pub failures: u32,
    pub since_ms: u64,
    pub last_check_age_ms: Option<u64>,
    pub last_answer: String,
    pub latency_us: u64,
    pub check: String,
    /// As last read from the table.
    pub active_conns: Option<u32>,
    pub inactive_conns: Option<u32>,
}
