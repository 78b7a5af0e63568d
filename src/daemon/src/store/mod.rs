//! What must outlive the process, in the state directory:
//!
//! ```text
//! cib.xml              -> cib.N.xml, the newest generation, for people
//! cib.N.xml            generation N: readable XML, without the status section
//! cib.N.sha256         its digest and lineage; written after it, so a generation without one was never finished
//! discarded/*.xml      content that lost at a merge
//! ring_seq             ring numbers below this may have been used
//! ```
//!
//! Every file is written as temporary file, fsync, rename, fsync of the directory. Only [`Store`] writes here.

mod disk;

#[cfg(test)]
mod tests;

pub use disk::{Disk, Real};

use std::io;
use std::path::{Path, PathBuf};

/// Finished generations that are kept.
pub const KEEP_GENERATIONS: usize = 10;
/// Files of discarded content that are kept; the oldest goes first.
pub const MAX_DISCARDED: usize = 100;
/// Ring numbers reserved on disk at a time, so that forming a ring need not wait for a disk.
pub const RING_SEQ_BLOCK: u64 = 1024;
/// A CIB file larger than this is not read.
const MAX_CIB_FILE_BYTES: u64 = 64 << 20;

/// Why something could not be stored or read. `step` says what was tried.
#[derive(Debug, thiserror::Error)]
#[error("{}: {step}: {error}", .file.display())]
pub struct StoreError {
    pub file: PathBuf,
    pub step: &'static str,
    pub error: io::Error,
}

/// What a start finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// XML text and lineage of the newest intact generation.
    pub cib: Option<(String, String)>,
    pub generation: u64,
    pub ring_seq: u64,
    /// Damage that was passed over, for a loud log.
    pub damage: Vec<String>,
}

/// The state directory. One per process; see [`Store::open`].
#[derive(Debug)]
pub struct Store<D: Disk = Real> {
    dir: PathBuf,
    disk: D,
    generation: u64,
}

impl Store<Real> {
    /// Opens (and makes) the directory and reads what is there.
    pub fn open(dir: &Path) -> Result<(Store<Real>, Loaded), StoreError> {
        Store::with_disk(dir, Real)
    }
}

impl<D: Disk> Store<D> {
    pub(crate) fn with_disk(dir: &Path, disk: D) -> Result<(Store<D>, Loaded), StoreError> {
        let fail = |file: PathBuf, step| move |error| StoreError { file, step, error };
        std::fs::create_dir_all(dir.join("discarded")).map_err(fail(dir.to_path_buf(), "making the directory"))?;
        let mut loaded = Loaded::default();
        let generations = generations(dir).map_err(fail(dir.to_path_buf(), "reading the directory"))?;
        for number in generations.iter().rev() {
            match read_generation(dir, *number) {
                Ok(found) => {
                    loaded.cib = Some(found);
                    break;
                }
                Err(problem) => loaded.damage.push(problem),
            }
        }
        if generations.is_empty() {
            loaded.cib = imported(dir, &mut loaded.damage);
        }
        // A damaged newer generation is never written over: it is evidence.
        loaded.generation = generations.last().copied().unwrap_or(0);
        loaded.ring_seq = read_number(&dir.join("ring_seq"), &mut loaded.damage);
        Ok((Store { dir: dir.to_path_buf(), disk, generation: loaded.generation }, loaded))
    }

    /// Writes the next generation; on an error the former one is intact.
    pub fn save_cib(&mut self, xml: &str, lineage: &str) -> Result<u64, StoreError> {
        let number = self.generation + 1;
        // Even a failed attempt uses its number up, so that no name is ever written twice.
        self.generation = number;
        let name = format!("cib.{number}.xml");
        self.write(&name, xml.as_bytes())?;
        let sidecar = format!("sha256 {}\nlineage {lineage}\n", digest(xml, lineage));
        self.write(&format!("cib.{number}.sha256"), sidecar.as_bytes())?;
        self.disk
            .link_to(&name, &self.dir.join("cib.xml.tmp"), &self.dir.join("cib.xml"))
            .map_err(self.error("cib.xml", "linking"))?;
        self.disk.sync_dir(&self.dir).map_err(self.error("", "syncing the directory"))?;
        self.prune();
        Ok(number)
    }

    /// Keeps what lost at a merge; returns the file.
    pub fn save_discarded(&mut self, stamp: &str, xml: &str) -> Result<PathBuf, StoreError> {
        let mut number = 0;
        let name = loop {
            let name = format!("discarded/{stamp}-{number}.xml");
            if !self.dir.join(&name).exists() {
                break name;
            }
            number += 1;
        };
        self.write(&name, xml.as_bytes())?;
        let mut all = names(&self.dir.join("discarded"));
        all.sort();
        for old in all.iter().take(all.len().saturating_sub(MAX_DISCARDED)) {
            let _ = self.disk.remove(&self.dir.join("discarded").join(old));
        }
        Ok(self.dir.join(name))
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        write(&mut self.disk, &self.dir, name, bytes)
    }

