//! What names stood for when they were last known, in a file: a director that starts while no name server answers serves what it
//! served, and asks again.

use crate::names::{Asked, Target};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Largest file that is read.
const MAX_BYTES: u64 = 16 << 20;
const SUFFIX: &str = "names";

pub type Known = BTreeMap<Asked, Vec<Target>>;

fn beside(state: &Path) -> PathBuf {
    state.with_extension(SUFFIX)
}

/// Of the director with this state file; blocking. What cannot be read was never known.
pub fn read(state: Option<&Path>) -> Known {
    let read = |path: &Path| -> io::Result<Known> {
        if std::fs::metadata(path)?.len() > MAX_BYTES {
            return Err(io::Error::other(format!("more than {MAX_BYTES} bytes")));
        }
        let rows: Vec<(Asked, Vec<Target>)> = serde_json::from_slice(&std::fs::read(path)?)?;
        Ok(rows.into_iter().collect())
    };
    state.and_then(|state| read(&beside(state)).ok()).unwrap_or_default()
}

/// Whole or not at all; blocking. Nothing known, no file.
pub fn write(state: &Path, known: &Known) -> io::Result<()> {
    let path = beside(state);
    if known.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("names.new");
    std::fs::write(&new, serde_json::to_vec(&known.iter().collect::<Vec<_>>())?)?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, &path)
}
