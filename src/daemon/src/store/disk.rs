//! The few file operations that [`super::Store`] is made of, so that tests can cut each of them short.

use std::io::{self, Write};
use std::path::Path;

/// Operations whose order decides what survives a crash.
pub trait Disk {
    /// Writes a file that nobody reads yet and syncs it.
    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
    fn remove(&mut self, file: &Path) -> io::Result<()>;
    /// Makes `link` point to `target`, by way of `temporary`.
    fn link_to(&mut self, target: &str, temporary: &Path, link: &Path) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug)]
pub struct Real;

impl Disk for Real {
    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut open = std::fs::File::create(file)?;
        open.write_all(bytes)?;
        open.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    fn remove(&mut self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn link_to(&mut self, target: &str, temporary: &Path, link: &Path) -> io::Result<()> {
        let _ = std::fs::remove_file(temporary);
        std::os::unix::fs::symlink(target, temporary)?;
        std::fs::rename(temporary, link)
    }
}
