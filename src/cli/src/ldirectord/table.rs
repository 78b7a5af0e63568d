//! The table that a daemon works on: the kernel's, or one in a file.

use base::ipvs::{Info, ServiceEntry, ServiceKey, SyncDaemon, Timeouts};
use kernel::ipvs::{Change, Error, Ipvs, Kernel, Memory};
use std::path::{Path, PathBuf};

pub fn open(file: Option<&Path>) -> Box<dyn Ipvs> {
    match file {
        Some(path) => Box::new(FileTable { path: path.to_owned() }),
        None => Box::new(Kernel::new()),
    }
}

/// A table in a file, read for each request and written after each change, so that others may change it meanwhile.
struct FileTable {
    path: PathBuf,
}

impl FileTable {
    fn load(&self) -> Result<Memory, Error> {
        if !self.path.exists() {
            return Ok(Memory::new());
        }
        Memory::load(&self.path).map_err(|e| Error::Malformed { what: e.to_string() })
    }

    fn read<T>(&self, f: impl FnOnce(&mut Memory) -> Result<T, Error>) -> Result<T, Error> {
        f(&mut self.load()?)
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
        let mut table = match self.load() {
            Ok(table) => table,
            Err(e) => return vec![Err(e); changes.len()],
        };
        let results = table.apply_all(changes);
        match table.save(&self.path) {
            Ok(()) => results,
            Err(e) => vec![Err(Error::Malformed { what: e.to_string() }); changes.len()],
        }
    }
}
