//! The record of services that this director has placed in the table, kept in a file: what it has placed is its own until it is
//! certain that it is gone, over failed passes, reloads and restarts. And the records of other directors of this machine: what one of
//! them keeps as well is not taken away.

use super::log::Logger;
use base::ipvs::ServiceKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

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
    services: Vec<ServiceKey>,
}

#[derive(Default)]
pub struct Owned {
    path: Option<PathBuf>,
    noted: Option<BTreeSet<ServiceKey>>,
    /// What the last run has left.
    found: BTreeSet<ServiceKey>,
    /// Number of the newest state, and of the newest on disk.
    newest: u64,
    written: Arc<Mutex<u64>>,
}

impl Owned {
    /// The record beside the file `state`; blocking, at start.
    pub fn load(state: Option<&Path>, logger: &Logger) -> Owned {
        let Some(path) = state.map(|s| s.with_extension(SUFFIX)) else { return Owned::default() };
        let found = match read(&path) {
            Ok(record) => record.services.into_iter().collect(),
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
    pub fn note(&mut self, services: BTreeSet<ServiceKey>, logger: &Logger) {
        if self.noted.as_ref() != Some(&services)
            && let Some(write) = self.writing(services)
        {
            let logger = logger.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(why) = write() {
                    logger.log(&format!("Cannot write which services were placed: {why}"));
                }
            });
        }
    }

    /// What a stop has left in the table against its will.
    pub async fn last_word(&mut self, left: BTreeSet<ServiceKey>, logger: &Logger) {
        let Some(write) = self.writing(left) else { return };
        if let Ok(Err(why)) = tokio::task::spawn_blocking(write).await {
            logger.log(&format!("Cannot write which services are left: {why}"));
        }
    }

    fn writing(
        &mut self,
        services: BTreeSet<ServiceKey>,
    ) -> Option<impl FnOnce() -> std::io::Result<()> + Send + use<>> {
        let path = self.path.clone()?;
        self.newest += 1;
        let (number, written) = (self.newest, self.written.clone());
        self.noted = Some(services.clone());
        Some(move || {
            let mut written = written.lock().unwrap_or_else(|p| p.into_inner());
            if *written >= number {
                return Ok(());
            }
            *written = number;
            let pid = std::process::id();
            write(&path, &Record { pid, started: started(pid).unwrap_or(0), services: services.into_iter().collect() })
        })
    }

    /// What other directors that live on this machine keep; blocking.
    pub fn of_others(&self) -> BTreeSet<ServiceKey> {
        let Some(own) = &self.path else { return BTreeSet::new() };
        let Some(files) = own.parent().and_then(|dir| std::fs::read_dir(dir).ok()) else { return BTreeSet::new() };
        let paths = files.flatten().map(|f| f.path());
        let others = paths.filter(|p| p != own && p.extension().is_some_and(|e| e == SUFFIX)).take(MAX_OTHERS);
        let records = others.filter_map(|p| read(&p).ok());
        let living = records.filter(|r| r.started != 0 && started(r.pid) == Some(r.started));
        living.flat_map(|r| r.services).collect()
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
    if record.services.is_empty() {
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
