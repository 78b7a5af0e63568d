//! What must outlive the process, in the state directory:
//!
//! ```text
//! cib.xml              -> cib.N.xml, the newest generation, for people
//! cib.N.xml            generation N: readable XML, without the status section
//! cib.N.sha256         its digest and lineage; written after it, so a generation without one was never finished
//! discarded/*.xml      content that lost at a merge
//! ring_seq             ring numbers below this may have been used
//! format               which form all of this has, and the program that wrote it
//! ```
//!
//! Every file is written as temporary file, fsync, rename, fsync of the directory. Only [`Store`] writes here, and only on
//! the keeper's thread (`node::keep`): nobody else waits for this disk.

mod disk;

#[cfg(test)]
mod tests;

pub use disk::{Disk, Real};

use cib::Lineage;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Form of what is here; a program refuses one above its own.
///
/// | form | brought |
/// |---|---|
/// | 1 | all of the above |
pub const FORMAT: u32 = 1;
/// Finished generations that are kept.
pub const KEEP_GENERATIONS: usize = 10;
/// Files of discarded content that are kept; the oldest goes first.
pub const MAX_DISCARDED: usize = 100;
/// Ring numbers reserved on disk at a time, so that forming a ring need not wait for a disk.
pub const RING_SEQ_BLOCK: u64 = 1024;
/// Ring numbers beyond this are not believed, here or by the ring.
pub const MAX_RING_SEQ: u64 = totem::MAX_STORED_RING_SEQ;
/// Generations beyond this are no work of ours: a year of a write each microsecond does not get there.
const MAX_GENERATION: u64 = 1 << 50;
/// A CIB file larger than this is not read.
const MAX_CIB_FILE_BYTES: u64 = 64 << 20;
/// Ring numbers a second for a node that has to take one from the clock: more than rings can be formed.
const CLOCK_RINGS_PER_SEC: u64 = 256;

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
    /// There was a CIB, and nothing of it can be read: this node has no content, which is not the same as an empty one.
    pub lost: bool,
    pub generation: u64,
    /// Ring numbers below this may have been used; `None` if the file cannot be believed.
    pub ring_seq: Option<u64>,
    /// The program that wrote this, if it is one whose form this program does not know.
    pub newer: Option<String>,
    /// Damage that was passed over, for a loud log.
    pub damage: Vec<String>,
}

impl Loaded {
    /// The ring number to go on from. Where the file does not tell, one from the clock is above all that were ever used,
    /// unless the clock was set back: then the other nodes' numbers help, which a node learns before it forms a ring.
    pub fn first_ring_seq(&self, wall: base::WallTime) -> u64 {
        let line = self.cib.as_ref().and_then(|(_, l)| Lineage::parse(l.split_whitespace().next()?));
        let known = line.map_or(0, |l| l.view_seq).min(MAX_RING_SEQ);
        self.ring_seq.unwrap_or_else(|| ring_seq_of_clock(wall)).max(known)
    }
}

/// A ring number that no earlier life has used, if the clock has not been set back.
pub fn ring_seq_of_clock(wall: base::WallTime) -> u64 {
    u64::try_from(wall.secs()).unwrap_or(0).saturating_mul(CLOCK_RINGS_PER_SEC)
}

/// The state directory. One per process; see [`Store::open`].
#[derive(Debug)]
pub struct Store<D: Disk = Real> {
    dir: PathBuf,
    disk: D,
    generation: u64,
    /// Generations that were found damaged: kept as evidence.
    damaged: BTreeSet<u64>,
    /// Directories are there, leftovers of a crash are gone.
    prepared: bool,
}

impl Store<Real> {
    /// Reads what is there, and writes nothing: a disk that is full, read-only or hangs is no reason not to start.
    pub fn open(dir: &Path) -> (Store<Real>, Loaded) {
        Store::with_disk(dir, Real::new())
    }
}

