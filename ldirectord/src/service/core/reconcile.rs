//! The table: when a pass is handed to its thread, and what is said of its changes.

use super::counts::Counts;
use super::{Core, Event};
use crate::config::{Virtual, service_label};
use crate::service::alerts::Phase;
use crate::service::notices;
use crate::service::others::Others;
use crate::service::owned::Placed;
use crate::service::table::{Failed, Job, Report};
use base::ipvs::ServiceKey;
use kernel::ipvs::Error;
use policy::{Op, RealId, Role, Wanted, wanted};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Core {
    /// What stands in the table when we come counts as up until checked.
    pub(super) async fn adopt(&mut self) {
        let nothing = self.job(Wanted::default(), BTreeSet::new(), None);
        if let Some(Report { read: Ok(entries), .. }) = self.table.pass(nothing).await {
            let now = self.now();
            if self.active {
                self.health.adopt_table(&entries, now);
            }
        }
    }

    /// Hands a pass to the table's thread if one is due and none is under way.
    pub(super) fn reconcile(&mut self) {
        let due = self.active && (self.whole_due || !self.dirty.is_empty());
        if self.passing || !due {
            return;
        }
        let mut wanted = wanted(&self.plan, &self.health, self.now());
        self.keep_leaving(&mut wanted);
        if let Some(settled) = &self.settled {
            wanted.share(settled);
        }
        self.fallback_commands(&wanted);
        if self.whole_due && self.settled.is_none() {
            self.note_owned();
        }
        let dirty = std::mem::take(&mut self.dirty);
        let whole = std::mem::take(&mut self.whole_due);
        if whole {
            self.promised.append(&mut self.waiting);
        }
        let job = self.job(wanted, self.deletable(), (!whole).then_some(dirty));
        self.passing = true;
        let (table, events) = (self.table.handle(), self.events_in.clone());
        tokio::spawn(async move {
            let report = table.pass(job).await;
            let _ = events.send(Event::Pass(report)).await;
        });
    }

    pub(super) fn passed(&mut self, report: Option<Report>) {
        self.passing = false;
        let Some(report) = report else {
            self.table_trouble(Some("the table's thread has ended".to_owned()));
            return;
        };
        match &report.read {
            Ok(entries) => {
                self.table_trouble(None);
                if report.whole {
                    self.counts = Counts::of(entries);
                    self.entries_read = Some(std::time::Instant::now());
                    self.release_leaving(entries);
                }
            }
            Err(e) => self.table_trouble(Some(e.to_string())),
        }
        let drift = self.settled.as_ref() == Some(&report.wanted) && !report.done.is_empty();
        if drift {
            self.repairs += 1;
            self.log("The table was changed by another program; it is set right:");
        }
        for op in &report.done {
            self.made(op, drift);
        }
        self.refusals(&report);
        self.note_placed(&report.wanted);
        if report.whole && report.read.is_ok() {
            self.settled = report.failed.is_empty().then(|| report.wanted.clone());
        } else if self.settled.as_ref() != Some(&report.wanted) {
            self.settled = None;
        }
        let quiet = report.whole && report.done.is_empty() && self.health.iter().all(|(_, r)| r.known());
        // A verdict that has come since the pass was asked for may want more of it.
        let is_settled = || policy::wanted(&self.plan, &self.health, self.now()) == report.wanted;
        if quiet && matches!(self.phase, Phase::Starting | Phase::Reloading) && is_settled() {
            self.phase = Phase::Running;
        }
        if report.whole {
            self.confirm_gone(&report);
            for done in self.promised.drain(..) {
                let _ = done.send(());
            }
        }
    }

    /// What was dropped is forgotten only when the table was read and shows it gone, or has taken its deletion.
    fn confirm_gone(&mut self, report: &Report) {
        if report.read.is_err() || self.dropped.is_empty() {
            return;
        }
        let stays = |f: &Failed| matches!(f.op, Op::DeleteService(_)) && f.error != Error::NoSuchService;
        let kept: BTreeSet<ServiceKey> = report.failed.iter().filter(|f| stays(f)).map(|f| f.op.service()).collect();
        let before = self.dropped.len();
        self.dropped.retain(|key| kept.contains(key) || !report.dropped.contains(key));
        if self.dropped.len() != before {
            self.note_owned();
        }
    }

    /// What it has placed or may have, written down for the next start.
    pub(super) fn note_owned(&mut self) {
        if self.active {
            self.owned.note(Placed::of(&self.plan, &self.dropped), &self.options.logger);
        }
    }

    /// What is dropped and may be deleted: not what another director of this machine keeps as well.
    fn deletable(&self) -> BTreeSet<ServiceKey> {
        self.dropped.iter().filter(|key| !self.others.keep(key)).copied().collect()
    }

    fn job(&self, wanted: Wanted, dropped: BTreeSet<ServiceKey>, scope: Option<BTreeSet<ServiceKey>>) -> Job {
        Job { wanted, dropped, scope, others: self.others.clone() }
    }

    /// Who else has placed what, as it was found just now.
    pub(super) fn others_seen(&mut self, others: Others) {
        if *self.others == others {
            return;
        }
        let services = self.plan.services();
        let before = self.others.shared(&services);
        for line in others.shared(&services).into_iter().filter(|line| !before.contains(line)) {
            self.log(&format!("Warning: {line}"));
        }
        self.others = Arc::new(others);
        self.whole_due = true;
    }

    /// Logs a change, and tells those who want to know of a fallback that comes and goes.
    fn made(&mut self, op: &Op, drift: bool) {
        let text = self.worded(op);
        self.log(&text);
        // Servers that come and go are told of by what is known of them; the fallback comes and goes with the table.
        let about_fallback = match op {
            Op::AddDest { role, .. } | Op::EditDest { role, .. } | Op::DeleteDest { role, .. } => {
                *role == Role::Fallback
            }
            Op::AddService(_) | Op::EditService(_) | Op::DeleteService(_) => false,
        };
        if about_fallback
            && !drift
            && let Some(v) = self.config.virtuals.iter().find(|v| v.key == op.service())
        {
            self.alerts.tell(v, self.config.global.alert_from.as_deref(), self.phase, &text, None);
        }
    }

    /// A destination that leaves is a real server of the plan that went down, or a stranger.
    fn worded(&self, op: &Op) -> String {
        match op {
            Op::DeleteDest { service, dest, role: Role::Foreign }
                if self.health.get(&RealId { service: *service, dest: *dest }).is_some() =>
            {
                notices::of_op(&Op::DeleteDest { service: *service, dest: *dest, role: Role::Real }, false)
            }
            Op::AddDest { service, dest, role: Role::Real }
                if dest.weight == 0 && self.was_placed(service, &dest.key) =>
            {
                format!("Readd {}", notices::of_op(op, false))
            }
            op => notices::of_op(op, false),
        }
    }

    /// Whether a quiescent entry stood in the table before, which somebody has removed.
    fn was_placed(&self, service: &ServiceKey, dest: &base::ipvs::DestKey) -> bool {
        self.health.get(&RealId { service: *service, dest: *dest }).is_some_and(|r| r.placed)
    }

    /// A refusal is said once, until it changes or goes away.
    fn refusals(&mut self, report: &Report) {
        let now: BTreeSet<String> =
            report.failed.iter().map(|f| format!("{} failed: {}", self.worded(&f.op), f.error)).collect();
        for text in now.difference(&self.refused) {
            self.log(text);
        }
        if report.whole {
            let unplaced = |f: &Failed| match &f.op {
                Op::AddService(s) => Some((s.key, None)),
                Op::AddDest { service, dest, .. } => Some((*service, Some(dest.key))),
                _ => None,
            };
            self.unplaced = report.failed.iter().filter_map(unplaced).collect();
            self.refused = now;
        } else {
            self.refused.extend(now);
        }
    }

    fn table_trouble(&mut self, error: Option<String>) {
        match &error {
            Some(text) if self.table_error != error => self.log(&format!("Cannot read the IPVS table: {text}")),
            None if self.table_error.is_some() => self.log("The IPVS table can be read again"),
            _ => {}
        }
        self.table_error = error;
    }

    fn note_placed(&mut self, wanted: &Wanted) {
        for (key, service) in &wanted.services {
            for (dest, want) in service.dests.iter().filter(|(_, w)| w.role == Role::Real && w.dest.weight == 0) {
                if !want.only_if_present {
                    self.health.note_placed(RealId { service: *key, dest: *dest });
                }
            }
        }
    }

    /// `fallbackcommand start|stop VIP:port proto` when the last server has gone and when the first has come.
    fn fallback_commands(&mut self, wanted: &Wanted) {
        for v in &self.config.virtuals {
            let Some(command) = &v.fallback_command else { continue };
            let Some(all_down) = wanted.services.get(&v.key).and_then(|s| s.all_down) else { continue };
            if self.fallback_state.insert(v.key, all_down) != Some(all_down) {
                let word = if all_down { "start" } else { "stop" };
                self.hooks.shell(format!("{command} {word} {} {}", service_label(&v.key), protocol(v)));
            }
        }
    }

    pub(super) async fn stop(&mut self, reason: &str) -> Vec<Failed> {
        self.phase = Phase::Stopping;
        self.runner.stop();
        let clean = self.config.virtuals.iter().filter(|v| v.clean_stop).map(|v| v.key);
        self.others = Arc::new(self.owned.watch().look());
        let all = clean.chain(self.dropped.iter().copied());
        let dropped: BTreeSet<ServiceKey> = all.filter(|key| !self.others.keep(key)).collect();
        let mut failed = Vec::new();
        let mut left = BTreeSet::new();
        if self.active {
            let job = self.job(Wanted::default(), dropped, None);
            if let Some(report) = self.table.pass(job).await {
                for op in &report.done {
                    let text = notices::of_op(op, true);
                    self.log(&text);
                    if let Some(v) = self.config.virtuals.iter().find(|v| v.key == op.service()) {
                        self.alerts.tell(v, self.config.global.alert_from.as_deref(), self.phase, &text, None);
                    }
                }
                for f in &report.failed {
                    self.log(&format!("{} failed: {}", notices::of_op(&f.op, true), f.error));
                }
                if report.read.is_err() {
                    left = report.dropped;
                }
                left.extend(report.failed.iter().map(|f| f.op.service()));
                failed = report.failed;
            }
            self.owned.last_word(left, &self.options.logger).await;
        }
        self.log(&format!("Linux Director Daemon terminated on signal: {reason}"));
        failed
    }
}

fn protocol(v: &Virtual) -> &'static str {
    match v.protocol() {
        Some(base::ipvs::Protocol::Udp) => "udp",
        Some(_) => "tcp",
        None => "fwm",
    }
}
