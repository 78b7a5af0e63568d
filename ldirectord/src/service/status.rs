//! What the director tells of itself.

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
    /// Weight that the table should have now; `None`: no entry.
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

impl super::core::Core {
    pub(super) fn status(&self) -> Status {
        let wanted = policy::wanted(&self.plan, &self.health, self.now());
        let checks: std::collections::BTreeMap<_, String> =
            self.runner.by_real().into_iter().map(|(id, check)| (id, check.label())).collect();
        let virtuals = self.plan.virtuals.iter().map(|v| {
            let key = v.service.key;
            let want = wanted.services.get(&key);
            let read = self.entries.iter().find(|e| e.service.key == key);
            VirtualStatus {
                id: crate::config::service_id(&key),
                scheduler: v.service.scheduler.clone(),
                all_down: want.and_then(|w| w.all_down),
                fallback_active: want.is_some_and(|w| w.dests.values().any(|d| d.role == policy::Role::Fallback)),
                reals: v.reals.iter().filter_map(|r| self.real_status(v, r, want, read, &checks)).collect(),
            }
        });
        Status {
            pid: std::process::id(),
            uptime_ms: self.born.elapsed().as_millis() as u64,
            config: self.options.config_path.as_ref().map(|p| p.display().to_string()),
            active: self.active,
            last_reload: self.reload_note(),
            table_error: self.table_error.clone(),
            refused: self.refused.iter().cloned().collect(),
            repairs: self.repairs,
            virtuals: virtuals.collect(),
        }
    }

    fn real_status(
        &self,
        v: &policy::VirtualPlan,
        real: &policy::RealPlan,
        want: Option<&policy::WantedService>,
        read: Option<&base::ipvs::ServiceEntry>,
        checks: &std::collections::BTreeMap<policy::RealId, String>,
    ) -> Option<RealStatus> {
        let id = v.id(real);
        let record = self.health.get(&id)?;
        let now = self.now();
        let entry = read.and_then(|e| e.dests.iter().find(|d| d.dest.key == id.dest));
        Some(RealStatus {
            server: super::notices::server(&id.dest),
            standing: record.standing,
            source: record.source,
            maintenance: record.maintenance,
            weight: want.and_then(|w| w.dests.get(&id.dest)).map(|d| d.dest.weight),
            configured_weight: real.dest.weight,
            failures: record.failures,
            since_ms: now.since(record.since).as_millis() as u64,
            last_check_age_ms: record.observed.map(|t| now.since(t).as_millis() as u64),
            last_answer: record.answer.clone(),
            latency_us: record.latency_us,
            check: checks.get(&id).cloned().unwrap_or_default(),
            active_conns: entry.map(|e| e.active_conns),
            inactive_conns: entry.map(|e| e.inactive_conns),
        })
    }
}
