//! What is told of the core's state.

use super::Core;
use crate::service::notices;
use crate::service::status::{RealStatus, Status, VirtualStatus};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Core {
    pub(super) fn status(&self) -> Status {
        let wanted = policy::wanted(&self.plan, &self.health, self.now());
        let checks = self.runner.by_real();
        let virtuals = self.plan.virtuals.iter().map(|v| {
            let key = v.service.key;
            let want = wanted.services.get(&key);
            VirtualStatus {
                id: crate::config::service_id(&key),
                scheduler: v.service.scheduler.clone(),
                all_down: want.and_then(|w| w.all_down),
                fallback_active: want.is_some_and(|w| w.dests.values().any(|d| d.role == policy::Role::Fallback)),
                reals: v.reals.iter().filter_map(|r| self.real_status(v, r, want, &checks)).collect(),
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
            table_age_ms: self.entries_read.map(|t| t.elapsed().as_millis() as u64),
            absent_marks: self
                .marks
                .absent(|id| self.health.get(id).is_some())
                .iter()
                .map(|id| notices::pair(&id.service, &id.dest))
                .collect(),
            unresolved: self.names.troubles(),
            differences: self.differences.clone(),
            virtuals: virtuals.collect(),
        }
    }

    fn real_status(
        &self,
        v: &policy::VirtualPlan,
        real: &policy::RealPlan,
        want: Option<&Arc<policy::WantedService>>,
        checks: &BTreeMap<policy::RealId, String>,
    ) -> Option<RealStatus> {
        let id = v.id(real);
        let record = self.health.get(&id)?;
        let now = self.now();
        let counts = self.counts.get(&id);
        let ms = |d: std::time::Duration| d.as_millis() as u64;
        Some(RealStatus {
            server: notices::server(&id.dest),
            standing: record.standing,
            source: record.source,
            maintenance: record.maintenance,
            maintenance_by: self.maintenance_by(&id, record),
            drained: record.drained,
            agent: record.agent.clone(),
            held_for_ms: record.held_until.filter(|t| *t > now).map(|t| ms(t.since(now))),
            ramping: record.takes() && v.tuning.ramping(record.risen, now).is_some(),
            weight: want.and_then(|w| w.dests.get(&id.dest)).map(|d| d.dest.weight).filter(|_| self.is_placed(&id)),
            configured_weight: real.dest.weight,
            failures: record.failures,
            since_ms: now.since(record.since).as_millis() as u64,
            last_check_age_ms: record.observed.map(|t| now.since(t).as_millis() as u64),
            last_answer: record.answer.to_string(),
            latency_us: record.latency_us,
            check: checks.get(&id).cloned().unwrap_or_default(),
            active_conns: counts.map(|c| c.active),
            inactive_conns: counts.map(|c| c.inactive),
        })
    }

    /// Whether the table has not refused it, or its service as a whole.
    fn is_placed(&self, id: &policy::RealId) -> bool {
        !self.unplaced.contains(&(id.service, None)) && !self.unplaced.contains(&(id.service, Some(id.dest)))
    }

    fn maintenance_by(&self, id: &policy::RealId, record: &policy::Record) -> Vec<String> {
        let agent = record.agent.as_ref().is_some_and(|a| a.admin == policy::Admin::Maint);
        let all = [
            (record.maintenance && self.in_directory(id), "directory"),
            (self.marks.get(id).maintenance, "command"),
            (agent, "agent"),
        ];
        all.into_iter().filter(|(on, _)| *on).map(|(_, who)| who.to_owned()).collect()
    }
}
