//! The record of what this director has placed in the table, kept in a file: it is its own until it is certain that it is gone, over
//! failed passes, reloads and restarts. And the records of other directors of this machine: what one of them keeps as well is not taken
//! away, and of two that have the same, the one that came first decides.

use super::log::Logger;
use base::ipvs::ServiceKey;
use policy::{Plan, RealId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Largest record that is read.
const MAX_BYTES: u64 = 64 << 20;
/// Records of other directors that are looked at.
const MAX_OTHERS: usize = 64;
const SUFFIX: &str = "owned";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Record {
    pid: u32,
    /// When that process started, in the kernel's ticks: numbers of processes come again.
    started: u64,
    #[serde(flatten)]
    placed: Placed,
}

/// What a director has placed, or may have.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Placed {
    services: BTreeSet<ServiceKey>,
    /// The servers of its configuration.
    #[serde(default)]
    reals: BTreeSet<RealId>,
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
    path: Option<PathBuf>,
    noted: Option<Placed>,
    /// What the last run has left.
    found: BTreeSet<ServiceKey>,
    /// Number of the newest state, and of the newest on disk.
    newest: u64,
    written: Arc<Mutex<u64>>,
    /// The newest is not on disk, and why has been said.
    failed: Arc<AtomicBool>,
}

impl Owned {
    /// The record beside the file `state`; blocking, at start.
    pub fn load(state: Option<&Path>, logger: &Logger) -> Owned {
        let Some(path) = state.map(|s| s.with_extension(SUFFIX)) else { return Owned::default() };
        let found = match read(&path) {
            Ok(record) => record.placed.services,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(e) => {
                logger.log(&format!("Cannot read which services were placed from {}: {e}", path.display()));
                BTreeSet::new()
            }
        };
        Owned { path: Some(path), found, ..Owned::default() }
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

    /// Tries again what the disk did not take.
    pub fn try_again(&mut self, logger: &Logger) {
        if self.failed.load(Ordering::Relaxed) {
            self.write_noted(logger);
        }
    }

    fn write_noted(&mut self, logger: &Logger) {
        let Some(write) = self.noted.clone().and_then(|placed| self.writing(placed)) else { return };
        let (logger, failed) = (logger.clone(), self.failed.clone());
        tokio::task::spawn_blocking(move || {
            let result = write();
            let before = failed.swap(result.is_err(), Ordering::Relaxed);
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
        let path = self.path.clone()?;
        self.newest += 1;
        let (number, written) = (self.newest, self.written.clone());
        Some(move || {
            let mut written = written.lock().unwrap_or_else(|p| p.into_inner());
            if *written >= number {
                return Ok(());
            }
            let pid = std::process::id();
            write(&path, &Record { pid, started: started(pid).unwrap_or(0), placed })?;
            *written = number;
            Ok(())
        })
    }

    /// For whoever looks at the others' records.
    pub fn watch(&self) -> Watch {
        Watch { own: self.path.clone(), read: BTreeMap::new() }
    }
}

/// One other director of this machine, living.
#[derive(Clone, PartialEq, Debug)]
struct Other {
    name: String,
    pid: u32,
    /// Whether it came before this one.
    earlier: bool,
    placed: Arc<Placed>,
}

/// The other directors of this machine that live.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Others(Vec<Other>);

impl Others {
    pub fn keep(&self, service: &ServiceKey) -> bool {
        self.0.iter().any(|o| o.placed.services.contains(service))
    }

    pub fn keep_real(&self, id: &RealId) -> bool {
        self.0.iter().any(|o| o.placed.reals.contains(id))
    }

    /// Whether one that came first has this service, and its settings count.
    pub fn decide(&self, service: &ServiceKey) -> bool {
        self.0.iter().any(|o| o.earlier && o.placed.services.contains(service))
    }

    pub fn decide_real(&self, id: &RealId) -> bool {
        self.0.iter().any(|o| o.earlier && o.placed.reals.contains(id))
    }

    /// Who shares which of these services, a line for each director.
    pub fn shared(&self, own: &BTreeSet<ServiceKey>) -> Vec<String> {
        let told = |o: &Other| {
            let mut both = o.placed.services.intersection(own);
            let first = crate::config::service_label(both.next()?);
            let more = both.count();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let decides = if o.earlier { "it" } else { "this one" };
            Some(format!(
                "{first}{more}: also served by director {} (process {}); each keeps its own servers, and where both say something, \
                 {decides} came first and decides",
                o.name, o.pid
            ))
        };
        self.0.iter().filter_map(told).collect()
    }
}

/// Reads the records of others, each once for every change of it.
pub struct Watch {
    own: Option<PathBuf>,
    read: BTreeMap<PathBuf, (SystemTime, u64, Seen)>,
}

/// Who wrote a record and what it says.
#[derive(Clone)]
struct Seen {
    pid: u32,
    started: u64,
    placed: Arc<Placed>,
}

impl Watch {
    /// Blocking.
    pub fn look(&mut self) -> Others {
        let Some(own) = self.own.clone() else { return Others::default() };
        let Some(files) = own.parent().and_then(|dir| std::fs::read_dir(dir).ok()) else { return Others::default() };
        let paths = files.flatten().map(|f| f.path());
        let paths: Vec<PathBuf> =
            paths.filter(|p| *p != own && p.extension().is_some_and(|e| e == SUFFIX)).take(MAX_OTHERS).collect();
        self.read.retain(|path, _| paths.contains(path));
        let pid = std::process::id();
        let me = (started(pid).unwrap_or(0), pid, &own);
        let living = paths.iter().filter_map(|path| {
            let seen = self.seen(path)?;
            let lives = seen.started != 0 && started(seen.pid) == Some(seen.started);
            lives.then(|| Other {
                name: path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
                pid: seen.pid,
                earlier: (seen.started, seen.pid, path) < me,
                placed: seen.placed,
            })
        });
        Others(living.collect())
    }

    fn seen(&mut self, path: &Path) -> Option<Seen> {
        let about = std::fs::metadata(path).ok()?;
        let (changed, bytes) = (about.modified().ok()?, about.len());
        if let Some((at, length, seen)) = self.read.get(path)
            && (*at, *length) == (changed, bytes)
        {
            return Some(seen.clone());
        }
        let Record { pid, started, placed } = read(path).ok()?;
        let seen = Seen { pid, started, placed: Arc::new(placed) };
        self.read.insert(path.to_owned(), (changed, bytes, seen.clone()));
        Some(seen)
    }
}

fn read(path: &Path) -> std::io::Result<Record> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(std::io::Error::other(format!("more than {MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Whole or not at all; nothing placed, no file.
fn write(path: &Path, record: &Record) -> std::io::Result<()> {
    if record.placed.services.is_empty() {
        return match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("owned.new");
    std::fs::write(&new, serde_json::to_vec(record)?)?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, path)
}

/// When a process began, in ticks since the machine did (`proc(5)`, field 22 of `stat`).
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
