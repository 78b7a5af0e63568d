//! The few file operations that [`super::Store`] is made of, so that tests can cut each of them short.

use kernel::files::{GROUP, PRIVATE_FILE};
use nix::unistd::{Gid, Group};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const DIR_MODE: u32 = 0o750;

/// Operations whose order decides what survives a crash.
pub trait Disk {
    /// Makes the directory if it is absent, and takes it from everyone but owner and group.
    fn make_dir(&mut self, dir: &Path) -> io::Result<()>;
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
pub struct Real {
    group: Option<Gid>,
}

impl Real {
    pub fn new() -> Real {
        Real { group: Group::from_name(GROUP).ok().flatten().map(|g| g.gid) }
    }
}

impl Default for Real {
    fn default() -> Real {
        Real::new()
    }
}

impl Disk for Real {
    fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !dir.is_dir() {
            std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
        }
        close(dir, DIR_MODE, self.group)
    }

    fn write(&mut self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        // A name of its own: what stood there was left by a crash, perhaps with another owner or as a link.
        let _ = std::fs::remove_file(file);
        let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(file)?;
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

/// Takes from a directory, and from the files in it, what only owner and group shall have. Nothing is written where all is
/// well, so that a read-only disk is no obstacle.
fn close(dir: &Path, mode: u32, group: Option<Gid>) -> io::Result<()> {
    let narrow = |path: &Path, mode: u32| {
        let now = std::fs::symlink_metadata(path)?;
        let wider = now.permissions().mode() & 0o777 & !mode;
        if now.is_symlink() || wider == 0 {
            return Ok(());
        }
        if let Some(group) = group {
            let _ = nix::unistd::chown(path, None, Some(group));
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(now.permissions().mode() & 0o7777 & mode))
    };
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            narrow(&entry.path(), PRIVATE_FILE)?;
        }
    }
    narrow(dir, mode)
}
