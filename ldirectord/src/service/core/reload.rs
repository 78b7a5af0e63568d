//! New configurations: taken whole or not at all.

use super::{Core, Event, Loaded};
use crate::config::{Accepted, Config, Problem, Refused, Severity};
use crate::plan::plan;
use crate::service::alerts::Phase;
use crate::service::edits::applied;
use crate::service::monitor::Monitor;
use crate::service::status::ReloadNote;
use crate::service::watch::Found;
use crate::service::{LoadError, hooks, load_knowing};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

impl Core {
    /// Everything new is built from the new configuration before anything old is let go; nothing here can fail.
    pub(super) fn reload(&mut self, file: Config) {
        self.options.logger.set_target(&file.global.log);
        self.names.follow(&file);
        self.file = Arc::new(file);
        self.remember_names();
        self.phase = Phase::Reloading;
        self.last_reload = Some((Instant::now(), None));
        self.follow_file();
        self.likely_mistakes();
        let health = &self.health;
        for id in self.marks.absent(|id| health.get(id).is_some()) {
            let pair = crate::service::notices::pair(&id.service, &id.dest);
            self.log(&format!("Drain or maintenance of a server that is not configured is kept: {pair}"));
        }
        for idle in self.differences.iter().filter(|d| d.idle.is_some()) {
            self.log(&format!("Changed by command: {idle}"));
        }
    }

    /// The file, with what operators have changed by command over it, becomes what counts.
    pub(super) fn follow_file(&mut self) {
        let now = self.now();
        let (config, differences) = applied(&self.file, &self.marks.edits());
        let plan = plan(&config);
        if self.active {
            self.dropped.extend(self.plan.services().difference(&plan.services()));
        }
        self.dropped.retain(|key| !plan.services().contains(key));
        let back = self.note_leaving(&plan);
        self.health.follow(&plan, now);
        back.into_iter().for_each(|id| self.health.adopt(id, now));
        self.index = super::index(&plan);
        self.fallback_state.retain(|key, _| plan.services().contains(key));
        self.monitor = Monitor::new(&config);
        self.plan = plan;
        self.config = config;
        self.differences = differences;
        self.whole_due = true;
        self.tidy_at = Instant::now() + super::upkeep::TIDY_SOON;
        self.settled = None;
        self.note_owned();
        self.changed.send_modify(|n| *n += 1);
        self.runner.follow(&self.config);
        self.apply_marks();
    }

    /// Whoever looks into the log for why a server is down finds what the file does not say plainly.
    pub(super) fn likely_mistakes(&self) {
        for warning in crate::config::lint(&self.config) {
            self.log(&format!("Warning: {warning}"));
        }
    }

    /// Reading and resolving names may block, so it is done elsewhere.
    pub(super) fn load_file(&mut self, force: bool, done: Loaded) {
        let Some(path) = self.options.config_path.clone() else {
            let why =
                LoadError::Read { path: PathBuf::new(), why: "this director has no configuration file".to_owned() };
            if let Some(done) = done {
                let _ = done.send(Err(why));
            }
            return;
        };
        // A dead name server keeps nobody from changing what has nothing to do with it.
        let (events, known) = (self.events_in.clone(), crate::names::known(&self.file));
        tokio::task::spawn_blocking(move || {
            let loaded = Box::new(load_knowing(&path, known));
            let _ = events.blocking_send(Event::Loaded { loaded, force, done });
        });
    }

    pub(super) fn loaded(&mut self, loaded: Result<Accepted, LoadError>, force: bool, done: Loaded) {
        let loaded = loaded.and_then(|accepted| match self.empties(&accepted.config) {
            Some(problem) if !force => {
                let refused = Refused { errors: vec![problem], warnings: accepted.warnings };
                Err(LoadError::Refused { path: self.options.config_path.clone().unwrap_or_default(), refused })
            }
            _ => Ok(accepted),
        });
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

    /// A file with nothing left to serve is more often a slip (`: > file`, a full disk, half a copy) than a wish.
    fn empties(&self, new: &Config) -> Option<Problem> {
        let reals = |config: &Config| config.virtuals.iter().map(|v| v.reals.len()).sum::<usize>();
        let (services, before) = (self.config.virtuals.len(), reals(&self.config));
        let nothing = if new.virtuals.is_empty() { "no virtual service" } else { "no real server" };
        let empties = services > 0 && new.virtuals.is_empty() || before > 0 && reals(new) == 0;
        empties.then(|| Problem {
            severity: Severity::Error,
            line: 1,
            column: 1,
            found: format!("{nothing} in the file"),
            expected: format!("some of the {services} services with {before} real servers that are served now"),
            cure: "`ldirectord CONFIG reload --force` takes them all out of the table".to_owned(),
            deviation: None,
        })
    }

    pub(super) fn file(&mut self, found: Found) {
        let path = self.options.config_path.clone().unwrap_or_default();
        let path = path.display();
        match found {
            Found::Same => return,
            Found::Gone => {
                self.log(&format!("Configuration file '{path}' is gone: the director goes on with what it has read"));
                return;
            }
            Found::Back => {
                self.log(&format!("Configuration file '{path}' is there again"));
                return;
            }
            Found::Changed => {}
        }
        self.log(&format!("Configuration file '{path}' has changed on disk"));
        if self.config.global.autoreload {
            self.log(" - reread new configuration");
            self.load_file(false, None);
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
