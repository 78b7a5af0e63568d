//! One resource's director, in whatever role it is.

use super::outbox::Outbox;
use ldirectord::service::{Director, LoadError, RealId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

/// Reading a changed file may resolve names; longer than this, and the former content is used.
const RELOAD_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Slot {
    pub resource: String,
    pub state: Mutex<State>,
}

/// What is known of a resource, and what runs.
pub(super) struct State {
    pub config: PathBuf,
    pub warm: bool,
    /// Acts on the health that all active directors agree on.
    pub agrees: bool,
    pub running: Option<Running>,
    pub outbox: Outbox,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Checks, and leaves the table alone.
    Standby,
    /// Keeps the table for an address that has come here; the cluster has not started it yet.
    Primed,
    Active,
}

pub(super) struct Running {
    pub director: Director,
    pub role: Role,
    /// Addresses that have primed it.
    pub primed_for: BTreeSet<IpAddr>,
    /// What it was last told that is agreed on.
    pub agreed: BTreeMap<RealId, bool>,
    stamp: Option<Stamp>,
}

/// By what a change of a file is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(path: &Path) -> Option<Stamp> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Stamp { inode: meta.ino(), len: meta.len(), changed: (meta.ctime(), meta.ctime_nsec()) })
    }
}

impl Slot {
    pub fn new(resource: &str) -> Slot {
        let state =
            State { config: PathBuf::new(), warm: true, agrees: false, running: None, outbox: Outbox::default() };
        Slot { resource: resource.to_owned(), state: Mutex::new(state) }
    }
}

impl Running {
    /// `news` hears of each change of what the director knows.
    pub fn new(director: Director, stamp: Option<Stamp>, role: Role, news: Arc<Notify>) -> Running {
        let mut changes = director.changes();
        // Ends with the director.
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                news.notify_one();
            }
        });
        Running { director, role, primed_for: BTreeSet::new(), agreed: BTreeMap::new(), stamp }
    }

    /// Reads the file if it has changed since. An error leaves everything as it was.
    pub async fn follow_file(&mut self, path: &Path) -> Result<(), LoadError> {
        let now = Stamp::of(path);
        if now.is_some() && now == self.stamp {
            return Ok(());
        }
        let reload = tokio::time::timeout(RELOAD_LIMIT, self.director.reload_file()).await;
        reload.unwrap_or_else(|_| {
            let why = format!("not read within {} s", RELOAD_LIMIT.as_secs());
            Err(LoadError::Read { path: path.to_owned(), why })
        })?;
        self.stamp = now;
        Ok(())
    }
}
