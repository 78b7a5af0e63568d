//! New configurations: taken whole or not at all.

use super::{Core, Event, Loaded};
use crate::config::{Accepted, Config};
use crate::plan::plan;
use crate::service::alerts::Phase;
use crate::service::monitor::Monitor;
use crate::service::status::ReloadNote;
use crate::service::{LoadError, hooks, load};
use std::path::PathBuf;
use std::time::Instant;

impl Core {
    /// Everything new is built from the new configuration before anything old is let go; nothing here can fail.
    pub(super) fn reload(&mut self, config: Config) {
        let now = self.now();
        let plan = plan(&config);
        self.dropped.extend(self.plan.services().difference(&plan.services()));
        self.dropped.retain(|key| !plan.services().contains(key));
        self.note_leaving(&plan);
        self.health.follow(&plan, now);
        self.index = super::index(&plan);
        self.fallback_state.retain(|key, _| plan.services().contains(key));
        self.monitor = Monitor::new(&config);
        self.options.logger.set_target(&config.global.log);
        self.plan = plan;
        self.config = std::sync::Arc::new(config);
        self.phase = Phase::Reloading;
        self.whole_due = true;
        self.tidy_at = Instant::now() + super::upkeep::TIDY_SOON;
        self.settled = None;
        self.last_reload = Some((Instant::now(), None));
        self.changed.send_modify(|n| *n += 1);
        self.likely_mistakes();
        self.runner.follow(&self.config);
        self.apply_marks();
        let health = &self.health;
        for id in self.marks.absent(|id| health.get(id).is_some()) {
            let pair = crate::service::notices::pair(&id.service, &id.dest);
            self.log(&format!("Drain or maintenance of a server that is not configured is kept: {pair}"));
        }
    }

    /// Whoever looks into the log for why a server is down finds what the file does not say plainly.
    pub(super) fn likely_mistakes(&self) {
        for warning in crate::config::lint(&self.config) {
            self.log(&format!("Warning: {warning}"));
        }
    }

    /// Reading and resolving names may block, so it is done elsewhere.
    pub(super) fn load_file(&mut self, done: Loaded) {
        let Some(path) = self.options.config_path.clone() else {
            let why =
                LoadError::Read { path: PathBuf::new(), why: "this director has no configuration file".to_owned() };
            if let Some(done) = done {
                let _ = done.send(Err(why));
            }
            return;
        };
        let events = self.events_in.clone();
        tokio::task::spawn_blocking(move || {
            let loaded = Box::new(load(&path));
            let _ = events.blocking_send(Event::Loaded(loaded, done));
        });
    }

    pub(super) fn loaded(&mut self, loaded: Result<Accepted, LoadError>, done: Loaded) {
        let result = match loaded {
            Ok(accepted) => {
                for warning in &accepted.warnings {
                    self.log(&format!("Warning: {warning}"));
                }
                self.reload(accepted.config);
                Ok(accepted.warnings)
            }
            Err(error) => {
                self.log(&format!("Error: configuration not reloaded, the old one stays in force: {error}"));
                self.last_reload = Some((Instant::now(), Some(error.to_string())));
                Err(error)
            }
        };
        if let Some(done) = done {
            let _ = done.send(result);
        }
    }

    pub(super) fn file_changed(&mut self) {
        let path = self.options.config_path.clone().unwrap_or_default();
        let path = path.display();
        self.log(&format!("Configuration file '{path}' has changed on disk"));
        if self.config.global.autoreload {
            self.log(" - reread new configuration");
            self.load_file(None);
        } else {
            self.log(" - ignore new configuration");
        }
        if let Some(callback) = &self.config.global.callback {
            self.hooks.shell(format!("{} {}", hooks::quote(callback), hooks::quote(&path.to_string())));
        }
    }

    pub(in crate::service) fn reload_note(&self) -> Option<ReloadNote> {
        let (when, error) = self.last_reload.as_ref()?;
        Some(ReloadNote { age_ms: when.elapsed().as_millis() as u64, error: error.clone() })
    }
}
