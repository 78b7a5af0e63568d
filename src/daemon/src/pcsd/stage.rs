//! Files of the cluster in two steps: staged (written beside their places, synced, checked), then committed (renamed).
//!
//! One change at a time. What was staged is on record on disk: a commit that had begun is brought to its end at the next start,
//! anything else is cleared away.

use super::lists;
use crate::config::{self, Allow, Local, MAX_KEY_BYTES, MIN_KEY_BYTES, Severity};
use kernel::service::Service;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Error, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wire::pcsd::{Expect, FileBody, Kind, KnownHost, Places, STAGED_AT_MOST_S, Stage, is_plain, sha256};

const RECORD: &str = "transaction";
const MAX_FILES: usize = 64;

pub struct Desk {
    places: Places,
    open: Option<(Record, Instant)>,
    /// The last one that was committed: to be asked again is no fault.
    last: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Record {
    transaction: String,
    by: String,
    /// From here on there is no way back.
    committing: bool,
    files: Vec<Staged>,
    /// Hosts that the change makes known.
    hosts: BTreeMap<String, KnownHost>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Staged {
    to: PathBuf,
    staged: PathBuf,
    sha256: String,
}

impl Desk {
    /// Ends or clears away what an earlier process left.
    pub fn open(places: Places) -> Desk {
        let desk = Desk { places, open: None, last: None };
        let path = desk.record();
        let left = kernel::files::read_regular(&path, 1024 * 1024).ok();
        if let Some(record) = left.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok()) {
            match record.committing {
                true => match desk.carry_out(&record) {
                    Ok(()) => tracing::info!("change {}: brought to its end", record.transaction),
                    Err(why) => tracing::error!("change {}: {why}", record.transaction),
                },
                false => desk.clear(&record),
            }
        }
        desk
    }

    fn record(&self) -> PathBuf {
        self.places.pcsd.join(RECORD)
    }

    pub fn stage(&mut self, call: &Stage, by: &str, service: &Service) -> Result<String, String> {
        if !is_plain(&call.transaction) || call.files.is_empty() || call.files.len() > MAX_FILES {
            return Err("expected a name for the change, and one to 64 files".to_owned());
        }
        self.give_up_old();
        if let Some((open, since)) = self.open.as_ref().filter(|(open, _)| open.transaction != call.transaction) {
            return Err(format!(
                "another change ({}) of {} is under way for {} s: try again in a moment",
                open.transaction,
                open.by,
                since.elapsed().as_secs()
            ));
        }
        self.expected(&call.expect, service)?;
        let mut record = Record {
            transaction: call.transaction.clone(),
            by: by.to_owned(),
            committing: false,
            files: Vec::new(),
            hosts: BTreeMap::new(),
        };
        let staged = call.files.iter().try_for_each(|file| self.stage_one(file, &mut record));
        if let Err(why) = staged.and_then(|()| self.write(&record)) {
            self.clear(&record);
            self.open = None;
            return Err(why);
        }
        self.open = Some((record, Instant::now()));
        Ok("staged".to_owned())
    }

    fn stage_one(&self, file: &FileBody, record: &mut Record) -> Result<(), String> {
        let content = file.bytes()?;
        let (to, mode) = match file.kind {
            Kind::CorosyncConf => (self.places.conf.clone(), 0o644),
            Kind::Authkey => (self.places.authkey.clone(), 0o400),
            Kind::Cib => (self.places.state_dir.join("cib.xml"), 0o600),
            // Passwords of checks may stand in it.
            Kind::Director if is_plain(&file.name) => (self.places.directors.join(&file.name), 0o600),
            Kind::Director => return Err(format!("'{}' is no name of a file of a director", file.name.escape_debug())),
            Kind::Hosts => {
                let hosts = serde_json::from_slice(&content).map_err(|e| format!("known-hosts: {e}"))?;
                wire::pcsd::check_hosts(&hosts).map_err(|e| format!("known-hosts: {e}"))?;
                record.hosts = hosts;
                return Ok(());
            }
        };
        if file.kind == Kind::Authkey && !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&content.len()) {
            return Err(format!("authkey: expected {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, found {}", content.len()));
        }
        // Behind a link the file itself is replaced; that of a CIB leads to a generation, which stays what it is.
        let to = if file.kind == Kind::Cib { to } else { std::fs::canonicalize(&to).unwrap_or(to) };
        let mut beside = to.as_os_str().to_owned();
        beside.push(".staged");
        let staged = Staged { to, staged: PathBuf::from(beside), sha256: file.sha256.clone() };
        record.files.push(staged.clone());
        put(&staged.staged, &content, mode).map_err(|e| format!("{}: {e}", staged.staged.display()))?;
        if file.kind == Kind::CorosyncConf {
            acceptable(&staged.staged)?;
        }
        if file.kind == Kind::Director {
            ldirectord::service::load(&staged.staged).map_err(|e| format!("{}: {e}", file.name))?;
        }
        if file.kind == Kind::Cib {
            acceptable_cib(&content)?;
        }
        Ok(())
    }

