//! Files beside a director's state that outlive it, as JSON: bounded, each new content whole or not at all, and the newest one last
//! whatever order the writers come in. Blocking.

use serde::{Serialize, de::DeserializeOwned};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file that is read.
const MAX_BYTES: u64 = 64 << 20;
/// They may name what is nobody else's business.
const MODE: u32 = 0o600;

pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&kernel::files::read_regular(path, MAX_BYTES)?)?)
}

/// Nothing to keep, no file.
fn write<T: Serialize>(path: &Path, content: Option<&T>) -> io::Result<()> {
    let Some(content) = content else {
        return match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    kernel::files::replace(path, &serde_json::to_vec(content)?, MODE)
}

/// One such file, whose owner writes it in other threads.
pub struct StateFile {
    path: PathBuf,
    /// Number of the newest content, and of the newest on disk.
    newest: u64,
    written: Arc<Mutex<u64>>,
}

impl StateFile {
    pub fn at(path: PathBuf) -> StateFile {
        StateFile { path, newest: 0, written: Arc::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next content; what is handed out writes it, unless a newer one is there already.
    pub fn next<T: Serialize + Send + 'static>(
        &mut self,
        content: Option<T>,
    ) -> impl FnOnce() -> io::Result<()> + Send + use<T> {
        self.newest += 1;
        let (path, number, written) = (self.path.clone(), self.newest, self.written.clone());
        move || {
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            if *written < number {
                write(&path, content.as_ref())?;
                *written = number;
            }
            Ok(())
        }
    }
}
