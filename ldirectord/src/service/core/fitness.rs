//! Whether what this director does for an address can be relied on: for those who draw clients to it.

use super::{Core, TICK};
use crate::config::service_id;
use crate::service::place::Place;
use policy::{Mode, Plan, Role, Source, TRUSTED_INTERVALS, VirtualPlan};
use std::time::Duration;

/// The table is read at each tick; it has not been for so many: nobody knows what it holds.
const MISSED_TICKS: u32 = 5;
/// A check may be late by so much on a busy machine.
const CHECK_SLACK: Duration = Duration::from_secs(1);

/// What a director says of an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fitness {
    /// Virtual services there.
    pub services: usize,
    /// Why table or checks cannot be relied on.
    pub fault: Option<String>,
    /// Whether any of the services has somebody to send a client to: a server, or the fallback.
    pub serving: bool,
}

impl Core {
    pub(super) fn fitness(&self, place: &Place) -> Fitness {
        let here: Vec<VirtualPlan> =
            self.plan.virtuals.iter().filter(|v| place.is_of(&v.service.key)).cloned().collect();
        let plan = Plan { virtuals: here, readd_quiescent: self.plan.readd_quiescent };
        let wanted = policy::wanted(&plan, &self.health, self.now());
        let serving = wanted.services.values().any(|s| {
            s.all_down == Some(false) || s.dests.values().any(|d| d.role == Role::Fallback && d.dest.weight > 0)
        });
        let fault = self.table_fault().or_else(|| plan.virtuals.iter().find_map(|v| self.service_fault(v)));
        Fitness { services: plan.virtuals.len(), fault, serving }
    }

    fn table_fault(&self) -> Option<String> {
        if !self.active {
            return Some("the director does not keep the table".to_owned());
        }
        let read = self.entries_read.map(|t| t.elapsed());
        if read.is_some_and(|age| age < TICK * MISSED_TICKS) {
            return None;
        }
        let why = self.table_error.clone().unwrap_or_else(|| "no pass over it has ended".to_owned());
        Some(format!("the table is not kept: {why}"))
    }

    fn service_fault(&self, v: &VirtualPlan) -> Option<String> {
        let key = v.service.key;
        if self.unplaced.iter().any(|(service, _)| *service == key) {
            let why = self.refused.first().cloned().unwrap_or_default();
            return Some(format!("the table does not take {}: {why}", service_id(&key)));
        }
        let limit = self.check_age_limit(&key);
        let stale = v.reals.iter().filter(|r| r.mode == Mode::Checked).find_map(|real| {
            let record = self.health.get(&v.id(real)).filter(|r| matches!(r.source, Source::Check | Source::Peer))?;
            let age = self.now().since(record.observed?);
            (age > limit && !record.maintenance).then_some(age)
        });
        stale.map(|age| format!("checks of {} stand still: the last one is {} s old", service_id(&key), age.as_secs()))
    }

    /// How old the last check of a server of this service may be.
    pub(super) fn check_age_limit(&self, service: &base::ipvs::ServiceKey) -> Duration {
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let virtuals = &self.config.virtuals;
        let Some(v) = virtuals.iter().find(|v| v.key == *service) else { return policy::MIN_TRUST };
        let deadline = millis(v.negotiate_timeout_ms.max(v.check_timeout_ms));
        millis(v.check_interval_ms) * TRUSTED_INTERVALS + deadline + CHECK_SLACK
    }
}
