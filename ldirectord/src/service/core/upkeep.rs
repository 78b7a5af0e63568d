//! What time brings: the tick, marks of maintenance, reminders, the file's changes.

use super::{Core, Event};
use crate::plan::real_id;
use crate::service::notices;
use std::time::{Duration, Instant};

/// After a start or a reload, when first checks are done, freed memory is given back; then now and then.
pub(super) const TIDY_SOON: Duration = Duration::from_secs(3);
/// How long a start waits for the maintenance directory.
const FIRST_SCAN: Duration = Duration::from_secs(2);
const TIDY_EVERY: Duration = Duration::from_secs(20);

impl Core {
    pub(super) fn tick(&mut self) {
        self.whole_due = true;
        self.follow_agreed();
        self.remind();
        self.resolve_names();
        self.owned.try_again(&self.options.logger);
        if let Some(mut watch) = self.watch.take() {
            let events = self.events_in.clone();
            tokio::task::spawn_blocking(move || {
                let others = watch.look();
                let _ = events.blocking_send(Event::Others(watch, others));
            });
        }
        if Instant::now() >= self.tidy_at {
            self.tidy_at = Instant::now() + TIDY_EVERY;
            tokio::task::spawn_blocking(kernel::memory::trim);
        }
        if let (Some(dir), Some(mut scanner)) = (self.config.global.maintenance_dir.clone(), self.scanner.take()) {
            let events = self.events_in.clone();
            tokio::task::spawn_blocking(move || {
                let marks = scanner.scan(&dir);
                let _ = events.blocking_send(Event::Marks(marks, scanner));
            });
        } else if self.config.global.maintenance_dir.is_none() {
            self.dir_marks.clear();
            self.apply_marks();
        }
        let watching = self.config.global.autoreload || self.config.global.callback.is_some();
        if let (true, Some(path), Some(mut seen)) = (watching, self.options.config_path.clone(), self.seen.take()) {
            let events = self.events_in.clone();
            tokio::task::spawn_blocking(move || {
                let found = seen.look(&path, Instant::now());
                let _ = events.blocking_send(Event::File(seen, found));
            });
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Pass(report) => self.passed(report),
            Event::Marks(marks, scanner) => {
                self.scanner = Some(scanner);
                self.dir_marks = marks;
                self.apply_marks();
            }
            Event::Marked { reals, changed, done } => self.marked(&reals, &changed, done),
            Event::File(seen, found) => {
                self.seen = Some(seen);
                self.file(found);
            }
            Event::Names(answers) => self.names_told(answers),
            Event::Others(watch, others) => {
                self.watch = Some(watch);
                self.others_seen(others);
            }
            Event::Loaded { loaded, force, done } => self.loaded(*loaded, force, done),
        }
    }

    /// At a start the marks count from the beginning, unless a resolver takes too long for their names.
    pub(super) async fn scan_now(&mut self) {
        let (Some(dir), Some(mut scanner)) = (self.config.global.maintenance_dir.clone(), self.scanner.take()) else {
            return;
        };
        let events = self.events_in.clone();
        let (first, scanned) = tokio::sync::oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let marks = scanner.scan(&dir);
            let _ = first.send(marks.clone());
            let _ = events.blocking_send(Event::Marks(marks, scanner));
        });
        match tokio::time::timeout(FIRST_SCAN, scanned).await {
            Ok(Ok(marks)) => self.dir_marks = marks,
            _ => {
                self.log("The names in the maintenance directory take long to resolve: the start goes on without them")
            }
        }
    }

    fn remind(&mut self) {
        let from = self.config.global.alert_from.as_deref();
        for v in self.config.virtuals.iter().filter(|v| v.alert.frequency_s > 0 && !v.alert.to.is_empty()) {
            let every = Duration::from_secs(u64::from(v.alert.frequency_s));
            for real in &v.reals {
                let id = real_id(v, real);
                let Some(record) = self.health.get(&id).filter(|r| r.known() && !r.serves()) else {
                    self.reminded.remove(&id);
                    continue;
                };
                let last = self.reminded.entry(id).or_insert_with(Instant::now);
                if last.elapsed() >= every {
                    *last = Instant::now();
                    let text = format!("Inaccessible real server: {}", notices::pair(&id.service, &id.dest));
                    self.alerts.tell(v, from, self.phase, &text, Some(&record.answer));
                }
            }
        }
    }
}