impl<D: Disk> Store<D> {
    pub(crate) fn with_disk(dir: &Path, disk: D) -> (Store<D>, Loaded) {
        let mut loaded = Loaded { newer: newer(dir), ..Loaded::default() };
        let generations = generations(dir).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                loaded.damage.push(format!("{}: {error}", dir.display()));
                loaded.lost = true;
            }
            Vec::new()
        });
        let mut damaged = BTreeSet::new();
        for number in generations.iter().rev() {
            match read_generation(dir, *number) {
                Ok(found) => {
                    loaded.cib = Some(found);
                    break;
                }
                Err(problem) => {
                    damaged.insert(*number);
                    loaded.damage.push(problem);
                }
            }
        }
        if generations.is_empty() {
            loaded.cib = imported(dir, &mut loaded);
        }
        // A first write that a crash cut short is no loss.
        let lived = generations.iter().any(|n| *n > 1 || dir.join(format!("cib.{n}.sha256")).exists());
        loaded.lost |= loaded.cib.is_none() && lived;
        // A damaged newer generation is never written over: it is evidence.
        loaded.generation = generations.last().copied().unwrap_or(0);
        loaded.ring_seq = read_ring_seq(dir, !generations.is_empty() || loaded.lost, &mut loaded.damage);
        let store = Store { dir: dir.to_path_buf(), disk, generation: loaded.generation, damaged, prepared: false };
        (store, loaded)
    }

    /// Writes the next generation; on an error the former one is intact, and nothing of the new one is left.
    pub fn save_cib(&mut self, xml: &str, lineage: &str) -> Result<u64, StoreError> {
        self.prepare()?;
        let number = self.generation + 1;
        // Even a failed attempt uses its number up, so that no name is ever written twice.
        self.generation = number;
        let name = format!("cib.{number}.xml");
        let beside = format!("cib.{number}.sha256");
        let sidecar = format!("sha256 {}\nlineage {lineage}\n", digest(xml, lineage));
        let written = self.write(&name, xml.as_bytes()).and_then(|()| self.write(&beside, sidecar.as_bytes()));
        if let Err(error) = written {
            // Half a generation would fill a full disk further.
            let _ = self.disk.remove(&self.dir.join(beside));
            let _ = self.disk.remove(&self.dir.join(name));
            return Err(error);
        }
        let temporary = self.dir.join("cib.xml.tmp");
        let linked = self.disk.link_to(&name, &temporary, &self.dir.join("cib.xml"));
        if linked.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        linked.map_err(self.error("cib.xml", "linking"))?;
        self.disk.sync_dir(&self.dir).map_err(self.error("", "syncing the directory"))?;
        self.prune();
        Ok(number)
    }

    /// Keeps what lost at a merge; returns the file.
    pub fn save_discarded(&mut self, stamp: &str, xml: &str) -> Result<PathBuf, StoreError> {
        self.prepare()?;
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

    /// Reserves ring numbers up to the returned one.
    pub fn reserve_ring_seq(&mut self, seq: u64) -> Result<u64, StoreError> {
        self.prepare()?;
        let reserved = seq.saturating_add(RING_SEQ_BLOCK);
        self.write("ring_seq", format!("{reserved}\n").as_bytes())?;
        Ok(reserved)
    }

    /// Makes the directories and takes away what a crash has left half written.
    fn prepare(&mut self) -> Result<(), StoreError> {
        if self.prepared {
            return Ok(());
        }
        for dir in [self.dir.clone(), self.dir.join("discarded")] {
            let fail = |step| {
                let file = dir.clone();
                move |error| StoreError { file, step, error }
            };
            self.disk.make_dir(&dir).map_err(fail("making the directory"))?;
            for name in names(&dir).iter().filter(|n| n.ends_with(".tmp")) {
                self.disk.remove(&dir.join(name)).map_err(fail("removing what a crash has left"))?;
            }
        }
        let format = crate::config::read_bounded(&self.dir.join("format"), 256).unwrap_or_default();
        if !format.starts_with(format!("{FORMAT} ").as_bytes()) {
            self.write("format", format!("{FORMAT} bascule {}\n", env!("CARGO_PKG_VERSION")).as_bytes())?;
        }
        self.prepared = true;
        Ok(())
    }

    /// Temporary file, fsync, rename, fsync of the directory.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.tmp"));
        let placed = self.disk.write(&temporary, bytes).map_err(self.error(name, "writing"));
        let placed = placed.and_then(|()| self.disk.rename(&temporary, &file).map_err(self.error(name, "renaming")));
        if placed.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        placed?;
        let parent = file.parent().unwrap_or(&self.dir).to_path_buf();
        self.disk.sync_dir(&parent).map_err(self.error(name, "syncing the directory"))
    }

    fn error(&self, name: &str, step: &'static str) -> impl FnOnce(io::Error) -> StoreError + use<D> {
        let file = self.dir.join(name);
        move |error| StoreError { file, step, error }
    }

    /// Old generations and their digests, and unfinished ones among them; errors here lose nothing.
    fn prune(&mut self) {
        let Ok(all) = generations(&self.dir) else { return };
        let finished: Vec<u64> =
            all.iter().copied().filter(|n| self.dir.join(format!("cib.{n}.sha256")).exists()).collect();
        let Some(oldest) = finished.iter().rev().nth(KEEP_GENERATIONS - 1) else { return };
        for number in all.iter().filter(|n| *n < oldest && !self.damaged.contains(n)) {
            let _ = self.disk.remove(&self.dir.join(format!("cib.{number}.sha256")));
            let _ = self.disk.remove(&self.dir.join(format!("cib.{number}.xml")));
        }
    }
}

/// Who wrote it, if its form is above ours. No such file: it is of the first form; one that says nothing is no reason not to start.
fn newer(dir: &Path) -> Option<String> {
    let bytes = crate::config::read_bounded(&dir.join("format"), 256).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let (form, program) = text.split_once(' ')?;
    let above = form.parse::<u32>().is_ok_and(|n| n > FORMAT);
    above.then(|| format!("{} (form {form})", program.escape_debug()))
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
        numbers.extend(number.filter(|n| *n <= MAX_GENERATION));
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
fn imported(dir: &Path, loaded: &mut Loaded) -> Option<(String, String)> {
    let file = dir.join("cib.xml");
    // A link tells of generations that are gone.
    if file.symlink_metadata().is_err() {
        return None;
    }
    let text = crate::config::read_bounded(&file, MAX_CIB_FILE_BYTES)
        .and_then(|b| String::from_utf8(b).map_err(io::Error::other));
    match text {
        Ok(xml) => Some((xml, String::new())),
        Err(error) => {
            loaded.damage.push(format!("{}: {error}", file.display()));
            loaded.lost = true;
            None
        }
    }
}

/// The number in its file: 0 at a first start, nothing if it cannot be believed.
fn read_ring_seq(dir: &Path, lived: bool, damage: &mut Vec<String>) -> Option<u64> {
    let file = dir.join("ring_seq");
    let doubt = match crate::config::read_bounded(&file, 64) {
        Ok(bytes) => match String::from_utf8_lossy(&bytes).trim().parse::<u64>() {
            Ok(number) if number <= MAX_RING_SEQ => return Some(number),
            Ok(number) => format!("expected a number up to {MAX_RING_SEQ}, found {number}"),
            Err(_) => format!("expected a number, found `{}`", String::from_utf8_lossy(&bytes).trim().escape_debug()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !lived => return Some(0),
        Err(error) => error.to_string(),
    };
    damage.push(format!("{}: {doubt}; a number from the clock is used and written there", file.display()));
    None
}
