//! Taking the table over from another director, with what it knew of the servers.

use super::core::Core;
use super::place::Place;
use base::ipvs::ServiceKey;
use policy::{TakenOver, Verdicts, WantedService};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

impl Core {
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Settles what each server counts as; the rules are in `policy`.
    pub(super) fn believe(&mut self, verdicts: &Verdicts) -> TakenOver {
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let trust: BTreeMap<ServiceKey, Duration> = self
            .config
            .virtuals
            .iter()
            .map(|v| {
                let deadline = millis(v.negotiate_timeout_ms.max(v.check_timeout_ms));
                (v.key, policy::trust(millis(v.check_interval_ms), deadline))
            })
            .collect();
        let now = self.now();
        let of = |service: &ServiceKey| trust.get(service).copied().unwrap_or(policy::MIN_TRUST);
        let taken = self.health.take_over(verdicts, |id| of(&id.service), now);
        self.health.take_for_granted();
        self.changed.send_modify(|n| *n += 1);
        taken
    }

    /// Becomes active unless it serves nothing on `serving`. `placed` hears of the pass over the table.
    pub(super) fn take_over(
        &mut self,
        verdicts: &Verdicts,
        serving: Option<&Place>,
        placed: oneshot::Sender<()>,
    ) -> Option<TakenOver> {
        if serving.is_some_and(|place| !self.plan.virtuals.iter().any(|v| place.is_of(&v.service.key))) {
            return None;
        }
        let taken = self.believe(verdicts);
        self.log(&format!(
            "Taking over: {} servers known by own checks, {} by the other director's, {} from the table, {} unchecked",
            taken.own, taken.peer, taken.table, taken.unchecked
        ));
        self.active = true;
        self.settled = None;
        self.whole_due = true;
        self.waiting.push(placed);
        Some(taken)
    }

    pub(super) fn is_settled(&self, place: &Place) -> bool {
        let wanted = policy::wanted(&self.plan, &self.health, self.now());
        let known =
            |v: &policy::VirtualPlan| v.reals.iter().all(|r| self.health.get(&v.id(r)).is_none_or(|r| r.known()));
        let up = |w: Option<&Arc<WantedService>>| w.is_some_and(|w| w.all_down == Some(false));
        let here = self.plan.virtuals.iter().filter(|v| place.is_of(&v.service.key));
        here.into_iter().all(|v| up(wanted.services.get(&v.service.key)) || known(v))
    }
}
