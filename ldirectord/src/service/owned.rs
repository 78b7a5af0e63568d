//! The record of what this director has placed in the table, kept in a file: it is its own until it is certain that it is gone, over
//! failed passes, reloads and restarts. Only this director writes it; those beside it read it ([`super::others`]).

use super::log::Logger;
use super::others::Watch;
use super::state_file::{StateFile, read};
use base::ipvs::ServiceKey;
use policy::{Plan, RealId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const SUFFIX: &str = "owned";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub pid: u32,
    /// When that process started, in the kernel's ticks: numbers of processes come again.
    pub started: u64,
    #[serde(flatten)]
    pub placed: Placed,
}

/// What a director has placed, or may have.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Placed {
    pub(super) services: BTreeSet<ServiceKey>,
    /// The servers of its configuration.
    #[serde(default)]
    pub(super) reals: BTreeSet<RealId>,
}

impl Placed {
    /// All of the plan, and services that are to go.
    pub fn of(plan: &Plan, dropped: &BTreeSet<ServiceKey>) -> Placed {
        Placed {
            services: plan.services().union(dropped).copied().collect(),
            reals: plan.ids().map(|(id, ..)| id).collect(),
        }
    }

    /// Services without their servers.
    pub fn services(services: BTreeSet<ServiceKey>) -> Placed {
        Placed { services, reals: BTreeSet::new() }
    }
}

#[derive(Default)]
pub struct Owned {
    file: Option<StateFile>,
    noted: Option<Placed>,
    /// What the last run has left.
    found: BTreeSet<ServiceKey>,
    /// The last try failed, and nobody has begun another.
    again: Arc<AtomicBool>,
    /// That it fails has been said.
    said: Arc<AtomicBool>,
}

impl Owned {
    /// The record beside the file `state`; blocking, at start.
    pub fn load(state: Option<&Path>, logger: &Logger) -> Owned {
        let Some(path) = state.map(|s| s.with_extension(SUFFIX)) else { return Owned::default() };
        let found = match read::<Record>(&path) {
            Ok(record) => record.placed.services,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(e) => {
                logger.log(&format!("Cannot read which services were placed from {}: {e}", path.display()));
                BTreeSet::new()
            }
        };
        Owned { file: Some(StateFile::at(path)), found, ..Owned::default() }
    }

    /// What an earlier run has placed, did not take away, and is not wanted any more.
    pub fn left(&self, wanted: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        self.found.difference(wanted).copied().collect()
    }

    /// Writes down what is placed now, if that is new.
    pub fn note(&mut self, placed: Placed, logger: &Logger) {
        if self.noted.as_ref() != Some(&placed) {
            self.noted = Some(placed);
            self.write_noted(logger);
        }
    }

    /// Tries again what the disk did not take; one try at a time, since a disk may hang, too.
    pub fn try_again(&mut self, logger: &Logger) {
        if self.again.swap(false, Ordering::Relaxed) {
            self.write_noted(logger);
        }
    }

    fn write_noted(&mut self, logger: &Logger) {
        let Some(write) = self.noted.clone().and_then(|placed| self.writing(placed)) else { return };
        let (logger, again, said) = (logger.clone(), self.again.clone(), self.said.clone());
        tokio::task::spawn_blocking(move || {
            let result = write();
            again.store(result.is_err(), Ordering::Relaxed);
            let before = said.swap(result.is_err(), Ordering::Relaxed);
            match result {
                Err(why) if !before => logger.log(&format!("Cannot write which services were placed: {why}")),
                Ok(()) if before => logger.log("Which services were placed is written down again"),
                _ => {}
            }
        });
    }

    /// What a stop has left in the table against its will.
    pub async fn last_word(&mut self, left: BTreeSet<ServiceKey>, logger: &Logger) {
        let Some(write) = self.writing(Placed::services(left)) else { return };
        if let Ok(Err(why)) = tokio::task::spawn_blocking(write).await {
            logger.log(&format!("Cannot write which services are left: {why}"));
        }
    }

    fn writing(&mut self, placed: Placed) -> Option<impl FnOnce() -> std::io::Result<()> + Send + use<>> {
        let pid = std::process::id();
        let record = Record { pid, started: started(pid).unwrap_or(0), placed };
        let placed = (!record.placed.services.is_empty()).then_some(record);
        self.file.as_mut().map(|file| file.next(placed))
    }

    /// For whoever looks at the others' records.
    pub fn watch(&self) -> Watch {
        Watch::beside(self.file.as_ref().map(|file| file.path().to_owned()))
    }
}

/// When a process began, in ticks since the machine did (`proc(5)`, field 22 of `stat`).
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