    fn error(&self, name: &str, step: &'static str) -> impl FnOnce(io::Error) -> StoreError + use<D> {
        let file = self.dir.join(name);
        move |error| StoreError { file, step, error }
    }

    /// Old generations and their digests; errors here lose nothing.
    fn prune(&mut self) {
        let Ok(all) = generations(&self.dir) else { return };
        for number in all.iter().take(all.len().saturating_sub(KEEP_GENERATIONS)) {
            let _ = self.disk.remove(&self.dir.join(format!("cib.{number}.sha256")));
            let _ = self.disk.remove(&self.dir.join(format!("cib.{number}.xml")));
        }
    }
}

/// Reserves ring numbers up to the returned one. Its file is the ring thread's own, apart from [`Store`].
pub fn reserve_ring_seq(dir: &Path, seq: u64) -> Result<u64, StoreError> {
    let reserved = seq.saturating_add(RING_SEQ_BLOCK);
    write(&mut Real, dir, "ring_seq", format!("{reserved}\n").as_bytes())?;
    Ok(reserved)
}

/// Flags of the quorum rules, kept in the run directory: for the present boot of the machine, so that a restarted daemon
/// does not wait for all nodes once more, but a rebooted machine does.
pub fn save_quorum(run_dir: &Path, flags: quorum::Persisted) -> Result<(), StoreError> {
    let file = run_dir.join("quorum.json");
    let text = serde_json::to_vec(&flags).map_err(|e| StoreError { file, step: "encoding", error: e.into() })?;
    write(&mut Real, run_dir, "quorum.json", &text)
}

/// What [`save_quorum`] wrote, or nothing known.
pub fn load_quorum(run_dir: &Path) -> quorum::Persisted {
    let bytes = std::fs::read(run_dir.join("quorum.json")).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Temporary file, fsync, rename, fsync of the directory.
fn write(disk: &mut impl Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let file = dir.join(name);
    let temporary = dir.join(format!("{name}.tmp"));
    let error = |step| {
        let file = file.clone();
        move |error| StoreError { file, step, error }
    };
    disk.write(&temporary, bytes).map_err(error("writing"))?;
    disk.rename(&temporary, &file).map_err(error("renaming"))?;
    let parent = file.parent().unwrap_or(dir).to_path_buf();
    disk.sync_dir(&parent).map_err(error("syncing the directory"))
}

/// SHA-256 over document and lineage, in hexadecimal.
fn digest(xml: &str, lineage: &str) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(xml.as_bytes());
    context.update(b"\0");
    context.update(lineage.as_bytes());
    context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}

/// Numbers of all generations, finished or not, ascending.
fn generations(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix("cib.")?.strip_suffix(".xml")?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// An intact generation, or what is wrong with it.
fn read_generation(dir: &Path, number: u64) -> Result<(String, String), String> {
    let file = dir.join(format!("cib.{number}.xml"));
    let sidecar = dir.join(format!("cib.{number}.sha256"));
    let read = |path: &Path| {
        crate::config::read_bounded(path, MAX_CIB_FILE_BYTES)
            .and_then(|b| String::from_utf8(b).map_err(io::Error::other))
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    let xml = read(&file)?;
    let beside = read(&sidecar).map_err(|e| format!("{e}: this generation was never finished"))?;
    let field = |name: &str| beside.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    let (Some(expected), Some(lineage)) = (field("sha256"), field("lineage")) else {
        return Err(format!("{}: expected lines `sha256 …` and `lineage …`", sidecar.display()));
    };
    let found = digest(&xml, lineage);
    if found != expected {
        return Err(format!(
            "{}: expected digest {expected}, found {found}: damaged or edited by hand; an older generation is used (changes are made with cibadmin)",
            file.display()
        ));
    }
    Ok((xml, lineage.to_owned()))
}

/// A `cib.xml` that the operator put into an empty state directory.
fn imported(dir: &Path, damage: &mut Vec<String>) -> Option<(String, String)> {
    let file = dir.join("cib.xml");
    if !file.is_file() {
        return None;
    }
    let text = crate::config::read_bounded(&file, MAX_CIB_FILE_BYTES)
        .and_then(|b| String::from_utf8(b).map_err(io::Error::other));
    match text {
        Ok(xml) => Some((xml, String::new())),
        Err(error) => {
            damage.push(format!("{}: {error}", file.display()));
            None
        }
    }
}

fn read_number(file: &Path, damage: &mut Vec<String>) -> u64 {
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().unwrap_or_else(|_| {
            damage.push(format!("{}: expected a number, found `{}`", file.display(), text.trim()));
            0
        }),
        Err(_) => 0,
    }
}
