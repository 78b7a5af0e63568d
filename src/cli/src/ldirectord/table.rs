//! The table that a daemon works on: the kernel's, or one in a file.

use base::ipvs::{Info, ServiceEntry, ServiceKey, SyncDaemon, Timeouts};
use kernel::ipvs::{Change, Error, Ipvs, Kernel, Memory};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub fn open(file: Option<&Path>) -> Box<dyn Ipvs> {
    match file {
        Some(path) => Box::new(FileTable { path: path.to_owned(), known: None }),
        None => Box::new(Kernel::new()),
    }
}

/// A table in a file, written after each change and read again whenever others have changed it.
struct FileTable {
    path: PathBuf,
    known: Option<(Stamp, Memory)>,
}

/// Of a file's content.
type Stamp = (u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
}

impl FileTable {
    fn load(&mut self) -> Result<&mut Memory, Error> {
        let now = stamp(&self.path);
        if self.known.as_ref().map(|(seen, _)| *seen) != now || now.is_none() {
            let memory = match now {
                None => Memory::new(),
                Some(_) => Memory::load(&self.path).map_err(|e| Error::Malformed { what: e.to_string() })?,
            };
            self.known = Some((now.unwrap_or_default(), memory));
        }
        let known = self.known.get_or_insert_with(|| (Stamp::default(), Memory::new()));
        Ok(&mut known.1)
    }

    fn read<T>(&mut self, f: impl FnOnce(&mut Memory) -> Result<T, Error>) -> Result<T, Error> {
        f(self.load()?)
    }
}

impl Ipvs for FileTable {
    fn info(&mut self) -> Result<Info, Error> {
        self.read(|t| t.info())
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        self.read(|t| t.services())
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error> {
        self.read(|t| t.service(key))
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.read(|t| t.timeouts())
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        self.read(|t| t.daemons())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        self.apply_all(std::slice::from_ref(change)).pop().unwrap_or(Ok(()))
    }

    fn apply_all(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
        if changes.is_empty() {
            return Vec::new();
        }
        let path = self.path.clone();
        let table = match self.load() {
            Ok(table) => table,
            Err(e) => return vec![Err(e); changes.len()],
        };
        let results = table.apply_all(changes);
        let saved = table.save(&path);
        if let (Some((seen, _)), Some(now)) = (&mut self.known, stamp(&path)) {
            *seen = now;
        }
        match saved {
            Ok(()) => results,
            Err(e) => {
                self.known = None;
                vec![Err(Error::Malformed { what: e.to_string() }); changes.len()]
            }
        }
    }
}