    fn expected(&self, expect: &Expect, service: &Service) -> Result<(), String> {
        match expect {
            Expect::Anything => Ok(()),
            Expect::Stopped if service.is_running() => Err("the node runs: 'pcs cluster stop --all' first".to_owned()),
            Expect::Stopped => Ok(()),
            Expect::NoCluster => match configured(&self.places).as_slice() {
                _ if service.is_running() => Err("the host is in a cluster that runs".to_owned()),
                [] => Ok(()),
                there => Err(format!("the host is part of a cluster: {} is there", there.join(" and "))),
            },
            Expect::Conf(digest) => match conf_digest(&self.places) {
                Some(found) if found == *digest => Ok(()),
                Some(_) => Err("its corosync.conf is another one than where the command runs".to_owned()),
                None => Err("it has no corosync.conf".to_owned()),
            },
        }
    }

    pub fn commit(&mut self, transaction: &str) -> Result<String, String> {
        if self.last.as_deref() == Some(transaction) {
            return Ok("committed".to_owned());
        }
        self.give_up_old();
        let Some((mut record, since)) = self.open.clone().filter(|(open, _)| open.transaction == transaction) else {
            return Err(format!("change {transaction} is not staged here (any more)"));
        };
        for file in record.files.iter().filter(|f| f.staged.exists()) {
            let bytes = kernel::files::read_regular(&file.staged, config::MAX_FILE_BYTES);
            let bytes = bytes.map_err(|e| format!("{}: {e}", file.staged.display()))?;
            if sha256(&bytes) != file.sha256 {
                return Err(format!("{}: it is no longer what was staged", file.staged.display()));
            }
        }
        record.committing = true;
        self.write(&record)?;
        self.open = Some((record.clone(), since));
        self.carry_out(&record)?;
        (self.open, self.last) = (None, Some(transaction.to_owned()));
        Ok("committed".to_owned())
    }

    /// Each step can be made twice.
    fn carry_out(&self, record: &Record) -> Result<(), String> {
        if !record.hosts.is_empty() {
            lists::take(&self.places.pcsd, &record.hosts, &record.by)?;
        }
        for file in record.files.iter().filter(|f| f.staged.exists()) {
            let placed = match file.to == self.places.state_dir.join("cib.xml") {
                true => kernel::state::place_cib(&self.places.state_dir, &file.staged),
                false => std::fs::rename(&file.staged, &file.to),
            };
            placed.map_err(|e| format!("{}: {e}", file.to.display()))?;
            sync_dir(&file.to);
        }
        std::fs::remove_file(self.record()).map_err(|e| format!("{}: {e}", self.record().display()))
    }

    pub fn abort(&mut self, transaction: &str) -> Result<String, String> {
        match self.open.take() {
            Some((record, since)) if record.transaction != transaction || record.committing => {
                self.open = Some((record, since));
                Ok("not this change".to_owned())
            }
            Some((record, _)) => {
                self.clear(&record);
                Ok("aborted".to_owned())
            }
            None => Ok("nothing staged".to_owned()),
        }
    }

    fn give_up_old(&mut self) {
        let limit = Duration::from_secs(STAGED_AT_MOST_S);
        if let Some((record, _)) = self.open.take_if(|(r, since)| since.elapsed() > limit && !r.committing) {
            tracing::warn!("change {} of {}: neither committed nor aborted, given up", record.transaction, record.by);
            self.clear(&record);
        }
    }

    fn clear(&self, record: &Record) {
        record.files.iter().for_each(|f| drop(std::fs::remove_file(&f.staged)));
        let _ = std::fs::remove_file(self.record());
    }

    fn write(&self, record: &Record) -> Result<(), String> {
        let text = serde_json::to_vec(record).map_err(|e| e.to_string())?;
        let path = self.record();
        kernel::files::replace(&path, &text, 0o600).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// Files of a cluster that are there.
pub fn configured(places: &Places) -> Vec<String> {
    let cib = std::fs::read_dir(&places.state_dir).into_iter().flatten().flatten();
    let cib = cib.filter_map(|e| e.file_name().into_string().ok()).any(|n| n.starts_with("cib."));
    let there = [(places.conf.exists(), "corosync.conf"), (cib, "a CIB")];
    there.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned()).collect()
}

pub fn conf_digest(places: &Places) -> Option<String> {
    kernel::files::read_regular(&places.conf, config::MAX_FILE_BYTES).ok().map(|bytes| sha256(&bytes))
}

/// Whether the node would start with this file, as far as the file is at fault.
fn acceptable(file: &Path) -> Result<(), String> {
    let reading = config::load(file, Allow { unauthenticated: false });
    let mut wrong: Vec<String> =
        reading.findings.iter().filter(|f| f.severity == Severity::Refused).map(ToString::to_string).collect();
    if let Some(config) = reading.config.as_ref().filter(|_| wrong.is_empty())
        && let Err(findings) = config::resolve(config, &Local::of_this_host(None))
    {
        wrong.extend(findings.iter().map(ToString::to_string));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }
}

/// Whether the node would begin with it.
fn acceptable_cib(content: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(content).map_err(|e| format!("cib.xml: {e}"))?;
    cib::Cib::parse(text).map(drop).map_err(|e| format!("cib.xml: {e}"))
}

/// Written as a whole and on the disk, with its room taken, or not there.
fn put(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let dir = path.parent().ok_or_else(|| Error::other("no directory"))?;
    if !dir.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    sync_dir(path);
    Ok(())
}

fn sync_dir(path: &Path) {
    // The file itself is synced; a directory that cannot be is no reason to stop half-way.
    let _ = path.parent().map(|dir| std::fs::File::open(dir).and_then(|d| d.sync_all()));
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
