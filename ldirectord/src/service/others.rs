//! The other directors of this machine, by the records that they keep ([`super::owned`]): what one of them keeps as well is not taken
//! away, and of two that have the same, the one that came first decides.

use super::owned::{Placed, Record, SUFFIX, started};
use super::state_file;
use base::ipvs::ServiceKey;
use policy::RealId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Records that are looked at.
const MAX_OTHERS: usize = 64;

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
    pub fn beside(own: Option<PathBuf>) -> Watch {
        Watch { own, read: BTreeMap::new() }
    }

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
        let Record { pid, started, placed } = state_file::read(path).ok()?;
        let seen = Seen { pid, started, placed: Arc::new(placed) };
        self.read.insert(path.to_owned(), (changed, bytes, seen.clone()));
        Some(seen)
    }
}
